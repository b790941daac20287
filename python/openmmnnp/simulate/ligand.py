"""Reads ligands, and finds their force field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openmm import app, unit

from .options import Options
from .read import STRUCTURES, existing, read_structure


def read_ligand(path: Path) -> tuple[Any, Any]:
    """Topology with bonds, and positions (Quantity [n][3]), of a ligand in a PDB or SDF file with hydrogens."""
    if path.suffix not in (".sdf", ".mol"):
        structure = read_structure(path, (*STRUCTURES, ".sdf", ".mol"))
        if structure.topology.getNumBonds() == 0 and structure.topology.getNumAtoms() > 1:
            raise ValueError(f"{path} has no bonds: it needs CONECT records, or give the ligand as SDF")
        return structure.topology, structure.positions
    from rdkit import Chem

    try:
        molecules = list(Chem.SDMolSupplier(str(existing(path)), removeHs=False))
    except OSError:
        molecules = []
    if len(molecules) > 1:
        raise ValueError(f"{path} holds {len(molecules)} molecules: give a file with the one to simulate")
    molecule = molecules[0] if molecules else None
    if molecule is None or not molecule.GetNumConformers() or not molecule.GetConformer().Is3D():
        raise ValueError(f"{path} holds no molecule with coordinates in three dimensions that RDKit can read")
    missing = sum(atom.GetNumImplicitHs() for atom in molecule.GetAtoms())
    if missing:
        raise ValueError(f"{path} lacks {missing} hydrogens: add them in the right protonation state and pose")
    return _topology_of(molecule), molecule.GetConformer().GetPositions() * unit.angstrom


def _topology_of(molecule: Any) -> app.Topology:
    topology = app.Topology()
    residue = topology.addResidue("LIG", topology.addChain())
    atoms = []
    for i, atom in enumerate(molecule.GetAtoms(), 1):
        element = app.Element.getByAtomicNumber(atom.GetAtomicNum())
        atoms.append(topology.addAtom(f"{element.symbol}{i}", element, residue))
    for bond in molecule.GetBonds():
        topology.addBond(atoms[bond.GetBeginAtomIdx()], atoms[bond.GetEndAtomIdx()])
    return topology


def ligand_force_field(options: Options) -> tuple[Any, list[str]]:
    """A template generator or None, and force field files. Raises ValueError or ImportError if something lacks."""
    name = str(options.ligand_ff)
    if name.endswith(".xml"):
        return None, [str(existing(Path(name)))]
    family = name.split("-")[0]
    if family not in ("gaff", "openff"):
        raise ValueError(f"--ligand-ff {name} is neither an XML file nor a version of gaff or openff (gaff-2.2.20)")
    try:
        from openff.toolkit import Molecule
        from openmmforcefields import generators
    except ImportError as error:
        raise ImportError(
            f"--ligand-ff {name} needs openmmforcefields and OpenFF's toolkit, which are on conda-forge: "
            "run conda install -c conda-forge openmmforcefields, or give an OpenMM XML file"
        ) from error
    kinds = {"gaff": generators.GAFFTemplateGenerator, "openff": generators.SMIRNOFFTemplateGenerator}
    return kinds[family](molecules=Molecule.from_file(str(options.ligand)), forcefield=name).generator, []
