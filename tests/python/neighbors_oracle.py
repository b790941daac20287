"""Neighbor lists by brute force, and a model that tells which edges it was given."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openmmnnp import ModelSpec
from openmmnnp.spec import write_spec

CUBE = 2.0 * np.eye(3)
SLANTED = np.array([[2.0, 0, 0], [0.9, 1.7, 0], [-0.7, 0.8, 1.4]])
SMALL = np.array([[0.6, 0, 0], [0.2, 0.5, 0], [-0.2, 0.1, 0.7]])


def brute_force(
    positions: np.ndarray, cutoff: float, box: np.ndarray | None = None, half: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Edges [2, e] and cells [e, 3], sorted, from the distances of all images that can be within the cutoff.

    r_ij = r_j - r_i + S @ box, and |s + S| <= cutoff / height along each vector, where s @ box = r_j - r_i.
    """
    r = positions[None] - positions[:, None]
    nearest, reach = np.zeros_like(r, dtype=np.int64), np.zeros(3, dtype=int)
    if box is not None:
        inverse = np.linalg.inv(box)
        nearest = -np.round(r @ inverse).astype(np.int64)
        reach = np.ceil(cutoff * np.linalg.norm(inverse, axis=0) + 0.5).astype(int)
    tables = []
    for offset in itertools.product(*(range(-m, m + 1) for m in reach)):
        cells = nearest + np.array(offset)
        near = ((r + (0 if box is None else cells @ box)) ** 2).sum(axis=2) < cutoff**2
        i, j = np.nonzero(near)
        tables.append(np.column_stack([i, j, cells[i, j]]))
    table = np.concatenate(tables)
    table = table[np.lexsort(table.T[::-1])]
    i, j, x, y, z = table.T
    positive = (x > 0) | (x == 0) & ((y > 0) | (y == 0) & (z > 0))
    itself = (x == 0) & (y == 0) & (z == 0)
    wanted = np.where(i == j, positive if half else ~itself, (i < j) | (not half))
    return table[wanted, :2].T, table[wanted, 2:]


class Edges(torch.nn.Module):
    """E = sum over edges of (1 - r^2/cutoff^2)^3, with the edges and shifts that the model was given as outputs."""

    def __init__(self, cutoff: float, in_cells: bool) -> None:
        super().__init__()
        self.square = cutoff**2
        self.in_cells = in_cells

    def forward(
        self, positions: torch.Tensor, box: torch.Tensor, edges: torch.Tensor, shifts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        shift = shifts.to(positions.dtype)
        shift = shift @ box if self.in_cells else shift
        r = positions.index_select(0, edges[1]) - positions.index_select(0, edges[0]) + shift
        inside = torch.relu(1 - (r * r).sum(1) / self.square)
        return (inside**3).sum(), edges.to(torch.float64), shifts.to(torch.float64)


def edges_energy(positions: np.ndarray, cutoff: float, box: np.ndarray | None = None, half: bool = False) -> float:
    """The energy of :class:`Edges` by brute force."""
    (i, j), cells = brute_force(positions, cutoff, box, half)
    r = positions[j] - positions[i] + (0 if box is None else cells @ box)
    return float(((1 - (r**2).sum(axis=1) / cutoff**2) ** 3).sum())


def edges_spec(cutoff: float = 0.5, **values: Any) -> ModelSpec:
    """In nm and kJ/mol, with Cartesian shifts and float64 unless said otherwise."""
    values = {"dtype": "float64", "shifts": "cartesian", "length_unit": "nm", "energy_unit": "kJ/mol"} | values
    inputs = ["positions", "box", "edges", "shifts"]
    return ModelSpec("edges", inputs=inputs, outputs=["energy", "edge_list", "shift_list"], cutoff=cutoff, **values)


def save_edges(path: Path, cutoff: float = 0.5, **values: Any) -> Path:
    """:class:`Edges` as TorchScript with :func:`edges_spec`."""
    spec = edges_spec(cutoff, **values)
    torch.jit.script(Edges(cutoff, spec.shifts != "cartesian")).save(str(path))
    write_spec(path, spec)
    return path
