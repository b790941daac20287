"""`openmm-nnp correct` on ligands for which the answer is known, cut off, failing, and side by side."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import yaml
from openmm import unit

from corrections import MM, MODEL, OFFSET, PULL, diatomic, exact, words, write_diatomics, write_fluid, write_model
from openmmnnp import NNPForce, createMixedSystem
from openmmnnp.cli import main
from openmmnnp.correct import cluster, engine
from openmmnnp.correct.engine import Engine, group_by_lambda
from openmmnnp.correct.options import CorrectOptions
from openmmnnp.correct.prepare import Job
from openmmnnp.correct.store import FORWARD, Frame, LegFolder, Table
from openmmnnp.correct.table import KJ_PER_KCAL
from pages import run_page
from simulations import write_job

pytest.importorskip("pymbar", reason="needs pymbar: pip install 'openmm-nnp[correct]'")

SHORT = {"snapshots": "24", "nvt": "0.1ps", "equilibrate": "0.2ps", "sample_interval": "0.2ps", "switch": "0.02ps"}


def read_results(out: str) -> list[dict[str, str]]:
    with open(Path(out) / "results.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def check_answer(row: dict[str, str]) -> None:
    """Both legs and the correction are within three errors of quadrature, and the errors are small."""
    for name, answer, most in (
        ("complex_", exact(PULL), 0.4),
        ("solvent_", exact(), 0.4),
        ("correction_", exact(PULL) - exact(), 0.5),
    ):
        error = float(row[f"{name.replace('correction_', '')}error_kJ/mol"])
        assert abs(float(row[f"{name}kJ/mol"]) - answer) < 3 * error, name
        assert 0.02 < error < most, name
    assert float(row["correction_kJ/mol"]) == pytest.approx(KJ_PER_KCAL * float(row["correction_kcal/mol"]), abs=1e-3)


@pytest.fixture(scope="module", autouse=True)
def not_forced_to_disk() -> Iterator[None]:
    """A piece of these tiny systems takes less than a disk needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="module")
def switched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A correction by switching that is done."""
    options = write_diatomics(tmp_path_factory.mktemp("switched"))
    assert main(words(options)) == 0
    return options


def test_the_answer_by_switching(switched: dict[str, Any]) -> None:
    assert abs(exact(PULL) - exact()) > 1.0  # more than any error
    (row,) = read_results(switched["out"])
    assert row["status"] == "done" and row["remarks"] == ""
    check_answer(row)
    (details,) = json.loads((Path(switched["out"]) / "results.json").read_text())
    leg = details["legs"]["complex"]
    assert leg["overlap"][0][1] > 0.1 and min(leg["independent_samples"]) > 10
    assert abs(leg["gaussian_crossing_kJ/mol"] - exact(PULL)) < 2.0  # they are no Gaussians
    page = (Path(switched["out"]) / "report.html").read_text()
    assert page.count("<figure>") == 2 and "Overlap matrix, solvent" in page


def test_the_answer_by_equilibrium(tmp_path: Path) -> None:
    options = write_diatomics(tmp_path) | {"method": "mbar", "states": "3"}
    del options["switch"]
    assert main(words(options)) == 0
    check_answer(read_results(options["out"])[0])
    assert not list((tmp_path / "out").rglob("forward*"))
    assert (tmp_path / "out" / "report.html").read_text().count("<figure>") == 1


def test_the_answer_under_pressure(tmp_path: Path) -> None:
    """A barostat moves whole molecules; else the bond would be stretched with the box."""
    options = write_diatomics(tmp_path) | {"pressure": "300bar", "timestep": "2fs"}
    write_fluid(tmp_path)
    assert main(words(options)) == 0
    check_answer(read_results(options["out"])[0])
    samples = sorted((tmp_path / "out" / "complex" / "solvent" / "lambda_1.0000").glob("0*.npz"))
    boxes = [np.load(path)["box"][0, 0] for path in samples]
    assert len(set(boxes)) > 10 and 1.2 < min(boxes) and max(boxes) < 2.0


def test_work_is_the_sum_of_dE_dlambda(switched: dict[str, Any]) -> None:
    folder = LegFolder(Path(switched["out"]) / "complex" / "complex")
    rows = np.array(list(folder.works(FORWARD, 0.03).read().values()))
    assert rows.shape == (60, 21)
    steps = [max(1, -(-(k + 1) * 30 // 20) - k * 30 // 20) for k in range(20)]
    assert set(steps) == {2}  # 30 steps in 20 parts: two of each, every second step in two parts
    np.testing.assert_allclose(rows[:, 0], rows[:, 1:].mean(axis=1), atol=0.2 * rows[:, 0].std())


def test_a_repeated_command_does_what_is_new(switched: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    leg = Path(switched["out"]) / "complex" / "solvent"
    before = {path: path.read_bytes() for path in leg.rglob("*.*") if path.suffix in (".csv", ".npz")}
    longer = switched | {"switch": "0.04ps"}
    assert main(words(longer)) == 0
    assert all(path.read_bytes() == content for path, content in before.items())
    assert {path.name for path in leg.glob("*.csv")} == {
        *("forward_0.03ps.csv", "reverse_0.03ps.csv", "forward_0.04ps.csv", "reverse_0.04ps.csv")
    }
    check_answer(read_results(switched["out"])[0])
    assert main(words(switched)) == 0  # back to the former switches, which are all there
    assert all(path.read_bytes() == content for path, content in before.items())


def test_works_that_hardly_overlap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = write_diatomics(tmp_path) | SHORT
    write_model(tmp_path / "bond.pt", (2e4, 0.25))
    assert main(words(options)) == 3
    (row,) = read_results(options["out"])
    numbers = [name for name in row if name.endswith("l") and "overlap" not in name]
    assert len(numbers) == 8 and all(row[name] == "-" for name in numbers)
    assert row["status"] == "doubtful"
    said = capsys.readouterr().out
    for leg in ("complex", "solvent"):
        assert f"complex, {leg}: the works of both directions overlap by " in said
    assert "and 0.03 is needed; repeat the command with longer switches, like --switch 60fs" in said
    assert "kJ/mol) |" in said and "| -" in said
    details = json.loads((Path(options["out"]) / "results.json").read_text())[0]
    assert details["correction_kJ/mol"] is None and "value_kJ/mol" not in details["legs"]["complex"]


def test_states_that_hardly_overlap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = write_diatomics(tmp_path) | SHORT | {"method": "mbar", "states": "2"}
    del options["switch"]
    write_model(tmp_path / "bond.pt", (2e4, 0.25))
    assert main(words(options)) == 3
    assert "begin in another folder with more states, like --states 3" in capsys.readouterr().out


def test_too_few_samples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = write_diatomics(tmp_path) | SHORT | {"snapshots": "8"}
    assert main(words(options)) == 3
    assert "repeat the command with more samples, like --snapshots 16" in capsys.readouterr().out


# Protein and ligand


def test_protein_and_ligand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = write_job(tmp_path)
    options = SHORT | {
        **{"protein": str(job.protein), "ligand": str(job.ligand), "ligand_ff": str(job.ligand_ff)},
        **{"model": str(job.model), "out": str(tmp_path / "out"), "platform": "CPU", "threads": "1"},
        **{"minimize_steps": "20", "snapshots": "10"},
    }
    assert main([*words(options), "--no-solvent"]) == 3  # springs are no model of a molecule
    (row,) = read_results(options["out"])
    assert row["ligand"] == "lig" and row["complex_status"] == row["solvent_status"] == "doubtful"
    record = yaml.safe_load((tmp_path / "out" / "lig" / "complex" / "leg.yaml").read_text())
    assert record["atoms"] == list(range(22, 54)) and len(record["inputs"]) == 4
    system = openmm.XmlSerializer.deserialize((tmp_path / "out" / "lig" / "complex" / "system.xml").read_text())
    constrained = {i for k in range(system.getNumConstraints()) for i in system.getConstraintParameters(k)[:2]}
    assert constrained and constrained.isdisjoint(record["atoms"])
    state = np.load(tmp_path / "out" / "lig" / "complex" / "lambda_0.0000" / "sampled.npz")
    bonded = mm_bonds(tmp_path / "out" / "lig" / "complex" / "region.xml")
    ligand = state["positions"][22:]
    lengths = [np.linalg.norm(ligand[i] - ligand[j]) / length for i, j, length in bonded]
    assert (
        len(lengths) == 33 and 0.8 < min(lengths) and max(lengths) < 1.2
    )  # hydrogens too are held without constraints


def mm_bonds(path: Path) -> list[tuple[int, int, float]]:
    region = openmm.XmlSerializer.deserialize(path.read_text())
    force = next(f for f in region.getForces() if isinstance(f, openmm.HarmonicBondForce))
    bonds = (force.getBondParameters(k) for k in range(force.getNumBonds()))
    return [(i, j, length._value) for i, j, length, _ in bonds]


@pytest.mark.long
def test_in_water_under_pressure(tmp_path: Path) -> None:
    job = write_job(tmp_path)
    options = SHORT | {
        **{"protein": str(job.protein), "ligand": str(job.ligand), "ligand_ff": str(job.ligand_ff)},
        **{"model": str(job.model), "out": str(tmp_path / "out"), "platform": "CPU", "threads": "2"},
        **{"snapshots": "10", "padding": "0.6nm", "cutoff": "0.6nm"},
    }
    assert main(words(options)) == 3
    boxes = [np.load(path)["box"] for path in sorted((tmp_path / "out/lig/solvent/lambda_0.0000").glob("0*.npz"))]
    assert len(boxes) == 10 and len({box[0, 0] for box in boxes}) > 1


# Cut off


def numbers(out: Path) -> dict[str, Any]:
    """All that a correction computes, by file."""
    found: dict[str, Any] = {"results": (out / "results.csv").read_text()}
    for path in out.rglob("*/*/*.csv"):
        rows = Table(path, ()).read()  # one that was written before a cut, and again, counts once
        found[str(path.relative_to(out))] = {index: row.tobytes() for index, row in rows.items()}
    for path in out.rglob("*.npz"):
        with np.load(path) as values:
            found[str(path.relative_to(out))] = {name: values[name].tobytes() for name in values}
    return found


@pytest.mark.parametrize("method", ["bar", "mbar"])
@pytest.mark.figure("G7", what="correct, cut off at each file", platform="Reference")
def test_what_was_cut_off_goes_on_to_the_same_bits(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off when a file was written, but not forced to disk or given its name."""
    options = write_diatomics(tmp_path) | SHORT | {"method": method, "snapshots": "10"}
    if method == "mbar":
        del options["switch"]
        options["states"] = "3"
    calls, cut = 0, [20, 36, 33, 41]

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if cut and calls == cut[0]:
            calls = 0
            cut.pop(0)
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", fsync)
    while cut:
        assert main(words(options)) == 130
    assert main(words(options)) in (0, 3)
    whole = options | {"out": str(tmp_path / "unbroken")}
    assert main(words(whole)) in (0, 3)
    assert calls > 150
    assert numbers(tmp_path / "out") == numbers(tmp_path / "unbroken")


@pytest.mark.long
@pytest.mark.figure("G7", what="correct, killed", platform="Reference")
def test_a_killed_correction_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    options = write_diatomics(tmp_path)
    unbroken = options | {"out": str(tmp_path / "unbroken")}
    began = time.monotonic()
    command = [sys.executable, "-m", "openmmnnp"]
    subprocess.run([*command, *words(unbroken)], check=True, capture_output=True)
    whole, rng = time.monotonic() - began, random.Random(1)
    kills = 0
    for _ in range(5):
        process = subprocess.Popen([*command, *words(options)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.2, 0.5) * whole)
        kills += process.poll() is None
        process.kill()
        process.wait()
    assert kills > 1
    assert subprocess.run([*command, *words(options)], check=False, capture_output=True).returncode == 0
    assert numbers(tmp_path / "out") == numbers(tmp_path / "unbroken")


def test_a_torn_line_is_computed_again(tmp_path: Path) -> None:
    options = write_diatomics(tmp_path) | SHORT | {"snapshots": "4"}
    assert main(words(options)) == 3
    works = tmp_path / "out" / "complex" / "complex" / "forward_0.02ps.csv"
    whole = works.read_bytes()
    works.write_bytes(whole[:-30])
    assert main(words(options)) == 3
    assert works.read_bytes() == whole


def test_a_signal_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def end(job: Job) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cluster, "run_leg", end)
    assert main(words(write_diatomics(tmp_path))) == 130
    assert capsys.readouterr().err == "openmm-nnp correct: interrupted\n"


# Failures, and many ligands


def test_failures_are_tried_again_and_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tries: list[str] = []

    def fail(job: Job) -> None:
        tries.append(job.title)
        if job.ligand == "good" and (job.leg == "solvent" or tries.count(job.title) == 2):
            run_leg(job)
        elif job.leg == "complex":
            raise openmm.OpenMMException("Particle coordinate is NaN")
        else:
            raise ValueError("no such thing")

    run_leg = cluster.run_leg
    monkeypatch.setattr(cluster, "run_leg", fail)
    options = write_diatomics(tmp_path) | SHORT
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(options | {"retries": 2, "ligands": {"bad": {}, "good": {}}}))
    assert main(["correct", "--config", str(config)]) == 1
    assert tries == [*["bad, complex"] * 3, "bad, solvent", *["good, complex"] * 2, "good, solvent"]
    bad, good = read_results(options["out"])
    assert (bad["status"], good["status"]) == ("failed", "done")
    assert bad["remarks"] == "bad, complex: Particle coordinate is NaN; bad, solvent: no such thing"
    said = capsys.readouterr().out
    assert "bad, complex: failed: Particle coordinate is NaN after 3 attempts\n" in said
    assert "good, complex: done after 2 attempts\n" in said
    assert "Traceback" in (tmp_path / "out" / "bad" / "complex" / "failure.txt").read_text()
    monkeypatch.setattr(cluster, "run_leg", run_leg)
    assert main(["correct", "--config", str(config)]) == 0
    assert not (tmp_path / "out" / "bad" / "complex" / "failure.txt").exists()


def test_workers_with_many_threads_run_one_leg_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    running: list[str] = []

    def run_leg(job: Job) -> None:
        running.append(job.title)
        print(job.title)
        time.sleep(0.02)
        assert running == [job.title]
        running.remove(job.title)

    monkeypatch.setattr(cluster, "run_leg", run_leg)
    jobs = [Job("A", f"leg{k}", tmp_path / f"leg{k}", CorrectOptions()) for k in range(8)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda job: cluster.attempt(job, True), jobs)) == [("", False)] * 8
    assert [(job.folder / "leg.log").read_text() for job in jobs] == [f"{job.title}\n" for job in jobs]


def test_a_folder_that_can_not_be_read_hides_no_other(tmp_path: Path) -> None:
    options = write_diatomics(tmp_path) | SHORT
    old = Path(options["out"]) / "old" / "complex"
    old.mkdir(parents=True)
    (old / "leg.yaml").write_text("a: b")
    assert main(words(options)) == 0
    found = {result["ligand"]: result for result in read_results(options["out"])}
    assert found["old"]["status"] == "failed" and "its leg.yaml can't be read" in found["old"]["remarks"]
    assert [result["status"] for name, result in found.items() if name != "old"] == ["done"]


def test_ligands_side_by_side_on_a_cluster(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="needs Dask: pip install 'openmm-nnp[dask]'")
    options = write_diatomics(tmp_path) | SHORT
    other = write_model(tmp_path / "other.pt", MM)  # the same as MM but for the offset
    config = tmp_path / "config.yaml"
    ligands = {"one": {}, "two": {"model": str(other)}, "three": {"model": str(tmp_path / "topology.pt")}}
    (tmp_path / "topology.pt").write_text("no model")
    config.write_text(yaml.safe_dump(options | {"workers": 2, "ligands": ligands}))
    done = subprocess.run(
        [sys.executable, "-m", "openmmnnp", "correct", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    one, three, two = read_results(options["out"])
    assert (one["status"], two["status"], three["status"]) == ("done", "done", "failed")
    assert float(two["complex_kJ/mol"]) == pytest.approx(OFFSET, abs=1e-3)
    assert "three, complex: failed: " in done.stdout and "legs: 6 of 6 legs" in done.stdout
    assert "minimizing" not in done.stdout  # what a leg says is in its own log
    assert "one, solvent: minimizing" in (tmp_path / "out" / "one" / "solvent" / "leg.log").read_text()

    alone = options | {"out": str(tmp_path / "alone")}
    config.write_text(yaml.safe_dump(alone | {"ligands": {"one": {}}}))
    assert main(["correct", "--config", str(config)]) == 0
    assert read_results(alone["out"])[0] == one


def test_the_page(tmp_path: Path) -> None:
    assert "exact -1.24" in run_page(Path(__file__).parents[2] / "docs" / "free_energies.md", tmp_path)


# Pieces


def test_switches_on_every_platform(platform: openmm.Platform, tmp_path: Path) -> None:
    """An instant switch costs the energy gap; there and back through the same positions costs nothing."""
    topology = openmm.app.Topology()
    residue = topology.addResidue("LIG", topology.addChain())
    for name in ("C1", "C2"):
        topology.addAtom(name, openmm.app.element.carbon, residue)
    force = NNPForce(write_model(tmp_path / "bond.pt"))
    mixed = createMixedSystem(topology, diatomic(), [0, 1], force, interpolate=True)
    group_by_lambda(mixed)
    integrator = openmm.LangevinMiddleIntegrator(300, 1.0, 0.001)
    made = Engine(mixed, integrator, platform, {}, 300.0)
    frame = Frame(np.array([[0.0, 0, 0], [0.161, 0, 0]]), None, None)
    gap = OFFSET + sum(s * 0.5 * k * (0.161 - r0) ** 2 for s, (k, r0) in ((1, MODEL), (-1, MM)))
    made.begin(frame, 7, 0.0)
    work, parts = made.switch(0.0, 1.0, 1)
    assert work == pytest.approx(gap, rel=1e-5) and parts == pytest.approx(gap, rel=1e-5)
    assert made.context.getParameter("lambda_interpolate") == 1.0
    assert made.switch(1.0, 0.0, 1)[0] == pytest.approx(-gap, rel=1e-5)
    made.begin(frame, 7, 0.0)
    slow = made.switch(0.0, 1.0, 50)[0]
    assert slow != pytest.approx(gap, rel=1e-5) and abs(slow - gap) < 10
    assert np.isfinite(made.frame().positions).all()


def test_seeds_differ() -> None:
    seeds = {engine.seed_of(1, "A", leg, k) for leg in ("complex", "solvent") for k in range(500)}
    assert len(seeds) == 1000 and min(seeds) > 0 and max(seeds) < 2**31


def test_dynamics_that_blows_up(tmp_path: Path) -> None:
    system = diatomic()
    made = Engine(
        system,
        openmm.LangevinMiddleIntegrator(300, 1.0, 100.0 * unit.picosecond),
        openmm.Platform.getPlatform("Reference"),
        {},
        300.0,
    )
    made.begin(Frame(np.array([[0.0, 0, 0], [0.15, 0, 0]]), None, None), 1, 0.0)
    made.step(300)
    with pytest.raises(RuntimeError, match="^the positions are not finite any more: take a shorter --timestep"):
        made.frame()


def test_a_work_that_is_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Engine(diatomic(), openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"), {}, 300.0)
    monkeypatch.setattr(Engine, "slope", lambda self: float("nan"))
    monkeypatch.setattr(Engine, "context", property(lambda self: type("C", (), {"setParameter": lambda *_: None})()))
    with pytest.raises(RuntimeError, match="^the work of a switch is nan kJ/mol: take a shorter --timestep"):
        made.switch(0.0, 1.0, 1)
