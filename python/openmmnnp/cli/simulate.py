"""The verb `simulate`."""

from __future__ import annotations

import argparse
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from ..simulate.options import Options, default_text, kind, read_values
from .guard import guarded

_TITLES = {
    "files": "what is simulated",
    "run": "the run",
    "system": "building the System",
    "protocol": "protocol",
    "output": "output",
    "machine": "machine",
}
_EPILOG = """A whole job:
  openmm-nnp simulate --protein P.pdb --ligand L.sdf --ligand-ff F.xml --model M.pt2 --out run --time 1ns
  openmm-nnp simulate --topology T.pdb --system S.xml --ml 'resname LIG' --model M.pt2 --out run
  openmm-nnp simulate --resume run --time 2ns
Exit status: 0; 1 for an error; 2 for wrong usage; 3 for changed bonds with --strict; 128 and more for a signal."""


def add(commands: Any, everything: bool) -> None:
    """Add the verb to the command line, with all its options in the help or the most used."""
    text = "protein-ligand ML/MM dynamics from files to a report, resumable"
    parser = commands.add_parser(
        "simulate",
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--help-all", action="help", help="show all options")
    groups = {name: parser.add_argument_group(title) for name, title in _TITLES.items()}
    for option in fields(Options):
        add_option(groups[option.metadata["group"]], option, everything or option.metadata["short"])
    run = groups["run"]
    run.add_argument("--resume", type=Path, metavar="RUN", help="go on with the run in this folder")
    run.add_argument("--config", type=Path, metavar="YAML", help="options by name, or the run.yaml of another run")
    run.add_argument("--dry-run", action="store_true", help="build everything, tell what would be run, and stop")
    run.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    parser.set_defaults(run=lambda words: guarded("simulate", lambda: _run(words)))


def add_option(group: Any, option: Field[Any], shown: bool) -> None:
    """Add an option of a dataclass like Options to the command line; its help is hidden unless it is to be shown."""
    name, read = option.name.replace("_", "-"), kind(option)
    default = default_text(option)
    text = option.metadata["help"] + (f" [{default}]" if default and read.type is not bool else "")
    settings: dict[str, Any] = {"default": argparse.SUPPRESS, "help": text if shown else argparse.SUPPRESS}
    if read.type is bool:
        settings["action"] = argparse.BooleanOptionalAction if option.default else "store_true"
        group.add_argument(f"--{name}", **settings)
        return
    if read.choices:
        settings["choices"] = read.choices
    else:
        word = read.dimension.name if read.dimension else "file" if read.type is Path else name.rsplit("-", 1)[-1]
        settings["metavar"] = word.upper().replace(" ", "_")
    group.add_argument(f"--{name}", nargs="+" if read.many or option.metadata.get("each") else None, **settings)


def _run(words: argparse.Namespace) -> int:
    from ..simulate.extras import check_extras

    check_extras()
    from ..simulate.folder import options_from_yaml
    from ..simulate.run import resume, simulate

    names = {option.name for option in fields(Options)}
    given = read_values({name: value for name, value in vars(words).items() if name in names})
    if words.resume:
        for name in ("config", "dry_run", "overwrite"):
            if getattr(words, name):
                raise ValueError(f"--{name.replace('_', '-')} does not go with --resume, which takes all from the run")
        return resume(words.resume, given)
    configured = options_from_yaml(words.config) if words.config else {}
    return simulate(Options(**{**configured, **given}), overwrite=words.overwrite, dry_run=words.dry_run)
