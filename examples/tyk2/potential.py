"""A compact equivariant message-passing potential over all pairs of a small molecule, several members at once.

After PaiNN, with messages of full rank: what a neighbor sends is mixed by one matrix for each radial function. Every
parameter has the members as its first dimension, so that one member is trained alone and a committee is evaluated in
one pass. Scalars are [..., M, n, F] and vectors [..., M, 3, n, F] for n atoms, M members and F features.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from openmmnnp.spec import ModelSpec, read_spec

COULOMB = 14.3996454785  # eV angstrom


class Linear(nn.Module):
    """A linear layer of every member, on [..., M, n, inputs]."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.6 * torch.randn(members, inputs, outputs) / inputs**0.5)
        self.bias = nn.Parameter(torch.zeros(members, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias.unsqueeze(-2)


class Messages(nn.Module):
    """What each atom sends for each of K radial functions: [..., M, n, F] to [..., M, n K, F]."""

    def __init__(self, members: int, features: int, radial: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(members, features, radial, features) / (features * radial) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.weight.flatten(-2)).unflatten(-1, self.weight.shape[-2:]).flatten(-3, -2)


class Repulsion(nn.Module):
    """Screened repulsion of the nuclei: small at the length of a bond, a wall at half of it."""

    def __init__(self, screening_length: float = 0.2) -> None:
        super().__init__()
        self.strength = 0.5 * COULOMB
        self.screening_length = screening_length

    def forward(self, distances: Tensor, mask: Tensor, numbers: Tensor) -> Tensor:
        z = self.strength**0.5 * numbers.to(distances.dtype)
        screened = torch.exp(-distances / self.screening_length) / distances * mask
        return (z * (screened @ z)).sum(-1)


class Interaction(nn.Module):
    """One round of messages between atoms, then of mixing within each atom; in the first, all vectors are zero."""

    def __init__(self, members: int, features: int, radial: int, first: bool) -> None:
        super().__init__()
        self.hidden = Linear(members, features, features)
        self.scalars = Messages(members, features, radial)
        self.directions = Messages(members, features, radial)
        self.gate = None if first else Linear(members, features, features)
        self.vectors = None if first else Messages(members, features, radial)
        self.mix = nn.Parameter(torch.randn(members, features, 2 * features) / features**0.5)
        self.first = Linear(members, 2 * features, features)
        self.second = Linear(members, features, 3 * features)

    def forward(self, s: Tensor, v: Tensor, radial: Tensor, directed: Tensor) -> tuple[Tensor, Tensor]:
        """`radial` is [..., n, n K] and `directed`, the same times the unit vectors of pairs, [..., 3 n, n K]."""
        axes = [3, s.shape[-2]]
        sent = nn.functional.silu(self.hidden(s))
        s = s + radial.unsqueeze(-3) @ self.scalars(sent)
        along = (directed.unsqueeze(-3) @ self.directions(sent)).unflatten(-2, axes)
        if self.vectors is not None and self.gate is not None:
            carried = self.vectors((self.gate(sent).unsqueeze(-3) * v).flatten(-3, -2)).unflatten(-2, [3, -1])
            v = v + along + radial.unsqueeze(-3).unsqueeze(-3) @ carried
        else:
            v = along

        left, right = (v.flatten(-3, -2) @ self.mix).unflatten(-2, axes).chunk(2, dim=-1)
        norms = (right.square().sum(-3) + 1e-6).sqrt()
        update = self.second(nn.functional.silu(self.first(torch.cat([s, norms], dim=-1))))
        shift, gate, scale = update.chunk(3, dim=-1)
        return s + shift + gate * (left * right).sum(-3), v + scale.unsqueeze(-3) * left


class Potential(nn.Module):
    """Energies [..., M] (eV, float64) of a molecule from positions [..., n, 3] (angstrom) and atomic numbers [n]."""

    def __init__(
        self, members: int = 1, features: int = 32, layers: int = 2, radial: int = 10, cutoff: float = 5.5
    ) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.repulsion = Repulsion()
        self.embedding = nn.Parameter(torch.randn(members, 18, features))
        self.layers = nn.ModuleList([Interaction(members, features, radial, i == 0) for i in range(layers)])
        self.first = Linear(members, 2 * features, features)
        self.second = Linear(members, features, 1)
        self.register_buffer("centers", torch.linspace(0.6, cutoff, radial), persistent=False)
        self.sharpness = 0.5 * ((radial - 1) / (1.2 * (cutoff - 0.6))) ** 2

    def forward(self, positions: Tensor, atomic_numbers: Tensor) -> Tensor:
        vectors = positions.unsqueeze(-3) - positions.unsqueeze(-2)  # [..., i, j, 3], from i to j
        own = torch.eye(positions.shape[-2], dtype=positions.dtype, device=positions.device)
        distances = (vectors.square().sum(-1) + own + 1e-8).sqrt()
        units = (vectors / distances.unsqueeze(-1)).movedim(-1, -3)
        inside = distances.clamp(max=self.cutoff).unsqueeze(-1)
        envelope = (1 - (inside / self.cutoff).square()).pow(3) * (1 - own).unsqueeze(-1)
        radial = torch.exp(-self.sharpness * (inside - self.centers).square()) * envelope  # [..., n, n, K]
        directed = (units.unsqueeze(-1) * radial.unsqueeze(-4)).flatten(-2).flatten(-3, -2)

        s = self.embedding[:, atomic_numbers] + (positions - positions)[..., :1].unsqueeze(-3)
        v = s  # not read by the first layer
        for layer in self.layers:
            s, v = layer(s, v, radial.flatten(-2), directed)
        invariants = torch.cat([s, v.square().sum(-3)], dim=-1)
        atomic = self.second(nn.functional.silu(self.first(invariants))).squeeze(-1)
        repulsion = self.repulsion(distances, 1 - own, atomic_numbers)
        return atomic.double().sum(-1) + repulsion.double().unsqueeze(-1)


class Committee(nn.Module):
    """Mean of the members' energies and their standard deviation (eV, float64) for one geometry [n, 3]."""

    def __init__(self, members: Potential) -> None:
        super().__init__()
        self.members = members

    def forward(self, positions: Tensor, atomic_numbers: Tensor) -> tuple[Tensor, Tensor]:
        energies = self.members(positions, atomic_numbers)
        return energies.mean(), energies.std()


def energy_and_forces(model: Potential, x: Tensor, numbers: Tensor, train: bool = False) -> tuple[Tensor, Tensor]:
    """Energies [batch, M] and the forces [batch, n, 3] of their mean."""
    x = x.detach().requires_grad_()
    energy = model(x, numbers)
    (gradient,) = torch.autograd.grad(energy.mean(-1).sum(), x, create_graph=train)
    return energy, -gradient


def make(path: str | Path) -> tuple[Committee, ModelSpec]:
    """The committee in a file that train.py wrote, as a module that can be compiled or trained on, and its spec.

    openmm-nnp export factory potential:make ejm_31.pt -o ejm_31.pt2
    """
    spec = read_spec(path)
    saved = torch.jit.load(str(path))
    weights = {k.removeprefix("members."): v.detach() for k, v in saved.state_dict().items()}
    if spec is None or "embedding" not in weights:
        raise ValueError(f"{path} is no committee that train.py wrote")
    spec.references = []
    members, _, features = weights["embedding"].shape
    layers = 1 + max(int(k.split(".")[1]) for k in weights if k.startswith("layers."))
    radial, cutoff = weights["layers.0.scalars.weight"].shape[2], saved.members.cutoff
    model = Potential(members, features=features, layers=layers, radial=radial, cutoff=cutoff)
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    return Committee(model), spec
