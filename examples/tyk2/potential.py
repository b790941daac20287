"""A compact equivariant message-passing potential (after PaiNN) over all pairs of a small molecule."""

import torch
from torch import Tensor, nn

COULOMB = 14.3996454785  # eV angstrom


class Channels(nn.Module):
    """A linear layer that acts on the channels of [..., channels, n]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        linear = nn.Linear(inputs, outputs)
        self.weight, self.bias = linear.weight, nn.Parameter(linear.bias.detach().unsqueeze(-1))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight @ x + self.bias


class Pairs(nn.Module):
    """Distances and unit vectors of all ordered pairs, an atom's pair with itself masked out."""

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        vectors = positions.unsqueeze(-3) - positions.unsqueeze(-2)  # [..., i, j, 3], from i to j
        own = torch.eye(positions.shape[-2], dtype=positions.dtype, device=positions.device)
        distances = (vectors.square().sum(-1) + own + 1e-8).sqrt()
        return distances, vectors / distances.unsqueeze(-1), 1 - own


class Repulsion(nn.Module):
    """Screened repulsion of the nuclei: small at the length of a bond, a wall at half of it."""

    def __init__(self, screening_length: float = 0.2) -> None:
        super().__init__()
        self.strength = 0.5 * COULOMB
        self.screening_length = screening_length

    def forward(self, distances: Tensor, mask: Tensor, numbers: Tensor) -> Tensor:
        z = self.strength**0.5 * numbers.to(distances.dtype)
        screened = torch.exp(-distances / self.screening_length) / distances * mask
        return z * (screened @ z)


class Interaction(nn.Module):
    """One round of messages between atoms, then of mixing within each atom.

    Scalars are [..., F, n], vectors [..., F, n, 3] and filters [..., F, n, n], so that a sum over neighbors is a
    product of matrices and nothing of size pairs x F x 3 is ever made.
    """

    def __init__(self, features: int, radial: int) -> None:
        super().__init__()
        self.filter = nn.Parameter(torch.randn(2 * features, radial) / radial**0.5)
        self.message = nn.Sequential(Channels(features, features), nn.SiLU(), Channels(features, 3 * features))
        self.mix = nn.Parameter(torch.randn(2 * features, features) / features**0.5)
        self.update = nn.Sequential(Channels(2 * features, features), nn.SiLU(), Channels(features, 3 * features))

    def forward(self, scalars: Tensor, vectors: Tensor, radial: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        filters = (self.filter @ radial.flatten(-2)).unflatten(-1, radial.shape[-2:])
        along_edges, between_atoms = filters.chunk(2, dim=-3)
        to_scalar, to_vector, to_unit = self.message(scalars).chunk(3, dim=-2)
        sent = torch.cat([to_scalar.unsqueeze(-1), to_vector.unsqueeze(-1) * vectors], dim=-1)
        received = between_atoms @ sent
        directed = (along_edges * to_unit.unsqueeze(-2)).transpose(-3, -2) @ units
        scalars = scalars + received[..., 0]
        vectors = vectors + received[..., 1:] + directed.transpose(-3, -2)

        mixed = (self.mix @ vectors.flatten(-2)).unflatten(-1, vectors.shape[-2:])
        left, right = mixed.chunk(2, dim=-3)
        norms = (right.square().sum(-1) + 1e-8).sqrt()
        shift, gate, scale = self.update(torch.cat([scalars, norms], dim=-2)).chunk(3, dim=-2)
        return scalars + shift + gate * (left * right).sum(-1), vectors + scale.unsqueeze(-1) * left


class Potential(nn.Module):
    """Energy (eV, float64) of a molecule from positions [..., n, 3] (angstrom) and atomic numbers [n]."""

    def __init__(self, features: int = 32, layers: int = 2, radial: int = 16, cutoff: float = 5.5) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.pairs = Pairs()
        self.repulsion = Repulsion()
        self.embedding = nn.Embedding(119, features)
        self.layers = nn.ModuleList([Interaction(features, radial) for _ in range(layers)])
        self.readout = nn.Sequential(Channels(2 * features, features), nn.SiLU(), Channels(features, 1))
        centers = torch.linspace(0.5, cutoff, radial)
        self.register_buffer("centers", centers.unsqueeze(-1).unsqueeze(-1), persistent=False)
        self.sharpness = 0.5 * ((radial - 1) / (1.2 * (cutoff - 0.5))) ** 2

    def forward(self, positions: Tensor, atomic_numbers: Tensor) -> Tensor:
        distances, units, mask = self.pairs(positions)
        inside = distances.clamp(max=self.cutoff)
        envelope = (1 - (inside / self.cutoff).square()).pow(3) * mask
        radial = torch.exp(-self.sharpness * (inside.unsqueeze(-3) - self.centers).square()) * envelope.unsqueeze(-3)
        embedded = self.embedding(atomic_numbers).transpose(-1, -2)
        vectors = (positions - positions).unsqueeze(-3) * embedded.unsqueeze(-1)
        scalars = embedded + vectors[..., 0]
        for layer in self.layers:
            scalars, vectors = layer(scalars, vectors, radial, units)
        invariants = torch.cat([scalars, vectors.square().sum(-1)], dim=-2)
        atomic = self.readout(invariants).squeeze(-2) + self.repulsion(distances, mask, atomic_numbers)
        return atomic.double().sum(-1)


def energy_and_forces(model: nn.Module, x: Tensor, numbers: Tensor, train: bool = False) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    energy = model(x, numbers)
    (gradient,) = torch.autograd.grad(energy.sum(), x, create_graph=train)
    return energy, -gradient
