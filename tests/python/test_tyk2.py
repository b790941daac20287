"""The Tyk2 example's data, committee and card agree with one another, and train.py makes them."""

import dataclasses
import gzip
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from openmmnnp import NNPForce

TYK2 = Path(__file__).parents[2] / "examples" / "tyk2"
MODEL = TYK2 / "ejm_31.pt"
AT_300_K = ("gaff-300K", "gfn2-300K", "water", "complex")
KCAL = 23.060547830619  # kcal/mol in one eV
KJ = 96.48533212331  # kJ/mol in one eV


@pytest.fixture(scope="module", autouse=True)
def example():
    """The example's modules by their names, while these tests run."""
    sys.path.insert(0, str(TYK2))
    yield
    sys.path.remove(str(TYK2))
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(TYK2)):
            del sys.modules[name]


@pytest.fixture(scope="module")
def frames(example):
    from labels import read

    return read(TYK2 / "ejm_31.xyz.gz")


@pytest.fixture(scope="module")
def committee():
    return torch.jit.load(str(MODEL)), torch.tensor(NNPForce(str(MODEL)).getModelSpec().atomic_numbers)


@pytest.fixture(scope="module")
def simulated(committee):
    """The force alone in a Context, and the Context."""
    force, system = NNPForce(str(MODEL)), openmm.System()
    force.setAtomicNumbers(committee[1].tolist())
    for _ in committee[1]:
        system.addParticle(12)
    system.addForce(force)
    integrator, platform = openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    return force, openmm.Context(system, integrator, platform)


def evaluate(context, frame):
    """Energy (eV) and forces (eV/angstrom) of a frame in OpenMM."""
    context.setPositions(frame.positions * unit.angstrom)
    state = context.getState(energy=True, forces=True)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.angstrom)
    return state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) / KJ, forces / KJ


def test_frames_are_labelled_and_whole(frames):
    assert len(frames) > 5000
    assert all(frame.forces.shape == frame.positions.shape == (32, 3) for frame in frames)
    assert all(np.abs(frame.forces.sum(axis=0)).max() < 0.05 for frame in frames)  # rounded to 0.001
    scans = [frame for frame in frames if "scan" in frame.source]
    assert scans and all(frame.torsion and -180 <= frame.angle < 180 for frame in scans)


def test_angles_are_those_of_the_positions(frames):
    from scans import measured

    for frame in [frame for frame in frames if frame.torsion][::20]:
        off = np.degrees(measured(frame.positions, frame.torsion)[0]) - frame.angle
        assert abs((off + 180) % 360 - 180) < 0.3


@pytest.mark.parametrize("group", ["trajectory", "torsion"])
def test_nothing_is_trained_on_and_held_out(frames, group):
    sides = {split: {getattr(f, group) for f in frames if f.split == split} for split in ("train", "test")}
    assert not (sides["train"] & sides["test"]) - {None}
    assert {frame.source for frame in frames if frame.split == "test"} == {frame.source for frame in frames}


def test_errors_at_300_k(frames, simulated):
    """Below 1 kcal/mol/angstrom and 0.5 kcal/mol on held-out trajectories at 300 K, each source by itself."""
    for source in AT_300_K:
        chosen = [f for f in frames if f.split == "test" and f.source == source][::8]
        results = [evaluate(simulated[1], frame) for frame in chosen]
        energy = KCAL * np.array([e - frame.energy for (e, _), frame in zip(results, chosen, strict=True)])
        force = KCAL * np.array([f - frame.forces for (_, f), frame in zip(results, chosen, strict=True)])
        assert np.sqrt(np.mean(force**2)) < 1.0, source
        assert np.sqrt(np.mean(energy**2)) < 0.5, source


def test_energy_std_is_that_of_the_members(frames, committee, simulated):
    (model, numbers), (force, context) = committee, simulated
    for frame in frames[:: len(frames) // 20]:
        energies = model.members(torch.tensor(frame.positions, dtype=torch.float32), numbers).numpy(force=True)
        assert len(energies) == 4
        evaluate(context, frame)
        std = force.getOutput(context, "energy_std").value_in_unit(unit.kilojoule_per_mole) / KJ
        assert std == pytest.approx(np.std(energies, ddof=1), rel=1e-3, abs=2e-5)


def test_card_has_the_errors_of_this_model(frames, committee):
    from report import Predictions

    offset = NNPForce(str(MODEL)).getModelSpec().energy_offset
    for source in ("water", "relaxed-scan"):
        chosen = [f for f in frames if f.split == "test" and f.source == source]
        predicted = Predictions(committee[0].members, offset, chosen, source)
        given = next(
            line
            for line in (TYK2 / "MODEL_CARD.md").read_text().split("held-out trajectories\n")[1].splitlines()
            if line.startswith(f"| {source} |")
        )
        expected = predicted.row(source, predicted.where(source=source))
        for a, b in zip(given.split("|")[2:-1], expected.split("|")[2:-1], strict=True):
            assert float(a) == pytest.approx(float(b), abs=0.011)


def test_the_wheel_can_carry_it():
    files = [path for path in TYK2.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 6e6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: ["31", *lines[1:]], "frame 1: '31' where the number of atoms, 32, must be"),
        (
            lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:22], *lines[23:], lines[22]],
            "the atoms must be those",
        ),
        (lambda lines: [*lines[:-1], "H 1.0 2.0 x"], "frame 1: could not convert"),
        (lambda lines: lines[:20], "the atoms must be those"),
    ],
)
def test_wrong_frames_are_refused(tmp_path, change, message):
    from labels import read

    with gzip.open(TYK2 / "ejm_31.xyz.gz", "rt") as file:
        lines = [next(file).rstrip() for _ in range(34)]
    (tmp_path / "frames.xyz").write_text("\n".join(change(lines)) + "\n")
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "frames.xyz")


@pytest.mark.long
@pytest.mark.skipif(not importlib.util.find_spec("tblite"), reason="unlabelled frames need tblite")
def test_train_goes_on_from_a_model_with_frames_added(tmp_path, frames):
    from labels import read, write

    sources = dict.fromkeys(frame.source for frame in frames)
    groups = [[f for f in frames if (f.source, f.split) == (s, k)][:2] for s in sources for k in ("train", "test")]
    write([frame for group in groups for frame in group], tmp_path / "few.xyz.gz")
    write([dataclasses.replace(f, trajectory="run") for f in frames[-3:]], tmp_path / "labelled.xyz.gz")
    with gzip.open(tmp_path / "labelled.xyz.gz", "rt") as file:
        bare = [line for line in file]
    for i in range(0, len(bare), 34):
        bare[i + 1] = "Properties=species:S:1:pos:R:3\n"
        bare[i + 2 : i + 34] = [" ".join(line.split()[:4]) + "\n" for line in bare[i + 2 : i + 34]]
    (tmp_path / "bare.xyz").write_text("".join(bare))

    options = (
        "--epochs 1 --eager --rate 1e-4 --nvt 0.2 --nve 0.2 --data few.xyz.gz --add labelled.xyz.gz --add bare.xyz"
    )
    command = [sys.executable, str(TYK2 / "train.py"), "--init-from", str(MODEL), *options.split(), "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| added | 6 | 2 | 0 | 0 |" in done.stdout
    assert "ejm_31-gfn2" in (tmp_path / "out" / "MODEL_CARD.md").read_text()
    new = [frame for frame in read(tmp_path / "out" / "ejm_31.xyz.gz") if frame.source == "added"]
    for labelled, frame in zip(new[:3], new[3:], strict=True):
        assert frame.energy == pytest.approx(labelled.energy, abs=1e-4)
        np.testing.assert_allclose(frame.forces, labelled.forces, atol=2e-3)
    assert NNPForce(str(tmp_path / "out" / "ejm_31.pt")).getModelSpec().outputs == ["energy", "energy_std"]
