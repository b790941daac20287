"""`openmm-nnp simulate`: outputs of the model in each frame, and what is done where it is uncertain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import mdtraj
import numpy as np
import pytest

from openmmnnp.simulate.options import Options
from openmmnnp.simulate.output import cut_back
from openmmnnp.simulate.run import resume, simulate
from simulations import ligand, read_log, springs_energy, write_job

EV = 96.48533212331  # kJ/mol
FILES = ("outputs.npy", "uncertain.xyz")


@pytest.fixture
def job(tmp_path: Path) -> Options:
    return replace(write_job(tmp_path), outputs=("energy", "energy_std"))


def spreads(folder: Path) -> list[float]:
    return [row["energy_std_kJ/mol"] for row in read_log(folder)]


def test_a_row_of_outputs_for_each_frame(job: Options) -> None:
    job = replace(job, trajectory_format="dcd")
    assert simulate(job) == 0 and job.out
    found = np.load(job.out / "outputs.npy", mmap_mode="r")
    frames = mdtraj.load(str(job.out / "trajectory.dcd"), top=str(job.out / "topology.pdb"))
    assert found["step"].tolist() == [20, 40, 60, 80, 100]
    np.testing.assert_allclose(found["time_ps"], [0.02, 0.04, 0.06, 0.08, 0.1], rtol=1e-12)
    atoms = frames.topology.select("resname LIG" if frames.topology.select("resname LIG").size else "not protein")
    expected = [springs_energy(ligand()[1], x.astype(float)) for x in frames.xyz[:, atoms]]
    np.testing.assert_allclose(found["energy_kJ/mol"], expected, rtol=1e-3)
    log = {row["step"]: row for row in read_log(job.out) if row["phase"] == "production"}
    rows = [log[step] for step in found["step"]]
    np.testing.assert_allclose(found["energy_kJ/mol"], [row["model_kJ/mol"] for row in rows], rtol=1e-9)
    np.testing.assert_allclose(found["energy_std_kJ/mol"], [row["energy_std_kJ/mol"] for row in rows], rtol=1e-9)


def test_harvest_warning_and_stop(job: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that stopped, and went on without that limit, has written what an unbroken one has, byte for byte."""
    first = replace(job, out=tmp_path / "first")
    assert simulate(first) == 0 and first.out
    values = spreads(first.out)
    limit = float(np.mean(sorted(values)[len(values) // 2 :][:2]))
    assert not (first.out / "uncertain.xyz").exists()

    whole = replace(job, out=tmp_path / "whole", harvest_uncertainty=limit, warn_uncertainty=limit)
    capsys.readouterr()
    assert simulate(whole) == 0 and whole.out
    crossings = [i for i, v in enumerate(values) if v > limit and (i == 0 or values[i - 1] <= limit or new_phase(i))]
    assert capsys.readouterr().out.count("above the limit of") == len(crossings) > 0
    frames = ase.io.read(whole.out / "uncertain.xyz", index=":")
    rows = [row for row in read_log(whole.out) if row["energy_std_kJ/mol"] > limit]
    assert [(f.info["phase"], f.info["step"]) for f in frames] == [(row["phase"], row["step"]) for row in rows]
    assert len(frames[0]) == len(ligand()[1])
    for name, column in (("energy_std", "energy_std_kJ/mol"), ("model_energy", "model_kJ/mol")):
        expected = [row[column] / EV for row in rows]
        np.testing.assert_allclose([f.info[name] for f in frames], expected, rtol=1e-7)

    highest = max(values)
    stopped = replace(whole, out=tmp_path / "stopped", stop_uncertainty=highest - 1e-9)
    assert simulate(stopped) == 4 and stopped.out
    assert "Stopped at " in capsys.readouterr().out and spreads(stopped.out)[-1] == highest
    assert len(read_log(stopped.out)) == values.index(highest) + 1
    assert resume(stopped.out, {"stop_uncertainty": None}) == 0
    for name in FILES:
        assert (stopped.out / name).read_bytes() == (whole.out / name).read_bytes(), name


def new_phase(row: int) -> bool:
    """Two rows of NVT come first in a job in vacuum."""
    return row == 2


def test_outputs_are_cut_to_whole_rows(job: Options) -> None:
    assert simulate(job) == 0 and job.out
    path = job.out / "outputs.npy"
    found = np.load(path)
    cut_back(job.out, {"outputs.npy": path.stat().st_size - 2 * found.itemsize})
    np.testing.assert_array_equal(np.load(path), found[:-2])


@pytest.mark.parametrize(
    "changes, text",
    [
        (
            {"outputs": ("energy", "charges")},
            "--outputs needs the output 'charges', but the model gives energy, energy_",
        ),
        ({"outputs": ("forces",)}, "--outputs needs the output 'forces', but the model gives energy, energy_std"),
    ],
)
def test_outputs_that_the_model_does_not_give(job: Options, changes: dict[str, Sequence[str]], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        simulate(replace(job, **changes))
    assert job.out and not job.out.exists()


def test_limits_need_a_spread(job: Options, harmonic: Path) -> None:
    changes: dict[str, Any] = {"model": harmonic, "outputs": ()}
    for name in ("warn", "harvest", "stop"):
        with pytest.raises(
            ValueError, match=f"--{name}-uncertainty needs the output 'energy_std', but the model gives"
        ):
            simulate(replace(job, **changes, **{f"{name}_uncertainty": 1.0}))
