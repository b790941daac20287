"""What a run left in its folder."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app

__all__ = ["Missing", "RunRecord", "read_runs"]

Array = NDArray[np.float64]


class Missing(Exception):
    """A part of the report can't be made; the text says why, for its reader."""


@dataclass(frozen=True, eq=False)
class RunRecord:
    """A run folder. What may lack in a young run is read when it is asked for, and raises Missing then."""

    folder: Path
    info: Mapping[str, Any]  # run.yaml
    label: str  # unique among the runs of a report

    @property
    def mm_only(self) -> bool:
        """Was this a control run, without the model?"""
        return _is_mm(self.info)

    @property
    def atoms(self) -> list[int]:
        """The region: indices in the topology, in the model's order."""
        return [int(i) for i in self.info["region"]["atoms"]]

    @property
    def bonds(self) -> list[tuple[int, int]]:
        """Bonds inside the region, as indices in the region."""
        place = {atom: k for k, atom in enumerate(self.atoms)}
        return [(place[i], place[j]) for i, j in self.info["region"].get("bonds", ()) if i in place and j in place]

    @cached_property
    def pdb(self) -> app.PDBFile:
        return app.PDBFile(str(self.file("topology.pdb")))

    @property
    def region_name(self) -> str:
        """Names of the region's residues."""
        if not (self.folder / "topology.pdb").is_file():
            return "unknown molecule"
        residues = [atom.residue.name for atom in self.pdb.topology.atoms()]
        return ", ".join(dict.fromkeys(residues[i] for i in self.atoms))

    @cached_property
    def names(self) -> list[str]:
        """Names of the region's atoms."""
        names = [atom.name for atom in self.pdb.topology.atoms()]
        return [names[i] for i in self.atoms]

    @cached_property
    def numbers(self) -> list[int]:
        """Atomic numbers of the region's atoms."""
        elements = [atom.element for atom in self.pdb.topology.atoms()]
        return [elements[i].atomic_number for i in self.atoms]

    @cached_property
    def region_system(self) -> openmm.System:
        """The region alone with its MM terms, in vacuum."""
        return openmm.XmlSerializer.deserialize(self.file("region.xml").read_text(encoding="utf-8"))

    @cached_property
    def log(self) -> dict[str, Array]:
        """Columns of log.csv as numbers (NaN: an empty cell), but "phase", which is text; {} if there are no rows."""
        text = self.file("log.csv").read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1].splitlines()  # a killed run ends in half a row
        rows = [row for row in csv.DictReader(whole) if None not in row.values()]
        columns: dict[str, Any] = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
        log = {
            name: np.array(v) if name == "phase" else np.array([_number(x) for x in v]) for name, v in columns.items()
        }
        return log | {"time_ps": _one_axis(log["phase"], log["time_ps"])} if log else {}

    @cached_property
    def production(self) -> dict[str, Array]:
        """The rows of the log that belong to production, without the column "phase"."""
        if not self.log:
            raise Missing(f"The log of {self.label} is empty.")
        keep = self.log["phase"] == "production"
        if not keep.any():
            raise Missing(f"{self.label} did not reach production, or logged nothing there.")
        return {name: values[keep] for name, values in self.log.items() if name != "phase"}

    @property
    def production_length(self) -> float:
        """Length of production in ps, by the log; 0 if there was none."""
        try:
            times = self.production["time_ps"]
        except Missing:
            return 0.0
        return float(times[-1])

    @cached_property
    def timing(self) -> Mapping[str, Any]:
        """timing.json"""
        timing: Mapping[str, Any] = json.loads(self.file("timing.json").read_text(encoding="utf-8"))
        return timing

    @property
    def trajectory(self) -> Path:
        """The trajectory of production."""
        found = [path for path in (self.folder / "trajectory.xtc", self.folder / "trajectory.dcd") if path.is_file()]
        if not found or not found[0].stat().st_size:
            raise Missing(f"{self.label} has no trajectory.")
        return found[0]

    def model_file(self) -> Path:
        """The model that ran. Raises Missing if there is none, it is gone, or it is another file now."""
        model = self.info.get("model")
        if not model:
            raise Missing(f"{self.label} names no model.")
        path = self.folder / str(model["path"])  # an absolute path stays what it is
        if not path.is_file():
            raise Missing(f"The model {path} is not there any more.")
        if hashlib.sha256(path.read_bytes()).hexdigest() != model.get("sha256"):
            raise Missing(f"The model {path} is not the file that ran: its SHA-256 is another one than in run.yaml.")
        return path

    def file(self, name: str) -> Path:
        """A file of the folder. Raises Missing if it is not there."""
        path = self.folder / name
        if not path.is_file():
            raise Missing(f"{self.label} has no {name}.")
        return path


def read_runs(folders: Sequence[Path]) -> list[RunRecord]:
    """Run folders with labels that tell them apart.

    Raises ValueError if there are none or their regions differ, FileNotFoundError if a folder holds no run.yaml.
    """
    import yaml

    if not folders:
        raise ValueError("a report needs at least one run folder")
    infos = []
    for folder in folders:
        if not (folder / "run.yaml").is_file():
            raise FileNotFoundError(f"{folder} is no run folder: it has no run.yaml, which every run writes first")
        infos.append(yaml.safe_load((folder / "run.yaml").read_text(encoding="utf-8")))
        if not isinstance(infos[-1], dict) or "region" not in infos[-1]:
            raise ValueError(f"{folder / 'run.yaml'} is not what a run writes: it names no region")
    named = [_label(info) for info in infos]
    unique = [
        label if named.count(label) == 1 else f"{label} ({folder.name})"
        for label, folder in zip(named, map(Path.resolve, folders), strict=True)
    ]
    labels = [label if unique.count(label) == 1 else f"{label} {i + 1}" for i, label in enumerate(unique)]
    runs = [RunRecord(*values) for values in zip(folders, infos, labels, strict=True)]
    built = [run for run in runs if (run.folder / "topology.pdb").is_file()]
    for run in built[1:]:
        if run.numbers != built[0].numbers:
            raise ValueError(
                f"{run.folder} has another region than {built[0].folder}: a report is about runs of one molecule"
            )
    return runs


def _label(info: Mapping[str, Any]) -> str:
    return f"{'MM' if _is_mm(info) else 'ML/MM'}, seed {(info.get('options') or {}).get('seed', 'unknown')}"


def _is_mm(info: Mapping[str, Any]) -> bool:
    return str((info.get("options") or {}).get("mm_only")).lower() == "true"


def _one_axis(phases: Array, times: Array) -> Array:
    """Times that count from the start of each phase, on one axis on which production begins at 0."""
    shifted: Array = times.copy()
    end = 0.0
    for phase in reversed([name for name in dict.fromkeys(phases) if name != "production"]):
        here = phases == phase
        end -= times[here][-1]
        shifted[here] += end
    return shifted


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
