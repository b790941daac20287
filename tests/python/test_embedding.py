"""Mechanical embedding: E = E_MM(System) - E_MM(region) + E_potential(region), and what it refuses."""

import copy
import itertools
from collections.abc import Callable

import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit

import openmmnnp
from openmmnnp.embedding import EmbeddedSystem, mechanical_embedding
from systems import TestedSystem, alanine_dipeptide, host_guest, residue


class StandIn(openmm.HarmonicBondForce):
    """Takes the region as an NNPForce does, and adds no energy."""

    def setParticles(self, indices, atomicNumbers):
        self.particles, self.atomicNumbers = list(indices), list(atomicNumbers)

    def addBond(self, particle1, particle2):
        return super().addBond(particle1, particle2, 0.1, 0.0)

    def bonds(self):
        return {tuple(self.getBondParameters(k)[:2]) for k in range(self.getNumBonds())}


def embed(tested: TestedSystem, atoms, **options) -> EmbeddedSystem:
    return mechanical_embedding(tested.topology, tested.system, atoms, StandIn(), **options)


def energy_and_forces(system: openmm.System, positions) -> tuple[float, np.ndarray]:
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    context.setPositions(positions)
    state = context.getState(energy=True, forces=True)
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value


def cmap_dipeptide(solvent: bool) -> TestedSystem:
    """Alanine dipeptide with ff19SB, which has a CMAP."""
    vacuum = alanine_dipeptide(explicit=False)
    force_field = app.ForceField("amber19/protein.ff19SB.xml", "amber19/tip3p.xml")
    modeller = app.Modeller(vacuum.topology, vacuum.positions)
    if solvent:
        modeller.addSolvent(force_field, boxSize=openmm.Vec3(2.4, 2.4, 2.4) * unit.nanometer)
    method = app.PME if solvent else app.NoCutoff
    system = force_field.createSystem(modeller.topology, nonbondedMethod=method, constraints=app.HBonds)
    return TestedSystem(modeller.topology, system, modeller.positions)


def customized(tested: TestedSystem) -> TestedSystem:
    """Adds one force of each remaining kind: on each bond, angle and torsion, and on all pairs without exception."""
    bonds, angles, torsions, nonbonded = (tested.system.getForce(k) for k in range(4))
    custom_bonds = openmm.CustomBondForce("30*r^2")
    custom_angles = openmm.CustomAngleForce("20*theta")
    custom_torsions, ryckaert_bellemans = openmm.CustomTorsionForce("10*cos(theta)"), openmm.RBTorsionForce()
    pairs = openmm.CustomNonbondedForce("10/r")
    for k in range(bonds.getNumBonds()):
        custom_bonds.addBond(*bonds.getBondParameters(k)[:2])
    for k in range(angles.getNumAngles()):
        custom_angles.addAngle(*angles.getAngleParameters(k)[:3])
    for k in range(torsions.getNumTorsions()):
        custom_torsions.addTorsion(*torsions.getTorsionParameters(k)[:4])
        ryckaert_bellemans.addTorsion(*torsions.getTorsionParameters(k)[:4], 1, 2, 3, 4, 5, 6)
    for _ in range(nonbonded.getNumParticles()):
        pairs.addParticle([])
    for k in range(nonbonded.getNumExceptions()):
        pairs.addExclusion(*nonbonded.getExceptionParameters(k)[:2])
    for force in (custom_bonds, custom_angles, custom_torsions, ryckaert_bellemans, pairs):
        tested.system.addForce(force)
    return tested


DIPEPTIDE = ("ACE", "ALA", "NME")
# name: the System, the region alone, the residues of the region
IDENTITIES: dict[str, tuple[Callable[[], TestedSystem], Callable[[], TestedSystem], tuple[str, ...]]] = {
    "no cutoff": (lambda: host_guest("complex-vacuum"), lambda: host_guest("ligand"), ("B2",)),
    "PME": (lambda: host_guest("complex-explicit"), lambda: host_guest("ligand"), ("B2",)),
    "whole system": (lambda: alanine_dipeptide(False), lambda: alanine_dipeptide(False), DIPEPTIDE),
    "dipeptide PME": (lambda: alanine_dipeptide(True), lambda: alanine_dipeptide(False), DIPEPTIDE),
    "CMAP": (lambda: cmap_dipeptide(False), lambda: cmap_dipeptide(False), DIPEPTIDE),
    "CMAP PME": (lambda: cmap_dipeptide(True), lambda: cmap_dipeptide(False), DIPEPTIDE),
    "custom": (lambda: customized(host_guest("complex-vacuum")), lambda: customized(host_guest("ligand")), ("B2",)),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_mm_energy_and_forces_are_those_of_the_rest_and_of_the_region_alone(name):
    full, alone, names = IDENTITIES[name][0](), IDENTITIES[name][1](), IDENTITIES[name][2]
    atoms = residue(full.topology, *names)
    positions = np.array(full.positions.value_in_unit(unit.nanometer))
    energy, forces = energy_and_forces(full.system, positions)
    energy_rest, forces_rest = energy_and_forces(embed(full, atoms).system, positions)
    energy_region, forces_region = energy_and_forces(alone.system, positions[atoms])
    assert abs(energy_region) > 1
    print(f"{name}: E {energy:.4f}, region {energy_region:.4f}, difference {energy - energy_rest - energy_region:.1e}")
    assert energy == pytest.approx(energy_rest + energy_region, abs=1e-4, rel=0)
    forces_rest[atoms] += forces_region
    np.testing.assert_allclose(forces_rest, forces, atol=1e-3)


def test_removed_terms_are_listed_and_forces_keep_order_names_and_groups():
    full = host_guest("complex-vacuum")
    for k, force in enumerate(full.system.getForces()):
        force.setForceGroup(k)
        force.setName(f"{force.getName()} {k}")
    embedded = embed(full, residue(full.topology, "B2"))
    alone = host_guest("ligand").system
    counts = {row.force: row.removed for row in embedded.removed}
    expected = {"System": alone.getNumConstraints()}
    for k, force in enumerate(full.system.getForces()):
        for part in alone.getForces():
            if type(part) is type(force) and (terms := _count(part)):
                expected[f"{type(force).__name__} {k}"] = terms
    assert counts == expected
    assert [row.kind for row in embedded.removed] == ["constraints", "bonds", "angles", "torsions", "pairs"]
    assert all(row.kept == full.system.getNumConstraints() - row.removed for row in embedded.removed[:1])
    lines = str(embedded.removed).splitlines()
    assert lines[0].split() == ["force", "terms", "removed", "kept"] and len(lines) == 6
    assert lines[-1].split()[-2:] == ["pairs", str(30 * 29 // 2)]

    def described(system):
        return [(type(f), f.getName(), f.getForceGroup()) for f in system.getForces()]

    assert described(embedded.system)[:-1] == described(full.system)
    assert embedded.system.getForce(full.system.getNumForces()).this == embedded.force.this


def _count(force: openmm.Force) -> int:
    if isinstance(force, openmm.NonbondedForce):
        return force.getNumParticles() * (force.getNumParticles() - 1) // 2
    return next(
        (getattr(force, n)() for n in ("getNumBonds", "getNumAngles", "getNumTorsions") if hasattr(force, n)), 0
    )


def test_input_is_not_modified():
    full = host_guest("complex-vacuum")
    before = openmm.XmlSerializer.serialize(full.system)
    embed(full, residue(full.topology, "B2"))
    assert openmm.XmlSerializer.serialize(full.system) == before


def test_atoms_are_any_iterable_and_keep_the_callers_order():
    full = host_guest("complex-vacuum")
    atoms = residue(full.topology, "B2")[::-1]
    embedded = embed(full, (i for i in atoms))
    elements = [atom.element.atomic_number for atom in full.topology.atoms()]
    assert embedded.atoms == tuple(embedded.force.particles) == tuple(atoms)
    assert embedded.force.atomicNumbers == [elements[i] for i in atoms]
    assert embedded.charge == 0


def test_force_gets_the_bonds_of_the_region_and_the_molecule_stays_one():
    full = host_guest("complex-vacuum")
    atoms = residue(full.topology, "B2")
    embedded = embed(full, atoms)
    bonds = {tuple(sorted((b.atom1.index, b.atom2.index))) for b in full.topology.bonds()}
    assert embedded.force.bonds() == {b for b in bonds if b[0] in atoms}
    assert molecule_sizes(embedded.system) == [30, 126]


@pytest.mark.parametrize("name", ["complex-vacuum", "complex-explicit"])
def test_nnp_force_keeps_the_molecule_whole(name, tmp_path):
    full = host_guest(name)
    force = openmmnnp.NNPForce(zero_model(tmp_path))
    embedded = mechanical_embedding(full.topology, full.system, residue(full.topology, "B2"), force)
    assert force.getParticles() == residue(full.topology, "B2")
    assert force.getNumBonds() == 31
    sizes = molecule_sizes(embedded.system)
    assert sizes.count(30) == sizes.count(126) == 1
    assert sizes == molecule_sizes(full.system)


def zero_model(folder) -> str:
    class Zero(torch.nn.Module):
        def forward(self, positions):
            return 0.0 * positions.sum()

    path = str(folder / "zero.pt")
    torch.jit.script(Zero()).save(path)
    return path


def molecule_sizes(system: openmm.System) -> list[int]:
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    return sorted(len(molecule) for molecule in context.getMolecules())


def test_constraints_stay_if_asked():
    full = host_guest("complex-vacuum")
    embedded = embed(full, residue(full.topology, "B2"), remove_constraints=False)
    assert embedded.system.getNumConstraints() == full.system.getNumConstraints()
    assert "constraints" not in {row.kind for row in embedded.removed}


def compound_force() -> openmm.CustomCompoundBondForce:
    force = openmm.CustomCompoundBondForce(2, "scale*weight*f(distance(p1,p2))")
    force.addPerBondParameter("weight")
    force.addGlobalParameter("scale", 2.0)
    force.addEnergyParameterDerivative("scale")
    force.addTabulatedFunction("f", openmm.Continuous1DFunction([1.0, 2.0, 4.0], 0.0, 9.0))
    force.setUsesPeriodicBoundaryConditions(True)
    return force


def test_custom_bonded_terms_inside_go_and_restraints_across_stay():
    full = host_guest("complex-vacuum")
    atoms = residue(full.topology, "B2")
    force = compound_force()
    force.addBond([atoms[0], atoms[5]], [1.0])
    force.addBond([0, atoms[1]], [0.3])
    force.addBond([3, 4], [5.0])
    full.system.addForce(copy.deepcopy(force))
    embedded = embed(full, atoms)
    expected = compound_force()
    expected.addBond([0, atoms[1]], [0.3])
    expected.addBond([3, 4], [5.0])
    kept = embedded.system.getForce(full.system.getNumForces() - 1)
    assert openmm.XmlSerializer.serialize(kept) == openmm.XmlSerializer.serialize(expected)
    assert embedded.removed[-1] == ("CustomCompoundBondForce", "compound bonds", 1, 2)


def test_custom_nonbonded_exclusions_are_added_once():
    full = host_guest("complex-vacuum")
    atoms = residue(full.topology, "B2")
    force = openmm.CustomNonbondedForce("1/r")
    for _ in range(full.system.getNumParticles()):
        force.addParticle([])
    force.addExclusion(atoms[3], atoms[0])
    force.addExclusion(0, 1)
    full.system.addForce(force)
    embedded = embed(full, atoms)
    edited = embedded.system.getForce(full.system.getNumForces() - 1)
    exclusions = [tuple(sorted(edited.getExclusionParticles(k))) for k in range(edited.getNumExclusions())]
    assert sorted(exclusions) == [(0, 1), *itertools.combinations(atoms, 2)]


def spoil(how: str, full: TestedSystem, atoms: list[int]) -> list[int]:
    """Make `full` or the region unfit; returns the region."""
    nonbonded = next(f for f in full.system.getForces() if isinstance(f, openmm.NonbondedForce))
    if how == "offset":
        nonbonded.addGlobalParameter("lambda", 1.0)
        nonbonded.addParticleParameterOffset("lambda", atoms[2], 0.1, 0.0, 0.0)
    elif how == "exception offset":
        nonbonded.addGlobalParameter("lambda", 1.0)
        exception = nonbonded.addException(atoms[2], atoms[3], 0.1, 1.0, 0.0, True)
        nonbonded.addExceptionParameterOffset("lambda", exception, 0.1, 0.0, 0.0)
    elif how == "virtual site":
        full.system.setParticleMass(atoms[4], 0.0)
        full.system.setVirtualSite(atoms[4], openmm.TwoParticleAverageSite(atoms[0], atoms[1], 0.5, 0.5))
    elif how == "charge":
        charge, sigma, epsilon = nonbonded.getParticleParameters(atoms[0])
        nonbonded.setParticleParameters(atoms[0], charge + 0.02 * unit.elementary_charge, sigma, epsilon)
    elif how == "unknown":
        full.system.addForce(openmm.GayBerneForce())
    elif how == "angle across":
        full.system.getForce(1).addAngle(0, 1, atoms[0], 1.0, 1.0)
    elif how == "element":
        next(a for a in full.topology.atoms() if a.index == atoms[7]).element = None
    return {
        "cut": atoms[:-4],
        "repeated": [*atoms, atoms[3]],
        "out of range": [*atoms, 156, -1],
        "empty": [],
    }.get(how, atoms)


REFUSED = {
    "cut": r"boundary of the region cuts \d+ bonds, and only whole molecules.*B2\d+:\w+\[\d+\]-B2\d+:\w+\[\d+\] "
    r"\(topology\).*Add the rest of the molecule",
    "angle across": r"cuts 1 bonded terms.*:\w+\[0\]-.*:\w+\[1\]-B2.* \(HarmonicAngleForce\)",
    "repeated": r"repeated indices: 129; give each particle once",
    "out of range": r"indices out of range: -1, 156; the System has particles 0 to 155",
    "empty": r"region is empty",
    "element": r"no element for B2\d*:\w+\[133\]: set atom.element",
    "offset": r"NonbondedForce has an offset, scaled by the parameter 'lambda', on particle 128 of the region",
    "exception offset": r"NonbondedForce has an offset, scaled by the parameter 'lambda', on particle 128, 129 of",
    "virtual site": r"particle 130 is a virtual site in the region .*\(126, 127\)",
    "charge": r"charges of the region add up to 0\.0[12]\d+ e, more than 0\.01 e from an integer",
    "unknown": r"holds a GayBerneForce named 'GayBerneForce', which mechanical embedding does not understand",
}


@pytest.mark.parametrize("how", REFUSED)
def test_unfit_regions_and_systems_are_refused(how):
    full = host_guest("complex-vacuum")
    atoms = spoil(how, full, residue(full.topology, "B2"))
    force = StandIn()
    with pytest.raises(ValueError, match=REFUSED[how]):
        mechanical_embedding(full.topology, full.system, atoms, force)
    assert force.getNumBonds() == 0 and not hasattr(force, "particles")


def test_topology_and_system_must_match():
    full = host_guest("complex-vacuum")
    with pytest.raises(ValueError, match="topology has 30 atoms, the System 156 particles"):
        mechanical_embedding(host_guest("ligand").topology, full.system, [0], StandIn())
