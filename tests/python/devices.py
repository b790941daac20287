"""Molecules, models and questions for tests of platforms with a device."""

from __future__ import annotations

import numpy as np
import openmm

from openmmnnp import ModelSpec, NNPForce

SPEC = ModelSpec("test", length_unit="nm", energy_unit="kJ/mol", dtype="float64")
WELL = "return (positions * positions * torch.tensor([1.0, 2.0, 3.0]).to(positions)).sum()"


def well_energy(x: np.ndarray) -> float:
    """What the model WELL gives, kJ/mol."""
    return float(np.sum(x**2 * [1, 2, 3]))


def well_forces(x: np.ndarray) -> np.ndarray:
    return -2 * x * [1, 2, 3]


def molecules(
    *forces: openmm.Force, count: int = 4, box: float = 2.0, periodic: bool = True
) -> tuple[openmm.System, np.ndarray]:
    """Molecules of three atoms in a row, whose nonbonded force makes OpenMM sort them and put them into the box."""
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors([box, 0, 0], [0.3, box, 0], [-0.4, 0.2, box])
    nonbonded = openmm.NonbondedForce()
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic if periodic else openmm.NonbondedForce.NoCutoff)
    nonbonded.setCutoffDistance(0.8)
    bonds = openmm.HarmonicBondForce()
    generator = np.random.default_rng(3)
    x = []
    for molecule in range(count):
        center = generator.uniform(0, box, 3)
        for atom in range(3):
            system.addParticle(12.0)
            nonbonded.addParticle(0, 0.1, 1e-3)
            x.append(center + [0.1 * atom, 0, 0.02 * atom])
        for atom in range(2):
            bonds.addBond(3 * molecule + atom, 3 * molecule + atom + 1, 0.1, 1000.0)
    for force in (nonbonded, bonds, *forces):
        system.addForce(force)
    return system, np.array(x)


def with_precision(
    system: openmm.System, device: openmm.Platform, precision: str, integrator: openmm.Integrator | None = None
) -> openmm.Context:
    return openmm.Context(system, integrator or openmm.VerletIntegrator(0.001), device, {"Precision": precision})


def alone(context: openmm.Context, group: int = 1) -> tuple[float, np.ndarray]:
    """Energy in kJ/mol and forces [n, 3] in kJ/mol/nm of one force group."""
    state = context.getState(energy=True, forces=True, groups={group})
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value


def in_group(force: NNPForce, group: int = 1) -> NNPForce:
    force.setForceGroup(group)
    return force


def fly(context: openmm.Context, boxes: float) -> None:
    """Move everything along (1, -2, 1.5) by this many boxes of 2 nm, in steps enough for OpenMM to sort molecules."""
    steps = 300
    velocity = 2.0 * boxes / (steps * context.getIntegrator().getStepSize()._value)
    n = context.getSystem().getNumParticles()
    context.setVelocities(np.tile(velocity * np.array([1.0, -2.0, 1.5]), (n, 1)))
    context.getIntegrator().step(steps)
