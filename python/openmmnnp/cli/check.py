"""The verb `check`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .guard import guarded

_EPILOG = """The model is run as in a simulation. Without --pdb and --elements the largest geometry in the references of
the file's spec is used. Exit status: 0, or 1 if a check failed; a doubtful verdict wants a look and is no failure."""


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    text = "is a model fit for dynamics? gradient, symmetry, neighbors, units, time, energy conservation"
    parser = commands.add_parser("check", help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=_EPILOG)
    parser.add_argument("file", type=Path, metavar="FILE", help="model.pt2 or model.pt")
    atoms = parser.add_mutually_exclusive_group()
    atoms.add_argument("--pdb", type=Path, metavar="FILE", help="atoms to check it with, and their box")
    atoms.add_argument("--elements", metavar="Z,Z,...", help="a made-up cluster of these: 8,1,1 or O,H,H")
    parser.add_argument("--no-box", action="store_true", help="leave out the box of the PDB file")
    parser.add_argument("--charge", type=int, default=0, help="total charge of these atoms [0]")
    parser.add_argument("--platform", default="Reference", help="where it is run [%(default)s]")
    parser.add_argument("--quick", action="store_true", help="leave NVE dynamics out")
    parser.add_argument("--json", action="store_true", help="print verdicts as JSON")
    parser.set_defaults(run=lambda words: guarded("check", lambda: _run(words)))


def _run(words: argparse.Namespace) -> int:
    from .. import _libraries  # noqa: F401 - loads the libraries, or says what is wrong
    from ..check import GROUPS, as_json, check, table
    from ..export.family import named_atoms

    groups = [group for group in GROUPS if group != "nve" or not words.quick]
    with _bar(len(groups)) as progress:
        found = check(words.file, named_atoms(words), platform=words.platform, groups=groups, progress=progress)
    print(json.dumps([as_json(verdict) for verdict in found], indent=1) if words.json else table(found))
    return int(any(verdict.state == "fail" for verdict in found))


@contextmanager
def _bar(total: int) -> Iterator[Callable[[str], object]]:
    """Shows on a terminal's standard error what is checked, if tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda group: None
        return
    with tqdm(
        total=total, file=sys.stderr, disable=None, leave=False, bar_format="{desc:<12} |{bar:24}| {elapsed}"
    ) as bar:
        begun: list[str] = []

        def show(group: str) -> None:
            bar.update(1 if begun else 0)
            begun.append(group)
            bar.set_description_str(group)

        yield show
