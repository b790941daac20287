"""Figures of resources: what is left behind in memory and elsewhere, how processes end, threads."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import torch

from figures import Measure
from helpers import context_of, coordinates, energy_and_forces, resources, scripted
from openmmnnp import NNPForce

MIB = 2**20


def system_of(n: int, force: openmm.Force) -> openmm.System:
    system = openmm.System()
    for _ in range(n):
        system.addParticle(12.0)
    system.addForce(force)
    return system


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """In a process of its own: here other libraries begin and end threads when they like."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


# A long run (G8)


class Chain(torch.nn.Module):
    """Springs between neighbors in a row, which gives its own forces: 32 atoms take 15 microseconds."""

    def forward(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        d = positions[1:] - positions[:-1]
        stretch = (d * d).sum(1, keepdim=True) - 0.0225
        pull = 4e4 * stretch * d
        return 1e4 * stretch.square().sum(), torch.nn.functional.pad(pull, (0, 0, 0, 1)) - torch.nn.functional.pad(
            pull, (0, 0, 1, 0)
        )


def soak(model: str, steps: int) -> tuple[list[float], tuple[int, ...], tuple[int, ...], float]:
    """CPU time of pieces of 1,000 steps in ms, resources after the first tenth and at the end, and the temperature."""
    torch.set_num_threads(1)
    force = NNPForce(model)
    force.setOutputsForces(True)
    integrator = openmm.LangevinMiddleIntegrator(300, 1, 0.002)
    integrator.setRandomNumberSeed(1)
    x = np.column_stack([0.15 * np.arange(32), np.zeros(32), np.zeros(32)])
    context = context_of(system_of(32, force), x, openmm.Platform.getPlatform("Reference"), integrator)
    times, before, kinetic = [], resources(), 0.0
    for piece in range(steps // 1000):
        if piece == steps // 10_000:
            before = resources()
        start = time.process_time()
        integrator.step(1000)
        times.append(1e3 * (time.process_time() - start))
        kinetic += context.getState(energy=True).getKineticEnergy()._value / (steps // 1000)
    return times, before, resources(), kinetic / (0.5 * 96 * 0.00831446)


def check_soak(folder: Path, steps: int, measure: Measure, timed: bool) -> None:
    torch.jit.script(Chain()).save(str(folder / "chain.pt"))
    times, before, after, temperature = alone(soak, str(folder / "chain.pt"), steps)
    assert temperature == pytest.approx(300, rel=0.1)
    measure("growth of memory, MiB", (after[0] - before[0]) / MIB, 1.0)
    measure("file descriptors, threads and folders more", float(np.abs(np.subtract(after[1:], before[1:])).sum()), 0)
    if timed:
        tenth = len(times) // 10
        last, first = (
            np.percentile(part, 5) for part in (times[-tenth:], times[:tenth])
        )  # what others don't slow down
        measure("CPU time of a step, last tenth over first, - 1", last / first - 1, 0.03)


@pytest.mark.figure("G8", what="20,000 steps of 32 atoms", platform="Reference")
def test_a_short_soak(tmp_path: Path, measure: Measure) -> None:
    check_soak(tmp_path, 20_000, measure, timed=False)


@pytest.mark.long
@pytest.mark.figure("G8", what="5 million steps of 32 atoms", platform="Reference")
def test_soak(tmp_path: Path, measure: Measure) -> None:
    check_soak(tmp_path, 5_000_000, measure, timed=True)


# Create and destroy (G9)


KINDS = [
    ("Contexts", 150),
    ("models", 60),
    pytest.param("Contexts", 1000, marks=pytest.mark.long),
    pytest.param("models", 200, marks=pytest.mark.long),
]


@pytest.mark.figure("G9", platform="Reference")
@pytest.mark.parametrize(("kind", "count"), KINDS)
def test_nothing_is_left_behind(kind: str, count: int, measure: Measure) -> None:
    before, after = alone(use_and_drop, kind, count)
    measure(f"{count} {kind}, growth of memory, MiB", (after[0] - before[0]) / MIB, 5)
    assert after[1:] == before[1:], "file descriptors, threads and private folders"


def use_and_drop(kind: str, count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    platform = openmm.Platform.getPlatformByName("Reference")
    x = np.random.default_rng(5).normal(size=(5, 3))

    warm_up, constants = range(20), range(100, 100 + count) if kind == "models" else [0]
    programs = {i: scripted(f"return (positions**2).sum() + {i}") for i in (*warm_up, *constants)}  # torch keeps some

    def once(constant: int) -> None:
        context = context_of(system_of(5, NNPForce(programs[constant])), x, platform)
        assert energy_and_forces(context)[0] == pytest.approx((x**2).sum() + constant)

    for i in warm_up:
        once(i)
    before = resources()
    for i in range(count):
        once(constants[i % len(constants)])
    return before, resources()


DESTROY = """
system = openmm.System()
for i in range(3):
    system.addParticle(1)
force = openmmnnp.NNPForce(sys.argv[1])
system.addForce(force)
integrator = openmm.VerletIntegrator(0.001)
context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(sys.argv[2]))
context.setPositions([(1, 0, 0), (0, 2, 0), (0, 0, 3)])
assert abs(context.getState(energy=True).getPotentialEnergy()._value - 14) < 1e-5
"""
ORDERS = [f"del {', '.join(order)}, system" for order in itertools.permutations(("context", "force", "integrator"))]
PROGRAMS = [DESTROY + order for order in ORDERS] + [DESTROY, DESTROY + DESTROY]


@pytest.mark.figure("G9", what="exit in eight orders of destruction")
@pytest.mark.asan
def test_any_order_of_destruction_ends_cleanly(platform: openmm.Platform, harmonic: Path, measure: Measure) -> None:
    """The six orders in which a Context, its force and its integrator can go, exit with all of them, and twice over."""
    failed = 0
    for program in PROGRAMS:
        command = [sys.executable, "-c", "import sys, openmm, openmmnnp" + program, harmonic, platform.getName()]
        result = subprocess.run(command, capture_output=True, text=True)
        print(result.stderr)
        failed += (result.returncode, result.stderr) != (0, "")
    measure("exits that are not clean", failed, 0)


MANY = """
import json, os, sys, time
import openmm, openmmnnp
programs = json.loads(sys.argv[3])
openmm.Platform.getPlatformByName(sys.argv[2])
failed = 0
for number in range(int(sys.argv[4])):
    child = os.fork()
    if child == 0:
        exec(compile(programs[number % len(programs)], "program", "exec"), {"sys": sys, "openmm": openmm, "openmmnnp": openmmnnp})
        sys.exit()  # as the interpreter ends, with all its destructors
    failed += os.waitpid(child, 0)[1] != 0
print(failed)
"""  # noqa: E501


@pytest.mark.long
@pytest.mark.figure("G9", what="100 exits in eight orders of destruction", platform="Reference")
def test_a_hundred_exits(harmonic: Path, measure: Measure) -> None:
    """Of children that begin with the packages imported, and load libraries, model and torch by themselves."""
    command = [sys.executable, "-c", MANY, harmonic, "Reference", json.dumps(PROGRAMS), "100"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stderr == ""
    measure("exits that are not clean", int(result.stdout), 0)


# Threads (G10)


@pytest.mark.figure("G10", what="4 Contexts in 4 threads equal serial")
@pytest.mark.asan
def test_threads_equal_serial(platform: openmm.Platform, harmonic: Path, measure: Measure) -> None:
    """Four Contexts of one model in four Python threads give the bits that they give one after the other."""

    def trajectory(seed: int) -> np.ndarray:
        x = np.random.default_rng(seed).normal(size=(9, 3))
        context = context_of(system_of(9, NNPForce(harmonic)), x, platform)
        for _ in range(20):
            context.getIntegrator().step(10)
            energy_and_forces(context)
        return coordinates(context)

    serial = [trajectory(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(trajectory, range(4)))
    measure("difference, nm", float(np.abs(np.subtract(threaded, serial)).max()), 0)
