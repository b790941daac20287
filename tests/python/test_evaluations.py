"""What is evaluated and when, what is scaled and what is used again, on every platform."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openmm
import pytest
import torch

from helpers import HarmonicWithParameters, counts, derivatives, energy, energy_and_forces, scripted
from models import ENERGIES, pair_example, pair_force
from openmmnnp import NNPForce

pytestmark = pytest.mark.asan

Save = Callable[..., Path]
MakeContext = Callable[..., openmm.Context]
Platform = openmm.Platform

EV = 96.48533212331  # kJ/mol


# What is evaluated, and when


def test_force_groups(
    platform: Platform, harmonic: Path, make_context: MakeContext, positions: np.ndarray, tolerance: float
) -> None:
    force = NNPForce(harmonic)
    force.setForceGroup(3)
    context = make_context(platform, force, positions)
    other = openmm.CustomExternalForce("5")
    other.addParticle(0)
    context.getSystem().addForce(other)
    context.reinitialize(preserveState=True)
    assert energy(context, groups={0}) == 5
    assert counts(force, context) == (0, 0, 0)
    expected = np.sum(positions**2)
    assert energy(context, groups={3}) == pytest.approx(expected, rel=tolerance)
    assert energy(context) == pytest.approx(expected + 5, rel=tolerance)
    forces = context.getState(forces=True, groups={0}).getForces(asNumpy=True)._value
    assert np.all(forces == 0)


@pytest.mark.parametrize("own_forces", [False, True], ids=["autograd", "own forces"])
def test_energy_and_forces_alone(
    platform: Platform,
    save_scripted: Save,
    make_context: MakeContext,
    positions: np.ndarray,
    tolerance: float,
    own_forces: bool,
) -> None:
    """Autograd runs only where forces are asked for and the model gives none. A State's energy always comes with forces
    in OpenMM; a barostat asks for the energy alone, and so does this integrator."""
    body = "watched = torch.tensor([positions.requires_grad, k.requires_grad]).to(torch.int64)\n"
    body += "energy = k * (positions**2).sum()\n"
    body += "return energy, watched, -2 * k * positions" if own_forces else "return energy, watched"
    outputs = ["energy", "watched", *(["forces"] if own_forces else [])]
    inputs = ["positions", "parameters.k"]
    force = NNPForce(save_scripted(body, "positions, k", inputs=inputs, outputs=outputs))
    force.addGlobalParameter("k", 3.0)
    integrator = openmm.CustomIntegrator(0.001)
    integrator.addGlobalVariable("e", 0)
    integrator.addComputeGlobal("e", "energy")
    context = make_context(platform, force, positions, integrator=integrator)
    expected = pytest.approx(3 * np.sum(positions**2), rel=tolerance)

    def watched() -> list[bool]:
        return [bool(flag) for flag in force.getOutput(context, "watched")]

    def energy_alone() -> float:
        integrator.step(1)
        return integrator.getGlobalVariableByName("e")

    assert energy_alone() == expected
    assert watched() == [False, False]
    forces = context.getState(forces=True).getForces(asNumpy=True)._value
    np.testing.assert_allclose(forces, -6 * positions, rtol=tolerance)
    assert watched() == [not own_forces, False]
    assert counts(force, context) == (2, 0, 0)
    assert energy_alone() == expected
    assert counts(force, context)[0] == 2, "the evaluation with forces has the energy as well"


@pytest.mark.parametrize("own_forces", [False, True], ids=["autograd", "own forces"])
def test_parameter_derivatives(
    platform: Platform,
    save_model: Save,
    make_context: MakeContext,
    positions: np.ndarray,
    tolerance: float,
    own_forces: bool,
) -> None:
    """E = scale (k sum r^2 + c^2 sum x), by c."""
    force = NNPForce(save_model(HarmonicWithParameters()))
    if own_forces:
        body = "energy = k * (positions**2).sum() + c**2 * positions[:, 0].sum()\n"
        body += "return energy, -2 * k * positions - c**2 * torch.eye(3, dtype=positions.dtype)[0]"
        force = NNPForce(scripted(body, "positions, k, c"))
        force.setOutputsForces(True)
    force.addGlobalParameter("k", 2.0)
    force.addGlobalParameter("c", -1.5)
    force.addEnergyParameterDerivative("c")
    force.setScaleParameter("scale", 0.25)
    context = make_context(platform, force, positions)
    squares, first = np.sum(positions**2), np.sum(positions[:, 0])
    for k, c in ((2, -1.5), (3, 0.5)):
        context.setParameter("k", k)
        context.setParameter("c", c)
        assert derivatives(context)["c"] == pytest.approx(0.25 * 2 * c * first, rel=tolerance)
        found, forces = energy_and_forces(context)
        assert found == pytest.approx(0.25 * (k * squares + c**2 * first), rel=tolerance)
        np.testing.assert_allclose(forces, -0.25 * (2 * k * positions + [c**2, 0, 0]), rtol=tolerance, atol=tolerance)


def test_gradient_stops_where_the_model_stops_it(
    platform: Platform, make_context: MakeContext, positions: np.ndarray, tolerance: float
) -> None:
    """E = sum x.y with y = x, through which no gradient passes: the forces are -y, as in Python."""
    force = NNPForce(scripted("return (positions * positions.detach()).sum()"))
    context = make_context(platform, force, positions)
    np.testing.assert_allclose(energy_and_forces(context)[1], -positions, rtol=tolerance)


# The scale parameter


@pytest.mark.parametrize("scale", [1.0, 0.5, -2.0, 1e-3, 40.0])
def test_scale(platform: Platform, pair_file: Path, make_context: MakeContext, scale: float) -> None:
    """Energy with its constant part, forces and derivatives are scaled; dE/dscale is the energy itself."""
    example = pair_example(5)
    force = pair_force(pair_file, example)
    force.setScaleParameter("scale")
    force.addEnergyParameterDerivative("scale")
    force.addEnergyParameterDerivative("k")
    context = make_context(platform, force, example["positions"] / 10)
    plain = *energy_and_forces(context), derivatives(context)
    context.setParameter("scale", scale)
    found, forces = energy_and_forces(context)
    assert found == pytest.approx(scale * plain[0], rel=1e-12)
    np.testing.assert_allclose(forces, scale * plain[1], rtol=1e-6)
    expected = {"k": scale * plain[2]["k"], "scale": plain[0]}
    assert derivatives(context) == pytest.approx(expected, rel=1e-6)
    assert force.getDiagnostics(context)["evaluations"] <= 2, "the model does not depend on the scale"


def test_model_is_not_evaluated_at_scale_zero(
    platform: Platform, make_context: MakeContext, positions: np.ndarray, tolerance: float
) -> None:
    force = NNPForce(scripted("assert positions[0, 0] < 5\nreturn (positions**2).sum()"))
    force.setScaleParameter("scale", 0.0)
    outside = positions + 10
    context = make_context(platform, force, outside)
    found, forces = energy_and_forces(context)
    assert found == 0 and np.all(forces == 0)
    assert counts(force, context) == (0, 0, 1)
    needed = r"The output 'energy' does not exist: the last evaluation was skipped, because .* 'scale' is 0"
    with pytest.raises(openmm.OpenMMException, match=needed):
        force.getOutput(context, "energy")
    context.setPositions(positions)
    context.setParameter("scale", 2)
    assert energy(context) == pytest.approx(2 * np.sum(positions**2), rel=tolerance)
    assert force.getOutput(context, "energy")._value == pytest.approx(np.sum(positions**2), rel=tolerance)
    context.setParameter("scale", 0)
    assert energy(context) == 0
    with pytest.raises(openmm.OpenMMException, match=needed):
        force.getOutput(context, "energy")
    assert counts(force, context) == (1, 0, 2)


def test_model_is_evaluated_at_scale_zero_for_its_derivative(
    platform: Platform, harmonic: Path, make_context: MakeContext, positions: np.ndarray, tolerance: float
) -> None:
    force = NNPForce(harmonic)
    force.setScaleParameter("scale", 0.0)
    force.addEnergyParameterDerivative("scale")
    context = make_context(platform, force, positions)
    found, forces = energy_and_forces(context)
    assert found == 0 and np.all(forces == 0)
    assert derivatives(context) == {"scale": pytest.approx(np.sum(positions**2), rel=tolerance)}
    assert counts(force, context)[2] == 0


def test_no_forces_are_computed_at_scale_zero(
    platform: Platform, make_context: MakeContext, positions: np.ndarray, tolerance: float
) -> None:
    force = NNPForce(scripted("return (positions**2).sum(), float('nan') * positions"))
    force.setOutputsForces(True)
    force.setScaleParameter("scale", 0.0)
    force.addEnergyParameterDerivative("scale")
    context = make_context(platform, force, positions)
    found, forces = energy_and_forces(context)
    assert found == 0 and np.all(forces == 0)
    assert derivatives(context) == {"scale": pytest.approx(np.sum(positions**2), rel=tolerance)}
    context.setParameter("scale", 1.0)
    with pytest.raises(openmm.OpenMMException, match="force on particle 0 is"):
        energy_and_forces(context)


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_scale_that_is_not_a_number(
    platform: Platform, harmonic: Path, make_context: MakeContext, positions: np.ndarray, tolerance: float, scale: float
) -> None:
    force = NNPForce(harmonic)
    force.setScaleParameter("scale")
    context = make_context(platform, force, positions)
    context.setParameter("scale", scale)
    text = rf"NNPForce: the scale parameter 'scale' is {scale}, but a finite number is needed"
    with pytest.raises(openmm.OpenMMException, match=text):
        energy(context)
    context.setParameter("scale", 1)
    assert energy(context) == pytest.approx(np.sum(positions**2), rel=tolerance)


# Reuse and diagnostics


CHANGES: dict[str, tuple[bool, Callable[[openmm.Context, np.ndarray, type], None]]] = {
    "nothing": (False, lambda context, x, real: context.setPositions(x)),
    "velocities": (False, lambda context, x, real: context.setVelocities(x)),
    "another particle": (False, lambda context, x, real: context.setPositions(x + np.eye(7, 3, -4))),
    "one ulp": (True, lambda context, x, real: context.setPositions(next_to(x, real))),
    "box": (True, lambda context, x, real: context.setPeriodicBoxVectors([2, 0, 0], [0, 2, 0], [0, 0, 2.5])),
    "parameter": (True, lambda context, x, real: context.setParameter("k", np.nextafter(1, 2, dtype=real))),
}


def next_to(positions: np.ndarray, real: type) -> np.ndarray:
    """The same with one coordinate moved to the next number."""
    moved = positions.astype(real)
    moved[2, 1] = np.nextafter(moved[2, 1], real(9))
    return moved


@pytest.mark.parametrize("change", CHANGES)
def test_last_evaluation_is_reused_for_equal_inputs_only(
    platform: Platform, make_context: MakeContext, positions: np.ndarray, change: str
) -> None:
    real = np.float64 if platform.getName() in ("Reference", "CPU") else np.float32
    positions = positions.astype(np.float32)
    force = NNPForce(scripted("return k * (positions**2).sum() + box.sum()", "positions, box, k"))
    force.setParticles([0, 2, 3])
    force.setUsesPeriodicBoundaryConditions(True)
    force.addGlobalParameter("k", 1.0)
    context = make_context(platform, force, positions)
    first = energy_and_forces(context)
    assert counts(force, context) == (1, 0, 0)
    evaluated, apply = CHANGES[change]
    apply(context, positions, real)
    second = energy_and_forces(context)
    assert counts(force, context) == ((2, 0, 0) if evaluated else (1, 1, 0))
    assert (second[0] == first[0] and np.array_equal(second[1], first[1])) != evaluated


def test_keys_of_diagnostics(platform: Platform, pair_file: Path, make_context: MakeContext) -> None:
    example = pair_example(6)
    force = pair_force(pair_file, example)
    context = make_context(platform, force, example["positions"])
    found = force.getDiagnostics(context)
    assert set(found) == {
        *("platform", "device", "dtype", "length_unit", "energy_unit", "energy_offset", "torch_version", "threads"),
        *("model_name", "model_path", "model_hash", "model_format", "license", "cuda_graph", "cuda_graph_reason"),
        *("particles", "link_atoms", "edges", "mm_charges", "list_builds"),
        *("evaluations", "reused", "skipped", "milliseconds"),
    }
    assert set(found["milliseconds"]) == {"gather", "neighbors", "evaluate", "scatter", "accumulate"}
    assert found["model_format"] == {".pt": "TorchScript", ".pt2": "AOTInductor"}[pair_file.suffix]
    assert found["energy_offset"] == pytest.approx(EV * sum(ENERGIES[z] for z in example["atomic_numbers"]), rel=1e-11)
    assert (found["dtype"], found["particles"], found["threads"]) == ("float32", 6, torch.get_num_threads())
