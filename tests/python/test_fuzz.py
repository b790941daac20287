"""The corpora of the fuzz targets (tests/fuzz): replayed with sanitizers, and read in the same way by other readers."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mutants import pack
from openmmnnp.inspect import inspect, table
from openmmnnp.spec import ENTRY, read_spec

FUZZ = Path(__file__).parents[1] / "fuzz"
ARCHIVES = sorted((FUZZ / "corpus" / "model_file").iterdir())
Found = dict[Path, dict[str, Any]]
ABOUT_SPECS = "The model's spec|metadata by nequip-compile|_metadata.json' is not a valid JSON object|which need Python"


def run(command: list[Any]) -> str:
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-1000:] + result.stderr[-5000:]
    return result.stdout


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Function (target) that builds a program with sanitizers."""
    folder = tmp_path_factory.mktemp("fuzz")
    run(["cmake", "-S", FUZZ, "-B", folder, f"-DPython_EXECUTABLE={sys.executable}"])

    def build(target: str) -> Path:
        run(["cmake", "--build", folder, "--target", target])
        return folder / target

    return build


def replay(program: Path) -> None:
    corpus = sorted((FUZZ / "corpus" / program.name).iterdir())
    assert corpus
    run([program, *corpus])


@pytest.mark.parametrize("target", ["model_file", "spec", "text"])
def test_corpus_with_sanitizers(build: Callable[[str], Path], target: str) -> None:
    replay(build(target))


@pytest.mark.long  # compiles all of the library
def test_corpus_of_xml_with_sanitizers(build: Callable[[str], Path]) -> None:
    replay(build("xml"))


@pytest.fixture(scope="module")
def reader(build: Callable[[str], Path]) -> Callable[[list[Path]], Found]:
    """Function (paths): what our reader finds in archives: SHA-256 of entries, or why it refuses them."""
    program = build("list")
    return lambda paths: dict(zip(paths, map(json.loads, run([program, *paths]).splitlines()), strict=True))


@pytest.fixture(scope="module")
def listed(reader: Callable[[list[Path]], Found]) -> Found:
    return reader(ARCHIVES)


def test_other_readers_find_the_same_entries(listed: Found) -> None:
    """Python's reader and torch's, of every archive that ours takes."""
    compared = by_torch = 0
    for path, found in listed.items():
        if found["entries"] is None:
            continue
        compared += 1
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            digests = [hashlib.sha256(archive.read(name)).hexdigest() for name in names]
        assert digests == [digest for _, digest in found["entries"]], path
        try:
            reader = torch._C.PyTorchFileReader(str(path))
        except (RuntimeError, UnicodeDecodeError):  # no version or a wrong one, which torch says with any bytes
            continue
        by_torch += 1
        for name, digest in found["entries"]:
            assert hashlib.sha256(reader.get_record(name)).hexdigest() == digest, (path, name)
    assert compared > 20
    assert by_torch > 5


def test_specs_are_taken_and_refused_alike(listed: Found) -> None:
    """By the readers in C++ and Python, of files whose archive is sound."""
    counts = Counter()
    for path, found in listed.items():
        if found["entries"] is None or (found["error"] and not re.search(ABOUT_SPECS, found["error"])):
            continue
        try:
            read_spec(path)
            error = None
        except ValueError as refusal:
            error = str(refusal)
        assert (error is None) == (found["error"] is None), (path, error, found["error"])
        counts[error is None] += 1
    assert min(counts[True], counts[False]) > 20


def test_specs_that_python_takes_are_taken(reader: Callable[[list[Path]], Found], tmp_path: Path) -> None:
    """Python's reader, which exporters write by, wants more: energies for all elements, names of outputs as in code."""
    paths = []
    for spec in sorted((FUZZ / "corpus" / "spec").iterdir()):
        paths.append(tmp_path / spec.name)
        entries = {"constants.pkl": b"", "data.pkl": b"", ENTRY: spec.read_bytes()}
        paths[-1].write_bytes(pack([(f"model/{name}", content) for name, content in entries.items()]))
    taken = 0
    for path, found in reader(paths).items():
        try:
            read_spec(path)
        except ValueError:
            continue
        assert found["error"] is None, path
        taken += 1
    assert taken > 3


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.name)
def test_inspect_ends_in_a_table_or_a_value_error(path: Path) -> None:
    try:
        assert table(inspect(path)).startswith("file\n")
    except ValueError as error:
        assert str(path) in str(error)
