"""The parameters of an ANI model: symmetry functions, networks of each element, energies of the free atoms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

__all__ = ["AniParameters", "Layer"]


@dataclass(frozen=True)
class Layer:
    """A linear layer of several networks: ``weight`` [networks, in, out] and ``bias`` [networks, out]."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class AniParameters:
    """Numbers that define an ANI model; lengths in angstrom, energies in hartree, tensors in float64.

    Attributes
    ----------
    elements : atomic numbers, in the order in which the columns of an atom's environment are sorted
    radial_cutoff, radial_eta, radial_shifts : of the pair functions
    angular_cutoff, angular_eta, angular_shifts, zeta, sections : of the triple functions
    smooth : cutoff function exp(1 - 1/(1 - (r/R)^2)) in place of (1 + cos(pi r/R))/2
    activation : "celu" (alpha = 0.1) or "gelu"
    networks : layers of each element's networks, in the order of ``elements``
    self_energies : energy of the free atom by atomic number
    """

    elements: tuple[int, ...]
    radial_cutoff: float
    radial_eta: float
    radial_shifts: tuple[float, ...]
    angular_cutoff: float
    angular_eta: float
    angular_shifts: tuple[float, ...]
    zeta: float
    sections: tuple[float, ...]
    smooth: bool
    activation: str
    networks: tuple[tuple[Layer, ...], ...]
    self_energies: dict[int, float]

    @property
    def members(self) -> int:
        """Number of networks of each element."""
        return int(self.networks[0][0].weight.shape[0])

    @classmethod
    def from_torchani(cls, model: Any) -> AniParameters:
        """The parameters of a ``torchani.arch.ANI``, to the last bit.

        Raises ValueError if the model has other parts than ANI's symmetry functions and networks.
        """
        aev, networks, shifter = model.aev_computer, model.neural_networks, model.energy_shifter
        members = [networks[i] for i in networks.active_members_idxs] if hasattr(networks, "members") else [networks]
        _check_parts(model, members)
        elements = tuple(model.atomic_numbers.tolist())
        radial, angular = aev.radial, aev.angular
        atomics = [[member.atomics[symbol] for member in members] for symbol in model.symbols]
        return cls(
            elements=elements,
            radial_cutoff=float(radial.cutoff),
            radial_eta=radial.eta.item(),
            radial_shifts=tuple(radial.shifts.tolist()),
            angular_cutoff=float(angular.cutoff),
            angular_eta=angular.eta.item(),
            angular_shifts=tuple(angular.shifts.tolist()),
            zeta=angular.zeta.item(),
            sections=tuple(angular.sections.tolist()),
            smooth=type(aev.radial.cutoff_fn).__name__ == "CutoffSmooth",
            activation=_ACTIVATIONS[type(atomics[0][0].activation).__name__],
            networks=tuple(_layers(of_element) for of_element in atomics),
            self_energies=dict(zip(elements, shifter.self_energies.double().tolist(), strict=True)),
        )

    def restricted(self, elements: Iterable[int]) -> AniParameters:
        """The same model for these elements alone: what the environments can't contain is cut out of the first layers.

        Raises ValueError for an element that the model does not have.
        """
        wanted = set(elements)
        unknown = sorted(wanted - set(self.elements))
        if unknown:
            raise ValueError(f"the model has no networks for the elements {unknown}; it has {sorted(self.elements)}")
        kept = [s for s, z in enumerate(self.elements) if z in wanted]
        columns = torch.tensor(self._columns(kept))

        def narrowed(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
            return (replace(layers[0], weight=layers[0].weight[:, columns]), *layers[1:])

        return replace(
            self,
            elements=tuple(self.elements[s] for s in kept),
            networks=tuple(narrowed(self.networks[s]) for s in kept),
            self_energies={self.elements[s]: self.self_energies[self.elements[s]] for s in kept},
        )

    def _columns(self, kept: Sequence[int]) -> list[int]:
        """Columns of an atom's environment that belong to these elements and to pairs of them."""
        n, pair = len(self.elements), len(self.angular_shifts) * len(self.sections)
        width = len(self.radial_shifts)
        pairs = [(s, t) for s in range(n) for t in range(s, n)]
        columns = [s * width + i for s in kept for i in range(width)]
        first = n * width
        allowed = set(kept)
        return columns + [
            first + p * pair + i for p, (s, t) in enumerate(pairs) if {s, t} <= allowed for i in range(pair)
        ]


_ACTIVATIONS = {"TightCELU": "celu", "GELU": "gelu"}


def _check_parts(model: Any, members: Sequence[Any]) -> None:
    """Raise ValueError unless every part of the model has its counterpart here."""
    cutoffs = {"CutoffCosine", "CutoffSmooth"}
    aev = model.aev_computer
    needed = [
        ("potentials", [name for name in model.potentials if name != "nnp"], []),
        ("radial functions", type(aev.radial).__name__, "ANIRadial"),
        ("angular functions", type(aev.angular).__name__, "ANIAngular"),
        ("networks", {type(member).__name__ for member in members}, {"ANINetworks"}),
    ]
    for what, given, known in needed:
        if given != known:
            raise ValueError(f"the model has the {what} {given}, but only {known} can be exported")
    cutoff = aev.radial.cutoff_fn
    if type(cutoff).__name__ not in cutoffs or getattr(cutoff, "order", 2) != 2:
        raise ValueError(f"the model has the cutoff function {cutoff}, but it must be CutoffCosine or CutoffSmooth")
    activations = {type(network.activation).__name__ for member in members for network in member.atomics.values()}
    if len(activations) != 1 or not activations <= set(_ACTIVATIONS):
        raise ValueError(f"the networks have the activation {sorted(activations)}, but all must be TightCELU or GELU")


def _layers(networks: Sequence[Any]) -> tuple[Layer, ...]:
    """The layers of several networks of one element, stacked."""
    stacks = [[*network.layers, network.final_layer] for network in networks]
    return tuple(_stacked([stack[i] for stack in stacks]) for i in range(len(stacks[0])))


def _stacked(layers: Sequence[Any]) -> Layer:
    weight = torch.stack([layer.weight.detach().double().t() for layer in layers])
    zero = torch.zeros(weight.shape[2], dtype=torch.float64)
    bias = [zero if layer.bias is None else layer.bias.detach().double() for layer in layers]
    return Layer(weight.contiguous(), torch.stack(bias))
