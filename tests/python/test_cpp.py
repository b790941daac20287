"""The C++ interface from a program without Python, and what only the libraries' symbols show."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import openmm
import openmm.version
import pytest
import torch

import openmmnnp._core
from helpers import scripted
from openmmnnp import ModelSpec
from openmmnnp.export import save_pt, save_pt2
from openmmnnp.spec import write_spec

PACKAGE = Path(openmmnnp._core.__file__).parent
SOURCE = Path(__file__).parents[1] / "cpp"


class Spring(torch.nn.Module):
    """E = 50 sum r^2."""

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return 50 * (positions**2).sum()


class SpringWithEdges(torch.nn.Module):
    """The same, with edges that it ignores."""

    def forward(self, positions: torch.Tensor, edges: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
        return 50 * (positions**2).sum()


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the C++ tests, built against the installed package."""
    build = tmp_path_factory.mktemp("cpp")
    for command in (
        ["cmake", "-S", SOURCE, "-B", build, f"-DPython_EXECUTABLE={sys.executable}"],
        ["cmake", "--build", build, "--target", "test_force", "test_device", "test_check_kernel"],
    ):
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
    return build


@pytest.fixture(scope="session")
def springs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same model as .pt and .pt2."""
    folder = tmp_path_factory.mktemp("springs")
    spec = ModelSpec("spring", "nm", "kJ/mol", "float64", outputs=["energy"])
    generator = torch.Generator().manual_seed(1)
    examples = [{"positions": torch.rand(n, 3, generator=generator, dtype=torch.float64)} for n in (4, 5)]
    save_pt(Spring(), spec, folder / "spring.pt", examples=examples, progress=False)
    save_pt2(Spring(), spec, folder / "spring.pt2", examples=examples, progress=False)
    return [folder / "spring.pt", folder / "spring.pt2"]


@pytest.fixture(scope="session")
def spring_with_edges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("springs") / "edges.pt"
    torch.jit.script(SpringWithEdges()).save(str(path))
    inputs = ["positions", "edges", "shifts"]
    spec = ModelSpec(
        "spring", "nm", "kJ/mol", "float64", outputs=["energy"], inputs=inputs, cutoff=1.5, shifts="cartesian"
    )
    write_spec(path, spec)
    return path


@pytest.fixture(scope="session")
def spring_with_charges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("springs") / "charges.pt"
    body = "return 50 * (positions**2).sum() + 0 * (mm_charges * mm_positions.sum(1)).sum()"
    scripted(body, "positions, mm_positions, mm_charges").save(str(path))
    inputs = ["positions", "mm_positions", "mm_charges"]
    write_spec(path, ModelSpec("spring", "nm", "kJ/mol", "float64", inputs=inputs, mm_cutoff=0.5))
    return path


def run(*command: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A program, which looks for leaks at its end where it was built with sanitizers (tests/asan/run.sh)."""
    environment = os.environ | variables
    if "ASAN_OPTIONS" in environment:
        environment["ASAN_OPTIONS"] = environment["ASAN_OPTIONS"].replace("detect_leaks=0", "detect_leaks=1")
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.asan
def test_program_without_python(
    programs: Path, springs: list[Path], spring_with_edges: Path, spring_with_charges: Path
) -> None:
    torch_lib = Path(torch.__file__).parent / "lib"
    models = [*springs, spring_with_edges, spring_with_charges]
    plugins = PACKAGE / "lib" / "plugins"
    result = run(programs / "test_force", plugins, *models, OPENMMNNP_TORCH_LIB=str(torch_lib))
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("no allocation of our own") == 8


def _as_if_for_cuda(package: Path, target: Path, kernels: list[str]) -> Path:
    """A copy of a package that says it was compiled for CUDA, and holds these kernels."""
    with zipfile.ZipFile(package) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("_metadata.json"):
                data = json.dumps(json.loads(data) | {"AOTI_DEVICE_KEY": "cuda", "AOTI_COMPUTE_CAPABILITY": "90"})
            copy.writestr(name, data)
        folder = next(name for name in source.namelist() if name.endswith(".so")).rsplit("/", 1)[0]
        for kernel in kernels:
            copy.writestr(f"{folder}/{kernel}", b"kernel")
    return target


@pytest.mark.asan
def test_evaluation_that_only_enqueues(programs: Path, springs: list[Path], tmp_path: Path) -> None:
    torch_lib = Path(torch.__file__).parent / "lib"
    one = _as_if_for_cuda(springs[1], tmp_path / "one.pt2", ["a.cubin"])
    twins = _as_if_for_cuda(springs[1], tmp_path / "twins.pt2", ["a.cubin", "more/a.cubin"])
    elastic = tmp_path / "elastic.pt"
    scripted("return k * (positions**2).sum()", "positions, k").save(str(elastic))
    write_spec(elastic, ModelSpec("elastic", "nm", "kJ/mol", "float64", inputs=["positions", "parameters.k"]))
    edges = tmp_path / "edges.pt"
    body = "r = positions[edges[1]] - positions[edges[0]] + shifts\nreturn torch.relu(1 - (r * r).sum(1)).sum()"
    scripted(body, "positions, edges, shifts").save(str(edges))
    inputs = ["positions", "edges", "shifts"]
    write_spec(edges, ModelSpec("edges", "nm", "kJ/mol", "float64", inputs=inputs, cutoff=1.0, shifts="cartesian"))
    charges = tmp_path / "charges.pt"
    body = "r = positions[:, None] - mm_positions[None]\nreturn (mm_charges * (r * r).sum(2)).sum()"
    scripted(body, "positions, mm_positions, mm_charges").save(str(charges))
    inputs = ["positions", "mm_positions", "mm_charges"]
    write_spec(charges, ModelSpec("charges", "nm", "kJ/mol", "float64", inputs=inputs))
    variables = tmp_path / "variables.pt"
    scripted("return (positions**2).sum() * torch.tensor([[3.0, 5.0], [50.0, 7.0]]).double()").save(str(variables))
    write_spec(variables, ModelSpec("variables", "nm", "1", "float64", outputs=["cv"]))
    models = [one, twins, elastic, edges, charges, variables, *springs]
    result = run(programs / "test_device", torch_lib, *models)
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr.count("openmm-nnp: the model of this test runs without a CUDA graph: ") == 4
    assert result.stderr.count("openmm-nnp: elastic runs without a CUDA graph: a derivative") == 1


def _symbols(library: Path) -> str:
    return subprocess.run(["nm", "-DC", "--undefined-only", library], capture_output=True, text=True, check=True).stdout


def _needed(library: Path) -> str:
    return subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", ["lib/libOpenMMNNP.so", "lib/plugins/libOpenMMNNPReference.so"])
def test_core_is_free_of_torch_and_python(name: str) -> None:
    symbols = _symbols(PACKAGE / name)
    assert "OpenMM::" in symbols
    assert not re.search(r"\b(c10|at|torch)::", symbols)
    assert not re.search(r"\bPy[A-Z_]", symbols)
    assert not re.search(r"NEEDED.*(torch|c10|python)", _needed(PACKAGE / name))


def test_torch_library_is_free_of_python() -> None:
    libraries = list((PACKAGE / "lib").glob("libOpenMMNNPTorch-*.so"))
    assert libraries
    for symbols in map(_symbols, libraries):
        assert "torch::jit" in symbols
        assert not re.search(r"\bPy[A-Z_]", symbols)


def _names(library: Path, *options: str) -> set[str]:
    """Symbols of a library, without weak ones that nobody defines."""
    lines = subprocess.run(["nm", "-D", *options, library], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].split("@")[0] for line in lines.splitlines() if line.split()[-2] != "w"}


def test_cuda_plugin_needs_only_what_openmm_loads_before_it() -> None:
    plugin = PACKAGE / "lib" / "plugins" / "libOpenMMNNPCUDA.so"
    if not plugin.exists():
        pytest.skip("built without CUDA's headers")
    openmm_lib = Path(openmm.version.openmm_library_path)
    platform = openmm_lib / "plugins" / "libOpenMMCUDA.so"
    installed = platform.exists()
    if not installed:  # the OpenCL platform holds the classes that both share
        platform = openmm_lib / "plugins" / "libOpenMMOpenCL.so"
    found = subprocess.run(["ldd", plugin], capture_output=True, text=True, check=True).stdout
    libraries = [Path(path) for path in re.findall(r"=> (/\S+)", found)] + [platform]
    missing = _names(plugin, "--undefined-only") - set().union(*(_names(x, "--defined-only") for x in libraries))
    driver = {name for name in missing if re.fullmatch(r"cu[A-Z]\w+", name)}
    assert "cuCtxPushCurrent_v2" in driver
    rest = subprocess.run(["c++filt"], input="\n".join(missing - driver), capture_output=True, text=True).stdout
    assert not [name for name in rest.split("\n") if name and (installed or "OpenMM::Cuda" not in name)]


@pytest.mark.asan
def test_kernel_that_checks_an_evaluation(programs: Path) -> None:
    result = run(programs / "test_check_kernel")
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", ["lib/libOpenMMNNP.so", "lib/plugins/libOpenMMNNPReference.so"])
def test_run_paths_are_relative(name: str) -> None:
    (paths,) = re.findall(r"(?:RUNPATH|RPATH).*\[(.*)\]", _needed(PACKAGE / name))
    assert all(path.startswith("$ORIGIN") for path in paths.split(":"))
