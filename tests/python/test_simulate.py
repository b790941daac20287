"""`openmm-nnp simulate`: what a run does and writes."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import pytest
import torch
import yaml
from openmm import app, unit

from conftest import PLATFORMS
from openmmnnp import ModelSpec, NNPForce
from openmmnnp.cli import main
from openmmnnp.export import save_pt2
from openmmnnp.simulate import dynamics
from openmmnnp.simulate.options import Options
from openmmnnp.simulate.run import resume, simulate
from openmmnnp.spec import read_spec, write_spec
from simulations import TYK2, Springs, ligand, read_log, springs_energy, wet, write_job
from systems import host_guest, residue

KB = 0.00831446261815324  # kJ/mol/K


@pytest.fixture
def job(tmp_path: Path) -> Options:
    return write_job(tmp_path)


@pytest.fixture(scope="module", params=PLATFORMS)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Options:
    """A finished run in vacuum on each platform."""
    options = write_job(tmp_path_factory.mktemp("job"))
    options.platform, options.precision = request.param, "double"
    assert simulate(options) == 0
    return options


def positions_of(path: Path) -> np.ndarray:
    return np.array(app.PDBFile(str(path)).positions.value_in_unit(unit.nanometer))


def test_the_log_holds_energies_of_the_model_and_of_mm(finished: Options) -> None:
    assert finished.out
    rows = read_log(finished.out)
    assert Counter(row["phase"] for row in rows) == {"nvt": 2, "production": 10}  # no box: no NPT
    assert [row["step"] for row in rows] == [10, 20, *range(10, 101, 10)]
    state = openmm.XmlSerializer.deserialize((finished.out / "state.xml").read_text())
    last, positions = rows[-1], state.getPositions(asNumpy=True)._value
    assert last["model_kJ/mol"] == pytest.approx(springs_energy(ligand()[1], positions[22:]), rel=1e-6)
    assert last["potential_kJ/mol"] == pytest.approx(state.getPotentialEnergy()._value, rel=1e-6)
    for row in rows:
        parts = [value for name, value in row.items() if name.endswith("kJ/mol") and name.split("_")[0] in GROUPS]
        assert sum(value or 0.0 for value in parts) == pytest.approx(row["potential_kJ/mol"], rel=1e-5, abs=1e-3)
    # 54 particles, without the constraints of the dipeptide's 12 hydrogens and the center of mass
    assert last["temperature_K"] == pytest.approx(2 * last["kinetic_kJ/mol"] / (KB * (3 * 54 - 12 - 3)), rel=1e-9)
    near = np.linalg.norm(positions[:22, None] - positions[None, 22:], axis=-1).min()
    assert last["shortest_contact_nm"] == pytest.approx(near, rel=1e-4)
    assert last["changed_bonds"] == 0 and last["volume_nm3"] is None


GROUPS = ("bonds", "angles", "torsions", "nonbonded", "model", "restraints", "other")


def test_the_spread_of_the_model_is_logged(finished: Options) -> None:
    assert finished.out
    state = openmm.XmlSerializer.deserialize((finished.out / "state.xml").read_text())
    now, before = state.getPositions(asNumpy=True)._value[22:], ligand()[1]
    near = np.triu(np.linalg.norm(before[:, None] - before[None], axis=-1) < 0.35, k=1)
    mean = np.linalg.norm(now[:, None] - now[None], axis=-1)[near].mean()
    assert read_log(finished.out)[-1]["energy_std_kJ/mol"] == pytest.approx(mean, rel=1e-5)


def test_the_trajectory_is_that_of_production(finished: Options) -> None:
    assert finished.out
    trajectory = mdtraj.load(str(finished.out / "trajectory.xtc"), top=str(finished.out / "topology.pdb"))
    assert trajectory.n_frames == 5 and trajectory.n_atoms == 54
    np.testing.assert_allclose(trajectory.time, [0.02, 0.04, 0.06, 0.08, 0.1], rtol=1e-5)
    state = openmm.XmlSerializer.deserialize((finished.out / "state.xml").read_text())
    np.testing.assert_allclose(trajectory.xyz[-1], state.getPositions(asNumpy=True)._value, atol=6e-4)
    np.testing.assert_allclose(positions_of(finished.out / "final.pdb"), trajectory.xyz[-1], atol=1.1e-3)


def test_the_run_says_what_it_was(finished: Options) -> None:
    assert finished.out and finished.model
    record = yaml.safe_load((finished.out / "run.yaml").read_text())
    assert Options.from_mapping(record["options"]) == finished
    for role in ("protein", "ligand", "ligand_ff", "model"):
        path = Path(str(getattr(finished, role)))
        assert record["inputs"][role] == {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert record["model"]["name"] == "springs" and record["model"]["license"] == "MIT"
    assert openmm.version.version.startswith(record["versions"]["openmm"])
    assert record["region"]["atoms"] == list(range(22, 54)) and record["region"]["charge"] == 0
    bonds = [(a.index + 22, b.index + 22) for a, b in ligand()[0].bonds()]
    assert sorted(map(tuple, record["region"]["bonds"])) == sorted(bonds)
    assert ["NonbondedForce", "pairs", 32 * 31 // 2, None] in record["removed"]
    timing = json.loads((finished.out / "timing.json").read_text())
    assert timing["phase"] == "production" and timing["steps"] == 100
    assert timing["stages_ms"]["evaluate"] > 0 and timing["evaluations"] >= 100
    # 86,400 s of 1 fs steps
    assert timing["ns_per_day"] == pytest.approx(86400 * 1e-6 * timing["steps"] / timing["seconds"])


def test_the_systems_that_ran_are_there(finished: Options) -> None:
    """E_MM(region) from region.xml is what distinguishes the input System from the one with the model."""
    assert finished.out
    system = openmm.XmlSerializer.deserialize((finished.out / "system.xml").read_text())
    region = openmm.XmlSerializer.deserialize((finished.out / "region.xml").read_text())
    force = next(NNPForce.cast(f) for f in system.getForces() if NNPForce.isinstance(f))
    assert force.getModelPath() == str(finished.out / "model.pt")
    assert region.getNumParticles() == 32 and region.getNumConstraints() == 0
    pdb = app.PDBFile(str(TYK2 / "lig.pdb"))
    gaff = app.ForceField(str(TYK2 / "lig_gaff.xml")).createSystem(pdb.topology, nonbondedMethod=app.NoCutoff)
    energies = []
    for each in (region, gaff):
        context = openmm.Context(each, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
        context.setPositions(pdb.positions)
        energies.append(context.getState(energy=True).getPotentialEnergy()._value)
    assert energies[0] == pytest.approx(energies[1], rel=1e-12)


def test_the_topology_holds_the_bonds_of_the_ligand(finished: Options) -> None:
    assert finished.out
    topology = app.PDBFile(str(finished.out / "topology.pdb")).topology
    bonds = {tuple(sorted((a.index, b.index))) for a, b in topology.bonds()}
    assert {(a.index + 22, b.index + 22) for a, b in ligand()[0].bonds()} <= bonds


@pytest.mark.parametrize("name", [name for name in PLATFORMS if name != "Reference"])
def test_water_salt_and_a_barostat(job: Options, capsys: pytest.CaptureFixture[str], name: str) -> None:
    options = replace(wet(job), platform=name, save="solute", ionic_strength=0.15, temperature=310.0)
    assert simulate(options) == 0 and options.out
    rows = read_log(options.out)
    assert Counter(row["phase"] for row in rows) == {"nvt": 2, "npt": 2, "production": 10}
    volumes = {phase: {row["volume_nm3"] for row in rows if row["phase"] == phase} for phase in ("nvt", "npt")}
    assert len(volumes["nvt"]) == 1
    system = openmm.XmlSerializer.deserialize((options.out / "system.xml").read_text())
    mass = sum(system.getParticleMass(i)._value for i in range(system.getNumParticles()))
    assert rows[-1]["density_g/mL"] == pytest.approx(mass * 1.66053906892e-3 / rows[-1]["volume_nm3"], rel=1e-9)
    saved = mdtraj.load(str(options.out / "trajectory.xtc"), top=str(options.out / "trajectory.pdb"))
    assert saved.n_atoms == 32 and {r.name for r in saved.topology.residues} == {"LIG"}
    names = {r.name for r in app.PDBFile(str(options.out / "topology.pdb")).topology.residues()}
    assert names == {"LIG", "HOH"}  # 0.15 M is less than one pair of ions here
    text = capsys.readouterr().out
    for part in (
        "NVT, restrained",
        "production (NPT)",
        "SHA-256",
        "MM charges remain",
        "ns/day",
        "minimizing (MM)",
    ):
        assert part in text


def test_the_control_run_is_mm(job: Options) -> None:
    assert simulate(replace(job, mm_only=True, model=None)) == 0 and job.out
    rows = read_log(job.out)
    assert "model_kJ/mol" not in rows[0]
    system = openmm.XmlSerializer.deserialize((job.out / "system.xml").read_text())
    assert not any(NNPForce.isinstance(force) for force in system.getForces())
    assert system.getNumConstraints() == 12 + 11  # all bonds to hydrogen


def test_equal_seeds_give_equal_runs(job: Options, tmp_path: Path) -> None:
    seeds = {"a": 1, "b": 1, "c": 2}
    finals = {}
    for name, seed in seeds.items():
        assert simulate(replace(job, out=tmp_path / name, seed=seed)) == 0
        finals[name] = (tmp_path / name / "trajectory.xtc").read_bytes()
    assert finals["a"] == finals["b"] != finals["c"]


def test_dcd(job: Options) -> None:
    assert simulate(replace(job, trajectory_format="dcd")) == 0 and job.out
    trajectory = mdtraj.load(str(job.out / "trajectory.dcd"), top=str(job.out / "topology.pdb"))
    assert trajectory.n_frames == 5
    state = openmm.XmlSerializer.deserialize((job.out / "state.xml").read_text())
    np.testing.assert_allclose(trajectory.xyz[-1], state.getPositions(asNumpy=True)._value, atol=1e-5)


def test_restraints_hold_the_solutes_at_first(job: Options) -> None:
    """With a thousandfold force constant nothing moves; the log has the energy of the springs."""
    assert simulate(replace(job, restraint=1e6, nvt=0.1, time=0.01)) == 0 and job.out
    rows = [row for row in read_log(job.out) if row["phase"] == "nvt"]
    assert all(row["restraints_kJ/mol"] > 0 for row in rows)
    minimized = np.load(job.out / "minimized.npy")
    elements = [a.element.symbol for a in app.PDBFile(str(job.out / "topology.pdb")).topology.atoms()]
    heavy = [i for i, symbol in enumerate(elements) if symbol != "H"]
    moved = positions_of(job.out / "final.pdb")[heavy] - minimized[heavy]
    assert np.abs(moved).max() < 0.02


def test_a_dry_run_writes_nothing(job: Options, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(job, dry_run=True) == 0
    text = capsys.readouterr().out
    assert job.out and not job.out.exists()
    assert "54 particles" in text and "springs" in text and "A dry run" in text
    assert "friction 1/ps (10/ps while restrained)" in text and "removed from" not in text


@pytest.mark.parametrize("timestep, warned", [(0.0005, False), (0.002, True)])
def test_a_long_time_step_is_warned_of(
    job: Options, capsys: pytest.CaptureFixture[str], timestep: float, warned: bool
) -> None:
    """The period of the fastest bond from GAFF's parameters: N-H, 2 pi sqrt(mu/k)."""
    simulate(replace(job, timestep=timestep), dry_run=True)
    pdb = app.PDBFile(str(TYK2 / "lig.pdb"))
    system = app.ForceField(str(TYK2 / "lig_gaff.xml")).createSystem(pdb.topology)
    bonds = next(f for f in system.getForces() if isinstance(f, openmm.HarmonicBondForce))
    periods = []
    for k in range(bonds.getNumBonds()):
        i, j, _, stiffness = bonds.getBondParameters(k)
        mass = [system.getParticleMass(p)._value for p in (i, j)]
        periods.append(2 * np.pi * np.sqrt(mass[0] * mass[1] / sum(mass) / stiffness._value))
    text = capsys.readouterr().out
    assert (f"period of the model's fastest bond ({1e3 * min(periods):.1f} fs)" in text) == warned


def test_heavy_hydrogens_allow_longer_steps(job: Options, capsys: pytest.CaptureFixture[str]) -> None:
    simulate(replace(job, timestep=0.0015, hydrogen_mass=4.0, threads=None), dry_run=True)
    assert "Warning" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "platform, ignored",
    [("Reference", ["precision", "device", "threads"]), ("CPU", ["precision", "device"]), ("OpenCL", ["threads"])],
)
def test_options_without_effect_are_warned_of(
    job: Options, capsys: pytest.CaptureFixture[str], platform: str, ignored: list[str]
) -> None:
    if platform not in PLATFORMS:
        pytest.skip(f"no {platform} here")
    simulate(replace(job, platform=platform, precision="double", device="0", threads=1), dry_run=True)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Warning: --")]
    assert lines == [f"Warning: --{option} has no effect on the platform {platform}" for option in ignored]


def test_a_resumed_run_warns_too(job: Options, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(replace(job, threads=None)) == 0 and job.out
    assert "has no effect" not in capsys.readouterr().out
    assert resume(job.out, {"time": 0.11, "threads": 2}) == 0
    assert "Warning: --threads has no effect on the platform Reference" in capsys.readouterr().out


# Set-ups made elsewhere


@pytest.fixture(scope="module")
def guest_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guest B2 in CB7, in vacuum: PDB, System as XML, springs as its model, and the paths of Amber's files."""
    from importlib.util import find_spec

    from simulations import write_springs

    folder = tmp_path_factory.mktemp("guest")
    tested = host_guest("complex-vacuum")
    positions = np.array(tested.positions.value_in_unit(unit.nanometer))
    with open(folder / "complex.pdb", "w") as file:
        app.PDBFile.writeFile(tested.topology, tested.positions, file)
    tested.system.addForce(openmm.CMMotionRemover())
    (folder / "system.xml").write_text(openmm.XmlSerializer.serialize(tested.system))
    write_springs(folder / "springs.pt", positions[residue(tested.topology, "B2")])
    origin = find_spec("openmmtools")
    assert origin and origin.origin
    data = Path(origin.origin).parent / "data" / "cb7-b2"
    for suffix in ("prmtop", "inpcrd"):
        (folder / f"complex.{suffix}").write_bytes((data / f"complex-vacuum.{suffix}").read_bytes())
    return folder


@pytest.mark.parametrize("amber", [False, True])
def test_a_setup_made_elsewhere(guest_files: Path, job: Options, amber: bool) -> None:
    names = ("complex.prmtop", "complex.prmtop", "complex.inpcrd") if amber else ("complex.pdb", "system.xml", None)
    topology, system, positions = (name and guest_files / name for name in names)
    options = replace(job, protein=None, ligand=None, ligand_ff=None, solvent=True, model=guest_files / "springs.pt")
    options = replace(options, topology=topology, system=system, positions=positions, ml="resname B2", npt=0.0)
    assert simulate(options) == 0 and job.out
    record = yaml.safe_load((job.out / "run.yaml").read_text())
    assert len(record["region"]["atoms"]) == 30
    row = read_log(job.out)[-1]
    final = openmm.XmlSerializer.deserialize((job.out / "state.xml").read_text()).getPositions(asNumpy=True)._value
    tested = host_guest("complex-vacuum")
    guest = residue(tested.topology, "B2")
    reference = np.array(tested.positions.value_in_unit(unit.nanometer))[guest]
    assert row["model_kJ/mol"] == pytest.approx(springs_energy(reference, final[guest]), rel=1e-6)


def test_the_command_line_runs_it(job: Options, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["simulate", "--protein", job.protein, "--ligand", job.ligand, "--ligand-ff", job.ligand_ff]
    words += ["--model", job.model, "--out", job.out, "--time", "20fs", "--nvt", "10fs", "--npt", "0fs"]
    words += [
        "--no-solvent",
        "--no-report",
        "--platform",
        "Reference",
        "--minimize-steps",
        "2",
        "--log-interval",
        "5fs",
    ]
    assert main(list(map(str, words))) == 0
    assert job.out and len(read_log(job.out)) == 6
    assert main(["simulate", "--resume", str(job.out), "--time", "30fs"]) == 0
    assert [row["step"] for row in read_log(job.out)] == [5, 10, 5, 10, 15, 20, 25, 30]
    assert "Going on with" in capsys.readouterr().out


def test_a_configuration_of_another_run(job: Options, tmp_path: Path) -> None:
    assert simulate(job) == 0 and job.out
    words = ["simulate", "--config", str(job.out / "run.yaml"), "--out", str(tmp_path / "again"), "--seed", "7"]
    assert main(words) == 0
    again = Options.from_mapping(yaml.safe_load((tmp_path / "again" / "run.yaml").read_text())["options"])
    assert replace(again, out=job.out, seed=1) == job


# What is watched


class Tearing(torch.nn.Module):
    """Pulls two bonded atoms apart."""

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return -2e4 * torch.linalg.norm(positions[0] - positions[22])


@pytest.mark.parametrize("strict", [False, True])
def test_a_broken_bond_is_a_warning_or_an_exit_status(
    job: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str], strict: bool
) -> None:
    torch.jit.script(Tearing()).save(str(tmp_path / "tearing.pt"))
    options = replace(job, model=tmp_path / "tearing.pt", minimize_steps=0, strict=strict, nvt=0.0)
    assert simulate(options) == (3 if strict else 0) and options.out
    rows = read_log(options.out)
    assert rows[-1]["changed_bonds"] > 0 and (len(rows) < 10) == strict
    names = [atom.name for atom in ligand()[0].atoms()]
    text = capsys.readouterr().out
    assert f"{names[0]}-{names[22]} broke" in text and "ps: bonds of the model's molecules changed" in text
    torn = positions_of(options.out / "changed_bonds.pdb")
    assert np.linalg.norm(torn[0] - torn[22]) > 1.5 * 0.107  # C and H


def test_close_contacts_are_warned_of(
    job: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time that the region comes closer than a distance, here the median of those in an equal run."""
    job = replace(job, nvt=0.0)
    assert simulate(job) == 0 and job.out
    contacts = [(row["time_ps"], row["shortest_contact_nm"]) for row in read_log(job.out)]
    assert "nm from others" not in capsys.readouterr().out
    close = float(np.median([contact for _, contact in contacts]))
    monkeypatch.setattr(dynamics, "CLOSE_CONTACT", close)
    assert simulate(replace(job, out=tmp_path / "again")) == 0
    expected = [
        f"{time:g} ps: the model's atoms are {now:.3f} nm"
        for (_, before), (time, now) in pairwise([(0.0, np.inf), *contacts])
        if now < close <= before
    ]
    assert expected
    assert re.findall(r"^Warning at (.* nm) from others; look at the", capsys.readouterr().out, re.M) == expected


def test_a_model_of_other_elements_is_refused_at_the_start(job: Options) -> None:
    assert job.model and job.out
    spec = read_spec(job.model)
    assert spec
    write_spec(job.model, replace(spec, elements=[1, 6, 8]))
    with pytest.raises(ValueError, match=r"holds the elements N, Cl, which the model 'springs' does not know"):
        simulate(job)
    assert not job.out.exists()


def test_a_package_runs_and_goes_on(job: Options, tmp_path: Path) -> None:
    """The same model as .pt2."""
    reference = ligand()[1]
    spec = ModelSpec("springs", "nm", "kJ/mol", "float64", particles=32, long_range=False)
    examples = [{"positions": reference}, {"positions": 1.01 * reference}]
    save_pt2(Springs(torch.tensor(reference)), spec, tmp_path / "springs.pt2", examples=examples)
    options = replace(job, model=tmp_path / "springs.pt2")
    assert simulate(options) == 0 and options.out
    assert resume(options.out, {"time": 0.13}) == 0
    state = openmm.XmlSerializer.deserialize((options.out / "state.xml").read_text())
    row = read_log(options.out)[-1]
    expected = springs_energy(reference, state.getPositions(asNumpy=True)._value[22:])
    assert row["step"] == 130 and row["model_kJ/mol"] == pytest.approx(expected, rel=1e-9)
