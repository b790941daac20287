"""What a step asks of the CUDA driver because of the force, as differences from the same System without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CPP = Path(__file__).parents[1] / "cpp"
COUNT = """
import ctypes, sys, json
import numpy as np, openmm, openmmnnp
model, library, kind = sys.argv[1], ctypes.CDLL(sys.argv[2]), sys.argv[3]
n = 400
system = openmm.System()
system.setDefaultPeriodicBoxVectors([4, 0, 0], [0, 4, 0], [0, 0, 4])
nonbonded = openmm.NonbondedForce()
nonbonded.setNonbondedMethod(openmm.NonbondedForce.PME)
for i in range(n):
    system.addParticle(12)
    nonbonded.addParticle(0.2 * (-1) ** i, 0.1, 0)
system.addForce(nonbonded)
if kind == "with":
    force = openmmnnp.NNPForce(model, atomicNumbers=[8, 1, 1, 6, 1])
    force.setParticles([17, 3, 250, 99, 42])
    force.addGlobalParameter("k", 0.01)
    system.addForce(force)
integrator = openmm.VerletIntegrator(1e-4)
context = openmm.Context(system, integrator, openmm.Platform.getPlatform("CUDA"))
context.setPositions(4 / 12 * np.array(list(np.ndindex(12, 12, 12)))[:n])
integrator.step(50)
def count():
    values = (ctypes.c_long * 5)()
    library.countCuda(values)
    return np.array(values)
before = count()
integrator.step(100)
print(json.dumps(((count() - before) / 100).tolist()))
"""


def counts(library: Path, model: Path, kind: str) -> list[float]:
    """Synchronizations, waits for events, allocations, downloads and kernels of a step."""
    result = subprocess.run(
        [sys.executable, "-c", COUNT, model, library, kind],
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return [float(value) for value in result.stdout.strip(" []\n").split(",")]


def test_a_step_waits_for_nothing(pair_files: dict[str, Path], tmp_path: Path) -> None:
    """No synchronization, allocation or download; gather, check and scatter beside the model.

    The host is at most two evaluations ahead: it may wait for the event of the last but one.
    """
    include = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "include"
    library = tmp_path / "libcount.so"
    command = ["c++", "-shared", "-fPIC", "-std=c++17", "-O2", f"-I{include}", CPP / "count_cuda.cpp", "-o", library]
    built = subprocess.run([*command, "-ldl"], capture_output=True, text=True)
    if built.returncode != 0:
        pytest.skip(f"cuda.h is not in {include}; set CUDA_HOME")
    without, with_force = (counts(library, pair_files["pt2"], kind) for kind in ("without", "with"))
    print(without, with_force)
    difference = [round(a - b, 2) for a, b in zip(with_force, without, strict=True)]
    assert difference[0] == 0 and difference[1] <= 1 and difference[2:] == [0, 0, 3]
