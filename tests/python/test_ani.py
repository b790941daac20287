"""ANI models against TorchANI: published parameters (OPENMMNNP_TEST_DATA) and random ones, eager, .pt and .pt2."""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import openmm
import pytest
import torch
from ase.build import molecule
from torch import Tensor, nn

os.environ["TORCHANI_NO_WARN_EXTENSIONS"] = "1"
pytest.importorskip("torchani", reason="torchani is not installed: pip install 'openmm-nnp[ani]'")

from torchani.aev import AEVComputer, ANIAngular, ANIRadial  # noqa: E402
from torchani.arch import ANI, simple_ani  # noqa: E402
from torchani.neurochem import NeurochemInfo, modules_from_info  # noqa: E402
from torchani.nn import ANINetworks, AtomicNetwork, Ensemble  # noqa: E402
from torchani.sae import SelfEnergy  # noqa: E402

from figures import Measure  # noqa: E402
from helpers import measure_parity  # noqa: E402
from openmmnnp import NeighborList, NNPForce  # noqa: E402
from openmmnnp.atoms import Atoms  # noqa: E402
from openmmnnp.cli import main  # noqa: E402
from openmmnnp.export import export  # noqa: E402
from openmmnnp.families import Loaded, ani2x  # noqa: E402
from openmmnnp.models.ani import AniAnyAtoms, AniFixedEdges, AniMolecule  # noqa: E402
from openmmnnp.models.ani_parameters import AniParameters  # noqa: E402
from openmmnnp.spec import ENERGY_UNITS, read_spec  # noqa: E402
from pages import run_page  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs" / "models" / "ani2x.md"
DATA = os.environ.get("OPENMMNNP_TEST_DATA")
HARTREE = ENERGY_UNITS["hartree"]
MIXED = (6, 1, 8, 7, 16, 9, 17, 1)
METHANE = [[0.03192167, 0.00638559, 0.01301679], [-0.83140486, 0.39370209, -0.26395324]]
METHANE += [
    [-0.66518241, -0.84461308, 0.20759389],
    [0.45554739, 0.54289633, 0.81170881],
    [0.66091919, -0.16799635, -0.91037834],
]
published = pytest.mark.skipif(not DATA, reason="OPENMMNNP_TEST_DATA, the folder of published parameters, is not set")


def folder() -> Path:
    return Path(str(DATA), "ani-2x", "ani-2x_8x")


def options(**changes: Any) -> argparse.Namespace:
    given = {"model": "ani2x", "parameters": folder() if DATA else None, "network": None, "dtype": "float64"}
    return argparse.Namespace(**given | changes)


def read() -> Any:
    """TorchANI's ANI-2x, its self energies in float64 as in the file."""
    path = folder()
    info = NeurochemInfo(path / "sae_linfit.dat", path / "rHCNOSFCl-5.1R_16-3.5A_a8-4.params", path / "train", 8)
    aev, networks, energies, symbols = modules_from_info(info)
    model = ANI(symbols, aev, networks, energies, periodic_table_index=True).double()
    lines = (path / "sae_linfit.dat").read_text().split()
    exact = [float(line.split("=")[1]) for line in lines]
    model.energy_shifter.self_energies[:] = torch.tensor(exact, dtype=torch.float64)
    return model.requires_grad_(False)


@pytest.fixture(scope="session")
def torchani() -> Any:
    return read()


@pytest.fixture(scope="session")
def random_model() -> Any:
    """A small model of TorchANI with random weights: H, C, two networks, smooth cutoff, gelu."""
    torch.manual_seed(3)
    symbols = ("H", "C")
    radial = ANIRadial.cover_linearly(start=0.7, cutoff=4.1, eta=15.0, num_shifts=5)
    angular = ANIAngular.cover_linearly(start=0.7, cutoff=2.9, eta=9.0, zeta=11.3, num_shifts=3, num_sections=2)
    aev = AEVComputer(radial, angular, len(symbols), cutoff_fn="smooth")

    def member() -> ANINetworks:
        return ANINetworks({s: AtomicNetwork((aev.out_dim, 20, 12, 1), "gelu", bias=True) for s in symbols})

    energies = SelfEnergy(symbols, [-0.5, -37.8])
    model = ANI(symbols, aev, Ensemble([member(), member()]), energies, periodic_table_index=True)
    return model.double().requires_grad_(False)


def right(model: Any, atoms: Atoms) -> tuple[float, np.ndarray]:
    """TorchANI's energy in hartree and forces [n, 3] in hartree/angstrom."""
    x = torch.tensor(atoms.positions)[None].requires_grad_(True)
    cell = None if atoms.box is None else torch.tensor(atoms.box)
    periodic = None if atoms.box is None else torch.tensor([True] * 3)
    energy = model((torch.tensor([atoms.numbers]), x), cell, periodic).energies.sum()
    return energy.item(), -torch.autograd.grad(energy, x, materialize_grads=True)[0][0].numpy()


def edges(atoms: Atoms, cutoff: float, padding: int = 0) -> tuple[Tensor, Tensor]:
    found, cells = NeighborList(cutoff).find(atoms.positions, atoms.box)
    shifts = np.zeros(cells.shape) if atoms.box is None else cells @ atoms.box
    more = np.tile([2 * cutoff, 0.0, 0.0], (padding, 1))
    both = np.concatenate([found, np.zeros((2, padding), int)], 1), np.concatenate([shifts, more])
    return torch.tensor(both[0]), torch.tensor(both[1])


def found(module: nn.Module, positions: Any, *rest: Tensor) -> tuple[float, np.ndarray, list[Tensor]]:
    """Energy without self energies, forces and the other outputs of one of our modules."""
    x = torch.as_tensor(positions).detach().requires_grad_(True)
    energy, *others = module(x, *rest)
    assert energy.dtype == torch.float64
    gradient = torch.autograd.grad(energy, x, materialize_grads=True)[0]
    return energy.item(), -gradient.double().numpy(), [other.detach() for other in others]


def modules(p: AniParameters, atoms: Atoms) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
    """Each of our modules, and what it takes after the positions."""
    pairs = edges(atoms, p.radial_cutoff)
    cases: dict[str, tuple[nn.Module, tuple[Tensor, ...]]] = {
        "fixed": (AniFixedEdges(p, atoms.numbers), pairs),
        "any": (AniAnyAtoms(p), (torch.tensor(atoms.numbers), *pairs)),
    }
    return cases if atoms.box is not None else cases | {"molecule": (AniMolecule(p, atoms.numbers), ())}


def compare(model: Any, atoms: Atoms) -> None:
    """All modules, eager and scripted, equal TorchANI."""
    p = AniParameters.from_torchani(model)
    energy, forces = right(model, atoms)
    constant = sum(p.self_energies[z] for z in atoms.numbers)
    for name, (module, rest) in modules(p, atoms).items():
        for case in (module, torch.jit.script(module)) if name == "any" else (module,):
            e, f, _ = found(case, atoms.positions, *rest)
            assert e + constant == pytest.approx(energy, rel=1e-12), name
            assert e == pytest.approx(energy - constant, abs=1e-11 * abs(energy - constant) + 1e-14 * abs(energy)), name
            np.testing.assert_allclose(f, forces, rtol=0, atol=1e-11 * np.abs(forces).max() + 1e-14, err_msg=name)


def named(name: str) -> Atoms:
    """Atoms of the cases, bent a little at random but for those in a line."""
    lined = {"CO2", "C2H2"}
    if name in ("CH4", "H2", "H2O", "CH3SH", "C6H6", "C2H6CHOH", "isobutane") or name in lined:
        built = molecule(name)
        noise = 0.0 if name in lined else 0.05
        positions = built.positions + noise * np.random.default_rng(1).normal(size=built.positions.shape)
        return Atoms(tuple(int(z) for z in built.numbers), positions)
    if name == "ejm_31":
        return Atoms.from_pdb(Path(str(DATA), "tyk2", "lig.pdb"), periodic=False)
    if name == "one atom":
        return Atoms((8,), np.zeros((1, 3)))
    if name in ("two atoms", "far apart"):
        return Atoms((1, 17), np.array([[0.0, 0, 0], [1.3 if name == "two atoms" else 40.0, 0, 0]]))
    return Atoms.of_elements([MIXED[i % 8] for i in range(int(name))])


def water(per_edge: int, edge: float, tilt: float = 0.0) -> Atoms:
    """A box of water molecules on a grid, each turned at random."""
    generator = np.random.default_rng(2)
    one = molecule("H2O")
    grid = np.stack(np.meshgrid(*3 * [np.arange(per_edge)], indexing="ij"), -1).reshape(-1, 3) * edge / per_edge
    turned = [one.positions @ np.linalg.qr(generator.normal(size=(3, 3)))[0] + place for place in grid]
    box = edge * np.eye(3) + tilt * np.array([[0, 0, 0], [1, 0, 0], [-1, 1, 0]])
    return Atoms(tuple(int(z) for z in np.tile(one.numbers, len(grid))), np.concatenate(turned), box)


def crystal() -> Atoms:
    """Methane in a triclinic box smaller than twice the cutoff."""
    box = np.array([[5.1, 0, 0], [1.2, 5.4, 0], [-1.4, 0.9, 4.8]])
    methane = named("CH4")
    return Atoms(methane.numbers, methane.positions, box)


CASES = ["CH4", "H2O", "CH3SH", "C6H6", "C2H6CHOH", "CO2", "C2H2", "one atom", "two atoms", "far apart", "33", "100"]


@published
@pytest.mark.parametrize("name", [*CASES, "ejm_31"])
@pytest.mark.figure("G15", what="ANI, eager and TorchScript, 1e-11")
def test_molecules_equal_torchani(torchani: Any, name: str) -> None:
    compare(torchani, named(name))


@published
@pytest.mark.parametrize(("per_edge", "edge", "tilt"), [(3, 9.3, 0.0), (3, 9.3, 2.0), (4, 12.4, 0.0)])
@pytest.mark.figure("G15", what="ANI, eager and TorchScript, 1e-11")
def test_periodic_water_equals_torchani(torchani: Any, per_edge: int, edge: float, tilt: float) -> None:
    """Also in a box smaller than twice the cutoff, where a pair has several images."""
    compare(torchani, water(per_edge, edge, tilt))


@pytest.mark.parametrize("name", ["CH4", "H2", "C2H2", "C6H6", "isobutane", "crystal"])
@pytest.mark.figure("G15", what="ANI, eager and TorchScript, 1e-11")
def test_other_constants_cutoffs_and_activations_equal_torchani(random_model: Any, name: str) -> None:
    compare(random_model, crystal() if name == "crystal" else named(name))


@published
def test_methane_of_the_quick_start(torchani: Any) -> None:
    loaded = ani2x.load(options(), Atoms((6, 1, 1, 1, 1), np.array(METHANE)))
    assert loaded.module is not None
    energy = found(loaded.module, np.array(METHANE))[0] + loaded.spec.constant_energy()
    assert energy == pytest.approx(-40.45979, abs=1e-5)
    assert energy == pytest.approx(right(torchani, Atoms((6, 1, 1, 1, 1), np.array(METHANE)))[0], rel=1e-12)


@published
def test_deviation_and_atoms_are_those_of_the_networks(torchani: Any) -> None:
    atoms = named("ejm_31")
    given = torch.tensor([atoms.numbers]), torch.tensor(atoms.positions)[None]
    each = torchani(given, ensemble_values=True).energies[:, 0].numpy()
    kinds = torchani.species_converter(given[0])
    alone = (torchani(given, atomic=True).energies - torchani.energy_shifter(kinds, atomic=True))[0]
    p = AniParameters.from_torchani(torchani)
    for name, (module, rest) in modules(p, atoms).items():
        _, _, (deviation, atomic) = found(module, atoms.positions, *rest)
        assert deviation.item() == pytest.approx(each.std(ddof=1), rel=1e-8), name
        np.testing.assert_allclose(atomic.numpy(), alone.numpy(), atol=1e-12, err_msg=name)
    single = ani2x.load(options(network=5), atoms)
    assert single.module is not None and single.spec.outputs == ["energy", "atomic_energy"]
    energy = found(single.module, atoms.positions)[0] + single.spec.constant_energy()
    assert energy == pytest.approx(each[5], rel=1e-12)


@published
def test_float32(torchani: Any) -> None:
    ligand = named("ejm_31")
    atoms = Atoms(ligand.numbers, ligand.positions.astype(np.float32).astype(float))
    energy, forces = right(torchani, atoms)
    p = AniParameters.from_torchani(torchani)
    for module, rest in modules(p, atoms).values():
        rest = tuple(x.float() if x.is_floating_point() else x for x in rest)
        e, f, _ = found(module.float(), torch.tensor(atoms.positions, dtype=torch.float32), *rest)
        constant = sum(p.self_energies[z] for z in atoms.numbers)
        assert e == pytest.approx(energy - constant, rel=1e-5)
        assert np.sqrt(np.mean((f - forces) ** 2)) < 1e-4 * np.sqrt(np.mean(forces**2))


def test_forces_are_central_differences(random_model: Any) -> None:
    p, step = AniParameters.from_torchani(random_model), 1e-4
    for atoms in (named("isobutane"), named("C2H2"), crystal()):
        for name, (module, rest) in modules(p, atoms).items():
            forces = found(module, atoms.positions, *rest)[1]
            for i, axis in ((0, 0), (2, 1), (3, 2)):
                moved = np.zeros_like(atoms.positions)
                moved[i, axis] = step
                difference = [found(module, atoms.positions + s * moved, *rest)[0] for s in (-1, 1)]
                slope = (difference[0] - difference[1]) / (2 * step)
                assert forces[i, axis] == pytest.approx(slope, abs=2e-6 * np.abs(forces).max() + 1e-9), name


def test_order_of_the_atoms_does_not_matter(random_model: Any) -> None:
    atoms, p = named("isobutane"), AniParameters.from_torchani(random_model)
    order = np.random.default_rng(4).permutation(len(atoms.numbers))
    mixed = Atoms(tuple(atoms.numbers[i] for i in order), atoms.positions[order])
    for (module, rest), (other, others) in zip(modules(p, atoms).values(), modules(p, mixed).values(), strict=True):
        energy, forces, (_, atomic) = found(module, atoms.positions, *rest)
        e, f, (_, a) = found(other, mixed.positions, *others)
        assert e == pytest.approx(energy, rel=1e-13)
        np.testing.assert_allclose(f, forces[order], atol=1e-12)
        np.testing.assert_allclose(a, atomic[order], atol=1e-12)


def test_edges_beyond_the_cutoff_add_nothing_at_all(random_model: Any) -> None:
    atoms, p = named("isobutane"), AniParameters.from_torchani(random_model)
    module = AniFixedEdges(p, atoms.numbers)
    energy, forces, _ = found(module, atoms.positions, *edges(atoms, p.radial_cutoff))
    e, f, _ = found(module, atoms.positions, *edges(atoms, p.radial_cutoff, padding=9))
    assert e == energy and (f == forces).all()


def test_atoms_at_one_place_give_finite_numbers(random_model: Any) -> None:
    atoms, p = named("CH4"), AniParameters.from_torchani(random_model)
    atoms.positions[2] = atoms.positions[1]
    for name, (module, rest) in modules(p, atoms).items():
        energy, forces, others = found(module, atoms.positions, *rest)
        assert np.isfinite(energy) and np.isfinite(forces).all(), name
        assert all(np.isfinite(x.numpy()).all() for x in others)


def state(path: Path, atoms: Atoms) -> tuple[float, np.ndarray]:
    """Energy in hartree and forces in hartree/angstrom of a Context."""
    system = openmm.System()
    for _ in atoms.numbers:
        system.addParticle(1.0)
    system.addForce(NNPForce(path, atomicNumbers=list(atoms.numbers)))
    context = openmm.Context(system, openmm.VerletIntegrator(1e-3), openmm.Platform.getPlatform("Reference"))
    context.setPositions(atoms.positions / 10)
    given = context.getState(getEnergy=True, getForces=True)
    forces = given.getForces(asNumpy=True)._value / HARTREE / 10
    return given.getPotentialEnergy()._value / HARTREE, forces


def check_state(model: Any, path: Path, atoms: Atoms, measure: Measure) -> None:
    energy, forces = right(model, atoms)
    e, f = state(path, atoms)
    assert e == pytest.approx(energy, rel=1e-10)
    np.testing.assert_allclose(f, forces, atol=1e-9 * np.abs(forces).max() + 1e-13)
    alone = AniParameters.from_torchani(model).self_energies
    constant = sum(alone[z] for z in atoms.numbers)
    measure_parity(measure, "float64", (e - constant, f), (energy - constant, forces), 1e-6, (1e-9, 1e-12))


@published
@pytest.mark.figure("G15", what="ANI, .pt and .pt2 in a Context", platform="Reference")
def test_scripted_ligand_in_a_context(torchani: Any, tmp_path: Path, measure: Measure) -> None:
    atoms = named("ejm_31")
    loaded = ani2x.load(options(), atoms)
    assert loaded.module is not None
    export(loaded.module, loaded.spec, tmp_path / "x.pt", example=atoms.example(loaded.spec), progress=False)
    check_state(torchani, tmp_path / "x.pt", atoms, measure)


@pytest.fixture(scope="session", params=["pt", "pt2"])
def any_atoms(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, random_model: Any) -> Path:
    """The small random model for any atoms, as a file."""
    loaded = ani2x._for_atoms(options(), AniParameters.from_torchani(random_model), None)
    path = tmp_path_factory.mktemp("ani") / f"any.{request.param}"
    assert loaded.module is not None
    example = named("isobutane").example(loaded.spec)
    export(loaded.module, loaded.spec, path, example=example, progress=False)
    return path


@pytest.mark.parametrize("name", ["CH4", "H2", "C6H6", "C2H2", "isobutane", "many"])
@pytest.mark.figure("G15", what="ANI, .pt and .pt2 in a Context", platform="Reference")
def test_one_file_for_any_atoms_in_a_context(any_atoms: Path, random_model: Any, name: str, measure: Measure) -> None:
    """Networks without an atom, with one, and with several; atoms in a line."""
    atoms = Atoms.of_elements([(1, 6, 1)[i % 3] for i in range(40)]) if name == "many" else named(name)
    check_state(random_model, any_atoms, atoms, measure)


@published
@pytest.mark.long
@pytest.mark.parametrize("case", ["ejm_31", "water", "any"])
@pytest.mark.figure("G15", what="ANI, .pt and .pt2 in a Context", platform="Reference")
def test_published_parameters_as_packages(torchani: Any, tmp_path: Path, case: str, measure: Measure) -> None:
    atoms = {"ejm_31": lambda: named("ejm_31"), "water": lambda: water(3, 12.0), "any": lambda: named("33")}[case]()
    loaded = ani2x.load(options(), None if case == "any" else atoms)
    assert loaded.module is not None
    export(loaded.module, loaded.spec, tmp_path / "x.pt2", example=atoms.example(loaded.spec), progress=False)
    if atoms.box is None:
        check_state(torchani, tmp_path / "x.pt2", atoms, measure)


@published
def test_the_page(tmp_path: Path) -> None:
    printed = run_page(PAGE, tmp_path, PARAMETERS=str(folder()))
    spec = read_spec(tmp_path / "water.pt2")
    assert spec is not None and spec.license == "MIT" and "Devereux" in spec.authors[0]
    assert spec.atomic_numbers == [8, 1, 1] and spec.elements == [1, 8] and spec.inputs == ["positions"]
    assert spec.energy_unit == "hartree" and "energy_std" in spec.outputs and spec.dtype == "float64"
    assert "hartree" in printed


@published
@pytest.mark.parametrize(
    ("changes", "atoms", "message"),
    [
        ({"network": 8}, None, r"network 8 was asked for, but .* holds networks 0 to 7"),
        ({"parameters": Path("nowhere")}, None, r"nowhere holds 0 files \*\.params, but parameters are one file"),
        ({}, Atoms((1,), np.zeros((1, 3)), None, 1), "the atoms have the charge 1, but ANI models are for neutral"),
        ({}, Atoms((1, 14), np.eye(3)[:2]), r"the model has no networks for the elements \[14\]; it has \[1, 6, 7, 8"),
    ],
)
def test_what_can_not_be_loaded(changes: dict[str, Any], atoms: Atoms | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ani2x.load(options(**changes), atoms)


@published
def test_damaged_parameters(tmp_path: Path) -> None:
    for path in folder().glob("*.*"):
        (tmp_path / path.name).write_text(path.read_text())
    with pytest.raises(ValueError, match="holds no networks: parameters are rHCNO.* beside train0/networks"):
        ani2x.load(options(parameters=tmp_path), None)
    (tmp_path / "train0" / "networks").mkdir(parents=True)
    (tmp_path / "train0" / "networks" / "ANN-H.nnf").write_bytes(b"no network")
    with pytest.raises(ValueError, match="can't be read as parameters in NeuroChem's format"):
        ani2x.load(options(parameters=tmp_path), None)


def test_download(monkeypatch: pytest.MonkeyPatch, random_model: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from torchani import models

    def fail(model_index: int | None) -> None:
        raise URLError("no network")

    monkeypatch.setattr(models, "ANI1ccx", lambda model_index: random_model)
    loaded: Loaded = ani2x.load(options(model="ani1ccx", parameters=None, dtype=None), None)
    assert loaded.spec.dtype == "float32" and loaded.spec.elements == [1, 6] and loaded.spec.name == "ANI-1ccx"
    monkeypatch.setattr(models, "ANI1x", fail)
    assert main(["export", "ani2x", "--model", "ani1x", "-o", "x.pt2"]) != 0
    assert "the parameters of ani1x can't be downloaded; give their folder, --parameters DIR" in capsys.readouterr().err


def test_models_with_other_parts_are_refused() -> None:
    def make(**changes: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return simple_ani(("H", "C"), "wb97x-631gd", **{"repulsion": False} | changes)

    wrong = make(activation="celu")
    wrong.neural_networks.atomics["C"].activation = nn.Tanh()
    for model, message in (
        (make(repulsion=True), r"the model has the potentials \['repulsion_xtb'\], but only \[\] can be exported"),
        (make(cutoff_fn="biweight"), r"the cutoff function CutoffBiweight\(\), but it must be CutoffCosine"),
        (make(container="SingleNN"), r"the model has the networks \{'SingleNN'\}, but only \{'ANINetworks'\}"),
        (wrong, r"the networks have the activation \['Tanh', 'TightCELU'\], but all must be TightCELU or GELU"),
    ):
        with pytest.raises(ValueError, match=message):
            AniParameters.from_torchani(model)
