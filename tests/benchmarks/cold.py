"""What a script does until it has the first forces of a model: python cold.py ATOMS.json MODEL PLATFORM

MODEL is a .pt or .pt2 for NNPForce, else the message-passing model is built and run in a PythonForce.
"""

import json
import sys

import openmm

atoms, model, platform = sys.argv[1:]
given = json.load(open(atoms))
n = len(given["numbers"])
if model.endswith((".pt", ".pt2")):
    import openmmnnp

    force = openmmnnp.NNPForce(model, atomicNumbers=given["numbers"])
else:
    import torch

    torch.set_num_threads(1)
    from backends import InPython
    from potentials import CUTOFF, MessagePassing, Potential

    from openmmnnp import ModelSpec

    inputs = ["positions", "atomic_numbers", "edges", "shifts"]
    spec = ModelSpec("message passing", "nm", "kJ/mol", "float32", inputs=inputs, cutoff=CUTOFF, shifts="cartesian")
    potential = Potential("message passing", spec, MessagePassing(), {})
    force = openmm.PythonForce(InPython(given["numbers"], False, potential))
system = openmm.System()
for _ in range(n):
    system.addParticle(1.0)
system.addForce(force)
context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(platform))
context.setPositions(given["positions"])
context.getState(forces=True)
