"""The verb `correct`."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..correct.options import CorrectOptions
from .guard import guarded
from .simulate import add_option

_TITLES = {
    "files": "what is corrected",
    "run": "how",
    "system": "building the Systems",
    "protocol": "protocol",
    "output": "output",
    "machine": "machine",
}
_EPILOG = """A whole job:
  openmm-nnp correct --protein P.pdb --ligand A.sdf B.sdf --ligand-ff F.xml --model M.pt2 --out corrections
  openmm-nnp correct --topology C.pdb --system C.xml --solvent-topology S.pdb --solvent-system S.xml \\
      --ml 'resname LIG' --model M.pt2 --out corrections
Repeat the command to go on, or to add ligands, --snapshots or a longer --switch.
Exit status: 0; 1 for an error or a leg that failed; 2 for wrong usage; 3 if a number can't be trusted and is not given;
128 and more for a signal."""


def add(commands: Any, everything: bool) -> None:
    """Add the verb to the command line, with all its options in the help or the most used."""
    text = "free energy from MM to ML/MM, complex minus solvent, with its uncertainty"
    parser = commands.add_parser(
        "correct",
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--help-all", action="help", help="show all options")
    groups = {name: parser.add_argument_group(title) for name, title in _TITLES.items()}
    for option in fields(CorrectOptions):
        add_option(groups[option.metadata["group"]], option, everything or option.metadata["short"])
    groups["run"].add_argument(
        "--config", type=Path, metavar="YAML", help="options by name, and those of single ligands under `ligands`"
    )
    parser.set_defaults(run=lambda words: guarded("correct", lambda: _run(words)))


def _run(words: argparse.Namespace) -> int:
    from ..simulate.extras import check_extras

    check_extras()
    from ..correct.study import correct
    from ..simulate.folder import mapping_from_yaml

    names = {option.name for option in fields(CorrectOptions)}
    given = {name: value for name, value in vars(words).items() if name in names}
    configured = mapping_from_yaml(words.config) if words.config else {}
    return correct(configured | given)
