"""Is a model fit for dynamics? The file is checked as a simulation runs it: in a Context, through NNPForce.

sample      the geometry that it is checked with
subject     the model in a Context, and when two evaluations agree
verdict     what was found, and the table
gradient, symmetry, edges, smoothness, units, cost, dynamics
            the checks, in the order in which they are made
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable

import openmm

from ..atoms import Atoms
from ..force import NNPForce
from ..spec import NO_ENERGY
from .cost import cost, peak_memory
from .dynamics import dynamics
from .edges import edges, separate
from .gradient import gradient
from .sample import choose
from .smoothness import neighbors, smoothness
from .subject import Bench, Subject
from .symmetry import symmetry
from .units import units
from .variables import variables
from .verdict import Verdict, as_json, table

__all__ = ["GROUPS", "Verdict", "as_json", "check", "table"]

GROUPS = ("references", "gradient", "symmetry", "edges", "separate", "smoothness", "neighbors", "units", "cost", "nve")
"""Names of the groups of checks."""


def check(
    path: str | os.PathLike[str],
    atoms: Atoms | None = None,
    *,
    platform: str = "Reference",
    groups: Collection[str] = GROUPS,
    progress: Callable[[str], object] = lambda group: None,
) -> list[Verdict]:
    """Check a model file, and return what was found.

    Of a model that gives collective variables and no energy, references and the gradient of each component are checked.

    Raises ValueError or openmm.OpenMMException if the file is damaged, does not take the atoms, or there is no such
    platform; whatever goes wrong later is a verdict.

    Parameters
    ----------
    path : model.pt2 or model.pt
    atoms : to check it with; None: the largest of the references in its spec, or atoms made up for the spec
    platform : where it is run
    groups : which of :data:`GROUPS` to check; "nve" takes half of the time
    progress : called with the name of a group before it is checked
    """
    unknown = sorted(set(groups) - set(GROUPS))
    if unknown:
        raise ValueError(f"the groups of checks {unknown} were asked for; known are {', '.join(GROUPS)}")
    openmm.Platform.getPlatform(platform)  # raises if there is none
    force, before = NNPForce(path), peak_memory()
    spec = force.getModelSpec() if force.hasModelSpec() else None
    alone = spec is not None and spec.energy_unit == NO_ENERGY
    variable = (spec.summed_output, 0) if spec is not None and alone else None
    subject = Subject(path, spec, choose(spec, atoms), platform, variable)
    if alone:
        return _of_variables(subject, groups)
    checks: dict[str, Callable[[], Iterable[Verdict]]] = {
        "references": lambda: _references(subject),
        "gradient": lambda: gradient(subject),
        "symmetry": lambda: symmetry(subject),
        "edges": lambda: edges(subject),
        "separate": lambda: separate(subject),
        "smoothness": lambda: smoothness(subject),
        "neighbors": lambda: neighbors(subject),
        "units": lambda: units(subject),
        "cost": lambda: cost(subject, before),
        "nve": lambda: dynamics(subject),
    }
    found = _evaluated(subject)
    for name, act in checks.items():
        if name in groups and (found[0].state == "ok" or name == "references"):
            progress(name)
            found += _guarded(name, act)
    return found


def _of_variables(subject: Subject, groups: Collection[str]) -> list[Verdict]:
    found = [verdict for verdict in _guarded("references", lambda: _references(subject)) if "references" in groups]
    return found + _guarded("gradient", lambda: variables(subject, groups))


def _evaluated(subject: Subject) -> list[Verdict]:
    """Can the model be evaluated at all?"""
    try:
        energy, _ = subject.here
    except openmm.OpenMMException as error:
        return [Verdict("evaluation", "fail", f"{error}")]
    n, source = subject.sample.n, subject.sample.source
    return [Verdict("evaluation", "ok", f"kJ/mol, {n} particles of {source}, {subject.dtype}", energy)]


def _references(subject: Subject) -> list[Verdict]:
    """The plugin's own check, made when a Context is created."""
    count = len(subject.spec.references) if subject.spec is not None else 0
    if not count:
        return [Verdict("references", "skipped", "the spec holds none")]
    Bench(subject, subject.sample, references=True)
    return [Verdict("references", "ok", f"the model agrees with the {count} results of its exporter")]


def _guarded(name: str, act: Callable[[], Iterable[Verdict]]) -> list[Verdict]:
    """What was found until the model could not go on, which is a finding, too."""
    found: list[Verdict] = []
    try:
        found.extend(act())
    except openmm.OpenMMException as error:
        found.append(Verdict(name, "fail", str(error)))
    return found
