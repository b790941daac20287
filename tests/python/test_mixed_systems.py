"""createMixedSystem and createSystem: E = E_MM(System) - E_MM(region) + E_model(region), and between both."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app, unit

import openmmnnp
from helpers import central_differences, scripted
from mixed import LAMBDA, PEPTIDE, Evaluation, energy, in_nm, peptide, springs, springs_energy
from openmmnnp import ModelSpec, NNPForce, createMixedSystem, createSystem
from openmmnnp.spec import write_spec
from systems import TestedSystem, host_guest, residue

METHODS = {
    "NoCutoff": app.NoCutoff,
    "CutoffNonPeriodic": app.CutoffNonPeriodic,
    "CutoffPeriodic": app.CutoffPeriodic,
    "Ewald": app.Ewald,
    "PME": app.PME,
    "LJPME": app.LJPME,
}
BARE = "ignore:hydrogens without a Lennard-Jones radius"  # of the guest B2, which is an alcohol
SHORT = 0.45 * unit.nanometer  # a cutoff below the peptide's width


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return springs(tmp_path_factory.mktemp("springs") / "springs.pt")


def tight(method: str, switch: bool = False) -> TestedSystem:
    """A peptide that is wider than the cutoff, and so near to its images that they interact."""
    width = 0.36 * unit.nanometer if switch and method not in ("NoCutoff", "LJPME") else None
    return peptide(METHODS[method], 1.0, nonbondedCutoff=SHORT, switchDistance=width, constraints=None)


# Interpolation


@pytest.mark.parametrize("nearest", [False, True], ids=["exceptions as they are", "exceptions of nearest images"])
@pytest.mark.parametrize("method", METHODS)
def test_lambda_0_is_the_system_before(model: Path, method: str, nearest: bool) -> None:
    tested = tight(method, switch=True)
    next(
        f for f in tested.system.getForces() if f.getName() == "NonbondedForce"
    ).setExceptionsUsePeriodicBoundaryConditions(nearest)
    before = Evaluation(tested.system, in_nm(tested.positions))
    mixed = createMixedSystem(tested.topology, tested.system, PEPTIDE, model, interpolate=True)
    at_0 = Evaluation(mixed, in_nm(tested.positions)).at(0)
    print(f"{method}: E {before.energy:.4f}, difference {at_0.energy - before.energy:.1e}")
    assert at_0.energy == pytest.approx(before.energy, abs=1e-6)
    np.testing.assert_allclose(at_0.forces, before.forces, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_energy_is_linear_in_lambda_and_the_derivative_exact(model: Path, method: str) -> None:
    tested = tight(method)
    positions = in_nm(tested.positions)
    plain = createMixedSystem(tested.topology, tested.system, PEPTIDE, model)
    mixed = createMixedSystem(tested.topology, tested.system, PEPTIDE, model, interpolate=True)
    ends = energy(tested.system, positions), energy(plain, positions)
    evaluation = Evaluation(mixed, positions)
    assert evaluation.context.getParameter(LAMBDA) == 1
    assert abs(ends[1] - ends[0]) > 10
    for value in (0, 0.25, 0.5, 0.75, 1):
        assert evaluation.at(value).energy == pytest.approx((1 - value) * ends[0] + value * ends[1], abs=1e-6)
        assert evaluation.derivative == pytest.approx(ends[1] - ends[0], abs=1e-6)


def test_every_force_that_depends_on_lambda_declares_its_derivative_and_none_is_in_an_inner_context(
    model: Path,
) -> None:
    mixed = createMixedSystem(*tight("PME")[:2], PEPTIDE, model, interpolate=True)
    depending = 0
    for force in mixed.getForces():
        assert not isinstance(force, openmm.CustomCVForce)
        ours = NNPForce.cast(force) if NNPForce.isinstance(force) else force
        if NNPForce.isinstance(force):
            assert ours.getScaleParameter() == LAMBDA
        names = [ours.getGlobalParameterName(k) for k in range(getattr(ours, "getNumGlobalParameters", int)())]
        if LAMBDA in names or NNPForce.isinstance(force):
            depending += 1
            assert ours.getEnergyParameterDerivativeName(0) == LAMBDA
    assert depending == 7  # bonds, angles, torsions, exceptions, pairs within the cutoff and beyond, the model


def test_platforms_agree_at_both_ends(model: Path, platform: openmm.Platform) -> None:
    tested = tight("PME")
    mixed = createMixedSystem(tested.topology, tested.system, PEPTIDE, model, interpolate=True)
    here = Evaluation(mixed, in_nm(tested.positions), platform)
    for value, system in ((0, tested.system), (1, createMixedSystem(*tested[:2], PEPTIDE, model))):
        before = Evaluation(system, in_nm(tested.positions), platform)
        assert here.at(value).energy == pytest.approx(before.energy, abs=2e-3)
        scale = np.abs(before.forces).max()
        np.testing.assert_allclose(here.forces, before.forces, atol=1e-5 * scale)


@pytest.mark.parametrize("value", [0.3, 1.0])
@pytest.mark.figure("G4", what="mechanical embedding, all atoms, 2e-5 of PME", platform="Reference")
def test_forces_are_central_differences_on_all_atoms(model: Path, value: float) -> None:
    tested = peptide(app.PME, 1.3, water=True, nonbondedCutoff=0.6 * unit.nanometer)
    assert tested.system.getNumParticles() > 40
    for k in reversed(range(tested.system.getNumConstraints())):
        tested.system.removeConstraint(k)
    mixed = createMixedSystem(tested.topology, tested.system, PEPTIDE, model, interpolate=True)
    evaluation = Evaluation(mixed, in_nm(tested.positions)).at(value)
    forces = evaluation.forces
    differences = central_differences(evaluation.context, 1e-5)
    # PME's own forces are those of its energy to about 1e-5, the model's and the pairs' to rounding
    np.testing.assert_allclose(differences, forces, atol=2e-5 * np.abs(forces).max())


# Identities


def alone(tested: TestedSystem) -> openmm.System:
    """The MM terms of the peptide in vacuum: without a cutoff where charges have none."""
    nonbonded = next(f for f in tested.system.getForces() if isinstance(f, openmm.NonbondedForce))
    if nonbonded.getNonbondedMethod() in (
        openmm.NonbondedForce.CutoffPeriodic,
        openmm.NonbondedForce.CutoffNonPeriodic,
    ):
        return peptide(app.CutoffNonPeriodic, nonbondedCutoff=nonbonded.getCutoffDistance(), constraints=None).system
    return peptide(constraints=None).system


@pytest.mark.parametrize("method", [name for name in METHODS if name != "LJPME"])
def test_mixed_energy_is_mm_without_the_region_and_the_model(model: Path, method: str) -> None:
    options = {"nonbondedCutoff": 0.98 * unit.nanometer, "constraints": None}
    tested = peptide(METHODS[method], 2.0, water=True, **options)
    positions = in_nm(tested.positions)
    expected = energy(tested.system, positions) - energy(alone(tested), positions[:22]) + springs_energy(positions[:22])
    found = energy(createMixedSystem(tested.topology, tested.system, PEPTIDE, model), positions)
    print(f"{method}: E {found:.4f}, difference {found - expected:.1e}")
    assert found == pytest.approx(expected, abs=1e-4)


def test_long_range_model_takes_over_its_images(tmp_path: Path) -> None:
    """Moving the region far away from nothing: alone in a box, all of its Coulomb energy leaves the MM side."""
    tested = peptide(app.PME, 2.5, nonbondedCutoff=1 * unit.nanometer, constraints=None, ewaldErrorTolerance=1e-5)
    for force in tested.system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.setUseDispersionCorrection(False)
    positions = in_nm(tested.positions)
    expected = springs_energy(positions)
    local, far = (springs(tmp_path / f"{flag}.pt", long_range=flag) for flag in (False, True))
    images = energy(createMixedSystem(tested.topology, tested.system, PEPTIDE, local), positions) - expected
    assert abs(images) > 1e-3
    for interpolate in (False, True):
        mixed = createMixedSystem(tested.topology, tested.system, PEPTIDE, far, interpolate=interpolate)
        assert energy(mixed, positions) == pytest.approx(expected, abs=1e-4)
    evaluation = Evaluation(mixed, positions)
    before = energy(tested.system, positions)
    for value in (0, 0.5, 1):
        assert evaluation.at(value).energy == pytest.approx(before + value * (expected - before), abs=1e-4)
        assert evaluation.derivative == pytest.approx(expected - before, abs=1e-4)


def test_vacuum_models_leave_their_images_to_mm(tmp_path: Path) -> None:
    tested = tight("PME")
    positions = in_nm(tested.positions)
    energies = [
        energy(createMixedSystem(*tested[:2], PEPTIDE, springs(tmp_path / f"{k}.pt", **spec)), positions)
        for k, spec in enumerate(({"long_range": False}, {"periodic": False, "long_range": True}))
    ]
    assert energies[0] == energies[1]


# Arguments and results


def test_inputs_are_not_modified_and_atoms_are_read_once(model: Path) -> None:
    tested = peptide(app.PME, 2.0, water=True, constraints=app.HBonds, flexibleConstraints=True)
    force = NNPForce(model)
    force.setForceGroup(9)
    before = [openmm.XmlSerializer.serialize(x) for x in (tested.system, force)]
    bonds = tested.topology.getNumBonds()
    info = createMixedSystem(
        tested.topology, tested.system, (i for i in reversed(PEPTIDE)), force, True, 3, True, "mechanical", True
    )
    assert [openmm.XmlSerializer.serialize(x) for x in (tested.system, force)] == before
    assert set(info) == {"system", "topology", "oldToNew", "removed", "force"}
    assert info["topology"].getNumBonds() == bonds
    assert info["oldToNew"] == list(range(tested.system.getNumParticles()))
    assert info["force"].getParticles() == list(reversed(PEPTIDE))
    assert info["force"].getForceGroup() == 3 and force.getForceGroup() == 9
    assert info["force"].getNumBonds() == 21
    last = info["system"].getForce(info["system"].getNumForces() - 1)
    assert NNPForce.isinstance(last) and last.this == info["force"].this
    removed = {row.kind: row.removed for row in info["removed"]}
    assert removed == {"constraints": 12, "bonds": 21, "angles": 36, "torsions": 42, "pairs": 231}
    assert ["NonbondedForce", "pairs", "231"] in [line.split() for line in str(info["removed"]).splitlines()]


def test_constraints_stay_if_asked(model: Path) -> None:
    tested = peptide(constraints=app.HBonds)
    kept = createMixedSystem(tested.topology, tested.system, PEPTIDE, model, removeConstraints=False)
    gone = createMixedSystem(tested.topology, tested.system, PEPTIDE, model)
    assert (kept.getNumConstraints(), gone.getNumConstraints()) == (12, 0)


def test_model_may_be_bytes_a_module_or_a_force(model: Path) -> None:
    tested = peptide()
    force = NNPForce(model)
    force.setMultiplicity(3)
    energies = {
        energy(createMixedSystem(tested.topology, tested.system, PEPTIDE, m), in_nm(tested.positions))
        for m in (model, str(model), model.read_bytes(), force)
    }
    assert len(energies) == 1
    info = createMixedSystem(tested.topology, tested.system, PEPTIDE, force, returnInfo=True, charge=0)
    assert (info["force"].getMultiplicity(), info["force"].getCharge()) == (3, 0)
    info = createMixedSystem(tested.topology, tested.system, PEPTIDE, model, returnInfo=True, multiplicity=2)
    assert info["force"].getMultiplicity() == 2


@pytest.mark.filterwarnings(BARE)
def test_charge_is_that_of_the_mm_region(model: Path) -> None:
    full = host_guest("complex-vacuum")
    guest = residue(full.topology, "B2")
    info = createMixedSystem(full.topology, full.system, "resname B2", model, returnInfo=True)
    assert info["force"].getParticles() == guest and info["force"].getCharge() == 0


@pytest.mark.filterwarnings(BARE)
def test_two_regions_in_one_system(model: Path) -> None:
    full = host_guest("complex-vacuum")
    guest = residue(full.topology, "B2")
    host = sorted(set(range(full.system.getNumParticles())) - set(guest))
    positions = in_nm(full.positions)
    first = createMixedSystem(full.topology, full.system, guest, model)
    both = createMixedSystem(full.topology, first, host, model)
    change = energy(both, positions) - energy(first, positions)
    alone = energy(createMixedSystem(full.topology, full.system, host, model), positions) - energy(
        full.system, positions
    )
    assert change == pytest.approx(alone, abs=1e-6)


@pytest.mark.filterwarnings(BARE)
def test_region_of_several_molecules_is_seen_by_nearest_images(tmp_path: Path) -> None:
    """Two waters on either side of the box, as a wrapped trajectory gives them."""
    body = (
        "d = positions[0] - positions[3]\nL = box.diag()\nd = d - L * torch.round(d / L)\nreturn 100 * d.square().sum()"
    )
    path = tmp_path / "periodic.pt"
    scripted(body, "positions, box").save(str(path))
    write_spec(path, ModelSpec("pair", "nm", "kJ/mol", "float64", inputs=["positions", "box"], long_range=False))
    tested = peptide(app.PME, 2.0, water=True, nonbondedCutoff=0.9 * unit.nanometer, rigidWater=False)
    atoms = [a.index for r in list(tested.topology.residues())[3:5] for a in r.atoms()]
    mixed = createMixedSystem(tested.topology, tested.system, atoms, path, interpolate=True)
    assert NNPForce.cast(mixed.getForce(mixed.getNumForces() - 1)).usesPeriodicBoundaryConditions()
    positions = in_nm(tested.positions)
    moved = positions.copy()
    moved[atoms[:3]] += [2.0, 0, -2.0]
    before = Evaluation(tested.system, moved)
    for value in (0, 0.5, 1):
        energies = [Evaluation(mixed, x).at(value).energy for x in (positions, moved)]
        assert energies[0] == pytest.approx(energies[1], abs=1e-6)
    assert Evaluation(mixed, moved).at(0).energy == pytest.approx(before.energy, abs=1e-6)


# createSystem


def test_a_system_of_the_model_alone(model: Path) -> None:
    tested = peptide()
    force = NNPForce(model)
    with pytest.warns(UserWarning, match="the charge is -1 e, but the model .springs. does not take it"):
        system = createSystem(tested.topology, force, charge=-1, multiplicity=2)
    ours, remover = NNPForce.cast(system.getForce(0)), system.getForce(1)
    assert isinstance(remover, openmm.CMMotionRemover) and ours.this != force.this
    assert (ours.getCharge(), ours.getMultiplicity(), ours.getNumBonds()) == (-1, 2, 21)
    assert ours.getAtomicNumbers() == [a.element.atomic_number for a in tested.topology.atoms()]
    assert not ours.usesPeriodicBoundaryConditions()
    assert energy(system, in_nm(tested.positions)) == pytest.approx(springs_energy(in_nm(tested.positions)), rel=1e-12)
    masses = [system.getParticleMass(i)._value for i in range(22)]
    assert masses == [a.element.mass._value for a in tested.topology.atoms()]
    assert createSystem(tested.topology, model, removeCMMotion=False).getNumForces() == 1


def test_a_periodic_system_of_the_model_alone(harmonic_box: Path) -> None:
    topology = copy.deepcopy(peptide().topology)
    topology.setUnitCellDimensions(openmm.Vec3(3, 4, 5))
    system = createSystem(topology, harmonic_box)
    assert NNPForce.cast(system.getForce(0)).usesPeriodicBoundaryConditions()
    assert system.getDefaultPeriodicBoxVectors()[2][2]._value == 5


@pytest.fixture
def harmonic_box(tmp_path: Path) -> Path:
    scripted("return (positions.square().sum(1) * box[2, 2]).sum()", "positions, box").save(str(tmp_path / "box.pt"))
    spec = ModelSpec("box", "nm", "kJ/mol", "float64", inputs=["positions", "box"])
    write_spec(tmp_path / "box.pt", spec)
    return tmp_path / "box.pt"


def test_names_are_exported_lazily() -> None:
    assert openmmnnp.createMixedSystem is createMixedSystem
    assert {"createSystem", "createMixedSystem"} <= set(openmmnnp.__all__)
