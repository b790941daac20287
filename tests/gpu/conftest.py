"""Tests of the CUDA platform alone: they need a GPU, and are skipped without one (run.sh builds all and runs them)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openmm
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "python"))

import openmmnnp._core
from helpers import scripted
from models import Pair, pair_example, pair_spec
from openmmnnp import ModelSpec
from openmmnnp.export import save_pt, save_pt2
from openmmnnp.spec import write_spec

PLUGIN = Path(openmmnnp._core.__file__).parent / "lib" / "plugins" / "libOpenMMNNPCUDA.so"
PLATFORMS = {openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [
        text
        for here, text in (
            ("CUDA" in PLATFORMS, "OpenMM's CUDA platform"),
            (PLUGIN.exists(), "openmm-nnp's plugin for it"),
            (torch.cuda.is_available(), "torch with CUDA and a GPU"),
        )
        if not here
    ]
    for item in items:
        if missing and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=f"needs {', '.join(missing)}"))


@pytest.fixture
def cuda() -> openmm.Platform:
    return openmm.Platform.getPlatform("CUDA")


@pytest.fixture(scope="session")
def pair_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The model Pair (float32, any number of particles): for CUDA as pt and pt2, for the CPU as cpu."""
    folder = tmp_path_factory.mktemp("pair")
    files = {"pt": folder / "pair.pt", "pt2": folder / "pair.pt2", "cpu": folder / "cpu.pt2"}
    examples = [pair_example(5), pair_example(6)]
    save_pt(Pair(), pair_spec(), files["pt"], examples=examples, progress=False)
    save_pt2(Pair(), pair_spec(), files["pt2"], examples=examples, device="cuda", progress=False)
    save_pt2(Pair(), pair_spec(), files["cpu"], examples=examples, progress=False)
    return files


@pytest.fixture(params=["pt", "pt2"])
def pair_file(request: pytest.FixtureRequest, pair_files: dict[str, Path]) -> Path:
    return pair_files[request.param]


@pytest.fixture(params=["single", "mixed", "double"])
def precision(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def save_scripted(tmp_path: Path) -> Callable[..., Path]:
    """Function (body, arguments, **spec) that saves a .pt of these lines with a float64 spec in nm and kJ/mol."""

    def save(body: str, arguments: str = "positions", **values: Any) -> Path:
        path = tmp_path / f"scripted{len(list(tmp_path.iterdir()))}.pt"
        scripted(body, arguments).save(str(path))
        values = {"length_unit": "nm", "energy_unit": "kJ/mol", "dtype": "float64"} | values
        write_spec(path, ModelSpec("scripted", **values))
        return path

    return save
