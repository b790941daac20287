"""The table of figures says what ran and what did not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import figures
from figures import COLUMNS, ELSEWHERE, FIGURES, LONG, Result, table

pytest_plugins = ["pytester"]
TESTS = """
import pytest

@pytest.fixture
def broken():
    raise OSError("no fixture")

@pytest.mark.figure("G4")
@pytest.mark.parametrize("name", ["Reference", "OpenCL"])
def test_gradient(measure, name):
    measure("float64", 1e-8 if name == "CPU" else 3e-8, 1e-7)
    measure("float32", {"Reference": 1e-4, "OpenCL": 9e-4}[name], 1e-3)

@pytest.mark.figure("G4", what="too large")
@pytest.mark.parametrize("value", [0.5, float("nan"), 1.5])
def test_bound(measure, value):
    measure("value", value, 1.0)

@pytest.mark.figure("G2", platform="Reference")
@pytest.mark.parametrize("case", range(5))
def test_misuse(case):
    if case == 3:
        pytest.skip("no | GPU")

@pytest.mark.figure("G1")
@pytest.mark.figure("G6")
def test_setup(broken):
    pass

@pytest.mark.figure("G7")
@pytest.mark.xfail(reason="a bug", strict=False)
def test_expected():
    assert False

@pytest.mark.figure("G8")
@pytest.mark.long
def test_soak():
    pass

@pytest.mark.figure("G10")
def test_other():
    pass

def test_without_a_figure():
    pass
"""


@pytest.fixture
def run(pytester: pytest.Pytester) -> pytest.Pytester:
    folder = Path(figures.__file__).parent
    pytester.makeconftest('pytest_plugins = ["figures"]')
    pytester.makeini(f"[pytest]\npythonpath = {folder}\nmarkers = long: takes minutes\naddopts = -m 'not long'")
    return pytester


def rows(lines: Sequence[str]) -> list[list[str]]:
    """Cells of the last table in these lines, without its head."""
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    begin = max(k for k, row in enumerate(found) if tuple(row) == COLUMNS)
    return found[begin + 2 :]


def cells(lines: Sequence[str], figure: str) -> list[list[str]]:
    """Rows of a figure, without it and without seconds."""
    return [row[1:6] + row[7:] for row in rows(lines) if row[0] == figure]


def test_table_of_a_run(run: pytest.Pytester) -> None:
    run.makepyfile(TESTS)
    result = run.runpytest("-k", "not other")
    assert [row[0] for row in rows(result.outlines)] == sorted(
        [*FIGURES, "G4", "G4"], key=lambda name: int(name[1:])
    ), "every figure, in order"
    file = "test_table_of_a_run.py::test_"
    assert cells(result.outlines, "G4") == [
        ["gradient, float64", "3e-08", "1e-07", file + "gradient", "Reference, OpenCL", "2 passed"],
        ["gradient, float32", "0.0009", "0.001", file + "gradient", "Reference, OpenCL", "2 passed"],
        ["too large, value", "nan", "1", file + "bound", "", "2 failed, 1 passed"],
    ]
    assert cells(result.outlines, "G2") == [
        ["misuse", "4 cases", "", file + "misuse", "Reference", "4 passed, 1 skipped (no / GPU)"]
    ]
    for figure in ("G1", "G6"):
        assert cells(result.outlines, figure) == [["setup", "1 case", "", file + "setup", "", "1 failed (in setup)"]]
    assert cells(result.outlines, "G7")[0][-1] == "1 skipped (fails as expected: a bug)"
    assert cells(result.outlines, "G8") == [["soak", "", "", file + "soak", "", "1 long: make test-long"]]
    assert cells(result.outlines, "G10") == [["other", "", "", file + "other", "", "1 not run"]]
    assert cells(result.outlines, "G3") == [["platforms agree", "", "", "", "", "not run: make test-long"]]
    assert cells(result.outlines, "G14")[-1][-1] == f"not here: {ELSEWHERE['G14']}"


def test_commands_that_measure_more_exist() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert all(f"\n{command.removeprefix('make ')}:" in makefile for command in (LONG, *ELSEWHERE.values()))


def test_no_table_without_a_figure(run: pytest.Pytester) -> None:
    run.makepyfile("def test_nothing(): pass")
    assert "figures" not in run.runpytest().stdout.str().split("test session starts")[1]


def test_a_figure_that_does_not_exist(run: pytest.Pytester) -> None:
    run.makepyfile("import pytest\n@pytest.mark.figure('G16')\ndef test_it(): pass")
    run.runpytest().stderr.fnmatch_lines(["*test_it: there is no figure 'G16'"])


@pytest.mark.parametrize("processes", [0, 2])
def test_files(run: pytest.Pytester, processes: int) -> None:
    """As JSON and Markdown, with and without pytest-xdist."""
    if processes:
        pytest.importorskip("xdist")
    run.makepyfile(TESTS)
    run.runpytest("--figures", "a/out.json", "--figures", "out.md", *(["-n", str(processes)] if processes else []))
    results = json.loads((run.path / "a" / "out.json").read_text())
    gradient = [result for result in results if "gradient" in result["test"]]
    assert sorted(result["platform"] for result in gradient) == ["OpenCL", "Reference"]
    assert sorted(result["measures"][1] for result in gradient) == [["float32", 0.0001, 0.001], ["float32", 9e-4, 1e-3]]
    assert {"failed", "passed", "skipped"} <= {result["outcome"] for result in results}
    assert "2 failed, 1 passed" in (run.path / "out.md").read_text()


def test_several_runs_are_one_table(tmp_path: Path) -> None:
    """A test that another run skipped or left out counts as it ran; what is missing or failed is an error."""
    skipped = Result("G15", "parity", "a.py::test_a[1]", "", "skipped", "no mace")
    passed = Result("G15", "parity", "a.py::test_a[1]", "CPU", "passed", measures=[("energy", 1e-7, 1e-6)])
    runs = [[skipped, Result("G15", "x", "a.py::test_b", "", "passed")], [passed]]
    command = [sys.executable, figures.__file__, "--table", str(tmp_path / "t.md")]
    for k, results in enumerate(runs):
        (tmp_path / f"{k}.json").write_text(json.dumps([vars(result) for result in results]))
        command.append(str(tmp_path / f"{k}.json"))
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (tmp_path / "t.md").read_text()
    assert cells(done.stdout.splitlines(), "G15") == [
        ["parity, energy", "1e-07", "1e-06", "a.py::test_a", "CPU", "1 passed"],
        ["x", "1 case", "", "a.py::test_b", "", "1 passed"],
    ]
    (tmp_path / "0.json").write_text(json.dumps([vars(Result("G1", "x", "a.py::test_b", "", "failed", "in setup"))]))
    done = subprocess.run([*command, "none.json"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "no results: none.json\nfailed: a.py::test_b\n")


def test_a_bound_of_zero() -> None:
    results = [Result("G1", "x", f"t[{k}]", "", "passed", measures=[("crashes", 2 * (k == 1), 0)]) for k in range(3)]
    assert cells(table(results).splitlines(), "G1") == [["x, crashes", "2", "0", "t", "", "3 passed"]]
