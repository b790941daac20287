"""The phases of a run and what each adds to the System: restrained NVT, NPT, production."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from ..force import NNPForce
from .options import Options
from .progress import Bar, MinimizationProgress

Floats = NDArray[np.float64]

BAROSTAT_INTERVAL = 25  # steps
PRODUCTION = "production"
# Force groups, so that the log can tell the energies apart. One group costs nothing where all are evaluated together.
GROUPS = {"bonds": 1, "angles": 2, "torsions": 3, "nonbonded": 4, "model": 5, "restraints": 6, "other": 7}
_WITHOUT_ENERGY = ("CMMotionRemover", "AndersenThermostat")
_GROUP_OF = {
    "HarmonicBondForce": "bonds",
    "HarmonicAngleForce": "angles",
    "PeriodicTorsionForce": "torsions",
    "RBTorsionForce": "torsions",
    "CMAPTorsionForce": "torsions",
    "NonbondedForce": "nonbonded",
    "CustomNonbondedForce": "nonbonded",
}


@dataclass(frozen=True)
class Phase:
    """A part of the run with one System. Pressure in bar, None for constant volume."""

    name: str
    title: str
    steps: int
    pressure: float | None
    restrained: bool = False


def phases(options: Options, periodic: bool) -> list[Phase]:
    """What is run after the minimization, in order; a phase of no length is left out."""
    pressure = options.pressure if periodic else None
    steps = {name: round(getattr(options, name) / options.timestep) for name in ("nvt", "npt", "time")}
    found = [
        Phase("nvt", "NVT, restrained", steps["nvt"], None, restrained=True),
        Phase("npt", "NPT", steps["npt"] if pressure is not None else 0, pressure),
    ]
    ensemble = "NVT" if pressure is None else "NPT"
    return [p for p in found if p.steps] + [Phase(PRODUCTION, f"production ({ensemble})", steps["time"], pressure)]


def assign_groups(system: openmm.System) -> dict[str, int]:
    """Give each kind of force its group, and return the groups that are used."""
    used = {}
    for force in system.getForces():
        if type(force).__name__ in _WITHOUT_ENERGY:
            continue
        name = "model" if NNPForce.isinstance(force) else _GROUP_OF.get(type(force).__name__, "other")
        force.setForceGroup(GROUPS[name])
        if isinstance(force, openmm.NonbondedForce):
            force.setReciprocalSpaceForceGroup(-1)  # the same
        used[name] = GROUPS[name]
    return dict(sorted(used.items(), key=lambda item: item[1]))


def phase_system(
    base: openmm.System, phase: Phase, options: Options, restrained: Sequence[int], reference: Floats, step: int = 0
) -> openmm.System:
    """The System of a phase; `restrained` particles are held at `reference` [N][3] (nm) where it says so.

    `step` is that at which a new sequence of random numbers begins.
    """
    system = copy.deepcopy(base)
    if phase.restrained and options.restraint > 0 and restrained:
        system.addForce(_restraint(system, options, restrained, reference))
    if phase.pressure is not None:
        barostat = openmm.MonteCarloBarostat(
            phase.pressure * unit.bar, options.temperature * unit.kelvin, BAROSTAT_INTERVAL
        )
        barostat.setRandomNumberSeed(_seed(options, phase, 1, step))
        system.addForce(barostat)
    return system


def _restraint(system: openmm.System, options: Options, restrained: Sequence[int], reference: Floats) -> openmm.Force:
    periodic = system.usesPeriodicBoundaryConditions()
    square = "periodicdistance(x, y, z, x0, y0, z0)^2" if periodic else "(x-x0)^2 + (y-y0)^2 + (z-z0)^2"
    force = openmm.CustomExternalForce(f"0.5*restraint*({square})")
    force.addGlobalParameter("restraint", options.restraint)
    for name in ("x0", "y0", "z0"):
        force.addPerParticleParameter(name)
    for particle in restrained:
        force.addParticle(particle, reference[particle])
    force.setName("restraints")
    force.setForceGroup(GROUPS["restraints"])
    return force


def integrator(options: Options, phase: Phase, step: int = 0) -> openmm.LangevinMiddleIntegrator:
    """Langevin dynamics with the seed of the run, of the phase and of the step at which it begins."""
    friction = options.nvt_friction if phase.name == "nvt" else options.friction
    made = openmm.LangevinMiddleIntegrator(
        options.temperature * unit.kelvin, friction / unit.picosecond, options.timestep * unit.picosecond
    )
    made.setRandomNumberSeed(_seed(options, phase, 0, step))
    made.setConstraintTolerance(1e-6)
    return made


def _seed(options: Options, phase: Phase, purpose: int, step: int) -> int:
    """A seed of its own for each phase, purpose and beginning; never 0, which OpenMM takes for a random one."""
    order = ("nvt", "npt", PRODUCTION).index(phase.name)
    return 1 + (1_000_003 * options.seed + 10 * order + purpose + 7_919 * step) % (2**31 - 2)


def velocity_seed(options: Options) -> int:
    """The seed of the first velocities."""
    return 1 + (1_000_003 * options.seed + 5) % (2**31 - 2)


def minimize(
    system: openmm.System,
    positions: Floats,
    label: str,
    iterations: int,
    platform: openmm.Platform,
    properties: dict[str, str],
) -> Floats:
    """Positions [N][3] in nm after an energy minimization, with its progress shown.

    Raises ValueError if the energy is not finite at its end.
    """
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform, properties)
    context.setPositions(positions)
    context.computeVirtualSites()
    with Bar(label, unit="iterations") as bar:
        openmm.LocalEnergyMinimizer.minimize(context, 10.0, iterations, MinimizationProgress(bar))
    state = context.getState(positions=True, energy=True)
    if not math.isfinite(state.getPotentialEnergy()._value):
        raise ValueError(f"the energy is {state.getPotentialEnergy()} after {label}: do atoms overlap in the input?")
    return np.array(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer))
