"""A Context with a model in force group 1, and what is timed in it.

This file runs in other environments too, such as that of openmm-torch: it needs no package but openmm and numpy.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import openmm
from openmm import unit

MODEL_GROUP = 1
BOTH = {0, MODEL_GROUP}
NVE, NPT, ENERGIES = "NVE", "NPT", "energies"


class Session:
    """Dynamics of a System with its model, or without one.

    Parameters
    ----------
    system : with forces of the model in group 1
    platform : name
    step : ps
    start : positions [n, 3] in nm, velocities [n, 3] in nm/ps, box [3, 3] in nm
    mode : NVE; NPT, with a barostat's trial move in every step; or ENERGIES: each step moves particles by about 1e-6 nm
        and asks for the energy alone
    """

    def __init__(
        self, system: openmm.System, platform: str, step: float, start: Sequence[np.ndarray], mode: str = NVE
    ) -> None:
        self.system = system  # the Context does not keep it
        if mode == NPT:
            system.addForce(openmm.MonteCarloBarostat(1, 300, 1))
        self.integrator = self._energies() if mode == ENERGIES else openmm.VerletIntegrator(step)
        self.integrator.setConstraintTolerance(1e-7)
        self.context = openmm.Context(system, self.integrator, openmm.Platform.getPlatformByName(platform))
        self.waits = platform not in ("Reference", "CPU")
        self.start = start
        self.restart()

    def restart(self) -> None:
        positions, velocities, box = self.start
        self.context.setPeriodicBoxVectors(*box)
        self.context.setPositions(positions)
        self.context.setVelocities(velocities)

    def run(self, steps: int) -> float:
        """Seconds for this many steps, until a device has done them."""
        start = time.perf_counter()
        self.integrator.step(steps)
        if self.waits:
            self.context.getState(positions=True)
        return time.perf_counter() - start

    def use_model(self, used: bool) -> None:
        """Leave the model's force group out of the dynamics, or take it back in."""
        self.integrator.setIntegrationForceGroups(BOTH if used else {0})
        self.integrator.step(1)

    def total(self) -> float:
        """Potential and kinetic energy, kJ/mol."""
        state = self.context.getState(energy=True)
        return (state.getPotentialEnergy() + state.getKineticEnergy()).value_in_unit(unit.kilojoule_per_mole)

    def forces(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions [n, 3] in nm, box [3, 3] in nm, and the model's forces [n, 3] in kJ/mol/nm there."""
        state = self.context.getState(positions=True, forces=True, groups={MODEL_GROUP})
        forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
        return *self._coordinates(state), forces

    def minimize(self, iterations: int) -> float:
        """Seconds for this many iterations from the start."""
        self.restart()
        start = time.perf_counter()
        openmm.LocalEnergyMinimizer.minimize(self.context, 1e-3, iterations)
        return time.perf_counter() - start

    def set_parameter(self, name: str, value: float) -> None:
        self.context.setParameter(name, value)

    def create(self, count: int) -> float:
        """Seconds for as many Contexts of the System, each with its first forces, while this one is there."""
        platform, start = self.context.getPlatform(), time.perf_counter()
        for _ in range(count):
            context = openmm.Context(self.system, openmm.VerletIntegrator(0.001), platform)
            context.setPeriodicBoxVectors(*self.start[2])
            context.setPositions(self.start[0])
            context.getState(forces=True)
            del context
        return time.perf_counter() - start

    def xml(self, count: int) -> float:
        """Seconds to write the System as XML and read it as often."""
        start = time.perf_counter()
        for _ in range(count):
            openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(self.system))
        return time.perf_counter() - start

    @staticmethod
    def _energies() -> openmm.Integrator:
        integrator = openmm.CustomIntegrator(0.001)
        integrator.addGlobalVariable("e", 0)
        integrator.addComputePerDof("x", "x + 1e-6*gaussian")
        integrator.addComputeGlobal("e", "energy")
        return integrator

    @staticmethod
    def _coordinates(state: Any) -> tuple[np.ndarray, np.ndarray]:
        box = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer)
        return state.getPositions(asNumpy=True).value_in_unit(unit.nanometer), np.array(box)
