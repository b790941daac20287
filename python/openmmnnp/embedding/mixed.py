"""createSystem and createMixedSystem: OpenMM Systems in which a model describes everything, or a region."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import openmm
from openmm import app

from ..force import NNPForce
from .charges import charges_for_model, without_coulomb
from .images import minus_images
from .interpolate import LAMBDA
from .links import LinkAtoms, find_link_atoms, wants_links
from .mechanical import hand_over, whole_charge, without_region
from .model import check_elements, own_force, set_periodicity, set_state, takes_box
from .region import atomic_numbers, make_region, mm_charge
from .select import select
from .table import RemovedTable
from .warn import warn


def createSystem(
    topology: app.Topology, model: Any, *, charge: int = 0, multiplicity: int = 1, removeCMMotion: bool = True
) -> openmm.System:
    """Create a System that a model describes alone.

    Raises ValueError if an atom has no element or one that the model does not know, or if the topology is periodic and
    the model is not.

    Parameters
    ----------
    topology : openmm.app.Topology
        its atoms, their elements and bonds, and, if it is periodic, the box
    model : path, bytes, scripted module or NNPForce
        what :class:`NNPForce` takes, or a force with options set, which is copied
    charge : int
        total charge in e
    multiplicity : int
        spin multiplicity 2S+1
    removeCMMotion : bool
        add a CMMotionRemover
    """
    force = own_force(model)
    numbers = atomic_numbers(topology, range(topology.getNumAtoms()))
    check_elements(force, numbers)
    system = openmm.System()
    for atom in topology.atoms():
        system.addParticle(atom.element.mass)
    if (box := topology.getPeriodicBoxVectors()) is not None:
        system.setDefaultPeriodicBoxVectors(*box)
        if not takes_box(force):
            raise ValueError(
                "the topology is periodic and the model is not, so that molecules would be cut at the box: take a "
                "periodic model, or remove the box with topology.setPeriodicBoxVectors(None)"
            )
        force.setUsesPeriodicBoundaryConditions(True)
    force.setAtomicNumbers(numbers)
    set_state(force, charge, multiplicity)
    for bond in topology.bonds():
        force.addBond(bond.atom1.index, bond.atom2.index)
    system.addForce(force)
    if removeCMMotion:
        system.addForce(openmm.CMMotionRemover())
    return system


def createMixedSystem(
    topology: app.Topology,
    system: openmm.System,
    atoms: Iterable[int] | str,
    model: Any,
    removeConstraints: bool = True,
    forceGroup: int = 0,
    interpolate: bool = False,
    embedding: str = "mechanical",
    returnInfo: bool = False,
    *,
    charge: int | None = None,
    multiplicity: int = 1,
    linkAtoms: LinkAtoms = "error",
) -> Any:
    """Create a System in which a model describes a region, and a conventional force field all else.

        E = E_MM(System) - E_MM(region) + E_model(region)

    Neither `system` nor `model` is modified. Arguments and results are those of openmm-ml's createMixedSystem.

    Raises ValueError for a region, a System or a model that does not fit, see the text of each; warns of what is seldom
    meant.

    Parameters
    ----------
    topology : openmm.app.Topology
        gives elements, bonds and names of the System's particles
    system : openmm.System
        everything described by a force field
    atoms : iterable of int, or str
        particle indices in the order in which the model wants them, read once; or what
        :func:`openmmnnp.embedding.select` takes, like "resname LIG"
    model : path, bytes, scripted module or NNPForce
        what :class:`NNPForce` takes, or a force with options set, which is copied
    removeConstraints : bool
        remove the constraints between particles of the region
    forceGroup : int
        force group of the model
    interpolate : bool
        add the global parameter lambda_interpolate: E = (1 - lambda) E(before) + lambda E(mixed), 1 by default, with
        the derivative dE/dlambda. Before means `system` without the constraints that were removed.
    embedding : str
        "mechanical"; or "electrostatic" for a model with the inputs mm_positions and mm_charges, which then has the
        Coulomb interactions of the region with all else, so that they leave the MM side
    returnInfo : bool
        return a dictionary with `system`, `topology` (as given: link atoms are no particles), `oldToNew` (the
        identity), `removed` (a table of MM terms that can be printed) and `force` (the NNPForce in the System)
    charge : int, optional
        charge of the region in e; by default the sum of its MM charges, which must be an integer then
    multiplicity : int
        spin multiplicity 2S+1 of the region
    linkAtoms : str or mapping
        "error" refuses a region that cuts bonds, and lists them. "hydrogen" puts a hydrogen on each, as far from the
        region's atom as the sum of the covalent radii; {(inside, outside): length} gives other distances.
    """
    links = wants_links(linkAtoms)
    if embedding not in ("mechanical", "electrostatic"):
        raise ValueError(f"embedding={embedding!r}, needed is 'mechanical' or 'electrostatic'")
    force = own_force(model)
    chosen = select(topology, atoms) if isinstance(atoms, str) else atoms
    region = make_region(topology, system, chosen, links=links, interpolate=interpolate)
    link_atoms = find_link_atoms(region, linkAtoms)
    numbers = atomic_numbers(topology, region.atoms)
    check_elements(force, [*numbers, *(1 for _ in link_atoms)])
    images_in_model = set_periodicity(force, region, system, embedding)
    mixed = without_region(system, region, removeConstraints)
    net_charge = _region_charge(mm_charge(system, region.atoms), charge, bool(link_atoms))
    if embedding == "electrostatic":
        charges = charges_for_model(system, region, link_atoms, net_charge or 0)
        without_coulomb(mixed, region)
        force.setMMCharges(list(charges), list(charges.values()))
    elif images_in_model:
        region.taken += minus_images(mixed, region)
    for link in link_atoms:
        force.addLinkAtom(link.ml, link.mm, link.distance)
    set_state(force, net_charge, multiplicity)
    force.setForceGroup(forceGroup)
    if interpolate:
        _scale(force, bool(region.taken))
    hand_over(mixed, region, force, numbers)
    warn(region, system, mixed)
    if not returnInfo:
        return mixed
    info = {"system": mixed, "topology": topology, "oldToNew": list(range(topology.getNumAtoms()))}
    return info | {"removed": RemovedTable(region.removed), "force": force}


def _region_charge(mm: float | None, charge: int | None, linked: bool) -> int | None:
    """The charge of the region in e, None if nothing says it."""
    if mm is None or charge is None:
        return charge if mm is None else whole_charge(mm, linked)
    if abs(mm - charge) > (0.5 if linked else 0.01):  # a cut residue has no integer charge
        raise ValueError(
            f"charge={charge} was given, but the MM charges of the region add up to {mm:.4f} e: which is right?"
        )
    return charge


def _scale(force: NNPForce, defined: bool) -> None:
    """Multiply the model by lambda; `defined` if other forces have the parameter."""
    if force.getScaleParameter():
        raise ValueError(
            f"the model's force has the scale parameter {force.getScaleParameter()!r}, but interpolation needs it for "
            f"{LAMBDA}: set none"
        )
    force.setScaleParameter(LAMBDA, None if defined else 1.0)
    force.addEnergyParameterDerivative(LAMBDA)
