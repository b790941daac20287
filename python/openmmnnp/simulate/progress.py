"""Progress of a minimization."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

import openmm


class MinimizationProgress(openmm.MinimizationReporter):
    """Prints iteration and energy (kJ/mol) every `interval` iterations of a minimization, to stdout by default."""

    def __init__(self, interval: int = 20, stream: TextIO | None = None) -> None:
        super().__init__()
        self.iterations = 0
        self._interval, self._stream = interval, stream or sys.stdout

    def report(self, iteration: int, x: Sequence[float], grad: Sequence[float], args: Mapping[str, float]) -> bool:
        """Called by OpenMM after each iteration; False lets the minimization go on."""
        self.iterations += 1
        if self.iterations % self._interval == 0:
            energy, error = args["system energy"], args["max constraint error"]
            line = f"minimization: iteration {self.iterations}, {energy:.1f} kJ/mol, constraints within {error:.1e} nm"
            print(line, file=self._stream, flush=True)
        return False
