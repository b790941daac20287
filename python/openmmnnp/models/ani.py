"""The ANI architecture, in a form that can be traced with dynamic sizes, compiled ahead of time, and scripted.

Symmetry functions: J. Behler, M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007); J. S. Smith, O. Isayev, A. E.
Roitberg, Chem. Sci. 8, 3192 (2017) (ANI-1). ANI-2x: C. Devereux et al., J. Chem. Theory Comput. 16, 4192 (2020). Two
constants are NeuroChem's, as in TorchANI: the factor 1/4 of the radial functions, and 0.95 in arccos(0.95 cos(angle)),
which keeps the gradient finite for atoms in a line. Results of forward without a type in its signature are a tuple of
two or three, which TorchScript finds out.

Lengths are in angstrom and energies in hartree. Energies are without those of the free atoms.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .ani_parameters import AniParameters, Layer

__all__ = ["AniAnyAtoms", "AniFixedEdges", "AniMolecule"]


class Environments(nn.Module):
    """Radial and angular symmetry functions of every atom, its atomic environment vector."""

    radial_shifts: Tensor
    angular_shifts: Tensor
    cos_sections: Tensor
    sin_sections: Tensor
    pair_index: Tensor

    def __init__(self, p: AniParameters) -> None:
        super().__init__()
        self.species = len(p.elements)
        self.pairs = self.species * (self.species + 1) // 2
        self.radial_cutoff, self.angular_cutoff = p.radial_cutoff, p.angular_cutoff
        self.radial_eta, self.angular_eta, self.zeta = p.radial_eta, p.angular_eta, p.zeta
        self.smooth = p.smooth
        double = torch.float64
        self.register_buffer("radial_shifts", torch.tensor(p.radial_shifts, dtype=double))
        self.register_buffer("angular_shifts", torch.tensor(p.angular_shifts, dtype=double))
        sections = torch.tensor(p.sections, dtype=double)
        self.register_buffer("cos_sections", torch.cos(sections))
        self.register_buffer("sin_sections", torch.sin(sections))
        pair_index = torch.zeros(self.species, self.species, dtype=torch.int64)
        first, second = torch.triu_indices(self.species, self.species)
        pair_index[first, second] = pair_index[second, first] = torch.arange(self.pairs)
        self.register_buffer("pair_index", pair_index)

    def forward(self, n: int, vectors: Tensor, center: Tensor, kind: Tensor) -> Tensor:
        """Environments [n, width] from r_ij [e, 3], the row of i [e] in the result, in order, and the species of j [e].

        Pairs at the cutoff or beyond add nothing, and neither does a vector of length zero.
        """
        r = (vectors * vectors).sum(1).clamp(min=1e-10).sqrt()
        apart = r > 2e-5  # an atom is not its own neighbor
        radial = self._radial(r) * apart.unsqueeze(1)
        radial = _sums(n * self.species, center * self.species + kind, radial)
        near = torch.nonzero((r < self.angular_cutoff) & apart).squeeze(1)
        center, kind, r, vectors = center[near], kind[near], r[near], vectors[near]
        first, second = triples(center)
        pair = self.pair_index[kind[first], kind[second]]
        angular = self._angular(r, vectors / r.unsqueeze(1), first, second)
        angular = _sums(n * self.pairs, center[first] * self.pairs + pair, angular)
        return torch.cat([radial.reshape(n, -1), angular.reshape(n, -1)], 1)

    def _radial(self, r: Tensor) -> Tensor:
        """Pair functions [e, shifts] of distances [e]."""
        x = r.unsqueeze(1) - self.radial_shifts
        return 0.25 * torch.exp(-self.radial_eta * x * x) * self._cutoff(r, self.radial_cutoff).unsqueeze(1)

    def _angular(self, r: Tensor, directions: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Triple functions [t, shifts * sections] of the distances [e] and unit vectors [e, 3] of pairs."""
        weight = self._cutoff(r, self.angular_cutoff)
        cosine = 0.95 * (directions[first] * directions[second]).sum(1)
        sine = (1 - cosine * cosine).sqrt()
        # cos(angle - section), with angle = arccos(0.95 cos(angle))
        turned = cosine.unsqueeze(1) * self.cos_sections + sine.unsqueeze(1) * self.sin_sections
        angle = (0.5 + 0.5 * turned).clamp(min=0.0) ** self.zeta
        x = 0.5 * (r[first] + r[second]).unsqueeze(1) - self.angular_shifts
        distance = torch.exp(-self.angular_eta * x * x) * (2 * weight[first] * weight[second]).unsqueeze(1)
        return (distance.unsqueeze(2) * angle.unsqueeze(1)).flatten(1)

    def _cutoff(self, r: Tensor, cutoff: float) -> Tensor:
        x = r / cutoff
        if self.smooth:
            f = torch.exp(1 - 1 / (1 - x * x).clamp(min=1e-10))
        else:
            f = 0.5 + 0.5 * torch.cos(math.pi * x)
        return f * (x < 1)


def triples(center: Tensor) -> tuple[Tensor, Tensor]:
    """Every two of the pairs [e] that have one center, as indices [t] and [t]; ``center`` is in order."""
    pair = torch.arange(center.shape[0], device=center.device)
    before = pair - torch.searchsorted(center, center)  # pairs of the same center in front of this one
    first = torch.repeat_interleave(pair, before)
    end = torch.cumsum(before, 0)
    rank = torch.arange(first.shape[0], device=center.device) - (end - before)[first]
    return first, first - before[first] + rank


def _sums(rows: int, row: Tensor, values: Tensor) -> Tensor:
    """Sums [rows, width] of values [k, width] by their row [k]."""
    zeros = torch.zeros(rows, values.shape[1], dtype=values.dtype, device=values.device)
    return zeros.index_add(0, row, values)


class Hidden(nn.Module):
    """A layer of several networks: x -> x W + b with x [members, n, in]."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.register_buffer("weight", layer.weight)
        self.register_buffer("bias", layer.bias.unsqueeze(1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.bmm(x, self.weight) + self.bias


class _AtOnce(torch.autograd.Function):
    """Energies of one element's networks with their gradient right behind, while the weights are in the cache.

    Most of the time goes into reading weights. Forward through all elements and then backward reads them twice.
    """

    @staticmethod
    def forward(context: Any, networks: "Networks", environments: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = environments.detach().requires_grad_(True)
            energies = networks.energies(x)
            mean = energies.mean(0)
            (gradient,) = torch.autograd.grad(mean.sum(), x)
        context.save_for_backward(gradient)
        each = energies.detach()
        context.mark_non_differentiable(each)
        return mean.detach(), each

    @staticmethod
    @once_differentiable
    def backward(context: Any, of_mean: Tensor, of_each: Tensor) -> tuple[None, Tensor]:
        (gradient,) = context.saved_tensors
        return None, of_mean.unsqueeze(1) * gradient


class Networks(nn.Module):
    """The networks of one element, all in one pass: the first layers side by side, the others as a batch."""

    weight: Tensor
    bias: Tensor
    last_weight: Tensor
    last_bias: Tensor

    def __init__(self, layers: Sequence[Layer], activation: str) -> None:
        super().__init__()
        first, *middle, last = layers
        self.members = first.weight.shape[0]
        self.celu = activation == "celu"
        self.register_buffer("weight", first.weight.transpose(0, 1).flatten(1).contiguous())  # [in, members * out]
        self.register_buffer("bias", first.bias.flatten())
        self.hidden = nn.ModuleList([Hidden(layer) for layer in middle])
        self.register_buffer("last_weight", last.weight.transpose(1, 2).contiguous())  # [members, 1, in]
        self.register_buffer("last_bias", last.bias)  # [members, 1]

    def forward(self, environments: Tensor) -> tuple[Tensor, Tensor]:
        """Mean energies [n] of atoms with these environments [n, width]; each network's [members, n], for their values.

        Gradients are those of the mean.
        """
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            energies = self.energies(environments)
            return energies.mean(0), energies.detach()
        mean, each = _AtOnce.apply(self, environments)  # type: ignore[no-untyped-call]
        return mean, each

    @torch.jit.export
    def energies(self, environments: Tensor) -> Tensor:
        """Energies [members, n] of atoms with these environments [n, width]."""
        x = self._activation(environments @ self.weight + self.bias)
        x = x.view(-1, self.members, self.weight.shape[1] // self.members).transpose(0, 1).contiguous()
        for layer in self.hidden:
            x = self._activation(layer(x))
        return (x * self.last_weight).sum(2) + self.last_bias

    def _activation(self, x: Tensor) -> Tensor:
        return nn.functional.celu(x, 0.1) if self.celu else nn.functional.gelu(x)


class Mean(nn.Module):
    """Energy [] (float64) and energies of the atoms [n], given these and those of each network [1, n]."""

    def forward(self, mean: Tensor, each: Tensor) -> tuple[Tensor, Tensor]:
        return mean.double().sum(), mean


class Ensemble(nn.Module):
    """Energy [] (float64), its deviation [] and energies of the atoms [n], given these and each network's [members, n].

    The deviation is the standard deviation of a sample, with members - 1 in the denominator.
    """

    def forward(self, mean: Tensor, each: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return mean.double().sum(), each.double().sum(1).std().to(each.dtype), mean


class AniFixed(nn.Module):
    """ANI for atoms that are always the same, so that each network takes its own atoms without looking for them."""

    order: Tensor
    rank: Tensor
    kind: Tensor

    def __init__(self, p: AniParameters, numbers: Sequence[int]) -> None:
        """``numbers`` [n] are the atomic numbers. Raises ValueError for an element that the model does not have."""
        super().__init__()
        p = p.restricted(numbers)
        kind = torch.tensor([p.elements.index(z) for z in numbers])
        order = torch.argsort(kind, stable=True)
        self.n = len(numbers)
        self.counts = [int((kind == s).sum()) for s in range(len(p.elements))]
        self.register_buffer("order", order)
        self.register_buffer("rank", torch.argsort(order))
        self.register_buffer("kind", kind)
        self.outputs = _outputs(p)
        self.environments = Environments(p)
        self.networks = nn.ModuleList([Networks(layers, p.activation) for layers in p.networks])

    def atomic_energies(self, vectors: Tensor, center: Tensor, neighbor: Tensor) -> tuple[Tensor, Tensor]:
        """Energies [n] and [members, n] by vectors [e, 3] from each center [e], in order, to each neighbor [e]."""
        aev = self.environments(self.n, vectors, center, self.kind[neighbor])
        groups = torch.split(aev[self.order], self.counts)
        energies = [network(groups[i]) for i, network in enumerate(self.networks)]
        mean, each = torch.cat([e[0] for e in energies]), torch.cat([e[1] for e in energies], 1)
        return mean[self.rank], each[:, self.rank]


class AniMolecule(AniFixed):
    """A fixed molecule without a box: all pairs, forward(positions [n, 3])."""

    def forward(self, positions: Tensor):  # type: ignore[no-untyped-def]
        vectors = (positions.unsqueeze(0) - positions.unsqueeze(1)).reshape(-1, 3)
        pair = torch.arange(self.n * self.n, device=positions.device)
        center = torch.div(pair, self.n, rounding_mode="floor")
        mean, each = self.atomic_energies(vectors, center, pair - center * self.n)
        return self.outputs(mean, each)


class AniFixedEdges(AniFixed):
    """Fixed atoms with the plugin's edges, as in a box: forward(positions [n, 3], edges [2, e], shifts [e, 3])."""

    def forward(self, positions: Tensor, edges: Tensor, shifts: Tensor):  # type: ignore[no-untyped-def]
        center, neighbor = edges[0], edges[1]
        vectors = positions[neighbor] - positions[center] + shifts
        mean, each = self.atomic_energies(vectors, center, neighbor)
        return self.outputs(mean, each)


class AniAnyAtoms(nn.Module):
    """Any atoms: forward(positions [n, 3], atomic_numbers [n], edges [2, e], shifts [e, 3])."""

    kinds: Tensor

    def __init__(self, p: AniParameters) -> None:
        super().__init__()
        kinds = torch.full((119,), -1)
        kinds[torch.tensor(p.elements)] = torch.arange(len(p.elements))
        self.register_buffer("kinds", kinds)
        self.members = p.members
        self.outputs = _outputs(p)
        self.environments = Environments(p)
        self.networks = nn.ModuleList([Networks(layers, p.activation) for layers in p.networks])

    def forward(self, positions: Tensor, atomic_numbers: Tensor, edges: Tensor, shifts: Tensor):  # type: ignore[no-untyped-def]
        center, neighbor, kind = edges[0], edges[1], self.kinds[atomic_numbers]
        vectors = positions[neighbor] - positions[center] + shifts
        aev = self.environments(positions.shape[0], vectors, center, kind[neighbor])
        aev = torch.cat([aev, torch.zeros_like(aev[:1])])  # of an atom that isn't there, see _rows
        mean = torch.zeros(aev.shape[0], dtype=aev.dtype, device=aev.device)
        each = torch.zeros(self.members, aev.shape[0], dtype=aev.dtype, device=aev.device)
        for i, network in enumerate(self.networks):
            rows = _rows(kind == i)
            energies = network(aev[rows])
            mean, each = mean.index_add(0, rows, energies[0]), each.index_add(1, rows, energies[1])
        return self.outputs(mean[:-1], each[:, :-1])


def _rows(chosen: Tensor) -> Tensor:
    """Indices of the atoms chosen [n]; of one more atom, n, if it would be a single one.

    Matrix products of one row are another kind of product to the compiler, which must know that there is none.
    """
    single = chosen.sum(0, keepdim=True) == 1
    rows = torch.nonzero(torch.cat([chosen, single])).squeeze(1)
    if not torch.jit.is_scripting():  # type: ignore[attr-defined]
        torch.ops.aten._assert_scalar(rows.shape[0] != 1, "a network takes no single row")
    return rows


def _outputs(p: AniParameters) -> nn.Module:
    return Ensemble() if p.members > 1 else Mean()
