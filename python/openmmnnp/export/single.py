"""From one module and one geometry to a checked file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..atoms import Atoms
from ..spec import ModelSpec
from .examples import Example, variations
from .package import save_pt, save_pt2

__all__ = ["export"]


def export(
    model: nn.Module,
    spec: ModelSpec,
    path: str | os.PathLike[str],
    format: str | None = None,
    *,
    device: str = "cpu",
    example: Example | None = None,
    energy_entry: bool = False,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> ModelSpec:
    """Save a model for :class:`openmmnnp.NNPForce`, compare what was saved with it, and return the spec as written.

    A model of collective variables alone returns them as its first output, [] or [k], and its ``energy_unit`` is "1":
    ``ModelSpec("angles", "nm", "1", "float32", outputs=["angles"], output_units={"angles": "radian"})``. Outputs of a
    potential are named in ``collective_variables``. A package gives the forces of all components in the same graph.

    Raises ValueError if the model does not do what the spec says, can't be compiled, or gives other results once
    saved; nothing is written then.

    Parameters
    ----------
    model : module whose forward takes ``spec.inputs`` in their order and returns the energy [], or a tuple or dict of
        ``spec.outputs``; forces and parameter derivatives that it does not return are derived from the energy
    spec : the model's contract; references are added
    path : file to write
    format : "pt2" (compiled ahead of time) or "pt" (TorchScript); None: what the name of the file says
    device : "cpu" or "cuda"; a package runs on the kind of device on which it was compiled
    example : one geometry, every input of the spec by name in the model's units; edges and shifts may be left out.
        Others are made from it: with fewer and with more particles where their number is dynamic, and other edges.
        None: a cluster of elements that the spec knows, parameters being 1
    energy_entry : compile a second entry without forces, for calls that want the energy alone (".pt2")
    threads : number of CPU threads to compile for (".pt2"), None being any; for 1 it can be twice as fast
    options : for inductor, with our own
    progress : say on the standard error what is done
    """
    suffix = Path(path).suffix.removeprefix(".")
    kind = suffix if format is None else format
    if suffix in ("pt", "pt2") and kind in ("pt", "pt2") and suffix != kind:
        raise ValueError(f"format='{kind}' was asked for, but {path} would be taken for a .{suffix}: name it .{kind}")
    if kind not in ("pt", "pt2"):
        raise ValueError(f"the format '{kind}' was asked for, but a model is saved as 'pt2' or 'pt'")
    spec.validate()
    *examples, larger = variations(spec, Atoms.for_spec(spec).example(spec) if example is None else example)
    if kind == "pt":
        if energy_entry:
            raise ValueError("energy_entry was asked for, but a .pt has one entry, which leaves forces to autograd")
        if threads is not None:
            raise ValueError(f"threads={threads} was asked for, but a .pt takes the threads that torch has")
        return save_pt(model, spec, path, examples=examples, also=[larger], progress=progress)
    return save_pt2(
        model,
        spec,
        path,
        examples=examples,
        also=[larger],
        device=device,
        energy_entry=energy_entry,
        threads=threads,
        options=options,
        progress=progress,
    )
