"""Import: order, what it loads, and what it says when versions don't fit. Each runs in an interpreter of its own."""

from __future__ import annotations

import ast
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

import openmmnnp
import openmmnnp._core
from openmmnnp import _build, _check, _libraries

STUB = Path(openmmnnp.__file__).with_name("_core.pyi")
LIBRARIES = Path(openmmnnp._core.__file__).parent / "lib"


def run(code: str, *, first: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter; packages in the folder `first` hide installed ones."""
    path = os.pathsep.join(filter(None, [first and str(first), os.environ.get("PYTHONPATH")]))
    env = os.environ | environment | {"PYTHONPATH": path}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)


def run_well(code: str, **options: str) -> str:
    result = run(code, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout


def fake(folder: Path, package: str, version: str | None, metadata: str | None = None) -> Path:
    """An installed package that can't be imported, with a version file, metadata, or both."""
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text("raise SystemExit('imported')")
    if version is not None:
        name = "short_version" if package == "openmm" else "__version__"
        (folder / package / "version.py").write_text(f"git_version = '9.9'\n{name} = '{version}'\n")
    if metadata is not None:
        info = folder / f"{package}-{metadata}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {metadata}\n")
    return folder


def refusal(first: Path, **environment: str) -> str:
    """The text of the ImportError, which must come before any library is loaded."""
    code = "import sys\ntry:\n    import openmmnnp\nexcept ImportError as error:\n    print(error)\n"
    code += "    libraries = open('/proc/self/maps').read()\n"
    code += "    assert 'libOpenMM' not in libraries and 'libtorch' not in libraries and '_core' not in libraries\n"
    return run_well(code, first=first, **environment).strip()


def energy_script(model: Path) -> str:
    """Code that prints the energy of one particle at (1, 2, 3)."""
    return f"""
system = openmm.System()
system.addParticle(1.0)
system.addForce(openmmnnp.NNPForce({str(model)!r}))
context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
context.setPositions([[1.0, 2.0, 3.0]])
print(context.getState(getEnergy=True).getPotentialEnergy()._value)
"""


@pytest.mark.parametrize("order", list(itertools.permutations(["torch", "openmm", "openmmnnp"])), ids=" ".join)
@pytest.mark.figure("G14", what="every order of imports")
def test_any_import_order_runs_a_model(order: tuple[str, ...], harmonic: Path) -> None:
    code = "\n".join(f"import {name}" for name in order)
    assert float(run_well(code + energy_script(harmonic))) == pytest.approx(14, rel=1e-12)


def test_model_runs_without_python_torch(harmonic: Path) -> None:
    code = "import sys, openmm, openmmnnp" + energy_script(harmonic) + "print('torch' in sys.modules)"
    assert run_well(code).split() == ["14.0", "False"]


def test_model_finds_all_libraries_that_a_package_may_be_linked_to(harmonic: Path) -> None:
    """A torch with CUDA links packages to libtorch too, which nobody but Python's torch would load."""
    code = (
        "import openmm, openmmnnp" + energy_script(harmonic) + "print('/libtorch.so' in open('/proc/self/maps').read())"
    )
    assert run_well(code).split() == ["14.0", "True"]


def test_import_loads_no_torch() -> None:
    code = "import sys, openmmnnp; print('torch' in sys.modules, 'libtorch' in open('/proc/self/maps').read())"
    assert run_well(code) == "False False\n"


def test_openmm_alone_does_not_load_us() -> None:
    code = "import sys, openmm; print('openmmnnp' in sys.modules, 'OpenMMNNP' in open('/proc/self/maps').read())"
    assert run_well(code) == "False False\n"


@pytest.mark.parametrize("version, metadata", [("8.5.1", None), (None, "8.5.1"), ("8.5.1", "8.6.1")])
@pytest.mark.figure("G14", what="wrong versions, before any library is loaded")
def test_other_openmm_is_refused(tmp_path: Path, version: str | None, metadata: str | None) -> None:
    built = ".".join(_build.OPENMM_VERSION.split(".")[:2])
    assert refusal(fake(tmp_path, "openmm", version, metadata)) == (
        f"This openmm-nnp was built for OpenMM {built}, but OpenMM 8.5.1 is installed: "
        f'run pip install "openmm=={built}.*"'
    )


@pytest.mark.parametrize("version, metadata", [("2.10.1+cu128", None), (None, "2.10.1+cu128")])
@pytest.mark.figure("G14", what="wrong versions, before any library is loaded")
def test_old_torch_is_refused(tmp_path: Path, version: str | None, metadata: str | None) -> None:
    assert refusal(fake(tmp_path, "torch", version, metadata)) == (
        'openmm-nnp needs torch 2.11 or newer, but torch 2.10.1+cu128 is installed: run pip install "torch>=2.11,<2.16"'
    )


def test_other_torch_is_accepted_where_a_folder_of_libraries_is_named(tmp_path: Path) -> None:
    fake(tmp_path, "torch", "2.10.1")
    assert run_well("import openmmnnp; print('ok')", first=tmp_path, OPENMMNNP_TORCH_LIB="/nowhere") == "ok\n"


@pytest.mark.parametrize("package", ["torch", "openmm"])
@pytest.mark.figure("G14", what="wrong versions, before any library is loaded")
def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setattr(_check, "find_spec", lambda name: None)
    command = {
        "torch": r"torch is not installed: run pip install \"torch>=",
        "openmm": r"OpenMM is not installed: run pip",
    }
    with pytest.raises(ImportError, match=command[package]):
        _check.check_torch() if package == "torch" else _check.check_openmm("8.6.1")


@pytest.mark.parametrize("version", ["8.6.0", "8.6.3.dev-abc"])
def test_other_patch_releases_of_openmm_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    fake(tmp_path, "openmm", version)
    monkeypatch.setattr(_check, "package_folder", lambda name: tmp_path / name)
    _check.check_openmm("8.6.1")


def test_later_torch_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, "torch", "3.0.0")
    monkeypatch.setattr(_check, "package_folder", lambda name: tmp_path / name)
    _check.check_torch()


@pytest.mark.parametrize(
    "module, text",
    [
        ("_build", "no compiled libraries here: run pip install"),
        ("_core", r"libraries can't be loaded \(.*\): run pip"),
    ],
)
def test_missing_compiled_module(monkeypatch: pytest.MonkeyPatch, module: str, text: str) -> None:
    monkeypatch.delattr(openmmnnp, module)
    monkeypatch.setitem(sys.modules, f"openmmnnp.{module}", None)
    with pytest.raises(ImportError, match=text):
        _libraries._load()


def plugin_folder(folder: Path, **contents: str) -> Path:
    """A folder of plugins that are no libraries."""
    (folder / "lib" / "plugins").mkdir(parents=True)
    for platform, content in contents.items():
        (folder / "lib" / "plugins" / f"libOpenMMNNP{platform}.so").write_text(content)
    return folder


def test_plugin_that_is_missing_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match="no plugin for the Reference platform in .*: run pip install"):
        _libraries._load_plugins(plugin_folder(tmp_path / "none", CPU="damaged"))
    with pytest.raises(ImportError, match=r"plugin can't be loaded \(.*libOpenMMNNPReference\.so.*\): run pip install"):
        _libraries._load_plugins(plugin_folder(tmp_path / "damaged", Reference="damaged"))


def test_damaged_plugin_of_one_platform_is_a_warning(tmp_path: Path) -> None:
    folder = plugin_folder(tmp_path, CPU="damaged", Unknown="damaged")
    good = Path(openmmnnp._core.__file__).parent / "lib" / "plugins" / "libOpenMMNNPReference.so"
    (folder / "lib" / "plugins" / good.name).symlink_to(good)
    with pytest.warns(RuntimeWarning, match=r"can't run on the CPU platform.*libOpenMMNNPCPU\.so") as warned:
        _libraries._load_plugins(folder)
    assert len(warned) == 1


def test_versions_are_those_that_were_built() -> None:
    assert openmmnnp.__version__ == _build.VERSION
    assert openmmnnp._core.compiled_openmm_version == _build.OPENMM_VERSION
    there = {path.stem.removeprefix("libOpenMMNNPTorch-") for path in LIBRARIES.glob("libOpenMMNNPTorch-*.so")}
    assert there == {version.rsplit(".", 1)[0] for version in _build.TORCH_VERSIONS}


def test_python_torch_force_points_to_the_exporter() -> None:
    for code in ("from openmmnnp import PythonTorchForce", "import openmmnnp; openmmnnp.PythonTorchForce(None)"):
        assert "ImportError: openmmnnp has no PythonTorchForce" in run(code).stderr
    with pytest.raises(ImportError, match=r"openmmnnp\.export"):
        _ = openmmnnp.PythonTorchForce
    assert not hasattr(openmmnnp, "AnythingElse")


def test_stub_has_the_names_of_the_compiled_module() -> None:
    stub = {node.name for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    stub |= {node.target.id for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.AnnAssign)}
    assert stub == {name for name in dir(openmmnnp._core) if not name.startswith("_")}
