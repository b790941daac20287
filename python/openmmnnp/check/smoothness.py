"""Does the energy, or do the forces, jump where atoms come into or out of sight of each other?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from .sample import Array, Sample
from .subject import Bench, Subject
from .symmetry import doubled
from .verdict import Verdict, judged

__all__ = ["neighbors", "smoothness"]

Path = Callable[[float], Array]
"""Positions [n, 3] in nm at 0 to 1."""

_SECONDS = 10.0
_STEPS = (24, 80)
_HALVINGS = {"float64": 15, "float32": 9}
_CANDIDATES = 3
_DENSE = 125  # particles
_NEIGHBORS = 100  # of an inner one
_FORCE_BOUNDS = {"float64": 1e-6, "float32": 2e-3}


@dataclass(frozen=True)
class _Point:
    at: float
    positions: Array
    energy: float
    forces: Array


@dataclass(frozen=True)
class _Jumps:
    """The largest of the energy in kJ/mol and of the forces, relative to their norm; 0 for none."""

    energy: float
    force: float


def smoothness(subject: Subject) -> Iterator[Verdict]:
    """The sample is deformed, and two copies of it are pulled apart beyond the cutoff."""
    generator, x = np.random.default_rng(3), subject.sample.positions
    deformation = 0.01 * generator.normal(size=x.shape)
    jumps = [_largest(subject, subject.bench, lambda s: x + s * deformation)]
    what = "along a deformation of the sample"
    if subject.dynamic and subject.sample.box is None and not subject.sample.charge:
        pulled, path = _pulled_apart(subject)
        jumps.append(_largest(subject, Bench(subject, pulled), path))
        what += " and while two copies are pulled apart"
    yield from _judge(subject, "smoothness", subject.bench, jumps, what)


def neighbors(subject: Subject) -> Iterator[Verdict]:
    """A dense cluster is deformed: where a model sees only so many neighbors, they change places in jumps."""
    if not subject.dynamic or subject.sample.box is not None or subject.sample.charge:
        reason = "needs a model of any number of neutral particles without a box"
        yield Verdict("neighbor limit", "skipped", reason)
        return
    cluster = _dense(subject)
    bench = Bench(subject, cluster)
    seconds = bench.timed(cluster.positions, 1e-7)
    if seconds * 80 > 12 * _SECONDS:
        yield Verdict("neighbor limit", "skipped", f"an evaluation of {_DENSE} atoms takes {seconds:.1f} s")
        return
    deformation = 0.02 * np.random.default_rng(4).normal(size=cluster.positions.shape)
    jumps = [_largest(subject, bench, lambda s: cluster.positions + s * deformation, _STEPS[0])]
    what = f"along a deformation of {_DENSE} atoms, with about {_NEIGHBORS} neighbors"
    yield from _judge(subject, "neighbor limit", bench, jumps, what)


def _judge(subject: Subject, name: str, bench: Bench, jumps: list[_Jumps], what: str) -> Iterator[Verdict]:
    energy, force = max(j.energy for j in jumps), max(j.force for j in jumps)
    total = bench.evaluate(bench.sample.positions)[0]
    own = abs(total - bench.offset)
    noise = 4e-6 * own + 4e-5 * bench.sample.n + 1e-2
    bound = 1e-6 + 1e-11 * own + 1e-14 * abs(total) if subject.precise else noise
    yield judged(name, energy, bound, f"largest jump of the energy {what}, kJ/mol")
    text = f"largest jump of the forces {what}, relative"
    yield judged(f"{name}, forces", force, _FORCE_BOUNDS[subject.dtype], text, "doubtful")


def _pulled_apart(subject: Subject) -> tuple[Sample, Path]:
    x = subject.sample.positions
    width, reach = float(np.ptp(x[:, 0])), (subject.cutoff or 1.0) + 0.1
    axis = np.array([1.0, 0.0, 0.0])

    def path(s: float) -> Array:
        return np.concatenate([x, x + (width + 0.2 + s * (reach - 0.2)) * axis])

    return doubled(subject.sample, x, path(0.0)[len(x) :]), path


def _dense(subject: Subject) -> Sample:
    """A cluster of the sample's elements on a distorted lattice."""
    sample, generator = subject.sample, np.random.default_rng(5)
    spacing = float(np.clip((subject.cutoff or 0.5) * (4 * np.pi / 3 / _NEIGHBORS) ** (1 / 3), 0.12, 0.35))
    edge = round(_DENSE ** (1 / 3))
    grid = np.stack(np.meshgrid(*3 * [np.arange(edge)], indexing="ij"), -1).reshape(-1, 3) - (edge - 1) / 2
    positions = spacing * (grid + generator.uniform(-0.15, 0.15, grid.shape))
    kinds = list(dict.fromkeys(zip(sample.numbers or sample.n * [0], sample.types or sample.n * [0], strict=True)))
    chosen = [kinds[k] for k in generator.integers(0, len(kinds), _DENSE)]
    return replace(
        sample,
        positions=positions,
        numbers=None if sample.numbers is None else tuple(z for z, _ in chosen),
        types=None if sample.types is None else tuple(t for _, t in chosen),
    )


def _largest(subject: Subject, bench: Bench, path: Path, steps: int = 0) -> _Jumps:
    """Look at steps whose energy differs most from the work of the forces, and whose forces change most; halve them."""

    def at(s: float) -> _Point:
        positions = path(s)
        return _Point(s, positions, *bench.evaluate(positions))

    count = steps or subject.affordable(_SECONDS, *_STEPS)
    points = [at(s) for s in np.linspace(0, 1, count + 1)]
    pairs = list(zip(points, points[1:], strict=False))
    halvings = _HALVINGS[subject.dtype]
    energies = [_narrowed(at, pairs[k], _unexplained, halvings) for k in _outliers([_unexplained(p) for p in pairs])]
    forces = [_narrowed(at, pairs[k], _changed, halvings) for k in _outliers([_changed(p) for p in pairs])]
    return _Jumps(max(energies), max(forces))


def _outliers(values: list[float]) -> Iterator[int]:
    """Indices of those that stand out most from the median of five around them."""
    padded = np.pad(np.array(values), 2, mode="reflect")
    medians = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    yield from np.argsort(-np.abs(values - medians))[:_CANDIDATES].tolist()


def _unexplained(pair: tuple[_Point, _Point]) -> float:
    """Change of the energy that is not the work of the forces, kJ/mol."""
    first, second = pair
    work = 0.5 * float(np.sum((first.forces + second.forces) * (second.positions - first.positions)))
    return abs(second.energy - first.energy + work)


def _changed(pair: tuple[_Point, _Point]) -> float:
    """Change of the forces relative to them."""
    size = max(float(np.linalg.norm(pair[0].forces)), 1e-9)
    return float(np.linalg.norm(pair[1].forces - pair[0].forces)) / size


def _narrowed(
    at: Callable[[float], _Point],
    pair: tuple[_Point, _Point],
    measure: Callable[[tuple[_Point, _Point]], float],
    halvings: int,
) -> float:
    """The jump in an interval; 0 if what is measured there goes to 0 with its length."""
    sizes = []
    for _ in range(halvings):
        middle = at((pair[0].at + pair[1].at) / 2)
        pair = max((pair[0], middle), (middle, pair[1]), key=measure)
        sizes.append(measure(pair))
    return sizes[-1] if sizes[-1] > 0.5 * sizes[-4] else 0.0
