"""The folder of a leg. Files are replaced as a whole, or grow by whole lines: a kill at any moment costs one piece.

leg.yaml                 options, inputs with their SHA-256, the model's atoms, versions; written when the rest is there
system.xml               the mixed System, without a barostat, which holds the model by path and SHA-256
region.xml               the MM terms that the model replaces
topology.pdb, start.npz  minimized
lambda_0.0000/equilibrated.npz, sampled.npz   the last moment of both, to go on from
lambda_0.0000/gaps.csv                        E(ML/MM) - E(MM) of each sample (mbar)
lambda_0.0000/00000.npz, ...                  the samples from which switches begin (bar)
forward_10ps.csv, reverse_10ps.csv            works, and dE/dlambda over the switch
leg.log, failure.txt                          what a leg said on a cluster, and why it failed
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from .._files import named, replacing
from ..simulate.checkpoint import write_text
from ..simulate.folder import RunFolder

Floats = NDArray[np.float64]

LEG, SYSTEM, REGION, TOPOLOGY, START = "leg.yaml", "system.xml", "region.xml", "topology.pdb", "start.npz"
LOG, FAILURE = "leg.log", "failure.txt"
FORWARD, REVERSE = "forward", "reverse"
EQUILIBRATED, SAMPLED = "equilibrated.npz", "sampled.npz"
PROFILE = 20  # parts of a switch for which the mean dE/dlambda is kept


class Frame(NamedTuple):
    """Positions and velocities [N, 3] (nm, nm/ps; no velocities where new ones are drawn) and the box's rows [3, 3]."""

    positions: NDArray[Any]
    velocities: Floats | None
    box: Floats | None


class LegFolder(RunFolder):
    """What a leg has computed so far."""

    def read_record(self) -> dict[str, Any] | None:
        """leg.yaml, None if the leg is not prepared. Raises ValueError if it can't be read."""
        if not (self / LEG).exists():
            return None
        try:
            values = yaml.safe_load((self / LEG).read_text(encoding="utf-8"))
            if not isinstance(values, dict) or not isinstance(values.get("options"), dict):
                raise ValueError("it has no options")
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise ValueError(f"{self.path} is no folder of a leg, its {LEG} can't be read: {error}") from error
        return values

    def write_record(self, values: dict[str, Any]) -> None:
        """Replace leg.yaml."""
        write_text(self / LEG, yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=100))

    def at(self, lambda_: float) -> Path:
        """The folder of a state."""
        return self / f"lambda_{lambda_:.4f}"

    def read_moment(self, lambda_: float, name: str) -> tuple[int, Frame | None]:
        """How many steps or samples are done, and the frame to go on from (None before the first)."""
        path = self.at(lambda_) / name
        if not path.exists():
            return 0, None
        with named(path), np.load(path) as values:
            return int(values["done"]), read_frame(values)

    def write_moment(self, lambda_: float, name: str, done: int, frame: Frame) -> None:
        """Make this the moment to go on from."""
        write_frame(self.at(lambda_) / name, frame, done=done)

    def sample(self, lambda_: float, index: int) -> Path:
        """The file of a sample."""
        return self.at(lambda_) / f"{index:05d}.npz"

    def gaps(self, lambda_: float) -> Table:
        """E(ML/MM) - E(MM) of the samples of a state."""
        return Table(self.at(lambda_) / "gaps.csv", ("sample", "gap_kJ/mol"))

    def works(self, direction: str, switch: float) -> Table:
        """Works of switches of a length (ps), and dE/dlambda in parts of them, in the order of time."""
        parts = (f"dE/dlambda_{k + 1}" for k in range(PROFILE))
        return Table(self / f"{direction}_{switch:g}ps.csv", ("sample", "work_kJ/mol", *parts))


class Table:
    """Rows of numbers, the first an index. A row that was written twice counts as it was written last."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self._columns = path, columns

    def append(self, index: int, values: Sequence[float]) -> None:
        """Add a row, and force it to disk."""
        self._cut_torn_line()
        begun = self.path.exists() and self.path.stat().st_size > 0
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows(([] if begun else [self._columns]) + [[index, *(repr(float(value)) for value in values)]])
        with named(self.path), open(self.path, "a", encoding="utf-8") as file:
            file.write(text.getvalue())
            file.flush()
            os.fsync(file.fileno())

    def read(self, count: int | None = None) -> dict[int, Floats]:
        """The rows with an index below `count` by their index, in its order."""
        if not self.path.exists():
            return {}
        with named(self.path):
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines[1:] if line.endswith("\n")]
        rows = {int(row[0]): np.array(row[1:], float) for row in csv.reader(whole)}
        return {index: rows[index] for index in sorted(rows) if count is None or index < count}

    def column(self, count: int) -> Floats:
        """The second column of the rows with an index below `count`."""
        return np.array([row[0] for row in self.read(count).values()])

    def _cut_torn_line(self) -> None:
        """A kill may leave a part of a line at the end."""
        if not self.path.exists():
            return
        with named(self.path):
            content = self.path.read_bytes()
        end = content.rfind(b"\n") + 1
        if end < len(content):
            os.truncate(self.path, end)


def write_frame(path: Path, frame: Frame, **more: Any) -> None:
    """Replace a file as a whole by a frame."""
    path.parent.mkdir(exist_ok=True)
    values = {name: value for name, value in frame._asdict().items() if value is not None}
    with replacing(path) as file:
        np.savez(file, **values, **more)


def read_frame(values: Any) -> Frame:
    """The frame in what np.load gives."""
    optional = [values[name] if name in values else None for name in ("velocities", "box")]
    return Frame(values["positions"], *optional)
