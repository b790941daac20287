"""Fuzzes the readers in Python: damaged files give ValueError alone, whatever is in them.

With the arguments of libFuzzer, as tests/fuzz/run.sh gives them. What is behind an archive's checksums is fuzzed too:
mutations change an entry and pack all of them again.
"""

from __future__ import annotations

import io
import random
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["openmmnnp", "zipfile", "json"]):
    from openmmnnp.inspect import inspect, table

FOLDER = tempfile.TemporaryDirectory()
PATH = Path(FOLDER.name) / "model.pt2"


def read(data: bytes) -> None:
    PATH.write_bytes(data)
    try:
        table(inspect(PATH))
    except ValueError as error:
        assert str(PATH) in str(error)


def mutated(data: bytes, most: int, seed: int) -> bytes:
    draw = random.Random(seed)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [(record.filename, archive.read(record)) for record in archive.infolist()]
        assert entries and draw.randrange(4)
    except Exception:  # no archive that could be packed again
        return atheris.Mutate(data, most)
    i = draw.randrange(len(entries))
    entries[i] = (entries[i][0], atheris.Mutate(entries[i][1], len(entries[i][1]) + 256))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()[:most]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    atheris.Setup(sys.argv, read, custom_mutator=mutated)
    atheris.Fuzz()
