"""Reporters in OpenMM's style for what a model gives beside energy and forces.

Add them to ``Simulation.reporters``. They ask OpenMM for the energy and read the outputs of that evaluation, so that
any number of them costs one evaluation. With ``append=True`` a reporter goes on with its file; rows of steps after the
Simulation's own are removed first, so that a run that is resumed from a checkpoint holds each step once.
"""

from .outputs import OutputReporter, ResidueEnergyReporter
from .uncertainty import UncertaintyError, UncertaintyReporter, UncertaintyWarning

__all__ = ["OutputReporter", "ResidueEnergyReporter", "UncertaintyError", "UncertaintyReporter", "UncertaintyWarning"]
