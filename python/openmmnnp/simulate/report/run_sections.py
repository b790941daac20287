"""The sections on the runs: provenance, speed, and what all this does not show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import plots
from .drawing import drawing
from .geometry import rotatable_torsions
from .page import Section, number
from .run_folder import Missing, RunRecord
from .study import Study

__all__ = ["limits", "provenance", "speed"]

_UNITS = ("dtype", "length_unit", "energy_unit")


def provenance(section: Section, study: Study) -> None:
    """What ran: versions, hashes, options; where runs differ; the MM terms that the model replaces."""
    info = study.main.info
    rows = []
    for run in study.runs:
        machine, length = run.info.get("machine", {}), run.production_length
        platform = ", ".join(str(machine[name]) for name in ("platform", "precision") if machine.get(name))
        rows.append([run.label, str(run.folder), str(run.info.get("created", "")), platform, _length(length)])
    section.table("Runs", ["run", "folder", "created", "platform", "production"], rows, numbers=False)
    table = [
        [group, "; ".join(f"{k} {v}" if k else v for k, v in facts.items())] for group, facts in _facts(info).items()
    ]
    section.table(f"What ran ({study.main.label})", ["", ""], table, numbers=False)
    picture = _picture(study.main)
    if picture:
        section.figure(picture, "The region, with the names of its atoms in topology.pdb; rotatable bonds are marked.")
    said = [{(g, k): v for g, facts in _facts(run.info).items() for k, v in facts.items()} for run in study.runs]
    differ = [key for key in dict.fromkeys(k for found in said for k in found) if len({f.get(key) for f in said}) > 1]
    if len(study.runs) > 1:
        head = ["", *(run.label for run in study.runs)]
        lines = [[" ".join(key).strip(), *(found.get(key, "") for found in said)] for key in differ]
        section.table("What differs between the runs", head, lines, numbers=False)
    removed = [[str(cell) if cell is not None else "" for cell in row] for row in info.get("removed") or ()]
    if removed:
        section.table("MM terms of the region that the model replaces", ["force", "terms", "removed", "kept"], removed)
    else:
        section.note("No MM terms were removed.")
    section.numbers |= {
        "runs": {run.label: dict(run.info) for run in study.runs},
        "differ": [" ".join(key) for key in differ],
    }


def _picture(run: RunRecord) -> plots.Image | None:
    try:
        turned = [torsion[1:3] for torsion in rotatable_torsions(run.numbers, run.bonds)]
        return drawing(run.numbers, run.names, run.bonds, int(run.info["region"].get("charge") or 0), turned)
    except Missing:
        return None


def _facts(info: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """run.yaml as texts, by group and name."""
    region, model = info["region"], dict(info.get("model") or {})
    groups: dict[str, dict[str, Any]] = {
        "versions": {"openmm-nnp": info.get("openmm-nnp"), **(info.get("versions") or {})},
        "machine": info.get("machine") or {},
        "options": info.get("options") or {},
        "region": {"": f"{len(region['atoms'])} atoms, charge {region.get('charge', 'unknown')}"},
    }
    for role, file in (info.get("inputs") or {}).items():
        groups[f"input {role}"] = {"": file.get("path"), "SHA-256": file.get("sha256")}
    groups["model"] = {name: model.get(name) for name in ("name", "path", "sha256")}
    groups["model's units"] = {name.replace("_", " "): model.get(name) for name in _UNITS}
    groups |= {f"model's {name}": {"": model.get(name)} for name in ("authors", "license", "citation", "domain")}
    texts = {
        group: {k: _text(v) for k, v in facts.items() if v not in (None, "", [])} for group, facts in groups.items()
    }
    return {group: facts for group, facts in texts.items() if facts}


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


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
    mm, ml = ([rates[r.label] for r in study.runs if r.label in rates and r.mm_only == kind] for kind in (True, False))
    if mm and ml:
        ratio = (sum(ml) / len(ml)) / (sum(mm) / len(mm))
        section.text(f"On average ML/MM ran at {number(ratio)} times the speed of MM.")
        section.numbers["ratio"] = ratio


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
    said = _about_length(longest)
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


def _about_length(picoseconds: float) -> str:
    if not picoseconds:
        return "There is no production yet."
    if picoseconds < 100:
        return f"A run of {_length(picoseconds)} shows that it runs."
    return f"The longest run has {_length(picoseconds)} of production. Whether that is enough, this page can't tell."


def _length(picoseconds: float) -> str:
    return f"{number(picoseconds / 1000)} ns" if picoseconds >= 1000 else f"{number(picoseconds)} ps"
