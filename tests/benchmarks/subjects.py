"""The systems of the benchmarks: MM forces, the particles of the model, and a State at 300 K to start from."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import openmm
from openmm import app, unit
from potentials import LIGAND, SUBSET
from timing import ROOT

import openmmnnp

sys.path[:0] = [str(ROOT / "tests" / "python"), str(ROOT / "examples")]

STEP = 0.0005  # ps
Start = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Subject:
    """A System without the model.

    Attributes
    ----------
    system : what acts beside the model, in force group 0
    particles : of the model; None for all
    periodic : does the model see the box
    start : positions [N, 3] in nm, velocities [N, 3] in nm/ps, box [3, 3] in nm
    """

    topology: app.Topology
    system: openmm.System
    particles: list[int] | None
    periodic: bool
    start: Start

    @property
    def indices(self) -> list[int]:
        return list(range(self.system.getNumParticles())) if self.particles is None else self.particles

    @property
    def numbers(self) -> tuple[int, ...]:
        atoms = list(self.topology.atoms())
        return tuple(atoms[i].element.atomic_number for i in self.indices)

    def box(self, vectors: np.ndarray) -> np.ndarray | None:
        """What the model sees of these box vectors."""
        return vectors if self.periodic else None

    def frames(self, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Positions [n, 3] of the model's particles and box [3, 3], in nm: the start, and the steps without it."""
        context = openmm.Context(
            copy.deepcopy(self.system), openmm.VerletIntegrator(STEP), openmm.Platform.getPlatformByName("CPU")
        )
        positions, velocities, box = self.start
        context.setPeriodicBoxVectors(*box)
        context.setPositions(positions)
        context.setVelocities(velocities)
        found = [(positions[self.indices], box)]
        while len(found) < count:
            context.getIntegrator().step(1)
            x = context.getState(positions=True).getPositions(asNumpy=True)._value
            found.append((x[self.indices], box))
        return found


def equilibrated(system: openmm.System, positions: unit.Quantity, steps: int, step: float = 0.001) -> Start:
    """After a minimization and Langevin dynamics at 300 K."""
    integrator = openmm.LangevinMiddleIntegrator(300, 10, step)
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatform("CPU"))
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, 10, 100)
    context.setVelocitiesToTemperature(300, 1)
    integrator.step(steps)
    state = context.getState(positions=True, velocities=True)
    values = (state.getPositions(asNumpy=True), state.getVelocities(asNumpy=True))
    box = np.array(state.getPeriodicBoxVectors(asNumpy=True)._value)
    return values[0]._value, values[1]._value, box


def dipeptide() -> Subject:
    """Alanine dipeptide in vacuum, the model on top of its force field."""
    from systems import alanine_dipeptide

    tested = alanine_dipeptide(explicit=False)
    start = equilibrated(tested.system, tested.positions, 2000)
    return Subject(tested.topology, tested.system, None, False, start)


def ligand() -> Subject:
    """The ligand ejm_31 in vacuum, the model on top of GAFF."""
    pdb = app.PDBFile(str(LIGAND))
    system = app.ForceField(str(LIGAND.with_name("lig_gaff.xml"))).createSystem(pdb.topology)
    x = pdb.getPositions(asNumpy=True)
    return Subject(pdb.topology, system, None, False, equilibrated(system, x - x.mean(axis=0), 2000))


def ligand_alone() -> Subject:
    """The same without GAFF."""
    found = ligand()
    system = copy.deepcopy(found.system)
    while system.getNumForces():
        system.removeForce(0)
    return Subject(found.topology, system, None, False, found.start)


def tyk2_complex() -> Subject:
    """Tyk2 with ejm_31 in water, 35,475 particles: the model in place of the ligand's interior."""
    import protein_ligand

    folder = LIGAND.parent
    given = (folder / "Tyk2_protein.pdb", LIGAND, folder / "lig_gaff.xml")
    topology, system, positions, ligand = protein_ligand.build(*given)
    system.removeForce(system.getNumForces() - 1)  # the barostat
    start = equilibrated(system, positions, 100)
    model = openmmnnp.NNPForce(folder / "ejm_31.pt")
    mixed = openmmnnp.createMixedSystem(topology, system, ligand, model)
    ours = next(i for i, force in enumerate(mixed.getForces()) if openmmnnp.NNPForce.isinstance(force))
    mixed.removeForce(ours)
    return Subject(topology, mixed, list(ligand), False, start)


def water(count: int) -> Callable[[], Subject]:
    def make() -> Subject:
        forcefield, modeller = app.ForceField("tip3p.xml"), app.Modeller(app.Topology(), [])
        modeller.addSolvent(forcefield, numAdded=count)
        edge = modeller.topology.getPeriodicBoxVectors()[0][0]
        cutoff = min(0.45 * edge, 0.8 * unit.nanometer)
        system = forcefield.createSystem(modeller.topology, app.PME, cutoff, removeCMMotion=False)
        return Subject(modeller.topology, system, None, True, equilibrated(system, modeller.positions, 1000))

    return make


def lattice(n: int) -> Subject:
    """Particles that feel nothing, of which the model has the first 64."""
    system, topology = openmm.System(), app.Topology()
    residue = topology.addResidue("X", topology.addChain())
    for _ in range(n):
        system.addParticle(1.0)
    for _ in range(SUBSET):
        topology.addAtom("X", app.element.carbon, residue)
    generator = np.random.default_rng(1)
    start = (generator.random((n, 3)), 1e-3 * generator.normal(size=(n, 3)), 2 * np.eye(3))
    return Subject(topology, system, list(range(SUBSET)), False, start)


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "dipeptide": cache(dipeptide),
    "ligand": cache(ligand),
    "ligand alone": cache(ligand_alone),
    "Tyk2 complex": cache(tyk2_complex),
    **{f"{3 * count} atoms of water": cache(water(count)) for count in (32, 216, 1667)},
}
