"""Link atoms: hydrogens that the model sees on the bonds which the boundary of the region cuts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from openmm import unit

from .region import Pair, Region, atomic_numbers
from .table import listed

# Single-bond covalent radii in pm of the elements 1 to 118: P. Pyykkö, M. Atsumi, Chem. Eur. J. 2009, 15, 186, those of
# metals reduced by 10 % as in S. Grimme et al., J. Chem. Phys. 2010, 132, 154104. openmm-ml 1.8 has the same.
_RADII = (
    *(32, 46, 120, 94, 77, 75, 71, 63, 64, 67, 140, 125, 112, 104, 110, 102, 99, 96, 176, 154, 133, 122, 121, 110, 107),
    *(104, 100, 99, 101, 109, 112, 109, 114, 110, 113, 117, 189, 167, 147, 139, 132, 124, 114, 112, 112, 108, 114, 123),
    *(
        128,
        126,
        126,
        123,
        132,
        131,
        209,
        176,
        162,
        147,
        158,
        157,
        156,
        155,
        151,
        152,
        151,
        150,
        149,
        149,
        148,
        153,
        146,
    ),
    *(
        137,
        131,
        123,
        118,
        115,
        111,
        112,
        112,
        132,
        130,
        130,
        136,
        131,
        138,
        142,
        200,
        181,
        167,
        158,
        152,
        153,
        154,
        155,
    ),
    *(
        149,
        149,
        151,
        151,
        148,
        150,
        156,
        158,
        145,
        141,
        134,
        129,
        127,
        121,
        115,
        114,
        109,
        122,
        136,
        143,
        146,
        158,
        148,
    ),
    157,
)
LinkAtoms = str | Mapping[Pair, Any]


class LinkAtom(NamedTuple):
    """A hydrogen on the line from particle `ml` of the region to `mm` outside, `distance` nm from the first."""

    ml: int
    mm: int
    distance: float


def wants_links(link_atoms: LinkAtoms) -> bool:
    """Raises ValueError if it is neither "error", "hydrogen", nor distances by bond."""
    if isinstance(link_atoms, str) and link_atoms not in ("error", "hydrogen"):
        raise ValueError(
            f"linkAtoms={link_atoms!r}, needed is 'error' (bonds must not be cut), 'hydrogen', or distances "
            "of link atoms as {(particle inside, particle outside): length}"
        )
    return link_atoms != "error"


def find_link_atoms(region: Region, link_atoms: LinkAtoms) -> list[LinkAtom]:
    """A link atom for each bond of the topology that is cut, in the topology's order.

    The distance from the region's atom is the sum of the covalent radii, unless `link_atoms` gives one. Raises
    ValueError if an MM atom would get two, or if a distance is given for another bond.
    """
    bonds = region.cut_bonds() if region.links else []
    given = {} if isinstance(link_atoms, str) else {frozenset(pair): value for pair, value in link_atoms.items()}
    if unknown := [sorted(pair) for pair in given if tuple(pair) not in {*bonds, *((j, i) for i, j in bonds)}]:
        raise ValueError(f"linkAtoms has distances for bonds that the region does not cut: {listed(unknown)}")
    hosts = [mm for _, mm in bonds]
    if crowded := sorted({mm for mm in hosts if hosts.count(mm) > 1}):
        names = listed(region.names(crowded))
        raise ValueError(
            f"MM atoms with more than one link atom, which would lie on each other: {names}; cut elsewhere"
        )
    numbers = atomic_numbers(region.topology, [ml for ml, _ in bonds])
    return [
        LinkAtom(ml, mm, _length(given.get(frozenset((ml, mm)), (_RADII[z - 1] + _RADII[0]) / 1000)))
        for (ml, mm), z in zip(bonds, numbers, strict=True)
    ]


def _length(value: Any) -> float:
    return float(value.value_in_unit(unit.nanometer) if unit.is_quantity(value) else value)
