"""What the model gives beside energy and forces, as the run goes on: outputs.npy, and geometries it is uncertain of."""

from __future__ import annotations

from collections.abc import Callable

import openmm

from ..reporters.frames import XyzFrames, in_ev
from ..reporters.reading import Reader
from ..reporters.tables import Table, open_table
from ..reporters.uncertainty import largest
from .folder import OUTPUTS, UNCERTAIN
from .prepare import Run, find_force

SPREAD = "energy_std"


class ModelOutputs:
    """Named outputs of the run's model in one phase."""

    def __init__(self, run: Run, phase: str, said: Callable[[str], None]) -> None:
        self._run, self._phase, self._said = run, phase, said
        self._table: Table | None = None
        self._above = self.too_uncertain = False

    def use(self, system: openmm.System) -> None:
        """Read the force of this System from now on."""
        force, named = find_force(system), self._run.options.outputs
        gives_spread = force is not None and force.hasModelSpec() and SPREAD in force.getModelSpec().outputs
        self._spread = Reader(system, [SPREAD, "energy"]) if gives_spread else None
        self._named = Reader(system, named) if force is not None and named else None

    @property
    def in_frames(self) -> bool:
        """Is there a row of outputs for each frame?"""
        return self._named is not None

    def write_frame(self, context: openmm.Context, step: int, time: float) -> None:
        """Append the outputs of the Context, which was just asked for its energy."""
        assert self._named is not None
        if self._table is None:
            self._table = open_table(self._run.folder / OUTPUTS, append=True)
        self._table.append(step, time, self._named.read(context) or [])

    def look(self, context: openmm.Context, step: int, time: float) -> float | None:
        """The spread of the committee in kJ/mol, None without one; what the options say is done where it is large."""
        outputs = self._spread.read(context) if self._spread else None
        if outputs is None:
            return None
        spread, energy = outputs
        value, options = largest(spread.values), self._run.options
        self._warn(value, time)
        if options.harvest_uncertainty is not None and value > options.harvest_uncertainty:
            assert self._spread is not None
            keys = {SPREAD: in_ev(value, spread.unit), "model_energy": in_ev(float(energy.values), energy.unit)}
            frames = XyzFrames(self._run.folder / UNCERTAIN, append=True)
            frames.write(step, time, self._spread.force, context, self._run.topology, {"phase": self._phase} | keys)
        if options.stop_uncertainty is not None and value > options.stop_uncertainty:
            self._said(f"Stopped at {time:g} ps: {_above(value, options.stop_uncertainty)} of --stop-uncertainty.")
            self.too_uncertain = True
        return value

    def _warn(self, value: float, time: float) -> None:
        limit, was_above = self._run.options.warn_uncertainty, self._above
        self._above = limit is not None and value > limit
        if limit is not None and self._above and not was_above:
            self._said(f"Warning at {time:g} ps: {_above(value, limit)}: the model may be outside its domain.")


def _above(value: float, limit: float) -> str:
    return f"energy_std is {value:.4g} kJ/mol, above the limit of {limit:.4g} kJ/mol"
