"""`openmm-nnp doctor`: its verdicts where all is well, and where something is broken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from openmmnnp import _check, cli, doctor
from test_import import fake

PLATFORMS = ("Reference", "CPU")


def run(*arguments: str, first: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    if first:
        env["PYTHONPATH"] = str(first)
    command = [sys.executable, "-m", "openmmnnp", "doctor", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)


def findings(result: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    assert result.stdout, result.stderr
    return {finding["name"]: finding for finding in json.loads(result.stdout)}


def test_good_installation() -> None:
    result = run("--json")
    found = findings(result)
    assert (result.returncode, result.stderr) == (0, "")
    assert {name for name, finding in found.items() if finding["state"] == "error"} == set()
    for name in PLATFORMS:
        assert found[f"force on {name}"]["state"] == "ok"
        assert float(found[f"force on {name}"]["text"].split()[2]) < 1e-12
    assert {"openmm-nnp", "OpenMM", "torch", "TorchScript", "platforms", "private folder"} <= set(found)


def test_console_script_is_the_same(tmp_path: Path) -> None:
    script = shutil.which("openmm-nnp", path=str(Path(sys.executable).parent))
    if script is None:
        pytest.skip("openmm-nnp was not installed by pip")
    result = subprocess.run([script, "--help"], capture_output=True, text=True)
    assert "doctor" in result.stdout


@pytest.mark.parametrize("package, version", [("torch", "2.10.1"), ("openmm", "8.5.1")])
def test_wrong_version(tmp_path: Path, package: str, version: str) -> None:
    """openmmnnp cannot be imported, and the doctor says why."""
    result = run("--json", first=fake(tmp_path, package, version))
    found = findings(result)
    name = {"torch": "torch", "openmm": "OpenMM"}[package]
    assert result.returncode == 1
    assert found[name]["state"] == found["import openmmnnp"]["state"] == "error"
    assert version in found[name]["text"] and found[name]["cure"].startswith("pip install")


def test_text_names_the_cure(tmp_path: Path) -> None:
    result = run(first=fake(tmp_path, "torch", "2.10.1"))
    lines = result.stdout.splitlines()
    (at,) = [i for i, line in enumerate(lines) if line.startswith("error    torch ")]
    assert lines[at + 1].strip() == '-> pip install "torch>=2.11,<2.16"'
    assert lines[-1] == "2 errors"


def test_a_crash_is_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._run_probe("platforms() or __import__('os').abort()") == "crashed (SIGABRT)"
    assert "There is no registered Platform" in doctor._run_probe("evaluate('Nowhere')")
    monkeypatch.setattr(doctor, "SECONDS", 0.01)
    assert doctor._run_probe("platforms()") == "gave no answer in 0.01 s"


@pytest.mark.parametrize(
    "platform, answer, state",
    [
        ("CPU", {"error": 0.1, "device": "cpu", "seconds": 1}, "error"),
        ("CUDA", "crashed (SIGSEGV)", "error"),
        ("CUDA", "No compatible CUDA device is available", "warning"),
        ("CPU", "no such thing", "error"),
    ],
)
def test_verdicts_of_platforms(monkeypatch: pytest.MonkeyPatch, platform: str, answer: Any, state: str) -> None:
    monkeypatch.setattr(doctor, "_run_probe", lambda call: answer)
    finding = doctor._evaluation(platform)
    assert (finding.state, bool(finding.cure)) == (state, True)


def test_private_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert doctor._private_folder().state == "ok"
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result([0] * 8 + [os.ST_NOEXEC, 255]))
    assert "noexec" in doctor._private_folder().text
    monkeypatch.setenv("TMPDIR", "/proc")
    assert (doctor._private_folder().state, "not writable" in doctor._private_folder().text) == ("error", True)
    (tmp_path / "openmmnnp-999999999-1-abc-x").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert [finding.text[:9] for finding in doctor._leftovers()] == ["1 folders"]


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert doctor._threads().state == "ok"
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert doctor._threads().state == "warning"


def test_other_torch_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "libOpenMMNNPTorch-2.40.so").touch()
    monkeypatch.setattr(_check, "library_folder", lambda: tmp_path)
    finding = doctor._torch_library()
    assert (finding.state, finding.cure[:24]) == ("warning", 'pip install "torch==2.40')


def test_exit_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for state, status in (("ok", 0), ("warning", 0), ("error", 1)):
        monkeypatch.setattr(doctor, "examine", lambda state=state: [doctor.Finding("x", state, "y")])
        assert cli.main(["doctor"]) == status
    assert capsys.readouterr().out.count("1 error") == 1
