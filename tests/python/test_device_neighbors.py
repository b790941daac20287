"""The kernels that find edges on a device: what they find, when they do something, and what that asks of OpenCL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest

from conftest import PLATFORMS
from helpers import context_of, energy_and_forces
from neighbors_oracle import CUBE, SLANTED, edges_energy, save_edges
from openmmnnp import NeighborList, NNPForce

pytestmark = pytest.mark.skipif("OpenCL" not in PLATFORMS, reason="needs OpenCL")

SOURCE = Path(__file__).parents[1] / "cpp"
MakeForce = Callable[..., NNPForce]


@pytest.fixture
def make_force(tmp_path: Path) -> MakeForce:
    """Function (cutoff=0.5, periodic=True, **spec): a force with the model Edges and the list on the device."""

    def make(cutoff: float = 0.5, periodic: bool = True, **spec: Any) -> NNPForce:
        force = NNPForce(save_edges(tmp_path / f"edges-{len(list(tmp_path.iterdir()))}.pt", cutoff, **spec))
        force.setUsesPeriodicBoundaryConditions(periodic)
        force.setDeviceNeighbors(True)
        return force

    return make


def context_with(
    forces: list[openmm.Force], x: np.ndarray, box: np.ndarray = CUBE, integrator: openmm.Integrator | None = None
) -> openmm.Context:
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*box)
    for _ in x:
        system.addParticle(10.0)
    for force in forces:
        system.addForce(force)
    return context_of(system, x, openmm.Platform.getPlatform("OpenCL"), integrator)


def test_kernels(tmp_path: Path) -> None:
    """Against all pairs and images in C++: gases, crystals, growth, skins, sharing, positions that are no numbers."""
    for command in (
        ["cmake", "-S", SOURCE, "-B", tmp_path, f"-DPython_EXECUTABLE={sys.executable}"],
        ["cmake", "--build", tmp_path, "--target", "test_neighbors"],
    ):
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
    code = "import ctypes, sys, openmmnnp; sys.exit(ctypes.CDLL(sys.argv[1]).testNeighbors())"
    result = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "libtest_neighbors.so"], capture_output=True, text=True
    )
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("kind", ["full", "half"])
@pytest.mark.parametrize("periodic", [True, False])
def test_many_particles(make_force: MakeForce, periodic: bool, kind: Any) -> None:
    box = SLANTED * (20_000 / 500) ** (1 / 3)
    x = np.random.default_rng(1).uniform(-1, 2, (20_000, 3)) @ box
    force = make_force(0.4, periodic, edges=kind, shifts="cell")
    context = context_with([force], x, box)
    energy_and_forces(context)
    edges, cells = NeighborList(0.4, edges=kind).find(x, box if periodic else None)
    np.testing.assert_array_equal(force.getOutput(context, "edge_list"), edges)
    np.testing.assert_array_equal(force.getOutput(context, "shift_list"), cells)


# Overflow


@pytest.mark.parametrize("n", [100, 400])
def test_growth_drops_no_pair(make_force: MakeForce, n: int) -> None:
    """Dilute at first, then all in one place; two forces that share a list, one that has its own, one beside them."""
    x = np.random.default_rng(2).uniform(0, 4, (n, 3))
    spring = openmm.CustomExternalForce("x")
    for i in range(n):
        spring.addParticle(i)
    forces = [make_force(), make_force(), make_force(0.6), spring]
    context = context_with(list(forces), x, 2 * CUBE)
    energy_and_forces(context)
    for _ in range(2):
        x = 0.15 * x
        context.setPositions(x)
        energy, found = energy_and_forces(context)
        expected = [edges_energy(x, cutoff, 2 * CUBE) for cutoff in (0.5, 0.5, 0.6)]
        assert energy == pytest.approx(sum(expected) + x[:, 0].sum(), rel=1e-6)
        np.testing.assert_allclose(found.sum(axis=0), [-n, 0, 0], atol=1e-6 * np.abs(found).sum() + 1e-6)


def test_growth_while_it_moves(make_force: MakeForce) -> None:
    """Particles that fall together: the trajectory is that with the list of the host, to the bit."""
    x = np.random.default_rng(3).uniform(0, 2, (150, 3))
    found = []
    for on_device in (True, False):
        fall = openmm.CustomExternalForce("2000*((x-1)^2+(y-1)^2+(z-1)^2)")
        for i in range(len(x)):
            fall.addParticle(i)
        force = make_force()
        force.setDeviceNeighbors(on_device)
        context = context_with([force, fall], x, 2 * CUBE)
        for _ in range(4):
            context.getIntegrator().step(10)
            state = context.getState(positions=True)
            found.append(state.getPositions(asNumpy=True)._value)
    assert np.array_equal(found[:4], found[4:])
    assert np.ptp(found[3]) < 0.7 * np.ptp(x)


def test_growth_within_other_forces(make_force: MakeForce) -> None:
    """A CustomCVForce evaluates its forces in a Context of its own."""
    x = np.random.default_rng(4).uniform(0, 4, (60, 3))
    force = openmm.CustomCVForce("2*energy")
    force.addCollectiveVariable("energy", make_force())
    context = context_with([force], x, 2 * CUBE)
    for _ in range(3):
        context.setPositions(x)
        assert energy_and_forces(context)[0] == pytest.approx(2 * edges_energy(x, 0.5, 2 * CUBE), rel=1e-6)
        x = 0.2 * x


def test_box_far_smaller_than_the_cutoff(make_force: MakeForce) -> None:
    context = context_with([make_force()], np.zeros((2, 3)), 1e-3 * np.eye(3))
    with pytest.raises(openmm.OpenMMException, match="more than 500 times as long as the periodic box"):
        energy_and_forces(context)
    context.setPeriodicBoxVectors(*CUBE)
    assert energy_and_forces(context)[0] == pytest.approx(2, rel=1e-6)


# What is done, and when


def test_error_of_another_force(make_force: MakeForce) -> None:
    """What an error left unfinished is not added to a later evaluation, whichever forces that asks for."""
    x = np.random.default_rng(5).uniform(0, 2, (40, 3))
    nonbonded = openmm.NonbondedForce()
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    nonbonded.setCutoffDistance(0.9)
    nonbonded.setForceGroup(1)
    for _ in x:
        nonbonded.addParticle(0, 0.1, 0)
    force = make_force()
    context = context_with([force, nonbonded], x)
    energy, _ = energy_and_forces(context)
    wrong = x.copy()
    wrong[3] = np.nan
    context.setPositions(wrong)
    with pytest.raises(openmm.OpenMMException):
        energy_and_forces(context)
    context.setPositions(x)
    state = context.getState(energy=True, forces=True, groups={1})
    assert state.getPotentialEnergy()._value == 0 and not state.getForces(asNumpy=True)._value.any()
    assert energy_and_forces(context)[0] == energy


COUNT = """
import ctypes, sys, json
import numpy as np, openmm, openmmnnp
model, library, n, skin = sys.argv[1], ctypes.CDLL(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
kinds = json.loads(sys.argv[5])
system = openmm.System()
box = (n / 50) ** (1 / 3)
system.setDefaultPeriodicBoxVectors([box, 0, 0], [0, box, 0], [0, 0, box])
for i in range(n):
    system.addParticle(12)
for onDevice in kinds:
    force = openmmnnp.NNPForce(model)
    force.setUsesPeriodicBoundaryConditions(True)
    force.setSkin(skin)
    force.setDeviceNeighbors(onDevice)
    system.addForce(force)
context = openmm.Context(system, openmm.VerletIntegrator(1e-4), openmm.Platform.getPlatform("OpenCL"))
context.setPositions(np.random.default_rng(1).uniform(0, box, (n, 3)))
context.getIntegrator().step(5)
def count():
    values = (ctypes.c_long * 6)()
    library.countOpenCL(values)
    return np.array(values)
before, builds = count(), force.getDiagnostics(context)["list_builds"]
context.getIntegrator().step(20)
found = ((count() - before) / 20).tolist()
print(json.dumps(found + [force.getDiagnostics(context)["list_builds"] - builds]))
"""


@pytest.fixture(scope="module")
def count(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[float]]:
    """Function (n, skin, one bool a force: list on the device) -> kernels, bytes read, bytes written, blocking calls,
    overlapped kernels, buffers made in a step; builds in 20 steps."""
    folder = tmp_path_factory.mktemp("calls")
    library, model = folder / "libcount.so", save_edges(folder / "edges.pt", 0.5, dtype="float32", edge_capacity=8000)
    source = SOURCE / "count_opencl.cpp"
    subprocess.run(["c++", "-shared", "-fPIC", "-std=c++17", "-O2", source, "-o", library, "-ldl"], check=True)

    def counted(n: int, skin: float, kinds: list[bool]) -> list[float]:
        result = subprocess.run(
            [sys.executable, "-c", COUNT, model, library, str(n), str(skin), json.dumps(kinds)],
            env={**os.environ, "LD_PRELOAD": str(library)},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        values: list[float] = json.loads(result.stdout)
        print(n, skin, kinds, values)
        return values

    return counted


@pytest.mark.parametrize("n, kernels", [(64, 1), (200, 5)])
@pytest.mark.parametrize("skin", [0.2, 0.0])
def test_calls(count: Callable[..., list[float]], n: int, kernels: int, skin: float) -> None:
    """Few particles need one kernel, others five, with or without new candidates; edges and three numbers are read; no
    call blocks, and nothing is allocated."""
    found = np.array(count(n, skin, [True])) - count(n, skin, [False])
    assert found[[0, 1, 2, 3, 5]].tolist() == [kernels, 8000 * (2 * 8 + 3 * 4) + 3 * 8, 0, 0, 0]


@pytest.mark.parametrize("skin, builds", [(0.2, 0), (0.0, 20)])
def test_builds(count: Callable[..., list[float]], skin: float, builds: int) -> None:
    assert count(64, skin, [True])[6] == builds


def test_two_forces_find_edges_once(count: Callable[..., list[float]]) -> None:
    on_device, on_host = count(64, 0.2, [True, True]), count(64, 0.2, [False, False])
    assert on_device[0] - on_host[0] == 1
