"""The potential shipped with the Tyk2 example: what its file says is what it does."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

PATH = Path(__file__).parents[2] / "examples" / "tyk2" / "ejm_31.pt"
KJ = 96.48533212331  # kJ/mol in one eV

Loaded = tuple[torch.jit.ScriptModule, dict[str, Any]]


def energy_and_forces(model: torch.jit.ScriptModule, positions: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    positions = positions.detach().requires_grad_()
    energy, _ = model(positions, numbers)
    return energy.detach(), -torch.autograd.grad(energy, positions)[0]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def single() -> Loaded:
    files = {"openmmnnp.json": ""}
    model = torch.jit.load(str(PATH), _extra_files=files)
    return model, json.loads(files["openmmnnp.json"])


@pytest.fixture(scope="module")
def double() -> Loaded:
    files = {"openmmnnp.json": ""}
    model = torch.jit.load(str(PATH), _extra_files=files).double()
    return model, json.loads(files["openmmnnp.json"])


@pytest.fixture(scope="module")
def geometry(double: Loaded) -> tuple[Tensor, Tensor]:
    reference = double[1]["references"][0]
    return torch.tensor(reference["positions"], dtype=torch.float64), torch.tensor(reference["atomic_numbers"])


def test_spec(single: Loaded) -> None:
    spec = single[1]
    assert (spec["format"], spec["length_unit"], spec["energy_unit"], spec["dtype"]) == (1, "angstrom", "eV", "float32")
    assert (spec["inputs"], spec["outputs"]) == (["positions", "atomic_numbers"], ["energy", "energy_std"])
    assert spec["output_units"] == {"energy_std": "eV"}
    assert spec["particles"] == len(spec["atomic_numbers"]) == 32
    assert spec["elements"] == sorted(set(spec["atomic_numbers"])) == [1, 6, 7, 8, 17]
    assert not spec["periodic"] and not spec["long_range"]
    assert all(spec[key] for key in ("name", "authors", "license", "citation", "domain"))
    assert len(spec["references"]) >= 2


def test_numbers_are_the_ligands(single: Loaded) -> None:
    symbols = [line[76:78].strip() for line in PATH.with_name("lig.pdb").read_text().splitlines() if "HETATM" in line]
    assert single[1]["atomic_numbers"] == [{"H": 1, "C": 6, "N": 7, "O": 8, "Cl": 17}[s] for s in symbols]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_references(single: Loaded, double: Loaded, dtype: torch.dtype) -> None:
    model, spec = single if dtype == torch.float32 else double
    relative, absolute, of_force = (1e-6, 1e-5, 1e-3) if dtype == torch.float32 else (1e-9, 1e-9, 1e-7)
    for reference in spec["references"]:
        numbers = torch.tensor(reference["atomic_numbers"])
        energy, forces = energy_and_forces(model, torch.tensor(reference["positions"], dtype=dtype), numbers)
        expected = reference["energy"] - spec["energy_offset"]
        assert energy.dtype == torch.float64 and energy.shape == ()
        assert abs(energy.item() - expected) <= relative * abs(expected) + absolute * len(numbers) / KJ
        right = torch.tensor(reference["forces"], dtype=torch.float64)
        assert (forces.double() - right).abs().max() <= of_force * right.square().mean().sqrt()


def test_rotation_and_translation(double: Loaded, geometry: tuple[Tensor, Tensor]) -> None:
    positions, numbers = geometry
    energy, forces = energy_and_forces(double[0], positions, numbers)
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0]
    shift = torch.tensor([30.0, -7.0, 5.0], dtype=torch.float64)
    moved, turned = energy_and_forces(double[0], positions @ rotation.T + shift, numbers)
    assert moved.item() == pytest.approx(energy.item(), rel=1e-10, abs=1e-10)
    torch.testing.assert_close(turned, forces @ rotation.T, rtol=1e-9, atol=1e-9)


def test_permutation(double: Loaded, geometry: tuple[Tensor, Tensor]) -> None:
    positions, numbers = geometry
    energy, forces = energy_and_forces(double[0], positions, numbers)
    order = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(2))
    permuted, reordered = energy_and_forces(double[0], positions[order], numbers[order])
    assert permuted.item() == pytest.approx(energy.item(), rel=1e-10, abs=1e-10)
    torch.testing.assert_close(reordered, forces[order], rtol=1e-9, atol=1e-9)


def test_net_force_and_torque_vanish(double: Loaded, geometry: tuple[Tensor, Tensor]) -> None:
    positions, numbers = geometry
    _, forces = energy_and_forces(double[0], positions, numbers)
    assert forces.sum(0).abs().max() < 1e-10
    assert torch.linalg.cross(positions, forces).sum(0).abs().max() < 1e-9


def test_forces_are_the_gradient(double: Loaded, geometry: tuple[Tensor, Tensor]) -> None:
    """By central differences along random displacements of all atoms."""
    model, h = double[0], 1e-4
    positions, numbers = geometry
    _, forces = energy_and_forces(model, positions, numbers)
    directions = torch.randn(10, *positions.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        for d in directions / directions.norm(dim=(1, 2), keepdim=True):
            slope = (model(positions + h * d, numbers)[0] - model(positions - h * d, numbers)[0]) / (2 * h)
            assert slope.item() == pytest.approx(-(forces * d).sum().item(), abs=1e-7 * forces.norm().item())


def test_atoms_that_meet_repel(double: Loaded, geometry: tuple[Tensor, Tensor]) -> None:
    """The first bond pressed together costs energy, and two atoms at one place give finite forces."""
    positions, numbers = geometry
    energies = []
    for fraction in (1.0, 0.7, 0.5):
        pressed = positions.clone()
        pressed[1] = pressed[0] + fraction * (positions[1] - positions[0])
        energies.append(energy_and_forces(double[0], pressed, numbers)[0].item())
    assert energies == sorted(energies)
    pressed[1] = pressed[0]
    energy, forces = energy_and_forces(double[0], pressed, numbers)
    assert energy.isfinite() and forces.isfinite().all()


def test_file_names_no_folder_of_the_machine_that_made_it() -> None:
    with zipfile.ZipFile(PATH) as archive:
        for name in archive.namelist():
            assert b"site-packages" not in archive.read(name)
