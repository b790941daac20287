"""Nonbonded forces: the pairs of the region are taken out of them."""

from __future__ import annotations

import math
from collections.abc import Collection

import openmm

from .region import Region
from .table import RemovedTerms, listed


def with_zero_exceptions(force: openmm.NonbondedForce, region: Region) -> openmm.NonbondedForce:
    """Replaces the pairs of the region by zero exceptions, in place. Raises ValueError if offsets touch the region."""
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


def _refuse_offset(region: Region, particles: Collection[int], parameter: str, force: openmm.Force) -> None:
    if region.overlap(particles) != "outside":
        raise ValueError(
            f"{force.getName()} has an offset, scaled by the parameter {parameter!r}, on particle {listed(particles)} "
            "of the region: the embedding would freeze it; remove the offsets of the region's particles"
        )


def with_exclusions(force: openmm.CustomNonbondedForce, region: Region) -> openmm.CustomNonbondedForce:
    """Excludes the pairs of the region, in place."""
    pairs = interacting_pairs(force, region)
    for particle1, particle2 in pairs:
        force.addExclusion(particle1, particle2)
    region.removed.append(RemovedTerms(force.getName(), "pairs", len(pairs)))
    return force


def interacting_pairs(force: openmm.CustomNonbondedForce, region: Region) -> list[tuple[int, int]]:
    """The pairs of the region that the force does not exclude, whatever its interaction groups are."""
    excluded = {tuple(sorted(force.getExclusionParticles(k))) for k in range(force.getNumExclusions())}
    return [pair for pair in region.pairs() if pair not in excluded]
