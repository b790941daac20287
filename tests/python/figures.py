"""Every figure that openmm-nnp promises, G1 to G15: which tests measure it, what they found, and one table of it all.

A test says which figure it belongs to with ``@pytest.mark.figure("G4")``, and may give numbers to the fixture
``measure``, which asserts them. The table is printed at the end of a run; ``--figures FILE`` also writes it: as
Markdown (.md), or as JSON (.json), from which this program makes one table of several runs::

    python figures.py [--table FILE.md] FILE.json ...
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

FIGURES = {
    "G1": "malformed models",
    "G2": "misuse at run time",
    "G3": "platforms agree",
    "G4": "force = -dE/dx",
    "G5": "conservation",
    "G6": "symmetry",
    "G7": "restart",
    "G8": "soak",
    "G9": "create and destroy",
    "G10": "threads",
    "G11": "not-a-number",
    "G12": "sanitizers",
    "G13": "serialization",
    "G14": "versions",
    "G15": "parity with the models' own packages",
}
LONG = "make test-long"
ELSEWHERE = {"G12": "make test-asan", "G14": "make test-install"}
"""Commands that measure more of a figure than the tests here do."""
COLUMNS = ("figure", "what", "measured", "bound", "test", "platform", "seconds", "outcome")
PLATFORMS = ("Reference", "CPU", "OpenCL", "CUDA")

Measure = Callable[[str, float, float], None]
Row = tuple[str, ...]


@dataclass
class Result:
    """What one test found for one figure; outcome is passed, failed, skipped, or else says where it is run."""

    figure: str
    what: str
    test: str  # node id
    platform: str
    outcome: str
    reason: str = ""
    seconds: float = 0.0
    measures: list[tuple[str, float, float]] = field(default_factory=list)  # name, measured, bound

    @property
    def function(self) -> str:
        return self.test.split("[")[0].rsplit("/", 1)[-1]

    @property
    def file(self) -> str:
        return self.function.split("::")[0]

    @property
    def weight(self) -> int:
        """Of two results of one test, that of the run that could do more counts."""
        return {"failed": 3, "passed": 2, "skipped": 1}.get(self.outcome, 0)


# What tests say


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--figures", action="append", default=[], metavar="FILE", help="write figures to FILE.md or .json")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "figure(number, what=words of its name, platform=): a test of this figure")
    config.pluginmanager.register(Recorder(config), "figure recorder")


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> Measure:
    """Function (name, measured, bound) that asserts measured <= bound and puts both into the table."""

    def check(name: str, measured: float, bound: float) -> None:
        request.node.user_properties.append(("measure", (name, float(measured), float(bound))))
        assert measured <= bound, name

    return check


def described(item: pytest.Item) -> Iterator[dict[str, str]]:
    """What the marks of a test say."""
    for mark in item.iter_markers("figure"):
        (figure,) = mark.args
        if figure not in FIGURES:
            raise pytest.UsageError(f"{item.nodeid}: there is no figure {figure!r}")
        name = getattr(item, "originalname", item.name).removeprefix("test_").replace("_", " ")
        values = item.callspec.params.values() if hasattr(item, "callspec") else ()
        platform = mark.kwargs.get("platform") or next((v for v in values if v in PLATFORMS), "")
        yield {"figure": figure, "what": mark.kwargs.get("what", name), "test": item.nodeid, "platform": platform}


class Recorder:
    """Collects the results of a run, also those that pytest-xdist's workers report."""

    def __init__(self, config: pytest.Config) -> None:
        self.results: dict[tuple[str, str], Result] = {}
        self.files = [Path(name) for name in config.getoption("figures")]
        self.worker = hasattr(config, "workerinput")

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        item.user_properties += [("figure", found) for found in described(item)]

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        for item in items:
            outcome = f"long: {LONG}" if item.get_closest_marker("long") else "not run"
            for name, found in item.user_properties:
                if name == "figure":
                    self.results[found["figure"], item.nodeid] = Result(**found, outcome=outcome)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        measures = [tuple(value) for name, value in report.user_properties if name == "measure"]
        for name, found in report.user_properties:
            if name == "figure":
                new = Result(**found, outcome="not run")
                result = self.results.setdefault((found["figure"], report.nodeid), new)
                result.seconds += report.duration
                result.measures = measures
                if report.when == "call" or report.outcome != "passed":
                    add_outcome(result, report)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self.results:
            return
        results = list(self.results.values())
        terminalreporter.section("figures")
        terminalreporter.write_line(table(results))
        for path in () if self.worker else self.files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(table(results) + "\n" if path.suffix == ".md" else json.dumps([asdict(r) for r in results]))


def add_outcome(result: Result, report: pytest.TestReport) -> None:
    if report.outcome == "skipped":
        expected = getattr(report, "wasxfail", None)
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        result.outcome = "skipped"
        result.reason = f"fails as expected: {expected}" if expected is not None else text.removeprefix("Skipped: ")
    elif result.outcome != "failed":
        result.outcome = report.outcome
        result.reason = "" if report.outcome == "passed" else f"in {report.when}" if report.when != "call" else ""


# The table


def table(results: Iterable[Result]) -> str:
    """In Markdown, sorted by figure; every figure has a row."""
    rows = [row for figure in FIGURES for row in rows_of(figure, results)]
    widths = [max(len(row[k]) for row in [COLUMNS, *rows]) for k in range(len(COLUMNS))]
    right = {"measured", "bound", "seconds"}
    rule = ["-" * (w - 1) + (":" if name in right else "-") for name, w in zip(COLUMNS, widths, strict=True)]
    lines = []
    for row in [COLUMNS, rule, *rows]:
        cells = zip(COLUMNS, row, widths, strict=True)
        lines.append("| " + " | ".join(c.rjust(w) if n in right else c.ljust(w) for n, c, w in cells) + " |")
    return "\n".join(lines)


def rows_of(figure: str, results: Iterable[Result]) -> Iterator[Row]:
    """A row for all tests of a file that measure the same, or for each number that they measured."""
    best: dict[str, Result] = {}
    for result in results:
        if result.figure == figure and (result.test not in best or best[result.test].weight < result.weight):
            best[result.test] = result
    groups = dict.fromkeys((result.file, result.what) for result in best.values())
    for file, what in groups:
        yield from rows_of_group([r for r in best.values() if (r.file, r.what) == (file, what)])
    if not groups and figure not in ELSEWHERE:
        yield (figure, FIGURES[figure], "", "", "", "", "", f"not run: {LONG}")
    if figure in ELSEWHERE:
        yield (figure, FIGURES[figure], "", "", "", "", "", f"not here: {ELSEWHERE[figure]}")


def rows_of_group(results: Sequence[Result]) -> Iterator[Row]:
    first = results[0]
    functions = {result.function for result in results}
    test = first.function if len(functions) == 1 else f"{first.file}, {len(functions)} tests"
    platforms = ", ".join(dict.fromkeys(result.platform for result in results if result.platform))
    seconds = f"{sum(result.seconds for result in results):.1f}"
    names = dict.fromkeys(name for result in results for name, *_ in result.measures)
    for name in names or [""]:
        measures = [(m, bound) for result in results for n, m, bound in result.measures if n == name]
        measured, bound = worst(measures) if measures else (cases(results), "")
        what = f"{first.what}, {name}" if name else first.what
        yield (first.figure, what, measured, bound, test, platforms, seconds, outcome(results))
        seconds = ""  # of the test, not of each number


def worst(measures: Sequence[tuple[float, float]]) -> Row:
    """The pair (measured, bound) that is nearest to its bound, or farthest beyond."""

    def ratio(pair: tuple[float, float]) -> float:
        measured, bound = pair
        if math.isnan(measured) or bound == 0:
            return 0 if measured == 0 else math.inf
        return measured / bound

    return tuple(f"{value:.3g}" for value in max(measures, key=ratio))


def cases(results: Sequence[Result]) -> str:
    count = sum(result.outcome in ("passed", "failed") for result in results)
    return f"{count} case{'s' * (count != 1)}" if count else ""


def outcome(results: Sequence[Result]) -> str:
    counts = Counter(result.outcome for result in results)
    order = sorted(counts, key=lambda name: ["failed", "passed", "skipped", name].index(name))
    reasons = dict.fromkeys(result.reason.replace("|", "/") for result in results if result.outcome == "skipped")
    phases = dict.fromkeys(r.reason for r in results if r.outcome == "failed" and r.reason)
    text = {"skipped": f" ({'; '.join(reasons)})", "failed": f" ({', '.join(phases)})" if phases else ""}
    return ", ".join(f"{counts[name]} {name}{text.get(name, '')}" for name in order)


# Several runs


def main() -> None:
    parser = argparse.ArgumentParser(description="one table of the figures of several runs")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.json")
    parser.add_argument("--table", type=Path, metavar="FILE.md", help="write it to a file, too")
    arguments = parser.parse_args()
    missing = [str(path) for path in arguments.files if not path.exists()]
    results = [Result(**values) for path in arguments.files if path.exists() for values in json.loads(path.read_text())]
    text = table(results)
    print(text)
    if arguments.table:
        arguments.table.write_text(text + "\n")
    failed = sorted({result.test for result in results if result.outcome == "failed"})
    lines = [f"no results: {name}" for name in missing] + [f"failed: {name}" for name in failed]
    sys.exit("\n".join(lines) or 0)


if __name__ == "__main__":
    main()
