"""The report: its statistics, its numbers against NumPy, its sections, and what it does with runs that lack parts."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import mdtraj
import numpy as np
import openmm
import pytest
import yaml

from helpers import scripted
from openmmnnp.simulate.report import analysis, geometry, write_report
from openmmnnp.simulate.report.drawing import drawing
from openmmnnp.simulate.report.page import number, plus_minus
from run_folders import LOG_HEAD, region, save_springs, springs, write_frames, write_run

KCAL = 4.184
TITLES = [
    "Provenance",
    "Parity with the labels",
    "Torsion profiles",
    "Energy conservation",
    "Energies by force group",
    "Ligand RMSD and torsions",
    "Spread of the committee",
    "Speed",
    "What this report does not show",
]
NUMBERS = [6] * 7 + [1] * 8
SCAN = (0, 1, 2, 3)


class Written(NamedTuple):
    """A report on an ML/MM run and an MM run, and what went into it."""

    page: str
    numbers: dict[str, Any]
    x: np.ndarray  # [m, 15, 3], nm
    energies: np.ndarray  # labels, kJ/mol
    forces: np.ndarray  # labels, kJ/mol/nm
    std: np.ndarray  # kJ/mol, in production


def positions(m: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.round(region()[2] + rng.normal(scale=0.005, size=(m, 15, 3)), 4)


def labels(x: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The energies and forces of Springs, and some noise."""
    rng = np.random.default_rng(seed)
    energies, forces = springs(x)
    return energies + rng.normal(scale=3.0, size=len(x)), forces + rng.normal(scale=20.0, size=x.shape)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("report")
    model = save_springs(folder / "springs.pt")
    other = save_springs(folder / "other.pt", "other <model>")
    x = positions(36, 1)
    energies, forces = labels(x, 2)
    keys = [
        f"source={'hot' if k % 2 else 'cold'} split={'test' if k < 16 else 'train'} trajectory=a" for k in range(24)
    ]
    scan = " ".join(map(str, SCAN))
    keys += [f'source=scan split=test trajectory=s torsion="{scan}" angle={195 - 30 * k}' for k in range(12)]
    frames = write_frames(folder / "frames.xyz.gz", NUMBERS, x, energies, forces, keys)
    train = 0.01 * springs(x[16:24])[0]
    std = np.linspace(0.5, 1.2, 40) * np.percentile(train, 99)
    path = positions(40, 3)
    timing = {"steps": 400, "seconds": 1, "ns_per_day": 34.56, "milliseconds_per_step": 2.5, "evaluations": 800}
    timing |= {"stages_ms": {"gather": 0.1, "evaluate": 0.9}}
    ml = write_run(folder / "ml", model, path, std=std, timing=timing)
    mm = write_run(folder / "mm", model, path[::-1], mm_only=True, std=[float("nan")] * 40)
    page = write_report(
        [ml, mm], folder / "out" / "report.html", frames=frames, models=[other], nve=0.4, progress=False
    )
    numbers = json.loads(page.with_suffix(".json").read_text())
    return Written(page.read_text(), numbers, x, energies, forces, std)


# Statistics


def test_slope_of_a_noisy_line_and_its_error() -> None:
    """The error is the scatter of the slopes of many series with 1/f noise, and 8^(1/2) times that with white noise."""
    rng = np.random.default_rng(1)
    t = np.linspace(0, 10, 1000)
    frequencies = np.maximum(np.fft.rfftfreq(4000), 1 / 4000)
    for power, factor in ((0.5, 1.0), (0.0, 8**0.5)):
        found = []
        for _ in range(400):
            spectrum = rng.normal(size=(2, 2001)) / frequencies**power
            noise = np.fft.irfft(spectrum[0] + 1j * spectrum[1])[:1000]
            found.append(analysis.slope(t, 5 + 0.3 * t + noise))
        slopes, errors = np.array(found).T
        assert slopes.mean() == pytest.approx(0.3, abs=4 * slopes.std() / 20)
        assert np.sqrt((errors**2).mean()) == pytest.approx(factor * slopes.std(), rel=0.15)


def test_mean_of_a_correlated_series() -> None:
    """An autoregressive series with coefficient a has the inefficiency (1 + a)/(1 - a)."""
    rng = np.random.default_rng(3)
    means, errors = [], []
    for _ in range(200):
        noise, series = rng.normal(size=2000), np.zeros(2000)
        for k in range(1, 2000):
            series[k] = 0.95 * series[k - 1] + noise[k]
        estimate = analysis.mean(series)
        means.append(estimate.value)
        errors.append(estimate.error)
    assert np.median(errors) == pytest.approx(np.std(means), rel=0.2)
    assert analysis.mean(np.array([1.0, np.nan, 3.0])).value == 2
    assert analysis.mean(np.array([np.nan])).samples == 0
    assert not analysis.mean(np.arange(50.0)).reliable


def test_short_series() -> None:
    assert np.isnan(analysis.slope(np.arange(20.0), np.arange(20.0))).all()
    assert analysis.blocked(np.arange(250.0)).tolist() == (np.arange(0, 250, 2) + 0.5).tolist()
    assert np.isnan(analysis.rmse(np.array([])))


def test_numbers_as_text() -> None:
    assert [number(v) for v in (12345.6, 0.012345, float("nan"), -2e-7)] == ["12346", "0.0123", "–", "−2.00e−07"]
    assert plus_minus(-12.345, 0.067) == "−12.345 ± 0.067"
    assert plus_minus(123.4, 5.6) == "123.4 ± 5.6"
    assert plus_minus(1.5e-5, 3e-6) == "(1.50 ± 0.30) × 1e−5"


# Geometry


def test_molecules_are_made_whole_and_followed() -> None:
    """Two molecules that drift through the box are as if there were none."""
    rng = np.random.default_rng(4)
    box = np.array([[2.0, 0, 0], [0.5, 2.1, 0], [-0.4, 0.6, 1.9]])
    x = rng.uniform(0.5, 1.0, size=(1, 6, 3)) + np.cumsum(rng.normal(scale=0.1, size=(60, 1, 3)), axis=0)
    x[:, 3:] += np.cumsum(np.full((60, 1, 3), 0.05), axis=0)
    wrapped = x - np.floor(x @ np.linalg.inv(box)) @ box
    wrapped[0] = x[0]
    found = geometry.assembled(wrapped, np.broadcast_to(box, (60, 3, 3)), [(0, 1), (1, 2), (3, 4), (4, 5)])
    np.testing.assert_allclose(found - found[:, :1], x - x[:, :1], atol=1e-12)


def test_torsions_and_superposition_are_those_of_mdtraj() -> None:
    folder_topology, _, x = region()
    path = positions(5, 5)
    trajectory = mdtraj.Trajectory(path, mdtraj.Topology.from_openmm(folder_topology))
    angles = geometry.dihedrals(path, [SCAN, (1, 2, 3, 4)])
    np.testing.assert_allclose(
        angles, np.degrees(mdtraj.compute_dihedrals(trajectory, [SCAN, (1, 2, 3, 4)])), atol=1e-2
    )
    fitted = geometry.superposed(path, path[:, :7])
    expected = trajectory.superpose(trajectory, 0, atom_indices=range(7)).xyz
    np.testing.assert_allclose(fitted, expected, atol=1e-5)


def test_rotatable_torsions() -> None:
    """Of biphenyl-like rings, a chain and a methyl group only the bonds that turn something heavy are left."""
    ring = [(k, (k + 1) % 6) for k in range(6)]
    bonds = [*ring, (0, 6), (6, 7), (7, 8), (8, 9), (8, 10)]
    numbers = [6] * 9 + [1, 1]
    assert geometry.rotatable_torsions(numbers, bonds) == [(1, 0, 6, 7), (0, 6, 7, 8)]


def test_drawing() -> None:
    pytest.importorskip("rdkit")
    bonds = [(0, 1), (1, 2), (1, 3), (2, 4), (0, 5), (0, 6), (0, 7), (4, 8), (4, 9), (4, 10), (2, 11)]
    numbers = [6, 6, 7, 8, 6] + [1] * 7
    made = drawing(numbers, ["A"] * 12, bonds, 0, [(1, 2)])
    assert made and made[0] == "image/svg+xml" and b"<svg" in made[1]
    assert drawing([6] + [1] * 6, ["A"] * 7, [(0, k) for k in range(1, 7)], 0, []) is None


# The page


def test_sections_are_in_order_and_escaped(written: Written) -> None:
    assert re.findall(r"<h2>\d\. (.*?)</h2>", written.page) == TITLES
    assert "<b>toluene</b>" not in written.page and "&lt;b&gt;toluene&lt;/b&gt;" in written.page
    assert "other &lt;model&gt;" in written.page
    assert set(re.findall('(?:src|href)="(.{5})', written.page)) == {"data:"}
    assert written.page.count("<figure>") in (7, 8)  # with or without RDKit
    assert list(written.numbers) == [
        *("provenance", "parity", "torsion_profiles", "nve", "energies", "structure", "spread", "speed", "limits")
    ]


def test_parity(written: Written) -> None:
    energies, forces = springs(written.x)
    for source, frames in {"cold": range(0, 16, 2), "hot": range(1, 16, 2), "scan": range(24, 36)}.items():
        found, k = written.numbers["parity"]["test"][source], list(frames)
        errors = (energies[k] - energies[k].mean() - written.energies[k] + written.energies[k].mean()) / KCAL
        assert found["frames"] == len(k)
        assert found["energy_rmse"] == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-6)
        assert found["energy_mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-6)
        assert found["energy_spread"] == pytest.approx(written.energies[k].std() / KCAL, rel=1e-6)
        wrong = (forces[k] - written.forces[k]) / KCAL / 10
        assert found["force_rmse"] == pytest.approx(np.sqrt((wrong**2).mean()), rel=1e-6)
        assert found["force_mae"] == pytest.approx(np.abs(wrong).mean(), rel=1e-6)
    everything = written.numbers["parity"]["test"]["all"]
    k = [*range(16), *range(24, 36)]
    wrong = (forces[k] - written.forces[k]) / KCAL / 10
    assert everything["force_rmse"] == pytest.approx(np.sqrt((wrong**2).mean()), rel=1e-6)
    assert written.numbers["parity"]["train"]["hot"]["frames"] == 4
    assert "may have been trained on" not in written.page


def test_torsion_profiles(written: Written) -> None:
    (scan,) = written.numbers["torsion_profiles"]["scans"]
    assert (tuple(scan["torsion"]), scan["split"]) == (SCAN, "test")
    order = sorted(range(24, 36), key=lambda k: (195 - 30 * (k - 24) + 180) % 360)
    assert scan["angles"] == sorted(scan["angles"]) and scan["angles"][0] == -165
    reference = written.energies[order] / KCAL
    assert scan["reference"] == pytest.approx(reference.tolist())
    ours = springs(written.x[order])[0] / KCAL
    expected = np.sqrt(np.mean((ours - reference - np.median(ours - reference)) ** 2))
    assert scan["rmse"]["springs"] == pytest.approx(expected, rel=1e-6)
    assert scan["rmse"]["other <model>"] == pytest.approx(expected, rel=1e-6)
    context = openmm.Context(region()[1], openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    mm = []
    for k in order:
        context.setPositions(written.x[k])
        mm.append(context.getState(energy=True).getPotentialEnergy()._value / KCAL)
    assert scan["energies"]["MM"] == pytest.approx((mm - np.median(mm - reference)).tolist(), rel=1e-5)


def test_energy_conservation(written: Written) -> None:
    found = written.numbers["nve"]
    for key in ("mm", "model"):
        assert 200 < found[key]["temperature"] < 400
        factor = 1000 / (0.00831446 * 300 * 42)
        assert found[key]["kT_per_ns_per_dof"] == pytest.approx(found[key]["slope"] * factor, rel=1e-4)
    allowed = abs(found["mm"]["slope"]) + 2 * np.hypot(found["mm"]["error"], found["model"]["error"])
    assert found["above"] == (abs(found["model"]["slope"]) > allowed)
    assert found["rounding"] < 1e-9  # the model is in double precision
    assert ("is not above that of MM" in written.page) == (not found["above"])


def test_energies(written: Written) -> None:
    found = written.numbers["energies"]["production"]["ML/MM, seed 1"]
    rows = np.arange(2, 42)
    assert found["potential_kJ/mol"]["value"] == pytest.approx((-100 + rows % 3).mean())
    assert found["temperature_K"]["value"] == pytest.approx((300 + rows % 5).mean())
    assert "density_g/mL" not in found


def test_rmsd_and_histograms(written: Written) -> None:
    """Toluene has no rotatable bond; its RMSD is that of MDTraj."""
    found = written.numbers["structure"]
    assert found["superposed"] == "ligand" and "torsions" not in found
    assert "the ligand itself, since there is no protein" in written.page
    topology, _, start = region()
    path = np.concatenate([start[None], positions(40, 3)])
    trajectory = mdtraj.Trajectory(np.round(path, 3), mdtraj.Topology.from_openmm(topology))
    expected = 10 * mdtraj.rmsd(trajectory, trajectory, 0, atom_indices=range(7))[1:]
    assert found["rmsd"]["ML/MM, seed 1"]["mean"]["value"] == pytest.approx(expected.mean(), rel=0.02)
    assert found["rmsd"]["ML/MM, seed 1"]["last"] == pytest.approx(expected[-1], rel=0.05)
    assert found["rmsd"]["MM, seed 1"]["last"] == pytest.approx(expected[0], rel=0.05)


def test_spread(written: Written) -> None:
    train = 0.01 * springs(written.x[16:24])[0]
    found = written.numbers["spread"]
    quantiles = np.percentile(train, (50, 95, 99))
    assert list(found["quantiles"].values()) == pytest.approx(quantiles.tolist(), rel=1e-6)
    assert found["share_above_99"] == {"ML/MM, seed 1": pytest.approx(np.mean(written.std > quantiles[2]))}
    assert 0 < found["share_above_99"]["ML/MM, seed 1"] < 1


def test_speed(written: Written) -> None:
    found = written.numbers["speed"]
    assert found["ns_per_day"] == {"ML/MM, seed 1": 34.56, "MM, seed 1": 8.0}
    assert found["ratio"] == pytest.approx(4.32) and "ML/MM ran at 4.32 times the speed of MM" in written.page
    stages = found["milliseconds_per_step"]["ML/MM, seed 1"]
    assert stages == pytest.approx({"gather": 0.2, "evaluate": 1.8, "OpenMM and the rest": 0.5})
    assert found["milliseconds_per_step"]["MM, seed 1"] == pytest.approx({"OpenMM and the rest": 2.5})


def test_limits(written: Written) -> None:
    assert "A run of 0.400 ps shows that it runs." in written.page
    for words in ("about binding", "about other ligands", "about convergence", "that the method of the labels"):
        assert f"No claim {words}" in written.page
    differ = written.numbers["provenance"]["differ"]
    assert differ == ["options mm_only"]


# A protein in a box


def test_rmsd_beside_a_protein(tmp_path: Path) -> None:
    """A ligand that moves rigidly with the protein, through the walls of the box, has the RMSD 0."""
    run, expected = protein_run(tmp_path, torn=True)
    page = write_report([run], tmp_path / "report.html", nve=0, progress=False)
    found = json.loads(page.with_suffix(".json").read_text())["structure"]
    assert found["superposed"] == "backbone"
    assert found["rmsd"]["ML/MM, seed 1"]["largest"] < 0.05
    assert found["torsions"]["atoms"] == [[0, 1, 2, 3]]
    counts = found["torsions"]["counts"]["ML/MM, seed 1"][0]
    assert counts == np.histogram(expected, np.linspace(-180, 180, 37))[0].tolist()
    assert "turned off" in page.read_text()


def test_part_of_the_atoms_was_saved(tmp_path: Path) -> None:
    run, expected = protein_run(tmp_path, torn=False)
    top = mdtraj.load(run / "topology.pdb")
    some = top.topology.select("name CA C N O or resname BUT")
    top.atom_slice(some).save_pdb(run / "trajectory.pdb")
    whole = mdtraj.load(run / "trajectory.xtc", top=run / "topology.pdb")
    whole.atom_slice(some).save_dcd(run / "trajectory.dcd")
    (run / "trajectory.xtc").unlink()
    page = write_report([run], tmp_path / "report.html", nve=0, progress=False)
    found = json.loads(page.with_suffix(".json").read_text())["structure"]
    assert found["rmsd"]["ML/MM, seed 1"]["largest"] < 0.05
    counts = found["torsions"]["counts"]["ML/MM, seed 1"][0]
    assert counts == np.histogram(expected, np.linspace(-180, 180, 37))[0].tolist()
    top.atom_slice(some[:-1]).save_pdb(run / "trajectory.pdb")
    page = write_report([run], tmp_path / "report.html", nve=0, progress=False)
    assert "trajectory.pdb has no C4 in BUT 9" in page.read_text()


def protein_run(folder: Path, torn: bool) -> tuple[Path, np.ndarray]:
    """Eight residues and butane's carbons, which turn and move together through a box: the run and the torsion."""
    rng = np.random.default_rng(6)
    lines, x = [], []
    for residue in range(8):
        for name, offset in (("N", 0.0), ("CA", 0.12), ("C", 0.24), ("O", 0.33)):
            x.append([0.36 * residue + offset - 0.1 * (name == "O"), 0.1 * (name == "O"), 0.05 * (residue % 2)])
            lines.append((name, "ALA", residue + 1))
    for k, place in enumerate(([0.0, 0.3, 0.3], [0.15, 0.3, 0.3], [0.2, 0.44, 0.3], [0.35, 0.44, 0.36])):
        x.append([1.0 + place[0], *place[1:]])
        lines.append((f"C{k + 1}", "BUT", 9))
    start, edge = np.array(x), 4.0
    run = write_run(folder / "run", save_springs(folder / "springs.pt"), positions(3, 1), std=[1.0] * 30)
    text = [f"CRYST1{10 * edge:9.3f}{10 * edge:9.3f}{10 * edge:9.3f}  90.00  90.00  90.00 P 1           1"]
    for k, ((name, residue_name, number_), (a, b, c)) in enumerate(zip(lines, 10 * start, strict=True)):
        kind = "ATOM  " if residue_name == "ALA" else "HETATM"
        place = f"{a:8.3f}{b:8.3f}{c:8.3f}  1.00  0.00"
        text.append(f"{kind}{k + 1:5d}  {name:<3s} {residue_name} A{number_:4d}    {place}          {name[0]:>2s}")
    text += [f"CONECT{k:5d}{k + 1:5d}" for k in (33, 34, 35)]
    (run / "topology.pdb").write_text("\n".join([*text, "END"]) + "\n")
    info = yaml.safe_load((run / "run.yaml").read_text())
    info["region"] = {"atoms": [32, 33, 34, 35], "charge": 0, "bonds": [[32, 33], [33, 34], [34, 35]]}
    (run / "run.yaml").write_text(yaml.safe_dump(info))
    path = []
    for k in range(30):
        q = np.linalg.qr(np.eye(3) + 0.02 * k * np.array([[0, 1, 0], [-1, 0, 0.5], [0, -0.5, 0]]))[0]
        q *= np.sign(np.diag(q))
        path.append(start @ q.T + 0.15 * k + rng.normal(scale=0.01, size=3))
    moved = np.array(path)
    angles = geometry.dihedrals(moved[:, 32:], [(0, 1, 2, 3)])[:, 0]
    if torn:
        moved %= edge  # each atom by itself
    trajectory = mdtraj.Trajectory(moved, mdtraj.load_topology(run / "topology.pdb"))
    trajectory.unitcell_lengths, trajectory.unitcell_angles = np.full((30, 3), edge), np.full((30, 3), 90.0)
    trajectory.save_xtc(run / "trajectory.xtc")
    return run, angles


# Runs and files that lack something


def test_young_run(tmp_path: Path) -> None:
    """A run that was killed at once: each section says what it lacks."""
    run = write_run(tmp_path / "young", save_springs(tmp_path / "springs.pt"), positions(3, 1))
    for name in ("trajectory.xtc", "timing.json", "final.pdb"):
        (run / name).unlink()
    (run / "log.csv").write_text(",".join(LOG_HEAD) + "\n")
    page = write_report([run], tmp_path / "report.html", nve=0.1, progress=False).read_text()
    assert re.findall(r"<h2>\d\. (.*?)</h2>", page) == TITLES
    for text in (
        "No labelled geometries were given",
        "ML/MM, seed 1 has no final.pdb.",
        "The log of ML/MM, seed 1 is empty.",
        "ML/MM, seed 1 has no trajectory.",
        "No run logged anything yet.",
        "There is no trajectory to look at.",
        "No run left its timing.",
        "No run logged energy_std",
        "ML/MM, seed 1 has no timing.json. It was killed, or still runs.",
        "There is no production yet.",
    ):
        assert text in page
    (run / "log.csv").unlink()
    (run / "topology.pdb").unlink()
    page = write_report([run], tmp_path / "report.html", nve=0, progress=False).read_text()
    assert "ML/MM, seed 1 has no log.csv." in page


def test_killed_run(tmp_path: Path) -> None:
    """Half a row in the log and half a frame of the trajectory are left out."""
    run = write_run(tmp_path / "killed", save_springs(tmp_path / "springs.pt"), positions(3, 1), std=[1.0] * 5)
    with open(run / "log.csv", "a") as file:
        file.write("production,80,0.0")
    (run / "timing.json").unlink()
    whole = (run / "trajectory.xtc").read_bytes()
    for size, text in (
        (len(whole) - 9, "ML/MM, seed 1</th><td>2</td>"),
        (9, "has no whole frame"),
        (0, "no trajectory"),
    ):
        (run / "trajectory.xtc").write_bytes(whole[:size])
        page = write_report([run], tmp_path / "report.html", nve=0, progress=False).read_text()
        assert "A run of 0.0500 ps shows that it runs." in page
        assert text in page


def test_parts_that_lack(tmp_path: Path) -> None:
    """No run with the model, no frames that were held out, no scans, no quantiles; production not reached."""
    run = write_run(tmp_path / "run", save_springs(tmp_path / "springs.pt"), positions(3, 1), std=[1.0] * 3)
    x = positions(4, 2)
    frames = write_frames(tmp_path / "frames.xyz.gz", NUMBERS, x, *labels(x, 3), ["split=train"] * 4)
    page = write_report([run], tmp_path / "report.html", frames=frames, nve=0, progress=False).read_text()
    assert "All frames of frames.xyz.gz were trained on" in page and "frames.xyz.gz holds no torsion scans" in page
    frames = write_frames(tmp_path / "frames.xyz.gz", NUMBERS, x, *labels(x, 3), ["split=test"] * 4)
    (run / "log.csv").write_text((run / "log.csv").read_text().replace("production,50", "npt,50"))
    page = write_report([run], tmp_path / "report.html", frames=frames, nve=0, progress=False).read_text()
    assert "The training frames that give the quantiles are not there" in page
    (run / "log.csv").write_text((run / "log.csv").read_text().replace("production", "npt"))
    info = yaml.safe_load((run / "run.yaml").read_text())
    (run / "run.yaml").write_text(yaml.safe_dump(info | {"model": None, "removed": []}))
    page = write_report([run], tmp_path / "report.html", frames=frames, nve=0, progress=False).read_text()
    assert "ML/MM, seed 1 did not reach production" in page and "ML/MM, seed 1 names no model." in page
    assert "No MM terms were removed." in page


def test_model_that_changed(tmp_path: Path) -> None:
    model = save_springs(tmp_path / "springs.pt")
    run = write_run(tmp_path / "run", model, positions(3, 1))
    x = positions(4, 2)
    keys = ['torsion="0 1 2 3" angle=' + str(k) for k in range(4)]
    frames = write_frames(tmp_path / "frames.xyz.gz", NUMBERS, x, *labels(x, 3), keys)
    page = write_report([run], tmp_path / "report.html", frames=frames, nve=0, progress=False).read_text()
    assert "may have been trained on them" in page
    save_springs(model, "another name")
    page = write_report([run], tmp_path / "report.html", frames=frames, nve=0, progress=False).read_text()
    assert "springs.pt is not the file that ran" in page and "RMSE from the reference" in page
    model.unlink()
    page = write_report([run], tmp_path / "report.html", frames=frames, nve=0, progress=False).read_text()
    assert "springs.pt is not there any more" in page


def test_dynamics_that_fails(tmp_path: Path) -> None:
    """A model that gives no number ends its sections, not the report."""
    body = "energy = (positions * positions).sum() / 0\nreturn energy, energy.detach()"
    model = save_springs(tmp_path / "springs.pt", module=scripted(body, "positions, atomic_numbers"))
    run = write_run(tmp_path / "run", model, positions(3, 1))
    page = write_report([run], tmp_path / "report.html", nve=0.1, progress=False).read_text()
    assert re.findall(r"<h2>\d\. (.*?)</h2>", page) == TITLES
    assert "minimize first, or use a shorter time step" in page


def test_two_models_of_one_name(tmp_path: Path) -> None:
    model = save_springs(tmp_path / "springs.pt")
    run = write_run(tmp_path / "run", model, positions(3, 1))
    x = positions(4, 2)
    keys = ['torsion="0 1 2 3" angle=' + str(k) for k in range(4)]
    frames = write_frames(tmp_path / "frames.xyz.gz", NUMBERS, x, *labels(x, 3), keys)
    page = write_report([run], tmp_path / "report.html", frames=frames, models=[model] * 2, nve=0, progress=False)
    (scan,) = json.loads(page.with_suffix(".json").read_text())["torsion_profiles"]["scans"]
    assert list(scan["rmse"]) == ["MM", "springs", "springs [1]", "springs [2]"]


def test_runs_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one run folder"):
        write_report([], tmp_path / "report.html")
    (tmp_path / "run.yaml").write_text("")
    with pytest.raises(ValueError, match="run.yaml is not what a run writes: it names no region"):
        write_report([tmp_path], tmp_path / "report.html")
    (tmp_path / "run.yaml").unlink()
    with pytest.raises(FileNotFoundError, match="is no run folder: it has no run.yaml"):
        write_report([tmp_path], tmp_path / "report.html")
    first = write_run(tmp_path / "a", save_springs(tmp_path / "springs.pt"), positions(3, 1))
    second, _ = protein_run(tmp_path, torn=False)
    with pytest.raises(ValueError, match="has another region than .*: a report is about runs of one molecule"):
        write_report([first, second], tmp_path / "report.html")


@pytest.mark.parametrize(
    "change, text",
    [
        (lambda lines: ["15", *lines[1:-1], "O 0 0 0 0 0 0"], r"frame 0 has the atomic numbers \[6, .* 8\], but the"),
        (lambda lines: [lines[0], lines[1].replace("energy=", "e="), *lines[2:]], "frame 0 needs an energy"),
        (lambda lines: [lines[0], f"{lines[1]} split=valid", *lines[2:]], "split=valid was given, but train or test"),
        (lambda lines: [lines[0], f'{lines[1]} torsion="0 1 2 15"', *lines[2:]], "four different indices from 0 to 14"),
        (lambda lines: [], "holds no frames"),
    ],
)
def test_wrong_frames(tmp_path: Path, change: Callable[[list[str]], list[str]], text: str) -> None:
    run = write_run(tmp_path / "run", save_springs(tmp_path / "springs.pt"), positions(3, 1))
    x = positions(1, 2)
    packed = write_frames(tmp_path / "frames.xyz.gz", NUMBERS, x, *labels(x, 3), [""])
    lines = change(gzip.decompress(packed.read_bytes()).decode().splitlines())
    frames = tmp_path / "frames.xyz"
    frames.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(ValueError, match=text):
        write_report([run], tmp_path / "report.html", frames=frames, nve=0, progress=False)


def test_model_of_other_elements(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", save_springs(tmp_path / "springs.pt"), positions(3, 1))
    other = save_springs(tmp_path / "fluorine.pt", elements=[9])
    x = positions(4, 2)
    keys = ['torsion="0 1 2 3" angle=' + str(k) for k in range(4)]
    frames = write_frames(tmp_path / "frames.xyz.gz", NUMBERS, x, *labels(x, 3), keys)
    with pytest.raises(openmm.OpenMMException, match=r"fluorine.pt.*atomic number 6, but the model knows only 9"):
        write_report([run], tmp_path / "report.html", frames=frames, models=[other], nve=0, progress=False)
