"""XML of NNPForce, and XML that openmm-torch wrote."""

from __future__ import annotations

import copy
import hashlib
import io
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openmm
import pytest
import torch

from figures import Measure
from helpers import Harmonic, HarmonicPeriodic, HarmonicWithForces, HarmonicWithParameters, energy_and_forces
from openmmnnp import NNPForce

pytestmark = pytest.mark.asan

EMPTY = '<Force type="NNPForce" version="1"/>'
FIELDS = [
    "getName",
    "getForceGroup",
    "getModelBytes",
    "getModelPath",
    "getModelHash",
    "getModelByReference",
    "usesSubset",
    "getParticles",
    "getAtomicNumbers",
    "getTypes",
    "getCharge",
    "getMultiplicity",
    "getNumBonds",
    "getNumLinkAtoms",
    "usesPeriodicBoundaryConditions",
    "getNumGlobalParameters",
    "getNumEnergyParameterDerivatives",
    "getScaleParameter",
    "getScaleParameterDefaultValue",
    "getOutputsForces",
    "getCheckReferences",
    "getCudaGraphs",
    "getCudaGraphWarmupSteps",
]


class Heavy(torch.nn.Module):
    """E = sum r^2, with weights that no compression makes smaller."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.rand(count))

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return torch.sum(positions**2) + 0 * self.weights[0]


def write(force: openmm.Force) -> str:
    return openmm.XmlSerializer.serialize(force)


def read(xml: str) -> NNPForce:
    return NNPForce.cast(openmm.XmlSerializer.deserialize(xml))


def archive(module: torch.nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(module), buffer)
    return buffer.getvalue()


def with_every_field(path: Path) -> NNPForce:
    """A force in which nothing has its default value."""
    force = NNPForce(path, atomicNumbers=[6, 1, 8], charge=-2, multiplicity=3)
    force.setName("ligand <\"A\"> & 'B' é")
    force.setForceGroup(7)
    force.setModelByReference(True)
    force.setParticles([5, 2, 9])
    force.setTypes([2, 0, 1])
    force.addBond(5, 2)
    force.addBond(2, 9)
    force.addLinkAtom(9, 4, 0.1 + 0.02)
    force.addLinkAtom(2, 0, 1e-3, 9)
    force.setUsesPeriodicBoundaryConditions(True)
    force.addGlobalParameter("k", 0.1 + 0.2)
    force.addGlobalParameter("tiny", -1e-300)
    force.setScaleParameter("lambda", 1 / 3)
    force.addEnergyParameterDerivative("lambda")
    force.addEnergyParameterDerivative("k")
    force.setOutputsForces(True)
    force.setCheckReferences(False)
    force.setCudaGraphs(False)
    force.setCudaGraphWarmupSteps(3)
    return force


def values(force: NNPForce) -> dict[str, object]:
    """Everything that a force can be asked for."""
    found: dict[str, object] = {name: getattr(force, name)() for name in FIELDS}
    found["bonds"] = [force.getBondParameters(i) for i in range(force.getNumBonds())]
    found["link atoms"] = [force.getLinkAtomParameters(i) for i in range(force.getNumLinkAtoms())]
    found["parameters"] = [
        (force.getGlobalParameterName(i), force.getGlobalParameterDefaultValue(i))
        for i in range(force.getNumGlobalParameters())
    ]
    found["derivatives"] = [
        force.getEnergyParameterDerivativeName(i) for i in range(force.getNumEnergyParameterDerivatives())
    ]
    return found


def expect_error(xml: str, *texts: str) -> None:
    """Reading must fail with a message that holds all of the texts."""
    with pytest.raises(openmm.OpenMMException) as error:
        openmm.XmlSerializer.deserialize(xml)
    for text in texts:
        assert text in str(error.value)


# Round trips


@pytest.mark.parametrize("by_reference", [False, True])
@pytest.mark.figure("G13", what="byte-stable round trip, name kept")
def test_round_trip_keeps_every_field(harmonic: Path, by_reference: bool) -> None:
    force = with_every_field(harmonic)
    defaults = values(NNPForce(harmonic))
    same = {name for name, value in values(force).items() if value == defaults[name]}
    assert same == {"getModelBytes", "getModelPath", "getModelHash"}, "fields that this test leaves at their defaults"
    force.setModelByReference(by_reference)
    expected = values(force)
    xml = write(force)
    result = read(xml)
    assert values(result) == expected
    assert write(result) == xml


@pytest.mark.figure("G13", what="byte-stable round trip, name kept")
def test_empty_force() -> None:
    force = read(EMPTY)
    assert force.getName() == "NNPForce"
    assert not force.hasModel()
    assert not force.usesSubset()
    assert force.getMultiplicity() == 1
    assert force.getCheckReferences()
    assert write(read(write(force))) == write(force)


@pytest.mark.figure("G13", what="byte-stable round trip, name kept")
def test_empty_subset_is_kept(harmonic: Path) -> None:
    force = NNPForce(harmonic)
    force.setParticles([])
    assert read(write(force)).usesSubset()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 500_000])
@pytest.mark.figure("G13", what="byte-stable round trip, name kept")
def test_bytes_of_any_length(count: int) -> None:
    data = archive(Heavy(count + 1))
    force = NNPForce(data)
    assert read(write(force)).getModelBytes() == data


@pytest.mark.figure("G13", what="byte-stable round trip, name kept")
def test_whole_system(harmonic: Path, positions: np.ndarray) -> None:
    system = openmm.System()
    for _ in positions:
        system.addParticle(1.0)
    system.addForce(openmm.HarmonicBondForce())
    force = NNPForce(harmonic)
    force.setName("network")
    force.setForceGroup(3)
    system.addForce(force)
    xml = write(system)
    for result in (openmm.XmlSerializer.deserialize(xml), copy.deepcopy(system)):
        assert write(result) == xml
        assert NNPForce.cast(result.getForce(1)).getName() == "network"
        context = openmm.Context(result, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
        context.setPositions(positions)
        assert energy_and_forces(context)[0] == pytest.approx(np.sum(positions**2), rel=1e-10)


def test_evaluation_after_round_trip(
    platform: openmm.Platform,
    tolerance: float,
    make_context: Callable[..., openmm.Context],
    save_model: Callable[..., Path],
    positions: np.ndarray,
) -> None:
    force = NNPForce(save_model(HarmonicWithParameters()))
    force.setParticles([4, 1, 6])
    force.addGlobalParameter("k", 1.5)
    force.addGlobalParameter("c", 0.7)
    force.addEnergyParameterDerivative("c")
    force.setScaleParameter("lambda", 0.25)
    result = read(write(force))
    selected = positions[[4, 1, 6]]
    energy, forces = energy_and_forces(context := make_context(platform, result, positions))
    assert energy == pytest.approx(0.25 * (1.5 * np.sum(selected**2) + 0.49 * np.sum(selected[:, 0])), rel=tolerance)
    expected = np.zeros_like(positions)
    expected[[4, 1, 6]] = -0.25 * (3.0 * selected + [0.49, 0, 0])
    np.testing.assert_allclose(forces, expected, rtol=tolerance, atol=tolerance)
    derivatives = context.getState(getParameterDerivatives=True).getEnergyParameterDerivatives()
    assert derivatives["c"] == pytest.approx(0.25 * 1.4 * np.sum(selected[:, 0]), rel=tolerance)


@pytest.mark.parametrize("overwrite", [False, True])
def test_embedded_model_does_not_need_its_file(
    harmonic: Path, make_context: Callable[..., openmm.Context], positions: np.ndarray, overwrite: bool
) -> None:
    force = NNPForce(harmonic)
    if overwrite:
        harmonic.write_bytes(b"something else")
    else:
        harmonic.unlink()
    context = make_context(openmm.Platform.getPlatformByName("Reference"), read(write(force)), positions)
    assert energy_and_forces(context)[0] == pytest.approx(np.sum(positions**2), rel=1e-10)


def test_size_is_linear() -> None:
    """A model takes 4/3 of its bytes, a particle its digits and a space."""
    data = archive(Heavy(1_000_000))
    force = NNPForce(data)
    assert len(write(force)) < 1.34 * len(data) + 4000
    particles = list(range(0, 700_000, 7))
    force = read(EMPTY)
    force.setParticles(particles)
    force.setAtomicNumbers([6] * len(particles))
    xml = write(force)
    assert len(xml) < sum(len(str(i)) + 1 for i in particles) + 2 * len(particles) + 4000
    assert read(xml).getParticles() == particles


@pytest.mark.figure("G13", what="40 MB of weights")
def test_40_megabytes(measure: Measure) -> None:
    """In CPU time, so that other programs on the machine don't count."""
    data = archive(Heavy(10_000_000))
    force = NNPForce(data)
    times = [time.process_time()]
    xml = write(force)
    times.append(time.process_time())
    result = read(xml)
    times.append(time.process_time())
    assert result.getModelHash() == force.getModelHash()
    assert write(result) == xml
    measure("written, s", times[1] - times[0], 2)
    measure("read, s", times[2] - times[1], 2)


@pytest.mark.figure("G13", what="no code runs on reading")
def test_reading_loads_no_code(harmonic: Path, tmp_path: Path) -> None:
    """In a new process: neither torch nor the library for TorchScript is loaded, and no pickle is opened."""
    (tmp_path / "force.xml").write_text(write(NNPForce(harmonic)))
    program = f"""
import sys, openmm, openmmnnp
sys.addaudithook(lambda event, _: event.startswith("pickle") and sys.exit("unpickled"))
force = openmm.XmlSerializer.deserialize(open({str(tmp_path / "force.xml")!r}).read())
assert openmmnnp.NNPForce.cast(force).hasModel()
maps = open("/proc/self/maps").read()
print([name for name in ("libtorch", "libc10", "libOpenMMNNPTorch") if name in maps], "torch" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.strip() == "[] False", result.stderr


# By reference


def test_by_reference_holds_path_and_hash(harmonic: Path) -> None:
    force = NNPForce(harmonic)
    force.setModelByReference(True)
    xml = write(force)
    assert str(harmonic) in xml
    assert hashlib.sha256(harmonic.read_bytes()).hexdigest() in xml
    assert "base64" not in xml
    assert read(xml).getModelBytes() == harmonic.read_bytes()


@pytest.mark.parametrize("change", ["another model", "one bit", "truncated", "empty"])
@pytest.mark.figure("G13", what="another hash is an error")
def test_by_reference_refuses_a_changed_file(harmonic: Path, change: str) -> None:
    force = NNPForce(harmonic)
    force.setModelByReference(True)
    xml = write(force)
    data = bytearray(harmonic.read_bytes())
    data[len(data) // 2] ^= 1
    changed = {
        "another model": archive(HarmonicWithForces()),
        "one bit": bytes(data),
        "truncated": bytes(data[:100]),
        "empty": b"",
    }[change]
    harmonic.write_bytes(changed)
    expect_error(xml, str(harmonic), "has changed", force.getModelHash(), hashlib.sha256(changed).hexdigest())


@pytest.mark.parametrize("instead", ["nothing", "folder"])
def test_by_reference_refuses_a_missing_file(harmonic: Path, instead: str) -> None:
    force = NNPForce(harmonic)
    force.setModelByReference(True)
    xml = write(force)
    harmonic.unlink()
    if instead == "folder":
        harmonic.mkdir()
    expect_error(xml, str(harmonic), "missing or not a regular file", force.getModelHash())


def test_by_reference_needs_a_path() -> None:
    force = NNPForce(archive(Harmonic()))
    force.setModelByReference(True)
    with pytest.raises(openmm.OpenMMException, match="no path to refer to"):
        write(force)


# Damaged and foreign XML


@pytest.mark.figure("G13", what="another hash is an error")
def test_damaged_bytes_show_both_hashes(harmonic: Path) -> None:
    force = NNPForce(harmonic)
    xml = write(force)
    match = re.search(r'base64="([^"]*)"', xml)
    assert match
    middle = (match.start(1) + match.end(1)) // 2
    damaged = xml[:middle] + ("B" if xml[middle] == "A" else "A") + xml[middle + 1 :]
    expect_error(damaged, "'NNPForce'", "is damaged", force.getModelHash(), "found is")


@pytest.mark.figure("G13", what="another hash is an error")
def test_wrong_hash_shows_both_hashes(harmonic: Path) -> None:
    force = NNPForce(harmonic)
    xml = write(force).replace(force.getModelHash(), "0" * 64)
    expect_error(xml, "0" * 64, force.getModelHash())


@pytest.mark.parametrize(
    ("model", "texts"),
    [
        ('<Model path="a.pt"/>', ["'sha256' of <Model> is missing"]),
        ('<Model sha256="ab"/>', ["neither the model's bytes nor a path"]),
        ('<Model sha256="ab"><Bytes/></Model>', ["'base64' of <Bytes> is missing"]),
        ('<Model sha256="ab"><Bytes base64="UEs?"/></Model>', ["base64", "character 4 of 4"]),
        ('<Model sha256="ab"><Bytes base64="UEs"/></Model>', ["cut off", "multiple of 4"]),
        ('<Model sha256="ab"><Bytes base64="UE=="/><Bytes base64="U==="/></Model>', ["character 2 of"]),
        ('<Particles indices="0 1,2"/>', ["'indices' of <Particles> is '1,2'", "single spaces"]),
        ('<Particles indices="0  1"/>', ["'indices' of <Particles> is ''", "single spaces"]),
        ('<Particles indices="99999999999"/>', ["is '99999999999'"]),
        ('<Bonds particles="0 1 2"/>', ["pairs", "3 integers"]),
        ('<GlobalParameters><Parameter default="1"/></GlobalParameters>', ["'name' of <Parameter> is missing"]),
        ('<GlobalParameters><Parameter name="k" default="x"/></GlobalParameters>', ["'x'", "must be a number"]),
    ],
)
def test_malformed_xml(model: str, texts: list[str]) -> None:
    expect_error(f'<Force type="NNPForce" version="1" name="lig">{model}</Force>', "'lig'", *texts)


@pytest.mark.parametrize(
    ("attributes", "texts"),
    [
        ("", ["'version' is missing"]),
        ('version="0"', ["version 0", "reads versions 1 to 2"]),
        ('version="3"', ["version 3", "reads versions 1 to 2", "install a newer one"]),
        ('version="one"', ["'version' is 'one'", "an integer"]),
        ('version="1" charge="1.5"', ["'charge' is '1.5'", "an integer"]),
        ('version="1" usesPeriodic="true"', ["'usesPeriodic' is 'true'", "0 or 1"]),
    ],
)
def test_wrong_attributes(attributes: str, texts: list[str]) -> None:
    expect_error(f'<Force type="NNPForce" {attributes}/>', *texts)


# XML that openmm-torch wrote


def torch_force(module: torch.nn.Module, version: int = 4, attributes: str = "", children: str = "") -> str:
    return (
        f'<Force type="TorchForce" version="{version}" file="old.pt" encodedFileContents="{archive(module).hex()}" '
        f'forceGroup="3" {attributes}>{children}</Force>'
    )


PARAMETERS = """
<GlobalParameters><Parameter default="2.5" name="k"/><Parameter default="0.5" name="c"/></GlobalParameters>
<ParameterDerivatives><Parameter name="k"/></ParameterDerivatives>
<Properties><Property name="CUDAGraphWarmupSteps" value="12"/><Property name="useCUDAGraphs" value="true"/></Properties>
"""


def test_torch_force(
    platform: openmm.Platform, tolerance: float, make_context: Callable[..., openmm.Context], positions: np.ndarray
) -> None:
    force = read(torch_force(HarmonicWithParameters(), children=PARAMETERS))
    assert (force.getForceGroup(), force.getModelPath()) == (3, "old.pt")
    assert (force.getCudaGraphs(), force.getCudaGraphWarmupSteps()) == (True, 12)
    assert 'type="NNPForce"' in write(force)
    context = make_context(platform, force, positions)
    energy, forces = energy_and_forces(context)
    assert energy == pytest.approx(2.5 * np.sum(positions**2) + 0.25 * np.sum(positions[:, 0]), rel=tolerance)
    np.testing.assert_allclose(forces, -5 * positions - [0.25, 0, 0], rtol=tolerance, atol=tolerance)
    derivatives = context.getState(getParameterDerivatives=True).getEnergyParameterDerivatives()
    assert derivatives["k"] == pytest.approx(np.sum(positions**2), rel=tolerance)


@pytest.mark.parametrize("version", [2, 3])
def test_torch_force_older_versions(
    version: int, make_context: Callable[..., openmm.Context], positions: np.ndarray
) -> None:
    """They lack the later elements."""
    force = read(torch_force(HarmonicWithForces(), version, 'usesPeriodic="0" outputsForces="1"'))
    assert force.getOutputsForces()
    assert not force.getCudaGraphs()
    energy, forces = energy_and_forces(make_context(openmm.Platform.getPlatformByName("Reference"), force, positions))
    assert energy == pytest.approx(np.sum(positions**2), rel=1e-10)
    np.testing.assert_allclose(forces, -2 * positions, rtol=1e-10, atol=1e-10)


def test_torch_force_version_1_reads_the_file(harmonic: Path) -> None:
    force = read(f'<Force type="TorchForce" version="1" file="{harmonic}" usesPeriodic="0"/>')
    assert force.getModelBytes() == harmonic.read_bytes()
    harmonic.unlink()
    expect_error(f'<Force type="TorchForce" version="1" file="{harmonic}"/>', "TorchForce", str(harmonic))


def test_torch_force_in_a_system(positions: np.ndarray) -> None:
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*(2 * np.eye(3)))
    for _ in positions:
        system.addParticle(1.0)
    force = torch_force(HarmonicPeriodic(), attributes='usesPeriodic="1" outputsForces="0"')
    xml = write(system).replace("<Forces/>", f"<Forces>{force}</Forces>")
    system = openmm.XmlSerializer.deserialize(xml)
    assert system.usesPeriodicBoundaryConditions()
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    wrapped = positions - 2 * np.floor(positions / 2)
    assert energy_and_forces(context)[0] == pytest.approx(np.sum(wrapped**2), rel=1e-10)


@pytest.mark.parametrize(
    ("xml", "texts"),
    [
        ('<Force type="TorchForce" version="5"/>', ["version 5", "versions 1 to 4"]),
        ('<Force type="TorchForce" version="4" file="a.pt"/>', ["'encodedFileContents' is missing"]),
        ('<Force type="TorchForce" version="4" encodedFileContents="504b0"/>', ["cut off", "5, is odd"]),
        ('<Force type="TorchForce" version="4" encodedFileContents="504b0x"/>', ["hexadecimal", "character 6 of 6"]),
    ],
)
def test_torch_force_malformed(xml: str, texts: list[str]) -> None:
    expect_error(xml, "openmm-torch's TorchForce", *texts)


@pytest.mark.parametrize(("name", "value"), [("useCUDAGraphs", "yes"), ("CUDAGraphWarmupSteps", "x"), ("other", "1")])
def test_torch_force_wrong_property(name: str, value: str) -> None:
    children = f'<Properties><Property name="{name}" value="{value}"/></Properties>'
    expect_error(torch_force(Harmonic(), children=children), "openmm-torch's TorchForce", value)
