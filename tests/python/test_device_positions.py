"""Platforms with a device (OpenCL, CUDA): the model sees the positions that the user sees, wherever molecules went."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openmm
import pytest

from devices import alone, fly, in_group, molecules, well_energy, well_forces, with_precision
from helpers import coordinates, energy_and_forces, scripted
from openmmnnp import NNPForce

pytestmark = pytest.mark.asan

Save = Callable[..., Path]


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
