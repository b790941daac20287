"""Components of a model's output as collective variables: values, forces, one evaluation for all, Metadynamics."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit

from helpers import central_differences, context_of, counts, energy, energy_and_forces, fails, scripted
from openmmnnp import ModelSpec, NNPForce, collectiveVariables
from openmmnnp.check import check
from openmmnnp.export import export, save_pt, save_pt2
from openmmnnp.inspect import inspect
from openmmnnp.spec import read_spec, write_spec

pytestmark = pytest.mark.asan

PARTICLES = [5, 2, 0, 3]
ANGSTROM = 10.0  # in a nm


class Shape(torch.nn.Module):
    """A distance, the sum of squared distances from the center, and a sum of coordinates: [3], in angstrom."""

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        distance = torch.linalg.norm(positions[1] - positions[0])
        centered = positions - positions.mean(0)
        return torch.stack([distance, (centered * centered).sum(), positions[2, 0] + 2 * positions[3, 1]])


def shape_oracle(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values [3] and their derivatives [3, n, 3] by positions [n, 3] in angstrom."""
    distance = np.linalg.norm(x[1] - x[0])
    gradients = np.zeros((3, *x.shape))
    gradients[0, 1] = (x[1] - x[0]) / distance
    gradients[0, 0] = -gradients[0, 1]
    gradients[1] = 2 * (x - x.mean(0))
    gradients[2, 2, 0], gradients[2, 3, 1] = 1, 2
    return np.array([distance, ((x - x.mean(0)) ** 2).sum(), x[2, 0] + 2 * x[3, 1]]), gradients


def shape_spec(**changes: Any) -> ModelSpec:
    values = {"outputs": ["cv"], "output_units": {"cv": "angstrom"}, "particles": 4} | changes
    return ModelSpec("shape", "angstrom", "1", "float64", **values)


def shape_examples() -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(5)
    return [{"positions": generator.normal(size=(4, 3))} for _ in range(2)]


class Charges(torch.nn.Module):
    """A potential with an energy in eV, charges [n] and a dipole [3]."""

    def forward(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        r2 = (positions * positions).sum(1)
        charges = torch.exp(-r2)
        return r2.sum(), charges, charges @ positions


@pytest.fixture(scope="session")
def shape_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shape") / "shape.pt2"
    save_pt2(Shape(), shape_spec(), path, examples=shape_examples(), progress=False)
    return path


@pytest.fixture(scope="session")
def shape_pt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shape") / "shape.pt"
    save_pt(Shape(), shape_spec(), path, examples=shape_examples(), progress=False)
    return path


@pytest.fixture(params=["pt", "pt2"])
def shape_file(request: pytest.FixtureRequest, platform: openmm.Platform) -> Path:
    if request.param == "pt2" and platform.getName() == "CUDA":
        pytest.skip("a package for the CPU")
    return request.getfixturevalue("shape_package" if request.param == "pt2" else "shape_pt")


def custom(forces: list[NNPForce], expression: str = "10*a + b^2 - a*c") -> openmm.CustomCVForce:
    total = openmm.CustomCVForce(expression)
    for name, force in zip("abcdefghi", forces, strict=False):
        total.addCollectiveVariable(name, force)
    return total


def system_of(*forces: openmm.Force, n: int = 7) -> openmm.System:
    system = openmm.System()
    for _ in range(n):
        system.addParticle(1)
    for force in forces:
        system.addForce(force)
    return system


def shared(platform: openmm.Platform) -> bool:
    """On CUDA the host does not know the positions, and each component is evaluated by itself."""
    return platform.getName() != "CUDA"


def total_counts(forces: list[NNPForce], context: openmm.Context) -> tuple[int, int]:
    """Evaluations and reused ones of all forces."""
    found = np.array([counts(force, context) for force in forces]).sum(0)
    return int(found[0]), int(found[1])


# Values and forces


def test_values_and_forces_are_those_of_the_network(
    platform: openmm.Platform, tolerance: float, shape_file: Path, positions: np.ndarray
) -> None:
    bias = custom(collectiveVariables(shape_file, PARTICLES))
    context = context_of(system_of(bias), positions, platform)
    found, forces = energy_and_forces(context)
    (a, b, c), gradients = shape_oracle(ANGSTROM * positions[PARTICLES])
    assert bias.getCollectiveVariableValues(context) == pytest.approx([a, b, c], rel=tolerance)  # in angstrom
    assert found == pytest.approx(10 * a + b**2 - a * c, rel=10 * tolerance)
    expected = np.zeros_like(positions)
    expected[PARTICLES] = -ANGSTROM * np.einsum("k,kij->ij", [10 - c, 2 * b, -a], gradients)
    np.testing.assert_allclose(forces, expected, rtol=tolerance, atol=10 * tolerance * np.abs(expected).max())


def test_forces_are_the_gradient(platform: openmm.Platform, shape_file: Path, positions: np.ndarray) -> None:
    """On all particles of the System, through the CustomCVForce."""
    context = context_of(system_of(custom(collectiveVariables(shape_file, PARTICLES))), 0.1 * positions, platform)
    _, forces = energy_and_forces(context)
    coarse = platform.getName() in ("OpenCL", "CUDA")
    numeric = central_differences(context, 1e-4 if coarse else 1e-6)
    np.testing.assert_allclose(forces, numeric, atol=(1e-4 if coarse else 1e-7) * np.abs(forces).max())


@pytest.mark.parametrize(
    "value, shape", [("r.sum()", []), ("r.sum().reshape(1)", [1]), ("torch.stack([r[:2], r[2:]])", [2, 2])]
)
def test_any_shape(
    value: str, shape: list[int], platform: openmm.Platform, tolerance: float, save_scripted: Callable[..., Path]
) -> None:
    """Components count row-major, and a model that names itself as one of no energy may be made by hand."""
    path = save_scripted(f"r = (positions**2).sum(1)\nreturn {value}", energy_unit="1", outputs=["cv"])
    size = int(np.prod(shape))
    write_spec(path, replace(read_spec(path), collective_variables={"cv": size}))
    forces = collectiveVariables(path, [0, 1, 2, 3])
    assert [force.getName() for force in forces] == [f"cv[{i}]" for i in range(size)]
    assert [force.getCollectiveVariable() for force in forces] == [("cv", i) for i in range(size)]
    x = np.arange(12).reshape(4, 3) / 10
    bias = custom(forces, "a" if size == 1 else "a*1e2 + b*1e4 + c*1e6 + d*1e8")
    context = context_of(system_of(bias, n=4), x, platform)
    squares = (x**2).sum(1)
    expected = [squares.sum()] if size == 1 else squares
    assert bias.getCollectiveVariableValues(context) == pytest.approx(expected, rel=tolerance)
    factors = np.ones(4) if size == 1 else np.array([1e2, 1e4, 1e6, 1e8])
    np.testing.assert_allclose(energy_and_forces(context)[1], -2 * factors[:, None] * x, rtol=tolerance)
    output = forces[0].getOutput(context, "cv")
    np.testing.assert_allclose(output, np.reshape(expected, shape), rtol=tolerance)


@pytest.fixture(scope="session", params=["pt", pytest.param("pt2", marks=pytest.mark.long)])
def charges_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("charges") / f"charges.{request.param}"
    spec = ModelSpec("charges", "nm", "eV", "float64", outputs=["energy", "charges", "dipole"], particles=4)
    spec = replace(spec, collective_variables={"charges": 4, "dipole": 3})
    example = {"positions": np.random.default_rng(6).normal(size=(4, 3))}
    export(Charges(), spec, path, example=example, energy_entry=request.param == "pt2", progress=False)
    return path


def test_outputs_of_a_potential(
    platform: openmm.Platform, tolerance: float, charges_file: Path, positions: np.ndarray
) -> None:
    """Charges and a dipole beside an energy in eV: none of them is converted, and the energy remains one."""
    if charges_file.suffix == ".pt2" and platform.getName() == "CUDA":
        pytest.skip("a package for the CPU")
    path = charges_file
    x = positions[PARTICLES] / 3
    positions = positions / 3
    bias = custom([*collectiveVariables(path, PARTICLES, "dipole"), *collectiveVariables(path, PARTICLES, "charges")])
    potential = NNPForce(path)
    potential.setParticles(PARTICLES)
    potential.setForceGroup(1)
    context = context_of(system_of(bias, potential), positions, platform)
    q = np.exp(-(x**2).sum(1))
    found = bias.getCollectiveVariableValues(context)
    assert found == pytest.approx([*(q @ x), *q], rel=10 * tolerance)
    assert energy(context, groups={1}) == pytest.approx(96.48533212331 * (x**2).sum(), rel=tolerance)
    _, forces = energy_and_forces(context)
    numeric = central_differences(context, 1e-4 if tolerance > 1e-8 else 1e-6)
    np.testing.assert_allclose(forces, numeric, atol=(1e-3 if tolerance > 1e-8 else 1e-7) * np.abs(forces).max())


def test_scale_parameter(platform: openmm.Platform, tolerance: float, shape_pt: Path, positions: np.ndarray) -> None:
    force = collectiveVariables(shape_pt, PARTICLES)[1]
    force.setScaleParameter("strength", 0.5)
    force.addEnergyParameterDerivative("strength")
    context = context_of(system_of(force), positions, platform)
    values, gradients = shape_oracle(ANGSTROM * positions[PARTICLES])
    found, forces = energy_and_forces(context)
    assert found == pytest.approx(0.5 * values[1], rel=tolerance)
    np.testing.assert_allclose(forces[PARTICLES], -0.5 * ANGSTROM * gradients[1], rtol=10 * tolerance, atol=1e-4)
    derivatives = context.getState(parameterDerivatives=True).getEnergyParameterDerivatives()
    assert derivatives["strength"] == pytest.approx(values[1], rel=tolerance)


# One evaluation for all


def test_one_evaluation_for_all_components(platform: openmm.Platform, shape_file: Path, positions: np.ndarray) -> None:
    forces = collectiveVariables(shape_file, PARTICLES)
    bias = custom(forces)
    context = context_of(system_of(bias), positions, platform)
    for step in range(5):
        context.setPositions(positions + 0.01 * step)
        context.getState(energy=True, forces=True)
        bias.getCollectiveVariableValues(context)
    evaluations, reused = total_counts(forces, context)
    if shared(platform):
        assert (evaluations, reused) == (5, 25)
        assert counts(forces[0], context)[0] == 5  # by the first, and the others take theirs
    else:
        assert evaluations == 30


def test_dynamics_evaluates_once_a_step(platform: openmm.Platform, shape_file: Path, positions: np.ndarray) -> None:
    forces = collectiveVariables(shape_file, PARTICLES)
    context = context_of(system_of(custom(forces, "0.1*(a+b+c)^2")), 0.1 * positions, platform)
    context.getIntegrator().step(20)
    evaluations, reused = total_counts(forces, context)
    assert (evaluations, reused) == (20, 40) if shared(platform) else evaluations == 60


def test_components_of_the_system_itself(
    platform: openmm.Platform, tolerance: float, shape_file: Path, positions: np.ndarray
) -> None:
    """In one force group, where all of them begin before the first has finished."""
    forces = collectiveVariables(shape_file, PARTICLES)
    context = context_of(system_of(*forces), positions, platform)
    values, gradients = shape_oracle(ANGSTROM * positions[PARTICLES])
    found, sums = energy_and_forces(context)
    assert found == pytest.approx(values.sum(), rel=tolerance)
    expected = -ANGSTROM * gradients.sum(0)
    np.testing.assert_allclose(sums[PARTICLES], expected, atol=10 * tolerance * np.abs(expected).max())
    evaluations, reused = total_counts(forces, context)
    assert (evaluations, reused) == (1, 2) if shared(platform) else evaluations == 3


def test_components_asked_one_by_one(
    platform: openmm.Platform, tolerance: float, shape_file: Path, positions: np.ndarray
) -> None:
    """One at some positions, while another was asked at others."""
    forces = collectiveVariables(shape_file, PARTICLES)
    for group, force in enumerate(forces):
        force.setForceGroup(group)
    context = context_of(system_of(*forces), positions, platform)
    moved = positions + 0.03 * np.arange(3)
    for x, component in [(positions, 0), (moved, 1), (positions, 0), (positions, 1), (moved, 0), (moved, 2)]:
        context.setPositions(x)
        values, gradients = shape_oracle(ANGSTROM * x[PARTICLES])
        state = context.getState(energy=True, forces=True, groups={component})
        assert state.getPotentialEnergy()._value == pytest.approx(values[component], rel=tolerance)
        expected = -ANGSTROM * gradients[component]
        found = state.getForces(asNumpy=True)._value[PARTICLES]
        np.testing.assert_allclose(found, expected, atol=10 * tolerance * np.abs(expected).max())


def test_barostat(platform: openmm.Platform, shape_file: Path, positions: np.ndarray) -> None:
    """Its trial moves ask for values without forces, which must not answer for the forces of the next step."""
    forces = collectiveVariables(shape_file, PARTICLES)
    system = system_of(*forces)
    for i in range(1, 7):
        forces[0].addBond(0, i)  # one molecule, which no move changes
    pairs = openmm.NonbondedForce()
    for _ in range(7):
        pairs.addParticle(0, 1, 0)
    pairs.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    system.addForce(pairs)
    system.setDefaultPeriodicBoxVectors(*(8.0 * np.eye(3)))
    system.addForce(openmm.MonteCarloBarostat(1, 300, 1))
    context = context_of(system, 0.1 * positions, platform, openmm.VerletIntegrator(1e-4))
    context.getIntegrator().step(10)
    x = context.getState(positions=True).getPositions(asNumpy=True)._value
    _, gradients = shape_oracle(ANGSTROM * x[PARTICLES])
    expected = -ANGSTROM * gradients.sum(0)
    found = energy_and_forces(context)[1][PARTICLES]
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    if shared(platform):
        assert [counts(force, context)[0] for force in forces[1:]] == [0, 0]
        assert counts(forces[0], context)[0] > 20


def test_only_equal_forces_share(
    platform: openmm.Platform, tolerance: float, shape_pt: Path, positions: np.ndarray
) -> None:
    """Other particles, another Context, and another model of the same outputs."""
    first, other = collectiveVariables(shape_pt, PARTICLES)[:2], collectiveVariables(shape_pt, [1, 2, 3, 4])[:2]
    for force in other:
        force.setName("other " + force.getName())
    bias = custom([*first, *other], "a+b+c+d")
    twin = custom(collectiveVariables(shape_pt, PARTICLES), "a+b+c")
    context, second = (context_of(system_of(force), positions, platform) for force in (bias, twin))
    second.setPositions(2 * positions)
    values = [shape_oracle(ANGSTROM * positions[p])[0][:2] for p in (PARTICLES, [1, 2, 3, 4])]
    for _ in range(2):
        assert bias.getCollectiveVariableValues(context) == pytest.approx(np.ravel(values), rel=tolerance)
        expected = shape_oracle(2 * ANGSTROM * positions[PARTICLES])[0]
        assert twin.getCollectiveVariableValues(second) == pytest.approx(expected, rel=tolerance)
    if shared(platform):
        assert [total_counts(forces, context)[0] for forces in (first, other)] == [1, 1]


def test_parameters_count_as_inputs(platform: openmm.Platform, save_scripted: Callable[..., Path]) -> None:
    """A global parameter that changes is another evaluation."""
    body = "return torch.stack([k * positions.sum(), positions.sum() + k])"
    path = save_scripted(
        body, "positions, k", energy_unit="1", outputs=["cv"], inputs=["positions", "parameters.k"],
        collective_variables={"cv": 2},
    )  # fmt: skip
    model = NNPForce(path)
    model.addGlobalParameter("k", 2)
    forces = collectiveVariables(model)
    bias = custom(forces, "a+b")
    context = context_of(system_of(bias, n=1), np.array([[1.0, 2.0, 3.0]]), platform)
    assert bias.getCollectiveVariableValues(context) == pytest.approx((12, 8), rel=1e-6)
    context.setParameter("k", 3)
    assert energy(context) == pytest.approx(18 + 9, rel=1e-6)
    assert total_counts(forces, context)[0] == 2 if shared(platform) else 4


def test_edges(platform: openmm.Platform, tolerance: float, tmp_path: Path) -> None:
    """Two coordination numbers from the plugin's neighbor list in a box, the list and the evaluation being shared."""
    body = (
        "r = positions[edges[1]] - positions[edges[0]] + shifts.to(positions.dtype) @ box\n"
        "d = torch.sqrt((r * r).sum(1))\n"
        "near = (1 - torch.clamp(d / 0.5, max=1.0)) ** 2\n"
        "return torch.stack([near.sum(), (near * near).sum()])"
    )
    path = tmp_path / "edges.pt"
    scripted(body, "positions, box, edges, shifts").save(str(path))
    inputs = ["positions", "box", "edges", "shifts"]
    write_spec(path, ModelSpec("edges", "nm", "1", "float64", inputs, ["cv"], cutoff=0.5,
                               collective_variables={"cv": 2}))  # fmt: skip
    model = NNPForce(path)
    model.setUsesPeriodicBoundaryConditions(True)
    forces = collectiveVariables(model)
    bias = custom(forces, "a + 3*b")
    x = np.random.default_rng(1).uniform(0, 1.5, (40, 3))
    system = system_of(bias, n=40)
    system.setDefaultPeriodicBoxVectors(*(1.5 * np.eye(3)))
    context = context_of(system, x, platform)
    r = x[None] - x[:, None]
    d = np.linalg.norm(r - 1.5 * np.round(r / 1.5), axis=-1)[~np.eye(40, dtype=bool)]
    near = np.clip(1 - d / 0.5, 0, None) ** 2
    expected = [near.sum(), (near**2).sum()]
    assert bias.getCollectiveVariableValues(context) == pytest.approx(expected, rel=tolerance)
    _, found = energy_and_forces(context)
    numeric = central_differences(context, 1e-4 if tolerance > 1e-8 else 1e-6, [0, 1, 2])
    np.testing.assert_allclose(found[:3], numeric[:3], atol=(3e-3 if tolerance > 1e-8 else 1e-6) * np.abs(found).max())
    if shared(platform):
        context.setPositions(x)
        energy_and_forces(context)
        per_force = [counts(force, context)[0] for force in forces]
        assert per_force[1] == 0 and forces[1].getDiagnostics(context)["edges"] == (d < 0.5).sum()


# Copies and Contexts


def test_written_and_read(shape_pt: Path, positions: np.ndarray) -> None:
    platform = openmm.Platform.getPlatform("Reference")
    forces = collectiveVariables(shape_pt, PARTICLES)
    text = openmm.XmlSerializer.serialize(forces[2])
    assert '<CollectiveVariable component="2" output="cv"/>' in text
    assert "CollectiveVariable" not in openmm.XmlSerializer.serialize(NNPForce(shape_pt))
    for made in (NNPForce.cast(openmm.XmlSerializer.deserialize(text)), NNPForce.cast(copy.deepcopy(forces[2]))):
        assert made.getCollectiveVariable() == ("cv", 2)
    system = system_of(custom(forces))
    restored = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    energies = [energy(context_of(s, positions, platform)) for s in (system, restored)]
    assert energies[0] == energies[1] != 0


def test_update_parameters(shape_pt: Path, save_scripted: Callable[..., Path], positions: np.ndarray) -> None:
    """Another model for one component leaves the others as they were."""
    platform = openmm.Platform.getPlatform("Reference")
    path = save_scripted(
        "return torch.stack([positions[0, 0], positions[0, 1], positions[0, 2]])", length_unit="angstrom",
        energy_unit="1", outputs=["cv"], particles=4, collective_variables={"cv": 3},
    )  # fmt: skip
    forces = collectiveVariables(shape_pt, PARTICLES)
    bias = custom(forces)
    context = context_of(system_of(bias), positions, platform)
    values = np.array(bias.getCollectiveVariableValues(context))
    forces[1].setModelFile(path)
    forces[1].updateParametersInContext(context)
    values[1] = ANGSTROM * positions[PARTICLES[0], 1]
    assert bias.getCollectiveVariableValues(context) == pytest.approx(values)


def test_metadynamics(platform: openmm.Platform, shape_file: Path) -> None:
    """OpenMM's own class over two components; each step and each Gaussian cost one evaluation at most."""
    system = system_of(n=4)
    spring = openmm.CustomExternalForce("50*(x^2+y^2+z^2)")
    for i in range(4):
        spring.addParticle(i)
    system.addForce(spring)
    forces = collectiveVariables(shape_file, range(4))
    variables = [
        app.BiasVariable(forces[0], 0, 20 * unit.angstrom / unit.angstrom, 0.5),
        app.BiasVariable(forces[1], 0, 200, 5),
    ]
    bias = app.Metadynamics(system, variables, 300, 5, 1.0, 10)
    topology = app.Topology()
    residue = topology.addResidue("X", topology.addChain())
    for i in range(4):
        topology.addAtom(f"A{i}", app.element.carbon, residue)
    integrator = openmm.LangevinMiddleIntegrator(300, 1, 0.002)
    integrator.setRandomNumberSeed(1)
    simulation = app.Simulation(topology, system, integrator, platform)
    simulation.context.setPositions(0.1 * np.arange(12).reshape(4, 3))
    bias.step(simulation, 100)
    values = bias.getCollectiveVariables(simulation)
    x = simulation.context.getState(positions=True).getPositions(asNumpy=True)._value
    assert values == pytest.approx(shape_oracle(ANGSTROM * x)[0][:2], rel=1e-5)
    assert bias.getFreeEnergy()._value.min() < -1
    if shared(platform):
        evaluations, reused = total_counts(forces[:2], simulation.context)
        assert evaluations <= 101 + 10 and reused >= evaluations


# Export


def test_package_says_what_it_holds(shape_package: Path) -> None:
    spec = read_spec(shape_package)
    assert spec.outputs == ["energy", "forces", "cv", "forces.cv"] and spec.collective_variables == {"cv": 3}
    x = np.array(spec.references[0]["positions"])
    values, gradients = shape_oracle(x)
    assert spec.references[0]["energy"] == pytest.approx(values.sum(), rel=1e-12)  # what it is checked with
    np.testing.assert_allclose(spec.references[0]["forces"], -gradients.sum(0), rtol=1e-12, atol=1e-12)
    said = inspect(shape_package)
    assert said["numbers"]["energy unit"] == "none: it gives collective variables"
    assert {"name": "forces.cv", "shape": "", "unit": "angstrom/angstrom"} in said["outputs"]


def test_script_leaves_forces_to_autograd(shape_pt: Path) -> None:
    spec = read_spec(shape_pt)
    assert spec.outputs == ["cv"] and spec.collective_variables == {"cv": 3}
    assert ModelSpec.from_json(spec.to_json()) == spec


@pytest.mark.long
def test_any_number_of_particles(tmp_path: Path, positions: np.ndarray) -> None:
    """A package for any number of particles, whose number of components does not depend on it."""

    class Moments(torch.nn.Module):
        def forward(self, positions: torch.Tensor) -> torch.Tensor:
            return torch.stack([(positions**2).sum(), (positions**4).sum()])

    path = tmp_path / "moments.pt2"
    spec = ModelSpec("moments", "nm", "1", "float64", outputs=["cv"])
    export(Moments(), spec, path, example={"positions": positions}, progress=False)
    bias = custom(collectiveVariables(path, [4, 1, 6]), "a+b")
    context = context_of(system_of(bias), positions, openmm.Platform.getPlatform("Reference"))
    x = positions[[4, 1, 6]]
    assert bias.getCollectiveVariableValues(context) == pytest.approx(((x**2).sum(), (x**4).sum()))
    np.testing.assert_allclose(energy_and_forces(context)[1][[4, 1, 6]], -2 * x - 4 * x**3)


def test_what_can_not_be_exported(tmp_path: Path) -> None:
    class Rounded(torch.nn.Module):
        def forward(self, positions: torch.Tensor) -> torch.Tensor:
            return positions.detach().sum(0)

    class Each(torch.nn.Module):
        def forward(self, positions: torch.Tensor) -> torch.Tensor:
            return (positions**2).sum(1)

    examples = shape_examples()
    with pytest.raises(ValueError, match="does not depend on the positions"):
        save_pt(Rounded(), shape_spec(), tmp_path / "a.pt", examples=examples)
    with pytest.raises(ValueError, match=r"'cv' has 2 components, but the model gives 3: correct the spec"):
        save_pt(Shape(), shape_spec(collective_variables={"cv": 2}), tmp_path / "b.pt", examples=examples)
    beside = ModelSpec("charges", "nm", "eV", "float64", outputs=["energy", "a", "b"],
                       collective_variables={"a": 12, "b": 3})  # fmt: skip

    class Half(torch.nn.Module):
        def forward(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            return (positions**2).sum(), positions.detach(), positions.sum(0)

    with pytest.raises(ValueError, match="the output 'a' does not depend on the positions, so it is no collective"):
        save_pt(Half(), replace(beside, particles=4), tmp_path / "c.pt", examples=examples)
    numbers = [{"positions": np.ones((n, 3)) * np.arange(n)[:, None]} for n in (4, 5)]
    with pytest.raises(ValueError, match=r"can't be traced into one graph.* particles=5 in the spec"):
        save_pt2(Each(), shape_spec(particles="dynamic"), tmp_path / "d.pt2", examples=numbers, progress=False)
    assert list(tmp_path.iterdir()) == []


# What is refused


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"energy_unit": "kJ/mol"}, r"'outputs': \['cv'\] was given, needed is 'energy' among them"),
        ({"outputs": ["cv", "forces.x"]}, r"'outputs': 'forces.x' was given, needed is the output 'x' for it"),
        ({"collective_variables": {"x": 1}}, r"'collective_variables': 'x' was given, needed is a named output"),
        ({"collective_variables": {"cv": 0}}, r"needed is an object of numbers of components \(1 and up\)"),
        ({"output_units": {"forces.cv": "1"}, "outputs": ["cv", "forces.cv"]}, r"'output_units': 'forces.cv' was"),
    ],
)
def test_wrong_specs(changes: dict[str, Any], text: str) -> None:
    spec = shape_spec(**{name: value for name, value in changes.items() if name != "energy_unit"})
    with pytest.raises(ValueError, match=text):
        replace(spec, energy_unit=changes.get("energy_unit", "1")).validate()


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"energy_unit": "kJ/mol"}, r"the outputs 'cv', but 'energy' \(or 'atomic_energy' and 'forces'\) is needed"),
        ({"outputs": ["cv", "forces.x"]}, r"the output 'forces.x' without the output 'x', which is needed"),
        ({"collective_variables": {"x": 1}}, r"\"collective_variables\" with 'x', but a named output of the model is"),
        ({"collective_variables": {"cv": 0}}, r"but an object \{output: number of components\} is needed"),
    ],
)
def test_wrong_specs_in_files(changes: dict[str, Any], text: str, shape_pt: Path, tmp_path: Path) -> None:
    from helpers import rewrite

    def change(name: str, data: bytes) -> bytes:
        return json.dumps(json.loads(data) | changes).encode() if name.endswith("openmmnnp.json") else data

    with fails(text):
        NNPForce(rewrite(shape_pt, tmp_path / "wrong.pt", change))


def reference_context(force: NNPForce) -> openmm.Context:
    x = np.random.default_rng(3).normal(size=(7, 3))
    return context_of(system_of(force), x, openmm.Platform.getPlatform("Reference"))


def test_wrong_components(shape_pt: Path, harmonic: Path, save_scripted: Callable[..., Path]) -> None:
    def chosen(path: Path, *arguments: Any) -> NNPForce:
        force = NNPForce(path)
        force.setParticles(PARTICLES)
        if arguments:
            force.setCollectiveVariable(*arguments)
        return force

    with pytest.raises(ValueError, match="component: element 0 must be from 0"):
        chosen(shape_pt, "cv", -1)
    xml = openmm.XmlSerializer.serialize(chosen(shape_pt, "cv", 1)).replace('component="1"', 'component="-1"')
    with fails(r"setCollectiveVariable\(\) was given the component -1, but 0 or more is needed"):
        openmm.XmlSerializer.deserialize(xml)
    with fails(r"gives collective variables and no energy; choose one with .*It gives 'cv'\."):
        reference_context(chosen(shape_pt))
    with fails(r"given the component 3 of 'cv', but the model gives the components 0 to 2\."):
        reference_context(chosen(shape_pt, "cv", 3))
    with fails(r"given the output 'x', but the model's outputs that can be collective variables are 'cv'\."):
        reference_context(chosen(shape_pt, "x"))
    with fails(r"output 'energy', but a model without a spec has no named outputs; give its file a ModelSpec"):
        reference_context(chosen(harmonic, "energy"))
    force = chosen(shape_pt, "cv")
    force.addGlobalParameter("k", 1)
    force.addEnergyParameterDerivative("k")
    with fails(r"derivative with respect to 'k' was asked for, but the force is the collective variable 'cv'"):
        reference_context(force)
    uncounted = save_scripted("return positions.sum(0)", energy_unit="1", outputs=["cv"])
    context = reference_context(chosen(uncounted, "cv", 3))
    with fails(r"returned 'cv' that is float64 \[3\], but the component 3 of it was asked for; give setCollectiveV"):
        energy(context)


def test_functions_say_what_is_missing(shape_pt: Path, save_scripted: Callable[..., Path]) -> None:
    uncounted = save_scripted("return positions.sum(0)", energy_unit="1", outputs=["cv"])
    with pytest.raises(ValueError, match=r"no output was named, but the model's spec says .* are \[\]: name one"):
        collectiveVariables(uncounted)
    with pytest.raises(ValueError, match=r"the output 'x' was asked for, .* are \['cv'\]"):
        collectiveVariables(shape_pt, output="x")
    force = collectiveVariables(shape_pt, PARTICLES)[0]
    context = reference_context(force)
    energy(context)
    with fails("The force is a component of the output 'cv' and keeps no energy; ask a force without"):
        force.getOutput(context, "energy")


def test_numbers_that_are_not_finite(platform: openmm.Platform, save_scripted: Callable[..., Path]) -> None:
    """Found for the component that is asked for, also if another was evaluated first; the Context goes on."""
    body = (
        "hole = torch.where(positions[0, 0] < 0, torch.full_like(positions[0, 0], float('nan')), 0)\n"
        "return torch.stack([positions.sum(), 2 * positions[1, 0] + hole])"
    )
    path = save_scripted(body, energy_unit="1", outputs=["cv"], collective_variables={"cv": 2})
    bias = custom(collectiveVariables(path), "a + b")
    context = context_of(system_of(bias, n=2), np.array([[-1.0, 0, 0], [1, 2, 3]]), platform)
    with fails(r"cv\[1\] .*output 'cv', component 1, is -?nan in evaluation 1"):
        bias.getCollectiveVariableValues(context)
    context.setPositions([[4.0, 0, 0], [1, 2, 3]])
    assert energy(context) == pytest.approx(10 + 2, rel=1e-6)


def test_output_without_gradient(save_scripted: Callable[..., Path]) -> None:
    path = save_scripted("return positions.detach().sum(0)", energy_unit="1", outputs=["cv"])
    force = NNPForce(path)
    force.setCollectiveVariable("cv", 0)
    context = reference_context(force)
    with fails(r"model's output 'cv' has no gradient \(was it detached.* so it cannot be a collective variable"):
        energy_and_forces(context)


def test_packages_of_another_exporter(shape_package: Path, tmp_path: Path) -> None:
    """Without the forces of the output, or without the energy that it is checked with."""
    path = tmp_path / "package.pt2"
    path.write_bytes(shape_package.read_bytes())
    spec = read_spec(path)
    write_spec(path, replace(spec, outputs=["energy", "forces", "cv", "others"]))
    force = NNPForce(path)
    force.setParticles(PARTICLES)
    force.setCollectiveVariable("cv", 0)
    with fails(r"does not give 'forces.cv', which the collective variable 'cv' needs: export it again"):
        reference_context(force)
    write_spec(path, replace(spec, outputs=["cv", "forces", "others", "forces.cv"], references=[]))
    force = collectiveVariables(path, PARTICLES)[0]
    with fails(r"no output 'energy'; a compiled model of collective variables must give it, their sum"):
        reference_context(force)


def test_command_checks_each_component(shape_pt: Path, tmp_path: Path) -> None:
    found = check(shape_pt)
    assert [(verdict.name, verdict.state) for verdict in found] == [
        ("references", "ok"),
        *((f"gradient of cv[{i}]", "ok") for i in range(3)),
    ]
    module = scripted("return torch.stack([positions.sum(), (positions**2).sum()]), torch.ones(2, 4, 3).double()")
    path = tmp_path / "wrong.pt"
    module.save(str(path))
    spec = shape_spec(outputs=["cv", "forces.cv"], collective_variables={"cv": 2}, output_units={})
    write_spec(path, replace(spec, references=[]))
    assert [verdict.state for verdict in check(path, groups=["gradient"])] == ["fail", "fail"]


def test_the_page_shows_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "collective_variables.md").read_text(encoding="utf-8")
    code = next(b for b in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "collectiveVariables" in b)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"system": system_of(n=3)}
    exec(code, names)
    context = openmm.Context(names["system"], openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    context.setPositions([[0, 0, 0], [0.1, 0, 0], [0, 0, 0.25]])
    assert names["bias"]._force.getCollectiveVariableValues(context) == pytest.approx((1, 2.5))
