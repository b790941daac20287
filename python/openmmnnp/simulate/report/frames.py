"""Labelled geometries of the region, read from an extended XYZ file."""

from __future__ import annotations

import gzip
import io
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...spec import ENERGY_UNITS

__all__ = ["Frames", "Scan", "read_frames"]

Array = NDArray[np.float64]
Torsion = tuple[int, int, int, int]

EV = ENERGY_UNITS["eV"]  # kJ/mol


@dataclass(frozen=True)
class Scan:
    """A torsion profile: indices of frames by ascending angle, and the angles [points] in degrees."""

    trajectory: str
    torsion: Torsion
    split: str
    frames: NDArray[np.int64]
    angles: Array


@dataclass(frozen=True)
class Frames:
    """Geometries [m, n, 3] in nm with energies [m] in kJ/mol and forces [m, n, 3] in kJ/mol/nm, and where each is from.

    `split` holds train, test, or "" where the file does not say; `angle` is NaN in frames of no torsion scan.
    """

    path: Path
    positions: Array
    energies: Array
    forces: Array
    trajectory: tuple[str, ...]
    source: tuple[str, ...]
    split: tuple[str, ...]
    torsion: tuple[Torsion | None, ...]
    angle: Array

    def of_split(self, *splits: str) -> NDArray[np.int64]:
        """Indices of the frames of these splits."""
        return np.flatnonzero([split in splits for split in self.split])

    def scans(self) -> list[Scan]:
        """The torsion scans, those that were held out first; a scan is what has one trajectory and one torsion."""
        members: dict[tuple[str, Torsion], list[int]] = {}
        for i, (trajectory, torsion) in enumerate(zip(self.trajectory, self.torsion, strict=True)):
            if torsion is not None and np.isfinite(self.angle[i]):
                members.setdefault((trajectory, torsion), []).append(i)
        scans = [self._scan(*key, np.array(found)) for key, found in members.items() if len(found) > 2]
        return sorted(scans, key=lambda scan: scan.split != "test")

    def _scan(self, trajectory: str, torsion: Torsion, found: NDArray[np.int64]) -> Scan:
        angles = self.angle[found]
        wrapped = np.where(np.abs(angles) <= 180, angles, (angles + 180) % 360 - 180)
        order = np.argsort(wrapped, kind="stable")
        splits = Counter(self.split[i] for i in found)
        return Scan(trajectory, torsion, splits.most_common(1)[0][0], found[order], wrapped[order])


def read_frames(path: Path, numbers: Sequence[int]) -> Frames:
    """Read an extended XYZ file (energies in eV, forces in eV/angstrom) of the atoms `numbers`, in that order.

    Raises ValueError if a frame has other atoms, or no energy or forces.
    """
    import ase.io

    opened = gzip.open(path, "rt") if path.suffix == ".gz" else open(path, encoding="utf-8")
    with opened as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = io.StringIO(file.read())  # in memory: ASE seeks, which is slow in a packed file
        atoms: Any = ase.io.read(text, ":", format="extxyz")
    for i, frame in enumerate(atoms):
        if list(frame.numbers) != list(numbers):
            raise ValueError(
                f"{path}: frame {i} has the atomic numbers {frame.numbers.tolist()}, but the region of the run has "
                f"{list(numbers)}: the frames must hold its atoms in its order"
            )
        if frame.calc is None or not {"energy", "forces"} <= set(frame.calc.results):
            raise ValueError(f"{path}: frame {i} needs an energy (eV) and forces (eV/angstrom)")
    if not atoms:
        raise ValueError(f"{path} holds no frames: give an extended XYZ file, or leave the frames out")
    info = [frame.info for frame in atoms]
    return Frames(
        path,
        np.array([frame.positions for frame in atoms]) / 10,
        np.array([frame.calc.results["energy"] for frame in atoms]) * EV,
        np.array([frame.calc.results["forces"] for frame in atoms]) * EV * 10,
        tuple(str(values.get("trajectory", "")) for values in info),
        tuple(str(values.get("source", "frames")) for values in info),
        tuple(_split(str(values.get("split", "")), path) for values in info),
        tuple(_torsion(values.get("torsion"), len(numbers), path) for values in info),
        np.array([float(values.get("angle", "nan")) for values in info]),
    )


def _split(value: str, path: Path) -> str:
    if value not in ("train", "test", ""):
        raise ValueError(f"{path}: split={value} was given, but train or test is needed")
    return value


def _torsion(value: Any, n: int, path: Path) -> Torsion | None:
    """Four different indices below `n` from what ASE made of `torsion="i j k l"`."""
    if value is None:
        return None
    try:
        i, j, k, m = (int(atom) for atom in (value.split() if isinstance(value, str) else value))
        if len({i, j, k, m}) == 4 and all(0 <= atom < n for atom in (i, j, k, m)):
            return i, j, k, m
    except (TypeError, ValueError):
        pass
    raise ValueError(f'{path}: torsion="{value}" was given, but four different indices from 0 to {n - 1} are needed')
