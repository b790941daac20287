"""A model of collective variables: what a potential must be (invariant, additive, conservative) it need not be."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from .gradient import gradient
from .subject import Subject
from .verdict import Verdict

__all__ = ["variables"]


def variables(subject: Subject, groups: Collection[str]) -> list[Verdict]:
    """Are the forces of each component its gradient?

    A component that does not change at this geometry is a failure, as for an energy. Raises openmm.OpenMMException if
    the model can't be evaluated.
    """
    if "gradient" not in groups or subject.spec is None:
        return []
    found = []
    for output, count in subject.spec.collective_variables.items():
        for component in range(count):
            one = Subject(subject.path, subject.spec, subject.sample, subject.platform, (output, component))
            found += [replace(verdict, name=f"gradient of {output}[{component}]") for verdict in gradient(one)]
    return found
