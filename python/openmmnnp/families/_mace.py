"""A MACE network behind the inputs and outputs of a ModelSpec. Needs the packages mace-torch and e3nn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import mace.calculators  # noqa: F401 - before e3nn, whose constants torch 2.6 and later refuse to load otherwise
import torch
from e3nn.o3 import Linear, SphericalHarmonics, TensorProduct
from e3nn.o3._linear import _codegen_linear
from e3nn.o3._spherical_harmonics import _spherical_harmonics
from e3nn.o3._tensor_product._codegen import codegen_tensor_product_left_right
from torch import Tensor, nn

__all__ = ["FEATURES", "Network", "use_python_code"]

FEATURES = {"total_charge": "charge", "total_spin": "multiplicity"}
"""Features of a whole system that a MACE network may be trained with, and our inputs for them."""


class Network(nn.Module):
    """The interaction energy of a MACE model (Batatia et al., NeurIPS 2022), without the energies of lone atoms.

    Parameters
    ----------
    model : MACE, ScaleShiftMACE or EnergyDipolesMACE, without atomic energies: they must be 0
    head : index of the head that gives the energy
    features : names among FEATURES, in the order in which forward takes them
    outputs : the model's own names of the outputs that follow the energy
    """

    rows: Tensor
    head: Tensor

    def __init__(self, model: Any, head: int, features: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.features = tuple(features)
        self.outputs = tuple(outputs)
        self.of_atoms = "node_energy" in outputs and not hasattr(model, "embedding_readout")
        rows = torch.zeros(119, len(model.atomic_numbers), dtype=next(model.parameters()).dtype)
        rows[model.atomic_numbers.cpu(), torch.arange(rows.shape[1])] = 1
        self.register_buffer("rows", rows)
        self.register_buffer("head", torch.tensor([head]))

    def forward(
        self, positions: Tensor, atomic_numbers: Tensor, edges: Tensor, shifts: Tensor, *features: Tensor
    ) -> tuple[Tensor, ...]:
        """Energy [] in eV and the other outputs, from positions and shifts in angstrom.

        The energy is the sum of the atoms' energies, in float64, where they are all of it.
        MACE's vectors go from sender to receiver. Centers are taken as receivers: our edges are sorted by them, so
        that messages are summed in the order of memory.
        """
        x = positions
        data = {
            "positions": x,
            "node_attrs": self.rows[atomic_numbers],
            "edge_index": edges.flip(0),
            "shifts": -shifts,
            "cell": x.new_zeros(3, 3),
            "batch": torch.zeros_like(atomic_numbers),
            "ptr": atomic_numbers.new_zeros(2),
            "head": self.head,
            "charges": x.new_zeros(x.shape[0]),
            **{name: value.to(x.dtype).reshape(1) for name, value in zip(self.features, features, strict=True)},
        }
        results = self.model(data, compute_force=False)
        results |= {name: results[name].squeeze(0) for name in ("energy", "dipole") if name in results}
        energy = results["node_energy"].double().sum() if self.of_atoms else results["energy"]
        return energy, *(results[name].to(x.dtype) for name in self.outputs)


class Harmonics(nn.Module):
    """An e3nn SphericalHarmonics layer: vectors [e, 3] -> [e, sum over its degrees l of 2 l + 1]."""

    scales: Tensor

    def __init__(self, layer: SphericalHarmonics) -> None:
        super().__init__()
        self.normalize = layer.normalize
        self.degrees = tuple(layer._ls_list)
        sizes = [2 * degree + 1 for degree in self.degrees]
        square = {"component": 1.0, "integral": 1 / (4 * math.pi)}.get(layer.normalization)
        scales = [math.sqrt(size * square) if square else 1.0 for size in sizes for _ in range(size)]
        self.register_buffer("scales", torch.tensor(scales))

    def forward(self, vectors: Tensor) -> Tensor:
        unit = nn.functional.normalize(vectors, dim=-1) if self.normalize else vectors
        polynomials = getattr(_spherical_harmonics, "_torchdynamo_inline", _spherical_harmonics)  # before scripting
        every = polynomials(max(self.degrees), *unit.unbind(-1))
        chosen = [every[:, degree**2 : (degree + 1) ** 2] for degree in self.degrees]
        return torch.cat(chosen, 1) * self.scales


def use_python_code(model: nn.Module) -> None:
    """Give e3nn's layers the Python code that was scripted when they were made or loaded, so that they can be traced.

    It is generated anew from what each layer says of itself, with constants in the default dtype. Raises ValueError if
    something that is scripted remains.
    """
    for layer in list(model.modules()):
        if isinstance(layer, Linear):
            _set_code(layer, _compiled_main=_linear(layer))
        elif isinstance(layer, TensorProduct):
            _set_code(layer, _compiled_main_left_right=_product(layer), _compiled_main_right=nn.Identity())
        for name, child in layer.named_children():
            if isinstance(child, SphericalHarmonics):
                setattr(layer, name, Harmonics(child))
    scripted = [name for name, layer in model.named_modules() if isinstance(layer, torch.jit.ScriptModule)]
    if scripted:
        raise ValueError(f"the layer {scripted[0]} of the model is TorchScript, whose Python code is not known")


def _set_code(layer: nn.Module, **code: nn.Module) -> None:
    layer.__codegen__ = []  # type: ignore[assignment]  # else a copy of the layer is scripted again
    for name, module in code.items():
        setattr(layer, name, module)


def _linear(layer: Linear) -> nn.Module:
    irreps = layer.irreps_in, layer.irreps_out
    words = {"shared_weights": layer.shared_weights, "optimize_einsums": layer._optimize_einsums}
    code: nn.Module = _codegen_linear(*irreps, layer.instructions, **words)[0]
    return code


def _product(layer: TensorProduct) -> nn.Module:
    irreps = layer.irreps_in1, layer.irreps_in2, layer.irreps_out
    options = layer.shared_weights, layer._specialized_code, layer._optimize_einsums
    code: nn.Module = codegen_tensor_product_left_right(*irreps, layer.instructions, *options)
    return code
