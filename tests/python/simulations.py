"""A small job for tests of `simulate`: alanine dipeptide, the ligand ejm_31 beside it, and a cheap model of that."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from openmm import app, unit

from openmmnnp import ModelSpec
from openmmnnp.export import save_pt
from openmmnnp.simulate.options import Options
from systems import alanine_dipeptide

TYK2 = Path(__file__).parents[2] / "examples" / "tyk2"
STIFFNESS, REACH = 1e4, 0.35  # kJ/mol/nm^2, nm


class Springs(torch.nn.Module):
    """Springs of a stiffness (kJ/mol/nm^2) between all pairs within a reach (nm) in a geometry [n, 3] in nm."""

    def __init__(self, reference: torch.Tensor, stiffness: float = STIFFNESS, reach: float = REACH) -> None:
        super().__init__()
        self.stiffness = stiffness
        first, second = torch.triu_indices(len(reference), len(reference), 1)
        length = torch.linalg.norm(reference[first] - reference[second], dim=1)
        near = length < reach
        self.register_buffer("first", first[near])
        self.register_buffer("second", second[near])
        self.register_buffer("length", length[near])

    def distances(self, positions: torch.Tensor) -> torch.Tensor:
        return torch.linalg.norm(positions[self.first] - positions[self.second], dim=1)

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return 0.5 * self.stiffness * torch.sum((self.distances(positions) - self.length) ** 2)


class SpringsWithSpread(Springs):
    """Gives the mean distance as its spread."""

    def forward(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        r = self.distances(positions)
        return 0.5 * self.stiffness * torch.sum((r - self.length) ** 2), r.mean()


def springs_energy(reference: np.ndarray, positions: np.ndarray) -> float:
    """The energy of Springs, in NumPy (kJ/mol, nm)."""
    before, now = (np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (reference, positions))
    pairs = np.triu(before < REACH, k=1)
    return float(0.5 * STIFFNESS * np.sum((now - before)[pairs] ** 2))


def ligand() -> tuple[app.Topology, np.ndarray]:
    """Topology and positions [32, 3] in nm."""
    pdb = app.PDBFile(str(TYK2 / "lig.pdb"))
    return pdb.topology, np.array(pdb.positions.value_in_unit(unit.nanometer))


def write_job(folder: Path) -> Options:
    """Files in the folder, and options that run them in vacuum: 100 steps of production in about a second."""
    topology, reference = ligand()
    protein = alanine_dipeptide(explicit=False)
    normal = np.linalg.svd(reference - reference.mean(axis=0))[2][2]  # the ligand is flat
    centered = np.array(protein.positions.value_in_unit(unit.nanometer))
    away = centered - centered.mean(axis=0) + reference.mean(axis=0) + 0.7 * normal
    with open(folder / "protein.pdb", "w") as file:
        app.PDBFile.writeFile(protein.topology, away * unit.nanometer, file)
    write_springs(folder / "springs.pt", reference)
    return Options(
        protein=folder / "protein.pdb",
        ligand=TYK2 / "lig.pdb",
        ligand_ff=str(TYK2 / "lig_gaff.xml"),
        model=folder / "springs.pt",
        out=folder / "run",
        solvent=False,
        time=0.1,
        nvt=0.02,
        npt=0.02,
        minimize_steps=5,
        log_interval=0.01,
        trajectory_interval=0.02,
        checkpoint_interval=0.03,
        platform="Reference",
        report=False,
        deterministic=True,
        threads=1,
    )


def write_springs(path: Path, reference: np.ndarray) -> None:
    spec = ModelSpec(
        "springs",
        "nm",
        "kJ/mol",
        "float64",
        outputs=["energy", "energy_std"],
        output_units={"energy_std": "kJ/mol"},
        license="MIT",
        domain="tests",
        citation="none",
        particles=len(reference),
        long_range=False,
    )
    model = SpringsWithSpread(torch.tensor(reference))
    save_pt(model, spec, path, examples=[{"positions": reference}, {"positions": 1.01 * reference}])


def wet(job: Options) -> Options:
    """The ligand alone in a small box of water."""
    return replace(job, protein=None, solvent=True, padding=0.6, cutoff=0.6)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Rows of log.csv; numbers as float, empty cells as None."""

    def value(text: str) -> Any:
        try:
            return float(text) if text else None
        except ValueError:
            return text

    with open(folder / "log.csv", newline="", encoding="utf-8") as file:
        return [{name: value(text) for name, text in row.items()} for row in csv.DictReader(file)]
