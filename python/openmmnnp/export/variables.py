"""Collective variables: outputs of a model whose components are differentiated, each by itself."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from ..spec import NO_ENERGY, ModelSpec
from .eager import Eager, Example, tensors

__all__ = ["counted"]


def counted(module: nn.Module, spec: ModelSpec, example: Example) -> ModelSpec:
    """The spec with the number of components of each collective variable.

    They are those that the spec names; the first output of a model that gives nothing but such is always one. Raises
    ValueError if the spec says other numbers than the module gives.
    """
    names = list(spec.collective_variables)
    if spec.energy_unit == NO_ENERGY and spec.summed_output not in names:
        names.insert(0, spec.summed_output)
    if not names:
        return spec
    results = Eager(module, spec).evaluate(tensors(spec, example), names)
    found = {name: results[name].numel() for name in names}
    for name, count in spec.collective_variables.items():
        if count != found[name]:
            raise ValueError(
                f"the spec's collective_variables say that '{name}' has {count} components, but the model gives "
                f"{found[name]}: correct the spec"
            )
    return replace(spec, collective_variables=found)
