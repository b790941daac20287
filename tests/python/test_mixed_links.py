"""Regions that cut bonds: link atoms, and which MM terms near a cut stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app, unit

from helpers import central_differences
from mixed import Evaluation, energy, in_nm, peptide, springs, springs_energy
from openmmnnp import createMixedSystem
from systems import TestedSystem, alanine_dipeptide

CARBON_HYDROGEN = 0.107  # nm: covalent radii of 75 and 32 pm
# ACE is 0-5, ALA 6-15, NME 16-21; C of ACE is bonded to N of ALA
METHYL = [8, 10, 11, 12, 13]  # CA, CB and three HB of ALA: cut are CA-N, CA-HA, CA-C
SIDE_CHAIN = [10, 11, 12, 13]  # CB and HB: cut is CB-CA


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return springs(tmp_path_factory.mktemp("springs") / "springs.pt")


def names(tested: TestedSystem, atoms: list[int]) -> list[str]:
    return [a.name for a in tested.topology.atoms() if a.index in atoms]


def capped(positions: np.ndarray, atoms: list[int], cut: list[tuple[int, int]]) -> np.ndarray:
    """Positions that the model sees: the atoms, then the link atoms."""
    links = []
    for ml, mm in cut:
        bond = positions[mm] - positions[ml]
        links.append(positions[ml] + CARBON_HYDROGEN * bond / np.linalg.norm(bond))
    return np.vstack([positions[atoms], *links])


@pytest.mark.parametrize("atoms, cut", [(SIDE_CHAIN, [(10, 8)]), (METHYL, [(8, 6), (8, 9), (8, 14)])])
def test_energy_of_a_cut_region(atoms: list[int], cut: list[tuple[int, int]], model: Path) -> None:
    """MM terms by the rule: angles around an atom of the region, torsions around a bond of it are the model's."""
    tested = peptide(constraints=None)
    positions = in_nm(tested.positions)
    info = createMixedSystem(*tested[:2], atoms, model, linkAtoms="hydrogen", charge=0, returnInfo=True)
    force = info["force"]
    links = [force.getLinkAtomParameters(k) for k in range(force.getNumLinkAtoms())]
    assert sorted((ml, mm) for ml, mm, *_ in links) == sorted(cut)
    assert all(z == 1 and d.value_in_unit(unit.nanometer) == pytest.approx(CARBON_HYDROGEN) for *_, d, z in links)
    expected = energy(tested.system, positions) - energy(owned_terms(tested, set(atoms)), positions)
    seen = capped(positions, atoms, [link[:2] for link in links])
    assert energy(info["system"], positions) == pytest.approx(expected + springs_energy(seen), abs=1e-6)
    assert info["topology"].getNumAtoms() == info["system"].getNumParticles() == 22


def owned_terms(tested: TestedSystem, atoms: set[int]) -> openmm.System:
    """An oracle by names of OpenMM's methods: the terms that the region owns, all other parameters being zero."""
    system = openmm.XmlSerializer.clone(tested.system)
    bonds, torsions, nonbonded, _, angles = (system.getForce(k) for k in range(5))
    bonded = [{a, b} for a, b in ((x.atom1.index, x.atom2.index) for x in tested.topology.bonds())]
    for k in range(bonds.getNumBonds()):
        i, j, r, stiffness = bonds.getBondParameters(k)
        bonds.setBondParameters(k, i, j, r, stiffness * ({i, j} <= atoms))
    for k in range(angles.getNumAngles()):
        i, j, m, theta, stiffness = angles.getAngleParameters(k)
        angles.setAngleParameters(k, i, j, m, theta, stiffness * (j in atoms))
    for k in range(torsions.getNumTorsions()):
        a, b, c, d, n, phase, height = torsions.getTorsionParameters(k)
        proper = all(pair in bonded for pair in ({a, b}, {b, c}, {c, d}))
        center = (
            next(p for p in (a, b, c, d) if all({p, q} in bonded for q in {a, b, c, d} - {p})) if not proper else -1
        )
        owned = {b, c} <= atoms if proper else center in atoms
        torsions.setTorsionParameters(k, a, b, c, d, n, phase, height * owned)
    inside = {tuple(sorted(nonbonded.getExceptionParameters(k)[:2])) for k in range(nonbonded.getNumExceptions())}
    for k in range(nonbonded.getNumExceptions()):
        i, j, charges, sigma, epsilon = nonbonded.getExceptionParameters(k)
        keep = {i, j} <= atoms
        nonbonded.setExceptionParameters(k, i, j, charges * keep, sigma, epsilon * keep)
    for i in range(22):
        for j in range(i):
            if (j, i) not in inside and not {i, j} <= atoms:
                nonbonded.addException(i, j, 0, 1, 0)
    return system


def test_interpolation_with_link_atoms(model: Path) -> None:
    tested = peptide(app.PME, 1.5, nonbondedCutoff=0.7 * unit.nanometer, constraints=None)
    positions = in_nm(tested.positions)
    ends = [
        energy(tested.system, positions),
        energy(createMixedSystem(*tested[:2], METHYL, model, linkAtoms="hydrogen", charge=0), positions),
    ]
    mixed = createMixedSystem(*tested[:2], METHYL, model, interpolate=True, linkAtoms="hydrogen", charge=0)
    evaluation = Evaluation(mixed, positions)
    for value in (0, 0.25, 0.5, 0.75, 1):
        assert evaluation.at(value).energy == pytest.approx(ends[0] + value * (ends[1] - ends[0]), abs=1e-6)
        assert evaluation.derivative == pytest.approx(ends[1] - ends[0], abs=1e-6)


@pytest.mark.figure("G4", what="link atoms in a mixed System, all atoms, 1e-6")
def test_forces_go_to_both_ends_of_a_link(model: Path, platform: openmm.Platform) -> None:
    tested = peptide(constraints=None)
    mixed = createMixedSystem(*tested[:2], METHYL, model, linkAtoms="hydrogen", charge=0, interpolate=True)
    evaluation = Evaluation(mixed, in_nm(tested.positions)).at(0.7)
    forces = evaluation.forces
    differences = central_differences(evaluation.context, 1e-5)
    scale = np.abs(forces).max()
    np.testing.assert_allclose(differences, forces, atol=1e-6 * scale)
    here = Evaluation(mixed, in_nm(tested.positions), platform).at(0.7)
    np.testing.assert_allclose(here.forces, forces, atol=5e-5 * scale)  # float32 on devices


def test_charges_stay_in_mechanical_embedding(model: Path) -> None:
    tested = peptide(constraints=None)
    mixed = createMixedSystem(*tested[:2], SIDE_CHAIN, model, linkAtoms="hydrogen", charge=0)
    for before, after in ((tested.system.getForce(2), mixed.getForce(2)),):
        assert isinstance(after, openmm.NonbondedForce)
        assert [before.getParticleParameters(i) for i in range(22)] == [
            after.getParticleParameters(i) for i in range(22)
        ]


def test_molecules_stay_whole_over_a_cut(model: Path) -> None:
    tested = peptide(constraints=app.HBonds, flexibleConstraints=True)
    mixed = createMixedSystem(*tested[:2], METHYL, model, linkAtoms="hydrogen", charge=0)
    assert [len(m) for m in Evaluation(mixed, in_nm(tested.positions)).context.getMolecules()] == [22]
    cut = {(8, 9)}  # CA-HA: its constraint stays, as its bond would
    kept = {tuple(sorted(mixed.getConstraintParameters(k)[:2])) for k in range(mixed.getNumConstraints())}
    assert cut <= kept and not any(set(pair) <= set(METHYL) for pair in kept)


def test_distances_can_be_given(model: Path) -> None:
    tested = peptide()
    info = createMixedSystem(
        *tested[:2], SIDE_CHAIN, model, returnInfo=True, charge=0, linkAtoms={(8, 10): 1.1 * unit.angstrom}
    )
    ml, mm, distance, _ = info["force"].getLinkAtomParameters(0)
    assert (ml, mm) == (10, 8) and distance.value_in_unit(unit.nanometer) == pytest.approx(0.11)


def test_cut_bonds_are_listed_by_default(model: Path) -> None:
    tested = peptide()
    with pytest.raises(
        ValueError, match=r"cuts 3 bonds, .*ALA2:N\[6\]-ALA2:CA\[8\] \(topology\), .*linkAtoms='hydrogen'"
    ):
        createMixedSystem(*tested[:2], METHYL, model)


def test_link_atoms_that_can_not_be(model: Path) -> None:
    tested = peptide()
    with pytest.raises(ValueError, match=r"more than one link atom, .* ALA2:CA\[8\]; cut elsewhere"):
        createMixedSystem(*tested[:2], [9, 10], model, linkAtoms="hydrogen", charge=0)
    with pytest.raises(ValueError, match=r"bonds that the region does not cut: \[6, 10\]"):
        createMixedSystem(*tested[:2], SIDE_CHAIN, model, linkAtoms={(10, 6): 0.1}, charge=0)
    with pytest.raises(ValueError, match=r"linkAtoms='add', needed is 'error' .*, 'hydrogen', or distances"):
        createMixedSystem(*tested[:2], SIDE_CHAIN, model, linkAtoms="add")
    tested.system.getForce(0).addBond(10, 20, 0.3, 100.0)
    with pytest.raises(ValueError, match=r"cuts 1 bonds which the topology does not have.* \(HarmonicBondForce\)"):
        createMixedSystem(*tested[:2], SIDE_CHAIN, model, linkAtoms="hydrogen", charge=0)


def test_charge_of_a_cut_region(model: Path) -> None:
    tested = peptide()
    with pytest.raises(ValueError, match=r"add up to -?0\.\d+ e, which is no integer: say with charge="):
        createMixedSystem(*tested[:2], METHYL, model, linkAtoms="hydrogen")
    with pytest.raises(ValueError, match=r"charge=1 was given, but the MM charges of the region add up to -?0\.\d+ e"):
        createMixedSystem(*tested[:2], METHYL, model, linkAtoms="hydrogen", charge=1)


def test_maps_across_a_cut_follow_the_rule_of_torsions(model: Path) -> None:
    """CMAP goes if both middle bonds are the region's and the ends are bonded to it."""
    vacuum = alanine_dipeptide(explicit=False)
    system = app.ForceField("amber19/protein.ff19SB.xml").createSystem(vacuum.topology, constraints=None)
    counts = {}
    for name, atoms in {"backbone": [*range(4, 22)], "side chain": SIDE_CHAIN}.items():
        info = createMixedSystem(vacuum.topology, system, atoms, model, linkAtoms="hydrogen", charge=0, returnInfo=True)
        counts[name] = sum(row.removed for row in info["removed"] if row.kind == "torsion maps")
    assert counts == {"backbone": 1, "side chain": 0}
