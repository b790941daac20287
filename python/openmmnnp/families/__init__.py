"""Model families that the exporter knows. Each is a file of its own, and its package is imported only when used."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..atoms import Atoms
from ..spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn

__all__ = ["FAMILIES", "Family", "Loaded", "check_packages", "find_family"]


@dataclass(frozen=True)
class Loaded:
    """A model that a family loaded: a module to compile, or the path of a file that runs as it is.

    ``module.forward`` takes ``spec.inputs`` and returns the energy or ``spec.outputs``; a file is copied, with the
    spec put into it.
    """

    spec: ModelSpec
    module: nn.Module | None = None
    path: Path | None = None


class Family(Protocol):
    """What a file of this folder defines, as module-level names. It imports no other package at its top level."""

    HELP: str
    """One line for the command's help."""
    EXTRA: str
    """Name of the optional dependencies: pip install openmm-nnp[EXTRA]; "" if there are none."""
    PACKAGES: Sequence[str]
    """Packages that it imports."""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Add the family's own options to the command line."""

    @staticmethod
    def load(options: argparse.Namespace, atoms: Atoms | None) -> Loaded:
        """The model that the options name, in ``options.dtype`` ("float32" or "float64", None: as it was trained).

        ``atoms`` are those that the user named, if any: a family may make a model for these atoms alone. Raises
        ValueError, OSError or ImportError with a sentence.
        """


FAMILIES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py")))
"""Names of the families: those of the modules in this folder."""


def find_family(name: str) -> Family:
    """The family of this name. Raises ValueError for another name."""
    if name not in FAMILIES:
        raise ValueError(f"the family '{name}' is not known; known are {', '.join(FAMILIES)}")
    return importlib.import_module(f".{name}", __name__)  # type: ignore[return-value]


def check_packages(name: str, family: Family) -> None:
    """Raise ImportError, with what to install, if a package of the family is missing."""
    missing = [package for package in family.PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise ImportError(
            f"the family '{name}' needs {', '.join(missing)}, which is not installed: run pip install "
            f"'openmm-nnp[{family.EXTRA}]'"
        )
