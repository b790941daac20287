"""The main job, examples/protein_ligand.py: its building part on Tyk2, all that follows on CB7-B2 in water."""

import csv
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit

from openmmnnp import ModelSpec
from openmmnnp.spec import write_spec
from simulations import Springs
from systems import host_guest, residue

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("protein_ligand", EXAMPLES / "protein_ligand.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def save_springs(reference: np.ndarray, path: Path) -> None:
    torch.jit.script(Springs(torch.tensor(reference), stiffness=1e5, reach=0.3)).save(str(path))
    write_spec(path, ModelSpec("springs", "nm", "kJ/mol", "float64", long_range=False))


@pytest.mark.filterwarnings("ignore:hydrogens without a Lennard-Jones radius")  # of the guest, an alcohol
def test_host_guest_runs(example, tmp_path, capsys):
    tested = host_guest("complex-explicit")
    guest = residue(tested.topology, "B2")
    reference = np.array(tested.positions.value_in_unit(unit.nanometer))[guest]
    save_springs(reference, tmp_path / "b2.pt")
    simulation, speed = example.run(*tested, guest, tmp_path / "b2.pt", steps=50, platform="CPU", out=tmp_path / "out")
    simulation.reporters.clear()  # closes their files

    output = capsys.readouterr().out
    for text in (r"b2.pt describes the interior of 30 atoms", "Speed (ns/day)", "100.0%"):
        assert text in output
    assert [line.split()[:2] for line in output.splitlines() if line.rstrip().endswith(" 435")] == [
        ["NonbondedForce", "pairs"]
    ]
    with open(tmp_path / "out" / "log.csv") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 11 and np.isfinite(np.array(rows[1:], dtype=float)[:, :3]).all()
    assert speed > 0 and (tmp_path / "out" / "trajectory.xtc").stat().st_size > 10 * 4491 * 3  # compressed
    assert openmm.app.PDBFile(str(tmp_path / "out" / "minimized.pdb")).topology.getNumAtoms() == 4491

    # The potential holds the guest in shape, and the guest is one molecule in the wrapped frames.
    state = simulation.context.getState(positions=True, enforcePeriodicBox=True)
    moved = state.getPositions(asNumpy=True)._value[guest]
    distances, before = (np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (moved, reference))
    assert np.sqrt(np.mean((distances - before) ** 2)) < 0.02


def test_tyk2_is_built(example):
    tyk2 = EXAMPLES / "tyk2"
    topology, system, positions, ligand = example.build(
        tyk2 / "Tyk2_protein.pdb", tyk2 / "lig.pdb", tyk2 / "lig_gaff.xml"
    )
    assert topology.getNumAtoms() == system.getNumParticles() == len(positions) == 35475
    assert list(ligand) == residue(topology, "LIG") and len(ligand) == 32


@pytest.mark.filterwarnings("ignore:hydrogens without a Lennard-Jones radius")  # of the guest, an alcohol
def test_readme_shows_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """README's lines for a script of one's own, run as they are."""
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    code = next(b for b in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "createMixedSystem" in b)
    tested = host_guest("complex-vacuum")
    guest = residue(tested.topology, "B2")
    reference = np.array(tested.positions.value_in_unit(unit.nanometer))[guest]
    save_springs(reference, tmp_path / "model.pt")
    names = {"topology": tested.topology, "system": tested.system, "ligand_atoms": guest, "Simulation": app.Simulation}
    names["integrator"] = openmm.LangevinMiddleIntegrator(300, 1, 0.001)
    monkeypatch.chdir(tmp_path)
    exec(code, names)
    simulation = names["simulation"]
    simulation.context.setPositions(tested.positions)
    simulation.step(2)
