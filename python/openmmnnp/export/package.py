"""Write a PyTorch module with its ModelSpec and reference results: TorchScript (``.pt``) or AOTInductor (``.pt2``)."""

from __future__ import annotations

import copy
import json
import math
import os
import sys
import tempfile
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
from torch.fx.experimental.proxy_tensor import make_fx

from ..spec import DERIVATIVE, ENERGY_UNITS, PARAMETER, ModelSpec, write_spec

__all__ = ["references", "save_pt", "save_pt2"]

Example = Mapping[str, Any]
Inputs = Mapping[str, Tensor]
Results = dict[str, Tensor]

_SHAPES: Mapping[str, tuple[int | str, ...]] = {
    "positions": ("n", 3),
    "box": (3, 3),
    "atomic_numbers": ("n",),
    "types": ("n",),
    "edges": (2, "e"),
    "shifts": ("e", 3),
}
_DTYPES = {"float32": torch.float32, "float64": torch.float64, "int64": torch.int64, "int32": torch.int32}
_TOLERANCES = {"float32": (1e-6, 1e-5, 1e-3), "float64": (1e-9, 0.0, 1e-7)}
"""By dtype: of the energy, relative and in kJ/mol per particle; of forces, relative to the root mean square."""
_FLOOR = 1e-9  # for results of exactly zero; the plugin checks the references in the same way


def save_pt(
    module: nn.Module,
    spec: ModelSpec,
    path: str | os.PathLike[str],
    *,
    examples: Sequence[Example],
    progress: bool = True,
) -> ModelSpec:
    """Script a module and save it with its spec and references; return the spec as written.

    ``module.forward`` takes the inputs in the order of ``spec.inputs`` and returns the energy [] or a tuple in the
    order of ``spec.outputs``; it may be scripted already and is not changed. Forces and parameter derivatives that it
    does not return are left out of the outputs: the plugin differentiates. ``examples`` are as for :func:`references`.

    Raises ValueError if the module does not do what the spec says, or if the saved file gives other results; nothing is
    written then.
    """
    target = _target(path, ".pt")
    spec = replace(spec, references=references(module, spec, examples))
    model = _Model(module, spec)
    expected = [model.results(_tensors(spec, example)) for example in examples]
    spec = replace(spec, outputs=[name for name in spec.outputs if name in model.returned])
    with replaced(target) as aside:
        with _stage("scripting", progress):
            _script(model.module).save(str(aside))
            write_spec(aside, spec)
        with _stage("checking", progress):
            saved = _Model(torch.jit.load(str(aside)), spec)  # type: ignore[no-untyped-call]
            if saved.keyed:
                raise ValueError("forward returns a dict, but in a .pt it must return a tuple in the order of the spec")
            for example, results, reference in zip(examples, expected, spec.references, strict=True):
                _compare(spec, reference, results, saved.results(_tensors(spec, example)))
    return spec


def save_pt2(
    module: nn.Module,
    spec: ModelSpec,
    path: str | os.PathLike[str],
    *,
    examples: Sequence[Example],
    device: str | torch.device = "cpu",
    options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> ModelSpec:
    """Compile a module ahead of time, with its forces in one graph, and save it; return the spec as written.

    ``module.forward`` takes the inputs in the order of ``spec.inputs`` and returns the energy [], or a tuple or dict of
    ``spec.outputs`` in which forces and parameter derivatives may be missing: they are then derived from the energy.
    ``forces`` [n, 3] = -dE/dpositions are added to the outputs if absent; the energy becomes float64. The module is
    not changed. ``examples`` are as for :func:`references`; if the number of particles is dynamic, one of them must
    have four particles or more. ``options`` are given to inductor with our own.

    The library is tied to the device and to the instruction set of the compiling CPU.
    Raises ValueError if the module does not do what the spec says, can't be compiled into one self-contained library,
    or gives other results once compiled; nothing is written then.
    """
    target = _target(path, ".pt2")
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError("a scripted module was given, but ahead-of-time compilation needs the module before scripting")
    if "edges" in spec.inputs and "shifts" not in spec.inputs:
        raise ValueError(
            "the model takes edges but no shifts, so it can't be given fewer than two: let forward take shifts [e, 3], "
            "r_ij = r_j - r_i + shift, and name them in the spec's inputs"
        )
    spec = replace(spec, outputs=_with_forces(spec.outputs), references=references(module, spec, examples))
    model = _Model(module, spec, device)
    inputs = [_tensors(spec, example, device) for example in examples]
    expected = [model.results(x) for x in inputs]
    with replaced(target) as aside:
        with _stage("tracing", progress):
            program = _trace(model, spec, max(inputs, key=lambda x: len(x["positions"])))
        with _stage("compiling (about half a minute)", progress):
            _compile(program, aside, options or {})
            _check_package(aside)
            write_spec(aside, spec)
        with _stage("checking", progress):
            saved = torch._inductor.aoti_load_package(str(aside))
            for x, results, reference in zip(inputs, expected, spec.references, strict=True):
                _compare(spec, reference, results, dict(zip(spec.outputs, saved(*x.values()), strict=True)))
    return spec


def references(module: nn.Module, spec: ModelSpec, examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Results of a float64 copy of the module in eager mode, for ``ModelSpec.references``.

    ``examples`` hold at least two geometries, of odd and of even particle count where it is dynamic; each has every
    input of the spec by name, in the model's units, as a tensor, array, list or number: positions [n, 3], box [3, 3]
    with the vectors as rows, atomic_numbers and types [n], edges [2, e], shifts [e, 3], charge, multiplicity and
    parameters.NAME []. They are rounded to the model's dtype first, and padded to a fixed edge_capacity. Of each come
    back all inputs, ``energy`` with the constant part (energy_offset or atomic_energies), and ``forces`` [n, 3], as
    plain lists.

    Raises ValueError if an example or the module does not fit the spec, or if a result is not finite.
    """
    spec.validate()
    counts = [len(_tensors(spec, example)["positions"]) for example in examples]
    if len(counts) < 2:
        raise ValueError(f"{len(counts)} example(s) given, but the model is checked with at least two geometries")
    if spec.particles == "dynamic" and len({n % 2 for n in counts}) < 2:
        raise ValueError(f"examples of {counts} particles given, but needed are an odd and an even number")
    model = _Model(module, spec, dtype=torch.float64)
    found = []
    for example in examples:
        inputs = {k: x.double() if x.is_floating_point() else x for k, x in _tensors(spec, example).items()}
        results = model.results(inputs)
        arrays = {name: x.tolist() for name, x in inputs.items()}
        energy = results["energy"].item() + spec.constant_energy(arrays.get("atomic_numbers"))
        found.append({**arrays, "energy": energy, "forces": results["forces"].double().tolist()})
    replace(spec, references=found).validate()
    return found


class _Model:
    """A copy of a module that returns every output of a spec, and the forces: its own, else derivatives of its energy.

    ``returned`` and ``keyed`` say, after a call, which outputs the module itself gave and whether as a dict.
    """

    def __init__(
        self,
        module: nn.Module,
        spec: ModelSpec,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        with torch.no_grad():
            self.module = copy.deepcopy(module).to(device=device, dtype=dtype).eval()
        for parameter in self.module.parameters():
            parameter.requires_grad_(False)
        self.spec = spec
        self.returned: list[str] = []
        self.keyed = False

    def results(self, inputs: Inputs) -> Results:
        """All outputs by name. Raises ValueError, with the inputs' shapes, if the module fails."""
        try:
            return self.evaluate(inputs)
        except (RuntimeError, TypeError, IndexError) as error:
            given = ", ".join(f"{name} {_kind(x)}" for name, x in inputs.items())
            raise ValueError(f"the model can't be called with the inputs of its spec ({given}): {error}") from error

    @torch.enable_grad()
    def evaluate(self, inputs: Inputs) -> Results:
        differentiable = [name for name in inputs if name == "positions" or name.startswith(PARAMETER)]
        leaves = {name: inputs[name].detach().requires_grad_(True) for name in differentiable}
        given = self.module(*({**inputs, **leaves}[name] for name in self.spec.inputs))
        results = _named(self.spec, given)
        self.returned, self.keyed = list(results), isinstance(given, Mapping)
        missing = {name: _source(name) for name in _with_forces(self.spec.outputs) if name not in results}
        if missing and not results["energy"].requires_grad:
            raise ValueError("the energy does not depend on the positions (was it detached, or made a Python number?)")
        if missing:
            leaf = [leaves[source] for source in missing.values()]
            gradients = torch.autograd.grad(results["energy"], leaf, materialize_grads=True)
            results |= {n: -g if n == "forces" else g for n, g in zip(missing, gradients, strict=True)}
        results["energy"] = results["energy"].to(torch.float64)
        # Clones, since an output that is a view of an input would change with the caller's buffer.
        return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in results.items()}


def _named(spec: ModelSpec, given: Any) -> Results:
    """What forward returned, by name; forces and parameter derivatives may be missing. Raises ValueError otherwise."""
    own = [name for name in spec.outputs if not name.startswith(DERIVATIVE)]
    needed = [name for name in own if name != "forces"]
    if isinstance(given, Mapping):
        named = {name: given[name] for name in spec.outputs if name in given}
    else:
        values = (given,) if isinstance(given, Tensor) else tuple(given)
        names = next((names for names in (spec.outputs, own, needed) if len(names) == len(values)), [])
        named = dict(zip(names, values, strict=False))
    if not set(needed) <= set(named):
        what = f"{len(given)} values" if isinstance(given, tuple | list) else _kind(given)
        raise ValueError(f"forward returned {what}, but the spec says {spec.outputs} (forces and derivatives may lack)")
    for name, value in named.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise ValueError(f"output '{name}' is {_kind(value)}, but must be a tensor of floating-point numbers")
    if named["energy"].shape != ():
        raise ValueError(f"output 'energy' is {_kind(named['energy'])}, but must be one number, shape []")
    return named


def _kind(value: Any) -> str:
    return f"{str(value.dtype)[6:]} {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _source(output: str) -> str:
    return "positions" if output == "forces" else PARAMETER + output.removeprefix(DERIVATIVE)


def _with_forces(outputs: Sequence[str]) -> list[str]:
    after = outputs.index("energy") + 1 if "energy" in outputs else 0
    return list(outputs) if "forces" in outputs else [*outputs[:after], "forces", *outputs[after:]]


def _dtype(spec: ModelSpec, name: str) -> torch.dtype:
    if name == "edges" or (name == "shifts" and spec.shifts != "cartesian"):
        return _DTYPES[spec.index_dtype or "int64"]
    return torch.int64 if name in ("atomic_numbers", "types", "charge", "multiplicity") else _DTYPES[spec.dtype]


def _tensors(spec: ModelSpec, example: Example, device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """The inputs of an example in the order of the spec, contiguous, of the right dtype. Raises ValueError if wrong."""
    if set(example) != set(spec.inputs):
        raise ValueError(f"an example has the inputs {sorted(example)}, but the spec's are {sorted(spec.inputs)}")
    sizes: dict[int | str, int] = {2: 2, 3: 3} | ({} if spec.particles == "dynamic" else {"n": int(spec.particles)})
    tensors = {}
    for name in spec.inputs:
        tensor = torch.as_tensor(example[name]).detach().to(device, _dtype(spec, name)).contiguous()
        shape = _SHAPES.get(name, ())
        known = [sizes.setdefault(s, given) for s, given in zip(shape, tensor.shape, strict=False)]
        if tensor.dim() != len(shape) or list(tensor.shape) != known:
            needed = [sizes.get(size, size) for size in shape]
            raise ValueError(f"an example has '{name}' of shape {list(tensor.shape)}, but needed is {needed}")
        tensors[name] = tensor
    return tensors if spec.edge_capacity in (None, "dynamic") else _padded(spec, tensors)


def _padded(spec: ModelSpec, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """With as many edges as the model takes: those that are added are beyond the cutoff, as the plugin makes them."""
    capacity, given = int(spec.edge_capacity or 0), tensors["edges"].shape[1]
    if given > capacity or (given < capacity and "shifts" not in tensors):
        needed = f"at most {capacity}" if "shifts" in tensors else f"exactly {capacity}, since it takes no shifts,"
        raise ValueError(f"an example has {given} edges, but {needed} are needed (edge_capacity)")
    if given == capacity:
        return tensors
    length, cutoff = tensors["box"][0, 0].item() if "box" in tensors else 1.0, spec.cutoff or 0.0
    shift = torch.zeros(capacity - given, 3).to(tensors["shifts"])
    shift[:, 0] = 2 * cutoff if spec.shifts == "cartesian" else math.ceil(2 * cutoff / length)
    edges = torch.zeros(2, capacity - given).to(tensors["edges"])
    more = {"edges": torch.cat([tensors["edges"], edges], 1), "shifts": torch.cat([tensors["shifts"], shift])}
    return {**tensors, **more}


def _script(module: nn.Module) -> torch.jit.ScriptModule:
    try:
        return torch.jit.script(module)
    except (RuntimeError, OSError, TypeError) as error:
        raise ValueError(f"the module can't be scripted; save_pt2 may take it. {error}") from error


def _trace(model: _Model, spec: ModelSpec, inputs: Inputs) -> torch.export.ExportedProgram:
    """One graph of all outputs. Raises ValueError if it would hold for the sizes of these inputs only."""
    n = len(inputs["positions"])
    dynamic = {"n"} if spec.particles == "dynamic" else set()
    dynamic |= {"e"} if spec.edge_capacity in (None, "dynamic") else set()
    if "n" in dynamic and n < 4:  # sizes 0 and 1 are specialized, and 3 would be taken for the number of coordinates
        raise ValueError(f"the largest example has {n} particles; one of at least four is needed to trace the model")
    dims = {size: torch.export.Dim(size, min=2) for size in dynamic}
    axes = [dict(enumerate(_SHAPES.get(name, ()))) for name in inputs]
    shapes = tuple({i: dims[str(s)] for i, s in axis.items() if s in dynamic} or None for axis in axes)

    def function(*tensors: Tensor) -> tuple[Tensor, ...]:
        results = model.evaluate(dict(zip(inputs, tensors, strict=True)))
        return tuple(results[name] for name in spec.outputs)

    try:
        graph = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*inputs.values())
        return torch.export.export(graph, tuple(inputs.values()), dynamic_shapes=shapes)
    except Exception as error:
        advice = "remove from forward what depends on the values of tensors or sizes (.item(), int(x), if x > 0)"
        alternative = f", or fix the size with particles={n} in the spec" if "n" in dynamic else ""
        raise ValueError(f"the model can't be traced into one graph: {advice}{alternative}. {error}") from error


def _compile(program: torch.export.ExportedProgram, path: Path, options: Mapping[str, Any]) -> None:
    metadata = {"openmmnnp_torch_version": str(torch.__version__)} | options.get("aot_inductor.metadata", {})
    configs = {"cpp.dynamic_threads": True, **options, "aot_inductor.metadata": metadata}
    torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=configs)


def _check_package(path: Path) -> None:
    """Raise ValueError unless the package is one library that needs no proxy executor and holds its weights."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if "/data/" in name]
        extern = [n for n in names if n.endswith(".json") and not n.endswith(("_metadata.json", "weights_config.json"))]
        nodes = [node["node"] for name in extern for node in json.loads(archive.read(name)).get("nodes", [])]
    if nodes:
        operators = sorted({node["target"] for node in nodes})
        raise ValueError(f"{operators} have no C interface in torch {torch.__version__}: use other operators for them")
    outside = [n for n in names if n.endswith(("_weights.blob", "weights_config.json")) or "/data/constants/" in n]
    if outside:
        raise ValueError(f"weights lie outside the library ({outside[0]}): leave out the options that put them there")
    libraries = [name for name in names if name.endswith(".so")]
    if len(libraries) != 1:
        raise ValueError(f"the package holds {len(libraries)} libraries, but must hold one")


def _compare(spec: ModelSpec, reference: Mapping[str, Any], expected: Results, found: Results) -> None:
    """Raise ValueError if a saved model is off its float64 reference, or in other outputs off the eager model."""
    relative, per_particle, rms = _TOLERANCES[spec.dtype]
    energy = reference["energy"] - spec.constant_energy(reference.get("atomic_numbers"))
    forces = torch.tensor(reference["forces"], dtype=torch.float64)
    exact = expected | {"energy": torch.tensor(energy, dtype=torch.float64), "forces": forces}
    for name, value in found.items():
        if name == "forces" and value.dtype != _DTYPES[spec.dtype]:
            raise ValueError(f"the forces are {_kind(value)}, but the spec says dtype {spec.dtype}")
        if value.shape != exact[name].shape:
            raise ValueError(f"output '{name}' is {_kind(value)} once saved, but {_kind(exact[name])} in eager mode")
        right = exact[name].double().cpu()
        scale, error = _rms(right), _rms(value.double().cpu() - right)
        allowed = rms * scale + (_FLOOR if name == "forces" else max(_FLOOR, per_particle))
        if name == "energy":
            allowed = relative * scale + (per_particle * len(forces) + _FLOOR) / ENERGY_UNITS[spec.energy_unit]
        if not error <= allowed:
            raise ValueError(f"output '{name}' of the saved model is off by {error:.3g} where {allowed:.3g} is allowed")


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
    with tempfile.TemporaryDirectory(prefix=".", dir=target.resolve().parent) as folder:
        aside = Path(folder, target.name)
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
