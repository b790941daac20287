"""Geometries of a force's particles in extended XYZ, for labelling and training."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from .._elements import ELEMENTS
from .._files import named
from ..force import NNPForce
from ..simulate.molecules import nearest_image
from ..spec import ENERGY_UNITS
from .reading import Floats


class XyzFrames:
    """An extended XYZ file: angstrom, and eV for energies among the keys of a frame.

    A frame holds no ``energy`` and no ``forces``, which are what a reference method is to give: a program that trains
    would take a model's own for labels.
    """

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        self._path = Path(path)
        if not append or not self._path.exists():
            self._path.write_bytes(b"")
        self._last: int | None = None
        self._known = False

    def cut(self, step: int) -> None:
        """Remove the frames of later steps, and one that was not written to its end. Raises ValueError if it is no
        file of this class."""
        if self._known and (self._last is None or self._last <= step):
            return
        text = self._path.read_bytes()
        kept, self._last, self._known = 0, None, True
        while kept < len(text):
            end = self._end(text, kept)
            if end is None or (found := self._step(text[kept:end])) > step:
                break
            kept, self._last = end, found
        os.truncate(self._path, kept)

    def write(
        self,
        step: int,
        time: float,
        force: NNPForce,
        context: openmm.Context,
        topology: app.Topology,
        keys: Mapping[str, str],
    ) -> None:
        """Append the positions of the force's particles and link atoms, with step, time (ps), model, and `keys`."""
        state = context.getState(positions=True)
        angstrom = 10 * _positions(force, state)
        symbols = _symbols(force, topology)
        head = f"step={step} time={time:.10g} model=sha256:{force.getModelHash()[:12]}"
        head += "".join(f" {name}={value}" for name, value in keys.items())
        rows = [f"{symbol} {x:.6f} {y:.6f} {z:.6f}" for symbol, (x, y, z) in zip(symbols, angstrom, strict=True)]
        lines = [str(len(rows)), f"Properties=species:S:1:pos:R:3 {head} {_box(force, state)}", *rows, ""]
        with named(self._path), open(self._path, "a", encoding="utf-8") as file:
            file.write("\n".join(lines))
        self._last, self._known = step, True

    def _end(self, text: bytes, start: int) -> int | None:
        """Where the frame that begins at `start` ends, None if it was not written to its end."""
        at = text.find(b"\n", start)
        if at >= 0 and not text[start:at].isdigit():
            raise ValueError(self._strange())
        for _ in range(int(text[start:at]) + 1 if at >= 0 else 0):
            at = text.find(b"\n", at + 1)
            if at < 0:
                break
        return at + 1 if at >= 0 else None

    def _step(self, frame: bytes) -> int:
        found = re.search(rb" step=(\d+) ", frame.split(b"\n", 2)[1])
        if found is None:
            raise ValueError(self._strange())
        return int(found[1])

    def _strange(self) -> str:
        return f"{self._path} can't be appended to, since it holds no frames with their steps: name another file"


def _positions(force: NNPForce, state: openmm.State) -> Floats:
    """What the model sees [n + link atoms, 3], in nm."""
    positions = np.array(state.getPositions(asNumpy=True)._value)
    box = state.getPeriodicBoxVectors(asNumpy=True)._value if force.usesPeriodicBoundaryConditions() else None
    caps = []
    for ml, mm, distance, _ in _link_atoms(force):
        bond = nearest_image(positions[mm] - positions[ml], box)
        caps.append(positions[ml] + distance._value * bond / np.linalg.norm(bond))
    chosen = positions[force.getParticles()] if force.usesSubset() else positions
    return np.concatenate([chosen, np.reshape(caps, (-1, 3))])


def _symbols(force: NNPForce, topology: app.Topology) -> list[str]:
    """Of the same atoms, from the force's atomic numbers or the topology; X where neither knows."""
    caps = [ELEMENTS[number - 1] for _, _, _, number in _link_atoms(force)]
    numbers = force.getAtomicNumbers()
    if numbers:
        return [ELEMENTS[z - 1] for z in numbers] + caps
    known = [atom.element.symbol if atom.element else "X" for atom in topology.atoms()]
    return [known[i] for i in (force.getParticles() if force.usesSubset() else range(len(known)))] + caps


def _link_atoms(force: NNPForce) -> list[tuple[int, int, Any, int]]:
    return [force.getLinkAtomParameters(i) for i in range(force.getNumLinkAtoms())]


def _box(force: NNPForce, state: openmm.State) -> str:
    if not force.usesPeriodicBoundaryConditions():
        return 'pbc="F F F"'
    rows = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom)
    return f'Lattice="{" ".join(f"{value:.6f}" for value in rows.flat)}" pbc="T T T"'


def in_ev(value: float, unit_name: str) -> str:
    """The value of a key: an energy in eV, anything else as it is."""
    return f"{value / ENERGY_UNITS['eV'] if unit_name == 'kJ/mol' else value:.10g}"
