"""The benchmark: a small run of it, what it refuses to count, and README's tables."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "benchmarks"
sys.path.append(str(FOLDER))

from cases import read_cases  # noqa: E402
from gates import force_error, judge, slope  # noqa: E402
from tables import BEGIN, END, goals, report, table, write_readme  # noqa: E402

SMALL = """
- name: A step
  measure: step
  model: message_passing
  system: dipeptide
  platforms: [CPU, nowhere]
  seconds: 0.5
  backends: [.pt, PythonForce, openmm-torch, .pt2, "bare .pt2, C++ loop", "bare .pt2 and MM step in turn",
             "bare, eager, Python loop", no model]
"""


@pytest.mark.long
def test_a_small_run(tmp_path: Path) -> None:
    (tmp_path / "cases.yaml").write_text(SMALL)
    command = [sys.executable, FOLDER / "bench.py", "--cases", tmp_path / "cases.yaml", "--out", tmp_path / "b.json"]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[-2000:]
    results = json.loads((tmp_path / "b.json").read_text())
    rows = {row["backend"]: row for row in results["rows"]}
    assert all(row["platform"] == "CPU" for row in results["rows"])
    assert rows["openmm-torch"]["missing"].endswith("make bench-openmmtorch")
    for name in (".pt", "PythonForce"):
        assert rows[name]["figure"]["median"] > rows["no model"]["figure"]["median"]
        assert rows[name]["force_error"] < 1e-5 and rows[name]["fault"] == ""
    assert rows[".pt2"]["over_turns"]["low"] > 0
    assert rows[".pt"]["ratio"] == {"median": 1, "low": 1, "high": 1}
    assert report(results).rstrip() == (tmp_path / "b.md").read_text().rstrip()


class Wrong:
    """A session whose forces are too large by a part."""

    def __init__(self, part: float) -> None:
        self.part = part

    def forces(self) -> Any:
        x = np.ones((4, 3))
        return x, np.eye(3), (1 + self.part) * x


def test_wrong_forces_do_not_count() -> None:
    exact = lambda x, box: x  # noqa: E731
    assert force_error(Wrong(1e-3), exact) == pytest.approx(1e-3)
    assert judge({"force_error": force_error(Wrong(1e-6), exact)}) == ""
    assert judge({"force_error": force_error(Wrong(1e-3), exact)}) == "forces are off by 1.0e-03 of their size"
    assert judge({"force_error": float("nan")}) == "forces are off by nan of their size"
    assert judge({}) == "forces were not compared"


def test_a_drift_beyond_the_control_does_not_count() -> None:
    control = {"drift": (0.01, 0.01)}
    assert judge({"force_error": 0.0, "drift": (0.02, 0.01)}, control) == ""
    text = judge({"force_error": 0.0, "drift": (-0.5, 0.01)}, control)
    assert judge({"force_error": 0.0, "drift": (0.02, 0.01)}, {}) == "energies were not compared with a control's"
    assert text == "energy drifts by -5.0e-01 kJ/mol/ps per particle, the control by 1.0e-02"


def test_slope() -> None:
    drift, uncertain = slope(3 * 0.5 * np.arange(10) + np.array([0.1, -0.1] * 5), 0.5, 10)
    assert drift == pytest.approx(0.3, abs=0.01) and 0 < uncertain < 0.01


def test_a_faulty_figure_is_not_shown() -> None:
    row = {"case": "c", "backend": ".pt", "platform": "CPU", "particles": 2, "unit": "ms", "fault": ""}
    row |= {"figure": {"median": 1234.0, "low": 0.01234, "high": 12.3456}, "force_error": 1e-6}
    assert "| .pt | 1,234 (0.0123 - 12.3) | 1e-06 |" in table([row])
    assert "| .pt | does not count: forces are wrong |" in table([row | {"fault": "forces are wrong"}])
    assert "| .pt | not run: no such thing |" in table([row | {"missing": "no such thing"}])


def test_md_beside_its_parts() -> None:
    spread = {"median": 1.02, "low": 1.0, "high": 1.1}
    row = {"case": "c", "backend": ".pt2", "platform": "CPU", "particles": 2, "unit": "ms"}
    row |= {"figure": spread, "over_parts": spread}
    results = {"machine": {"cores": 2, "processor": "P", "load": 0.1}, "versions": {}, "peer": None, "date": "today"}
    text = report(results | {"rows": [row], "cases": {}})
    each = "1.02 (1.00 - 1.10) times bare model plus MM step, each timed by itself."
    assert f".pt2, CPU: MD takes {each}" in text
    text = report(results | {"rows": [row | {"over_turns": spread | {"median": 0.99}}], "cases": {}})
    assert f".pt2, CPU: MD takes 0.990 (1.00 - 1.10) times bare model and MM step in turn, {each}" in text


def test_goals() -> None:
    common = {"case": "c", "platform": "CPU", "particles": 2, "unit": "ms"}
    rows = [common | {"backend": ".pt2", "MiB": 10.0}, common | {"backend": ".pt", "MiB": 30.0}]
    goal = {"text": "memory", "backend": ".pt2", "key": "MiB", "over": ".pt", "most": 0.5}
    assert goals({"goals": [goal]}, rows) == ["Goal: memory, at most 0.5: 0.333, met."]
    goal |= {"most": 0.3}
    assert goals({"goals": [goal]}, rows) == ["Goal: memory, at most 0.3: 0.333, not met."]
    assert goals({"goals": [goal | {"over": "PythonForce"}]}, rows) == []
    assert goals({"goals": [goal | {"platform": "OpenCL"}]}, rows) == []


def test_a_goal_within_the_noise() -> None:
    figure = {"median": -3.0, "low": -20.0, "high": 15.0}
    row = {"case": "c", "platform": "CPU", "particles": 2000, "unit": "us", "backend": ".pt2", "figure": figure}
    goal = {"text": "glue", "backend": ".pt2", "key": "figure", "most": 10, "sizes": "all"}
    assert goals({"goals": [goal]}, [row]) == ["Goal: glue, 2,000 particles, at most 10: -3.00, not resolved."]
    row["figure"] = {"median": 30.0, "low": 11.0, "high": 50.0}
    assert goals({"goals": [goal]}, [row]) == ["Goal: glue, 2,000 particles, at most 10: 30.0, not met."]
    row["figure"] = {"median": 3.0, "low": 1.0, "high": 5.0}
    assert goals({"goals": [goal]}, [row]) == ["Goal: glue, 2,000 particles, at most 10: 3.00, met."]


@pytest.mark.parametrize("wrong", ["speed: 3", "measure: warp"])
def test_a_case_that_is_none(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "cases.yaml"
    text = f"- name: x\n  measure: step\n  model: m\n  backends: []\n  {wrong}\n"
    path.write_text(text.replace("  measure: step\n", "") if "measure" in wrong else text)
    with pytest.raises(ValueError, match="are not known|is none of"):
        read_cases(path)


def test_cases_that_are_run() -> None:
    assert len(read_cases(FOLDER / "cases.yaml")) > 10


def test_readme_shows_what_was_measured(tmp_path: Path) -> None:
    results = json.loads((FOLDER / "results" / "cpu.json").read_text())
    readme = (ROOT / "README.md").read_text()
    copy = tmp_path / "README.md"
    copy.write_text(re.sub(f"(?s){BEGIN}.*{END}", f"{BEGIN}{END}", readme))
    write_readme(copy, results)
    assert copy.read_text() == readme


def test_a_readme_without_a_place(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("text")
    with pytest.raises(ValueError, match="has no place for tables"):
        write_readme(tmp_path / "README.md", {})
