"""Charges around a model's particles, switched off before a cutoff, for electrostatic embedding. Needs torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["SwitchedCharges"]


class SwitchedCharges(nn.Module):
    """The charges that a model is to use: those that it was given, smoothly switched off before the cutoff.

    A charge q_j is multiplied by

        s_j = 1 - prod_i (1 - s(r_ij)),

    i being the model's particles: s_j is 1 if the charge is within ``switch`` of any of them, and 0 if it is
    ``cutoff`` or more away from all. s(r) = 1 - 10 x^3 + 15 x^4 - 6 x^5 with x = (r - switch) / (cutoff - switch)
    between the two, so that s and its first two derivatives are continuous. The energy is then a smooth function of all
    positions, its gradient is exact, and charges from ``cutoff`` on have no part in it: which of these the model is
    given does not matter. Use it in ``forward`` before anything else::

        def forward(self, positions, mm_positions, mm_charges):
            charges = self.switched(positions, mm_positions, mm_charges)
            ...

    and give the same ``cutoff`` as ``mm_cutoff`` in the spec. It can be traced and scripted.

    Raises ValueError unless 0 <= switch < cutoff.

    Parameters
    ----------
    switch, cutoff : distances in the model's length unit, 0 <= switch < cutoff
    """

    def __init__(self, switch: float, cutoff: float) -> None:
        super().__init__()
        if not 0 <= switch < cutoff:
            raise ValueError(
                f"charges are switched off from {switch} to {cutoff}, but 0 <= switch < cutoff, both in the model's "
                "length unit, is needed"
            )
        self.switch, self.width = float(switch), float(cutoff - switch)

    def forward(self, positions: Tensor, mm_positions: Tensor, mm_charges: Tensor, box: Tensor | None = None) -> Tensor:
        """The switched charges [m].

        ``positions`` [n, 3], ``mm_positions`` [m, 3] and ``box`` [3, 3] (its vectors as rows, in OpenMM's reduced form)
        are in the model's length unit. A model that takes the box gives it, and distances are those of nearest images.
        """
        r = mm_positions.unsqueeze(0) - positions.unsqueeze(1)  # [n, m, 3]
        if box is not None:
            for axis in (2, 1, 0):
                cells = torch.floor(r[:, :, axis] / box[axis, axis] + 0.5)
                r = r - cells.unsqueeze(2) * box[axis]
        x = ((r.square().sum(2).sqrt() - self.switch) / self.width).clamp(0.0, 1.0)
        off = x * x * x * (10.0 - 15.0 * x + 6.0 * x * x)  # 1 - s(r_ij)
        # 1e-30, a normal number in float32, stands for 0: the product of any with it is 0 beside 1.
        return mm_charges * (1.0 - off.clamp(min=1e-30).log().sum(0).exp())
