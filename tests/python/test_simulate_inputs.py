"""What `openmm-nnp simulate` is given: options, files, selections, and what it says of wrong ones."""

from __future__ import annotations

import copy
import sys
import types
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit
from rdkit import Chem

from openmmnnp.cli import main
from openmmnnp.embedding import mechanical_embedding
from openmmnnp.region import region_system, shortest_period
from openmmnnp.simulate import extras
from openmmnnp.simulate import quantities as q
from openmmnnp.simulate.build import build
from openmmnnp.simulate.ligand import read_ligand
from openmmnnp.simulate.options import Options, read_values
from openmmnnp.simulate.prepare import choose_platform
from openmmnnp.simulate.run import simulate
from openmmnnp.simulate.select import select, solutes
from openmmnnp.simulate.watch import Watch
from simulations import TYK2, write_job
from systems import alanine_dipeptide, host_guest, residue, water


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Options:
    return write_job(tmp_path_factory.mktemp("job"))


# Quantities and options


@pytest.mark.parametrize(
    "dimension, text, value",
    [
        (q.TIME, "1ns", 1000.0),
        (q.TIME, " 2.5 fs ", 0.0025),
        (q.TIME, "1e-3us", 1000.0),
        (q.TEMPERATURE, "300K", 300.0),
        (q.PRESSURE, "1atm", 1.01325),
        (q.PRESSURE, "-1 bar", -1.0),
        (q.CONCENTRATION, "150mM", 0.15),
        (q.LENGTH, "9A", 0.9),
        (q.MASS, "1.5Da", 1.5),
        (q.RATE, "0.5/ps", 0.5),
        (q.STIFFNESS, "1 kcal/mol/A^2", 418.4),
    ],
)
def test_quantities(dimension: q.Dimension, text: str, value: float) -> None:
    assert dimension.parse(text) == pytest.approx(value, rel=1e-15)
    assert dimension.parse(dimension.format(value)) == value


@pytest.mark.parametrize(
    "text, message",
    [
        ("300", r"'300' has no unit: write a temperature as 300K \(units: K\)"),
        ("warm", "'warm' is no temperature: write a temperature as 300K"),
        ("300C", "'300C' has the unit 'C', which is none of a temperature: write a temperature as 300K"),
        ("-1K", "'-1K' is negative: write a temperature as 300K"),
    ],
)
def test_quantities_that_can_not_be_read(text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=f"^temperature: {message}"):
        read_values({"temperature": text})
    assert main(["simulate", f"--temperature={text}"]) == 1
    assert message.split(":")[0].replace("\\", "") in capsys.readouterr().err


def test_options_survive_yaml(job: Options) -> None:
    changed = replace(job, pressure=None, seed=3, hydrogen_mass=1.5, forcefield=("a.xml", "b.xml"), ml="resname LIG")
    for options in (Options(), job, changed):
        assert Options.from_mapping(options.to_mapping()) == options


@pytest.mark.parametrize(
    "values, message",
    [
        ({"tempratur": "300K"}, "there is no option 'tempratur': `openmm-nnp simulate --help-all` lists all"),
        ({"seed": "1.5"}, "seed: '1.5' is no whole number"),
        ({"mm_only": "yes"}, "mm_only: 'yes' is neither true nor false"),
        ({"seed": None}, "seed: None is no single value"),
        ({"ligand": ["a", "b"]}, r"ligand: \['a', 'b'\] is no single value"),
        ({1: 2}, "there is no option 1"),
        ({"ph": "sour"}, "ph: 'sour' is no number"),
        ({"timestep": "0fs"}, "timestep: '0fs' is out of range: it must be above 0 and finite"),
        ({"time": "0ps"}, "time: '0ps' is out of range"),
        ({"temperature": "0K"}, "temperature: '0K' is out of range"),
        ({"log_interval": "0ps"}, "log_interval: '0ps' is out of range"),
        ({"minimize_steps": -1}, "minimize_steps: '-1' is too small: 0 is the least"),
        ({"threads": 0}, "threads: '0' is too small: 1 is the least"),
        ({"box_shape": "sphere"}, "box_shape: 'sphere' is none of dodecahedron, octahedron, cube"),
    ],
)
def test_options_that_can_not_be_read(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        Options.from_mapping(values)


def test_help_is_short_or_complete(capsys: pytest.CaptureFixture[str]) -> None:
    texts = {}
    for word in ("--help", "--help-all"):
        with pytest.raises(SystemExit) as status:
            main(["simulate", word])
        assert status.value.code == 0
        texts[word] = capsys.readouterr().out
    for option in fields(Options):
        name = f"--{option.name.replace('_', '-')}"
        assert name in texts["--help-all"]
        assert (f"  {name}" in texts["--help"]) == option.metadata["short"], name
    assert len(texts["--help"].splitlines()) < 70


def test_configuration_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, message in (
        ("[1, 2]", "must hold options by name, like 'time: 1ns'"),
        ("time: [", "can't be read"),
        ("time: 5", "time: '5' has no unit"),
    ):
        (tmp_path / "config.yaml").write_text(text)
        assert main(["simulate", "--config", str(tmp_path / "config.yaml")]) == 1
        assert message in capsys.readouterr().err


def test_resume_takes_all_from_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--resume", str(tmp_path), "--dry-run"]) == 1
    assert "--dry-run does not go with --resume, which takes all from the run" in capsys.readouterr().err


# What is simulated

WET = dict(solvent=True, protein=None, padding=0.6)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(protein=None, ligand=None, ligand_ff=None), "nothing to simulate: give --protein and --ligand, or --top"),
        (dict(topology=Path("a.pdb")), "--protein and --topology were given: give --protein and --ligand, or --topol"),
        (dict(ligand=None, ligand_ff=None), "a protein alone was given: add --ligand, or use --topology, --system and"),
        (dict(ligand_ff=None), "the ligand .*lig.pdb needs a force field for its interactions with the rest: give"),
        (dict(ligand_ff="amber"), "--ligand-ff amber is neither an XML file nor a version of gaff or openff"),
        (dict(protein=Path("no.pdb")), "there is no file .*no.pdb"),
        (dict(protein=TYK2 / "train.py"), "train.py ends with '.py': known here are .pdb, .cif"),
        (dict(forcefield=("amber99.xml", "nonsense.xml")), "the force field amber99.xml, nonsense.xml, .* can't be re"),
        (dict(model=None), "--model is needed: name a potential .* or run the control with --mm-only"),
        (dict(model=Path("no.pt")), "there is no file no.pt"),
        (dict(platform="Abacus"), "--platform Abacus is none of Reference, CPU.*, on which NNPForce runs here"),
        (dict(ph=5.0), "--ph has no effect without --add-hydrogens: leave it out, or give both"),
        (dict(log_interval=1e-4), "--log-interval 0.1 fs is less than a time step of 1 fs"),
        (dict(hydrogen_mass=20.0), "--hydrogen-mass 20.0 Da leaves atoms without mass: 4 Da is the most that carbons"),
        (dict(forcefield=("amber14-all.xml", "amber14/tip3pfb.xml"), water="tip5p", **WET), "OpenMM can't build the S"),
        (dict(out=None), "--out is needed: name a new folder for the run"),
        (dict(ml="resname ("), r"the selection 'resname \(' can't be read: write it like 'resname LIG' or 'index"),
        (dict(ml="resname XYZ"), "the selection 'resname XYZ' names no atoms; the residues are called ACE, ALA, LIG"),
    ],
)
def test_inputs_that_do_not_fit(job: Options, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulate(replace(job, **{"out": tmp_path / "run", **changes}))


SETUP = dict(protein=None, ligand=None, ligand_ff=None, solvent=True)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(topology="complex.pdb"), "--topology was given alone: --topology and --system are needed together"),
        (dict(topology="complex.pdb", system="system.xml"), "--ml is needed with --topology: say which atoms the mo"),
        (dict(topology="complex.pdb", system="system.xml", ml="all", padding=2.0), "--padding has no effect on .*xml"),
        (dict(topology="complex.pdb", system="system.xml", ml="all", cutoff=1.2), "--cutoff has no effect on .*xml"),
        (dict(topology="x.prmtop", system="x.prmtop", ml="all"), "x.prmtop holds no positions: give --positions an"),
        (dict(topology="other.pdb", system="system.xml", ml="all"), "other.pdb has 22 atoms, .*system.xml 156 and the"),
        (dict(topology="complex.pdb", system="complex.pdb", ml="all"), "complex.pdb is no System: --system takes Ope"),
        (dict(topology="complex.pdb", system="bad.xml", ml="all"), "bad.xml can't be read"),
        (dict(topology="x.prmtop", positions="complex.pdb", system="x.prmtop", ml="all"), "x.prmtop can't be read"),
        (dict(topology="complex.pdb", system="membrane.xml", ml="all"), "a MonteCarloMembraneBarostat, and only the i"),
        (dict(topology="torn.pdb", system="system.xml", ml="resname B2"), "bonds of the model's molecules are far too"),
        (dict(topology="complex.pdb", system="force.xml", ml="all"), "force.xml holds no System, but a CMMotionRemov"),
    ],
)
def test_setups_that_do_not_fit(job: Options, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    for name, tested in (("complex", host_guest("complex-vacuum")), ("other", alanine_dipeptide(explicit=False))):
        with open(tmp_path / f"{name}.pdb", "w") as file:
            app.PDBFile.writeFile(tested.topology, tested.positions, file)
    system = host_guest("complex-vacuum").system
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    (tmp_path / "force.xml").write_text(openmm.XmlSerializer.serialize(openmm.CMMotionRemover()))
    (tmp_path / "x.prmtop").touch()
    (tmp_path / "bad.xml").write_bytes(b"\xff\xfe")
    system.addForce(openmm.MonteCarloMembraneBarostat(1.0, 0.0, 300.0, 0, 0))
    (tmp_path / "membrane.xml").write_text(openmm.XmlSerializer.serialize(system))
    complex_ = host_guest("complex-vacuum")
    positions = np.array(complex_.positions.value_in_unit(unit.nanometer))
    positions[residue(complex_.topology, "B2")[3]] += 2.0
    with open(tmp_path / "torn.pdb", "w") as file:
        app.PDBFile.writeFile(complex_.topology, positions * unit.nanometer, file)
    named = {k: tmp_path / v if k in ("topology", "system", "positions") else v for k, v in changes.items()}
    with pytest.raises(ValueError, match=message):
        simulate(replace(job, **{**SETUP, "out": tmp_path / "run", **named}))


def test_missing_hydrogens_are_named_or_added(job: Options, tmp_path: Path) -> None:
    assert job.protein
    pdb = app.PDBFile(str(job.protein))
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.delete([a for a in pdb.topology.atoms() if a.element.symbol == "H"])
    with open(tmp_path / "bare.pdb", "w") as file:
        app.PDBFile.writeFile(modeller.topology, modeller.positions, file)
    bare = replace(job, protein=tmp_path / "bare.pdb")
    with pytest.raises(
        ValueError, match=r"no template for 3 residues \(ACE 1 of chain A, .*: hydrogens may be missing"
    ):
        build(bare, lambda text: None)
    assert build(replace(bare, add_hydrogens=True), lambda text: None).topology.getNumAtoms() == 54


def test_barostat_and_thermostat_of_the_input_are_replaced(
    job: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tested = water()
    with open(tmp_path / "water.pdb", "w") as file:
        app.PDBFile.writeFile(tested.topology, tested.positions, file)
    tested.system.addForce(openmm.MonteCarloBarostat(2.0, 300.0))
    tested.system.addForce(openmm.AndersenThermostat(300.0, 1.0))
    (tmp_path / "water.xml").write_text(openmm.XmlSerializer.serialize(tested.system))
    options = replace(job, **SETUP, topology=tmp_path / "water.pdb", system=tmp_path / "water.xml", ml="resid 0")
    built = build(options, lambda text: None)
    kinds = {type(force).__name__ for force in built.system.getForces()}
    assert not kinds & {"MonteCarloBarostat", "AndersenThermostat"}
    assert built.atoms == (0, 1, 2)
    assert simulate(replace(options, mm_only=True, out=tmp_path / "run"), dry_run=True) == 0
    assert "System that was given: MonteCarloBarostat, AndersenThermostat\n" in capsys.readouterr().out


def wrapped_water(folder: Path, bonds: bool = True, box: bool = True) -> dict[str, Any]:
    """900 waters; the atoms of the first are in different images. A System with HarmonicBonds for that molecule."""
    tested = water()
    positions = np.array(tested.positions.value_in_unit(unit.nanometer))
    vectors = tested.topology.getPeriodicBoxVectors()
    positions[1] += [vectors[0][0]._value, 0, 0]
    positions[2] -= [0, 2 * vectors[1][1]._value, 0]
    topology = tested.topology if box else copy.deepcopy(tested.topology)
    if not box:
        topology.setPeriodicBoxVectors(None)
    with open(folder / "water.pdb", "w") as file:
        app.PDBFile.writeFile(topology, positions * unit.nanometer, file)
    (folder / "water.xml").write_text(openmm.XmlSerializer.serialize(tested.system))
    return {**SETUP, "topology": folder / "water.pdb", "system": folder / "water.xml", "ml": "resid 0"}


@pytest.mark.parametrize("box", [True, False])
def test_molecules_that_the_box_cut_are_joined(job: Options, tmp_path: Path, box: bool) -> None:
    """With the box of the PDB file, or of the System alone."""
    built = build(replace(job, **wrapped_water(tmp_path, box=box)), lambda text: None)
    x = np.array(built.positions.value_in_unit(unit.nanometer))[:3]
    assert np.linalg.norm(x[1:] - x[0], axis=1) == pytest.approx(0.09572, abs=1e-3)
    assert built.topology.getPeriodicBoxVectors() is not None


def test_bonds_come_from_the_force_field_too(job: Options, tmp_path: Path) -> None:
    """A PDB file without CONECT records tells none of the guest."""
    tested = host_guest("complex-vacuum")
    with open(tmp_path / "complex.pdb", "w") as file:
        app.PDBFile.writeFile(tested.topology, tested.positions, file)
    lines = (tmp_path / "complex.pdb").read_text().splitlines()
    (tmp_path / "complex.pdb").write_text("\n".join(line for line in lines if not line.startswith("CONECT")))
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(tested.system))
    files = dict(topology=tmp_path / "complex.pdb", system=tmp_path / "system.xml", ml="resname B2")
    built = build(replace(job, **SETUP, **files), lambda text: None)
    guest = set(residue(tested.topology, "B2"))

    def bonds(topology: app.Topology) -> set[frozenset[int]]:
        return {frozenset((a.index, b.index)) for a, b in topology.bonds() if a.index in guest}

    assert bonds(app.PDBFile(str(tmp_path / "complex.pdb")).topology) == set()
    assert bonds(built.topology) == bonds(tested.topology)


@pytest.mark.parametrize("shape", ["dodecahedron", "octahedron", "cube"])
def test_the_cutoff_fits_into_the_box_of_a_small_solute(job: Options, shape: str) -> None:
    built = build(replace(job, **WET, box_shape=shape, cutoff=0.8), lambda text: None)
    box = built.system.getDefaultPeriodicBoxVectors()
    assert 1.6 < min(box[i][i]._value for i in range(3)) < 1.9


def test_the_cell_of_a_crystal_is_no_box(job: Options, tmp_path: Path) -> None:
    assert job.protein
    (tmp_path / "crystal.pdb").write_text(
        "CRYST1   60.000   60.000   60.000  90.00  90.00  90.00 P 1           1\n" + job.protein.read_text()
    )
    built = build(replace(job, protein=tmp_path / "crystal.pdb"), lambda text: None)
    assert not built.system.usesPeriodicBoundaryConditions()


# Ligands


def sdf(path: Path, smiles: str, hydrogens: bool = True) -> Path:
    from rdkit.Chem import AllChem

    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(molecule, randomSeed=1)
    writer = Chem.SDWriter(str(path))
    writer.write(molecule if hydrogens else Chem.RemoveHs(molecule))
    writer.close()
    return path


def test_ligands_are_read_from_sdf(tmp_path: Path) -> None:
    topology, positions = read_ligand(sdf(tmp_path / "ethanol.sdf", "CCO"))
    assert [a.element.symbol for a in topology.atoms()] == [*"CCO", *"HHHHHH"]
    assert topology.getNumBonds() == 8
    lengths = [
        np.linalg.norm(
            positions[a.index].value_in_unit(unit.nanometer) - positions[b.index].value_in_unit(unit.nanometer)
        )
        for a, b in topology.bonds()
    ]
    assert 0.09 < min(lengths) and max(lengths) < 0.16


def test_ligands_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bare.sdf lacks 6 hydrogens: add them in the right protonation state and"):
        read_ligand(sdf(tmp_path / "bare.sdf", "CCO", hydrogens=False))
    two = sdf(tmp_path / "one.sdf", "CCO").read_text() + sdf(tmp_path / "other.sdf", "CO").read_text()
    (tmp_path / "two.sdf").write_text(two)
    with pytest.raises(ValueError, match="two.sdf holds 2 molecules: give a file with the one to simulate"):
        read_ligand(tmp_path / "two.sdf")
    (tmp_path / "empty.sdf").touch()
    with pytest.raises(ValueError, match="empty.sdf holds no molecule with coordinates in three dimensions that"):
        read_ligand(tmp_path / "empty.sdf")
    lines = (TYK2 / "lig.pdb").read_text().splitlines()
    (tmp_path / "bonds.pdb").write_text("\n".join(line for line in lines if not line.startswith("CONECT")))
    with pytest.raises(ValueError, match="bonds.pdb has no bonds: it needs CONECT records, or give the ligand as SDF"):
        read_ligand(tmp_path / "bonds.pdb")
    (tmp_path / "broken.pdb").write_text("ATOM  nonsense")
    with pytest.raises(ValueError, match="broken.pdb can't be read: "):
        read_ligand(tmp_path / "broken.pdb")


@pytest.mark.parametrize("name", ["gaff-2.2.20", "openff-2.2.1"])
def test_force_fields_that_need_a_package_say_so(job: Options, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openff.toolkit", None)
    with pytest.raises(
        ImportError, match=f"--ligand-ff {name} needs openmmforcefields and OpenFF's toolkit, which are"
    ):
        build(replace(job, ligand_ff=name), lambda text: None)


@pytest.mark.parametrize("name, kind", [("gaff-2.2.20", "GAFF"), ("openff-2.2.1", "SMIRNOFF")])
def test_force_fields_of_openmmforcefields_are_used(
    job: Options, name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generator in the manner of openmmforcefields that loads the template of our own file."""
    asked = []

    def make(kind: str) -> Callable[..., Any]:
        def generator(molecules: Any, forcefield: str) -> Any:
            asked.append((kind, molecules, forcefield))

            def generate(target: app.ForceField, residue: Any) -> bool:
                target.loadFile(str(TYK2 / "lig_gaff.xml"))
                return residue.name == "LIG"

            return types.SimpleNamespace(generator=generate)

        return generator

    toolkit, package = types.ModuleType("openff.toolkit"), types.ModuleType("openmmforcefields")
    toolkit.Molecule = types.SimpleNamespace(from_file=lambda path: path)  # type: ignore[attr-defined]
    package.generators = types.SimpleNamespace(  # type: ignore[attr-defined]
        GAFFTemplateGenerator=make("GAFF"), SMIRNOFFTemplateGenerator=make("SMIRNOFF")
    )
    monkeypatch.setitem(sys.modules, "openff", types.ModuleType("openff"))
    monkeypatch.setitem(sys.modules, "openff.toolkit", toolkit)
    monkeypatch.setitem(sys.modules, "openmmforcefields", package)
    assert build(replace(job, ligand_ff=name), lambda text: None).system.getNumParticles() == 54
    assert asked == [(kind, str(job.ligand), name)]


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(extras, "_NEEDED", ("numpy", "not_there", "neither"))
    for words in (["simulate"], ["report", "x"], ["demo"]):
        assert main(words) == 1
        text = capsys.readouterr().err
        assert "(not_there, neither): run pip install 'openmm-nnp[simulate]'" in text


# Selections and regions


def test_solutes_are_neither_water_nor_ions() -> None:
    tested = host_guest("complex-explicit")
    expected = [a.index for a in tested.topology.atoms() if a.residue.name not in ("HOH", "WAT", "CL", "Cl-")]
    assert len(expected) == 156
    assert list(solutes(tested.topology)) == expected
    assert select(tested.topology, "resname B2") == tuple(residue(tested.topology, "B2"))
    assert select(tested.topology, "index 3 to 5") == (3, 4, 5)


class Nothing(openmm.CustomExternalForce):
    """A force without energy, in place of a model."""

    def __init__(self) -> None:
        super().__init__("0")

    def setParticles(self, indices: Any, atomicNumbers: Any) -> None: ...

    def addBond(self, particle1: int, particle2: int) -> None: ...


def energy(system: openmm.System, positions: np.ndarray) -> float:
    platform = openmm.Platform.getPlatform("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions)
    return float(context.getState(energy=True).getPotentialEnergy()._value)


@pytest.mark.parametrize("custom", [False, True])
def test_the_region_alone_is_what_the_embedding_takes_away(custom: bool) -> None:
    """E(full) - E(embedded) = E(region), in vacuum, on a distorted geometry."""
    tested = host_guest("complex-vacuum")
    system, guest = tested.system, residue(tested.topology, "B2")[::-1]  # another order
    for k in reversed(range(system.getNumConstraints())):
        system.removeConstraint(k)
    if custom:
        add_custom_forces(system, guest)
    positions = np.array(tested.positions.value_in_unit(unit.nanometer))
    positions += 0.005 * np.random.default_rng(1).standard_normal(positions.shape)
    embedded = mechanical_embedding(tested.topology, system, guest, Nothing())
    region = region_system(system, guest)
    assert region.getNumParticles() == 30
    difference = energy(system, positions) - energy(embedded.system, positions)
    assert energy(region, positions[guest]) == pytest.approx(difference, rel=1e-9, abs=1e-7)


def add_custom_forces(system: openmm.System, guest: list[int]) -> None:
    pairs = openmm.CustomNonbondedForce("a1*a2*exp(-r)")
    pairs.addPerParticleParameter("a")
    for i in range(system.getNumParticles()):
        pairs.addParticle([0.1 * (i % 7)])
    nonbonded = next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    for k in range(nonbonded.getNumExceptions()):
        pairs.addExclusion(*nonbonded.getExceptionParameters(k)[:2])
    pairs.addInteractionGroup(range(system.getNumParticles()), guest[:20])
    system.addForce(pairs)
    bonds = openmm.CustomCompoundBondForce(3, "angle(p1,p2,p3)*c")
    bonds.addPerBondParameter("c")
    bonds.addBond([guest[0], guest[3], guest[7]], [2.0])
    bonds.addBond([0, 1, 2], [3.0])
    system.addForce(bonds)
    maps = openmm.CMAPTorsionForce()
    maps.addMap(3, [1.0, 2.0, 0.5, 0.25, 3.0, 1.5, 0.75, 2.5, 1.0])
    maps.addTorsion(0, *guest[:8])
    maps.addTorsion(0, *range(8))
    system.addForce(maps)


def test_the_shortest_period() -> None:
    system = openmm.System()
    for mass in (12.0, 1.0, 16.0):
        system.addParticle(mass)
    bonds = openmm.HarmonicBondForce()
    bonds.addBond(0, 1, 0.1, 3e5)
    bonds.addBond(0, 2, 0.1, 5e5)
    system.addForce(bonds)
    assert shortest_period(system) == pytest.approx(2 * np.pi * np.sqrt(12 / 13 / 3e5))
    assert shortest_period(openmm.System()) == np.inf
    system.addConstraint(1, 2, 0.1)
    assert shortest_period(system) < 0.0105


# What is watched


def test_bonds_and_contacts_are_seen_through_the_box() -> None:
    """Water and a far atom in a slanted box; covalent radii: H 0.031, O 0.066 nm."""
    box = np.array([[3.0, 0, 0], [1.0, 3.0, 0], [-1.0, 1.2, 3.0]])
    molecule = np.array([[0, 0, 0], [0.096, 0, 0], [-0.024, 0.093, 0]])
    other = np.array([[0.2, 0.2, 0]])
    watch = Watch([1, 2, 3], [8, 1, 1], [(1, 2), (1, 3)], np.vstack([other, molecule]))

    def look(shifts: list[np.ndarray] | None = None, **moved: Any) -> Any:
        x = molecule.copy()
        for index, position in moved.items():
            x[int(index[1:])] = position
        return watch.look(np.vstack([other, x + (0 if shifts is None else shifts)]), None if shifts is None else box)

    nearest = np.linalg.norm(molecule - other, axis=1).min()
    for shifts in (None, [box[0], box[1] + box[2], -2 * box[2]]):
        seen = look(shifts)
        assert (seen.broken, seen.formed) == ((), ()) and seen.contact == pytest.approx(nearest)
    assert look(a1=[0.145, 0, 0]).broken == () and look(a1=[0.147, 0, 0]).broken == ((1, 2),)  # 1.5 times 0.097
    assert look(a2=[0.096, 0.075, 0]).formed == () and look(a2=[0.096, 0.074, 0]).formed == ((2, 3),)  # 1.2 times 0.062
    assert look(a1=[5.0, 0, 0]).changed == 1
    alone = Watch([0, 1, 2], [8, 1, 1], [(0, 1), (0, 2)], molecule)
    assert alone.look(molecule, None).contact == np.inf
    assert alone.look(np.vstack([molecule, [[0.9, 0, 0]]]), None).contact == np.inf  # beyond 0.5 nm


def test_the_fastest_platform_is_chosen_with_its_properties() -> None:
    platform, _ = choose_platform(Options())
    speeds = [openmm.Platform.getPlatform(i).getSpeed() for i in range(openmm.Platform.getNumPlatforms())]
    assert platform.getSpeed() == max(speeds)
    assert choose_platform(Options(platform="CPU", threads=3, deterministic=True))[1] == {
        "Threads": "3",
        "DeterministicForces": "true",
    }
    assert choose_platform(Options(platform="Reference", threads=3))[1] == {}
