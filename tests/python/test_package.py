"""What is installed: files, links of libraries, and a C++ project of somebody else that uses them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import openmm.version
import pytest
import torch

import openmmnnp._core
import package_contents
from helpers import scripted
from openmmnnp import _check

ROOT = Path(__file__).parents[2]
PACKAGE = Path(openmmnnp._core.__file__).parent
OPENMM = Path(openmm.version.openmm_library_path).parent


def test_contents() -> None:
    assert list(package_contents.problems(PACKAGE, [str(ROOT), sys.prefix, "/site-packages/torch/"])) == []


def test_contents_that_are_wrong_are_found(tmp_path: Path) -> None:
    package = tmp_path / "openmmnnp"
    (package / "lib").mkdir(parents=True)
    (library,) = (path for path in (PACKAGE / "lib").glob("libOpenMMNNPTorch-*.so") if torch_minor() in path.name)
    shutil.copy(library, package / "lib" / "libOpenMMNNP.so")
    (package / "where.py").write_text("where = '/nowhere/else'\n")
    found = list(package_contents.problems(package, ["/nowhere"]))
    assert "lib/libOpenMMNNP.so needs libtorch_cpu.so" in found
    assert any("lib/libOpenMMNNP.so needs torch::jit::" in problem for problem in found)
    assert {"where.py holds /nowhere", "_build.py is missing", "the compiled module _core is missing"} <= set(found)


def torch_minor() -> str:
    return ".".join(torch.__version__.split(".")[:2])


def test_license_is_installed() -> None:
    files = distribution("openmm-nnp").files or []
    assert [path.name for path in files if "licenses" in path.parts] == ["LICENSE"]


@pytest.mark.parametrize("layout", ["pip", "prefix"])
def test_project_of_somebody_else(tmp_path: Path, layout: str) -> None:
    """With OpenMM beside the package, and, as conda does, in include and lib of a prefix."""
    package = PACKAGE
    options = [] if (PACKAGE.parent / "OpenMM.libs").exists() else [f"-DOpenMM_ROOT={OPENMM}"]
    if layout == "prefix":
        prefix = tmp_path / "prefix"
        package = prefix / "lib" / "python3" / "site-packages" / "openmmnnp"
        shutil.copytree(PACKAGE / "lib", package / "lib")
        (package / "include").symlink_to(PACKAGE / "include")
        (prefix / "include").symlink_to(OPENMM / "include")
        for library in (OPENMM / "lib").glob("*"):
            (prefix / "lib" / library.name).symlink_to(library)
        options = [f"-DCMAKE_PREFIX_PATH={prefix}"]
    folder = package / "lib" / "cmake" / "OpenMMNNP"
    for command in (
        ["cmake", "-S", ROOT / "tests" / "cmake_project", "-B", tmp_path, f"-DOpenMMNNP_ROOT={folder}", *options],
        ["cmake", "--build", tmp_path],
    ):
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
    scripted("return 50 * (positions**2).sum()", "positions").save(str(tmp_path / "model.pt"))
    env = {"OPENMMNNP_TORCH_LIB": str(Path(torch.__file__).parent / "lib"), "HOME": os.environ.get("HOME", "/")}
    result = subprocess.run([tmp_path / "stranger", tmp_path / "model.pt"], capture_output=True, text=True, env=env)
    assert result.returncode == 0, result.stderr
    potential, before, after = map(float, result.stdout.split())
    i = np.arange(4)[:, None]
    expected = 50 * np.sum((i * [0.1, 0, -0.1] + [0, 0.2, 0]) ** 2)
    assert potential == pytest.approx(expected, rel=1e-12)
    assert before == pytest.approx(expected, rel=1e-3)
    assert after == pytest.approx(before, rel=1e-3)


def test_folder_for_cmake_is_printed() -> None:
    command = [sys.executable, "-m", "openmmnnp", "--cmake-dir"]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "20"})
    assert result.stdout == f"{PACKAGE}/lib/cmake/OpenMMNNP\n"


def test_torch_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    root = Path(torch.__file__).parent
    option = f"-DOPENMMNNP_TORCH_ROOTS={root};{root}"
    command = ["cmake", "-S", ROOT, "-B", tmp_path, f"-DPython_EXECUTABLE={sys.executable}", option]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode != 0
    assert f"OPENMMNNP_TORCH_ROOTS names torch {torch_minor()} twice." in result.stderr


def test_range_of_torch_is_the_same_everywhere() -> None:
    ranges = re.findall(r"torch>=[\d.]+,<[\d.]+", (ROOT / "pyproject.toml").read_text() + _check._INSTALL_TORCH)
    assert len(ranges) == 3
    assert len(set(ranges)) == 1
