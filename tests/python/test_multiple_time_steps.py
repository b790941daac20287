"""addMultipleTimeSteps: nothing is added or lost, r-RESPA in its limits, and the example."""

from __future__ import annotations

import copy
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import openmm
import pytest
from openmm import unit

from helpers import context_of, coordinates, counts, energy_and_forces
from openmmnnp import NNPForce, addMultipleTimeSteps

EXAMPLE = Path(__file__).parents[2] / "examples" / "multiple_time_steps.py"
N = 5
STEP = 0.002  # ps, the outer one


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("multiple_time_steps", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def models(save_scripted: Callable[..., Path], tmp_path: Path) -> dict[str, Path]:
    """A chain of stiff springs with a softer quartic term, and one of springs alone."""
    bonds = "b = torch.sqrt(((positions[1:] - positions[:-1]) ** 2).sum(1)) - 0.15\n"
    found = {}
    for name, body in {
        "expensive": bonds + "return 1e5 * (b * b).sum() + 50 * (positions ** 4).sum()",
        "cheap": bonds + "return 0.9e5 * (b * b).sum()",
    }.items():
        found[name] = tmp_path / f"{name}.pt"
        save_scripted(body).rename(found[name])
    return found


def chain() -> np.ndarray:
    """Positions [N, 3] in nm of a zigzag, a little off its rest."""
    x = np.zeros((N, 3))
    x[:, 0], x[:, 1] = 0.13 * np.arange(N), 0.08 * (np.arange(N) % 2)
    return x + 0.003 * np.random.default_rng(2).normal(size=(N, 3))


def system_of(*forces: openmm.Force) -> openmm.System:
    system = openmm.System()
    for _ in range(N):
        system.addParticle(12)
    for force in forces:
        system.addForce(force)
    return system


def springs(stiffness: float = 1.8e5) -> openmm.HarmonicBondForce:
    """The model "cheap" as OpenMM's force, about."""
    force = openmm.HarmonicBondForce()
    for i in range(N - 1):
        force.addBond(i, i + 1, 0.15, stiffness)
    return force


def with_scale(path: Path) -> NNPForce:
    force = NNPForce(path)
    force.setScaleParameter("lambda", 0.7)
    return force


def test_cheap_force_whose_parameter_is_defined_elsewhere(models: dict[str, Path]) -> None:
    """As the model of a mixed System that is interpolated."""
    cheap, other = NNPForce(models["cheap"]), openmm.CustomExternalForce("0*s*x")
    cheap.setScaleParameter("s", None)
    other.addGlobalParameter("s", 1.0)
    system = system_of(cheap, other)
    addMultipleTimeSteps(system, NNPForce(models["expensive"]), cheap, substeps=2)
    found = energy_and_forces(context_of(system, chain(), openmm.Platform.getPlatform("Reference")))
    alone = system_of(NNPForce(models["expensive"]))
    expected = energy_and_forces(context_of(alone, chain(), openmm.Platform.getPlatform("Reference")))
    assert found[0] == pytest.approx(expected[0], rel=1e-9)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-7, atol=1e-6)


CHEAP = {
    "a model": lambda path: NNPForce(path),
    "a scaled model": with_scale,
    "a force field": lambda path: springs(),
    "both": lambda path: [springs(2e4), NNPForce(path)],
}


@pytest.mark.parametrize("kind, held", [*((kind, False) for kind in CHEAP), ("both", True)])
def test_total_is_that_of_the_expensive_force(
    kind: str, held: bool, platform: openmm.Platform, tolerance: float, models: dict[str, Path]
) -> None:
    """In the inner group the cheap forces, all in all the expensive one and what the System had."""
    spring = openmm.CustomExternalForce("20*x")
    spring.addParticle(1)
    cheap = CHEAP[kind](models["cheap"])
    forces = cheap if isinstance(cheap, list) else [cheap]
    inner = context_of(system_of(spring, *copy.deepcopy(forces)), chain(), platform)
    expected = context_of(system_of(copy.deepcopy(spring), NNPForce(models["expensive"])), chain(), platform)
    system = system_of(copy.deepcopy(spring), *(forces if held else []))
    groups = addMultipleTimeSteps(system, NNPForce(models["expensive"]), cheap, 4)
    assert groups == [(1, 1), (0, 4)]
    assert system.getNumForces() == 3 + len(forces)
    context = context_of(system, chain(), platform)
    found, wanted = energy_and_forces(context), energy_and_forces(expected)
    size = np.abs(wanted[1]).max()
    assert found[0] == pytest.approx(wanted[0], rel=10 * tolerance, abs=10 * tolerance * size)
    np.testing.assert_allclose(found[1], wanted[1], atol=10 * tolerance * size)
    state = context.getState(energy=True, forces=True, groups={0})
    assert state.getPotentialEnergy()._value == pytest.approx(energy_and_forces(inner)[0], rel=10 * tolerance)
    np.testing.assert_allclose(
        state.getForces(asNumpy=True)._value, energy_and_forces(inner)[1], atol=10 * tolerance * size
    )


def trajectory(
    system: openmm.System, groups: list[tuple[int, int]], step: float, steps: int, platform: openmm.Platform
) -> np.ndarray:
    """Positions and velocities [2, N, 3] after some steps of r-RESPA."""
    context = context_of(system, chain(), platform, openmm.MTSIntegrator(step, groups))
    context.setVelocitiesToTemperature(300, 4)
    context.getIntegrator().step(steps)
    return coordinates(context)


def split(models: dict[str, Path], substeps: int, cheap: str = "cheap") -> tuple[openmm.System, list[tuple[int, int]]]:
    system = system_of()
    return system, addMultipleTimeSteps(system, NNPForce(models["expensive"]), NNPForce(models[cheap]), substeps)


def test_one_substep_is_verlet(platform: openmm.Platform, tolerance: float, models: dict[str, Path]) -> None:
    alone = trajectory(system_of(NNPForce(models["expensive"])), [(0, 1)], STEP / 4, 50, platform)
    found = trajectory(*split(models, 1), STEP / 4, 50, platform)
    np.testing.assert_allclose(found, alone, atol=100 * tolerance * np.abs(alone).max())


def test_an_exact_cheap_force_gives_the_inner_step(
    platform: openmm.Platform, tolerance: float, models: dict[str, Path]
) -> None:
    """Where both are the same nothing acts in the outer step: Verlet with the inner one."""
    alone = trajectory(system_of(NNPForce(models["expensive"])), [(0, 1)], STEP / 4, 80, platform)
    found = trajectory(*split(models, 4, cheap="expensive"), STEP, 20, platform)
    np.testing.assert_allclose(found, alone, atol=100 * tolerance * np.abs(alone).max())


def test_it_matters_that_the_cheap_force_is_not_exact(models: dict[str, Path]) -> None:
    """Against tests that could not fail: these trajectories differ."""
    platform = openmm.Platform.getPlatform("Reference")
    found = [trajectory(*split(models, n), STEP, 20, platform) for n in (1, 4)]
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_time_can_be_reversed(models: dict[str, Path]) -> None:
    system, groups = split(models, 4)
    platform = openmm.Platform.getPlatform("Reference")
    context = context_of(system, chain(), platform, openmm.MTSIntegrator(STEP, groups))
    context.setVelocitiesToTemperature(300, 4)
    start = coordinates(context)
    context.getIntegrator().step(100)
    assert np.abs(coordinates(context)[0] - start[0]).max() > 1e-3
    context.setVelocities(-coordinates(context)[1])
    context.getIntegrator().step(100)
    np.testing.assert_allclose(coordinates(context), [start[0], -start[1]], atol=1e-9)


def test_energy_error_is_of_second_order(models: dict[str, Path]) -> None:
    """With the outer step, the inner ones in it being as many: fluctuations shrink fourfold as it is halved."""

    def fluctuation(step: float) -> float:
        system, groups = split(models, 4)
        platform = openmm.Platform.getPlatform("Reference")
        context = context_of(system, chain(), platform, openmm.MTSIntegrator(step, groups))
        context.setVelocitiesToTemperature(300, 4)
        energies = []
        for _ in range(round(1 / step)):
            context.getIntegrator().step(1)
            state = context.getState(energy=True)
            energies.append((state.getPotentialEnergy() + state.getKineticEnergy())._value)
        return float(np.std(energies))

    sizes = [fluctuation(step) for step in (0.002, 0.001, 0.0005)]
    orders = np.log2(np.divide(sizes[:-1], sizes[1:]))
    assert orders == pytest.approx([2, 2], abs=0.15)


def test_the_expensive_model_is_evaluated_once_in_an_outer_step(
    platform: openmm.Platform, models: dict[str, Path]
) -> None:
    system, expensive, cheap = system_of(), NNPForce(models["expensive"]), NNPForce(models["cheap"])
    groups = addMultipleTimeSteps(system, expensive, cheap, 4)
    integrator = openmm.MTSLangevinIntegrator(300 * unit.kelvin, 1 / unit.picosecond, STEP * unit.picosecond, groups)
    context = context_of(system, chain(), platform, integrator)
    integrator.step(10)
    assert 10 <= counts(expensive, context)[0] <= 11
    assert 40 <= sum(counts(cheap, context)[:2]) <= 60


def test_what_is_refused(models: dict[str, Path]) -> None:
    def attempt(text: str, system: openmm.System, *arguments: object, **options: int) -> None:
        before = openmm.XmlSerializer.serialize(system)
        with pytest.raises(ValueError, match=text):
            addMultipleTimeSteps(system, *arguments, **options)
        assert openmm.XmlSerializer.serialize(system) == before

    expensive, cheap = NNPForce(models["expensive"]), NNPForce(models["cheap"])
    attempt("0 substeps were asked for, but an outer step has 1 or more", system_of(), expensive, cheap, 0)
    attempt("the outer and the inner group are both 2", system_of(), expensive, cheap, 2, outerGroup=2, innerGroup=2)
    attempt("no cheap force was given, but one at least is needed", system_of(), expensive, [], 2)
    holding = system_of(expensive)
    attempt("holds the expensive force 'NNPForce' already", holding, expensive, cheap, 2)
    other = springs()
    other.setForceGroup(3)
    attempt(r"'HarmonicBondForce' of the System is in the group 3, .* one of \[0, 1\]", system_of(other), expensive,
            cheap, 2)  # fmt: skip
    far = openmm.NonbondedForce()
    far.setReciprocalSpaceForceGroup(2)
    fresh = NNPForce(models["expensive"])  # the other one went with its System
    attempt("'NonbondedForce' of the System is in the group 2", system_of(far), fresh, cheap, 2)


def test_the_page_shows_how(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    page = (EXAMPLE.parents[1] / "docs" / "multiple_time_steps.md").read_text(encoding="utf-8")
    code = next(b for b in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "addMultipleTimeSteps" in b)
    monkeypatch.chdir(models["cheap"].parent)
    names = {"system": system_of()}
    exec(code.replace(".pt2", ".pt"), names)
    context = context_of(names["system"], chain(), openmm.Platform.getPlatform("Reference"), names["integrator"])
    names["integrator"].step(5)
    assert np.isfinite(coordinates(context)).all()


def test_fit_of_the_example(example: ModuleType) -> None:
    """Bonds and angles of a force field are found again from its forces."""
    _, system, positions = example.ligand()
    right = copy.deepcopy(system)
    forces = {type(force): force for force in right.getForces()}
    bonds, angles = forces[openmm.HarmonicBondForce], forces[openmm.HarmonicAngleForce]
    generator = np.random.default_rng(3)
    for i in range(bonds.getNumBonds()):
        p = bonds.getBondParameters(i)
        bonds.setBondParameters(i, *p[:2], p[2] * generator.uniform(0.97, 1.03), p[3] * generator.uniform(0.9, 1.1))
    for i in range(angles.getNumAngles()):
        p = angles.getAngleParameters(i)
        angles.setAngleParameters(i, *p[:3], p[3] * generator.uniform(0.97, 1.03), p[4] * generator.uniform(0.9, 1.1))
    x = np.array(positions.value_in_unit(unit.nanometer))
    frames = x + 0.004 * generator.normal(size=(40, *x.shape))
    platform = openmm.Platform.getPlatform("Reference")
    contexts = [context_of(s, x, platform) for s in (right, copy.deepcopy(system))]
    target, before = (np.array([example.forces_of(context, frame) for frame in frames]) for context in contexts)
    example.fit(system, frames, target, weight=1e-12)
    after = np.array([example.forces_of(context_of(system, x, platform), frame) for frame in frames])
    assert np.sqrt(np.mean((after - target) ** 2)) < 1e-3 * np.sqrt(np.mean((before - target) ** 2))


def test_conservation_of_the_example(example: ModuleType) -> None:
    """Drift in kT/ns for each of 3 n - 3 degrees of freedom, and its standard error."""
    generator, times = np.random.default_rng(1), np.arange(4000) / 400
    drifts = []
    for _ in range(40):
        noise = generator.normal(size=len(times))
        drift, error, fluctuation = example.conservation(times, 5 + 0.02 * times + noise, 2)
        drifts.append((drift, error))
        assert fluctuation == pytest.approx(1, rel=0.05)
    found, errors = np.array(drifts).T
    assert found.mean() == pytest.approx(0.02 * 1000 / 3 / (8.31446261815324e-3 * 300), abs=3 * found.std() / 40**0.5)
    assert errors.mean() == pytest.approx(found.std(), rel=0.4)


def test_example_runs(example: ModuleType, tmp_path: Path) -> None:
    rows = example.main(tmp_path, picoseconds=0.05, substeps=(2,), rounds=1)
    assert [row["scheme"] for row in rows] == ["Verlet, 0.5 fs", "Verlet, 1 fs", "r-RESPA, 1 fs = 2 x 0.5 fs"]
    assert (tmp_path / "total_energy.png").stat().st_size > 10_000
    assert all(np.isfinite(list(row.values())[1:]).all() for row in rows)
    assert len(example.table(rows).splitlines()) == 4


@pytest.mark.long
def test_example_conserves_energy(example: ModuleType, tmp_path: Path) -> None:
    """Fluctuations of the total energy, geometric means of three runs: trajectories are chaotic."""
    runs = [example.main(tmp_path / str(seed), picoseconds=3.0, rounds=1, seed=seed) for seed in (1, 2, 3)]
    sizes = {
        rows[0]["scheme"]: np.exp(np.mean([np.log(row["fluctuation"]) for row in rows]))
        for rows in zip(*runs, strict=True)
    }
    assert sizes["r-RESPA, 1 fs = 2 x 0.5 fs"] < 2.5 * sizes["Verlet, 0.5 fs"]
    assert sizes["r-RESPA, 1 fs = 2 x 0.5 fs"] < 0.75 * sizes["Verlet, 1 fs"]
    assert sizes["r-RESPA, 1.5 fs = 3 x 0.5 fs"] < 0.5 * sizes["Verlet, 1.5 fs"]
