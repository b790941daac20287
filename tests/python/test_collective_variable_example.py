"""examples/collective_variable: tICA against a known answer, the network against NumPy, and the whole of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit

from helpers import context_of
from openmmnnp import collectiveVariables

FOLDER = Path(__file__).parents[2] / "examples" / "collective_variable"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("alanine_dipeptide", FOLDER / "alanine_dipeptide.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tica_finds_the_slow_processes(example: ModuleType) -> None:
    """Two autoregressive processes mixed with noise: their autocorrelations, and what they were before the mixing."""
    generator, steps, lag = np.random.default_rng(4), 100_000, 3
    hidden = np.zeros((steps, 2))
    factors = np.array([0.95, 0.7])
    for t in range(1, steps):
        hidden[t] = factors * hidden[t - 1] + generator.normal(size=2)
    mixed = np.column_stack([hidden, generator.normal(size=(steps, 2))]) @ generator.normal(size=(4, 4)) + 2
    redundant = np.column_stack([mixed, mixed.sum(1)])
    mean, weights, correlations = example.tica(redundant, lag, 2)
    assert correlations == pytest.approx(factors**lag, abs=0.02)
    found = (redundant - mean) @ weights.T
    assert found.std(axis=0) == pytest.approx([1, 1], abs=1e-2)
    for i in range(2):
        assert abs(np.corrcoef(found[:, i], hidden[:, i])[0, 1]) > 0.99


def test_network_is_the_formula(example: ModuleType, tmp_path: Path) -> None:
    """Dihedral angles as OpenMM has them, and both numbers as CustomCVForce is given them."""
    _, _, positions, atoms = example.molecule()
    generator = np.random.default_rng(1)
    weights, mean = generator.normal(size=(2, 4)), generator.normal(size=4)
    x = np.array(positions.value_in_unit(unit.nanometer)) + 0.01 * generator.normal(size=(22, 3))
    particles = sorted({i for four in atoms for i in four})
    local = [[particles.index(i) for i in four] for four in atoms]
    network = example.Dihedrals(local, mean.astype(np.float32), weights.astype(np.float32))
    example.save(network, tmp_path / "tica.pt", particles, positions)

    system = openmm.System()
    for _ in x:
        system.addParticle(1)
    bias = openmm.CustomCVForce("a + b")
    for name, force in zip("ab", collectiveVariables(tmp_path / "tica.pt", particles), strict=True):
        bias.addCollectiveVariable(name, force)
    system.addForce(bias)
    for i, four in enumerate(atoms):
        angle = openmm.CustomTorsionForce("theta")
        angle.addTorsion(*four)
        angle.setForceGroup(1 + i)
        system.addForce(angle)
    context = context_of(system, x, openmm.Platform.getPlatform("Reference"))
    theta = [context.getState(energy=True, groups={1 + i}).getPotentialEnergy()._value for i in range(2)]
    features = np.concatenate([np.sin(theta), np.cos(theta)])
    assert example.angles(network.features(torch.tensor(x[particles]))[None].numpy()) == pytest.approx(
        np.degrees([theta])
    )
    assert bias.getCollectiveVariableValues(context) == pytest.approx(weights @ (features - mean), abs=1e-5)


def test_ranges_hold_all_values(example: ModuleType) -> None:
    generator = np.random.default_rng(2)
    network = example.Dihedrals([[0, 1, 2, 3]] * 2, generator.normal(size=4), generator.normal(size=(2, 4)))
    angles = generator.uniform(-np.pi, np.pi, (200_000, 2))
    features = np.column_stack([np.sin(angles), np.cos(angles)])
    values = (features - network.mean.numpy()) @ network.weights.numpy().T
    low, high = example.ranges(network)
    size = high - low
    assert (values >= low).all() and (values <= high).all()
    assert (values.min(0) < low + 1e-3 * size).all() and (values.max(0) > high - 1e-3 * size).all()


def test_first_visit(example: ModuleType) -> None:
    phi = np.radians([-80, -60, 25, 60, 70])
    features = np.column_stack([np.sin(phi), np.zeros(5), np.cos(phi), np.ones(5)])
    assert example.first_visit(features) == pytest.approx(4 * example.SAMPLED * example.STEP)
    assert example.first_visit(features[:3]) is None


def test_example_runs(example: ModuleType, tmp_path: Path) -> None:
    """All steps, each too short to find anything."""
    summary = example.main(tmp_path, training=5000, production=1000, suffix=".pt")
    assert sum(summary["evaluations"]) <= 1000 + 100 and summary["evaluations"][1] == 0
    assert summary["reused"][1] == sum(summary["reused"]) - summary["reused"][0] >= 1000
    assert summary["plain_first_visit_ps"] is None
    assert (tmp_path / "alanine_dipeptide.png").stat().st_size > 10_000
    assert "by plain dynamics and not found by metadynamics" in example.describe(summary)
    assert app.PDBFile(str(FOLDER / "alanine_dipeptide.pdb")).topology.getNumAtoms() == 22


@pytest.mark.long
def test_metadynamics_finds_both_basins(example: ModuleType, tmp_path: Path) -> None:
    summary = example.main(tmp_path)
    assert summary["plain_first_visit_ps"] is None
    assert summary["metadynamics_first_visit_ps"] < summary["length_ps"]
