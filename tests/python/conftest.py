"""Fixtures that the tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import torch

import openmmnnp._core
from helpers import Harmonic

FOLDER = Path(openmmnnp._core.__file__).parent
PLUGINS = {path.stem.removeprefix("libOpenMMNNP") for path in FOLDER.glob("lib/plugins/lib*.so")}
PLATFORMS = [
    name
    for name in ("Reference", "CPU", "OpenCL", "CUDA")
    if (name in PLUGINS or name == "CPU")
    and name in {openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())}
]


@pytest.fixture(params=PLATFORMS)
def platform(request: pytest.FixtureRequest) -> openmm.Platform:
    """Each platform that can run an NNPForce here."""
    return openmm.Platform.getPlatformByName(request.param)


@pytest.fixture
def tolerance(platform: openmm.Platform) -> float:
    """Relative tolerance: OpenCL and CUDA compute in float32."""
    return 1e-10 if platform.getName() in ("Reference", "CPU") else 1e-5


@pytest.fixture
def save_model(tmp_path: Path) -> Callable[..., Path]:
    """Function (module, name="model.pt") that scripts a module and returns the file."""

    def save(module: torch.nn.Module, name: str = "model.pt") -> Path:
        torch.jit.script(module).save(str(tmp_path / name))
        return tmp_path / name

    return save


@pytest.fixture
def harmonic(save_model: Callable[..., Path]) -> Path:
    """File of a model with E = sum r^2 in kJ/mol."""
    return save_model(Harmonic())


@pytest.fixture
def positions() -> np.ndarray:
    """Positions [7, 3] in nm, inside and outside of a box of 2 nm."""
    return np.random.default_rng(7).uniform(-3, 3, (7, 3))


@pytest.fixture
def make_context() -> Callable[..., openmm.Context]:
    """Function (platform, force, positions, box=2.0) that makes a Context of particles of mass 1 with one force.

    It takes the force over, as System.addForce() does.
    """

    def make(platform: openmm.Platform, force: Any, positions: np.ndarray, box: float = 2.0) -> openmm.Context:
        system = openmm.System()
        system.setDefaultPeriodicBoxVectors(*(box * np.eye(3)))
        for _ in positions:
            system.addParticle(1.0)
        system.addForce(force)
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
        context.setPositions(positions)
        return context

    return make
