"""A small model in metatomic's own interface, with random weights; TorchScript needs it in a file.

metatomic compares the annotations of forward() with those of its documentation.
"""

# ruff: noqa: UP006, UP035, UP045

from pathlib import Path
from typing import Any, Dict, List, Optional

import torch
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import (
    AtomisticModel,
    ModelCapabilities,
    ModelMetadata,
    ModelOutput,
    NeighborListOptions,
    System,
)

ELEMENTS = [1, 6, 8]


class Pairs(torch.nn.Module):
    """E_i = sum over lists and pairs of c(r) f(Z_i, Z_j, exp(-2 (r/unit - centers)^2)), c going to 0 at the cutoff.

    ``lists`` are cutoffs and whether the list is full; ``unit`` is an angstrom in the model's unit of length. The
    energy's uncertainty is the sum of squares of E_i. Each element has an energy in a TensorMap, as in metatrain.
    """

    options: list[NeighborListOptions]

    def __init__(self, lists: list[tuple[float, bool]], unit: float, dtype: torch.dtype) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        self.options = [NeighborListOptions(cutoff=cutoff, full_list=full, strict=True) for cutoff, full in lists]
        self.register_buffer("centers", torch.linspace(0.5, 4.5, 8, dtype=dtype))
        self.register_buffer("first", torch.randn(10, 16, generator=generator).to(dtype))
        self.register_buffer("second", torch.randn(16, generator=generator).to(dtype))
        self.unit = unit
        energies = torch.linspace(0.1, 0.7, len(ELEMENTS), dtype=dtype).reshape(-1, 1)
        block = TensorBlock(
            energies, Labels(["element"], torch.tensor(ELEMENTS).reshape(-1, 1)), [], Labels.range("_", 1)
        )
        self.composition = TensorMap(Labels.range("_", 1), [block])

    def requested_neighbor_lists(self) -> list[NeighborListOptions]:
        return self.options

    def atomic(self, system: System) -> torch.Tensor:
        energies = torch.zeros(len(system), dtype=system.positions.dtype, device=system.positions.device)
        elements = self.composition.block(0)
        for k in range(len(elements.samples)):
            energies = torch.where(system.types == elements.samples.values[k, 0], elements.values[k, 0], energies)
        z = system.types.to(energies.dtype) / 10
        for options in self.options:
            block = system.get_neighbor_list(options)
            i = block.samples.column("first_atom").to(torch.int64)
            j = block.samples.column("second_atom").to(torch.int64)
            r = block.values.squeeze(-1).square().sum(1).sqrt() / self.unit
            radial = torch.exp(-2 * (r.unsqueeze(1) - self.centers) ** 2)
            x = torch.cat([torch.stack([z[i] + z[j], z[i] * z[j]], 1), radial], 1)
            cut = (1 - r * self.unit / options.cutoff) ** 3
            pairs = cut * (torch.tanh(x @ self.first) @ self.second)
            energies = energies.index_add(0, i, pairs)
            if not options.full_list:
                energies = energies.index_add(0, j, pairs)
        return energies

    def forward(
        self, systems: List[System], outputs: Dict[str, ModelOutput], selected_atoms: Optional[Labels]
    ) -> Dict[str, TensorMap]:
        energies = self.atomic(systems[0])
        atoms = torch.arange(len(energies), dtype=torch.int32, device=energies.device).flip(0).unsqueeze(1)
        zero = torch.zeros(1, 1, dtype=torch.int32, device=energies.device)
        found: dict[str, TensorMap] = {}
        for name, output in outputs.items():
            values = energies.square().sum() if name == "energy_uncertainty" else energies.sum()
            block = TensorBlock(values.reshape(1, 1), Labels(["system"], zero), [], Labels(["energy"], zero))
            if output.sample_kind == "atom":
                samples = Labels(["system", "atom"], torch.cat([torch.zeros_like(atoms), atoms], 1))
                block = TensorBlock(energies.flip(0).unsqueeze(1), samples, [], Labels(["energy"], zero))
            found[name] = TensorMap(Labels(["_"], zero), [block])
        return found


class Charged(Pairs):
    """Asks for charges of the atoms."""

    def requested_inputs(self) -> dict[str, ModelOutput]:
        return {"charge": ModelOutput(unit="e", sample_kind="atom")}


class Wells(Pairs):
    """E_i = r_i^2, without neighbors."""

    def atomic(self, system: System) -> torch.Tensor:
        return system.positions.square().sum(1)


def save_pairs(
    path: Path,
    *,
    lists: list[tuple[float, bool]],
    outputs: dict[str, str],
    dtype: str = "float64",
    length: str = "angstrom",
    energy: str = "eV",
    elements: list[int] = ELEMENTS,
    interaction_range: float | None = None,
    model: type[Pairs] = Pairs,
) -> None:
    """Save the model as metatomic does; ``outputs`` are names and kinds, and cutoffs in its unit of length."""
    farthest = max((cutoff for cutoff, _ in lists), default=0.0)
    capabilities = ModelCapabilities(
        outputs={name: ModelOutput(unit=energy, sample_kind=kind) for name, kind in outputs.items()},
        atomic_types=elements,
        interaction_range=farthest if interaction_range is None else interaction_range,
        length_unit=length,
        supported_devices=["cpu", "cuda"],
        dtype=dtype,
    )
    references: dict[str, Any] = {"model": ["Doe, J. Pairs 1, 2 (2026)"], "architecture": ["Roe, R. Sums 3, 4 (2025)"]}
    metadata = ModelMetadata(
        name="pairs",
        authors=["J. Doe"],
        references=references,
        extra={"license": "MIT"},
        description="pairs of H, C, O",
    )
    module = model(lists, 0.1 if length == "nm" else 1.0, getattr(torch, dtype)).eval()
    AtomisticModel(module, metadata, capabilities).save(path)
