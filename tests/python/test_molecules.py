"""Bonds of a force make molecules: for wrapped positions and for barostats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import unit

from helpers import context_of
from openmmnnp import NNPForce

Platform = openmm.Platform


LIGAND = [3, 4, 5, 6, 7]


def solvated(harmonic: Path, bonds: bool) -> tuple[openmm.System, np.ndarray]:
    """A ligand of five particles across the border of a periodic box of 3 nm, among 20 particles that do nothing."""
    force = NNPForce(harmonic)
    force.setParticles(LIGAND)
    if bonds:
        for i in LIGAND[1:]:
            force.addBond(LIGAND[0], i)
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*(3 * np.eye(3)))
    nonbonded = openmm.NonbondedForce()
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    for _ in range(25):
        system.addParticle(10.0)
        nonbonded.addParticle(0, 0.1, 0)
    system.addForce(nonbonded)
    system.addForce(force)
    positions = np.random.default_rng(5).uniform(0, 3, (25, 3))
    positions[LIGAND] = np.array([0.05, 2.95, 1.5]) + 0.2 * np.random.default_rng(6).uniform(-1, 1, (5, 3))
    return system, positions


def distances(context: openmm.Context, wrapped: bool) -> np.ndarray:
    """Between the particles of the ligand, [5, 5]."""
    state = context.getState(positions=True, enforcePeriodicBox=wrapped)
    x = state.getPositions(asNumpy=True)._value[LIGAND]
    return np.linalg.norm(x[:, None] - x[None], axis=2)


@pytest.mark.parametrize("bonds", [True, False])
def test_bonds_make_molecules(platform: Platform, harmonic: Path, bonds: bool) -> None:
    system, positions = solvated(harmonic, bonds)
    context = context_of(system, positions, platform)
    molecules = [list(molecule) for molecule in context.getMolecules()]
    assert len(molecules) == (21 if bonds else 25)
    assert (LIGAND in molecules) == bonds


def test_bonded_particles_stay_together_when_wrapped(platform: Platform, harmonic: Path) -> None:
    system, positions = solvated(harmonic, bonds=True)
    context = context_of(system, positions, platform)
    whole = distances(context, wrapped=False)
    assert whole.max() < 1
    np.testing.assert_allclose(distances(context, wrapped=True), whole, atol=1e-5)


def test_barostat_moves_bonded_particles_as_a_whole(platform: Platform, harmonic: Path) -> None:
    system, positions = solvated(harmonic, bonds=True)
    barostat = openmm.MonteCarloBarostat(1 * unit.bar, 300 * unit.kelvin, 1)
    barostat.setRandomNumberSeed(3)
    system.addForce(barostat)
    integrator = openmm.CustomIntegrator(0.001)
    integrator.addUpdateContextState()  # the barostat's moves and nothing else
    context = context_of(system, positions, platform, integrator)
    whole = distances(context, wrapped=False)
    volumes = set()
    for _ in range(50):
        integrator.step(1)
        volumes.add(context.getState().getPeriodicBoxVolume()._value)
        np.testing.assert_allclose(distances(context, wrapped=False), whole, atol=1e-5)
    assert len(volumes) > 5, "the barostat moves"
