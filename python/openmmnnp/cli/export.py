"""The verb `export`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..families import FAMILIES, find_family
from .guard import guarded

_EPILOG = """A family's own options: openmm-nnp export FAMILY --help. Examples:
  openmm-nnp export ani2x --parameters DIR --elements 8,1,1 --dtype float64 -o water.pt2
  openmm-nnp export mace my_mace.model --pdb ligand.pdb -o ligand.pt2
  openmm-nnp export factory my_package.models:make -o mine.pt2"""


def add(commands: Any) -> None:
    """Add the verb and its families to the command line."""
    text = "from a trained model to a checked file for NNPForce"
    parser = commands.add_parser(
        "export",
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    families = parser.add_subparsers(dest="family", required=True, metavar="FAMILY")
    for name in FAMILIES:
        family = find_family(name)
        words = families.add_parser(name, help=family.HELP, description=f"{family.HELP[0].upper()}{family.HELP[1:]}.")
        family.add_arguments(words)
        _add_common(words)
        words.set_defaults(run=lambda words: guarded("export", lambda: _run(words)))


def _add_common(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is written")
    group.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="model.pt2 or model.pt")
    group.add_argument("--dtype", choices=["float32", "float64"], help="of the model's numbers [as it was trained]")
    group.add_argument("--device", default="cpu", help="cpu, or cuda on the GPU that it is to run on [cpu]")
    group.add_argument(
        "--threads", type=int, metavar="N", help="of the CPU to compile for; 1 can be twice as fast [any number]"
    )
    group.add_argument("--energy-entry", action="store_true", help="a second, faster entry for energies alone (.pt2)")
    atoms = parser.add_argument_group("atoms to check it with; a family may make a model for them alone")
    chosen = atoms.add_mutually_exclusive_group()
    chosen.add_argument("--pdb", type=Path, metavar="FILE", help="a PDB file, with its box")
    chosen.add_argument("--elements", metavar="Z,Z,...", help="atomic numbers or symbols: 8,1,1 or O,H,H")
    atoms.add_argument("--no-box", action="store_true", help="leave out the box of the PDB file")
    atoms.add_argument("--charge", type=int, default=0, help="their total charge [0]")


def _run(words: argparse.Namespace) -> int:
    from .. import _libraries  # noqa: F401 - loads the libraries, or says what is wrong
    from ..export.family import export_family

    export_family(words.family, words, words.output)
    return 0
