"""What an installed openmm-nnp, or an unpacked wheel, must and must not contain."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

# What needs torch's C++ ABI by name; all others must run with any torch.
FOR_ONE_TORCH = "libOpenMMNNPTorch"
LIBRARIES = ("libOpenMMNNP.so", "plugins/libOpenMMNNPReference.so")
CMAKE_FILES = ("OpenMMNNPConfig.cmake", "OpenMMNNPConfigVersion.cmake", "OpenMMNNPTargets.cmake", "FindOpenMM.cmake")
HEADERS = ("InterpreterLock", "ModelSpec", "NNPForce", "NeighborList", "TorchLibrary", "TrustModel")


def problems(package: Path, machine_paths: Iterable[str]) -> Iterator[str]:
    """What is wrong with the folder `openmmnnp`, in sentences; no file may hold one of the paths of this machine."""
    yield from missing_files(package)
    for library in sorted(package.rglob("*.so")):
        name = str(library.relative_to(package))
        if not library.name.startswith(FOR_ONE_TORCH):
            yield from (f"{name} needs {what}" for what in needs_of_torch(library))
        yield from (f"{name} has the run path {path}" for path in run_paths(library) if not path.startswith("$ORIGIN"))
    for file in sorted(path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        content = file.read_bytes()
        yield from (f"{file.relative_to(package)} holds {path}" for path in machine_paths if path.encode() in content)


def missing_files(package: Path) -> Iterator[str]:
    wanted = [package / "lib" / name for name in LIBRARIES]
    wanted += [package / "lib" / "cmake" / "OpenMMNNP" / name for name in CMAKE_FILES]
    wanted += [package / "include" / "openmmnnp" / f"{name}.h" for name in HEADERS]
    wanted += [package / "py.typed", package / "_core.pyi", package / "_build.py"]
    yield from (f"{path.relative_to(package)} is missing" for path in wanted if not path.is_file())
    if not list(package.glob("_core.*.so")):
        yield "the compiled module _core is missing"


def needs_of_torch(library: Path) -> list[str]:
    """Libraries of torch that a library is linked to, and symbols of its C++ ABI that it wants."""
    symbols = _output("nm", "-DC", "--undefined-only", library)
    return [name for name in needed(library) if re.search("torch|c10", name)] + re.findall(
        r"\b(?:c10|at|torch)::[\w:]+", symbols
    )


def needed(library: Path) -> list[str]:
    """Names of the libraries that a library is linked to."""
    return re.findall(r"NEEDED.*\[(.*)\]", _output("readelf", "-d", library))


def run_paths(library: Path) -> list[str]:
    """Where a library looks for others."""
    return [
        path
        for paths in re.findall(r"(?:RUNPATH|RPATH).*\[(.*)\]", _output("readelf", "-d", library))
        for path in paths.split(":")
    ]


def _output(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
