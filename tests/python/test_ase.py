"""The calculator for ASE: NumPy's formulas, ASE's own differences, any cell, and what ASE does with it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import openmm
import pytest
import torch
from ase import units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import FiniteDifferenceCalculator, calculate_numerical_forces
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from models import ENERGIES, Pair, pair_example, pair_oracle, pair_spec
from neighbors_oracle import brute_force, edges_energy, save_edges
from openmmnnp.ase import NNPCalculator
from openmmnnp.export import save_pt

EV = 96.48533212331  # kJ/mol
CUTOFF = 0.5  # nm
CELLS = {
    "cube": 12.0 * np.eye(3),
    "hexagonal": np.array([[8, 0, 0], [-4, 4 * np.sqrt(3), 0], [0, 0, 9.0]]),
    "not reduced": np.array([[7.0, 0, 0], [25, 8, 0], [-30, 21, 9]]),
    "turned": np.array([[1.0, 6, 3], [-5, 2, 4], [2, -4, 7]]),
    "left-handed": np.array([[0, 8, 1.0], [9, 0, 0.5], [1, 2, 7]]),
    "smaller than the cutoff": np.array([[3.0, 0.2, 0], [0.5, 3.5, 1], [0, -1, 4]]),
}


@pytest.fixture
def pair_double(tmp_path: Path) -> Path:
    path = tmp_path / "pair.pt"
    examples = [pair_example(3), pair_example(6)]
    save_pt(Pair(torch.float64), pair_spec(dtype="float64"), path, examples=examples, progress=False)
    return path


def cluster(n: int, seed: int = 0) -> ase.Atoms:
    example = pair_example(n, seed)
    return ase.Atoms(numbers=example["atomic_numbers"], positions=example["positions"])


def crystal(cell: np.ndarray) -> ase.Atoms:
    scaled = np.random.default_rng(8).uniform(-1, 2, (7, 3))
    return ase.Atoms("C7", cell=cell, scaled_positions=scaled, pbc=True)


def test_energy_forces_and_outputs(platform: openmm.Platform, pair_file: Path) -> None:
    if platform.getName() == "CUDA" and pair_file.suffix == ".pt2":
        pytest.skip("a package for the CPU")
    calculator = NNPCalculator(pair_file, parameters={"k": 0.25}, platform=platform.getName())
    for n, seed in ((5, 1), (5, 2), (8, 3)):  # the same elements, others, another number
        atoms = cluster(n, seed)
        atoms.calc = calculator
        expected = pair_oracle(atoms.positions, atoms.numbers, 0.25)
        constant = sum(ENERGIES[z] for z in atoms.numbers)
        assert atoms.get_potential_energy() == pytest.approx(expected["energy"] + constant, abs=1e-5)
        assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
        np.testing.assert_allclose(atoms.get_forces(), expected["forces"], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(atoms.get_potential_energies(), expected["atomic_energy"], rtol=1e-5, atol=1e-5)


def test_forces_are_those_of_ase(pair_double: Path) -> None:
    atoms = cluster(6)
    atoms.calc = NNPCalculator(pair_double, parameters={"k": 0.25})
    forces = atoms.get_forces()
    expected = pair_oracle(atoms.positions, atoms.numbers, 0.25)["forces"]
    np.testing.assert_allclose(forces, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(forces, calculate_numerical_forces(atoms, eps=1e-4), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", CELLS)
def test_any_cell(tmp_path: Path, name: str) -> None:
    """Energy, forces and stress of the lattice, however its cell is written."""
    cell = CELLS[name]
    atoms = crystal(cell)
    atoms.calc = NNPCalculator(save_edges(tmp_path / "edges.pt"))
    x, box = atoms.positions / 10, cell / 10
    (i, j), cells = brute_force(x, CUTOFF, box)
    r = x[j] - x[i] + cells @ box
    assert len(r) > 0
    slopes = -6 / CUTOFF**2 * (1 - (r**2).sum(1) / CUTOFF**2) ** 2  # dE/dr = slope * r, kJ/mol/nm^2
    forces = np.zeros_like(x)
    np.add.at(forces, i, slopes[:, None] * r)
    np.add.at(forces, j, -slopes[:, None] * r)
    virial = np.einsum("e,ea,eb->ab", slopes, r, r) / EV / abs(np.linalg.det(cell))
    voigt = virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]

    assert atoms.get_potential_energy() == pytest.approx(edges_energy(x, CUTOFF, box) / EV, rel=1e-10)
    np.testing.assert_allclose(atoms.get_forces(), forces / EV / 10, rtol=1e-9, atol=1e-12)
    with pytest.raises(PropertyNotImplementedError, match="stress"):
        atoms.get_stress()
    atoms.calc = FiniteDifferenceCalculator(atoms.calc, eps_disp=None, eps_strain=1e-5)
    np.testing.assert_allclose(atoms.get_stress(), voigt, rtol=1e-5, atol=1e-8)


def test_outputs_have_the_units_and_directions_of_ase(save_scripted: Callable[..., Path]) -> None:
    """A model in nm and kJ/mol, in a cell that OpenMM must have turned."""
    body = """
x = positions - positions.mean(0)
charges = torch.linalg.norm(x, dim=1)
return (x**2).sum() + 0 * box.sum(), charges, (charges.unsqueeze(1) * x).sum(0), 3 * x.norm(), charges, charges
"""
    path = save_scripted(
        body,
        "positions, box",
        inputs=["positions", "box"],
        outputs=["energy", "charges", "dipole", "energy_std", "slope", "odd"],
        output_units={"charges": "e", "dipole": "e*nm", "energy_std": "kJ/mol", "slope": "kJ/mol/nm", "odd": "furlong"},
    )
    atoms = ase.Atoms("C3", positions=np.random.default_rng(1).normal(size=(3, 3)), cell=CELLS["turned"], pbc=True)
    atoms.calc = NNPCalculator(path)
    x = 0.1 * (atoms.positions - atoms.positions.mean(0))
    charges = np.linalg.norm(x, axis=1)
    np.testing.assert_allclose(atoms.get_charges(), charges, rtol=1e-12)
    np.testing.assert_allclose(atoms.get_dipole_moment(), 10 * (charges[:, None] * x).sum(0), rtol=1e-12)
    std = atoms.calc.get_property("energy_std", atoms)
    assert isinstance(std, float) and std == pytest.approx(3 * np.linalg.norm(x) / EV, rel=1e-12)
    np.testing.assert_allclose(atoms.calc.results["slope"], charges / EV / 10, rtol=1e-12)
    np.testing.assert_allclose(atoms.calc.results["odd"], charges, rtol=1e-12)


def test_context_is_kept_while_atoms_are_the_same(pair_pt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Counting(openmm.Context):
        def __init__(self, *arguments: object) -> None:
            made.append(self)
            super().__init__(*arguments)

    monkeypatch.setattr(openmm, "Context", Counting)
    atoms = cluster(4)
    atoms.calc = NNPCalculator(pair_pt, parameters={"k": 0.25})
    for _ in range(3):
        atoms.get_forces()
        atoms.rattle(0.01)
    assert len(made) == 1
    atoms.numbers = [1, 1, 1, 8]
    energy = atoms.get_potential_energy()
    assert len(made) == 2
    expected = pair_oracle(atoms.positions, atoms.numbers, 0.25)["energy"] + sum(ENERGIES[z] for z in atoms.numbers)
    assert energy == pytest.approx(expected, abs=1e-5)


def test_copies_are_calculators_of_their_own(pair_pt: Path) -> None:
    atoms = cluster(4)
    atoms.calc = NNPCalculator(pair_pt, parameters={"k": 0.25})
    expected = atoms.get_forces()
    for copied in (pickle.loads(pickle.dumps(atoms.calc)), copy.deepcopy(atoms.calc)):
        other = cluster(4)
        other.calc = copied
        np.testing.assert_array_equal(other.get_forces(), expected)


def test_charge_multiplicity_and_a_fixed_box(walls_file: Path) -> None:
    """E = (1 + q^2 + m) sum x.x with x from the center of the box, in nm and kJ/mol."""
    atoms = ase.Atoms("HOHC", positions=np.random.default_rng(3).normal(size=(4, 3)), cell=[8, 9, 10], pbc=True)
    atoms.calc = NNPCalculator(walls_file, charge=-2, multiplicity=3)
    x = 0.1 * (atoms.positions - [4, 4.5, 5])
    assert atoms.get_potential_energy() == pytest.approx((8 * (x**2).sum() - 1e6) / EV, rel=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), -6 * 8 * x / EV / 10, rtol=1e-10)


def test_model_without_a_spec(harmonic: Path) -> None:
    atoms = ase.Atoms("H2", positions=[[0, 0, 0], [1, 2, 3]])
    atoms.calc = NNPCalculator(harmonic)
    assert atoms.get_potential_energy() == pytest.approx(0.14 / EV, rel=1e-12)
    assert atoms.calc.implemented_properties == ["energy", "free_energy", "forces"]


def test_optimization_and_dynamics(pair_double: Path) -> None:
    """Like charges in a basket: a minimum, and a total energy that stays, far better at half the time step."""

    class InBasket(NNPCalculator):
        def calculate(self, *arguments: object, **options: object) -> None:
            super().calculate(*arguments, **options)
            x = self.atoms.positions
            self.results["energy"] += (x**2).sum()
            self.results["forces"] -= 2 * x

    atoms = cluster(5)
    atoms.calc = InBasket(pair_double, parameters={"k": 0.25})
    start = atoms.get_potential_energy()
    assert BFGS(atoms, logfile=None).run(fmax=1e-6, steps=300)
    assert atoms.get_potential_energy() < start - 0.1
    assert np.abs(calculate_numerical_forces(atoms, eps=1e-4)).max() < 1e-5

    fluctuation = []
    for step in (1.0, 0.5):
        moving = atoms.copy()
        moving.calc = atoms.calc
        moving.set_momenta(np.random.default_rng(4).normal(size=(5, 3)))
        total = []
        dynamics = VelocityVerlet(moving, step * units.fs)
        dynamics.attach(lambda moving=moving, total=total: total.append(moving.get_total_energy()))
        dynamics.run(round(50 / step))
        assert moving.get_kinetic_energy() > 1e-3
        fluctuation.append(np.std(total))
    assert fluctuation[0] / fluctuation[1] == pytest.approx(4, rel=0.2)


def test_atoms_that_do_not_fit(tmp_path: Path, pair_pt: Path) -> None:
    edges = NNPCalculator(save_edges(tmp_path / "edges.pt"))
    atoms = crystal(CELLS["cube"])
    atoms.calc = edges
    atoms.pbc = (True, True, False)
    with pytest.raises(ValueError, match=r"atoms.pbc is \[True, True, False\], but a model is periodic in all direc"):
        atoms.get_potential_energy()
    atoms.pbc = True
    atoms.cell[2] = atoms.cell[1]
    with pytest.raises(ValueError, match="the atoms are periodic, but their cell has no volume: "):
        atoms.get_potential_energy()
    atoms.cell = CELLS["cube"]
    assert np.isfinite(atoms.get_potential_energy()), "the calculator still is good"

    atoms = cluster(4)
    atoms.calc = NNPCalculator(pair_pt, parameters={"k": 0.25})
    atoms.pbc, atoms.cell = True, CELLS["cube"]
    with pytest.raises(openmm.OpenMMException, match="the model does not take the box: call"):
        atoms.get_potential_energy()
    atoms.calc = NNPCalculator(pair_pt)
    with pytest.raises(openmm.OpenMMException, match="does not take the box|takes the parameter 'k'"):
        atoms.get_potential_energy()
