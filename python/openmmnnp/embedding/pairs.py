"""Pairs of a NonbondedForce inside the region, times (1 - lambda_interpolate), as CustomBondForces.

They are what zero exceptions took from the force, term by term as OpenMM computes them (User Guide, 'NonbondedForce'),
so that lambda = 0 is the System before, also where pairs are beyond the cutoff or where images of the region meet:

- exceptions: plain Coulomb and Lennard-Jones, without a cutoff;
- other pairs: within the cutoff, of the nearest image; with a reaction field, or the real-space part of the Ewald sum;
- with an Ewald sum also erf(alpha r)/r, which OpenMM takes from excluded pairs as they are (not of the nearest image).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import openmm
from openmm import unit

from .interpolate import declare_lambda, times_lambda
from .region import Pair, Region

EWALD = (openmm.NonbondedForce.Ewald, openmm.NonbondedForce.PME, openmm.NonbondedForce.LJPME)
_COULOMB = 138.93545764438198  # OpenMM's 1/(4 pi eps0), kJ/mol nm/e^2
_NAMES = ("charges", "sigma", "epsilon", "dispersion")
_LENNARD_JONES = "4*epsilon*((sigma/r)^12-(sigma/r)^6)"
_SWITCH = "select(step(r-{start}), 1+t^3*(-10+t*(15-6*t)), 1)"
Values = tuple[float, float, float, float]  # of one pair, as in _NAMES


def scaled_pairs(force: openmm.NonbondedForce, region: Region) -> list[openmm.Force]:
    """(1 - lambda_interpolate) times the energy of the region's pairs in a NonbondedForce, before they are zeroed."""
    method, nearest = force.getNonbondedMethod(), force.getExceptionsUsePeriodicBoundaryConditions()
    if method == openmm.NonbondedForce.LJPME and force.getUseSwitchingFunction():
        raise ValueError(
            f"{force.getName()} has LJPME and a switching function, which OpenMM's Reference and CPU platforms ignore "
            "and others apply, so that interpolation can't agree with all: call setUseSwitchingFunction(False)"
        )
    exceptions = _exceptions(force, region)
    pairs = _pairs(force, region, exceptions)
    made = [_bonds(force, f"{_COULOMB}*charges/r+{_LENNARD_JONES}", exceptions, nearest, "exceptions")]
    if method == openmm.NonbondedForce.NoCutoff:
        made.append(_bonds(force, f"{_COULOMB}*charges/r+{_LENNARD_JONES}", pairs, False, "pairs"))
    elif method in EWALD:
        made.append(_bonds(force, _direct(force), pairs, True, "pairs within the cutoff"))
        made.append(_bonds(force, _reciprocal(force), pairs, nearest, "pairs in reciprocal space"))
    else:
        periodic = method == openmm.NonbondedForce.CutoffPeriodic
        made.append(_bonds(force, _reaction_field(force), pairs, periodic, "pairs"))
    return [bonds for bonds in made if bonds is not None]


def _exceptions(force: openmm.NonbondedForce, region: Region) -> dict[Pair, Values]:
    found: dict[Pair, Values] = {}
    for k in range(force.getNumExceptions()):
        i, j, *values = force.getExceptionParameters(k)
        if i in region.members and j in region.members:
            charges, sigma, epsilon = (value._value for value in values)
            found[(min(i, j), max(i, j))] = (charges, sigma, epsilon, 0.0)
    return found


def _pairs(force: openmm.NonbondedForce, region: Region, exceptions: dict[Pair, Values]) -> dict[Pair, Values]:
    values = {i: [value._value for value in force.getParticleParameters(i)] for i in region.atoms}
    found: dict[Pair, Values] = {}
    for i, j in region.pairs():
        if (i, j) not in exceptions:
            (charge1, sigma1, epsilon1), (charge2, sigma2, epsilon2) = values[i], values[j]
            epsilon = math.sqrt(epsilon1 * epsilon2)
            dispersion = 4 * (sigma1 * sigma2) ** 3 * epsilon  # C6 by the geometric rule, which LJPME's grid has
            found[(i, j)] = (charge1 * charge2, (sigma1 + sigma2) / 2, epsilon, dispersion)
    return found


def _reaction_field(force: openmm.NonbondedForce) -> str:
    cutoff, dielectric = _cutoff(force), force.getReactionFieldDielectric()
    k = (dielectric - 1) / (2 * dielectric + 1) / cutoff**3
    c = 3 * dielectric / (2 * dielectric + 1) / cutoff
    return _within_cutoff(force, f"{_COULOMB}*charges*(1/r+{k}*r^2-{c})", _LENNARD_JONES)


def _direct(force: openmm.NonbondedForce) -> str:
    dispersion = _LENNARD_JONES
    if force.getNonbondedMethod() == openmm.NonbondedForce.LJPME:
        cutoff = _cutoff(force)
        at_cutoff = f"4*epsilon*((sigma/{cutoff})^6-(sigma/{cutoff})^12)"
        dispersion += f"+{_grid_dispersion(force, 'r')}+{at_cutoff}-{_grid_dispersion(force, str(cutoff))}"
    return _within_cutoff(force, f"{_COULOMB}*charges*erfc({_alpha(force)}*r)/r", dispersion)


def _reciprocal(force: openmm.NonbondedForce) -> str:
    expression = f"{_COULOMB}*charges*erf({_alpha(force)}*r)/r"
    if force.getNonbondedMethod() == openmm.NonbondedForce.LJPME:
        expression += f"-{_grid_dispersion(force, 'r')}"
    return expression


def _within_cutoff(force: openmm.NonbondedForce, coulomb: str, lennard_jones: str) -> str:
    cutoff, definition = _cutoff(force), ""
    if force.getUseSwitchingFunction():
        start = force.getSwitchingDistance().value_in_unit(unit.nanometer)
        lennard_jones = f"({lennard_jones})*" + _SWITCH.format(start=start)
        definition = f"; t=(r-{start})/{cutoff - start}"
    return f"step({cutoff}-r)*({coulomb}+{lennard_jones}){definition}"


def _grid_dispersion(force: openmm.NonbondedForce, r: str) -> str:
    """C6/r^6 as far as it is summed in reciprocal space; Wennberg et al., J. Chem. Theory Comput. 2013, 9, 3527."""
    x = f"({_alpha(force, dispersion=True)}*{r})^2"
    return f"dispersion/{r}^6*(1-exp(-{x})*(1+{x}+{x}^2/2))"


def _alpha(force: openmm.NonbondedForce, dispersion: bool = False) -> float:
    """The Ewald parameter in 1/nm: as it was set, or as OpenMM chooses it from tolerance and cutoff."""
    alpha = (force.getLJPMEParameters() if dispersion else force.getPMEParameters())[0]
    inverse: float = alpha.value_in_unit(unit.nanometer**-1) if unit.is_quantity(alpha) else alpha
    if force.getNonbondedMethod() == openmm.NonbondedForce.Ewald or inverse == 0:
        return math.sqrt(-math.log(2 * force.getEwaldErrorTolerance())) / _cutoff(force)
    return inverse


def _cutoff(force: openmm.NonbondedForce) -> float:
    distance: float = force.getCutoffDistance().value_in_unit(unit.nanometer)
    return distance


def _bonds(
    original: openmm.NonbondedForce, expression: str, pairs: dict[Pair, Values], periodic: bool, what: str
) -> openmm.Force | None:
    used = [k for k, name in enumerate(_NAMES) if name in expression]
    force = openmm.CustomBondForce(times_lambda(expression))
    declare_lambda(force)
    for k in used:
        force.addPerBondParameter(_NAMES[k])
    for (i, j), values in pairs.items():
        if values[0] or values[2]:  # charges or epsilon
            force.addBond(i, j, _chosen(values, used))
    force.setName(f"{original.getName()}: {what}")
    force.setForceGroup(original.getForceGroup())
    force.setUsesPeriodicBoundaryConditions(periodic)
    return force if force.getNumBonds() else None


def _chosen(values: Values, used: Sequence[int]) -> list[float]:
    return [values[k] for k in used]
