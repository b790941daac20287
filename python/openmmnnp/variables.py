"""Collective variables: the components of a network's output, each as an OpenMM Force."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable
from typing import Any

from .force import NNPForce

__all__ = ["collectiveVariables"]


def collectiveVariables(
    model: str | os.PathLike[str] | NNPForce,
    particles: Iterable[int] | None = None,
    output: str | None = None,
    *,
    atomicNumbers: Iterable[Any] | None = None,
) -> list[NNPForce]:
    """The components of a model's output as collective variables, for CustomCVForce or Metadynamics.

    The energy of each force is one number of the output, as the model gives it: no unit is converted. Put them into one
    CustomCVForce (Metadynamics does), and the model is evaluated once for all of them; on CUDA once for each.

    Parameters
    ----------
    model : a model file, or an NNPForce that was set up (box, parameters, bonds) and is copied
    particles : that the model sees, in its order; None: those of the NNPForce, or all
    output : name of the output; None: the only one that the model has
    atomicNumbers : of the particles, for a model that takes them

    Returns
    -------
    The forces in the order of the components (row-major), with names such as ``cv[0]``

    Raises ValueError if the model has no such output or does not say how many components it has.
    """
    first = copy.deepcopy(model) if isinstance(model, NNPForce) else NNPForce(model)
    name, count = _output(first, output)
    if particles is not None:
        first.setParticles(particles, atomicNumbers)
    elif atomicNumbers is not None:
        first.setAtomicNumbers(atomicNumbers)
    forces = [first, *(NNPForce.cast(copy.deepcopy(first)) for _ in range(count - 1))]
    for component, force in enumerate(forces):
        force.setName(f"{name}[{component}]")
        force.setCollectiveVariable(name, component)
    return forces


def _output(force: NNPForce, output: str | None) -> tuple[str, int]:
    """The output and the number of its components."""
    known = force.getModelSpec().collective_variables
    if output is None and len(known) == 1:
        output = next(iter(known))
    if output not in known:
        given = "no output was named" if output is None else f"the output '{output}' was asked for"
        raise ValueError(
            f"{given}, but the model's spec says that its collective_variables are {sorted(known)}: name one of these, "
            "or export the model with the output among them (for a .pt: openmmnnp.spec.write_spec)"
        )
    return output, known[output]
