"""MACE models with random weights, exported, against MACE's own calculator."""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import torch

from helpers import measure_parity
from openmmnnp import NeighborList, NNPForce
from openmmnnp.cli import main
from openmmnnp.families import Loaded, mace
from openmmnnp.spec import ENERGY_UNITS, read_spec
from pages import run_page

pytest.importorskip("mace", reason="the package mace-torch is not installed")
ase = pytest.importorskip("ase")

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:The TorchScript type system:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD:UserWarning"),
]

ELEMENTS = [1, 6, 7, 8, 16]
ALONE = [-13.6, -1029.5, -1484.3, -2041.8, -10831.1]
EV, ANGSTROM = ENERGY_UNITS["eV"], 0.1
TRICLINIC = np.array([[6.3, 0.0, 0.0], [1.1, 6.1, 0.0], [-1.4, 0.9, 6.7]])
CHARGED = {
    "total_charge": {"type": "continuous", "per": "graph", "emb_dim": 8, "in_dim": 1},
    "total_spin": {"type": "categorical", "per": "graph", "emb_dim": 8, "num_classes": 9},
}


def build(path: Path, kind: str, dtype: torch.dtype = torch.float64, **changes: Any) -> Path:
    """A MACE model with random weights, saved as MACE's training saves it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mace.calculators  # noqa: F401 - before e3nn
        from e3nn import o3
        from mace import modules

        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        torch.manual_seed(1)
        block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
        scale = {"atomic_inter_scale": 1.3, "atomic_inter_shift": 0.2} if kind == "ScaleShiftMACE" else {}
        words = {
            "r_max": 4.5,
            "num_bessel": 8,
            "num_polynomial_cutoff": 5,
            "max_ell": 2,
            "interaction_cls": block,
            "interaction_cls_first": block,
            "num_interactions": 2,
            "num_elements": len(ELEMENTS),
            "hidden_irreps": o3.Irreps("16x0e + 16x1o"),
            "MLP_irreps": o3.Irreps("16x0e"),
            "atomic_energies": None if kind == "AtomicDipolesMACE" else np.array(ALONE),
            "avg_num_neighbors": 12.0,
            "atomic_numbers": ELEMENTS,
            "correlation": 3,
            "gate": torch.nn.functional.silu,
        }
        model = getattr(modules, kind)(**{**words, **scale, **changes})
        torch.set_default_dtype(before)
        torch.save(model, path)
    return path


@pytest.fixture(autouse=True)
def keep_default_dtype() -> Iterator[None]:
    """MACE's calculator changes torch's default dtype."""
    before = torch.get_default_dtype()
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which the page docs/models/mace.md ran, and what it printed."""
    folder = tmp_path_factory.mktemp("page")
    return folder, run_page(Path(__file__).parents[3] / "docs" / "models" / "mace.md", folder)


@pytest.fixture(scope="module", params=["float64", "float32"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model and its package: a MACE in float64, and the page's ScaleShiftMACE in float32."""
    if request.param == "float32":
        folder, _ = request.getfixturevalue("page")
        return folder / "my.model", folder / "my.pt2"
    folder = tmp_path_factory.mktemp("float64")
    model = build(folder / "random.model", "MACE")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["export", "mace", str(model), "-o", str(folder / "m.pt2"), "--elements", "O,H,H,C,H,S,N"]) == 0
    return model, folder / "m.pt2"


def test_page(page):
    _, printed = page
    assert "kJ/mol" in printed and "without the energies of lone atoms" in printed
    assert "2206.07697" in printed


def calculator(model: Path, **words: Any) -> Any:
    """MACE's calculator in float64."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mace.calculators import MACECalculator

        return MACECalculator(str(model), device="cpu", default_dtype="float64", **words)


def molecule(name: str) -> Any:
    from ase.build import molecule

    atoms = molecule(name)
    atoms.positions += np.random.default_rng(3).normal(scale=0.05, size=(len(atoms), 3))
    return atoms


def waters(box: np.ndarray, n: int) -> Any:
    """Molecules of water on a grid in a box with these rows, in angstrom."""
    water, generator = molecule("H2O"), np.random.default_rng(n)
    places = [(np.array(np.unravel_index(i, (2, 2, 2))) + 0.3) / 2 @ box for i in range(n)]
    positions = []
    for place in places:
        rotation = np.linalg.qr(generator.normal(size=(3, 3)))[0]
        positions.append(water.positions @ rotation + place)
    return ase.Atoms(n * "OHH", np.concatenate(positions), cell=box, pbc=True)


SYSTEMS: dict[str, Callable[[], Any]] = {
    "water": lambda: molecule("H2O"),
    "ethanol": lambda: molecule("CH3CH2OH"),
    "acetamide": lambda: molecule("CH3CONH2"),
    "methanethiol": lambda: molecule("CH3SH"),
    "far apart": lambda: ase.Atoms("OHN", [[0, 0, 0], [0, 0, 6], [7, 0, 0]]),
    "cube": lambda: waters(np.diag([6.2, 6.2, 6.2]), 5),
    "triclinic": lambda: waters(TRICLINIC, 8),
}


@pytest.mark.figure("G15", what="MACE", platform="Reference")
@pytest.mark.parametrize("system", SYSTEMS)
def test_equal_to_the_calculator(exported, system, make_context, measure):
    model, package = exported
    atoms, spec = SYSTEMS[system](), read_spec(package)
    atoms.calc = calculator(model)
    force = NNPForce(str(package))
    force.setParticles(range(len(atoms)), atomicNumbers=atoms.numbers.tolist())
    force.setUsesPeriodicBoundaryConditions(bool(atoms.pbc.any()))
    box = (np.array(atoms.cell) * ANGSTROM).tolist() if atoms.pbc.any() else 5.0
    platform = openmm.Platform.getPlatform("Reference")
    state = make_context(platform, force, atoms.positions * ANGSTROM, box).getState(energy=True, forces=True)
    energy = state.getPotentialEnergy()._value / EV
    forces = state.getForces(asNumpy=True)._value / EV * ANGSTROM
    alone = sum(dict(zip(ELEMENTS, ALONE, strict=True))[z] for z in atoms.numbers)
    tolerance = 1e-6 if spec.dtype == "float64" else 1e-4
    right = atoms.get_potential_energy() - alone, atoms.get_forces()
    measure_parity(measure, spec.dtype, (energy - alone, forces), right, tolerance, (1e-7 * len(atoms), 1e-12))


def test_atomic_energies_are_the_energy(exported, make_context):
    _, package = exported
    atoms = molecule("CH3CH2OH")
    force = NNPForce(str(package))
    force.setParticles(range(len(atoms)), atomicNumbers=atoms.numbers.tolist())
    context = make_context(openmm.Platform.getPlatform("Reference"), force, atoms.positions * ANGSTROM)
    energy = context.getState(energy=True).getPotentialEnergy()._value / EV
    found = force.getOutput(context, "atomic_energy").value_in_unit(openmm.unit.kilojoule_per_mole) / EV
    assert found.shape == (9,)
    alone = [dict(zip(ELEMENTS, ALONE, strict=True))[z] for z in atoms.numbers]
    assert found.sum() + sum(alone) == pytest.approx(energy, abs=1e-4)


def load(model: Path | None, **changes: Any) -> Loaded:
    words = {"model": model, "name": None, "head": None, "energy": "total", "dtype": None}
    return mace.load(Namespace(**{**words, **changes}), None)


def evaluate(loaded: Loaded, atoms: Any, padding: int = 0, **values: int) -> tuple[float, np.ndarray, list[np.ndarray]]:
    """Energy in eV, forces in eV/angstrom and other outputs of a module, without compiling it."""
    spec, module = loaded.spec, loaded.module
    box = np.array(atoms.cell) if atoms.pbc.any() else np.eye(3)
    edges, cells = NeighborList(spec.cutoff).find(atoms.positions, box if atoms.pbc.any() else None)
    shifts = np.concatenate([cells @ box, np.tile([0.0, 2 * spec.cutoff, 0.0], (padding, 1))])
    edges = np.concatenate([edges, np.zeros((2, padding), dtype=np.int64)], 1)
    arrays = {"positions": atoms.positions, "atomic_numbers": atoms.numbers, "edges": edges, "shifts": shifts, **values}
    inputs = {name: torch.as_tensor(arrays[name]) for name in spec.inputs}
    inputs["positions"].requires_grad_(True)
    energy, *others = module(*inputs.values())
    (gradient,) = torch.autograd.grad(energy, inputs["positions"])
    return (
        energy.item() + spec.constant_energy(atoms.numbers),
        -gradient.numpy(),
        [x.detach().numpy() for x in others],
    )


HEADS = {
    "heads": ["other", "Default"],
    "atomic_energies": np.array([ALONE, [e + 0.5 for e in ALONE]]),
    "atomic_inter_scale": [1.3, 0.8],
    "atomic_inter_shift": [0.1, 0.2],
}
VARIANTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "default head": ("ScaleShiftMACE", HEADS, {}),
    "other head": ("ScaleShiftMACE", HEADS, {"head": "other"}),
    "repulsion": ("ScaleShiftMACE", {"pair_repulsion": True, "distance_transform": "Agnesi"}, {}),
    "one layer": ("MACE", {"num_interactions": 1, "radial_type": "gaussian"}, {}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_are_equal_to_the_calculator(tmp_path, name):
    kind, changes, chosen = VARIANTS[name]
    model = build(tmp_path / "variant.model", kind, **changes)
    loaded = load(model, **chosen)
    for atoms in (molecule("CH3CONH2"), waters(TRICLINIC, 3)):
        atoms.calc = calculator(model, **chosen)
        energy, forces, _ = evaluate(loaded, atoms)
        assert energy == pytest.approx(atoms.get_potential_energy(), rel=1e-10)
        np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-8)


def test_charge_and_multiplicity(tmp_path):
    model = build(tmp_path / "charged.model", "ScaleShiftMACE", embedding_specs=CHARGED, use_embedding_readout=True)
    loaded, atoms = load(model), molecule("CH3CONH2")
    assert loaded.spec.inputs == ["positions", "atomic_numbers", "edges", "shifts", "charge", "multiplicity"]
    atoms.calc, found = calculator(model), []
    for charge, multiplicity in ((0, 1), (-1, 2)):
        atoms.info = {"charge": float(charge), "spin": float(multiplicity)}
        atoms.calc.reset()
        energy, forces, _ = evaluate(loaded, atoms, charge=charge, multiplicity=multiplicity)
        assert energy == pytest.approx(atoms.get_potential_energy(), rel=1e-10)
        np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-8)
        found.append(energy)
    assert abs(found[0] - found[1]) > 1e-3


def test_dipoles(tmp_path):
    model = build(tmp_path / "dipoles.model", "EnergyDipolesMACE")
    loaded, atoms = load(model), molecule("CH3CONH2")
    assert loaded.spec.output_units == {"dipole": "debye", "atomic_dipoles": "debye"}
    atoms.calc = calculator(model, model_type="EnergyDipoleMACE")
    energy, forces, (dipole, atomic) = evaluate(loaded, atoms)
    assert energy == pytest.approx(atoms.get_potential_energy(), rel=1e-10)
    np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-8)
    np.testing.assert_allclose(dipole, atoms.get_dipole_moment(), atol=1e-10)
    np.testing.assert_allclose(atomic.sum(0), dipole, atol=1e-10)


@pytest.mark.parametrize("changes", [{}, {"pair_repulsion": True, "distance_transform": "Agnesi"}])
def test_padding_changes_nothing(tmp_path, changes):
    loaded = load(build(tmp_path / "m.model", "ScaleShiftMACE", **changes))
    for atoms in (molecule("CH3CONH2"), ase.Atoms("OH", [[0, 0, 0], [9, 0, 0]])):
        plain, padded = evaluate(loaded, atoms), evaluate(loaded, atoms, padding=13)
        assert padded[0] == pytest.approx(plain[0], rel=1e-14)
        np.testing.assert_allclose(padded[1], plain[1], atol=1e-13)


def test_interaction_energy_alone(tmp_path):
    model = build(tmp_path / "m.model", "ScaleShiftMACE")
    total, interaction, atoms = load(model), load(model, energy="interaction"), molecule("CH3SH")
    assert total.spec.atomic_energies == dict(zip(ELEMENTS, ALONE, strict=True))
    assert interaction.spec.atomic_energies is None
    alone = sum(total.spec.atomic_energies[z] for z in atoms.numbers)
    assert evaluate(interaction, atoms)[0] == pytest.approx(evaluate(total, atoms)[0] - alone, rel=1e-9)


def test_published_models(tmp_path, monkeypatch):
    from mace import calculators

    model = torch.load(build(tmp_path / "m.model", "ScaleShiftMACE", torch.float32), weights_only=False)
    asked = []
    monkeypatch.setattr(calculators, "mace_off", lambda **words: asked.append(words) or model)
    spec = load(None, name="mace-off-small", dtype="float64").spec
    assert asked == [{"model": "small", "device": "cpu", "return_raw_model": True}]
    assert (spec.name, spec.dtype, spec.license[:3]) == ("mace-off-small", "float64", "ASL")
    assert "2312.15211" in spec.citation and "2206.07697" in spec.citation
    monkeypatch.setattr(calculators, "mace_mp", lambda **words: model)
    assert load(None, name="mace-mp-medium-mpa-0").spec.license == "MIT"
    assert load(None, name="mace-mp-medium-omat-0").spec.license[:3] == "ASL"


def test_models_that_can_not_be_downloaded(monkeypatch):
    from mace import calculators

    def fail(**words: Any) -> None:
        raise RuntimeError("Model download failed and no local model found") from OSError("no network")

    monkeypatch.setattr(calculators, "mace_omol", fail)
    with pytest.raises(OSError, match=r"'mace-omol-extra_large' can't be downloaded \(no network\): .* give the FILE"):
        load(None, name="mace-omol-extra_large")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "give either the FILE of a MACE model or --name"),
        ({"model": Path("m.model"), "name": "mace-off-small"}, "give either the FILE"),
        ({"name": "ani"}, "the MACE model 'ani' is not known; names begin with mace-off-, .*"),
        (
            {"name": "mace-off-tiny"},
            "'mace-off-tiny' is not known; after 'mace-off-' stands one of large, medium, small",
        ),
    ],
)
def test_wrong_names(words, message):
    with pytest.raises(ValueError, match=message):
        load(**{"model": None, **words})


def test_wrong_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.model")
    (tmp_path / "text.model").write_text("no model")
    with pytest.raises(ValueError, match=r"text\.model can't be read as a MACE model"):
        load(tmp_path / "text.model")
    torch.save({"model": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="the file holds a dict, but needed is one of MACE, ScaleShiftMACE"):
        load(tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="the file holds a AtomicDipolesMACE"):
        load(build(tmp_path / "dipoles.model", "AtomicDipolesMACE"))


@pytest.mark.parametrize(
    ("changes", "head", "message"),
    [
        (HEADS, "best", "the model has the heads other, Default, but 'best' was given: choose one with --head"),
        (HEADS | {"heads": ["a", "b"]}, None, "the model has the heads a, b, but none was chosen: choose one"),
        ({"embedding_specs": {"field": CHARGED["total_charge"]}}, None, "the model takes field, but only total_charge"),
    ],
)
def test_models_that_can_not_be_used(tmp_path, changes, head, message):
    model = build(tmp_path / "m.model", "ScaleShiftMACE", **changes)
    with pytest.raises(ValueError, match=message):
        load(model, head=head)


def test_other_code_than_mace_runs_is_refused(tmp_path, monkeypatch):
    from openmmnnp.families import _mace

    path = build(tmp_path / "m.model", "ScaleShiftMACE")
    model = torch.load(path, weights_only=False)
    model.node_embedding.linear._modules["extra"] = torch.jit.script(torch.nn.Tanh())
    with pytest.raises(ValueError, match=r"the layer node_embedding\.linear\.extra of the model is TorchScript"):
        _mace.use_python_code(model)
    right = _mace.Harmonics.forward
    monkeypatch.setattr(_mace.Harmonics, "forward", lambda layer, vectors: 1.01 * right(layer, vectors))
    with pytest.raises(ValueError, match=r"the output 'energy' changes by .* when e3nn's code is unscripted"):
        load(path)
