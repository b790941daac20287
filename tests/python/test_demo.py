"""`openmm-nnp demo` and `make demo`: the files are installed, and it goes through on a small complex."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from openmmnnp.cli import main
from openmmnnp.simulate import demo
from simulations import TYK2, read_log, write_job


def test_the_files_of_the_demo_are_installed() -> None:
    installed = demo.data_folder()
    for name in ("Tyk2_protein.pdb", "lig.pdb", "lig_gaff.xml", "ejm_31.pt", "ejm_31.xyz.gz", "MODEL_CARD.md"):
        assert (installed / name).read_bytes() == (TYK2 / name).read_bytes(), f"{name}: install again"
    assert sum(path.stat().st_size for path in installed.rglob("*")) < 6e6


def test_the_demo_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The same commands with a dipeptide for the protein, 40 labelled geometries and a few steps."""
    data = tmp_path / "data"
    data.mkdir()
    job = write_job(tmp_path)
    assert job.protein
    shutil.copy(job.protein, data / "Tyk2_protein.pdb")
    for name in ("lig.pdb", "lig_gaff.xml", "ejm_31.pt"):
        shutil.copy(TYK2 / name, data / name)
    with gzip.open(TYK2 / "ejm_31.xyz.gz", "rt") as file:
        lines = file.read().splitlines(keepends=True)
    frames = [lines[i : i + 34] for i in range(0, len(lines), 34)]
    with gzip.open(data / "ejm_31.xyz.gz", "wt") as file:
        file.writelines(line for frame in frames[:: len(frames) // 40] for line in frame)
    monkeypatch.setattr(demo, "data_folder", lambda: data)
    monkeypatch.setattr(demo, "SHORT", {"time": 0.04, "nvt": 0.02, "npt": 0.02, "minimize_steps": 1})
    monkeypatch.setattr(demo, "NVE", 0.05)
    assert main(["demo", str(tmp_path / "demo"), "--platform", "CPU"]) == 0
    assert [read_log(tmp_path / "demo" / leg)[-1]["step"] for leg in ("mlmm", "mm")] == [40, 40]
    assert json.loads((tmp_path / "demo" / "report.json").read_text())
    text = capsys.readouterr().out
    assert "A run of a few ps shows that it runs" in text and "report.html" in text
    assert main(["demo", str(tmp_path / "demo"), "--platform", "CPU"]) == 0  # goes on, from the end
    text = capsys.readouterr().out
    assert text.count("Going on with") == 2 and "report.html" in text
