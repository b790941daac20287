"""The sections on the runs: provenance, energies, structure of the ligand, speed; what all this does not show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import plots
from .analysis import mean
from .geometry import dihedrals, rotatable_torsions
from .page import Section, number, plus_minus
from .run_folder import Missing, Run
from .study import Study
from .trajectory import Trajectory, ligand_rmsd, read_trajectory

__all__ = ["energies", "limits", "provenance", "speed", "structure"]

Array = NDArray[np.float64]

BINS = np.linspace(-180, 180, 37)
DAGGER = "\N{DAGGER}"


def provenance(section: Section, study: Study) -> None:
    """What ran: versions, hashes, options; where runs differ; the MM terms that the model replaces."""
    info = study.main.info
    rows = []
    for run in study.runs:
        machine, length = run.info.get("machine", {}), run.production_length
        platform = [machine.get("platform"), machine.get("precision")]
        rows.append([run.label, str(run.folder), str(run.info.get("created", "")), _words(platform), _length(length)])
    section.table("Runs", ["run", "folder", "created", "platform", "production"], rows, numbers=False)
    facts = _facts(info)
    facts["region"] = f"{len(study.main.atoms)} atoms, charge {info['region'].get('charge', 'unknown')}"
    section.table(f"What ran ({study.main.label})", ["", ""], facts.items(), numbers=False)
    all_facts = [_facts(run.info) for run in study.runs]
    names = dict.fromkeys(name for found in all_facts for name in found)
    differ = [name for name in names if len({found.get(name, "") for found in all_facts}) > 1 and name != "created"]
    if len(study.runs) > 1:
        head = ["", *(run.label for run in study.runs)]
        lines = [[name, *(found.get(name, "") for found in all_facts)] for name in differ]
        section.table("What differs between the runs", head, lines, numbers=False)
    removed = [[str(cell) if cell is not None else "" for cell in row] for row in info.get("removed") or ()]
    if removed:
        section.table("MM terms of the region that the model replaces", ["force", "terms", "removed", "kept"], removed)
    else:
        section.note("No MM terms were removed.")
    section.numbers |= {"runs": {run.label: dict(run.info) for run in study.runs}, "differ": differ}


def _facts(info: Mapping[str, Any]) -> dict[str, str]:
    """run.yaml as names and texts."""
    facts = {"openmm-nnp": str(info.get("openmm-nnp", ""))}
    facts |= {name: str(value) for name, value in (info.get("versions") or {}).items()}
    facts |= {name: str(value) for name, value in (info.get("machine") or {}).items()}
    facts |= {f"option {name}": str(value) for name, value in (info.get("options") or {}).items()}
    for role, file in (info.get("inputs") or {}).items():
        facts[f"input {role}"] = f"{file.get('path')}, SHA-256 {file.get('sha256')}"
    for name, value in (info.get("model") or {}).items():
        facts[f"model {name}".replace("_", " ")] = _words(value) if isinstance(value, list) else str(value)
    return {name: value for name, value in facts.items() if value not in ("", "None")}


def energies(section: Section, study: Study) -> None:
    """The log: energies by force group, temperature, density, over time and on average."""
    logs = {run: run.log for run in study.runs if _has_log(run, section)}
    columns = list(dict.fromkeys(name for log in logs.values() for name in log if _is_shown(name)))
    if not columns:
        raise Missing("No run logged anything yet.")
    content = []
    for name in columns:
        curves = [
            plots.Curve(run.label, log["time_ps"], log[name], _style(run), _rank(run, study))
            for run, log in logs.items()
            if np.isfinite(log.get(name, np.array([]))).any()
        ]
        if curves:
            content.append(plots.Panel(_quantity(name), curves))
    log = next(iter(logs.values()))
    before = log["time_ps"][log["phase"] != "production"]
    shaded = float(before[-1]) if len(before) else None
    grey = " Equilibration is grey." if len(before) else ""
    image = plots.panels(content, "time (ps)", "", height=1.5, shaded=shaded)
    section.figure(image, f"The log of the runs: energies by force group, temperature, box.{grey}")
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


def _has_log(run: Run, section: Section) -> bool:
    try:
        if run.log:
            return True
        section.note(f"The log of {run.label} is empty.")
    except Missing as missing:
        section.note(str(missing))
    return False


def _is_shown(name: str) -> bool:
    return name not in ("phase", "step", "time_ps", "changed_bonds", "speed_ns/day")


def _quantity(column: str) -> str:
    """Text for a column "name_unit" of the log."""
    name, _, unit = column.rpartition("_")
    return f"{name.replace('_', ' ')} ({unit.replace('nm3', 'nm³')})"


def _cell(estimate: Any) -> str:
    if estimate is None:
        return number(float("nan"))
    return plus_minus(estimate.value, estimate.error) + ("" if estimate.reliable else DAGGER)


def structure(section: Section, study: Study) -> None:
    """RMSD of the ligand and histograms of its torsions."""
    found: dict[Run, Trajectory] = {}
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
    image = plots.panels([plots.Panel("", curves)], "time (ps)", "RMSD (Å)", height=1.9)
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


def _torsions(section: Section, study: Study, regions: Mapping[Run, Array]) -> None:
    main = study.main
    torsions = rotatable_torsions(main.numbers, main.bonds)
    if not torsions:
        section.text("The region has no rotatable bonds.")
        return
    counts = {
        run: np.array([np.histogram(angles, BINS)[0] for angles in dihedrals(positions, torsions).T])
        for run, positions in regions.items()
    }
    centers = (BINS[1:] + BINS[:-1]) / 2
    content = []
    for k, torsion in enumerate(torsions):
        curves = []
        for style, label in (("mm", "MM"), ("model", "ML/MM")):
            seeds = [count[k] for run, count in counts.items() if _style(run) == style]
            if len(seeds) > 1:
                curves += [plots.Curve(label, centers, c / c.sum(), style, 1, True) for c in seeds]
            if seeds:
                pooled = np.sum(seeds, axis=0)
                curves.append(plots.Curve(label, centers, pooled / pooled.sum(), style))
        content.append(plots.Panel("\N{EN DASH}".join(main.names[i] for i in torsion), curves))
    image = plots.panels(content, "torsion (degrees)", "fraction of frames", angles=True, fill=True, shared=True)
    several = " Thin lines: single runs; thick: pooled." if len(regions) > 2 else ""
    section.figure(image, f"Torsions about the rotatable bonds in production, in bins of 10 degrees.{several}")
    section.numbers["torsions"] = {
        "edges": BINS.tolist(),
        "atoms": torsions,
        "counts": {run.label: count.tolist() for run, count in counts.items()},
    }


def speed(section: Section, study: Study) -> None:
    """ns/day of each run, and the milliseconds of a step by stage."""
    rates, steps = {}, {}
    for run in study.runs:
        try:
            timing = run.timing
        except Missing as missing:
            section.note(f"{missing} It was killed, or still runs.")
            continue
        rates[run.label] = float(timing["ns_per_day"])
        steps[run.label] = _stages(timing)
    if not rates:
        raise Missing("No run left its timing.")
    section.text(
        "Speed of production by the clock of each run, with all that the run wrote. Stages are those of the model's "
        "force; what they leave of a step is OpenMM's. Runs on other machines or beside other programs do not compare."
    )
    section.figure(plots.speed(rates, steps), "Speed, and where the time of a step goes.")
    names = list(dict.fromkeys(stage for run in steps.values() for stage in run))
    rows = [
        [label, number(rate), *(number(steps[label].get(name, float("nan"))) for name in names)]
        for label, rate in rates.items()
    ]
    section.table("ns/day, and milliseconds per step by stage", ["", "ns/day", *names], rows)
    section.numbers |= {"ns_per_day": rates, "milliseconds_per_step": steps}


def _stages(timing: Mapping[str, Any]) -> dict[str, float]:
    """Milliseconds per step by stage; the last entry is what the stages leave."""
    steps = timing.get("steps") or 0
    total = timing.get("milliseconds_per_step") or (1000 * timing["seconds"] / steps if steps else float("nan"))
    often = (timing.get("evaluations") or steps) / steps if steps else 1.0
    stages = {str(name): float(value) * often for name, value in (timing.get("stages_ms") or {}).items()}
    return stages | {"OpenMM and the rest": max(0.0, float(total) - sum(stages.values()))}


def limits(section: Section, study: Study) -> None:
    """What the report does not show."""
    longest = max(run.production_length for run in study.runs)
    said = (
        f"A run of {_length(longest)} shows that it runs."
        if longest < 100
        else f"The longest run has {_length(longest)} of production. Whether that is enough, this page can't tell."
    )
    section.text(said)
    section.items(
        [
            "No claim about binding: neither an affinity nor that the pose is right follows from anything here.",
            "No claim that the method of the labels (GFN2-xTB, if the labels are its) is the truth: parity and torsion "
            "profiles compare with it, and a model can't be better than its labels.",
            "No claim about other ligands, or other charges and protonation states of this one.",
            "No claim about convergence: means, errors and histograms are of what was sampled, not of what was missed.",
            "Interactions of the region with its surroundings are those of the force field, which nothing here tests.",
        ]
    )
    section.numbers |= {"longest_production_ps": longest, "sentence": said}


def _length(picoseconds: float) -> str:
    return f"{number(picoseconds / 1000)} ns" if picoseconds >= 1000 else f"{number(picoseconds)} ps"


def _style(run: Run) -> str:
    return "mm" if run.mm_only else "model"


def _rank(run: Run, study: Study) -> int:
    """The place of a run among those of its kind."""
    return [other for other in study.runs if other.mm_only == run.mm_only].index(run)


def _words(values: Sequence[Any]) -> str:
    return ", ".join(str(value) for value in values if value)
