"""Bonded terms of the region times (1 - lambda_interpolate), as Custom forces that declare their derivative."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import openmm

LAMBDA = "lambda_interpolate"  # openmm-ml's name: 0 is MM, 1 is ML/MM


class _Formula(NamedTuple):
    force: Callable[[str], openmm.Force]
    expression: str
    parameters: Sequence[str]  # in the order of OpenMM's get*Parameters
    term: str
    particles: int


_FORMULAS = {
    "HarmonicBondForce": _Formula(openmm.CustomBondForce, "0.5*k*(r-r0)^2", ("r0", "k"), "Bond", 2),
    "HarmonicAngleForce": _Formula(openmm.CustomAngleForce, "0.5*k*(theta-theta0)^2", ("theta0", "k"), "Angle", 3),
    "PeriodicTorsionForce": _Formula(
        openmm.CustomTorsionForce, "k*(1+cos(n*theta-phase))", ("n", "phase", "k"), "Torsion", 4
    ),
    "RBTorsionForce": _Formula(
        openmm.CustomTorsionForce,
        "c0+x*(c1+x*(c2+x*(c3+x*(c4+x*c5)))); x=-cos(theta)",
        ("c0", "c1", "c2", "c3", "c4", "c5"),
        "Torsion",
        4,
    ),
}


def scaled_terms(force: openmm.Force) -> list[openmm.Force]:
    """Forces whose energies add up to (1 - lambda_interpolate) times that of a bonded force.

    Raises ValueError if the force has a parameter of this name itself.
    """
    kind = type(force).__name__
    if kind == "CMAPTorsionForce":
        return _maps(force)
    if kind in _FORMULAS:
        return [_from_formula(force, _FORMULAS[kind])]
    force.setEnergyFunction(times_lambda(force.getEnergyFunction()))
    declare_lambda(force)
    return [same_place(force, force)]


def times_lambda(expression: str) -> str:
    """An expression of OpenMM's Custom forces times (1 - lambda_interpolate)."""
    energy, separator, definitions = expression.partition(";")
    return f"(1-{LAMBDA})*({energy}){separator}{definitions}"


def declare_lambda(force: Any) -> None:
    """Give a Custom force the parameter lambda_interpolate, and its derivative."""
    names = [force.getGlobalParameterName(k) for k in range(force.getNumGlobalParameters())]
    if LAMBDA in names:
        raise ValueError(
            f"{force.getName()} acts in the region and depends on {LAMBDA} already: interpolate "
            "the System that a force field gave, and once"
        )
    force.addGlobalParameter(LAMBDA, 1.0)
    force.addEnergyParameterDerivative(LAMBDA)


def same_place(force: openmm.Force, original: openmm.Force) -> openmm.Force:
    """Gives `force` a name after `original`, and its group and periodicity."""
    force.setName(f"{original.getName()}: region")
    force.setForceGroup(original.getForceGroup())
    if hasattr(force, "setUsesPeriodicBoundaryConditions"):
        force.setUsesPeriodicBoundaryConditions(original.usesPeriodicBoundaryConditions())
    return force


def _from_formula(original: Any, formula: _Formula) -> openmm.Force:
    force: Any = formula.force(times_lambda(formula.expression))
    declare_lambda(force)
    for name in formula.parameters:
        getattr(force, f"addPer{formula.term}Parameter")(name)
    read, add = getattr(original, f"get{formula.term}Parameters"), getattr(force, f"add{formula.term}")
    for k in range(getattr(original, f"getNum{formula.term}s")()):
        values = read(k)
        add(*values[: formula.particles], values[formula.particles :])
    return same_place(force, original)


def _maps(original: openmm.CMAPTorsionForce) -> list[openmm.Force]:
    """CMAP as compound bonds: one force for each map, and each way in which the two torsions share particles."""
    found: dict[tuple[int, tuple[int, ...]], list[list[int]]] = {}
    for k in range(original.getNumTorsions()):
        index, *particles = original.getTorsionParameters(k)
        distinct = list(dict.fromkeys(particles))
        found.setdefault((index, tuple(distinct.index(p) + 1 for p in particles)), []).append(distinct)
    forces = []
    for (index, places), bonds in found.items():
        first, second = (",".join(f"p{p}" for p in half) for half in (places[:4], places[4:]))
        expression = times_lambda(f"map(dihedral({first}), dihedral({second}))")
        force = openmm.CustomCompoundBondForce(len(bonds[0]), expression)
        force.addTabulatedFunction("map", _periodic_map(*original.getMapParameters(index)))
        declare_lambda(force)
        for particles in bonds:
            force.addBond(particles, [])
        forces.append(same_place(force, original))
    return forces


def _periodic_map(size: int, energies: Any) -> openmm.Continuous2DFunction:
    """CMAP's spline; `energies` [size * size], the first angle varying first, from 0 in steps of 2 pi/size."""
    values = [energies[i % size + size * (j % size)]._value for j in range(size + 1) for i in range(size + 1)]
    return openmm.Continuous2DFunction(size + 1, size + 1, values, 0, 2 * math.pi, 0, 2 * math.pi, True)
