"""Any module: ``package.module:factory`` names a function that returns the module and its ModelSpec."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from ..atoms import Atoms
from ..spec import ModelSpec
from . import Loaded

HELP = "any PyTorch module: package.module:factory names a function that returns (module, ModelSpec)"
EXTRA = ""
PACKAGES: Sequence[str] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The function's name, and words for it."""
    parser.add_argument("factory", metavar="PACKAGE.MODULE:FUNCTION", help="it returns (module, ModelSpec)")
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="texts that the function is called with")
    parser.add_argument(
        "--folder", type=Path, default=Path(), metavar="DIR", help="where it is looked for first [here]"
    )


def load(options: argparse.Namespace, atoms: Atoms | None) -> Loaded:
    """What the function returns. Raises ValueError if it is not a module and a ModelSpec."""
    from torch import nn

    name, _, function = options.factory.partition(":")
    if not name or not function:
        raise ValueError(f"'{options.factory}' was given, but a function is named as package.module:function")
    folder = str(options.folder.resolve())
    sys.path.insert(0, folder)
    try:
        given = getattr(importlib.import_module(name), function)(*options.arguments)
    except AttributeError as error:
        raise ValueError(f"{options.factory} can't be used: {error}") from error
    finally:
        sys.path.remove(folder)
    match given:
        case (nn.Module() as module, ModelSpec() as spec):
            if options.dtype not in (None, spec.dtype):
                raise ValueError(
                    f"--dtype {options.dtype} was given, but {options.factory} made a model of {spec.dtype}"
                )
            return Loaded(spec, module)
    kinds = ", ".join(type(x).__name__ for x in given) if isinstance(given, tuple) else type(given).__name__
    raise ValueError(f"{options.factory} returned {kinds}, but a module and its ModelSpec are needed")
