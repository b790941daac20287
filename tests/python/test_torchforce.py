"""Scripts written for openmm-torch, with the import changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from helpers import Harmonic, HarmonicPeriodic, HarmonicWithForces, HarmonicWithParameters, energy_and_forces
from openmmnnp import NNPForce, TorchForce

pytestmark = pytest.mark.asan

Save = Callable[..., Path]
MakeContext = Callable[..., openmm.Context]

INTERFACE = """getFile getModule setUsesPeriodicBoundaryConditions usesPeriodicBoundaryConditions setOutputsForces
    getOutputsForces getNumGlobalParameters getNumEnergyParameterDerivatives addGlobalParameter getGlobalParameterName
    setGlobalParameterName getGlobalParameterDefaultValue setGlobalParameterDefaultValue addEnergyParameterDerivative
    getEnergyParameterDerivativeName setProperty getProperties cast isinstance""".split()


def test_the_whole_interface_is_there() -> None:
    assert [name for name in INTERFACE if not callable(getattr(TorchForce, name, None))] == []


@pytest.mark.parametrize("from_module", [False, True], ids=["file", "module"])
@pytest.mark.parametrize("in_cv", [False, True], ids=["plain", "CustomCVForce"])
@pytest.mark.parametrize("with_forces", [False, True], ids=["autograd", "forces"])
def test_harmonic(
    platform: Any,
    save_model: Save,
    make_context: MakeContext,
    positions: np.ndarray,
    tolerance: float,
    from_module: bool,
    in_cv: bool,
    with_forces: bool,
) -> None:
    file = str(save_model(HarmonicWithForces() if with_forces else Harmonic()))
    force: Any = TorchForce(torch.jit.load(file) if from_module else file, {"useCUDAGraphs": "false"})
    assert not force.getOutputsForces()
    force.setOutputsForces(with_forces)
    assert force.getOutputsForces() == with_forces
    if in_cv:
        inner, force = force, openmm.CustomCVForce("2*cv")
        force.addCollectiveVariable("cv", inner)
    energy, forces = energy_and_forces(make_context(platform, force, positions))
    factor = 2 if in_cv else 1
    assert energy == pytest.approx(factor * np.sum(positions**2), rel=tolerance)
    np.testing.assert_allclose(forces, -2 * factor * positions, rtol=tolerance, atol=tolerance)


def test_global_parameters_and_derivatives(
    platform: Any, save_model: Save, make_context: MakeContext, positions: np.ndarray, tolerance: float
) -> None:
    force = TorchForce(str(save_model(HarmonicWithParameters())))
    force.addGlobalParameter("scale", 2.0)
    force.addGlobalParameter("tilt", 0.5)
    force.addEnergyParameterDerivative("tilt")
    force.addEnergyParameterDerivative("scale")
    assert [force.getEnergyParameterDerivativeName(i) for i in range(2)] == ["tilt", "scale"]
    context = make_context(platform, force, positions)
    squares, x = np.sum(positions**2), np.sum(positions[:, 0])
    for scale, tilt in ((2.0, 0.5), (5.0, -3.0)):
        context.setParameter("scale", scale)
        context.setParameter("tilt", tilt)
        energy, forces = energy_and_forces(context)
        assert energy == pytest.approx(scale * squares + tilt**2 * x, rel=10 * tolerance)
        expected = -2 * scale * positions - [tilt**2, 0, 0]
        np.testing.assert_allclose(forces, expected, rtol=10 * tolerance, atol=10 * tolerance)
        found = context.getState(getParameterDerivatives=True).getEnergyParameterDerivatives()
        assert {"scale": squares, "tilt": 2 * tilt * x} == pytest.approx(dict(found), rel=10 * tolerance)


def test_periodic_box(
    platform: Any, save_model: Save, make_context: MakeContext, positions: np.ndarray, tolerance: float
) -> None:
    force = TorchForce(str(save_model(HarmonicPeriodic())))
    assert not force.usesPeriodicBoundaryConditions()
    force.setUsesPeriodicBoundaryConditions(True)
    assert force.usesPeriodicBoundaryConditions()
    context = make_context(platform, force, positions, box=2.0)
    for size in ((2.0, 2.0, 2.0), (2.5, 3.0, 4.0)):
        context.setPeriodicBoxVectors(*np.diag(size))
        wrapped = positions - np.floor(positions / size) * size
        energy, forces = energy_and_forces(context)
        assert energy == pytest.approx(np.sum(wrapped**2), rel=10 * tolerance)
        np.testing.assert_allclose(forces, -2 * wrapped, rtol=10 * tolerance, atol=100 * tolerance)


def test_readme_script(save_model: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulation as in openmm-torch's README: a module is scripted, saved, and pulls every particle to the origin."""
    monkeypatch.chdir(save_model(Harmonic()).parent)
    script = """
from openmmnnp import *
import openmm
system = openmm.System()
for i in range(3):
    system.addParticle(1.0)
f = TorchForce('model.pt')
system.addForce(f)
simulation_context = openmm.Context(system, openmm.VerletIntegrator(0.001))
simulation_context.setPositions([[1.0, 0, 0], [0, 2.0, 0], [0, 0, 3.0]])
simulation_context.getIntegrator().step(20)
"""
    names: dict[str, Any] = {}
    exec(script, names)
    moved = names["simulation_context"].getState(getPositions=True).getPositions(asNumpy=True)
    # E = x^2 of mass 1: x = x0 cos(sqrt(2) t), and Verlet starts half a step later.
    expected = np.diag([1.0, 2.0, 3.0]) * np.cos(np.sqrt(2) * 0.020)
    np.testing.assert_allclose(moved.value_in_unit(unit.nanometer), expected, rtol=1e-4, atol=1e-6)


def test_file_and_module(save_model: Save) -> None:
    file = str(save_model(Harmonic()))
    force = TorchForce(file)
    assert force.getFile() == file
    module = force.getModule()
    assert isinstance(module, torch.jit.ScriptModule)
    assert module(torch.full((2, 3), 2.0)).item() == 24
    again = TorchForce(module)
    assert again.getFile() == ""
    assert again.getModule()(torch.ones(2, 3)).item() == 6


def test_default_properties_are_those_of_openmm_torch(harmonic: Path) -> None:
    force = TorchForce(str(harmonic))
    assert force.getProperties() == {"useCUDAGraphs": "false", "CUDAGraphWarmupSteps": "10"}
    assert force.getName() == "TorchForce"


def test_properties_set_the_typed_options(harmonic: Path) -> None:
    force = TorchForce(str(harmonic), {"useCUDAGraphs": "true", "CUDAGraphWarmupSteps": "3"})
    assert (force.getCudaGraphs(), force.getCudaGraphWarmupSteps()) == (True, 3)
    force.setProperty("useCUDAGraphs", "false")
    force.setProperty("CUDAGraphWarmupSteps", "12")
    assert force.getProperties() == {"useCUDAGraphs": "false", "CUDAGraphWarmupSteps": "12"}


@pytest.mark.parametrize(
    "name, value, text",
    [
        ("useCudaGraphs", "true", "Unknown property 'useCudaGraphs'; the known ones are useCUDAGraphs, CUDAGraphWarm"),
        ("useCUDAGraphs", "True", 'the property useCUDAGraphs must be "true" or "false", not \'True\''),
        ("CUDAGraphWarmupSteps", "-1", 'the property CUDAGraphWarmupSteps must be a whole number, such as "10"'),
        ("CUDAGraphWarmupSteps", "ten", "not 'ten'"),
    ],
)
def test_wrong_property(harmonic: Path, name: str, value: str, text: str) -> None:
    with pytest.raises(openmm.OpenMMException, match=f"TorchForce: .*{text}"):
        TorchForce(str(harmonic), {name: value})
    force = TorchForce(str(harmonic))
    with pytest.raises(openmm.OpenMMException, match=text):
        force.setProperty(name, value)
    assert force.getProperties() == {"useCUDAGraphs": "false", "CUDAGraphWarmupSteps": "10"}


def test_cast_from_a_system(harmonic: Path) -> None:
    system = openmm.System()
    system.addForce(TorchForce(str(harmonic), {"CUDAGraphWarmupSteps": "3"}))
    assert TorchForce.isinstance(system.getForce(0))
    force = TorchForce.cast(system.getForce(0))
    assert type(force) is TorchForce
    assert force.getFile() == str(harmonic)
    assert force.getProperties()["CUDAGraphWarmupSteps"] == "3"


@pytest.mark.parametrize("version", [2, 4])
def test_xml_of_openmm_torch(
    harmonic: Path, make_context: MakeContext, positions: np.ndarray, platform: Any, version: int, tolerance: float
) -> None:
    contents = harmonic.read_bytes().hex()
    xml = f'<Force type="TorchForce" version="{version}" file="gone.pt" encodedFileContents="{contents}" '
    xml += 'forceGroup="3" usesPeriodic="0" outputsForces="0"><GlobalParameters/>'
    if version == 4:
        xml += '<ParameterDerivatives/><Properties><Property name="useCUDAGraphs" value="true"/></Properties>'
    force = TorchForce.cast(openmm.XmlSerializer.deserialize(f'<?xml version="1.0" ?>{xml}</Force>'))
    assert NNPForce.isinstance(force) and force.getForceGroup() == 3 and force.getFile() == "gone.pt"
    assert force.getProperties()["useCUDAGraphs"] == ("true" if version == 4 else "false")
    energy, _ = energy_and_forces(make_context(platform, force, positions))
    assert energy == pytest.approx(np.sum(positions**2), rel=tolerance)
