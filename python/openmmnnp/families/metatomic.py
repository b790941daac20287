"""Models in metatomic's format, as ``AtomisticModel.save()`` writes them (https://docs.metatensor.org/metatomic)."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..atoms import Atoms
from . import Loaded

HELP = "a model in metatomic's format (.pt), as metatrain and AtomisticModel.save() write it"
EXTRA = "metatomic"
PACKAGES: Sequence[str] = ("metatensor", "metatensor_torch", "metatomic")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model's file, and which of its energies is meant."""
    parser.add_argument("model", type=Path, metavar="MODEL.pt", help="file of the model")
    parser.add_argument(
        "--output-name", default="energy", metavar="NAME", help="energy, or energy/VARIANT where it has several"
    )
    parser.add_argument(
        "--vacuum", action="store_true", help="for systems without periodic boundary conditions only: give it no box"
    )


def load(options: argparse.Namespace, atoms: Atoms | None) -> Loaded:
    """The model behind the plugin's inputs. Raises ValueError, with a sentence, for what can't be run.

    The file is TorchScript with metatomic's classes, so it stays TorchScript, and needs metatomic's libraries.
    """
    if options.output.suffix != ".pt":
        raise ValueError(
            f"a metatomic model is TorchScript that calls metatomic's own library, so it can't be compiled into "
            f"'{options.output.name}': let the output end in .pt"
        )
    from ._metatomic import load_model

    return load_model(options.model, options.output_name, dtype=options.dtype, vacuum=options.vacuum)
