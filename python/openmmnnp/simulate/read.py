"""Reads structures and Systems; what can't be read is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openmm
from openmm import app

STRUCTURES = (".pdb", ".cif")
POSITIONS = (*STRUCTURES, ".inpcrd", ".rst7")
AMBER = (".prmtop", ".parm7")


def existing(path: Path | None) -> Path:
    """The path. Raises ValueError if there is no such file."""
    assert path is not None
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


def read_structure(path: Path, suffixes: Sequence[str] = STRUCTURES) -> Any:
    """A PDBFile, PDBxFile or AmberInpcrdFile. Raises ValueError if it can't be read, or ends with another suffix."""
    if path.suffix not in suffixes:
        raise ValueError(f"{path} ends with {path.suffix!r}: known here are {', '.join(suffixes)}")
    try:
        if path.suffix in (".inpcrd", ".rst7"):
            return app.AmberInpcrdFile(str(path))
        with open(path, encoding="utf-8") as file:
            return app.PDBxFile(file) if path.suffix == ".cif" else app.PDBFile(file)
    except Exception as error:
        raise ValueError(f"{path} can't be read: {error}") from error


def read_prmtop(path: Path, box: Any) -> app.AmberPrmtopFile:
    """Raises ValueError if it can't be read."""
    try:
        return app.AmberPrmtopFile(str(path), periodicBoxVectors=box)
    except Exception as error:
        raise ValueError(f"{path} can't be read: {error}") from error


def read_system(path: Path) -> openmm.System:
    """From OpenMM's XML. Raises ValueError if it can't be read, or holds something else."""
    try:
        system = openmm.XmlSerializer.deserialize(path.read_text(encoding="utf-8"))
    except Exception as error:
        raise ValueError(f"{path} can't be read: {error}") from error
    if not isinstance(system, openmm.System):
        raise ValueError(f"{path} holds no System, but a {type(system).__name__}")
    return system
