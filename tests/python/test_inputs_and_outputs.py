"""What goes into a model and what comes out, on every platform; the oracles are formulas in NumPy and differences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from helpers import central_differences, context_of, derivatives, energy, energy_and_forces, scripted
from models import ENERGIES, Pair, pair_example, pair_force, pair_oracle, walls_example, walls_oracle
from openmmnnp import ModelSpec, NNPForce
from openmmnnp.spec import write_spec

pytestmark = pytest.mark.asan

Save = Callable[..., Path]
MakeContext = Callable[..., openmm.Context]
Platform = openmm.Platform

EV = 96.48533212331  # kJ/mol, CODATA 2022 like the numbers in UNITS
SLANTED = [[2.0, 0.0, 0.0], [0.2, 2.1, 0.0], [0.3, 0.4, 2.2]]  # box vectors in nm
UNITS = {
    ("angstrom", "eV"): (0.1, EV),
    ("bohr", "hartree"): (0.0529177210544, 27.211386245981 * EV),
    ("angstrom", "kcal/mol"): (0.1, 4.184),
    ("nm", "kJ/mol"): (1.0, 1.0),
}
SINGLE = {"rtol": 3e-5, "atol": 0.0}  # of Pair, a float32 model


# Particles and units


def test_subset_in_the_order_given(
    platform: Platform, save_model: Save, make_context: MakeContext, positions: np.ndarray, tolerance: float
) -> None:
    """E = sum_i (i + 1) r_i^2 over the particles in the model's order; the other particles belong to another force."""
    body = "weights = torch.arange(positions.size(0), device=positions.device) + 1\n"
    force = NNPForce(scripted(body + "return (weights * (positions**2).sum(1)).sum()"))
    particles = [5, 0, 3]
    force.setParticles(particles)
    context = make_context(platform, force, positions)
    other = openmm.CustomExternalForce("3*x")
    other.addParticle(4)
    context.getSystem().addForce(other)
    context.reinitialize(preserveState=True)
    weights = np.zeros((7, 1))
    weights[particles, 0] = 1, 2, 3
    expected = -2 * weights * positions
    expected[4, 0] = -3
    found, forces = energy_and_forces(context)
    assert found == pytest.approx(np.sum(weights * positions**2) + 3 * positions[4, 0], rel=tolerance)
    np.testing.assert_allclose(forces, expected, rtol=tolerance)
    assert np.all(forces[[1, 2, 6]] == 0)


@pytest.mark.parametrize("length, energy_unit", UNITS)
@pytest.mark.parametrize("own_forces", [False, True], ids=["autograd", "own forces"])
def test_units(
    platform: Platform,
    save_scripted: Save,
    make_context: MakeContext,
    positions: np.ndarray,
    tolerance: float,
    length: str,
    energy_unit: str,
    own_forces: bool,
) -> None:
    """E = sum x.b + sum r^2 with the third box vector b, in the model's units."""
    body = "energy = (positions * box[2]).sum() + (positions**2).sum()\n"
    body += "return energy, -box[2] - 2 * positions" if own_forces else "return energy"
    outputs = ["energy", "forces"] if own_forces else ["energy"]
    units = {"length_unit": length, "energy_unit": energy_unit}
    inputs = ["positions", "box"]
    force = NNPForce(save_scripted(body, "positions, box", inputs=inputs, outputs=outputs, **units))
    force.setUsesPeriodicBoundaryConditions(True)
    context = make_context(platform, force, positions, box=SLANTED)
    nm, kj = UNITS[length, energy_unit]
    x, b = positions / nm, np.array([0.3, 0.4, 2.2]) / nm
    found, forces = energy_and_forces(context)
    assert found == pytest.approx(kj * (np.sum(x * b) + np.sum(x**2)), rel=tolerance)
    np.testing.assert_allclose(forces, -kj / nm * (b + 2 * x), rtol=tolerance, atol=tolerance * kj / nm)
    assert force.getOutput(context, "energy").value_in_unit(unit.kilojoule_per_mole) == pytest.approx(found)


@pytest.mark.figure("G4", what="other units, negative scale")
def test_forces_are_central_differences(platform: Platform, tmp_path: Path, tolerance: float) -> None:
    """Of a float64 Pair on a part of the particles, in other units and scaled; of all particles of the System."""
    torch.jit.script(Pair(torch.float64)).save(str(tmp_path / "pair.pt"))
    inputs = ["positions", "atomic_numbers", "parameters.k"]
    spec = ModelSpec("pair", "bohr", "hartree", "float64", inputs=inputs, outputs=["energy", "atomic_energy"])
    write_spec(tmp_path / "pair.pt", spec)
    positions = np.random.default_rng(4).uniform(-0.1, 0.1, (8, 3))
    force = NNPForce(tmp_path / "pair.pt")
    force.setParticles([6, 1, 4, 0, 3], [1, 6, 8, 1, 1])
    force.addGlobalParameter("k", 0.002)
    force.setScaleParameter("scale", -0.7)
    system = openmm.System()
    for _ in positions:
        system.addParticle(1.0)
    system.addForce(force)
    context = context_of(system, positions, platform)
    forces = energy_and_forces(context)[1]
    rms = np.sqrt(np.mean(forces**2))
    step = 1e-5 if tolerance < 1e-7 else 1e-3
    np.testing.assert_allclose(central_differences(context, step), forces, atol=max(1e-7, 100 * tolerance) * rms)
    assert rms > 1


# Inputs and outputs


def test_pair(platform: Platform, pair_file: Path, make_context: MakeContext) -> None:
    """Atomic numbers, a parameter, units, atomic energies, an output for each atom and an exact derivative."""
    example = pair_example(9)
    force = pair_force(pair_file, example)
    force.addEnergyParameterDerivative("k")
    context = make_context(platform, force, example["positions"] / 10)
    constant = sum(ENERGIES[z] for z in example["atomic_numbers"])
    for k in (0.25, -0.625):
        context.setParameter("k", k)
        right = pair_oracle(example["positions"], example["atomic_numbers"], k)
        found, forces = energy_and_forces(context)
        assert found / EV - constant == pytest.approx(right["energy"], rel=3e-6)
        np.testing.assert_allclose(forces, right["forces"] * EV * 10, rtol=0, atol=3e-6 * np.abs(forces).max())
        assert derivatives(context) == {"k": pytest.approx(right["parameter_derivative.k"] * EV, rel=3e-6)}
        energies = force.getOutput(context, "atomic_energy").value_in_unit(unit.kilojoule_per_mole)
        np.testing.assert_allclose(energies, right["atomic_energy"] * EV, **SINGLE)


@pytest.mark.parametrize("charge, multiplicity", [(-2, 1), (3, 2)])
def test_walls(
    platform: Platform, walls_file: Path, make_context: MakeContext, tolerance: float, charge: int, multiplicity: int
) -> None:
    """Box, charge, multiplicity, the model's own forces (three times too large), an offset, outputs of any strides."""
    force = NNPForce(walls_file, charge=charge, multiplicity=multiplicity)
    force.setUsesPeriodicBoundaryConditions(True)
    example = walls_example(5)
    context = make_context(platform, force, example["positions"])
    for size in (2.0, 3.0):
        box = np.diag([size, 2.5, 3.5])
        context.setPeriodicBoxVectors(*box)
        right = walls_oracle(example["positions"], box, charge, multiplicity)
        found, forces = energy_and_forces(context)
        assert found + 1e6 == pytest.approx(right["energy"], rel=max(tolerance, 1e-8))
        np.testing.assert_allclose(forces, right["forces"], rtol=tolerance, atol=tolerance)
        for name in ("centers", "columns"):
            output = force.getOutput(context, name)
            assert output.shape == right[name].shape
            np.testing.assert_allclose(output, right[name], rtol=tolerance, atol=tolerance)


INPUTS = {  # name: (its dimensions, dtype)
    "multiplicity": (0, "int64"),
    "types": (1, "int64"),
    "parameters.b": (0, "float64"),
    "box": (2, "float64"),
    "positions": (2, "float64"),
    "atomic_numbers": (1, "int64"),
    "charge": (0, "int64"),
    "parameters.a": (0, "float64"),
}


def test_inputs_are_bound_by_name_in_the_order_of_the_spec(
    platform: Platform, save_scripted: Save, make_context: MakeContext, tolerance: float
) -> None:
    names = [name.removeprefix("parameters.") for name in INPUTS]
    checks = [
        f"assert {name}.dim() == {rank} and {name}.dtype == torch.{dtype} and {name}.is_contiguous()"
        for name, (rank, dtype) in zip(names, INPUTS.values(), strict=True)
    ]
    body = "energy = (positions[:, 0] * types + positions[:, 1] * atomic_numbers).sum() + 100 * charge\n"
    body += "energy = energy + 1000 * multiplicity + a * a + 3 * b + box[0, 0] + 2 * box[1, 1] + 3 * box[2, 2]\n"
    body += "return energy, types, charge, positions.to(torch.float32), positions[:0]"
    outputs = ["energy", "kinds", "total_charge", "single", "nothing"]
    path = save_scripted("\n".join([*checks, body]), ", ".join(names), inputs=list(INPUTS), outputs=outputs)
    force = NNPForce(path, charge=-3, multiplicity=2)
    force.setParticles([2, 0], [17, 6])
    force.setTypes([0, 5])
    force.addGlobalParameter("a", 0.5)
    force.addGlobalParameter("b", 7)
    force.setUsesPeriodicBoundaryConditions(True)
    x = np.random.default_rng(1).normal(size=(3, 3))
    context = make_context(platform, force, x)
    context.setPeriodicBoxVectors([3, 0, 0], [0, 4, 0], [0, 0, 5])
    expected = 5 * x[0, 0] + 17 * x[2, 1] + 6 * x[0, 1] - 300 + 2000 + 0.25 + 21 + 3 + 8 + 15
    assert energy(context) == pytest.approx(expected, rel=tolerance)
    found = {name: force.getOutput(context, name) for name in outputs[1:]}
    assert list(found["kinds"]) == [0, 5] and found["total_charge"] == -3
    np.testing.assert_allclose(found["single"], x[[2, 0]], rtol=1e-6)
    assert found["nothing"].shape == (0, 3)


def test_outputs_are_those_of_the_last_evaluation(
    platform: Platform, pair_file: Path, make_context: MakeContext
) -> None:
    example = pair_example(3)
    force = pair_force(pair_file, example)
    context = make_context(platform, force, example["positions"] / 10)
    for x in (example["positions"], 1.3 * example["positions"], example["positions"]):
        context.setPositions(x / 10)
        energy(context)
        found = force.getOutput(context, "atomic_energy")._value
        right = pair_oracle(x, example["atomic_numbers"], 0.25)["atomic_energy"]
        np.testing.assert_allclose(found, right * EV, **SINGLE)


def test_energies_are_float64_beyond_the_model(
    platform: Platform, save_scripted: Save, make_context: MakeContext
) -> None:
    """A float32 model and an energy of -1e6 kJ/mol: differences of 1e-4 kJ/mol are kept."""
    force = NNPForce(save_scripted("return (positions**2).sum()", dtype="float32", energy_offset=-1e6))
    positions = np.array([[0.25, 0, 0], [0, 0.5, 0]])
    context = make_context(platform, force, positions)
    before = energy(context)
    positions[1, 1] += 1e-4
    context.setPositions(positions)
    assert before == pytest.approx(-1e6 + 0.3125, abs=1e-8)
    assert energy(context) - before == pytest.approx(1.0001e-4, rel=2e-3)
    assert force.getOutput(context, "energy")._value == energy(context)
    assert force.getDiagnostics(context)["energy_offset"] == -1e6


def test_atomic_energies_are_summed_in_float64(
    platform: Platform, save_scripted: Save, make_context: MakeContext
) -> None:
    energies = {1: -0.1, 8: -75.123456789}
    path = save_scripted(
        "return (positions**2).sum(), atomic_numbers",
        "positions, atomic_numbers",
        dtype="float32",
        energy_unit="hartree",
        inputs=["positions", "atomic_numbers"],
        outputs=["energy", "numbers"],
        atomic_energies=energies,
    )
    force = NNPForce(path)
    force.setParticles(range(1000), 500 * [8] + 500 * [1])
    context = make_context(platform, force, np.zeros((1001, 3)))
    expected = 500 * (energies[1] + energies[8]) * UNITS["bohr", "hartree"][1]
    assert energy(context) == pytest.approx(expected, rel=1e-11)
    assert force.getDiagnostics(context)["energy_offset"] == pytest.approx(expected, rel=1e-11)


# Models without a spec


def test_contract_of_models_without_a_spec(
    platform: Platform, make_context: MakeContext, positions: np.ndarray, tolerance: float
) -> None:
    """Positions in nm, box vectors as rows, parameters in the order added; energy and forces in kJ/mol and nm."""
    body = "energy = b * positions[0].dot(box[2]) + torch.exp(a)\n"
    body += "return energy, 7 * positions"  # not the gradient
    force = NNPForce(scripted(body, "positions, box, b, a"))
    force.setOutputsForces(True)
    force.setUsesPeriodicBoundaryConditions(True)
    force.addGlobalParameter("b", 3.0)
    force.addGlobalParameter("a", -0.5)
    context = make_context(platform, force, positions, box=SLANTED)
    found, forces = energy_and_forces(context)
    assert found == pytest.approx(3 * positions[0] @ [0.3, 0.4, 2.2] + np.exp(-0.5), rel=tolerance)
    np.testing.assert_allclose(forces, 7 * positions, rtol=tolerance)


def test_dtype_of_models_without_a_spec(platform: Platform, make_context: MakeContext, positions: np.ndarray) -> None:
    """float64 on Reference and CPU, float32 on GPUs in single precision."""
    body = "bits = 64 if positions.dtype == torch.float64 else 32\nreturn 0 * positions.sum() + bits"
    force = NNPForce(scripted(body))
    context = make_context(platform, force, positions)
    assert energy(context) == (64 if platform.getName() in ("Reference", "CPU") else 32)


class Weighted(torch.nn.Module):
    """E = w sum r^2 with a weight that refuses to be differentiated; the detach() keeps it from becoming a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(3.0))

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        assert not self.weight.requires_grad
        return self.weight.detach() * (positions**2).sum() + 0 * self.weight


def test_weights_are_not_differentiated(
    platform: Platform, save_model: Save, make_context: MakeContext, positions: np.ndarray, tolerance: float
) -> None:
    context = make_context(platform, NNPForce(save_model(Weighted())), positions)
    np.testing.assert_allclose(energy_and_forces(context)[1], -6 * positions, rtol=tolerance)
