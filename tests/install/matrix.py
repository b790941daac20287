"""The install matrix: a wheel in fresh environments, with what a user may have of torch and OpenMM.

    python tests/install/matrix.py WHEEL --torch 2.12.1 2.13.0

Each torch must be one for which the wheel has a library. Needs a package index, a C++ compiler and CMake. Prints a
table, writes it to build/test-install.md, and exits with 1 if a case failed.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from environment import Environment, Failure, Skipped, run
from probe import POSITIONS, STIFFNESS

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))
from package_contents import problems  # noqa: E402

OPENMM = "openmm>=8.6,<8.7"
PEERS = {"openmmml": "1.8", "openmmtorch": "1.5"}
INSTALL_OPENMM = 'run pip install "openmm==8.6.*"'
INSTALL_TORCH = 'run pip install "torch>=2.11,<2.16"'
LARGEST_WHEEL = 20  # MB
REPORT = ROOT / "build" / "test-install.md"


@dataclass
class Row:
    case: str
    result: str
    printed: str
    seconds: float


class Matrix:
    def __init__(self, wheel: Path, folder: Path) -> None:
        self.wheel, self.folder, self.rows = wheel, folder, list[Row]()

    def case(self, name: str, function: Callable[[], str]) -> None:
        """Run a case: a function that returns what was seen, or raises Failure."""
        start = time.perf_counter()
        try:
            result, printed = "passed", function()
        except Skipped as reason:
            result, printed = "skipped", str(reason)
        except Exception as failure:  # also one that nobody thought of: the other cases still run
            result, printed = "FAILED", str(failure) if isinstance(failure, Failure) else repr(failure)
        row = Row(name, result, " ".join(printed.split()), time.perf_counter() - start)
        self.rows.append(row)
        print(f"{row.result:7} {row.seconds:6.1f} s  {row.case}: {row.printed}", flush=True)

    def table(self) -> str:
        lines = ["| case | result | what was seen | seconds |", "|---|---|---|---|"]
        for row in self.rows:
            printed = row.printed.replace("|", "\\|")
            lines.append(f"| {row.case} | {row.result} | {printed} | {row.seconds:.1f} |")
        return "\n".join(lines) + "\n"

    # The wheel itself

    def contents(self) -> str:
        unpacked = self.folder / "unpacked"
        with zipfile.ZipFile(self.wheel) as archive:
            archive.extractall(unpacked)
        found = list(problems(unpacked / "openmmnnp", [str(ROOT), sys.prefix, "/site-packages/torch/"]))
        if not list(unpacked.glob("*.dist-info/licenses/LICENSE")):
            found.append("the license is missing")
        megabytes = self.wheel.stat().st_size / 1e6
        if megabytes > LARGEST_WHEEL:
            found.append(f"{megabytes:.1f} MB are more than {LARGEST_WHEEL}")
        if found:
            raise Failure("; ".join(found))
        minors = sorted(path.stem.split("-")[1] for path in unpacked.rglob("libOpenMMNNPTorch-*.so"))
        return f"{self.wheel.name}, {megabytes:.1f} MB, libraries for torch {', '.join(minors)}"

    # One torch

    def install_beside(self, environment: Environment, torch: str) -> str:
        environment.pip("install", f"torch=={torch}", OPENMM, "numpy")
        before = environment.packages()
        environment.pip("install", str(self.wheel))
        after = environment.packages()
        new = {name for name in after if before.get(name) != after[name]}
        if new != {"openmm-nnp"}:
            raise Failure(f"pip also installed {', '.join(sorted(new - {'openmm-nnp'})) or 'nothing'}")
        return f"one package more beside torch {after['torch']} and openmm {after['openmm']}"

    def make_models(self, environment: Environment, torch: str) -> str:
        models = [self.folder / f"{torch}.pt", self.folder / f"{torch}.pt2"]
        made = environment.probe("make_models", *models)["torch"]
        return f"{', '.join(path.name for path in models)} by torch {made}"

    def evaluate(self, environment: Environment, modules: str, *models: str) -> str:
        answer = environment.probe("evaluate", modules, *(self.folder / model for model in models))
        energy = STIFFNESS * sum(x * x for position in POSITIONS for x in position)
        forces = [-2 * STIFFNESS * x for position in POSITIONS for x in position]
        for result in answer["results"]:
            found = [x for force in result["forces"] for x in force]
            error = max(abs(a - b) for a, b in zip([energy, *forces], [result["energy"], *found], strict=True))
            if error > 1e-10:
                raise Failure(f"energy {result['energy']} kJ/mol, or a force, is wrong by {error}")
        return f"{', '.join(models)}: {energy:.6g} kJ/mol on Reference and CPU"

    def evaluate_with_peer(self, environment: Environment, peer: str, modules: str, *models: str) -> str:
        """The same with another package, where that can be imported at all."""
        environment.pip("install", "--no-deps", f"{peer}=={PEERS[peer]}")
        try:
            run(environment.python, "-c", f"import torch, openmm, {peer}")
        except Failure as failure:
            raise Skipped(f"{peer} can't be imported here: {str(failure).splitlines()[-1]}") from failure
        return self.evaluate(environment, modules, *models)

    def without_library(self, environment: Environment, torch: str) -> str:
        """As if torch were one for which the wheel has no library: .pt2 runs, and .pt says what to do."""
        minor = torch.rsplit(".", 1)[0]
        library = environment.site_packages() / "openmmnnp" / "lib" / f"libOpenMMNNPTorch-{minor}.so"
        aside = library.rename(self.folder / library.name)
        try:
            self.evaluate(environment, "openmmnnp", f"{torch}.pt2")
            return expect(environment.probe("refusal", self.folder / f"{torch}.pt")["text"], "pip install", minor)
        finally:
            shutil.move(aside, library)

    def uninstall(self, environment: Environment) -> str:
        environment.pip("uninstall", "--yes", "openmm-nnp")
        left = [str(path.relative_to(environment.folder)) for path in environment.folder.rglob("openmm*nnp*")]
        if left:
            raise Failure(f"left behind: {', '.join(left)}")
        return "nothing is left"

    def with_torch(self, torch: str, earlier: list[str]) -> None:
        """All cases of one torch; models of `earlier` ones must run as well."""
        environment = Environment(self.folder / f"torch-{torch}")
        self.case(f"pip install beside torch {torch}", lambda: self.install_beside(environment, torch))
        self.case(f"export with torch {torch}", lambda: self.make_models(environment, torch))
        models = [f"{version}.{kind}" for version in [*earlier, torch] for kind in ("pt", "pt2")]
        for order in itertools.permutations(("openmm", "torch", "openmmnnp")):
            modules = ",".join(order)
            self.case(f"torch {torch}: import {modules}", lambda m=modules: self.evaluate(environment, m, *models))
        for peer in PEERS:
            for modules in (f"{peer},openmmnnp", f"openmmnnp,{peer}"):
                self.case(
                    f"torch {torch}: import {modules}",
                    lambda m=modules, p=peer: self.evaluate_with_peer(environment, p, m, *models),
                )
        self.case(f"torch {torch} without its library", lambda: self.without_library(environment, torch))
        self.case(f"C++ project, torch {torch}", lambda: self.cmake_project(environment, torch))
        self.case(f"uninstall beside torch {torch}", lambda: self.uninstall(environment))
        shutil.rmtree(environment.folder)

    def cmake_project(self, environment: Environment, torch: str) -> str:
        """Configure, build and run a project of somebody else with what the environment has."""
        build, site = self.folder / f"cmake-{torch}", environment.site_packages()
        folder = run(environment.folder / "bin" / "openmm-nnp", "--cmake-dir").strip()
        run("cmake", "-S", ROOT / "tests" / "cmake_project", "-B", build, f"-DOpenMMNNP_ROOT={folder}")
        run("cmake", "--build", build)
        seen = []
        for kind in ("pt", "pt2"):
            libraries = {"OPENMMNNP_TORCH_LIB": str(site / "torch" / "lib")}
            numbers = run(build / "stranger", self.folder / f"{torch}.{kind}", **libraries).split()
            expected = STIFFNESS * sum(2 * (0.1 * i) ** 2 + 0.2**2 for i in range(4))
            if abs(float(numbers[0]) - expected) > 1e-9 or abs(float(numbers[2]) - float(numbers[1])) > 1e-2:
                raise Failure(f"energies {' '.join(numbers)}, but {expected} kJ/mol were expected")
            seen.append(f"{kind}: {' '.join(numbers)}")
        return "; ".join(seen)

    # Wrong versions

    def refusal_of_openmm(self, environment: Environment, version: str) -> str:
        environment.pip("install", "--no-deps", f"openmm=={version}")
        return self.refusal(environment, f"OpenMM {version} is installed", INSTALL_OPENMM)

    def refusal(self, environment: Environment, *words: str, first: Path | None = None) -> str:
        answer = environment.probe("refusal", first=first)
        if answer["loaded"]:
            raise Failure(f"{answer['loaded']} had been loaded when this came: {answer['text']}")
        return expect(answer["text"], *words)

    def fake_torch(self, version: str) -> Path:
        """A folder with a torch that has a version and nothing else, as a real one says it."""
        package = self.folder / f"fake-{version}" / "torch"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise SystemExit('torch was imported')\n")
        (package / "version.py").write_text(f"__version__ = '{version}'\n")
        return package.parent

    def wrong_versions(self) -> None:
        environment = Environment(self.folder / "versions")
        environment.pip("install", "numpy")
        environment.pip("install", "--no-deps", str(self.wheel))
        self.case("no OpenMM", lambda: self.refusal(environment, "OpenMM is not installed", INSTALL_OPENMM))
        for version in ("8.4.0", "8.5.2"):
            self.case(f"OpenMM {version}", lambda v=version: self.refusal_of_openmm(environment, v))
        environment.pip("install", "--no-deps", OPENMM)
        self.case("no torch", lambda: self.refusal(environment, "torch is not installed", INSTALL_TORCH))
        for version in ("1.13.1", "2.10.0+cpu"):
            words, fake = f"torch {version} is installed", self.fake_torch(version)
            self.case(f"torch {version}", lambda w=words, f=fake: self.refusal(environment, w, INSTALL_TORCH, first=f))
        later = self.fake_torch("2.16.0")
        self.case("torch 2.16.0", lambda: expect(environment.probe("refusal", first=later)["text"], "imports"))


def expect(text: str, *words: str) -> str:
    """The text, if it is one line that holds all of these."""
    if "\n" in text or not all(word in text for word in words):
        raise Failure(f"expected one sentence with {words}, found: {text}")
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--torch", nargs="+", required=True, metavar="VERSION")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="test-install-") as folder:
        matrix = Matrix(options.wheel.resolve(), Path(folder))
        matrix.case("what is in the wheel", matrix.contents)
        matrix.wrong_versions()
        for i, torch in enumerate(options.torch):
            matrix.with_torch(torch, options.torch[:i])
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(matrix.table())
    failed = sum(row.result == "FAILED" for row in matrix.rows)
    seconds = sum(row.seconds for row in matrix.rows)
    skipped = sum(row.result == "skipped" for row in matrix.rows)
    passed = len(matrix.rows) - failed - skipped
    print(f"{passed} passed, {failed} failed, {skipped} skipped; {seconds:.0f} s; written to {REPORT}")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
