"""Bonded forces: splits one into the terms of the region and the others."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import NamedTuple

import openmm

from .region import Region
from .table import RemovedTerms


class _Kind(NamedTuple):
    terms: str
    sort: Callable[[Region, list[int]], str]


# Forces made of terms over a fixed list of particles.
BONDED_FORCES = {
    "HarmonicBondForce": _Kind("bonds", Region.sort_any),
    "HarmonicAngleForce": _Kind("angles", Region.sort_angle),
    "PeriodicTorsionForce": _Kind("torsions", Region.sort_torsion),
    "RBTorsionForce": _Kind("torsions", Region.sort_torsion),
    "CMAPTorsionForce": _Kind("torsion maps", Region.sort_map),
    "CustomBondForce": _Kind("bonds", Region.sort_any),
    "CustomAngleForce": _Kind("angles", Region.sort_angle),
    "CustomTorsionForce": _Kind("torsions", Region.sort_torsion),
    "CustomCompoundBondForce": _Kind("compound bonds", Region.sort_any),
}
_TERM = re.compile(r"<(?:Bond|Angle|Torsion) [^>]*/>\s*")  # one term in OpenMM's XML of a bonded force
_PARTICLE = re.compile(r' [pab]\d+="(\d+)"')  # p1, p2, ...; a1..a4 and b1..b4 of CMAP


def split_terms(force: openmm.Force, region: Region) -> tuple[openmm.Force, openmm.Force | None]:
    """A copy of `force` without the region's terms, and one with these alone (None if there are none).

    What was removed, bonds and cuts are noted in `region`. OpenMM's bonded forces can't drop terms; their XML can, and
    keeps name, group, functions and parameters.
    """
    kind = type(force).__name__
    xml = openmm.XmlSerializer.serialize(force)
    inside = []
    count = 0
    for term in _TERM.finditer(xml):
        inside.append(_sort(force, kind, [int(p) for p in _PARTICLE.findall(term[0])], region) == "inside")
        count += 1
    removed = sum(inside)
    if not removed:
        return copy.deepcopy(force), None
    region.removed.append(RemovedTerms(force.getName(), BONDED_FORCES[kind].terms, removed, count - removed))
    return _with_terms(xml, [not owned for owned in inside]), _with_terms(xml, inside)


def _sort(force: openmm.Force, kind: str, particles: list[int], region: Region) -> str:
    where = BONDED_FORCES[kind].sort(region, particles)
    if kind == "HarmonicBondForce" or (kind == "CustomBondForce" and where == "inside"):
        region.sort_bond(particles, force.getName())
        region.held.add(tuple(sorted(particles)))
    elif where == "across" and not kind.startswith("Custom") and not region.links:
        region.cut.setdefault(tuple(dict.fromkeys(particles)), force.getName())
    return where


def _with_terms(xml: str, chosen: list[bool]) -> openmm.Force:
    keep = iter(chosen)
    return openmm.XmlSerializer.deserialize(_TERM.sub(lambda term: term[0] if next(keep) else "", xml))
