"""NNPForce together with the rest of OpenMM: other forces, integrators, Contexts, constraints, copies and restarts."""

from __future__ import annotations

import copy
import gc
import itertools
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import torch

from helpers import (
    Harmonic,
    HarmonicWithParameters,
    central_differences,
    context_of,
    coordinates,
    energy_and_forces,
    scripted,
)
from openmmnnp import ModelSpec, NNPForce
from openmmnnp.spec import read_spec, write_spec

Save = Callable[..., Path]
Platform = openmm.Platform


class Stiffer(torch.nn.Module):
    """E = 3 sum r^2."""

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return 3 * torch.sum(positions**2)


class Charged(torch.nn.Module):
    """E = sum Z r^2 + charge sum x, and the sum of Z."""

    def forward(
        self, positions: torch.Tensor, atomic_numbers: torch.Tensor, charge: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        energy = torch.sum(atomic_numbers * (positions**2).sum(1)) + charge * positions[:, 0].sum()
        return energy, atomic_numbers.sum()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def stiffer(save_model: Save) -> Path:
    return save_model(Stiffer(), "stiffer.pt")


@pytest.fixture
def charged(save_model: Save) -> Path:
    path = save_model(Charged(), "charged.pt")
    inputs = ["positions", "atomic_numbers", "charge"]
    write_spec(path, ModelSpec("charged", "nm", "kJ/mol", "float64", inputs=inputs, outputs=["energy", "electrons"]))
    return path


def particles(n: int, *forces: openmm.Force) -> openmm.System:
    """A System of n particles of mass 1 to n."""
    system = openmm.System()
    for i in range(n):
        system.addParticle(i + 1.0)
    for force in forces:
        system.addForce(force)
    return system


def subset(path: Path, *indices: int, name: str = "NNPForce") -> NNPForce:
    """A force on some particles, joined to one molecule as devices need it inside other forces."""
    force = NNPForce(path)
    force.setParticles(indices)
    for pair in itertools.pairwise(indices):
        force.addBond(*pair)
    force.setName(name)
    return force


def assert_result(context: openmm.Context, energy: float, forces: np.ndarray, tolerance: float) -> None:
    found = energy_and_forces(context)
    assert found[0] == pytest.approx(energy, rel=tolerance)
    np.testing.assert_allclose(found[1], forces, rtol=0, atol=tolerance * np.abs(forces).max())


# Inside other forces


def test_collective_variable(platform: Platform, harmonic: Path, positions: np.ndarray, tolerance: float) -> None:
    """E = k/2 (u - 5)^2 + u with u = lambda sum r^2 over three particles."""
    force = subset(harmonic, 4, 1, 2)
    force.setScaleParameter("lambda", 0.5)
    bias = openmm.CustomCVForce("k/2*(u-5)^2+u")
    bias.addGlobalParameter("k", 0.3)
    bias.addCollectiveVariable("u", force)
    context = context_of(particles(7, bias), positions, platform)
    for scale in (0.5, 0.8):
        context.setParameter("lambda", scale)
        u = scale * np.sum(positions[[4, 1, 2]] ** 2)
        gradient = np.zeros((7, 3))
        gradient[[4, 1, 2]] = 2 * scale * positions[[4, 1, 2]]
        assert_result(context, 0.15 * (u - 5) ** 2 + u, -(0.3 * (u - 5) + 1) * gradient, tolerance)
        assert bias.getCollectiveVariableValues(context)[0] == pytest.approx(u, rel=tolerance)


def test_force_in_a_collective_variable_is_found(
    platform: Platform, harmonic: Path, stiffer: Path, positions: np.ndarray, tolerance: float
) -> None:
    force = subset(harmonic, 0, 3)
    bias = openmm.CustomCVForce("2*u")
    bias.addCollectiveVariable("u", force)
    context = context_of(particles(7, bias), positions, platform)
    u = np.sum(positions[[0, 3]] ** 2)
    for path, factor in ((harmonic, 1), (stiffer, 3)):
        force.setModelFile(path)
        force.updateParametersInContext(context)
        assert energy_and_forces(context)[0] == pytest.approx(2 * factor * u, rel=tolerance)
        assert force.getOutput(context, "energy")._value == pytest.approx(factor * u, rel=tolerance)
        assert force.getDiagnostics(context)["particles"] == 2


def test_equal_forces_in_collective_variables_need_names(
    platform: Platform, harmonic: Path, stiffer: Path, positions: np.ndarray, tolerance: float
) -> None:
    def biased(*names: str) -> tuple[list[NNPForce], openmm.Context]:
        forces = [subset(harmonic, 0, 3, name=name) for name in names]
        bias = openmm.CustomCVForce("u+10*v")
        for variable, force in zip("uv", forces, strict=True):
            bias.addCollectiveVariable(variable, force)
        context = context_of(particles(7, bias), positions, platform)
        energy_and_forces(context)
        return forces, context

    forces, context = biased("ligand", "ligand")
    for ask in (
        forces[0].getDiagnostics,
        forces[0].updateParametersInContext,
        lambda c: forces[1].getOutput(c, "energy"),
    ):
        text = r"ligand: the Context contains 2 forces equal .* setName\(\)"
        with pytest.raises(openmm.OpenMMException, match=text):
            ask(context)

    forces, context = biased("ligand", "site")
    forces[1].setModelFile(stiffer)
    forces[1].updateParametersInContext(context)
    u = np.sum(positions[[0, 3]] ** 2)
    assert energy_and_forces(context)[0] == pytest.approx(u + 30 * u, rel=tolerance)
    assert [f.getOutput(context, "energy")._value for f in forces] == pytest.approx([u, 3 * u], rel=tolerance)


def test_alchemical_transfer(platform: Platform, harmonic: Path, positions: np.ndarray, tolerance: float) -> None:
    """E = (1 - s) u(x) + s u(x + d), the particles 2 to 4 being displaced."""
    displacement = np.zeros((7, 3))
    displacement[2:5] = 0.5, -1, 2
    transfer = openmm.ATMForce("(1-s)*u0+s*u1")
    transfer.addGlobalParameter("s", 0.25)
    for d in displacement:
        transfer.addParticle(openmm.Vec3(*d))
    force = subset(harmonic, 5, 3, 2)
    transfer.addForce(force)
    context = context_of(particles(7, transfer), positions, platform)
    chosen = np.zeros((7, 1))
    chosen[[5, 3, 2]] = 1
    moved = positions + displacement
    for s in (0.25, 1, 0):
        context.setParameter("s", s)
        energy = np.sum(chosen * ((1 - s) * positions**2 + s * moved**2))
        assert_result(context, energy, -2 * chosen * ((1 - s) * positions + s * moved), tolerance)
    with pytest.raises(openmm.OpenMMException, match="inside an ATMForce cannot be reached"):
        force.getDiagnostics(context)


def test_forces_that_share_a_model(platform: Platform, harmonic: Path, positions: np.ndarray, tolerance: float) -> None:
    forces = [subset(harmonic, 0, 1, 2), subset(harmonic, 2, 3), NNPForce(harmonic)]
    for i, force in enumerate(forces):
        force.setScaleParameter(f"s{i}", i + 1)
        force.setForceGroup(i)
    context = context_of(particles(7, *forces), positions, platform)
    squares = np.sum(positions**2, 1)
    expected = [squares[:3].sum(), squares[2:4].sum(), squares.sum()]
    weights = np.array([4, 4, 6, 5, 3, 3, 3])[:, None]
    assert_result(context, expected[0] + 2 * expected[1] + 3 * expected[2], -2 * weights * positions, tolerance)
    assert [f.getOutput(context, "energy")._value for f in forces] == pytest.approx(expected, rel=tolerance)
    for i in range(3):
        energy = context.getState(energy=True, groups={i}).getPotentialEnergy()._value
        assert energy == pytest.approx((i + 1) * expected[i], rel=tolerance)


def test_virtual_sites(platform: Platform, harmonic: Path, tolerance: float) -> None:
    """The model sees a virtual site and one of its three parents."""
    positions = np.random.default_rng(3).uniform(-1, 1, (5, 3))
    system = particles(5, subset(harmonic, 4, 1))
    system.setParticleMass(4, 0)
    system.setVirtualSite(4, openmm.ThreeParticleAverageSite(0, 1, 3, 0.5, 0.2, 0.3))
    context = context_of(system, positions, platform)
    context.computeVirtualSites()
    site = 0.5 * positions[0] + 0.2 * positions[1] + 0.3 * positions[3]
    expected = -2 * np.outer([0.5, 0.2, 0, 0.3], site)
    expected[1] -= 2 * positions[1]
    energy, forces = energy_and_forces(context)
    assert energy == pytest.approx(site @ site + positions[1] @ positions[1], rel=tolerance)
    np.testing.assert_allclose(forces[:4], expected, atol=4 * tolerance)
    differences = central_differences(context, 1e-3, [0, 1, 2, 3])  # exact for a quadratic energy
    np.testing.assert_allclose(differences[:4], expected, atol=1e3 * tolerance)


# Contexts


@pytest.mark.figure("G2", what="two Contexts")
def test_contexts_of_one_system(platform: Platform, harmonic: Path, positions: np.ndarray, tolerance: float) -> None:
    force = subset(harmonic, 6, 0)
    system = particles(7, force)
    contexts = [context_of(system, (i + 1) * positions, platform) for i in range(3)]
    expected = np.sum(positions[[6, 0]] ** 2) * np.array([1, 4, 9])
    for order in ([0, 1, 2], [2, 0, 1]):
        for i in order:
            assert energy_and_forces(contexts[i])[0] == pytest.approx(expected[i], rel=tolerance)
    outputs = [force.getOutput(context, "energy")._value for context in contexts]
    assert outputs == pytest.approx(list(expected), rel=tolerance)
    del contexts[0]
    gc.collect()
    contexts[0].setPositions(positions)
    assert energy_and_forces(contexts[0])[0] == pytest.approx(expected[0], rel=tolerance)


def test_reinitialize_takes_changes_and_keeps_the_state(
    platform: Platform, save_model: Save, positions: np.ndarray, tolerance: float
) -> None:
    force = NNPForce(save_model(HarmonicWithParameters()))
    force.addGlobalParameter("k", 2)
    force.addGlobalParameter("c", 0)
    context = context_of(particles(7, force), positions, platform)
    context.setVelocities(positions / 2)
    context.setParameter("k", 5)
    before = coordinates(context)
    assert energy_and_forces(context)[0] == pytest.approx(5 * np.sum(positions**2), rel=tolerance)
    force.setParticles([1, 2])
    context.reinitialize(preserveState=True)
    np.testing.assert_array_equal(coordinates(context), before)
    assert energy_and_forces(context)[0] == pytest.approx(5 * np.sum(positions[1:3] ** 2), rel=tolerance)
    assert force.getDiagnostics(context)["particles"] == 2


def test_update_of_atomic_numbers_and_charge(
    platform: Platform, charged: Path, positions: np.ndarray, tolerance: float
) -> None:
    force = NNPForce(charged, atomicNumbers=[1, 6], charge=1)
    force.setParticles([3, 5])
    context = context_of(particles(7, force), positions, platform)
    x = positions[[3, 5]]

    def energy(z: list[int], charge: int) -> float:
        return z @ np.sum(x**2, 1) + charge * np.sum(x[:, 0])

    assert energy_and_forces(context)[0] == pytest.approx(energy([1, 6], 1), rel=tolerance)
    force.setAtomicNumbers([8, 7])
    force.setCharge(-2)
    assert energy_and_forces(context)[0] == pytest.approx(energy([1, 6], 1), rel=tolerance)
    force.updateParametersInContext(context)
    assert energy_and_forces(context)[0] == pytest.approx(energy([8, 7], -2), rel=tolerance)
    assert force.getOutput(context, "electrons") == 15


def test_update_that_does_not_fit_changes_nothing(
    platform: Platform, harmonic: Path, charged: Path, positions: np.ndarray, tolerance: float
) -> None:
    force = NNPForce(charged, atomicNumbers=range(1, 8))
    context = context_of(particles(7, force), positions, platform)
    expected = np.arange(1, 8) @ np.sum(positions**2, 1)
    force.setModelFile(harmonic)
    with pytest.raises(openmm.OpenMMException, match="The new model takes positions and gives energy, but"):
        force.updateParametersInContext(context)
    spec = read_spec(charged)
    assert spec is not None
    single = charged.with_name("single.pt")
    single.write_bytes(charged.read_bytes())
    write_spec(single, replace(spec, dtype="float32"))
    force.setModelFile(single)
    with pytest.raises(openmm.OpenMMException, match="computes in float32, but the model in the Context .* in float64"):
        force.updateParametersInContext(context)
    force.setModelFile(charged)
    force.setAtomicNumbers([1, 2])
    with pytest.raises(openmm.OpenMMException, match="2 values, but the force has 7 particles"):
        force.updateParametersInContext(context)
    force.setAtomicNumbers(range(1, 8))
    force.setParticles(range(6, -1, -1))
    with pytest.raises(openmm.OpenMMException, match="particles"):
        force.updateParametersInContext(context)
    assert energy_and_forces(context)[0] == pytest.approx(expected, rel=tolerance)


# Dynamics


def test_constraints(platform: Platform, stiffer: Path, tolerance: float) -> None:
    """Three dumbbells in a well: lengths are kept, and so is the total energy while potential energy is exchanged."""
    rng = np.random.default_rng(5)
    centers = rng.uniform(-0.4, 0.4, (3, 3))
    bonds = rng.standard_normal((3, 3))
    bonds *= 0.1 / np.linalg.norm(bonds, axis=1)[:, None]
    positions = np.stack([centers, centers + bonds], 1).reshape(6, 3)
    system = particles(6, NNPForce(stiffer))
    for i in (0, 2, 4):
        system.addConstraint(i, i + 1, 0.1)
    integrator = openmm.VerletIntegrator(0.002)
    integrator.setConstraintTolerance(1e-8)
    context = context_of(system, positions, platform, integrator)
    context.setVelocitiesToTemperature(300, 1)
    total, potential = [], []
    for _ in range(200):
        integrator.step(1)
        state = context.getState(energy=True)
        potential.append(state.getPotentialEnergy()._value)
        total.append(potential[-1] + state.getKineticEnergy()._value)
    x = coordinates(context)[0]
    assert potential[-1] == pytest.approx(3 * np.sum(x**2), rel=tolerance)
    np.testing.assert_allclose(np.linalg.norm(x[::2] - x[1::2], axis=1), 0.1, rtol=1e-7)
    assert np.ptp(total) < 1e-3 * np.ptp(potential)


def test_multiple_time_steps(platform: Platform, stiffer: Path, tolerance: float) -> None:
    """A bond every 0.5 fs, the model every 2 fs; the oracle is r-RESPA written out."""
    positions = np.random.default_rng(2).uniform(-0.3, 0.3, (4, 3))
    bond = openmm.HarmonicBondForce()
    bond.addBond(0, 1, 0.2, 5e4)
    force = NNPForce(stiffer)
    force.setForceGroup(1)
    integrator = openmm.MTSIntegrator(0.002, [(1, 1), (0, 4)])
    context = context_of(particles(4, bond, force), positions, platform, integrator)
    integrator.step(20)

    x, v, mass, h = positions.copy(), np.zeros((4, 3)), np.arange(1, 5.0)[:, None], 0.002

    def fast() -> np.ndarray:
        vector = x[1] - x[0]
        pull = 5e4 * (1 - 0.2 / np.linalg.norm(vector)) * vector
        return np.array([pull, -pull, 0 * pull, 0 * pull])

    for _ in range(20):
        v += h / 2 * -6 * x / mass
        for _ in range(4):
            v += h / 8 * fast() / mass
            x += h / 4 * v
            v += h / 8 * fast() / mass
        v += h / 2 * -6 * x / mass
    np.testing.assert_allclose(coordinates(context), [x, v], atol=1e4 * tolerance)
    assert force.getDiagnostics(context)["evaluations"] <= 21


class Reporter(openmm.MinimizationReporter):
    """Runs torch in Python while OpenMM minimizes."""

    calls = 0

    def report(self, iteration: int, x: Any, gradient: Any, values: Any) -> bool:
        self.calls += 1
        position = torch.tensor(list(x), requires_grad=True)
        Harmonic()(position).backward()
        return not bool(torch.isfinite(position.grad).all())


@pytest.mark.parametrize("reporter", [None, Reporter()], ids=["alone", "reporter"])
@pytest.mark.figure("G10", what="minimizer with a Python reporter")
def test_minimizer(platform: Platform, stiffer: Path, positions: np.ndarray, reporter: Reporter | None) -> None:
    """Within 0.1 kJ/mol/nm of the minimum of 3 sum r^2 plus a bond; Python's lock is held if there is a reporter."""
    bond = openmm.HarmonicBondForce()
    bond.addBond(0, 1, 1, 4)
    context = context_of(particles(7, NNPForce(stiffer), bond), positions, platform)
    openmm.LocalEnergyMinimizer.minimize(context, 1e-4, 0, reporter)
    length = 4 / (4 + 3)  # minimum of 2 (d - 1)^2 + 2 * 3 (d/2)^2
    assert energy_and_forces(context)[0] == pytest.approx(2 * (length - 1) ** 2 + 1.5 * length**2, rel=1e-5)
    assert reporter is None or reporter.calls > 0


# Restarts and copies


@pytest.fixture
def langevin(stiffer: Path) -> Callable[[Platform, np.ndarray], openmm.Context]:
    """Function that makes a Context with Langevin dynamics in which the model acts on three of the particles."""
    system = particles(7, subset(stiffer, 5, 0, 2))

    def make(platform: Platform, positions: np.ndarray) -> openmm.Context:
        integrator = openmm.LangevinMiddleIntegrator(300, 5, 0.002)
        integrator.setRandomNumberSeed(11)
        return context_of(system, positions, platform, integrator)

    return make


@pytest.mark.figure("G7", what="checkpoint and State of OpenMM, bit for bit")
def test_checkpoint_continues_bit_for_bit(platform: Platform, langevin: Any, positions: np.ndarray) -> None:
    context = langevin(platform, positions)
    context.getIntegrator().step(20)
    checkpoint = context.createCheckpoint()
    context.getIntegrator().step(30)
    expected = coordinates(context)
    for again in (context, langevin(platform, 0 * positions)):
        again.loadCheckpoint(checkpoint)
        again.getIntegrator().step(30)
        np.testing.assert_array_equal(coordinates(again), expected)


@pytest.mark.figure("G11", what="in a run, and the last checkpoint is good")
def test_blow_up_is_found_where_it_arises_and_the_last_checkpoint_is_good(platform: Platform, tmp_path: Path) -> None:
    """The model has no energy beyond x = 0.5 nm, which particle 0 passes in its 50th step."""
    path = tmp_path / "edge.pt"
    scripted("return (positions**2).sum() + 0 * torch.sqrt(0.5 - positions[0, 0])").save(str(path))
    write_spec(path, ModelSpec("edge", "nm", "kJ/mol", "float64"))
    context = context_of(particles(3, NNPForce(path)), np.array([[0.005, 0, 0], [0, 1, 0], [0, 0, 2]]), platform)
    context.setVelocities([[10, 0, 0], [0, 0, 0], [0, 0, 0]])
    text = (
        r"edge.pt'\): The model's force on particle 0 is \(-?nan, .*\) in evaluation (\d+)\. The nearest neighbor of "
    )
    text += r"particle 0 among the particles of the force is particle 1, 1\.1\d+ nm away\. The last good energies were"
    steps = 0
    with pytest.raises(openmm.OpenMMException, match=text):
        for _ in range(100):
            energy = energy_and_forces(context)[0]
            checkpoint = context.createCheckpoint()
            context.getIntegrator().step(1)
            steps += 1
    assert steps == 50
    context.loadCheckpoint(checkpoint)
    assert energy_and_forces(context)[0] == energy
    assert 0.49 < coordinates(context)[0][0, 0] < 0.5


@pytest.mark.figure("G7", what="checkpoint and State of OpenMM, bit for bit")
def test_state_xml_continues_bit_for_bit(platform: Platform, stiffer: Path, positions: np.ndarray) -> None:
    force = NNPForce(stiffer)
    force.setScaleParameter("lambda", 1)
    system = particles(7, force)
    context = context_of(system, positions, platform)
    context.setParameter("lambda", 0.3)
    context.getIntegrator().step(20)
    state = context.getState(positions=True, velocities=True, parameters=True, integratorParameters=True)
    xml = openmm.XmlSerializer.serialize(state)
    again = context_of(system, 0 * positions, platform)
    again.setState(openmm.XmlSerializer.deserialize(xml))
    assert energy_and_forces(again)[0] == energy_and_forces(context)[0]
    for one in (context, again):
        one.getIntegrator().step(30)
    np.testing.assert_array_equal(coordinates(again), coordinates(context))


@pytest.mark.parametrize(
    "duplicate",
    [
        copy.deepcopy,
        lambda system: pickle.loads(pickle.dumps(system)),
        lambda system: openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system)),
    ],
    ids=["deepcopy", "pickle", "xml"],
)
def test_copies_of_a_system_evaluate_alike(
    platform: Platform, charged: Path, positions: np.ndarray, duplicate: Callable[[openmm.System], openmm.System]
) -> None:
    """Inside a CustomCVForce and beside it, with everything that changes energies set."""
    force = NNPForce(charged, atomicNumbers=[6, 1, 8], charge=-1)
    force.setParticles([4, 0, 6])
    force.setScaleParameter("lambda", 0.7)
    bias = openmm.CustomCVForce("u^2")
    bias.addCollectiveVariable("u", copy.deepcopy(force))
    system = particles(7, force, bias)
    expected = energy_and_forces(context_of(system, positions, platform))
    twin = duplicate(system)
    del system, force, bias
    gc.collect()
    charged.unlink()
    found = energy_and_forces(context_of(twin, positions, platform))
    assert found[0] == expected[0] != 0
    np.testing.assert_array_equal(found[1], expected[1])
