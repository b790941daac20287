"""A drawing of the region with the names of its atoms, where RDKit is installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["drawing"]

BLUE = (0.65, 0.82, 0.95)


def drawing(
    numbers: Sequence[int],
    names: Sequence[str],
    bonds: Sequence[tuple[int, int]],
    charge: int,
    marked: Sequence[tuple[int, int]],
) -> tuple[str, bytes] | None:
    """Media type and bytes of the structural formula with some bonds marked; None if RDKit can't make one.

    Hydrogen atoms on heavy ones are left out. Bond orders are RDKit's guess from connectivity and charge.
    """
    try:
        from rdkit import Chem
        from rdkit.Chem import rdDetermineBonds
        from rdkit.Chem.Draw import rdMolDraw2D
    except ImportError:
        return None
    made = Chem.RWMol()
    for number, name in zip(numbers, names, strict=True):
        atom = Chem.Atom(number)
        atom.SetProp("atomNote", name)
        atom.SetNoImplicit(True)
        made.AddAtom(atom)
    for i, j in bonds:
        made.AddBond(i, j, Chem.BondType.SINGLE)
    try:
        rdDetermineBonds.DetermineBondOrders(made, charge=charge, embedChiral=False, maxIterations=10_000)
        for i, j in marked:
            made.GetBondBetweenAtoms(i, j).SetBoolProp("marked", True)
        molecule = Chem.RemoveHs(made)
    except (ValueError, RuntimeError):  # no valence model fits
        return None
    highlighted = [bond.GetIdx() for bond in molecule.GetBonds() if bond.HasProp("marked")]
    canvas = rdMolDraw2D.MolDraw2DSVG(900, 420)
    options: Any = canvas.drawOptions()
    options.useBWAtomPalette()
    options.setHighlightColour(BLUE)
    options.annotationFontScale = 0.6
    options.fillHighlights = True
    rdMolDraw2D.PrepareAndDrawMolecule(
        canvas, molecule, highlightAtoms=[], highlightBonds=highlighted, highlightAtomColors={}
    )
    canvas.FinishDrawing()
    return "image/svg+xml", canvas.GetDrawingText().encode()
