"""Mechanical embedding: a potential takes over the interactions inside a region, all others stay MM."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import openmm
from openmm import app

from ..force import NNPForce
from .bonded import BONDED_FORCES, split_terms
from .custom_pairs import scaled_custom_pairs
from .interpolate import scaled_terms
from .nonbonded import with_exclusions, with_zero_exceptions
from .pairs import scaled_pairs
from .region import COULOMB, IMAGES, Region, atomic_numbers, make_region, mm_charge, refuse_cut
from .table import RemovedTable, RemovedTerms

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
    "RPMDMonteCarloBarostat",
}


class RegionForce(Protocol):
    """What the embedding asks of the force that takes the region over: an openmm.Force with these two methods."""

    def setParticles(self, indices: Sequence[int], atomicNumbers: Sequence[int], /) -> Any: ...

    def addBond(self, particle1: int, particle2: int, /) -> Any: ...


@dataclass(frozen=True)
class EmbeddedSystem:
    """A System in which `force` describes the particles `atoms` (in the caller's order) and MM all else.

    `charge` is the region's MM net charge in e, rounded to an integer; None where the System has no NonbondedForce.
    `warnings` are about what is seldom meant.
    """

    system: openmm.System
    force: Any
    atoms: tuple[int, ...]
    removed: RemovedTable
    charge: int | None
    warnings: tuple[str, ...] = ()


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
    It is the least part of :func:`openmmnnp.createMixedSystem`, for any force and without its checks of the model.

    Raises ValueError, and leaves `force` alone, if an index is repeated or out of range, an element is missing, a bond
    or bonded term or constraint crosses the boundary of the region, virtual sites or parameter offsets touch it, its MM
    charge is more than 0.01 e from an integer, or the System holds a Force that this function does not understand.
    """
    region = make_region(topology, system, atoms)
    numbers = atomic_numbers(topology, region.atoms)
    embedded = without_region(system, region, remove_constraints)
    charge = mm_charge(system, region.atoms)
    whole = None if charge is None else whole_charge(charge)
    hand_over(embedded, region, force, numbers)
    table = RemovedTable(region.removed)
    return EmbeddedSystem(embedded, force, region.atoms, table, whole)


def without_region(system: openmm.System, region: Region, remove_constraints: bool) -> openmm.System:
    """A copy of `system` without the interactions inside the region; `region` notes what was removed, bonds and cuts.

    With `region.interpolate` the terms are in `region.taken`, times (1 - lambda). Raises ValueError for a Force that is
    not understood, and where the boundary cuts what it must not.
    """
    mixed = copy.deepcopy(system)
    _take_constraints(mixed, region, remove_constraints)
    for _ in range(mixed.getNumForces()):  # one full turn, so that the order of the Forces is kept
        mixed.addForce(_without_region(mixed.getForce(0), region))
        mixed.removeForce(0)
    refuse_cut(region)
    return mixed


def hand_over(system: openmm.System, region: Region, force: RegionForce, numbers: Sequence[int]) -> None:
    """Give `force` the region, and add it to the System behind the scaled MM terms."""
    force.setParticles(region.atoms, numbers)
    for particle1, particle2 in sorted(region.bonds):
        force.addBond(particle1, particle2)
    for scaled in region.taken:
        system.addForce(scaled)
    system.addForce(force)


def whole_charge(charge: float, linked: bool = False) -> int:
    """A charge in e, rounded. Raises ValueError if it is more than 0.01 e from an integer."""
    given = f"the MM charges of the region add up to {charge:.4f} e"
    if abs(charge - round(charge)) > 0.01 and linked:
        raise ValueError(f"{given}, which is no integer: say with charge= which one the region with its link atoms has")
    if abs(charge - round(charge)) > 0.01:
        raise ValueError(
            f"{given}, more than 0.01 e from an integer: is the region a whole molecule, and are its charges those of "
            "the whole molecule?"
        )
    return round(charge)


def _take_constraints(system: openmm.System, region: Region, remove: bool) -> None:
    inside = []
    for k in range(system.getNumConstraints()):
        particle1, particle2, _ = system.getConstraintParameters(k)
        if region.sort_bond((particle1, particle2), "constraint") == "inside":
            inside.append(k)
    for k in reversed(inside if remove else []):
        region.freed.add(tuple(system.getConstraintParameters(k)[:2]))
        system.removeConstraint(k)
    if remove:
        region.removed.append(RemovedTerms("System", "constraints", len(inside), system.getNumConstraints()))


def _without_region(force: openmm.Force, region: Region) -> openmm.Force:
    """A copy of `force` without the terms inside the region; what was removed is noted in `region`."""
    kind = type(force).__name__
    if kind in BONDED_FORCES:
        kept, taken = split_terms(force, region)
        if region.interpolate and taken is not None:
            region.taken += scaled_terms(taken)
        return kept
    if kind == "NonbondedForce":
        mixed = copy.deepcopy(force)
        if region.nearest_images:
            mixed.setExceptionsUsePeriodicBoundaryConditions(True)
        if region.interpolate:
            region.taken += scaled_pairs(mixed, region)
        return with_zero_exceptions(mixed, region)
    if kind == "CustomNonbondedForce":
        if region.interpolate and (scaled := scaled_custom_pairs(force, region)) is not None:
            region.taken.append(scaled)
        return with_exclusions(copy.deepcopy(force), region)
    if kind in _KEPT or _is_other_model(force, region):
        return copy.deepcopy(force)
    if kind == "CustomCVForce" and force.getName().endswith((IMAGES, COULOMB)):
        raise ValueError(
            f"the System holds {force.getName()!r}, made for another region with a long-range model or electrostatic "
            "embedding: a System can have one such region, so embed the other ones before it, or make the regions one"
        )
    raise ValueError(
        f"the System holds a {kind} named {force.getName()!r}, which mechanical embedding does not understand: "
        "it can't tell which terms belong to the region. Remove it, or add it after the embedding if it is a bias"
    )


def _is_other_model(force: openmm.Force, region: Region) -> bool:
    """Is it an NNPForce that describes another region?"""
    if not NNPForce.isinstance(force):
        return False
    other = NNPForce.cast(force)
    return other.usesSubset() and region.overlap(other.getParticles()) == "outside"
