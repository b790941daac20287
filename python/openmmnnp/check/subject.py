"""The model in a Context, as a simulation has it, and what may differ between two evaluations."""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import openmm

from ..force import NNPForce
from ..spec import LENGTH_UNITS, ModelSpec
from .sample import Array, Sample
from .verdict import State, Verdict

__all__ = ["Bench", "Result", "Subject", "masses", "rms"]

Result = tuple[float, Array]
"""Energy in kJ/mol and forces [n, 3] in kJ/mol/nm."""

_STIFF = 5e5  # kJ/mol/nm^2: a stiff bond, which turns the rounding of positions into errors of forces
_FLOOR = 1.0  # kJ/mol/nm and kJ/mol per particle: what relative errors are relative to at least
_EPSILON = {"float64": 2.2e-16, "float32": 1.2e-7}


class Subject:
    """A model file and the geometry that it is checked with.

    ``positions`` are centered on the origin unless there is a box, since numbers are coarser far from it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        spec: ModelSpec | None,
        sample: Sample,
        platform: str,
        variable: tuple[str, int] | None = None,
    ) -> None:
        self.path, self.spec, self.platform = Path(path), spec, platform
        self.variable = variable  # output and component that are taken for the energy
        centered = sample.positions - sample.positions.mean(axis=0)
        self.sample = sample if sample.box is not None else replace(sample, positions=centered)

    @property
    def dtype(self) -> str:
        """Of the model's numbers; without a spec what the platform gives it."""
        if self.spec is not None:
            return self.spec.precision or self.spec.dtype
        return "float64" if self.platform in ("Reference", "CPU") else "float32"

    @property
    def precise(self) -> bool:
        """Does the model compute in float64?"""
        return self.dtype == "float64"

    @property
    def takes_edges(self) -> bool:
        """Does the plugin find the edges of the model?"""
        return self.spec is not None and "edges" in self.spec.inputs

    @property
    def dynamic(self) -> bool:
        """Does the model take other numbers of particles? Without a spec that is not known."""
        return self.spec is not None and self.spec.particles == "dynamic"

    @property
    def cutoff(self) -> float | None:
        """In nm, if the spec says one."""
        if self.spec is None or self.spec.cutoff is None:
            return None
        return self.spec.cutoff * LENGTH_UNITS[self.spec.length_unit]

    @cached_property
    def bench(self) -> Bench:
        """The sample in a Context."""
        return Bench(self, self.sample)

    @cached_property
    def here(self) -> Result:
        """Energy and forces of the sample."""
        return self.bench.evaluate(self.sample.positions)

    @cached_property
    def seconds(self) -> float:
        """One evaluation with forces, the shortest of three."""
        return min(self.bench.timed(self.sample.positions, 1e-7 * k) for k in (1, 2, 3))

    @cached_property
    def relaxed(self) -> Array:
        """Positions [n, 3] in nm after a minimization of some hundred iterations."""
        context = self.bench.context
        context.setPositions(self.sample.positions)
        openmm.LocalEnergyMinimizer.minimize(context, 10.0, self.affordable(30.0, 30, 300))
        return np.array(context.getState(positions=True).getPositions(asNumpy=True)._value)

    def affordable(self, seconds: float, least: int, most: int) -> int:
        """How many evaluations fit into a time, within limits."""
        return int(min(most, max(least, seconds / max(self.seconds, 1e-6))))

    def agree(self, name: str, pairs: list[tuple[Result, Result]], what: str, otherwise: State = "fail") -> Verdict:
        """Do evaluations that must be equal agree? ``pairs`` holds what was found and what it must be.

        float64: 1e-10 relative, of forces to their root mean square, of the energy to itself without its constant, and
        the rounding of the constant. float32: 1e-3 of forces and twice what references may be off in energy (1e-6
        relative and 1e-5 kJ/mol per particle), and what the rounding of positions does to the forces of a stiff bond
        and, through the forces, to the energy.
        """
        worst = max((self._difference(found, right) for found, right in pairs), key=lambda d: max(d[2], d[3]))
        energy, force, energy_share, force_share = worst
        bound = 1e-10 if self.precise else 1e-3
        fine = max(energy_share, force_share) <= 1
        text = f"{what}: energy {energy:.2g} kJ/mol off, forces {force:.2g} relative"
        if not fine and self.precise and force < 1e-4:
            text += "; if the model computes in float32, its spec must say so"
        return Verdict(name, "ok" if fine else otherwise, text, force, bound)

    def _difference(self, found: Result, right: Result) -> tuple[float, float, float, float]:
        """In energy (kJ/mol) and forces (relative), and both as shares of what is allowed."""
        n, size = len(right[1]), max(rms(right[1]), _FLOOR)
        rounding = _EPSILON[self.dtype] * max(1.0, float(np.abs(self.sample.positions).max()))
        own = abs(right[0] - self.bench.offset)
        energy, force = abs(found[0] - right[0]), rms(found[1] - right[1])
        if self.precise:
            energy_bound, force_bound = 1e-10 * (own + n * _FLOOR) + 1e-15 * abs(right[0]), 1e-10 * size
        else:
            energy_bound = 2 * (1e-6 * own + 1e-5 * n) + rounding * size * math.sqrt(3 * n)
            force_bound = 1e-3 * size + 2 * rounding * _STIFF
        shares = [value / bound if math.isfinite(value) else math.inf for value, bound in
                  ((energy, energy_bound), (force, force_bound))]  # fmt: skip
        return energy, force / size, shares[0], shares[1]


class Bench:
    """A Context of the model alone with a sample."""

    def __init__(
        self,
        subject: Subject,
        sample: Sample,
        *,
        path: Path | None = None,
        integrator: openmm.Integrator | None = None,
        references: bool = False,
        skin: float | None = None,
    ) -> None:
        self.sample = sample
        self.force = _force(subject.spec, sample, path or subject.path)
        self.force.setCheckReferences(references)
        if subject.variable is not None:
            self.force.setCollectiveVariable(*subject.variable)
        if skin is not None:
            self.force.setSkin(skin)
        self.integrator = integrator or openmm.VerletIntegrator(0.001)
        system = openmm.System()
        if sample.box is not None:
            system.setDefaultPeriodicBoxVectors(*sample.box)
        for mass in masses(sample):
            system.addParticle(mass)
        system.addForce(self.force)
        platform = openmm.Platform.getPlatform(subject.platform)
        wanted = {"Precision": "double", "Threads": "1"}
        properties = {name: value for name, value in wanted.items() if name in platform.getPropertyNames()}
        self.context = openmm.Context(system, self.integrator, platform, properties)
        self.context.setPositions(sample.positions)

    @property
    def diagnostics(self) -> dict[str, Any]:
        """What the force says of itself."""
        return self.force.getDiagnostics(self.context)

    @cached_property
    def offset(self) -> float:
        """The constant part of the energy, kJ/mol."""
        return float(self.diagnostics["energy_offset"])

    def evaluate(self, positions: Array, box: Array | None = None) -> Result:
        """Energy and forces at positions [n, 3] in nm. Raises OpenMMException if they are not finite."""
        if box is not None:
            self.context.setPeriodicBoxVectors(*box)
        self.context.setPositions(positions)
        state = self.context.getState(energy=True, forces=True)
        return float(state.getPotentialEnergy()._value), np.array(state.getForces(asNumpy=True)._value)

    def timed(self, positions: Array, step: float) -> float:
        """Seconds of an evaluation; another step makes it one that the force can't answer from its last."""
        moved = positions + step * np.cos(np.arange(positions.size)).reshape(positions.shape)
        began = time.perf_counter()
        self.evaluate(moved)
        return time.perf_counter() - began


def _force(spec: ModelSpec | None, sample: Sample, path: Path) -> NNPForce:
    takes = spec.inputs if spec is not None else []
    force = NNPForce(path, charge=sample.charge, multiplicity=sample.multiplicity)
    if sample.numbers is not None and spec is not None and ("atomic_numbers" in takes or spec.atomic_energies):
        force.setAtomicNumbers(sample.numbers)
    if sample.types is not None:
        force.setTypes(sample.types)
    if spec is not None and spec.takes_charges:
        force.setMMCharges([], [])
    for name, value in sample.parameters.items():
        force.addGlobalParameter(name, value)
    force.setUsesPeriodicBoundaryConditions(sample.box is not None)
    return force


def masses(sample: Sample) -> Array:
    """Masses [n] in dalton; 12 where elements are not known."""
    from openmm.app import Element

    if sample.numbers is None:
        return np.full(sample.n, 12.0)
    return np.array([Element.getByAtomicNumber(z).mass._value for z in sample.numbers])


def rms(array: Array) -> float:
    """Root mean square of all elements."""
    return float(np.sqrt(np.mean(np.square(array)))) if array.size else 0.0
