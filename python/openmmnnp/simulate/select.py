"""Atoms by MDTraj's selection language."""

from __future__ import annotations

import itertools

import mdtraj
from openmm import app


def select(topology: app.Topology, selection: str) -> tuple[int, ...]:
    """Indices of the atoms that the selection names, ascending. Raises ValueError if it can't be read or names none."""
    try:
        atoms = tuple(int(i) for i in mdtraj.Topology.from_openmm(topology).select(selection))
    except Exception as error:  # whatever the parser of the language raises
        raise ValueError(
            f"the selection {selection!r} can't be read: write it like 'resname LIG' or 'index 0 to 31', in MDTraj's "
            "language"
        ) from error
    if not atoms:
        names = {residue.name for residue in topology.residues()}
        listed = ", ".join(itertools.islice(sorted(names), 30))
        raise ValueError(f"the selection {selection!r} names no atoms; the residues are called {listed}")
    return atoms


def solutes(topology: app.Topology) -> tuple[int, ...]:
    """All atoms but those of water and of single-atom residues, such as ions."""
    water = {"HOH", "WAT", "H2O", "TIP", "TIP3", "SOL", "TP3"}
    return tuple(
        atom.index
        for residue in topology.residues()
        if residue.name not in water and len(residue) > 1
        for atom in residue.atoms()
    )
