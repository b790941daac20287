"""What is looked at while a simulation runs: bonds of the model's molecules, contacts, finite energies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray

from .molecules import nearest_image

# In sums of covalent radii (Cordero et al., Dalton Trans. 2008, 2832): beyond it a bond is broken, below it one is new.
BROKEN, FORMED = 1.5, 1.2
CLOSE_CONTACT = 0.1  # nm, between the region and anything else

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """What the region looked like: bonds broken and formed since the start, and its shortest contact (nm)."""

    broken: tuple[tuple[int, int], ...]
    formed: tuple[tuple[int, int], ...]
    contact: float

    @property
    def changed(self) -> int:
        """How many bonds differ from those at the start."""
        return len(self.broken) + len(self.formed)


class Watch:
    """Compares the region with the bonds that its molecules had at the start.

    Pairs that were close in `reference` [N][3] (nm, molecules whole), as across a small ring, never count as new bonds.
    """

    def __init__(
        self,
        atoms: Sequence[int],
        numbers: Sequence[int],
        bonds: Iterable[tuple[int, int]],
        reference: Floats,
    ) -> None:
        self._atoms = np.array(atoms)
        place = {particle: i for i, particle in enumerate(atoms)}
        radii = 0.1 * covalent_radii[np.array(numbers)]  # nm
        self._sums = radii[:, None] + radii[None, :]
        self._bonded = np.zeros(self._sums.shape, dtype=bool)
        for i, j in bonds:
            self._bonded[place[i], place[j]] = self._bonded[place[j], place[i]] = True
        at_start = reference[self._atoms]
        apart = np.linalg.norm(at_start[:, None] - at_start[None, :], axis=-1)
        self._close = self._bonded | (apart < BROKEN * self._sums)

    def look(self, positions: Floats, box: Floats | None) -> Seen:
        """`positions` [N][3] of all particles in nm, unwrapped or not, and the box's rows [3][3] (None: no box)."""
        region = positions[self._atoms]
        vectors = nearest_image(region[:, None] - region[None, :], box)
        distances = np.linalg.norm(vectors, axis=-1) / self._sums
        upper = np.triu(np.ones_like(self._bonded), k=1)
        broken = self._pairs(self._bonded & upper & (distances > BROKEN))
        formed = self._pairs(~self._close & upper & (distances < FORMED))
        return Seen(broken, formed, self._contact(positions, region, box))

    def _pairs(self, where: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
        return tuple((int(self._atoms[i]), int(self._atoms[j])) for i, j in np.argwhere(where))

    def _contact(self, positions: Floats, region: Floats, box: Floats | None) -> float:
        """The shortest distance from the region to another particle; infinite where there is none within 0.5 nm."""
        whole = region[0] + nearest_image(region - region[0], box)
        center = whole.mean(axis=0)
        reach = np.linalg.norm(whole - center, axis=1).max() + 0.5
        others = nearest_image(np.delete(positions, self._atoms, axis=0) - center, box)
        near = others[np.einsum("ij,ij->i", others, others) < reach**2]
        if len(near) == 0:
            return math.inf
        return float(np.linalg.norm(near[:, None] - (whole - center)[None, :], axis=-1).min())


def may_be_bond(number1: int, number2: int, distance: float) -> bool:
    """Is a constraint of this length (nm) one of a bond, not of an angle?"""
    return bool(distance < BROKEN * 0.1 * (covalent_radii[number1] + covalent_radii[number2]))
