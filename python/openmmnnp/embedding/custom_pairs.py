"""Pairs of a CustomNonbondedForce inside the region, times (1 - lambda_interpolate), as a CustomCompoundBondForce."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator

import openmm
from openmm import unit

from .interpolate import declare_lambda, times_lambda
from .nonbonded import interacting_pairs
from .region import Pair, Region

_NAME = re.compile(r"[A-Za-z_]\w*")
_COORDINATE = re.compile(r"\b([xyz])([12])\b")  # of a particle, in the expression of a compound bond


def scaled_custom_pairs(force: openmm.CustomNonbondedForce, region: Region) -> openmm.Force | None:
    """(1 - lambda_interpolate) times the energy of the region's pairs in `force`, before they are excluded.

    A compound bond of two particles has tabulated functions, which a CustomBondForce lacks (NBFIX is one).
    """
    names = [force.getPerParticleParameterName(k) for k in range(force.getNumPerParticleParameters())]
    scaled = openmm.CustomCompoundBondForce(2, times_lambda(_expression(force, names)))
    for name in [f"{name}{k}" for k in (1, 2) for name in names]:
        scaled.addPerBondParameter(_no_coordinate(name))
    for k in range(force.getNumTabulatedFunctions()):
        scaled.addTabulatedFunction(force.getTabulatedFunctionName(k), copy.deepcopy(force.getTabulatedFunction(k)))
    for k in range(force.getNumGlobalParameters()):
        scaled.addGlobalParameter(force.getGlobalParameterName(k), force.getGlobalParameterDefaultValue(k))
    for k in range(force.getNumEnergyParameterDerivatives()):
        scaled.addEnergyParameterDerivative(force.getEnergyParameterDerivativeName(k))
    declare_lambda(scaled)
    for i, j in _in_groups(force, interacting_pairs(force, region)):
        scaled.addBond([i, j], [*force.getParticleParameters(i), *force.getParticleParameters(j)])
    scaled.setName(f"{force.getName()}: pairs")
    scaled.setForceGroup(force.getForceGroup())
    scaled.setUsesPeriodicBoundaryConditions(force.getNonbondedMethod() == openmm.CustomNonbondedForce.CutoffPeriodic)
    return scaled if scaled.getNumBonds() else None


def _expression(force: openmm.CustomNonbondedForce, names: list[str]) -> str:
    """The energy of a pair, with r, the computed values of both particles, cutoff and switch defined."""
    energy, _, given = force.getEnergyFunction().partition(";")
    definitions = [given] if given.strip() else []
    for k in range(force.getNumComputedValues()):
        name, expression = force.getComputedValueParameters(k)
        definitions += [_definition(name, expression, names, particle) for particle in (1, 2)]
    if force.getNonbondedMethod() != openmm.CustomNonbondedForce.NoCutoff:
        cutoff = force.getCutoffDistance().value_in_unit(unit.nanometer)
        energy = f"step({cutoff}-r)*({energy})"
        if force.getUseSwitchingFunction():
            start = force.getSwitchingDistance().value_in_unit(unit.nanometer)
            energy = f"{energy}*select(step(r-{start}), 1+switch_t^3*(-10+switch_t*(15-6*switch_t)), 1)"
            definitions.append(f"switch_t=(r-{start})/{cutoff - start}")
    return _no_coordinate(";".join([energy, *(text.strip().rstrip(";") for text in definitions), "r=distance(p1,p2)"]))


def _no_coordinate(text: str) -> str:
    """With other names for parameters x, y and z of two particles, which are coordinates in a compound bond."""
    return _COORDINATE.sub(r"\1_of_\2", text)


def _definition(name: str, expression: str, names: list[str], particle: int) -> str:
    """A computed value of particle 1 or 2: the parameters of a particle have its number in a pair's expression."""
    numbered = _NAME.sub(lambda match: match[0] + (str(particle) if match[0] in names else ""), expression)
    if ";" in numbered:
        raise ValueError(
            f"the computed value {name!r} of a CustomNonbondedForce has definitions after a semicolon, which "
            "interpolation can't take over: write it as one expression"
        )
    return f"{name}{particle}={numbered}"


def _in_groups(force: openmm.CustomNonbondedForce, pairs: list[Pair]) -> Iterator[Pair]:
    """Each pair as often as the force computes it: once, or once for each interaction group that holds it."""
    groups = [force.getInteractionGroupParameters(k) for k in range(force.getNumInteractionGroups())]
    sets = [(set(first), set(second)) for first, second in groups]
    for i, j in pairs:
        if not groups:
            yield i, j
        for first, second in sets:
            if (i in first and j in second) or (j in first and i in second):
                yield i, j
