"""`openmm-nnp demo` and `make demo`: the files are installed, and it goes through on a small complex."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from openmmnnp.cli import main
from openmmnnp.simulate import demo
from openmmnnp.spec import read_spec
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
    for name in ("lig.pdb", "lig_gaff.xml", "ejm_31.pt", "potential.py"):
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
    compiled, original = read_spec(tmp_path / "demo" / "ejm_31-cpu.pt2"), read_spec(TYK2 / "ejm_31.pt")
    assert compiled and original and compiled.outputs == ["energy", "forces", "energy_std"]
    assert list((tmp_path / "demo" / "mlmm").glob("*.pt2"))
    reference = compiled.references[0]
    eager = torch.jit.load(str(TYK2 / "ejm_31.pt")).double()
    energy, _ = eager(
        torch.tensor(reference["positions"], dtype=torch.float64), torch.tensor(reference["atomic_numbers"])
    )
    assert reference["energy"] - compiled.constant_energy() == pytest.approx(energy.item(), abs=1e-9)
    text = capsys.readouterr().out
    assert "A run of a few ps shows that it runs" in text and "report.html" in text
    assert main(["demo", str(tmp_path / "demo"), "--platform", "CPU"]) == 0  # goes on, from the end
    text = capsys.readouterr().out
    assert text.count("Going on with") == 2 and "report.html" in text


def test_where_there_is_no_compiler_it_runs_torchscript(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}):
        assert demo.prepare_model("ejm_31", tmp_path, "cpu") == demo.data_folder() / "ejm_31.pt"
    text = capsys.readouterr().out
    assert "but none was found: install one (apt-get install g++)" in text
    assert "The demo runs TorchScript, which is slower" in text


def test_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    assert demo.prepare_model("mine.pt2", tmp_path / "none", "cpu") == Path("mine.pt2")
    assert not (tmp_path / "none").exists()


@pytest.mark.long
def test_ani_2x_for_the_ligand(tmp_path: Path) -> None:
    pytest.importorskip("torchani")
    if "OPENMMNNP_TEST_DATA" not in os.environ:
        pytest.skip("OPENMMNNP_TEST_DATA, the folder with the parameters, is not set")
    parameters = Path(os.environ["OPENMMNNP_TEST_DATA"]) / "ani-2x" / "ani-2x_8x"
    path = demo.prepare_model("ani2x", tmp_path, "cpu", parameters)
    spec = read_spec(path)
    assert path == tmp_path / "ani2x-cpu.pt2" and spec and spec.atomic_numbers
    assert sorted(set(spec.atomic_numbers)) == [1, 6, 7, 8, 17] and len(spec.atomic_numbers) == 32
    assert demo.prepare_model("ani2x", tmp_path, "cpu") == path  # not compiled again
    assert main(["check", str(path), "--pdb", str(TYK2 / "lig.pdb"), "--quick"]) == 0
