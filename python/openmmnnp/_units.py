"""Numbers with units, at the border between openmm.unit and the compiled force, which knows only OpenMM's own units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openmm import unit

from .spec import ENERGY_UNITS, LENGTH_UNITS

# Name in a ModelSpec -> its value in the OpenMM unit beside it (openmm.unit's hartree and bohr are not CODATA 2022's).
_UNITS: dict[str, tuple[float, unit.Unit]] = {
    **{name: (value, unit.nanometer) for name, value in LENGTH_UNITS.items()},
    **{name: (value, unit.kilojoule_per_mole) for name, value in ENERGY_UNITS.items()},
    "e": (1.0, unit.elementary_charge),
    "dalton": (1.0, unit.dalton),
    "kelvin": (1.0, unit.kelvin),
    "ps": (1.0, unit.picosecond),
    "fs": (1e-3, unit.picosecond),
    "1": (1.0, unit.dimensionless),
}


def with_unit(values: NDArray[np.float64], name: str) -> Any:
    """`values` (an array, or a number if it has no dimensions) as a Quantity in OpenMM's units.

    `name` is one of the units above or several joined by ``*`` and ``/``, from left to right (``eV/angstrom``).
    Without a name, or with one that is not known, the plain values are returned.
    """
    plain = values[()]
    known = _parse(name, _UNITS)
    return plain if known is None else unit.Quantity(plain * known[0], known[1])


def without_unit(value: Any) -> Any:
    """The value in OpenMM's units (nm, ps, kJ/mol, e, K) of a Quantity; anything else as it is."""
    return value.value_in_unit_system(unit.md_unit_system) if unit.is_quantity(value) else value


def in_units(values: NDArray[np.float64], name: str, sizes: Mapping[str, float]) -> NDArray[np.float64]:
    """`values` in other units: `sizes` holds that of each unit, those not in it being 1; as they are without a unit."""
    known = _parse(name, {unit_name: (sizes.get(unit_name, 1.0), 1) for unit_name in _UNITS})
    return values if known is None else values * known[0]


def _parse(name: str, units: Mapping[str, tuple[float, Any]]) -> tuple[float, Any] | None:
    if name in units:
        return units[name]
    at = max(name.rfind("*"), name.rfind("/"))
    left, right = (_parse(name[:at], units), units.get(name[at + 1 :])) if at > 0 else (None, None)
    if left is None or right is None:
        return None
    if name[at] == "*":
        return left[0] * right[0], left[1] * right[1]
    return left[0] / right[0], left[1] / right[1]
