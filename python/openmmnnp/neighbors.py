"""The edges that a force gives to its model, without a force: for examples, references and tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core

__all__ = ["NeighborList"]


class NeighborList:
    """Pairs of particles within a cutoff, as models take them in ``edges`` and ``shifts``.

    An edge is a center i, a neighbor j and a cell S of three integers with |r_ij| < cutoff, where
    r_ij = r_j - r_i + S @ box. Edges are sorted by (i, j, S). All lengths are in one unit, whichever.

    Raises ValueError if a value is none of those below.

    Parameters
    ----------
    cutoff : float
        pairs at this distance or farther are no edges
    skin : float
        pairs up to cutoff + skin are kept, and looked for again when a particle has moved by half of it or the box has
        changed; this changes the speed and no result
    edges : "full" or "half"
        full: i -> j and j -> i; half: i < j, or i = j and the first number in S that is not 0 above 0
    small_box : "images" or "refuse"
        what to do in a box smaller than twice the cutoff: give several edges of one pair, or raise ValueError
    """

    def __init__(
        self,
        cutoff: float,
        *,
        skin: float = 0.0,
        edges: str = "full",
        small_box: str = "images",
    ) -> None:
        for name, value, choices in (
            ("edges", edges, ("full", "half")),
            ("small_box", small_box, ("images", "refuse")),
        ):
            if value not in choices:
                raise ValueError(f"{name} is {value!r}, but must be one of {', '.join(choices)}")
        self._list = _core.NeighborList(float(cutoff), float(skin), edges == "full", small_box == "images")

    def find(self, positions: ArrayLike, box: ArrayLike | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The edges [2, e] (centers, neighbors) of positions [n, 3], and their cells S [e, 3].

        The rows of ``box`` [3, 3] are its vectors, in OpenMM's reduced form; None: no periodic boundary conditions.
        Raises ValueError for other shapes, for numbers that are not finite, and for a box that is not allowed.
        """
        x = np.ascontiguousarray(positions, dtype=np.float64)
        rows = None if box is None else np.ascontiguousarray(box, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != 3:
            raise ValueError(f"positions have the shape {list(x.shape)}, but [n, 3] is needed")
        if rows is not None and rows.shape != (3, 3):
            raise ValueError(f"box has the shape {list(rows.shape)}, but [3, 3] is needed")
        return self._list.find(x, rows)
