"""Memory that a model frees is kept for its next evaluation."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import PLATFORMS

FAULTS = """
import resource, statistics, sys, openmm
from openmmnnp import NNPForce

system = openmm.System()
system.addParticle(1.0)
system.addForce(NNPForce(sys.argv[1]))
context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform(sys.argv[2]))
context.setPositions([[0.1, 0.2, 0.3]])
counts = []
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    context.getIntegrator().step(1)
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(statistics.median(counts))
"""


def faults(model: Path, platform: str, **malloc: str) -> float:
    """Page faults in a step, the median of 20, with variables for malloc."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, model, platform],
        env=environment | malloc,
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


@pytest.mark.parametrize("name", [name for name in ("Reference", "CPU", "OpenCL") if name in PLATFORMS])
def test_freed_memory_is_kept(name: str, save_scripted: Callable[..., Path]) -> None:
    """A tensor of 5 million numbers, 5,000 to 10,000 pages; and what the user chose for malloc is left alone."""
    model = save_scripted("return (positions ** 2).sum() + 0 * torch.ones([5000000], dtype=positions.dtype).sum()")
    assert faults(model, name) < 2
    assert faults(model, name, MALLOC_MMAP_THRESHOLD_="131072") > 10
    assert faults(model, name, GLIBC_TUNABLES="glibc.malloc.mmap_threshold=131072") > 10
