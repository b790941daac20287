"""NNPForce on CUDA against Reference: numbers, graphs, what goes wrong, several Contexts, and the end of a process."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import unit

from neighbors_oracle import save_edges
from openmmnnp import NNPForce

PARTICLES = [40, 7, 12, 13, 77, 20, 3]
NUMBERS = [8, 1, 1, 6, 6, 8, 1]
SCALE = 0.1  # nm, the size of the cluster of particles that the model sees

Save = Callable[..., Path]


def pair_force(path: Path) -> NNPForce:
    force = NNPForce(path, atomicNumbers=NUMBERS)
    force.setParticles(PARTICLES)
    force.addGlobalParameter("k", 0.4)
    force.addEnergyParameterDerivative("k")
    force.setForceGroup(1)
    return force


def box_of_particles(*forces: openmm.Force, n: int = 90) -> tuple[openmm.System, np.ndarray]:
    """Particles with PME, so that OpenMM sorts them, and positions [n, 3] in nm; those of the model lie close."""
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors([3, 0, 0], [0.3, 3, 0], [-0.4, 0.5, 3])
    nonbonded = openmm.NonbondedForce()
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.PME)
    nonbonded.setCutoffDistance(1.0)
    generator = np.random.default_rng(4)
    x = generator.uniform(0, 3, (n, 3))
    x[PARTICLES] = [2.9, 0.1, 1.5] + SCALE * generator.normal(size=(len(PARTICLES), 3))
    for i in range(n):
        system.addParticle(20.0)
        nonbonded.addParticle(0.01 * (-1) ** i, 0.01, 0.0)
    system.addForce(nonbonded)
    for force in forces:
        system.addForce(force)
    return system, x


def context_of(
    system: openmm.System, x: np.ndarray, platform: str, precision: str = "mixed", integrator: object = None
) -> openmm.Context:
    integrator = integrator or openmm.VerletIntegrator(1e-4)
    properties = {"Precision": precision} if platform == "CUDA" else {}
    context = openmm.Context(system, integrator, openmm.Platform.getPlatform(platform), properties)
    context.setPositions(x)
    context._keep = system
    return context


def alone(context: openmm.Context, group: int = 1) -> tuple[float, np.ndarray, dict[str, float]]:
    """Energy in kJ/mol, forces [n, 3] in kJ/mol/nm and derivatives of one force group."""
    state = context.getState(energy=True, forces=True, parameterDerivatives=True, groups={group})
    return (
        state.getPotentialEnergy()._value,
        state.getForces(asNumpy=True)._value,
        dict(state.getEnergyParameterDerivatives()),
    )


def assert_same(context: openmm.Context, reference: openmm.Context, precision: str) -> None:
    """Energy, forces and derivatives are those of the Reference platform, where the model is a float32 one."""
    energy, forces, derivatives = alone(context)
    expected_energy, expected_forces, expected_derivatives = alone(reference)
    assert energy == pytest.approx(expected_energy, abs=1e-2 + 1e-6 * abs(expected_energy - offset(reference)))
    size = np.sqrt((expected_forces**2).sum(1).mean())
    assert np.median(np.abs(forces - expected_forces)) <= (3e-5 if precision == "single" else 1e-5) * size
    assert derivatives.keys() == expected_derivatives.keys()
    for name, value in derivatives.items():
        assert value == pytest.approx(expected_derivatives[name], rel=1e-4)


def offset(context: openmm.Context) -> float:
    return diagnostics(context)["energyOffset"]


def diagnostics(context: openmm.Context, index: int = 1) -> dict:
    return NNPForce.cast(context.getSystem().getForce(index)).getDiagnostics(context)


@pytest.fixture
def both(pair_file: Path, pair_files: dict[str, Path], precision: str) -> tuple[openmm.Context, openmm.Context]:
    """A Context on CUDA and one on Reference."""
    system, x = box_of_particles(pair_force(pair_file))
    reference, _ = box_of_particles(pair_force(pair_files["pt"]))
    context = context_of(system, x, "CUDA", precision)
    rounded = context.getState(positions=True).getPositions(asNumpy=True)._value
    return context, context_of(reference, rounded, "Reference")


# Numbers


def test_equal_to_reference(both: tuple[openmm.Context, openmm.Context], precision: str) -> None:
    assert_same(*both, precision)


def test_equal_when_particles_move_and_the_parameter_changes(
    both: tuple[openmm.Context, openmm.Context], precision: str
) -> None:
    context, reference = both
    generator = np.random.default_rng(9)
    for step in range(25):  # plain, captured, replayed
        x = context.getState(positions=True).getPositions(asNumpy=True)._value + 0.01 * generator.normal(size=(90, 3))
        context.setPositions(x)
        reference.setPositions(context.getState(positions=True).getPositions(asNumpy=True)._value)
        for each in both:
            each.setParameter("k", 0.4 + 0.01 * (step // 5))
        assert_same(context, reference, precision)
    assert diagnostics(context)["cudaGraph"], diagnostics(context)["cudaGraphReason"]


def test_energy_alone_is_that_with_forces(both: tuple[openmm.Context, openmm.Context]) -> None:
    context = both[0]
    for _ in range(14):
        energy = context.getState(energy=True, groups={1}).getPotentialEnergy()._value
        assert energy == pytest.approx(alone(context)[0], rel=1e-6)


def test_outputs_are_those_of_the_last_evaluation(both: tuple[openmm.Context, openmm.Context]) -> None:
    for _ in range(13):
        outputs = []
        for context in both:
            force = NNPForce.cast(context.getSystem().getForce(1))
            context.getState(forces=True)
            value = force.getOutput(context, "atomic_energy")
            outputs.append(np.array(value._value if unit.is_quantity(value) else value))
        np.testing.assert_allclose(outputs[0], outputs[1], rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("first", [True, False])
def test_order_of_forces(pair_file: Path, first: bool) -> None:
    def bond() -> openmm.Force:
        force = openmm.HarmonicBondForce()
        force.addBond(7, 12, 0.1, 1000.0)
        return force

    forces = [pair_force(pair_file), bond(), pair_force(pair_file)]
    system, x = box_of_particles(*(forces if first else forces[::-1]))
    total = context_of(system, x, "CUDA", "double").getState(energy=True, forces=True)
    parts = []
    for some in ([], [pair_force(pair_file)], [bond()]):
        system, _ = box_of_particles(*some)
        parts.append(context_of(system, x, "CUDA", "double").getState(energy=True).getPotentialEnergy()._value)
    expected = parts[0] + 2 * (parts[1] - parts[0]) + (parts[2] - parts[0])
    assert total.getPotentialEnergy()._value == pytest.approx(expected, rel=1e-6)


def test_inside_a_collective_variable(pair_file: Path, precision: str) -> None:
    force = pair_force(pair_file)
    force.setUsesPeriodicBoundaryConditions(False)
    for i in range(len(PARTICLES) - 1):
        force.addBond(PARTICLES[i], PARTICLES[i + 1])
    cv = openmm.CustomCVForce("0.5*nnp")
    cv.addCollectiveVariable("nnp", force)
    cv.setForceGroup(1)
    system, x = box_of_particles(cv)
    plain, _ = box_of_particles(pair_force(pair_file))
    context, other = context_of(system, x, "CUDA", precision), context_of(plain, x, "CUDA", precision)
    for _ in range(12):
        energy, forces, _ = alone(context)
        expected_energy, expected, _ = alone(other)
        assert energy == pytest.approx(0.5 * expected_energy, rel=1e-5)
        np.testing.assert_allclose(forces, 0.5 * expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_barostat(save_scripted: Save, precision: str) -> None:
    path = save_scripted("return 100 * box[0, 0] + 0 * positions.sum()", "positions, box", inputs=["positions", "box"])
    force = NNPForce(path)
    force.setParticles(PARTICLES)
    force.setUsesPeriodicBoundaryConditions(True)
    force.setForceGroup(1)
    system, x = box_of_particles(force)
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0, 2))
    context = context_of(system, x, "CUDA", precision, openmm.LangevinMiddleIntegrator(300.0, 1.0, 1e-4))
    for _ in range(6):
        context.getIntegrator().step(10)
        length = context.getState().getPeriodicBoxVectors(asNumpy=True)._value[0, 0]
        assert alone(context)[0] == pytest.approx(100 * length, rel=1e-6)
    assert length != 3
    assert diagnostics(context)["cudaGraph"], diagnostics(context)["cudaGraphReason"]


def test_scale_parameter(pair_file: Path) -> None:
    force = pair_force(pair_file)
    force.setScaleParameter("s", 1.0)
    system, x = box_of_particles(force)
    context = context_of(system, x, "CUDA", "double")
    energy, forces, _ = alone(context)
    for scale in (0.5, 0.0, -1.0):
        context.setParameter("s", scale)
        scaled_energy, scaled_forces, _ = alone(context)
        assert scaled_energy == pytest.approx(scale * energy, rel=1e-6)
        np.testing.assert_allclose(scaled_forces, scale * forces, rtol=1e-5, atol=1e-4)


def test_new_model_in_a_context(save_scripted: Save) -> None:
    paths = [save_scripted(f"return {k} * (positions**2).sum()") for k in (3.0, 5.0)]
    force = NNPForce(paths[0])
    force.setParticles(PARTICLES)
    force.setForceGroup(1)
    system, x = box_of_particles(force)
    context = context_of(system, x, "CUDA", "double")
    for _ in range(13):
        before = alone(context)[0]
    force = NNPForce.cast(system.getForce(1))
    force.setModelFile(paths[1])
    force.updateParametersInContext(context)
    for _ in range(13):
        assert alone(context)[0] == pytest.approx(5 / 3 * before, rel=1e-12)


# Graphs


def test_graph_state(pair_file: Path) -> None:
    force = pair_force(pair_file)
    force.setCudaGraphWarmupSteps(4)
    system, x = box_of_particles(force)
    context = context_of(system, x, "CUDA")
    for step in range(7):
        found = diagnostics(context)
        assert found["cudaGraph"] == (step > 4)
        assert found["cudaGraphReason"] == (
            "" if step > 4 else f"it is captured after 4 evaluations, of which {step} were made"
        )
        alone(context)


@pytest.mark.parametrize("n", [60, 700])
def test_edges_that_grow(tmp_path: Path, n: int) -> None:
    """Edges of a gas, and of a cluster that does not fit at first; a graph is captured again when arrays have grown."""
    path = save_edges(tmp_path / "edges.pt", 0.5, dtype="float32")
    contexts, forces = [], []
    for platform in ("CUDA", "Reference"):
        force = NNPForce(path)
        force.setUsesPeriodicBoundaryConditions(True)
        force.setCudaGraphWarmupSteps(2)
        force.setForceGroup(1)
        system, x = openmm.System(), np.random.default_rng(n).uniform(0, 4, (n, 3))
        system.setDefaultPeriodicBoxVectors([4, 0, 0], [0, 4, 0], [0, 0, 4])
        for _ in range(n):
            system.addParticle(10.0)
        system.addForce(force)
        contexts.append(context_of(system, x, platform))
        forces.append(force)
    for size in (1.0, 0.3, 0.15):
        for step in range(6):
            for context in contexts:
                context.setPositions(size * x + 0.01 * step)
            (energy, found, _), (expected_energy, expected, _) = (alone(context) for context in contexts)
            assert energy == pytest.approx(expected_energy, rel=1e-5)
            np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max() + 1e-6)
            edges = [force.getDiagnostics(context)["edges"] for force, context in zip(forces, contexts, strict=True)]
            assert abs(edges[0] - edges[1]) <= 2  # positions are rounded to float32
        assert diagnostics(contexts[0])["cudaGraph"]


def test_graphs_switched_off(pair_file: Path) -> None:
    force = pair_force(pair_file)
    force.setCudaGraphs(False)
    system, x = box_of_particles(force)
    context = context_of(system, x, "CUDA")
    for _ in range(12):
        alone(context)
    assert not diagnostics(context)["cudaGraph"]
    assert "setCudaGraphs(False)" in diagnostics(context)["cudaGraphReason"]


def test_what_cannot_be_captured_runs_plainly(save_scripted: Save, capfd: pytest.CaptureFixture[str]) -> None:
    force = NNPForce(save_scripted("return (positions**2).sum() * float(positions[0, 0].item() > -100.0)"))
    force.setParticles(PARTICLES)
    force.setForceGroup(1)
    force.setCudaGraphWarmupSteps(1)
    system, x = box_of_particles(force)
    contexts = context_of(system, x, "CUDA", "double"), context_of(system, x, "Reference")
    for _ in range(4):
        assert alone(contexts[0])[0] == pytest.approx(alone(contexts[1])[0], rel=1e-9)
    assert not diagnostics(contexts[0])["cudaGraph"]
    assert diagnostics(contexts[0])["cudaGraphReason"]
    assert capfd.readouterr().err.count("runs without a CUDA graph") == 1
    other, _ = box_of_particles(NNPForce(save_scripted("return (positions**2).sum()")))
    context = context_of(other, x, "CUDA")  # a capture that failed does no harm to the next
    for _ in range(13):
        context.getState(forces=True)
    assert diagnostics(context)["cudaGraph"], diagnostics(context)["cudaGraphReason"]


# What goes wrong

BLOWS_UP = "return (positions**2).sum() / (2 - k) + 0 * torch.sqrt(1.5 - k)"


def blowing_up(save_scripted: Save, precision: str) -> openmm.Context:
    force = NNPForce(save_scripted(BLOWS_UP, "positions, k", inputs=["positions", "parameters.k"]))
    force.setParticles(PARTICLES)
    force.addGlobalParameter("k", 1.0)
    system, x = box_of_particles(force)
    return context_of(system, x, "CUDA", precision)


@pytest.mark.parametrize("steps", [1, 15])
def test_not_a_number_is_found_within_two_evaluations(save_scripted: Save, precision: str, steps: int) -> None:
    context = blowing_up(save_scripted, precision)
    x = context.getState(positions=True).getPositions()
    context.getIntegrator().step(steps)
    count = diagnostics(context)["evaluations"]
    context.setParameter("k", 1.75)
    with pytest.raises(
        openmm.OpenMMException, match=rf"nan.* in evaluation {count + 1}\. The nearest neighbor"
    ) as found:
        context.getIntegrator().step(4)
    assert "The last good energies were" in str(found.value)
    context.setParameter("k", 1.0)
    context.setPositions(x)
    context.setVelocities(np.zeros((90, 3)))
    context.getIntegrator().step(3)
    assert np.isfinite(context.getState(energy=True).getPotentialEnergy()._value)


def test_not_a_number_is_an_error_of_the_energy(save_scripted: Save) -> None:
    context = blowing_up(save_scripted, "mixed")
    context.getState(energy=True)
    context.setParameter("k", 1.75)
    with pytest.raises(openmm.OpenMMException, match="is .*nan.* in evaluation 2"):
        context.getState(energy=True)
    context.setParameter("k", 1.0)
    assert np.isfinite(context.getState(energy=True).getPotentialEnergy()._value)


def test_force_that_is_too_large(save_scripted: Save) -> None:
    force = NNPForce(save_scripted("return 1e12 * (positions**2).sum()"))
    force.setParticles(PARTICLES)
    system, x = box_of_particles(force)
    context = context_of(system, x, "CUDA")
    with pytest.raises(openmm.OpenMMException, match="more than OpenMM's fixed-point numbers can hold"):
        context.getState(forces=True, energy=True)


def test_device_in_the_code(save_scripted: Save) -> None:
    path = save_scripted('return (positions * torch.ones(3, dtype=torch.float64, device="cpu")).sum()')
    system, x = box_of_particles(NNPForce(path))
    context = context_of(system, x, "CUDA")
    with pytest.raises(openmm.OpenMMException, match="a device is baked into its code"):
        context.getState(energy=True)


def test_package_for_the_cpu(pair_files: dict[str, Path]) -> None:
    system, x = box_of_particles(pair_force(pair_files["cpu"]))
    with pytest.raises(openmm.OpenMMException, match="compiled for the device 'cpu', but this Context .* on 'cuda'"):
        context_of(system, x, "CUDA")


def test_wrong_shape(save_scripted: Save) -> None:
    path = save_scripted("return (positions**2).sum(), positions.t()", outputs=["energy", "forces"])
    system, x = box_of_particles(NNPForce(path))
    context = context_of(system, x, "CUDA")
    with pytest.raises(openmm.OpenMMException, match=r"forces that are float64 \[3, 90\], but .* \[90, 3\] is needed"):
        context.getState(energy=True)


# Several Contexts


def test_two_contexts_in_turn(pair_file: Path) -> None:
    contexts = []
    for shift in (0.0, 0.05):
        system, x = box_of_particles(pair_force(pair_file))
        x[PARTICLES[0]] += shift
        contexts.append(context_of(system, x, "CUDA", "double"))
    first = [alone(context)[0] for context in contexts]
    for _ in range(15):
        for context, energy in zip(contexts, first, strict=True):
            assert alone(context)[0] == pytest.approx(energy, rel=1e-6)


def test_contexts_in_threads(pair_file: Path) -> None:
    def run(seed: int) -> tuple[float, float]:
        system, x = box_of_particles(pair_force(pair_file))
        context = context_of(system, x, "CUDA", "double")
        first = alone(context)[0]
        for _ in range(40):
            context.getState(forces=True)
        return first, alone(context)[0]

    with ThreadPoolExecutor(4) as pool:
        for first, last in pool.map(run, range(4)):
            assert last == pytest.approx(first, rel=1e-6)


def test_many_contexts_leave_nothing_behind(pair_file: Path) -> None:
    import torch

    def used() -> int:
        free, total = torch.cuda.mem_get_info()
        return total - free

    for i in range(12):
        system, x = box_of_particles(pair_force(pair_file))
        context = context_of(system, x, "CUDA")
        for _ in range(12):
            context.getState(forces=True)
        del context
        if i == 4:
            before = used()
    assert used() - before < 64 << 20


EXIT = """
import sys
import openmm, openmmnnp
system = openmm.System()
for _ in range(5):
    system.addParticle(1)
force = openmmnnp.NNPForce(sys.argv[1], atomicNumbers=[1, 1, 6, 8, 1])
force.addGlobalParameter("k", 0.4)
system.addForce(force)
context = openmm.Context(system, openmm.VerletIntegrator(1e-4), openmm.Platform.getPlatform("CUDA"))
context.setPositions([[0.1 * i, 0, 0.05 * i * i] for i in range(5)])
context.getIntegrator().step(20)
kept = {"all": (context, system, force), "context": context, "none": None}[sys.argv[2]]
if sys.argv[2] != "all":
    del system, force
if sys.argv[2] == "none":
    del context
print("torch" in sys.modules)
"""


@pytest.mark.parametrize("kept", ["all", "context", "none"])
def test_process_ends_and_never_imports_torch(pair_file: Path, kept: str) -> None:
    result = subprocess.run([sys.executable, "-c", EXIT, pair_file, kept], capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stdout, re.sub(r"(?m)^.*Warning.*$", "", result.stderr).strip()) == (
        0,
        "False\n",
        "",
    )


def test_minimization_and_dynamics_conserve_energy(pair_file: Path) -> None:
    system, x = box_of_particles(pair_force(pair_file))
    context = context_of(system, x, "CUDA", "mixed", openmm.VerletIntegrator(2e-4))
    openmm.LocalEnergyMinimizer.minimize(context, 10, 20)
    context.setVelocitiesToTemperature(100 * unit.kelvin, 1)
    energies = []
    for _ in range(10):
        context.getIntegrator().step(50)
        state = context.getState(energy=True)
        energies.append((state.getPotentialEnergy() + state.getKineticEnergy())._value)
    assert np.ptp(energies) < 0.05 * state.getKineticEnergy()._value + 0.5
