"""Models in metatomic's format, against metatomic's own calculator for ASE."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import torch

from figures import Measure
from helpers import measure_parity, scripted
from openmmnnp import ModelSpec, NNPForce
from openmmnnp.cli import main
from openmmnnp.families import metatomic as family
from openmmnnp.spec import ENERGY_UNITS, read_spec, write_spec
from pages import run_page

PAGES = Path(__file__).parents[3] / "docs" / "models"
EV = ENERGY_UNITS["eV"]
NUMBERS = [8, 1, 1, 6, 1, 1, 1, 1, 8, 6]
BOX = np.array([[6.4, 0, 0], [-1.1, 6.1, 0], [0.9, 1.3, 5.8]])
RUN = """
import sys, numpy, openmm
from openmmnnp import NNPForce
path, positions, numbers = sys.argv[1], numpy.loadtxt(sys.argv[2]), [int(z) for z in sys.argv[3].split(",")]
system = openmm.System()
for _ in numbers:
    system.addParticle(1)
system.addForce(NNPForce(path, atomicNumbers=numbers))
context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
context.setPositions(positions)
print(repr(context.getState(energy=True).getPotentialEnergy()._value))
assert not {"torch", "metatomic", "metatensor"} & {name.partition(".")[0] for name in sys.modules}
"""


@pytest.fixture(scope="module")
def metatomic() -> Iterator[Any]:
    """The module with models; skips where metatomic is not installed."""
    pytest.importorskip("metatomic.torch", reason="metatomic-torch is not installed")
    import metatomic_models

    yield metatomic_models


@pytest.fixture(scope="module")
def libraries(metatomic: Any) -> str:
    """The folder that holds metatomic's packages, for OPENMMNNP_EXTENSIONS."""
    import metatensor

    return str(Path(metatensor.__file__).parents[1])


@pytest.fixture
def positions() -> np.ndarray:
    """Positions [10, 3] in angstrom, no two atoms closer than 1 angstrom."""
    grid = np.stack(np.meshgrid(range(3), range(2), range(2), indexing="ij"), -1).reshape(-1, 3)[: len(NUMBERS)]
    return 1.7 * grid + np.random.default_rng(3).uniform(-0.3, 0.3, (len(NUMBERS), 3))


@pytest.fixture
def export(tmp_path: Path, metatomic: Any) -> Callable[..., Path]:
    """Function (lists, outputs, words, ...) that saves a model as metatomic does, "m.pt", and exports it."""

    def run(lists: Any = ((4.0, True),), outputs: Any = None, words: tuple[str, ...] = (), **values: Any) -> Path:
        outputs = {"energy": "atom"} if outputs is None else outputs
        metatomic.save_pairs(tmp_path / "m.pt", lists=list(lists), outputs=outputs, **values)
        assert main(["export", "metatomic", str(tmp_path / "m.pt"), "-o", str(tmp_path / "out.pt"), *words]) == 0
        return tmp_path / "out.pt"

    return run


def openmm_results(path: Path, positions: np.ndarray, box: np.ndarray | None, platform: str) -> dict[str, Any]:
    """Energy and named outputs in eV, forces in eV/angstrom."""
    force = NNPForce(path, atomicNumbers=NUMBERS[: len(positions)])
    force.setUsesPeriodicBoundaryConditions(box is not None)
    system = openmm.System()
    for _ in positions:
        system.addParticle(1)
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform(platform))
    if box is not None:
        context.setPeriodicBoxVectors(*(0.1 * box))
    context.setPositions(0.1 * positions)
    state = context.getState(energy=True, forces=True)
    found = {
        "energy": state.getPotentialEnergy()._value / EV,
        "forces": state.getForces(asNumpy=True)._value / EV / 10,
    }
    spec = read_spec(path)
    assert spec is not None
    return found | {name: np.array(force.getOutput(context, name)) / EV for name in spec.outputs[1:]}


def ase_results(path: Path, positions: np.ndarray, box: np.ndarray | None) -> dict[str, Any]:
    """The same by MetatomicCalculator, which finds pairs itself (vesin); no named outputs."""
    import ase
    from metatomic_ase import MetatomicCalculator

    atoms = ase.Atoms(NUMBERS[: len(positions)], positions, cell=box, pbc=box is not None)
    atoms.calc = MetatomicCalculator(path, device="cpu", uncertainty_threshold=None)
    return {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "calculator": atoms.calc}


MODELS = {
    "one full list": {},
    "of the system": {"outputs": {"energy": "system"}},
    "half": {"lists": ((4.5, False),)},
    "three lists": {"lists": ((4.5, True), (3.0, False), (2.2, True))},
    "half lists": {"lists": ((2.5, False), (4.5, False))},
    "other units": {"lists": ((0.45, True),), "length": "nm", "energy": "kJ/mol"},
    "float32": {"dtype": "float32"},
}


@pytest.mark.long
@pytest.mark.parametrize("platform", ["Reference", "CPU"])
@pytest.mark.parametrize("box", [None, BOX], ids=["molecule", "triclinic"])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.figure("G15", what="metatomic")
def test_equals_its_own_calculator(
    export: Callable[..., Path],
    positions: np.ndarray,
    name: str,
    box: np.ndarray | None,
    platform: str,
    measure: Measure,
) -> None:
    values: dict[str, Any] = MODELS[name]
    path = export(**values)
    tolerance = 1e-4 if name == "float32" else 1e-6
    for n in (4, 7, 10):
        right = ase_results(path.with_name("m.pt"), positions[:n], box)
        found = openmm_results(path, positions[:n], box, platform)
        results = ((result["energy"], result["forces"]) for result in (found, right))
        measure_parity(measure, "float32" if name == "float32" else "float64", *results, tolerance)
    assert abs(right["energy"]) > 0.1


@pytest.mark.long
@pytest.mark.parametrize(("words", "box"), [((), BOX), (("--vacuum",), None)], ids=["triclinic", "vacuum"])
def test_without_neighbors(
    export: Callable[..., Path], metatomic: Any, positions: np.ndarray, words: tuple[str, ...], box: np.ndarray | None
) -> None:
    path = export((), words=words, model=metatomic.Wells)
    found = openmm_results(path, positions, box, "Reference")
    right = ase_results(path.with_name("m.pt"), positions, box)
    assert found["energy"] == pytest.approx(right["energy"], rel=1e-6)
    np.testing.assert_allclose(found["forces"], -2 * positions, rtol=1e-6)


@pytest.mark.long
def test_named_outputs(export: Callable[..., Path], positions: np.ndarray) -> None:
    from metatomic.torch import ModelOutput

    path = export(outputs={"energy": "atom", "energy_uncertainty": "system"})
    found = openmm_results(path, positions, BOX, "Reference")
    right = ase_results(path.with_name("m.pt"), positions, BOX)["calculator"]
    atoms = right.atoms
    wanted = {"energy": ModelOutput(sample_kind="atom"), "energy_uncertainty": ModelOutput(sample_kind="system")}
    results = right.run_model(atoms, wanted)
    order = results["energy"].block(0).samples.column("atom").numpy()
    energies = results["energy"].block(0).values.detach().numpy()[:, 0]
    np.testing.assert_allclose(found["atomic_energy"][order], energies, rtol=1e-6)
    uncertainty = results["energy_uncertainty"].block(0).values.item()
    assert found["energy_uncertainty"] == pytest.approx(uncertainty, rel=1e-6)


@pytest.mark.long
def test_spec_says_what_the_model_says(export: Callable[..., Path]) -> None:
    spec = read_spec(export(lists=((2.5, False), (4.5, False)), outputs={"energy": "atom"}))
    assert spec is not None
    assert (spec.name, spec.authors, spec.license, spec.domain) == ("pairs", ["J. Doe"], "MIT", "pairs of H, C, O")
    assert spec.citation == "Doe, J. Pairs 1, 2 (2026); Roe, R. Sums 3, 4 (2025)"
    assert (spec.length_unit, spec.energy_unit, spec.dtype) == ("angstrom", "eV", "float64")
    assert (spec.cutoff, spec.edges, spec.shifts, spec.elements) == (4.5, "half", "cell", [1, 6, 8])
    assert (spec.outputs, spec.output_units) == (["energy", "atomic_energy"], {"atomic_energy": "eV"})
    assert (spec.periodic, spec.long_range, spec.libraries) == (None, False, ["metatensor", "metatomic"])


@pytest.mark.long
@pytest.mark.parametrize(("words", "periodic"), [((), True), (("--vacuum",), False)])
def test_long_range_is_periodic_or_in_vacuum(
    export: Callable[..., Path], positions: np.ndarray, words: tuple[str, ...], periodic: bool
) -> None:
    path = export(words=words, interaction_range=float("inf"))
    spec = read_spec(path)
    assert spec is not None
    assert (spec.periodic, spec.long_range) == (periodic, True)
    found = openmm_results(path, positions, BOX if periodic else None, "Reference")
    right = ase_results(path.with_name("m.pt"), positions, BOX if periodic else None)
    assert found["energy"] == pytest.approx(right["energy"], rel=1e-6)
    with pytest.raises(openmm.OpenMMException, match='spec says "periodic"'):
        openmm_results(path, positions, None if periodic else BOX, "Reference")


@pytest.mark.long
def test_runs_without_python(
    export: Callable[..., Path], positions: np.ndarray, libraries: str, tmp_path: Path
) -> None:
    path = export()
    np.savetxt(tmp_path / "x.txt", 0.1 * positions)
    arguments = [str(path), str(tmp_path / "x.txt"), ",".join(map(str, NUMBERS))]
    done = bare(RUN, *arguments, OPENMMNNP_EXTENSIONS=libraries)
    assert done.returncode == 0, done.stderr
    right = ase_results(path.with_name("m.pt"), positions, None)["energy"]
    assert float(done.stdout) / EV == pytest.approx(right, rel=1e-6)


@pytest.mark.long
def test_page(metatomic: Any, libraries: str, tmp_path: Path) -> None:
    printed = run_page(PAGES / "metatomic.md", tmp_path, OPENMMNNP_EXTENSIONS=libraries)
    assert "energy" in printed


def bare(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own."""
    variables = {key: value for key, value in os.environ.items() if key != "OPENMMNNP_EXTENSIONS"} | environment
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


@pytest.fixture
def claims(tmp_path: Path) -> list[str]:
    """Arguments for RUN: a model that says that it needs metatomic, and one atom."""
    scripted("return (positions * positions).sum()").save(str(tmp_path / "claims.pt"))
    values: dict[str, Any] = {"length_unit": "nm", "energy_unit": "kJ/mol", "dtype": "float64"}
    write_spec(tmp_path / "claims.pt", ModelSpec("claims", libraries=["metatensor", "metatomic"], **values))
    np.savetxt(tmp_path / "x.txt", np.ones((1, 3)))
    return [str(tmp_path / "claims.pt"), str(tmp_path / "x.txt"), "1"]


def test_missing_library(claims: list[str], tmp_path: Path) -> None:
    (tmp_path / "torch").symlink_to(Path(torch.__file__).parent)
    done = bare(RUN, *claims, OPENMMNNP_TORCH_LIB=str(tmp_path / "torch" / "lib"), OPENMMNNP_EXTENSIONS="/no/folder")
    assert "The model needs the library libmetatensor.so for torch 2." in done.stderr
    assert f"there is none in '/no/folder', '{tmp_path}': run pip install --upgrade metatomic-torch" in done.stderr


def test_library_that_cannot_be_loaded(claims: list[str], tmp_path: Path) -> None:
    (tmp_path / "libmetatensor.so").write_text("no library")
    done = bare(RUN, *claims, OPENMMNNP_EXTENSIONS=str(tmp_path))
    assert f"The library {tmp_path}/libmetatensor.so cannot be loaded: " in done.stderr
    assert "pip install --force-reinstall --no-deps metatomic-torch" in done.stderr


def test_unknown_library(claims: list[str]) -> None:
    spec = read_spec(claims[0])
    assert spec is not None
    spec.libraries = ["/tmp/libmine.so"]
    with pytest.raises(ValueError, match="'libraries': '/tmp/libmine.so' was given, needed is one of metatensor, meta"):
        spec.validate()
    path = Path(claims[0])
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data.replace(b'"metatomic"]', b'"/tmp/libmine.so"]'))
    with pytest.raises(openmm.OpenMMException, match="with '/tmp/libmine.so', but only 'metatensor', 'metatomic' are"):
        NNPForce(path)


def test_package_is_refused() -> None:
    with pytest.raises(ValueError, match=r"can't be compiled into 'm\.pt2': let the output end in \.pt"):
        family.load(Namespace(output=Path("m.pt2")), None)


@pytest.mark.long
@pytest.mark.parametrize(
    ("line", "operator", "what"),
    [
        ('torch.ops.metatomic.load_model_extensions("m.pt", "x")', "metatomic::load_model_extensions", "loads native"),
        ('positions = torch.ops.metatensor.load_labels("x.npz").values', "metatensor::load_labels", "reads files"),
        (
            'torch.ops.metatensor.load_labels_buffer(positions).save("x.npz")',
            "torch.classes.metatensor.Labels.save",
            "writes files",
        ),
    ],
)
def test_operators_on_files_are_refused(
    metatomic: Any, save_scripted: Callable[..., Path], line: str, operator: str, what: str
) -> None:
    path = save_scripted(f"{line}\nreturn (positions * positions).sum()", libraries=["metatensor", "metatomic"])
    with pytest.raises(openmm.OpenMMException, match=rf"uses {operator} \(in .*\), which {what}.*; no potential"):
        openmm_results(path, np.zeros((len(NUMBERS), 3)), None, "Reference")


@pytest.mark.long
@pytest.mark.parametrize("named", [["metatensor"], ["metatomic"], []])
def test_libraries_must_be_named(export: Callable[..., Path], positions: np.ndarray, named: list[str]) -> None:
    path = export()
    spec = read_spec(path)
    assert spec is not None
    spec.libraries = named
    write_spec(path, spec)
    with pytest.raises(openmm.OpenMMException, match='uses .*meta.* Name .meta.* among the "libraries" of its spec'):
        openmm_results(path, positions, None, "Reference")


@pytest.mark.long
@pytest.mark.parametrize(
    ("values", "words", "message"),
    [
        ({}, ("--output-name", "energy/pbe"), "no energy of the name 'energy/pbe'; its energies are energy"),
        ({}, ("--dtype", "float32"), "computes in float64 only, but --dtype float32 was given: leave it out"),
        ({"length": "meter"}, (), "the length unit 'meter', but known are angstrom, bohr, nm"),
        ({"energy": "meV"}, (), "the energy unit 'meV', but known are eV, hartree, kJ/mol, kcal/mol"),
        ({"elements": [0, 1, 6, 8]}, (), r"the atomic types \[0, 1, 6, 8\], but atomic numbers"),
        ({"model": "Charged"}, (), "takes charge, which can't be given to a metatomic model in OpenMM"),
    ],
)
def test_what_can_not_be_exported(
    metatomic: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    values: dict[str, Any],
    words: tuple[str, ...],
    message: str,
) -> None:
    if "model" in values:
        values = {"model": getattr(metatomic, values["model"])}
    metatomic.save_pairs(tmp_path / "m.pt", lists=[(4.0, True)], outputs={"energy": "atom"}, **values)
    assert_refused(tmp_path, capsys, message, *words)


@pytest.mark.long
def test_other_libraries_are_refused(metatomic: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metatomic.save_pairs(tmp_path / "whole.pt", lists=[(4.0, True)], outputs={"energy": "atom"})
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(tmp_path / "m.pt", "w") as changed:
        for entry in whole.namelist():
            if not entry.endswith(".debug_pkl"):
                data = whole.read(entry).replace(b"ops.metatomic.", b"ops.other.")
                listed = b'[{"name": "libother", "path": "libother.so"}]'
                changed.writestr(entry, listed if entry.endswith("/extensions") else data)
    assert_refused(tmp_path, capsys, "needs operators of other libraries .* when it was saved: libother")


@pytest.mark.long
def test_other_files_are_refused(metatomic: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scripted("return positions.sum()").save(str(tmp_path / "m.pt"))
    assert_refused(tmp_path, capsys, "m.pt can't be read as a metatomic model: .* does not contain a metatomic model")


@pytest.mark.long
def test_damaged_file(metatomic: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metatomic.save_pairs(tmp_path / "m.pt", lists=[(4.0, True)], outputs={"energy": "atom"})
    data = bytearray((tmp_path / "m.pt").read_bytes())
    data[data.index(b"ModelCapabilities")] ^= 1
    (tmp_path / "m.pt").write_bytes(data)
    assert_refused(
        tmp_path, capsys, "can't be read as a metatomic model: its entry '.*' is damaged; get the file again"
    )


def assert_refused(folder: Path, capsys: pytest.CaptureFixture[str], message: str, *words: str) -> None:
    """The export of m.pt ends with this message (a regular expression), and without a file."""
    assert main(["export", "metatomic", str(folder / "m.pt"), "-o", str(folder / "out.pt"), *words]) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (folder / "out.pt").exists()
