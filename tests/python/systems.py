"""Small real systems for tests, read from the files that the PyPI package openmmtools holds (it is never imported)."""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import openmm
import pytest
from openmm import app, unit


class TestedSystem(NamedTuple):
    topology: app.Topology
    system: openmm.System
    positions: unit.Quantity  # [n] Vec3, nm
    __test__ = False


def host_guest(part: str) -> TestedSystem:
    """CB7-B2: part is complex-explicit (4,491 atoms), complex-vacuum (156) or ligand, which is the guest B2 (30)."""
    return _amber("cb7-b2", part, ".inpcrd")


def alanine_dipeptide(explicit: bool) -> TestedSystem:
    """Alanine dipeptide (22 atoms) in TIP3P water (2,269 atoms in all) or in vacuum."""
    return _amber("alanine-dipeptide-explicit" if explicit else "alanine-dipeptide-gbsa", "alanine-dipeptide", ".crd")


def toluene() -> TestedSystem:
    """Toluene in vacuum (15 atoms)."""
    return _amber("benzene-toluene-implicit", "solvent", ".inpcrd")


def water() -> TestedSystem:
    """A box of 900 TIP3P waters (2,700 atoms)."""
    pdb = app.PDBFile(str(_data() / "waterbox" / "tip3p900.pdb"))
    system = app.ForceField("tip3p.xml").createSystem(pdb.topology, app.PME, 0.9 * unit.nanometer)
    return TestedSystem(pdb.topology, system, pdb.positions)


def residue(topology: app.Topology, *names: str) -> list[int]:
    """Indices of the atoms of all residues with one of these names."""
    return [atom.index for atom in topology.atoms() if atom.residue.name in names]


def _data() -> Path:
    spec = find_spec("openmmtools")
    if spec is None or spec.origin is None:
        pytest.skip("needs the files of openmmtools: pip install --no-deps openmmtools")
    return Path(spec.origin).parent / "data"


def _amber(folder: str, name: str, suffix: str) -> TestedSystem:
    path = _data() / folder / name
    coordinates = app.AmberInpcrdFile(f"{path}{suffix}")
    prmtop = app.AmberPrmtopFile(f"{path}.prmtop", periodicBoxVectors=coordinates.boxVectors)
    method = app.NoCutoff if coordinates.boxVectors is None else app.PME
    system = prmtop.createSystem(nonbondedMethod=method, nonbondedCutoff=0.9 * unit.nanometer, constraints=app.HBonds)
    return TestedSystem(prmtop.topology, system, coordinates.positions)
