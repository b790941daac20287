"""Reporters that write a model's named outputs, atom by atom or by residue."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import openmm
from openmm import app

from ..force import NNPForce
from .reading import Output, Reader
from .tables import open_table


def next_report(interval: int, simulation: app.Simulation) -> dict[str, Any]:
    """What OpenMM asks a reporter: when it comes next, and that it wants the energy."""
    return {"steps": interval - simulation.currentStep % interval, "periodic": None, "include": ["energy"]}


def checked_interval(interval: int) -> int:
    """The interval. Raises ValueError if it is no number of steps."""
    if isinstance(interval, bool) or int(interval) != interval or interval < 1:
        raise ValueError(f"reportInterval must be a number of steps, at least 1, but {interval!r} was given")
    return int(interval)


class OutputReporter:
    """Writes named outputs of an NNPForce, a row for each report.

    The file is a table in CSV (``.csv``), with a column for each number, or a structured array in NumPy's format
    (``.npy``), made for outputs of many atoms: ``numpy.load(file, mmap_mode="r")["charges_e"]`` is [rows, n]. Columns
    are ``step``, ``time_ps``, then each output with its unit, in OpenMM's units where the model's spec gives one. Atoms
    are in the order of the force's particles. A named output is what the model gave: neither the scale parameter nor
    the constant part of the energy is applied to it. There is no row where a scale parameter of 0 made OpenMM skip the
    model.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        reportInterval: int,
        outputs: Sequence[str],
        *,
        force: NNPForce | None = None,
        append: bool = False,
    ) -> None:
        """Make a reporter.

        Raises ValueError for another kind of file; the first step raises it if the force or an output is not there, or
        if a file that is appended to has other columns.

        Parameters
        ----------
        file : path of a ``.csv`` or ``.npy`` file
        reportInterval : number of steps between reports
        outputs : names of outputs, such as ``["energy", "charges"]``
        force : the NNPForce to read, if the System holds several
        append : go on with the file; rows of steps after the Simulation's ``currentStep`` are removed whenever a run
            goes back, as from a checkpoint. Without it the file is begun anew.
        """
        self._interval = checked_interval(reportInterval)
        self._outputs = [outputs] if isinstance(outputs, str) else list(outputs)
        self._force, self._reader = force, None
        self._table = open_table(file, append)

    _reader: Reader | None

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, Any]:
        """When the next report is due. Called by the Simulation."""
        if self._reader is None:
            self._reader = Reader(simulation.system, self._outputs, self._force)
        self._table.cut(simulation.currentStep)
        return next_report(self._interval, simulation)

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        """Write a row. Called by the Simulation."""
        assert self._reader is not None
        outputs = self._reader.read(simulation.context)
        if outputs is not None:
            self._table.append(simulation.currentStep, state.getTime()._value, self._columns(simulation, outputs))

    def _columns(self, simulation: app.Simulation, outputs: list[Output]) -> list[Output]:
        return outputs


class ResidueEnergyReporter(OutputReporter):
    """Writes the energy of each residue: the sum of an output of atoms' energies over the residue's particles.

    The residues are those of the Simulation's topology, in its order; a link atom counts to the residue of its ML
    particle. The sum over all is the model's energy without
    its constant part. How a network divides its energy among atoms is its own choice, not a property of the molecule:
    compare residues in time, or between states.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        reportInterval: int,
        *,
        output: str = "atomic_energy",
        force: NNPForce | None = None,
        append: bool = False,
    ) -> None:
        """Make a reporter; `output` [n] or [n, 1] holds the atoms' energies. The rest is as for OutputReporter."""
        super().__init__(file, reportInterval, [output], force=force, append=append)
        self._members: dict[str, list[int]] | None = None

    def _columns(self, simulation: app.Simulation, outputs: list[Output]) -> list[Output]:
        (output,) = outputs
        if self._members is None:
            self._members = self._residues(simulation, output)
        energies = output.values.ravel()
        sums = np.array([energies[members].sum() for members in self._members.values()])
        return [Output("residue_energy", output.unit, sums, tuple(self._members))]

    def _residues(self, simulation: app.Simulation, output: Output) -> dict[str, list[int]]:
        """Places in the output by residue."""
        assert self._reader is not None
        force = self._reader.force
        particles = force.getParticles() if force.usesSubset() else range(simulation.system.getNumParticles())
        owners = [*particles, *(force.getLinkAtomParameters(i)[0] for i in range(force.getNumLinkAtoms()))]
        if output.values.size != len(owners):
            raise ValueError(
                f"the output {output.name!r} has the shape {list(output.values.shape)}, but an energy for each of the "
                f"{len(owners)} atoms that the model sees is needed"
            )
        found = {}
        for residue in simulation.topology.residues():
            atoms = {atom.index for atom in residue.atoms()}
            members = [i for i, owner in enumerate(owners) if owner in atoms]
            if members:
                found[f"{residue.name} {residue.chain.id}:{residue.id}{residue.insertionCode.strip()}"] = members
        return found
