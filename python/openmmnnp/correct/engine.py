"""Pieces of dynamics, each with random numbers of its own, so that a piece that was cut off is repeated bit for bit."""

from __future__ import annotations

import copy
import hashlib
import math
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from ..embedding.interpolate import LAMBDA
from ..force import NNPForce
from .store import PROFILE, Frame

Floats = NDArray[np.float64]

SLOPE_GROUP = 1  # the force group of all that depends on lambda
_RENEWED = ("Reference", "CPU")  # where equal seeds in a renewed Context give equal bits
_RUNGS = 100  # of a slow change of lambda


def seed_of(*what: Any) -> int:
    """A seed for OpenMM made from what it is for; never 0, which OpenMM takes for a random one."""
    digest = hashlib.sha256("/".join(map(str, what)).encode()).digest()
    return 1 + int.from_bytes(digest[:8], "little") % (2**31 - 2)


def group_by_lambda(system: openmm.System) -> None:
    """Put all that depends on lambda into a force group of its own, so that dE/dlambda costs only that."""
    for i, force in enumerate(system.getForces()):
        known = NNPForce.cast(force) if NNPForce.isinstance(force) else force
        depends = getattr(known, "getNumEnergyParameterDerivatives", lambda: 0)()
        system.getForce(i).setForceGroup(SLOPE_GROUP if depends else 0)
        if isinstance(force, openmm.NonbondedForce):
            force.setReciprocalSpaceForceGroup(-1)  # the same


def without_model(system: openmm.System) -> openmm.System:
    """The System at lambda = 0, where the model would be evaluated in vain."""
    plain = copy.deepcopy(system)
    for i in reversed(range(plain.getNumForces())):
        force = plain.getForce(i)
        if NNPForce.isinstance(force):
            plain.removeForce(i)
            continue
        for k in range(getattr(force, "getNumGlobalParameters", lambda: 0)()):
            if force.getGlobalParameterName(k) == LAMBDA:
                force.setGlobalParameterDefaultValue(k, 0.0)
    return plain


class Engine:
    """A Context for pieces of dynamics at a temperature (K)."""

    def __init__(
        self,
        system: openmm.System,
        integrator: openmm.Integrator,
        platform: openmm.Platform,
        properties: dict[str, str],
        temperature: float,
    ) -> None:
        self._temperature = temperature
        self._periodic = system.usesPeriodicBoundaryConditions()
        self._integrator = integrator
        self._renew = platform.getName() in _RENEWED
        self._system = system
        self._arguments = (system, integrator, platform, properties)
        self._context: openmm.Context | None = None

    def begin(self, frame: Frame, seed: int, lambda_: float) -> None:
        """Begin a piece at a frame. Where equal bits can be had, its random numbers follow from the seed."""
        context = self._seed(seed)
        if LAMBDA in context.getParameters():
            context.setParameter(LAMBDA, lambda_)
        if frame.box is not None:
            context.setPeriodicBoxVectors(*frame.box)
        context.setPositions(np.asarray(frame.positions, float))
        if frame.velocities is not None:
            context.setVelocities(frame.velocities)
            context.computeVirtualSites()
            return
        context.applyConstraints(1e-6)
        context.computeVirtualSites()
        context.setVelocitiesToTemperature(self._temperature * unit.kelvin, seed)

    def _seed(self, seed: int) -> openmm.Context:
        if self._context is not None and not self._renew:
            return self._context
        self._integrator.setRandomNumberSeed(seed)
        for force in self._system.getForces():
            if hasattr(force, "setRandomNumberSeed"):
                force.setRandomNumberSeed(seed)
        if self._context is None:
            self._context = openmm.Context(*self._arguments)
        else:
            self._context.reinitialize()
        return self._context

    @property
    def context(self) -> openmm.Context:
        """That of the piece that was begun."""
        assert self._context is not None
        return self._context

    def step(self, steps: int) -> None:
        """Run dynamics."""
        self._integrator.step(steps)

    def slope(self) -> float:
        """dE/dlambda in kJ/mol, here and now."""
        state = self.context.getState(parameterDerivatives=True, groups={SLOPE_GROUP})
        return float(state.getEnergyParameterDerivatives()[LAMBDA])

    def frame(self) -> Frame:
        """Where the dynamics is. Raises RuntimeError if it has blown up."""
        state = self.context.getState(positions=True, velocities=True)
        found = Frame(
            state.getPositions(asNumpy=True)._value,
            state.getVelocities(asNumpy=True)._value,
            state.getPeriodicBoxVectors(asNumpy=True)._value if self._periodic else None,
        )
        if not np.isfinite(found.positions).all():
            raise RuntimeError(
                "the positions are not finite any more: take a shorter --timestep, or look at the model with "
                "`openmm-nnp check`"
            )
        return found

    def ramp(self, first: float, last: float, steps: int) -> None:
        """Run dynamics in which lambda goes from one value to another, little by little."""
        rungs = min(_RUNGS, steps)
        for k in range(rungs):
            self.context.setParameter(LAMBDA, first + (last - first) * (k + 1) / rungs)
            self.step((k + 1) * steps // rungs - k * steps // rungs)

    def switch(self, first: float, last: float, steps: int) -> tuple[float, Floats]:
        """The work (kJ/mol) of a switch of lambda, and the mean dE/dlambda in PROFILE parts of it.

        The work is the sum of the changes of the energy at each step of lambda, taken at once before each step of
        dynamics (G. E. Crooks, J. Stat. Phys. 1998, 90, 1481). There is no dynamics before the first and after
        the last of them, so that a switch back goes through the same steps in reverse.
        """
        width = (last - first) / steps
        slopes = np.empty(steps)
        for k in range(steps):
            slopes[k] = self.slope()
            self.context.setParameter(LAMBDA, last if k == steps - 1 else first + (k + 1) * width)
            if k < steps - 1:
                self.step(1)
        work = width * math.fsum(slopes)
        if not math.isfinite(work):
            raise RuntimeError(
                f"the work of a switch is {work} kJ/mol: take a shorter --timestep, or look at the model"
            )
        return work, _means(slopes)


def _means(series: Floats) -> Floats:
    """The means of PROFILE parts of a series; parts of a short one share values."""
    edges = np.linspace(0, len(series), PROFILE + 1)
    return np.array([series[int(edges[k]) : math.ceil(edges[k + 1])].mean() for k in range(PROFILE)])
