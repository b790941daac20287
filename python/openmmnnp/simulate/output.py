"""Files that grow with a run, and how they are cut back to a checkpoint."""

from __future__ import annotations

import csv
import errno
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app

from .._files import named
from ..reporters.tables import count_rows


class Log:
    """log.csv: a line for each moment, columns by name; what is not known stays empty."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self._columns = path, list(columns)
        if not path.exists() or path.stat().st_size == 0:
            self._append(self._columns)

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a line; floats keep the bits that matter."""
        self._append([_cell(row.get(name)) for name in self._columns])

    def _append(self, cells: Sequence[str]) -> None:
        with named(self.path), open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow(cells)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


class Trajectory:
    """Frames of some atoms, in XTC or DCD, with molecules whole."""

    def __init__(self, path: Path, topology: app.Topology, atoms: Sequence[int], interval: int, step: float) -> None:
        self.path, self._atoms = path, np.array(atoms)
        self._everything = len(atoms) == topology.getNumAtoms()
        self._topology = topology if self._everything else subset(topology, atoms)
        self._interval, self._step = interval, step  # steps between frames, ps of a step
        self._file: Any = None

    def write(self, state: openmm.State) -> None:
        """Append the positions of a State (wrapped with enforcePeriodicBox)."""
        positions = state.getPositions(asNumpy=True)
        if not self._everything:
            positions = positions[self._atoms]
        periodic = self._topology.getPeriodicBoxVectors() is not None
        box = state.getPeriodicBoxVectors() if periodic else None
        if self.path.suffix == ".xtc":
            before = self.path.stat().st_size if self._begun() else 0
            try:
                self._xtc().writeModel(positions, periodicBoxVectors=box)
            except Exception as error:  # of a type that OpenMM's wrapper chose
                said = str(error).strip()
                raise OSError(
                    errno.EIO, f"A frame could not be written ({said}): is the disk full?", str(self.path)
                ) from error
            _check_xtc_frame(self.path, before)
            return
        append = self._begun()
        with named(self.path), open(self.path, "r+b" if append else "wb") as handle:
            dcd = app.DCDFile(handle, self._topology, self._step, self._interval, self._interval, append)
            dcd.writeModel(positions, periodicBoxVectors=box)

    def _xtc(self) -> Any:
        if self._file is None:  # kept, since opening counts all frames
            append = self._begun()
            self._file = app.XTCFile(str(self.path), self._topology, self._step, self._interval, self._interval, append)
        return self._file

    def _begun(self) -> bool:
        return self.path.exists() and self.path.stat().st_size > 0


def _check_xtc_frame(path: Path, start: int) -> None:
    """Raise OSError, and cut the file back, if the frame at byte `start` is not whole: the writer does not tell."""
    size = path.stat().st_size if path.exists() else 0
    with named(path), open(path, "r+b") if size else open(os.devnull, "r+b") as file:
        file.seek(start)
        head = file.read(92)
        atoms = struct.unpack_from(">i", head, 4)[0] if len(head) > 8 else 0
        whole = 56 + 12 * atoms  # up to nine atoms are not compressed
        if atoms > 9 and len(head) == 92:
            whole = 92 + (struct.unpack_from(">i", head, 88)[0] + 3) // 4 * 4
        if size - start != whole:
            file.truncate(start)
            raise OSError(errno.ENOSPC, "A frame could not be written whole: is the disk full?", str(path))


def subset(topology: app.Topology, atoms: Sequence[int]) -> app.Topology:
    """The topology of some atoms, with names, residue ids, bonds among them and the box."""
    chosen = set(atoms)
    part = app.Topology()
    made = {}
    for chain in topology.chains():
        residues = [r for r in chain.residues() if any(a.index in chosen for a in r.atoms())]
        new_chain = part.addChain(chain.id) if residues else None
        for residue in residues:
            new_residue = part.addResidue(residue.name, new_chain, residue.id, residue.insertionCode)
            for atom in (a for a in residue.atoms() if a.index in chosen):
                made[atom] = part.addAtom(atom.name, atom.element, new_residue, atom.id)
    for first, second in topology.bonds():
        if first in made and second in made:
            part.addBond(made[first], made[second])
    part.setPeriodicBoxVectors(topology.getPeriodicBoxVectors())
    return part


def sizes(folder: Path, names: Sequence[str]) -> dict[str, int]:
    """Bytes of each file, 0 if it is not there."""
    return {name: (folder / name).stat().st_size if (folder / name).exists() else 0 for name in names}


def cut_back(folder: Path, at_checkpoint: Mapping[str, int]) -> None:
    """Cut files back to their size at a checkpoint. Raises ValueError if one has become shorter than that."""
    for name, size in at_checkpoint.items():
        path = folder / name
        found = path.stat().st_size if path.exists() else 0
        if found < size:
            raise ValueError(
                f"{path} has {found} bytes, but had {size} at the checkpoint: it was changed or damaged since; restore "
                "it, or begin a new run"
            )
        if size == 0:
            path.unlink(missing_ok=True)
        elif found > size:
            os.truncate(path, size)
        if size and path.suffix == ".dcd":
            _count_dcd_frames(path)
        if size and path.suffix == ".npy":
            count_rows(path)


def _count_dcd_frames(path: Path) -> None:
    """Make the header of a DCD file agree with its length."""
    with open(path, "r+b") as file:
        header = file.read(276)
        interval, atoms, has_box = (struct.unpack_from("<i", header, k)[0] for k in (16, 268, 48))
        frame = 3 * (4 * atoms + 8) + (56 if has_box else 0)
        frames = (path.stat().st_size - len(header)) // frame
        for position, value in ((8, frames), (20, frames * interval)):
            file.seek(position)
            file.write(struct.pack("<i", value))
