"""Platforms with a device (OpenCL, CUDA): precision, large numbers, resources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import openmm
import pytest

import systems
from devices import SPEC, WELL, alone, in_group, molecules, well_energy, well_forces, with_precision
from figures import Measure
from helpers import context_of, coordinates, resources, scripted
from openmmnnp import NNPForce
from openmmnnp.spec import write_spec

Save = Callable[..., Path]


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


FLOAT32 = pytest.param("single", "float32", marks=pytest.mark.long)


@pytest.mark.figure("G3")
@pytest.mark.parametrize("name", COMPARED)
@pytest.mark.parametrize(("precision", "dtype"), [("single", "float64"), ("double", "float64"), FLOAT32])
def test_device_equals_reference(
    tmp_path: Path, device: openmm.Platform, precision: str, dtype: str, name: str, measure: Measure
) -> None:
    compare(tmp_path, device, precision, dtype, name, measure, 1e-10 if precision == "double" else 5e-6)


@pytest.mark.figure("G3")
@pytest.mark.parametrize("name", COMPARED)
@pytest.mark.parametrize(("platform", "dtype"), [("CPU", "float64"), ("CPU", "float32")], indirect=["platform"])
def test_cpu_equals_reference(
    tmp_path: Path, platform: openmm.Platform, dtype: str, name: str, measure: Measure
) -> None:
    compare(tmp_path, platform, "double", dtype, name, measure, 1e-12)


def compare(
    folder: Path, platform: openmm.Platform, precision: str, dtype: str, name: str, measure: Measure, bound: float
) -> None:
    """After OpenMM sorted and wrapped molecules: this force alone, at the positions that the user gets."""
    path = folder / "pairs.pt"
    scripted(PAIRS.strip()).save(str(path))
    write_spec(path, replace(SPEC, dtype=dtype))
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
    if platform.getName() == "CPU":
        context = context_of(system, positions, platform, integrator)
    else:
        context = with_precision(system, platform, precision, integrator)
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
    where = f"{precision} precision, {dtype} model"
    measure(f"{where}, forces", float(median), bound)
    allowed = 1e-3 if dtype == "float64" else 1e-2 + 1e-6 * abs(energy)
    measure(f"{where}, energy, kJ/mol", abs(found - energy), allowed)


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


@pytest.mark.figure("G9", what="Contexts on a device beside OpenMM's own")
def test_contexts_leave_no_more_behind_than_openmm(well: Path, device: openmm.Platform, measure: Measure) -> None:
    """OpenMM's own Contexts leave a thread and some memory on OpenCL; with the force they leave no more."""

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
    measure("growth a Context more than OpenMM's own, MiB", (ours[0] - openmm_alone[0]) / 2**20, 1)
    assert tuple(ours[1:]) == tuple(openmm_alone[1:]), "file descriptors and threads"
