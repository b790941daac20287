"""The cases of a YAML file."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

MEASURED = ("step", "glue", "energy", "barostat", "xml", "create", "minimize", "scaled to zero", "cold start")


@dataclass(frozen=True)
class Case:
    """One table: what is measured of which model in which system, by which backends.

    Attributes
    ----------
    name : title
    measure : one of MEASURED
    model : a key of potentials.POTENTIALS
    backends : in the order of the table
    system : a key of subjects.SUBJECTS; not for "glue"
    platforms : those that are not there are left out
    seconds : of measuring, at least
    sizes, blocks : numbers of particles, and repetitions, of "glue"
    memory : measure peaks, too
    goals : of figures: {backend, key, most or least}, and ``over``, a backend whose figure divides
    """

    name: str
    measure: str
    model: str
    backends: list[str]
    system: str = ""
    platforms: list[str] = field(default_factory=lambda: ["CPU"])
    seconds: float = 10.0
    sizes: list[int] = field(default_factory=list)
    blocks: int = 9
    memory: bool = False
    goals: list[dict[str, Any]] = field(default_factory=list)


def read_cases(path: Path) -> list[Case]:
    """Raises ValueError if an entry is no case."""
    entries: list[dict[str, Any]] = yaml.safe_load(path.read_text())
    known = [f.name for f in fields(Case)]
    cases = []
    for entry in entries:
        wrong = sorted(set(entry) - set(known))
        missing = sorted({"name", "measure", "model", "backends"} - set(entry))
        if wrong or missing:
            raise ValueError(f"{path}: {entry}: {wrong} are not known, {missing} are missing; keys are {known}")
        if entry["measure"] not in MEASURED:
            raise ValueError(f"{path}: {entry['name']} measures {entry['measure']}, which is none of {MEASURED}")
        cases.append(Case(**entry))
    return cases
