"""Molecules by their bonds, and whole over the borders of a periodic box. Positions and boxes in nm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Pairs = Iterable[tuple[int, int]]


def neighbors(n: int, bonds: Pairs) -> list[list[int]]:
    """The atoms bonded to each of `n` atoms, in ascending order."""
    bonded: list[set[int]] = [set() for _ in range(n)]
    for i, j in bonds:
        bonded[i].add(j)
        bonded[j].add(i)
    return [sorted(atoms) for atoms in bonded]


def tree(start: int, bonded: Sequence[Sequence[int]], cut: frozenset[int] = frozenset()) -> list[tuple[int, int]]:
    """(atom, its parent) for all atoms reached from `start`, parents first; the bond between the two in `cut` is gone.

    `start` is its own parent.
    """
    found, seen = [(start, start)], {start}
    for atom, _ in found:  # grows while it is read
        for other in bonded[atom]:
            if other not in seen and {atom, other} != cut:
                seen.add(other)
                found.append((other, atom))
    return found


def molecules(n: int, bonds: Pairs) -> Iterator[list[tuple[int, int]]]:
    """The molecules of `n` atoms, each as the `tree` of its first one."""
    bonded = neighbors(n, bonds)
    seen: set[int] = set()
    for start in range(n):
        if start not in seen:
            molecule = tree(start, bonded)
            seen.update(atom for atom, _ in molecule)
            yield molecule


def make_whole(positions: Array, bonds: Pairs, box: Array | None) -> None:
    """Move particles by box vectors, in place, so that bonded ones are neighbors.

    `positions` [..., n, 3] and `box` [..., 3, 3], its vectors in rows; None if there is no box.
    """
    for molecule in molecules(positions.shape[-2], bonds):
        for atom, parent in molecule[1:]:
            apart = positions[..., atom, :] - positions[..., parent, :]
            positions[..., atom, :] = positions[..., parent, :] + nearest_image(apart, box)


def nearest_image(vectors: Array, box: Array | None) -> Array:
    """Vectors [..., 3] reduced to the nearest image in a box [..., 3, 3] in OpenMM's reduced form."""
    if box is None:
        return vectors
    reduced: Array = vectors.copy()
    for k in (2, 1, 0):
        reduced -= np.round(reduced[..., k, None] / box[..., k, k, None]) * box[..., k, :]
    return reduced
