"""Electrostatic embedding: the model sees the MM charges, and Coulomb terms of the region leave the MM side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app, unit

from helpers import central_differences, scripted
from mixed import PEPTIDE, Evaluation, energy, in_nm, peptide, springs
from openmmnnp import ModelSpec, NNPForce, createMixedSystem
from openmmnnp.spec import write_spec
from systems import TestedSystem

COULOMB = 138.93545764438198  # kJ/mol nm/e^2
CUTOFF = 0.4  # nm
CHARGED = 0.1  # e, of every atom of the model
SIDE_CHAIN = [10, 11, 12, 13]  # CB and HB of ALA; CA is cut off, with its neighbors N, HA and C
# Charges of the model with those around it, switched off at the cutoff, and polarized: -k/2 a |F|^2
_POLARIZABLE = f"""
r = positions.unsqueeze(1) - mm_positions.unsqueeze(0)
d = r.square().sum(2).sqrt()
w = torch.clamp(1 - (d / {CUTOFF})**2, min=0.0)**3 * mm_charges
field = (r * (w / d**3).unsqueeze(2)).sum(1)
return {COULOMB} * ({CHARGED} * (w / d).sum() - 0.5 * 0.001 * field.square().sum())
"""
INPUTS = ["positions", "mm_positions", "mm_charges"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("polarizable") / "polarizable.pt"
    scripted(_POLARIZABLE, ", ".join(INPUTS)).save(str(path))
    write_spec(path, ModelSpec("polarizable", "nm", "kJ/mol", "float64", inputs=INPUTS, mm_cutoff=CUTOFF))
    return path


def model_energy(x: np.ndarray, around: np.ndarray, charges: np.ndarray, box: float | None) -> float:
    r = x[:, None] - around[None]
    r = r if box is None else r - box * np.round(r / box)
    d = np.linalg.norm(r, axis=2)
    w = np.clip(1 - (d / CUTOFF) ** 2, 0, None) ** 3 * charges
    field = (r * (w / d**3)[:, :, None]).sum(1)
    return float(COULOMB * (CHARGED * (w / d).sum() - 0.5 * 0.001 * (field**2).sum()))


def charges_of(system: openmm.System) -> np.ndarray:
    force = next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    return np.array([force.getParticleParameters(i)[0]._value for i in range(force.getNumParticles())])


def seen_by_model(force: NNPForce) -> tuple[list[int], list[float]]:
    """Particles and charges in e."""
    indices, charges = force.getMMCharges()
    return list(indices), list(charges.value_in_unit(unit.elementary_charge))


def solvated(method: object, box: float = 1.85) -> TestedSystem:
    """Without constraints, so that every coordinate is free."""
    smooth = {"switchDistance": 0.5 * unit.nanometer, "ewaldErrorTolerance": 1e-5}  # at the cutoff
    return peptide(method, box, water=True, nonbondedCutoff=0.6 * unit.nanometer, rigidWater=False, **smooth)


def discharged(system: openmm.System, atoms: list[int]) -> openmm.System:
    """An oracle: the System with its charges on these atoms set to zero, and in all of their exceptions."""
    copied = openmm.XmlSerializer.clone(system)
    force = next(f for f in copied.getForces() if isinstance(f, openmm.NonbondedForce))
    for i in atoms:
        force.setParticleParameters(i, 0, *force.getParticleParameters(i)[1:])
    for k in range(force.getNumExceptions()):
        i, j, _, *lj = force.getExceptionParameters(k)
        if i in atoms or j in atoms:
            force.setExceptionParameters(k, i, j, 0, *lj)
    return copied


@pytest.mark.parametrize("method", [app.NoCutoff, app.CutoffPeriodic, app.PME], ids=str)
def test_energy_in_a_field_of_charges(method: object, model: Path, tmp_path: Path) -> None:
    """The mechanical mixed System without charges on the region, and the model with all charges around it."""
    tested = solvated(method)
    positions, charges = in_nm(tested.positions), charges_of(tested.system)
    info = createMixedSystem(*tested[:2], PEPTIDE, model, embedding="electrostatic", returnInfo=True)
    zero = springs(tmp_path / "zero.pt")
    bare = createMixedSystem(tested.topology, discharged(tested.system, list(PEPTIDE)), PEPTIDE, zero)
    mm = energy(bare, positions) - energy(without_mm(tested, zero), positions[:22])
    box = None if method is app.NoCutoff else 1.85
    seen = model_energy(positions[:22], positions[22:], charges[22:], box)
    assert abs(seen) > 1
    assert energy(info["system"], positions) == pytest.approx(mm + seen, abs=1e-4)
    indices, values = seen_by_model(info["force"])
    assert list(indices) == list(range(22, len(positions)))
    np.testing.assert_allclose(values, charges[22:])


def without_mm(tested: TestedSystem, zero: Path) -> openmm.System:
    """The springs alone."""
    system = openmm.System()
    for i in PEPTIDE:
        system.addParticle(tested.system.getParticleMass(i))
    system.addForce(NNPForce(zero))
    return system


@pytest.mark.parametrize("method", [app.NoCutoff, app.PME], ids=str)
def test_interpolation_of_electrostatic_embedding(method: object, model: Path) -> None:
    tested = solvated(method)
    positions = in_nm(tested.positions)
    options = {"embedding": "electrostatic"}
    ends = (
        energy(tested.system, positions),
        energy(createMixedSystem(*tested[:2], PEPTIDE, model, **options), positions),
    )
    mixed = createMixedSystem(*tested[:2], PEPTIDE, model, interpolate=True, **options)
    evaluation = Evaluation(mixed, positions)
    for value in (0, 0.25, 0.5, 0.75, 1):
        assert evaluation.at(value).energy == pytest.approx(ends[0] + value * (ends[1] - ends[0]), abs=1e-4)
        assert evaluation.derivative == pytest.approx(ends[1] - ends[0], abs=1e-4)


@pytest.mark.filterwarnings("ignore:hydrogens without a Lennard-Jones radius")  # of water
@pytest.mark.parametrize("links", [False, True], ids=["molecule", "side chain"])
@pytest.mark.parametrize("method", [app.NoCutoff, app.PME], ids=str)
@pytest.mark.figure("G4", what="electrostatic embedding, all atoms, 2e-5 of PME", platform="Reference")
def test_forces_are_central_differences_on_all_atoms(method: object, links: bool, model: Path) -> None:
    tested = solvated(method, 1.3)
    atoms = SIDE_CHAIN if links else [22, 23, 24]
    options = {"linkAtoms": "hydrogen", "charge": 0} if links else {}
    mixed = createMixedSystem(*tested[:2], atoms, model, embedding="electrostatic", **options)
    evaluation = Evaluation(mixed, in_nm(tested.positions))
    forces = evaluation.forces
    differences = central_differences(evaluation.context, 1e-5)
    np.testing.assert_allclose(differences, forces, atol=2e-5 * np.abs(forces).max())


def test_charges_near_a_cut_are_shifted_and_their_sum_stays(model: Path) -> None:
    tested = peptide(constraints=None)
    charges = charges_of(tested.system)
    options = {"embedding": "electrostatic", "linkAtoms": "hydrogen", "charge": 0, "returnInfo": True}
    info = createMixedSystem(*tested[:2], SIDE_CHAIN, model, **options)
    indices, values = seen_by_model(info["force"])
    seen = dict(zip(indices, values, strict=True))
    assert not {8, *SIDE_CHAIN} & set(seen)  # CA, which has the link atom
    assert sum(values) == pytest.approx(charges.sum(), abs=1e-9)
    moved = charges[8] + charges[SIDE_CHAIN].sum()
    for i in set(range(22)) - {8, *SIDE_CHAIN}:
        assert seen[i] == pytest.approx(charges[i] + (moved / 3 if i in (6, 9, 14) else 0), abs=1e-12)
    ours = next(f for f in info["system"].getForces() if isinstance(f, openmm.NonbondedForce))
    after = charges_of(info["system"])
    assert (after[SIDE_CHAIN] == 0).all()
    np.testing.assert_array_equal(np.delete(after, SIDE_CHAIN), np.delete(charges, SIDE_CHAIN))
    lj = [ours.getParticleParameters(i)[1:] for i in SIDE_CHAIN]
    assert all(epsilon._value > 0 for _, epsilon in lj)


def test_vacuum_for_a_model_that_takes_charges(model: Path) -> None:
    """In mechanical embedding it sees none."""
    tested = peptide()
    info = createMixedSystem(*tested[:2], PEPTIDE, model, returnInfo=True)
    assert seen_by_model(info["force"]) == ([], [])
    assert energy(info["system"], in_nm(tested.positions)) == pytest.approx(0, abs=1e-9)


def test_models_and_systems_that_do_not_fit(model: Path, tmp_path: Path) -> None:
    tested = peptide()
    with pytest.raises(ValueError, match="needs a model with the inputs mm_positions and mm_charges"):
        createMixedSystem(*tested[:2], PEPTIDE, springs(tmp_path / "s.pt"), embedding="electrostatic")
    with pytest.raises(ValueError, match="embedding='polarizable', needed is 'mechanical' or 'electrostatic'"):
        createMixedSystem(*tested[:2], PEPTIDE, model, embedding="polarizable")
    options = {"embedding": "electrostatic", "linkAtoms": "hydrogen", "charge": 0}
    with pytest.raises(
        ValueError, match=r"the charge of ACE1:H1\[0\], which has a link atom, has no MM neighbor to go to"
    ):
        createMixedSystem(*tested[:2], [*range(1, 22)], model, **options)
    force = next(f for f in tested.system.getForces() if isinstance(f, openmm.NonbondedForce))
    force.addGlobalParameter("scale", 1)
    force.addParticleParameterOffset("scale", 0, 0.1, 0, 0)
    with pytest.raises(ValueError, match="NonbondedForce has parameter offsets, and the model would not see"):
        createMixedSystem(*tested[:2], SIDE_CHAIN, model, **options)
