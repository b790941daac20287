"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner (N. Vyas et al., ICLR 2025)."""

from collections.abc import Iterable

import torch
from torch import Tensor


def turned(x: Tensor, bases: list[Tensor], back: bool = False) -> Tensor:
    """Each dimension of x into its basis (columns), or back out of it."""
    for basis in bases:
        x = torch.tensordot(x, basis, dims=([0], [int(back)]))
    return x


def correlation(x: Tensor, dim: int) -> Tensor:
    rows = x.movedim(dim, 0).flatten(1)
    return rows @ rows.T


class Soap(torch.optim.Optimizer):
    """Every dimension but those of size 1 is turned; bases are renewed by one QR step every `every` steps.

    The first `gather` steps change nothing: from bases and squares of a few gradients, they would undo a trained model.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, beta: float = 0.95, every: int = 10, gather: int = 40
    ) -> None:
        super().__init__(parameters, {"lr": lr})
        self.beta, self.every, self.gather = beta, every, gather

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.update(parameter, parameter.grad.squeeze(), group["lr"])

    def update(self, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        state, dims = self.state[parameter], range(gradient.dim() if gradient.dim() > 1 else 0)
        if not state:
            state["correlations"] = [correlation(gradient, d) for d in dims]
            state["bases"] = [torch.linalg.eigh(c)[1] for c in state["correlations"]]
            state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
            state["steps"] = 0
        state["steps"] += 1
        state["mean"].lerp_(gradient, 1 - self.beta)
        state["square"].lerp_(turned(gradient, state["bases"]).square(), 1 - self.beta)
        unbiased = 1 - self.beta ** state["steps"]
        direction = turned(state["mean"], state["bases"]) / ((state["square"] * unbiased).sqrt() + 1e-8)
        if state["steps"] > self.gather:
            parameter.sub_(rate * turned(direction, state["bases"], back=True).view_as(parameter))
        for d in dims:
            state["correlations"][d].lerp_(correlation(gradient, d), 1 - self.beta)
        if state["steps"] % self.every == 0:
            pairs = zip(state["correlations"], state["bases"], strict=True)
            state["bases"] = [torch.linalg.qr(c @ b)[0] for c, b in pairs]
