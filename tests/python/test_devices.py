"""Platforms with a device (OpenCL, CUDA): precision, unwrapping, order of operations, several devices."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import openmm
import pytest

import systems
from conftest import PLATFORMS
from helpers import context_of, coordinates, energy_and_forces, resources, scripted
from openmmnnp import ModelSpec, NNPForce
from openmmnnp.spec import write_spec

DEVICES = [name for name in PLATFORMS if name in ("OpenCL", "CUDA")]
SPEC = ModelSpec("test", length_unit="nm", energy_unit="kJ/mol", dtype="float64")
WELL = "return (positions * positions * torch.tensor([1.0, 2.0, 3.0]).to(positions)).sum()"
BLOWS_UP = "return (positions**2).sum() / (2 - k) + 0 * torch.sqrt(1.5 - k)"

Save = Callable[..., Path]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> openmm.Platform:
    return openmm.Platform.getPlatform(request.param)


@pytest.fixture(params=["single", "mixed", "double"])
def precision(request: pytest.FixtureRequest) -> str:
    return request.param


def well_energy(x: np.ndarray) -> float:
    """What the model WELL gives, kJ/mol."""
    return float(np.sum(x**2 * [1, 2, 3]))


def well_forces(x: np.ndarray) -> np.ndarray:
    return -2 * x * [1, 2, 3]


@pytest.fixture
def well(tmp_path: Path) -> Path:
    """A float64 model that is not invariant under translation, so that it sees where OpenMM says a particle is."""
    path = tmp_path / "well.pt"
    scripted(WELL).save(str(path))
    write_spec(path, SPEC)
    return path


def molecules(
    *forces: openmm.Force, count: int = 4, box: float = 2.0, periodic: bool = True
) -> tuple[openmm.System, np.ndarray]:
    """Molecules of three atoms in a row, whose nonbonded force makes OpenMM sort them and put them into the box."""
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors([box, 0, 0], [0.3, box, 0], [-0.4, 0.2, box])
    nonbonded = openmm.NonbondedForce()
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic if periodic else openmm.NonbondedForce.NoCutoff)
    nonbonded.setCutoffDistance(0.8)
    bonds = openmm.HarmonicBondForce()
    generator = np.random.default_rng(3)
    x = []
    for molecule in range(count):
        center = generator.uniform(0, box, 3)
        for atom in range(3):
            system.addParticle(12.0)
            nonbonded.addParticle(0, 0.1, 1e-3)
            x.append(center + [0.1 * atom, 0, 0.02 * atom])
        for atom in range(2):
            bonds.addBond(3 * molecule + atom, 3 * molecule + atom + 1, 0.1, 1000.0)
    for force in (nonbonded, bonds, *forces):
        system.addForce(force)
    return system, np.array(x)


def with_precision(
    system: openmm.System, device: openmm.Platform, precision: str, integrator: openmm.Integrator | None = None
) -> openmm.Context:
    return openmm.Context(system, integrator or openmm.VerletIntegrator(0.001), device, {"Precision": precision})


def alone(context: openmm.Context, group: int = 1) -> tuple[float, np.ndarray]:
    """Energy in kJ/mol and forces [n, 3] in kJ/mol/nm of one force group."""
    state = context.getState(energy=True, forces=True, groups={group})
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value


def in_group(force: NNPForce, group: int = 1) -> NNPForce:
    force.setForceGroup(group)
    return force


# Unwrapping


def assert_unwrapped(context: openmm.Context, particles: list[int], precision: str) -> None:
    """The model sees the positions that the user sees."""
    x = coordinates(context)[0][particles]
    energy, forces = alone(context)
    # In single precision a position in the box is rounded to 2^-24 of it; what is added for whole boxes is not.
    # Forces are returned as floats in single and mixed precision.
    absolute = {"single": 1e-5, "mixed": 1e-9, "double": 1e-9}[precision]
    assert energy == pytest.approx(well_energy(x), abs=absolute * np.abs(well_forces(x)).sum())
    rounding = 1e-8 if precision == "double" else 1e-7
    np.testing.assert_allclose(forces[particles], well_forces(x), rtol=rounding, atol=10 * absolute)


def fly(context: openmm.Context, boxes: float) -> None:
    """Move everything along (1, -2, 1.5) by this many boxes of 2 nm, in steps enough for OpenMM to sort molecules."""
    steps = 300
    velocity = 2.0 * boxes / (steps * context.getIntegrator().getStepSize()._value)
    n = context.getSystem().getNumParticles()
    context.setVelocities(np.tile(velocity * np.array([1.0, -2.0, 1.5]), (n, 1)))
    context.getIntegrator().step(steps)


@pytest.fixture
def flying(well: Path, device: openmm.Platform, precision: str) -> tuple[openmm.Context, list[int]]:
    """Molecules of a force over several of them that have crossed the box many times, and its particles."""
    particles = [4, 3, 5, 11, 9, 10]
    force = in_group(NNPForce(well))
    force.setParticles(particles)
    system, x = molecules(force)
    context = with_precision(system, device, precision, openmm.VerletIntegrator(0.0005))
    context.getIntegrator().setIntegrationForceGroups({0})
    context.setPositions(x)
    fly(context, 7.3)
    return context, particles


def test_molecules_that_crossed_the_box(flying: tuple[openmm.Context, list[int]], precision: str) -> None:
    context, particles = flying
    x = coordinates(context)[0]
    assert np.abs(x).max() > 10, "they went far"
    wrapped = context.getState(positions=True, enforcePeriodicBox=True).getPositions(asNumpy=True)._value
    assert np.abs(x - wrapped).max() > 10, "and OpenMM knows them in another box"
    for _ in range(3):
        assert_unwrapped(context, particles, precision)
        context.getIntegrator().step(300)


def test_set_positions_forgets_the_cells(flying: tuple[openmm.Context, list[int]], precision: str) -> None:
    context, particles = flying
    near = np.random.default_rng(1).uniform(0, 2, (12, 3))
    context.setPositions(near)
    assert_unwrapped(context, particles, precision)
    context.setPositions(near + [6, -4, 10])
    assert_unwrapped(context, particles, precision)


def test_checkpoint_brings_the_cells_back(flying: tuple[openmm.Context, list[int]], precision: str) -> None:
    context, particles = flying
    far, checkpoint = alone(context), context.createCheckpoint()
    fly(context, -3.7)
    assert_unwrapped(context, particles, precision)
    context.loadCheckpoint(checkpoint)
    assert alone(context)[0] == far[0]
    assert_unwrapped(context, particles, precision)


@pytest.mark.parametrize("precision", ["mixed"], indirect=True)
def test_barostat(well: Path, device: openmm.Platform, precision: str) -> None:
    """After accepted and refused moves, in boxes that a molecule crosses."""
    particles = [4, 3, 5, 11, 9, 10]
    force = in_group(NNPForce(well))
    force.setParticles(particles)
    barostat = openmm.MonteCarloBarostat(19.0, 300.0, 1)  # bar, at which 30 molecules fill about this box
    barostat.setRandomNumberSeed(1)
    system, x = molecules(force, barostat, count=30, box=4.0)
    integrator = openmm.LangevinMiddleIntegrator(300, 1, 0.002)
    integrator.setRandomNumberSeed(1)
    context = with_precision(system, device, precision, integrator)
    context.getIntegrator().setIntegrationForceGroups({0})
    context.setPositions(x)
    fly(context, 7.3)
    volumes = []
    for _ in range(40):
        context.getIntegrator().step(1)
        volumes.append(context.getState().getPeriodicBoxVolume()._value)
        assert_unwrapped(context, particles, precision)
    moved = np.diff(volumes) != 0
    assert moved.any() and not moved.all(), "some moves were accepted and some refused"


def test_periodic_model_sees_the_box_of_the_moment(save_scripted: Save, device: openmm.Platform) -> None:
    body = "return (positions[0] - positions[1]).dot(box[2]) + box.sum()"
    force = in_group(NNPForce(save_scripted(body, "positions, box", inputs=["positions", "box"])))
    force.setUsesPeriodicBoundaryConditions(True)
    force.setParticles([2, 0])
    system, x = molecules(force)
    context = with_precision(system, device, "double")
    context.setPositions(x)
    for scale in (1.0, 1.1):
        box = scale * np.array([[2, 0, 0], [0.3, 2, 0], [-0.4, 0.2, 2]])
        context.setPeriodicBoxVectors(*box)
        assert alone(context)[0] == pytest.approx((x[2] - x[0]) @ box[2] + box.sum(), rel=1e-12)


# Inside CustomCVForce and ATMForce, which pass positions on but not the cells


def inside(kind: str, force: NNPForce, n: int) -> openmm.Force:
    if kind == "ATMForce":
        outer = openmm.ATMForce("u0")
        for _ in range(n):
            outer.addParticle(openmm.Vec3(0, 0, 0))
        outer.addForce(force)
    else:
        outer = openmm.CustomCVForce("u")
        outer.addCollectiveVariable("u", force)
    return outer


TORN = (
    r"covers 2 molecules, does not use periodic boundary conditions, and is inside a CustomCVForce or ATMForce of .* "
)
TORN += r"addBond\(\).* setUsesPeriodicBoundaryConditions\(True\) .* or choose the CPU platform"


@pytest.mark.parametrize("kind", ["CustomCVForce", "ATMForce"])
def test_torn_molecules_are_refused(well: Path, device: openmm.Platform, kind: str) -> None:
    """Whether the System has a box or its Context gets one later."""
    for has_box in (True, False):
        force = NNPForce(well)
        force.setParticles([4, 3, 8])
        force.addBond(3, 4)
        system, x = molecules(inside(kind, force, 12), periodic=has_box)
        if not has_box:
            system.setDefaultPeriodicBoxVectors([2, 0, 0], [0, 2, 0], [0, 0, 2])
        context = with_precision(system, device, "double")
        context.setPositions(x)
        if not has_box:
            energy_and_forces(context)
            context.setPeriodicBoxVectors([3, 0, 0], [0, 3, 0], [0, 0, 3])
        with pytest.raises(openmm.OpenMMException, match=TORN):
            energy_and_forces(context)


def test_openmm_torch_contract_warns_of_torn_molecules(
    tmp_path: Path, device: openmm.Platform, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its models see all particles as OpenMM's own forces do there, and often look at one molecule only."""
    path = tmp_path / "first.pt"
    scripted("return (positions[0] - positions[2]).pow(2).sum()").save(str(path))
    system, x = molecules(in_group(inside("CustomCVForce", NNPForce(path), 12)))
    context = with_precision(system, device, "double")
    context.setPositions(x)
    for _ in range(2):
        assert alone(context)[0] == pytest.approx(np.sum((x[0] - x[2]) ** 2), rel=1e-9)
    assert capfd.readouterr().err.count("Make sure that the model looks at one molecule only.") == 1


@pytest.mark.parametrize("kind", ["CustomCVForce", "ATMForce"])
def test_one_molecule_is_whole(save_scripted: Save, device: openmm.Platform, kind: str) -> None:
    """What does not depend on where the molecule is comes out right, wherever it went."""
    force = NNPForce(save_scripted("return ((positions - positions[0])**2).sum()"))
    force.setParticles([4, 3, 5])
    for pair in ((3, 4), (4, 5)):
        force.addBond(*pair)
    outer = in_group(inside(kind, force, 12))
    system, x = molecules(outer)
    context = with_precision(system, device, "double", openmm.VerletIntegrator(0.0005))
    context.getIntegrator().setIntegrationForceGroups({0})
    context.setPositions(x)
    fly(context, 7.3)
    x = coordinates(context)[0]
    assert alone(context)[0] == pytest.approx(np.sum((x[[3, 5]] - x[4]) ** 2), rel=1e-9)


def test_molecules_in_vacuum_are_not_torn(well: Path, device: openmm.Platform) -> None:
    system, x = molecules(in_group(inside("CustomCVForce", NNPForce(well), 12)), periodic=False)
    system.setDefaultPeriodicBoxVectors([2, 0, 0], [0, 2, 0], [0, 0, 2])
    context = with_precision(system, device, "double")
    context.setPositions(x)
    assert alone(context)[0] == pytest.approx(well_energy(x), rel=1e-9)


# Order of operations


def test_forces_in_any_order(well: Path, save_scripted: Save, device: openmm.Platform, precision: str) -> None:
    """Two forces on shared particles, among OpenMM's own: what is added does not depend on the order."""

    def forces() -> list[openmm.Force]:
        first, second = (
            NNPForce(well),
            NNPForce(save_scripted("return 5 * (positions[1:] - positions[:-1]).pow(2).sum()")),
        )
        first.setParticles([2, 0, 7])
        second.setParticles([0, 5, 1, 7])
        external = openmm.CustomExternalForce("3*x + y^2")
        for i in range(12):
            external.addParticle(i)
        return [first, second, external]

    results = []
    for order in itertools.permutations(range(3)):
        chosen = forces()
        system, x = molecules(*(chosen[i] for i in order))
        context = with_precision(system, device, precision)
        context.setPositions(x)
        results.append(energy_and_forces(context))
        results.append(energy_and_forces(context))
    reference = context_of(molecules(*forces())[0], x, openmm.Platform.getPlatform("Reference"))
    energy, expected = energy_and_forces(reference)
    tolerance = {"single": 1e-4, "mixed": 1e-5, "double": 1e-6}[precision]  # that of OpenMM's bonds
    for found, found_forces in results:
        assert found == pytest.approx(energy, rel=tolerance)
        np.testing.assert_allclose(found_forces, expected, atol=tolerance * np.abs(expected).max())


def test_a_force_that_fails_leaves_the_others_in_order(
    well: Path, save_scripted: Save, device: openmm.Platform
) -> None:
    """The error names the force that failed; the next evaluation is right, for each of the forces."""
    for order in ((0, 1), (1, 0)):
        good = in_group(NNPForce(well))
        bad = in_group(NNPForce(save_scripted(BLOWS_UP, "positions, k", inputs=["positions", "parameters.k"])))
        bad.setName("fragile")
        bad.addGlobalParameter("k", 1.0)
        system, x = molecules(*([good, bad][i] for i in order))
        context = with_precision(system, device, "double")
        context.setPositions(x)
        for _ in range(2):
            context.setParameter("k", 1.75)
            with pytest.raises(openmm.OpenMMException, match=r"fragile.*energy is .?nan"):
                alone(context)
            context.setParameter("k", 1.0)
            energy, forces = alone(context)
            assert energy == pytest.approx(well_energy(x) + np.sum(x**2), rel=1e-12)
            np.testing.assert_allclose(forces, well_forces(x) - 2 * x, atol=1e-8)


def test_a_scale_that_is_no_number_leaves_the_others_in_order(well: Path, device: openmm.Platform) -> None:
    """Another force was begun already when this one refuses."""
    good, scaled = in_group(NNPForce(well)), in_group(NNPForce(well))
    scaled.setScaleParameter("s", 0.5)
    system, x = molecules(good, scaled)
    context = with_precision(system, device, "double")
    context.setPositions(x)
    for _ in range(2):
        context.setParameter("s", float("nan"))
        with pytest.raises(openmm.OpenMMException, match="scale parameter 's' is .?nan"):
            alone(context)
        with pytest.raises(openmm.OpenMMException, match="not evaluated yet, or not to the end"):
            good.getOutput(context, "energy")
        context.setParameter("s", 0.5)
        assert alone(context)[0] == pytest.approx(1.5 * well_energy(x), rel=1e-12)


def test_multiple_time_steps_follow_reference(well: Path, device: openmm.Platform) -> None:
    """Two groups that are evaluated at different steps: the trajectory is that of Reference."""

    def end(platform: openmm.Platform) -> np.ndarray:
        fast, slow = in_group(NNPForce(well), 1), in_group(NNPForce(well), 2)
        fast.setParticles([0, 1, 2, 3])
        slow.setParticles([3, 8, 11])
        system, x = molecules(fast, slow)
        integrator = openmm.MTSIntegrator(0.002, [(2, 1), (0, 2), (1, 4)])
        context = context_of(system, x, platform, integrator)
        integrator.step(25)
        return coordinates(context)

    expected = end(openmm.Platform.getPlatform("Reference"))
    np.testing.assert_allclose(end(device), expected, atol=1e-7)


def test_a_collective_variable_of_two_models(well: Path, device: openmm.Platform, precision: str) -> None:
    """E = u v, inside one Context that evaluates both and is evaluated with other forces around it."""
    bias = in_group(openmm.CustomCVForce("u*v"))
    parts = ([0, 1, 2], [5, 3])
    for name, part in zip("uv", parts, strict=True):
        force = NNPForce(well)
        force.setParticles(part)
        for pair in itertools.pairwise(part):
            force.addBond(*pair)
        bias.addCollectiveVariable(name, force)
    system, x = molecules(bias, in_group(NNPForce(well), 2))
    context = with_precision(system, device, precision)
    context.setPositions(x)
    u, v = (well_energy(x[part]) for part in parts)
    energy, forces = alone(context)
    tolerance = 1e-10 if precision == "double" else 1e-5
    assert energy == pytest.approx(u * v, rel=tolerance)
    expected = np.zeros_like(x)
    expected[parts[0]] += v * well_forces(x[parts[0]])
    expected[parts[1]] += u * well_forces(x[parts[1]])
    np.testing.assert_allclose(forces, expected, atol=10 * tolerance * np.abs(expected).max())


def test_two_contexts_in_two_threads(well: Path, device: openmm.Platform) -> None:
    def energies(seed: int) -> list[float]:
        system, x = molecules(in_group(NNPForce(well)))
        context = with_precision(system, device, "double")
        context.setPositions(x + seed)
        found = []
        for _ in range(30):
            context.getIntegrator().step(2)
            found.append(alone(context)[0] - well_energy(coordinates(context)[0]))
        return found

    with ThreadPoolExecutor(2) as pool:
        for differences in pool.map(energies, range(2)):
            np.testing.assert_allclose(differences, 0, atol=1e-7)


@pytest.mark.parametrize("index", ["0,0"])
def test_several_devices(well: Path, device: openmm.Platform, index: str) -> None:
    """The model is evaluated once, for the first of them."""
    force = in_group(NNPForce(well))
    force.setParticles([4, 3, 8])
    system, x = molecules(force)
    properties = {"Precision": "double", "DeviceIndex": index}
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), device, properties)
    context.setPositions(x)
    for _ in range(3):
        x = coordinates(context)[0]
        energy, forces = alone(context)
        assert energy == pytest.approx(well_energy(x[[3, 4, 8]]), rel=1e-9)
        np.testing.assert_allclose(forces[[3, 4, 8]], well_forces(x[[3, 4, 8]]), atol=1e-7)
        context.getIntegrator().step(5)


def python_force() -> openmm.PythonForce:
    def compute(state: openmm.State) -> tuple[float, np.ndarray]:
        x = state.getPositions(asNumpy=True)._value
        return 7 * np.sum(x), np.full(x.shape, -7.0)

    return openmm.PythonForce(compute)


def test_beside_a_python_force(well: Path, device: openmm.Platform) -> None:
    """OpenMM runs that one on its worker thread."""
    for order in ((0, 1), (1, 0)):
        pair = [in_group(NNPForce(well)), in_group(python_force())]
        system, x = molecules(*(pair[i] for i in order))
        context = with_precision(system, device, "double")
        context.setPositions(x)
        for _ in range(2):
            energy, forces = alone(context)
            assert energy == pytest.approx(well_energy(x) + 7 * np.sum(x), rel=1e-9)
            np.testing.assert_allclose(forces, well_forces(x) - 7, atol=1e-6)


# Numbers

PAIRS = """
d = positions.unsqueeze(0) - positions.unsqueeze(1)
r2 = (d * d).sum(2) + 0.01
return 20 * torch.exp(-3 * r2).sum() + 5 * torch.sin(4 * torch.sqrt(r2)).sum()
"""


def slanted() -> systems.TestedSystem:
    """Alanine dipeptide in water, in a triclinic box."""
    topology, system, positions = systems.alanine_dipeptide(explicit=True)
    system.setDefaultPeriodicBoxVectors([3.2852863, 0, 0], [0.7, 3.2861648, 0], [-0.5, 0.9, 3.1855098])
    return systems.TestedSystem(topology, system, positions)


COMPARED = {
    "toluene": (systems.toluene, slice(None)),
    "water": (systems.water, slice(0, 150)),
    "CB7-B2": (lambda: systems.host_guest("complex-explicit"), slice(0, 156)),
    "dipeptide in water": (lambda: systems.alanine_dipeptide(explicit=True), slice(0, 100)),
    "triclinic": (slanted, slice(0, 100)),
    "scattered subset": (lambda: systems.alanine_dipeptide(explicit=True), slice(2000, 3, -17)),
}


@pytest.mark.parametrize("name", COMPARED)
@pytest.mark.parametrize("precision", ["single", "double"], indirect=True)
def test_device_equals_reference(tmp_path: Path, device: openmm.Platform, precision: str, name: str) -> None:
    """After OpenMM sorted and wrapped molecules: this force alone, at the positions that the user gets (G3)."""
    path = tmp_path / "pairs.pt"
    scripted(PAIRS.strip()).save(str(path))
    write_spec(path, SPEC)
    make, part = COMPARED[name]
    _, system, positions = make()
    particles = list(range(system.getNumParticles()))[part]

    def force() -> NNPForce:
        made = in_group(NNPForce(path))
        made.setParticles(particles)
        return made

    system.addForce(force())
    integrator = openmm.LangevinMiddleIntegrator(300, 5, 0.001)
    integrator.setRandomNumberSeed(1)
    integrator.setIntegrationForceGroups({0})
    context = with_precision(system, device, precision, integrator)
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=20)
    integrator.step(260)
    x = coordinates(context)[0]
    reference = openmm.System()
    for _ in x:
        reference.addParticle(1.0)
    reference.addForce(force())
    energy, forces = alone(context_of(reference, x, openmm.Platform.getPlatform("Reference")))
    found, found_forces = alone(context)
    difference = np.linalg.norm((found_forces - forces)[particles], axis=1)
    median = np.median(difference / np.linalg.norm(forces[particles], axis=1))
    bound = 1e-10 if precision == "double" else 5e-6
    print(f"G3, {device.getName()} {precision}, {name}: {median:.2g} (bound {bound}), {found - energy:.2g} kJ/mol")
    assert median <= bound
    assert abs(found - energy) <= 1e-3


def test_float32_model_in_any_precision(save_scripted: Save, device: openmm.Platform, precision: str) -> None:
    force = in_group(NNPForce(save_scripted(WELL, dtype="float32")))
    system, x = molecules(force)
    context = with_precision(system, device, precision)
    context.setPositions(x)
    energy, forces = alone(context)
    assert force.getDiagnostics(context)["dtype"] == "float32"
    assert energy == pytest.approx(well_energy(x), rel=1e-6)
    np.testing.assert_allclose(forces, well_forces(x), rtol=1e-5, atol=1e-5)


def test_contract_without_a_spec_follows_the_precision(tmp_path: Path, device: openmm.Platform, precision: str) -> None:
    path = tmp_path / "bits.pt"
    scripted("bits = 64 if positions.dtype == torch.float64 else 32\nreturn 0 * positions.sum() + bits").save(str(path))
    system, x = molecules(in_group(NNPForce(path)))
    context = with_precision(system, device, precision)
    context.setPositions(x)
    assert alone(context)[0] == (64 if precision == "double" else 32)


def test_large_energies_keep_their_digits(save_scripted: Save, device: openmm.Platform, precision: str) -> None:
    """The constant part and the energy never pass through a float."""
    path = save_scripted(WELL)
    write_spec(path, replace(SPEC, energy_offset=-2.5e7))
    force = in_group(NNPForce(path))
    force.setScaleParameter("s", 1.0)
    force.addEnergyParameterDerivative("s")
    system, x = molecules(force)
    x = x.astype(np.float32).astype(float)
    context = with_precision(system, device, precision)
    context.setPositions(x)
    assert alone(context)[0] + 2.5e7 == pytest.approx(well_energy(x), rel=1e-6, abs=1e-6)
    derivatives = context.getState(parameterDerivatives=True, groups={1}).getEnergyParameterDerivatives()
    assert derivatives["s"] + 2.5e7 == pytest.approx(well_energy(x), rel=1e-6, abs=1e-6)


def test_forces_too_large_for_the_device(save_scripted: Save, device: openmm.Platform, precision: str) -> None:
    """OpenMM keeps forces as fixed-point numbers there: beyond 2^31 kJ/mol/nm they would turn around."""
    force = in_group(
        NNPForce(
            save_scripted("return k * positions[:, 1].sum()", "positions, k", inputs=["positions", "parameters.k"])
        )
    )
    force.addGlobalParameter("k", 2.0e9)
    force.setScaleParameter("s")
    force.setParticles([5, 2])
    system, x = molecules(force)
    context = with_precision(system, device, precision)
    context.setPositions(x)
    np.testing.assert_allclose(alone(context)[1][[5, 2]], [[0, -2.0e9, 0]] * 2, rtol=1e-6)
    context.setParameter("k", 2.2e9)
    text = r"force on particle 5 is \(.*-2.2e\+09.*\), more than OpenMM's fixed-point numbers can hold .* particle 2, "
    with pytest.raises(openmm.OpenMMException, match=text):
        alone(context)
    context.setParameter("s", 0.1)
    np.testing.assert_allclose(alone(context)[1][[5, 2]], [[0, -2.2e8, 0]] * 2, rtol=1e-6)
    context.setParameter("k", 2.0e9)
    context.setParameter("s", -1.5)
    with pytest.raises(openmm.OpenMMException, match="more than OpenMM's fixed-point numbers can hold"):
        alone(context)
    context.setParameter("k", 1.0)
    context.setParameter("s", 1.0)
    assert alone(context)[0] == pytest.approx(x[[5, 2], 1].sum(), rel=1e-6)


# Resources


def test_contexts_leave_no_more_behind_than_openmm(well: Path, device: openmm.Platform) -> None:
    """OpenMM's own Contexts leave a thread and some memory on OpenCL; with the force they leave no more (G9)."""

    def once(with_force: bool) -> None:
        force = NNPForce(well) if with_force else openmm.CustomExternalForce("x^2+2*y^2+3*z^2")
        system, x = molecules(in_group(force), count=2)
        if not with_force:
            for i in range(len(x)):
                force.addParticle(i)
        context = with_precision(system, device, "double")
        context.setPositions(x)
        assert alone(context)[0] == pytest.approx(well_energy(x), rel=1e-6)

    growth = np.zeros((2, 12, 3))
    for cycle in range(12):
        for kind in range(2):
            before = np.array(resources())[:3]
            once(bool(kind))
            growth[kind, cycle] = np.array(resources())[:3] - before
    openmm_alone, ours = np.median(growth[:, 2:], axis=1)  # the first ones fill caches, and the heap grows in jumps
    print(f"G9, {device.getName()}, growth a Context: {ours[0] / 2**20:.2g} MiB, ", end="")
    print(f"OpenMM alone {openmm_alone[0] / 2**20:.2g} MiB")
    assert ours[0] - openmm_alone[0] < 2**20
    assert tuple(ours[1:]) == tuple(openmm_alone[1:]), "file descriptors and threads"
