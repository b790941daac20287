"""Electrostatic embedding: charges around the force's particles go into the model, and forces on them come out."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from helpers import central_differences, context_of, counts, energy, energy_and_forces, fails
from openmmnnp import NNPForce
from openmmnnp.check import check
from openmmnnp.export import export
from openmmnnp.inspect import inspect
from openmmnnp.models import SwitchedCharges
from openmmnnp.spec import read_spec, write_spec
from polarizable import (
    CUBE,
    CUTOFF,
    SWITCH,
    TILTED,
    PeriodicPolarizable,
    Polarizable,
    Surroundings,
    nearest_images,
    polarizable_spec,
    switched,
)

pytestmark = pytest.mark.asan

Platform = openmm.Platform
ROOT = Path(__file__).parents[2]
BOXES = [pytest.param(None, id="vacuum"), pytest.param(CUBE, id="cube"), pytest.param(TILTED, id="triclinic")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TorchScript that leaves both kinds of forces to the plugin."""
    path = tmp_path_factory.mktemp("polarizable") / "model.pt"
    export(Polarizable(), polarizable_spec(), path, progress=False)
    return path


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("polarizable") / "model.pt2"
    export(Polarizable(), polarizable_spec(), path, progress=False)
    return path


def context_with(around: Surroundings, force: NNPForce, platform: Platform, **options: Any) -> openmm.Context:
    return context_of(around.system(force), around.positions / 10, platform, **options)


def moved(around: Surroundings, particle: int, by: Any) -> np.ndarray:
    """Positions in nm with one particle moved by this many angstrom."""
    positions = around.positions.copy()
    positions[particle] += by
    return positions / 10


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.figure("G4", what="charges around the model, all atoms, 1e-7")
def test_energy_and_forces(model: Path, platform: Platform, box: np.ndarray | None) -> None:
    check_energy_and_forces(model, platform, box)


@pytest.mark.figure("G4", what="charges around the model, all atoms, 1e-7")
def test_package(package: Path, platform: Platform) -> None:
    if platform.getName() == "CUDA":
        pytest.skip("a package for the CPU")
    check_energy_and_forces(package, platform, CUBE)


def check_energy_and_forces(path: Path, platform: Platform, box: np.ndarray | None) -> None:
    around = Surroundings(box)
    force = around.force(path)
    context = context_with(around, force, platform)
    found, forces = energy_and_forces(context)
    right, dipoles, near = around.expected()
    assert found == pytest.approx(right, rel=1e-10)
    assert force.getDiagnostics(context)["mm_charges"] == near
    assert 8 < near < 40
    dipole = force.getOutput(context, "dipoles").value_in_unit(unit.elementary_charge * unit.angstrom)
    assert dipole == pytest.approx(dipoles, rel=1e-9, abs=1e-12)
    numerical = central_differences(context, 1e-5)
    assert np.linalg.norm(forces - numerical) < 1e-7 * np.linalg.norm(forces)
    assert np.abs(forces[around.around]).max() > 10
    assert np.sum(np.any(forces[around.around] != 0, axis=1)) == near


@pytest.mark.parametrize("box", BOXES[1:])
def test_wrapping(model: Path, platform: Platform, box: np.ndarray, tolerance: float) -> None:
    around = Surroundings(box)
    force = around.force(model)
    context = context_with(around, force, platform)
    before, forces = energy_and_forces(context)
    generator = np.random.default_rng(5)
    positions = around.positions.copy()
    positions[around.around] += generator.integers(-2, 3, (len(around.around), 3)) @ box
    positions[around.atoms] += [2, -1, 1] @ box
    context.setPositions(positions / 10)
    after, forces_after = energy_and_forces(context)
    assert after == pytest.approx(before, rel=1e-10)
    assert forces_after == pytest.approx(forces, rel=1e-7, abs=1e-6)
    assert counts(force, context)[0] == 2


def test_precisions_of_a_device(model: Path, device: Platform, precision: str) -> None:
    around = Surroundings(TILTED)
    around.positions = 10 * (around.positions / 10).astype(np.float32).astype(float)
    system = around.system(around.force(model))
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), device, {"Precision": precision})
    context.setPositions(around.positions / 10)
    reference = context_with(around, around.force(model), Platform.getPlatform("Reference"))
    (found, forces), (right, right_forces) = energy_and_forces(context), energy_and_forces(reference)
    assert found == pytest.approx(right, rel=1e-6)
    error = np.linalg.norm(forces - right_forces, axis=1)
    assert np.median(error[error > 0]) < (1e-7 if precision == "double" else 1e-4) * np.linalg.norm(right_forces)


def test_what_the_model_is_given(save_scripted: Callable[..., Path], platform: Platform) -> None:
    """Charges near in ascending order of particles, each as its nearest image; at least two, padded far away."""
    body = "return positions.sum() + mm_positions.sum() + mm_charges.sum(), mm_positions, mm_charges"
    inputs, outputs = ["positions", "mm_positions", "mm_charges"], ["energy", "where", "what"]
    path = save_scripted(body, ", ".join(inputs), inputs=inputs, outputs=outputs, mm_cutoff=CUTOFF / 10)
    around = Surroundings(TILTED)
    force = around.force(path)
    context = context_with(around, force, platform)
    energy(context)
    x = around.positions[around.atoms]
    order = np.argsort(around.around)
    images = nearest_images(x, around.positions[around.around], TILTED)[order]
    near = np.linalg.norm(images[:, None] - x[None], axis=2).min(axis=1) < CUTOFF
    assert 10 * force.getOutput(context, "where") == pytest.approx(images[near], abs=1e-9)
    assert force.getOutput(context, "what") == pytest.approx(around.charges[order][near], abs=1e-15)
    positions = around.positions / 10
    positions[around.around] = positions[around.atoms[0]] + [1.0, 1.0, 0.0]
    positions[around.around[3]] = positions[around.atoms[0]] + [0.0, 0.0, 0.6]
    context.setPositions(positions)
    energy(context)
    assert list(force.getOutput(context, "what")) == [around.charges[3], 0]
    where = force.getOutput(context, "where") - positions[around.atoms[0]]
    assert np.linalg.norm(where, axis=1) == pytest.approx([0.6, 99.4], rel=1e-3)


def test_no_charge_is_near(tmp_path: Path, platform: Platform) -> None:
    """The model gets two charges of zero, far away."""
    path = tmp_path / "model.pt"
    export(Polarizable().float(), polarizable_spec(dtype="float32"), path, progress=False)
    for count in (0, 1, 3):
        around = Surroundings(None, count)
        around.positions[around.around] += 100
        force = around.force(path)
        context = context_with(around, force, platform)
        found, forces = energy_and_forces(context)
        assert found == pytest.approx(around.expected()[0], rel=1e-5)
        assert np.all(forces[around.around] == 0)
        assert np.all(np.isfinite(forces))
        assert force.getDiagnostics(context)["mm_charges"] == 0


def test_charges_at_any_distance(tmp_path: Path, platform: Platform) -> None:
    """Without mm_cutoff a model gets all charges."""
    path = tmp_path / "model.pt"
    export(Polarizable(), polarizable_spec(mm_cutoff=None), path, progress=False)
    around = Surroundings(None)
    force = around.force(path)
    context = context_with(around, force, platform)
    assert energy(context) == pytest.approx(around.expected()[0], rel=1e-10)
    assert force.getDiagnostics(context)["mm_charges"] == 100


def test_many_charges(model: Path, platform: Platform) -> None:
    """More than a device has room for at first; and their number changes a lot."""
    around = Surroundings(CUBE, count=2500)
    force = around.force(model)
    context = context_with(around, force, platform)
    numbers = []
    for scale in (0.8, 1.0, 0.9):
        positions = around.positions.copy()
        positions[around.around] *= scale
        context.setPositions(positions / 10)
        right, _, near = around.expected(positions / 10)
        assert energy(context) == pytest.approx(right, rel=1e-9)
        assert force.getDiagnostics(context)["mm_charges"] == near
        numbers.append(near)
    assert numbers[0] < 256 < numbers[1]


def run(around: Surroundings, model: Path, platform: Platform, dt: float, time: float) -> tuple[np.ndarray, set[int]]:
    """Total energies in kJ/mol of a run, and the numbers of charges that the model was given."""
    force = around.force(model)
    system = around.system(force)
    # A repulsion that vanishes with two derivatives at its end, so that charges don't fall into atoms.
    walls = openmm.CustomNonbondedForce("2e4*step(0.3-r)*(0.3-r)^3/0.3^3")
    walls.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    walls.setCutoffDistance(0.5)
    for _ in range(system.getNumParticles()):
        walls.addParticle()
    walls.addInteractionGroup(around.atoms, around.around)
    system.addForce(walls)
    context = context_of(system, around.positions / 10, platform, openmm.VerletIntegrator(dt))
    context.setVelocitiesToTemperature(600, 7)
    energies, numbers = [], set()
    for _ in range(round(time / 0.004)):
        context.getIntegrator().step(round(0.004 / dt))
        state = context.getState(energy=True)
        energies.append((state.getPotentialEnergy() + state.getKineticEnergy())._value)
        numbers.add(force.getDiagnostics(context)["mm_charges"])
    return np.array(energies), numbers


def test_energy_is_conserved_where_charges_cross_the_cutoff(model: Path, tmp_path: Path, platform: Platform) -> None:
    around = Surroundings(CUBE, count=80)
    fine, numbers = run(around, model, platform, 0.001, 0.6)
    coarse, _ = run(around, model, platform, 0.002, 0.6)
    assert len(numbers) > 5
    assert 1.7 < np.log2(np.std(coarse) / np.std(fine)) < 2.3
    sharp = tmp_path / "sharp.pt"
    export(Polarizable(switched=False), polarizable_spec(), sharp, progress=False)
    assert np.std(run(around, sharp, platform, 0.001, 0.6)[0]) > 10 * np.std(fine)


def test_only_what_the_model_gets_counts(model: Path, platform: Platform) -> None:
    if platform.getName() == "CUDA":
        pytest.skip("evaluates always, since the host knows no positions")
    around = Surroundings(None)
    force = around.force(model)
    context = context_with(around, force, platform)
    first = energy_and_forces(context)
    x = around.positions
    distances = np.linalg.norm(x[around.around][:, None] - x[around.atoms][None], axis=2).min(axis=1)
    near, far = around.around[distances.argmin()], around.around[distances.argmax()]
    context.setPositions(x / 10)
    energy(context)
    assert counts(force, context)[:2] == (1, 1)
    context.setPositions(moved(around, far, 1.0))
    assert energy_and_forces(context)[0] == first[0]
    assert counts(force, context)[:2] == (1, 2)
    context.setPositions(moved(around, near, 0.1))
    assert energy_and_forces(context)[0] != first[0]
    assert counts(force, context)[:2] == (2, 2)


@pytest.mark.parametrize("skin", [0.0, 0.05, 0.3])
def test_skin_changes_no_result(model: Path, skin: float) -> None:
    """On the host, where there is one: the charges are those of an exact choice after every move."""
    platform = Platform.getPlatform("Reference")
    around = Surroundings(TILTED)
    force = around.force(model)
    force.setSkin(skin)
    context = context_with(around, force, platform)
    generator = np.random.default_rng(2)
    positions = around.positions / 10
    for _ in range(20):
        positions = positions + generator.normal(0, 0.01, positions.shape)
        context.setPositions(positions)
        right, _, near = around.expected(positions)
        assert energy(context) == pytest.approx(right, rel=1e-9)
        assert force.getDiagnostics(context)["mm_charges"] == near


def test_barostat_changes_the_images(model: Path, platform: Platform) -> None:
    around = Surroundings(CUBE)
    context = context_with(around, around.force(model), platform)
    for scale in (1.0, 1.1, 0.95):
        context.setPeriodicBoxVectors(*(scale * CUBE / 10))
        around.box = scale * CUBE
        assert energy(context) == pytest.approx(around.expected()[0], rel=1e-9)


def test_scale_and_new_charges(model: Path, platform: Platform) -> None:
    around = Surroundings(CUBE)
    force = around.force(model)
    force.setScaleParameter("s", 1.0)
    context = context_with(around, force, platform)
    full, forces = energy_and_forces(context)
    context.setParameter("s", 0.25)
    quarter, quarter_forces = energy_and_forces(context)
    assert quarter == pytest.approx(full / 4, rel=1e-10)
    assert quarter_forces == pytest.approx(forces / 4, rel=1e-6, abs=1e-6)
    around.charges = 0.5 * around.charges
    force.setMMCharges(around.around, around.charges * unit.elementary_charge)
    force.updateParametersInContext(context)
    assert energy(context) == pytest.approx(around.expected()[0] / 4, rel=1e-10)
    force.setMMCharges(around.around[:-1], around.charges[:-1])
    with fails("particles of MM charges, bonds, .* was changed|something else of the force was changed"):
        force.updateParametersInContext(context)


def test_copies_and_xml(model: Path) -> None:
    around = Surroundings(CUBE)
    force = around.force(model)
    force.setMMPeriodic(True)
    text = openmm.XmlSerializer.serialize(force)
    copies = [NNPForce.cast(openmm.XmlSerializer.deserialize(text)), copy.deepcopy(force)]
    copies.append(pickle.loads(pickle.dumps(force)))
    for other in map(NNPForce.cast, copies):
        assert other.getMMCharges() == force.getMMCharges()
        assert other.getMMPeriodic() is True
        assert openmm.XmlSerializer.serialize(other) == text
    particles, charges = force.getMMCharges()
    assert particles == around.around
    assert np.array_equal(charges.value_in_unit(unit.elementary_charge), around.charges)
    none = NNPForce(model)
    assert not none.usesMMCharges() and none.getMMPeriodic() is None and none.getMMCharges()[0] == []
    none.setMMCharges([], [])
    assert NNPForce.cast(copy.deepcopy(none)).usesMMCharges()
    with fails("'charges' of <MMCharges> is 'two' but must be numbers separated by single spaces"):
        openmm.XmlSerializer.deserialize(text.replace('charges="', 'charges="1 two" was="', 1))


def test_charges_as_quantities(model: Path) -> None:
    force = NNPForce(model)
    for charges in ([0.5 * unit.elementary_charge, -0.25], [0.5, -0.25] * unit.elementary_charge, (0.5, -0.25)):
        force.setMMCharges(iter([3, 1]), charges)
        assert force.getMMCharges() == ([3, 1], [0.5, -0.25] * unit.elementary_charge)


def test_inside_a_cv(model: Path, platform: Platform) -> None:
    around = Surroundings(CUBE)
    force = around.force(model)
    collective = openmm.CustomCVForce("3*x")
    collective.addCollectiveVariable("x", force)
    system = around.system(around.force(model))
    system.removeForce(1)
    system.addForce(collective)
    with fails(r"cannot see whether the System is periodic, .*: say it with setMMPeriodic\(\)"):
        context_of(system, around.positions / 10, platform)
    system = around.system(around.force(model))
    system.removeForce(1)
    inner = around.force(model)
    inner.setMMPeriodic(True)
    collective = openmm.CustomCVForce("3*x")
    collective.addCollectiveVariable("x", inner)
    system.addForce(collective)
    context = context_of(system, around.positions / 10, platform)
    found, forces = energy_and_forces(context)
    assert found == pytest.approx(3 * around.expected()[0], rel=1e-9)
    numerical = central_differences(context, 1e-5, [around.atoms[2], *around.around[:6]])
    assert forces[around.around[:6]] == pytest.approx(numerical[around.around[:6]], rel=1e-5, abs=1e-5)


def test_periodic_force(tmp_path: Path, platform: Platform) -> None:
    """A model that takes the box gets any image of a charge; atoms of the force may be wrapped one by one."""
    path = tmp_path / "model.pt"
    spec = polarizable_spec(inputs=["positions", "box", "mm_positions", "mm_charges"], outputs=["energy"])
    spec.output_units = {}
    export(PeriodicPolarizable(), spec, path, progress=False)
    around = Surroundings(TILTED)
    force = around.force(path)
    force.setUsesPeriodicBoundaryConditions(True)
    context = context_with(around, force, platform)
    before, forces = energy_and_forces(context)
    assert np.linalg.norm(forces - central_differences(context, 1e-5)) < 1e-7 * np.linalg.norm(forces)
    cells = np.random.default_rng(5).integers(-2, 3, around.positions.shape)
    context.setPositions((around.positions + cells @ TILTED) / 10)
    after, forces_after = energy_and_forces(context)
    assert after == pytest.approx(before, rel=1e-10)
    assert forces_after == pytest.approx(forces, rel=1e-6, abs=1e-6)


def test_switched_charges() -> None:
    generator = np.random.default_rng(4)
    x, mm, q = generator.uniform(-2, 2, (4, 3)), generator.uniform(-9, 9, (200, 3)), generator.normal(size=200)
    module = torch.jit.script(SwitchedCharges(SWITCH, CUTOFF))
    arguments = [torch.tensor(a, requires_grad=True) for a in (x, mm, q)]
    found = module(*arguments)
    r = np.linalg.norm(x[:, None] - mm[None], axis=2)
    assert found.detach().numpy() == pytest.approx(q * switched(r), abs=1e-14)
    assert torch.all(found[torch.tensor(r.min(axis=0) > CUTOFF)] == 0)
    assert torch.all(found[torch.tensor(r.min(axis=0) < SWITCH)] == torch.tensor(q)[r.min(axis=0) < SWITCH])
    assert torch.autograd.gradcheck(module, arguments)
    with pytest.raises(ValueError, match="switched off from 7 to 7, but 0 <= switch < cutoff"):
        SwitchedCharges(7, 7)


@pytest.mark.parametrize(
    "set_up, text",
    [
        (lambda f, a: f.setMMCharges([len(a.positions)], [1]), r"setMMCharges\(\) was given the particle 105, but the"),
        (lambda f, a: f.setMMCharges(2 * a.around[:1], [1, 1]), r"setMMCharges\(\) was given the particle \d+ twice"),
        (lambda f, a: f.setMMCharges(a.atoms[:1], [1]), "which is one of the force's own particles; name only"),
    ],
)
def test_wrong_particles(model: Path, set_up: Callable[[NNPForce, Surroundings], None], text: str) -> None:
    around = Surroundings(None)
    force = around.force(model)
    set_up(force, around)
    with fails(text):
        context_with(around, force, Platform.getPlatform("Reference"))


def test_wrong_charges(model: Path) -> None:
    force = NNPForce(model)
    with pytest.raises(ValueError, match="got 2 particle indices and 1 charges: give one charge for each index"):
        force.setMMCharges([1, 2], [0.5])
    with fails("was given the charge nan for particle 2, but a finite number is needed"):
        force.setMMCharges([1, 2], [0.5, np.nan])
    text = openmm.XmlSerializer.serialize(Surroundings(None).force(model)).replace('charges="', 'charges="0 ')
    with fails("100 particles and 101 charges; give one charge for each particle"):
        openmm.XmlSerializer.deserialize(text)


def test_charges_are_missing(model: Path) -> None:
    around = Surroundings(None)
    force = NNPForce(model)
    force.setParticles(around.atoms, around.numbers)
    with fails(r"takes the charges of particles around it .*setMMCharges\(\), or setMMCharges\(\[\], \[\]\)"):
        context_with(around, force, Platform.getPlatform("Reference"))


def test_model_takes_no_charges(harmonic: Path, save_scripted: Callable[..., Path]) -> None:
    around = Surroundings(None)
    for path in (harmonic, save_scripted("return (positions**2).sum()", inputs=["positions"])):
        with fails(r"setMMCharges\(\) was called, but the model takes no MM charges"):
            context_with(around, around.force(path), Platform.getPlatform("Reference"))


def test_no_cutoff_in_a_periodic_system(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    export(Polarizable(), polarizable_spec(mm_cutoff=None), path, progress=False)
    around = Surroundings(CUBE)
    with fails('its spec has no "mm_cutoff": the energy would jump'):
        context_with(around, around.force(path), Platform.getPlatform("Reference"))
    force = around.force(path)
    force.setMMPeriodic(False)
    context_with(around, force, Platform.getPlatform("Reference"))


def test_box_is_too_small(model: Path, platform: Platform) -> None:
    around = Surroundings(np.diag([24.0, 13.9, 24.0]))
    context = context_with(around, around.force(model), platform)
    with fails("box is 13.9 angstrom long along an axis, less than twice the model's mm_cutoff of 7 angstrom"):
        energy(context)
    around = Surroundings(np.diag([24.0, 14.5, 24.0]))
    between = around.around[3]
    around.positions[between] = [-0.8, 7.4, -0.25]  # an atom, and the image of another
    force = around.force(model)
    context = context_with(around, force, platform)
    with fails(f"MM charge of particle {between} is within the model's mm_cutoff of 7 angstrom as two periodic images"):
        energy(context)
    context.setPeriodicBoxVectors(*(CUBE / 10))
    around.box = CUBE
    assert energy(context) == pytest.approx(around.expected()[0], rel=1e-9)


@pytest.mark.figure("G11", what="charges around the model")
def test_position_of_a_charge_is_not_a_number(model: Path, platform: Platform) -> None:
    around = Surroundings(None)
    context = context_with(around, around.force(model), platform)
    before = energy(context)
    context.setPositions(moved(around, around.around[7], np.nan))
    texts = {"CPU": "Particle coordinate is NaN", "CUDA": "The model's .* is nan in evaluation 2"}  # OpenMM's on CPU
    ours = f"The position of particle {around.around[7]} is not a finite number, before the model was"
    with fails(texts.get(platform.getName(), ours)):
        energy(context)
    context.setPositions(around.positions / 10)
    assert energy(context) == before


@pytest.mark.figure("G11", what="charges around the model")
def test_force_on_a_charge_is_not_a_number(save_scripted: Callable[..., Path], platform: Platform) -> None:
    body = (
        "x = mm_positions.sum()\n"
        "return positions.sum() + mm_charges.sum(), 0 * positions, torch.where(mm_charges.unsqueeze(1) > 0.5, x / 0, "
        "mm_positions)"
    )
    inputs, outputs = ["positions", "mm_positions", "mm_charges"], ["energy", "forces", "mm_forces"]
    path = save_scripted(body, "positions, mm_positions, mm_charges", inputs=inputs, outputs=outputs)
    around = Surroundings(None, 4)
    force = around.force(path)
    force.setMMCharges(around.around, [0.1, 0.2, 0.8, 0.3])
    context = context_with(around, force, platform)
    text = rf"force on the MM charge of particle {around.around[2]} is \(-?inf, -?inf, -?inf\) in evaluation 1"
    with fails(text if platform.getName() != "CUDA" else r"force on the MM charge \d of those near, .*in evaluation 1"):
        energy_and_forces(context)


def test_force_on_a_charge_that_is_too_large(save_scripted: Callable[..., Path], device: Platform) -> None:
    inputs = ["positions", "mm_positions", "mm_charges"]
    body = "return positions.sum() + 1e10 * (mm_charges * mm_positions.sum(1)).sum()"
    around = Surroundings(None, 4)
    force = around.force(save_scripted(body, "positions, mm_positions, mm_charges", inputs=inputs))
    force.setMMCharges(around.around, [0, 0, 1, 0])
    context = context_with(around, force, device)
    text = rf"MM charge of particle {around.around[2]} is \(-1e\+10.*, more than OpenMM's fixed-point numbers"
    with fails(text if device.getName() != "CUDA" else r"force on the MM charge \d of those near, .*in evaluation 1"):
        energy_and_forces(context)
        energy(context)


def test_forces_of_another_shape(save_scripted: Callable[..., Path]) -> None:
    inputs, outputs = ["positions", "mm_positions", "mm_charges"], ["energy", "forces", "mm_forces"]
    body = "return positions.sum() + mm_charges.sum(), 0 * positions, mm_charges"
    path = save_scripted(body, "positions, mm_positions, mm_charges", inputs=inputs, outputs=outputs)
    around = Surroundings(None, 4)
    context = context_with(around, around.force(path), Platform.getPlatform("Reference"))
    with fails(r"returned mm_forces that are float64 \[4\], but float32 or float64 \[4, 3\] is needed"):
        energy_and_forces(context)


def test_references_with_charges(model: Path, package: Path, tmp_path: Path) -> None:
    """Those of an exported file have odd and even numbers of charges, and a model that disagrees is refused."""
    assert "mm_forces" not in read_spec(model).outputs
    assert read_spec(package).outputs == ["energy", "forces", "mm_forces", "dipoles"]
    spec = read_spec(model)
    assert sorted(len(reference["mm_charges"]) for reference in spec.references) == [8, 9]
    spec.references[1]["mm_forces"][3][0] += 1.0
    path = tmp_path / "model.pt"
    path.write_bytes(model.read_bytes())
    write_spec(path, spec)
    around = Surroundings(None)
    with fails("Reference 2 of the model's spec: the model's mm_forces differ from it by"):
        context_with(around, around.force(path), Platform.getPlatform("Reference"))


def test_collective_variable_of_charges(save_scripted: Callable[..., Path]) -> None:
    inputs, outputs = ["positions", "mm_positions", "mm_charges"], ["energy", "cv"]
    body = "return positions.sum(), positions[0] * mm_charges.sum()"
    path = save_scripted(body, "positions, mm_positions, mm_charges", inputs=inputs, outputs=outputs)
    around = Surroundings(None, 4)
    force = around.force(path)
    force.setCollectiveVariable("cv")
    with fails("The force is the collective variable 'cv' of a model that takes MM charges, and forces on those are"):
        context_with(around, force, Platform.getPlatform("Reference"))


def test_package_without_forces_on_charges(package: Path, tmp_path: Path) -> None:
    spec = read_spec(package)
    spec.outputs.remove("mm_forces")
    path = tmp_path / "model.pt2"
    path.write_bytes(package.read_bytes())
    write_spec(path, spec)
    around = Surroundings(None)
    with fails("the input 'mm_positions' and no output 'mm_forces'; a compiled model must give them"):
        context_with(around, around.force(path), Platform.getPlatform("Reference"))


def test_inspect_and_check(model: Path) -> None:
    found = inspect(model)
    inputs = {value["name"]: (value["shape"], value["unit"]) for value in found["inputs"]}
    assert inputs["mm_positions"] == ("[m, 3]", "angstrom")
    assert inputs["mm_charges"] == ("[m]", "e")
    assert found["numbers"]["mm cutoff"] == "7 angstrom"
    verdicts = check(model, groups=("references", "gradient", "symmetry"))
    assert {verdict.state for verdict in verdicts} == {"ok", "skipped"}  # no box


def test_the_page(tmp_path: Path, platform: Platform) -> None:
    """The lines of the page "Your own model" for a model among charges, run as they are."""
    page = (ROOT / "docs" / "your_model.md").read_text(encoding="utf-8")
    section = page.partition("## Charges around the particles")[2]
    names: dict[str, Any] = {"__name__": "readme"}
    path = tmp_path / "readme.py"
    path.write_text(section.split("```")[1].removeprefix("python\n"), encoding="utf-8")
    exec(compile(path.read_text(encoding="utf-8"), path, "exec"), names)  # noqa: S102
    export(names["InField"](), names["spec"], tmp_path / "model.pt", progress=False)
    around = Surroundings(CUBE)
    force = NNPForce(tmp_path / "model.pt")
    force.setParticles(around.atoms)
    force.setMMCharges(around.around, around.charges)
    context = context_with(around, force, platform)
    x, mm = around.positions[around.atoms], around.positions[around.around]
    r = np.linalg.norm(x[:, None] - nearest_images(x, mm, CUBE)[None], axis=2)
    s = np.clip((r - 7) / 2, 0, 1)
    q = around.charges * (1 - np.prod(10 * s**3 - 15 * s**4 + 6 * s**5, axis=0))
    assert energy(context) == pytest.approx(4.184 * 33.206 * np.sum(q / r), rel=1e-4)


def test_another_cutoff_is_another_model(model: Path, tmp_path: Path) -> None:
    spec = read_spec(model)
    spec.mm_cutoff = 6.0
    path = tmp_path / "model.pt"
    path.write_bytes(model.read_bytes())
    write_spec(path, spec)
    around = Surroundings(None)
    force = around.force(model)
    context = context_with(around, force, Platform.getPlatform("Reference"))
    force.setModelFile(path)
    with fails("The new model has another mm_cutoff than the model in the Context"):
        force.updateParametersInContext(context)


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"inputs": ["positions", "mm_charges"]}, "'mm_positions' and 'mm_charges'"),
        ({"inputs": ["positions"]}, "mm_cutoff"),
        ({"mm_cutoff": 0.0}, "a positive number"),
        ({"inputs": ["positions"], "mm_cutoff": None, "outputs": ["energy", "mm_forces"]}, "the input 'mm_positions'"),
    ],
)
def test_wrong_specs(changes: dict[str, Any], text: str, model: Path, tmp_path: Path) -> None:
    spec = polarizable_spec(**({"outputs": ["energy"], "output_units": {}} | changes))
    with pytest.raises(ValueError, match=text):
        spec.validate()
    spec.validate = lambda: None  # type: ignore[method-assign]
    path = tmp_path / "model.pt"
    path.write_bytes(model.read_bytes())
    write_spec(path, spec)
    with fails(text):
        NNPForce(path)


@pytest.mark.parametrize("change", ["mm_charges", "mm_positions", "mm_forces"])
def test_wrong_references(model: Path, change: str, tmp_path: Path) -> None:
    spec = read_spec(model)
    spec.references[0][change] = spec.references[0][change][:-1]
    with pytest.raises(ValueError, match=r"references\[0\].mm_.* shape \["):
        spec.validate()
    spec.validate = lambda: None  # type: ignore[method-assign]
    path = tmp_path / "model.pt"
    path.write_bytes(model.read_bytes())
    write_spec(path, spec)
    with fails('a reference whose "mm_(charges|forces)" has the shape'):
        NNPForce(path)
