"""Atoms to try a model with: from a PDB file, from elements alone, or of no kind in particular."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._elements import ELEMENTS
from .spec import LENGTH_UNITS, ModelSpec

__all__ = ["Atoms"]

_SPACING = 1.15  # angstrom between neighbors in a made-up cluster
_LEAST_VOLUME = 3.0  # cubic angstrom for an atom: diamond has 5.7, ice 11
_CHARGES = 9
_COMMON = (6, 1, 8, 7, 1, 16, 9, 17)


@dataclass(frozen=True)
class Atoms:
    """Elements and a geometry.

    Attributes
    ----------
    numbers : atomic numbers [n]
    positions : [n, 3] in angstrom
    box : rows [3, 3] in angstrom, in OpenMM's reduced form; None without periodic boundary conditions
    charge : total charge, in units of the elementary charge
    """

    numbers: tuple[int, ...]
    positions: NDArray[np.float64]
    box: NDArray[np.float64] | None = None
    charge: int = 0

    @classmethod
    def from_pdb(cls, path: str | os.PathLike[str], *, periodic: bool = True, charge: int = 0) -> Atoms:
        """The atoms of a PDB file, with its box if ``periodic``.

        Raises ValueError if an atom has no element, or if the atoms can't be in the box: programs that know of none
        write a cube of 1 angstrom.
        """
        from openmm import app, unit

        pdb = app.PDBFile(os.fspath(path))
        unknown = [atom.index for atom in pdb.topology.atoms() if atom.element is None]
        if unknown:
            raise ValueError(f"{os.fspath(path)}: atom {unknown[0]} has no element: fill columns 77 and 78 of the PDB")
        vectors = pdb.topology.getPeriodicBoxVectors() if periodic else None
        box = None if vectors is None else np.array(vectors.value_in_unit(unit.angstrom), dtype=float)
        numbers = tuple(atom.element.atomic_number for atom in pdb.topology.atoms())
        if box is not None and np.linalg.det(box) < _LEAST_VOLUME * len(numbers):
            raise ValueError(
                f"{os.fspath(path)}: the box in CRYST1 is too small for {len(numbers)} atoms: remove that line, or "
                "give --no-box"
            )
        return cls(numbers, pdb.getPositions(asNumpy=True).value_in_unit(unit.angstrom), box, charge)

    @classmethod
    def of_elements(cls, numbers: Sequence[int], *, seed: int = 0, charge: int = 0) -> Atoms:
        """A made-up cluster of atoms with these elements: no molecule, but no two atoms closer than 0.85 angstrom."""
        if not numbers:
            raise ValueError("no elements were given; at least one atomic number is needed")
        n = len(numbers)
        edge = math.ceil(n ** (1 / 3))
        grid = np.stack(np.meshgrid(*3 * [np.arange(edge)], indexing="ij"), -1).reshape(-1, 3)[:n]
        noise = np.random.default_rng(seed).uniform(-0.08, 0.08, (n, 3))
        return cls(tuple(int(z) for z in numbers), _SPACING * (grid + noise), None, charge)

    @classmethod
    def for_spec(cls, spec: ModelSpec, n: int = 7) -> Atoms:
        """Atoms that a model takes: those that its spec fixes, or ``n`` of the elements that it knows."""
        known = spec.elements or list(spec.atomic_energies or {}) or _elements_of(spec.type_map or {})
        mixed = [z for z in _COMMON if not known or z in known] or known
        count = n if spec.particles == "dynamic" else int(spec.particles)
        return cls.of_elements(spec.atomic_numbers or [mixed[i % len(mixed)] for i in range(count)])

    def example(self, spec: ModelSpec) -> dict[str, Any]:
        """These atoms as inputs of a model, in its units, all but edges and shifts; parameters are 1.

        A model that takes ``box`` gets a cube without images of its own if these atoms have none. If they have one, it
        is there for a model that takes edges, too, since edges are found with it. Raises ValueError if an element has
        no type in the spec's type_map.
        """
        scale = 0.1 / LENGTH_UNITS[spec.length_unit]
        box = self.box if self.box is not None else self.wide_box(spec)
        available: dict[str, Any] = {
            "positions": self.positions * scale,
            "box": box * scale,
            "atomic_numbers": np.array(self.numbers),
            "charge": self.charge,
            "multiplicity": 1,
        }
        if "types" in spec.inputs:
            available["types"] = np.array(self._types(spec))
        if spec.takes_charges:
            available["mm_positions"], available["mm_charges"] = self._charges_around(scale, spec.mm_cutoff)
        known = {name: available[name] for name in spec.inputs if name in available}
        if "edges" in spec.inputs and self.box is not None:
            known["box"] = available["box"]
        return known | {name: 1.0 for name in spec.inputs if name.startswith("parameters.")}

    def check_fits(self, spec: ModelSpec) -> None:
        """Raise ValueError unless a model takes these atoms: their number, their elements, their order."""
        if spec.particles not in ("dynamic", len(self.numbers)):
            raise ValueError(f"{len(self.numbers)} atoms were given, but the model is made for {spec.particles}")
        wrong = [i for i, z in enumerate(spec.atomic_numbers or ()) if z != self.numbers[i]]
        if wrong:
            given, needed = self.numbers[wrong[0]], (spec.atomic_numbers or ())[wrong[0]]
            raise ValueError(
                f"atom {wrong[0]} of those given has the atomic number {given}, but the model is made for atoms with "
                f"{needed} there: give them in the model's order"
            )
        unknown = sorted(set(self.numbers) - set(spec.elements or self.numbers))
        if unknown:
            raise ValueError(f"the atomic numbers {unknown} were given, but the model knows only {spec.elements}")

    def wide_box(self, spec: ModelSpec) -> NDArray[np.float64]:
        """A cube, rows [3, 3] in angstrom, in which no atom is within the model's cutoff of an image."""
        cutoff = (spec.cutoff or 0.0) * LENGTH_UNITS[spec.length_unit] * 10
        return float(max(10.0, np.ptp(self.positions, axis=0).max() + 2 * cutoff + 2)) * np.eye(3)

    def _types(self, spec: ModelSpec) -> list[int]:
        symbols = [ELEMENTS[z - 1] for z in self.numbers]
        types = spec.type_map or {}
        unknown = sorted(set(symbols) - set(types))
        if unknown:
            raise ValueError(f"the model has no type for {', '.join(unknown)}; its types are {', '.join(types)}")
        return [types[symbol] for symbol in symbols]

    def _charges_around(self, scale: float, cutoff: float | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Made-up charges at 1.5 angstrom or more from all atoms, in the model's unit: most of them within its cutoff,
        the last one beyond it, if there is one."""
        generator = np.random.default_rng(1)
        reach = 6.0 if cutoff is None else min(6.0, cutoff / scale)
        found: list[NDArray[np.float64]] = []
        while len(found) < _CHARGES:
            center = self.positions[generator.integers(len(self.numbers))]
            candidate = center + generator.uniform(-1, 1, 3) * (reach + (1.5 if len(found) == _CHARGES - 1 else 0.0))
            if np.linalg.norm(self.positions - candidate, axis=1).min() > min(1.5, reach / 2):
                found.append(candidate)
        return np.array(found) * scale, np.where(np.arange(_CHARGES) % 3 == 0, -0.8, 0.4)


def _elements_of(symbols: Iterable[str]) -> list[int]:
    """Atomic numbers of those names that are symbols of elements."""
    return [ELEMENTS.index(symbol) + 1 for symbol in symbols if symbol in ELEMENTS]
