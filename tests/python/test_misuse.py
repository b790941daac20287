"""What a user can do wrong with a force, its System and a Context: each is an error that says what was given, what is
needed and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest

from helpers import energy_and_forces, fails, rewrite, scripted
from models import pair_example, pair_oracle, pair_spec, set_up
from openmmnnp import NNPForce
from openmmnnp.spec import ENTRY, write_spec

pytestmark = pytest.mark.asan

MakeContext = Callable[..., openmm.Context]
Platform = openmm.Platform
EV = 96.48533212331  # kJ/mol


# The force and its System: errors when the Context is created


FORCES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {  # name: (changes of the spec, of the force, text)
    "more particles": (
        {"particles": 3},
        {},
        r"made for 3 particles, but the force has 4; choose them with setParticles\(\)",
    ),
    "fewer particles": ({"particles": 5}, {}, "made for 5 particles, but the force has 4; choose them"),
    "unknown element": (
        {"elements": [1, 6, 8]},
        {"particles": [3, 1], "numbers": [1, 7]},
        "Particle 1 has the atomic number 7, but the model knows only 1, 6, 8",
    ),
    "no atomic energy": ({}, {"numbers": [8, 1, 7, 1]}, "no atomic energy for the element with atomic number 7"),
    "wrong order": (
        {"particles": 4, "atomic_numbers": [8, 1, 6, 1]},
        {},
        r"atoms with the atomic numbers 8, 1, 6, 1, in this order, but the force has 8, 1, 1, 6; check the order",
    ),
    "no atomic numbers": (
        {},
        {"numbers": []},
        r"takes atomic numbers, and a System has none: give them with setAtomicNumbers\(\), one for each of the 4",
    ),
    "too few atomic numbers": ({}, {"numbers": [8, 1]}, r"setAtomicNumbers\(\) was given 2 values, but .* 4 particles"),
    "too many atomic numbers": ({}, {"particles": [1, 2, 3]}, "was given 4 values, but the force has 3 particles"),
    "no particles": ({}, {"particles": [], "numbers": []}, r"setParticles\(\) was given no particles; name those"),
    "particle out of range": ({}, {"particles": [0, 1, 2, 4]}, "the particle 4, but the System has particles 0 to 3"),
    "particle twice": ({}, {"particles": [0, 1, 2, 1]}, r"setParticles\(\) was given the particle 1 twice"),
    "bond out of range": (
        {},
        {"calls": [("addBond", (0, 4))]},
        "particles 0 and 4, but two different ones from 0 to 3",
    ),
    "no parameter": (
        {},
        {"parameters": []},
        r"takes the parameter 'k': declare it with addGlobalParameter\('k', default\)",
    ),
    "renamed parameter": ({}, {"parameters": [("K", 1)]}, "takes the parameter 'k': declare it"),
    "one parameter more": (
        {},
        {"parameters": [("k", 1), ("q", 2)]},
        "global parameter 'q', which the model does not take; it takes 'k'",
    ),
    "parameter twice": ({}, {"parameters": [("k", 1), ("k", 2)]}, "global parameter 'k' twice"),
    "scale is a parameter": (
        {},
        {"calls": [("setScaleParameter", ("k",))]},
        "scale parameter 'k' is also a global parameter that the model receives; give it a name of its own",
    ),
    "unknown derivative": (
        {},
        {"calls": [("addEnergyParameterDerivative", ("q",))]},
        r"addEnergyParameterDerivative\(\) was given 'q', which is neither a global parameter .* nor its scale",
    ),
    "periodic": (
        {},
        {"calls": [("setUsesPeriodicBoundaryConditions", (True,))]},
        r"periodic boundary conditions, but the model does not take the box: call .*\(False\), or export",
    ),
    "outputs forces": (
        {},
        {"calls": [("setOutputsForces", (True,))]},
        r"setOutputsForces\(True\) is for models without",
    ),
}


@pytest.mark.parametrize("case", FORCES)
@pytest.mark.figure("G2", what="wrong forces and Systems")
def test_force_that_does_not_fit_the_model(
    platform: Platform, tmp_path: Path, pair_pt: Path, make_context: MakeContext, water: np.ndarray, case: str
) -> None:
    in_spec, in_force, text = FORCES[case]
    path = tmp_path / "model.pt"
    path.write_bytes(pair_pt.read_bytes())
    write_spec(path, pair_spec(outputs=["energy", "atomic_energy"], **in_spec))
    force = NNPForce(path)
    force.setName("ligand")
    set_up(**in_force)(force)
    with fails(rf"ligand \('.*model\.pt'\): .*{text}"):
        make_context(platform, force, water)


@pytest.mark.parametrize(
    "types, text",
    [
        ([], r"takes types, and a System has none: give them with setTypes\(\), one for each of the 4 particles"),
        ([0, 1, 2], r"setTypes\(\) was given 3 values, but the force has 4 particles"),
    ],
)
@pytest.mark.figure("G2", what="wrong forces and Systems")
def test_wrong_types(
    platform: Platform, save_scripted: Any, make_context: MakeContext, water: np.ndarray, types: list[int], text: str
) -> None:
    body, inputs = "return (types * positions[:, 0]).sum()", ["positions", "types"]
    force = NNPForce(save_scripted(body, "positions, types", inputs=inputs))
    force.setTypes(types)
    with fails(text):
        make_context(platform, force, water)


@pytest.mark.figure("G2", what="wrong forces and Systems")
def test_box_that_the_force_does_not_have(
    platform: Platform, save_scripted: Any, make_context: MakeContext, water: np.ndarray
) -> None:
    inputs = ["positions", "box"]
    force = NNPForce(save_scripted("return positions.sum() + box.sum()", "positions, box", inputs=inputs))
    with fails(r"takes the box, but .*: call setUsesPeriodicBoundaryConditions\(True\)"):
        make_context(platform, force, water)


@pytest.mark.parametrize(
    "arguments, periodic, text",
    [
        (
            "a, b, c",
            False,
            r"takes 3 arguments \(a, b, c\), but 1 is passed \(positions\)\. For a model without a spec",
        ),
        ("positions", True, r"takes 1 argument \(positions\), but 2 are passed \(positions, box\)"),
        ("", False, r"takes 0 arguments \(\), but 1 is passed"),
    ],
)
@pytest.mark.figure("G2", what="wrong forces and Systems")
def test_wrong_signature(
    platform: Platform, make_context: MakeContext, water: np.ndarray, arguments: str, periodic: bool, text: str
) -> None:
    force = NNPForce(scripted("return torch.zeros([])", arguments))
    force.setUsesPeriodicBoundaryConditions(periodic)
    with fails(text):
        make_context(platform, force, water)


@pytest.mark.figure("G2", what="wrong forces and Systems")
def test_derivative_that_the_package_does_not_give(
    platform: Platform, pair_package: tuple[Path, Any], tmp_path: Path, make_context: MakeContext, water: np.ndarray
) -> None:
    def rename(name: str, data: bytes) -> bytes:
        return data.replace(b"parameter_derivative.k", b"slope") if name.endswith(ENTRY) else data

    force = NNPForce(rewrite(pair_package[0], tmp_path / "pair.pt2", rename))
    set_up(calls=[("addEnergyParameterDerivative", ("k",))])(force)
    with fails("with respect to 'k' was asked for, but .*: export the model with the output 'parameter_derivative.k'"):
        make_context(platform, force, water)


@pytest.mark.figure("G2", what="wrong forces and Systems")
def test_a_system_without_particles(platform: Platform, harmonic: Path, make_context: MakeContext) -> None:
    with pytest.raises(openmm.OpenMMException, match="no particles"):
        make_context(platform, NNPForce(harmonic), np.zeros((0, 3)))


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.figure("G2", what="wrong forces and Systems")
def test_few_particles(platform: Platform, pair_file: Path, make_context: MakeContext, n: int) -> None:
    """A package holds for two particles or more and says so; sizes of 0 and 1 are constants to torch's compiler."""
    example = pair_example(n)
    force = NNPForce(pair_file)
    set_up(numbers=[6] * n)(force)
    context = make_context(platform, force, example["positions"] / 10)
    if n == 1 and pair_file.suffix == ".pt2":
        with fails(r"pair\.pt2'\): The model failed: .*expected it to be >= 2, but got: 1\.$"):
            energy_and_forces(context)
        return
    right = pair_oracle(example["positions"], np.full(n, 6), 0.25)
    energy, forces = energy_and_forces(context)
    assert energy / EV + 1030.25 * n == pytest.approx(right["energy"], rel=1e-5)
    np.testing.assert_allclose(forces, right["forces"] * EV * 10, rtol=1e-4)


# In a Context


@pytest.mark.figure("G2", what="wrong forces and Systems")
def test_outputs_that_are_not_there(
    platform: Platform, pair_file: Path, make_context: MakeContext, water: np.ndarray
) -> None:
    force = NNPForce(pair_file)
    set_up()(force)
    context = make_context(platform, force, water)
    for name in ("energy", "atomic_energy"):
        with fails(
            f"The output '{name}' does not exist: the model was not evaluated yet, or not to the end. "
            "Ask the Context for the energy"
        ):
            force.getOutput(context, name)
    energy_and_forces(context)
    with fails("The model has no output 'charges'; it gives energy, .*atomic_energy"):
        force.getOutput(context, "charges")
    if pair_file.suffix == ".pt2":
        with fails(r"The output 'forces' is not kept by name: ask the Context, getState\(forces=True"):
            force.getOutput(context, "forces")
    context.setParameter("k", float("nan"))
    with fails("in evaluation 2"):
        energy_and_forces(context)
    with fails("The output 'energy' does not exist"):
        force.getOutput(context, "energy")


@pytest.mark.figure("G2", what="wrong forces and Systems")
def test_force_that_is_not_in_the_context(
    platform: Platform, harmonic: Path, make_context: MakeContext, water: np.ndarray
) -> None:
    context = make_context(platform, NNPForce(harmonic), water)
    stranger = NNPForce(harmonic)
    stranger.setName("stranger")
    for ask in (stranger.getDiagnostics, stranger.updateParametersInContext, lambda c: stranger.getOutput(c, "energy")):
        with fails("stranger: the Context does not contain this force. It must be the object that was added"):
            ask(context)
