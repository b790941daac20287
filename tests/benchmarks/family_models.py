"""A model of each family for the benchmark: random weights (but for ani2x), built by the family's own package."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from timing import ROOT
from torch import Tensor, nn

import openmmnnp
from openmmnnp.atoms import Atoms
from openmmnnp.cli import main as command
from openmmnnp.export import export
from openmmnnp.export.eager import Eager, Inputs
from openmmnnp.families import Loaded, find_family
from openmmnnp.spec import read_spec

sys.path[:0] = [str(ROOT / "tests" / "python"), str(ROOT / "tests" / "python" / "families")]

FAMILIES = ("message_passing", "ani2x", "aimnet2", "allegro", "mace", "metatomic", "nequip", "torchmdnet")
Evaluate = Callable[[Inputs, Sequence[str]], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Model:
    """A file that the plugin runs, and the same model in Python.

    ``evaluate`` takes the file's inputs and gives energy and forces: the module with autograd, or what the family runs
    in Python. ``module`` is None where there is none in Python to compile, and ``reason`` says why. ``exact`` is as
    ``evaluate``, in float64 where the family can.
    """

    spec: openmmnnp.ModelSpec
    file: Path
    evaluate: Evaluate
    exact: Evaluate
    module: nn.Module | None = None
    reason: str = ""


def build(family: str, folder: Path, dtype: str, atoms: Callable[[openmmnnp.ModelSpec], Atoms]) -> Model:
    """The family's model for any number of atoms, written to ``folder``; ``atoms`` gives those to trace it with."""
    if family in ("allegro", "nequip"):
        return of_nequip(family, folder)
    if family == "metatomic":
        return of_metatomic(folder, dtype)
    loaded = load(family, folder, dtype)
    spec, module = loaded.spec, loaded.module
    assert module is not None
    export(module, spec, folder / "model.pt2", example=atoms(spec).example(spec), threads=1)
    double = Eager(module, spec, dtype=torch.float64)

    def exact(inputs: Inputs, wanted: Sequence[str]) -> Mapping[str, Tensor]:
        return double.evaluate({k: x.double() if x.is_floating_point() else x for k, x in inputs.items()}, wanted)

    return Model(spec, folder / "model.pt2", Eager(module, spec).evaluate, exact, module)


def load(family: str, folder: Path, dtype: str) -> Loaded:
    """A module to compile."""
    if family == "message_passing":
        from potentials import CUTOFF, MessagePassing

        inputs = ["positions", "atomic_numbers", "edges", "shifts"]
        spec = openmmnnp.ModelSpec("message passing", "nm", "kJ/mol", dtype, inputs=inputs, elements=[1, 6, 7, 8])
        spec.cutoff, spec.edges, spec.shifts = CUTOFF, "full", "cartesian"
        return Loaded(spec, MessagePassing())
    parser = argparse.ArgumentParser()
    find_family(family).add_arguments(parser)
    options = parser.parse_args([str(word) for word in words(family, folder, dtype)])
    options.dtype, options.device, options.charge = dtype, "cpu", 0
    return find_family(family).load(options, None)


def words(family: str, folder: Path, dtype: str) -> list[Any]:
    """Words of the command line that name a model of random weights, or the published parameters."""
    if family == "ani2x":
        return ["--parameters", Path(os.environ["OPENMMNNP_TEST_DATA"]) / "ani-2x" / "ani-2x_8x"]
    if family == "aimnet2":
        from test_aimnet2 import build as build_aimnet2

        with tempfile.TemporaryDirectory() as scratch:
            return [build_aimnet2(Path(scratch)).rename(folder / "aimnet2.pt")]
    if family == "mace":
        from test_mace import build as build_mace

        return [build_mace(folder / "random.model", "ScaleShiftMACE", getattr(torch, dtype))]
    from test_torchmdnet import build as build_tensornet

    return [build_tensornet(folder / "random.ckpt", dtype)]


def of_nequip(family: str, folder: Path) -> Model:
    """What nequip-compile made: Allegro in float64 or NequIP in float32."""
    from test_nequip import PAGE, compile_nequip

    from openmmnnp.families import nequip
    from pages import run_page

    if family == "allegro":
        run_page(PAGE, folder)
    else:
        compile_nequip(folder)
    run_command("nequip", folder / "my.nequip.pt2", folder / "model.pt2", "--saved", str(folder / "best.ckpt"))
    spec = spec_of(folder / "model.pt2")
    run = nequip._saved(folder / "best.ckpt", spec, "cpu")

    def evaluate(inputs: Inputs, wanted: Sequence[str]) -> Mapping[str, Tensor]:
        found = run(dict(inputs))
        return {"energy": found["energy"].detach(), "forces": found["forces"].detach()}

    return Model(spec, folder / "model.pt2", evaluate, evaluate, reason="NequIP compiles its models itself")


def of_metatomic(folder: Path, dtype: str) -> Model:
    """A file of metatomic's, which is TorchScript in Python as well."""
    import metatomic_models

    from openmmnnp.families._metatomic import load_model

    metatomic_models.save_pairs(folder / "m.pt", lists=[(4.0, True)], outputs={"energy": "atom"}, dtype=dtype)
    run_command("metatomic", folder / "m.pt", folder / "model.pt")
    spec = spec_of(folder / "model.pt")
    module = load_model(folder / "m.pt", "energy", dtype=dtype, vacuum=False).module
    assert module is not None
    evaluate = Eager(torch.jit.script(module), spec).evaluate
    return Model(spec, folder / "model.pt", evaluate, evaluate, reason="a metatomic file is TorchScript")


def run_command(family: str, given: Path, made: Path, *more: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if command(["export", family, str(given), "-o", str(made), *more]) != 0:
            raise ValueError(f"{given} could not be exported")


def spec_of(path: Path) -> openmmnnp.ModelSpec:
    spec = read_spec(path)
    assert spec is not None
    return spec
