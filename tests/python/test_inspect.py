"""`openmm-nnp inspect`: what a file says, without running it; damaged files give one line."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import scripted
from openmmnnp import ModelSpec, cli
from openmmnnp.inspect import inspect, table
from openmmnnp.spec import read_spec, write_spec

EJM_31 = Path(__file__).parents[2] / "examples" / "tyk2" / "ejm_31.pt"
METADATA = {
    "AOTI_DEVICE_KEY": "cuda",
    "AOTI_COMPUTE_CAPABILITY": "90",
    "AOTI_PLATFORM": "linux",
    "AOTI_MACHINE": "x86_64",
    "AOTI_CPU_ISA": "AVX512",
    "openmmnnp_torch_version": "2.13.0",
}


def archive(path: Path, entries: dict[str, Any]) -> Path:
    """An archive as torch lays it out; dictionaries become JSON."""
    with zipfile.ZipFile(path, "w") as file:
        for name, value in entries.items():
            file.writestr(f"model/{name}", json.dumps(value) if isinstance(value, dict) else value)
    return path


def package(path: Path, **more: Any) -> Path:
    """An archive that has the entries of a package, but no code."""
    folder = "data/aotinductor/model"
    return archive(path, {f"{folder}/model.so": b"none", f"{folder}/model_metadata.json": METADATA} | more)


def spec(**values: Any) -> ModelSpec:
    inputs = ["positions", "atomic_numbers", "edges", "shifts", "charge", "parameters.k"]
    outputs = ["energy", "forces", "charges", "parameter_derivative.k"]
    given = {"length_unit": "angstrom", "energy_unit": "hartree", "dtype": "float32", "inputs": inputs}
    given |= {"outputs": outputs, "output_units": {"charges": "e"}, "cutoff": 5.1, "edge_capacity": 500}
    return ModelSpec("mine", **(given | {"index_dtype": "int32", "elements": [1, 8], "particles": 3} | values))


def test_published_model() -> None:
    found, right = inspect(EJM_31), read_spec(EJM_31)
    assert right is not None
    assert found["file"]["SHA-256"] == hashlib.sha256(EJM_31.read_bytes()).hexdigest()
    assert found["file"]["format"] == "TorchScript (.pt)"
    words = {"name": right.name, "authors": right.authors, "license": right.license}
    assert found["model"] == words | {"citation": right.citation, "domain": right.domain}
    assert found["numbers"]["elements"] == ["H", "C", "N", "O", "Cl"]
    assert found["numbers"]["atoms"] == "C14H11Cl2N3O2"
    assert (found["numbers"]["length unit"], found["numbers"]["energy unit"]) == ("angstrom", "eV")
    assert found["numbers"]["references"] == ["32 particles", "32 particles"]
    assert found["program"]["custom operators"] == "none"


def test_inputs_and_outputs(tmp_path: Path) -> None:
    path = package(tmp_path / "model.pt2")
    write_spec(path, spec())
    found = inspect(path)
    assert [list(row.values()) for row in found["inputs"]] == [
        ["positions", "float32", "[3, 3]", "angstrom"],
        ["atomic_numbers", "int64", "[3]", ""],
        ["edges", "int32", "[2, 500]", ""],
        ["shifts", "int32", "[500, 3]", ""],
        ["charge", "int64", "[]", "e"],
        ["parameters.k", "float32", "[]", ""],
    ]
    assert [list(row.values()) for row in found["outputs"]] == [
        ["energy", "[]", "hartree"],
        ["forces", "[3, 3]", "hartree/angstrom"],
        ["charges", "[3]", "e"],
        ["parameter_derivative.k", "[]", "hartree per unit of it"],
    ]
    numbers = {"cutoff": "5.1 angstrom", "edge capacity": 500, "edges": "full", "shifts": "cell", "small box": "images"}
    assert numbers.items() <= found["numbers"].items()
    assert found["model"]["license"] == "not said"


def test_cartesian_shifts_and_any_number(tmp_path: Path) -> None:
    path = package(tmp_path / "model.pt2")
    write_spec(path, spec(shifts="cartesian", particles="dynamic", edge_capacity=None))
    rows = {row["name"]: row for row in inspect(path)["inputs"]}
    assert rows["shifts"] == {"name": "shifts", "dtype": "float32", "shape": "[e, 3]", "unit": "angstrom"}
    assert rows["positions"]["shape"] == "[n, 3]"


def test_package(tmp_path: Path) -> None:
    nodes = {"nodes": [{"node": {"target": "mine::op"}}]}
    more = {"data/aotinductor/energy/energy.so": b"", "data/aotinductor/model/model.json": nodes}
    path = package(tmp_path / "model.pt2", **more)
    write_spec(path, spec())
    assert inspect(path)["program"] == {
        "entries": ["energy alone", "energy and forces"],
        "torch version": "2.13.0",
        "device": "cuda",
        "GPU compute capability": "9.0",
        "system": "linux",
        "machine": "x86_64",
        "CPU instruction set": "AVX512",
        "custom operators": ["mine::op"],
    }


def test_operators_without_names(tmp_path: Path) -> None:
    nodes = {"nodes": [{"node": [1]}, 2]}
    path = package(tmp_path / "model.pt2", **{"data/aotinductor/model/model.json": nodes})
    write_spec(path, spec())
    assert inspect(path)["program"]["custom operators"] == ["unnamed"]


def test_package_of_another_exporter(tmp_path: Path) -> None:
    """No spec, but metadata of its own."""
    metadata = {"AOTI_DEVICE_KEY": "cpu", "r_max": "5.0", "type_names": "H O", "my_inputs": "pos edge_index"}
    folder = "data/aotinductor/model"
    entries = {f"{folder}/a.so": b"", f"{folder}/a_metadata.json": metadata}
    path = archive(tmp_path / "m.pt2", entries)
    found = inspect(path)
    assert found["metadata"] == {"r_max": "5.0", "type_names": "H O", "my_inputs": "pos edge_index"}
    assert found["program"]["torch version"] == "not said"
    assert found["model"]["spec"].startswith("none: units, inputs and outputs are not known")


def test_script_without_a_spec(tmp_path: Path) -> None:
    path = tmp_path / "plain.pt"
    scripted("return positions.sum()").save(str(path))
    assert inspect(path)["model"]["spec"] == "none: openmm-torch's contract applies"


def test_custom_operators_of_a_script(tmp_path: Path) -> None:
    code = "def f(x):\n  y = ops.neighbors.getNeighborPairs(x)\n  z = ops.prim.NumToTensor(1)\n"
    code += "  s : __torch__.torch.classes.metatensor.TensorMap = y\n"
    entries = {"constants.pkl": b"", "data.pkl": b"", "code/__torch__/m.py": code, "data/0": b"x" * 2**20}
    program = inspect(archive(tmp_path / "m.pt", entries))["program"]
    assert program["custom operators"] == ["class metatensor.TensorMap", "neighbors.getNeighborPairs"]
    assert program["weights"] == "1.00 MiB"


def test_table_and_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", str(EJM_31)]) == 0
    text = capsys.readouterr().out
    assert text == table(inspect(EJM_31)) + "\n"
    lines = text.splitlines()
    columns = {
        line.index(value) for value in ("TorchScript", "ejm_31-gfn2", "C14H11") for line in lines if value in line
    }
    assert len(columns - {lines[1].index(str(EJM_31))}) <= 1
    assert cli.main(["inspect", str(EJM_31), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == inspect(EJM_31)


def test_nothing_is_loaded(tmp_path: Path) -> None:
    """Neither torch nor OpenMM, and no pickle: this one would leave a folder."""
    pickled = f"cos\nmkdir\n(S'{tmp_path / 'made'}'\ntR.".encode()
    path = archive(tmp_path / "m.pt", {"constants.pkl": pickled, "data.pkl": pickled, "code/m.py": "raise"})
    code = "import sys; sys.argv[0] = 'openmm-nnp'\nfrom openmmnnp.cli import main\n"
    code += f"assert main(['inspect', {str(path)!r}]) == 0\n"
    code += "print([name for name in ('torch', 'openmm') if name in sys.modules])"
    began = time.perf_counter()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert result.stdout.splitlines()[-1:] == ["[]"], result.stderr
    assert not (tmp_path / "made").exists()
    assert time.perf_counter() - began < 5  # a start of torch alone takes longer on a busy machine


def flipped(data: bytes) -> bytes:
    return data[:500_000] + bytes([data[500_000] ^ 16]) + data[500_001:]


def twice(data: bytes) -> bytes:
    """The last record's name made that of another one of its length, in the archive's directory."""
    return data.replace(b"data.pkl", b"data/abc").replace(b"data/abc", b"code/abc", 1)


@pytest.mark.parametrize(
    "change, text",
    [
        (lambda data: b"", "no model file, or it is damaged"),
        (lambda data: b"state dict", "no model file, or it is damaged .File is not a zip file"),
        (lambda data: data[:-5000], "no model file, or it is damaged"),
        (lambda data: data[1000:], "no model file, or it is damaged"),
        (flipped, "does not match its checksum"),
        (twice, "no model file, or it is damaged"),
    ],
)
def test_damaged_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[bytes], bytes], text: str
) -> None:
    path = tmp_path / "damaged.pt"
    path.write_bytes(change(EJM_31.read_bytes()))
    with pytest.raises(ValueError, match=f"damaged.pt: .*{text}"):
        inspect(path)
    assert cli.main(["inspect", str(path)]) == 1
    out, error = capsys.readouterr()
    assert out == "" and error.count("\n") == 1 and error.startswith("openmm-nnp inspect: error: ")


def test_any_flipped_bit_is_an_error_or_changes_nothing(tmp_path: Path) -> None:
    generator, data, path = np.random.default_rng(0), EJM_31.read_bytes(), tmp_path / "m.pt"
    right = {key: value for key, value in inspect(EJM_31).items() if key != "file"}
    caught = 0
    for _ in range(60):
        place, bit = int(generator.integers(len(data))), int(generator.integers(8))
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
        try:
            assert {key: value for key, value in inspect(path).items() if key != "file"} == right
        except ValueError:
            caught += 1
    assert caught > 40


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_record_that_is_there_twice(tmp_path: Path) -> None:
    path = package(tmp_path / "m.pt2")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("model/data/aotinductor/model/model.so", b"another")
    with pytest.raises(ValueError, match="model.so' is there twice"):
        inspect(path)


def test_record_that_claims_an_impossible_size(tmp_path: Path) -> None:
    path = package(tmp_path / "m.pt2")
    data = path.read_bytes()
    place = data.index(b"PK\x01\x02") + 24  # the uncompressed size in the directory
    path.write_bytes(data[:place] + (2**31).to_bytes(4, "little") + data[place + 4 :])
    with pytest.raises(ValueError, match="claims an impossible size"):
        inspect(path)


def test_archive_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither a TorchScript program nor an AOTInductor package; a state dict"):
        inspect(archive(tmp_path / "m.pt", {"data.pkl": b"", "data/0": b""}))


@pytest.mark.parametrize("text, needed", [("{", "metadata.json' is not JSON"), ("[1]", "is a JSON list, but must be")])
def test_metadata_that_is_no_object(tmp_path: Path, text: str, needed: str) -> None:
    path = archive(tmp_path / "m.pt2", {"data/aotinductor/model/a_metadata.json": text})
    with pytest.raises(ValueError, match=needed):
        inspect(path)


def test_wrong_spec(tmp_path: Path) -> None:
    entries = {"extra/openmmnnp.json": {"format": 1, "name": "x"}, "constants.pkl": b"", "data.pkl": b""}
    with pytest.raises(ValueError, match=r"m\.pt: the model's spec"):
        inspect(archive(tmp_path / "m.pt", entries))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="there is no such file"):
        inspect(tmp_path / "none.pt")
    os.mkfifo(tmp_path / "pipe.pt")
    for path in (tmp_path, tmp_path / "pipe.pt"):
        with pytest.raises(OSError, match="it is no regular file"):
            inspect(path)


@pytest.mark.long
def test_compiled_package(pair_package: tuple[Path, ModelSpec]) -> None:
    program = inspect(pair_package[0])["program"]
    assert program["device"] == "cpu" and program["torch version"].startswith("2.") and program["CPU instruction set"]


def test_words_of_a_file_do_not_look_like_the_table(tmp_path: Path) -> None:
    path = package(tmp_path / "model.pt2")
    write_spec(path, spec(license="MIT\n  SHA-256  0000\x1b[31m"))
    assert r"MIT\n  SHA-256  0000\x1b[31m" in table(inspect(path))
