"""Write a PyTorch module with its ModelSpec and reference results: TorchScript (``.pt``) or AOTInductor (``.pt2``)."""

from __future__ import annotations

import io
import os
import sys
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._inductor.package.package import load_package

from .._files import folder_beside, named
from ..force import NNPForce
from ..spec import ENERGY_UNITS, NO_ENERGY, ModelSpec, write_spec
from .compile import ENERGY_ENTRY, add_energy_entry, check_compiler, check_package, compile_package, for_threads, trace
from .eager import (
    DTYPES,
    FORCES,
    Eager,
    Example,
    Results,
    completed,
    kind,
    padded,
    tensors,
    with_charges,
    without_derivatives,
)
from .variables import counted

__all__ = ["references", "replaced", "save_pt", "save_pt2"]

_TOLERANCES = {"float32": (1e-6, 1e-5, 1e-3), "float64": (1e-9, 0.0, 1e-7)}
"""By dtype: of the energy, relative and in kJ/mol per particle; of forces, relative to the root mean square."""
_FLOOR = 1e-9  # for results of exactly zero; the plugin checks the references in the same way
_PADDING = 5  # edges, and charges


def save_pt(
    module: nn.Module,
    spec: ModelSpec,
    path: str | os.PathLike[str],
    *,
    examples: Sequence[Example],
    also: Sequence[Example] = (),
    progress: bool = True,
) -> ModelSpec:
    """Script a module and save it with its spec and references; return the spec as written.

    ``module.forward`` takes the inputs in the order of ``spec.inputs`` and returns the energy [] or a tuple in the
    order of ``spec.outputs``; it may be scripted already and is not changed. Forces and parameter derivatives that it
    does not return are left out of the outputs: the plugin differentiates. ``examples`` are as for :func:`references`;
    the saved file is compared with the module for these and for those in ``also``, which are not kept.

    Raises ValueError if the module does not do what the spec says, or if the saved file gives other results, also with
    edges beyond the cutoff; nothing is written then.
    """
    target = _target(path, ".pt")
    right = references(module, spec, [*examples, *also])
    spec = counted(module, spec, examples[0])
    spec = replace(spec, references=right[: len(examples)])
    model = Eager(module, spec)
    inputs = [tensors(spec, example) for example in [*examples, *also]]
    expected = [model.results(x) for x in inputs]
    spec = replace(spec, outputs=[name for name in spec.outputs if name in model.returned])
    with replaced(target) as aside:
        with _stage("scripting", progress):
            aside.write_bytes(_script(model.module).save_to_buffer())
            write_spec(aside, spec)
        with _stage("checking", progress):
            program = io.BytesIO(aside.read_bytes())
            saved = Eager(torch.jit.load(program), spec)  # type: ignore[no-untyped-call]
            if saved.keyed:
                raise ValueError("forward returns a dict, but in a .pt it must return a tuple in the order of the spec")
            _check(spec, inputs, expected, right, saved.results)
            NNPForce(aside)  # the plugin reads and checks it
    return spec


def save_pt2(
    module: nn.Module,
    spec: ModelSpec,
    path: str | os.PathLike[str],
    *,
    examples: Sequence[Example],
    also: Sequence[Example] = (),
    device: str | torch.device = "cpu",
    energy_entry: bool = False,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> ModelSpec:
    """Compile a module ahead of time, with its forces in one graph, and save it; return the spec as written.

    ``module.forward`` takes the inputs in the order of ``spec.inputs`` and returns the energy [], or a tuple or dict of
    ``spec.outputs`` in which forces and parameter derivatives may be missing: they are then derived from the energy.
    ``forces`` [n, 3] = -dE/dpositions, ``mm_forces`` [m, 3] of a model that takes charges, and ``forces.NAME`` of
    collective variables are added to the outputs if absent; the energy becomes float64. The module is not changed.
    ``examples`` are as for :func:`references`; the compiled model is compared with the module for these and for those
    in ``also``, which are not kept. If the number of particles is dynamic, one of all must have four particles or more.
    With ``energy_entry`` the file holds a second graph without derivatives, which serves calls for the energy alone
    (a CustomIntegrator makes them, OpenMM's barostats and getState() do not) and holds the weights once more.
    ``threads`` is the number of CPU threads that the package is compiled for, None being any: for 1, sums over edges
    need no atomic operations, which can double the speed.
    ``options`` are given to inductor with our own.

    The library is tied to the device and to the instruction set of the compiling CPU.
    Raises NoCompilerError, an OSError, if there is no C++ compiler, and ValueError if the module does not do what the
    spec says, can't be compiled into one self-contained library, or gives other results once compiled, also with edges
    beyond the cutoff; nothing is written then.
    """
    target = _target(path, ".pt2")
    check_compiler()
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError("a scripted module was given, but ahead-of-time compilation needs the module before scripting")
    if "edges" in spec.inputs and "shifts" not in spec.inputs:
        raise ValueError(
            "the model takes edges but no shifts, so it can't be given fewer than two: let forward take shifts [e, 3], "
            "r_ij = r_j - r_i + shift, and name them in the spec's inputs"
        )
    right = references(module, spec, [*examples, *also])
    spec = counted(module, spec, examples[0])
    spec = replace(spec, outputs=completed(spec), references=right[: len(examples)])
    model = Eager(module, spec, device)
    inputs = [tensors(spec, example, device) for example in [*examples, *also]]
    expected = [model.results(x) for x in inputs]
    entries = {"model": spec.outputs} | ({ENERGY_ENTRY: without_derivatives(spec.outputs)} if energy_entry else {})
    with replaced(target) as aside:
        largest = max(inputs, key=lambda x: len(x["positions"]))
        for name, outputs in entries.items():
            with _stage(f"tracing {name}", progress):
                program = trace(model, spec, largest, outputs)
            with _stage(f"compiling {name} (half a minute, or a few)", progress):
                _add(aside, name, program, for_threads(threads) | dict(options or {}))
        write_spec(aside, spec)
        with _stage("checking", progress):
            for name, outputs in entries.items():
                _check(spec, inputs, expected, right, _runner(aside, name, outputs))
            NNPForce(aside)  # the plugin reads and checks it
    return spec


def references(module: nn.Module, spec: ModelSpec, examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Results of a float64 copy of the module in eager mode, for ``ModelSpec.references``.

    ``examples`` hold at least two geometries, of odd and of even particle count where it is dynamic; each has every
    input of the spec by name, in the model's units, as a tensor, array, list or number: positions [n, 3], box [3, 3]
    with the vectors as rows, atomic_numbers and types [n], edges [2, e], shifts [e, 3], charge, multiplicity and
    parameters.NAME [], mm_positions [m, 3] and mm_charges [m]. They are rounded to the model's dtype first, and padded
    to a fixed edge_capacity. Of each come back all inputs, ``energy`` with the constant part (energy_offset or
    atomic_energies), ``forces`` [n, 3] and, if it takes charges, ``mm_forces`` [m, 3], as plain lists.

    Raises ValueError if an example or the module does not fit the spec, or if a result is not finite.
    """
    spec.validate()
    if "energy" not in spec.outputs and spec.energy_unit != NO_ENERGY:
        raise ValueError(f"the spec has the outputs {spec.outputs}, but a model that is exported must return 'energy'")
    counts = [len(tensors(spec, example)["positions"]) for example in examples]
    if len(counts) < 2:
        raise ValueError(f"{len(counts)} example(s) given, but the model is checked with at least two geometries")
    if spec.particles == "dynamic" and len({n % 2 for n in counts}) < 2:
        raise ValueError(f"examples of {counts} particles given, but needed are an odd and an even number")
    model = Eager(module, spec, dtype=torch.float64)
    found = []
    for example in examples:
        inputs = {k: x.double() if x.is_floating_point() else x for k, x in tensors(spec, example).items()}
        results = model.results(inputs)
        one = {name: x[0] if name == "box" and spec.batched_box else x for name, x in inputs.items()}
        arrays = {name: x.tolist() for name, x in one.items()}
        energy = results["energy"].item() + spec.constant_energy(arrays.get("atomic_numbers"))
        forces = {name: results[name].double().tolist() for name in FORCES if name in results}
        found.append({**arrays, "energy": energy, **forces})
    replace(spec, references=found).validate()
    return found


def _script(module: nn.Module) -> torch.jit.ScriptModule:
    try:
        return torch.jit.script(module)
    except (RuntimeError, OSError, TypeError) as error:
        raise ValueError(f"the module can't be scripted; save_pt2 may take it. {error}") from error


def _add(path: Path, name: str, program: torch.export.ExportedProgram, options: Mapping[str, Any]) -> None:
    if name == ENERGY_ENTRY:
        add_energy_entry(path, program, options)
        return
    compile_package(program, path, options)
    check_package(path)


def _runner(path: Path, name: str, outputs: Sequence[str]) -> Callable[[dict[str, Tensor]], Results]:
    """A function that runs one model of a package on inputs; those that it can't take are an error, not undefined."""
    os.environ["AOTI_RUNTIME_CHECK_INPUTS"] = "1"  # as the plugin does for the process, once and for all
    try:
        model = load_package(str(path), name)
    except (RuntimeError, ValueError, zipfile.BadZipFile) as error:  # torch's, which name no file
        raise ValueError(f"{path} can't be loaded once compiled: {error}") from error

    def run(inputs: dict[str, Tensor]) -> Results:
        try:
            return dict(zip(outputs, model(*inputs.values()), strict=True))
        except RuntimeError as error:
            given = ", ".join(f"{name} {kind(x)}" for name, x in inputs.items())
            raise ValueError(
                f"the compiled model can't take all sizes that the spec allows ({given}): {error}"
            ) from error

    return run


def _check(
    spec: ModelSpec,
    inputs: Sequence[dict[str, Tensor]],
    expected: Sequence[Results],
    right: Sequence[Mapping[str, Any]],
    run: Callable[[dict[str, Tensor]], Results],
) -> None:
    """Raise ValueError if a saved model is off its references, as it is or with edges beyond the cutoff."""
    extensible = "shifts" in spec.inputs and spec.edge_capacity in (None, "dynamic")
    for x, results, reference in zip(inputs, expected, right, strict=True):
        compare(spec, reference, results, run(x), "")
        if extensible:
            more = run(padded(spec, x, x["edges"].shape[1] + _PADDING))
            compare(spec, reference, results, _like(results, more), f", given {_PADDING} edges beyond the cutoff,")
        if spec.takes_charges:
            more = run(with_charges(spec, x, len(x["mm_charges"]) + _PADDING))
            compare(spec, reference, results, _like(results, more), f", given {_PADDING} charges of 0 far away,")


def _like(results: Results, more: Results) -> Results:
    """What a model gives for more edges or charges, cut back to the shapes without them; other shapes are left out."""
    cut = {name: value[: len(results[name])] if name == "mm_forces" else value for name, value in more.items()}
    return {name: value for name, value in cut.items() if value.shape == results[name].shape}


def compare(spec: ModelSpec, reference: Mapping[str, Any], expected: Results, found: Results, how: str) -> None:
    """Raise ValueError if a saved model is off its float64 reference, or in other outputs off the eager model."""
    relative, per_particle, rms = _TOLERANCES[spec.precision or spec.dtype]
    energy = reference["energy"] - spec.constant_energy(reference.get("atomic_numbers"))
    forces = {n: torch.tensor(reference[n], dtype=torch.float64) for n in FORCES if n in reference}
    exact = expected | {"energy": torch.tensor(energy, dtype=torch.float64)} | forces
    for name, value in found.items():
        if name in FORCES and value.dtype != DTYPES[spec.dtype]:
            raise ValueError(f"the {name} are {kind(value)}, but the spec says dtype {spec.dtype}")
        if value.shape != exact[name].shape:
            raise ValueError(f"output '{name}' is {kind(value)} once saved, but {kind(exact[name])} in eager mode")
        right = exact[name].double().cpu()
        scale, error = _rms(right), _rms(value.double().cpu() - right)
        allowed = rms * scale + (_FLOOR if name in FORCES else max(_FLOOR, per_particle))
        if name == "energy":
            kj_per_mol = per_particle * len(reference["forces"]) + _FLOOR
            allowed = relative * scale + kj_per_mol / ENERGY_UNITS.get(spec.energy_unit, 1)
        if not error <= allowed:
            raise ValueError(
                f"output '{name}' of the saved model{how} is off by {error:.3g} where {allowed:.3g} is allowed"
            )


def _rms(x: Tensor) -> float:
    return x.square().mean().sqrt().item() if x.numel() else 0.0


def _target(path: str | os.PathLike[str], suffix: str) -> Path:
    target = Path(path)
    if target.suffix != suffix:
        raise ValueError(f"the file is called '{target.name}', but its name must end in {suffix}")
    if not target.resolve().parent.is_dir():
        raise FileNotFoundError(f"the folder {target.resolve().parent} does not exist")
    return target


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """A file of the same name in a folder beside the target; it takes the target's place if nothing is raised."""
    with folder_beside(target) as folder, named(target):
        aside = folder / target.name
        yield aside
        os.replace(aside, target)


@contextmanager
def _stage(name: str, progress: bool) -> Iterator[None]:
    """Say on stderr what is done and how long it took; keep torch quiet about its own deprecated functions."""
    start = time.perf_counter()
    write: Callable[[str], Any] = sys.stderr.write if progress else len
    write(f"{name} ...")
    sys.stderr.flush()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        write(f" {time.perf_counter() - start:.1f} s\n")
