"""Small run folders for tests of the report: toluene with a harmonic model, alone or beside a peptide in a box."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import openmm
import torch
import yaml
from openmm import app, unit

from openmmnnp import ModelSpec
from openmmnnp.spec import ENERGY_UNITS, write_spec
from systems import toluene

EV = ENERGY_UNITS["eV"]
PAIRS = 5.0  # kJ/mol/nm^2 for each pair of atoms
LOG_HEAD = ["phase", "step", "time_ps", "potential_kJ/mol", "temperature_K", "density_g/mL", "model_kJ/mol"]
LOG_HEAD += ["energy_std_kJ/mol", "changed_bonds", "speed_ns/day"]


class Springs(torch.nn.Module):
    """Springs of length 0 between all pairs of atoms; energy_std is 1 % of the energy, both in kJ/mol."""

    def forward(self, positions: torch.Tensor, atomic_numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        r = positions.unsqueeze(1) - positions.unsqueeze(0)
        energy = 0.5 * 5.0 * (r * r).sum()
        return energy, 0.01 * energy.detach()


def springs(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energies [m] in kJ/mol and forces [m, n, 3] in kJ/mol/nm of Springs at x [m, n, 3] in nm."""
    r = x[:, :, None] - x[:, None]
    return 0.5 * PAIRS * (r**2).sum(axis=(1, 2, 3)), -2 * PAIRS * r.sum(axis=2)


def save_springs(path: Path, name: str = "springs", module: Any = None, **values: Any) -> Path:
    (module or torch.jit.script(Springs())).save(str(path))
    spec: dict[str, Any] = {"length_unit": "nm", "energy_unit": "kJ/mol", "dtype": "float64", "long_range": False}
    spec |= {"inputs": ["positions", "atomic_numbers"], "outputs": ["energy", "energy_std"]}
    write_spec(path, ModelSpec(name, **(spec | {"output_units": {"energy_std": "kJ/mol"}} | values)))
    return path


def region() -> tuple[app.Topology, openmm.System, np.ndarray]:
    """Toluene without constraints: its topology, its System, positions [15, 3] in nm."""
    tested = toluene()
    for _ in range(tested.system.getNumConstraints()):
        tested.system.removeConstraint(0)
    return tested.topology, tested.system, np.array(tested.positions.value_in_unit(unit.nanometer))


def log_rows(std: Sequence[float], every: int = 10) -> list[dict[str, Any]]:
    """Two rows of equilibration, and one of production for each energy_std, of steps of 1 fs."""
    rows = []
    for k, value in enumerate([float("nan"), float("nan"), *std]):
        step = (k + 1 if k < 2 else k - 1) * every  # counted from the start of the phase
        values = ["nvt" if k < 2 else "production", step, step * 1e-3, -100 + k % 3, 300 + k % 5, "", -7.0 + k % 2]
        rows.append(dict(zip(LOG_HEAD, [*values, "" if np.isnan(value) else value, 0, ""], strict=True)))
    return rows


def write_run(
    folder: Path,
    model: Path,
    trajectory: np.ndarray,
    *,
    mm_only: bool = False,
    seed: int = 1,
    std: Sequence[float] = (),
    timing: Mapping[str, Any] | None = None,
) -> Path:
    """A run of toluene in vacuum, with the trajectory [frames, 15, 3] in nm."""
    topology, system, positions = region()
    folder.mkdir()
    with open(folder / "topology.pdb", "w") as file:
        app.PDBFile.writeFile(topology, positions * unit.nanometer, file)
    with open(folder / "final.pdb", "w") as file:
        app.PDBFile.writeFile(topology, trajectory[-1] * unit.nanometer, file)
    (folder / "region.xml").write_text(openmm.XmlSerializer.serialize(system))
    written = mdtraj.Trajectory(trajectory, mdtraj.load_topology(folder / "topology.pdb"))
    written.time = 5.0 + 0.01 * np.arange(len(trajectory))
    written.save_xtc(folder / "trajectory.xtc")
    with open(folder / "log.csv", "w", newline="") as log:
        table = csv.DictWriter(log, LOG_HEAD)
        table.writeheader()
        table.writerows(log_rows(std))
    (folder / "timing.json").write_text(json.dumps(timing or {"steps": 10 * len(std), "ns_per_day": 8.0, "seconds": 1}))
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    info = {
        "openmm-nnp": "0.1.0",
        "versions": {"openmm": "8.6.1"},
        "created": "2026-11-21T12:00:00",
        "machine": {"platform": "Reference", "precision": "double"},
        "options": {"mm_only": mm_only, "seed": seed, "time": "1 ps"},
        "inputs": {"ligand": {"path": "<b>toluene</b>.pdb", "sha256": "0" * 64}},
        "model": {"path": str(model), "sha256": sha256, "name": "springs"},
        "region": {
            "atoms": list(range(15)),
            "charge": 0,
            "bonds": [[b[0].index, b[1].index] for b in topology.bonds()],
        },
        "removed": [["HarmonicBondForce", "bonds", 15, 0], ["NonbondedForce", "pairs", 105, None]],
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(info))
    return folder


def write_frames(
    path: Path,
    numbers: Sequence[int],
    x: np.ndarray,
    energies: np.ndarray,
    forces: np.ndarray,
    keys: Sequence[str],
) -> Path:
    """Frames [m, n, 3] in nm as extended XYZ in angstrom, eV and eV/angstrom, with `keys` of each, e.g. split=test."""
    lines = []
    for geometry, energy, force, key in zip(x * 10, energies / EV, forces / EV / 10, keys, strict=True):
        properties = "Properties=species:S:1:pos:R:3:forces:R:3"
        lines += [str(len(numbers)), f'{properties} energy={float(energy)!r} {key} pbc="F F F"']
        for z, position, f in zip(numbers, geometry, force, strict=True):
            symbol = app.Element.getByAtomicNumber(z).symbol
            lines.append(" ".join([symbol, *(repr(float(v)) for v in (*position, *f))]))
    with gzip.open(path, "wt") as file:
        file.write("\n".join(lines) + "\n")
    return path
