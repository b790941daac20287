"""The verb `demo`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..simulate.quantities import TIME
from .guard import guarded


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    text = "the Tyk2 kinase with a ligand in water: ML/MM, the MM control, and a report (15 minutes on 2 cores)"
    parser = commands.add_parser("demo", help=text, description=text[0].upper() + text[1:])
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("openmm-nnp-demo"), metavar="DIR", help="[%(default)s]"
    )
    parser.add_argument(
        "--model",
        default="ejm_31",
        metavar="MODEL",
        help="ejm_31 (ours), ani2x, or a file [ejm_31]",
    )
    parser.add_argument(
        "--parameters", type=Path, metavar="DIR", help="published parameters of ani2x [TorchANI downloads them]"
    )
    parser.add_argument("--platform", help="Reference, CPU, OpenCL, CUDA [the fastest]")
    parser.add_argument("--time", metavar="TIME", help="of production [1 ns on CUDA, 1 ps elsewhere]")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier demo wrote to DIR")
    parser.set_defaults(run=lambda words: guarded("demo", lambda: _run(words)))


def _run(words: argparse.Namespace) -> int:
    from ..simulate.extras import check_extras

    check_extras()
    from ..simulate.demo import demo

    time = None if words.time is None else TIME.parse(words.time)
    return demo(
        words.folder,
        model=words.model,
        parameters=words.parameters,
        platform=words.platform,
        time_ps=time,
        overwrite=words.overwrite,
    )
