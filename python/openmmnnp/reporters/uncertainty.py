"""A reporter that watches how far the members of a committee disagree, and acts on it."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app

from .._units import without_unit
from ..force import NNPForce
from .frames import XyzFrames, in_ev
from .outputs import checked_interval, next_report
from .reading import Floats, Output, Reader
from .tables import open_table


class UncertaintyWarning(UserWarning):
    """The uncertainty of a model has risen above the limit `warn`."""


class UncertaintyError(RuntimeError):
    """The uncertainty of a model is above the limit `stop`. The Simulation is whole and could go on."""


class UncertaintyReporter:
    """Watches an output that tells how uncertain a model is, such as the spread of a committee.

    Each limit is a Quantity, or a number in OpenMM's units, or None. Above ``warn`` a warning is given, once for each
    time that it is passed; above ``harvest`` the particles of the force are written to ``frames`` at each report, for
    labelling and training; above ``stop`` UncertaintyError ends ``Simulation.step()``, after the row and the frame were
    written: put this reporter last, so that the others have reported too. What is compared is the absolute value of an
    output without dimensions, the largest of an output [n], and the longest row of one like forces [n, 3]. What is not
    a number is above every limit.

    Frames are extended XYZ in angstrom with ``step``, ``time`` (ps), ``model`` (its SHA-256 in short), the output and
    ``model_energy`` (both in eV). They hold no ``energy`` and no ``forces``, so that a training program has them
    labelled instead of taking the model's own for the truth.
    """

    def __init__(
        self,
        file: str | os.PathLike[str] | None,
        reportInterval: int,
        *,
        warn: Any = None,
        harvest: Any = None,
        stop: Any = None,
        frames: str | os.PathLike[str] | None = None,
        output: str = "energy_std",
        force: NNPForce | None = None,
        append: bool = False,
    ) -> None:
        """Make a reporter.

        Raises ValueError if there is nothing to do, or if ``harvest`` and ``frames`` do not come together.

        Parameters
        ----------
        file : path of a table, ``.csv`` or ``.npy``, of the value at each report; None for no table
        reportInterval : number of steps between reports
        warn, harvest, stop : the limits
        frames : path of the extended XYZ file, with ``harvest``
        output : name of the output to watch
        force : the NNPForce to read, if the System holds several
        append : go on with the files; rows and frames of steps after the Simulation's ``currentStep`` are removed
            whenever a run goes back, as from a checkpoint. Without it the files are begun anew.
        """
        if (harvest is None) != (frames is None):
            raise ValueError("harvest=LIMIT and frames=FILE go together: give both, or neither")
        if file is None and warn is None and harvest is None and stop is None:
            raise ValueError(
                "an UncertaintyReporter with no file and no limit does nothing: give warn, harvest or stop"
            )
        self._interval = checked_interval(reportInterval)
        self._warn, self._harvest, self._stop = (without_unit(limit) for limit in (warn, harvest, stop))
        self._table = None if file is None else open_table(file, append)
        self._frames = None if frames is None else XyzFrames(Path(frames), append)
        self._output, self._force, self._reader = output, force, None
        self._warned = False

    _reader: Reader | None

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, Any]:
        """When the next report is due. Called by the Simulation."""
        if self._reader is None:
            self._reader = Reader(simulation.system, [self._output, "energy"], self._force)
        for file in (self._table, self._frames):
            if file is not None:
                file.cut(simulation.currentStep)
        return next_report(self._interval, simulation)

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        """Look at the output and act. Called by the Simulation; raises UncertaintyError above ``stop``."""
        assert self._reader is not None
        outputs = self._reader.read(simulation.context)
        if outputs is None:
            return
        found, energy = outputs
        value, step, time = largest(found.values), simulation.currentStep, state.getTime()._value
        if self._table is not None:
            self._table.append(step, time, [Output(found.name, found.unit, np.array(value))])
        if self._frames is not None and not value <= self._harvest:
            keys = {found.name: in_ev(value, found.unit), "model_energy": in_ev(float(energy.values), energy.unit)}
            self._frames.write(step, time, self._reader.force, simulation.context, simulation.topology, keys)
        if self._warn is not None:
            above, before = not value <= self._warn, self._warned
            self._warned = above
            if above and not before:
                warnings.warn(_said(found, value, step, self._warn), UncertaintyWarning, stacklevel=2)
        if self._stop is not None and not value <= self._stop:
            raise UncertaintyError(
                f"{_said(found, value, step, self._stop)}. The Simulation was stopped there: look at what the model "
                "has not seen, and train it on such geometries (harvest=... collects them)"
            )


def largest(values: Floats) -> float:
    """The absolute value of a number, the largest of [n], the longest row of [..., 3]."""
    sizes = np.linalg.norm(values, axis=-1) if values.ndim > 1 else np.abs(values)
    return float(sizes.max())


def _said(output: Output, value: float, step: int, limit: float) -> str:
    unit = f" {output.unit}" if output.unit else ""
    return f"the model's {output.name} is {value:.4g}{unit} at step {step}, above the limit of {limit:.4g}{unit}"
