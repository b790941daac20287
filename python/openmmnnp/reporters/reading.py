"""Finding a model's force in a System, and reading its named outputs after an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from ..force import NNPForce
from ..spec import DERIVATIVE, ModelSpec

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Output:
    """Values of an output and its unit, "" for none; `components` name the elements of a vector."""

    name: str
    unit: str
    values: Floats
    components: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name and unit, as in ``charges_e``."""
        return f"{self.name}_{self.unit}" if self.unit else self.name


def named_outputs(spec: ModelSpec | None) -> list[str]:
    """What ``getOutput()`` knows: "energy" always, forces and derivatives never."""
    others = [name for name in (spec.outputs if spec else ()) if name not in ("energy", "forces")]
    return ["energy", *(name for name in others if not name.startswith(DERIVATIVE))]


def find_forces(system: openmm.System) -> list[tuple[NNPForce, int]]:
    """The NNPForces of a System, also those that are variables of a CustomCVForce, with the groups they count to."""
    return [(NNPForce.cast(f), force.getForceGroup()) for force in system.getForces() for f in _inside(force)]


def _inside(force: openmm.Force) -> Iterator[openmm.Force]:
    if NNPForce.isinstance(force):
        yield force
    elif isinstance(force, openmm.CustomCVForce):
        for i in range(force.getNumCollectiveVariables()):
            yield from _inside(force.getCollectiveVariable(i))


class Reader:
    """Reads outputs of one NNPForce in a Context."""

    def __init__(self, system: openmm.System, names: Sequence[str], force: NNPForce | None = None) -> None:
        """Find the force, or `force` itself, in the System.

        Raises ValueError if it is not there, if there are several to choose from, or if its model does not give one of
        the outputs.
        """
        self.force, self._group = _choose(find_forces(system), force)
        self.names = tuple(names)
        spec = self.force.getModelSpec() if self.force.hasModelSpec() else None
        given = named_outputs(spec)
        missing = [name for name in names if name not in given]
        if missing or not names:
            asked = f"the output {missing[0]!r}" if missing else "no output"
            raise ValueError(
                f"{asked} was asked for, but the model {self.force.getModelPath()!r} gives {', '.join(given)}: choose "
                "among these"
            )
        self._units = spec.output_units if spec else {}

    def read(self, context: openmm.Context) -> list[Output] | None:
        """The outputs at the positions of the Context, which was just asked for its energy.

        None if the scale parameter made OpenMM skip the model.
        """
        if self._is_skipped(context):
            return None
        if not context.getIntegrator().getIntegrationForceGroups() >> self._group & 1:
            context.getState(energy=True, groups={self._group})  # a Simulation's report leaves this group out
        return [self._output(name, self.force.getOutput(context, name)) for name in self.names]

    def _output(self, name: str, value: Any) -> Output:
        if not unit.is_quantity(value):
            return Output(name, self._units.get(name, ""), np.asarray(value, dtype=np.float64))
        symbol = "" if value.unit.is_dimensionless() else value.unit.get_symbol().replace(" ", "*")
        return Output(name, symbol, np.asarray(value._value, dtype=np.float64))

    def _is_skipped(self, context: openmm.Context) -> bool:
        scale = self.force.getScaleParameter()
        count = self.force.getNumEnergyParameterDerivatives()
        derivatives = [self.force.getEnergyParameterDerivativeName(i) for i in range(count)]
        return bool(scale) and scale not in derivatives and context.getParameter(scale) == 0


def _choose(found: list[tuple[NNPForce, int]], force: NNPForce | None) -> tuple[NNPForce, int]:
    names = ", ".join(repr(f.getName()) for f, _ in found)
    if force is not None:
        found = [(f, group) for f, group in found if int(f.this) == int(force.this)]
        if not found:
            raise ValueError(
                f"the force {force.getName()!r} is not in the Simulation's System, whose NNPForces are "
                f"[{names}]: give one of those, such as NNPForce.cast(simulation.system.getForce(i))"
            )
    if len(found) != 1:
        raise ValueError(
            f"the Simulation's System holds {len(found)} NNPForces [{names}], but a reporter reads one: "
            "name it with force=..."
        )
    return found[0]
