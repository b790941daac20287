"""The code of the documentation and of README runs, and its commands exist.

A block fenced as ``python`` or ``bash`` is run, all of a page in one folder; ``console`` is read only: its commands
must exist with these options. Pages that have a test of their own (ELSEWHERE) are run by that. Models are made as
TorchScript here: the name of a package (.pt2) in a block becomes one that ends in .pt.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import openmm
import openmm.version
import pytest
import torch
import yaml
from openmm import app

import openmmnnp._core
from helpers import scripted
from openmmnnp import ModelSpec, NNPForce
from openmmnnp.cli import main
from openmmnnp.correct.options import CorrectOptions
from openmmnnp.export import save_pt
from openmmnnp.simulate.demo import data_folder
from openmmnnp.spec import ENERGY_UNITS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(ROOT)): path for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]}
ELSEWHERE = {
    "docs/collective_variables.md": "test_collective_variables.py::test_the_page_shows_how",
    "docs/free_energies.md": "test_correct.py::test_the_page",
    "docs/mixed_systems.md": "test_mixed_page.py::test_page",
    "docs/multiple_time_steps.md": "test_multiple_time_steps.py::test_the_page_shows_how",
    "docs/reporters.md": "test_reporters.py::test_page",
    **{f"docs/models/{name}.md": f"families/test_{name}.py" for name in ("aimnet2", "mace", "metatomic", "nequip")},
    "docs/models/torchmdnet.md": "families/test_torchmdnet.py",
    "docs/models/ani2x.md": "test_ani.py::test_the_page",
}
WORDS = {"cd", "cmake", "conda", "cp", "echo", "build/cpp/evaluate"}  # commands that are not ours


class Block(NamedTuple):
    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, without the text of files that it includes."""
    fence = re.compile(r'^```(\w*)(?: title="([^"]*)")?[ \t]*\n(.*?)^```[ \t]*$', re.MULTILINE | re.DOTALL)
    return [Block(*match.groups("")) for match in fence.finditer(page.read_text(encoding="utf-8"))]


def indented(page: Path) -> list[str]:
    """Commands in indented blocks."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^    ((?:openmm-nnp|pip|apt-get|make|python) .*)", text, re.MULTILINE)
    return [line.split("   ")[0] for line in lines]


# Blocks that run


@pytest.fixture
def water(tmp_path: Path) -> Path:
    """A folder with the model of an O-H-H molecule, as model.pt."""
    pairs = "return ((positions[0] - positions[1:]).square().sum(1).sqrt() - 0.96).square().sum()"
    example = {"positions": np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0.0]]), "atomic_numbers": [8, 1, 1]}
    spec = ModelSpec("water", "angstrom", "eV", "float64", ["positions", "atomic_numbers"], elements=[1, 8])
    module = scripted(pairs, "positions, atomic_numbers")
    other = {"positions": np.eye(4, 3), "atomic_numbers": [8, 1, 1, 1]}
    save_pt(module, spec, tmp_path / "model.pt", examples=[example, other], progress=False)
    return tmp_path


def names_of_readme(folder: Path) -> dict[str, Any]:
    system = openmm.System()
    for _ in range(4706):
        system.addParticle(1.0)
    return {"system": system, "integrator": openmm.VerletIntegrator(0.001)}


def names_of_torch(folder: Path) -> dict[str, Any]:
    class Well(torch.nn.Module):
        def forward(self, positions: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
            return k * positions.square().sum()

    torch.jit.script(Well()).save(str(folder / "model.pt"))
    return {"system": openmm.System()}


def names_of_openmmml(folder: Path) -> dict[str, Any]:
    pdb = app.PDBFile(str(data_folder() / "lig.pdb"))
    shutil.copy(data_folder() / "ejm_31.pt", folder / "ligand.pt")
    system = app.ForceField(str(data_folder() / "lig_gaff.xml")).createSystem(pdb.topology)
    return {"topology": pdb.topology, "mm_system": system, "ligand_atoms": range(32)}


def names_of_performance(folder: Path) -> dict[str, Any]:
    system = openmm.System()
    for mass in (16.0, 1.0, 1.0):
        system.addParticle(mass)
    force = NNPForce(folder / "model.pt", atomicNumbers=[8, 1, 1])
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.0005), openmm.Platform.getPlatform("Reference"))
    context.setPositions([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0]])
    return {"force": force, "context": context}


NAMES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "README.md": names_of_readme,
    "docs/openmm-torch.md": names_of_torch,
    "docs/openmm-ml.md": names_of_openmmml,
    "docs/performance.md": names_of_performance,
}
README_ELSEWHERE = "createMixedSystem"  # test_protein_ligand.py::test_readme_shows_how
RUN = [name for name in PAGES if name not in ELSEWHERE and any(b.language in ("bash", "python") for b in
       blocks(PAGES[name]))]  # fmt: skip


@pytest.mark.parametrize("name", RUN)
def test_blocks_run(name: str, water: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(water)
    monkeypatch.syspath_prepend(water)
    if name == "docs/openmm-ml.md":
        pytest.importorskip("openmmml")
    names = NAMES.get(name, lambda folder: {})(water)
    for language, title, text in blocks(PAGES[name]):
        text = re.sub(r"\.pt2\b", ".pt", text)
        if title:
            Path(title).write_text(text, encoding="utf-8")
        elif language == "bash":
            for command in commands(text):
                assert run(command) == 0, f"{name}: {command}"
        elif language == "python" and not (name == "README.md" and README_ELSEWHERE in text):
            exec(compile(text, name, "exec"), names)


def test_program_of_the_cpp_page(water: Path) -> None:
    """The project in examples/cpp is built as a stranger would, and gives the energy that Python gives."""
    folder = Path(openmmnnp._core.__file__).parent / "lib" / "cmake" / "OpenMMNNP"  # what --cmake-dir prints
    build = ["cmake", "-S", ROOT / "examples" / "cpp", "-B", water / "build", f"-DOpenMMNNP_ROOT={folder}"]
    if not (folder.parents[3] / "OpenMM.libs").exists():
        build.append(f"-DOpenMM_ROOT={Path(openmm.version.openmm_library_path).parent}")
    for command in (build, ["cmake", "--build", water / "build"]):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    variables = os.environ | {"OPENMMNNP_TORCH_LIB": str(Path(torch.__file__).parent / "lib")}
    program = [water / "build" / "evaluate", water / "model.pt"]
    printed = subprocess.run(program, check=True, capture_output=True, text=True, env=variables).stdout
    lengths = np.linalg.norm([[0.957, 0, 0], [-0.24, 0.927, 0]], axis=1)  # angstrom
    assert float(printed.split()[0]) == pytest.approx(ENERGY_UNITS["eV"] * np.sum((lengths - 0.96) ** 2), rel=1e-5)
    assert "usage" in subprocess.run(program[:1], capture_output=True, text=True, check=False).stderr


def commands(text: str) -> list[str]:
    """The commands of a block: lines, with those that are continued joined, and without comments."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [command for line in lines if (command := re.sub(r"(^|\s)#.*", "", line).strip())]


def run(command: str) -> int:
    """Run a command; openmm-nnp's in this process, which saves an import of torch."""
    words = shlex.split(command.partition("||")[0])
    if words[0] == "openmm-nnp" and words[1] != "doctor":
        status = main(words[1:])
        return 0 if "||" in command else status
    python = f'"{sys.executable}"'
    line = re.sub(r"^openmm-nnp\b", f"{python} -m openmmnnp", re.sub(r"\bpython\b(?= -c)", python, command))
    return subprocess.run(["bash", "-euo", "pipefail", "-c", line], check=False).returncode


def test_pages_with_tests_of_their_own_have_them() -> None:
    for page, test in ELSEWHERE.items():
        module, _, function = test.partition("::")
        text = (ROOT / "tests" / "python" / module).read_text(encoding="utf-8")
        assert Path(page).name in text and f"def {function}" in text, page


def test_blocks_have_a_language_that_is_looked_at() -> None:
    known = {"python", "bash", "console", "yaml", "cmake", "cpp"}
    assert {block.language for page in PAGES.values() for block in blocks(page)} <= known


def test_options_of_files() -> None:
    """YAML blocks are files of options for --config."""
    known = {name.replace("_", "-") for name in CorrectOptions.__dataclass_fields__} | {"protein", "ligand", "ligands"}
    for page in PAGES.values():
        for block in blocks(page):
            if block.language == "yaml":
                values = yaml.safe_load(block.text)
                options = [values, *values.get("ligands", {}).values()]
                assert {key for some in options for key in some} <= known, page


# Commands that are read


def every_command() -> Iterator[tuple[str, str]]:
    for name, page in PAGES.items():
        for block in blocks(page):
            if block.language in ("bash", "console"):
                yield from ((name, command) for command in commands(block.text) if name not in ELSEWHERE or
                            block.language == "console")  # fmt: skip
        yield from ((name, command) for command in indented(page))


def test_commands_exist(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Commands have these options; what apt, pip and make are told is what the build uses."""
    parse = argparse.ArgumentParser.parse_args

    def parsed(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> argparse.Namespace:
        options = parse(self, args, namespace)
        options.run = lambda options: 0
        return options

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    found = list(every_command())
    assert len(found) > 40
    for page, command in found:
        words = [word for word in shlex.split(command.partition("||")[0]) if word != "..."]
        while "=" in words[0]:
            words = words[1:]
        tool = words[0]
        if tool == "openmm-nnp":
            try:
                assert main(words[1:]) == 0
            except SystemExit as end:
                raise AssertionError(f"{page}: {command}\n{capsys.readouterr().err}") from end
        else:
            assert tool in WORDS or CHECKS[tool](words[1:]), f"{page}: {command}"


def check_pip(words: list[str]) -> bool:
    extras = {extra.split("[")[0] for extra in metadata.metadata("openmm-nnp").get_all("Provides-Extra") or []}
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8") + (ROOT / "Makefile").read_text(encoding="utf-8")
    packages = [word for word in words[1:] if not word.startswith("-")]
    for package in packages:
        name, _, extra = re.sub(r"[<>=].*", "", package).rstrip("]").partition("[")
        if name not in (".", "openmm-nnp") and not re.search(rf"\b{name}\b", project):
            return False
        if extra and not set(extra.split(",")) <= extras:
            return False
    return words[0] == "install" and bool(packages)


def check_apt(words: list[str]) -> bool:
    match = re.search(r'packages="([^"]*)"', (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    return match is not None and words == ["install", *match[1].split()]


def check_make(words: list[str]) -> bool:
    targets = re.findall(r"^([\w%-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    return all(word in targets or "=" in word for word in words)


def check_python(words: list[str]) -> bool:
    """A script of ours with options that it has, or a piece of code."""
    if words[0] == "-c":
        return bool(ast.parse(words[1]))
    scripts = [path for path in (ROOT / "examples").rglob(Path(words[0]).name) if str(path).endswith(words[0])]
    text = scripts[0].read_text(encoding="utf-8") if scripts else ""
    return all(f'"{word}"' in text for word in words if word.startswith("--")) and bool(text)


CHECKS: dict[str, Callable[[list[str]], bool]] = {
    "pip": check_pip,
    "apt-get": check_apt,
    "make": check_make,
    "python": check_python,
    "nequip-compile": lambda words: "--target" in words,
}
