"""Files that are no models, or not what they say: each is an error that says what is needed and what to do."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import torch

from helpers import energy_and_forces, fails, rewrite
from models import set_up
from openmmnnp import NNPForce
from openmmnnp.spec import ENTRY, read_spec, write_spec

pytestmark = pytest.mark.asan

MakeContext = Callable[..., openmm.Context]
Platform = openmm.Platform


def saved(tmp_path: Path, name: str, content: bytes | None) -> Path:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    return path


def test_many_entries_are_read_in_linear_time() -> None:
    """By 20,000 files of code, a quadratic reader is kept busy for more than a minute."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in ("constants.pkl", "data.pkl", *(f"{i}.py" for i in range(20_000))):
            archive.writestr(f"model/{name}", b"")
    begin = time.process_time()
    NNPForce(content.getvalue())
    assert time.process_time() - begin < 5


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
        ({"outputs": ["forces"]}, "outputs 'forces', but 'energy' .or 'atomic_energy' and 'forces'. is needed"),
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
