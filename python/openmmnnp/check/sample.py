"""The geometry that a model is checked with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..atoms import Atoms
from ..spec import LENGTH_UNITS, PARAMETER, ModelSpec

__all__ = ["Array", "Sample", "choose"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """What a force with the model is given.

    Attributes
    ----------
    positions : [n, 3] in nm
    box : rows [3, 3] in nm, in OpenMM's reduced form; None without periodic boundary conditions
    numbers : atomic numbers [n]; None if they are not known
    types : the model's own types [n]; None if it takes none
    charge, multiplicity : of all particles
    parameters : global parameters by name
    source : where it comes from, in words
    """

    positions: Array
    box: Array | None = None
    numbers: tuple[int, ...] | None = None
    types: tuple[int, ...] | None = None
    charge: int = 0
    multiplicity: int = 1
    parameters: Mapping[str, float] = field(default_factory=dict)
    source: str = ""

    @property
    def n(self) -> int:
        """Number of particles."""
        return len(self.positions)


def choose(spec: ModelSpec | None, atoms: Atoms | None) -> Sample:
    """The atoms that the user named, else the largest of the spec's references, else atoms made up for the spec.

    Raises ValueError if the model does not take the atoms, or if a model without a spec was given none.
    """
    if spec is None:
        if atoms is None:
            raise ValueError("the file holds no spec, and so no geometry: name atoms with --pdb or --elements")
        box = None if atoms.box is None else 0.1 * atoms.box
        return Sample(0.1 * atoms.positions, box, atoms.numbers, charge=atoms.charge, source="the atoms given")
    if atoms is not None:
        atoms.check_fits(spec)
        return _from_atoms(spec, atoms, "the atoms given")
    if spec.references:
        largest = max(spec.references, key=lambda reference: len(reference["positions"]))
        return _from_inputs(spec, largest, spec.atomic_numbers, "a reference of the spec")
    sample = _from_atoms(spec, Atoms.for_spec(spec), "a made-up cluster")
    known = spec.elements or spec.atomic_numbers or {"atomic_numbers", "types"} & set(spec.inputs)
    return sample if known else replace(sample, numbers=None)


def _from_atoms(spec: ModelSpec, atoms: Atoms, source: str) -> Sample:
    inputs = atoms.example(spec)
    if "shifts" in spec.inputs and atoms.box is None and not spec.periodic:
        inputs.pop("box", None)  # only a model that must be periodic gets a box of its own
    elif "shifts" in spec.inputs and "box" not in inputs:
        box = atoms.box if atoms.box is not None else atoms.wide_box(spec)
        inputs["box"] = box * 0.1 / LENGTH_UNITS[spec.length_unit]
    return _from_inputs(spec, inputs, list(atoms.numbers), source, atoms.charge)


def _from_inputs(
    spec: ModelSpec, inputs: Mapping[str, Any], numbers: list[int] | None, source: str, charge: int = 0
) -> Sample:
    """From inputs of the model, in its units."""
    nm = LENGTH_UNITS[spec.length_unit]
    periodic = spec.periodic is not False or "shifts" not in spec.inputs
    box = nm * np.array(inputs["box"], dtype=float) if "box" in inputs and periodic else None
    numbers = inputs.get("atomic_numbers", numbers)
    return Sample(
        nm * np.array(inputs["positions"], dtype=float),
        box,
        None if numbers is None else tuple(int(z) for z in numbers),
        tuple(int(t) for t in inputs["types"]) if "types" in inputs else None,
        int(inputs.get("charge", charge)),
        int(inputs.get("multiplicity", 1)),
        {name: float(inputs[PARAMETER + name]) for name in spec.parameter_names()},
        source,
    )
