"""The Coulomb energy of the region with its own periodic images, which a model with long_range has itself."""

from __future__ import annotations

import openmm

from .interpolate import LAMBDA
from .pairs import EWALD
from .region import IMAGES, Region


def minus_images(system: openmm.System, region: Region) -> list[openmm.Force]:
    """Forces that take away the Ewald energy of the region alone, with its pairs excluded as in the mixed System.

    What is left of it there are the images, the self terms and the neutralizing background. As in openmm-ml, dispersion
    on a grid (LJPME) stays. Raises ValueError for a System without Ewald sums.
    """
    forces = [f for f in system.getForces() if isinstance(f, openmm.NonbondedForce)]
    summed = [f for f in forces if f.getNonbondedMethod() in EWALD]
    if not summed:
        raise ValueError(
            "the model has long-range interactions (long_range: true), and the System is periodic without Ewald sums: "
            "build it with PME, so that the region's images count once"
        )
    return [_minus(_images(force, region), region, force) for force in summed]


def _images(force: openmm.NonbondedForce, region: Region) -> openmm.NonbondedForce:
    images = openmm.NonbondedForce()
    ewald = force.getNonbondedMethod() == openmm.NonbondedForce.Ewald
    images.setNonbondedMethod(openmm.NonbondedForce.Ewald if ewald else openmm.NonbondedForce.PME)
    images.setCutoffDistance(force.getCutoffDistance())
    images.setEwaldErrorTolerance(force.getEwaldErrorTolerance())
    images.setPMEParameters(*force.getPMEParameters())
    images.setExceptionsUsePeriodicBoundaryConditions(force.getExceptionsUsePeriodicBoundaryConditions())
    for i in range(force.getNumParticles()):
        images.addParticle(force.getParticleParameters(i)[0] if i in region.members else 0.0, 1.0, 0.0)
    for i, j in region.pairs():
        images.addException(i, j, 0.0, 1.0, 0.0)
    return images


def _minus(images: openmm.Force, region: Region, original: openmm.Force) -> openmm.Force:
    force = openmm.CustomCVForce(f"-{LAMBDA}*images" if region.interpolate else "-images")
    force.addCollectiveVariable("images", images)
    if region.interpolate:
        force.addGlobalParameter(LAMBDA, 1.0)
        force.addEnergyParameterDerivative(LAMBDA)
    force.setName(original.getName() + IMAGES)
    force.setForceGroup(original.getForceGroup())
    return force
