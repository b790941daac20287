"""Figures of physics: forces, conservation, symmetry."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import openmm
import pytest
import torch
from openmm.app import ForceField, PDBFile

from figures import Measure
from helpers import central_differences, context_of, coordinates, energy_and_forces, scripted
from models import pair_example, pair_force
from neighbors_oracle import save_edges
from openmmnnp import NNPForce
from openmmnnp.spec import read_spec, write_spec

TYK2 = Path(__file__).parents[2] / "examples" / "tyk2"
SMOOTH = """
d = positions.unsqueeze(0) - positions.unsqueeze(1)
r2 = (d * d).sum(2) + 0.01
return 20 * torch.exp(-3 * r2).sum() + 5 * torch.sin(4 * torch.sqrt(r2)).sum()
"""
PERIODIC = """
d = positions.unsqueeze(0) - positions.unsqueeze(1)
d = d - torch.round(d[:, :, 2:] / box[2, 2]) * box[2]
d = d - torch.round(d[:, :, 1:2] / box[1, 1]) * box[1]
d = d - torch.round(d[:, :, :1] / box[0, 0]) * box[0]
r2 = (d * d).sum(2)
inside = torch.relu(1 - r2 / 0.81)
return 10 * (inside**4).sum()
"""
BOX = np.array([[2.0, 0, 0], [0.3, 2.1, 0], [-0.4, 0.5, 1.9]])


def relative(measured: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(measured - expected) / np.linalg.norm(expected))


def system_of(n: int, *forces: openmm.Force) -> openmm.System:
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*BOX)
    for _ in range(n):
        system.addParticle(12.0)
    for force in forces:
        system.addForce(force)
    return system


def periodic_force() -> NNPForce:
    force = NNPForce(scripted(PERIODIC.strip(), "positions, box"))
    force.setUsesPeriodicBoundaryConditions(True)
    return force


@pytest.fixture(scope="module")
def ligand() -> np.ndarray:
    """Positions [32, 3] of the Tyk2 ligand in nm."""
    return PDBFile(str(TYK2 / "lig.pdb")).getPositions(asNumpy=True)._value


@pytest.fixture(scope="module")
def double_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ligand's potential in float64."""
    path = tmp_path_factory.mktemp("double") / "ejm_31.pt"
    torch.jit.load(str(TYK2 / "ejm_31.pt")).double().save(str(path))
    spec = read_spec(TYK2 / "ejm_31.pt")
    assert spec is not None
    spec.dtype, spec.references = "float64", []
    write_spec(path, spec)
    return path


def ligand_force(path: Path) -> NNPForce:
    spec = read_spec(path)
    assert spec is not None
    return NNPForce(path, atomicNumbers=spec.atomic_numbers)


def ligand_system(force: openmm.Force | None) -> openmm.System:
    """The ligand in vacuum: with this force, or with GAFF if it is None."""
    topology = PDBFile(str(TYK2 / "lig.pdb")).topology
    system = ForceField(str(TYK2 / "lig_gaff.xml")).createSystem(topology)
    if force is not None:
        while system.getNumForces():
            system.removeForce(0)
        system.addForce(force)
    return system


# Force = -dE/dx (G4), on all atoms of the System


def gradient_error(context: openmm.Context, step: float = 1e-5) -> float:
    return relative(energy_and_forces(context)[1], central_differences(context, step))


@pytest.mark.figure("G4")
@pytest.mark.parametrize("links", [False, True], ids=["scale", "scale and link atoms"])
def test_gradient_of_a_subset(platform: openmm.Platform, measure: Measure, links: bool) -> None:
    x = np.random.default_rng(1).normal(scale=0.3, size=(9, 3))
    force = NNPForce(scripted(SMOOTH.strip()))
    force.setParticles([7, 2, 3, 5])
    force.setScaleParameter("scale", 0.7)
    if links:
        force.addLinkAtom(3, 4, 0.11)
        force.addLinkAtom(5, 0, 0.09)
    bonds = openmm.HarmonicBondForce()
    for i in range(8):
        bonds.addBond(i, i + 1, 0.2, 500.0)
    context = context_of(system_of(9, force, bonds), x, platform)
    measure("float64, link atoms" if links else "float64", gradient_error(context), 1e-7)


@pytest.mark.figure("G4")
def test_gradient_in_a_periodic_box(platform: openmm.Platform, measure: Measure) -> None:
    x = np.random.default_rng(2).uniform(-3, 5, size=(8, 3))
    context = context_of(system_of(8, periodic_force()), x, platform)
    measure("float64, wrapped", gradient_error(context), 1e-7)


@pytest.mark.figure("G4")
@pytest.mark.parametrize("name", ["pair_pt", "pair_package"])
def test_gradient_in_float32(request: pytest.FixtureRequest, name: str, measure: Measure) -> None:
    """In double precision around the model, whose energies are coarse enough."""
    found = request.getfixturevalue(name)
    example = pair_example(6)
    force = pair_force(found if isinstance(found, Path) else found[0], example)
    context = context_of(system_of(6, force), example["positions"] / 10, openmm.Platform.getPlatform("Reference"))
    measure("h = 1e-3 nm", gradient_error(context, 1e-3), 1e-3)


@pytest.mark.figure("G4")
@pytest.mark.parametrize("kind", [".pt", ".pt2"])
def test_gradient_with_edges(request: pytest.FixtureRequest, tmp_path: Path, kind: str, measure: Measure) -> None:
    path = save_edges(tmp_path / "edges.pt") if kind == ".pt" else request.getfixturevalue("edges_package")
    force = NNPForce(path)
    force.setUsesPeriodicBoundaryConditions(True)
    x = np.random.default_rng(8).uniform(-1, 2, (30, 3))
    context = context_of(system_of(30, force), x, openmm.Platform.getPlatform("Reference"))
    measure("float64", gradient_error(context), 1e-7)


def ligand_gradient(
    platform: openmm.Platform, ligand: np.ndarray, double_model: Path, some: list[int], measure: Measure
) -> None:
    """In float64 against differences; in float32, whose energies are too coarse for it, against the same."""
    exact = context_of(ligand_system(ligand_force(double_model)), ligand, platform)
    coarse, fine = (central_differences(exact, h, some)[some] for h in (2e-5, 1e-5))
    expected = (4 * fine - coarse) / 3  # of fourth order in h
    single = context_of(ligand_system(ligand_force(TYK2 / "ejm_31.pt")), ligand, platform)
    (energy, forces), (rounded, rounded_forces) = energy_and_forces(exact), energy_and_forces(single)
    measure("float64", relative(forces[some], expected), 1e-7)
    measure("float32", relative(rounded_forces[some], expected), 1e-3)
    measure("energy in float32, kJ/mol", abs(rounded - energy), 1e-2)


@pytest.mark.figure("G4", what="gradient of the ligand, every fourth atom")
def test_gradient_of_the_ligand(
    platform: openmm.Platform, ligand: np.ndarray, double_model: Path, measure: Measure
) -> None:
    ligand_gradient(platform, ligand, double_model, list(range(0, 32, 4)), measure)


@pytest.mark.long
@pytest.mark.figure("G4")
def test_gradient_of_the_whole_ligand(
    platform: openmm.Platform, ligand: np.ndarray, double_model: Path, measure: Measure
) -> None:
    ligand_gradient(platform, ligand, double_model, list(range(32)), measure)


# Conservation (G5)


def start(context: openmm.Context, seed: int = 1) -> None:
    openmm.LocalEnergyMinimizer.minimize(context, 10.0, 100)
    context.setVelocitiesToTemperature(300, seed)
    context.getIntegrator().step(500)


def total_energies(context: openmm.Context, steps: int) -> np.ndarray:
    """Potential and kinetic energy [steps] in kJ/mol after every step."""
    energies = []
    for _ in range(steps):
        context.getIntegrator().step(1)
        state = context.getState(energy=True)
        energies.append((state.getPotentialEnergy() + state.getKineticEnergy())._value)
    return np.array(energies)


def slope(energies: np.ndarray, picoseconds: float, blocks: int = 20) -> tuple[float, float]:
    """Slope and its standard error in kJ/mol/ps, from a line through block averages."""
    means = energies.reshape(blocks, -1).mean(axis=1)
    times = (np.arange(blocks) + 0.5) * picoseconds / blocks
    (value, _), covariance = np.polyfit(times, means, 1, cov=True)
    return float(value), float(np.sqrt(covariance[0, 0]))


def compare_slopes(ligand: np.ndarray, path: Path, picoseconds: float, measure: Measure) -> None:
    """The total energy drifts no more than that of GAFF in the same run."""
    slopes = []
    for force in (ligand_force(path), None):
        platform = openmm.Platform.getPlatformByName("Reference")
        context = context_of(ligand_system(force), ligand, platform, openmm.VerletIntegrator(0.0005))
        start(context)
        slopes.append(slope(total_energies(context, round(picoseconds / 0.0005)), picoseconds))
    (ours, error), (control, control_error) = slopes
    words = f"slope, kJ/mol/ps, beside {control:.2g} +- {control_error:.1g} of GAFF"
    measure(words, abs(ours), abs(control) + 2 * float(np.hypot(error, control_error)))


@pytest.mark.figure("G5", what="NVE, 1 ps", platform="Reference")
def test_energy_is_conserved(ligand: np.ndarray, double_model: Path, measure: Measure) -> None:
    compare_slopes(ligand, double_model, 1.0, measure)


@pytest.mark.long
@pytest.mark.figure("G5", what="NVE, 10 ps", platform="Reference")
def test_energy_is_conserved_for_long(ligand: np.ndarray, double_model: Path, measure: Measure) -> None:
    compare_slopes(ligand, double_model, 10.0, measure)


@pytest.mark.figure("G5", what="energy fluctuates as dt^2", platform="Reference")
def test_energy_fluctuates_with_the_square_of_the_time_step(
    ligand: np.ndarray, double_model: Path, measure: Measure
) -> None:
    platform = openmm.Platform.getPlatformByName("Reference")
    context = context_of(ligand_system(ligand_force(double_model)), ligand, platform, openmm.VerletIntegrator(0.0005))
    start(context)
    x, v = coordinates(context)
    steps = np.array([0.00025, 0.0005, 0.001])
    fluctuations = []
    for dt in steps:
        context.getIntegrator().setStepSize(dt)
        context.setPositions(x)
        # The integrator keeps velocities half a step behind the positions.
        context.setVelocities(v - 0.5 * (dt - 0.0005) * energy_and_forces(context)[1] / masses(context)[:, None])
        fluctuations.append(total_energies(context, round(0.3 / dt)).std())
    exponent = np.polyfit(np.log(steps), np.log(fluctuations), 1)[0]
    measure("exponent - 2", abs(exponent - 2), 0.1)


def masses(context: openmm.Context) -> np.ndarray:
    system = context.getSystem()
    return np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])


@pytest.mark.figure("G5")
def test_net_force_is_zero(platform: openmm.Platform, ligand: np.ndarray, double_model: Path, measure: Measure) -> None:
    forces = energy_and_forces(context_of(ligand_system(ligand_force(double_model)), ligand, platform))[1]
    measure("float64", float(np.linalg.norm(forces.sum(axis=0)) / np.linalg.norm(forces)), 1e-12)


# Symmetry (G6)


@pytest.mark.figure("G6")
def test_symmetry_of_the_ligand(
    platform: openmm.Platform, ligand: np.ndarray, double_model: Path, measure: Measure
) -> None:
    context = context_of(ligand_system(ligand_force(double_model)), ligand, platform)
    energy, forces = energy_and_forces(context)
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    rotation *= np.linalg.det(rotation)
    numbers = ligand_force(double_model).getAtomicNumbers()
    permutation = np.arange(32)
    for z in np.unique(numbers):
        same = np.flatnonzero(np.equal(numbers, z))
        permutation[same] = np.roll(same, 1)
    cases = {
        "rotation": (ligand @ rotation.T, forces @ rotation.T),
        "translation": (ligand + [1.0, -2.0, 0.5], forces),
        "permutation of like atoms": (ligand[permutation], forces[permutation]),
    }
    for name, (moved, expected) in cases.items():
        context.setPositions(moved)
        found, found_forces = energy_and_forces(context)
        measure(f"{name}, energy", abs(found - energy) / abs(energy), 1e-10)
        measure(f"{name}, forces", relative(found_forces, expected), 1e-10)


@pytest.mark.figure("G6")
def test_wrapping(platform: openmm.Platform, measure: Measure) -> None:
    """Energy and forces don't see by which lattice vectors particles are moved."""
    generator = np.random.default_rng(4)
    x = generator.uniform(0, 2, size=(8, 3))
    context = context_of(system_of(8, periodic_force()), x, platform)
    energy, forces = energy_and_forces(context)
    context.setPositions(x + generator.integers(-3, 4, size=(8, 3)) @ BOX)
    found, found_forces = energy_and_forces(context)
    measure("energy", abs(found - energy) / abs(energy), 1e-10)
    measure("forces", relative(found_forces, forces), 1e-10)


@pytest.mark.figure("G6")
def test_supercell(platform: openmm.Platform, measure: Measure) -> None:
    """Two, six and twelve cells have as many times the energy of one, and its forces in each of them."""
    generator = np.random.default_rng(9)
    x = generator.uniform(0, 2, size=(8, 3))
    energy, forces = energy_and_forces(context_of(system_of(8, periodic_force()), x, platform))
    for counts in ((2, 1, 1), (1, 2, 3), (3, 2, 2)):
        cells = list(itertools.product(*(range(n) for n in counts)))
        system = system_of(8 * len(cells), periodic_force())
        system.setDefaultPeriodicBoxVectors(*reduced(np.diag(counts) @ BOX))
        repeated = np.concatenate([x + np.array(cell) @ BOX for cell in cells])
        found, found_forces = energy_and_forces(context_of(system, repeated, platform))
        measure("energy", abs(found / len(cells) - energy) / abs(energy), 1e-10)
        measure("forces", relative(found_forces, np.tile(forces, (len(cells), 1))), 1e-10)


def reduced(box: np.ndarray) -> np.ndarray:
    """The same lattice in OpenMM's reduced form."""
    a, b, c = box
    c = c - b * round(c[1] / b[1])
    c = c - a * round(c[0] / a[0])
    return np.array([a, b - a * round(b[0] / a[0]), c])
