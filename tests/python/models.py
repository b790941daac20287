"""Two models that between them use all inputs and outputs but types, their specs, and formulas in NumPy as oracles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openmmnnp import ModelSpec, NNPForce

ELEMENTS = [8, 1, 1, 6]
ENERGIES = {1: -13.5, 6: -1030.25, 8: -2042.5}


class Pair(torch.nn.Module):
    """E_i = k/2 sum_j Z_i Z_j exp(-a r_ij^2), with a weight a."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.a = torch.nn.Parameter(torch.tensor(0.5, dtype=dtype))

    def forward(
        self, positions: torch.Tensor, atomic_numbers: torch.Tensor, k: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        r = positions.unsqueeze(1) - positions.unsqueeze(0)
        z = atomic_numbers.to(positions.dtype)
        w = z.unsqueeze(1) * z.unsqueeze(0) * (1 - torch.eye(z.shape[0], dtype=z.dtype, device=z.device))
        energies = 0.5 * k * (w * torch.exp(-self.a * (r * r).sum(2))).sum(1)
        return energies.sum(), energies


class Walls(torch.nn.Module):
    """E = (1 + q^2 + m) sum_i x.x, x = r - box diagonal/2; gives a dict, with forces that are 3 times too large."""

    def forward(
        self, positions: torch.Tensor, box: torch.Tensor, charge: torch.Tensor, multiplicity: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        x = positions - 0.5 * torch.diagonal(box)
        k = 1 + charge * charge + multiplicity
        return {"energy": k * (x * x).sum(), "forces": -6 * k * x, "centers": positions, "columns": (2 * x).t()}


def pair_oracle(x: np.ndarray, z: np.ndarray, k: float, a: float = 0.5) -> dict[str, Any]:
    """Outputs of Pair, without the constant part of the energy."""
    r = x[:, None] - x[None]
    pairs = k * np.outer(z, z) * np.exp(-a * (r**2).sum(2)) * (1 - np.eye(len(z)))
    return {
        "energy": pairs.sum() / 2,
        "forces": (2 * a * pairs[:, :, None] * r).sum(1),
        "atomic_energy": pairs.sum(1) / 2,
        "parameter_derivative.k": pairs.sum() / 2 / k,
    }


def walls_oracle(x: np.ndarray, box: np.ndarray, charge: int, multiplicity: int) -> dict[str, Any]:
    """Outputs of Walls, without the constant part of the energy."""
    k = 1 + charge**2 + multiplicity
    centered = x - np.diag(box) / 2
    energy = k * (centered**2).sum()
    return {"energy": energy, "forces": -6 * k * centered, "centers": x, "columns": 2 * centered.T}


def pair_example(n: int, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed + n)
    positions = rng.normal(size=(n, 3)).astype(np.float32).astype(float)
    return {"positions": positions, "atomic_numbers": rng.choice([1, 6, 8], n), "parameters.k": 0.25}


def walls_example(seed: int) -> dict[str, Any]:
    box = np.diag([2.0, 2.5, 3.0])
    positions = np.random.default_rng(seed).normal(size=(4, 3))
    return {"positions": positions, "box": box, "charge": -2, "multiplicity": 1}


def pair_spec(**changes: Any) -> ModelSpec:
    outputs = ["energy", "atomic_energy", "parameter_derivative.k"]
    values = {"name": "pair", "length_unit": "angstrom", "energy_unit": "eV", "dtype": "float32", "outputs": outputs}
    values |= {"inputs": ["positions", "atomic_numbers", "parameters.k"], "atomic_energies": ENERGIES}
    return ModelSpec(**(values | {"output_units": {"atomic_energy": "eV"}} | changes))


def walls_spec(**changes: Any) -> ModelSpec:
    inputs = ["positions", "box", "charge", "multiplicity"]
    outputs = ["energy", "forces", "centers", "columns"]
    values = {"length_unit": "nm", "energy_unit": "kJ/mol", "dtype": "float64", "inputs": inputs, "outputs": outputs}
    return ModelSpec("walls", **(values | {"particles": 4, "energy_offset": -1e6} | changes))


def pair_force(path: Path, example: dict[str, Any], k: float = 0.25) -> NNPForce:
    force = NNPForce(path, atomicNumbers=example["atomic_numbers"])
    force.addGlobalParameter("k", k)
    return force


def set_up(**changes: Any) -> Callable[[NNPForce], None]:
    """A function that prepares a force with the model Pair, but for what is changed."""

    def apply(force: NNPForce) -> None:
        for name, default in changes.get("parameters", [("k", 0.25)]):
            force.addGlobalParameter(name, default)
        force.setAtomicNumbers(changes.get("numbers", ELEMENTS))
        if "particles" in changes:
            force.setParticles(changes["particles"])
        for method, arguments in changes.get("calls", []):
            getattr(force, method)(*arguments)

    return apply
