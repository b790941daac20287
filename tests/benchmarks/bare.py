"""A model by itself: in a C++ loop with torch's own interfaces, over inputs that were made before."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from functools import cache
from pathlib import Path

from timing import ROOT
from torch import Tensor

DTYPES = ("torch.float32", "torch.float64", "torch.int64", "torch.int32")


@cache
def library(folder: Path) -> ctypes.CDLL:
    """tests/cpp/bare_loop.cpp, compiled into the folder."""
    for command in (
        ["cmake", "-S", ROOT / "tests" / "cpp", "-B", folder, f"-DPython_EXECUTABLE={sys.executable}"],
        ["cmake", "--build", folder, "--target", "bare_loop"],
    ):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    loaded = ctypes.CDLL(str(folder / "libbare_loop.so"))
    loaded.bareLoopOpen.restype = ctypes.c_void_p
    loaded.bareLoopRun.restype = ctypes.c_double
    loaded.bareLoopAddFrame.argtypes = [ctypes.c_void_p]
    loaded.bareLoopGive.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
    loaded.bareLoopRun.argtypes = [ctypes.c_void_p, ctypes.c_int]
    loaded.bareLoopClose.argtypes = [ctypes.c_void_p]
    return loaded


class BareLoop:
    """A .pt or .pt2 with frames that take turns, each with its inputs, positions first."""

    def __init__(self, path: Path, frames: list[list[Tensor]], folder: Path) -> None:
        self.library = library(folder)
        self.loop = self.library.bareLoopOpen(str(path).encode())
        for inputs in frames:
            self.library.bareLoopAddFrame(self.loop)
            for x in (tensor.contiguous() for tensor in inputs):
                sizes = (ctypes.c_int64 * x.dim())(*x.shape)
                self.library.bareLoopGive(self.loop, x.data_ptr(), DTYPES.index(str(x.dtype)), sizes, x.dim())

    def run(self, evaluations: int) -> float:
        """Seconds for as many energies with forces."""
        return float(self.library.bareLoopRun(self.loop, evaluations))

    def __del__(self) -> None:
        self.library.bareLoopClose(self.loop)
