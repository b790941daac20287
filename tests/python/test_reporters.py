"""Reporters: what they write, what they cost, and how their files go on after a checkpoint."""

from __future__ import annotations

import copy
import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import openmm
import pytest
from openmm import app, unit

from helpers import counts
from openmmnnp import NNPForce
from openmmnnp.reporters import (
    OutputReporter,
    ResidueEnergyReporter,
    UncertaintyError,
    UncertaintyReporter,
    UncertaintyWarning,
)
from openmmnnp.reporters.reading import find_forces
from pages import run_page

PARTICLES, OTHERS = [4, 1, 3], 6
ELEMENTS = [6, 8, 1]
EV = 96.48533212331  # kJ/mol
TYK2 = Path(__file__).parents[2] / "examples" / "tyk2"

Save = Callable[..., Path]

BODY = """
energies = 50.0 * (positions**2).sum(1)
charges = positions[:, 0]
return energies.sum(), energies, charges, (charges.unsqueeze(1) * positions).sum(0), 100.0 * positions[0].norm()
"""
OUTPUTS = ["energy", "atomic_energy", "charges", "dipole", "energy_std"]
UNITS = {"atomic_energy": "kJ/mol", "charges": "e", "dipole": "e*nm", "energy_std": "kJ/mol"}


def outputs_of(x: np.ndarray) -> dict[str, Any]:
    """The outputs of the model at its particles' positions [n, 3] in nm, in NumPy."""
    energies = 50.0 * (x**2).sum(1)
    charges = x[:, 0]
    dipole = (charges[:, None] * x).sum(0)
    std = 100 * np.linalg.norm(x[0])
    return {
        "energy": energies.sum(),
        "atomic_energy": energies,
        "charges": charges,
        "dipole": dipole,
        "energy_std": std,
    }


@pytest.fixture
def model(save_scripted: Save) -> Path:
    return save_scripted(BODY, inputs=["positions"], outputs=OUTPUTS, output_units=UNITS)


class Recorder:
    """Keeps the positions of every report."""

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.positions: dict[int, np.ndarray] = {}

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, Any]:
        steps = self.interval - simulation.currentStep % self.interval
        return {"steps": steps, "periodic": False, "include": ["positions"]}

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        self.positions[simulation.currentStep] = np.array(state.getPositions(asNumpy=True)._value)


def topology() -> app.Topology:
    """Residues of two, three and one atoms; the model's are in the first, the second and the second."""
    found = app.Topology()
    chain = found.addChain("A")
    carbon = app.Element.getBySymbol("C")
    for name, number in (("ONE", 2), ("TWO", 3), ("END", 1)):
        residue = found.addResidue(name, chain)
        for _ in range(number):
            found.addAtom("C", carbon, residue)
    return found


def make_force(model: Path) -> NNPForce:
    force = NNPForce(model, atomicNumbers=ELEMENTS)
    force.setParticles(PARTICLES)
    return force


def make_simulation(
    force: openmm.Force, platform: openmm.Platform | None = None, integrator: openmm.Integrator | None = None
) -> app.Simulation:
    """Particles around the origin with velocities, the same in each Simulation."""
    system = openmm.System()
    for _ in range(OTHERS):
        system.addParticle(10.0)
    system.addForce(force)
    platform = platform or openmm.Platform.getPlatform("Reference")
    simulation = app.Simulation(topology(), system, integrator or openmm.VerletIntegrator(0.02), platform)
    rng = np.random.default_rng(5)
    simulation.context.setPositions(rng.uniform(-0.2, 0.2, (OTHERS, 3)))
    simulation.context.setVelocities(rng.uniform(-1, 1, (OTHERS, 3)))
    return simulation


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def steps(path: Path) -> list[int]:
    if path.suffix == ".npy":
        return np.load(path)["step"].tolist()
    return [int(row["step"]) for row in rows(path)]


# What is written


def test_rows_are_outputs_at_their_steps(
    platform: openmm.Platform, model: Path, tmp_path: Path, tolerance: float
) -> None:
    simulation, recorder = make_simulation(make_force(model), platform), Recorder(5)
    names = ["charges", "dipole", "energy"]
    for suffix in ("csv", "npy"):
        simulation.reporters.append(OutputReporter(tmp_path / f"outputs.{suffix}", 5, names))
    simulation.reporters.append(recorder)
    simulation.step(20)

    table, array = rows(tmp_path / "outputs.csv"), np.load(tmp_path / "outputs.npy", mmap_mode="r")
    assert steps(tmp_path / "outputs.csv") == list(recorder.positions) == [5, 10, 15, 20]
    assert array.dtype.names == ("step", "time_ps", "charges_e", "dipole_nm*e", "energy_kJ/mol")
    for row, values, (step, positions) in zip(table, array, recorder.positions.items(), strict=True):
        expected = outputs_of(positions[PARTICLES])
        charges = [float(row[f"charges[{i}]_e"]) for i in range(3)]
        dipole = [float(row[f"dipole[{i}]_nm*e"]) for i in range(3)]
        close = {"rtol": max(tolerance, 1e-9), "atol": max(tolerance, 1e-9)}
        np.testing.assert_allclose(charges, expected["charges"], **close)
        np.testing.assert_allclose(dipole, expected["dipole"], **close)
        np.testing.assert_allclose(float(row["energy_kJ/mol"]), expected["energy"], **close)
        np.testing.assert_allclose(values["charges_e"], expected["charges"], **close)
        np.testing.assert_allclose(values["dipole_nm*e"], expected["dipole"], **close)
        assert values["step"] == step
        assert float(row["time_ps"]) == pytest.approx(0.02 * step) == values["time_ps"]
    assert len(table[0]) == 2 + 3 + 3 + 1


def test_many_readers_cost_one_evaluation(platform: openmm.Platform, model: Path, tmp_path: Path) -> None:
    def evaluations(*reporters: Any) -> int:
        force = make_force(model)
        simulation = make_simulation(force, platform)
        simulation.reporters.extend(reporters)
        simulation.step(10)
        simulation.reporters.clear()
        return counts(force, simulation.context)[0]

    def energies() -> app.StateDataReporter:
        return app.StateDataReporter(str(tmp_path / "log.csv"), 2, potentialEnergy=True)

    ours = [
        OutputReporter(tmp_path / "outputs.csv", 2, ["charges"]),
        OutputReporter(tmp_path / "outputs.npy", 2, ["dipole", "atomic_energy"]),
        ResidueEnergyReporter(tmp_path / "residues.csv", 2),
        UncertaintyReporter(tmp_path / "std.csv", 2, harvest=0, frames=tmp_path / "frames.xyz"),
    ]
    assert evaluations(energies(), *ours) == evaluations(energies())
    assert steps(tmp_path / "std.csv") == [2, 4, 6, 8, 10]


def test_energy_by_residue(model: Path, tmp_path: Path) -> None:
    simulation, recorder = make_simulation(make_force(model)), Recorder(3)
    for suffix in ("csv", "npy"):
        simulation.reporters.append(ResidueEnergyReporter(tmp_path / f"residues.{suffix}", 3))
    simulation.reporters.append(recorder)
    simulation.step(6)
    for row, values, positions in zip(
        rows(tmp_path / "residues.csv"), np.load(tmp_path / "residues.npy"), recorder.positions.values(), strict=True
    ):
        energies = outputs_of(positions[PARTICLES])["atomic_energy"]
        expected = [energies[1], energies[0] + energies[2]]
        found = [float(row[f"residue_energy[{name}]_kJ/mol"]) for name in ("ONE A:1", "TWO A:2")]
        assert found == pytest.approx(expected, rel=1e-9)
        np.testing.assert_allclose(values["residue_energy_kJ/mol"], expected, rtol=1e-12)


def test_group_that_is_not_integrated(model: Path, tmp_path: Path) -> None:
    """A Simulation's report leaves the group out; the outputs still are those of the step."""
    force = make_force(model)
    force.setForceGroup(3)
    integrator = openmm.VerletIntegrator(0.02)
    integrator.setIntegrationForceGroups({0})
    simulation, recorder = make_simulation(force, integrator=integrator), Recorder(2)
    simulation.reporters += [OutputReporter(tmp_path / "outputs.csv", 2, ["energy"]), recorder]
    simulation.step(6)
    found = [float(row["energy_kJ/mol"]) for row in rows(tmp_path / "outputs.csv")]
    assert found == pytest.approx([outputs_of(x[PARTICLES])["energy"] for x in recorder.positions.values()], rel=1e-9)


def test_force_inside_a_collective_variable(model: Path, tmp_path: Path) -> None:
    """As openmm-ml's interpolation puts it there."""
    outer = openmm.CustomCVForce("0.5*network")
    outer.addCollectiveVariable("network", make_force(model))
    outer.setForceGroup(2)
    simulation, recorder = make_simulation(outer), Recorder(2)
    ((found, group),) = find_forces(simulation.system)
    assert (found.getParticles(), group) == (PARTICLES, 2)
    simulation.reporters += [OutputReporter(tmp_path / "outputs.npy", 2, ["charges"]), recorder]
    simulation.step(4)
    expected = [x[PARTICLES][:, 0] for x in recorder.positions.values()]
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy")["charges_e"], expected, rtol=1e-12)


def test_no_row_where_the_model_is_skipped(model: Path, tmp_path: Path) -> None:
    force = make_force(model)
    force.setScaleParameter("scale")
    simulation = make_simulation(force)
    simulation.reporters.append(OutputReporter(tmp_path / "outputs.csv", 2, ["energy"]))
    simulation.reporters.append(UncertaintyReporter(tmp_path / "std.csv", 2, stop=1e6))
    for scale in (1, 0, 0.5):
        simulation.context.setParameter("scale", scale)
        simulation.step(2)
    assert steps(tmp_path / "outputs.csv") == steps(tmp_path / "std.csv") == [2, 6]


def test_units_that_openmm_does_not_have(save_scripted: Save, tmp_path: Path) -> None:
    body = "return (positions**2).sum(), positions[:, 0], positions[:, :2], positions[0, 0]"
    units = {"polarizability": "angstrom**3", "pair": "1"}
    outputs = ["energy", "polarizability", "pair", "bare"]
    path = save_scripted(body, inputs=["positions"], outputs=outputs, output_units=units)
    simulation = make_simulation(NNPForce(path))
    simulation.reporters.append(OutputReporter(tmp_path / "outputs.csv", 1, outputs[1:]))
    simulation.step(1)
    names = list(rows(tmp_path / "outputs.csv")[0])
    assert names[2] == "polarizability[0]_angstrom**3"
    assert names[8:11] == ["pair[0,0]", "pair[0,1]", "pair[1,0]"] and names[-1] == "bare"


# Uncertainty


def stds(recorder: Recorder) -> list[float]:
    return [float(outputs_of(x[PARTICLES])["energy_std"]) for x in recorder.positions.values()]


def test_uncertainty_warns_once_each_time_that_it_rises(model: Path, tmp_path: Path) -> None:
    simulation, recorder = make_simulation(make_force(model)), Recorder(1)
    simulation.reporters.append(recorder)
    simulation.step(150)
    values = stds(recorder)
    limit = float(np.median(values))
    crossings = [i + 1 for i, v in enumerate(values) if v > limit and (i == 0 or values[i - 1] <= limit)]
    assert 1 < len(crossings) < 40, "the test must see several"

    simulation = make_simulation(make_force(model))
    simulation.reporters.append(
        UncertaintyReporter(tmp_path / "std.csv", 1, warn=limit / 4.184 * unit.kilocalorie_per_mole)
    )
    with pytest.warns(UncertaintyWarning) as caught:
        simulation.step(150)
    text = f"the model's energy_std is {{:.4g}} kJ/mol at step {{}}, above the limit of {limit:.4g} kJ/mol"
    assert [str(w.message) for w in caught] == [text.format(values[i - 1], i) for i in crossings]
    found = [float(row["energy_std_kJ/mol"]) for row in rows(tmp_path / "std.csv")]
    assert found == pytest.approx(values, rel=1e-9)


def test_uncertainty_stops_a_simulation_that_can_go_on(model: Path, tmp_path: Path) -> None:
    simulation, recorder = make_simulation(make_force(model)), Recorder(1)
    simulation.reporters.append(recorder)
    simulation.step(100)
    values = stds(recorder)
    limit = float(np.quantile(values, 0.9))
    first = 1 + next(i for i, value in enumerate(values) if value > limit)
    assert first > 1

    simulation = make_simulation(make_force(model))
    simulation.reporters.append(
        UncertaintyReporter(tmp_path / "std.csv", 1, stop=limit, harvest=limit, frames=tmp_path / "frames.xyz")
    )
    message = rf"^the model's energy_std is \S+ kJ/mol at step {first}, above the limit of {limit:.4g} kJ/mol. The Sim"
    with pytest.raises(UncertaintyError, match=message):
        simulation.step(100)
    assert simulation.currentStep == first == steps(tmp_path / "std.csv")[-1]
    assert len(ase.io.read(tmp_path / "frames.xyz", index=":")) == 1
    simulation.reporters.clear()
    simulation.step(5)
    assert simulation.currentStep == first + 5


def test_uncertainty_that_is_no_number_is_above_every_limit(save_scripted: Save, tmp_path: Path) -> None:
    body = "return 50.0 * (positions**2).sum(), torch.log(0.0 * positions[0, 0] - 1)"
    path = save_scripted(body, inputs=["positions"], outputs=["energy", "energy_std"])
    simulation, frames = make_simulation(make_force(path)), tmp_path / "frames.xyz"
    reporter = UncertaintyReporter(None, 1, warn=9.0, stop=9.0, harvest=9.0, frames=frames)
    simulation.reporters.append(reporter)
    with pytest.warns(UncertaintyWarning, match="energy_std is nan"), pytest.raises(UncertaintyError, match="is nan"):
        simulation.step(3)
    assert simulation.currentStep == 1 and frames.stat().st_size > 0


def test_harvested_frames_are_extended_xyz(model: Path, tmp_path: Path) -> None:
    simulation, recorder = make_simulation(make_force(model)), Recorder(4)
    path, limit = tmp_path / "frames.xyz", 20.0
    simulation.reporters += [UncertaintyReporter(None, 4, harvest=limit, frames=path), recorder]
    simulation.step(200)
    expected = [(step, x[PARTICLES]) for step, x in recorder.positions.items()]
    expected = [(step, x) for step, x in expected if outputs_of(x)["energy_std"] > limit]
    frames = ase.io.read(path, index=":")
    assert 3 < len(frames) == len(expected) < 50
    for frame, (step, x) in zip(frames, expected, strict=True):
        assert frame.get_chemical_symbols() == ["C", "O", "H"] and not frame.pbc.any() and frame.calc is None
        np.testing.assert_allclose(frame.positions, 10 * x, atol=1e-6)
        assert frame.info["step"] == step and frame.info["time"] == pytest.approx(0.02 * step)
        assert frame.info["energy_std"] == pytest.approx(outputs_of(x)["energy_std"] / EV, rel=1e-8)
        assert frame.info["model_energy"] == pytest.approx(outputs_of(x)["energy"] / EV, rel=1e-8)
        assert frame.info["model"] == "sha256:" + NNPForce(model).getModelHash()[:12]


def test_harvest_of_a_periodic_force_has_its_box(save_scripted: Save, tmp_path: Path) -> None:
    body = "return (positions**2).sum() + 0 * box.sum(), positions"
    force = NNPForce(save_scripted(body, "positions, box", inputs=["positions", "box"], outputs=["energy", "x_std"]))
    force.setUsesPeriodicBoundaryConditions(True)
    box = [[3, 0, 0], [0.5, 2.5, 0], [-1, 0.7, 2.8]]
    simulation, recorder = make_simulation(force), Recorder(1)
    simulation.context.setPeriodicBoxVectors(*box)
    simulation.reporters += [
        UncertaintyReporter(tmp_path / "x.csv", 1, harvest=0, frames=tmp_path / "frames.xyz", output="x_std"),
        recorder,
    ]
    simulation.step(1)
    frame = ase.io.read(tmp_path / "frames.xyz")
    assert frame.pbc.all() and frame.get_chemical_symbols() == ["C"] * OTHERS, "elements of the topology"
    np.testing.assert_allclose(frame.cell, 10 * np.array(box), atol=1e-6)
    longest = np.linalg.norm(recorder.positions[1], axis=1).max()
    assert float(rows(tmp_path / "x.csv")[0]["x_std"]) == pytest.approx(longest, rel=1e-9)


def test_harvested_frames_are_what_train_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of the committee of examples/tyk2 have no labels, so that `train.py --add` computes them."""
    pdb = app.PDBFile(str(TYK2 / "lig.pdb"))
    numbers = [atom.element.atomic_number for atom in pdb.topology.atoms()]
    system = openmm.System()
    for _ in numbers:
        system.addParticle(12.0)
    system.addForce(NNPForce(TYK2 / "ejm_31.pt", atomicNumbers=numbers))
    reference = openmm.Platform.getPlatform("Reference")
    simulation = app.Simulation(pdb.topology, system, openmm.VerletIntegrator(0.0005), reference)
    simulation.context.setPositions(pdb.positions)
    simulation.reporters.append(UncertaintyReporter(None, 2, harvest=0, frames=tmp_path / "frames.xyz"))
    simulation.step(4)

    monkeypatch.syspath_prepend(TYK2)
    from labels import read

    frames = read(tmp_path / "frames.xyz", trajectory="frames", source="added", split="train")
    monkeypatch.delitem(sys.modules, "labels")
    assert len(frames) == 2
    assert all(frame.energy is None and frame.forces is None for frame in frames), "nothing that passes for a label"
    last = simulation.context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    np.testing.assert_allclose(frames[-1].positions, last, atol=1e-6)


@pytest.mark.parametrize("periodic", [False, True])
def test_link_atoms_are_in_frames_and_residues(save_scripted: Save, tmp_path: Path, periodic: bool) -> None:
    """Where the model sees them, which tells so: between particle 4 and 5, across the box if the force is periodic."""
    body = "return (positions**2).sum()" + " + 0 * box.sum()" * periodic + ", (positions**2).sum(1), positions"
    arguments, inputs = ("positions, box", ["positions", "box"]) if periodic else ("positions", ["positions"])
    outputs = ["energy", "atomic_energy", "seen"]
    units = {"atomic_energy": "kJ/mol", "seen": "nm"}
    force = make_force(save_scripted(body, arguments, inputs=inputs, outputs=outputs, output_units=units))
    force.addLinkAtom(4, 5, 0.1, 9)
    force.setUsesPeriodicBoundaryConditions(periodic)
    simulation = make_simulation(force)
    positions = np.array(simulation.context.getState(positions=True).getPositions(asNumpy=True)._value)
    positions[5] += [1.9, 0, 2.1]
    simulation.context.setPositions(positions)
    simulation.reporters += [
        OutputReporter(tmp_path / "seen.npy", 1, ["seen"]),
        ResidueEnergyReporter(tmp_path / "residues.npy", 1),
        UncertaintyReporter(None, 1, harvest=0, frames=tmp_path / "frames.xyz", output="seen"),
    ]
    simulation.step(1)
    (seen,), frame = np.load(tmp_path / "seen.npy")["seen_nm"], ase.io.read(tmp_path / "frames.xyz")
    assert frame.get_chemical_symbols() == ["C", "O", "H", "F"] and seen.shape == (4, 3)
    np.testing.assert_allclose(frame.positions, 10 * seen, atol=1e-6)
    assert np.linalg.norm(seen[3] - seen[0]) == pytest.approx(0.1, rel=1e-9)
    energies = (seen**2).sum(1)
    expected = [[energies[1], energies[0] + energies[2] + energies[3]]]
    np.testing.assert_allclose(np.load(tmp_path / "residues.npy")["residue_energy_kJ/mol"], expected, rtol=1e-12)


# Files that go on

FILES = ["outputs.csv", "outputs.npy", "residues.csv", "std.npy", "frames.xyz"]


def all_reporters(folder: Path, append: bool = False) -> list[Any]:
    return [
        OutputReporter(folder / "outputs.csv", 3, ["charges", "energy"], append=append),
        OutputReporter(folder / "outputs.npy", 3, ["dipole", "energy_std"], append=append),
        ResidueEnergyReporter(folder / "residues.csv", 3, append=append),
        UncertaintyReporter(folder / "std.npy", 3, harvest=0, frames=folder / "frames.xyz", append=append),
    ]


@pytest.mark.parametrize("torn", [False, True], ids=["whole rows", "a row half written"])
def test_a_resumed_run_writes_each_step_once(model: Path, tmp_path: Path, torn: bool) -> None:
    """The files of a run that went on from a checkpoint are those of one that was never interrupted, byte for byte."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    simulation = make_simulation(make_force(model))
    simulation.reporters += all_reporters(whole)
    simulation.step(30)

    simulation = make_simulation(make_force(model))
    simulation.reporters += all_reporters(broken)
    simulation.step(13)
    simulation.saveCheckpoint(str(tmp_path / "run.chk"))
    simulation.step(8)
    for name in FILES if torn else []:
        with open(broken / name, "r+b") as file:
            file.truncate((broken / name).stat().st_size - 5)

    simulation = make_simulation(make_force(model))
    simulation.loadCheckpoint(str(tmp_path / "run.chk"))
    simulation.reporters += all_reporters(broken, append=True)
    simulation.step(17)
    for name in FILES:
        assert (broken / name).read_bytes() == (whole / name).read_bytes(), name
    assert steps(whole / "outputs.npy") == list(range(3, 31, 3))


def test_a_run_that_goes_back_in_one_process(model: Path, tmp_path: Path) -> None:
    simulation = make_simulation(make_force(model))
    simulation.reporters += all_reporters(tmp_path)
    simulation.step(7)
    simulation.saveCheckpoint(str(tmp_path / "run.chk"))
    simulation.step(9)
    before = [(tmp_path / name).read_bytes() for name in FILES]
    simulation.loadCheckpoint(str(tmp_path / "run.chk"))
    simulation.step(1)
    assert steps(tmp_path / "outputs.csv") == steps(tmp_path / "std.npy") == [3, 6]
    assert [frame.info["step"] for frame in ase.io.read(tmp_path / "frames.xyz", index=":")] == [3, 6]
    simulation.step(8)
    assert [(tmp_path / name).read_bytes() for name in FILES] == before


def test_without_append_files_begin_anew(model: Path, tmp_path: Path) -> None:
    for _ in range(2):
        simulation = make_simulation(make_force(model))
        simulation.reporters += all_reporters(tmp_path)
        simulation.step(3)
    assert steps(tmp_path / "outputs.csv") == steps(tmp_path / "outputs.npy") == [3]
    assert len(ase.io.read(tmp_path / "frames.xyz", index=":")) == 1


def test_npy_can_be_read_after_each_row(model: Path, tmp_path: Path) -> None:
    """Its head has one length for any number of rows, and its data begin at a multiple of 64 bytes."""
    path = tmp_path / "outputs.npy"
    simulation = make_simulation(make_force(model))
    simulation.reporters.append(OutputReporter(path, 1, ["energy"]))
    for count in range(1, 12):
        simulation.step(1)
        found = np.load(path, mmap_mode="r")
        assert found.shape == (count,)
        assert path.stat().st_size % 64 == found.nbytes % 64


# Errors


def test_other_columns_are_refused(model: Path, tmp_path: Path) -> None:
    for name, text in (
        (
            "outputs.csv",
            r"from column 3 on \(charges\[0\]_e, now dipole\[0\]_nm\*e\): name another file, or leave append",
        ),
        ("outputs.npy", r"from column 3 on \(charges_e \[3\], now dipole_nm\*e \[3\]\): name another file"),
    ):
        for outputs in (["charges"], ["dipole"]):
            simulation = make_simulation(make_force(model))
            simulation.reporters.append(OutputReporter(tmp_path / name, 1, outputs, append=True))
            if outputs == ["charges"]:
                simulation.step(1)
        with pytest.raises(ValueError, match=rf"{name} has other columns than what is reported now, {text}"):
            simulation.step(1)


@pytest.mark.parametrize(
    "name, content, text",
    [
        ("a.csv", b"time,energy\n1,2\n", r"\(its first line does not begin with step,time_ps\): name another file"),
        ("a.csv", b"step,time_ps\nx1,2\n", r"\(a line begins with b'x1,2\\n', not with a step\): name another file"),
        ("a.npy", b"not numpy at all", r"\(the magic string is not correct"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"a.{name[-3:]} can't be appended to, since it is no table of a.*{text}"):
        OutputReporter(tmp_path / name, 1, ["energy"], append=True)
    assert (tmp_path / name).read_bytes() == content


def test_other_arrays_and_frames_are_refused(model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"a.npy can't be appended to.*\(it holds an array of float64\)"):
        OutputReporter(tmp_path / "a.npy", 1, ["energy"], append=True)
    for content in ("a text\n", "1\nProperties=species:S:1:pos:R:3\nH 0 0 0\n"):
        (tmp_path / "a.xyz").write_text(content)
        simulation = make_simulation(make_force(model))
        simulation.reporters.append(UncertaintyReporter(None, 1, harvest=1, frames=tmp_path / "a.xyz", append=True))
        with pytest.raises(ValueError, match=r"a.xyz can't be appended to, since it holds no frames with their steps"):
            simulation.step(1)
        assert (tmp_path / "a.xyz").read_text() == content


def test_arguments_of_reporters(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"outputs.txt: outputs are written to a table, .csv or .npy: let the name"):
        OutputReporter(tmp_path / "outputs.txt", 1, ["energy"])
    for interval in (0, -5, 2.5, True):
        with pytest.raises(ValueError, match=r"reportInterval must be a number of steps, at least 1, but"):
            OutputReporter(tmp_path / "outputs.csv", interval, ["energy"])
    with pytest.raises(ValueError, match="harvest=LIMIT and frames=FILE go together: give both, or neither"):
        UncertaintyReporter(None, 1, harvest=3)
    with pytest.raises(ValueError, match="with no file and no limit does nothing: give warn, harvest or stop"):
        UncertaintyReporter(None, 1)


def test_force_and_outputs_must_be_there(model: Path, harmonic: Path, tmp_path: Path) -> None:
    def attach(added: openmm.Force, outputs: list[str], **options: Any) -> None:
        simulation = make_simulation(added)
        simulation.reporters.append(OutputReporter(tmp_path / "outputs.csv", 1, outputs, **options))
        simulation.step(1)

    given = "energy, atomic_energy, charges, dipole, energy_std: choose among these"
    with pytest.raises(ValueError, match=f"^the output 'spin' was asked for, but the model '.*' gives {given}"):
        attach(make_force(model), ["energy", "spin"])
    with pytest.raises(ValueError, match=f"^no output was asked for, but the model '.*' gives {given}"):
        attach(make_force(model), [])
    with pytest.raises(ValueError, match="the output 'forces' was asked for, but the model '.*' gives energy: choose"):
        attach(NNPForce(harmonic), ["forces"])
    with pytest.raises(ValueError, match=r"holds 0 NNPForces \[\], but a reporter reads one: name it with force="):
        attach(openmm.CustomBondForce("r"), ["energy"])
    both = openmm.CustomCVForce("a+b")
    first, second = make_force(model), make_force(model)
    second.setName("second")
    both.addCollectiveVariable("a", first)
    both.addCollectiveVariable("b", second)
    copied = copy.deepcopy(both)
    attach(both, ["energy"], force=second)
    with pytest.raises(ValueError, match=r"holds 2 NNPForces \['NNPForce', 'second'\], but a reporter reads one"):
        attach(copied, ["energy"])
    foreign = make_force(model)
    foreign.setName("foreign")
    with pytest.raises(ValueError, match=r"the force 'foreign' is not in the Simulation's System, whose NNPForces are"):
        attach(make_force(model), ["energy"], force=foreign)


def test_residues_need_an_energy_for_each_particle(model: Path, tmp_path: Path) -> None:
    simulation = make_simulation(make_force(model))
    simulation.reporters.append(ResidueEnergyReporter(tmp_path / "residues.csv", 1, output="energy"))
    with pytest.raises(ValueError, match=r"'energy' has the shape \[\], but an energy for each of the 3 atoms that"):
        simulation.step(1)


def test_page(tmp_path: Path) -> None:
    printed = run_page(TYK2.parents[1] / "docs" / "reporters.md", tmp_path)
    assert "('step', 'time_ps', 'energy_kJ/mol', 'energy_std_kJ/mol')" in printed and printed.count(" eV\n") == 2
    assert steps(tmp_path / "outputs.npy") == steps(tmp_path / "uncertainty.csv") == [10, 20, 30, 40, 50]
