"""What `openmm-nnp doctor` runs in processes of their own: each prints one JSON object."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import openmm

from . import NNPForce

KERNEL = "CalcNNPForce"


def platforms() -> None:
    """OpenMM's platforms, whether each has our kernel, and the plugins that failed to load."""
    found = [openmm.Platform.getPlatform(i) for i in range(openmm.Platform.getNumPlatforms())]
    failures = list(openmm.Platform.getPluginLoadFailures())
    _answer(platforms={p.getName(): p.supportsKernels([KERNEL]) for p in found}, failures=failures)


def evaluate(platform: str) -> None:
    """Errors, relative, of energy and forces of E = sum r^2 on a platform, and on what it ran."""
    import torch

    module = torch.jit.script(type("Springs", (torch.nn.Module,), {})())
    module.define("def forward(self, positions):\n    return (positions**2).sum()\n")
    positions = np.array([[0.1, -0.2, 0.3], [0.4, 0.5, -0.6], [-0.7, 0.8, 0.9]])
    system = openmm.System()
    for _ in positions:
        system.addParticle(1.0)
    force = NNPForce(module)
    system.addForce(force)
    chosen = openmm.Platform.getPlatformByName(platform)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), chosen)
    context.setPositions(positions)
    begin = time.perf_counter()
    state = context.getState(energy=True, forces=True)
    seconds = time.perf_counter() - begin
    energy = state.getPotentialEnergy()._value
    forces = state.getForces(asNumpy=True)._value
    error = max(abs(energy / np.sum(positions**2) - 1), float(np.max(np.abs(forces / (-2 * positions) - 1))))
    diagnostics = force.getDiagnostics(context)
    _answer(error=float(error), device=diagnostics["device"], threads=diagnostics["threads"], seconds=seconds)


def _answer(**values: Any) -> None:
    print(json.dumps(values))
