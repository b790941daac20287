"""The sections on the dynamics: energies by force group, RMSD of the ligand, its torsions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from . import plots
from .analysis import Estimate, mean
from .geometry import dihedrals, rotatable_torsions
from .page import Section, number, plus_minus
from .run_folder import Missing, RunRecord
from .study import Study
from .trajectory import Trajectory, ligand_rmsd, read_trajectory

__all__ = ["energies", "structure"]

Array = NDArray[np.float64]

BINS = np.linspace(-180, 180, 37)
DAGGER = "\N{DAGGER}"
RELATIVE = ("potential_kJ/mol", "model_kJ/mol")  # these hold the model's arbitrary zero of energy


def energies(section: Section, study: Study) -> None:
    """The log: energies by force group, temperature, density, over time and on average."""
    logs = {run: run.log for run in study.runs if _has_log(run, section)}
    columns = list(dict.fromkeys(name for log in logs.values() for name in log if _is_shown(name, log[name])))
    if not columns:
        raise Missing("No run logged anything yet.")
    content = list(_panels(columns, logs, study))
    log = next(iter(logs.values()))
    equilibrated = bool((log["phase"] != "production").any())
    grey = " Equilibration, before 0, is grey." if equilibrated else ""
    if content:
        image = plots.panels(content, "time (ps)", "", height=1.5, shaded=0.0 if equilibrated else None)
        section.figure(image, f"The log of the runs. What did not change is in the table only.{grey}")
    rows, numbers, short = [], {}, False
    for run in logs:
        try:
            production = run.production
        except Missing as missing:
            section.note(str(missing))
            continue
        found = {name: mean(production[name]) for name in columns if name in production}
        found = {name: estimate for name, estimate in found.items() if estimate.samples}
        short |= any(not estimate.reliable for estimate in found.values())
        numbers[run.label] = {name: estimate._asdict() for name, estimate in found.items()}
        rows.append([run.label, *(_cell(found.get(name)) for name in columns)])
        if np.nansum(production.get("changed_bonds", np.zeros(1))):
            section.note(f"Bonds changed in {run.label}: the molecule is not what it was.")
    if rows:
        table = zip(["", *map(_quantity, columns)], *rows, strict=True)  # a row for each quantity
        section.table("Means in production, with standard errors from blocks", next(table), table)
    if short:
        section.note(
            f"{DAGGER} Fewer than 10 independent samples: the run is too short for this mean, and its error is no more "
            "than an order of magnitude."
        )
    section.numbers |= {"production": numbers}


def _panels(
    columns: Iterable[str], logs: Mapping[RunRecord, Mapping[str, Array]], study: Study
) -> Iterable[plots.Panel]:
    """A panel for each column that changes with time in some run."""
    for name in columns:
        curves = []
        for run, log in logs.items():
            values = log.get(name, np.array([]))
            if np.isfinite(values).any():
                level = float(np.nanmean(values)) if name in RELATIVE else 0.0
                curves.append(plots.Curve(run.label, log["time_ps"], values - level, _style(run), _rank(run, study)))
        if any(np.nanmax(curve.y) > np.nanmin(curve.y) for curve in curves):
            relative = " \N{MINUS SIGN} mean" if name in RELATIVE else ""
            yield plots.Panel(_quantity(name, relative), curves)


def _has_log(run: RunRecord, section: Section) -> bool:
    try:
        if run.log:
            return True
        section.note(f"The log of {run.label} is empty.")
    except Missing as missing:
        section.note(str(missing))
    return False


def _is_shown(name: str, values: Array) -> bool:
    hidden = ("phase", "step", "time_ps", "changed_bonds", "speed_ns/day")
    return name not in hidden and bool(np.isfinite(values).any())


def _quantity(column: str, suffix: str = "") -> str:
    """Text for a column "name_unit" of the log."""
    name, _, unit = column.rpartition("_")
    return f"{name.replace('_', ' ')}{suffix} ({unit.replace('nm3', 'nm³')})"


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return number(float("nan"))
    return plus_minus(estimate.value, estimate.error) + ("" if estimate.reliable else DAGGER)


def structure(section: Section, study: Study) -> None:
    """RMSD of the ligand and histograms of its torsions."""
    found: dict[RunRecord, Trajectory] = {}
    for run in study.runs:
        try:
            found[run] = read_trajectory(run)
        except Missing as missing:
            section.note(str(missing))
    if not found:
        raise Missing("There is no trajectory to look at.")
    main = study.main
    heavy = np.flatnonzero(np.array(main.numbers) > 1)
    heavy = heavy if len(heavy) > 2 else np.arange(len(main.numbers))
    protein = all(trajectory.backbone.shape[1] for trajectory in found.values())
    fitted = "the protein's backbone" if protein else "the ligand itself, since there is no protein"
    section.text(
        f"RMSD of the ligand's {len(heavy)} heavy atoms from their place in topology.pdb, after superposition of "
        f"{fitted}. Molecules were made whole and put beside each other; equivalent atoms were not exchanged."
    )
    rmsds = {run: 10 * ligand_rmsd(trajectory, heavy) for run, trajectory in found.items()}
    curves = [plots.Curve(r.label, found[r].times, y, _style(r), _rank(r, study)) for r, y in rmsds.items()]
    image = plots.panels([plots.Panel("", curves)], "time (ps)", "RMSD (Å)", height=1.9, from_zero=True)
    section.figure(image, f"RMSD of the ligand in production, after superposition of {fitted}.")
    rows = [[r.label, str(len(y)), _cell(mean(y)), number(y.max()), number(y[-1])] for r, y in rmsds.items()]
    section.table("RMSD of the ligand, Å", ["", "frames", "mean", "largest", "last"], rows)
    if any(not mean(y).reliable for y in rmsds.values()):
        section.note(f"{DAGGER} Fewer than 10 independent samples.")
    section.numbers |= {"unit": "angstrom", "superposed": "backbone" if protein else "ligand"}
    section.numbers["rmsd"] = {
        run.label: {"mean": mean(y)._asdict(), "largest": y.max(), "last": y[-1]} for run, y in rmsds.items()
    }
    _torsions(section, study, {run: trajectory.region[1:] for run, trajectory in found.items()})


def _torsions(section: Section, study: Study, regions: Mapping[RunRecord, Array]) -> None:
    main = study.main
    torsions = rotatable_torsions(main.numbers, main.bonds)
    if not torsions:
        section.text("The region has no rotatable bonds.")
        return
    counts = {
        run: np.array([np.histogram(angles, BINS)[0] for angles in dihedrals(positions, torsions).T])
        for run, positions in regions.items()
    }
    content = []
    for k, torsion in enumerate(torsions):
        curves = []
        for style, label in (("mm", "MM"), ("model", "ML/MM")):
            seeds = [count[k] for run, count in counts.items() if _style(run) == style]
            if len(seeds) > 1:
                curves += [plots.Curve(label, BINS, c / c.sum(), style, 1, True) for c in seeds]
            if seeds:
                pooled = np.sum(seeds, axis=0)
                curves.append(plots.Curve(label, BINS, pooled / pooled.sum(), style))
        content.append(plots.Panel("\N{EN DASH}".join(main.names[i] for i in torsion), curves))
    image = plots.panels(content, "torsion (degrees)", "fraction of frames", angles=True, shared=True, from_zero=True)
    several = " Thin lines: single runs; thick: pooled." if len(regions) > 2 else ""
    section.figure(image, f"Torsions about the rotatable bonds in production, in bins of 10 degrees.{several}")
    section.numbers["torsions"] = {
        "edges": BINS.tolist(),
        "atoms": torsions,
        "counts": {run.label: count.tolist() for run, count in counts.items()},
    }


def _style(run: RunRecord) -> str:
    return "mm" if run.mm_only else "model"


def _rank(run: RunRecord, study: Study) -> int:
    """The place of a run among those of its kind."""
    return [other for other in study.runs if other.mm_only == run.mm_only].index(run)
