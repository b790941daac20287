"""Atoms that the options name."""

from __future__ import annotations

from openmm import app

from ..embedding.select import select

__all__ = ["select", "solutes"]


def solutes(topology: app.Topology) -> tuple[int, ...]:
    """All atoms but those of water and of single-atom residues, such as ions."""
    water = {"HOH", "WAT", "H2O", "TIP", "TIP3", "SOL", "TP3"}
    return tuple(
        atom.index
        for residue in topology.residues()
        if residue.name not in water and len(residue) > 1
        for atom in residue.atoms()
    )
