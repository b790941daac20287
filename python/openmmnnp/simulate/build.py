"""From files to a System: protein and ligand in water, or a set-up that was made elsewhere."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from ..region import region_system
from .ligand import ligand_force_field, read_ligand
from .molecules import make_whole
from .options import Options
from .read import AMBER, POSITIONS, existing, read_prmtop, read_structure, read_system
from .select import select
from .watch import Watch, may_be_bond

_WATER_NAMES = {"HOH", "WAT"}
# The least diagonal element of the box vectors, relative to the width; the box may shrink under pressure.
_NARROWEST = {"dodecahedron": 0.5**0.5, "octahedron": (2 / 3) ** 0.5, "cube": 1.0}
_MARGIN = 1.1
_BOTH_WAYS = "give --protein and --ligand, or --topology and --system"
# Options of a System that is built here: a System that is read has its own.
_BUILDING = ("cutoff", "constraints", "hydrogen_mass")
_MOLECULES = ("forcefield", "add_hydrogens", "ph", "padding", "box_shape", "water", "ionic_strength", "solvent")


@dataclass
class Complex:
    """What is simulated, with MM terms for everything, and the particles that the model takes over."""

    topology: app.Topology
    system: openmm.System  # no barostat
    positions: Any  # Quantity [N][3]
    atoms: tuple[int, ...]  # of the region
    region: openmm.System  # the MM terms of the region alone, without constraints where they are known
    removed: Sequence[str] = ()  # from a System that was given: barostat and thermostat


def build(options: Options, said: Callable[[str], None], *, flexible: bool = False) -> Complex:
    """Read and build what the options name; `said` is told what is done next.

    `flexible` keeps the MM terms of what is constrained, so that constraints can be removed.

    Raises ValueError for options that do not fit together and for files that do not fit each other.
    """
    check_inputs(options)
    random.seed(options.seed)  # Modeller places ions at random
    make = _from_molecules if options.protein or options.ligand else _from_setup
    built = make(options, said, flexible)
    built.removed = _remove_thermostats(built.system)
    _join_molecules(built)
    return built


def check_inputs(options: Options) -> None:
    """Raise ValueError if the options name no set-up, or two."""
    molecules = [name for name in ("protein", "ligand", "ligand_ff") if getattr(options, name)]
    setup = [name for name in ("topology", "system", "positions") if getattr(options, name)]
    if not molecules and not setup:
        raise ValueError(f"nothing to simulate: {_BOTH_WAYS}. `openmm-nnp demo` runs an example")
    if molecules and setup:
        raise ValueError(f"--{molecules[0].replace('_', '-')} and --{setup[0]} were given: {_BOTH_WAYS}")
    if molecules and not options.ligand:
        raise ValueError("a protein alone was given: add --ligand, or use --topology, --system and --ml")
    if options.ligand and not options.ligand_ff:
        raise ValueError(
            f"the ligand {options.ligand} needs a force field for its interactions with the rest: give --ligand-ff an "
            "OpenMM XML file, or gaff-2.2.20, openff-2.2.1, ... where openmmforcefields is installed"
        )
    if setup and not (options.topology and options.system):
        raise ValueError(f"--{setup[0]} was given alone: --topology and --system are needed together")
    if setup and not options.ml:
        raise ValueError("--ml is needed with --topology: say which atoms the model describes, like 'resname LIG'")
    _check_unused(options)


def _check_unused(options: Options) -> None:
    """Options that would silently have no effect are errors."""
    if options.protein or options.ligand:
        if options.ph != Options().ph and not options.add_hydrogens:
            raise ValueError("--ph has no effect without --add-hydrogens: leave it out, or give both")
        return
    read = options.system is not None and options.system.suffix == ".xml"
    for name in (*_MOLECULES, *(_BUILDING if read else ())):
        if getattr(options, name) != getattr(Options(), name):
            raise ValueError(f"--{name.replace('_', '-')} has no effect on {options.system}: leave it out")


def _from_molecules(options: Options, said: Callable[[str], None], flexible: bool) -> Complex:
    said("reading the molecules")
    ligand, positions = read_ligand(existing(options.ligand))
    generator, files = ligand_force_field(options)
    try:
        forcefield = app.ForceField(*options.forcefield, *files)
    except Exception as error:
        names = ", ".join((*options.forcefield, *files))
        raise ValueError(f"the force field {names} can't be read: {error}") from error
    if generator is not None:
        forcefield.registerTemplateGenerator(generator)
    modeller = app.Modeller(app.Topology(), [] * unit.nanometer)
    if options.protein:
        protein = read_structure(existing(options.protein))
        modeller = app.Modeller(protein.topology, protein.positions)
        if options.add_hydrogens:
            said("adding hydrogens")
            _created(modeller.addHydrogens, forcefield, pH=options.ph)
    first = modeller.topology.getNumAtoms()
    modeller.add(ligand, positions)
    atoms = range(first, first + ligand.getNumAtoms())
    if generator is None:
        said("checking the force field")
        _check_templates(forcefield, modeller.topology)
    if options.solvent:
        said("adding water and salt")
        _solvate(modeller, forcefield, options)
    elif not any(residue.name in _WATER_NAMES for residue in modeller.topology.residues()):
        modeller.topology.setPeriodicBoxVectors(None)  # the crystal's cell, empty
    said("creating the System")
    system = _created(
        forcefield.createSystem, modeller.topology, **_system_options(options, modeller.topology, flexible)
    )
    _check_masses(system, options)
    chosen = select(modeller.topology, options.ml) if options.ml else tuple(atoms)
    if chosen == tuple(atoms):
        region = _created(forcefield.createSystem, ligand, nonbondedMethod=app.NoCutoff, removeCMMotion=False)
    else:
        region = region_system(system, chosen)
    _copy_masses(system, chosen, region)
    return Complex(modeller.topology, system, modeller.positions, chosen, region)


def _solvate(modeller: app.Modeller, forcefield: app.ForceField, options: Options) -> None:
    """Water and salt; around a small solute more than the padding, so that the cutoff fits into the box."""
    positions = np.array(modeller.positions.value_in_unit(unit.nanometer))
    center = (positions.min(axis=0) + positions.max(axis=0)) / 2
    radius = float(np.linalg.norm(positions - center, axis=1).max())
    narrowest = 2 * options.cutoff * _MARGIN / _NARROWEST[options.box_shape]
    _created(
        modeller.addSolvent,
        forcefield,
        model=options.water,
        padding=max(options.padding, narrowest - 2 * radius) * unit.nanometer,
        boxShape=options.box_shape,
        ionicStrength=options.ionic_strength * unit.molar,
    )


def _created(make: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What OpenMM makes of a force field and molecules; ValueError with its text if it can't."""
    try:
        return make(*arguments, **options)
    except Exception as error:
        raise ValueError(f"OpenMM can't build the System: {error}") from error


def _check_masses(system: openmm.System, options: Options) -> None:
    sites = (i for i in range(system.getNumParticles()) if not system.isVirtualSite(i))
    if any(system.getParticleMass(i)._value <= 0 for i in sites):
        mass = options.hydrogen_mass
        raise ValueError(f"--hydrogen-mass {mass} Da leaves atoms without mass: 4 Da is the most that carbons can give")


def _system_options(options: Options, topology: Any, flexible: bool) -> dict[str, Any]:
    periodic = topology.getPeriodicBoxVectors() is not None
    return {
        "nonbondedMethod": app.PME if periodic else app.NoCutoff,
        "nonbondedCutoff": options.cutoff * unit.nanometer,
        "constraints": {"none": None, "hbonds": app.HBonds, "allbonds": app.AllBonds}[options.constraints],
        "flexibleConstraints": flexible,
        "hydrogenMass": options.hydrogen_mass and options.hydrogen_mass * unit.dalton,
    }


def _from_setup(options: Options, said: Callable[[str], None], flexible: bool) -> Complex:
    assert options.ml
    said("reading the set-up")
    topology_file, system_file = existing(options.topology), existing(options.system)
    if topology_file.suffix in AMBER:
        if options.positions is None:
            raise ValueError(f"{topology_file} holds no positions: give --positions an inpcrd, rst7 or PDB file")
        coordinates = read_structure(existing(options.positions), POSITIONS)
        box = coordinates.boxVectors if hasattr(coordinates, "boxVectors") else None
        structure = read_prmtop(topology_file, box)
    else:
        structure = read_structure(topology_file)
        coordinates = read_structure(existing(options.positions), POSITIONS) if options.positions else structure
    topology = structure.topology
    said("creating the System")
    if system_file.suffix == ".xml":
        system = read_system(system_file)
    elif system_file.suffix in AMBER:
        prmtop = structure if system_file == topology_file else read_prmtop(system_file, None)
        system = _created(prmtop.createSystem, **_system_options(options, topology, flexible))
    else:
        raise ValueError(f"{system_file} is no System: --system takes OpenMM's XML, or a prmtop")
    _check_counts(topology, system, coordinates.positions, options)
    if topology.getPeriodicBoxVectors() is not None:
        system.setDefaultPeriodicBoxVectors(*topology.getPeriodicBoxVectors())
    elif system.usesPeriodicBoundaryConditions():
        topology.setPeriodicBoxVectors(system.getDefaultPeriodicBoxVectors())
    atoms = select(topology, options.ml)
    return Complex(topology, system, coordinates.positions, atoms, region_system(system, atoms))


def _check_counts(topology: Any, system: openmm.System, positions: Sequence[Any], options: Options) -> None:
    counts = topology.getNumAtoms(), system.getNumParticles(), len(positions)
    if len(set(counts)) > 1:
        raise ValueError(
            f"{options.topology} has {counts[0]} atoms, {options.system} {counts[1]} and the positions are of "
            f"{counts[2]}: all three must describe the same particles"
        )


def _copy_masses(system: openmm.System, atoms: Sequence[int], region: openmm.System) -> None:
    for i, particle in enumerate(atoms):
        region.setParticleMass(i, system.getParticleMass(particle))


def _remove_thermostats(system: openmm.System) -> list[str]:
    """What was removed: barostat and thermostat are the protocol's.

    Raises ValueError for barostats that it does not have.
    """
    removed: list[str] = []
    for i in reversed(range(system.getNumForces())):
        kind = type(system.getForce(i)).__name__
        if "Barostat" in kind and kind != "MonteCarloBarostat":
            raise ValueError(f"the System holds a {kind}, and only the isotropic MonteCarloBarostat is supported here")
        if kind in ("MonteCarloBarostat", "AndersenThermostat"):
            system.removeForce(i)
            removed.insert(0, kind)
    return removed


def _join_molecules(built: Complex) -> None:
    """Give the topology all bonds of the region, and put the pieces of a molecule that the box cut back together.

    Raises ValueError if atoms of the region that are bonded are far apart all the same.
    """
    atoms = list(built.topology.atoms())
    known = {frozenset((a.index, b.index)) for a, b in built.topology.bonds()}
    for i, j in _region_bonds(built):
        if frozenset((i, j)) not in known:
            built.topology.addBond(atoms[i], atoms[j])
    members = set(built.atoms)
    bonds = [(a.index, b.index) for a, b in built.topology.bonds() if a.index in members and b.index in members]
    positions = np.array(built.positions.value_in_unit(unit.nanometer))
    vectors = built.topology.getPeriodicBoxVectors()
    box = None if vectors is None else np.array([v.value_in_unit(unit.nanometer) for v in vectors])
    make_whole(positions, bonds, box)
    numbers = [atoms[i].element.atomic_number if atoms[i].element else 0 for i in built.atoms]
    broken = Watch(built.atoms, numbers, bonds, positions).look(positions, box).broken
    if broken:
        names = ", ".join(f"{atoms[i].name}-{atoms[j].name}" for i, j in broken[:10])
        raise ValueError(f"bonds of the model's molecules are far too long in the input ({names}): look at the files")
    built.positions = positions * unit.nanometer


def _region_bonds(built: Complex) -> Iterator[tuple[int, int]]:
    for force in built.region.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for k in range(force.getNumBonds()):
                i, j = force.getBondParameters(k)[:2]
                yield built.atoms[i], built.atoms[j]
    elements = [atom.element for atom in built.topology.atoms()]
    for k in range(built.region.getNumConstraints()):
        i, j, distance = built.region.getConstraintParameters(k)
        pair = built.atoms[i], built.atoms[j]
        first, second = (elements[p].atomic_number if elements[p] else 0 for p in pair)
        if may_be_bond(first, second, distance.value_in_unit(unit.nanometer)):
            yield pair


def _check_templates(forcefield: app.ForceField, topology: app.Topology) -> None:
    unmatched = forcefield.getUnmatchedResidues(topology)
    if unmatched:
        names = ", ".join(f"{r.name} {r.id} of chain {r.chain.id}" for r in unmatched[:10])
        raise ValueError(
            f"the force field has no template for {len(unmatched)} residues ({names}): hydrogens may be missing "
            "(--add-hydrogens), or a residue is none of the force field's (--forcefield, --ligand-ff)"
        )
