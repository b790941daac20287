"""Regions by residue name, SMARTS, and MDTraj's language."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
from openmm import app

from mixed import peptide
from openmmnnp.embedding import select
from systems import host_guest, residue, water


def elements(topology: app.Topology, atoms: tuple[int, ...]) -> str:
    found = [a.element.symbol for a in topology.atoms() if a.index in atoms]
    return "".join(sorted(found))


def test_by_residue() -> None:
    topology = host_guest("complex-vacuum").topology
    assert list(select(topology, "resname B2")) == residue(topology, "B2")
    assert list(select(topology, "resname B2 or resid 0")) == list(range(156))


def test_by_smarts() -> None:
    """Bond orders of Amber's files are unknown, those of a PDB file's residues are not."""
    peptide_topology = peptide().topology
    assert any(bond.order is None for bond in host_guest("ligand").topology.bonds())
    assert elements(peptide_topology, select(peptide_topology, "smarts [CX3](=O)[NX3]")) == "CCHHNNOO"
    assert elements(peptide_topology, select(peptide_topology, "smarts [CH3][CH1]")) == "CCHHHH"
    guest = host_guest("ligand").topology
    assert elements(guest, select(guest, "smarts [OX2H]")) == "HHOO"
    waters = water().topology
    assert select(waters, "smarts [OH2]") == tuple(range(2700))


def test_charged_groups_are_found() -> None:
    """Two acetates, with bond orders and without."""
    topology = app.Topology()
    chain = topology.addChain()
    for known in (False, True):
        group = topology.addResidue("ACT", chain)
        made = [topology.addAtom(n, app.Element.getBySymbol(n), group) for n in "CCOOHHH"]
        orders = (1, 2, 1, 1, 1, 1) if known else (None,) * 6
        for (i, j), order in zip(((0, 1), (1, 2), (1, 3), (0, 4), (0, 5), (0, 6)), orders, strict=True):
            topology.addBond(made[i], made[j], order=order)
    assert select(topology, "smarts [CX3](=O)[O-]") == (1, 2, 3, 8, 9, 10)


def test_selections_that_name_nothing_or_can_not_be_read() -> None:
    topology = host_guest("complex-vacuum").topology
    with pytest.raises(ValueError, match=r"selection 'resname XYZ' names no atoms; the residues are called B2, "):
        select(topology, "resname XYZ")
    with pytest.raises(ValueError, match=r"names no atoms; the residues"):
        select(topology, "smarts [Fe]")
    with pytest.raises(ValueError, match=r"the SMARTS pattern 'C\(' can't be read by RDKit"):
        select(topology, "smarts C(")
    with pytest.raises(ValueError, match=r"'resname \(' can't be read: write it like"):
        select(topology, "resname (")


def test_molecules_of_unknown_bond_orders_are_mentioned() -> None:
    topology = app.Topology()
    group = topology.addResidue("BAD", topology.addChain())
    atoms = [topology.addAtom("C", app.element.carbon, group) for _ in range(7)]
    for atom in atoms[1:]:
        topology.addBond(atoms[0], atom)
    with pytest.raises(ValueError, match=r"names no atoms \(1 molecules of unknown bond orders were not searched\)"):
        select(topology, "smarts C")
    molecule = topology.addResidue("GOOD", topology.addChain())
    ends = [topology.addAtom("C", app.element.carbon, molecule) for _ in range(2)]
    topology.addBond(*ends, order=1)
    with pytest.warns(UserWarning, match=r"may be incomplete \(1 molecules of unknown bond orders were not searched\)"):
        assert select(topology, "smarts C") == (7, 8)


def test_more_matches_than_rdkit_gives_unasked() -> None:
    topology = app.Topology()
    chain = topology.addResidue("LONG", topology.addChain())
    atoms = [topology.addAtom("C", app.element.carbon, chain) for _ in range(1200)]
    for first, second in zip(atoms, atoms[1:], strict=False):
        topology.addBond(first, second, order=1)
    assert select(topology, "smarts [#6]") == tuple(range(1200))


@pytest.mark.parametrize("package, selection", [("rdkit", "smarts C"), ("mdtraj", "index 0")])
def test_packages_that_are_missing(package: str, selection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *arguments: Any) -> Any:
        if name.split(".")[0] == package:
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match=f"pip install {package}"):
        select(peptide().topology, selection)
