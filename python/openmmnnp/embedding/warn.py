"""Warnings about regions that are right, and seldom meant."""

from __future__ import annotations

import warnings

import openmm

from .region import Region
from .table import listed

_LARGE = 1000  # atoms


def warn(region: Region, system: openmm.System, mixed: openmm.System) -> None:
    """Warn of what makes a simulation of the mixed System slow or unstable."""
    if len(region.atoms) > _LARGE:
        _warn(
            f"the region has {len(region.atoms)} atoms: its pairs, {len(region.atoms) * (len(region.atoms) - 1) // 2} "
            "of them, become exceptions one by one, which takes time and memory"
        )
    if bare := _bare_hydrogens(region, system, mixed):
        _warn(
            f"hydrogens without a Lennard-Jones radius and without a constraint: {listed(region.names(bare))}. Nothing "
            "but the model keeps MM charges from falling onto them: give them a small radius"
        )
    if loose := sorted(p for p in region.freed - region.held if p[1] in region.bonded[p[0]]):
        if region.interpolate:
            pairs = listed("-".join(region.names(pair)) for pair in loose)
            _warn(
                f"at lambda_interpolate = 0 nothing holds bonds whose constraints were removed: {pairs}. Build the "
                "System with constraints=None or flexibleConstraints=True"
            )


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=4)


def _bare_hydrogens(region: Region, system: openmm.System, mixed: openmm.System) -> list[int]:
    """None where the Lennard-Jones terms are in another force, as they are with NBFIX."""
    forces = [f for f in system.getForces() if isinstance(f, openmm.NonbondedForce)]
    radius = dict.fromkeys(region.atoms, 0.0)
    for force in forces:
        for i in region.atoms:
            _, sigma, epsilon = force.getParticleParameters(i)
            radius[i] += sigma._value if epsilon._value else 0.0
    if not any(radius.values()):
        return []
    fixed = {i for k in range(mixed.getNumConstraints()) for i in mixed.getConstraintParameters(k)[:2]}
    elements = {atom.index: atom.element for atom in region.topology.atoms() if atom.index in region.members}
    return [i for i in region.atoms if elements[i].atomic_number == 1 and not radius[i] and i not in fixed]
