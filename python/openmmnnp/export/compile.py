"""A module and its derivatives as one graph, compiled ahead of time into a package."""

from __future__ import annotations

import errno
import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental import _config as shape_config
from torch.fx.experimental.proxy_tensor import make_fx

from .._files import named
from ..spec import ModelSpec, add_entries
from .eager import SHAPES, Eager, Inputs, with_charges

ENERGY_ENTRY = "energy"
"""Name of a package's second model, which gives neither forces nor parameter derivatives."""


def trace(
    model: Eager, spec: ModelSpec, inputs: dict[str, Tensor], outputs: Sequence[str]
) -> torch.export.ExportedProgram:
    """One graph of these outputs. Raises ValueError if it would hold for the sizes of these inputs only."""
    n = len(inputs["positions"])
    dynamic = {"n"} if spec.particles == "dynamic" else set()
    dynamic |= {"e"} if spec.edge_capacity in (None, "dynamic") else set()
    if "n" in dynamic and n < 4:  # sizes 0 and 1 are specialized, and 3 would be taken for the number of coordinates
        raise ValueError(f"the largest example has {n} particles; one of at least four is needed to trace the model")
    if spec.takes_charges:
        dynamic.add("m")
        inputs = with_charges(spec, inputs, _distinct(inputs))
    dims = {size: torch.export.Dim(size, min=2) for size in dynamic}
    axes = [dict(enumerate(SHAPES.get(name, ()))) for name in inputs]
    shapes = tuple({i: dims[str(s)] for i, s in axis.items() if s in dynamic} or None for axis in axes)

    def function(*tensors: Tensor) -> tuple[Tensor, ...]:
        results = model.evaluate(dict(zip(inputs, tensors, strict=True)), outputs)
        return tuple(results.values())

    try:
        graph = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*inputs.values())
        return torch.export.export(graph, tuple(inputs.values()), dynamic_shapes=shapes)
    except Exception as error:
        advice = "remove from forward what depends on the values of tensors or sizes (.item(), int(x), if x > 0)"
        alternative = f", or fix the size with particles={n} in the spec" if "n" in dynamic else ""
        raise ValueError(f"the model can't be traced into one graph: {advice}{alternative}. {error}") from error


def _distinct(inputs: Inputs) -> int:
    """A number of charges, no less than there are, that can't be taken for another size of the inputs."""
    taken = {size for name, x in inputs.items() if not name.startswith("mm_") for size in x.shape}
    count = max(len(inputs["mm_charges"]), 4)
    return next(m for m in range(count, count + len(taken) + 1) if m not in taken)


class NoCompilerError(OSError):
    """Compiling a model needs a C++ compiler, and none was found."""


def check_compiler() -> None:
    """Raise NoCompilerError, with what to do, unless torch finds a C++ compiler."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise NoCompilerError(
            "compiling a model needs a C++ compiler, but none was found: install one (apt-get install g++), name it in "
            "the environment variable CXX, or save TorchScript (.pt)."
        ) from error


def compile_package(program: torch.export.ExportedProgram, path: Path, options: Mapping[str, Any]) -> None:
    """Compile a graph into a package (``.pt2``) that runs alone. Raises ValueError if it could not."""
    metadata = {"openmmnnp_torch_version": str(torch.__version__)} | options.get("aot_inductor.metadata", {})
    configs = {**options, "aot_inductor.metadata": metadata}
    # Else inductor may look at the sizes of the example and bind the package to a range of them, such as n <= 16.
    with shape_config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=configs)


def for_threads(threads: int | None) -> dict[str, Any]:
    """Inductor's options for a number of CPU threads, or for any. Raises ValueError for less than one."""
    if threads is None:
        return {"cpp.dynamic_threads": True}  # or the number of the compiling machine is written into the package
    if threads < 1:
        raise ValueError(f"threads is {threads}, but 1 or more, or None for any number, is needed")
    return {"cpp.dynamic_threads": False, "cpp.threads": threads}


def check_package(path: Path) -> None:
    """Raise ValueError unless the package is one library that needs no proxy executor and holds its weights."""
    try:
        with named(path), zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if "/data/" in name]
            lists = [
                n for n in names if n.endswith(".json") and not n.endswith(("_metadata.json", "weights_config.json"))
            ]
            nodes = [node["node"] for name in lists for node in json.loads(archive.read(name)).get("nodes", [])]
    except zipfile.BadZipFile as error:
        raise OSError(errno.EIO, f"the package can't be read back ({error})", str(path)) from error
    if nodes:
        operators = sorted({node["target"] for node in nodes})
        raise ValueError(f"{operators} have no C interface in torch {torch.__version__}: use other operators for them")
    outside = [n for n in names if n.endswith(("_weights.blob", "weights_config.json")) or "/data/constants/" in n]
    if outside:
        raise ValueError(f"weights lie outside the library ({outside[0]}): leave out the options that put them there")
    libraries = [name for name in names if name.endswith(".so")]
    if len(libraries) != 1:
        raise ValueError(f"the package holds {len(libraries)} libraries, but must hold one")


def add_energy_entry(path: Path, program: torch.export.ExportedProgram, options: Mapping[str, Any]) -> None:
    """Compile a graph without derivatives and put it into a package beside the model. Raises ValueError as above."""
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder, "energy.pt2")
        compile_package(program, other, options)
        check_package(other)
        with zipfile.ZipFile(other) as archive:
            parts = {name.partition("/data/aotinductor/model/")[2]: name for name in archive.namelist()}
            entries = {part: archive.read(name) for part, name in parts.items() if part}
    add_entries(path, {f"data/aotinductor/{ENERGY_ENTRY}/{part}": data for part, data in entries.items()})
