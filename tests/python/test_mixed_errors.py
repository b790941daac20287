"""What createMixedSystem and createSystem refuse, and what they warn of."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import openmm
import pytest
from openmm import app, unit

from helpers import scripted
from mixed import LAMBDA, PEPTIDE, Evaluation, energy, in_nm, peptide, springs
from openmmnnp import ModelSpec, NNPForce, createMixedSystem, createSystem
from openmmnnp.spec import write_spec
from systems import TestedSystem, host_guest, residue


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return springs(tmp_path_factory.mktemp("springs") / "springs.pt")


def refused(text: str) -> object:
    return pytest.raises(ValueError, match=text)


def boxed(method: object = app.PME, **options: object) -> TestedSystem:
    return peptide(method, 2.0, nonbondedCutoff=0.9 * unit.nanometer, constraints=None, **options)


# Periodic Systems


def test_range_of_interactions_must_be_known_in_a_periodic_system(tmp_path: Path) -> None:
    tested = boxed()
    unknown = springs(tmp_path / "unknown.pt", long_range=None)
    scripted("return positions.square().sum()").save(str(tmp_path / "without.pt"))
    for path in (unknown, tmp_path / "without.pt"):
        with refused(r"does not say whether it has long-range interactions, .*write_spec"):
            createMixedSystem(*tested[:2], PEPTIDE, path)
        createMixedSystem(*peptide()[:2], PEPTIDE, path)


def test_long_range_model_needs_an_ewald_sum(tmp_path: Path) -> None:
    far = springs(tmp_path / "far.pt", long_range=True)
    with refused(r"the System is periodic without Ewald sums: build it with PME"):
        createMixedSystem(*boxed(app.CutoffPeriodic)[:2], PEPTIDE, far)
    createMixedSystem(*peptide()[:2], PEPTIDE, far)


def test_several_molecules_need_a_model_with_a_box(model: Path) -> None:
    tested = peptide(app.PME, 2.0, water=True, nonbondedCutoff=0.9 * unit.nanometer)
    with refused("the region holds several molecules of a periodic System, and the model takes no box"):
        createMixedSystem(*tested[:2], [*PEPTIDE, 22, 23, 24], model)
    full = host_guest("complex-vacuum")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        createMixedSystem(*full[:2], range(156), model)


def test_periodic_topology_needs_a_periodic_model(model: Path) -> None:
    with refused(r"the topology is periodic and the model is not, .*setPeriodicBoxVectors\(None\)"):
        createSystem(boxed().topology, model)


# Regions


def test_charge_must_be_that_of_the_region(model: Path) -> None:
    tested = peptide()
    with refused(r"charge=1 was given, but the MM charges of the region add up to -?0\.0000 e: which is right\?"):
        createMixedSystem(*tested[:2], PEPTIDE, model, charge=1)
    nonbonded = next(f for f in tested.system.getForces() if isinstance(f, openmm.NonbondedForce))
    charge, *rest = nonbonded.getParticleParameters(0)
    nonbonded.setParticleParameters(0, charge + 0.02 * unit.elementary_charge, *rest)
    with refused(r"add up to 0\.0200 e, more than 0\.01 e from an integer: is the region a whole molecule"):
        createMixedSystem(*tested[:2], PEPTIDE, model)


@pytest.mark.parametrize(
    "spec",
    [
        {"elements": [1, 6, 8]},
        {"atomic_energies": {1: 0.0, 6: 0.0, 8: 0.0}, "inputs": ["positions", "atomic_numbers"]},
        {"type_map": {"H": 0, "C": 1, "O": 2}, "inputs": ["positions", "types"]},
    ],
    ids=["elements", "energies", "types"],
)
def test_elements_must_be_known_to_the_model(spec: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "few.pt"
    scripted("return positions.square().sum()", "positions, z" if "inputs" in spec else "positions").save(str(path))
    write_spec(path, ModelSpec("few", "nm", "kJ/mol", "float64", **spec))
    text = r"holds the elements N, which the model 'few' does not know; it knows H, C, O"
    with refused(text):
        createMixedSystem(*peptide()[:2], PEPTIDE, path)
    with refused(text):
        createSystem(peptide().topology, path)


def test_link_atoms_must_be_known_to_the_model(tmp_path: Path) -> None:
    path = springs(tmp_path / "carbon.pt", elements=[6, 7, 8])
    with refused("holds the elements H, which the model"):
        createMixedSystem(*peptide()[:2], [10], path, linkAtoms="hydrogen", charge=0)


def test_a_charge_that_the_model_does_not_take(model: Path) -> None:
    tested = peptide()
    nonbonded = next(f for f in tested.system.getForces() if isinstance(f, openmm.NonbondedForce))
    charge, *rest = nonbonded.getParticleParameters(0)
    nonbonded.setParticleParameters(0, charge + 1 * unit.elementary_charge, *rest)
    with pytest.warns(UserWarning, match=r"the charge is 1 e, but the model 'springs' does not take it"):
        createMixedSystem(*tested[:2], PEPTIDE, model)


def test_one_region_with_a_long_range_model(tmp_path: Path) -> None:
    inputs = ["positions", "box"]
    far = springs(tmp_path / "far.pt", "positions, box", long_range=True, inputs=inputs)
    tested = peptide(app.PME, box=2.0, nonbondedCutoff=0.7 * unit.nanometer)
    mixed = createMixedSystem(*tested[:2], PEPTIDE, far)
    with refused("holds 'NonbondedForce: images of the region', made for another region with a long-range model"):
        createMixedSystem(tested.topology, mixed, PEPTIDE, far)


def test_what_mechanical_embedding_refuses(model: Path) -> None:
    """One for all: test_embedding.py has them."""
    tested = peptide()
    tested.system.addForce(openmm.GayBerneForce())
    with refused("holds a GayBerneForce named 'GayBerneForce', which mechanical embedding does not understand"):
        createMixedSystem(*tested[:2], PEPTIDE, model)


def test_models_in_the_same_region(model: Path) -> None:
    tested = peptide()
    first = createMixedSystem(*tested[:2], PEPTIDE, model)
    with refused("holds a Force named 'NNPForce'"):
        createMixedSystem(tested.topology, first, PEPTIDE, model)


# Interpolation


def test_lambda_is_the_embedding_s_own(model: Path) -> None:
    tested = peptide()
    force = openmm.CustomBondForce(f"{LAMBDA}*r")
    force.addGlobalParameter(LAMBDA, 1)
    force.addBond(0, 1)
    tested.system.addForce(force)
    with refused(rf"CustomBondForce acts in the region and depends on {LAMBDA} already"):
        createMixedSystem(*tested[:2], PEPTIDE, model, interpolate=True)
    scaled = NNPForce(model)
    scaled.setScaleParameter("mine")
    with refused(f"has the scale parameter 'mine', but interpolation needs it for {LAMBDA}"):
        createMixedSystem(*peptide()[:2], PEPTIDE, scaled, interpolate=True)


def test_scale_parameter_of_another_force(model: Path) -> None:
    """Without a default value of its own the force takes that of the others, in XML too."""
    tested = peptide()
    mixed = createMixedSystem(*tested[:2], PEPTIDE, model, interpolate=True)
    scaled = NNPForce.cast(mixed.getForce(mixed.getNumForces() - 1))
    assert (scaled.getScaleParameter(), scaled.getScaleParameterDefaultValue()) == (LAMBDA, None)
    read = NNPForce.cast(openmm.XmlSerializer.clone(scaled))
    assert read.getScaleParameterDefaultValue() is None
    for force in mixed.getForces():
        if getattr(force, "getNumGlobalParameters", int)():
            force.setGlobalParameterDefaultValue(0, 0.25)
    assert Evaluation(mixed, in_nm(tested.positions)).context.getParameter(LAMBDA) == 0.25
    with pytest.raises(
        openmm.OpenMMException, match=f"the scale parameter '{LAMBDA}' has no default value, and no other"
    ):
        energy(createSystem(tested.topology, scaled), in_nm(tested.positions))


def test_switched_ljpme_can_not_be_interpolated(model: Path) -> None:
    tested = boxed(app.LJPME, switchDistance=0.7 * unit.nanometer)
    with refused(r"LJPME and a switching function, .*: call setUseSwitchingFunction\(False\)"):
        createMixedSystem(*tested[:2], PEPTIDE, model, interpolate=True)


def test_computed_values_are_one_expression(model: Path) -> None:
    tested = peptide()
    force = openmm.CustomNonbondedForce("size1*size2*r")
    force.addPerParticleParameter("radius")
    force.addComputedValue("size", "twice; twice=2*radius")
    for _ in PEPTIDE:
        force.addParticle([1.0])
    tested.system.addForce(force)
    with refused("the computed value 'size' of a CustomNonbondedForce has definitions after a semicolon"):
        createMixedSystem(*tested[:2], PEPTIDE, model, interpolate=True)


# Warnings


def test_hydrogens_without_a_radius(model: Path) -> None:
    full = host_guest("complex-vacuum")
    guest = residue(full.topology, "B2")
    with pytest.warns(
        UserWarning, match=r"hydrogens without a Lennard-Jones radius .*: B22:H15\[152\], B22:H18\[155\]\."
    ):
        createMixedSystem(*full[:2], guest, model)
    createMixedSystem(*full[:2], guest, model, removeConstraints=False)  # held by their constraints


def test_bonds_that_nothing_holds_at_lambda_0(model: Path) -> None:
    tested = peptide(constraints=app.HBonds)
    with pytest.warns(UserWarning, match=r"lambda_interpolate = 0 nothing holds .*ACE1:H1\[0\]-ACE1:CH3\[1\], "):
        createMixedSystem(*tested[:2], PEPTIDE, model, interpolate=True)
    createMixedSystem(*tested[:2], PEPTIDE, model)
    held = peptide(constraints=app.HBonds, flexibleConstraints=True)
    createMixedSystem(*held[:2], PEPTIDE, model, interpolate=True)


def test_large_regions(model: Path) -> None:
    topology, system = app.Topology(), openmm.System()
    residue = topology.addResidue("GAS", topology.addChain())
    for _ in range(1001):
        topology.addAtom("He", app.element.helium, residue)
        system.addParticle(4)
    with pytest.warns(UserWarning, match=re.escape("the region has 1001 atoms: its pairs, 500500 of them, become")):
        createMixedSystem(topology, system, range(1001), model)
