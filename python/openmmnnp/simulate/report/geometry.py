"""Molecules in trajectories: whole, beside each other, superposed; torsions. Positions in nm, float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..molecules import make_whole, molecules, neighbors, tree

__all__ = ["assembled", "dihedrals", "rotatable_torsions", "superposed"]

Array = NDArray[np.float64]
Pairs = Sequence[tuple[int, int]]


def assembled(positions: Array, boxes: Array | None, bonds: Pairs) -> Array:
    """Positions [frames, n, 3] with molecules whole, each in the image nearest to where it was one frame before.

    `boxes` [frames, 3, 3] holds box vectors in rows, None if there is no box. Where a molecule is relative to the first
    one is followed from the first frame, which is left as it is but for making molecules whole.
    """
    if boxes is None:
        return positions
    whole: Array = positions.copy()
    make_whole(whole, bonds, boxes)
    inverse = np.linalg.inv(boxes)
    first: Array | None = None
    for molecule in molecules(positions.shape[1], bonds):
        atoms = [atom for atom, _ in molecule]
        center = np.einsum("fi,fij->fj", whole[:, atoms].mean(axis=1), inverse)
        first = center if first is None else first
        away = center - first
        whole[:, atoms] += np.einsum("fi,fij->fj", np.unwrap(away, period=1.0, axis=0) - away, boxes)[:, None]
    return whole


def rotatable_torsions(numbers: Sequence[int], bonds: Pairs) -> list[tuple[int, int, int, int]]:
    """One torsion of heavy atoms for each bond that is in no ring and not terminal (each end has another heavy atom).

    The outer atoms are the heavy neighbors of lowest index.
    """
    bonded = neighbors(len(numbers), bonds)
    torsions = []
    for j, k in sorted({(i, j) for i, others in enumerate(bonded) for j in others if i < j}):
        before = [i for i in bonded[j] if i != k and numbers[i] > 1]
        after = [i for i in bonded[k] if i != j and numbers[i] > 1]
        ring = any(atom == k for atom, _ in tree(j, bonded, frozenset((j, k))))
        if numbers[j] > 1 and numbers[k] > 1 and before and after and not ring:
            torsions.append((before[0], j, k, after[0]))
    return torsions


def dihedrals(positions: Array, torsions: Sequence[tuple[int, int, int, int]]) -> Array:
    """Angles [frames, torsions] in degrees, from -180 to 180 (IUPAC's sign), of positions [frames, n, 3]."""
    i, j, k, m = np.array(torsions, dtype=int).reshape(-1, 4).T
    b1, b2, b3 = (positions[:, b] - positions[:, a] for a, b in ((i, j), (j, k), (k, m)))
    n1, n2 = np.cross(b1, b2), np.cross(b2, b3)
    y = np.einsum("ftx,ftx->ft", np.linalg.norm(b2, axis=-1, keepdims=True) * b1, n2)
    return np.asarray(np.degrees(np.arctan2(y, np.einsum("ftx,ftx->ft", n1, n2))))


def superposed(positions: Array, fitted: Array) -> Array:
    """Positions [frames, n, 3] after the motion that lays `fitted` [frames, m, 3] on its first frame."""
    center = fitted.mean(axis=1, keepdims=True)
    u, _, vt = np.linalg.svd(np.einsum("fmi,mj->fij", fitted - center, fitted[0] - center[0]))
    u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]  # no reflections
    return np.asarray((positions - center) @ (u @ vt) + center[0])
