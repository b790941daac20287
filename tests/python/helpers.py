"""Small models, and what the tests ask of a Context."""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openmm
import pytest
import torch

from openmmnnp import NNPForce

if TYPE_CHECKING:
    from figures import Measure


class Harmonic(torch.nn.Module):
    """E = sum r^2."""

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return torch.sum(positions**2)


class HarmonicWithForces(torch.nn.Module):
    """E = sum r^2, with forces."""

    def forward(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.sum(positions**2), -2 * positions


class HarmonicWithParameters(torch.nn.Module):
    """E = k sum r^2 + c^2 sum x."""

    def forward(self, positions: torch.Tensor, k: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return k * torch.sum(positions**2) + c**2 * torch.sum(positions[:, 0])


class HarmonicPeriodic(torch.nn.Module):
    """E = sum r^2, r being the positions brought into a rectangular box."""

    def forward(self, positions: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
        size = box.diag()
        return torch.sum((positions - torch.floor(positions / size) * size) ** 2)


def scripted(body: str, arguments: str = "positions") -> torch.jit.ScriptModule:
    """A TorchScript module from the lines of its forward()."""
    module = torch.jit.script(type("Model", (torch.nn.Module,), {})())
    module.define(f"def forward(self, {arguments}):\n" + "".join(f"    {line}\n" for line in body.splitlines()))
    return module


def energy_and_forces(context: openmm.Context) -> tuple[float, np.ndarray]:
    """Energy in kJ/mol and forces [n, 3] in kJ/mol/nm."""
    state = context.getState(getEnergy=True, getForces=True)
    energy = state.getPotentialEnergy().value_in_unit(openmm.unit.kilojoules_per_mole)
    return energy, state.getForces(asNumpy=True).value_in_unit(openmm.unit.kilojoules_per_mole / openmm.unit.nanometer)


def context_of(
    system: openmm.System,
    positions: np.ndarray,
    platform: openmm.Platform,
    integrator: openmm.Integrator | None = None,
) -> openmm.Context:
    """A Context that is as exact and as repeatable as the platform can be."""
    wanted = {"Precision": "double", "DeterministicForces": "true", "Threads": "1"}
    properties = {name: value for name, value in wanted.items() if name in platform.getPropertyNames()}
    integrator = integrator or openmm.VerletIntegrator(0.001)
    context = openmm.Context(system, integrator, platform, properties)
    context.setPositions(positions)
    return context


def coordinates(context: openmm.Context) -> np.ndarray:
    """Positions and velocities [2, n, 3] in nm and nm/ps."""
    state = context.getState(positions=True, velocities=True)
    return np.array([state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value])


def central_differences(context: openmm.Context, step: float, particles: list[int] | None = None) -> np.ndarray:
    """-dE/dx [n, 3] in kJ/mol/nm of all (or some) particles of the System, others being virtual sites; h in nm."""
    start = coordinates(context)[0]
    forces = np.zeros_like(start)
    for i in range(len(start)) if particles is None else particles:
        for axis in range(3):
            energies = []
            for h in (step, -step):
                moved = start.copy()
                moved[i, axis] += h
                context.setPositions(moved)
                context.computeVirtualSites()
                energies.append(energy_and_forces(context)[0])
            forces[i, axis] = -(energies[0] - energies[1]) / (2 * step)
    context.setPositions(start)
    context.computeVirtualSites()
    return forces


def resources() -> tuple[int, int, int, int]:
    """Resident memory in bytes, file descriptors, threads, private folders of this process."""
    time.sleep(0.1)  # a thread that was joined is in /proc for a moment more
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    folder = Path(os.environ.get("TMPDIR", "/tmp"))
    private = list(folder.glob(f"openmmnnp-{os.getpid()}-*"))
    return (
        pages * os.sysconf("SC_PAGE_SIZE"),
        len(os.listdir("/proc/self/fd")),
        len(os.listdir("/proc/self/task")),
        len(private),
    )


def energy(context: openmm.Context, **options: Any) -> float:
    return context.getState(energy=True, **options).getPotentialEnergy()._value


def measure_parity(
    measure: Measure,
    name: str,
    found: tuple[float, np.ndarray],
    right: tuple[float, np.ndarray],
    tolerance: float,
    floors: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Relative errors of an energy, without its constant part, and forces; what is below a floor has its error."""
    (energy, forces), (right_energy, right_forces) = found, right
    error, scale = (np.sqrt(np.mean(np.square(x))) for x in (np.subtract(forces, right_forces), right_forces))
    measure(f"{name}, energy", abs(energy - right_energy) / max(abs(right_energy), floors[0] / tolerance), tolerance)
    measure(f"{name}, forces", error / max(scale, floors[1] / tolerance), tolerance)


def derivatives(context: openmm.Context) -> dict[str, float]:
    return dict(context.getState(parameterDerivatives=True).getEnergyParameterDerivatives())


def counts(force: NNPForce, context: openmm.Context) -> tuple[int, int, int]:
    """Evaluations, reused ones and skipped ones."""
    found = force.getDiagnostics(context)
    return found["evaluations"], found["reused"], found["skipped"]


def fails(text: str) -> Any:
    """Expects an OpenMMException with this text, without traces of C++."""
    return pytest.raises(openmm.OpenMMException, match=f"(?s)^(?!.*(Exception raised from|frame #|c10::)).*{text}")


def rewrite(path: Path, target: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """Copy an archive; change(name, data) gives the new content of an entry, or None to leave it out."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return target
