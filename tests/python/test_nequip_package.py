"""What nequip-compile writes runs as it is, by its metadata: here with a model that needs no nequip."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest

from nequip_package import TYPES, compile_toy, oracle, without_program
from openmmnnp import ModelSpec, NNPForce
from openmmnnp.cli import main
from openmmnnp.spec import ENERGY_UNITS, read_spec, write_spec

pytestmark = pytest.mark.asan

EV, ANGSTROM = ENERGY_UNITS["eV"], 0.1
NUMBERS = {"H": 1, "C": 6, "O": 8}
TRICLINIC = np.array([[6.3, 0.0, 0.0], [1.1, 6.1, 0.0], [-1.4, 0.9, 6.7]])
INPUTS = ["positions", "edges", "types", "box", "shifts"]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_toy(tmp_path_factory.mktemp("toy") / "toy.nequip.pt2")


def atoms(n: int) -> tuple[np.ndarray, list[int]]:
    """Positions [n, 3] in angstrom, and types."""
    rng = np.random.default_rng(n)
    return rng.uniform(-4, 4, (n, 3)), [int(t) for t in rng.choice(3, n)]


def force_of(path: Path, types: list[int], box: np.ndarray | None) -> NNPForce:
    force = NNPForce(path, atomicNumbers=[NUMBERS[TYPES[t]] for t in types])
    force.setUsesPeriodicBoundaryConditions(box is not None)
    return force


@pytest.mark.parametrize("n", [2, 3, 140])
@pytest.mark.parametrize("box", [None, TRICLINIC], ids=["vacuum", "triclinic"])
def test_runs_as_it_is(
    toy: Path,
    platform: openmm.Platform,
    tolerance: float,
    make_context: Callable[..., openmm.Context],
    n: int,
    box: np.ndarray | None,
) -> None:
    if platform.getName() == "CUDA":
        pytest.skip("a package for the CPU")
    x, types = atoms(n)
    force = force_of(toy, types, box)
    force.setDeviceNeighbors(n > 3)
    context = make_context(platform, force, ANGSTROM * x, 5.0 if box is None else (ANGSTROM * box).tolist())
    state = context.getState(energy=True, forces=True)
    energy, forces, energies = oracle(x, types, box)
    scale = np.abs(energies).sum() + 1e-3
    assert state.getPotentialEnergy()._value / EV == pytest.approx(energy, abs=10 * tolerance * scale)
    found = state.getForces(asNumpy=True)._value / EV * ANGSTROM
    np.testing.assert_allclose(found, forces, atol=10 * tolerance * max(1, np.abs(forces).max()))
    found = np.ravel(force.getOutput(context, "atomic_energy")._value)
    np.testing.assert_allclose(found, EV * energies, atol=10 * tolerance * scale * EV)


def test_no_edges(toy: Path, make_context: Callable[..., openmm.Context]) -> None:
    reference = openmm.Platform.getPlatform("Reference")
    force = force_of(toy, [0, 1], None)
    context = make_context(reference, force, np.array([[0.0, 0, 0], [2.0, 0, 0]]))
    state = context.getState(energy=True, forces=True)
    assert force.getDiagnostics(context)["edges"] == 0
    assert state.getPotentialEnergy()._value == 0 and not state.getForces(asNumpy=True)._value.any()


def test_spec_of_the_metadata(toy: Path) -> None:
    expected = ModelSpec(
        "NequIP",
        "angstrom",
        "eV",
        "float64",
        INPUTS,
        ["atomic_energy", "energy", "forces", "stress"],
        {"atomic_energy": "eV", "stress": "eV/angstrom/angstrom/angstrom"},
        elements=[1, 6, 8],
        type_map={"H": 0, "C": 1, "O": 2},
        cutoff=4.0,
        edges="full",
        shifts="real_cell",
        precision="float64",
        batched_box=True,
        long_range=False,
    )
    assert read_spec(toy) == expected
    assert NNPForce(toy).getModelSpec() == expected


VARIANTS: dict[str, dict[str, Any]] = {
    "nequip in float32": {"model_dtype": "float32"},
    "pair_nequip": {"nequip_aoti_outputs": "atomic_energy forces virial"},
    "pair_allegro": {
        "nequip_aoti_inputs": "pos edge_index atom_types",
        "nequip_aoti_outputs": "atomic_energy forces virial",
    },
    "types that are no elements": {"type_names": "C_sp3 C_sp2 H"},
    "cutoffs of pairs": {"per_edge_type_cutoff": "3 3 3 4 4 4 3 4 3", "r_max": "4"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_both_readers_agree(tmp_path: Path, name: str) -> None:
    path = without_program(tmp_path / "x.nequip.pt2", **VARIANTS[name])
    spec = read_spec(path)
    assert spec is not None and NNPForce(path).getModelSpec() == spec
    assert ("energy" in spec.outputs) == (not name.startswith("pair_"))
    assert spec.periodic is (False if name == "pair_allegro" else None)
    assert spec.precision == VARIANTS[name].get("model_dtype", "float64")
    assert (spec.elements is None) == (name == "types that are no elements")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no cutoff": ({"r_max": None}, "no text 'r_max'"),
    "cutoff is no text": ({"r_max": 4.0}, "no text 'r_max'"),
    "cutoff is no number": ({"r_max": "4.0 A"}, "'r_max':? '4.0 A'"),
    "cutoff is zero": ({"r_max": "0"}, "'r_max':? '0', but a positive number is needed"),
    "cutoff is infinite": ({"r_max": "inf"}, "'r_max':? 'inf', but a positive number is needed"),
    "no types": ({"type_names": None}, "no text 'type_names'"),
    "a type twice": ({"type_names": "H C H"}, "name (it|each type) once"),
    "a batch": (
        {"nequip_aoti_inputs": "pos edge_index atom_types cell edge_cell_shift batch num_atoms"},
        "'batch' in 'nequip_aoti_inputs', which is not known.*--target ase",
    ),
    "another output": ({"nequip_aoti_outputs": "total_energy forces dipole"}, "'dipole' in 'nequip_aoti_outputs'"),
    "no outputs": ({"nequip_aoti_outputs": None}, "no text 'nequip_aoti_outputs'"),
    "no forces": ({"nequip_aoti_outputs": "atomic_energy"}, "'energy'.* \\(or 'atomic_energy' and 'forces'\\)"),
    "another dtype": ({"model_dtype": "bfloat16"}, "precision.*bfloat16"),
    "operators of Python": ({"nequip_custom_ops_libs": "openequivariance"}, "operators of .*openequivariance"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_metadata(tmp_path: Path, name: str) -> None:
    changes, text = WRONG[name]
    path = without_program(tmp_path / "x.nequip.pt2", **changes)
    with pytest.raises(ValueError, match=text):
        read_spec(path)
    with pytest.raises(openmm.OpenMMException, match=text):
        NNPForce(path)


def test_older_package_is_none(tmp_path: Path) -> None:
    path = without_program(tmp_path / "x.nequip.pt2", nequip_aoti_inputs=None)
    assert read_spec(path) is None
    with pytest.raises(openmm.OpenMMException, match="carries no ModelSpec"):
        NNPForce(path)


# Types


@pytest.mark.parametrize(
    ("set_up", "text"),
    [
        (
            lambda force: force.setAtomicNumbers([1, 16]),
            "Particle 1 has the atomic number 16, but the model knows only",
        ),
        (
            lambda force: None,
            r"takes atomic numbers \(or types\).*setAtomicNumbers\(\), one for each of the 2 particles",
        ),
        (
            lambda force: force.setTypes([0, 3]),
            r"Particle 1 has the type 3, but the model's types are C \(1\), H \(0\)",
        ),
        (lambda force: force.setTypes([0]), r"setTypes\(\) was given 1 value"),
    ],
)
def test_wrong_types(
    toy: Path, make_context: Callable[..., openmm.Context], set_up: Callable[[NNPForce], Any], text: str
) -> None:
    force = NNPForce(toy)
    set_up(force)
    with pytest.raises(openmm.OpenMMException, match=text):
        make_context(openmm.Platform.getPlatform("Reference"), force, np.zeros((2, 3)))


def test_element_without_a_type(
    save_scripted: Callable[..., Path], make_context: Callable[..., openmm.Context]
) -> None:
    reference = openmm.Platform.getPlatform("Reference")
    path = save_scripted(
        "return (positions**2).sum() * types.sum()",
        "positions, types",
        inputs=["positions", "types"],
        type_map={"C_sp3": 0, "H": 1, "O": 5},
    )
    positions = np.ones((2, 3))
    with pytest.raises(
        openmm.OpenMMException, match=r"Particle 1 has the atomic number 6 \(C\), for which the model has no type"
    ):
        make_context(reference, NNPForce(path, atomicNumbers=[1, 6]), positions)
    context = make_context(reference, NNPForce(path, atomicNumbers=[1, 8]), positions)
    assert context.getState(energy=True).getPotentialEnergy()._value == pytest.approx(6 * 6)
    force = NNPForce(path, atomicNumbers=[1, 6])
    force.setTypes([1, 0])
    context = make_context(reference, force, positions)
    assert context.getState(energy=True).getPotentialEnergy()._value == pytest.approx(6)


# Energies of atoms


@pytest.mark.parametrize("shape", ["", ".unsqueeze(1)"])
def test_sum_of_atomic_energies(
    save_scripted: Callable[..., Path],
    make_context: Callable[..., openmm.Context],
    platform: openmm.Platform,
    shape: str,
) -> None:
    if platform.getName() == "CUDA":
        pytest.skip("a CUDA device needs the sum")
    path = save_scripted(
        f"return (positions**2).sum(1){shape}, -2 * positions",
        inputs=["positions"],
        outputs=["atomic_energy", "forces"],
    )
    x = np.random.default_rng(1).normal(size=(3, 3))
    context = make_context(platform, NNPForce(path), x)
    state = context.getState(energy=True, forces=True)
    assert state.getPotentialEnergy()._value == pytest.approx((x**2).sum(), rel=1e-6)
    np.testing.assert_allclose(state.getForces(asNumpy=True)._value, -2 * x, rtol=1e-5)


def test_wrong_number_of_atomic_energies(
    save_scripted: Callable[..., Path], make_context: Callable[..., openmm.Context]
) -> None:
    path = save_scripted(
        "return (positions**2).sum(), -2 * positions", inputs=["positions"], outputs=["atomic_energy", "forces"]
    )
    context = make_context(openmm.Platform.getPlatform("Reference"), NNPForce(path), np.ones((3, 3)))
    with pytest.raises(
        openmm.OpenMMException, match=r"returned atomic energies that are float64 \[\], but one number for each"
    ):
        context.getState(energy=True)


# The command


def test_export_puts_in_what_the_metadata_do_not_say(toy: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine.pt2"
    words = ["export", "nequip", str(toy), "--license", "MIT", "--name", "mine", "--elements", "O,H,C,H,H"]
    assert main([*words, "-o", str(target)]) == 0
    spec = read_spec(target)
    assert spec is not None
    assert (spec.name, spec.license, spec.inputs) == ("mine", "MIT", INPUTS)
    for reference in spec.references:
        x = np.array(reference["positions"])
        energy, forces, _ = oracle(x, reference["types"], np.array(reference["box"]))
        assert reference["energy"] == pytest.approx(energy, rel=1e-9)
        np.testing.assert_allclose(reference["forces"], forces, atol=1e-9)
    with zipfile.ZipFile(toy) as old, zipfile.ZipFile(target) as new:
        assert {name: old.read(name) for name in old.namelist()}.items() <= {
            name: new.read(name) for name in new.namelist()
        }.items()


def test_references_are_looked_at(toy: Path, tmp_path: Path, make_context: Callable[..., openmm.Context]) -> None:
    target = tmp_path / "mine.pt2"
    assert main(["export", "nequip", str(toy), "-o", str(target), "--elements", "O,H,C"]) == 0
    spec = read_spec(target)
    assert spec is not None
    reference = openmm.Platform.getPlatform("Reference")
    make_context(reference, NNPForce(target, atomicNumbers=[1, 1]), np.zeros((2, 3)))
    spec.references[0]["energy"] += 1e-5
    write_spec(target, spec)
    with pytest.raises(openmm.OpenMMException, match="Reference 1 of the model's spec gives the energy"):
        make_context(reference, NNPForce(target, atomicNumbers=[1, 1]), np.zeros((2, 3)))
    spec.precision = "float32"
    write_spec(target, spec)
    make_context(reference, NNPForce(target, atomicNumbers=[1, 1]), np.zeros((2, 3)))


def test_export_refuses(toy: Path, pair_pt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "mine.pt2"
    assert main(["export", "nequip", str(toy), "-o", str(target), "--dtype", "float32"]) == 1
    assert "a package runs as nequip-compile made it" in capsys.readouterr().err
    assert main(["export", "nequip", str(pair_pt), "-o", str(target)]) == 1
    assert "has no metadata of nequip-compile" in capsys.readouterr().err
    (tmp_path / "text").write_text("no archive")
    assert main(["export", "nequip", str(tmp_path / "text"), "-o", str(target)]) == 1
    assert "File is not a zip file" in capsys.readouterr().err
    assert not target.exists()


def test_export_needs_nequip_for_a_checkpoint(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nequip", None)
    assert main(["export", "nequip", str(toy), "--saved", "x.ckpt", "-o", str(tmp_path / "mine.pt2")]) == 1
    assert "--saved needs nequip" in capsys.readouterr().err
