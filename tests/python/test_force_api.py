"""NNPForce as a Python object: what it takes, what it gives back, who owns it, and what it says to wrong arguments."""

from __future__ import annotations

import copy
import gc
import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import torch
from openmm import unit
from openmm.app import element

from helpers import Harmonic, HarmonicWithParameters, energy_and_forces
from openmmnnp import ModelSpec, NNPForce, TorchForce
from openmmnnp._units import with_unit, without_unit
from openmmnnp.spec import write_spec

pytestmark = pytest.mark.asan

Save = Callable[..., Path]
MakeContext = Callable[..., openmm.Context]

OPTIONS: dict[str, tuple[Any, Any]] = {  # name: (default, another value)
    "ModelByReference": (False, True),
    "Charge": (0, -2),
    "Multiplicity": (1, 3),
    "OutputsForces": (False, True),
    "CheckReferences": (True, False),
    "CudaGraphs": (True, False),
    "CudaGraphWarmupSteps": (10, 4),
    "AtomicNumbers": ([], [1, 8, 1]),
    "Types": ([], [2, 0, 1]),
    "Particles": ([], [5, 1, 3]),
    "Name": ("NNPForce", "ligand"),
    "ForceGroup": (0, 3),
}


class Charged(torch.nn.Module):
    """E = sum r^2 in eV of positions in angstrom, charges x/2, dipole = sum r, and numbers without a unit."""

    def forward(
        self, positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        squares = positions**2
        dipole = torch.sum(positions, 0)
        return torch.sum(squares), -2 * positions, positions[:, 0] / 2, dipole, torch.sum(squares, 1).reshape(-1, 1)


CHARGED = ModelSpec(
    name="charged",
    length_unit="angstrom",
    energy_unit="eV",
    dtype="float64",
    outputs=["energy", "forces", "charges", "dipole", "squares"],
    output_units={"charges": "e", "dipole": "e*angstrom"},
)


@pytest.fixture
def force(harmonic: Path) -> NNPForce:
    return NNPForce(harmonic)


@pytest.fixture
def charged(save_model: Save) -> Path:
    path = save_model(Charged(), "charged.pt")
    write_spec(path, CHARGED)
    return path


@pytest.fixture
def configured(harmonic: Path) -> NNPForce:
    """A force in which nothing has its default value."""
    force = NNPForce(harmonic)
    for name, (_, value) in OPTIONS.items():
        getattr(force, f"set{name}")(value)
    force.setUsesPeriodicBoundaryConditions(True)
    force.addBond(5, 1)
    force.addBond(1, 3)
    force.addGlobalParameter("k", 2.5)
    force.addEnergyParameterDerivative("k")
    force.setScaleParameter("lambda", 0.5)
    return force


def settings(force: NNPForce) -> dict[str, Any]:
    found = {name: getattr(force, f"get{name}")() for name in OPTIONS}
    found["hash"] = force.getModelHash()
    found["path"] = force.getModelPath()
    found["subset"] = force.usesSubset()
    found["periodic"] = force.usesPeriodicBoundaryConditions()
    found["bonds"] = [force.getBondParameters(i) for i in range(force.getNumBonds())]
    found["parameters"] = [
        (force.getGlobalParameterName(i), force.getGlobalParameterDefaultValue(i))
        for i in range(force.getNumGlobalParameters())
    ]
    found["derivatives"] = [
        force.getEnergyParameterDerivativeName(i) for i in range(force.getNumEnergyParameterDerivatives())
    ]
    found["scale"] = force.getScaleParameter(), force.getScaleParameterDefaultValue()
    return found


# The model


def test_path_pathlike_and_bytes_are_one_model(harmonic: Path) -> None:
    data = harmonic.read_bytes()
    for model in (str(harmonic), harmonic, data, bytearray(data), memoryview(data)):
        force = NNPForce(model)
        assert force.hasModel() and not force.hasModelSpec()
        assert force.getModelBytes() == data
        assert force.getModelHash() == hashlib.sha256(data).hexdigest()
        assert force.getModelPath() == (str(harmonic) if isinstance(model, str | Path) else "")


def test_scripted_module_is_kept_as_bytes(platform: Any, make_context: MakeContext, positions: np.ndarray) -> None:
    module = torch.jit.script(HarmonicWithParameters())
    force = NNPForce(module)
    force.addGlobalParameter("k", 3)
    force.addGlobalParameter("c", 0)
    assert force.getModelPath() == ""
    energy, _ = energy_and_forces(make_context(platform, force, positions))
    assert energy == pytest.approx(3 * np.sum(positions**2), rel=1e-5)


def test_file_overwritten_later_changes_nothing(
    harmonic: Path, make_context: MakeContext, positions: np.ndarray, platform: Any
) -> None:
    force = NNPForce(harmonic)
    harmonic.write_bytes(b"nothing")
    energy, _ = energy_and_forces(make_context(platform, force, positions))
    assert energy == pytest.approx(np.sum(positions**2), rel=1e-5)


def test_path_that_is_no_utf8(harmonic: Path) -> None:
    odd = os.fsencode(harmonic.parent) + b"/m\xff.pt"
    os.rename(harmonic, odd)
    assert os.fsencode(NNPForce(os.fsdecode(odd)).getModelPath()) == odd
    os.unlink(odd)
    with pytest.raises(openmm.OpenMMException, match=r"m\ufffd\.pt"):
        NNPForce(os.fsdecode(odd))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(openmm.OpenMMException, match=r"absent\.pt"):
        NNPForce(tmp_path / "absent.pt")


def test_plain_module_is_refused() -> None:
    needed = r"NNPForce got the plain module Harmonic.*torch\.jit\.script\(module\).*openmmnnp\.export"
    with pytest.raises(TypeError, match=needed):
        NNPForce(Harmonic())


@pytest.mark.parametrize("model", [None, 3, ["model.pt"]])
def test_what_is_no_model_is_refused(model: Any) -> None:
    with pytest.raises(TypeError, match="NNPForce needs a model as a path, bytes or a scripted module, but got"):
        NNPForce(model)


def test_spec_is_given_back(charged: Path, force: NNPForce) -> None:
    assert NNPForce(charged).hasModelSpec()
    assert NNPForce(charged).getModelSpec() == CHARGED
    with pytest.raises(openmm.OpenMMException, match=r"model\.pt' carries no ModelSpec"):
        force.getModelSpec()


# Options


@pytest.mark.parametrize("name", OPTIONS)
def test_option_is_kept(force: NNPForce, name: str) -> None:
    default, value = OPTIONS[name]
    assert getattr(force, f"get{name}")() == default
    getattr(force, f"set{name}")(value)
    found = settings(force)
    assert found.pop(name) == value
    assert all(found[other] == OPTIONS[other][0] for other in OPTIONS if other != name)


def test_constructor_takes_atomic_numbers_charge_and_multiplicity(harmonic: Path) -> None:
    force = NNPForce(harmonic, atomicNumbers=(8, 1, 1), charge=-1, multiplicity=2)
    assert (force.getAtomicNumbers(), force.getCharge(), force.getMultiplicity()) == ([8, 1, 1], -1, 2)


def test_global_parameters(force: NNPForce) -> None:
    assert force.addGlobalParameter("k", 2) == 0
    assert force.addGlobalParameter("r0", 1.5 * unit.angstrom) == 1
    assert force.addGlobalParameter("e", 2 * unit.kilocalorie_per_mole) == 2
    assert [force.getGlobalParameterDefaultValue(i) for i in range(3)] == pytest.approx([2, 0.15, 8.368], rel=1e-12)
    force.setGlobalParameterName(0, "K")
    force.setGlobalParameterDefaultValue(0, 3 * unit.angstrom)
    assert (force.getGlobalParameterName(0), force.getGlobalParameterName(1)) == ("K", "r0")
    assert force.getGlobalParameterDefaultValue(0) == pytest.approx(0.3, rel=1e-12)
    assert force.getNumGlobalParameters() == 3


@pytest.mark.parametrize("index", [-1, 1])
@pytest.mark.parametrize("name", ["GlobalParameterName", "EnergyParameterDerivativeName", "BondParameters"])
def test_index_out_of_range_is_an_error(force: NNPForce, name: str, index: int) -> None:
    force.addGlobalParameter("k", 1)
    force.addEnergyParameterDerivative("k")
    force.addBond(0, 1)
    getattr(force, f"get{name}")(0)
    with pytest.raises(openmm.OpenMMException):
        getattr(force, f"get{name}")(index)


def test_bonds(force: NNPForce) -> None:
    assert force.getNumBonds() == 0
    assert [force.addBond(np.int64(4), 2), force.addBond(2, 0)] == [0, 1]
    assert [force.getBondParameters(i) for i in range(force.getNumBonds())] == [(4, 2), (2, 0)]
    with pytest.raises(ValueError, match="addBond got particle 3 twice"):
        force.addBond(3, 3)
    with pytest.raises(ValueError, match="element 1 must be from 0 to 2147483647, but -1 was given"):
        force.addBond(3, -1)


@pytest.mark.parametrize(
    "indices",
    [[5, 0, 2], (5, 0, 2), np.array([5, 0, 2]), np.array([5, 0, 2], np.uint8), (i for i in (5, 0, 2))],
    ids=["list", "tuple", "int64", "uint8", "generator"],
)
def test_particles_from_any_integers(force: NNPForce, indices: Any) -> None:
    assert not force.usesSubset()
    force.setParticles(indices, [6, element.oxygen, np.int32(1)])
    assert force.usesSubset()
    assert force.getParticles() == [5, 0, 2]
    assert force.getAtomicNumbers() == [6, 8, 1]


def test_no_particles_is_a_subset(force: NNPForce) -> None:
    force.setParticles([])
    assert force.usesSubset() and force.getParticles() == []


@pytest.mark.parametrize(
    "indices, error, text",
    [
        ([0, -3], ValueError, "particle indices: element 1 must be from 0 to 2147483647, but -3 was given"),
        ([2**31], ValueError, "element 0 must be from 0 to 2147483647, but 2147483648 was given"),
        ([0, 1.0], TypeError, r"particle indices: element 1 must be an integer, but 1\.0 \(float\) was given"),
        ([True, False], TypeError, r"element 0 must be an integer, but True \(bool\)"),
        (np.array([True, False]), TypeError, r"element 0 must be an integer, but .* \(bool"),
        ("12", TypeError, r"element 0 must be an integer, but '1' \(str\)"),
        ([[0, 1]], TypeError, r"element 0 must be an integer, but \[0, 1\] \(list\)"),
        (np.array([[0, 1]]), TypeError, "element 0 must be an integer"),
        (7, TypeError, r"particle indices must be a list of integers, but 7 \(int\) was given"),
    ],
)
def test_wrong_particles(force: NNPForce, indices: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        force.setParticles(indices)
    assert not force.usesSubset()


def test_atomic_numbers_must_match_the_particles(force: NNPForce) -> None:
    with pytest.raises(ValueError, match="3 particle indices and 2 atomic numbers"):
        force.setParticles([0, 1, 2], [1, 1])
    assert not force.usesSubset() and force.getAtomicNumbers() == []


@pytest.mark.parametrize("value, text", [(None, r"element 1 must be an integer, but None"), ("C", "but 'C'")])
def test_wrong_atomic_numbers(force: NNPForce, value: Any, text: str) -> None:
    with pytest.raises(TypeError, match="atomic numbers: .*" + text):
        force.setAtomicNumbers([6, value])
    with pytest.raises(TypeError, match="atomic numbers must be a list of integers, but 6"):
        force.setAtomicNumbers(6)  # type: ignore[arg-type]


def test_charge_and_multiplicity(force: NNPForce) -> None:
    force.setCharge(-2 * unit.elementary_charge)
    assert force.getCharge() == -2
    for wrong in (0.5 * unit.elementary_charge, 1.0, "1", True, None):
        with pytest.raises(TypeError, match="charge must be an integer, but"):
            force.setCharge(wrong)
    with pytest.raises(ValueError, match=r"multiplicity must be 1 or more, since it is 2S\+1, but 0 was given"):
        force.setMultiplicity(0)
    assert (force.getCharge(), force.getMultiplicity()) == (-2, 1)


# The Python object and the C++ object


def test_system_takes_the_force_over(force: NNPForce) -> None:
    system = openmm.System()
    assert force.thisown
    system.addForce(force)
    assert not force.thisown
    with pytest.raises(Exception, match="does not own"):
        system.addForce(force)
    force.setCharge(3)
    assert NNPForce.cast(system.getForce(0)).getCharge() == 3


@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="the sanitizer keeps freed memory for a while")
def test_every_force_is_deleted_once(force: NNPForce) -> None:
    particles = list(range(200_000))  # 0.8 MB in each copy
    force.setParticles(particles)

    def use_and_drop() -> None:
        system = openmm.System()
        system.addForce(copy.deepcopy(force))
        cast = NNPForce.cast(openmm.XmlSerializer.clone(force))
        again = TorchForce.cast(cast)
        del cast
        assert again.usesSubset()
        system.addForce(again)
        removed = copy.copy(force)
        system.removeForce(system.addForce(removed))
        NNPForce(force.getModelBytes()).setParticles(particles)
        del system

    def resident() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    for _ in range(3):
        use_and_drop()
    before = resident()
    for _ in range(12):
        use_and_drop()
    assert resident() - before < 5e6  # one leaked force in each round would be 9.6 MB


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
@pytest.mark.parametrize("cls", [NNPForce, TorchForce])
def test_copies_keep_class_name_and_settings(
    configured: NNPForce, cls: type[NNPForce], duplicate: Callable[[NNPForce], NNPForce]
) -> None:
    original = cls.cast(configured)
    copied = duplicate(original)
    assert type(copied) is cls and copied.thisown
    assert settings(copied) == settings(original)
    assert copied.getName() == "ligand"
    copied.setCharge(7)
    assert original.getCharge() == OPTIONS["Charge"][1]


def test_pickle_holds_no_pickled_model(configured: NNPForce) -> None:
    """Reading a model must never run Python: a pickle of the force is its XML, as for every force of OpenMM."""
    _, arguments, state, *_ = configured.__reduce_ex__(2)
    assert arguments == (NNPForce,)
    assert state == openmm.XmlSerializer.serialize(configured)


def test_whole_system_in_xml_and_copy(configured: NNPForce) -> None:
    expected = settings(configured)
    system = openmm.System()
    system.addForce(configured)
    for twin in (
        copy.deepcopy(system),
        pickle.loads(pickle.dumps(system)),
        openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system)),
    ):
        assert settings(NNPForce.cast(twin.getForce(0))) == expected


def test_cast_and_isinstance(force: NNPForce) -> None:
    system = openmm.System()
    system.addForce(openmm.HarmonicBondForce())
    system.addForce(force)
    assert [NNPForce.isinstance(system.getForce(i)) for i in range(2)] == [False, True]
    assert not NNPForce.isinstance(None) and not NNPForce.isinstance(system)
    cast = NNPForce.cast(system.getForce(1))
    assert type(cast) is NNPForce
    cast.addBond(0, 1)
    assert force.getNumBonds() == 1
    for wrong in (system.getForce(0), None):
        with pytest.raises(TypeError, match=r"NNPForce\.cast needs a force that is an NNPForce, but got"):
            NNPForce.cast(wrong)


# In a Context


def test_outputs_have_the_spec_units(
    platform: Any, charged: Path, make_context: MakeContext, positions: np.ndarray, tolerance: float
) -> None:
    force = NNPForce(charged)
    context = make_context(platform, force, positions)
    energy_and_forces(context)
    angstrom = 10 * positions
    eV = 96.48533212331
    expected = {
        "energy": (np.sum(angstrom**2) * eV, unit.kilojoule_per_mole),
        "charges": (angstrom[:, 0] / 2, unit.elementary_charge),
        "dipole": (positions.sum(0), unit.elementary_charge * unit.nanometer),
    }
    for name, (values, needed) in expected.items():
        output = force.getOutput(context, name)
        assert output.unit == needed, name
        found = output.value_in_unit(needed)
        assert np.shape(found) == np.shape(values), name
        np.testing.assert_allclose(found, values, rtol=tolerance, atol=tolerance, err_msg=name)
    plain = force.getOutput(context, "squares")
    assert isinstance(plain, np.ndarray) and plain.shape == (len(positions), 1)
    np.testing.assert_allclose(plain[:, 0], (angstrom**2).sum(1), rtol=tolerance)


def test_output_that_the_model_has_not(
    platform: Any, force: NNPForce, make_context: MakeContext, positions: np.ndarray
) -> None:
    context = make_context(platform, force, positions)
    energy_and_forces(context)
    with pytest.raises(openmm.OpenMMException, match="charges"):
        force.getOutput(context, "charges")


@pytest.mark.parametrize("method", ["getDiagnostics", "updateParametersInContext"])
@pytest.mark.parametrize("wrong", [None, openmm.System()], ids=["None", "System"])
def test_wrong_context(force: NNPForce, method: str, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"an openmm\.Context is needed \(a Simulation's is simulation\.context\), not"):
        getattr(force, method)(wrong)


def test_context_of_another_force(
    platform: Any, force: NNPForce, charged: Path, make_context: MakeContext, positions: np.ndarray
) -> None:
    context = make_context(platform, force, positions)
    with pytest.raises(openmm.OpenMMException):
        NNPForce(charged).getDiagnostics(context)


def test_diagnostics(platform: Any, charged: Path, make_context: MakeContext, positions: np.ndarray) -> None:
    force = NNPForce(charged)
    context = make_context(platform, force, positions)
    for shift in range(3):
        context.setPositions(positions + shift)
        energy_and_forces(context)
    found = force.getDiagnostics(context)
    assert found["platform"] == platform.getName()
    assert (found["length_unit"], found["energy_unit"], found["dtype"]) == ("angstrom", "eV", "float64")
    assert (found["model_name"], found["model_path"]) == ("charged", str(charged))
    assert found["model_hash"] == hashlib.sha256(charged.read_bytes()).hexdigest()
    assert (found["particles"], found["evaluations"], found["skipped"]) == (len(positions), 3, 0)
    assert found["torch_version"].startswith(torch.__version__.split("+")[0])
    assert found["cuda_graph"] is False and found["threads"] >= 1
    assert {"gather", "evaluate", "scatter"} <= set(found["milliseconds"])
    assert all(value >= 0 for value in found["milliseconds"].values()) and found["milliseconds"]["evaluate"] > 0


def test_update_parameters_in_context(
    platform: Any, save_model: Save, make_context: MakeContext, positions: np.ndarray
) -> None:
    class Doubled(torch.nn.Module):
        def forward(self, positions: torch.Tensor) -> torch.Tensor:
            return 2 * torch.sum(positions**2)

    force = NNPForce(save_model(Harmonic()))
    context = make_context(platform, force, positions)
    force.setModelFile(save_model(Doubled(), "doubled.pt"))
    assert energy_and_forces(context)[0] == pytest.approx(np.sum(positions**2), rel=1e-5)
    force.updateParametersInContext(context)
    assert energy_and_forces(context)[0] == pytest.approx(2 * np.sum(positions**2), rel=1e-5)


@pytest.mark.figure("G10", what="minimizer with a Python reporter")
def test_minimizer_with_a_python_reporter(
    platform: Any, force: NNPForce, make_context: MakeContext, positions: np.ndarray
) -> None:
    """The minimizer holds Python's lock while it evaluates, in which TorchScript's autograd refuses to run."""

    class Reporter(openmm.MinimizationReporter):
        calls = 0

        def report(self, *_: Any) -> bool:
            self.calls += 1
            return False

    context = make_context(platform, force, positions)
    reporter = Reporter()
    openmm.LocalEnergyMinimizer.minimize(context, 1e-4, 50, reporter)
    assert reporter.calls > 0
    assert energy_and_forces(context)[0] < 1e-6


@pytest.mark.figure("G10", what="exit while a thread minimizes", platform="Reference")
def test_interpreter_ends_while_a_daemon_thread_minimizes(harmonic: Path) -> None:
    """The thread wants Python's lock back, after an evaluation, from an interpreter that is ending."""
    code = f"""
import threading, time, openmm, openmmnnp

class Reporter(openmm.MinimizationReporter):
    def report(self, *_):
        running.set()
        return False

def minimize():
    while True:
        context.setPositions([[1.0, 2.0, 3.0]] * 50)
        openmm.LocalEnergyMinimizer.minimize(context, 1e-9, 0, reporter)

system = openmm.System()
for _ in range(50):
    system.addParticle(1.0)
system.addForce(openmmnnp.NNPForce({str(harmonic)!r}))
context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
reporter, running = Reporter(), threading.Event()
threading.Thread(target=minimize, daemon=True).start()
running.wait()
time.sleep(0.05)
"""
    for _ in range(3):
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert (result.returncode, result.stderr) == (0, "")


# Units


@pytest.mark.parametrize(
    "name, value, needed",
    [
        ("kJ/mol", 1, unit.kilojoule_per_mole),
        ("kcal/mol", 4.184, unit.kilojoule_per_mole),
        ("eV", 96.48533212, unit.kilojoule_per_mole),
        ("hartree", 2625.49964, unit.kilojoule_per_mole),
        ("nm", 1, unit.nanometer),
        ("angstrom", 0.1, unit.nanometer),
        ("bohr", 0.0529177210544, unit.nanometer),
        ("e", 1, unit.elementary_charge),
        ("e*bohr", 0.0529177210544, unit.elementary_charge * unit.nanometer),
        ("eV/angstrom", 964.8533212, unit.kilojoule_per_mole / unit.nanometer),
        ("kJ/mol/nm", 1, unit.kilojoule_per_mole / unit.nanometer),
        ("e*nm*nm", 1, unit.elementary_charge * unit.nanometer**2),
    ],
)
def test_units_of_outputs(name: str, value: float, needed: unit.Unit) -> None:
    found = with_unit(np.array([1.0, -3.0]), name)
    assert found.unit == needed
    np.testing.assert_allclose(found.value_in_unit(needed), [value, -3 * value], rtol=1e-9)


@pytest.mark.parametrize("name", ["", "furlong", "eV/furlong", "*", "/nm", "nm/"])
def test_unknown_units_give_plain_arrays(name: str) -> None:
    found = with_unit(np.ones(2), name)
    assert isinstance(found, np.ndarray) and list(found) == [1, 1]


def test_values_without_units() -> None:
    assert without_unit(3) == 3
    assert without_unit(3 * unit.angstrom) == pytest.approx(0.3)
    assert without_unit(1 * unit.femtosecond) == pytest.approx(1e-3)
