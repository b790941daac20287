"""Electrostatic embedding: the model sees the MM charges, and the MM side no longer sees the region's."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import openmm
from openmm import unit

from .interpolate import LAMBDA
from .links import LinkAtom
from .region import COULOMB, Region
from .table import listed


def charges_for_model(
    system: openmm.System, region: Region, links: Sequence[LinkAtom], charge: int
) -> dict[int, float]:
    """The charges in e that the model sees, by particle; zeros are left out.

    Near a cut bond ML-MM they are shifted: the charge of the MM atom goes in equal parts to the MM atoms bonded to it,
    so that none sits on the link atom. With it goes an equal share of the difference between the region's MM charges
    and `charge`, so that the total charge of all particles stays. (P. Sherwood et al., Faraday Discuss. 1997,
    106, 79, without the dipole corrections, whose charges are no particles.) Raises
    ValueError if no neighbor can take the charge.
    """
    found = [0.0] * system.getNumParticles()
    for force in (f for f in system.getForces() if isinstance(f, openmm.NonbondedForce)):
        _refuse_offsets(force)
        for i in range(force.getNumParticles()):
            found[i] += force.getParticleParameters(i)[0].value_in_unit(unit.elementary_charge)
    rest = (sum(found[i] for i in region.atoms) - charge) / len(links) if links else 0.0
    hosts = {link.mm for link in links}
    shifted = {i: q for i, q in enumerate(found) if i not in region.members and i not in hosts}
    for host in sorted(hosts):
        neighbors = sorted(region.bonded[host] - region.members - hosts)
        if not neighbors:
            name = listed(region.names([host]))
            raise ValueError(f"the charge of {name}, which has a link atom, has no MM neighbor to go to: cut elsewhere")
        for neighbor in neighbors:
            shifted[neighbor] += (found[host] + rest) / len(neighbors)
    return {i: q for i, q in shifted.items() if q != 0}


def _refuse_offsets(force: openmm.NonbondedForce) -> None:
    if force.getNumParticleParameterOffsets() or force.getNumExceptionParameterOffsets():
        raise ValueError(
            f"{force.getName()} has parameter offsets, and the model would not see charges change: electrostatic "
            "embedding needs a System without them"
        )


def without_coulomb(system: openmm.System, region: Region) -> None:
    """Set the charges of the region to zero on the MM side, in place, in exceptions too; Lennard-Jones stays.

    With `region.interpolate`, what this takes from the energy is in `region.taken`, times (1 - lambda): the difference
    of the two Coulomb energies, each in an inner Context, since an Ewald sum is no sum over pairs.
    """
    for force in (f for f in system.getForces() if isinstance(f, openmm.NonbondedForce)):
        before = copy.deepcopy(force) if region.interpolate else None
        for i in region.atoms:
            _, sigma, epsilon = force.getParticleParameters(i)
            force.setParticleParameters(i, 0.0, sigma, epsilon)
        for k in range(force.getNumExceptions()):
            i, j, _, sigma, epsilon = force.getExceptionParameters(k)
            if region.overlap((i, j)) != "outside":
                force.setExceptionParameters(k, i, j, 0.0, sigma, epsilon)
        if before is not None:
            region.taken.append(_scaled_difference(before, copy.deepcopy(force)))


def _scaled_difference(full: openmm.NonbondedForce, bare: openmm.NonbondedForce) -> openmm.Force:
    force = openmm.CustomCVForce(f"(1-{LAMBDA})*(full-bare)")
    force.addCollectiveVariable("full", _coulomb(full))
    force.addCollectiveVariable("bare", _coulomb(bare))
    force.addGlobalParameter(LAMBDA, 1.0)
    force.addEnergyParameterDerivative(LAMBDA)
    force.setName(full.getName() + COULOMB)
    force.setForceGroup(full.getForceGroup())
    return force


def _coulomb(force: openmm.NonbondedForce) -> openmm.NonbondedForce:
    """The force without Lennard-Jones."""
    for i in range(force.getNumParticles()):
        force.setParticleParameters(i, force.getParticleParameters(i)[0], 1.0, 0.0)
    for k in range(force.getNumExceptions()):
        i, j, charges, *_ = force.getExceptionParameters(k)
        force.setExceptionParameters(k, i, j, charges, 1.0, 0.0)
    if force.getNonbondedMethod() == openmm.NonbondedForce.LJPME:
        force.setNonbondedMethod(openmm.NonbondedForce.PME)
    force.setUseDispersionCorrection(False)
    force.setForceGroup(0)
    return force
