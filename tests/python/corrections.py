"""Corrections with known answers: a diatomic ligand with a harmonic bond in MM and another one in its model.

Its "protein" is a uniform field that pulls its two atoms apart, its "solvent" is nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from helpers import scripted
from openmmnnp import ModelSpec
from openmmnnp.correct.analysis import GAS_CONSTANT
from openmmnnp.spec import write_spec

MM, MODEL = (2e4, 0.15), (1.2e4, 0.156)  # k (kJ/mol/nm^2) and length (nm) of the bond
OFFSET = -250.0  # kJ/mol, of the model
PULL = 150.0  # kJ/mol/nm
TEMPERATURE = 300.0


def exact(pull: float = 0.0) -> float:
    """Free energy from MM to the model in kJ/mol, by quadrature over the bond's length."""
    kt = GAS_CONSTANT * TEMPERATURE
    r = np.linspace(1e-4, 0.5, 200_001)
    turning = np.sinc(1j * pull * r / kt / np.pi).real  # sinh(x)/x, the average over directions
    z = [np.sum(r**2 * turning * np.exp(-0.5 * k * (r - r0) ** 2 / kt)) for k, r0 in (MM, MODEL)]
    return OFFSET - kt * float(np.log(z[1] / z[0]))


def write_diatomics(folder: Path) -> dict[str, Any]:
    """Files in a folder, and options of a correction that takes seconds on Reference."""
    topology = app.Topology()
    residue = topology.addResidue("LIG", topology.addChain())
    atoms = [topology.addAtom(name, app.element.carbon, residue) for name in ("C1", "C2")]
    topology.addBond(*atoms)
    positions = np.array([[0.0, 0.0, 0.0], [0.152, 0.0, 0.0]])
    for leg, pull in (("complex", PULL), ("solvent", 0.0)):
        with open(folder / f"{leg}.pdb", "w") as file:
            app.PDBFile.writeFile(topology, positions * unit.nanometer, file)
        (folder / f"{leg}.xml").write_text(openmm.XmlSerializer.serialize(diatomic(pull)))
    return {
        "topology": str(folder / "complex.pdb"),
        "system": str(folder / "complex.xml"),
        "solvent_topology": str(folder / "solvent.pdb"),
        "solvent_system": str(folder / "solvent.xml"),
        "ml": "resname LIG",
        "model": str(write_model(folder / "bond.pt")),
        "out": str(folder / "out"),
        "friction": "50/ps",
        "nvt": "0.1ps",
        "equilibrate": "0.5ps",
        "sample_interval": "0.2ps",
        "switch": "0.03ps",
        "snapshots": "60",
        "temperature": f"{TEMPERATURE}K",
        "platform": "Reference",
    }


def write_fluid(folder: Path) -> None:
    """Instead of the solvent a Lennard-Jones liquid of 64 atoms in a box, which the diatomic does not meet."""
    pdb = app.PDBFile(str(folder / "solvent.pdb"))
    modeller, spacing = app.Modeller(pdb.topology, pdb.positions), 0.38
    fluid = app.Topology()
    chain = fluid.addChain()
    for _ in range(64):
        fluid.addAtom("AR", app.element.argon, fluid.addResidue("AR", chain))
    grid = spacing * (0.5 + np.stack(np.meshgrid(*3 * [np.arange(4)]), axis=-1).reshape(-1, 3))
    modeller.add(fluid, grid * unit.nanometer)
    modeller.topology.setUnitCellDimensions(openmm.Vec3(*3 * [4 * spacing]) * unit.nanometer)
    with open(folder / "solvent.pdb", "w") as file:
        app.PDBFile.writeFile(modeller.topology, modeller.positions, file)
    system, pairs = diatomic(), openmm.NonbondedForce()
    system.setDefaultPeriodicBoxVectors(*4 * spacing * np.eye(3))
    pairs.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    pairs.setCutoffDistance(0.6)
    for _ in range(2):
        pairs.addParticle(0.0, 0.3, 0.0)
    for _ in range(64):
        system.addParticle(40.0)
        pairs.addParticle(0.0, 0.34, 3.0)
    system.addForce(pairs)
    (folder / "solvent.xml").write_text(openmm.XmlSerializer.serialize(system))


def words(options: dict[str, Any]) -> list[str]:
    """The command line of options."""
    found = ["correct"]
    for name, value in options.items():
        found += [f"--{name.replace('_', '-')}", *(value if isinstance(value, list) else [value])]
    return found


def diatomic(pull: float = 0.0, bond: tuple[float, float] = MM) -> openmm.System:
    system, force = openmm.System(), openmm.HarmonicBondForce()
    for _ in range(2):
        system.addParticle(12.0)
    force.addBond(0, 1, bond[1], bond[0])
    system.addForce(force)
    if pull:
        field = openmm.CustomExternalForce("pull*x")
        field.addPerParticleParameter("pull")
        for particle, sign in enumerate((1.0, -1.0)):
            field.addParticle(particle, [sign * pull])
        system.addForce(field)
    return system


def write_model(path: Path, bond: tuple[float, float] = MODEL) -> Path:
    k, r0 = bond
    scripted(f"r = (positions[0] - positions[1]).norm()\nreturn {0.5 * k} * (r - {r0})**2 + {OFFSET}").save(str(path))
    write_spec(path, ModelSpec("bond", "nm", "kJ/mol", "float64", particles=2, long_range=False))
    return path
