"""The command line: `openmm-nnp`, or `python -m openmmnnp`. It parses; what is done stands in other modules."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import check, correct, demo, doctor, export, inspect, report, simulate


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 1, with the reason on the standard error, if it fails."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="openmm-nnp", description="Neural network potentials in OpenMM.")
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
