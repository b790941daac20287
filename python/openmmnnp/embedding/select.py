"""Atoms of a topology: by residue name, by SMARTS, or in MDTraj's selection language."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

from openmm import app

_CHARGES = (0, 1, -1, 2, -2, 3, -3)  # in which order they are tried for a molecule of unknown bond orders
_ALL = 2**31 - 1  # matches; RDKit stops at 1,000 otherwise
_LARGEST = 200  # atoms of a molecule whose bond orders are looked for


def select(topology: app.Topology, selection: str) -> tuple[int, ...]:
    """Indices of the atoms that the selection names, ascending.

    ``"resname LIG"`` takes whole residues. ``"smarts C(=O)N"`` takes the atoms of all matches, and hydrogens on them;
    it needs RDKit. Bond orders are the topology's if it has them all, and otherwise found for molecules of up to 200
    atoms with all hydrogens. Anything else is read as MDTraj's language, as in ``"index 0 to 31"``, and needs MDTraj.

    Raises ValueError if the selection can't be read or names no atoms, ImportError if a package is missing.
    """
    word, _, rest = selection.strip().partition(" ")
    note, atoms = "", set[int]()
    if word == "smarts":
        atoms, unknown = _by_smarts(topology, rest.strip())
        note = f" ({unknown} molecules of unknown bond orders were not searched)" if unknown else ""
    elif word == "resname" and rest.strip().isalnum():
        atoms = {atom.index for atom in topology.atoms() if atom.residue.name == rest.strip()}
    else:
        atoms = _by_mdtraj(topology, selection)
    if atoms and note:
        warnings.warn(f"the selection {selection!r} may be incomplete{note}: give the bonds their orders", stacklevel=2)
    if not atoms:
        names = {residue.name for residue in topology.residues()}
        residues = ", ".join(itertools.islice(sorted(names), 30))
        raise ValueError(f"the selection {selection!r} names no atoms{note}; the residues are called {residues}")
    return tuple(sorted(atoms))


def _by_mdtraj(topology: app.Topology, selection: str) -> set[int]:
    try:
        import mdtraj
    except ImportError as error:
        raise ImportError(
            f"the selection {selection!r} is in MDTraj's language, and MDTraj is not installed: run pip install mdtraj"
        ) from error
    try:
        return {int(i) for i in mdtraj.Topology.from_openmm(topology).select(selection)}
    except Exception as error:  # whatever the parser of the language raises
        raise ValueError(
            f"the selection {selection!r} can't be read: write it like 'resname LIG' or 'index 0 to 31', in MDTraj's "
            "language"
        ) from error


def _by_smarts(topology: app.Topology, pattern: str) -> tuple[set[int], int]:
    """Atoms that match, and the number of molecules of unknown bond orders. Equal molecules are searched once."""
    try:
        from rdkit import Chem, RDLogger
    except ImportError as error:
        raise ImportError("a selection by SMARTS needs RDKit: run pip install rdkit") from error
    with _Silence(RDLogger):
        query = Chem.MolFromSmarts(pattern)
        if query is None:
            raise ValueError(f"the SMARTS pattern {pattern!r} can't be read by RDKit")
        known: dict[Any, list[int] | None] = {}
        atoms: set[int] = set()
        unknown = 0
        for members, numbers, bonds in _molecules(topology):
            key = (numbers, bonds)
            if key not in known:
                known[key] = _matches(numbers, bonds, query)
            places = known[key]
            unknown += places is None
            atoms.update(members[k] for k in places or ())
    return atoms, unknown


class _Silence:
    """RDKit writes what it can't read to the standard error."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def __enter__(self) -> None:
        self._log.DisableLog("rdApp.*")

    def __exit__(self, *_: object) -> None:
        self._log.EnableLog("rdApp.*")


Bonds = tuple[tuple[int, int, float | None], ...]  # order 1.5 for aromatic bonds, None if unknown


def _molecules(topology: app.Topology) -> Iterator[tuple[list[int], tuple[int, ...], Bonds]]:
    """Particles of each molecule, their atomic numbers (0 for none), and its bonds between places in the list."""
    atoms = list(topology.atoms())
    bonded: list[list[tuple[int, float | None]]] = [[] for _ in atoms]
    for bond in topology.bonds():
        bonded[bond.atom1.index].append((bond.atom2.index, _order(bond)))
        bonded[bond.atom2.index].append((bond.atom1.index, _order(bond)))
    seen: set[int] = set()
    for start in range(len(atoms)):
        if start in seen:
            continue
        found = [start]
        seen.add(start)
        for i in found:  # grows while it is read
            new = [j for j, _ in bonded[i] if j not in seen]
            seen.update(new)
            found += new
        found.sort()
        place = {atom: k for k, atom in enumerate(found)}
        bonds = tuple((place[i], place[j], order) for i in found for j, order in bonded[i] if i < j)
        yield found, tuple(atoms[i].element.atomic_number if atoms[i].element else 0 for i in found), bonds


def _order(bond: Any) -> float | None:
    if bond.type is app.topology.Aromatic:
        return 1.5
    if bond.type is app.topology.Amide:
        return 1.0
    return None if bond.order is None else float(bond.order)


def _matches(numbers: tuple[int, ...], bonds: Bonds, query: Any) -> list[int] | None:
    """Places of the atoms that match, with their hydrogens; None if bond orders are unknown."""
    molecule = _molecule(numbers, bonds)
    if molecule is None:
        return None
    matched = {k for match in molecule.GetSubstructMatches(query, maxMatches=_ALL) for k in match}
    bonded = [(i, j) for a, b, _ in bonds for i, j in ((a, b), (b, a))]
    return sorted(matched | {j for i, j in bonded if i in matched and numbers[j] == 1})


def _molecule(numbers: tuple[int, ...], bonds: Bonds) -> Any:
    """An RDKit molecule with bond orders and formal charges, or None."""
    from rdkit import Chem
    from rdkit.Chem import rdDetermineBonds

    known = all(order is not None for _, _, order in bonds)
    if known or len(numbers) <= _LARGEST:
        for charge in (None,) if known else _CHARGES:
            molecule = _bare_molecule(numbers, bonds, known)
            try:
                if charge is not None:
                    rdDetermineBonds.DetermineBondOrders(molecule, charge, embedChiral=False)
                Chem.SanitizeMol(molecule)
                return molecule
            except (ValueError, RuntimeError):
                continue
    return None


def _bare_molecule(numbers: tuple[int, ...], bonds: Bonds, known: bool) -> Any:
    """Atoms and bonds. With known orders, four bonds of N and one of O or S give them their formal charges."""
    from rdkit import Chem

    types = {1.5: Chem.BondType.AROMATIC, 2.0: Chem.BondType.DOUBLE, 3.0: Chem.BondType.TRIPLE}
    molecule = Chem.RWMol()
    for k, number in enumerate(numbers):
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        orders = [order or 0.0 for i, j, order in bonds if k in (i, j)] if known and number in (7, 8, 16) else []
        atom.SetFormalCharge({(7, 4.0): 1, (8, 1.0): -1, (16, 1.0): -1}.get((number, sum(orders)), 0))
        molecule.AddAtom(atom)
    for i, j, order in bonds:
        molecule.AddBond(i, j, types.get(order if known and order else 1.0, Chem.BondType.SINGLE))
    return molecule
