"""The results of all ligands in a folder: numbers where they can be trusted, sentences where not."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..simulate.checkpoint import write_text
from ..simulate.options import read_values
from ..simulate.quantities import TIME
from .analysis import OVERLAP, Estimate, bar, mbar
from .options import BAR, COMPLEX, LEGS, SOLVENT, CorrectOptions
from .store import FAILURE, FORWARD, REVERSE, LegFolder

KJ_PER_KCAL = 4.184
DONE, DOUBTFUL, FAILED, UNFINISHED = "done", "doubtful", "failed", "unfinished"
_COLUMNS = (
    *("ligand", "status", "correction_kJ/mol", "error_kJ/mol", "correction_kcal/mol", "error_kcal/mol"),
    *(f"{leg}_{what}" for leg in LEGS for what in ("kJ/mol", "error_kJ/mol", "overlap", "status")),
    "remarks",
)


@dataclass(frozen=True)
class LegResult:
    """What a leg gave; `remark` says why there is no number, or "". Without an estimate nothing can be said yet."""

    folder: LegFolder
    options: CorrectOptions | None
    status: str
    estimate: Estimate | None = None
    remark: str = ""


@dataclass(frozen=True)
class Result:
    """A ligand's legs by name."""

    ligand: str
    legs: dict[str, LegResult]

    @property
    def status(self) -> str:
        """The worst of its legs'."""
        found = {leg.status for leg in self.legs.values()}
        return next((status for status in (FAILED, UNFINISHED, DOUBTFUL) if status in found), DONE)

    @property
    def correction(self) -> tuple[float, float] | None:
        """Complex minus solvent and its standard error in kJ/mol, None if one of the two has no number."""
        values = [self.legs[leg].estimate for leg in LEGS]
        if self.status != DONE or values[0] is None or values[1] is None:
            return None
        return values[0].value - values[1].value, math.hypot(values[0].error, values[1].error)

    @property
    def remarks(self) -> list[str]:
        return [f"{self.ligand}, {name}: {leg.remark}" for name, leg in self.legs.items() if leg.remark]


def results(out: Path) -> list[Result]:
    """Of all ligands in a folder, by name."""
    ligands = sorted({path.parent.parent for leg in LEGS for path in out.glob(f"*/{leg}/*") if path.is_file()})
    return [Result(path.name, {leg: _read(LegFolder(path / leg)) for leg in LEGS}) for path in ligands]


def _read(folder: LegFolder) -> LegResult:
    """A folder that can't be read is a leg that failed: it is not to hide the others."""
    try:
        return leg_result(folder)
    except ValueError as error:
        return LegResult(folder, None, FAILED, None, str(error))


def leg_result(folder: LegFolder) -> LegResult:
    """What a leg has given so far. Raises ValueError if its folder can't be read."""
    record = folder.read_record()
    options = None if record is None else CorrectOptions(**read_values(record["options"], CorrectOptions))
    if (folder / FAILURE).exists():
        reason = (folder / FAILURE).read_text(encoding="utf-8").splitlines()[0]
        return LegResult(folder, options, FAILED, None, reason)
    series = [] if options is None else _series(folder, options)
    if options is None or not series or min(map(len, series)) < options.snapshots:
        done = f"{sum(map(len, series))} of {len(series) * options.snapshots}" if options and series else "none"
        return LegResult(folder, options, UNFINISHED, None, f"not finished, {done} of its numbers are there")
    if options.method == BAR:
        estimate = bar(series[0], series[1], options.temperature)
    else:
        estimate = mbar(options.lambdas, series, options.temperature)
    if estimate.doubt is None:
        return LegResult(folder, options, DONE, estimate)
    return LegResult(folder, options, DOUBTFUL, estimate, f"{estimate.doubt.text}; {_remedy(estimate, options)}")


def _series(folder: LegFolder, options: CorrectOptions) -> list[Any]:
    """Works (kJ/mol) in both directions, or energy gaps of each state."""
    if options.method == BAR:
        tables = [folder.works(direction, options.switch) for direction in (FORWARD, REVERSE)]
    else:
        tables = [folder.gaps(lambda_) for lambda_ in options.lambdas]
    return [table.column(options.snapshots) for table in tables]


def _remedy(estimate: Estimate, options: CorrectOptions) -> str:
    assert estimate.doubt is not None
    if estimate.doubt.cause != OVERLAP:
        return f"repeat the command with more samples, like --snapshots {2 * options.snapshots}"
    if options.method == BAR:
        return (
            f"repeat the command with longer switches, like --switch {TIME.format(3 * options.switch).replace(' ', '')}"
        )
    return f"begin in another folder with more states, like --states {2 * options.states - 1}"


def write_table(out: Path, found: Sequence[Result]) -> None:
    """results.csv and results.json."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(result) for result in found)
    write_text(out / "results.csv", text.getvalue())
    write_text(out / "results.json", json.dumps([_details(result) for result in found], indent=1))


def _row(result: Result) -> dict[str, str]:
    row = dict.fromkeys(_COLUMNS, "-") | {"ligand": result.ligand, "status": result.status}
    if result.correction is not None:
        value, error = result.correction
        row |= {"correction_kJ/mol": f"{value:.4f}", "error_kJ/mol": f"{error:.4f}"}
        row |= {"correction_kcal/mol": f"{value / KJ_PER_KCAL:.4f}", "error_kcal/mol": f"{error / KJ_PER_KCAL:.4f}"}
    for name, leg in result.legs.items():
        row[f"{name}_status"] = leg.status
        if leg.estimate is not None:
            row[f"{name}_overlap"] = f"{leg.estimate.least_overlap:.3g}"
        if leg.estimate is not None and leg.status == DONE:
            row |= {f"{name}_kJ/mol": f"{leg.estimate.value:.4f}", f"{name}_error_kJ/mol": f"{leg.estimate.error:.4f}"}
    return row | {"remarks": "; ".join(result.remarks)}


def _details(result: Result) -> dict[str, Any]:
    value, error = result.correction or (None, None)
    return {
        "ligand": result.ligand,
        "status": result.status,
        "correction_kJ/mol": value,
        "error_kJ/mol": error,
        "legs": {name: _leg_details(leg) for name, leg in result.legs.items()},
    }


def _leg_details(leg: LegResult) -> dict[str, Any]:
    found: dict[str, Any] = {"status": leg.status, "remark": leg.remark}
    if leg.options is not None:
        found["method"] = leg.options.method
    if (estimate := leg.estimate) is not None:
        if leg.status == DONE:
            found |= {"value_kJ/mol": estimate.value, "error_kJ/mol": estimate.error}
            found |= {"halves_kJ/mol": list(estimate.halves), "gaussian_crossing_kJ/mol": estimate.crossing}
        found |= {"overlap": np.asarray(estimate.overlap).tolist(), "independent_samples": list(estimate.independent)}
    return found


def text_table(found: Sequence[Result]) -> str:
    """The table in Markdown."""
    head = ["ligand", "correction (kJ/mol)", "(kcal/mol)", "complex (kJ/mol)", "solvent (kJ/mol)", "overlap", "status"]
    rows = [[_plain(cell) for cell in cells(result)] for result in found]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in padded)


def cells(result: Result) -> list[str]:
    """A ligand's row: correction in both units, both legs, least overlap, status."""
    legs = [result.legs[leg].estimate if result.legs[leg].status == DONE else None for leg in (COMPLEX, SOLVENT)]
    overlaps = [leg.estimate.least_overlap for leg in result.legs.values() if leg.estimate is not None]
    value, error = result.correction or (None, None)
    return [
        result.ligand,
        _with_error(value, error),
        _with_error(*(None if x is None else x / KJ_PER_KCAL for x in (value, error))),
        *(_with_error(*((leg.value, leg.error) if leg else (None, None))) for leg in legs),
        f"{min(overlaps):.2g}" if overlaps else "-",
        result.status,
    ]


def _with_error(value: float | None, error: float | None) -> str:
    return "-" if value is None else f"{value:.2f} \N{PLUS-MINUS SIGN} {error:.2f}"


def _plain(text: str) -> str:
    return text.replace("|", "/")
