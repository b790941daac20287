"""TensorNet and TensorNet2 of TorchMD-Net over edges from outside, made of PyTorch's own operators.

TorchMD-Net finds neighbors and passes messages with operators written in Warp, which no compiler of PyTorch sees into.
Here the edges come from the plugin, and the same arithmetic is written out in PyTorch: a tensor of rank two, one for
each channel, is kept as its nine irreducible components (Simeon and De Fabritiis, NeurIPS 2023, section 3.1).

Shapes: n atoms, e edges, f channels; tensors [n, 3, 3, f]; I [n, 1, f], A [n, 3, f] and S [n, 5, f] are the scalar,
antisymmetric and traceless symmetric parts, A as a vector and S as its elements 00, 01, 02, 11, 12.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

__all__ = ["Network"]

# Of TorchMD-Net's Coulomb energies, in eV and angstrom: hartree times bohr, and the damping's radius.
_COULOMB = 27.211386024367243 * 0.5291772105638411
_DAMPED = 4.6
_ZBL_BOHR, _ZBL_COULOMB = 5.29177210903e-11, 2.30707755e-28  # m, J m


class Edges(nn.Module):
    """Takes the place of TorchMD-Net's neighbor list: its argument ``box`` is a pair (edges, shifts).

    Returns edges [2, e + n], distances and vectors r_i - r_j, with an edge of length zero from each atom to itself
    at the end if ``loop``. Vectors between images of one atom, which TorchMD-Net does not scale, have unit length.
    """

    def __init__(self, loop: bool) -> None:
        super().__init__()
        self.loop = loop

    def forward(self, pos: Tensor, batch: Tensor, box: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        edges, vectors, lengths = box[0], *_vectors(pos, *box)
        vectors = -torch.where((edges[0] == edges[1]).unsqueeze(1), vectors / lengths.unsqueeze(1), vectors)
        if self.loop:
            own = torch.arange(pos.shape[0], device=pos.device)
            edges = torch.cat([edges, torch.stack([own, own])], 1)
            lengths = torch.cat([lengths, torch.zeros_like(pos[:, 0])])
            vectors = torch.cat([vectors, torch.zeros_like(pos)])
        return edges, lengths, vectors


class Network(nn.Module):
    """A TorchMD_Net over edges.

    forward takes positions [n, 3], atomic_numbers [n], edges [2, e], shifts [e, 3] and, if the model was trained with
    it, the total charge []. It returns the energy [], summed in float64, with ``constant`` and without the atoms'
    reference energies. The model given is changed.
    """

    def __init__(self, model: Any, *, constant: float = 0.0) -> None:
        super().__init__()
        self.model = _prepare(model)
        self.repulsion = getattr(model.representation_model, "repulsion", None)
        if self.repulsion is not None:  # computed here, since its sums over atoms need not be known
            model.representation_model.repulsion = None
        self.constant = constant

    def forward(
        self, positions: Tensor, atomic_numbers: Tensor, edges: Tensor, shifts: Tensor, charge: Tensor | None = None
    ) -> Tensor:
        model, batch = self.model, torch.zeros_like(atomic_numbers)
        q = None if charge is None else charge.to(positions.dtype).reshape(1)
        graph = (edges, shifts)
        x, *_ = model.representation_model(atomic_numbers, positions, batch, box=graph, q=q)
        channels = model.representation_model.hidden_channels
        energies = model.output_model.output_network(x[:, :channels]).squeeze(1)
        energy: Tensor = energies.double().sum()
        if self.repulsion is not None:
            energy = energy + _repulsion(self.repulsion, atomic_numbers, positions, graph)
        if hasattr(model.output_model, "qweights"):
            energy = energy + _coulomb(model.output_model, x[:, channels:], positions, graph)
        energy = energy * model.std.double()
        for prior in model.prior_model or ():
            if hasattr(prior, "cutoff_distance"):
                energy = energy + _zbl(prior, atomic_numbers, positions, graph)
        return energy + self.constant


def _prepare(model: Any) -> Any:
    """The TorchMD_Net itself, with its neighbor list and its operators in Warp exchanged for those of this module."""
    from torchmdnet.models import tensornet, tensornet2

    representation = model.representation_model
    representation.distance = Edges(loop=True)
    for module in representation.modules():
        if hasattr(module, "static_shapes"):
            module.static_shapes = False
        if hasattr(module, "opt"):
            module.opt = True  # the branch that calls the operators below
            module.forward = _rebound(type(module).forward, module, _OPERATORS)
        if isinstance(module, tensornet.TensorEmbedding):
            module.inference_mode = False
            module._get_atomic_number_message = types.MethodType(_pair_embedding, module)
        if isinstance(module, tensornet2.ChargePredict):
            module.qeq = _equilibrate
    return model


def _rebound(function: Callable[..., Any], owner: nn.Module, names: Mapping[str, Any]) -> types.MethodType:
    """The method of ``owner``, in which some global names mean something else."""
    scope = {**function.__globals__, **names}
    return types.MethodType(types.FunctionType(function.__code__, scope, None, function.__defaults__), owner)


def _vectors(positions: Tensor, edges: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
    """r_j - r_i + shift [e, 3] and its length [e]."""
    vectors = positions[edges[1]] - positions[edges[0]] + shifts
    return vectors, vectors.square().sum(1).sqrt()


def _equilibrate(charges: Tensor, f: Tensor, batch: Tensor, total: Tensor) -> Tensor:
    """Charges [n, c] that add up to the total charge, given for each atom [n], in each of the c kinds."""
    weights = f.square()
    missing = total.unsqueeze(1) - charges.sum(0, keepdim=True)
    return charges + weights / (weights.sum(0, keepdim=True) + 1e-6) * missing


def _pair_embedding(self: Any, z: Tensor, edge_index: Tensor) -> Tensor:
    """The layer emb2 of both atoms' embeddings: its two halves are applied to atoms, not to edges."""
    atoms, weight = self.emb(z), self.emb2.weight
    f = self.hidden_channels
    own, other = linear(atoms, weight[:, :f], self.emb2.bias), linear(atoms, weight[:, f:])
    return own[edge_index[0]] + other[edge_index[1]]


def _graph(edge_index: Tensor, n: int) -> tuple[Tensor, ...]:
    """In place of a sparse matrix by rows and by columns: centers and neighbors of both, and n numbers."""
    center, neighbor = edge_index
    return center, neighbor, edge_index.new_zeros(n), neighbor, center, edge_index.new_zeros(n)


def _embed(edge_vec_norm: Tensor, edge_attr: Tensor, row_data: Tensor, row_indptr: Tensor) -> tuple[Tensor, ...]:
    """Sums over edges of the weights [e, 3, f] times 1, the unit vector and its traceless outer product."""
    x, y, z = edge_vec_norm.unsqueeze(2).unbind(1)
    third = (x * x + y * y + z * z) / 3
    basis = torch.stack([torch.ones_like(x), x, y, z, x * x - third, x * y, x * z, y * y - third, y * z], 1)
    return _summed(basis * _spread(edge_attr), row_data, row_indptr.shape[0])


def _pass_messages(
    i: Tensor,
    a: Tensor,
    s: Tensor,
    edge_attr: Tensor,
    row_data: Tensor,
    row_indices: Tensor,
    row_indptr: Tensor,
    col_data: Tensor,
    col_indices: Tensor,
    col_indptr: Tensor,
) -> tuple[Tensor, ...]:
    """Sums over edges of the weights [e, 3, f] times the three parts of the neighbors."""
    parts = torch.cat([i, a, s], 1)
    return _summed(parts.index_select(0, row_indices) * _spread(edge_attr), row_data, i.shape[0])


def _spread(weights: Tensor) -> Tensor:
    """Weights [e, 3, f] of the three parts, for each of their components [e, 9, f]."""
    i, a, s = weights.unbind(1)
    return torch.stack([i, a, a, a, s, s, s, s, s], 1)


def _summed(messages: Tensor, centers: Tensor, n: int) -> tuple[Tensor, ...]:
    """Messages [e, 9, f] summed at their centers, as I, A and S."""
    zeros = messages.new_zeros(n, *messages.shape[1:])
    return torch.split(zeros.index_add(0, centers, messages), [1, 3, 5], 1)


def _compose(i: Tensor, a: Tensor, s: Tensor) -> Tensor:
    """The tensor of its parts."""
    (i0,), (a0, a1, a2), (s00, s01, s02, s11, s12) = i.unbind(1), a.unbind(1), s.unbind(1)
    rows = [
        [i0 + s00, s01 - a2, s02 + a1],
        [s01 + a2, i0 + s11, s12 - a0],
        [s02 - a1, s12 + a0, i0 - s00 - s11],
    ]
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def _decompose(x: Tensor) -> tuple[Tensor, ...]:
    """The parts I, A, S of a tensor."""
    (x00, x01, x02), (x10, x11, x12), (x20, x21, x22) = (row.unbind(1) for row in x.unbind(1))
    i = (x00 + x11 + x22) / 3
    a = torch.stack([x21 - x12, x02 - x20, x10 - x01], 1) / 2
    s = torch.stack([x00 - i, (x01 + x10) / 2, (x02 + x20) / 2, x11 - i, (x12 + x21) / 2], 1)
    return i.unsqueeze(1), a, s


def _product(x: Tensor, y: Tensor) -> Tensor:
    """Matrix products in each channel."""
    return (x.unsqueeze(3) * y.unsqueeze(1)).sum(2)


def _symmetric_product(x: Tensor, y: Tensor) -> Tensor:
    return _product(x, y) + _product(y, x)


def _norms(x: Tensor) -> Tensor:
    """Squared Frobenius norms [n, 3 f] of the three parts."""
    i, a, s = _decompose(x)
    s00, s01, s02, s11, s12 = s.square().unbind(1)
    last = (s[:, 0] + s[:, 3]).square()
    return torch.cat([3 * i.squeeze(1).square(), 2 * a.square().sum(1), s00 + s11 + last + 2 * (s01 + s02 + s12)], 1)


_OPERATORS: Mapping[str, Any] = {
    "graph_transform": _graph,
    "fn_tensornet_embedding_message_passing": _embed,
    "fn_tensornet_interaction_message_passing": _pass_messages,
    "compose_tensor": _compose,
    "decompose_tensor": _decompose,
    "tensor_matmul_o3": _symmetric_product,
    "tensor_matmul_so3": _product,
    "fn_tensor_norm3": _norms,
}


def _coulomb(output: Any, charges: Tensor, positions: Tensor, graph: tuple[Tensor, Tensor]) -> Tensor:
    """Coulomb energy of the predicted charges [n, c], a weighted mean over their kinds, in eV; lengths in angstrom.

    Without a cutoff it is summed over all pairs; with one, over edges, as a reaction field.
    """
    weighted: Tensor = charges * (output.qweights / output.qweights.sum())
    if output.cutoff is None:
        own = torch.eye(positions.shape[0], dtype=positions.dtype, device=positions.device)
        vectors = positions.unsqueeze(1) - positions.unsqueeze(0)
        lengths = (vectors.square().sum(2) + own).sqrt()
        pairs: Tensor = weighted @ charges.T * (1 - own)
        return (pairs * _damping(lengths) / lengths).double().sum().mul(_COULOMB / 2)
    edges, (_, lengths) = graph[0], _vectors(positions, *graph)
    pairs = (weighted[edges[0]] * charges[edges[1]]).sum(1) * (lengths < output.cutoff)
    rc, eps = output.cutoff, output.epsilon_solvent
    k, c = (eps - 1) / (2 * eps + 1) / rc**3, 3 * eps / (2 * eps + 1) / rc
    field: Tensor = 1 / lengths + k * lengths.square() - c
    return (pairs * _damping(lengths) * field).double().sum().mul(_COULOMB / 2)


def _damping(lengths: Tensor) -> Tensor:
    """1 minus a bump that is 1 at no distance and 0 beyond the damping's radius."""
    ratio = (lengths / _DAMPED).clamp(0, 1 - 1e-6)
    return 1 - torch.exp(1 - 1 / (1 - ratio.square()))


def _repulsion(module: Any, atomic_numbers: Tensor, positions: Tensor, graph: tuple[Tensor, Tensor]) -> Tensor:
    """TensorNet2's screened repulsion of nuclei, which ends where covalent radii touch, in eV; lengths in angstrom."""
    lengths = _vectors(positions, *graph)[1]
    z = atomic_numbers[graph[0]].clamp(max=module.num_elem - 1)
    cutoff, product = module.cutoff_ab[z[0], z[1]].to(lengths.dtype), module.z_outer[z[0], z[1]].to(lengths.dtype)
    x = lengths * module.z_pow[z].sum(0) * module.ANGSTROM_TO_BOHR / module.A_PREFACTOR
    ratio, p = (lengths / cutoff).clamp(max=1.0), float(module.ENVELOPE_P)
    powers = (p + 1) * (p + 2) / 2 - p * (p + 2) * ratio + p * (p + 1) / 2 * ratio.square()
    envelope = (1 - powers * ratio.pow(p)) * (lengths < cutoff)
    energies: Tensor = product / lengths * _screening(x) * envelope
    return energies.double().sum().mul(module.COULOMB_EV_ANGSTROM / 2)


def _screening(x: Tensor) -> Tensor:
    """The universal function of Ziegler, Biersack and Littmark (1985)."""
    terms = (0.1818, 3.2), (0.5099, 0.9423), (0.2802, 0.4029), (0.02817, 0.2016)
    return torch.stack([c * torch.exp(-a * x) for c, a in terms]).sum(0)


def _zbl(prior: Any, atomic_numbers: Tensor, positions: Tensor, graph: tuple[Tensor, Tensor]) -> Tensor:
    """Screened repulsion of nuclei within the prior's own cutoff, in its units."""
    lengths = _vectors(positions, *graph)[1]
    z = prior.atomic_number[atomic_numbers].to(positions.dtype)[graph[0]]
    scale = 0.8854 * _ZBL_BOHR / prior.distance_scale
    screened = _screening(lengths * z.pow(0.23).sum(0) / scale)
    energies: Tensor = screened * prior.cutoff(lengths) * z[0] * z[1] / lengths
    return energies.double().sum().mul(_ZBL_COULOMB / prior.energy_scale / prior.distance_scale / 2)
