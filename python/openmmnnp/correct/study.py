"""The ligands of a command and their legs: runs what is left of them, and writes the results."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..simulate.options import read_values
from ..simulate.progress import Bar
from ..simulate.signals import ended_by_signal
from .analysis import load_pymbar
from .cluster import run_all
from .options import LEGS, CorrectOptions, check
from .prepare import Job, check_unchanged
from .store import LegFolder
from .table import DONE, DOUBTFUL, Result, results, text_table, write_table

FINE, NOT_DONE, NOT_TRUSTED = 0, 1, 3  # exit statuses
LIGANDS = "ligands"  # in YAML: options of their own by name


def correct(values: Mapping[str, Any]) -> int:
    """Run the corrections that options by name describe, as text or as YAML holds them, and return an exit status.

    `values` may hold the options of single ligands under `ligands`, by the name of each. 0: every ligand has a number;
    1: some failed; 3: of some the number can't be trusted, and is not given.

    Raises ValueError for options that do not fit and for folders that were begun with others, ImportError if a package
    is missing, OSError if there is no cluster.
    """
    load_pymbar()
    ligands = read_ligands(values)
    first = next(iter(ligands.values()))
    out = first.out
    if out is None:
        raise ValueError("--out is needed: name a folder for the legs and results")
    jobs = [Job(name, leg, out.absolute() / name / leg, options) for name, options in ligands.items() for leg in LEGS]
    for job in jobs:
        check(job.options)
        check_unchanged(job, LegFolder(job.folder).read_record())
    with ended_by_signal():
        _run(jobs, first)
    found = results(out.absolute())
    write_table(out, found)
    from .report import write_report  # loads matplotlib

    write_report(out, found)
    _say(found, out)
    return _status([result for result in found if result.ligand in ligands])


def read_ligands(values: Mapping[str, Any]) -> dict[str, CorrectOptions]:
    """The options of each ligand by its name. Raises ValueError that says what does not fit."""
    common = {str(name).replace("-", "_"): value for name, value in values.items() if name != LIGANDS}
    named = values.get(LIGANDS)
    if named is None:
        named = _from_files(common)
    elif not isinstance(named, Mapping) or not named or not all(isinstance(own, Mapping) for own in named.values()):
        raise ValueError("`ligands` must hold the options of each ligand by its name, like 'A: {ligand: a.sdf}'")
    elif common.get("ligand"):
        raise ValueError("--ligand and `ligands` of the --config were both given: name the ligands in one of them")
    found = {}
    for name, own in named.items():
        if str(name) != os.path.basename(str(name)) or str(name) in ("", ".", ".."):
            raise ValueError(f"the ligand's name {name!r} can't be the name of a folder")
        found[str(name)] = _resolved(CorrectOptions(**read_values(common | dict(own), CorrectOptions)))
    return found


def _from_files(common: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """One ligand for each file, named like it; or the one of a ready-made set-up."""
    each = [f.name for f in fields(CorrectOptions) if f.metadata.get("each")]
    many = {name: _listed(common.pop(name)) for name in each if common.get(name)}
    files = many.get("ligand", [])
    if not files:
        if not common.get("topology"):
            raise ValueError(
                "nothing to correct: give --protein and --ligand, or --topology, --system, --solvent-topology and "
                "--solvent-system"
            )
        files = [common["topology"]]
    names = [Path(str(file)).stem for file in files]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"several ligands are called {twice[0]}: rename a file, or name them in a --config")
    for name, given in many.items():
        if len(given) not in (1, len(files)):
            raise ValueError(
                f"--{name.replace('_', '-')} has {len(given)} values for {len(files)} ligands: "
                "give one, or one for each"
            )
    every = {name: given * (len(files) if len(given) == 1 else 1) for name, given in many.items()}
    return {label: {name: given[k] for name, given in every.items()} for k, label in enumerate(names)}


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _resolved(options: CorrectOptions) -> CorrectOptions:
    """Absolute paths, for workers elsewhere."""
    for option in fields(CorrectOptions):
        value = getattr(options, option.name)
        if isinstance(value, Path):
            setattr(options, option.name, value.absolute())
    if options.ligand_ff and options.ligand_ff.endswith(".xml"):
        options.ligand_ff = str(Path(options.ligand_ff).absolute())
    return options


def _run(jobs: Sequence[Job], options: CorrectOptions) -> None:
    side_by_side = options.workers > 1 or options.cluster is not None  # else each leg shows how far it is
    with Bar("legs", len(jobs), "legs") if side_by_side else contextlib.nullcontext() as bar:
        for outcome in run_all(jobs, options.workers, options.cluster, options.retries):
            text = f"failed: {outcome.error}" if outcome.error else "done"
            tries = f" after {outcome.attempts} attempts" if outcome.attempts > 1 else ""
            print(f"{outcome.job.title}: {text}{tries}", flush=True)
            if bar is not None:
                bar.advance(1)


def _say(found: Sequence[Result], out: Path) -> None:
    print(f"\n{text_table(found)}\n")
    for result in found:
        for remark in result.remarks:
            print(remark)
    print(f"{out}: results.csv, results.json, report.html", flush=True)


def _status(found: Sequence[Result]) -> int:
    statuses = {result.status for result in found}
    if statuses <= {DONE}:
        return FINE
    return NOT_TRUSTED if statuses <= {DONE, DOUBTFUL} else NOT_DONE
