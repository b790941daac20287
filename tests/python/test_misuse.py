"""What a user can do wrong, and what a model can: each is an error that says what was given, what is needed and what to
do, and the Context, where there is one, works again as soon as its input is right."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import torch

from helpers import energy_and_forces, scripted
from models import pair_example, pair_oracle, pair_spec
from openmmnnp import NNPForce
from openmmnnp.spec import ENTRY, read_spec, write_spec

MakeContext = Callable[..., openmm.Context]
Platform = openmm.Platform
EV = 96.48533212331  # kJ/mol
ELEMENTS = [8, 1, 1, 6]


@pytest.fixture
def water() -> np.ndarray:
    """Positions [4, 3] in nm; the nearest neighbor of particle 1 is particle 3, 0.05 nm away."""
    return np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0.1, 0.05, 0]])


def fails(text: str) -> Any:
    """Expects an OpenMMException with this text, without traces of C++."""
    return pytest.raises(openmm.OpenMMException, match=f"(?s)^(?!.*(Exception raised from|frame #|c10::)).*{text}")


def assert_harmonic(context: openmm.Context, positions: np.ndarray, tolerance: float) -> None:
    """E = sum r^2."""
    context.setPositions(positions)
    energy, forces = energy_and_forces(context)
    assert energy == pytest.approx(np.sum(positions**2), rel=tolerance)
    np.testing.assert_allclose(forces, -2 * positions, rtol=tolerance)


def rewrite(path: Path, target: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """Copy an archive; change(name, data) gives the new content of an entry, or None to leave it out."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return target


# The force and its System: errors when the Context is created


def set_up(**changes: Any) -> Callable[[NNPForce], None]:
    """A function that prepares a force with the model Pair, but for what is changed."""

    def apply(force: NNPForce) -> None:
        for name, default in changes.get("parameters", [("k", 0.25)]):
            force.addGlobalParameter(name, default)
        force.setAtomicNumbers(changes.get("numbers", ELEMENTS))
        if "particles" in changes:
            force.setParticles(changes["particles"])
        for method, arguments in changes.get("calls", []):
            getattr(force, method)(*arguments)

    return apply


FORCES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {  # name: (changes of the spec, of the force, text)
    "more particles": (
        {"particles": 3},
        {},
        r"made for 3 particles, but the force has 4; choose them with setParticles\(\)",
    ),
    "fewer particles": ({"particles": 5}, {}, "made for 5 particles, but the force has 4; choose them"),
    "unknown element": (
        {"elements": [1, 6, 8]},
        {"particles": [3, 1], "numbers": [1, 7]},
        "Particle 1 has the atomic number 7, but the model knows only 1, 6, 8",
    ),
    "no atomic energy": ({}, {"numbers": [8, 1, 7, 1]}, "no atomic energy for the element with atomic number 7"),
    "wrong order": (
        {"particles": 4, "atomic_numbers": [8, 1, 6, 1]},
        {},
        r"atoms with the atomic numbers 8, 1, 6, 1, in this order, but the force has 8, 1, 1, 6; check the order",
    ),
    "no atomic numbers": (
        {},
        {"numbers": []},
        r"takes atomic numbers, and a System has none: give them with setAtomicNumbers\(\), one for each of the 4",
    ),
    "too few atomic numbers": ({}, {"numbers": [8, 1]}, r"setAtomicNumbers\(\) was given 2 values, but .* 4 particles"),
    "too many atomic numbers": ({}, {"particles": [1, 2, 3]}, "was given 4 values, but the force has 3 particles"),
    "no particles": ({}, {"particles": [], "numbers": []}, r"setParticles\(\) was given no particles; name those"),
    "particle out of range": ({}, {"particles": [0, 1, 2, 4]}, "the particle 4, but the System has particles 0 to 3"),
    "particle twice": ({}, {"particles": [0, 1, 2, 1]}, r"setParticles\(\) was given the particle 1 twice"),
    "bond out of range": (
        {},
        {"calls": [("addBond", (0, 4))]},
        "particles 0 and 4, but two different ones from 0 to 3",
    ),
    "no parameter": (
        {},
        {"parameters": []},
        r"takes the parameter 'k': declare it with addGlobalParameter\('k', default\)",
    ),
    "renamed parameter": ({}, {"parameters": [("K", 1)]}, "takes the parameter 'k': declare it"),
    "one parameter more": (
        {},
        {"parameters": [("k", 1), ("q", 2)]},
        "global parameter 'q', which the model does not take; it takes 'k'",
    ),
    "parameter twice": ({}, {"parameters": [("k", 1), ("k", 2)]}, "global parameter 'k' twice"),
    "scale is a parameter": (
        {},
        {"calls": [("setScaleParameter", ("k",))]},
        "scale parameter 'k' is also a global parameter that the model receives; give it a name of its own",
    ),
    "unknown derivative": (
        {},
        {"calls": [("addEnergyParameterDerivative", ("q",))]},
        r"addEnergyParameterDerivative\(\) was given 'q', which is neither a global parameter .* nor its scale",
    ),
    "periodic": (
        {},
        {"calls": [("setUsesPeriodicBoundaryConditions", (True,))]},
        r"periodic boundary conditions, but the model does not take the box: call .*\(False\), or export",
    ),
    "outputs forces": (
        {},
        {"calls": [("setOutputsForces", (True,))]},
        r"setOutputsForces\(True\) is for models without",
    ),
}


@pytest.mark.parametrize("case", FORCES)
def test_force_that_does_not_fit_the_model(
    platform: Platform, tmp_path: Path, pair_pt: Path, make_context: MakeContext, water: np.ndarray, case: str
) -> None:
    in_spec, in_force, text = FORCES[case]
    path = tmp_path / "model.pt"
    path.write_bytes(pair_pt.read_bytes())
    write_spec(path, pair_spec(outputs=["energy", "atomic_energy"], **in_spec))
    force = NNPForce(path)
    force.setName("ligand")
    set_up(**in_force)(force)
    with fails(rf"ligand \('.*model\.pt'\): .*{text}"):
        make_context(platform, force, water)


@pytest.mark.parametrize(
    "types, text",
    [
        ([], r"takes types, and a System has none: give them with setTypes\(\), one for each of the 4 particles"),
        ([0, 1, 2], r"setTypes\(\) was given 3 values, but the force has 4 particles"),
    ],
)
def test_wrong_types(
    platform: Platform, save_scripted: Any, make_context: MakeContext, water: np.ndarray, types: list[int], text: str
) -> None:
    body, inputs = "return (types * positions[:, 0]).sum()", ["positions", "types"]
    force = NNPForce(save_scripted(body, "positions, types", inputs=inputs))
    force.setTypes(types)
    with fails(text):
        make_context(platform, force, water)


def test_box_that_the_force_does_not_have(
    platform: Platform, save_scripted: Any, make_context: MakeContext, water: np.ndarray
) -> None:
    inputs = ["positions", "box"]
    force = NNPForce(save_scripted("return positions.sum() + box.sum()", "positions, box", inputs=inputs))
    with fails(r"takes the box, but .*: call setUsesPeriodicBoundaryConditions\(True\)"):
        make_context(platform, force, water)


@pytest.mark.parametrize(
    "arguments, periodic, text",
    [
        (
            "a, b, c",
            False,
            r"takes 3 arguments \(a, b, c\), but 1 is passed \(positions\)\. For a model without a spec",
        ),
        ("positions", True, r"takes 1 argument \(positions\), but 2 are passed \(positions, box\)"),
        ("", False, r"takes 0 arguments \(\), but 1 is passed"),
    ],
)
def test_wrong_signature(
    platform: Platform, make_context: MakeContext, water: np.ndarray, arguments: str, periodic: bool, text: str
) -> None:
    force = NNPForce(scripted("return torch.zeros([])", arguments))
    force.setUsesPeriodicBoundaryConditions(periodic)
    with fails(text):
        make_context(platform, force, water)


def test_derivative_that_the_package_does_not_give(
    platform: Platform, pair_package: tuple[Path, Any], tmp_path: Path, make_context: MakeContext, water: np.ndarray
) -> None:
    def rename(name: str, data: bytes) -> bytes:
        return data.replace(b"parameter_derivative.k", b"slope") if name.endswith(ENTRY) else data

    force = NNPForce(rewrite(pair_package[0], tmp_path / "pair.pt2", rename))
    set_up(calls=[("addEnergyParameterDerivative", ("k",))])(force)
    with fails("with respect to 'k' was asked for, but .*: export the model with the output 'parameter_derivative.k'"):
        make_context(platform, force, water)


def test_a_system_without_particles(platform: Platform, harmonic: Path, make_context: MakeContext) -> None:
    with pytest.raises(openmm.OpenMMException, match="no particles"):
        make_context(platform, NNPForce(harmonic), np.zeros((0, 3)))


@pytest.mark.parametrize("n", [1, 2])
def test_few_particles(platform: Platform, pair_file: Path, make_context: MakeContext, n: int) -> None:
    """A package holds for two particles or more and says so; sizes of 0 and 1 are constants to torch's compiler."""
    example = pair_example(n)
    force = NNPForce(pair_file)
    set_up(numbers=[6] * n)(force)
    context = make_context(platform, force, example["positions"] / 10)
    if n == 1 and pair_file.suffix == ".pt2":
        with fails(r"pair\.pt2'\): The model failed: .*expected it to be >= 2, but got: 1\.$"):
            energy_and_forces(context)
        return
    right = pair_oracle(example["positions"], np.full(n, 6), 0.25)
    energy, forces = energy_and_forces(context)
    assert energy / EV + 1030.25 * n == pytest.approx(right["energy"], rel=1e-5)
    np.testing.assert_allclose(forces, right["forces"] * EV * 10, rtol=1e-4)


# What a model returns


RETURNED: dict[str, tuple[str, bool, str]] = {  # name: (what forward gives for x > 5, with forces, text)
    "energy of each particle": (
        "(positions**2).sum(1), -2 * positions",
        True,
        r"energy that is float64 \[4\], but one number, float32 or float64 \[\], is needed",
    ),
    "integer energy": ("energy.to(torch.int64), -2 * positions", True, r"energy that is int64 \[\], but one number"),
    "energies without forces": ("(positions**2).sum(1)", False, r"energy that is float64 \[4\], but one number"),
    "no gradient": ("energy.detach()", False, "energy has no gradient .* Compute it with differentiable operations"),
    "forces of two axes": ("energy, positions[:, :2]", True, r"float64 \[4, 2\], but float32 or float64 \[4, 3\]"),
    "forces of fewer particles": ("energy, positions[1:]", True, r"float64 \[3, 3\], but float32 or float64 \[4, 3\]"),
    "transposed forces": ("energy, positions.t()", True, r"forces that are float64 \[3, 4\], but"),
    "flat forces": ("energy, positions.reshape(-1)", True, r"forces that are float64 \[12\], but"),
    "integer forces": ("energy, positions.to(torch.int32)", True, r"forces that are int32 \[4, 3\], but"),
    "half forces": ("energy, positions.to(torch.float16)", True, r"forces that are another dtype \[4, 3\], but"),
    "sparse forces": ("energy, positions.to_sparse()", True, "'forces' that is not a dense tensor"),
}


@pytest.mark.parametrize("case", RETURNED)
def test_wrong_result(
    platform: Platform, make_context: MakeContext, water: np.ndarray, tolerance: float, case: str
) -> None:
    value, with_forces, text = RETURNED[case]
    right = "energy, -2 * positions" if with_forces else "energy"
    body = f"energy = (positions**2).sum()\nif bool(positions[0, 0] > 5):\n    return {value}\nreturn {right}"
    force = NNPForce(scripted(body))
    force.setOutputsForces(with_forces)
    context = make_context(platform, force, water)
    for _ in range(2):
        context.setPositions(water + 6)
        with fails(text.replace("float64", "float(32|64)")):
            energy_and_forces(context)
        assert_harmonic(context, water, tolerance)


COUNTS: dict[str, tuple[str, bool, str]] = {  # name: (what forward gives, with forces, text)
    "unasked forces": (
        "energy, -2 * positions",
        False,
        r"2 values, but 1 \(energy\) is needed.* setOutputsForces\(True\)",
    ),
    "no forces": ("energy", True, r"returned 1 value, but 2 are needed \(energy, forces\)"),
    "three values": ("energy, positions, positions", True, r"3 values, but 2 are needed \(energy, forces\)"),
    "number": ("1.5", False, "'energy' that is a Double, but a tensor is needed"),
    "dictionary": ("{'E': energy}", False, "dictionary without 'energy'"),
}


@pytest.mark.parametrize("case", COUNTS)
def test_wrong_count(platform: Platform, make_context: MakeContext, water: np.ndarray, case: str) -> None:
    value, with_forces, text = COUNTS[case]
    force = NNPForce(scripted(f"energy = (positions**2).sum()\nreturn {value}"))
    force.setOutputsForces(with_forces)
    context = make_context(platform, force, water)
    for _ in range(2):
        with fails(text):
            energy_and_forces(context)


@pytest.mark.parametrize(
    "forces",
    [
        "(-2 * positions).t().contiguous().t()",
        "(-2 * positions).repeat_interleave(2, 0)[::2]",
        "torch.cat([-2 * positions, positions], 1)[:, :3]",
        "(-2 * positions).to(torch.float32)",
        "torch.imag(torch.conj(torch.complex(positions, 2 * positions)))",
        "torch.real(torch.view_as_complex(torch.stack([-2 * positions, positions], -1)))",
    ],
    ids=["transposed", "every second row", "columns", "float32", "negative bit", "real part"],
)
def test_forces_of_any_strides(
    platform: Platform, make_context: MakeContext, water: np.ndarray, tolerance: float, forces: str
) -> None:
    force = NNPForce(scripted(f"return (positions**2).sum(), {forces}"))
    force.setOutputsForces(True)
    context = make_context(platform, force, water)
    assert_harmonic(context, water, max(tolerance, 1e-7) if "float32" in forces else tolerance)


@pytest.mark.parametrize(
    "forces, expected",
    [
        ("positions[:1].expand(4, 3)", lambda x: x[[0, 0, 0, 0]]),
        ("positions[:, 1:2].expand(4, 3)", lambda x: x[:, [1] * 3]),
    ],
    ids=["rows", "columns"],
)
def test_expanded_forces(
    platform: Platform,
    make_context: MakeContext,
    water: np.ndarray,
    forces: str,
    expected: Callable[[np.ndarray], np.ndarray],
) -> None:
    force = NNPForce(scripted(f"return positions.sum(), {forces}"))
    force.setOutputsForces(True)
    positions = water + 1
    found = energy_and_forces(make_context(platform, force, positions))[1]
    np.testing.assert_allclose(found, expected(positions), rtol=1e-6)


@pytest.mark.parametrize(
    "fault, text",
    [
        ("raise ValueError('a bad geometry')", r"The model failed: .*ValueError: a bad geometry\.$"),
        ("assert positions.size(0) < 2, 'at most one'", r"The model failed: .*AssertionError: at most one\.$"),
        (
            "energy = torch.matmul(positions, positions).sum()",
            r"The model failed: .*shapes cannot be multiplied \(4x3 and 4x3\)",
        ),
        ("energy = positions[:, 7].sum()", "The model failed: .*index 7 out of range"),
    ],
)
def test_exception_in_the_model(
    platform: Platform, make_context: MakeContext, water: np.ndarray, tolerance: float, fault: str, text: str
) -> None:
    body = f"energy = (positions**2).sum()\nif bool(positions[0, 0] > 5):\n    {fault}\nreturn energy"
    context = make_context(platform, NNPForce(scripted(body)), water)
    context.setPositions(water + 6)
    with fails(text):
        energy_and_forces(context)
    assert_harmonic(context, water, tolerance)


# Not-a-number


def test_force_that_is_not_a_number(
    platform: Platform, make_context: MakeContext, water: np.ndarray, tolerance: float
) -> None:
    """The first bad particle, its neighbor among the force's particles, the evaluation and the energies before it."""
    body = "bad = positions[:, 0] > 5\nforces = torch.where(bad.unsqueeze(1), VALUE, -2 * positions)\n"
    for value, shown in (("float('nan')", "nan, nan, nan"), ("float('-inf')", "-inf, -inf, -inf")):
        force = NNPForce(scripted(body.replace("VALUE", value) + "return (positions**2).sum(), forces"))
        force.setParticles([3, 1, 0])
        force.setOutputsForces(True)
        context = make_context(platform, force, water)
        energies = []
        for factor in (1, 2, 3, 4):
            context.setPositions(factor * water)
            energies.append(energy_and_forces(context)[0])
        wrong = water.copy()
        wrong[[1, 3], 0] += 6
        context.setPositions(wrong)
        last = " ".join(f"{energy:.6g}" for energy in energies[1:])
        with fails(
            rf"The model's force on particle 3 is \({shown}\) in evaluation 5\. The nearest neighbor of particle 3 "
            rf"among the particles of the force is particle 1, 0\.0(5|4999\d*|50000\d) nm away\. "
            rf"The last good energies were {re.escape(last)} kJ/mol"
        ):
            energy_and_forces(context)
        context.setPositions(water)
        energy, forces = energy_and_forces(context)
        assert energy == pytest.approx(energies[0], rel=tolerance)
        np.testing.assert_allclose(forces[[3, 1, 0]], -2 * water[[3, 1, 0]], rtol=tolerance)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_energy_that_is_not_a_number(
    platform: Platform, make_context: MakeContext, water: np.ndarray, tolerance: float, value: str
) -> None:
    """The closest pair is named."""
    body = "energy = (positions**2).sum()\n"
    body += (
        f"return torch.where(positions[0, 0] > 5, float('{value}') * torch.ones_like(energy), energy), -2 * positions"
    )
    force = NNPForce(scripted(body))
    force.setOutputsForces(True)
    context = make_context(platform, force, water + 6)
    with fails(
        rf"The model's energy is {value} in evaluation 1\. The nearest neighbor of particle 1 .* is particle 3, 0\.0"
    ):
        energy_and_forces(context)
    assert_harmonic(context, water, tolerance)


def test_parameter_that_is_not_a_number(
    platform: Platform, pair_file: Path, make_context: MakeContext, water: np.ndarray
) -> None:
    force = NNPForce(pair_file)
    set_up()(force)
    context = make_context(platform, force, water)
    before = energy_and_forces(context)
    context.setParameter("k", float("nan"))
    with fails(
        rf"pair{pair_file.suffix}'\): The model's force on particle 0 is \(-?nan, -?nan, -?nan\) in evaluation 2"
    ):
        energy_and_forces(context)
    context.setParameter("k", 0.25)
    after = energy_and_forces(context)
    assert after[0] == before[0] and np.array_equal(after[1], before[1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_positions_that_are_not_numbers(
    platform: Platform, pair_file: Path, make_context: MakeContext, water: np.ndarray, value: float
) -> None:
    """Found before the model sees them, since a model may hide them, and named in the System's count."""
    force = NNPForce(pair_file)
    set_up(particles=[3, 2, 1])(force)
    force.setAtomicNumbers([6, 1, 1])
    context = make_context(platform, force, water)
    before = energy_and_forces(context)
    wrong = water.copy()
    wrong[2, 1] = value
    context.setPositions(wrong)
    text = r"position of particle 2 is not a finite number, .* The last good energies were .*Minimize first"
    if platform.getName() == "CPU" and np.isnan(value):
        text = "Particle coordinate is NaN"  # OpenMM's own check comes first there
    with fails(text):
        energy_and_forces(context)
    context.setPositions(water)
    after = energy_and_forces(context)
    assert after[0] == before[0] and np.array_equal(after[1], before[1])


# Model files


def saved(tmp_path: Path, name: str, content: bytes | None) -> Path:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    return path


def test_file_that_is_no_model(tmp_path: Path, harmonic: Path) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "weights.pt")
    (tmp_path / "folder.pt").mkdir()
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("other/readme.txt", "hello")
    with zipfile.ZipFile(tmp_path / "nothing.pt", "w"):
        pass
    expected = {
        saved(tmp_path, "missing.pt", None): "Cannot read the model file '{}': No such file or directory",
        tmp_path / "folder.pt": "Cannot read the model file '{}': it is not a regular file",
        saved(tmp_path, "empty.pt", b""): "Model file '{}': The file is empty; a TorchScript file",
        saved(tmp_path, "text.pt", b"weights = 3" * 99): "Model file '{}': The file is not a zip archive, so neither",
        tmp_path / "nothing.pt": "Model file '{}': The file is",
        tmp_path / "other.pt": "Model file '{}': The archive holds neither a TorchScript program .* nor an AOTInductor",
        tmp_path / "weights.pt": "Model file '{}': .* A state dict .* is no model: export it with openmmnnp.export",
    }
    force = NNPForce(harmonic)
    for path, text in expected.items():
        with fails(f"^NNPForce: {text.format(re.escape(str(path)))}"):
            NNPForce(path)
        with fails(text.format(re.escape(str(path)))):
            force.setModelFile(path)
    assert force.getModelPath() == str(harmonic)


def test_truncated_file(pair_file: Path) -> None:
    content = pair_file.read_bytes()
    for share in np.linspace(0.01, 0.999, 15):
        with fails(
            r"Model file \(given as bytes\): The file is not a complete zip archive .*; copy or export it again"
        ):
            NNPForce(content[: int(share * len(content))])


def test_flipped_bits(pair_file: Path) -> None:
    """One in each entry of the archive; torch itself loads such files and may give other energies."""
    content = pair_file.read_bytes()
    with zipfile.ZipFile(pair_file) as archive:
        entries = [entry for entry in archive.infolist() if entry.file_size]
    for entry in entries:
        header = content[entry.header_offset :][:30]
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        begin = entry.header_offset + 30 + lengths  # local header, name and extra field
        damaged = bytearray(content)
        damaged[begin + entry.compress_size // 2] ^= 8
        with fails(rf"entry '{re.escape(entry.filename)}' does not match its checksum \(CRC-32\); the file is damaged"):
            NNPForce(bytes(damaged))
    assert len(entries) > 5


def test_package_without_a_spec(tmp_path: Path, pair_package: tuple[Path, Any]) -> None:
    path = rewrite(pair_package[0], tmp_path / "bare.pt2", lambda name, data: None if name.endswith(ENTRY) else data)
    with fails(
        r"bare\.pt2': The package carries no ModelSpec .* Write one with openmmnnp\.spec\.write_spec, or export"
    ):
        NNPForce(path)


@pytest.mark.parametrize(
    "change, text",
    [
        ({"format": 2}, r'"format": 2; this version of openmm-nnp reads format 1\. Export the model again, or install'),
        ({"length_unit": "furlong"}, r"\"length_unit\": 'furlong', but one of 'nm', .*'angstrom'.* is needed"),
        ({"energy_unit": "eV/atom"}, r"\"energy_unit\": 'eV/atom', but one of .*'hartree'.* is needed"),
        ({"dtype": "float16"}, r"\"dtype\": 'float16', but one of 'float32', 'float64' is needed"),
        ({"inputs": ["coordinates"]}, "input 'coordinates', but only .* are known"),
        ({"outputs": ["forces"]}, "outputs 'forces', but 'energy' is needed"),
        ({"particles": -3}, r'"particles": -3, but "dynamic" or a positive number is needed'),
        ({"cutoff": "long"}, r'"cutoff": "long", but a positive number is needed'),
        ({"references": [{"energy": 0}]}, "reference without the input 'positions'"),
    ],
)
def test_wrong_spec(tmp_path: Path, pair_pt: Path, change: dict[str, Any], text: str) -> None:
    def edit(name: str, data: bytes) -> bytes:
        return json.dumps(json.loads(data) | change).encode() if name.endswith(ENTRY) else data

    with fails(rf"Model file '.*wrong\.pt': The model's spec has .*{text}"):
        NNPForce(rewrite(pair_pt, tmp_path / "wrong.pt", edit))


@pytest.mark.parametrize(
    "key, text",
    [
        (
            "energy",
            r"Reference 2 of the model's spec gives the energy .* eV \(without the constant\), but the model gives",
        ),
        ("forces", r"Reference 2 of the model's spec: the model's forces differ from it by .* eV/angstrom"),
    ],
)
def test_wrong_references(
    platform: Platform,
    tmp_path: Path,
    pair_file: Path,
    make_context: MakeContext,
    water: np.ndarray,
    key: str,
    text: str,
) -> None:
    path = tmp_path / pair_file.name
    path.write_bytes(pair_file.read_bytes())
    spec = read_spec(path)
    assert spec is not None
    first, second = spec.references
    wrong = (np.array(second[key]) * (1 + 1e-5 if key == "energy" else 1.01)).tolist()
    write_spec(path, replace(spec, references=[first, second | {key: wrong}]))
    force = NNPForce(path)
    set_up()(force)
    with fails(rf"{text}.* export it again\. setCheckReferences\(False\) turns this check off"):
        make_context(platform, force, water)
    unchecked, right = NNPForce(path), NNPForce(pair_file)
    unchecked.setCheckReferences(False)
    energies = []
    for force in (unchecked, right):
        set_up()(force)
        energies.append(energy_and_forces(make_context(platform, force, water))[0])
    assert energies[0] == energies[1]


# In a Context


def test_outputs_that_are_not_there(
    platform: Platform, pair_file: Path, make_context: MakeContext, water: np.ndarray
) -> None:
    force = NNPForce(pair_file)
    set_up()(force)
    context = make_context(platform, force, water)
    for name in ("energy", "atomic_energy"):
        with fails(
            f"The output '{name}' does not exist: the model was not evaluated yet, or not to the end. "
            "Ask the Context for the energy"
        ):
            force.getOutput(context, name)
    energy_and_forces(context)
    with fails("The model has no output 'charges'; it gives energy, .*atomic_energy"):
        force.getOutput(context, "charges")
    if pair_file.suffix == ".pt2":
        with fails(r"The output 'forces' is not kept by name: ask the Context, getState\(forces=True"):
            force.getOutput(context, "forces")
    context.setParameter("k", float("nan"))
    with fails("in evaluation 2"):
        energy_and_forces(context)
    with fails("The output 'energy' does not exist"):
        force.getOutput(context, "energy")


def test_force_that_is_not_in_the_context(
    platform: Platform, harmonic: Path, make_context: MakeContext, water: np.ndarray
) -> None:
    context = make_context(platform, NNPForce(harmonic), water)
    stranger = NNPForce(harmonic)
    stranger.setName("stranger")
    for ask in (stranger.getDiagnostics, stranger.updateParametersInContext, lambda c: stranger.getOutput(c, "energy")):
        with fails("stranger: the Context does not contain this force. It must be the object that was added"):
            ask(context)
