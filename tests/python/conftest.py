"""Fixtures that the tests share."""

from __future__ import annotations

import locale
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import torch

import openmmnnp._core
from devices import SPEC, WELL
from helpers import Harmonic, scripted
from models import Pair, Walls, pair_example, pair_spec, walls_example, walls_spec
from neighbors_oracle import CUBE, Edges, edges_spec
from openmmnnp import ModelSpec
from openmmnnp.export import export, save_pt, save_pt2
from openmmnnp.spec import write_spec

pytest_plugins = ["figures"]
torch.set_num_threads(1)

FOLDER = Path(openmmnnp._core.__file__).parent
PLUGINS = {path.stem.removeprefix("libOpenMMNNP") for path in FOLDER.glob("lib/plugins/lib*.so")}
PLATFORMS = [
    name
    for name in ("Reference", "CPU", "OpenCL", "CUDA")
    if os.environ.get("OPENMMNNP_TEST_PLATFORM", name) == name
    and (name in PLUGINS or name == "CPU")
    and name in {openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())}
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The packages here are compiled for the CPU; those for CUDA are made and tested in tests/gpu."""
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            values = {value for value in item.callspec.params.values() if isinstance(value, str)}
            package = "pt2" in values or not {"pair_package", "walls_package"}.isdisjoint(item.fixturenames)
            if package and "CUDA" in values:
                item.add_marker(pytest.mark.skip(reason="a package for the CPU"))


@pytest.fixture(autouse=True)
def keep_locale() -> Iterator[None]:
    """Intel's OpenCL runtime sets the locale of the process to C, in which torch can't read its own sources."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.fixture(params=PLATFORMS)
def platform(request: pytest.FixtureRequest) -> openmm.Platform:
    """Each platform that can run an NNPForce here."""
    return openmm.Platform.getPlatformByName(request.param)


@pytest.fixture(params=[name for name in PLATFORMS if name in ("OpenCL", "CUDA")])
def device(request: pytest.FixtureRequest) -> openmm.Platform:
    """Each platform with a device."""
    return openmm.Platform.getPlatform(request.param)


@pytest.fixture(params=["single", "mixed", "double"])
def precision(request: pytest.FixtureRequest) -> str:
    return request.param


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
def save_scripted(tmp_path: Path) -> Callable[..., Path]:
    """Function (body, arguments, **spec) that saves a model of these lines with a float64 spec in nm and kJ/mol."""

    def save(body: str, arguments: str = "positions", **values: Any) -> Path:
        path = tmp_path / "scripted.pt"
        scripted(body, arguments).save(str(path))
        values = {"length_unit": "nm", "energy_unit": "kJ/mol", "dtype": "float64"} | values
        write_spec(path, ModelSpec("scripted", **values))
        return path

    return save


@pytest.fixture
def positions() -> np.ndarray:
    """Positions [7, 3] in nm, inside and outside of a box of 2 nm."""
    return np.random.default_rng(7).uniform(-3, 3, (7, 3))


@pytest.fixture
def water() -> np.ndarray:
    """Positions [4, 3] in nm; the nearest neighbor of particle 1 is particle 3, 0.05 nm away."""
    return np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0.1, 0.05, 0]])


@pytest.fixture
def make_context() -> Callable[..., openmm.Context]:
    """Function (platform, force, positions, box=2.0, integrator) that makes a Context of one force, all masses being 1.

    The box is an edge or three rows in nm.  The System takes the force over, as System.addForce() does.
    """

    def make(
        platform: openmm.Platform,
        force: Any,
        positions: np.ndarray,
        box: float | list[list[float]] = 2.0,
        integrator: openmm.Integrator | None = None,
    ) -> openmm.Context:
        system = openmm.System()
        system.setDefaultPeriodicBoxVectors(*(box * np.eye(3) if isinstance(box, float) else box))
        for _ in positions:
            system.addParticle(1.0)
        system.addForce(force)
        context = openmm.Context(system, integrator or openmm.VerletIntegrator(0.001), platform)
        context.setPositions(positions)
        return context

    return make


@pytest.fixture
def well(tmp_path: Path) -> Path:
    """A float64 model that is not invariant under translation, so that it sees where OpenMM says a particle is."""
    path = tmp_path / "well.pt"
    scripted(WELL).save(str(path))
    write_spec(path, SPEC)
    return path


@pytest.fixture(scope="session")
def pair_module() -> Pair:
    return Pair()


@pytest.fixture(scope="session")
def pair_package(tmp_path_factory: pytest.TempPathFactory, pair_module: Pair) -> tuple[Path, ModelSpec]:
    """A float32 package with dynamic particle count, and the spec that save_pt2 returned."""
    path = tmp_path_factory.mktemp("pair") / "pair.pt2"
    return path, save_pt2(pair_module, pair_spec(), path, examples=[pair_example(3), pair_example(6)])


@pytest.fixture(scope="session")
def walls_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float64 package with four particles, of a module that returns its own forces."""
    path = tmp_path_factory.mktemp("walls") / "walls.pt2"
    save_pt2(Walls(), walls_spec(), path, examples=[walls_example(1), walls_example(2)], progress=False)
    return path


@pytest.fixture(scope="session")
def edges_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The float64 model Edges for any number of particles and edges, with an energy entry, made from one geometry."""
    path = tmp_path_factory.mktemp("edges") / "edges.pt2"
    example = {"positions": np.random.default_rng(3).uniform(-1, 1, (40, 3)), "box": CUBE}
    export(Edges(0.5, True), edges_spec(shifts="cell"), path, example=example, energy_entry=True, progress=False)
    return path


@pytest.fixture(scope="session")
def pair_pt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pair") / "pair.pt"
    save_pt(Pair(), pair_spec(), path, examples=[pair_example(3), pair_example(6)], progress=False)
    return path


@pytest.fixture(scope="session", params=["pt", "pt2"])
def pair_file(request: pytest.FixtureRequest) -> Path:
    """The model Pair as TorchScript, which leaves derivatives to autograd, and as a package, which holds them."""
    return request.getfixturevalue("pair_pt") if request.param == "pt" else request.getfixturevalue("pair_package")[0]


@pytest.fixture(scope="session", params=["pt", "pt2"])
def walls_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model Walls as TorchScript, which returns a dict, and as a package."""
    if request.param == "pt2":
        return request.getfixturevalue("walls_package")
    path = tmp_path_factory.mktemp("walls") / "walls.pt"
    torch.jit.script(Walls()).save(str(path))
    write_spec(path, walls_spec())
    return path
