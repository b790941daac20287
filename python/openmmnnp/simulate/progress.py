"""Progress on the terminal: bars with speed and time left, lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import openmm
from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 60.0  # in a file, where bars would be a mess


class Bar:
    """Shows how far something is, on a terminal as a bar, else in a line now and then; a context manager.

    `total` is None if it is not known; `done` was done before.
    """

    def __init__(self, label: str, total: float | None = None, unit: str = "", done: float = 0.0) -> None:
        self._label, self._total, self._unit, self._done = label, total, unit, done
        self._first, self._began, self._said_at = done, time.monotonic(), time.monotonic()
        self._values = ""
        self._bar = self._make_bar() if sys.stdout.isatty() else None

    def _make_bar(self) -> tqdm[Any]:
        known = "{desc:<24} {percentage:3.0f}% |{bar:24}| {n:.5g}/{total:.5g} {unit} [{elapsed}<{remaining}{postfix}]"
        form = known if self._total else "{desc:<24} {n:.0f} {unit} [{elapsed}{postfix}]"
        return tqdm(
            total=self._total,
            desc=self._label,
            unit=self._unit,
            initial=self._done,
            file=sys.stdout,
            mininterval=0.5,
            miniters=0,
            dynamic_ncols=True,
            bar_format=form,
        )

    def advance(self, done: float, label: str = "", **values: str) -> None:
        """Add `done`; a label says what is done now, values are shown behind the bar."""
        self._done += done
        self._label = label or self._label
        self._values = "".join(f", {name} {value}" for name, value in values.items())
        if self._bar is not None:
            self._bar.set_description_str(self._label, refresh=False)
            self._bar.set_postfix_str(self._values.removeprefix(", "), refresh=False)
            self._bar.update(done)
        elif time.monotonic() - self._said_at > _SECONDS_BETWEEN_LINES:
            self._say()

    def _say(self) -> None:
        self._said_at = time.monotonic()
        spent, total = self._said_at - self._began, self._total
        text = f"{self._label}: {self._done:.5g}" + (f" of {total:.5g} {self._unit}" if total else f" {self._unit}")
        text += f" in {clock(spent)}{self._values}"
        if total and self._first < self._done < total:
            text += f", {clock(spent * (total - self._done) / (self._done - self._first))} left"
        print(text, flush=True)

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        else:
            self._say()


class MinimizationProgress(openmm.MinimizationReporter):
    """Shows iterations and energy of a minimization. Pass it to Simulation.minimizeEnergy() as `reporter`."""

    def __init__(self, bar: Bar) -> None:
        super().__init__()
        self._bar = bar

    def report(self, iteration: int, x: Sequence[float], grad: Sequence[float], args: Mapping[str, float]) -> bool:
        """Called by OpenMM after each iteration; False lets the minimization go on."""
        self._bar.advance(1, energy=f"{args['system energy']:.0f} kJ/mol")
        return False


def clock(seconds: float) -> str:
    """A duration for people: 45 s, 3.2 min, 1.4 h, 2.1 d."""
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"
