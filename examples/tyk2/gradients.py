"""Gradients of the loss on energies and forces at the cost of first derivatives only."""

import copy

import torch
from labels import ligand
from potential import Potential, energy_and_forces
from torch import Tensor

CALM = 2.0  # eV/angstrom; frames whose forces are larger in the root mean square weigh less
STEP = 0.005  # angstrom, root mean square of the displacement


class Gradients:
    """Writes the gradients of the loss into a model's parameters and returns the mean square error of the forces.

    The loss of a frame is |dF|^2 / 3n + energy_weight dE^2 with the errors dE (eV) and dF (eV/angstrom). As forces are
    derivatives of the energy, the first term's gradient is that of the energy's slope along dF, and the slope is taken
    from energies at two geometries displaced along dF: to one part in 10^4, and in half the time of second derivatives.
    """

    def __init__(self, model: Potential, energy_weight: float, eager: bool) -> None:
        self.energy_weight = energy_weight
        self.numbers = torch.tensor(ligand()[1])
        frozen = copy.deepcopy(model).requires_grad_(False)
        for own, shared in zip(frozen.parameters(), model.parameters(), strict=True):
            own.data = shared.data
        self.parameters = list(model.parameters())
        self.model, self.frozen = (m if eager else torch.compile(m, dynamic=False) for m in (model, frozen))

    def __call__(self, positions: Tensor, energies: Tensor, forces: Tensor) -> float:
        """For positions [batch, n, 3] with energies [batch] and forces [batch, n, 3]."""
        energy, force = energy_and_forces(self.frozen, positions, self.numbers)
        energy_error, force_error = energy.detach()[:, 0] - energies, force - forces
        size = force_error.square().mean((1, 2)).sqrt() + 1e-9
        displacement = STEP * force_error / size[:, None, None]
        pair = self.model(torch.cat([positions + displacement, positions - displacement]), self.numbers)[:, 0]
        ahead, behind = pair.chunk(2)

        weights = (CALM / forces.square().mean((1, 2)).sqrt()).clamp(max=1.0).square() / len(energies)
        slope = size * (behind - ahead) / (STEP * positions[0].numel())
        change = slope + self.energy_weight * energy_error * (ahead + behind)
        for parameter in self.parameters:
            parameter.grad = None
        (weights * change).sum().backward()
        return size.square().mean().item()
