"""What a model needs to be told of a System, and whether the two fit."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import openmm
from openmm import app

from .._elements import ELEMENTS
from ..force import NNPForce
from ..spec import ModelSpec
from .region import Region


def own_force(model: Any) -> NNPForce:
    """A force of the model; a copy if `model` is a force."""
    return NNPForce.cast(copy.deepcopy(model)) if NNPForce.isinstance(model) else NNPForce(model)


def set_state(force: NNPForce, charge: int | None, multiplicity: int) -> None:
    """Charge and multiplicity, where they are known; what a force was given before stays otherwise."""
    if charge is not None:
        force.setCharge(charge)
    if multiplicity != 1:
        force.setMultiplicity(multiplicity)
    spec = _spec(force)
    if force.getCharge() and spec is not None and "charge" not in spec.inputs:
        warnings.warn(
            f"the charge is {force.getCharge()} e, but the model {spec.name!r} does not take it: was it trained for "
            "such molecules?",
            stacklevel=3,
        )


def takes_box(force: NNPForce) -> bool:
    """Can the model see periodic images? Without a spec it does if the force says so."""
    spec = _spec(force)
    if spec is None:
        return bool(force.usesPeriodicBoundaryConditions())
    return spec.periodic is not False and not {"box", "shifts"}.isdisjoint(spec.inputs)


def check_elements(force: NNPForce, numbers: Sequence[int]) -> None:
    """Raise ValueError for elements that the model's spec does not name, if it names any."""
    spec = _spec(force)
    known = set() if spec is None else set(spec.elements or spec.atomic_energies or spec.atomic_numbers or ())
    if spec is not None and not known and set(spec.type_map or ()) <= set(ELEMENTS):
        known = {ELEMENTS.index(symbol) + 1 for symbol in spec.type_map or ()}
    if known and (unknown := sorted(set(numbers) - known)):
        given, needed = (_symbols(sorted(z)) for z in (unknown, known))
        name = "" if spec is None else spec.name
        raise ValueError(
            f"the region holds the elements {given}, which the model {name!r} does not know; it knows {needed}"
        )


def set_periodicity(force: NNPForce, region: Region, system: openmm.System, embedding: str) -> bool:
    """Make the force periodic where it has to be; says whether the model has the region's images in its energy.

    A molecule is seen as it is, unwrapped; several molecules in a periodic System, or a long-range model, by nearest
    images. Raises ValueError if the model does not say whether its interactions are long-range.
    """
    spec = _spec(force)
    electrostatic = embedding == "electrostatic"
    if electrostatic and (spec is None or not {"mm_positions", "mm_charges"} <= set(spec.inputs)):
        raise ValueError(
            "electrostatic embedding needs a model with the inputs mm_positions and mm_charges in its spec, and this "
            "one does not have them: use embedding='mechanical'"
        )
    if not electrostatic and spec is not None and "mm_positions" in spec.inputs:
        force.setMMCharges([], [])
    if not system.usesPeriodicBoundaryConditions():
        return False
    long_range = not electrostatic and _is_long_range(spec)
    region.nearest_images = _is_several_molecules(region, system)
    if region.nearest_images and not takes_box(force):
        raise ValueError(
            "the region holds several molecules of a periodic System, and the model takes no box, so that it can't "
            "find the nearest images of one from another: choose one molecule, or a model that is periodic"
        )
    demanded = spec is not None and (spec.periodic is True or ("box" in spec.inputs and "shifts" not in spec.inputs))
    if takes_box(force) and (demanded or long_range or region.nearest_images):
        force.setUsesPeriodicBoundaryConditions(True)
    return long_range


def _is_long_range(spec: ModelSpec | None) -> bool:
    """Does the model have the interactions of periodic images? One that is never periodic can't."""
    if spec is not None and spec.periodic is False:
        return False
    if spec is None or spec.long_range is None:
        raise ValueError(
            "the System is periodic, and the model does not say whether it has long-range interactions, which would be "
            "counted twice: set long_range to true or false in its spec (openmmnnp.spec.write_spec)"
        )
    return spec.long_range


def _is_several_molecules(region: Region, system: openmm.System) -> bool:
    """Do the region's atoms belong to more than one molecule of the System?"""
    bonded = [set(atoms) for atoms in region.bonded]
    pairs = [system.getConstraintParameters(k)[:2] for k in range(system.getNumConstraints())]
    for force in (f for f in system.getForces() if isinstance(f, openmm.HarmonicBondForce)):
        pairs += [force.getBondParameters(k)[:2] for k in range(force.getNumBonds())]
    for i, j in pairs:
        bonded[i].add(j)
        bonded[j].add(i)
    reached, waiting = set(region.atoms[:1]), list(region.atoms[:1])
    while waiting:
        new = bonded[waiting.pop()] - reached
        reached |= new
        waiting += new
    return not region.members <= reached


def _spec(force: NNPForce) -> ModelSpec | None:
    return force.getModelSpec() if force.hasModelSpec() else None


def _symbols(numbers: Sequence[int]) -> str:
    return ", ".join(app.Element.getByAtomicNumber(z).symbol for z in numbers)
