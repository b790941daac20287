"""NequIP and Allegro with random weights, compiled by nequip-compile, against NequIP's own calculator in Python."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest

from figures import Measure
from helpers import measure_parity
from openmmnnp import NNPForce
from openmmnnp.spec import ENERGY_UNITS, read_spec
from pages import blocks, run_page

pytest.importorskip("nequip", reason="the package nequip is not installed")
pytest.importorskip("allegro", reason="the package nequip-allegro is not installed")
ase = pytest.importorskip("ase")

from ase.build import molecule  # noqa: E402

pytestmark = pytest.mark.long

PAGE = Path(__file__).parents[3] / "docs" / "models" / "nequip.md"
EV, ANGSTROM = ENERGY_UNITS["eV"], 0.1
TRICLINIC = np.array([[6.3, 0.0, 0.0], [1.1, 6.1, 0.0], [-1.4, 0.9, 6.7]])
NEQUIP = """\
    _target_: nequip.model.NequIPGNNModel
    seed: 1
    model_dtype: float32
    type_names: [H, C, O]
    r_max: 4.0
    num_layers: 2
    l_max: 1
    num_features: 32
    radial_mlp_width: 32
    avg_num_neighbors: 8.0
    per_type_energy_shifts: {H: -13.6, C: -1029.5, O: -2041.8}
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which the page ran, and what it printed."""
    folder = tmp_path_factory.mktemp("page")
    return folder, run_page(PAGE, folder, OMP_NUM_THREADS="1")


def compile_nequip(folder: Path) -> None:
    """As the page does it, but NequIP in float32, for the target of LAMMPS."""
    language, script = blocks(PAGE)[0]
    assert language == "bash"
    script = re.sub(r"    _target_: allegro\.model.*?(?=END)", NEQUIP, script, flags=re.DOTALL)
    script = script.replace("--target ase", "--target pair_nequip")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(["bash", "-euc", script], cwd=folder, env={**os.environ, "PATH": path}, check=True)


@pytest.fixture(scope="module", params=["allegro", "nequip"])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """Name, checkpoint and package: Allegro in float64 for ase, NequIP in float32 for LAMMPS."""
    if request.param == "allegro":
        folder, _ = request.getfixturevalue("page")
    else:
        folder = tmp_path_factory.mktemp("nequip")
        compile_nequip(folder)
    return request.param, folder / "best.ckpt", folder / "my.nequip.pt2"


@pytest.fixture(scope="module")
def calculator(compiled: tuple[str, Path, Path]) -> Any:
    """Of the checkpoint, in Python."""
    from nequip.integrations.ase import NequIPCalculator

    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = NequIPCalculator._from_saved_model(str(compiled[1]), chemical_species_to_atom_type_map=True)
    logging.disable(before)
    return made


def test_page(page: tuple[Path, str]) -> None:
    folder, printed = page
    assert "kJ/mol" in printed and re.search(r"license +MIT", printed)
    spec, plain = read_spec(folder / "my.pt2"), read_spec(folder / "my.nequip.pt2")
    assert spec is not None and plain is not None
    assert len(spec.references) == 3 and not plain.references
    assert (spec.name, spec.license, spec.cutoff, spec.type_map) == ("my", "MIT", 4.0, {"H": 0, "C": 1, "O": 2})


@pytest.mark.parametrize("name", ["H2O", "CH3OH", "CH3CH2OH", "C6H6"])
@pytest.mark.parametrize("cell", ["vacuum", "triclinic", "wider"])
@pytest.mark.figure("G15", what="nequip-compile", platform="Reference")
def test_equals_its_calculator(
    compiled: tuple[str, Path, Path],
    calculator: Any,
    make_context: Callable[..., openmm.Context],
    name: str,
    cell: str,
    measure: Measure,
) -> None:
    family, _, package = compiled
    atoms = molecule(name)
    atoms.rattle(0.05, seed=1)
    if cell != "vacuum":
        atoms.set_cell(TRICLINIC)
        atoms.pbc = True
    if cell == "wider":
        atoms = atoms * (1, 2, 2)
    force = NNPForce(package, atomicNumbers=[int(z) for z in atoms.numbers])
    force.setUsesPeriodicBoundaryConditions(cell != "vacuum")
    reference = openmm.Platform.getPlatform("Reference")
    box = (ANGSTROM * np.array(atoms.cell)).tolist() if cell != "vacuum" else 5.0
    context = make_context(reference, force, ANGSTROM * atoms.positions, box)
    state = context.getState(energy=True, forces=True)
    atoms.calc = calculator
    tolerance = 1e-6 if family == "allegro" else 1e-4
    shifts = {1: -13.6, 6: -1029.5, 8: -2041.8}
    alone = sum(shifts[int(z)] for z in atoms.numbers)
    energy = atoms.get_potential_energy()
    assert abs(energy - alone) > 1e-3
    found = state.getPotentialEnergy()._value / EV - alone, state.getForces(asNumpy=True)._value / EV * ANGSTROM
    dtype = "float64" if family == "allegro" else "float32"
    forces = atoms.get_forces()
    measure_parity(measure, f"{family}, {dtype}", found, (energy - alone, forces), tolerance)
    assert np.abs(found[1] - forces).max() <= tolerance * np.sqrt((forces**2).mean())
    energies = np.ravel(force.getOutput(context, "atomic_energy")._value) / EV
    np.testing.assert_allclose(energies, atoms.get_potential_energies(), rtol=tolerance)


def test_atoms_without_an_edge(compiled: tuple[str, Path, Path], make_context: Callable[..., openmm.Context]) -> None:
    force = NNPForce(compiled[2], atomicNumbers=[1, 8])
    context = make_context(openmm.Platform.getPlatform("Reference"), force, np.array([[0.0, 0, 0], [2.0, 0, 0]]))
    state = context.getState(energy=True, forces=True)
    assert state.getPotentialEnergy()._value / EV == pytest.approx(-13.6 - 2041.8, rel=1e-7)
    assert not state.getForces(asNumpy=True)._value.any()
