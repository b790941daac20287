"""The neighbor list on its own, against brute force in NumPy and against vesin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neighbors_oracle import CUBE, SLANTED, SMALL, brute_force
from openmmnnp import NeighborList

pytestmark = pytest.mark.asan


def check(positions: np.ndarray, cutoff: float, box: np.ndarray | None = None, kind: Any = "full") -> np.ndarray:
    edges, cells = NeighborList(cutoff, edges=kind).find(positions, box)
    expected_edges, expected_cells = brute_force(positions, cutoff, box, kind == "half")
    np.testing.assert_array_equal(edges, expected_edges)
    np.testing.assert_array_equal(cells, expected_cells)
    return edges


@pytest.mark.parametrize("kind", ["full", "half"])
@pytest.mark.parametrize("box", [None, CUBE, SLANTED, SMALL], ids=["none", "cube", "slanted", "small"])
@pytest.mark.parametrize("n", [1, 2, 3, 17, 150])
def test_gas(n: int, box: np.ndarray | None, kind: str) -> None:
    """Particles lie up to two boxes away; in the small box each has several images of itself."""
    x = np.random.default_rng(n).uniform(-2, 4, (n, 3)) * (0.4 if box is SMALL else 1)
    edges = check(x, 0.7, box, kind)
    if box is SMALL:
        assert len(edges[0]) >= n


def test_no_particles() -> None:
    edges, cells = NeighborList(1.0).find(np.zeros((0, 3)), CUBE)
    assert edges.shape == (2, 0) and cells.shape == (0, 3)


@pytest.mark.parametrize("box", [None, CUBE])
def test_nothing_within_the_cutoff(box: np.ndarray | None) -> None:
    edges, cells = NeighborList(0.1).find([[0, 0, 0], [1, 1, 1]], box)
    assert edges.shape == (2, 0) and cells.shape == (0, 3)


def test_the_cutoff_itself_is_outside() -> None:
    x = np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0]])
    assert NeighborList(0.5).find(x)[0].shape[1] == 0
    assert NeighborList(np.nextafter(0.5, 1)).find(x)[0].shape[1] == 4
    assert NeighborList(0.5).find(x, CUBE)[0].shape[1] == 0


@pytest.mark.parametrize("neighbors", [(0.9, 0), (1.1, 6), (1.5, 18), (1.8, 26), (2.1, 32), (2.3, 56)])
@pytest.mark.parametrize("cells", [1, 2, 5])
def test_crystal(cells: int, neighbors: tuple[float, int]) -> None:
    """A simple cubic lattice: 6, 12, 8, 6, 24 neighbors at 1, sqrt 2, sqrt 3, 2, sqrt 5, whatever the box."""
    cutoff, count = neighbors
    x = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), axis=-1).reshape(-1, 3).astype(float)
    edges = check(x, cutoff, cells * np.eye(3))
    assert (np.bincount(edges[0], minlength=len(x)) == count).all()


def test_particles_on_the_faces_of_cells() -> None:
    steps = np.arange(-4, 9) * 0.25  # multiples of the cutoff and of the box
    x = np.stack(np.meshgrid(steps, steps, [0.0, 1.0], indexing="ij"), axis=-1).reshape(-1, 3)
    check(x, 0.25, CUBE)
    check(x, np.nextafter(0.25, 1), CUBE)


def test_far_away_from_the_box() -> None:
    generator = np.random.default_rng(1)
    x = generator.uniform(0, 2, (40, 3))
    away = generator.integers(-20000, 20000, (40, 3))
    edges, cells = NeighborList(0.7).find(x + away @ SLANTED, SLANTED)
    expected, expected_cells = brute_force(x, 0.7, SLANTED)
    np.testing.assert_array_equal(edges, expected)
    np.testing.assert_array_equal(cells, expected_cells + away[expected[0]] - away[expected[1]])


@pytest.mark.parametrize("kind", ["full", "half"])
@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("n", [500, 20_000, 200_000])
def test_vesin(n: int, periodic: bool, kind: str) -> None:
    """The same pairs as vesin; of a half list it may take the other one of the two."""
    vesin = pytest.importorskip("vesin")
    box = SLANTED * (n / 200) ** (1 / 3)
    cutoff = 0.4 if n < 200_000 else 0.25
    x = np.random.default_rng(n).uniform(0, 1, (n, 3)) @ box
    (i, j), cells = NeighborList(cutoff, edges=kind).find(x, box if periodic else None)  # type: ignore[arg-type]
    found = vesin.NeighborList(cutoff=cutoff, full_list=kind == "full").compute(x, box, periodic, "ijS", copy=True)
    theirs = np.column_stack(found).astype(np.int64)
    other = np.column_stack([theirs[:, 1], theirs[:, 0], -theirs[:, 2:]])
    if kind == "half":
        swap = (theirs[:, 0] > theirs[:, 1]) | (theirs[:, 0] == theirs[:, 1]) & (other > theirs)[:, 2:].any(axis=1)
        theirs = np.where(swap[:, None], other, theirs)
    order = np.lexsort(theirs.T[::-1])
    np.testing.assert_array_equal(np.column_stack([i, j, cells]), theirs[order])


boxes = st.builds(
    lambda a, b, c, s: np.array([[a, 0, 0], [s[0] * a, b, 0], [s[1] * a, s[2] * b, c]]),
    *[st.floats(0.4, 3.0)] * 3,
    st.tuples(*[st.floats(-0.5, 0.5)] * 3),
)


@settings(max_examples=200, deadline=None)
@given(
    n=st.integers(1, 40),
    cutoff=st.floats(0.1, 1.2),
    box=st.none() | boxes,
    kind=st.sampled_from(["full", "half"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_gas(n: int, cutoff: float, box: np.ndarray | None, kind: str, seed: int) -> None:
    x = np.random.default_rng(seed).uniform(-1, 2, (n, 3))
    check(x, cutoff, box, kind)


@settings(max_examples=100, deadline=None)
@given(
    n=st.integers(1, 60),
    skin=st.floats(0, 0.6),
    box=st.none() | boxes,
    step=st.floats(0, 0.2),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_skin_gives_the_same(n: int, skin: float, box: np.ndarray | None, step: float, seed: int) -> None:
    """Whatever moves, and when the candidates were found: particles, particles by whole boxes, the box."""
    generator = np.random.default_rng(seed)
    kept, x = NeighborList(0.5, skin=skin), generator.uniform(-1, 2, (n, 3))
    for _ in range(6):
        x = x + generator.uniform(-step, step, (n, 3))
        if box is not None and generator.random() < 0.3:
            x = x + generator.integers(-2, 3, (n, 3)) @ box
        if box is not None and generator.random() < 0.3:
            box, x = box * 1.01, x * 1.01
        for found, fresh in zip(kept.find(x, box), NeighborList(0.5).find(x, box), strict=True):
            np.testing.assert_array_equal(found, fresh)


@pytest.mark.parametrize("box", [None, CUBE])
@pytest.mark.parametrize("skin", [10.0, 1e12, 1e300])
def test_huge_skin(skin: float, box: np.ndarray | None) -> None:
    x = np.random.default_rng(1).uniform(-1, 2, (60, 3))
    np.testing.assert_array_equal(NeighborList(0.5, skin=skin).find(x, box)[0], brute_force(x, 0.5, box)[0])


def test_particles_that_left() -> None:
    """Without a box they may be anywhere; those that are near each other there are neighbors."""
    x = np.random.default_rng(1).uniform(0, 1, (700, 3))
    expected = brute_force(x, 0.2)[0]
    for away in (1e3, 1e15, 1e308):
        gone = np.concatenate([x, [[away, 0, 0], [away, 0, 0], [-away, 0, away]]])
        found = NeighborList(0.2).find(gone)[0]
        np.testing.assert_array_equal(found[:, :-2], expected)
        assert found[:, -2:].tolist() == [[700, 701], [701, 700]]


def test_particles_beyond_all_boxes() -> None:
    x = np.array([[0.0, 0, 0], [1e10, 0, 0]])
    assert NeighborList(0.5).find(x / 10, CUBE)[0].shape == (2, 2)
    for far in (x, x * 1e290):
        with pytest.raises(ValueError, match="The position number 1 is more than a billion boxes away"):
            NeighborList(0.5).find(far, CUBE)


def test_box_comes_and_goes() -> None:
    kept, x = NeighborList(0.5, skin=0.1), np.random.default_rng(2).uniform(0, 2, (50, 3))
    for box in (None, CUBE, None, SLANTED):
        np.testing.assert_array_equal(kept.find(x, box)[0], brute_force(x, 0.5, box)[0])


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"cutoff": 0.0}, "The cutoff is 0.000000, but a length above 0 is needed"),
        ({"cutoff": np.inf}, "The cutoff is inf, but a length above 0 is needed"),
        ({"cutoff": 1.0, "skin": -0.1}, "The skin is -0.100000, but a length of 0 or more is needed"),
        ({"cutoff": 1.0, "edges": "both"}, "edges is 'both', but must be one of full, half"),
        ({"cutoff": 1.0, "small_box": "no"}, "small_box is 'no', but must be one of images, refuse"),
    ],
)
def test_wrong_options(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        NeighborList(**arguments)


@pytest.mark.parametrize(
    "positions, box, text",
    [
        (np.zeros((2, 2)), None, r"positions have the shape \[2, 2\], but \[n, 3\] is needed"),
        (np.zeros((2, 3)), np.ones(3), r"box has the shape \[3\], but \[3, 3\] is needed"),
        (np.full((2, 3), np.nan), None, "A position that is not finite was given; finite numbers are needed"),
        (np.zeros((2, 3)), np.full((3, 3), np.inf), "A box vector that is not finite was given"),
        (np.zeros((2, 3)), np.ones((3, 3)), "The box vectors are not in OpenMM's reduced form"),
        (np.zeros((2, 3)), 1e-11 * np.eye(3), "more than 500 times as long as the periodic box"),
        (np.zeros((2, 3)), -np.eye(3), "The box vectors are not in OpenMM's reduced form"),
        (np.zeros((2, 3)), np.array([[1.0, 0, 0], [0.6, 1, 0], [0, 0, 1]]), "not in OpenMM's reduced form"),
    ],
)
def test_wrong_input(positions: np.ndarray, box: np.ndarray | None, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        NeighborList(0.5).find(positions, box)


def test_small_box_can_be_refused() -> None:
    """The slanted box is 2 nm long, but its faces are closer to each other."""
    heights = 1 / np.linalg.norm(np.linalg.inv(SLANTED), axis=0)
    strict = NeighborList(heights.min() / 2 * 1.001, small_box="refuse")
    with pytest.raises(ValueError, match="less than twice the model's cutoff .* use a larger box"):
        strict.find(np.zeros((2, 3)), SLANTED)
    NeighborList(heights.min() / 2 * 0.999, small_box="refuse").find(np.zeros((2, 3)), SLANTED)
