"""What compute-sanitizer runs: plain steps, a capture, replays, an energy, an output, a wrong evaluation; one model.

python short.py model.pt(2)
"""

import sys

import numpy as np
import openmm

from openmmnnp import NNPForce

PARTICLES = [3, 9, 1, 6, 14]

system = openmm.System()
system.setDefaultPeriodicBoxVectors([2.5, 0, 0], [0, 2.5, 0], [0, 0, 2.5])
nonbonded = openmm.NonbondedForce()
nonbonded.setNonbondedMethod(openmm.NonbondedForce.PME)
for i in range(40):
    system.addParticle(20.0)
    nonbonded.addParticle(0.1 * (-1) ** i, 0.01, 0.0)
system.addForce(nonbonded)
force = NNPForce(sys.argv[1], atomicNumbers=[8, 1, 1, 6, 1])
force.setParticles(PARTICLES)
force.addGlobalParameter("k", 0.4)
force.addEnergyParameterDerivative("k")
force.setCudaGraphWarmupSteps(2)
system.addForce(force)
context = openmm.Context(system, openmm.VerletIntegrator(1e-4), openmm.Platform.getPlatform("CUDA"))
x = np.random.default_rng(1).uniform(0, 2.5, (40, 3))
context.setPositions(x)
context.getIntegrator().step(8)
print(context.getState(energy=True, parameterDerivatives=True).getPotentialEnergy())
print(force.getOutput(context, "atomic_energy"))
found = force.getDiagnostics(context)
print("graph:", found["cudaGraph"], found["cudaGraphReason"])
context.setParameter("k", float("nan"))
try:
    context.getIntegrator().step(4)
except openmm.OpenMMException as error:
    print("found:", str(error)[:120])
else:
    sys.exit("the wrong evaluation was not found")
