"""Small models, and what the tests ask of a Context."""

from __future__ import annotations

import numpy as np
import openmm
import torch


class Harmonic(torch.nn.Module):
    """E = sum r^2."""

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return torch.sum(positions**2)


class HarmonicWithForces(torch.nn.Module):
    """E = sum r^2, with forces."""

    def forward(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.sum(positions**2), -2 * positions


class HarmonicWithParameters(torch.nn.Module):
    """E = k sum r^2 + c^2 sum x."""

    def forward(self, positions: torch.Tensor, k: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return k * torch.sum(positions**2) + c**2 * torch.sum(positions[:, 0])


class HarmonicPeriodic(torch.nn.Module):
    """E = sum r^2, r being the positions brought into a rectangular box."""

    def forward(self, positions: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
        size = box.diag()
        return torch.sum((positions - torch.floor(positions / size) * size) ** 2)


def energy_and_forces(context: openmm.Context) -> tuple[float, np.ndarray]:
    """Energy in kJ/mol and forces [n, 3] in kJ/mol/nm."""
    state = context.getState(getEnergy=True, getForces=True)
    energy = state.getPotentialEnergy().value_in_unit(openmm.unit.kilojoules_per_mole)
    return energy, state.getForces(asNumpy=True).value_in_unit(openmm.unit.kilojoules_per_mole / openmm.unit.nanometer)
