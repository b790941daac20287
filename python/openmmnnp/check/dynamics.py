"""Is the energy conserved? Short NVE dynamics from a minimized geometry at 300 K."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import openmm

from ..simulate.report.analysis import slope
from .sample import Array
from .subject import Bench, Subject, masses
from .verdict import Verdict, judged

__all__ = ["dynamics"]

_TEMPERATURE = 300.0  # K
_KT = 8.314462618e-3 * _TEMPERATURE  # kJ/mol
_HOT = 20 * _TEMPERATURE
_STEPS = (0.00025, 0.0005, 0.001)  # ps
_DRIFT = 0.1  # kT/ns per degree of freedom
_WIDTHS = {"float64": 0.1, "float32": 0.2}
_SECONDS = 40.0


@dataclass(frozen=True)
class _Start:
    """Where dynamics begins: positions in nm, velocities in nm/ps and forces in kJ/mol/nm, all [n, 3]."""

    positions: Array
    velocities: Array
    forces: Array


class _BlownUp(Exception):
    """The dynamics ended in no number, or far too hot."""


def dynamics(subject: Subject) -> Iterator[Verdict]:
    """Slope of the total energy in 0.5 fs steps, and how its fluctuation falls with the step."""
    if subject.sample.n < 2:
        yield from (Verdict(name, "skipped", "one particle alone") for name in ("drift", "fluctuation"))
        return
    budget = subject.affordable(_SECONDS, 400, 8000)
    try:
        start = _warmed(subject, budget // 8)
        yield _drift(subject, start, budget // 2)
        yield _scaling(subject, start, max(30, budget // 4 // 7))
    except _BlownUp as error:
        yield Verdict("NVE", "fail", str(error))


def _warmed(subject: Subject, steps: int) -> _Start:
    integrator = openmm.LangevinMiddleIntegrator(_TEMPERATURE, 10.0, _STEPS[1])
    integrator.setRandomNumberSeed(1)
    bench = Bench(subject, subject.sample, integrator=integrator)
    bench.context.setPositions(subject.relaxed)
    bench.context.setVelocitiesToTemperature(_TEMPERATURE, 1)
    _advance(bench, steps)
    state = bench.context.getState(positions=True, velocities=True, forces=True)
    v, weights = np.array(state.getVelocities(asNumpy=True)._value), masses(subject.sample)
    x, f = np.array(state.getPositions(asNumpy=True)._value), np.array(state.getForces(asNumpy=True)._value)
    return _Start(x, v - weights @ v / weights.sum(), f)


def _energies(subject: Subject, start: _Start, step: float, count: int, every: int) -> tuple[Array, Array]:
    """Times in ps and total energies in kJ/mol of Verlet dynamics."""
    bench = Bench(subject, subject.sample, integrator=openmm.VerletIntegrator(step))
    bench.context.setPositions(start.positions)
    accelerations = start.forces / masses(subject.sample)[:, None]
    bench.context.setVelocities(start.velocities - 0.5 * step * accelerations)  # OpenMM's are half a step behind
    energies = [_advance(bench, every) for _ in range(count // every)]
    return np.asarray(step * every * np.arange(1.0, len(energies) + 1)), np.array(energies)


def _advance(bench: Bench, steps: int) -> float:
    """Go on, and give the total energy. Raises _BlownUp."""
    try:
        bench.integrator.step(steps)
        state = bench.context.getState(energy=True)
    except openmm.OpenMMException as error:
        raise _BlownUp(f"the dynamics blew up: {error}") from error
    kinetic, potential = state.getKineticEnergy()._value, state.getPotentialEnergy()._value
    temperature = 2 * kinetic / _freedom(bench.sample.n) * _TEMPERATURE / _KT
    if not math.isfinite(kinetic + potential) or temperature > _HOT:
        raise _BlownUp(f"the dynamics blew up: {temperature:.3g} K, potential energy {potential:.3g} kJ/mol")
    return float(kinetic + potential)


def _freedom(n: int) -> int:
    return 3 * n - 3


def _drift(subject: Subject, start: _Start, count: int) -> Verdict:
    """What is left of the slope beyond two of its standard errors; less than the fluctuation in all can't be told."""
    times, energies = _energies(subject, start, _STEPS[1], count, 4)
    per_kt = 1000 / (_KT * _freedom(subject.sample.n))  # kJ/mol/ps to kT/ns per degree of freedom
    value, error = (per_kt * part for part in slope(times, energies))
    beyond = max(abs(value) - 2 * error, 0.0)
    rest = energies - np.polyval(np.polyfit(times, energies, 1), times)
    bound = max(_DRIFT, per_kt * float(rest.std()) / float(times[-1]))
    text = f"kT/ns/dof beyond two standard errors in {times[-1]:.2g} ps of NVE; slope {value:.2g} +- {error:.2g}"
    return judged("drift", beyond, bound, text)


def _scaling(subject: Subject, start: _Start, count: int) -> Verdict:
    """Exponent p of the fluctuation of the total energy ~ step^p, over one stretch of time."""
    fluctuations = []
    for step in _STEPS:
        every = round(_STEPS[-1] / step)  # the same moments for all
        fluctuations.append(float(_energies(subject, start, step, count * every, every)[1].std()))
    if min(fluctuations) <= 0:
        return Verdict("fluctuation", "skipped", "the total energy does not fluctuate")
    exponent = float(np.polyfit(np.log(_STEPS), np.log(fluctuations), 1)[0])
    width = _WIDTHS[subject.dtype]
    values = ", ".join(f"{value:.2g}" for value in fluctuations)
    text = f"|p - 2|, energy fluctuation ~ step^p with p = {exponent:.3f}: {values} kJ/mol at 0.25, 0.5, 1 fs"
    if not subject.precise:
        text += "; wider for float32, whose rounding does not fall with the step"
    if exponent > 2 + width:
        text += "; 1 fs is long for its fastest vibration"
    return judged("fluctuation", abs(exponent - 2), width, text, "doubtful" if exponent > 2 else "fail")
