"""Link atoms: what the model sees in place of bonds that are cut, and where the forces on it go."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import unit
from openmm.app import element

from devices import alone, fly, in_group, molecules
from helpers import central_differences, context_of, coordinates, counts, energy, energy_and_forces, fails
from models import ENERGIES, pair_oracle, pair_spec
from neighbors_oracle import SLANTED, brute_force, edges_energy, save_edges
from openmmnnp import NNPForce
from openmmnnp.spec import write_spec

pytestmark = pytest.mark.asan

Platform = openmm.Platform
Save = Callable[..., Path]
MakeContext = Callable[..., openmm.Context]
EV = 96.48533212331  # kJ/mol
BOX = np.array([[2.0, 0, 0], [0.3, 2.0, 0], [-0.4, 0.2, 2.0]])  # of molecules()
REGION = [4, 10, 3]
LINKS = [(4, 5, 0.11, 1), (10, 11, 0.09, 9), (10, 9, 0.105, 1)]  # ML particle, MM particle, nm, atomic number
NUMBERS = [6, 8, 1]


# Models in any unit, and the formulas in NumPy

PLACES = "return (torch.arange(1, 1 + len(positions)).to(positions).unsqueeze(1) * positions**2).sum(), positions"
WAVES = """f = positions @ torch.linalg.inv(box)
w = torch.arange(1, 1 + len(positions)).to(positions).unsqueeze(1)
return (w * torch.cos(6.283185307179586 * f)).sum(), positions"""
UNITS = {  # lengths in one nm and kJ/mol in one energy unit
    ("nm", "kJ/mol"): (1.0, 1.0),
    ("angstrom", "eV"): (10.0, EV),
    ("bohr", "hartree"): (18.897261259, 2625.4996394),
}


def places_energy(seen: np.ndarray) -> float:
    """The energy of PLACES or, with a box, of WAVES, in the model's unit."""
    return float((np.arange(1, 1 + len(seen)) * (seen**2).sum(axis=1)).sum())


def waves_energy(seen: np.ndarray, box: np.ndarray) -> float:
    return float((np.arange(1, 1 + len(seen))[:, None] * np.cos(2 * np.pi * seen @ np.linalg.inv(box))).sum())


def link_positions(x: np.ndarray, box: np.ndarray | None = None, links: list[Any] = LINKS) -> np.ndarray:
    """r_ml + d u [L, 3] in nm, u being along the shortest of all images of the bond."""
    cells = np.array(list(itertools.product(range(-4, 5), repeat=3))) if box is not None else np.zeros((1, 3))
    placed = []
    for ml, mm, distance, _ in links:
        bonds = x[mm] - x[ml] + cells @ (np.eye(3) if box is None else box)
        bond = bonds[np.argmin(np.linalg.norm(bonds, axis=1))]
        placed.append(x[ml] + distance * bond / np.linalg.norm(bond))
    return np.array(placed)


def all_positions(x: np.ndarray, box: np.ndarray | None = None, links: list[Any] = LINKS) -> np.ndarray:
    """What the model sees [n + L, 3] in nm."""
    return np.concatenate([x[REGION], link_positions(x, box, links)])


def system_of(force: openmm.Force, n: int = 12) -> openmm.System:
    """A System with nothing but this force."""
    system = openmm.System()
    for _ in range(n):
        system.addParticle(1.0)
    system.addForce(force)
    return system


def linked(force: NNPForce, links: list[Any] = LINKS) -> NNPForce:
    force.setParticles(REGION)
    for ml, mm, distance, number in links:
        force.addLinkAtom(ml, mm, distance, number)
    return force


@pytest.fixture
def places(save_scripted: Save) -> NNPForce:
    """A force with a model that sees where the atoms are; its links are those above."""
    return linked(NNPForce(save_scripted(PLACES, outputs=["energy", "seen"], output_units={"seen": "nm"})))


# Positions, energies and forces


def force_of(save_scripted: Save, periodic: bool, units: tuple[str, str] = ("nm", "kJ/mol")) -> NNPForce:
    """A force in group 1 with the model PLACES or, if it is periodic, WAVES."""
    values: dict[str, Any] = {"length_unit": units[0], "energy_unit": units[1], "output_units": {"seen": units[0]}}
    values["outputs"] = ["energy", "seen"]
    if periodic:
        path = save_scripted(WAVES, "positions, box", inputs=["positions", "box"], **values)
    else:
        path = save_scripted(PLACES, **values)
    force = linked(NNPForce(path))
    force.setUsesPeriodicBoundaryConditions(periodic)
    return in_group(force)


def group_differences(context: openmm.Context, step: float = 1e-5) -> np.ndarray:
    """-dE/dx [n, 3] of force group 1 by central differences on all particles of the System; positions are set anew."""
    x = coordinates(context)[0]
    forces = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        energies = []
        for h in (step, -step):
            moved = x.copy()
            moved[index] += h
            context.setPositions(moved)
            energies.append(alone(context)[0])
        forces[index] = (energies[1] - energies[0]) / (2 * step)
    return forces


def assert_gradient(context: openmm.Context) -> None:
    """Forces are the gradient: on the region and what it is linked to, and 0 on all others."""
    forces = alone(context)[1]
    expected = group_differences(context)
    np.testing.assert_allclose(forces, expected, atol=1e-7 * np.abs(expected).max())
    felt = np.abs(expected).max(axis=1) > 1e-4 * np.abs(expected).max()
    assert set(np.nonzero(felt)[0]) == {*REGION, *(mm for _, mm, *_ in LINKS)}


@pytest.mark.parametrize("periodic", [False, True], ids=["open", "periodic"])
@pytest.mark.parametrize("units", UNITS, ids=[units[0] for units in UNITS])
def test_units(platform: Platform, save_scripted: Save, periodic: bool, units: tuple[str, str]) -> None:
    """The model sees the particles in the order of the force, and the link atoms after them, in its unit."""
    force = force_of(save_scripted, periodic, units)
    force.setScaleParameter("s", -0.7)
    system, x = molecules(force)
    context = context_of(system, x, platform)
    seen = all_positions(x, BOX if periodic else None)
    lengths, kilojoules = UNITS[units]
    expected = kilojoules * (waves_energy(seen, BOX) if periodic else places_energy(lengths * seen))
    assert alone(context)[0] == pytest.approx(-0.7 * expected, rel=1e-9)
    output = force.getOutput(context, "seen").value_in_unit(unit.nanometer)
    np.testing.assert_allclose(output, seen, rtol=1e-9)
    assert_gradient(context)


@pytest.fixture(params=["far", "flown"])
def travelled(request: pytest.FixtureRequest) -> Callable[..., openmm.Context]:
    """Function (system, positions, platform): a Context whose molecules are several boxes away, where they were put or
    where they went, so that platforms with a device keep them elsewhere."""

    def make(system: openmm.System, x: np.ndarray, platform: Platform) -> openmm.Context:
        moved = x + (np.array([6.0, -4.0, 10.0]) if request.param == "far" else 0)
        context = context_of(system, moved, platform, openmm.VerletIntegrator(0.0005))
        context.getIntegrator().setIntegrationForceGroups({0})
        if request.param == "flown":
            fly(context, 7.3)
        return context

    return make


def test_unwrapped(platform: Platform, save_scripted: Save, travelled: Callable[..., openmm.Context]) -> None:
    """A force that is not periodic sees both ends of each bond where the user sees them."""
    force = force_of(save_scripted, periodic=False)
    system, x = molecules(force)
    context = travelled(system, x, platform)
    seen = all_positions(coordinates(context)[0])
    assert np.abs(seen).max() > 5
    assert alone(context)[0] == pytest.approx(places_energy(seen), rel=1e-9)
    np.testing.assert_allclose(force.getOutput(context, "seen")._value, seen, rtol=1e-9, atol=1e-9)
    assert_gradient(context)


def test_periodic(platform: Platform, save_scripted: Save, travelled: Callable[..., openmm.Context]) -> None:
    """Bonds are those to the nearest image, also where each particle is in a box of its own."""
    system, x = molecules(force_of(save_scripted, periodic=True))
    context = travelled(system, x, platform)
    x = coordinates(context)[0]
    expected = waves_energy(all_positions(x, BOX), BOX)
    found, forces = alone(context)
    assert found == pytest.approx(expected, rel=1e-9)
    assert_gradient(context)
    torn = x + np.random.default_rng(3).integers(-2, 3, (12, 3)) @ BOX
    assert all(np.linalg.norm(torn[ml] - torn[mm]) > 1 for ml, mm, *_ in LINKS)
    context.setPositions(torn)
    found, torn_forces = alone(context)
    assert found == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(torn_forces, forces, atol=1e-7)


@pytest.fixture
def vacuum(save_scripted: Save) -> NNPForce:
    """A force with a model that knows distances only."""
    body = "r = positions.unsqueeze(1) - positions.unsqueeze(0)\nreturn torch.exp(-2 * (r * r).sum(2)).sum()"
    return linked(NNPForce(save_scripted(body)))


def test_no_net_force_and_torque(platform: Platform, vacuum: NNPForce) -> None:
    x = np.random.default_rng(4).normal(0, 0.4, (12, 3))
    forces = energy_and_forces(context_of(system_of(vacuum), x, platform))[1]
    largest = np.abs(forces).max()
    exact = 1e-12 * largest if platform.getName() in ("Reference", "CPU") else 1e-8  # of fixed-point numbers
    assert largest > 0.1
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=exact)
    np.testing.assert_allclose(np.cross(x, forces).sum(axis=0), 0, atol=exact)


def test_precision_of_a_device(device: openmm.Platform, precision: str, places: NNPForce) -> None:
    """As exact as a force without link atoms; positions are rounded to float32 before."""
    system, x = molecules(in_group(places))
    x = x.astype(np.float32).astype(float)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), device, {"Precision": precision})
    context.setPositions(x)
    found = alone(context)
    expected = alone(context_of(copy.deepcopy(system), x, Platform.getPlatform("Reference")))
    tolerance = {"single": 5e-6, "mixed": 1e-6, "double": 1e-10}[precision]  # forces are floats in mixed precision
    assert found[0] == pytest.approx(expected[0], rel=1e-6 if precision == "single" else 1e-10)
    np.testing.assert_allclose(found[1], expected[1], atol=tolerance * np.abs(expected[1]).max())


def test_only_the_particle_outside_moves(platform: Platform, places: NNPForce) -> None:
    """The last evaluation does not answer; along the bond the model sees the same, but the force is another."""
    x = np.random.default_rng(5).uniform(-1, 1, (12, 3))
    context = context_of(system_of(in_group(places)), x, platform)
    alone(context)
    if platform.getName() != "CUDA":
        alone(context)
        assert counts(places, context)[:2] == (1, 1)
    x[5] += [0.2, -0.1, 0.3]
    context.setPositions(x)
    assert alone(context)[0] == pytest.approx(places_energy(all_positions(x)), rel=1e-9)
    before = alone(context)[1]
    x[5] = x[4] + 2 * (x[5] - x[4])
    context.setPositions(x)
    energy, after = alone(context)
    assert energy == pytest.approx(places_energy(all_positions(x)), rel=1e-9)
    np.testing.assert_allclose(after[5], before[5] / 2, rtol=1e-7)
    np.testing.assert_allclose(after[4] + after[5], before[4] + before[5], rtol=1e-7)
    assert_gradient(context)


# What models take and give


def test_elements_and_outputs(platform: Platform, pair_file: Path, make_context: MakeContext, tolerance: float) -> None:
    """A model that takes atomic numbers, with atomic energies, as TorchScript and as a package."""
    force = linked(NNPForce(pair_file, atomicNumbers=NUMBERS), [(4, 5, 0.11, 8), *LINKS[2:]])
    force.addGlobalParameter("k", 0.25)
    x = np.random.default_rng(6).uniform(-0.3, 0.3, (12, 3))
    context = make_context(platform, force, x)
    numbers = np.array([*NUMBERS, 8, 1])
    seen = 10 * all_positions(x, links=[LINKS[0], LINKS[2]])
    expected = pair_oracle(seen, numbers, 0.25)
    offset = EV * sum(ENERGIES[z] for z in numbers)
    assert energy(context) - offset == pytest.approx(EV * expected["energy"], rel=1e-5)
    output = force.getOutput(context, "atomic_energy").value_in_unit(unit.kilojoules_per_mole)
    np.testing.assert_allclose(output, EV * expected["atomic_energy"], rtol=1e-5)
    found = force.getDiagnostics(context)
    assert (found["particles"], found["link_atoms"]) == (3, 2)
    assert found["energy_offset"] == pytest.approx(offset, rel=1e-9)


@pytest.mark.parametrize(
    "types, type_map, expected",
    [
        ([], {"H": 4, "C": 2, "O": 0, "F": 7}, [2, 0, 4, 4, 7, 4]),
        ([4, 4, 2], {"H": 4, "C": 2, "O": 0, "F": 7}, [4, 4, 2, 4, 7, 4]),
        ([4, 4, 2, 0, 0, 7], {"H": 4, "C": 2, "O": 0, "F": 7}, [4, 4, 2, 0, 0, 7]),
        ([4, 4, 2, 0, 0, 9], {}, [4, 4, 2, 0, 0, 9]),
    ],
)
def test_types(
    save_scripted: Save, make_context: MakeContext, types: list[int], type_map: dict[str, int], expected: list[int]
) -> None:
    values: dict[str, Any] = {"inputs": ["positions", "types"], "outputs": ["energy", "seen"], "type_map": type_map}
    path = save_scripted("return positions.sum(), types.to(positions)", "positions, types", **values)
    force = linked(NNPForce(path, atomicNumbers=NUMBERS))
    if types:
        force.setTypes(types)
    context = make_context(Platform.getPlatform("Reference"), force, np.random.default_rng(0).uniform(size=(12, 3)))
    energy(context)
    assert list(force.getOutput(context, "seen")) == expected


@pytest.mark.parametrize("periodic", [False, True], ids=["open", "periodic"])
@pytest.mark.parametrize("on_device", [False, True], ids=["host list", "device list"])
def test_edges(platform: Platform, tmp_path: Path, periodic: bool, on_device: bool) -> None:
    """Edges of link atoms; another force on the same particles shares the list only if its link atoms are the same."""
    path, box = save_edges(tmp_path / "edges.pt"), SLANTED if periodic else None
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*SLANTED)
    x = np.random.default_rng(8).uniform(0, 0.6, (12, 3))
    x[REGION[1]] -= SLANTED[2] if periodic else 0
    expected = []
    for links in (LINKS, LINKS[1:], LINKS, []):
        force = linked(NNPForce(path), links)
        force.setUsesPeriodicBoundaryConditions(periodic)
        force.setDeviceNeighbors(on_device)
        force.setForceGroup(system.addForce(force) + 1)
        seen = np.concatenate([x[REGION], link_positions(x, box, links)]) if links else x[REGION]
        expected.append(edges_energy(seen, 0.5, box))
    for _ in x:
        system.addParticle(1.0)
    context = context_of(system, x, platform)
    found = [alone(context, group)[0] for group in range(1, 5)]
    assert found == pytest.approx(expected, rel=1e-9)
    together = energy_and_forces(context)
    assert together[0] == pytest.approx(sum(expected), rel=1e-9)
    first = NNPForce.cast(system.getForce(0))
    pairs = first.getDiagnostics(context)["edges"]
    assert pairs == brute_force(all_positions(x, box), 0.5, box)[0].shape[1] > 0
    np.testing.assert_allclose(together[1], central_differences(context, 1e-5), atol=1e-6)


# In OpenMM


def test_parents_are_one_molecule(platform: Platform, places: NNPForce, make_context: MakeContext) -> None:
    context = make_context(platform, places, np.random.default_rng(1).uniform(size=(12, 3)))
    molecules = sorted(tuple(molecule) for molecule in context.getMolecules())
    assert molecules == [(0,), (1,), (2,), (3,), (4, 5), (6,), (7,), (8,), (9, 10, 11)]


def in_cv(force: NNPForce) -> openmm.Force:
    bias = openmm.CustomCVForce("2*u")
    bias.addCollectiveVariable("u", force)
    bias.setForceGroup(1)
    return bias


def test_in_a_collective_variable(
    platform: Platform, save_scripted: Save, travelled: Callable[..., openmm.Context]
) -> None:
    """One molecule is whole there, with the particles outside that it is linked to."""
    force = NNPForce(
        save_scripted("return 3 * ((positions - positions[0])**2).sum(), positions", outputs=["energy", "p"])
    )
    force.setParticles([4])
    force.addLinkAtom(4, 5, 0.07)
    force.addLinkAtom(4, 3, 0.04)
    system, x = molecules(in_cv(force))
    context = travelled(system, x, platform)
    found, forces = alone(context)
    assert found == pytest.approx(6 * (0.07**2 + 0.04**2), rel=1e-9)
    np.testing.assert_allclose(forces, 0, atol=1e-8)  # along the bonds nothing changes
    x = coordinates(context)[0]
    whole = force.getOutput(context, "p")
    expected = link_positions(x, links=[(4, 5, 0.07, 1), (4, 3, 0.04, 1)]) - x[4]
    np.testing.assert_allclose(whole[1:] - whole[0], expected, atol=1e-9)


def test_several_molecules_in_a_collective_variable(device: openmm.Platform, places: NNPForce) -> None:
    system, x = molecules(in_cv(places))
    context = context_of(system, x, device)
    with fails("covers 3 molecules, does not use periodic boundary conditions, and is inside a CustomCVForce"):
        alone(context)


# The interface


def test_parameters(places: NNPForce) -> None:
    assert places.getNumLinkAtoms() == 3
    ml, mm, distance, number = places.getLinkAtomParameters(1)
    assert (ml, mm, distance, number) == (10, 11, 0.09 * unit.nanometer, 9)
    assert places.addLinkAtom(3, 0, 1.09 * unit.angstrom) == 3
    assert places.getLinkAtomParameters(3) == (3, 0, 1.09 * unit.angstrom, 1)
    places.setLinkAtomParameters(3, 3, 1, 0.15, element.carbon)
    assert places.getLinkAtomParameters(3) == (3, 1, 0.15 * unit.nanometer, 6)


def test_xml(places: NNPForce) -> None:
    """A round trip changes no byte; copies and pickles hold link atoms; XML without them is read as before."""
    places.setLinkAtomParameters(0, 4, 5, 0.1 + 0.02, 1)
    text = openmm.XmlSerializer.serialize(places)
    system = pickle.loads(pickle.dumps(system_of(copy.deepcopy(places))))
    copies = [
        openmm.XmlSerializer.deserialize(text),
        copy.deepcopy(places),
        pickle.loads(pickle.dumps(places)),
        system.getForce(0),
    ]
    for other in copies:
        assert openmm.XmlSerializer.serialize(other) == text
        assert [NNPForce.cast(other).getLinkAtomParameters(i) for i in range(3)] == [
            places.getLinkAtomParameters(i) for i in range(3)
        ]
    old = text[: text.index("<LinkAtoms>")] + text[text.index("</LinkAtoms>") + len("</LinkAtoms>") :]
    old = old.replace('version="2"', 'version="1"', 1)
    assert NNPForce.cast(openmm.XmlSerializer.deserialize(old)).getNumLinkAtoms() == 0


@pytest.mark.parametrize(
    "before, after, text",
    [
        ('mmParticle="5"', "", "'mmParticle' of <LinkAtom> is missing"),
        ('distance=".11"', 'distance="far"', "'distance' of <LinkAtom> is 'far' but must be a number"),
        ('distance=".11"', 'distance="-1"', "between the particles 4 and 5 was given the distance -1.000000 nm"),
    ],
)
def test_damaged_xml(places: NNPForce, before: str, after: str, text: str) -> None:
    xml = openmm.XmlSerializer.serialize(places)
    assert before in xml
    with fails(text):
        openmm.XmlSerializer.deserialize(xml.replace(before, after))


# Errors


@pytest.mark.parametrize("distance", [0, -0.1, float("nan"), float("inf")])
def test_wrong_distances(places: NNPForce, distance: float) -> None:
    text = r"between the particles 3 and 0 was given the distance .* nm, but one of more than 0 nm is needed"
    with fails(text):
        places.addLinkAtom(3, 0, distance)
    with fails(text):
        places.setLinkAtomParameters(0, 3, 0, distance)
    assert places.getNumLinkAtoms() == 3 and places.getLinkAtomParameters(0)[0] == 4


def test_wrong_arguments(places: NNPForce) -> None:
    for index in (-1, 3):
        with fails(f"no link atom {index}; there are 3, counted from 0"):
            places.getLinkAtomParameters(index)
        with fails(f"no link atom {index}; there are 3, counted from 0"):
            places.setLinkAtomParameters(index, 3, 0, 0.1)
    with pytest.raises(ValueError, match="particle indices: element 1 must be from 0"):
        places.addLinkAtom(3, -1, 0.1)
    with pytest.raises(TypeError, match="atomic numbers: element 0 must be an integer"):
        places.addLinkAtom(3, 0, 0.1, "H")


PARENTS: dict[str, tuple[tuple[int, int, float, int], str]] = {
    "ML particle outside": ((2, 5, 0.1, 1), "was given the mlParticle 2, which is not one of the force; name one that"),
    "MM particle unknown": ((4, 12, 0.1, 1), "was given the mmParticle 12, but the System has particles 0 to 11"),
    "MM particle inside": (
        (4, 3, 0.1, 1),
        "was given the mmParticle 3, which the model sees already, .*side of a bond",
    ),
    "virtual site": (
        (4, 7, 0.1, 1),
        "was given the particle 7, which is a virtual site; a link atom stands for a bond",
    ),
    "twice": (
        (4, 9, 0.1, 1),
        "was given the mmParticle 9, which has a link atom already; .* cut one of its bonds only",
    ),
    "no element": ((4, 8, 0.1, 0), r"was given the atomic number 0, but one from 1 \(H\) to 118 is needed"),
}


@pytest.mark.parametrize("case", PARENTS)
def test_atoms_that_can_not_be_linked(places: NNPForce, case: str) -> None:
    atom, text = PARENTS[case]
    places.addLinkAtom(*atom)
    system = system_of(places)
    system.setParticleMass(7, 0)
    system.setVirtualSite(7, openmm.TwoParticleAverageSite(6, 8, 0.5, 0.5))
    with fails(f"Link atom 3 {text}"):
        openmm.Context(system, openmm.VerletIntegrator(0.001), Platform.getPlatform("Reference"))


MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "number of atoms": (
        {"particles": 5},
        "made for 5 particles, but the force has 3 particles and 3 link atoms; choose",
    ),
    "element": ({"elements": [1, 6, 8]}, "Link atom 1 has the atomic number 9, but the model knows only 1, 6, 8"),
    "atomic energy": ({}, "no atomic energy for the element with atomic number 9"),
    "order": (
        {"particles": 6, "atomic_numbers": [6, 8, 1, 1, 1, 9]},
        "numbers 6, 8, 1, 1, 1, 9, in this order, but the force has 6, 8, 1, 1, 9, 1; check",
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_models_that_do_not_fit(pair_pt: Path, tmp_path: Path, make_context: MakeContext, case: str) -> None:
    changes, text = MODELS[case]
    path = tmp_path / "model.pt"
    path.write_bytes(pair_pt.read_bytes())
    write_spec(path, pair_spec(outputs=["energy", "atomic_energy"], **changes))
    force = linked(NNPForce(path, atomicNumbers=NUMBERS))
    force.addGlobalParameter("k", 0.25)
    with fails(text):
        make_context(Platform.getPlatform("Reference"), force, np.zeros((12, 3)))


@pytest.mark.parametrize(
    "types, type_map, text",
    [
        ([], {}, r"give them with setTypes\(\), one for each of the 3 particles and 3 link atoms of the force"),
        ([0, 0, 0], {}, r"setTypes\(\) was given 3 values, but the force has 3 particles and 3 link atoms; give one"),
        ([4, 4], {"H": 4, "F": 1}, r"setTypes\(\) was given 2 values, but the force has 3 particles and 3 link atoms"),
        ([4, 4, 4], {"H": 4}, r"Link atom 1 has the atomic number 9 \(F\), for which the model has no type"),
        (
            [4, 4, 4, 4, 5, 4],
            {"H": 4, "F": 1},
            r"Link atom 1 has the type 5, but the model's types are F \(1\), H \(4\)",
        ),
    ],
)
def test_types_that_do_not_fit(
    save_scripted: Save, make_context: MakeContext, types: list[int], type_map: dict[str, int], text: str
) -> None:
    body, inputs = "return (types * positions[:, 0]).sum()", ["positions", "types"]
    force = linked(NNPForce(save_scripted(body, "positions, types", inputs=inputs, type_map=type_map)))
    force.setTypes(types)
    with fails(text):
        make_context(Platform.getPlatform("Reference"), force, np.zeros((12, 3)))


def test_link_atoms_of_all_particles(harmonic: Path, make_context: MakeContext) -> None:
    force = NNPForce(harmonic)
    force.addLinkAtom(0, 1, 0.1)
    with fails(r"has link atoms, but the model sees all particles of the System.*setParticles\(\)"):
        make_context(Platform.getPlatform("Reference"), force, np.zeros((2, 3)))


def test_parents_in_one_place(platform: Platform, places: NNPForce, make_context: MakeContext) -> None:
    """There is no direction between them: an error, after which the Context can be used."""
    x = np.random.default_rng(9).uniform(size=(12, 3))
    context = make_context(platform, places, np.where(np.arange(12)[:, None] == 11, x[10], x))
    with fails("position of link atom 1 is not a finite number|force on link atom 1"):
        energy_and_forces(context)
    context.setPositions(x)
    assert energy(context) == pytest.approx(places_energy(all_positions(x)), rel=1e-5)


def test_force_that_is_no_number(platform: Platform, save_scripted: Save, make_context: MakeContext) -> None:
    force = linked(NNPForce(save_scripted("return torch.sqrt(positions[4, 0] - 10) * 0 + positions.sum()")))
    with fails(r"force on link atom 1 is .*nan.* nearest neighbor of link atom 1 among the particles of the force is"):
        energy_and_forces(make_context(platform, force, np.random.default_rng(9).uniform(size=(12, 3))))


def test_links_of_a_context_are_fixed(places: NNPForce, make_context: MakeContext) -> None:
    x = np.random.default_rng(9).uniform(size=(12, 3))
    context = make_context(Platform.getPlatform("Reference"), places, x)
    places.setLinkAtomParameters(0, 4, 5, 0.2)
    with fails(r"something else of the force was changed \(name, particles, link atoms, .*; call reinitialize"):
        places.updateParametersInContext(context)
    context.reinitialize(preserveState=True)
    links = [(4, 5, 0.2, 1), *LINKS[1:]]
    assert energy(context) == pytest.approx(places_energy(all_positions(x, links=links)), rel=1e-5)
