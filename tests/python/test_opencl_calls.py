"""What a step asks of OpenCL because of the force, as differences from the same System without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import PLATFORMS
from helpers import scripted
from openmmnnp import ModelSpec
from openmmnnp.spec import write_spec

pytestmark = pytest.mark.skipif("OpenCL" not in PLATFORMS, reason="needs OpenCL")

SOURCE = Path(__file__).parents[1] / "cpp" / "count_opencl.cpp"
COUNT = """
import ctypes, sys, json
import numpy as np, openmm, openmmnnp
model, library, kind, n = sys.argv[1], ctypes.CDLL(sys.argv[2]), sys.argv[3], int(sys.argv[4])
system = openmm.System()
system.setDefaultPeriodicBoxVectors([4, 0, 0], [0, 4, 0], [0, 0, 4])
nonbonded = openmm.NonbondedForce()
nonbonded.setNonbondedMethod(openmm.NonbondedForce.PME)
for i in range(n):
    system.addParticle(12)
    nonbonded.addParticle(0.2 * (-1) ** i, 0.1, 0)
system.addForce(nonbonded)
if kind != "without":
    force = openmmnnp.NNPForce(model)
    force.setParticles([17, 3, 250, 99, 42])
    system.addForce(force)
if kind == "serial":
    system.addForce(openmm.PythonForce(lambda state: (0.0, np.zeros((n, 3)))))
integrator = openmm.VerletIntegrator(1e-4)
context = openmm.Context(system, integrator, openmm.Platform.getPlatform("OpenCL"), {"Precision": "single"})
context.setPositions(4 / 12 * np.array(list(np.ndindex(12, 12, 12)))[:n])
integrator.step(5)
def count():
    values = (ctypes.c_long * 6)()
    library.countOpenCL(values)
    return np.array(values)
before = count()
integrator.step(20)
print(json.dumps(((count() - before) / 20).tolist()))
"""


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    """Kernels, bytes read and written, blocking calls, overlapped kernels, new buffers of a step; by kind and count."""
    folder = tmp_path_factory.mktemp("calls")
    library, model = folder / "libcount.so", folder / "model.pt"
    subprocess.run(["c++", "-shared", "-fPIC", "-std=c++17", "-O2", SOURCE, "-o", library, "-ldl"], check=True)
    scripted("return (positions**2).sum()").save(str(model))
    write_spec(model, ModelSpec("count", length_unit="nm", energy_unit="kJ/mol", dtype="float32"))
    found = {}
    for kind, n in [("without", 400), ("with", 400), ("without", 1600), ("with", 1600), ("serial", 400)]:
        result = subprocess.run(
            [sys.executable, "-c", COUNT, model, library, kind, str(n)],
            env={**os.environ, "LD_PRELOAD": str(library)},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        found[f"{kind} {n}"] = [float(value) for value in result.stdout.strip(" []\n").split(",")]
        print(kind, n, found[f"{kind} {n}"])
    return found


@pytest.mark.parametrize("n", [400, 1600])
def test_only_the_particles_of_the_force_move(counts: dict[str, list[float]], n: int) -> None:
    """Two kernels; float32 positions of 5 particles to the host, float64 forces back; nothing blocks or allocates."""
    kernels, read, written, blocking, _, buffers = (
        a - b for a, b in zip(counts[f"with {n}"], counts[f"without {n}"], strict=True)
    )
    assert (kernels, read, written, blocking, buffers) == (2, 5 * 3 * 4, 5 * 3 * 8, 0, 0)


def test_openmm_launches_its_kernels_while_the_model_runs(counts: dict[str, list[float]]) -> None:
    """All kernels of the forces lie between reading positions and writing forces, those of the integrator do not."""
    kernels, *_, overlapped, _ = counts["with 400"]
    assert 5 <= overlapped <= kernels - 4
    assert counts["serial 400"][4] == 0, "not beside a PythonForce"
