"""The particles that a model describes, and which MM terms are theirs."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import openmm
from openmm import app, unit

from .table import RemovedTerms, listed

Pair = tuple[int, int]
IMAGES, COULOMB = ": images of the region", ": Coulomb terms of the region"
"""Ends of the names of forces that act through inner Contexts, which are made for one region."""


@dataclass
class Region:
    """The particles of the region, and what the walk over a System finds about them.

    With `links` the boundary may cut bonds. Which terms near a cut are the region's is then openmm-ml's rule: bonds of
    two of its atoms, angles around one of them, torsions whose middle bond (or whose center, if improper) is its own.
    """

    topology: app.Topology
    atoms: tuple[int, ...]
    links: bool = False
    interpolate: bool = False
    nearest_images: bool = False  # several molecules in a periodic System: not a molecule as it is
    members: frozenset[int] = field(init=False)
    bonded: list[set[int]] = field(init=False)  # of each particle, in the topology
    removed: list[RemovedTerms] = field(default_factory=list)
    taken: list[openmm.Force] = field(default_factory=list)  # the removed terms times (1 - lambda), if interpolate
    bonds: set[Pair] = field(default_factory=set)  # inside; connectivity for the force
    held: set[tuple[int, ...]] = field(default_factory=set)  # pairs with a bond term, sorted
    freed: set[tuple[int, ...]] = field(default_factory=set)  # pairs that lost a constraint
    cut: dict[tuple[int, ...], str] = field(default_factory=dict)  # terms across the boundary: where each was found

    def __post_init__(self) -> None:
        self.members = frozenset(self.atoms)
        self.bonded = [set() for _ in range(self.topology.getNumAtoms())]
        for bond in self.topology.bonds():
            i, j = bond.atom1.index, bond.atom2.index
            self.bonded[i].add(j)
            self.bonded[j].add(i)
            self.sort_bond((i, j), "topology")

    def overlap(self, particles: Collection[int]) -> str:
        """Are these particles inside the region, outside, or across its boundary?"""
        if self.members.isdisjoint(particles):
            return "outside"
        return "inside" if self.members.issuperset(particles) else "across"

    def sort_bond(self, pair: Sequence[int], source: str) -> str:
        """Notes two bonded particles as inside the region or as cut; `source` says where the bond was found."""
        where = self.overlap(pair)
        i, j = sorted(pair)
        if where == "inside":
            self.bonds.add((i, j))
        elif where == "across" and not (self.links and self._is_near_link(i, j)):
            self.cut.setdefault((i, j), source)
        return where

    def _is_near_link(self, i: int, j: int) -> bool:
        """Does the topology have this bond, or are both bonded to one atom, as in Urey-Bradley terms?"""
        return j in self.bonded[i] or not self.bonded[i].isdisjoint(self.bonded[j])

    def sort_angle(self, particles: Sequence[int]) -> str:
        i, j, k = particles
        return self._sort(particles, self.links and j in self.members and self._are_near(i, k))

    def sort_torsion(self, particles: Sequence[int]) -> str:
        return self._sort(particles, self.links and self._owns_torsion(particles))

    def sort_map(self, particles: Sequence[int]) -> str:
        """Two torsions, as in CMAP."""
        ends, middles = [particles[k] for k in (0, 3, 4, 7)], [particles[k] for k in (1, 2, 5, 6)]
        return self._sort(particles, self.links and self.members.issuperset(middles) and self._are_near(*ends))

    def sort_any(self, particles: Sequence[int]) -> str:
        return self._sort(particles, False)

    def _sort(self, particles: Sequence[int], owned: bool) -> str:
        return "inside" if owned else self.overlap(particles)

    def _are_near(self, *particles: int) -> bool:
        return all(p in self.members or not self.members.isdisjoint(self.bonded[p]) for p in particles)

    def _owns_torsion(self, particles: Sequence[int]) -> bool:
        if all(j in self.bonded[i] for i, j in itertools.pairwise(particles)):
            return particles[1] in self.members and particles[2] in self.members
        centers = (p for p in particles if self.bonded[p].issuperset(set(particles) - {p}))
        return next(centers, None) in self.members

    def pairs(self) -> Iterator[Pair]:
        return itertools.combinations(sorted(self.atoms), 2)

    def names(self, particles: Sequence[int]) -> list[str]:
        """Residue, atom and index of each particle."""
        atoms = {a.index: a for a in self.topology.atoms() if a.index in particles}
        return [f"{atoms[p].residue.name}{atoms[p].residue.id}:{atoms[p].name}[{p}]" for p in particles]

    def cut_bonds(self) -> list[Pair]:
        """Bonds of the topology across the boundary, as (inside, outside), in the topology's order."""
        pairs = ((b.atom1.index, b.atom2.index) for b in self.topology.bonds())
        return [(i, j) if i in self.members else (j, i) for i, j in pairs if (i in self.members) != (j in self.members)]


def make_region(
    topology: app.Topology,
    system: openmm.System,
    atoms: Iterable[int],
    *,
    links: bool = False,
    interpolate: bool = False,
) -> Region:
    """The region of the particles `atoms`, which are read once. Raises ValueError if they are none of the System's."""
    indices = tuple(int(i) for i in atoms)
    members, n = frozenset(indices), system.getNumParticles()
    if topology.getNumAtoms() != n:
        raise ValueError(f"the topology has {topology.getNumAtoms()} atoms, the System {n} particles: they must match")
    if not indices:
        raise ValueError("the region is empty: give the particle indices of at least one molecule in atoms")
    if outside := sorted(i for i in members if not 0 <= i < n):
        raise ValueError(f"atoms holds indices out of range: {listed(outside)}; the System has particles 0 to {n - 1}")
    if len(members) < len(indices):
        repeated = sorted(i for i in members if indices.count(i) > 1)
        raise ValueError(f"atoms holds repeated indices: {listed(repeated)}; give each particle once")
    region = Region(topology, indices, links, interpolate)
    _refuse_virtual_sites(system, region)
    return region


def atomic_numbers(topology: app.Topology, atoms: Sequence[int]) -> list[int]:
    """The atomic numbers of these atoms. Raises ValueError for an atom without an element."""
    members = frozenset(atoms)
    elements = {a.index: a.element for a in topology.atoms() if a.index in members}
    if missing := [i for i in atoms if elements[i] is None]:
        names = listed(Region(topology, tuple(atoms)).names(missing))
        raise ValueError(f"the topology gives no element for {names}: set atom.element, or leave extra particles out")
    return [elements[i].atomic_number for i in atoms]


def mm_charge(system: openmm.System, atoms: Iterable[int]) -> float | None:
    """The sum of the charges of these particles in e; None if the System has no NonbondedForce."""
    forces = [f for f in system.getForces() if isinstance(f, openmm.NonbondedForce)]
    if not forces:
        return None
    charges = (f.getParticleParameters(i)[0] for f, i in itertools.product(forces, atoms))
    total: float = sum(q.value_in_unit(unit.elementary_charge) for q in charges)
    return total


def _refuse_virtual_sites(system: openmm.System, region: Region) -> None:
    for i in filter(system.isVirtualSite, range(system.getNumParticles())):
        site = system.getVirtualSite(i)
        parents = [site.getParticle(k) for k in range(site.getNumParticles())]
        if region.overlap([i, *parents]) != "outside":
            raise ValueError(
                f"particle {i} is a virtual site in the region or made from its particles ({listed(parents)}): "
                "a potential describes real atoms only; give the molecule a force field without virtual sites"
            )


def refuse_cut(region: Region) -> None:
    """Raise ValueError that lists the bonds, or else the terms, which the boundary cuts and no link atom repairs."""
    if not region.cut:
        return
    cuts = sorted(region.cut.items(), key=lambda item: (len(item[0]), item[0]))  # bonds first
    bonds = [item for item in cuts if len(item[0]) == 2] or cuts
    what = "bonds" if len(bonds[0][0]) == 2 else "bonded terms"
    lines = ["-".join(region.names(particles)) + f" ({source})" for particles, source in bonds]
    if region.links:
        raise ValueError(
            f"the boundary of the region cuts {len(bonds)} {what} which the topology does not have, so that they get "
            f"no link atoms: {listed(lines)}. Add the bonds to the topology, or the rest of the molecule to atoms"
        )
    raise ValueError(
        f"the boundary of the region cuts {len(bonds)} {what}, and only whole molecules can be embedded: "
        f"{listed(lines)}. Add the rest of the molecule to atoms, or let createMixedSystem put link atoms there "
        "(linkAtoms='hydrogen')"
    )
