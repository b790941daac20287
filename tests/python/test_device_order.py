"""Platforms with a device (OpenCL, CUDA): order of operations beside other forces, Contexts and devices."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openmm
import pytest

from devices import alone, in_group, molecules, well_energy, well_forces, with_precision
from helpers import context_of, coordinates, energy_and_forces
from openmmnnp import NNPForce

pytestmark = pytest.mark.asan

BLOWS_UP = "return (positions**2).sum() / (2 - k) + 0 * torch.sqrt(1.5 - k)"

Save = Callable[..., Path]


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
