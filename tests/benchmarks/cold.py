"""What a script does until it has the first forces of a model: python cold.py ATOMS.json MODEL PLATFORM

MODEL is a .pt or .pt2 for NNPForce; else the message-passing model is built and run in a PythonForce with vesin's list.
Prints the forces [n, 3] in kJ/mol/nm as JSON.
"""

import json
import sys

import openmm


def python_force(numbers):
    import numpy as np
    import torch
    import vesin
    from message_passing import CUTOFF, MessagePassing

    torch.set_num_threads(1)
    model, numbers = MessagePassing(), torch.tensor(numbers)
    neighbors = vesin.NeighborList(cutoff=CUTOFF, full_list=True, n_threads=1)

    def compute(state):
        x = state.getPositions(asNumpy=True)._value
        (pairs,) = neighbors.compute(x, np.eye(3), False, "P")
        positions = torch.tensor(x, dtype=torch.float32, requires_grad=True)
        edges = torch.from_numpy(pairs.astype(np.int64).T)
        energy = model(positions, numbers, edges, torch.zeros(len(pairs), 3))
        energy.backward()
        return energy.item(), -positions.grad.double().numpy()

    return openmm.PythonForce(compute)


def nnp_force(path, numbers):
    import openmmnnp

    return openmmnnp.NNPForce(path, atomicNumbers=numbers)


atoms, model, platform = sys.argv[1:]
given = json.load(open(atoms))
numbers = given["numbers"]
system = openmm.System()
for _ in numbers:
    system.addParticle(1.0)
system.addForce(nnp_force(model, numbers) if model.endswith((".pt", ".pt2")) else python_force(numbers))
context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(platform))
context.setPositions(given["positions"])
print(json.dumps(context.getState(forces=True).getForces(asNumpy=True)._value.tolist()))
