"""All that the sections of a report look at, each part computed once, when a section first asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..progress import Bar
from .evaluate import Evaluated, Potential, mm_potential, model_potential
from .frames import Frames, read_frames
from .run_folder import Missing, RunRecord

__all__ = ["MOST_EVALUATIONS", "Study"]

T = TypeVar("T")

MOST_EVALUATIONS = 2000  # of frames of one split


@dataclass(frozen=True)
class Study:
    """Runs, labelled frames, other models to compare with, picoseconds of NVE, and whether progress is shown."""

    runs: Sequence[RunRecord]
    frames_file: Path | None
    model_files: Sequence[Path]
    nve: float
    progress: bool

    @cached_property
    def main(self) -> RunRecord:
        """The run that the sections on the model are about: the first one with the model, else the first."""
        return next((run for run in self.runs if not run.mm_only), self.runs[0])

    @cached_property
    def mm(self) -> Potential:
        return mm_potential(self.main.region_system)

    @cached_property
    def model(self) -> Potential:
        return self._potential(self.main.model_file())

    @cached_property
    def others(self) -> list[Potential]:
        return [self._potential(path) for path in self.model_files]

    @cached_property
    def frames(self) -> Frames:
        """The labelled frames. Raises Missing if none were given."""
        if self.frames_file is None:
            raise Missing("No labelled geometries were given (option --frames), so there is nothing to compare with.")
        return read_frames(self.frames_file, self.main.numbers)

    @cached_property
    def test(self) -> NDArray[np.int64]:
        """Frames to judge the model by: those held out; if the file does not say which, those of no split."""
        held_out = self.frames.of_split("test")
        return _evenly(held_out if len(held_out) else self.frames.of_split(""))

    @cached_property
    def train(self) -> NDArray[np.int64]:
        """Frames that the model was trained on."""
        return _evenly(self.frames.of_split("train"))

    @cached_property
    def on_test(self) -> Evaluated:
        """What the run's model gives on `test`."""
        return self.model.evaluate(self.shown(self.frames.positions[self.test], "parity, test"))

    @cached_property
    def on_train(self) -> Evaluated:
        """What the run's model gives on `train`."""
        return self.model.evaluate(self.shown(self.frames.positions[self.train], "parity, training"))

    def shown(self, items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
        """The items, with a progress bar if wanted."""
        if not self.progress:
            yield from items
            return
        with Bar(what, len(items) if isinstance(items, Sized) else total) as bar:
            for item in items:
                yield item
                bar.advance(1)

    def _potential(self, path: Path) -> Potential:
        charge = int(self.main.info["region"].get("charge") or 0)
        return model_potential(path, self.main.region_system, self.main.numbers, charge)


def _evenly(indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """All indices, or as many as may be evaluated, evenly chosen."""
    chosen = np.linspace(0, len(indices) - 1, min(len(indices), MOST_EVALUATIONS))
    return np.asarray(indices[np.round(chosen).astype(int)])
