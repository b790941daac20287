"""A package as nequip-compile writes it, of a model that needs no nequip: same inputs, outputs, shapes and metadata."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

TYPES = ["H", "C", "O"]
CUTOFF = 4.0
METADATA = {
    "model_dtype": "float64",
    "type_names": " ".join(TYPES),
    "num_types": "3",
    "r_max": str(CUTOFF),
    "allow_tf32": "0",
    "nequip_aoti_inputs": "pos edge_index atom_types cell edge_cell_shift",
    "nequip_aoti_outputs": "atomic_energy total_energy forces stress",
}
CHARGES = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)


class Toy(torch.nn.Module):
    """E = 1/2 sum_edges q_i q_j (r - c)^2 for r < c; the determinant is what nequip's stress calls out for."""

    def forward(
        self, pos: Tensor, edge_index: Tensor, atom_types: Tensor, cell: Tensor, edge_cell_shift: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        i, j = edge_index[0], edge_index[1]
        vectors = pos[j] - pos[i] + edge_cell_shift @ cell.view(3, 3)
        r = vectors.square().sum(1).sqrt()
        charges = CHARGES[atom_types]
        depth = (CUTOFF - r).clamp(min=0)
        energies = 0.5 * charges[i] * charges[j] * depth**2
        pulls = (2 * energies / depth.clamp(min=1e-300) / r).unsqueeze(1) * vectors
        zero = torch.zeros_like(pos)
        forces = zero.index_add(0, j, pulls).index_add(0, i, -pulls)
        atomic = zero[:, :1].index_add(0, i, energies.unsqueeze(1))
        volume = torch.linalg.det(cell).abs().view(1, 1, 1)
        stress = -(vectors.T @ pulls).unsqueeze(0) / volume
        return atomic, atomic.sum().view(1, 1), forces, stress


def compile_toy(path: Path) -> Path:
    """Compile it as nequip-compile does."""
    rng = np.random.default_rng(0)
    inputs = (
        torch.tensor(rng.normal(size=(5, 3))),
        torch.tensor([[0, 1, 2, 3, 4, 0], [1, 0, 3, 2, 0, 4]]),
        torch.tensor([0, 1, 2, 0, 1]),
        8.0 * torch.eye(3, dtype=torch.float64).unsqueeze(0),
        torch.zeros(6, 3, dtype=torch.float64),
    )
    n, e = torch.export.Dim("n", min=2), torch.export.Dim("e", min=2)
    shapes = ({0: n}, {1: e}, {0: n}, None, {0: e})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        program = torch.export.export(Toy(), inputs, dynamic_shapes=shapes)
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(path), inductor_configs={"aot_inductor.metadata": dict(METADATA)}
        )
    return path


def without_program(path: Path, **changes: Any) -> Path:
    """An archive of the same layout with nothing to run, and other metadata; None leaves a key out."""
    metadata = {key: value for key, value in (METADATA | changes).items() if value is not None}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.nequip/data/aotinductor/model/a.wrapper_metadata.json", json.dumps(metadata))
    path.write_bytes(buffer.getvalue())
    return path


def oracle(x: np.ndarray, types: list[int], box: np.ndarray | None) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy in eV, forces [n, 3] in eV/angstrom and energies [n] of positions in angstrom, over all images."""
    charges = CHARGES.numpy()[types]
    cells = [np.zeros(3)]
    if box is not None:
        reach = range(-3, 4)
        cells = [np.array([a, b, c]) @ box for a in reach for b in reach for c in reach]
    energies, forces = np.zeros(len(x)), np.zeros(x.shape)
    for shift in cells:
        vectors = x[None] - x[:, None] + shift
        r = np.sqrt((vectors**2).sum(2))
        near = (r < CUTOFF) & (r > 0)
        pair = np.where(near, np.outer(charges, charges) * (CUTOFF - r), 0)
        energies += (0.5 * pair * (CUTOFF - r)).sum(1)
        forces -= 2 * ((pair / np.where(near, r, 1))[:, :, None] * vectors).sum(1)
    return float(energies.sum()), forces, energies
