"""How everything here is timed: cases in turns within one run, medians with quartiles; memory in a forked process."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform as machine
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openmm

ROOT = Path(__file__).parents[2]
PACKAGES = ("openmm", "torch", "openmm-nnp", "openmmml", "torchani", "vesin", "numpy")
Run = Callable[[int], float]
"""A number of steps to seconds."""


def interleave(cases: Mapping[str, Run], steps: int, blocks: int) -> dict[str, np.ndarray]:
    """Microseconds a step of each case [blocks], the cases in turn in every block."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for block in range(-2, blocks):  # two blocks to warm up
        for name, run in cases.items():
            seconds = run(steps)
            if block >= 0:
                times[name].append(1e6 * seconds / steps)
    return {name: np.array(values) for name, values in times.items()}


def stepper(context: openmm.Context) -> Run:
    def run(steps: int) -> float:
        start = time.perf_counter()
        context.getIntegrator().step(steps)
        return time.perf_counter() - start

    return run


def summary(values: np.ndarray) -> dict[str, float]:
    """Median and quartiles, to four digits."""
    low, median, high = (float(f"{value:.4g}") for value in np.percentile(values, [25, 50, 75]))
    return {"median": median, "low": low, "high": high}


def memory(work: Callable[[], Any]) -> float:
    """MiB by which the largest resident set of a forked process grows in this work."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            Path("/proc/self/clear_refs").write_text("5")
            before = _resident("VmRSS")
            work()
            os.write(writing, f"{(_resident('VmHWM') - before) / 1024}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        return float(pipe.read() or "nan")


def _resident(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1])


def surroundings() -> dict[str, Any]:
    """What the figures of a run depend on."""
    processors = {
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    }
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.date.today().isoformat(),
        "machine": {
            "processor": ", ".join(sorted(processors)) or machine.machine(),
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 2),
        },
        "versions": versions,
        "threads": {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENMM_CPU_THREADS")},
    }
