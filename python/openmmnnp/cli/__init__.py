"""The command line: `openmm-nnp`, or `python -m openmmnnp`. It parses; what is done stands in other modules."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    parser = argparse.ArgumentParser(prog="openmm-nnp", description="Neural network potentials in OpenMM.")
    commands = parser.add_subparsers(dest="command", required=True)
    text = "look at the installation: versions, platforms, a tiny force on each, folders, threads"
    doctor = commands.add_parser("doctor", help=text, description=f"Command to {text}. Exit status 1 on an error.")
    doctor.add_argument("--json", action="store_true", help="print findings as JSON")
    options = parser.parse_args(arguments)

    from ..doctor import examine, report

    findings = examine()
    print(report(findings, as_json=options.json))
    return int(any(finding.state == "error" for finding in findings))
