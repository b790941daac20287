"""Runs that end too early, and how they go on."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import struct
import subprocess
import sys
import time
import zipfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import openmm
import pytest
import torch
import yaml
from openmm import app, unit

from conftest import PLATFORMS
from figures import Measure
from openmmnnp.cli import main
from openmmnnp.simulate import checkpoint as checkpoints
from openmmnnp.simulate.folder import RunFolder
from openmmnnp.simulate.options import Options, kind
from openmmnnp.simulate.output import cut_back
from openmmnnp.simulate.protocol import Phase, integrator
from openmmnnp.simulate.run import resume, simulate
from simulations import ligand, read_log, wet, write_job
from systems import host_guest

EXACT = [name for name in ("Reference", "CPU", "OpenCL") if name in PLATFORMS]


@pytest.fixture
def job(tmp_path: Path) -> Options:
    return write_job(tmp_path)


def results(folder: Path) -> dict[str, Any]:
    """All that a run computes."""
    trajectory = next(folder.glob("trajectory.xtc"), None) or next(folder.glob("trajectory.dcd"))
    frames = mdtraj.load(str(trajectory), top=str(folder / "topology.pdb"))
    rows = [{name: value for name, value in row.items() if name != "speed_ns/day"} for row in read_log(folder)]
    state = (folder / "state.xml").read_text()
    return {"frames": frames.xyz.tobytes(), "times": frames.time.tobytes(), "rows": rows, "state": state}


def words(options: Options) -> list[str]:
    """The command line of options."""
    found = ["simulate"]
    for option in fields(Options):
        value = getattr(options, option.name)
        if value == option.default or value is None:
            continue
        name = option.name.replace("_", "-")
        if isinstance(value, bool):
            found.append(f"--{name}" if value else f"--no-{name}")
        else:
            found += [f"--{name}", str(kind(option).write(value))]
    return found


def kill_and_resume(options: Options, kills: int, seed: int) -> Options:
    """Run in processes of which so many are killed, each at a random moment after it began to work.

    A run that was complete before its process was killed is made longer. Returns the options with the time in the end.
    """
    assert options.out
    rng, more = random.Random(seed), options.time
    while True:
        begun = (options.out / checkpoints.CURRENT).exists() or (options.out / checkpoints.PREVIOUS).exists()
        resumed = ["simulate", "--resume", str(options.out), "--time", f"{options.time} ps"]
        command = resumed if begun else [*words(options), "--overwrite"]
        process = subprocess.Popen(
            [sys.executable, "-m", "openmmnnp", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout
        output = process.stdout.readline()
        if kills:
            time.sleep(rng.uniform(0, 0.7))
            killed = process.poll() is None
            process.kill()
        output += process.stdout.read()
        process.stdout.close()
        code = process.wait()
        assert code in (0, -signal.SIGKILL if kills else 0), output
        assert "can't be read" not in output and "bit for bit" not in output, output
        if not kills:
            return options
        if code == 0:
            options = replace(options, time=options.time + more)
        kills -= killed and code != 0


def check_kills(options: Options, kills: int, folder: Path, measure: Measure) -> None:
    broken = kill_and_resume(replace(options, out=folder / "broken"), kills, seed=kills)
    unbroken = replace(broken, out=folder / "unbroken")
    assert simulate(unbroken) == 0 and unbroken.out and broken.out
    found, right = results(broken.out), results(unbroken.out)
    measure("results that differ", sum(found[name] != right[name] for name in right), 0)


@pytest.mark.figure("G7", what="simulate, 3 kills")
@pytest.mark.parametrize("name", EXACT)
def test_a_killed_run_goes_on_to_the_same_bits(name: str, job: Options, tmp_path: Path, measure: Measure) -> None:
    check_kills(replace(job, platform=name, time=1.5), 3, tmp_path, measure)


@pytest.mark.figure("G7", what="simulate with a barostat, 3 kills", platform="CPU")
def test_a_killed_run_with_a_barostat_goes_on_to_the_same_bits(job: Options, tmp_path: Path, measure: Measure) -> None:
    options = replace(wet(job), platform="CPU", npt=0.1, time=1.0, checkpoint_interval=0.05)
    check_kills(options, 3, tmp_path, measure)


@pytest.mark.long
@pytest.mark.figure("G7", what="simulate, 50 kills")
@pytest.mark.parametrize("name", EXACT)
def test_fifty_kills(name: str, job: Options, tmp_path: Path, measure: Measure) -> None:
    check_kills(replace(job, platform=name, time=15.0), 50, tmp_path, measure)


@pytest.mark.long
@pytest.mark.figure("G7", what="simulate with a barostat, 50 kills", platform="CPU")
def test_fifty_kills_with_a_barostat(job: Options, tmp_path: Path, measure: Measure) -> None:
    options = replace(wet(job), platform="CPU", npt=0.1, time=10.0, checkpoint_interval=0.05)
    check_kills(options, 50, tmp_path, measure)


@pytest.mark.parametrize("form", ["xtc", "dcd"])
def test_a_longer_run_is_appended(job: Options, tmp_path: Path, form: str) -> None:
    whole = replace(job, trajectory_format=form, time=0.12, out=tmp_path / "whole")
    assert simulate(whole) == 0 and whole.out
    part = replace(whole, time=0.06, out=tmp_path / "part")
    assert simulate(part) == 0 and part.out
    assert resume(part.out, {"time": 0.12}) == 0
    assert results(part.out) == results(whole.out)
    assert yaml.safe_load((part.out / "run.yaml").read_text())["options"]["time"] == "0.12 ps"
    assert resume(part.out, {}) == 0  # it is complete
    assert results(part.out) == results(whole.out)


def test_a_folder_may_be_moved(job: Options, tmp_path: Path) -> None:
    assert simulate(job) == 0 and job.out and job.model
    job.out.rename(tmp_path / "moved")
    job.model.unlink()  # the run has its own copy
    assert resume(tmp_path / "moved", {"time": 0.13}) == 0
    assert read_log(tmp_path / "moved")[-1]["step"] == 130


@pytest.mark.skipif("CPU" not in PLATFORMS, reason="needs two platforms")
def test_another_platform_goes_on_from_the_state(job: Options, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(job) == 0 and job.out
    before = openmm.XmlSerializer.deserialize((job.out / "state.xml").read_text())
    capsys.readouterr()
    assert resume(job.out, {"platform": "CPU", "time": 0.101}) == 0
    text = capsys.readouterr().out
    assert text.count("The continuation is not bit for bit.") == 1 and "platform (Reference, now CPU)" in text
    after = openmm.XmlSerializer.deserialize((job.out / "state.xml").read_text())
    moved = after.getPositions(asNumpy=True)._value - before.getPositions(asNumpy=True)._value
    velocities = before.getVelocities(asNumpy=True)._value
    assert np.median(np.abs(moved - 0.001 * velocities)) < 1e-4 < np.median(np.abs(moved))  # one step of 1 fs


# Damage


@pytest.mark.figure("G7", what="checkpoints that are damaged or can not be written", platform="Reference")
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    job: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(job) == 0 and job.out
    before = results(job.out)
    whole = (job.out / checkpoints.CURRENT).read_bytes()
    good, rng = checkpoints.read_checkpoint(job.out)[0], random.Random(1)
    older = checkpoints.read_checkpoint(_only_previous(job.out, tmp_path / "older"))[0]
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 20))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        (job.out / checkpoints.CURRENT).write_bytes(data[: rng.choice((None, rng.randrange(len(data))))])
        assert checkpoints.read_checkpoint(job.out)[0] in (good, older)
    data[len(data) // 2] ^= 0x10
    (job.out / checkpoints.CURRENT).write_bytes(data)
    capsys.readouterr()
    assert resume(job.out, {}) == 0
    assert "checkpoint.zip can't be read" in capsys.readouterr().out
    assert results(job.out) == before


def _only_previous(run: Path, folder: Path) -> Path:
    folder.mkdir()
    (folder / checkpoints.PREVIOUS).write_bytes((run / checkpoints.PREVIOUS).read_bytes())
    return folder


def test_no_checkpoint_can_be_read(job: Options) -> None:
    assert simulate(job) == 0 and job.out
    for name in (checkpoints.CURRENT, checkpoints.PREVIOUS):
        (job.out / name).write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"^no checkpoint of .*run can be read: begin again with --overwrite$"):
        resume(job.out, {})


def test_a_run_killed_before_its_first_checkpoint_begins_again(job: Options, tmp_path: Path) -> None:
    whole = replace(job, out=tmp_path / "whole")
    assert simulate(whole) == 0 and simulate(job) == 0 and whole.out and job.out
    for name in (checkpoints.CURRENT, checkpoints.PREVIOUS):
        (job.out / name).unlink()
    with pytest.raises(ValueError, match="no checkpoint of .*run can be read"):
        resume(job.out, {})  # there are results
    for name in ("log.csv", "trajectory.xtc", "state.xml", "final.pdb"):
        (job.out / name).unlink()
    assert resume(job.out, {}) == 0
    assert results(job.out) == results(whole.out)


def test_files_that_became_shorter_are_refused(job: Options) -> None:
    assert simulate(job) == 0 and job.out
    with open(job.out / "log.csv", "r+") as file:
        file.truncate(100)
    with pytest.raises(ValueError, match=r"log.csv has 100 bytes, but had \d+ at the checkpoint: it was changed or"):
        resume(job.out, {})


@pytest.mark.figure("G7", what="checkpoints that are damaged or can not be written", platform="Reference")
def test_a_write_that_fails_keeps_the_last_checkpoint(job: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk at the third checkpoint, while its archive is written."""
    count, synced = 0, os.fsync

    def full(descriptor: int) -> None:
        nonlocal count
        count += os.readlink(f"/proc/self/fd/{descriptor}").endswith("zip.writing")
        if count == 3:
            raise OSError(28, "No space left on device")
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        simulate(job)
    monkeypatch.undo()
    assert job.out and resume(job.out, {}) == 0
    whole = replace(job, out=job.out.with_name("whole"))
    assert simulate(whole) == 0 and whole.out
    assert results(job.out) == results(whole.out)


class Exploding(torch.nn.Module):
    """Pulls the first atom away, and is not a number as soon as that has moved by 0.3 nm."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.start = start

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        moved = positions[0, 0] - self.start
        return -3e3 * torch.where(moved > 0.3, torch.full_like(moved, float("nan")), moved)


@pytest.mark.figure("G11", what="in simulate, and the last checkpoint is good", platform="Reference")
def test_not_a_number_ends_the_run_and_leaves_a_good_checkpoint(
    job: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.jit.script(Exploding(float(ligand()[1][0, 0]))).save(str(tmp_path / "exploding.pt"))
    options = replace(job, model=tmp_path / "exploding.pt", minimize_steps=0, nvt=0.0)
    assert main(words(options)) == 1 and options.out
    assert "outside the model's domain" in capsys.readouterr().err
    found, lines = checkpoints.read_checkpoint(options.out)
    assert found and found.step == 30 and lines == []
    state = openmm.XmlSerializer.deserialize(found.state)
    assert np.isfinite(state.getPositions(asNumpy=True)._value).all()


def with_wall(job: Options, folder: Path, distance: float) -> Options:
    """CB7-B2 in vacuum with MM; the first atom is pushed, and has no finite energy beyond a wall."""
    tested = host_guest("complex-vacuum")
    with open(folder / "complex.pdb", "w") as file:
        app.PDBFile.writeFile(tested.topology, tested.positions, file)
    start = tested.positions[0][0].value_in_unit(unit.nanometer)
    wall = openmm.CustomExternalForce(f"1e308*step(x-{start + distance}) - 2500*x")
    wall.addParticle(0)
    wall.addParticle(0)  # twice 1e308 is too much
    tested.system.addForce(wall)
    (folder / "system.xml").write_text(openmm.XmlSerializer.serialize(tested.system))
    files = dict(topology=folder / "complex.pdb", system=folder / "system.xml", ml="resname B2")
    return replace(job, protein=None, ligand=None, ligand_ff=None, solvent=True, mm_only=True, nvt=0.0, **files)


def test_an_infinite_energy_of_mm_ends_the_run(job: Options, tmp_path: Path) -> None:
    options = replace(with_wall(job, tmp_path, 0.05), minimize_steps=0)
    with pytest.raises(ValueError, match=r"^the energy is inf kJ/mol at 0\.\d+ ps of production \(NVT\): the last"):
        simulate(options)
    assert options.out and checkpoints.read_checkpoint(options.out)[0]


def test_an_infinite_energy_before_dynamics(job: Options, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the energy is inf .* after minimizing \(MM\): do atoms overlap in the inpu"):
        simulate(with_wall(job, tmp_path, -10.0))
    with pytest.raises(ValueError, match=r"inf kJ/mol at 0 ps of .*, before the first checkpoint: do atoms overlap"):
        simulate(replace(with_wall(job, tmp_path, -10.0), minimize_steps=0), overwrite=True)


# Signals, locks, folders


def test_a_signal_to_end_writes_a_checkpoint(job: Options) -> None:
    options = replace(job, time=1000.0, checkpoint_interval=1000.0)
    command = [sys.executable, "-m", "openmmnnp", *words(options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert options.out and process.stdout
    while not (options.out / "log.csv").exists() or len(read_log(options.out)) < 10:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Stopped by signal 15" in output and f"--resume {options.out}" in output
    found, _ = checkpoints.read_checkpoint(options.out)
    assert found and found.phase == "production" and found.step > 0
    assert found.step >= read_log(options.out)[-1]["step"]


def test_two_processes_do_not_write_one_run(job: Options) -> None:
    assert simulate(job) == 0 and job.out
    with open(job.out / ".lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another process is writing to .*run: wait for it, or end it first"):
            resume(job.out, {})


def test_a_run_is_not_overwritten_by_accident(job: Options) -> None:
    assert simulate(job) == 0 and job.out
    with pytest.raises(ValueError, match="run is not empty: go on with --resume .*run, replace the run with --overwr"):
        simulate(job)
    assert simulate(replace(job, seed=2), overwrite=True) == 0
    before = results(job.out)
    with pytest.raises(ValueError, match="there is no file"):
        simulate(replace(job, ligand_ff="typo.xml"), overwrite=True)
    assert results(job.out) == before
    (job.out / "thesis.tex").write_text("the only copy")
    with pytest.raises(ValueError, match="removes only what a run writes, and .* also holds thesis.tex: move"):
        simulate(job, overwrite=True)
    assert (job.out / "thesis.tex").exists() and (job.out / "log.csv").exists()
    mine = job.out.parent / "mine"
    mine.mkdir()
    (mine / "system.xml").write_text("not of a run")
    with pytest.raises(ValueError, match="--overwrite replaces a run, and .*mine holds none: name another folder"):
        simulate(replace(job, out=mine), overwrite=True)
    with pytest.raises(ValueError, match="--protein lies in --out .*: name another folder"):
        simulate(replace(job, out=job.out.parent), overwrite=True)
    (job.out.parent / "file").touch()
    with pytest.raises(ValueError, match="--out .*file is a file: name a folder"):
        simulate(replace(job, out=job.out.parent / "file"))


def test_what_was_not_begun_leaves_no_files(job: Options) -> None:
    with pytest.raises(ValueError, match="the selection"):
        simulate(replace(job, ml="resname XYZ"))
    assert job.out and not job.out.exists()
    assert simulate(job) == 0


@pytest.mark.parametrize(
    "name, value, text",
    [
        ("temperature", 310.0, "--temperature is 300 K in .* and 310 K now"),
        ("timestep", 0.002, "--timestep is 1 fs in .* and 2 fs now"),
        ("pressure", None, "--pressure is 1 bar in .* and none now"),
        ("mm_only", True, "--mm-only is False in .* and True now"),
        ("ligand", Path("other.sdf"), "--ligand is .*lig.pdb in .* and .*other.sdf now"),
        ("log_interval", 0.5, "--log-interval is 10 fs in .* and 0.5 ps now"),
    ],
)
def test_what_is_sampled_can_not_be_changed(job: Options, name: str, value: Any, text: str) -> None:
    RunFolder(job.out).create()
    RunFolder(job.out).write({"options": job.to_mapping()})
    with pytest.raises(ValueError, match=text + ": a run keeps it to its end; begin a new one with --config"):
        resume(job.out, {name: value})


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no folder of a run, its run.yaml can't be read"):
        resume(tmp_path, {})
    (tmp_path / "run.yaml").write_text("options: 3")
    with pytest.raises(ValueError, match="can't be read: it has no options"):
        resume(tmp_path, {})


def test_dcd_headers_count_the_frames_that_are_left(tmp_path: Path, job: Options) -> None:
    assert simulate(replace(job, trajectory_format="dcd")) == 0 and job.out
    path = job.out / "trajectory.dcd"
    frame = (path.stat().st_size - 276) // 5
    cut_back(job.out, {"trajectory.dcd": 276 + 3 * frame})
    assert struct.unpack_from("<i", path.read_bytes(), 8)[0] == 3
    assert mdtraj.load(str(path), top=str(job.out / "topology.pdb")).n_frames == 3
    cut_back(job.out, {"trajectory.dcd": 0})
    assert not path.exists()


@pytest.mark.figure("G7", what="checkpoints that are damaged or can not be written", platform="Reference")
def test_a_checkpoint_is_whole_or_not_there(tmp_path: Path) -> None:
    """What a kill leaves of a checkpoint that is being written is ignored."""
    made = checkpoints.Checkpoint("nvt", 5, {"platform": "x"}, {"log.csv": 3}, {}, b"bits" * 1000, "<State/>")
    made.write(tmp_path)
    (tmp_path / "checkpoint.zip.writing").write_bytes((tmp_path / checkpoints.CURRENT).read_bytes()[:200])
    assert checkpoints.read_checkpoint(tmp_path) == (made, [])
    later = replace(made, step=6)
    later.write(tmp_path)
    assert checkpoints.read_checkpoint(tmp_path) == (later, [])
    (tmp_path / checkpoints.CURRENT).unlink()
    assert checkpoints.read_checkpoint(tmp_path) == (made, [])
    with zipfile.ZipFile(tmp_path / checkpoints.PREVIOUS) as archive:
        assert sorted(archive.namelist()) == ["context.chk", "progress.json", "state.xml"]


@pytest.mark.figure("G7", what="checkpoints that are damaged or can not be written", platform="Reference")
def test_a_checkpoint_can_not_be_lost_while_another_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call that changes the folder may be the last one."""
    made = checkpoints.Checkpoint("nvt", 5, {}, {}, {}, b"bits", "<State/>")
    for fails in range(4):
        folder = tmp_path / str(fails)
        folder.mkdir()
        made.write(folder)
        replace(made, step=6).write(folder)
        count = 0

        def failing(original: Any, fails: int = fails) -> Any:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                if count > fails:
                    raise OSError(28, "No space left on device")
                return original(*arguments, **options)

            return call

        with monkeypatch.context() as patch:
            for name in ("fsync", "link", "replace", "unlink"):
                patch.setattr(os, name, failing(getattr(os, name)))
            with pytest.raises(OSError, match="No space left"):
                replace(made, step=7).write(folder)
        found, lines = checkpoints.read_checkpoint(folder)
        assert found and found.step in (6, 7) and lines == []


@pytest.mark.figure("G7", what="checkpoints that are damaged or can not be written", platform="Reference")
def test_a_full_disk_ends_the_run_and_it_can_go_on(job: Options, tmp_path: Path) -> None:
    """Files may not grow above 30 kB: XTC frames of 54 particles fill that soon."""
    (tmp_path / "limit.py").write_text(
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from openmmnnp.cli import main\n"
        "from openmmnnp.simulate import dynamics\n"
        "begin = dynamics.run_phases\n"
        "def limited(*a):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))\n"
        "    return begin(*a)\n"
        "import openmmnnp.simulate.run as run\n"
        "run.run_phases = limited\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    options = replace(job, time=1.0, trajectory_interval=0.002, log_interval=0.5, checkpoint_interval=0.05)
    command = [sys.executable, str(tmp_path / "limit.py"), *words(options)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "is the disk full?" in done.stderr, done.stderr
    assert options.out and resume(options.out, {}) == 0
    whole = replace(options, out=tmp_path / "whole")
    assert simulate(whole) == 0 and whole.out
    assert results(options.out) == results(whole.out)


def test_what_a_run_is_made_from_can_not_be_edited(job: Options) -> None:
    assert simulate(job) == 0 and job.out
    good = (job.out / "run.yaml").read_text()
    (job.out / "run.yaml").write_text(good.replace("temperature: 300 K", "temperature: 700 K"))
    with pytest.raises(ValueError, match="run: run.yaml changed since the checkpoint was written: restore what was th"):
        resume(job.out, {})
    (job.out / "run.yaml").write_text(good.replace("saved:", "bewahrt:"))
    with pytest.raises(ValueError, match="the run in .*run can't be read, was it edited\\? \\('saved'\\)"):
        resume(job.out, {})
    (job.out / "run.yaml").write_text(good)
    np.save(job.out / "minimized.npy", np.load(job.out / "minimized.npy")[:-1])
    with pytest.raises(ValueError, match=r"topology.pdb, system.xml and minimized.npy describe \(54, 54, 53\)"):
        resume(job.out, {})


def test_a_run_can_not_become_shorter(job: Options) -> None:
    assert simulate(job) == 0 and job.out
    with pytest.raises(ValueError, match="--time 50 fs is less than the 0.1 ps of the run in .*: give a longer time"):
        resume(job.out, {"time": 0.05})


def test_random_numbers_are_not_used_twice(job: Options) -> None:
    """After a fall-back to the State the noise of the phase's first steps would come again."""
    assert simulate(job) == 0 and job.out
    phase = Phase("production", "", 100, None)
    seeds = {integrator(job, phase, step).getRandomNumberSeed() for step in (0, 30, 60)}
    assert len(seeds) == 3


def test_the_start_is_damped(job: Options) -> None:
    phases = [Phase(name, "", 100, None) for name in ("nvt", "npt", "production")]
    frictions = [
        integrator(replace(job, friction=2.0, nvt_friction=20.0), phase).getFriction()._value for phase in phases
    ]
    assert frictions == [20.0, 2.0, 2.0]


def test_residue_numbers_are_kept(job: Options, tmp_path: Path) -> None:
    """And what was chosen by them stays chosen."""
    assert job.protein
    numbered = [
        line[:22] + f"{int(line[22:26]) + 900:4d}" + line[26:] if line.startswith(("ATOM", "HETATM", "TER")) else line
        for line in job.protein.read_text().splitlines()
    ]
    (tmp_path / "numbered.pdb").write_text("\n".join(numbered))
    options = replace(job, protein=tmp_path / "numbered.pdb", save="resSeq 902")
    assert simulate(options) == 0 and options.out
    assert resume(options.out, {"time": 0.12}) == 0
    trajectory = mdtraj.load(str(options.out / "trajectory.xtc"), top=str(options.out / "trajectory.pdb"))
    assert trajectory.n_frames == 6 and [r.resSeq for r in trajectory.topology.residues][0] == 902
    residues = [r.id for r in app.PDBFile(str(options.out / "final.pdb")).topology.residues()]
    assert residues[:3] == ["901", "902", "903"]


def test_a_barostat_works_between_close_checkpoints(job: Options) -> None:
    """Checkpoints begin its count anew: they are made at whole intervals of it."""
    options = replace(wet(job), platform="CPU", checkpoint_interval=0.02, time=0.5)
    assert simulate(options) == 0 and options.out
    volumes = [row["volume_nm3"] for row in read_log(options.out) if row["phase"] == "production"]
    assert len(set(volumes)) > 4  # of 20 attempts


SIGNAL_IN_BUILDING = """
import os, signal, sys
from openmm import app
from openmmnnp.cli import main
app.Modeller.addSolvent = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGTERM)
sys.exit(main(sys.argv[1:]))
"""


def test_a_signal_while_it_builds_leaves_nothing(job: Options) -> None:
    options = wet(job)
    done = subprocess.run(
        [sys.executable, "-c", SIGNAL_IN_BUILDING, *words(options)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 130 and "Traceback" not in done.stderr, done.stderr
    assert options.out and not options.out.exists()
