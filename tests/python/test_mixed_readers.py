"""Mixed Systems of what OpenMM's force fields and its readers for Gromacs, CHARMM and Amber give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app, unit

from mixed import PEPTIDE, Evaluation, energy, in_nm, springs, springs_energy
from mm_files import amber_nbfix, charmm, gromacs
from openmmnnp import createMixedSystem
from systems import TestedSystem, alanine_dipeptide

# OpenMM's reader of Gromacs files leaves them open.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
PERIODIC = {"nonbondedMethod": app.PME, "nonbondedCutoff": 1 * unit.nanometer}
READERS = {
    "Gromacs, rule 1": lambda folder, **options: gromacs(folder, 1, **options),
    "Gromacs, rule 2": lambda folder, **options: gromacs(folder, 2, **options),
    "Gromacs, rule 3": lambda folder, **options: gromacs(folder, 3, **options),
    "CHARMM": charmm,
}
KINDS = {  # forces that hold terms of the region
    "Gromacs, rule 1": {
        "RBTorsionForce",
        "CustomTorsionForce",
        "CMAPTorsionForce",
        "CustomNonbondedForce",
        "CustomBondForce",
    },
    "Gromacs, rule 2": {"RBTorsionForce", "CustomTorsionForce", "CMAPTorsionForce", "CustomNonbondedForce"},
    "Gromacs, rule 3": {
        "RBTorsionForce",
        "CustomTorsionForce",
        "CMAPTorsionForce",
        "CustomNonbondedForce",
        "CustomBondForce",
    },
    "CHARMM": {"CMAPTorsionForce", "CustomTorsionForce", "CustomNonbondedForce"},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return springs(tmp_path_factory.mktemp("springs") / "springs.pt")


def is_before_at_0_and_linear(tested: TestedSystem, atoms: range, model: Path) -> None:
    positions = in_nm(tested.positions)
    before = Evaluation(tested.system, positions)
    between = Evaluation(createMixedSystem(*tested[:2], atoms, model, interpolate=True), positions)
    end = energy(createMixedSystem(*tested[:2], atoms, model), positions)
    assert between.at(0).energy == pytest.approx(before.energy, abs=1e-6)
    np.testing.assert_allclose(between.forces, before.forces, atol=1e-5)
    for value in (0.25, 1):
        assert between.at(value).energy == pytest.approx(before.energy + value * (end - before.energy), abs=1e-6)
        assert between.derivative == pytest.approx(end - before.energy, abs=1e-6)


@pytest.mark.parametrize("reader", READERS)
def test_systems_of_readers(reader: str, model: Path, tmp_path: Path) -> None:
    switched = PERIODIC | ({"switchDistance": 0.4 * unit.nanometer} if reader == "CHARMM" else {})
    tested = READERS[reader](tmp_path, **switched)
    assert {type(force).__name__ for force in tested.system.getForces()} >= KINDS[reader]
    is_before_at_0_and_linear(tested, range(6), model)
    is_before_at_0_and_linear(tested, range(6, 12), model)


@pytest.mark.parametrize("reader", READERS)
def test_terms_of_one_molecule_are_those_of_it_alone(reader: str, model: Path, tmp_path: Path) -> None:
    both, alone = (READERS[reader](tmp_path, molecules=n, nonbondedMethod=app.NoCutoff) for n in (2, 1))
    positions = in_nm(both.positions)
    expected = energy(both.system, positions) - energy(alone.system, positions[:6]) + springs_energy(positions[:6])
    assert energy(alone.system, positions[:6]) > 10
    assert energy(createMixedSystem(*both[:2], range(6), model), positions) == pytest.approx(expected, abs=1e-6)


def test_amber_with_pairs_of_their_own_and_implicit_solvent(model: Path, tmp_path: Path) -> None:
    """The implicit solvent stays: it belongs to no region."""
    tested = amber_nbfix(tmp_path)
    solvent = next(f for f in tested.system.getForces() if isinstance(f, openmm.GBSAOBCForce))
    assert any(isinstance(f, openmm.CustomNonbondedForce) for f in tested.system.getForces())
    is_before_at_0_and_linear(tested, PEPTIDE, model)
    positions = in_nm(tested.positions)
    for force in tested.system.getForces():
        force.setForceGroup(0)
    solvent.setForceGroup(1)
    context = Evaluation(tested.system, positions).context
    expected = context.getState(energy=True, groups={1}).getPotentialEnergy()._value + springs_energy(positions)
    assert energy(createMixedSystem(*tested[:2], PEPTIDE, model), positions) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "files", [("amber19/protein.ff19SB.xml",), pytest.param(("charmm36_2024.xml",), marks=pytest.mark.long)]
)
def test_force_fields_with_cmap(files: tuple[str, ...], model: Path) -> None:
    peptide = alanine_dipeptide(explicit=False)
    system = app.ForceField(*files).createSystem(peptide.topology, constraints=None)
    assert any(isinstance(f, openmm.CMAPTorsionForce) for f in system.getForces())
    is_before_at_0_and_linear(TestedSystem(peptide.topology, system, peptide.positions), PEPTIDE, model)


def with_custom_pairs(method: int, computed: bool) -> TestedSystem:
    """Pairs with groups, a table, a switch and a parameter: with computed values, or with the derivative."""
    tested = alanine_dipeptide(explicit=False)
    size = "size" if computed else "radius"
    force = openmm.CustomNonbondedForce(f"scale*table(kind1,kind2)*{size}1*{size}2/r^2+shift; shift=0.1*r")
    force.addPerParticleParameter("kind")
    force.addPerParticleParameter("radius")
    force.addGlobalParameter("scale", 1.3)
    if computed:
        force.addComputedValue("size", "radius^2+scale")
    else:
        force.addEnergyParameterDerivative("scale")
    force.addTabulatedFunction("table", openmm.Discrete2DFunction(2, 2, [1.0, -0.3, -0.3, 0.4]))
    for i in range(22):
        force.addParticle([i % 2, 0.1 * i])
    for i, j in ((0, 1), (4, 2)):
        force.addExclusion(i, j)
    force.addInteractionGroup(range(10), range(22))
    force.addInteractionGroup([3, 12], [3, 12, 20])
    force.setNonbondedMethod(method)
    force.setCutoffDistance(0.5)
    force.setUseSwitchingFunction(True)
    force.setSwitchingDistance(0.3)
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors([1, 0, 0], [0, 1.1, 0], [0.2, 0.1, 1.05])
    for i in range(22):
        system.addParticle(tested.system.getParticleMass(i))
    system.addForce(force)
    return TestedSystem(tested.topology, system, tested.positions)


@pytest.mark.parametrize("method", range(3), ids=["no cutoff", "cutoff", "periodic"])
def test_pairs_of_any_expression(method: int, model: Path) -> None:
    is_before_at_0_and_linear(with_custom_pairs(method, computed=True), PEPTIDE, model)
    tested = with_custom_pairs(method, computed=False)
    is_before_at_0_and_linear(tested, PEPTIDE, model)
    mixed = createMixedSystem(*tested[:2], PEPTIDE, model, interpolate=True)
    found, expected = (
        e.context.getState(parameterDerivatives=True).getEnergyParameterDerivatives()["scale"]
        for e in (Evaluation(mixed, in_nm(tested.positions)).at(0), Evaluation(tested.system, in_nm(tested.positions)))
    )
    assert found == pytest.approx(expected, rel=1e-9) and abs(expected) > 1


def test_parameters_that_are_called_like_coordinates(model: Path) -> None:
    tested = alanine_dipeptide(explicit=False)
    force = openmm.CustomNonbondedForce("x1*x2/r+z1*z2*y; y=r^2")
    force.addPerParticleParameter("x")
    force.addComputedValue("z", "2*x")
    system = openmm.System()
    for i in range(22):
        system.addParticle(tested.system.getParticleMass(i))
        force.addParticle([0.3 * i])
    system.addForce(force)
    is_before_at_0_and_linear(TestedSystem(tested.topology, system, tested.positions), PEPTIDE, model)
