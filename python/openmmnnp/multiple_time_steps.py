"""Multiple time steps: a cheap potential in every step, and what the expensive one adds to it in few of them."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import openmm

from .force import NNPForce

__all__ = ["addMultipleTimeSteps"]

_SIGN = "minus_one"


def addMultipleTimeSteps(
    system: openmm.System,
    expensive: openmm.Force,
    cheap: openmm.Force | Iterable[openmm.Force],
    substeps: int,
    *,
    outerGroup: int = 1,
    innerGroup: int = 0,
) -> list[tuple[int, int]]:
    """Let a cheap potential stand in for an expensive one within ``substeps`` steps of r-RESPA.

    The inner group holds ``cheap`` and the System's other forces, the outer one ``expensive`` minus ``cheap``, so that
    all together are ``expensive`` and the other forces, whatever ``cheap`` is: how good it is decides how long the
    outer step may be (Tuckerman, Berne, Martyna, J. Chem. Phys. 97, 1990 (1992)).

    Parameters
    ----------
    system : is changed
    expensive : force that is added in the outer group
    cheap : force or forces in its stead, that the System holds already or that are added
    substeps : inner steps in an outer one
    outerGroup, innerGroup : force groups

    Returns
    -------
    The groups as ``openmm.MTSIntegrator`` and ``openmm.MTSLangevinIntegrator`` take them, ``[(1, 1), (0, substeps)]``;
    their time step is the outer one

    Raises ValueError, before anything is changed, for fewer than one substep, two equal groups, no cheap force, a force
    that the System holds and that is to be added, or a force in another group, which the integrator would leave out.
    """
    held = {int(force.this) for force in system.getForces()}
    cheaper = [cheap] if isinstance(cheap, openmm.Force) else list(cheap)
    _check(expensive, cheaper, held, substeps, outerGroup, innerGroup)
    _check_groups(system, {outerGroup, innerGroup})
    subtracted = _minus(cheaper)
    for force in (*cheaper, expensive, subtracted):
        force.setForceGroup(innerGroup if force in cheaper else outerGroup)
        if int(force.this) not in held:
            system.addForce(force)
    return [(outerGroup, 1), (innerGroup, substeps)]


def _minus(forces: list[openmm.Force]) -> openmm.Force:
    """One force that is minus the sum of these."""
    if len(forces) == 1 and NNPForce.isinstance(forces[0]):
        force = NNPForce.cast(copy.deepcopy(forces[0]))
        if not force.getScaleParameter():
            force.setScaleParameter(_SIGN, -1)
            return force
    names = [f"cheap{i}" for i in range(len(forces))]
    total = openmm.CustomCVForce(f"-({'+'.join(names)})")
    for name, force in zip(names, forces, strict=True):
        total.addCollectiveVariable(name, _alone(force))
    return total


def _alone(force: openmm.Force) -> openmm.Force:
    """A copy that defines its own parameters, since the other forces are not seen where it goes."""
    copied = copy.deepcopy(force)
    if NNPForce.isinstance(copied):
        copied = NNPForce.cast(copied)
        if copied.getScaleParameter() and copied.getScaleParameterDefaultValue() is None:
            copied.setScaleParameter(copied.getScaleParameter(), 1.0)
    return copied


def _check(
    expensive: openmm.Force, cheap: list[openmm.Force], held: set[int], substeps: int, outer: int, inner: int
) -> None:
    if substeps < 1:
        raise ValueError(f"{substeps} substeps were asked for, but an outer step has 1 or more")
    if outer == inner:
        raise ValueError(f"the outer and the inner group are both {outer}, but two different ones are needed")
    if not cheap:
        raise ValueError("no cheap force was given, but one at least is needed")
    if int(expensive.this) in held:
        raise ValueError(
            f"the System holds the expensive force '{expensive.getName()}' already, but addMultipleTimeSteps adds it: "
            "give a System without it"
        )


def _check_groups(system: openmm.System, groups: set[int]) -> None:
    for force in system.getForces():
        used = {force.getForceGroup()}
        if isinstance(force, openmm.NonbondedForce) and force.getReciprocalSpaceForceGroup() >= 0:
            used.add(force.getReciprocalSpaceForceGroup())
        if not used <= groups:
            raise ValueError(
                f"the force '{force.getName()}' of the System is in the group {max(used - groups)}, which the "
                f"integrator would leave out: put it into one of {sorted(groups)} with setForceGroup()"
            )
