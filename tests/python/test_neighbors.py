"""The neighbors stage: the edges that models are given, on every platform and from every kind of list."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from conftest import PLATFORMS
from helpers import central_differences, context_of, coordinates, energy_and_forces
from neighbors_oracle import CUBE, SLANTED, SMALL, Edges, brute_force, edges_energy, edges_spec, save_edges
from openmmnnp import NNPForce
from openmmnnp.export import references, save_pt2
from openmmnnp.spec import read_spec, write_spec

pytestmark = pytest.mark.asan

MakeForce = Callable[..., NNPForce]


PLACES = [(name, "host") for name in PLATFORMS if name != "CUDA"]
PLACES += [(name, "device") for name in PLATFORMS if name in ("OpenCL", "CUDA")]


@pytest.fixture(params=PLACES, ids="-".join)
def place(request: pytest.FixtureRequest) -> tuple[openmm.Platform, bool]:
    """Each platform with each place where it can find the edges."""
    name, where = request.param
    return openmm.Platform.getPlatformByName(name), where == "device"


@pytest.fixture
def platform(place: tuple[openmm.Platform, bool]) -> openmm.Platform:
    return place[0]


@pytest.fixture
def make_force(tmp_path: Path, place: tuple[openmm.Platform, bool]) -> MakeForce:
    """Function (cutoff=0.5, periodic=True, **spec) that gives a force with the model Edges."""

    def make(cutoff: float = 0.5, periodic: bool = True, **spec: Any) -> NNPForce:
        force = NNPForce(save_edges(tmp_path / f"edges-{len(list(tmp_path.iterdir()))}.pt", cutoff, **spec))
        force.setUsesPeriodicBoundaryConditions(periodic)
        force.setDeviceNeighbors(place[1])
        return force

    return make


def system_of(n: int, box: np.ndarray | None, *forces: openmm.Force) -> openmm.System:
    system = openmm.System()
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*box)
    for _ in range(n):
        system.addParticle(10.0)
    for force in forces:
        system.addForce(force)
    return system


def gas(n: int, box: np.ndarray, cutoff: float = 0.5, seed: int = 0) -> np.ndarray:
    """Positions in and around a box, no pair being so close to the cutoff that rounding to float32 matters."""
    generator = np.random.default_rng(seed)
    for _ in range(1000):
        x = generator.uniform(-1, 2, (n, 3)) @ box
        low, high = (len(brute_force(x, cutoff + d, box)[0][0]) for d in (-2e-6, 2e-6))
        if low == high:
            return x
    raise AssertionError("no such gas was found")


def edges_of(force: NNPForce, context: openmm.Context) -> tuple[np.ndarray, np.ndarray]:
    """What the model was given; on CUDA, where there is always padding, without what other platforms do not add."""
    energy_and_forces(context)
    edges = force.getOutput(context, "edge_list").astype(int)
    shifts = np.asarray(force.getOutput(context, "shift_list"))
    if context.getPlatform().getName() == "CUDA" and read_spec(force.getModelPath()).edge_capacity == "dynamic":
        count = max(force.getDiagnostics(context)["edges"], 2)
        assert edges.shape[1] >= 64 and not edges[:, count:].any()
        return edges[:, :count], shifts[:count]
    return edges, shifts


# What is given


@pytest.mark.parametrize("n, cutoff, box", [(60, 0.5, CUBE), (60, 0.5, SLANTED), (9, 0.7, SMALL), (1, 0.7, SMALL)])
@pytest.mark.parametrize("kind", ["full", "half"])
@pytest.mark.parametrize("shifts, index", [("cell", "int64"), ("cell", "int32"), ("cartesian", "int32")])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_edges(
    platform: openmm.Platform,
    make_force: MakeForce,
    n: int,
    cutoff: float,
    box: np.ndarray,
    kind: str,
    shifts: str,
    index: str,
    dtype: str,
) -> None:
    x = gas(n, box, cutoff)
    force = make_force(cutoff, edges=kind, shifts=shifts, index_dtype=index, dtype=dtype)
    context = context_of(system_of(n, box, force), x, platform)
    edges, found = edges_of(force, context)
    expected, cells = brute_force(x, cutoff, box, kind == "half")
    np.testing.assert_array_equal(edges, expected)
    np.testing.assert_allclose(found, cells @ box if shifts == "cartesian" else cells, atol=1e-5)
    assert force.getDiagnostics(context)["edges"] == len(expected[0]) > 1
    energy = energy_and_forces(context)[0]
    assert energy == pytest.approx(edges_energy(x, cutoff, box, kind == "half"), rel=1e-4)


@pytest.mark.parametrize("shifts", ["cell", "cartesian"])
def test_without_a_box(platform: openmm.Platform, make_force: MakeForce, shifts: str) -> None:
    x = gas(40, CUBE, 1.5)
    force = make_force(1.5, periodic=False, shifts=shifts)
    context = context_of(system_of(40, CUBE, force), x, platform)
    edges, found_shifts = edges_of(force, context)
    np.testing.assert_array_equal(edges, brute_force(x, 1.5)[0])
    assert not found_shifts.any()
    assert energy_and_forces(context)[0] == pytest.approx(edges_energy(x, 1.5), rel=1e-6)


@pytest.mark.parametrize("length", [("angstrom", 10.0), ("nm", 1.0)])
def test_cutoff_is_in_the_models_unit(
    platform: openmm.Platform, make_force: MakeForce, length: tuple[str, float]
) -> None:
    x = gas(40, CUBE)
    force = make_force(0.5 * length[1], length_unit=length[0])
    edges, shifts = edges_of(force, context_of(system_of(40, CUBE, force), x, platform))
    expected, cells = brute_force(x, 0.5, CUBE)
    assert len(edges[0]) == len(expected[0])
    assert set(np.abs(shifts).ravel().round(4)) <= {0.0, 2 * length[1], 4 * length[1], 6 * length[1]}


def test_some_of_the_particles(platform: openmm.Platform, make_force: MakeForce) -> None:
    x, chosen = gas(60, CUBE), [40, 3, 59, 17, 8, 22, 0]
    force = make_force(1.2)
    force.setParticles(chosen)
    edges, _ = edges_of(force, context_of(system_of(60, CUBE, force), x, platform))
    np.testing.assert_array_equal(edges, brute_force(x[chosen], 1.2, CUBE)[0])


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("shifts", ["cell", "cartesian"])
@pytest.mark.parametrize("close", [0, 1])
@pytest.mark.figure("G2", what="no neighbors")
def test_padding_where_there_are_too_few(
    platform: openmm.Platform, make_force: MakeForce, close: int, shifts: str, periodic: bool
) -> None:
    """At least two edges are passed; those that are none are beyond the cutoff and add exactly nothing."""
    x = np.array([[0, 0, 0], [0.25 if close else 1.0, 0, 0]])
    force = make_force(periodic=periodic, shifts=shifts, edges="half")
    context = context_of(system_of(2, CUBE, force), x, platform)
    energy, forces = energy_and_forces(context)
    edges, found = edges_of(force, context)
    assert edges.shape == (2, 2) and force.getDiagnostics(context)["edges"] == close
    lengths = found[close:, 0] * (2.0 if shifts == "cell" else 1)  # the box, or four cutoffs
    assert not edges[:, close:].any() and (lengths >= 2 * 0.5).all()
    assert energy == pytest.approx(close * 0.75**3, rel=1e-6) and np.any(forces) == bool(close)


@pytest.mark.parametrize("shifts", ["cell", "cartesian"])
def test_padded_to_a_capacity_is_the_same_to_the_bit(
    platform: openmm.Platform, make_force: MakeForce, shifts: str
) -> None:
    x = gas(30, SLANTED)
    results = []
    for capacity in ("dynamic", 500):
        force = make_force(shifts=shifts, edge_capacity=capacity)
        context = context_of(system_of(30, SLANTED, force), x, platform)
        energy, forces = energy_and_forces(context)
        results.append((forces, force.getDiagnostics(context)["edges"]))
        given = edges_of(force, context)[0].shape[1]
        assert given == (500 if capacity == 500 else results[0][1])
        assert energy == pytest.approx(edges_energy(x, 0.5, SLANTED), rel=1e-6)
    assert np.array_equal(results[0][0], results[1][0]) and results[0][1] == results[1][1]


def test_more_edges_than_the_model_takes(platform: openmm.Platform, make_force: MakeForce) -> None:
    force = make_force(edge_capacity=10)
    close = np.random.default_rng(0).uniform(0, 0.2, (5, 3))
    context = context_of(system_of(5, CUBE, force), close, platform)
    text = r"at most 10 edges \(edge_capacity\), but 20 pairs are within its cutoff of 0.5 nm; export it with a larger"
    with pytest.raises(openmm.OpenMMException, match=text):
        energy_and_forces(context)
    context.setPositions(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]]))
    assert energy_and_forces(context)[0] == 0


# Boxes


@pytest.mark.figure("G2", what="box under twice the cutoff")
def test_small_box_is_refused_if_the_model_says_so(platform: openmm.Platform, make_force: MakeForce) -> None:
    """When it is small, not before: the box may change."""
    x = gas(20, CUBE)
    force = make_force(0.9, small_box="refuse")
    context = context_of(system_of(20, CUBE, force), x, platform)
    energy, _ = energy_and_forces(context)
    context.setPeriodicBoxVectors(*(0.85 * CUBE))
    text = 'is 1.7 nm between two of its faces, less than twice the model\'s cutoff of 0.9 nm, .* "refuse"'
    with pytest.raises(openmm.OpenMMException, match=text):
        energy_and_forces(context)
    context.setPeriodicBoxVectors(*CUBE)
    assert energy_and_forces(context)[0] == energy


def test_box_is_read_at_each_evaluation(platform: openmm.Platform, make_force: MakeForce) -> None:
    x = gas(40, CUBE)
    force = make_force()
    context = context_of(system_of(40, CUBE, force), x, platform)
    for factor in (1.0, 0.7, 1.3, 1.0):
        context.setPeriodicBoxVectors(*(factor * CUBE))
        context.setPositions(x)
        assert energy_and_forces(context)[0] == pytest.approx(edges_energy(x, 0.5, factor * CUBE), rel=1e-6)


def test_beside_forces_for_which_openmm_sorts_particles(platform: openmm.Platform, make_force: MakeForce) -> None:
    """On devices it then moves molecules by whole boxes now and then."""
    other = openmm.CustomNonbondedForce("0*r")
    other.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    other.setCutoffDistance(0.6)
    for _ in range(200):
        other.addParticle([])
    box = 1.5 * SLANTED
    force = make_force()
    context = context_of(system_of(200, box, force, other), gas(200, box), platform)
    context.setVelocitiesToTemperature(3000, 1)
    for _ in range(6):
        context.getIntegrator().step(100)
        x = context.getState(positions=True).getPositions(asNumpy=True)._value
        assert energy_and_forces(context)[0] == pytest.approx(edges_energy(x, 0.5, box), rel=1e-4)


def test_barostat(platform: openmm.Platform, make_force: MakeForce) -> None:
    """After each trial move, taken or not, energy and forces are those of a new Context."""
    force = make_force()
    barostat = openmm.MonteCarloBarostat(2000 * unit.bar, 300 * unit.kelvin, 1)
    barostat.setRandomNumberSeed(1)
    system = system_of(60, CUBE, force, barostat)
    context = context_of(system, gas(60, CUBE), platform, openmm.LangevinMiddleIntegrator(300, 1.0, 0.002))
    context.setVelocitiesToTemperature(300, 1)
    moves = []
    for _ in range(40):
        context.getIntegrator().step(1)
        state = context.getState(positions=True)
        moves.append(state.getPeriodicBoxVolume()._value)
        x, box = state.getPositions(asNumpy=True)._value, state.getPeriodicBoxVectors(asNumpy=True)._value
        assert energy_and_forces(context)[0] == pytest.approx(edges_energy(x, 0.5, box), rel=1e-5)
    changed = np.diff(moves) != 0
    assert changed.any() and not changed.all()


# Motion


def test_continuous_across_the_cutoff(platform: openmm.Platform, make_force: MakeForce) -> None:
    """A particle passes by others, with edges that come and go and candidates that are found again."""
    x = gas(40, CUBE, 0.8)
    force = make_force(0.8)
    force.setSkin(0.05)
    context = context_of(system_of(40, CUBE, force), x, platform)
    counts = []
    for _ in range(150):
        x[0, 0] += 0.005
        context.setPositions(x)
        assert energy_and_forces(context)[0] == pytest.approx(edges_energy(x, 0.8, CUBE), rel=1e-5)
        counts.append(force.getDiagnostics(context)["edges"])
    assert len(set(counts)) > 5
    assert force.getDiagnostics(context)["list_builds"] > 20


@pytest.mark.figure("G4", what="edges, lists on host and device")
def test_forces_are_the_gradient(platform: openmm.Platform, make_force: MakeForce) -> None:
    x = np.random.default_rng(3).uniform(-1, 2, (12, 3)) @ SMALL
    context = context_of(system_of(12, SMALL, make_force(0.6)), x, platform)
    forces = energy_and_forces(context)[1]
    np.testing.assert_allclose(forces, central_differences(context, 1e-5), rtol=2e-4, atol=2e-4 * np.abs(forces).max())


def test_any_skin_gives_the_same_trajectory(platform: openmm.Platform, make_force: MakeForce) -> None:
    """NVE over 400 steps, to the bit."""
    found = []
    for skin in (0.0, 0.07, 0.3):
        force = make_force()
        force.setSkin(skin)
        context = context_of(system_of(60, SLANTED, force), gas(60, SLANTED), platform)
        context.setVelocitiesToTemperature(300, 1)
        context.getIntegrator().step(400)
        found.append((coordinates(context), force.getDiagnostics(context)["list_builds"]))
    assert np.array_equal(found[0][0], found[1][0]) and np.array_equal(found[0][0], found[2][0])
    assert found[0][1] >= 400 > found[1][1] > found[2][1]


def test_nothing_is_looked_for_again_without_need(platform: openmm.Platform, make_force: MakeForce) -> None:
    x = gas(40, CUBE)
    force = make_force()
    force.setSkin(0.1)
    context = context_of(system_of(40, CUBE, force), x, platform)

    def builds(moved: np.ndarray) -> int:
        context.setPositions(moved)
        energy_and_forces(context)
        return int(force.getDiagnostics(context)["list_builds"])

    assert builds(x) == 1
    assert builds(x + [0.049, 0, 0]) == 1
    assert builds(x + [0, 0.049, 0]) == 1
    assert builds(x + [0.051, 0, 0]) == 2


# Several forces, and forces that change


def test_forces_share_a_list(platform: openmm.Platform, make_force: MakeForce) -> None:
    """Those of one Context with the same particles, cutoff, kind and skin; found by one, used by both."""
    x = gas(40, CUBE)
    forces = [make_force(), make_force(), make_force(edges="half"), make_force(0.6)]
    for group, force in enumerate(forces):
        force.setForceGroup(group)
    context = context_of(system_of(40, CUBE, *forces), x, platform)
    context.getState(energy=True, groups={0})
    builds = [force.getDiagnostics(context)["list_builds"] for force in forces]
    assert builds == [1, 1, 0, 0]
    energies = [context.getState(energy=True, groups={i}).getPotentialEnergy()._value for i in range(4)]
    assert energies[0] == energies[1] == pytest.approx(2 * energies[2], rel=1e-5)
    assert energies[3] == pytest.approx(edges_energy(x, 0.6, CUBE), rel=1e-5)


def test_contexts_do_not_share(platform: openmm.Platform, make_force: MakeForce) -> None:
    force = make_force()
    system = system_of(40, CUBE, force)
    contexts = [context_of(system, gas(40, CUBE, seed=seed), platform) for seed in (1, 2)]
    energies = [energy_and_forces(context)[0] for context in contexts]
    assert energies == [energy_and_forces(context)[0] for context in contexts]
    assert [force.getDiagnostics(context)["list_builds"] for context in contexts] == [1, 1]


def test_after_an_error_edges_belong_to_the_positions(platform: openmm.Platform, make_force: MakeForce) -> None:
    """Positions, a failed evaluation of others, and the first ones again."""
    force = make_force(edge_capacity=60)
    x = gas(20, CUBE)
    context = context_of(system_of(20, CUBE, force), x, platform)
    energy, forces = energy_and_forces(context)
    context.setPositions(0.1 * x)
    with pytest.raises(openmm.OpenMMException, match="at most 60 edges"):
        energy_and_forces(context)
    context.setPositions(x)
    again, forces_again = energy_and_forces(context)
    assert again == energy and np.array_equal(forces, forces_again)


def test_positions_that_are_not_finite(platform: openmm.Platform, make_force: MakeForce) -> None:
    x = gas(10, CUBE)
    context = context_of(system_of(10, CUBE, make_force()), x, platform)
    energy, _ = energy_and_forces(context)
    for bad in (np.nan, np.inf):
        wrong = x.copy()
        wrong[3, 1] = bad
        context.setPositions(wrong)
        with pytest.raises(
            openmm.OpenMMException, match="(?i)particle 3 is not a finite number|particle coordinate is nan"
        ):
            energy_and_forces(context)
    context.setPositions(x)
    assert energy_and_forces(context)[0] == energy


@pytest.mark.parametrize("change", [{"edges": "half"}, {"shifts": "cell"}, {"small_box": "refuse"}])
def test_update_with_other_edges(platform: openmm.Platform, make_force: MakeForce, change: dict[str, str]) -> None:
    force, other = make_force(), make_force(**change)
    context = context_of(system_of(10, CUBE, force), gas(10, CUBE), platform)
    force.setModelBytes(other.getModelBytes())
    with pytest.raises(openmm.OpenMMException, match="takes other edges than the model in the Context"):
        force.updateParametersInContext(context)


@pytest.mark.parametrize("change", ["skin", "device neighbors"])
def test_update_with_another_list(platform: openmm.Platform, make_force: MakeForce, change: str) -> None:
    force, x = make_force(), gas(10, CUBE)
    context = context_of(system_of(10, CUBE, force), x, platform)
    if change == "skin":
        force.setSkin(0.2)
    else:
        force.setDeviceNeighbors(not force.getDeviceNeighbors())
    with pytest.raises(openmm.OpenMMException, match="global parameters, skin, device neighbors"):
        force.updateParametersInContext(context)
    context.reinitialize(preserveState=True)
    assert energy_and_forces(context)[0] == pytest.approx(edges_energy(x, 0.5, CUBE), rel=1e-5)


def test_device_neighbors_change_nothing_elsewhere(platform: openmm.Platform, make_force: MakeForce) -> None:
    x, energies = gas(40, CUBE), []
    for on_device in (False, True):
        force = make_force()
        force.setDeviceNeighbors(on_device)
        energies.append(energy_and_forces(context_of(system_of(40, CUBE, force), x, platform))[0])
    assert energies[0] == energies[1] == pytest.approx(edges_energy(x, 0.5, CUBE), rel=1e-5)


@pytest.mark.parametrize("periodic", [True, False])
def test_a_model_says_whether_it_is_periodic(platform: openmm.Platform, make_force: MakeForce, periodic: bool) -> None:
    system = system_of(10, CUBE, make_force(periodic=not periodic))
    force = NNPForce.cast(system.getForce(0))
    path = Path(force.getModelPath())
    write_spec(path, dataclasses.replace(read_spec(path), periodic=periodic))
    force.setModelFile(path)
    text = f"periodic.: {str(periodic).lower()}, but .*: call setUsesPeriodicBoundaryConditions.{periodic}"
    with pytest.raises(openmm.OpenMMException, match=text):
        context_of(system, gas(10, CUBE), platform)


def test_options(make_force: MakeForce) -> None:
    force = make_force()
    assert force.getSkin() == 0.1 * unit.nanometer
    force.setSkin(2 * unit.angstrom)
    force.setDeviceNeighbors(True)
    for again in (copy.deepcopy(force), openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(force))):
        read = NNPForce.cast(again)
        assert read.getSkin()._value == pytest.approx(0.2) and read.getDeviceNeighbors()
    for bad in (-0.1, np.nan, np.inf):
        with pytest.raises(openmm.OpenMMException, match="a distance of 0 nm or more is needed"):
            force.setSkin(bad)


# Packages


@pytest.mark.parametrize("n", [2, 3, 40, 61])
def test_package(place: tuple[openmm.Platform, bool], edges_package: Path, n: int) -> None:
    """Also without an edge, which compilers take for a special case."""
    if place[0].getName() == "CUDA":
        pytest.skip("a package for the CPU")
    x = gas(n, CUBE) if n > 2 else np.array([[0, 0, 0], [1, 1, 1.0]])
    force = NNPForce(edges_package)
    force.setUsesPeriodicBoundaryConditions(True)
    force.setDeviceNeighbors(place[1])
    context = context_of(system_of(n, CUBE, force), x, place[0])
    energy, forces = energy_and_forces(context)
    assert energy == pytest.approx(edges_energy(x, 0.5, CUBE), rel=1e-6)
    positions = torch.tensor(x, requires_grad=True)
    edges, cells = (torch.tensor(a) for a in brute_force(x, 0.5, CUBE))
    expected = Edges(0.5, True)(positions, torch.tensor(CUBE), edges, cells)[0]
    expected.backward()
    assert positions.grad is not None
    np.testing.assert_allclose(forces, -positions.grad.numpy(), rtol=1e-5, atol=1e-5)


def test_package_of_fixed_capacity(
    place: tuple[openmm.Platform, bool], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its examples are padded as the plugin pads."""
    path = tmp_path_factory.getbasetemp() / "edges-of-fixed-capacity.pt2"
    spec, examples = edges_spec(shifts="cell", edge_capacity=150, particles=30), []
    for seed in (1, 2):
        x = gas(30, CUBE, seed=seed)
        edges, cells = brute_force(x, 0.5, CUBE)
        examples.append({"positions": x, "box": CUBE, "edges": edges, "shifts": cells})
    if not path.exists():
        save_pt2(Edges(0.5, True), spec, path, examples=examples, progress=False)
    assert np.shape(read_spec(path).references[0]["edges"]) == (2, 150)
    force = NNPForce(path)
    force.setUsesPeriodicBoundaryConditions(True)
    force.setDeviceNeighbors(place[1])
    context = context_of(system_of(30, CUBE, force), x, place[0])
    assert energy_and_forces(context)[0] == pytest.approx(edges_energy(x, 0.5, CUBE), rel=1e-6)
    with pytest.raises(ValueError, match=r"has \d+ edges, but at most 10 are needed \(edge_capacity\)"):
        references(Edges(0.5, True), dataclasses.replace(spec, edge_capacity=10), examples)


def test_package_needs_shifts(tmp_path: Path) -> None:
    spec = dataclasses.replace(edges_spec(), inputs=["positions", "edges"])
    with pytest.raises(ValueError, match="takes edges but no shifts, so it can't be given fewer than two"):
        save_pt2(Edges(0.5, True), spec, tmp_path / "model.pt2", examples=[])


def test_padding_needs_shifts(tmp_path: Path, platform: openmm.Platform) -> None:
    spec = edges_spec(edge_capacity=50)
    spec.inputs, spec.outputs = ["positions", "edges"], ["energy"]
    module = torch.jit.script(type("Model", (torch.nn.Module,), {})())
    module.define("def forward(self, positions, edges):\n    return positions.sum() + edges.sum()\n")
    module.save(str(tmp_path / "model.pt"))
    write_spec(tmp_path / "model.pt", spec)
    system = system_of(5, None, NNPForce(tmp_path / "model.pt"))
    with pytest.raises(openmm.OpenMMException, match="takes 50 edges, whatever their number, but no shifts"):
        context_of(system, np.zeros((5, 3)), platform)
