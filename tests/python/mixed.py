"""For tests of ML/MM Systems: a model with a known energy, a peptide, and what is asked of a System."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from helpers import scripted
from openmmnnp import ModelSpec
from openmmnnp.spec import write_spec
from systems import TestedSystem, alanine_dipeptide

LAMBDA = "lambda_interpolate"
PEPTIDE = range(22)  # the first particles of peptide()
FORCE_FIELD = ("amber14/protein.ff14SB.xml", "amber14/tip3p.xml")
_SPRINGS = """
order = torch.arange(1, positions.size(0) + 1, device=positions.device).to(positions.dtype)
apart = (positions.unsqueeze(0) - positions.unsqueeze(1)).square().sum(2)
return 0.05 * torch.sum(apart * order.unsqueeze(0) * order.unsqueeze(1))
"""


def springs(path: Path, arguments: str = "positions", **spec: Any) -> Path:
    """A float64 model in nm and kJ/mol with springs between all atoms, whose stiffness depends on their order."""
    scripted(_SPRINGS, arguments).save(str(path))
    values = {"length_unit": "nm", "energy_unit": "kJ/mol", "dtype": "float64", "long_range": False}
    write_spec(path, ModelSpec("springs", **(values | spec)))
    return path


def springs_energy(positions: np.ndarray) -> float:
    order = np.arange(1, len(positions) + 1)
    apart = ((positions[None] - positions[:, None]) ** 2).sum(2)
    return float(0.05 * (apart * np.outer(order, order)).sum())


@functools.cache
def _peptide(box: float | None, water: bool) -> tuple[app.Topology, Any, app.ForceField]:
    vacuum, force_field = alanine_dipeptide(explicit=False), app.ForceField(*FORCE_FIELD)
    modeller = app.Modeller(vacuum.topology, vacuum.positions)
    if box is not None:
        size = openmm.Vec3(box, box, box) * unit.nanometer
        if water:
            modeller.addSolvent(force_field, boxSize=size)
        modeller.topology.setUnitCellDimensions(size)
    return modeller.topology, modeller.positions, force_field


def peptide(method: Any = app.NoCutoff, box: float | None = None, water: bool = False, **options: Any) -> TestedSystem:
    """Alanine dipeptide (22 atoms, 0.95 nm wide), maybe in a cube of `box` nm, maybe with water, in Amber's ff14SB."""
    topology, positions, force_field = _peptide(box, water)
    system = force_field.createSystem(topology, nonbondedMethod=method, **options)
    return TestedSystem(topology, system, positions)


def in_nm(positions: Any) -> np.ndarray:
    return np.array(positions.value_in_unit(unit.nanometer))


class Evaluation:
    """A System on a platform (Reference if none is given), whose energy and forces are asked for."""

    def __init__(self, system: openmm.System, positions: np.ndarray, platform: openmm.Platform | None = None) -> None:
        reference = openmm.Platform.getPlatform("Reference")
        self.context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform or reference)
        self.context.setPositions(positions)

    def at(self, value: float) -> Evaluation:
        """With lambda_interpolate set to a value."""
        self.context.setParameter(LAMBDA, value)
        return self

    @property
    def energy(self) -> float:
        """kJ/mol"""
        return float(self.context.getState(energy=True).getPotentialEnergy()._value)

    @property
    def forces(self) -> np.ndarray:
        """[n][3] kJ/mol/nm"""
        return self.context.getState(forces=True).getForces(asNumpy=True)._value

    @property
    def derivative(self) -> float:
        """dE/dlambda in kJ/mol"""
        return float(self.context.getState(parameterDerivatives=True).getEnergyParameterDerivatives()[LAMBDA])


def energy(system: openmm.System, positions: np.ndarray) -> float:
    """In kJ/mol, on the Reference platform."""
    return Evaluation(system, positions).energy
