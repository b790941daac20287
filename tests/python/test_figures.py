"""Figures of physics and of resources: each measured number is printed beside its bound."""

from __future__ import annotations

import itertools
import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openmm
import pytest
import torch
from openmm.app import ForceField, PDBFile

from helpers import central_differences, context_of, coordinates, energy_and_forces, resources, scripted
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


def report(name: str, measured: float, bound: float) -> None:
    print(f"{name}: {measured:.3g} (bound {bound:.3g})")
    assert measured <= bound


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


# Force = -dE/dx (G4)


def test_gradient_of_a_subset(platform: openmm.Platform) -> None:
    x = np.random.default_rng(1).normal(scale=0.3, size=(9, 3))
    force = NNPForce(scripted(SMOOTH.strip()))
    force.setParticles([7, 2, 3, 5])
    force.setScaleParameter("scale", 0.7)
    bonds = openmm.HarmonicBondForce()
    for i in range(8):
        bonds.addBond(i, i + 1, 0.2, 500.0)
    context = context_of(system_of(9, force, bonds), x, platform)
    report(
        "G4, float64, subset, scale", relative(energy_and_forces(context)[1], central_differences(context, 1e-5)), 1e-7
    )


def test_gradient_in_a_periodic_box(platform: openmm.Platform) -> None:
    x = np.random.default_rng(2).uniform(-3, 5, size=(8, 3))
    context = context_of(system_of(8, periodic_force()), x, platform)
    report(
        "G4, float64, periodic box", relative(energy_and_forces(context)[1], central_differences(context, 1e-5)), 1e-7
    )


def test_gradient_of_the_ligand(platform: openmm.Platform, ligand: np.ndarray, double_model: Path) -> None:
    """In float64 against differences; in float32, whose energies are too coarse for it, against the same."""
    some = list(range(0, 32, 4))
    exact = context_of(ligand_system(ligand_force(double_model)), ligand, platform)
    coarse, fine = (central_differences(exact, h, some)[some] for h in (2e-5, 1e-5))
    expected = (4 * fine - coarse) / 3  # of fourth order in h
    single = context_of(ligand_system(ligand_force(TYK2 / "ejm_31.pt")), ligand, platform)
    (energy, forces), (rounded, rounded_forces) = energy_and_forces(exact), energy_and_forces(single)
    report("G4, ligand, float64", relative(forces[some], expected), 1e-7)
    report("G4, ligand, float32", relative(rounded_forces[some], expected), 1e-3)
    report("G4, ligand, energy in float32, kJ/mol", abs(rounded - energy), 1e-2)


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


def test_energy_is_conserved(ligand: np.ndarray, double_model: Path) -> None:
    """The total energy drifts no more than that of GAFF in the same run."""
    slopes = []
    for force in (ligand_force(double_model), None):
        platform = openmm.Platform.getPlatformByName("Reference")
        context = context_of(ligand_system(force), ligand, platform, openmm.VerletIntegrator(0.0005))
        start(context)
        slopes.append(slope(total_energies(context, 2000), 1.0))
    (ours, error), (control, control_error) = slopes
    print(f"slope {ours:.3g} +- {error:.2g}, GAFF {control:.3g} +- {control_error:.2g} kJ/mol/ps")
    report("G5, slope, kJ/mol/ps", abs(ours), abs(control) + 2 * float(np.hypot(error, control_error)))


def test_energy_fluctuates_with_the_square_of_the_time_step(ligand: np.ndarray, double_model: Path) -> None:
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
    report("G5, |exponent of the energy fluctuation - 2|", abs(exponent - 2), 0.1)


def masses(context: openmm.Context) -> np.ndarray:
    system = context.getSystem()
    return np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])


def test_net_force_is_zero(platform: openmm.Platform, ligand: np.ndarray, double_model: Path) -> None:
    forces = energy_and_forces(context_of(ligand_system(ligand_force(double_model)), ligand, platform))[1]
    report("G5, net force", float(np.linalg.norm(forces.sum(axis=0)) / np.linalg.norm(forces)), 1e-12)


# Symmetry (G6)


def test_symmetry_of_the_ligand(platform: openmm.Platform, ligand: np.ndarray, double_model: Path) -> None:
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
        report(f"G6, {name}, energy", abs(found - energy) / abs(energy), 1e-10)
        report(f"G6, {name}, forces", relative(found_forces, expected), 1e-10)


def test_wrapping(platform: openmm.Platform) -> None:
    """Energy and forces don't see by which lattice vectors particles are moved."""
    generator = np.random.default_rng(4)
    x = generator.uniform(0, 2, size=(8, 3))
    context = context_of(system_of(8, periodic_force()), x, platform)
    energy, forces = energy_and_forces(context)
    context.setPositions(x + generator.integers(-3, 4, size=(8, 3)) @ BOX)
    found, found_forces = energy_and_forces(context)
    report("G6, wrapping, energy", abs(found - energy) / abs(energy), 1e-10)
    report("G6, wrapping, forces", relative(found_forces, forces), 1e-10)


# Resources (G9)


@pytest.mark.parametrize(("kind", "count"), [("Contexts", 150), ("models", 60)])
def test_nothing_is_left_behind(kind: str, count: int) -> None:
    """In a process of its own: here other libraries begin and end threads when they like."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        before, after = pool.submit(use_and_drop, kind, count).result()
    report("G9, growth of memory, MiB", (after[0] - before[0]) / 2**20, 5)
    assert after[1:] == before[1:], "file descriptors, threads and private folders"


def use_and_drop(kind: str, count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    platform = openmm.Platform.getPlatformByName("Reference")
    x = np.random.default_rng(5).normal(size=(5, 3))

    def once(i: int) -> None:
        constant = i if kind == "models" else 0  # another program, so another model in the cache
        force = NNPForce(scripted(f"return (positions**2).sum() + {constant}"))
        context = context_of(system_of(5, force), x, platform)
        assert energy_and_forces(context)[0] == pytest.approx((x**2).sum() + constant)

    for i in range(20):
        once(1000 + i)
    before = resources()
    for i in range(count):
        once(i)
    return before, resources()


DESTROY = """
import sys, openmm, openmmnnp
system = openmm.System()
for i in range(3):
    system.addParticle(1)
force = openmmnnp.NNPForce(sys.argv[1])
system.addForce(force)
integrator = openmm.VerletIntegrator(0.001)
context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(sys.argv[2]))
context.setPositions([(1, 0, 0), (0, 2, 0), (0, 0, 3)])
assert abs(context.getState(energy=True).getPotentialEnergy()._value - 14) < 1e-5
"""


@pytest.mark.asan
def test_any_order_of_destruction_ends_cleanly(platform: openmm.Platform, harmonic: Path) -> None:
    """The six orders in which a Context, its force and its integrator can go, exit with all of them, and twice over."""
    orders = [f"del {', '.join(order)}, system" for order in itertools.permutations(("context", "force", "integrator"))]
    programs = [DESTROY + order for order in orders] + [DESTROY, DESTROY + DESTROY]
    for program in programs:
        command = [sys.executable, "-c", program, harmonic, platform.getName()]
        result = subprocess.run(command, capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (0, "")


# Threads (G10)


@pytest.mark.asan
def test_threads_equal_serial(platform: openmm.Platform, harmonic: Path) -> None:
    """Four Contexts of one model in four Python threads give the bits that they give one after the other."""

    def trajectory(seed: int) -> np.ndarray:
        x = np.random.default_rng(seed).normal(size=(9, 3))
        context = context_of(system_of(9, NNPForce(harmonic)), x, platform)
        for _ in range(20):
            context.getIntegrator().step(10)
            energy_and_forces(context)
        return coordinates(context)

    serial = [trajectory(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(trajectory, range(4)))
    np.testing.assert_array_equal(threaded, serial)
