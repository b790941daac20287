"""Neural network potentials in OpenMM, with no Python in the time step."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .embedding.mixed import createMixedSystem, createSystem


def _is_command() -> bool:
    """Is this the command line tool, which must also start where the libraries can't be loaded?"""
    program = Path(sys.argv[0]).name if sys.argv else ""
    follows = dict(zip(sys.orig_argv, sys.orig_argv[1:], strict=False))
    return program == "openmm-nnp" or (program == "-m" and follows.get("-m") == __name__)


if not _is_command():
    from ._libraries import VERSION as __version__  # first: it checks versions and loads what the others need
    from .force import NNPForce, trust
    from .multiple_time_steps import addMultipleTimeSteps
    from .neighbors import NeighborList
    from .spec import ModelSpec
    from .torchforce import TorchForce
    from .variables import collectiveVariables

__all__ = [
    "ModelSpec",
    "NNPForce",
    "NeighborList",
    "TorchForce",
    "__version__",
    "addMultipleTimeSteps",
    "collectiveVariables",
    "createMixedSystem",
    "createSystem",
    "trust",
]

_MODULES = {
    "ModelSpec": "spec",
    "NNPForce": "force",
    "NeighborList": "neighbors",
    "TorchForce": "torchforce",
    "__version__": "_libraries",
    "addMultipleTimeSteps": "multiple_time_steps",
    "collectiveVariables": "variables",
    "createMixedSystem": "embedding.mixed",
    "createSystem": "embedding.mixed",
    "trust": "force",
}


def __getattr__(name: str) -> Any:
    """What is imported at its first use, and what the command line tool did not import."""
    if name == "PythonTorchForce":
        # An AttributeError would reach `from openmmnnp import PythonTorchForce` without its text.
        raise ImportError(
            "openmmnnp has no PythonTorchForce, since it runs no Python in the time step: export the model to a file "
            "(see openmmnnp.export) and use NNPForce(file), or use openmm.PythonForce"
        )
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    libraries = importlib.import_module("._libraries", __name__)  # first: it checks versions
    module = importlib.import_module(f".{_MODULES[name]}", __name__)
    return libraries.VERSION if name == "__version__" else getattr(module, name)
