"""A model file as a potential of openmm-ml: ``MLPotential("nnp", modelPath="model.pt2")``."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import openmm
from openmm import app
from openmmml.mlpotential import MLPotentialImpl

from .force import NNPForce

__all__ = ["NNPPotentialImpl"]


class NNPPotentialImpl(MLPotentialImpl):
    """Adds an NNPForce where openmm-ml asks for the potential, for a whole System or for a region.

    The force has the topology's elements and its bonds, which keep molecules whole for barostats and trajectories. It
    is periodic where the topology or the System is, if the model takes a box and its spec does not say otherwise.
    """

    def __init__(self, modelPath: Any) -> None:
        """Read the model file now. Raises OpenMMException if it is missing or damaged."""
        self._model = NNPForce(modelPath)
        self._spec = self._model.getModelSpec() if self._model.hasModelSpec() else None

    def addForces(
        self,
        topology: app.Topology,
        system: openmm.System,
        atoms: Iterable[int] | None,
        forceGroup: int,
        charge: Any = 0,
        multiplicity: int = 1,
        **args: Any,
    ) -> None:
        """Add the force to the System. Called by openmm-ml, with what createSystem() or createMixedSystem() was given.

        `charge` and `multiplicity` are those of the region (or of all). Raises ValueError if an atom has no element.
        """
        elements = [atom.element for atom in topology.atoms()]
        particles = list(range(len(elements)) if atoms is None else atoms)
        without = [i for i in particles if elements[i] is None]
        if without:
            raise ValueError(
                f"the topology gives no element for atom {without[0]}, and a potential describes real atoms only: set "
                "atom.element, or leave extra particles out"
            )
        force = copy.deepcopy(self._model)
        force.setParticles(particles, [elements[i] for i in particles])
        members = set(particles)
        for bond in topology.bonds():
            if {bond.atom1.index, bond.atom2.index} <= members:
                force.addBond(bond.atom1.index, bond.atom2.index)
        force.setCharge(charge)
        force.setMultiplicity(multiplicity)
        in_box = topology.getPeriodicBoxVectors() is not None or system.usesPeriodicBoundaryConditions()
        force.setUsesPeriodicBoundaryConditions(in_box and self._takes_box())
        force.setForceGroup(forceGroup)
        system.addForce(force)

    def getMLLongRange(self) -> bool | None:
        """What the spec says as ``long_range``; None if it says nothing, and ``mlLongRange`` is to be given."""
        return self._spec.long_range if self._spec is not None else None

    def _takes_box(self) -> bool:
        if self._spec is None or self._spec.periodic is False:
            return False
        return bool({"box", "shifts"} & set(self._spec.inputs))
