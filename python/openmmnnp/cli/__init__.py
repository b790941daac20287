"""The command line: `openmm-nnp`, or `python -m openmmnnp`. It parses; what is done stands in other modules."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .. import _check
from . import check, correct, demo, doctor, export, inspect, report, simulate


class _PrintCMakeDir(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(_check.library_folder() / "cmake" / "OpenMMNNP")
        parser.exit()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 1, with the reason on the standard error, if it fails."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="openmm-nnp", description="Neural network potentials in OpenMM.")
    parser.add_argument(
        "--cmake-dir",
        action=_PrintCMakeDir,
        nargs=0,
        help="print the folder that CMake's find_package(OpenMMNNP) needs, and exit",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    doctor.add(commands)
    export.add(commands)
    inspect.add(commands)
    check.add(commands)
    simulate.add(commands, everything="--help-all" in words)
    correct.add(commands, everything="--help-all" in words)
    report.add(commands)
    demo.add(commands)
    options = parser.parse_args(words)
    return int(options.run(options))
