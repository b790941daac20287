"""The verb `doctor`."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    text = "look at the installation: versions, platforms, a tiny force on each, folders, threads"
    doctor = commands.add_parser("doctor", help=text, description=f"Command to {text}. Exit status 1 on an error.")
    doctor.add_argument("--json", action="store_true", help="print findings as JSON")
    doctor.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ..doctor import examine, report

    findings = examine()
    print(report(findings, as_json=options.json))
    return int(any(finding.state == "error" for finding in findings))
