"""A message-passing model with random weights; this file needs torch alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CUTOFF = 0.5  # nm
CHANNELS, RADIAL = 32, 8


class MessagePassing(nn.Module):
    """Energy in kJ/mol of atoms that pass messages along edges; smooth where a pair reaches the cutoff."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(6)
            self.embedding = nn.Embedding(18, CHANNELS)
            self.filters = nn.ModuleList(nn.Linear(RADIAL, CHANNELS, bias=False) for _ in range(2))
            self.updates = nn.ModuleList(nn.Linear(CHANNELS, CHANNELS) for _ in range(2))
            self.readout = nn.Linear(CHANNELS, 1)
        self.register_buffer("frequencies", torch.pi * torch.arange(1, RADIAL + 1, dtype=torch.float32))

    def forward(self, positions: Tensor, atomic_numbers: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
        center, neighbor = edges[0], edges[1]
        r = positions[neighbor] - positions[center] + shifts
        d = r.square().sum(1, keepdim=True).sqrt() / 0.5
        radial = torch.sin(self.frequencies * d) * (1 - d * d).clamp(min=0) ** 3
        h = self.embedding(atomic_numbers)
        for weigh, update in zip(self.filters, self.updates):  # noqa: B905 (TorchScript has no strict)
            messages = h[neighbor] * weigh(radial)
            h = h + torch.tanh(update(torch.zeros_like(h).index_add(0, center, messages)))
        return 10 * self.readout(h).sum()
