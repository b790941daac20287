"""Mixed Systems are those of openmm-ml where both support the case: the same potential, once in each."""

from __future__ import annotations

import inspect
import itertools
from pathlib import Path
from typing import Any

import openmm
import pytest
from openmm import app, unit

from mixed import PEPTIDE, Evaluation, in_nm, peptide, springs
from openmmnnp import createMixedSystem
from systems import TestedSystem, alanine_dipeptide, host_guest, residue

mlpotential = pytest.importorskip("openmmml.mlpotential", reason="compares with openmm-ml: pip install openmmml")

SIDE_CHAIN = [10, 11, 12, 13]  # CB and HB of alanine


class Springs(mlpotential.MLPotentialImpl):
    """The model of springs() as bonds, so that openmm-ml has it without Python in the time step."""

    def __init__(self, longRange: bool | None) -> None:
        self.longRange = longRange

    def addForces(
        self, topology: app.Topology, system: openmm.System, atoms: list[int] | None, forceGroup: int, **_: Any
    ) -> None:
        force = openmm.CustomBondForce("0.1*weight*r^2")
        force.addPerBondParameter("weight")
        force.setForceGroup(forceGroup)
        for (k, i), (m, j) in itertools.combinations(enumerate(atoms or (), 1), 2):
            force.addBond(i, j, [k * m])
        system.addForce(force)

    def getMLLongRange(self) -> bool | None:
        return self.longRange


class Factory(mlpotential.MLPotentialImplFactory):
    def createImpl(self, name: str, longRange: bool | None = None, **_: Any) -> Springs:
        return Springs(longRange)


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    mlpotential.MLPotential.registerImplFactory("springs", Factory())


def with_cmap(method: Any) -> TestedSystem:
    vacuum = alanine_dipeptide(explicit=False)
    system = app.ForceField("amber19/protein.ff19SB.xml").createSystem(vacuum.topology, nonbondedMethod=method)
    return TestedSystem(vacuum.topology, system, vacuum.positions)


def with_custom_pairs() -> TestedSystem:
    tested = peptide(app.NoCutoff, constraints=None)
    force = openmm.CustomNonbondedForce("4*sqrt(epsilon1*epsilon2)*((0.3/r)^12-(0.3/r)^6)")
    force.addPerParticleParameter("epsilon")
    for i in range(22):
        force.addParticle([0.1 * (i % 3)])
    nonbonded = next(f for f in tested.system.getForces() if isinstance(f, openmm.NonbondedForce))
    for k in range(nonbonded.getNumExceptions()):
        force.addExclusion(*nonbonded.getExceptionParameters(k)[:2])
    tested.system.addForce(force)
    return tested


def boxed(method: Any) -> TestedSystem:
    return peptide(method, 2.0, water=True, nonbondedCutoff=0.98 * unit.nanometer, ewaldErrorTolerance=1e-5)


# A long-range model with link atoms is no case: openmm-ml 1.8 then makes Systems that no Context takes.
# name: the System, the atoms, whether the model is long-range, and whether openmm-ml can interpolate it
CASES: dict[str, tuple[Any, Any, bool, bool]] = {
    "no cutoff": (lambda: peptide(app.NoCutoff), PEPTIDE, False, True),
    "host and guest": (lambda: host_guest("complex-vacuum"), "B2", False, True),
    "CMAP": (lambda: with_cmap(app.NoCutoff), PEPTIDE, False, True),
    "custom pairs": (with_custom_pairs, PEPTIDE, False, False),
    "PME": (lambda: boxed(app.PME), PEPTIDE, False, True),
    "PME, long range": (lambda: boxed(app.PME), PEPTIDE, True, True),
    "LJPME": (lambda: boxed(app.LJPME), PEPTIDE, False, False),
    "reaction field": (lambda: boxed(app.CutoffPeriodic), PEPTIDE, False, False),
    "link atom": (lambda: peptide(app.NoCutoff), SIDE_CHAIN, False, True),
    "three link atoms": (lambda: peptide(app.NoCutoff), [8, *SIDE_CHAIN], False, True),
    "link atom, CMAP": (lambda: with_cmap(app.NoCutoff), [*range(4, 22)], False, True),
    "link atom, PME": (lambda: boxed(app.PME), SIDE_CHAIN, False, True),
}


@pytest.mark.filterwarnings("ignore:(hydrogens without a Lennard|at lambda_interpolate = 0 nothing holds)")
@pytest.mark.parametrize("case", CASES)
def test_energies_are_those_of_openmm_ml(case: str, tmp_path: Path) -> None:
    make, atoms, long_range, interpolates = CASES[case]
    tested = make()
    atoms = residue(tested.topology, atoms) if isinstance(atoms, str) else list(atoms)
    links = "link" in case
    model = springs(tmp_path / "springs.pt", long_range=long_range)
    potential = mlpotential.MLPotential("springs", longRange=long_range)
    for interpolate in (False, True) if interpolates else (False,):
        theirs = potential.createMixedSystem(tested.topology, tested.system, atoms, interpolate=interpolate)
        options = {"linkAtoms": "hydrogen", "charge": 0} if links else {}
        ours = createMixedSystem(tested.topology, tested.system, atoms, model, interpolate=interpolate, **options)
        assert ours.getNumConstraints() == theirs.getNumConstraints()
        here, there = Evaluation(ours, in_nm(tested.positions)), with_sites(theirs, tested)
        for value in (0, 0.5, 1) if interpolate else (None,):
            found, expected = (e.energy if value is None else e.at(value).energy for e in (here, there))
            print(f"{case} at {value}: E {expected:.4f}, difference {found - expected:.1e}")
            assert found == pytest.approx(expected, abs=1e-4, rel=0)


def with_sites(system: openmm.System, tested: TestedSystem) -> Evaluation:
    """openmm-ml's link atoms are virtual sites, at the end."""
    extra = system.getNumParticles() - tested.system.getNumParticles()
    evaluation = Evaluation(system, [*in_nm(tested.positions), *[(0.0, 0.0, 0.0)] * extra])
    evaluation.context.computeVirtualSites()
    return evaluation


def test_results_have_the_same_keys_and_arguments(tmp_path: Path) -> None:
    tested = peptide()
    potential = mlpotential.MLPotential("springs", longRange=False)
    theirs = potential.createMixedSystem(*tested[:2], PEPTIDE, returnInfo=True)
    ours = createMixedSystem(*tested[:2], PEPTIDE, springs(tmp_path / "springs.pt"), returnInfo=True)
    assert set(ours) == {*theirs, "removed", "force"}
    assert ours["oldToNew"] == theirs["oldToNew"] and ours["topology"].getNumAtoms() == theirs["topology"].getNumAtoms()
    names = [n for n in inspect.signature(createMixedSystem).parameters if n != "model"]
    assert names[:8] == list(inspect.signature(potential.createMixedSystem).parameters)[:8]
