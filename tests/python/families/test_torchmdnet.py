"""TensorNet and TensorNet2 models with random weights, exported, against TorchMD-Net's own evaluation."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import torch

from helpers import measure_parity
from openmmnnp import NeighborList, NNPForce
from openmmnnp.cli import main
from openmmnnp.families import Loaded, torchmdnet
from openmmnnp.spec import ENERGY_UNITS, read_spec
from pages import run_page

pytest.importorskip("torchmdnet", reason="the package torchmd-net is not installed")

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

EV, ANGSTROM = ENERGY_UNITS["eV"], 0.1
ALONE = {1: -13.6, 6: -1029.5, 7: -1484.3, 8: -2041.8, 16: -10831.1}
TRICLINIC = np.array([[10.2, 0.0, 0.0], [2.1, 9.6, 0.0], [-2.4, 1.9, 9.4]])
PLAIN: dict[str, Any] = {
    "model": "tensornet",
    "embedding_dimension": 64,
    "num_layers": 2,
    "num_rbf": 12,
    "rbf_type": "expnorm",
    "trainable_rbf": False,
    "activation": "silu",
    "cutoff_lower": 0.0,
    "cutoff_upper": 4.5,
    "max_z": 20,
    "max_num_neighbors": 128,
    "equivariance_invariance_group": "O(3)",
    "output_model": "Scalar",
    "reduce_op": "sum",
    "prior_model": None,
    "atom_filter": -1,
    "derivative": True,
    "static_shapes": True,
    "remove_ref_energy": False,
    "charge": False,
}
WITH_CHARGES = {
    "model": "tensornet2",
    "num_layers": 1,
    "q_dim": 4,
    "q_weights": [0.5, 1.0],
    "output_model": "ScalarPlusWeightedCoulomb",
    "coulomb_cutoff": None,
    "repulsion": True,
}
ATOMREF = {"prior_model": ["Atomref"], "prior_args": [{"max_z": 20}]}
UNITS = {"distance_scale": 1e-10, "energy_scale": 1.602176634e-19}
ZBL = {"cutoff_distance": 5.0, "max_num_neighbors": 128, "atomic_number": list(range(20)), **UNITS}


def build(path: Path, dtype: str = "float32", *, mean: float = 0.0, std: float = 1.0, **changes: Any) -> Path:
    """A checkpoint of a model with random weights, with what TorchMD-Net's training writes and its loader reads."""
    from torchmdnet.models.model import create_model

    hyper = {**PLAIN, "precision": int(dtype[5:]), **changes}
    torch.manual_seed(1)
    model = create_model(dict(hyper), mean=torch.tensor(mean), std=torch.tensor(std))
    for prior in model.prior_model or ():
        if hasattr(prior, "atomref"):
            for z, energy in ALONE.items():
                prior.atomref.weight.data[z] = energy
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    torch.save({"hyper_parameters": hyper, "state_dict": state}, path)
    return path


def own(path: Path, **changes: Any) -> Any:
    """The checkpoint's model as TorchMD-Net makes it, in float64."""
    from torchmdnet.models.model import load_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_model(str(path), derivative=True, **changes).double()


def reference(model: Any, numbers: Any, positions: Any, box: Any = None, charge: int = 0) -> tuple[float, np.ndarray]:
    """Energy and forces of TorchMD-Net."""
    x = torch.tensor(np.asarray(positions))
    cell = None if box is None else torch.tensor(box)
    energy, forces = model(torch.tensor(numbers), x, box=cell, q=torch.tensor([charge]).double())
    return energy.item(), forces.detach().numpy()


def cluster(n: int, seed: int = 0) -> tuple[list[int], np.ndarray]:
    """Elements and positions in angstrom of n atoms on a distorted grid."""
    generator, edge = np.random.default_rng(seed), int(np.ceil(n ** (1 / 3)))
    grid = np.stack(np.meshgrid(*3 * [np.arange(edge)], indexing="ij"), -1).reshape(-1, 3)[:n]
    numbers = generator.choice(list(ALONE), n, p=[0.5, 0.3, 0.08, 0.1, 0.02]).tolist()
    return numbers, 1.4 * (grid + generator.uniform(-0.15, 0.15, (n, 3)))


SYSTEMS = {
    "3 atoms": (3, None),
    "22 atoms": (22, None),
    "50 atoms": (50, None),
    "cube": (40, 9.3 * np.eye(3)),
    "triclinic": (31, TRICLINIC),
}


@pytest.fixture(scope="module")
def tensornet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint of a TensorNet with reference energies, in float32, and its package."""
    folder = tmp_path_factory.mktemp("tensornet")
    return export(build(folder / "tensornet.ckpt", mean=3.0, std=0.5, **ATOMREF), folder / "m.pt2")


@pytest.fixture(scope="module")
def tensornet2(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint of a TensorNet2 with charges and repulsion of nuclei, and its package in float64."""
    folder = tmp_path_factory.mktemp("tensornet2")
    return export(build(folder / "tensornet2.ckpt", **WITH_CHARGES), folder / "m.pt2", "--dtype", "float64")


def export(checkpoint: Path, package: Path, *words: str) -> tuple[Path, Path]:
    assert main(["export", "torchmdnet", str(checkpoint), "-o", str(package), "--license", "none", *words]) == 0
    return checkpoint, package


def in_context(make_context, package, numbers, positions, box=None, charge=None) -> tuple[float, np.ndarray]:
    """Energy in eV and forces in eV/angstrom from a Context."""
    force = NNPForce(str(package))
    force.setParticles(range(len(numbers)), atomicNumbers=numbers)
    force.setUsesPeriodicBoundaryConditions(box is not None)
    if charge is not None:
        force.setCharge(charge)
    rows = 5.0 if box is None else (box * ANGSTROM).tolist()
    context = make_context(openmm.Platform.getPlatform("Reference"), force, positions * ANGSTROM, rows)
    state = context.getState(energy=True, forces=True)
    return state.getPotentialEnergy()._value / EV, state.getForces(asNumpy=True)._value / EV * ANGSTROM


def assert_equal(found: tuple[float, np.ndarray], right: tuple[float, np.ndarray], tolerance: float, alone: float = 0):
    assert found[0] - alone == pytest.approx(right[0] - alone, rel=tolerance, abs=1e-7 * len(right[1]))
    assert np.sqrt(((found[1] - right[1]) ** 2).mean()) <= tolerance * np.sqrt((right[1] ** 2).mean())


@pytest.mark.figure("G15", what="TensorNet", platform="Reference")
@pytest.mark.parametrize("system", SYSTEMS)
def test_tensornet_is_equal(tensornet, system, make_context, measure):
    checkpoint, package = tensornet
    (n, box), spec = SYSTEMS[system], read_spec(package)
    assert (spec.dtype, spec.cutoff, spec.license) == ("float32", 4.5, "none")
    assert spec.inputs == ["positions", "atomic_numbers", "edges", "shifts"]
    numbers, positions = cluster(n)
    found = in_context(make_context, package, numbers, positions, box)
    alone = sum(ALONE[z] for z in numbers)
    right = reference(own(checkpoint), numbers, positions, box)
    results = ((energy - alone, forces) for energy, forces in (found, right))
    measure_parity(measure, "float32", *results, 1e-4, (1e-7 * n, 0))


@pytest.mark.figure("G15", what="TensorNet2", platform="Reference")
@pytest.mark.parametrize("n", [3, 12, 29, 50])
@pytest.mark.parametrize("charge", [0, -1, 2])
def test_tensornet2_is_equal_at_all_charges(tensornet2, n, charge, make_context, measure):
    checkpoint, package = tensornet2
    spec, (numbers, positions) = read_spec(package), cluster(n, seed=1)
    assert (spec.dtype, spec.periodic, spec.long_range, spec.inputs[-1]) == ("float64", False, True, "charge")
    found = in_context(make_context, package, numbers, positions, charge=charge)
    right = reference(own(checkpoint), numbers, positions, charge=charge)
    measure_parity(measure, "float64", found, right, 1e-6, (1e-7 * n, 0))


def test_the_charge_matters(tensornet2, make_context):
    numbers, positions = cluster(12)
    energies = [in_context(make_context, tensornet2[1], numbers, positions, charge=q)[0] for q in (0, 1)]
    assert abs(energies[0] - energies[1]) > 1e-3


def load(checkpoint: Path, *words: str, dtype: str | None = "float64") -> Loaded:
    parser = argparse.ArgumentParser()
    torchmdnet.add_arguments(parser)
    options = parser.parse_args([str(checkpoint), *words])
    options.dtype = dtype
    return torchmdnet.load(options, None)


def evaluate(
    loaded: Loaded, numbers: Any, positions: Any, box: Any = None, charge: int = 0, padding: int = 0
) -> tuple[float, np.ndarray]:
    """Energy and forces of a module that is not compiled, with the plugin's edges and some beyond the cutoff."""
    spec = loaded.spec
    edges, cells = NeighborList(spec.cutoff).find(positions, box)
    shifts = np.concatenate(
        [cells @ (np.eye(3) if box is None else box), np.tile([0, 2 * spec.cutoff, 0], (padding, 1))]
    )
    edges = np.concatenate([edges, np.zeros((2, padding), dtype=np.int64)], 1)
    arrays = {"positions": positions, "atomic_numbers": numbers, "edges": edges, "shifts": shifts, "charge": charge}
    inputs = {name: torch.as_tensor(arrays[name]) for name in spec.inputs}
    inputs["positions"].requires_grad_(True)
    energy = loaded.module(*inputs.values())
    (gradient,) = torch.autograd.grad(energy, inputs["positions"])
    return energy.item() + spec.constant_energy(numbers), -gradient.numpy()


VARIANTS: dict[str, tuple[dict[str, Any], list[str], dict[str, Any]]] = {
    "lower cutoff, Gaussians": ({"cutoff_lower": 0.9, "rbf_type": "gauss"}, [], {}),
    "charge without charges of atoms": ({"charge": True}, [], {}),
    "no layers": ({"num_layers": 0}, [], {}),
    "offset": ({"mean": -500.0, "std": 3.0}, [], {}),
    "offset and references": ({"mean": -500.0, "std": 3.0, **ATOMREF}, [], {}),
    "repulsion": ({"prior_model": ["ZBL"], "prior_args": [ZBL]}, [], {}),
    "reaction field": (WITH_CHARGES, ["--coulomb-cutoff", "6"], {"coulomb_cutoff": 6.0}),
    "references added": (
        {**ATOMREF, "prior_args": [{"max_z": 20, "enable": False}], "remove_ref_energy": True},
        ["--total-energy"],
        {"remove_ref_energy": False},
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_are_equal(tmp_path, name):
    changes, words, chosen = VARIANTS[name]
    checkpoint = build(tmp_path / "variant.ckpt", **changes)
    loaded, model = load(checkpoint, *words), own(checkpoint, **chosen)
    charge = 1 if "charge" in loaded.spec.inputs else 0
    boxes = [None] if name == "charge without charges of atoms" else [None, 12.5 * np.eye(3)]
    for box in boxes:
        numbers, positions = cluster(23)
        found = evaluate(loaded, numbers, positions, box, charge)
        assert_equal(
            found, reference(model, numbers, positions, box, charge), 1e-6, loaded.spec.constant_energy(numbers)
        )


def test_constants_are_kept_out_of_the_network(tmp_path):
    offset, references = build(tmp_path / "a.ckpt", mean=-500.0), build(tmp_path / "b.ckpt", **ATOMREF)
    assert load(offset).spec.energy_offset == -500.0 and load(offset).spec.atomic_energies is None
    spec = load(references).spec
    assert spec.elements == list(ALONE) and spec.energy_offset is None
    assert spec.atomic_energies == {z: float(np.float32(energy)) for z, energy in ALONE.items()}


@pytest.mark.parametrize("changes", [{}, WITH_CHARGES, {"prior_model": ["ZBL"], "prior_args": [ZBL]}])
def test_padding_changes_nothing(tmp_path, changes):
    loaded, (numbers, positions) = load(build(tmp_path / "m.ckpt", **changes)), cluster(11)
    for x in (positions, 30 * positions):  # the second without an edge
        plain, padded = evaluate(loaded, numbers, x), evaluate(loaded, numbers, x, padding=13)
        assert padded[0] == pytest.approx(plain[0], rel=1e-14)
        np.testing.assert_allclose(padded[1], plain[1], atol=1e-13)


def test_box_smaller_than_the_cutoff_has_images(tmp_path):
    checkpoint = build(tmp_path / "m.ckpt")
    numbers, positions = [8, 1, 1, 6], np.array([[0.1, 0.2, 0], [1.0, 0.3, 0.2], [-0.3, 1.1, 0.1], [2.4, 2.2, 2.6]])
    box = np.array([[4.7, 0.0, 0.0], [0.6, 4.6, 0.0], [-0.4, 0.5, 4.8]])
    cells = np.array(list(np.ndindex(2, 2, 2))) @ box
    large = np.concatenate([positions + cell for cell in cells])
    right = reference(own(checkpoint), 8 * numbers, large, 2 * box)
    assert_equal(evaluate(load(checkpoint), numbers, positions, box), (right[0] / 8, right[1][:4]), 1e-6)


def test_dtype_is_that_of_training(tmp_path):
    assert load(build(tmp_path / "m.ckpt"), dtype=None).spec.dtype == "float32"
    assert load(build(tmp_path / "m.ckpt", "float64"), dtype=None).spec.dtype == "float64"


D2 = {**ZBL, "cutoff_distance": 10.0}


@pytest.mark.parametrize(
    ("changes", "words", "message"),
    [
        ({"prior_model": ["D2"], "prior_args": [D2]}, [], "has the prior model D2, but exported can be Atomref"),
        ({"output_model": "DipoleMoment"}, [], "has the output model DipoleMoment, but exported can be Scalar"),
        (
            {"model": "graph-network", "aggr": "add", "neighbor_embedding": True},
            [],
            "has the representation model TorchMD_GN, but exported can be TensorNet, TensorNet2",
        ),
        ({"equivariance_invariance_group": "SO(3)"}, [], r"is of the group SO\(3\), .*; only O\(3\) can be exported"),
        ({"reduce_op": "mean"}, [], "reduced by 'mean', but must be summed"),
        ({}, ["--coulomb-cutoff", "10"], "has no Coulomb energy: leave out --coulomb-cutoff"),
        ({}, ["--total-energy"], "was not trained with remove_ref_energy: leave out --total-energy"),
        (WITH_CHARGES, ["--energy-unit", "hartree"], "the units are angstrom and hartree, but a model with charges"),
    ],
)
def test_what_can_not_be_exported_is_named(tmp_path, changes, words, message):
    checkpoint = build(tmp_path / "m.ckpt", **changes)
    with pytest.raises(ValueError, match=message):
        load(checkpoint, *words)


def test_wrong_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        load(tmp_path / "none.ckpt")
    (tmp_path / "text.ckpt").write_text("no model")
    with pytest.raises(ValueError, match=r"text\.ckpt is no checkpoint of TorchMD-Net"):
        load(tmp_path / "text.ckpt")
    checkpoint = torch.load(build(tmp_path / "m.ckpt"), weights_only=False)
    checkpoint["state_dict"].popitem()
    torch.save(checkpoint, tmp_path / "part.ckpt")
    with pytest.raises(ValueError, match=r"TorchMD-Net can't make the model of .*part\.ckpt: RuntimeError"):
        load(tmp_path / "part.ckpt")


def test_page(tmp_path):
    page = Path(__file__).parents[3] / "docs" / "models" / "torchmdnet.md"
    assert "kJ/mol" in run_page(page, tmp_path)
