"""A model file as a calculator of ASE: the plugin evaluates it, as in OpenMM."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import ase
import numpy as np
import openmm
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

from . import _core
from ._units import in_units
from .force import NNPForce
from .spec import DERIVATIVE, ENERGY_UNITS, LENGTH_UNITS

__all__ = ["NNPCalculator"]

Floats = NDArray[np.float64]

_EV = ENERGY_UNITS["eV"]  # kJ/mol
_NM = 10.0  # angstrom
# ASE's names of properties for outputs that have others here.
_PROPERTIES = {"atomic_energy": "energies"}
# Units of outputs in those of ASE: angstrom, eV, e, dalton, fs.
_UNITS = {
    **{name: _NM * value for name, value in LENGTH_UNITS.items()},
    **{name: value / _EV for name, value in ENERGY_UNITS.items()},
    **{"ps": 1000.0, "fs": 1.0},
}


class NNPCalculator(Calculator):
    """Energy (eV), forces (eV/angstrom) and named outputs of a model, ``.pt`` or ``.pt2``.

    Named outputs are properties by their names, ``calc.get_property("energy_std", atoms)``, in eV, angstrom and e where
    the model's spec gives their unit; ``atomic_energy`` is ASE's ``energies``. What has ASE's own names, ``charges``
    and ``dipole``, is found by ``atoms.get_charges()`` and ``atoms.get_dipole_moment()``.

    ``atoms.pbc`` must be all True or all False. Any cell is right: OpenMM wants the first vector along x and the second
    in the xy plane, so that atoms are turned into that orientation, and forces and ``dipole`` back; other outputs that
    have directions stay in it. The Context is kept while elements and ``pbc`` are the same.

    There is no ``stress``, since a model gives none. ASE's own ``FiniteDifferenceCalculator(calc, eps_disp=None)``
    computes it from energies; use models in float64 for that.
    """

    atoms: Any

    def __init__(
        self,
        model: Any,
        *,
        charge: int = 0,
        multiplicity: int = 1,
        parameters: Mapping[str, float] | None = None,
        platform: str = "CPU",
        **kwargs: Any,
    ) -> None:
        """Read the model file now; its code is loaded when atoms are known.

        Parameters
        ----------
        model : what NNPForce takes: a path, bytes, or a scripted module
        charge, multiplicity : of all atoms together
        parameters : values of the model's parameters, in OpenMM's units
        platform : OpenMM's platform
        """
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self._model = NNPForce(model, charge=charge, multiplicity=multiplicity)
        self._spec = self._model.getModelSpec() if self._model.hasModelSpec() else None
        if self._spec is not None and "mm_positions" in self._spec.inputs:
            self._model.setMMCharges([], [])
        for name, value in (parameters or {}).items():
            self._model.addGlobalParameter(name, value)
        self._platform = platform
        self._force: NNPForce | None = None
        self._context: openmm.Context | None = None
        outputs = [name for name in self._spec.outputs if not name.startswith(DERIVATIVE)] if self._spec else []
        self._outputs = [name for name in outputs if name not in ("energy", "forces")]
        named = [_PROPERTIES.get(name, name) for name in self._outputs]
        self.implemented_properties = ["energy", "free_energy", "forces", *named]

    def __getstate__(self) -> dict[str, Any]:
        """All but the Context, which is made again where it is needed."""
        return self.__dict__ | {"_context": None, "_force": None}

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Fill ``results``. Called by ASE. Raises ValueError for atoms that are periodic in some directions only, and
        OpenMMException where the model fails or does not take these atoms."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        if self._context is None or {"numbers", "pbc"} & set(system_changes):
            self._make_context()
        context, force = self._context, self._force
        assert context is not None and force is not None
        turn = np.eye(3)
        if self.atoms.pbc.any():
            box, turn = reduced_box(np.array(self.atoms.cell))
            context.setPeriodicBoxVectors(*(box / _NM))
        context.setPositions(self.atoms.positions @ turn / _NM)
        state = context.getState(energy=True, forces=True)
        energy = state.getPotentialEnergy()._value / _EV
        forces = state.getForces(asNumpy=True)._value / _EV / _NM @ turn.T
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        for name in self._outputs:
            values = in_units(*_core.getOutput(int(force.this), int(context.this), name), _UNITS)[()]
            self.results[_PROPERTIES.get(name, name)] = values @ turn.T if name == "dipole" else values

    def _make_context(self) -> None:
        """A Context for the elements and the boundary conditions of the atoms."""
        atoms = self.atoms
        if atoms.pbc.any() != atoms.pbc.all():
            raise ValueError(
                f"atoms.pbc is {atoms.pbc.tolist()}, but a model is periodic in all directions or in none: set all, "
                "with a cell that is wide in the others"
            )
        self._force, system = copy.deepcopy(self._model), openmm.System()
        if self._spec is not None:
            self._force.setAtomicNumbers(atoms.numbers)
        self._force.setUsesPeriodicBoundaryConditions(bool(atoms.pbc.all()))
        for _ in atoms:
            system.addParticle(1.0)
        system.addForce(self._force)
        if atoms.pbc.all():
            system.setDefaultPeriodicBoxVectors(*(reduced_box(np.array(atoms.cell))[0] / _NM))
        self._context = openmm.Context(
            system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform(self._platform)
        )


def reduced_box(cell: Floats) -> tuple[Floats, Floats]:
    """A box [3, 3] of the same lattice in OpenMM's reduced form, and the rotation that leads to it.

    A vector v [3] becomes v @ rotation. Raises ValueError if the cell [3, 3] has no volume.
    """
    volume = np.linalg.det(cell)
    if abs(volume) < 1e-6:
        raise ValueError(f"the atoms are periodic, but their cell has no volume: {cell.tolist()}")
    right_handed = cell * np.array([[1.0], [1.0], [np.sign(volume)]])  # the lattice has c and -c
    rotation, upper = np.linalg.qr(right_handed.T)
    signs = np.sign(np.diag(upper))
    rotation, box = rotation * signs, (upper.T * signs)
    for _ in range(2):  # a second time for what rounding left in the first
        for row, column in ((2, 1), (2, 0), (1, 0)):
            box[row] -= box[column] * np.round(box[row, column] / box[column, column])
    return np.tril(box), rotation
