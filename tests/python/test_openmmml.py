"""openmm-ml with ``MLPotential("nnp")``: what its import costs, its own identities, its potential for ASE as a peer."""

from __future__ import annotations

import copy
import importlib.metadata
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit

import openmmnnp
from helpers import central_differences, context_of, energy, energy_and_forces
from models import walls_oracle
from neighbors_oracle import edges_energy, save_edges
from openmmnnp import ModelSpec, NNPForce
from openmmnnp.region import region_system
from openmmnnp.spec import write_spec
from openmmnnp_openmmml import NNPPotentialImplFactory
from simulations import Springs, springs_energy
from systems import TestedSystem, alanine_dipeptide
from test_import import fake, run, run_well

openmmml = pytest.importorskip("openmmml", reason="needs openmm-ml: pip install --no-deps openmmml==1.8")

ROOT = Path(__file__).parents[2]
REGION = 22  # atoms of alanine dipeptide, which come first
CUTOFF = 1.1  # nm, more than the width of the dipeptide
LAMBDAS = (0.0, 0.25, 0.5, 0.75, 1.0)

Reference = openmm.Platform.getPlatform("Reference")


def potential(path: Path) -> Any:
    """MLPotential("nnp"), also where the distribution that is installed is not what is tested."""
    openmmml.MLPotential.registerImplFactory("nnp", NNPPotentialImplFactory())
    return openmmml.MLPotential("nnp", modelPath=str(path))


@pytest.fixture(scope="module", params=[False, True], ids=["vacuum", "PME"])
def dipeptide(request: pytest.FixtureRequest) -> TestedSystem:
    tested = alanine_dipeptide(explicit=request.param)
    for force in tested.system.getForces():
        if isinstance(force, openmm.NonbondedForce) and request.param:
            force.setCutoffDistance(CUTOFF)
    return tested


def region_positions(tested: TestedSystem) -> np.ndarray:
    return np.array(tested.positions[:REGION].value_in_unit(unit.nanometer))


def save_springs(path: Path, tested: TestedSystem, **values: Any) -> Path:
    """Springs between all close pairs of the dipeptide as they are 2 % closer together."""
    torch.jit.script(Springs(torch.tensor(0.98 * region_positions(tested)))).save(str(path))
    write_spec(path, ModelSpec("springs", "nm", "kJ/mol", "float64", **({"long_range": False} | values)))
    return path


def mm_energy_of_region(tested: TestedSystem, long_range: bool) -> float:
    """In vacuum, or with PME where the model takes the charges' periodic images over as well."""
    region = region_system(tested.system, range(REGION))
    if long_range:
        whole = next(f for f in tested.system.getForces() if isinstance(f, openmm.NonbondedForce))
        pairs = next(f for f in region.getForces() if isinstance(f, openmm.NonbondedForce))
        pairs.setNonbondedMethod(openmm.NonbondedForce.PME)
        pairs.setCutoffDistance(whole.getCutoffDistance())
        pairs.setUseDispersionCorrection(False)
        region.setDefaultPeriodicBoxVectors(*tested.system.getDefaultPeriodicBoxVectors())
    return energy(context_of(region, region_positions(tested), Reference))


# The import


def entry_points(folder: Path) -> Path:
    """A folder with the metadata of a distribution that has the entry points of pyproject.toml."""
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    info = folder / "openmm_nnp-0.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: openmm-nnp\nVersion: 0.0.0\n")
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in points.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return folder


def test_import_of_openmm_ml_loads_next_to_nothing(tmp_path: Path) -> None:
    code = "import sys, openmmml\nprint('nnp' in openmmml.MLPotential._implFactories)\n"
    code += "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'openmmnnp')])\n"
    code += "print('libOpenMMNNP' in open('/proc/self/maps').read())"
    assert run_well(code, first=entry_points(tmp_path)).split() == ["True", "[]", "False"]


def test_import_of_openmm_ml_never_fails(tmp_path: Path, harmonic: Path) -> None:
    """Here with a torch that does not fit: the sentence comes when the potential is asked for."""
    fake(entry_points(tmp_path), "torch", "2.10.1")
    code = "import openmmml\nprint('imported')\n"
    code += f"openmmml.MLPotential('nnp', modelPath={str(harmonic)!r})"
    result = run(code, first=tmp_path)
    assert result.stdout == "imported\n" and "ImportError: " in result.stderr and "2.10.1" in result.stderr


def test_installed_package_has_the_entry_point() -> None:
    distribution = importlib.metadata.distribution("openmm-nnp")
    if Path(str(distribution.locate_file("openmmnnp"))) != Path(openmmnnp.__file__).parent:
        pytest.skip("the package that is tested is not the one that is installed")
    (found,) = distribution.entry_points.select(group="openmmml.potentials")
    assert found.name == "nnp" and found.load() is NNPPotentialImplFactory
    code = "import openmmml; openmmml.MLPotential('nnp', modelPath='missing.pt')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "missing.pt" in done.stderr and "KeyError" not in done.stderr


# Systems


def test_create_system(tmp_path: Path) -> None:
    tested = alanine_dipeptide(explicit=False)
    reference = 0.98 * region_positions(tested)
    system = potential(save_springs(tmp_path / "springs.pt", tested)).createSystem(tested.topology)
    assert [type(force).__name__ for force in system.getForces()] == ["Force", "CMMotionRemover"]
    force = NNPForce.cast(system.getForce(0))
    assert force.getAtomicNumbers() == [atom.element.atomic_number for atom in tested.topology.atoms()]
    assert force.getNumBonds() == tested.topology.getNumBonds() == 21
    context = context_of(system, region_positions(tested), Reference)
    assert [len(molecule) for molecule in context.getMolecules()] == [REGION]
    assert energy(context) == pytest.approx(springs_energy(reference, region_positions(tested)), rel=1e-10)


@pytest.mark.parametrize("periodic", [False, True])
def test_box_comes_from_the_topology(tmp_path: Path, periodic: bool) -> None:
    topology, box = app.Topology(), np.diag([1.2, 1.3, 1.4])
    chain = topology.addChain()
    for _ in range(8):
        topology.addAtom("C", app.Element.getBySymbol("C"), topology.addResidue("ONE", chain))
    if periodic:
        topology.setPeriodicBoxVectors(box * unit.nanometer)
    x = np.random.default_rng(2).uniform(0, 1, (8, 3))
    made = potential(save_edges(tmp_path / "edges.pt")).createSystem(topology, removeCMMotion=False)
    assert made.usesPeriodicBoundaryConditions() == periodic and made.getNumForces() == 1
    expected = edges_energy(x, 0.5, box if periodic else None)
    assert expected > 0 and energy(context_of(made, x, Reference)) == pytest.approx(expected, rel=1e-10)
    never = potential(save_edges(tmp_path / "edges.pt", periodic=False)).createSystem(topology, removeCMMotion=False)
    assert energy(context_of(never, x, Reference)) == pytest.approx(edges_energy(x, 0.5), rel=1e-10)


def test_charge_and_multiplicity(walls_file: Path) -> None:
    topology, box = app.Topology(), np.diag([1.2, 1.3, 1.4])
    chain = topology.addChain()
    for _ in range(4):
        topology.addAtom("O", app.Element.getBySymbol("O"), topology.addResidue("ONE", chain))
    topology.setPeriodicBoxVectors(box * unit.nanometer)
    system = potential(walls_file).createSystem(topology, charge=-2, multiplicity=3)
    x = np.random.default_rng(2).uniform(0, 1, (4, 3))
    expected = walls_oracle(x, box, -2, 3)["energy"] - 1e6
    assert energy(context_of(system, x, Reference)) == pytest.approx(expected, rel=1e-12)


def test_mixed_system(dipeptide: TestedSystem, tmp_path: Path) -> None:
    """E = E_MM(all) - E_MM(region) + E_model(region), and a straight line in between."""
    tested, positions = dipeptide, np.array(dipeptide.positions.value_in_unit(unit.nanometer))
    reference = 0.98 * region_positions(tested)
    model = potential(save_springs(tmp_path / "springs.pt", tested))
    before = openmm.XmlSerializer.serialize(tested.system)
    arguments = (tested.topology, tested.system, iter(range(REGION)))
    mixed = model.createMixedSystem(*arguments, removeConstraints=False, forceGroup=7)
    blended = model.createMixedSystem(tested.topology, tested.system, range(REGION), interpolate=True)
    assert openmm.XmlSerializer.serialize(tested.system) == before

    of_model = springs_energy(reference, region_positions(tested))
    mm = energy(context_of(tested.system, positions, Reference))
    expected = mm - mm_energy_of_region(tested, long_range=False) + of_model
    assert abs(expected - mm) > 10
    context = context_of(mixed, positions, Reference)
    assert energy(context) == pytest.approx(expected, abs=1e-4)
    assert energy(context, groups={7}) == pytest.approx(of_model, rel=1e-10)
    context = context_of(blended, positions, Reference)
    for value in LAMBDAS:
        context.setParameter("lambda_interpolate", value)
        assert energy(context) == pytest.approx(value * expected + (1 - value) * mm, abs=1e-4)
    assert context.getState(positions=True, enforcePeriodicBox=False) and blended.getNumConstraints() < (
        tested.system.getNumConstraints()
    )


def test_long_range_model(tmp_path: Path) -> None:
    """openmm-ml asks whether the model has the interactions of periodic images, and subtracts those of MM."""
    tested = alanine_dipeptide(explicit=True)
    for force in tested.system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.setCutoffDistance(CUTOFF)
    positions = np.array(tested.positions.value_in_unit(unit.nanometer))
    found = {}
    for name, spec in (("yes", {"long_range": True}), ("no", {"long_range": False}), ("unknown", {"long_range": None})):
        model = potential(save_springs(tmp_path / f"{name}.pt", tested, **spec))
        assert model._impl.getMLLongRange() is spec["long_range"]
        arguments = (tested.topology, tested.system, range(REGION))
        if name == "unknown":
            with pytest.raises(ValueError, match="unknown if the ML model uses long-range interactions"):
                model.createMixedSystem(*arguments)
        options = {"mlLongRange": True} if name == "unknown" else {}
        mixed = model.createMixedSystem(*arguments, **options)
        found[name] = energy(context_of(mixed, positions, Reference))
    mm = energy(context_of(tested.system, positions, Reference))
    of_model = springs_energy(0.98 * region_positions(tested), region_positions(tested))
    assert found["no"] == pytest.approx(mm - mm_energy_of_region(tested, False) + of_model, abs=1e-4)
    assert found["yes"] == pytest.approx(mm - mm_energy_of_region(tested, True) + of_model, abs=1e-4)
    assert found["unknown"] == found["yes"] and abs(found["yes"] - found["no"]) > 1e-2


def test_model_without_a_spec_has_an_unknown_range(harmonic: Path) -> None:
    assert potential(harmonic)._impl.getMLLongRange() is None


@pytest.mark.parametrize("interpolate", [False, True])
def test_equal_to_openmm_mls_potential_for_ase(tmp_path: Path, interpolate: bool) -> None:
    """The same file through Python: our calculator in the PythonForce of MLPotential("ase"). ASE's eV is 8e-9 off."""
    from openmmnnp.ase import NNPCalculator

    tested = alanine_dipeptide(explicit=False)
    path = save_springs(tmp_path / "springs.pt", tested)
    arguments = (tested.topology, tested.system, range(REGION))
    ours = potential(path).createMixedSystem(*arguments, interpolate=interpolate)
    peer = openmmml.MLPotential("ase")
    theirs = peer.createMixedSystem(*arguments, interpolate=interpolate, calculator=NNPCalculator(path))
    results = [energy_and_forces(context_of(system, tested.positions, Reference)) for system in (ours, theirs)]
    assert results[0][0] == pytest.approx(results[1][0], abs=1e-5)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-6, atol=1e-4)


def test_link_atoms_of_openmm_ml(save_scripted: Callable[..., Path]) -> None:
    """The region ends at a bond; openmm-ml's virtual site is a particle of the force, and forces reach both parents."""
    tested = alanine_dipeptide(explicit=False)
    acetyl = [atom.index for atom in tested.topology.atoms() if atom.residue.name == "ACE"]
    path = save_scripted("return 100 * (positions[:, 0] * positions[:, 1] ** 2).sum()", inputs=["positions"])
    info = potential(path).createMixedSystem(tested.topology, tested.system, acetyl, returnInfo=True)
    system, n = info["system"], tested.system.getNumParticles()
    (force,) = [NNPForce.cast(f) for f in system.getForces() if NNPForce.isinstance(f)]
    assert force.getParticles() == [*acetyl, n] and force.getAtomicNumbers()[-1] == 1
    assert system.getNumParticles() == n + 1 and system.isVirtualSite(n)
    positions = np.vstack([tested.positions.value_in_unit(unit.nanometer), np.zeros(3)])
    for k in reversed(range(system.getNumConstraints())):
        system.removeConstraint(k)
    context = context_of(system, positions, Reference)
    context.computeVirtualSites()
    site = system.getVirtualSite(n)
    parents = [site.getParticle(0), site.getParticle(1)]
    forces = energy_and_forces(context)[1]
    expected = central_differences(context, 1e-5, parents)[parents]
    np.testing.assert_allclose(forces[parents], expected, rtol=1e-6, atol=1e-4)


# Errors


def test_wrong_arguments(harmonic: Path) -> None:
    potential(harmonic)
    for arguments, given in (({}, "name"), ({"modelPath": harmonic, "path": "x"}, "name, modelPath, path")):
        with pytest.raises(
            TypeError, match=rf"^MLPotential\('nnp'\) takes the model file .* but was given {given}; cha"
        ):
            openmmml.MLPotential("nnp", **arguments)
    with pytest.raises(openmm.OpenMMException, match="nowhere.pt"):
        openmmml.MLPotential("nnp", modelPath="nowhere.pt")


def test_atoms_without_an_element(harmonic: Path) -> None:
    topology = copy.deepcopy(alanine_dipeptide(explicit=False).topology)
    next(atom for atom in topology.atoms() if atom.index == 3).element = None
    with pytest.raises(ValueError, match="the topology gives no element for atom 3, and a potential describes real"):
        potential(harmonic).createSystem(topology)
