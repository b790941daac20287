"""What a model can do wrong: each is an error, and the Context works again as soon as its input is right."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openmm
import pytest

from helpers import energy_and_forces, fails, scripted
from models import set_up
from openmmnnp import NNPForce

pytestmark = pytest.mark.asan

MakeContext = Callable[..., openmm.Context]
Platform = openmm.Platform


def assert_harmonic(context: openmm.Context, positions: np.ndarray, tolerance: float) -> None:
    """E = sum r^2."""
    context.setPositions(positions)
    energy, forces = energy_and_forces(context)
    assert energy == pytest.approx(np.sum(positions**2), rel=tolerance)
    np.testing.assert_allclose(forces, -2 * positions, rtol=tolerance)


# What a model returns


RETURNED: dict[str, tuple[str, bool, str]] = {  # name: (what forward gives for x > 5, with forces, text)
    "energy of each particle": (
        "(positions**2).sum(1), -2 * positions",
        True,
        r"energy that is float64 \[4\], but one number, float32 or float64 \[\], is needed",
    ),
    "integer energy": ("energy.to(torch.int64), -2 * positions", True, r"energy that is int64 \[\], but one number"),
    "energies without forces": ("(positions**2).sum(1)", False, r"energy that is float64 \[4\], but one number"),
    "no gradient": ("energy.detach()", False, "energy has no gradient .* Compute it with differentiable operations"),
    "forces of two axes": ("energy, positions[:, :2]", True, r"float64 \[4, 2\], but float32 or float64 \[4, 3\]"),
    "forces of fewer particles": ("energy, positions[1:]", True, r"float64 \[3, 3\], but float32 or float64 \[4, 3\]"),
    "transposed forces": ("energy, positions.t()", True, r"forces that are float64 \[3, 4\], but"),
    "flat forces": ("energy, positions.reshape(-1)", True, r"forces that are float64 \[12\], but"),
    "integer forces": ("energy, positions.to(torch.int32)", True, r"forces that are int32 \[4, 3\], but"),
    "half forces": ("energy, positions.to(torch.float16)", True, r"forces that are another dtype \[4, 3\], but"),
    "sparse forces": ("energy, positions.to_sparse()", True, "'forces' that is not a dense tensor"),
}


@pytest.mark.parametrize("case", RETURNED)
@pytest.mark.figure("G2", what="wrong results of a model")
def test_wrong_result(
    platform: Platform, make_context: MakeContext, water: np.ndarray, tolerance: float, case: str
) -> None:
    value, with_forces, text = RETURNED[case]
    right = "energy, -2 * positions" if with_forces else "energy"
    body = f"energy = (positions**2).sum()\nif bool(positions[0, 0] > 5):\n    return {value}\nreturn {right}"
    force = NNPForce(scripted(body))
    force.setOutputsForces(with_forces)
    context = make_context(platform, force, water)
    for _ in range(2):
        context.setPositions(water + 6)
        with fails(text.replace("float64", "float(32|64)")):
            energy_and_forces(context)
        assert_harmonic(context, water, tolerance)


COUNTS: dict[str, tuple[str, bool, str]] = {  # name: (what forward gives, with forces, text)
    "unasked forces": (
        "energy, -2 * positions",
        False,
        r"2 values, but 1 \(energy\) is needed.* setOutputsForces\(True\)",
    ),
    "no forces": ("energy", True, r"returned 1 value, but 2 are needed \(energy, forces\)"),
    "three values": ("energy, positions, positions", True, r"3 values, but 2 are needed \(energy, forces\)"),
    "number": ("1.5", False, "'energy' that is a Double, but a tensor is needed"),
    "dictionary": ("{'E': energy}", False, "dictionary without 'energy'"),
}


@pytest.mark.parametrize("case", COUNTS)
@pytest.mark.figure("G2", what="wrong results of a model")
def test_wrong_count(platform: Platform, make_context: MakeContext, water: np.ndarray, case: str) -> None:
    value, with_forces, text = COUNTS[case]
    force = NNPForce(scripted(f"energy = (positions**2).sum()\nreturn {value}"))
    force.setOutputsForces(with_forces)
    context = make_context(platform, force, water)
    for _ in range(2):
        with fails(text):
            energy_and_forces(context)


@pytest.mark.parametrize(
    "forces",
    [
        "(-2 * positions).t().contiguous().t()",
        "(-2 * positions).repeat_interleave(2, 0)[::2]",
        "torch.cat([-2 * positions, positions], 1)[:, :3]",
        "(-2 * positions).to(torch.float32)",
        "torch.imag(torch.conj(torch.complex(positions, 2 * positions)))",
        "torch.real(torch.view_as_complex(torch.stack([-2 * positions, positions], -1)))",
    ],
    ids=["transposed", "every second row", "columns", "float32", "negative bit", "real part"],
)
@pytest.mark.figure("G2", what="wrong results of a model")
def test_forces_of_any_strides(
    platform: Platform, make_context: MakeContext, water: np.ndarray, tolerance: float, forces: str
) -> None:
    force = NNPForce(scripted(f"return (positions**2).sum(), {forces}"))
    force.setOutputsForces(True)
    context = make_context(platform, force, water)
    assert_harmonic(context, water, max(tolerance, 1e-7) if "float32" in forces else tolerance)


@pytest.mark.parametrize(
    "forces, expected",
    [
        ("positions[:1].expand(4, 3)", lambda x: x[[0, 0, 0, 0]]),
        ("positions[:, 1:2].expand(4, 3)", lambda x: x[:, [1] * 3]),
    ],
    ids=["rows", "columns"],
)
@pytest.mark.figure("G2", what="wrong results of a model")
def test_expanded_forces(
    platform: Platform,
    make_context: MakeContext,
    water: np.ndarray,
    forces: str,
    expected: Callable[[np.ndarray], np.ndarray],
) -> None:
    force = NNPForce(scripted(f"return positions.sum(), {forces}"))
    force.setOutputsForces(True)
    positions = water + 1
    found = energy_and_forces(make_context(platform, force, positions))[1]
    np.testing.assert_allclose(found, expected(positions), rtol=1e-6)


@pytest.mark.parametrize(
    "fault, text",
    [
        ("raise ValueError('a bad geometry')", r"The model failed: .*ValueError: a bad geometry\.$"),
        ("assert positions.size(0) < 2, 'at most one'", r"The model failed: .*AssertionError: at most one\.$"),
        (
            "energy = torch.matmul(positions, positions).sum()",
            r"The model failed: .*shapes cannot be multiplied \(4x3 and 4x3\)",
        ),
        ("energy = positions[:, 7].sum()", "The model failed: .*index 7 out of range"),
    ],
)
@pytest.mark.figure("G2", what="wrong results of a model")
def test_exception_in_the_model(
    platform: Platform, make_context: MakeContext, water: np.ndarray, tolerance: float, fault: str, text: str
) -> None:
    body = f"energy = (positions**2).sum()\nif bool(positions[0, 0] > 5):\n    {fault}\nreturn energy"
    context = make_context(platform, NNPForce(scripted(body)), water)
    context.setPositions(water + 6)
    with fails(text):
        energy_and_forces(context)
    assert_harmonic(context, water, tolerance)


# Not-a-number


@pytest.mark.figure("G11", what="found where it arises; step, particle, neighbor and model named")
def test_force_that_is_not_a_number(
    platform: Platform, make_context: MakeContext, water: np.ndarray, tolerance: float
) -> None:
    """The first bad particle, its neighbor among the force's particles, the evaluation and the energies before it."""
    body = "bad = positions[:, 0] > 5\nforces = torch.where(bad.unsqueeze(1), VALUE, -2 * positions)\n"
    for value, shown in (("float('nan')", "nan, nan, nan"), ("float('-inf')", "-inf, -inf, -inf")):
        force = NNPForce(scripted(body.replace("VALUE", value) + "return (positions**2).sum(), forces"))
        force.setParticles([3, 1, 0])
        force.setOutputsForces(True)
        context = make_context(platform, force, water)
        energies = []
        for factor in (1, 2, 3, 4):
            context.setPositions(factor * water)
            energies.append(energy_and_forces(context)[0])
        wrong = water.copy()
        wrong[[1, 3], 0] += 6
        context.setPositions(wrong)
        last = " ".join(f"{energy:.6g}" for energy in energies[1:])
        with fails(
            rf"The model's force on particle 3 is \({shown}\) in evaluation 5\. The nearest neighbor of particle 3 "
            rf"among the particles of the force is particle 1, 0\.0(5|4999\d*|50000\d) nm away\. "
            rf"The last good energies were {re.escape(last)} kJ/mol"
        ):
            energy_and_forces(context)
        context.setPositions(water)
        energy, forces = energy_and_forces(context)
        assert energy == pytest.approx(energies[0], rel=tolerance)
        np.testing.assert_allclose(forces[[3, 1, 0]], -2 * water[[3, 1, 0]], rtol=tolerance)


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.figure("G11", what="found where it arises; step, particle, neighbor and model named")
def test_energy_that_is_not_a_number(
    platform: Platform, make_context: MakeContext, water: np.ndarray, tolerance: float, value: str
) -> None:
    """The closest pair is named."""
    body = "energy = (positions**2).sum()\n"
    body += (
        f"return torch.where(positions[0, 0] > 5, float('{value}') * torch.ones_like(energy), energy), -2 * positions"
    )
    force = NNPForce(scripted(body))
    force.setOutputsForces(True)
    context = make_context(platform, force, water + 6)
    with fails(
        rf"The model's energy is {value} in evaluation 1\. The nearest neighbor of particle 1 .* is particle 3, 0\.0"
    ):
        energy_and_forces(context)
    assert_harmonic(context, water, tolerance)


@pytest.mark.figure("G11", what="found where it arises; step, particle, neighbor and model named")
def test_parameter_that_is_not_a_number(
    platform: Platform, pair_file: Path, make_context: MakeContext, water: np.ndarray
) -> None:
    force = NNPForce(pair_file)
    set_up()(force)
    context = make_context(platform, force, water)
    before = energy_and_forces(context)
    context.setParameter("k", float("nan"))
    with fails(
        rf"pair{pair_file.suffix}'\): The model's force on particle 0 is \(-?nan, -?nan, -?nan\) in evaluation 2"
    ):
        energy_and_forces(context)
    context.setParameter("k", 0.25)
    after = energy_and_forces(context)
    assert after[0] == before[0] and np.array_equal(after[1], before[1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.figure("G11", what="found where it arises; step, particle, neighbor and model named")
@pytest.mark.figure("G2", what="positions that are not numbers")
def test_positions_that_are_not_numbers(
    platform: Platform, pair_file: Path, make_context: MakeContext, water: np.ndarray, value: float
) -> None:
    """Found before the model sees them, since a model may hide them, and named in the System's count."""
    force = NNPForce(pair_file)
    set_up(particles=[3, 2, 1])(force)
    force.setAtomicNumbers([6, 1, 1])
    context = make_context(platform, force, water)
    before = energy_and_forces(context)
    wrong = water.copy()
    wrong[2, 1] = value
    context.setPositions(wrong)
    text = r"position of particle 2 is not a finite number, .* The last good energies were .*Minimize first"
    if platform.getName() == "CPU" and np.isnan(value):
        text = "Particle coordinate is NaN"  # OpenMM's own check comes first there
    with fails(text):
        energy_and_forces(context)
    context.setPositions(water)
    after = energy_and_forces(context)
    assert after[0] == before[0] and np.array_equal(after[1], before[1])
