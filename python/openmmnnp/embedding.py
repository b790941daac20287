"""Mechanical embedding: a potential takes over the interactions inside a region, all others stay MM.

    E = E_MM(System) - E_MM(region) + E_potential(region)

E_MM(region) is the MM energy of the region alone, unwrapped, in vacuum and without a cutoff. Its interactions with its
own periodic images, the Ewald self terms and the dispersion correction stay MM, and so do implicit-solvent forces.
"""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import openmm
from openmm import app, unit

# Forces made of terms over a fixed list of particles. A term wholly inside the region is removed.
BONDED_FORCES = {
    "HarmonicBondForce": "bonds",
    "HarmonicAngleForce": "angles",
    "PeriodicTorsionForce": "torsions",
    "RBTorsionForce": "torsions",
    "CMAPTorsionForce": "torsion maps",
    "CustomBondForce": "bonds",
    "CustomAngleForce": "angles",
    "CustomTorsionForce": "torsions",
    "CustomCompoundBondForce": "compound bonds",
}
# Forces that stay as they are: thermostats, barostats, implicit solvents, restraints to space or between groups.
_KEPT = {
    "AndersenThermostat",
    "CMMotionRemover",
    "CustomCentroidBondForce",
    "CustomExternalForce",
    "CustomGBForce",
    "CustomVolumeForce",
    "GBSAOBCForce",
    "LCPOForce",
    "MonteCarloAnisotropicBarostat",
    "MonteCarloBarostat",
    "MonteCarloFlexibleBarostat",
    "MonteCarloMembraneBarostat",
    "OrientationRestraintForce",
    "RGForce",
    "RMSDForce",
}
_TERM = re.compile(r"<(?:Bond|Angle|Torsion) [^>]*/>\s*")  # one term in OpenMM's XML of a bonded force
_PARTICLE = re.compile(r' [pab]\d+="(\d+)"')  # p1, p2, ...; a1..a4 and b1..b4 of CMAP
_MAX_LISTED = 20


class RegionForce(Protocol):
    """What the embedding asks of the force that takes the region over: an openmm.Force with these two methods."""

    def setParticles(self, indices: Sequence[int], atomicNumbers: Sequence[int], /) -> Any: ...

    def addBond(self, particle1: int, particle2: int, /) -> Any: ...


class RemovedTerms(NamedTuple):
    """How many terms of one kind left one Force, and how many of that kind stay in it (None: not counted)."""

    force: str
    kind: str
    removed: int
    kept: int | None = None


class RemovedTable(tuple[RemovedTerms, ...]):
    """All terms that an embedding removed, in the order of the System's Forces; str() gives a table to print."""

    def __str__(self) -> str:
        lines = [f"{'force':<28}{'terms':<20}{'removed':>9}{'kept':>9}"]
        lines += [f"{r.force:<28}{r.kind:<20}{r.removed:>9}{'' if r.kept is None else r.kept:>9}" for r in self]
        return "\n".join(lines)


@dataclass(frozen=True)
class EmbeddedSystem:
    """A System in which `force` describes the particles `atoms` (in the caller's order) and MM all else.

    `charge` is the region's MM net charge in e, rounded to an integer; None where the System has no NonbondedForce.
    """

    system: openmm.System
    force: Any
    atoms: tuple[int, ...]
    removed: RemovedTable
    charge: int | None


@dataclass
class _Region:
    """The particles of the region, and what the walk over the System finds about them."""

    topology: app.Topology
    atoms: tuple[int, ...]
    members: frozenset[int]
    removed: list[RemovedTerms] = field(default_factory=list)
    bonds: set[tuple[int, int]] = field(default_factory=set)  # inside; connectivity for the force
    cut: dict[tuple[int, ...], str] = field(default_factory=dict)  # terms across the boundary: where each was found

    def overlap(self, particles: Collection[int]) -> str:
        if self.members.isdisjoint(particles):
            return "outside"
        return "inside" if self.members.issuperset(particles) else "across"

    def pairs(self) -> Iterable[tuple[int, int]]:
        return itertools.combinations(sorted(self.atoms), 2)


def mechanical_embedding(
    topology: app.Topology,
    system: openmm.System,
    atoms: Iterable[int],
    force: RegionForce,
    *,
    remove_constraints: bool = True,
) -> EmbeddedSystem:
    """Return a copy of `system` in which `force` describes the interactions inside one or more whole molecules.

    `atoms` holds particle indices from 0, in the order in which the model wants them; it is read once. Bonds, angles,
    torsions, CMAP and custom bonded terms wholly inside the region are removed, constraints too unless
    `remove_constraints` is False; its pairs become zero exceptions of the NonbondedForce and exclusions of every
    CustomNonbondedForce. `force` gets the particles, their atomic numbers (from the topology) and the bonds, which
    keep the molecule a molecule for barostats and wrapped trajectories, and is added to the copy as its last Force.
    Custom bonded terms between the region and other particles are restraints and stay. The input is not modified.

    Raises ValueError, and leaves `force` alone, if an index is repeated or out of range, an element is missing, a bond
    or bonded term or constraint crosses the boundary of the region, virtual sites or parameter offsets touch it, its MM
    charge is more than 0.01 e from an integer, or the System holds a Force that this function does not understand.
    """
    region = _make_region(topology, system, atoms)
    numbers = _atomic_numbers(region)
    _find_topology_bonds(region)
    _refuse_virtual_sites(system, region)
    embedded = copy.deepcopy(system)
    _take_constraints(embedded, region, remove_constraints)
    for _ in range(embedded.getNumForces()):  # one full turn, so that the order of the Forces is kept
        embedded.addForce(_without_region(embedded.getForce(0), region))
        embedded.removeForce(0)
    _refuse_cut(region)
    charge = _net_charge(system, region)
    force.setParticles(region.atoms, numbers)
    for particle1, particle2 in sorted(region.bonds):
        force.addBond(particle1, particle2)
    embedded.addForce(force)
    return EmbeddedSystem(embedded, force, region.atoms, RemovedTable(region.removed), charge)


def _make_region(topology: app.Topology, system: openmm.System, atoms: Iterable[int]) -> _Region:
    indices = tuple(int(i) for i in atoms)
    members, n = frozenset(indices), system.getNumParticles()
    if topology.getNumAtoms() != n:
        raise ValueError(f"the topology has {topology.getNumAtoms()} atoms, the System {n} particles: they must match")
    if not indices:
        raise ValueError("the region is empty: give the particle indices of at least one molecule in atoms")
    if outside := sorted(i for i in members if not 0 <= i < n):
        raise ValueError(f"atoms holds indices out of range: {_listed(outside)}; the System has particles 0 to {n - 1}")
    if len(members) < len(indices):
        repeated = sorted(i for i in members if indices.count(i) > 1)
        raise ValueError(f"atoms holds repeated indices: {_listed(repeated)}; give each particle once")
    return _Region(topology, indices, members)


def _atomic_numbers(region: _Region) -> tuple[int, ...]:
    elements = {a.index: a.element for a in region.topology.atoms() if a.index in region.members}
    if missing := [i for i in region.atoms if elements[i] is None]:
        names = _listed(_atom_names(region, missing))
        raise ValueError(f"the topology gives no element for {names}: set atom.element, or leave extra particles out")
    return tuple(elements[i].atomic_number for i in region.atoms)


def _find_topology_bonds(region: _Region) -> None:
    for bond in region.topology.bonds():
        _sort_bond(region, (bond.atom1.index, bond.atom2.index), "topology")


def _sort_bond(region: _Region, pair: tuple[int, int], source: str) -> str:
    where = region.overlap(pair)
    particle1, particle2 = sorted(pair)
    if where == "inside":
        region.bonds.add((particle1, particle2))
    elif where == "across":
        region.cut.setdefault((particle1, particle2), source)
    return where


def _refuse_virtual_sites(system: openmm.System, region: _Region) -> None:
    for i in filter(system.isVirtualSite, range(system.getNumParticles())):
        site = system.getVirtualSite(i)
        parents = [site.getParticle(k) for k in range(site.getNumParticles())]
        if region.overlap([i, *parents]) != "outside":
            raise ValueError(
                f"particle {i} is a virtual site in the region or made from its particles ({_listed(parents)}): "
                "a potential describes real atoms only; give the molecule a force field without virtual sites"
            )


def _net_charge(system: openmm.System, region: _Region) -> int | None:
    forces = [f for f in system.getForces() if isinstance(f, openmm.NonbondedForce)]
    if not forces:
        return None
    charges = (f.getParticleParameters(i)[0] for f in forces for i in region.atoms)
    charge: float = sum(q.value_in_unit(unit.elementary_charge) for q in charges)
    if abs(charge - round(charge)) > 0.01:
        raise ValueError(
            f"the MM charges of the region add up to {charge:.4f} e, more than 0.01 e from an integer: "
            "is the region a whole molecule, and are its charges those of the whole molecule?"
        )
    return round(charge)


def _take_constraints(system: openmm.System, region: _Region, remove: bool) -> None:
    inside = []
    for k in range(system.getNumConstraints()):
        particle1, particle2, _ = system.getConstraintParameters(k)
        if _sort_bond(region, (particle1, particle2), "constraint") == "inside":
            inside.append(k)
    for k in reversed(inside if remove else []):
        system.removeConstraint(k)
    if remove:
        region.removed.append(RemovedTerms("System", "constraints", len(inside), system.getNumConstraints()))


def _without_region(force: openmm.Force, region: _Region) -> openmm.Force:
    """A copy of `force` without the terms inside the region; what was removed is noted in `region`."""
    kind = type(force).__name__
    if kind in BONDED_FORCES:
        return _without_bonded_terms(force, region)
    if kind in _KEPT:
        return copy.deepcopy(force)
    if kind == "NonbondedForce":
        return _with_zero_exceptions(copy.deepcopy(force), region)
    if kind == "CustomNonbondedForce":
        return _with_exclusions(copy.deepcopy(force), region)
    raise ValueError(
        f"the System holds a {kind} named {force.getName()!r}, which mechanical embedding does not understand: "
        "it can't tell which terms belong to the region. Remove it, or add it after the embedding if it is a bias"
    )


def _without_bonded_terms(force: openmm.Force, region: _Region) -> openmm.Force:
    """OpenMM's bonded forces can't drop terms; their XML can, and keeps name, group, functions and parameters."""
    kind, name = type(force).__name__, force.getName()
    counts = {"inside": 0, "across": 0, "outside": 0}

    def keep(term: re.Match[str]) -> str:
        particles = tuple(dict.fromkeys(map(int, _PARTICLE.findall(term[0]))))
        if kind == "HarmonicBondForce":
            where = _sort_bond(region, (particles[0], particles[1]), name)
        else:
            where = region.overlap(particles)
        if where == "across" and not kind.startswith("Custom"):
            region.cut.setdefault(particles, name)
        counts[where] += 1
        return "" if where == "inside" else term[0]

    xml = _TERM.sub(keep, openmm.XmlSerializer.serialize(force))
    if counts["inside"]:
        kept = counts["across"] + counts["outside"]
        region.removed.append(RemovedTerms(name, BONDED_FORCES[kind], counts["inside"], kept))
    return openmm.XmlSerializer.deserialize(xml) if counts["inside"] else copy.deepcopy(force)


def _with_zero_exceptions(force: openmm.NonbondedForce, region: _Region) -> openmm.NonbondedForce:
    for k in range(force.getNumParticleParameterOffsets()):
        parameter, particle, *_ = force.getParticleParameterOffset(k)
        _refuse_offset(region, [particle], parameter, force)
    for k in range(force.getNumExceptionParameterOffsets()):
        parameter, exception, *_ = force.getExceptionParameterOffset(k)
        _refuse_offset(region, force.getExceptionParameters(exception)[:2], parameter, force)
    for particle1, particle2 in region.pairs():
        force.addException(particle1, particle2, 0.0, 1.0, 0.0, True)
    region.removed.append(RemovedTerms(force.getName(), "pairs", math.comb(len(region.atoms), 2)))
    return force


def _refuse_offset(region: _Region, particles: Collection[int], parameter: str, force: openmm.Force) -> None:
    if region.overlap(particles) != "outside":
        raise ValueError(
            f"{force.getName()} has an offset, scaled by the parameter {parameter!r}, on particle {_listed(particles)} "
            "of the region: the embedding would freeze it; remove the offsets of the region's particles"
        )


def _with_exclusions(force: openmm.CustomNonbondedForce, region: _Region) -> openmm.CustomNonbondedForce:
    excluded = {tuple(sorted(force.getExclusionParticles(k))) for k in range(force.getNumExclusions())}
    pairs = [pair for pair in region.pairs() if pair not in excluded]
    for particle1, particle2 in pairs:
        force.addExclusion(particle1, particle2)
    region.removed.append(RemovedTerms(force.getName(), "pairs", len(pairs)))
    return force


def _refuse_cut(region: _Region) -> None:
    if not region.cut:
        return
    cuts = sorted(region.cut.items(), key=lambda item: (len(item[0]), item[0]))  # bonds first
    bonds = [item for item in cuts if len(item[0]) == 2] or cuts
    what = "bonds" if len(bonds[0][0]) == 2 else "bonded terms"
    lines = ["-".join(_atom_names(region, particles)) + f" ({source})" for particles, source in bonds]
    raise ValueError(
        f"the boundary of the region cuts {len(bonds)} {what}, and only whole molecules can be embedded: "
        f"{_listed(lines)}. Add the rest of the molecule to atoms"
    )


def _atom_names(region: _Region, particles: Sequence[int]) -> list[str]:
    atoms = {a.index: a for a in region.topology.atoms() if a.index in particles}
    return [f"{atoms[p].residue.name}{atoms[p].residue.id}:{atoms[p].name}[{p}]" for p in particles]


def _listed(items: Iterable[object]) -> str:
    texts = [str(item) for item in items]
    more = f" and {len(texts) - _MAX_LISTED} more" if len(texts) > _MAX_LISTED else ""
    return ", ".join(texts[:_MAX_LISTED]) + more
