"""Quantities as text: `1ns`, `300K`, `0.15M`. A number without its unit is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..spec import ENERGY_UNITS

_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*")


@dataclass(frozen=True)
class Dimension:
    """A kind of quantity: its units by name with their size in the first one, in which values are kept."""

    name: str
    units: Mapping[str, float]
    example: str
    may_be_negative: bool = False

    @property
    def unit(self) -> str:
        return next(iter(self.units))

    def parse(self, text: str) -> float:
        """The value in `unit`. Raises ValueError that shows the form."""
        match = _NUMBER.fullmatch(str(text))
        form = f"write a {self.name} as {self.example} (units: {', '.join(self.units)})"
        if match is None:
            raise ValueError(f"{str(text)!r} is no {self.name}: {form}")
        number, unit = match.groups()
        if not unit:
            raise ValueError(f"{text!r} has no unit: {form}")
        if unit not in self.units:
            raise ValueError(f"{text!r} has the unit {unit!r}, which is none of a {self.name}: {form}")
        value = float(number) * self.units[unit]
        if value < 0 and not self.may_be_negative:
            raise ValueError(f"{text!r} is negative: {form}")
        return value

    def format(self, value: float) -> str:
        """Text that parse() reads back to the same value."""
        for unit, size in sorted(self.units.items(), key=lambda item: -item[1]):
            text = f"{value / size:.12g} {unit}"
            if abs(value) >= 0.1 * size and self.parse(text) == value:
                return text
        return f"{value!r} {self.unit}"


TIME = Dimension("time", {"ps": 1.0, "fs": 1e-3, "ns": 1e3, "us": 1e6}, "1ns")
TEMPERATURE = Dimension("temperature", {"K": 1.0}, "300K")
PRESSURE = Dimension("pressure", {"bar": 1.0, "atm": 1.01325}, "1bar", may_be_negative=True)
CONCENTRATION = Dimension("concentration", {"M": 1.0, "mM": 1e-3}, "0.15M")
LENGTH = Dimension("length", {"nm": 1.0, "A": 0.1, "angstrom": 0.1}, "0.9nm")
ENERGY = Dimension("energy", {name: value for name, value in ENERGY_UNITS.items() if name != "hartree"}, "5kJ/mol")
MASS = Dimension("mass", {"Da": 1.0, "amu": 1.0}, "1.5Da")
RATE = Dimension("rate", {"/ps": 1.0, "1/ps": 1.0, "ps^-1": 1.0}, "1/ps")
STIFFNESS = Dimension(
    "force constant", {"kJ/mol/nm^2": 1.0, "kcal/mol/A^2": 418.4, "kcal/mol/angstrom^2": 418.4}, "1000kJ/mol/nm^2"
)
