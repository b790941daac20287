"""export(): from one geometry to a checked file, with an entry for energies alone; and the command line."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import torch

import openmmnnp.export.family
from helpers import context_of, energy_and_forces
from models import Pair, pair_example, pair_force, pair_oracle, pair_spec
from neighbors_oracle import CUBE, Edges, brute_force, edges_energy, edges_spec
from openmmnnp import ModelSpec, NNPForce
from openmmnnp.atoms import Atoms
from openmmnnp.cli import main
from openmmnnp.export import export, references
from openmmnnp.export.compile import add_energy_entry, for_threads, trace
from openmmnnp.export.eager import Eager, tensors
from openmmnnp.export.examples import complete, variations
from openmmnnp.export.family import export_family
from openmmnnp.families import FAMILIES, Loaded, check_packages, find_family
from openmmnnp.spec import ENERGY_UNITS, read_spec

EV = ENERGY_UNITS["eV"]


def energy_alone_of(context: openmm.Context) -> float:
    """OpenMM computes forces with the energy of a State, but not for this integrator."""
    integrator = context.getIntegrator()
    integrator.step(1)
    return integrator.getGlobalVariableByName("e")


def energy_integrator() -> openmm.CustomIntegrator:
    integrator = openmm.CustomIntegrator(0.001)
    integrator.addGlobalVariable("e", 0)
    integrator.addComputeGlobal("e", "energy")
    return integrator


def system_of(n: int, force: NNPForce) -> openmm.System:
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*CUBE)
    for _ in range(n):
        system.addParticle(1.0)
    system.addForce(force)
    return system


# Geometries


def test_variations_are_odd_and_even_and_have_other_edges() -> None:
    spec = edges_spec(shifts="cell")
    example = {"positions": np.random.default_rng(0).uniform(0, 2, (20, 3)), "box": CUBE}
    found = variations(spec, example)
    assert [len(x["positions"]) for x in found] == [20, 19, 40]
    assert len({x["edges"].shape[1] for x in found}) == 3
    for x in found:
        edges, cells = brute_force(x["positions"], 0.5, x["box"])
        np.testing.assert_array_equal(x["edges"], edges)
        np.testing.assert_array_equal(x["shifts"], cells)
    assert len(example["positions"]) == 20 and "edges" not in example


def test_two_atoms_and_no_edges() -> None:
    """No example has fewer than two edges, to which the plugin pads as well."""
    spec = edges_spec(shifts="cell")
    found = variations(spec, {"positions": [[0, 0, 0], [0.9, 0, 0]], "box": CUBE})
    assert [len(x["positions"]) for x in found] == [2, 3, 4]
    apart = {"positions": [[0, 0, 0], [0.9, 0, 0]], "box": CUBE, "edges": np.zeros((2, 0)), "shifts": np.zeros((0, 3))}
    inputs = tensors(spec, apart)
    assert inputs["edges"].tolist() == [[0, 0], [0, 0]] and inputs["shifts"].tolist() == 2 * [[1, 0, 0]]


def test_edges_of_a_box_that_the_model_does_not_take() -> None:
    spec = edges_spec()
    spec.inputs = ["positions", "edges", "shifts"]
    atoms = Atoms((1,) * 9, np.random.default_rng(0).uniform(0, 20, (9, 3)), 10 * CUBE)
    found = complete(spec, atoms.example(spec))
    assert list(found) == spec.inputs
    edges, cells = brute_force(atoms.positions / 10, 0.5, CUBE)
    np.testing.assert_array_equal(found["edges"], edges)
    np.testing.assert_allclose(found["shifts"], cells @ CUBE)
    assert np.any(cells)


def test_variations_of_a_fixed_number_of_particles() -> None:
    spec = edges_spec(particles=6, periodic=False)
    example = {"positions": 0.3 * np.random.default_rng(0).normal(size=(6, 3)), "box": CUBE}
    found = variations(spec, example)
    assert [len(x["positions"]) for x in found] == [6, 6, 6]
    assert not any(np.array_equal(found[0]["positions"], x["positions"]) for x in found[1:])
    edges, _ = brute_force(found[0]["positions"], 0.5)
    np.testing.assert_array_equal(found[0]["edges"], edges)
    np.testing.assert_array_equal(found[0]["shifts"], np.zeros((edges.shape[1], 3)))


def test_edges_that_are_given_are_kept() -> None:
    example = {"positions": np.zeros((2, 3)), "box": CUBE, "edges": [[0], [1]], "shifts": [[0, 0, 0]]}
    assert complete(edges_spec(), example) == example


@pytest.mark.parametrize("n", [1, 2, 9, 40])
def test_made_up_atoms_are_apart(n: int) -> None:
    atoms = Atoms.of_elements([6] * n)
    r = np.linalg.norm(atoms.positions[:, None] - atoms.positions[None], axis=2) + 10 * np.eye(n)
    assert r.min() > 0.85


def test_atoms_as_inputs_in_the_units_of_the_model() -> None:
    inputs = ["positions", "box", "types", "charge", "multiplicity", "parameters.k"]
    spec = ModelSpec("m", "bohr", "eV", "float32", inputs=inputs, cutoff=4.0, type_map={"O": 1, "H": 0})
    atoms = Atoms((8, 1), np.array([[0, 0, 0], [0, 0, 0.529177210544]]), charge=-1)
    example = atoms.example(spec)
    assert list(example) == inputs
    np.testing.assert_allclose(example["positions"], [[0, 0, 0], [0, 0, 1]], rtol=1e-12, atol=1e-12)
    assert example["types"].tolist() == [1, 0] and example["charge"] == -1 and example["parameters.k"] == 1
    assert np.array_equal(example["box"], example["box"][0, 0] * np.eye(3)) and example["box"][0, 0] > 8
    with pytest.raises(ValueError, match="the model has no type for C; its types are O, H"):
        Atoms.of_elements([6, 1]).example(spec)


def test_atoms_that_a_spec_asks_for() -> None:
    values: dict[str, Any] = {"length_unit": "nm", "energy_unit": "eV", "dtype": "float32"}
    assert set(Atoms.for_spec(ModelSpec("m", **values, elements=[1, 8])).numbers) == {1, 8}
    fixed = ModelSpec("m", **values, particles=3, atomic_numbers=[8, 1, 1])
    assert Atoms.for_spec(fixed).numbers == (8, 1, 1)
    assert len(Atoms.for_spec(ModelSpec("m", **values, particles=5)).numbers) == 5
    with pytest.raises(ValueError, match="no elements were given; at least one atomic number"):
        Atoms.of_elements([])


# What is written


def test_pt_from_elements_alone(tmp_path: Path) -> None:
    spec = pair_spec()
    written = export(Pair(), spec, tmp_path / "pair.pt", progress=False)
    assert written.outputs == ["energy", "atomic_energy"]
    counts = [len(reference["positions"]) for reference in written.references]
    assert len(counts) == 2 and {n % 2 for n in counts} == {0, 1}
    assert read_spec(tmp_path / "pair.pt") == written
    example = pair_example(8)
    context = context_of(
        system_of(8, pair_force(tmp_path / "pair.pt", example)),
        example["positions"] / 10,
        openmm.Platform.getPlatformByName("Reference"),
    )
    constant = sum(spec.atomic_energies[z] for z in example["atomic_numbers"])
    right = EV * (pair_oracle(*example.values())["energy"] + constant)
    assert energy_and_forces(context)[0] == pytest.approx(right, rel=1e-6)


def test_a_batch_of_one_box(tmp_path: Path) -> None:
    """The plugin reads what was written: references hold the box, not the batch."""

    class Batched(Edges):
        def forward(self, positions, box, edges, shifts):  # type: ignore[no-untyped-def]
            return super().forward(positions, box[0], edges, shifts)[0]

    spec = edges_spec(shifts="cell", batched_box=True)
    spec.outputs = ["energy"]
    example = {"positions": np.random.default_rng(3).uniform(-1, 1, (9, 3)), "box": CUBE}
    found = references(Batched(0.5, True), spec, variations(spec, example)[:2])
    assert found[0]["box"] == CUBE.tolist()


class Counted(torch.nn.Module):
    """A model that counts its edges, those beyond the cutoff as well."""

    def forward(
        self, positions: torch.Tensor, box: torch.Tensor, edges: torch.Tensor, shifts: torch.Tensor
    ) -> torch.Tensor:
        return (positions * positions).sum() + 0.1 * edges.shape[1]


def test_a_model_that_sees_edges_beyond_the_cutoff_is_refused(tmp_path: Path) -> None:
    spec = edges_spec()
    spec.outputs = ["energy"]
    with pytest.raises(ValueError, match="output 'energy' of the saved model, given 5 edges beyond the cutoff, is off"):
        export(Counted(), spec, tmp_path / "counted.pt", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_wrong_formats(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the format 'onnx' was asked for, but a model is saved as 'pt2' or 'pt'"):
        export(Pair(), pair_spec(), tmp_path / "pair.onnx")
    with pytest.raises(
        ValueError, match="format='pt' was asked for, but .*pair.pt2 would be taken for a .pt2: name it"
    ):
        export(Pair(), pair_spec(), tmp_path / "pair.pt2", format="pt")
    with pytest.raises(ValueError, match="threads is 0, but 1 or more, or None for any number, is needed"):
        for_threads(0)
    with pytest.raises(ValueError, match="threads=1 was asked for, but a .pt takes the threads that"):
        export(Pair(), pair_spec(), tmp_path / "pair.pt", threads=1)
    with pytest.raises(ValueError, match="energy_entry was asked for, but a .pt has one entry"):
        export(Pair(), pair_spec(), tmp_path / "pair.pt", energy_entry=True)


def test_package_from_one_geometry(edges_package: Path, platform: openmm.Platform) -> None:
    """Forces and energy from one entry, the energy alone from the other."""
    references = read_spec(edges_package).references
    assert [len(reference["positions"]) for reference in references] == [40, 39]
    assert len({len(reference["edges"][0]) for reference in references}) == 2
    positions = np.random.default_rng(9).uniform(-1, 1, (27, 3))
    force = NNPForce(edges_package)
    force.setUsesPeriodicBoundaryConditions(True)
    context = context_of(system_of(27, force), positions, platform, energy_integrator())
    right = edges_energy(positions, 0.5, CUBE)
    assert energy_alone_of(context) == pytest.approx(right, rel=1e-6)
    assert np.shape(force.getOutput(context, "edge_list"))[0] == 2
    assert energy_and_forces(context)[0] == pytest.approx(right, rel=1e-6)


@pytest.fixture(scope="session")
def other_energy(tmp_path_factory: pytest.TempPathFactory, pair_package: tuple[Path, ModelSpec]) -> Path:
    """The package of Pair with an energy entry of another model."""
    path = tmp_path_factory.mktemp("other") / "other.pt2"
    shutil.copyfile(pair_package[0], path)
    other, spec = Pair(), pair_package[1]
    other.a.data.fill_(0.25)
    inputs = tensors(spec, pair_example(6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's, about its own functions
        add_energy_entry(path, trace(Eager(other, spec), spec, inputs, ["energy", "atomic_energy"]), {})
    return path


def test_energy_alone_comes_from_its_entry(other_energy: Path, platform: openmm.Platform) -> None:
    if platform.getName() == "CUDA":
        pytest.skip("a package for the CPU")
    example = pair_example(6)
    force = pair_force(other_energy, example)
    force.setCheckReferences(False)
    context = context_of(system_of(6, force), example["positions"] / 10, platform, energy_integrator())
    constant = sum(pair_spec().atomic_energies[z] for z in example["atomic_numbers"])
    for _ in range(2):
        alone, whole = energy_alone_of(context), energy_and_forces(context)[0]
        assert alone == pytest.approx(EV * (pair_oracle(*example.values(), a=0.25)["energy"] + constant), rel=1e-7)
        assert whole == pytest.approx(EV * (pair_oracle(*example.values())["energy"] + constant), rel=1e-7)
        context.setParameter("k", 0.26)
        example = example | {"parameters.k": 0.26}


def test_the_energy_entry_is_compared_with_the_references(other_energy: Path) -> None:
    example = pair_example(6)
    system = system_of(6, pair_force(other_energy, example))
    with pytest.raises(openmm.OpenMMException, match="Reference 1 of the model's spec gives the energy"):
        openmm.Context(system, energy_integrator(), openmm.Platform.getPlatformByName("Reference"))


# The command line

FACTORY = """
import torch
from openmmnnp import ModelSpec

class Springs(torch.nn.Module):
    def __init__(self, k: float):
        super().__init__()
        self.k = k

    def forward(self, positions):
        return 0.5 * self.k * (positions - positions.mean(0)).square().sum()

def make(k="2"):
    return Springs(float(k)), ModelSpec("springs", "angstrom", "eV", "float64", license="MIT")

def light():
    module, spec = make()
    spec.elements = [1]
    return module, spec

def wrong():
    return Springs(1.0), "springs"
"""

Export = Callable[..., int]


@pytest.fixture
def export_factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Export:
    """Function (*words) that runs the verb in a folder with a module `springs_of_mine`."""
    (tmp_path / "springs_of_mine.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    return lambda *words: main(["export", "factory", *words])


def test_factory(export_factory: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export_factory("springs_of_mine:make", "3.5", "-o", "springs.pt", "--elements", "O,H,1,6") == 0
    assert "springs.pt: springs, license: MIT" in capsys.readouterr().err
    spec = read_spec(tmp_path / "springs.pt")
    assert spec is not None and [len(r["positions"]) for r in spec.references] == [4, 3]
    reference = spec.references[0]
    x = np.array(reference["positions"])
    assert reference["energy"] == pytest.approx(1.75 * ((x - x.mean(0)) ** 2).sum(), rel=1e-12)


def test_the_command_itself(export_factory: Export, tmp_path: Path) -> None:
    """In a process of its own, where `import openmmnnp` loads nothing until the factory asks for it."""
    words = ["-m", "openmmnnp", "export", "factory", "springs_of_mine:make", "-o", "springs.pt"]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert read_spec(tmp_path / "springs.pt")


PDB = """CRYST1   30.000   31.000   32.000  90.00  90.00  90.00 P 1           1
HETATM    1  O   HOH A   1       1.000   2.000   3.000  1.00  0.00           O
HETATM    2  H1  HOH A   1       1.957   2.000   3.000  1.00  0.00           H
HETATM    3  H2  HOH A   1       0.760   2.927   3.000  1.00  0.00           H
END
"""


def test_atoms_of_a_pdb_file(export_factory: Export, tmp_path: Path) -> None:
    (tmp_path / "water.pdb").write_text(PDB)
    assert export_factory("springs_of_mine:make", "-o", "springs.pt", "--pdb", "water.pdb") == 0
    spec = read_spec(tmp_path / "springs.pt")
    assert spec is not None and {len(r["positions"]) for r in spec.references} == {2, 3}
    atoms = Atoms.from_pdb(tmp_path / "water.pdb")
    assert atoms.numbers == (8, 1, 1)
    np.testing.assert_allclose(atoms.box, np.diag([30, 31, 32]))
    np.testing.assert_allclose(atoms.positions[0], [1, 2, 3])
    assert Atoms.from_pdb(tmp_path / "water.pdb", periodic=False).box is None
    (tmp_path / "none.pdb").write_text(PDB.replace("30.000   31.000   32.000", " 1.000    1.000    1.000"))
    with pytest.raises(ValueError, match=r"none.pdb: the box in CRYST1 is too small for 3 atoms: remove that line, or"):
        Atoms.from_pdb(tmp_path / "none.pdb")
    assert export_factory("springs_of_mine:make", "-o", "no_box.pt", "--pdb", "none.pdb", "--no-box") == 0
    (tmp_path / "unknown.pdb").write_text(PDB.replace("           O", "            ").replace(" O   HOH", " QQ  HOH"))
    with pytest.raises(ValueError, match=r"unknown.pdb: atom 0 has no element: fill columns 77 and 78"):
        Atoms.from_pdb(tmp_path / "unknown.pdb")


@pytest.mark.parametrize(
    "words, message",
    [
        (["springs_of_mine", "-o", "x.pt"], "a function is named as package.module:function"),
        (["springs_of_mine:none", "-o", "x.pt"], "springs_of_mine:none can't be used: module 'springs_of_mine' has no"),
        (["springs_of_mine:wrong", "-o", "x.pt"], "wrong returned Springs, str, but a module and its ModelSpec are"),
        (
            ["springs_of_mine:make", "-o", "x.pt", "--dtype", "float32"],
            "--dtype float32 was given, but springs_of_mine:m",
        ),
        (
            ["springs_of_mine:make", "-o", "x.pt", "--charge", "1"],
            "--charge 1 was given, but it is the charge of the at",
        ),
        (["springs_of_mine:light", "-o", "x.pt", "--elements", "8,1"], "[8] were given, but the model knows only [1]"),
        (["springs_of_mine:make", "-o", "x.onnx"], "the format 'onnx' was asked for"),
        (["springs_of_mine:make", "-o", "x.pt", "--elements", "8,Qq"], "'Qq' is no element; give atomic numbers or"),
        (["springs_of_mine:make", "-o", "x.pt", "--elements", "8,119"], "'119' is no element; give atomic numbers or"),
        (["no_such_module:make", "-o", "x.pt"], "No module named 'no_such_module'"),
    ],
)
def test_wrong_words(
    export_factory: Export, capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], message: str
) -> None:
    assert export_factory(*words) == 1
    err = capsys.readouterr().err
    assert err.startswith("openmm-nnp export: error: ") and message in err
    assert not list(tmp_path.glob("x.*"))


# Families


class FilmFamily:
    """A family whose package is not installed, or whose model is a file that runs as it is."""

    HELP, EXTRA, PACKAGES = "for a test", "film", ("film_of_nothing",)

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded

    def load(self, options: argparse.Namespace, atoms: Atoms | None) -> Loaded:
        return self.loaded


OPTIONS = argparse.Namespace(
    no_box=False, pdb=None, elements=None, charge=0, device="cpu", dtype=None, threads=None, energy_entry=False
)


def test_a_family_that_is_not_known() -> None:
    assert {"ani2x", "factory", "mace"} <= set(FAMILIES)
    with pytest.raises(ValueError, match="the family 'film' is not known; known are .*factory"):
        find_family("film")


@pytest.mark.parametrize("name", FAMILIES)
def test_families_are_listed_without_their_packages(name: str) -> None:
    """The help of each needs no package of it, and torch is not imported for it."""
    words = [sys.executable, "-c", HELP_ALONE, name]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--output FILE" in done.stdout and "--dtype" in done.stdout


HELP_ALONE = """
import sys
sys.argv[0] = "openmm-nnp"
from openmmnnp.cli import main
try:
    main(["export", sys.argv[1], "--help"])
except SystemExit:
    assert "torch" not in sys.modules
"""


def test_a_missing_package_is_named() -> None:
    family = FilmFamily(Loaded(pair_spec()))
    with pytest.raises(
        ImportError, match=r"the family 'film' needs film_of_nothing, .* pip install 'openmm-nnp\[film\]'"
    ):
        check_packages("film", family)


def test_a_file_that_runs_as_it_is(tmp_path: Path, pair_pt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is copied, with the new words of its spec and its old references."""
    spec = dataclasses.replace(read_spec(pair_pt), license="CC0", references=[])
    family = FilmFamily(Loaded(spec, path=pair_pt))
    family.PACKAGES = ()
    monkeypatch.setattr(openmmnnp.export.family, "find_family", lambda name: family)
    written = export_family("film", OPTIONS, tmp_path / "copy.pt")
    assert written.license == "CC0" and written.references == read_spec(pair_pt).references
    assert read_spec(tmp_path / "copy.pt") == written
    with pytest.raises(ValueError, match="--threads or --energy-entry was given, but the file runs as it is"):
        export_family("film", argparse.Namespace(**{**vars(OPTIONS), "threads": 1}), tmp_path / "copy.pt")
    with pytest.raises(ValueError, match="pair.pt runs as it is, so the output must end in .pt, too"):
        export_family("film", OPTIONS, tmp_path / "copy.pt2")
