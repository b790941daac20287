"""TorchForce: openmm-torch's interface to NNPForce, for scripts that were written for it."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import Any

import openmm

from .force import NNPForce

__all__ = ["TorchForce"]


class TorchForce(NNPForce):
    """An NNPForce with openmm-torch's interface: change ``from openmmtorch`` to ``from openmmnnp`` and keep the script.

    The model is a scripted module that takes positions [n, 3] in nm (, box vectors [3, 3] if the force is periodic)
    (, global parameters as scalars, in the order added) and returns the energy in kJ/mol (, forces [n, 3] in kJ/mol/nm
    after setOutputsForces(True)). CUDA graphs are off, as in openmm-torch, until the property useCUDAGraphs is "true".
    """

    def __init__(self, file: str | os.PathLike[str] | Any, properties: Mapping[str, str] | None = None) -> None:
        """Create a TorchForce.

        Parameters
        ----------
        file : str, os.PathLike or torch.jit.ScriptModule
            a file that torch.jit.save() wrote, or the scripted module itself
        properties : dict of str to str
            see setProperty()
        """
        super().__init__(file)
        self.setName("TorchForce")
        self.setCudaGraphs(False)
        for name, value in (properties or {}).items():
            self.setProperty(name, value)

    def getFile(self) -> str:
        """Path of the model file as it was given, "" if the force was made from a module."""
        return self.getModelPath()

    def getModule(self) -> Any:
        """The model as a torch.jit.ScriptModule, loaded from the bytes that the force keeps. Imports torch."""
        import torch

        return torch.jit.load(io.BytesIO(self.getModelBytes()))  # type: ignore[no-untyped-call]

    def setProperty(self, name: str, value: str) -> None:
        """Set ``useCUDAGraphs`` ("true" or "false") or ``CUDAGraphWarmupSteps`` (a number of evaluations, as a string).

        Raises OpenMMException for another name or value.
        """
        if name == "useCUDAGraphs" and value in ("true", "false"):
            self.setCudaGraphs(value == "true")
        elif name == "CUDAGraphWarmupSteps" and str(value).isdecimal():
            self.setCudaGraphWarmupSteps(int(value))
        elif name in self.getProperties():
            needed = {"useCUDAGraphs": '"true" or "false"', "CUDAGraphWarmupSteps": 'a whole number, such as "10"'}
            raise openmm.OpenMMException(f"TorchForce: the property {name} must be {needed[name]}, not {value!r}")
        else:
            known = ", ".join(self.getProperties())
            raise openmm.OpenMMException(f"TorchForce: Unknown property {name!r}; the known ones are {known}")

    def getProperties(self) -> dict[str, str]:
        """All properties and their values."""
        return {
            "useCUDAGraphs": str(self.getCudaGraphs()).lower(),
            "CUDAGraphWarmupSteps": str(self.getCudaGraphWarmupSteps()),
        }
