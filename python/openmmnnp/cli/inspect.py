"""The verb `inspect`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    text = "what a model file says of itself: units, inputs, outputs, device, license; it is not run"
    parser = commands.add_parser("inspect", help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("file", type=Path, metavar="FILE", help="model.pt2 or model.pt")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(run=_run)


def _run(words: argparse.Namespace) -> int:
    from ..inspect import inspect, table

    try:
        found = inspect(words.file)
    except (ValueError, OSError) as error:
        print(f"openmm-nnp inspect: error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(found, indent=1, ensure_ascii=False) if words.json else table(found))
    return 0
