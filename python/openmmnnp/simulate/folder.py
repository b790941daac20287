"""The folder of a run: what is in it, who may write there, and run.yaml."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform as host
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from .._files import named
from .checkpoint import CURRENT, PREVIOUS, write_text
from .options import Options, kind, read_values

RUN, LOG, TIMING = "run.yaml", "log.csv", "timing.json"
SYSTEM, REGION, TOPOLOGY, MINIMIZED = "system.xml", "region.xml", "topology.pdb", "minimized.npy"
STATE, FINAL, REPORT, SAVED = "state.xml", "final.pdb", "report.html", "trajectory.pdb"
OUTPUTS, UNCERTAIN = "outputs.npy", "uncertain.xyz"
_LOCK = ".lock"
_ALL = (
    *(RUN, LOG, TIMING, SYSTEM, REGION, TOPOLOGY, MINIMIZED, STATE, FINAL, REPORT, SAVED, CURRENT, PREVIOUS, _LOCK),
    *(OUTPUTS, UNCERTAIN),
    *("report.json", "changed_bonds.pdb", "trajectory.xtc", "trajectory.dcd", "model.pt", "model.pt2"),
)


INPUTS = ("protein", "ligand", "ligand_ff", "topology", "system", "positions", "model", "frames")


def model_name(path: Path) -> str:
    """The model's name in the folder of a run."""
    return "model.pt2" if path.suffix == ".pt2" else "model.pt"


class RunFolder:
    """A folder that one process at a time writes a run to."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def check_free(self, overwrite: bool) -> None:
        """Raise ValueError if something is in the folder, unless `overwrite` and it is a run and nothing else."""
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"--out {self.path} is a file: name a folder")
        present = sorted(p.name for p in self.path.iterdir() if p.name != _LOCK) if self.path.exists() else []
        if present and not overwrite:
            raise ValueError(
                f"--out {self.path} is not empty: go on with --resume {self.path}, replace the run with --overwrite, "
                "or name another folder"
            )
        if present and RUN not in present:
            raise ValueError(f"--overwrite replaces a run, and {self.path} holds none: name another folder")
        strange = [name for name in present if name.removesuffix(".writing") not in _ALL]
        if strange:
            raise ValueError(
                f"--overwrite removes only what a run writes, and {self.path} also holds {', '.join(strange[:5])}: "
                "move that away, or name another folder"
            )

    def create(self) -> None:
        """Make the folder, empty and locked; what a run wrote there is removed."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.lock()
        self.clear()

    def clear(self) -> None:
        """Remove what a run wrote; run.yaml goes last, since it tells that this is a run."""
        found = [path for path in self.path.iterdir() if path.name.removesuffix(".writing") in _ALL]
        for path in sorted(found, key=lambda path: path.name == RUN):
            if path.name != _LOCK:
                path.unlink()

    def lock(self) -> None:
        """Be the only process that writes here, until it ends. Raises ValueError if another one does."""
        self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.unlock()
            raise ValueError(f"another process is writing to {self.path}: wait for it, or end it first") from None
        except OSError as error:  # a file system without locks
            print(f"Warning: {self.path} can't be locked ({error}): start no second process there.", flush=True)

    def unlock(self) -> None:
        """Let other processes write here."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def read(self) -> dict[str, Any]:
        """run.yaml. Raises ValueError if this is no folder of a run."""
        try:
            values = yaml.safe_load((self.path / RUN).read_text(encoding="utf-8"))
            if not isinstance(values, dict) or not isinstance(values.get("options"), dict):
                raise ValueError("it has no options")
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise ValueError(f"{self.path} is no folder of a run, its {RUN} can't be read: {error}") from error
        return values

    def write(self, values: Mapping[str, Any]) -> None:
        """Replace run.yaml."""
        write_text(self.path / RUN, yaml.safe_dump(dict(values), sort_keys=False, default_flow_style=None, width=100))


def options_from_yaml(path: Path) -> dict[str, Any]:
    """Options by name from a file of options, or from a run.yaml. Raises ValueError."""
    return read_values(mapping_from_yaml(path))


def mapping_from_yaml(path: Path) -> dict[str, Any]:
    """Options by name as YAML holds them. Raises ValueError."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"--config {path} can't be read: {error}") from error
    if isinstance(values, dict) and isinstance(values.get("options"), dict):
        values = values["options"]
    if not isinstance(values, dict):
        raise ValueError(f"--config {path} must hold options by name, like 'time: 1ns'")
    return values


def check_unchanged(options: Options, given: Mapping[str, Any], folder: Path) -> None:
    """Raise ValueError that names the first option in `given` that a resumed run can't change."""
    for option in fields(Options):
        if option.name not in given or option.metadata["resume"]:
            continue
        old, new = getattr(options, option.name), given[option.name]
        if isinstance(old, Path) and isinstance(new, Path):
            old, new = old.absolute(), new.absolute()
        if old != new:
            written = kind(option)
            raise ValueError(
                f"--{option.name.replace('_', '-')} is {written.write(old)} in {folder} and {written.write(new)} now: "
                "a run keeps it to its end; begin a new one with --config and --out"
            )


def sha256(path: Path) -> str:
    """Of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with named(path), open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Of Python and of the packages that compute."""
    found = {"python": host.python_version()}
    return found | {name: version(name) for name in ("openmm", "torch", "numpy", "mdtraj", "rdkit")}


def now() -> str:
    """The time in ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def processor() -> str:
    """The name of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return host.processor() or host.machine()
