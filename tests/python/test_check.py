"""`openmm-nnp check`: good models pass, and each model that is wrong in one way is caught by the check meant for it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest

from helpers import scripted
from openmmnnp import ModelSpec, cli
from openmmnnp.atoms import Atoms
from openmmnnp.check import GROUPS, Verdict, as_json, check, table
from openmmnnp.spec import write_spec

ROOT = Path(__file__).parents[2]
EJM_31 = ROOT / "examples" / "tyk2" / "ejm_31.pt"

# A Morse potential of bonds, in nm and kJ/mol, that ends smoothly at 0.5 nm: 3000 1/cm for C-H, at the sums of 0.031 nm
# for hydrogen and 0.07 nm for others. Hydrogens repel each other.
RADII = "z = torch.where(atomic_numbers == 1, 0.031, 0.07).to(positions.dtype)\nh = (atomic_numbers == 1).to(z)\n"
PAIRS = (
    "i, j = torch.triu_indices(z.shape[0], z.shape[0], 1).unbind(0)\n"
    "d = positions[j] - positions[i]\n"
    "r = (d * d).sum(1).sqrt()\n"
)
MORSE = (
    "x = 1 - torch.exp(-20.0 * (r - z[i] - z[j]))\n"
    "both = h[i] * h[j]\n"
    "u = 400.0 * (1 - both) * (x * x - 1) + 30.0 * both * torch.exp(-20.0 * (r - 0.18))\n"
    "pairs = u * torch.relu(1 - 4 * r * r) ** 3\n"
)
GOOD = RADII + PAIRS + MORSE + "return pairs.sum()"
ARGUMENTS = "positions, atomic_numbers"
MINIMUM_IMAGE = "d = d - torch.round(d / box.diag()) * box.diag()\n"
EDGES = RADII + (
    "i, j = edges.unbind(0)\n"
    "d = positions[j] - positions[i] + shifts\n"
    "r = (d * d).sum(1).sqrt()\n"
) + MORSE  # fmt: skip
WATER = Atoms((8, 1, 1), np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]))
METHANE = Atoms((6, 1, 1, 1, 1), 0.65 * np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1.2, 1]]))


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Function (body, arguments, **spec) that saves a scripted model; nm, kJ/mol and float64 unless said otherwise."""

    def make(body: str, arguments: str = ARGUMENTS, **values: Any) -> Path:
        path = tmp_path / "model.pt"
        scripted(body, arguments).save(str(path))
        names = [name.strip() for name in arguments.split(",")]
        defaults = {"length_unit": "nm", "energy_unit": "kJ/mol", "dtype": "float64", "inputs": names}
        write_spec(path, ModelSpec("model", **(defaults | values)))
        return path

    return make


def states(verdicts: list[Verdict]) -> dict[str, str]:
    return {verdict.name: verdict.state for verdict in verdicts}


def named(verdicts: list[Verdict], name: str) -> Verdict:
    return next(verdict for verdict in verdicts if verdict.name == name)


def test_good_model(save: Callable[..., Path]) -> None:
    found = check(save(GOOD), METHANE)
    skipped = {"references", "wrapping", "supercell", "skin", "padding"}
    assert {name for name, state in states(found).items() if state == "skipped"} == skipped
    assert {name: state for name, state in states(found).items() if state != "ok"} == dict.fromkeys(skipped, "skipped")


def test_good_model_in_float32(save: Callable[..., Path]) -> None:
    """Near its minimum, where forces are small, and with a constant that float32 could not hold."""
    found = check(save(GOOD, dtype="float32", energy_offset=-1e7), METHANE, groups=set(GROUPS) - {"nve", "cost"})
    assert not {"fail", "doubtful"} & set(states(found).values()), table(found)


def test_good_model_with_a_bend_in_its_forces(save: Callable[..., Path]) -> None:
    """Second derivatives jump, as those of CELU networks do: forces are the gradient nevertheless."""
    body = RADII + PAIRS + "return (1e4 * torch.relu(r - 0.12) ** 2 + r).sum()"
    atoms = Atoms((6,) * 8, np.random.default_rng(2).normal(size=(8, 3)))
    assert states(check(save(body), atoms, groups={"gradient"}))["gradient"] == "ok"


def test_good_model_with_edges_in_a_box(save: Callable[..., Path]) -> None:
    body = EDGES + "return 0.5 * pairs.sum()"
    path = save(body, ARGUMENTS + ", edges, shifts", cutoff=0.5, shifts="cartesian")
    box = np.array([[6.0, 0, 0], [1.0, 5.5, 0], [-2.0, 1.5, 6.5]])
    atoms = Atoms((8, 1, 1, 6, 1), np.random.default_rng(1).normal(scale=1.3, size=(5, 3)), box)
    found = check(path, atoms, groups=set(GROUPS) - {"units", "nve"})
    skipped = {"references", "separate copies", "neighbor limit"}
    assert {name: state for name, state in states(found).items() if state != "ok"} == dict.fromkeys(skipped, "skipped")


def test_published_model() -> None:
    """The ligand of the example, in float32, from its references."""
    found = check(EJM_31, groups=set(GROUPS) - {"nve", "cost"})
    assert not {"fail", "doubtful"} & set(states(found).values()), table(found)
    assert {states(found)[name] for name in ("references", "gradient", "rotation", "energy unit")} == {"ok"}


@pytest.mark.long
def test_published_model_conserves_energy() -> None:
    found = check(EJM_31, groups={"nve"})
    assert states(found) == {"evaluation": "ok", "drift": "ok", "fluctuation": "ok"}, table(found)


@pytest.mark.long
def test_compiled_packages(pair_package: tuple[Path, ModelSpec], walls_package: Path) -> None:
    """The pairs see each other through e^(-r^2/2), in angstrom; the walls give forces that are 3 times too large."""
    pairs = states(check(pair_package[0], groups={"references", "gradient", "symmetry", "separate", "smoothness"}))
    assert not {"fail", "doubtful"} & set(pairs.values())
    walls = named(check(walls_package, groups={"gradient"}), "gradient")
    assert walls.state == "fail" and "3 times the negative gradient" in walls.text


WRONG: dict[str, tuple[str, str, str, str, dict[str, Any]]] = {
    # name: group, check, state, body, spec
    "energy in kJ/mol called eV": ("units", "energy unit", "fail", GOOD, {"energy_unit": "eV"}),
    "energy in kJ/mol called kcal/mol": ("units", "energy unit", "fail", GOOD, {"energy_unit": "kcal/mol"}),
    "lengths in nm called angstrom": ("gradient", "gradient", "fail", GOOD, {"length_unit": "angstrom"}),
    "lengths in bohr called angstrom": (
        "units", "length unit", "fail", GOOD.replace("positions[j]", "0.0529177 * positions[j]").replace(
            "positions[i]", "0.0529177 * positions[i]"), {"length_unit": "angstrom"}),
    "sign of the forces": (
        "gradient", "gradient", "fail", RADII + "d = positions - positions.mean(0)\nreturn (d * d).sum(), 2 * d",
        {"outputs": ["energy", "forces"]}),
    "forces of another energy": (
        "gradient", "gradient", "fail",
        RADII + "d = positions - positions.mean(0)\nreturn (d * d).sum(), -2 * d * d * d.sign()",
        {"outputs": ["energy", "forces"]}),
    "an axis": ("symmetry", "rotation", "fail", GOOD.replace("(d * d)", "(d * d * (1 + 1e-8 * d.sign()))"), {}),
    "a place": ("symmetry", "translation", "fail", GOOD + " + 1e-3 * (positions ** 2).sum()", {}),
    "a force on the whole": ("symmetry", "net force", "fail", GOOD + " + 1e-3 * (positions ** 2).sum()", {}),
    "the order of atoms": ("symmetry", "permutation", "fail", GOOD.replace("pairs.sum()", "pairs.sum() + 1e-6 * r[0]"),
                           {}),
    "float32 within float64": ("gradient", "gradient", "fail", GOOD.replace(".sqrt()", ".float().sqrt().double()"), {}),
    "a large constant in float32": ("gradient", "gradient", "fail", GOOD + " - 1e6", {"dtype": "float32"}),
    "a mean in place of a sum": ("separate", "separate copies", "fail", GOOD.replace("pairs.sum()", "pairs.mean()"),
                                 {"cutoff": 0.5}),
    "an end with a step": ("smoothness", "smoothness", "fail", GOOD.replace("u * torch.relu(1 - 4 * r * r) ** 3",
                                                                            "(u + 0.01) * (r < 0.5)"), {}),
    "an end with a bend": ("smoothness", "smoothness, forces", "doubtful", GOOD.replace(") ** 3", ")"), {}),
    "nearest neighbors only": (
        "neighbors", "neighbor limit", "fail",
        RADII + "d = torch.cdist(positions, positions) + 9 * torch.eye(z.shape[0]).to(z)\n"
        "k = min(32, z.shape[0] - 1)\n"
        "r, j = torch.topk(d, k, 1, False)\n"
        "return (z.unsqueeze(1) * z[j] * torch.relu(1 - 4 * r * r) ** 3).sum() * 1e5", {"cutoff": 0.5}),
    "nearest neighbors of one kind": (
        "neighbors", "neighbor limit, forces", "doubtful",
        RADII + "d = torch.cdist(positions, positions) + 9 * torch.eye(z.shape[0]).to(z)\n"
        "k = min(32, z.shape[0] - 1)\n"
        "return torch.relu(1 - 4 * torch.topk(d, k, 1, False)[0] ** 2).pow(3).sum()", {"cutoff": 0.5}),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_model(save: Callable[..., Path], name: str) -> None:
    group, caught, state, body, spec = WRONG[name]
    found = check(save(body, **spec), METHANE, groups={group})
    assert states(found)[caught] == state, table(found)


def test_wrong_forces_are_explained(save: Callable[..., Path]) -> None:
    _, _, _, body, spec = WRONG["sign of the forces"]
    assert (
        "-1 times the negative gradient"
        in named(check(save(body, **spec), METHANE, groups={"gradient"}), "gradient").text
    )


@pytest.mark.parametrize("unit", ["eV", "kcal/mol"])
def test_other_energy_unit_is_named(save: Callable[..., Path], unit: str) -> None:
    text = named(check(save(GOOD, energy_unit=unit), METHANE, groups={"units"}), "energy unit").text
    assert "kJ/mol" in text.split("if the model's unit were")[1].split(", not")[0]


def test_other_length_unit_is_named(save: Callable[..., Path]) -> None:
    _, _, _, body, spec = WRONG["lengths in bohr called angstrom"]
    assert "unit were bohr" in named(check(save(body, **spec), METHANE, groups={"units"}), "length unit").text


@pytest.mark.parametrize("shift, state", [(" + shifts", "ok"), ("", "fail")])
def test_shifts_that_are_ignored(save: Callable[..., Path], shift: str, state: str) -> None:
    """A model with edges that takes no box is tried in one."""
    body = (
        f"d = positions[edges[1]] - positions[edges[0]]{shift}\nreturn torch.relu(1 - 4 * (d * d).sum(1)).pow(3).sum()"
    )
    path = save(body, "positions, edges, shifts", cutoff=0.5, shifts="cartesian")
    assert states(check(path, METHANE, groups={"symmetry"}))["wrapping"] == state


@pytest.mark.parametrize("image, state", [(MINIMUM_IMAGE, "ok"), ("", "fail")])
def test_wrapping(save: Callable[..., Path], image: str, state: str) -> None:
    body = GOOD.replace("r = (d", image + "r = (d")
    atoms = Atoms((8, 1, 1, 6, 1), np.random.default_rng(1).normal(scale=1.5, size=(5, 3)), 11 * np.eye(3))
    found = states(check(save(body, ARGUMENTS + ", box", periodic=True), atoms, groups={"symmetry"}))
    assert (found["wrapping"], found["rotation"], found["net force"]) == (state, "ok", "ok")
    assert found["supercell"] == state or not image


@pytest.mark.parametrize("more, state", [("", "ok"), (" + 1e-6 * r.shape[0]", "fail")])
def test_padding(save: Callable[..., Path], more: str, state: str) -> None:
    body = EDGES + "return 0.5 * pairs.sum()" + more
    path = save(body, ARGUMENTS + ", edges, shifts", cutoff=0.5, shifts="cartesian")
    found = states(check(path, METHANE, groups={"edges"}))
    assert (found["padding"], found["skin"]) == (state, "ok")


def test_energy_that_is_not_conserved(save: Callable[..., Path]) -> None:
    """A step at the distance of second neighbors: the fluctuation does not fall with the time step."""
    body = GOOD.replace("return pairs.sum()", "return pairs.sum() + 2.0 * (r > 0.16).sum()")
    found = check(save(body), METHANE, groups={"nve"})
    assert "fail" in states(found).values(), table(found)


@pytest.mark.parametrize(
    "returned, text",
    [
        ("1e3 * (d * d).sum(), 1e3 * d", r"the dynamics blew up: \S+ K, potential energy \S+ kJ/mol"),
        ("torch.log(1 - (d * d).sum()), 5 * d", "the dynamics blew up: NNPForce .*energy"),
    ],
)
def test_dynamics_that_blow_up(save: Callable[..., Path], returned: str, text: str) -> None:
    """Forces that push away from the minimum of the energy, which is a number near it only in the second case."""
    body = RADII + f"d = positions - positions.mean(0)\nreturn {returned}"
    found = check(save(body, outputs=["energy", "forces"]), METHANE, groups={"nve"})
    assert found[-1].state == "fail" and re.match(text, found[-1].text), table(found)


def test_model_that_raises(save: Callable[..., Path]) -> None:
    found = check(save("return positions[100].sum()", "positions"), groups={"gradient"})
    assert states(found) == {"evaluation": "fail"}
    assert "index" in found[0].text


def test_references_that_differ(save: Callable[..., Path]) -> None:
    x = [[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]]
    reference = {"positions": x, "energy": 1.0, "forces": [[0.2, 0, 0], [-0.2, 0, 0]]}
    path = save("return ((positions[1] - positions[0]) ** 2).sum()", "positions", particles=2, references=[reference])
    found = check(path, groups={"references"})
    assert states(found) == {"evaluation": "ok", "references": "fail"}
    assert "Reference 1 of the model's spec gives the energy" in found[1].text


def test_model_without_a_spec(tmp_path: Path) -> None:
    path = tmp_path / "plain.pt"
    scripted("d = positions - positions.mean(0)\nreturn 1e4 * (d * d).sum()").save(str(path))
    with pytest.raises(ValueError, match="holds no spec, and so no geometry: name atoms with --pdb or --elements"):
        check(path)
    found = check(path, WATER, groups={"gradient", "symmetry", "separate"})
    assert set(states(found).values()) == {"ok", "skipped"}


@pytest.mark.parametrize(
    "atoms, spec, text",
    [
        (WATER, {"particles": 2}, "3 atoms were given, but the model is made for 2"),
        (
            WATER,
            {"particles": 3, "atomic_numbers": [1, 8, 1]},
            "atom 0 of those given has the atomic number 8, but .* 1",
        ),
        (METHANE, {"elements": [1, 8]}, r"\[6\] were given, but the model knows only \[1, 8\]"),
    ],
)
def test_atoms_that_do_not_fit(save: Callable[..., Path], atoms: Atoms, spec: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        check(save(GOOD, **spec), atoms)


def test_unknown_platform(save: Callable[..., Path]) -> None:
    with pytest.raises(openmm.OpenMMException, match='no registered Platform called "Abacus"'):
        check(save(GOOD), platform="Abacus")


def test_unknown_group(save: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match=r"\['speed'\] were asked for; known are references, gradient"):
        check(save(GOOD), groups={"speed"})


def test_units_need_elements(save: Callable[..., Path]) -> None:
    found = check(save("return (positions ** 2).sum()", "positions", particles=2), groups={"units"})
    assert states(found) == {"evaluation": "ok", "length unit": "skipped", "energy unit": "skipped"}


def test_numbers_that_json_lacks() -> None:
    verdict = Verdict("drift", "fail", "no number", float("nan"), 0.1)
    assert as_json(verdict) == {"name": "drift", "state": "fail", "text": "no number", "figure": None, "bound": 0.1}
    assert "1 fail" in table([verdict])


def test_command(save: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, pdb = save(GOOD), tmp_path / "water.pdb"
    topology = openmm.app.Topology()
    residue = topology.addResidue("HOH", topology.addChain())
    for name in ("O", "H1", "H2"):
        topology.addAtom(name, openmm.app.Element.getBySymbol(name[0]), residue)
    with open(pdb, "w", encoding="utf-8") as file:
        openmm.app.PDBFile.writeFile(topology, WATER.positions * openmm.unit.angstrom, file)
    assert cli.main(["check", str(path), "--pdb", str(pdb), "--quick", "--json"]) == 0
    found = {verdict["name"]: verdict for verdict in json.loads(capsys.readouterr().out)}
    assert found["gradient"]["state"] == "ok" and found["gradient"]["figure"] < 1e-7
    assert "drift" not in found and "3 particles" in found["evaluation"]["text"]
    bad = save(GOOD, energy_unit="eV")
    assert cli.main(["check", str(bad), "--elements", "O,H,H", "--quick"]) == 1
    assert "1 fail" in capsys.readouterr().out
    assert cli.main(["check", str(tmp_path / "none.pt")]) == 1
    assert "error: " in capsys.readouterr().err


def test_help_imports_neither_torch_nor_openmm() -> None:
    code = "import sys; sys.argv[0] = 'openmm-nnp'\nfrom openmmnnp.cli import main\n"
    code += "try:\n    main(['check', '--help'])\nexcept SystemExit:\n    pass\n"
    code += "print([name for name in ('torch', 'openmm', 'tqdm') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert result.stdout.splitlines()[-1] == "[]", result.stderr
