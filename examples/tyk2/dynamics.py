"""The shipped file in OpenMM: 100 ps at 300 K, conservation of energy, time per evaluation."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm as mm
from labels import KJ, Array, bonds, ligand
from openmm import unit
from sampling import KB
from tqdm import trange

from openmmnnp import NNPForce
from openmmnnp.simulate.report.analysis import slope


@dataclass(frozen=True)
class Run:
    """What dynamics in vacuum did."""

    picoseconds: float
    step: float  # fs
    temperature: float  # K, mean
    longest_bond: float  # largest ratio of a bond to its initial length
    largest_std: float  # eV, of the committee
    total: Array  # kJ/mol, the total energy of every sample
    milliseconds: float  # per step, on the CPU platform with one thread


def run(model: Path, start: Array, picoseconds: float, step: float, friction: float, seed: int) -> Run:
    """Langevin dynamics at 300 K, or velocity Verlet after 2 ps of it if the friction (1/ps) is zero."""
    _, numbers, masses = ligand()
    system, force = mm.System(), NNPForce(str(model))
    force.setAtomicNumbers(numbers.tolist())
    for mass in masses:
        system.addParticle(mass)
    system.addForce(force)
    integrators = mm.CompoundIntegrator()
    integrators.addIntegrator(mm.LangevinMiddleIntegrator(300, friction or 5.0, step * unit.femtosecond))
    integrators.addIntegrator(mm.VerletIntegrator(step * unit.femtosecond))
    integrators.getIntegrator(0).setRandomNumberSeed(seed)
    context = mm.Context(system, integrators, mm.Platform.getPlatformByName("CPU"), {"Threads": "1"})
    context.setPositions(start * unit.angstrom)
    context.setVelocitiesToTemperature(300, seed)
    integrators.step(round(2000 / step))
    integrators.setCurrentIntegrator(0 if friction else 1)

    every, pairs = 20, bonds()
    samples = round(picoseconds * 1000 / step / every)
    kinetic, total, longest, std = np.zeros(samples), np.zeros(samples), 0.0, 0.0
    began = time.perf_counter()
    for i in trange(samples, desc="NVT" if friction else "NVE", mininterval=2.0):
        integrators.step(every)
        state = context.getState(positions=True, energy=True)
        positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
        kinetic[i] = state.getKineticEnergy().value_in_unit(unit.kilojoule_per_mole)
        total[i] = kinetic[i] + state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        longest = max(longest, float((lengths(positions, pairs) / lengths(start, pairs)).max()))
        std = max(std, force.getOutput(context, "energy_std").value_in_unit(unit.kilojoule_per_mole) / KJ)
    milliseconds = 1e3 * (time.perf_counter() - began) / (samples * every)
    temperature = 2 * kinetic.mean() / (3 * len(masses) * KB * KJ)
    return Run(picoseconds, step, temperature, longest, std, total, milliseconds)


def lengths(x: Array, pairs: Array) -> Array:
    return np.linalg.norm(x[pairs[:, 0]] - x[pairs[:, 1]], axis=-1)


def drift(run: Run) -> tuple[float, float]:
    """Slope of the total energy and its standard error, in kT (300 K) per ns and degree of freedom."""
    nanoseconds = np.arange(len(run.total)) / len(run.total) * run.picoseconds / 1000
    one = KB * KJ * 300 * (3 * len(ligand()[1]) - 3)
    value, error = slope(nanoseconds, run.total)
    return value / one, error / one
