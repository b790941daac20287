"""What `openmm-nnp correct` is given, and what it says of what does not fit."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import yaml
from openmm import app

from corrections import diatomic, words, write_diatomics
from openmmnnp.cli import main
from openmmnnp.correct import cluster
from openmmnnp.correct.options import CorrectOptions, check
from openmmnnp.correct.prepare import Job, check_linear, load, prepare
from openmmnnp.correct.store import LegFolder
from openmmnnp.correct.study import correct, read_ligands
from openmmnnp.correct.table import leg_result, results
from openmmnnp.simulate.options import Options
from simulations import TYK2

pytest.importorskip("pymbar", reason="needs pymbar: pip install 'openmm-nnp[correct]'")


@pytest.fixture
def setup(tmp_path: Path) -> dict[str, Any]:
    return write_diatomics(tmp_path)


def job_of(options: dict[str, Any], leg: str = "complex") -> Job:
    (ligand,) = read_ligands(options).items()
    return Job(ligand[0], leg, Path(options["out"]) / ligand[0] / leg, ligand[1])


def prepared(options: dict[str, Any], leg: str = "complex") -> LegFolder:
    job = job_of(options, leg)
    job.folder.mkdir(parents=True, exist_ok=True)
    folder = LegFolder(job.folder)
    prepare(job, folder)
    return folder


# Options


def test_help_shows_what_most_people_need(capsys: pytest.CaptureFixture[str]) -> None:
    for word, shown in (("--help", False), ("--help-all", True)):
        with pytest.raises(SystemExit, match="^0$"):
            main(["correct", word])
        text = " ".join(capsys.readouterr().out.split())
        assert "--snapshots" in text and "--cluster" in text and "3 if a number can't be trusted" in text
        assert ("--equilibrate" in text) == ("--box-shape" in text) == shown
    assert "[10 ps]" in text and "[0.2 ns]" in text


def test_shared_options_are_those_of_simulate() -> None:
    made = CorrectOptions(protein=Path("p.pdb"), ligand=Path("l.sdf"), cutoff=1.1, solvent_ml="index 3", ml="index 7")
    complex_, solvent = made.of_leg("complex"), made.of_leg("solvent")
    assert (complex_.protein, complex_.ligand, complex_.cutoff, complex_.ml) == (
        made.protein,
        made.ligand,
        1.1,
        "index 7",
    )
    assert (solvent.protein, solvent.ligand, solvent.ml) == (None, made.ligand, "index 3")
    assert CorrectOptions().of_leg("complex") == Options()


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"states": "5"}, "--states has no effect with --method bar: leave it out"),
        ({"method": "mbar", "switch": "5ps"}, "--switch has no effect with --method mbar: leave it out"),
        ({"sample_interval": "0.1fs"}, "--sample-interval 0.1 fs is less than a time step of 1 fs"),
        ({"model": None}, "--model is needed: name a potential"),
        ({"model": "no.pt"}, "there is no file .*no.pt"),
        ({"solvent_system": None}, "--solvent-system is needed beside --topology and --system"),
        ({"system": None, "topology": None, "ligands": {"A": {}}}, "--solvent-topology was given without --topology"),
        ({"padding": "1nm"}, "--padding has no effect on .*complex.xml: leave it out"),
        ({"temprature": "1K"}, "there is no option 'temprature': `openmm-nnp correct --help-all` lists all"),
        ({"out": None}, "--out is needed: name a folder for the legs and results"),
        ({"snapshots": "0"}, "snapshots: '0' is too small: 1 is the least"),
    ],
)
def test_options_that_do_not_fit(setup: dict[str, Any], changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        correct(setup | changes)


def test_a_ligand_without_a_protein(tmp_path: Path) -> None:
    options = CorrectOptions(ligand=Path("l.sdf"))
    with pytest.raises(ValueError, match="^a correction is complex minus solvent: give --protein beside --ligand"):
        check(options)


def test_ligands_by_their_files(tmp_path: Path) -> None:
    common = {"protein": "p.pdb", "ligand_ff": "f.xml", "seed": "3"}
    found = read_ligands(common | {"ligand": ["x/A.sdf", "B.sdf"], "model": ["a.pt", "b.pt"]})
    assert list(found) == ["A", "B"]
    assert [o.model.name for o in found.values() if o.model] == ["a.pt", "b.pt"]
    assert [o.ligand_ff for o in found.values()] == [str(Path("f.xml").absolute())] * 2
    assert found["A"].ligand == Path("x/A.sdf").absolute() and found["B"].seed == 3


def test_ligands_by_name() -> None:
    found = read_ligands({"protein": "p.pdb", "model": "m.pt", "ligands": {"A": {"ligand": "1.sdf"}, 7: {"seed": 5}}})
    assert list(found) == ["A", "7"] and found["7"].seed == 5 and found["A"].seed == 1


@pytest.mark.parametrize(
    "values, text",
    [
        ({}, "^nothing to correct: give --protein and --ligand, or --topology, --system, --solvent-topology and "),
        (
            {"ligand": ["x/A.sdf", "y/A.pdb"]},
            "^several ligands are called A: rename a file, or name them in a --config",
        ),
        (
            {"ligand": ["A.sdf", "B.sdf", "C.sdf"], "model": ["a.pt", "b.pt"]},
            "^--model has 2 values for 3 ligands: give one, or one for each$",
        ),
        ({"ligands": ["A"]}, "^`ligands` must hold the options of each ligand by its name, like"),
        ({"ligands": {"A": {}}, "ligand": "A.sdf"}, "^--ligand and `ligands` of the --config were both given"),
        ({"ligands": {"../A": {}}}, "^the ligand's name '../A' can't be the name of a folder$"),
    ],
)
def test_ligands_that_do_not_fit(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        read_ligands(values)


# What was begun


def test_a_changed_option_is_refused(setup: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    folder = prepared(setup)
    assert main(words(setup | {"temperature": "310K"})) == 1
    assert (
        capsys.readouterr().err == f"openmm-nnp correct: error: --temperature is 300 K in {folder.path} and 310 K now: "
        "a leg keeps it; take another --out\n"
    )


def test_a_changed_file_is_refused(setup: dict[str, Any]) -> None:
    folder = prepared(setup)
    path = Path(setup["solvent_system"])
    path.write_text(path.read_text() + "\n")
    text = f"^the file of --solvent-system is another one than when {folder.path} was begun: restore it, or take"
    with pytest.raises(ValueError, match=text):
        correct(setup)


def test_moved_files_are_no_change(setup: dict[str, Any], tmp_path: Path) -> None:
    prepared(setup)
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("model", "topology", "system"):
        setup[name] = shutil.copy(setup[name], moved)
    job = job_of(setup)
    folder = LegFolder(job.folder)
    record = folder.read_record()
    assert record is not None
    system = load(job, folder, record).system
    assert f'="{moved / "bond.pt"}"' in openmm.XmlSerializer.serialize(system)


def test_an_edited_folder(setup: dict[str, Any]) -> None:
    folder = prepared(setup)
    record = folder.read_record()
    assert record is not None
    (folder / "system.xml").write_text("<System/>")
    with pytest.raises(ValueError, match=r"^the leg in .* can't be read, was it edited\? \("):
        load(job_of(setup), folder, record)
    (folder / "system.xml").write_text(openmm.XmlSerializer.serialize(openmm.System()))
    with pytest.raises(ValueError, match=r"\(system.xml has 0 particles, start.npz 2\)$"):
        load(job_of(setup), folder, record)
    (folder / "leg.yaml").write_text("a: b")
    with pytest.raises(ValueError, match="is no folder of a leg, its leg.yaml can't be read: it has no options$"):
        folder.read_record()


def test_legs_that_are_not_done(setup: dict[str, Any]) -> None:
    folder = prepared(setup)
    (result,) = results(Path(setup["out"]))
    assert result.status == "unfinished" and result.correction is None
    assert result.remarks == [
        "complex, complex: not finished, 0 of 120 of its numbers are there",
        "complex, solvent: not finished, none of its numbers are there",
    ]
    folder.works("forward", 0.03).append(0, [1.0] + [0.0] * 20)
    assert "1 of 120" in leg_result(folder).remark


# Systems


def test_legs_with_other_molecules(setup: dict[str, Any]) -> None:
    prepared(setup)
    path = Path(setup["solvent_topology"])
    path.write_text(path.read_text().replace("C2 ", "N2 ").replace("  C  \n", "  N  \n", 2))
    pdb = app.PDBFile(str(path))
    for atom in pdb.topology.atoms():
        atom.element = app.element.nitrogen
    with open(path, "w") as file:
        app.PDBFile.writeFile(pdb.topology, pdb.positions, file)
    with pytest.raises(
        ValueError, match="^the model's atoms have the atomic numbers 7 7 here and 6 6 in .*/complex: both"
    ):
        prepared(setup, "solvent")
    assert not (Path(setup["out"]) / "complex" / "solvent" / "leg.yaml").exists()


def test_legs_with_other_mm_terms(setup: dict[str, Any]) -> None:
    prepared(setup)
    Path(setup["solvent_system"]).write_text(openmm.XmlSerializer.serialize(diatomic(0.0, (1e4, 0.16))))
    text = (
        r"^the MM energy of the model's atoms is .* with the terms of this leg and .*: both legs need the same MM force"
    )
    with pytest.raises(ValueError, match=text):
        prepared(setup, "solvent")


def test_a_constraint_without_a_bond(setup: dict[str, Any]) -> None:
    system = diatomic()
    system.removeForce(0)
    system.addConstraint(0, 1, 0.15)
    Path(setup["system"]).write_text(openmm.XmlSerializer.serialize(system))
    with pytest.raises(
        ValueError, match=r"^1 constraints of .* complex have no MM bond beside them \(C1-C2\), so that MM"
    ):
        prepared(setup)


def test_a_slope_that_is_not_the_difference() -> None:
    system, force = openmm.System(), openmm.CustomBondForce("lambda_interpolate^2*100*r")
    system.addParticle(1.0)
    system.addParticle(1.0)
    force.addGlobalParameter("lambda_interpolate", 1.0)
    force.addEnergyParameterDerivative("lambda_interpolate")
    force.addBond(0, 1, [])
    system.addForce(force)
    reference = openmm.Platform.getPlatform("Reference")
    text = r"^dE/dlambda is 0.00 kJ/mol at lambda = 0 and 200.00 at 1, but E\(1\) - E\(0\) is 100.00: is the energy"
    with pytest.raises(ValueError, match=text):
        check_linear(system, np.array([[1.0, 0, 0], [0, 0, 0]]), reference, {})


def test_bonds_of_constrained_hydrogens_are_kept(tmp_path: Path) -> None:
    """A force field leaves the terms of constrained bonds out, and the ligand is not constrained here."""
    from openmmnnp.simulate.build import build

    options = Options(ligand=TYK2 / "lig.pdb", ligand_ff=str(TYK2 / "lig_gaff.xml"), solvent=False)
    bonds = {}
    for flexible in (False, True):
        system = build(options, lambda text: None, flexible=flexible).system
        force = next(f for f in system.getForces() if isinstance(f, openmm.HarmonicBondForce))
        bonds[flexible] = force.getNumBonds()
        assert system.getNumConstraints() > 0
    assert bonds[True] == bonds[False] + system.getNumConstraints() == 33


# Clusters


def test_no_scheduler_answers(setup: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed", reason="needs Dask: pip install 'openmm-nnp[dask]'")

    def refuse(address: str, timeout: str) -> None:
        raise OSError("Timed out")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(
        OSError, match=r"^no Dask scheduler answers at --cluster tcp://nowhere:1 \(Timed out\): start one"
    ):
        correct(setup | {"cluster": "tcp://nowhere:1"})


def test_dask_is_not_installed(setup: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        ImportError, match=r"^legs side by side need Dask.*'openmm-nnp\[dask\]', or leave --workers and"
    ):
        correct(setup | {"workers": 2})


def test_a_process_that_dies_is_a_failure(setup: dict[str, Any]) -> None:
    pytest.importorskip("distributed", reason="needs Dask: pip install 'openmm-nnp[dask]'")
    from concurrent.futures import Future

    job = job_of(setup)

    class Client:
        def submit(self, *_: object, **__: object) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(RuntimeError("it was killed"))
            return future

    class Ended(list[Any]):
        add = list.append

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distributed.as_completed", Ended)
        (outcome,) = cluster._on_cluster(Client(), [job], 2)
    assert outcome == (job, "the process that ran it ended (RuntimeError: it was killed)", 3)
    assert leg_result(LegFolder(job.folder)).status == "failed"


def test_config_of_options(setup: dict[str, Any], tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(setup))
    assert main(["correct", "--config", str(config), "--states", "4"]) == 1
