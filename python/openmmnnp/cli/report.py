"""The verb `report`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..simulate.quantities import TIME
from .guard import guarded


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    text = "write the report of one run, or of several side by side: MM and ML/MM, seeds"
    parser = commands.add_parser("report", help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders that simulate wrote")
    parser.add_argument("--out", type=Path, default=Path("report.html"), metavar="FILE", help="[%(default)s]")
    parser.add_argument("--frames", type=Path, metavar="FILE", help="labelled geometries, extended XYZ")
    parser.add_argument("--model", type=Path, nargs="+", default=[], metavar="FILE", help="other potentials to compare")
    parser.add_argument("--nve", default="10ps", metavar="TIME", help="of dynamics in vacuum, 0ps for none [10ps]")
    parser.set_defaults(run=lambda words: guarded("report", lambda: _run(words)))


def _run(words: argparse.Namespace) -> int:
    from ..simulate.extras import check_extras

    check_extras()
    from .. import _libraries  # noqa: F401 - loads the libraries, or says what is wrong
    from ..simulate.report import write_report

    page = write_report(words.runs, words.out, frames=words.frames, models=words.model, nve=TIME.parse(words.nve))
    print(page)
    return 0
