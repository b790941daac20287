"""A module as the exporter calls it: inputs of the right kind, every output by name, forces derived where they lack."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..spec import COMPONENT_FORCES, DERIVATIVE, LENGTH_UNITS, NO_ENERGY, PARAMETER, ModelSpec

Example = Mapping[str, Any]
Inputs = Mapping[str, Tensor]
Results = dict[str, Tensor]

SHAPES: Mapping[str, tuple[int | str, ...]] = {
    "positions": ("n", 3),
    "box": (3, 3),
    "atomic_numbers": ("n",),
    "types": ("n",),
    "edges": (2, "e"),
    "shifts": ("e", 3),
    "mm_positions": ("m", 3),
    "mm_charges": ("m",),
}
LEAST_EDGES = LEAST_CHARGES = 2
"""The plugin pads to as many, since compilers treat sizes of 0 and 1 in other ways."""
FORCES: Mapping[str, str] = {"forces": "positions", "mm_forces": "mm_positions"}
"""Outputs that are minus the energy's gradient, and by what."""
_FAR = (61.803398875, 57.721566490, 52.359877560)
"""Of padding charges from the first particle, in nm."""
DTYPES = {"float32": torch.float32, "float64": torch.float64, "int64": torch.int64, "int32": torch.int32}


class Eager:
    """A copy of a module that returns every output of a spec, and the forces: its own, else derivatives of its energy.

    The energy of a model that gives collective variables alone is the sum of its first output.

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
            return self.evaluate(inputs, completed(self.spec))
        except (RuntimeError, TypeError, IndexError) as error:
            given = ", ".join(f"{name} {kind(x)}" for name, x in inputs.items())
            raise ValueError(f"the model can't be called with the inputs of its spec ({given}): {error}") from error

    @torch.enable_grad()
    def evaluate(self, inputs: Inputs, wanted: Sequence[str]) -> Results:
        """The wanted outputs by name, those that the module does not return being derivatives of its energy."""
        differentiable = [name for name in inputs if name in FORCES.values() or name.startswith(PARAMETER)]
        leaves = {name: inputs[name].detach().requires_grad_(True) for name in differentiable}
        given = self.module(*({**inputs, **leaves}[name] for name in self.spec.inputs))
        results = _named(self.spec, given)
        self.returned, self.keyed = list(results), isinstance(given, Mapping)
        if "energy" not in results:
            results["energy"] = results[self.spec.summed_output].to(torch.float64).sum()
        for name in wanted:
            if name.startswith(COMPONENT_FORCES) and name not in results:
                results[name] = _component_forces(results, name.removeprefix(COMPONENT_FORCES), leaves["positions"])
        missing = {name: _source(name) for name in wanted if name not in results}
        if missing and not results["energy"].requires_grad:
            raise ValueError("the energy does not depend on the positions (was it detached, or made a Python number?)")
        if missing:
            leaf = [leaves[source] for source in missing.values()]
            gradients = torch.autograd.grad(results["energy"], leaf, materialize_grads=True)
            results |= {n: -g if n in FORCES else g for n, g in zip(missing, gradients, strict=True)}
        results["energy"] = results["energy"].to(torch.float64)
        # Clones, since an output that is a view of an input would change with the caller's buffer.
        return {name: results[name].detach().clone(memory_format=torch.contiguous_format) for name in wanted}


def _component_forces(results: Results, output: str, positions: Tensor) -> Tensor:
    """-d(component)/dr [..., n, 3] of each component of an output [...]."""
    values = results[output]
    if not values.requires_grad:
        raise ValueError(f"the output '{output}' does not depend on the positions, so it is no collective variable")
    components = values.reshape(-1).unbind()
    rows = [torch.autograd.grad(x, positions, retain_graph=True, materialize_grads=True)[0] for x in components]
    return -torch.stack(rows).reshape(*values.shape, *positions.shape)


def _named(spec: ModelSpec, given: Any) -> Results:
    """What forward returned, by name; forces and parameter derivatives may be missing. Raises ValueError otherwise."""
    own = [name for name in spec.outputs if not name.startswith((DERIVATIVE, COMPONENT_FORCES))]
    forces = [name for name in own if name != "mm_forces"]
    plain = [name for name in own if name not in FORCES]
    needed = [name for name in plain if name != "energy" or spec.energy_unit != NO_ENERGY]
    if isinstance(given, Mapping):
        named = {name: given[name] for name in spec.outputs if name in given}
    else:
        values = (given,) if isinstance(given, Tensor) else tuple(given)
        names = next((names for names in (spec.outputs, own, forces, plain, needed) if len(names) == len(values)), [])
        named = dict(zip(names, values, strict=False))
    if not set(needed) <= set(named):
        what = f"{len(given)} values" if isinstance(given, tuple | list) else kind(given)
        raise ValueError(f"forward returned {what}, but the spec says {spec.outputs} (forces and derivatives may lack)")
    for name, value in named.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise ValueError(f"output '{name}' is {kind(value)}, but must be a tensor of floating-point numbers")
    if "energy" in named and named["energy"].shape != ():
        raise ValueError(f"output 'energy' is {kind(named['energy'])}, but must be one number, shape []")
    return named


def kind(value: Any) -> str:
    """ "float32 [22, 3]", for messages."""
    return f"{str(value.dtype)[6:]} {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def completed(spec: ModelSpec) -> list[str]:
    """What a package gives: outputs with energy, forces (also on charges), and those of collective variables."""
    outputs = list(spec.outputs) if "energy" in spec.outputs else ["energy", *spec.outputs]
    after = outputs.index("energy") + 1
    missing = [name for name, source in FORCES.items() if source in spec.inputs and name not in outputs]
    components = [COMPONENT_FORCES + name for name in spec.collective_variables]
    outputs[after:after] = missing
    return outputs + [name for name in components if name not in outputs]


def without_derivatives(outputs: Sequence[str]) -> list[str]:
    """Outputs of an entry that serves calls for the energy alone."""
    return [name for name in outputs if name not in FORCES and not name.startswith((DERIVATIVE, COMPONENT_FORCES))]


def _source(output: str) -> str:
    return FORCES.get(output) or PARAMETER + output.removeprefix(DERIVATIVE)


def _dtype(spec: ModelSpec, name: str) -> torch.dtype:
    if name == "edges" or (name == "shifts" and spec.shifts in (None, "cell")):
        return DTYPES[spec.index_dtype or "int64"]
    return torch.int64 if name in ("atomic_numbers", "types", "charge", "multiplicity") else DTYPES[spec.dtype]


def tensors(spec: ModelSpec, example: Example, device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """The inputs of an example in the order of the spec, contiguous, of the right dtype. Raises ValueError if wrong."""
    if set(example) != set(spec.inputs):
        raise ValueError(f"an example has the inputs {sorted(example)}, but the spec's are {sorted(spec.inputs)}")
    sizes: dict[int | str, int] = {2: 2, 3: 3} | ({} if spec.particles == "dynamic" else {"n": int(spec.particles)})
    found = {}
    for name in spec.inputs:
        tensor = torch.as_tensor(example[name]).detach().to(device, _dtype(spec, name)).contiguous()
        shape = SHAPES.get(name, ())
        known = [sizes.setdefault(s, given) for s, given in zip(shape, tensor.shape, strict=False)]
        if tensor.dim() != len(shape) or list(tensor.shape) != known:
            needed = [sizes.get(size, size) for size in shape]
            raise ValueError(f"an example has '{name}' of shape {list(tensor.shape)}, but needed is {needed}")
        found[name] = tensor.unsqueeze(0) if name == "box" and spec.batched_box else tensor
    if spec.takes_charges:
        found = with_charges(spec, found, LEAST_CHARGES)
    if spec.edge_capacity not in (None, "dynamic"):
        return padded(spec, found, int(spec.edge_capacity or 0))
    few = "shifts" in found and "edges" in found and found["edges"].shape[1] < LEAST_EDGES
    return padded(spec, found, LEAST_EDGES) if few else found


def with_charges(spec: ModelSpec, inputs: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """With at least this many charges around: those that are added are zero and far away, as the plugin makes them."""
    missing = count - len(inputs["mm_charges"])
    if missing <= 0:
        return inputs
    far = inputs["positions"][0] + torch.tensor(_FAR).to(inputs["positions"]) / LENGTH_UNITS[spec.length_unit]
    positions = torch.cat([inputs["mm_positions"], far.expand(missing, 3)])
    charges = torch.cat([inputs["mm_charges"], torch.zeros(missing).to(inputs["mm_charges"])])
    return {**inputs, "mm_positions": positions, "mm_charges": charges}


def padded(spec: ModelSpec, inputs: dict[str, Tensor], capacity: int) -> dict[str, Tensor]:
    """With this many edges: those that are added are beyond the cutoff, as the plugin makes them."""
    given = inputs["edges"].shape[1]
    if given > capacity or (given < capacity and "shifts" not in inputs):
        needed = f"at most {capacity}" if "shifts" in inputs else f"exactly {capacity}, since it takes no shifts,"
        raise ValueError(f"an example has {given} edges, but {needed} are needed (edge_capacity)")
    if given == capacity:
        return inputs
    length, cutoff = inputs["box"].flatten()[0].item() if "box" in inputs else 1.0, spec.cutoff or 0.0
    shift = torch.zeros(capacity - given, 3).to(inputs["shifts"])
    shift[:, 0] = 2 * cutoff if spec.shifts == "cartesian" else math.ceil(2 * cutoff / length)
    edges = torch.zeros(2, capacity - given).to(inputs["edges"])
    more = {"edges": torch.cat([inputs["edges"], edges], 1), "shifts": torch.cat([inputs["shifts"], shift])}
    return {**inputs, **more}
