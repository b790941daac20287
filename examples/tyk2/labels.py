"""Geometries of ejm_31 labelled with GFN2-xTB, and the extended XYZ file that holds them."""

import gzip
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from openmm import app, unit
from tqdm import tqdm

HERE = Path(__file__).parent
BOHR = 0.529177210544  # angstrom
HARTREE = 27.211386245981  # eV
KJ = 96.48533212331  # kJ/mol in one eV
KCAL = KJ / 4.184  # kcal/mol in one eV

Array = np.ndarray


@dataclass(frozen=True)
class Frame:
    """One geometry [n, 3] in angstrom with its energy (eV) and forces (eV/angstrom), once they are known.

    `trajectory` is the trajectory or scan that it comes from and `source` how that was sampled; `torsion` (four atoms)
    and `angle` (degrees) belong to frames of torsion scans.
    """

    positions: Array
    trajectory: str
    source: str
    split: str
    torsion: tuple[int, ...] | None = None
    angle: float | None = None
    energy: float | None = None
    forces: Array | None = None


class Xtb:
    """GFN2-xTB energy (eV) and forces (eV/angstrom) of one neutral molecule, from the last call's density if close."""

    def __init__(self, numbers: Array, positions: Array) -> None:
        from tblite.interface import Calculator

        self.calculator = Calculator("GFN2-xTB", numbers, positions / BOHR)
        self.calculator.set("verbosity", 0)
        self.result: Any = None
        self.last = positions

    def __call__(self, positions: Array) -> tuple[float, Array]:
        if np.abs(positions - self.last).max() > 1.0:
            self.result = None
        self.last = positions
        self.calculator.update(positions / BOHR)
        self.result = self.calculator.singlepoint(self.result)
        return self.result["energy"] * HARTREE, self.result["gradient"] * (-HARTREE / BOHR)


@cache
def ligand() -> tuple[app.PDBFile, Array, Array]:
    """The ligand as a PDB file, its atomic numbers [n] and its masses [n] in dalton."""
    pdb = app.PDBFile(str(HERE / "lig.pdb"))
    atoms = list(pdb.topology.atoms())
    numbers = np.array([a.element.atomic_number for a in atoms])
    masses = np.array([a.element.mass.value_in_unit(unit.dalton) for a in atoms])
    return pdb, numbers, masses


def bonds() -> Array:
    """Pairs of bonded atoms [bonds, 2]."""
    return np.array([(a.index, b.index) for a, b in ligand()[0].topology.bonds()])


def rounded(positions: Array) -> Array:
    """Centered and as the file will hold them, so that what is labelled is what is stored."""
    return np.round(positions - positions.mean(axis=0), 3)


def label(frames: list[Frame], description: str = "") -> list[Frame]:
    """The same frames with energies and forces, a progress bar if described; those that have them are left alone."""
    _, numbers, _ = ligand()
    xtb: Xtb | None = None
    labelled = []
    for frame in tqdm(frames, description, disable=not description):
        if frame.energy is None:
            positions = rounded(frame.positions)
            xtb = xtb or Xtb(numbers, positions)
            energy, forces = xtb(positions)
            frame = replace(frame, positions=positions, energy=energy, forces=np.round(forces, 3))
        labelled.append(frame)
    return labelled


def write(frames: list[Frame], path: Path) -> None:
    """Extended XYZ, gzipped: angstrom, eV, eV/angstrom."""
    symbols = [app.Element.getByAtomicNumber(int(z)).symbol for z in ligand()[1]]
    with gzip.GzipFile(path, "wb", compresslevel=9, mtime=0) as file:
        for frame in frames:
            header = f"Properties=species:S:1:pos:R:3:forces:R:3 energy={frame.energy:.6f} "
            header += f"trajectory={frame.trajectory} source={frame.source} split={frame.split}"
            if frame.torsion:
                header += f' torsion="{" ".join(map(str, frame.torsion))}" angle={frame.angle:.2f}'
            table = zip(symbols, np.hstack([frame.positions, frame.forces]), strict=True)
            rows = [" ".join([symbol, *(f"{v:.3f}" for v in row)]) for symbol, row in table]
            file.write("\n".join([str(len(rows)), f'{header} pbc="F F F"', *rows, ""]).encode())


def read(path: Path, **defaults: str) -> list[Frame]:
    """Frames of an extended XYZ file (`.xyz` or `.xyz.gz`), with or without labels.

    `defaults` are taken for header keys that a frame lacks. Raises ValueError, naming the file and the frame, if the
    atoms are not the ligand's in the order of `lig.pdb`.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt") as file:
        lines = file.read().splitlines()
    return list(_frames(lines, path.name, defaults))


def _frames(lines: list[str], name: str, defaults: dict[str, str]) -> Iterator[Frame]:
    symbols = [app.Element.getByAtomicNumber(int(z)).symbol for z in ligand()[1]]
    start, count = 0, len(symbols)
    while start < len(lines) and lines[start].strip():
        where = f"{name}, frame {(start // (count + 2)) + 1}"
        if lines[start].strip() != str(count):
            raise ValueError(f"{where}: '{lines[start].strip()}' where the number of atoms, {count}, must be")
        rows = [line.split() for line in lines[start + 2 : start + 2 + count]]
        if [row[0] for row in rows if row] != symbols:
            raise ValueError(f"{where}: the atoms must be those of lig.pdb in its order, {' '.join(symbols)}")
        keys = defaults | dict(word.split("=", 1) for word in shlex.split(lines[start + 1]) if "=" in word)
        yield _frame(keys, rows, where)
        start += count + 2


def _frame(keys: dict[str, str], rows: list[list[str]], where: str) -> Frame:
    columns, first = {}, 0
    for column, _, width in zip(*[iter(keys.get("Properties", "species:S:1:pos:R:3").split(":"))] * 3, strict=True):
        columns[column] = slice(first, first + int(width))
        first += int(width)
    try:
        values = {c: np.array([row[columns[c]] for row in rows], float) for c in ("pos", "forces") if c in columns}
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    missing = [key for key in ("trajectory", "source", "split") if key not in keys]
    if missing or "pos" not in values:
        raise ValueError(f"{where}: no {' and no '.join(missing or ['positions'])}")
    labelled = "energy" in keys and "forces" in values
    return Frame(
        positions=values["pos"],
        trajectory=keys["trajectory"],
        source=keys["source"],
        split=keys["split"],
        torsion=tuple(map(int, keys["torsion"].split())) if "torsion" in keys else None,
        angle=float(keys["angle"]) if "angle" in keys else None,
        energy=float(keys["energy"]) if labelled else None,
        forces=values["forces"] if labelled else None,
    )
