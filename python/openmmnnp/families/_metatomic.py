"""A metatomic model behind the inputs of the plugin; what ``Metatomic`` does is TorchScript and runs without Python."""

import json
import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from metatensor.torch import Labels, TensorBlock
from metatomic.torch import ModelEvaluationOptions, ModelOutput, NeighborListOptions, System, check_atomistic_model
from torch import Tensor, nn

from ..spec import ModelSpec
from . import Loaded

_LENGTHS = {"angstrom": "angstrom", "a": "angstrom", "bohr": "bohr", "nm": "nm", "nanometer": "nm"}
_ENERGIES = {"ev": "eV", "kj/mol": "kJ/mol", "kcal/mol": "kcal/mol", "hartree": "hartree"}
_UNCERTAINTY = "energy_uncertainty"
_REFERENCES = ("model", "architecture", "implementation")


class Metatomic(nn.Module):
    """A loaded ``AtomisticModel``, called with one system.

    Parameters
    ----------
    model : the model as TorchScript
    outputs : metatomic's names of what to ask for, the energy being the first, and whether it is given for the
        "system" or for each "atom". An energy of each atom is summed, and returned as well
    dtype : of all floating-point numbers; the model has no other one, so a change of this module's dtype does nothing
    periodic : False: the system has no box, whatever forward is given
    """

    lists: list[NeighborListOptions]
    outputs: dict[str, str]

    def __init__(self, model: Any, outputs: dict[str, str], dtype: torch.dtype, periodic: bool) -> None:
        super().__init__()
        self.model = model
        self.lists = model.requested_neighbor_lists()
        self.outputs = outputs
        self.dtype = dtype
        self.periodic = periodic

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "Metatomic":
        return self

    def forward(
        self,
        positions: Tensor,
        atomic_numbers: Tensor,
        box: Tensor | None = None,
        edges: Tensor | None = None,
        shifts: Tensor | None = None,
    ) -> list[Tensor]:
        """Energy [], then per-atom energies [n] and the other outputs, in float64 and the model's units.

        ``positions`` [n, 3] and the rows of ``box`` [3, 3] are in the model's unit, ``edges`` [2, e] and the cells
        ``shifts`` [e, 3] those of the plugin's neighbor list with the largest cutoff, full if any list is.
        """
        x = positions.to(self.dtype)
        cell = box.to(self.dtype) if self.periodic and box is not None else torch.zeros(3, 3).to(x)
        pbc = torch.full((3,), self.periodic, dtype=torch.bool, device=x.device)
        system = System(atomic_numbers.to(torch.int32), x, cell, pbc)
        if box is not None and edges is not None and shifts is not None:
            self.add_neighbors(system, box.to(x), edges, shifts)
        wanted: dict[str, ModelOutput] = {}
        for name, kind in self.outputs.items():
            wanted[name] = ModelOutput(sample_kind=kind)
        results = self.model([system], ModelEvaluationOptions(outputs=wanted), False)
        found: list[Tensor] = []
        for name, kind in self.outputs.items():
            block = results[name].block(0)
            values = block.values.reshape(-1).to(torch.float64)
            if kind == "atom":
                order = block.samples.column("atom").to(torch.int64)
                found.append(torch.zeros(len(x), dtype=values.dtype, device=x.device).index_add(0, order, values))
            else:
                found.append(values.sum())
        return found if found[0].dim() == 0 else [found[0].sum()] + found

    def add_neighbors(self, system: System, box: Tensor, edges: Tensor, shifts: Tensor) -> None:
        """Give the system every list that the model wants: those of the edges that are near enough, or half of them.

        Padding is beyond the cutoff by a shift in the plugin's box, also where the system has none.
        """
        centers, neighbors = edges[0], edges[1]
        vectors = system.positions[neighbors] - system.positions[centers] + shifts.to(box) @ box
        distances = vectors.detach().square().sum(1).sqrt()
        a, b, c = shifts[:, 0], shifts[:, 1], shifts[:, 2]
        ahead = (a > 0) | (a == 0) & ((b > 0) | (b == 0) & (c > 0))
        once = (centers < neighbors) | (centers == neighbors) & ahead
        names = ["first_atom", "second_atom", "cell_shift_a", "cell_shift_b", "cell_shift_c"]
        samples = torch.cat([edges.t(), shifts], 1).to(torch.int32)
        numbers = torch.arange(3, dtype=torch.int32, device=edges.device).unsqueeze(1)
        for options in self.lists:
            chosen = distances < options.cutoff
            if not options.full_list:
                chosen = chosen & once
            block = TensorBlock(
                vectors[chosen].unsqueeze(2),
                Labels(names, samples[chosen], assume_unique=True),
                [Labels(["xyz"], numbers)],
                Labels(["distance"], numbers[:1]),
            )
            system.add_neighbor_list(options, block)


def load_model(path: Path, name: str, *, dtype: str | None, vacuum: bool) -> Loaded:
    """The model in a file that ``AtomisticModel.save()`` wrote, with its spec; ``name`` is that of its energy.

    Raises ValueError for a file that is no such model, and for a model that needs or gives what the plugin has not.
    """
    model = _read(path)
    capabilities = model.capabilities()
    if dtype not in (None, capabilities.dtype):
        raise ValueError(f"{path} computes in {capabilities.dtype} only, but --dtype {dtype} was given: leave it out")
    inputs = sorted(model.requested_inputs(use_new_names=True))
    if inputs:
        raise ValueError(f"{path} takes {', '.join(inputs)}, which can't be given to a metatomic model in OpenMM")
    outputs = _choose_outputs(path, capabilities.outputs, name)
    spec = _make_spec(path, model, outputs, vacuum)
    return Loaded(spec, Metatomic(model, outputs, getattr(torch, spec.dtype), periodic=not vacuum))


def _read(path: Path) -> Any:
    """The model as TorchScript. No library is loaded that the file names: those are native code."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            names = [name for name in archive.namelist() if name.endswith("/extra/extensions")]
            extensions = [extension["name"] for extension in json.loads(archive.read(names[0]))] if names else []
        if damaged is not None:
            raise ValueError(f"its entry '{damaged}' is damaged; get the file again")
        check_atomistic_model(str(path))
        return torch.jit.load(path)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, zipfile.BadZipFile) as error:
        if "Unknown builtin op" in str(error) or "Unknown type name" in str(error):
            raise ValueError(
                f"{path} needs operators of other libraries than metatomic's and metatensor's, which openmm-nnp does "
                f"not load; loaded when it was saved: {', '.join(extensions) or 'none'}"
            ) from error
        raise ValueError(f"{path} can't be read as a metatomic model: {error}") from error


def _choose_outputs(path: Path, available: Mapping[str, Any], name: str) -> dict[str, str]:
    """Metatomic's names of the energy and, if the model gives it, of the energy's uncertainty, with their kinds."""
    if name not in available or name.partition("/")[0] != "energy":
        known = [output for output in available if output.partition("/")[0] == "energy"]
        raise ValueError(f"{path} has no energy of the name '{name}'; its energies are {', '.join(known) or 'none'}")
    uncertainty = name.replace("energy", _UNCERTAINTY, 1)
    return {key: available[key].sample_kind for key in (name, uncertainty) if key in available}


def _make_spec(path: Path, model: Any, outputs: dict[str, str], vacuum: bool) -> ModelSpec:
    capabilities, metadata, lists = model.capabilities(), model.metadata(), model.requested_neighbor_lists()
    elements = sorted(capabilities.atomic_types)
    if not all(1 <= z <= 118 for z in elements):
        raise ValueError(f"{path} knows the atomic types {elements}, but atomic numbers (1 to 118) are needed")
    (energy, kind), *others = outputs.items()
    unit = _unit(path, "energy", capabilities.outputs[energy].unit, _ENERGIES)
    names = ["energy"] + ["atomic_energy"] * (kind == "atom") + [_UNCERTAINTY] * len(others)
    inputs = ["positions", "atomic_numbers"] + ["box"] * (bool(lists) or not vacuum)
    long_range = math.isinf(capabilities.interaction_range)
    return ModelSpec(
        name=metadata.name or path.stem,
        length_unit=_unit(path, "length", capabilities.length_unit, _LENGTHS),
        energy_unit=unit,
        dtype=capabilities.dtype,
        inputs=inputs + ["edges", "shifts"] * bool(lists),
        outputs=names,
        output_units={name: unit for name in names[1:]},
        elements=elements,
        cutoff=max((options.cutoff for options in lists), default=None),
        edges="full" if any(options.full_list for options in lists) else "half" if lists else None,
        shifts="cell" if lists else None,
        periodic=False if vacuum else True if long_range else None,
        long_range=long_range,
        libraries=["metatensor", "metatomic"],
        authors=list(metadata.authors),
        license=metadata.extra.get("license", ""),
        citation="; ".join(text for kind in _REFERENCES for text in metadata.references.get(kind, [])),
        domain=metadata.description,
    )


def _unit(path: Path, kind: str, given: str, known: Mapping[str, str]) -> str:
    if given.lower() not in known:
        raise ValueError(
            f"{path} has the {kind} unit '{given}', but known are {', '.join(sorted(set(known.values())))}"
        )
    return known[given.lower()]
