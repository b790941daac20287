"""A virtual environment of the install matrix."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROBE = Path(__file__).with_name("probe.py")
# What would let a process see more than its environment.
HIDDEN = ("PYTHONPATH", "LD_LIBRARY_PATH", "OPENMMNNP_TORCH_LIB", "OPENMMNNP_EXTENSIONS", "VIRTUAL_ENV")


class Failure(Exception):
    """A case of the matrix that did not come out as it should."""


class Skipped(Exception):
    """A case of the matrix that can't be tried here."""


class Environment:
    """A new virtual environment in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        run(sys.executable, "-m", "venv", folder)
        self.python = folder / "bin" / "python"

    def pip(self, *arguments: str) -> str:
        return run(self.python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)

    def packages(self) -> dict[str, str]:
        """Name, in lower case, and version of what is installed."""
        found = json.loads(run(self.python, "-m", "pip", "list", "--format", "json"))
        return {package["name"].lower(): package["version"] for package in found}

    def site_packages(self) -> Path:
        (path,) = self.folder.glob("lib/python3*/site-packages")
        return path

    def probe(self, function: str, *arguments: str | Path, first: Path | None = None) -> dict[str, Any]:
        """What a function of probe.py answers; packages in the folder `first` hide installed ones."""
        paths = {"PYTHONPATH": str(first)} if first else {}
        answer = run(self.python, PROBE, function, *arguments, **paths).splitlines()[-1]
        result: dict[str, Any] = json.loads(answer)
        return result


def run(*command: str | Path, **environment: str) -> str:
    """What a command writes to its standard output. Raises Failure with the end of its errors."""
    env = {name: value for name, value in os.environ.items() if name not in HIDDEN}
    result = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        env=env | {"OMP_NUM_THREADS": "1"} | environment,
    )
    if result.returncode:
        words = " ".join(str(word) for word in command[:6])
        raise Failure(f"{words} ... ended with {result.returncode}: {(result.stderr or result.stdout).strip()[-600:]}")
    return result.stdout
