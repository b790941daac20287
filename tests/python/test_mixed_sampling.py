"""Mixed Systems in simulations: whole molecules, barostats, CustomCVForce, and samplers along lambda."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app, unit

from helpers import context_of
from mixed import LAMBDA, PEPTIDE, Evaluation, energy, in_nm, peptide, springs
from openmmnnp import NNPForce, createMixedSystem
from systems import TestedSystem

BOX = 1.8


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return springs(tmp_path_factory.mktemp("springs") / "springs.pt")


@pytest.fixture(scope="module")
def tested() -> TestedSystem:
    """A peptide in water, moved so that it lies across the border of the box."""
    made = peptide(
        app.PME, BOX, True, nonbondedCutoff=0.8 * unit.nanometer, constraints=app.HBonds, flexibleConstraints=True
    )
    positions = in_nm(made.positions)
    positions -= positions[PEPTIDE].mean(axis=0) + [0.02, -0.01, 0]
    return made._replace(positions=positions * unit.nanometer)


def shape(positions: np.ndarray) -> np.ndarray:
    """Distances in the region."""
    x = positions[list(PEPTIDE)]
    return np.linalg.norm(x[:, None] - x[None], axis=2)


def positions_of(context: openmm.Context, wrapped: bool = True) -> np.ndarray:
    state = context.getState(positions=True, enforcePeriodicBox=wrapped)
    return state.getPositions(asNumpy=True)._value


def test_molecules_are_whole_in_wrapped_trajectories(
    tested: TestedSystem, model: Path, platform: openmm.Platform
) -> None:
    stay_whole(tested, createMixedSystem(*tested[:2], PEPTIDE, model), platform)


def test_molecules_are_whole_between_mm_and_ml(tested: TestedSystem, model: Path) -> None:
    mixed = createMixedSystem(*tested[:2], PEPTIDE, model, interpolate=True)
    stay_whole(tested, mixed, openmm.Platform.getPlatform("Reference"))


def stay_whole(tested: TestedSystem, mixed: openmm.System, platform: openmm.Platform) -> None:
    positions = in_nm(tested.positions)
    before = context_of(tested.system, positions, platform)
    context = context_of(mixed, positions + [3 * BOX, 0, -BOX], platform)
    assert [list(m) for m in context.getMolecules()] == [list(m) for m in before.getMolecules()]
    wrapped = positions_of(context)
    center = wrapped[list(PEPTIDE)].mean(axis=0)
    assert ((0 <= center) & (center < BOX)).all() and wrapped.min() < 0
    np.testing.assert_allclose(shape(wrapped), shape(positions), atol=1e-5)
    again = context_of(mixed, wrapped, platform)
    energies = [c.getState(energy=True).getPotentialEnergy()._value for c in (context, again)]
    assert energies[1] == pytest.approx(energies[0], abs=0.02)


def test_barostats_move_the_molecule_as_one(tested: TestedSystem, model: Path, platform: openmm.Platform) -> None:
    mixed = createMixedSystem(*tested[:2], PEPTIDE, model)
    mixed.addForce(openmm.MonteCarloBarostat(2e4, 300, 1))
    integrator = openmm.VerletIntegrator(1e-9)  # nothing moves but the box
    context = context_of(mixed, in_nm(tested.positions), platform, integrator)
    integrator.step(30)
    edge = context.getState().getPeriodicBoxVectors()[0][0]._value
    assert abs(edge - BOX) > 1e-4
    np.testing.assert_allclose(shape(positions_of(context)), shape(in_nm(tested.positions)), atol=1e-4)


def test_inside_a_cv_force(tested: TestedSystem, model: Path, platform: openmm.Platform) -> None:
    """As a collective variable it has the same energy, also where the molecule was put elsewhere or wrapped."""
    mixed = createMixedSystem(*tested[:2], PEPTIDE, model)
    last = mixed.getNumForces() - 1
    outer = openmm.CustomCVForce("2*u")
    outer.addCollectiveVariable("u", copy.deepcopy(NNPForce.cast(mixed.getForce(last))))
    alone = openmm.System()
    alone.setDefaultPeriodicBoxVectors(*mixed.getDefaultPeriodicBoxVectors())
    for i in range(mixed.getNumParticles()):
        alone.addParticle(mixed.getParticleMass(i))
    plain = copy.deepcopy(alone)
    plain.addForce(copy.deepcopy(NNPForce.cast(mixed.getForce(last))))
    alone.addForce(outer)
    positions = in_nm(tested.positions)
    expected = energy(plain, positions)
    for moved in (positions, positions + [2 * BOX, 0, -BOX]):
        context = context_of(alone, moved, platform)
        value = outer.getCollectiveVariableValues(context)[0]
        assert value == pytest.approx(expected, rel=1e-5)
        assert context.getState(energy=True).getPotentialEnergy()._value == pytest.approx(2 * expected, rel=1e-5)
        context.setPositions(positions_of(context))
        assert outer.getCollectiveVariableValues(context)[0] == pytest.approx(expected, rel=1e-5)


# Samplers


def simulation(model: Path) -> app.Simulation:
    """The peptide in vacuum between MM and the model."""
    tested = peptide(constraints=None)
    mixed = createMixedSystem(*tested[:2], PEPTIDE, model, interpolate=True)
    integrator = openmm.LangevinMiddleIntegrator(300, 1, 0.0005)
    integrator.setRandomNumberSeed(1)
    made = app.Simulation(tested.topology, mixed, integrator, openmm.Platform.getPlatform("Reference"))
    made.context.setPositions(tested.positions)
    made.context.setParameter(LAMBDA, 0)
    made.minimizeEnergy(maxIterations=50)
    return made


def test_openmm_s_replica_exchange(model: Path) -> None:
    states = [{LAMBDA: value} for value in (0, 0.004, 0.008)]  # the springs are far from the force field
    run = simulation(model)
    sampler = app.ReplicaExchangeSampler(states, run, 5)
    sampler.simulate(3)
    assert sorted(sampler.replicaStateIndex) == [0, 1, 2]
    found = np.array([[value_of(e) for e in row] for row in sampler.replicaStateEnergy])
    np.testing.assert_allclose(found[:, 1], (found[:, 0] + found[:, 2]) / 2, rtol=1e-9)
    assert (np.abs(found[:, 2] - found[:, 0]) > 0.1).all()


def value_of(quantity: object) -> float:
    return float(getattr(quantity, "_value", quantity))


def test_openmm_s_expanded_ensemble(model: Path) -> None:
    states = [{LAMBDA: value} for value in np.linspace(0, 0.02, 11)]
    run = simulation(model)
    sampler = app.ExpandedEnsembleSampler(states, run, 2)
    visited = set()
    for _ in range(40):
        run.step(2)
        visited.add(round(run.context.getParameter(LAMBDA), 6))
    assert len(visited) > 1 and visited <= {round(s[LAMBDA], 6) for s in states}
    assert len(sampler.weights) == 11


@pytest.mark.filterwarnings("ignore")
def test_openmmtools_states(model: Path) -> None:
    """A parameter state of its alchemical framework sets lambda, and its reduced potentials are linear in it."""
    pytest.importorskip("openmmtools.states", reason="pip install openmmtools mpiplus netCDF4 numba pymbar pdbfixer")
    from openmmtools import cache, mcmc, states

    class Interpolation(states.GlobalParameterState):
        lambda_interpolate = states.GlobalParameterState.GlobalParameter(LAMBDA, standard_value=1.0)

    tested = peptide(constraints=None)
    mixed = createMixedSystem(*tested[:2], PEPTIDE, model, interpolate=True)
    thermodynamic = states.ThermodynamicState(mixed, 300 * unit.kelvin)
    compound = states.CompoundThermodynamicState(thermodynamic, [Interpolation.from_system(mixed)])
    sampler = states.SamplerState(tested.positions)
    contexts = cache.ContextCache(platform=openmm.Platform.getPlatform("Reference"))
    reduced = []
    for value in (0, 0.25, 1):
        compound.lambda_interpolate = value
        context, _ = contexts.get_context(compound, openmm.VerletIntegrator(0.001))
        sampler.apply_to_context(context)
        reduced.append(compound.reduced_potential(context))
    assert reduced[1] == pytest.approx(0.75 * reduced[0] + 0.25 * reduced[2], rel=1e-9)
    kT = (unit.MOLAR_GAS_CONSTANT_R * 300 * unit.kelvin).value_in_unit(unit.kilojoule_per_mole)
    assert reduced[0] == pytest.approx(Evaluation(tested.system, in_nm(tested.positions)).energy / kT, rel=1e-9)
    move = mcmc.LangevinDynamicsMove(timestep=0.5 * unit.femtosecond, n_steps=2, context_cache=contexts)
    move.apply(compound, sampler)
    assert np.isfinite(sampler.potential_energy._value)
