"""Energies and forces of the region alone in vacuum, by a model or by its MM terms, and NVE dynamics with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from ...force import NNPForce

__all__ = ["Evaluated", "Potential", "mm_potential", "model_potential"]

Array = NDArray[np.float64]

TEMPERATURE = 300.0  # K
KT = TEMPERATURE * unit.MOLAR_GAS_CONSTANT_R.value_in_unit(unit.kilojoule_per_mole / unit.kelvin)
TIME_STEP = 0.0005  # ps
WARM_UP = 1.0  # ps
EVERY = 4  # steps between two looks at the total energy


@dataclass(frozen=True)
class Evaluated:
    """Energies [m] in kJ/mol, forces [m, n, 3] in kJ/mol/nm, and energy_std [m] in kJ/mol if the model gives it."""

    energies: Array
    forces: Array
    energy_std: Array | None


@dataclass(frozen=True)
class Potential:
    """Something that gives the region's energy: a System of its n particles."""

    name: str
    system: openmm.System
    force: NNPForce | None = None

    def evaluate(self, positions: Iterable[Array]) -> Evaluated:
        """Evaluate geometries [n, 3] in nm, on the Reference platform."""
        context = self._context(openmm.VerletIntegrator(TIME_STEP))
        spread = self.force is not None and "energy_std" in _outputs(self.force)
        energies, forces, std = [], [], []
        for geometry in positions:
            context.setPositions(geometry)
            state = context.getState(energy=True, forces=True)
            energies.append(state.getPotentialEnergy()._value)
            forces.append(state.getForces(asNumpy=True)._value)
            if self.force is not None and spread:
                value = self.force.getOutput(context, "energy_std")
                std.append(float(value._value if unit.is_quantity(value) else value))
        shape = (-1, self.system.getNumParticles(), 3)
        return Evaluated(np.array(energies), np.reshape(forces, shape), np.array(std) if spread else None)

    def nve(self, start: Array, picoseconds: float, seed: int = 1) -> Iterator[tuple[float, float, float]]:
        """Times in ps, total energies in kJ/mol and temperatures in K of NVE dynamics from `start` [n, 3] in nm.

        Verlet steps are 0.5 fs. 1 ps of Langevin dynamics at 300 K comes first; the center's motion is taken out.
        """
        warm = openmm.LangevinMiddleIntegrator(TEMPERATURE, 10.0, TIME_STEP)
        warm.setRandomNumberSeed(seed)
        context = self._context(warm)
        context.setPositions(start)
        context.setVelocitiesToTemperature(TEMPERATURE, seed)
        warm.step(round(WARM_UP / TIME_STEP))
        state = context.getState(positions=True, velocities=True)
        velocities = state.getVelocities(asNumpy=True)._value
        integrator = openmm.VerletIntegrator(TIME_STEP)
        context = self._context(integrator)
        context.setPositions(state.getPositions())
        context.setVelocities(velocities - self.masses @ velocities / self.masses.sum())
        for step in range(EVERY, round(picoseconds / TIME_STEP) + 1, EVERY):
            integrator.step(EVERY)
            state = context.getState(energy=True)
            kinetic, potential = state.getKineticEnergy()._value, state.getPotentialEnergy()._value
            yield step * TIME_STEP, kinetic + potential, 2 * kinetic / self.freedom * TEMPERATURE / KT

    @property
    def masses(self) -> Array:
        """Masses [n] in dalton."""
        return np.array([self.system.getParticleMass(i)._value for i in range(self.system.getNumParticles())])

    @property
    def freedom(self) -> int:
        """Degrees of freedom, without the motion of the center."""
        return 3 * int(self.system.getNumParticles()) - 3

    def _context(self, integrator: openmm.Integrator) -> openmm.Context:
        return openmm.Context(self.system, integrator, openmm.Platform.getPlatform("Reference"))


def _outputs(force: NNPForce) -> list[str]:
    return force.getModelSpec().outputs if force.hasModelSpec() else []


def mm_potential(region: openmm.System) -> Potential:
    """The MM terms of the region alone."""
    return Potential("MM", region)


def model_potential(path: Path, region: openmm.System, numbers: Sequence[int], charge: int) -> Potential:
    """A model on the atoms of the region, whose masses are those of the System `region`.

    Raises openmm.OpenMMException, naming the file, if the model is damaged or is not made for these atoms.
    """
    force = NNPForce(path, atomicNumbers=numbers, charge=charge)
    system = openmm.System()
    for i in range(region.getNumParticles()):
        system.addParticle(region.getParticleMass(i))
    system.addForce(force)
    potential = Potential(force.getModelSpec().name if force.hasModelSpec() else path.stem, system, force)
    potential.evaluate([])  # makes a Context, which checks that model and atoms fit
    return potential
