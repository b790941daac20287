"""The results as a page, with histograms of works, dE/dlambda and overlap."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._libraries import VERSION
from ..simulate.checkpoint import write_text
from ..simulate.folder import now
from ..simulate.report.page import Section, number, page
from ..simulate.report.plots import Curve, Image, Panel, panels
from .analysis import LEAST_OVERLAP, LEAST_SAMPLES, MOST_DRIFT
from .options import BAR, CorrectOptions
from .store import FORWARD, PROFILE, REVERSE, LegFolder
from .table import LegResult, Result, cells

REPORT = "report.html"
_BINS = 25


def write_report(out: Path, found: Sequence[Result]) -> Path:
    """Write report.html in a folder of results, and return its path."""
    sections = [_results(found), *(_ligand(result) for result in found), _limits()]
    path = out / REPORT
    write_text(path, page("MM to ML/MM corrections", f"openmm-nnp {VERSION}, {now()}", sections))
    return path


def _results(found: Sequence[Result]) -> Section:
    section = Section("Corrections")
    section.text(
        "The free energy of going from MM to ML/MM in the complex minus that in the solvent, to be added to a binding "
        "free energy computed with MM. Values are with one standard error. Those of single legs hold the zero of the "
        "model's energy, which cancels in the difference."
    )
    head = ["ligand", "correction (kJ/mol)", "(kcal/mol)", "complex (kJ/mol)", "solvent (kJ/mol)", "overlap", "status"]
    section.table("All ligands", head, map(cells, found))
    for result in found:
        for remark in result.remarks:
            section.note(remark)
    return section


def _ligand(result: Result) -> Section:
    section = Section(result.ligand)
    legs = {n: leg for n, leg in result.legs.items() if leg.estimate is not None and leg.options is not None}
    if not legs:
        section.note("Neither leg is finished.")
        return section
    section.table(
        "Legs",
        ["leg", "method", "independent samples", "halves (kJ/mol)", "Gaussian crossing"],
        map(_row, legs.items()),
    )
    works = {name: leg for name, leg in legs.items() if leg.options and leg.options.method == BAR}
    if works:
        section.figure(_histograms(works), "Works of switches to the model, and negative works of switches back.")
    section.figure(_slopes(legs), "Mean dE/dlambda. The curves of both directions meet where switches are slow enough.")
    for name, leg in legs.items():
        section.table(f"Overlap matrix, {name}", ["state", *map(str, range(_size(leg)))], _matrix(leg))
    return section


def _row(item: tuple[str, LegResult]) -> list[str]:
    name, leg = item
    assert leg.estimate is not None and leg.options is not None
    if leg.remark:
        halves = crossing = "-"
    else:
        halves = ", ".join(f"{value:.2f}" for value in leg.estimate.halves)
        crossing = "-" if leg.estimate.crossing is None else f"{leg.estimate.crossing:.2f}"
    return [name, leg.options.method.upper(), ", ".join(map(str, leg.estimate.independent)), halves, crossing]


def _size(leg: LegResult) -> int:
    assert leg.estimate is not None
    return len(leg.estimate.overlap)


def _matrix(leg: LegResult) -> list[list[str]]:
    assert leg.estimate is not None
    return [[str(k), *(number(value, 2) for value in row)] for k, row in enumerate(leg.estimate.overlap)]


def _works(folder: LegFolder, options: CorrectOptions) -> list[Any]:
    """Rows of work and dE/dlambda in parts, of both directions; those back with the sign and order of those there."""
    found = []
    for direction, sign in ((FORWARD, 1), (REVERSE, -1)):
        rows = np.array(list(folder.works(direction, options.switch).read(options.snapshots).values()))
        found.append(np.column_stack([sign * rows[:, 0], rows[:, 1:][:, ::sign]]))
    return found


def _histograms(legs: dict[str, LegResult]) -> Image:
    content = []
    for name, leg in legs.items():
        assert leg.options is not None
        works = [rows[:, 0] for rows in _works(leg.folder, leg.options)]
        middle = np.mean([w.mean() for w in works])
        edges = np.histogram_bin_edges(np.concatenate(works) - middle, _BINS)
        curves = [
            Curve(label, edges, np.histogram(w - middle, edges)[0].astype(float), style)
            for label, w, style in zip(("MM to model", "model to MM, negative"), works, ("mm", "model"), strict=True)
        ]
        content.append(Panel(f"{name}, mean {number(float(middle), 6)}", curves))
    return panels(content, "work \N{MINUS SIGN} mean (kJ/mol)", "switches", columns=2, height=2.2, from_zero=True)


def _slopes(legs: dict[str, LegResult]) -> Image:
    content = []
    for name, leg in legs.items():
        assert leg.options is not None
        if leg.options.method == BAR:
            x = (np.arange(PROFILE) + 0.5) / PROFILE
            series = [rows[:, 1:].mean(axis=0) for rows in _works(leg.folder, leg.options)]
            labels = [("MM to model", "mm"), ("model to MM", "model")]
        else:
            x = np.array(leg.options.lambdas)
            series = [np.array([leg.folder.gaps(value).column(leg.options.snapshots).mean() for value in x])]
            labels = [("equilibrium", "model")]
        middle = np.mean(series)
        curves = [Curve(*label[:1], x, y - middle, label[1]) for label, y in zip(labels, series, strict=True)]
        content.append(Panel(f"{name}, mean {number(float(middle), 6)}", curves))
    return panels(content, "lambda", "dE/dlambda \N{MINUS SIGN} mean (kJ/mol)", columns=2, height=2.2)


def _limits() -> Section:
    section = Section("When a number is given, and what it does not say")
    section.items(
        [
            f"Neighboring states overlap by at least {LEAST_OVERLAP:g}, an element of the overlap matrix (Klimovich, "
            "Shirts and Mobley, J. Comput. Aided Mol. Des. 2015, 29, 397).",
            f"Each state has at least {LEAST_SAMPLES} independent samples, counted by their statistical inefficiency.",
            f"The estimates of the first and second half differ by less than {MOST_DRIFT:g} standard errors.",
            "None of this sees a conformation, a binding mode or a protonation state that was never sampled: repeat a "
            "correction with another --seed, and with another start.",
        ]
    )
    return section
