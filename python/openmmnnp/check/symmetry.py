"""What must not change the energy, and must turn the forces: motions of the whole, the order of atoms, the lattice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .sample import Array, Sample
from .subject import Bench, Result, Subject
from .verdict import State, Verdict, judged

__all__ = ["symmetry"]

_SHIFT = np.array([0.137, -0.271, 0.313])  # nm
_MOST = 2000  # particles of a supercell


def symmetry(subject: Subject) -> Iterator[Verdict]:
    """Translation, rotation, permutation, wrapping, supercell and the sum of the forces."""
    x, box = subject.sample.positions, subject.sample.box
    energy, forces = subject.here
    moved = subject.bench.evaluate(x + _SHIFT)
    yield subject.agree("translation", [(moved, (energy, forces))], "all moved by 0.4 nm")
    yield _net_force(subject, moved[1])  # a force towards the origin has no sum where the sample is centered
    yield _rotation(subject)
    yield _permutation(subject)
    if box is None and subject.takes_edges and subject.spec and subject.spec.periodic is not False:
        yield _wrapping_in_wide_box(subject)
        yield Verdict("supercell", "skipped", "the sample has no box")
        return
    if box is None:
        reason = "the model is not used with a box here"
        yield from (Verdict(name, "skipped", reason) for name in ("wrapping", "supercell"))
        return
    cells = np.random.default_rng(1).integers(-1, 2, x.shape)
    wrapped = subject.bench.evaluate(x + cells @ box)
    yield subject.agree("wrapping", [(wrapped, (energy, forces))], "atoms moved by vectors of the lattice")
    yield _supercell(subject, box)


def _wrapping_in_wide_box(subject: Subject) -> Verdict:
    """A model that takes shifts and ignores them is right without a box and wrong with one."""
    x, cutoff = subject.sample.positions, subject.cutoff or 0.0
    box = float(np.ptp(x, axis=0).max() + 2 * cutoff + 0.2) * np.eye(3)
    bench = Bench(subject, replace(subject.sample, box=box))
    cells = np.random.default_rng(1).integers(-1, 2, x.shape)
    pair = bench.evaluate(x + cells @ box), bench.evaluate(x)
    return subject.agree("wrapping", [pair], "in a wide box, atoms moved by its vectors")


def _net_force(subject: Subject, forces: Array) -> Verdict:
    figure = float(np.abs(forces.sum(axis=0)).max() / max(np.abs(forces).sum(), 1e-300))
    return judged("net force", figure, 1e-12 if subject.precise else 1e-5, "sum of the forces over that of their sizes")


def _rotation(subject: Subject) -> Verdict:
    x, box = subject.sample.positions, subject.sample.box
    energy, forces = subject.here
    turned = _turns_of_box(box) if box is not None else [(_random_rotation(k), None) for k in (0, 1)]
    what = "turned at random" if box is None else "turned with the box"
    pairs: list[tuple[Result, Result]] = []
    for rotation, new_box in turned:
        found = subject.bench.evaluate(x @ rotation.T, new_box)
        pairs.append((found, (energy, forces @ rotation.T)))
    if box is not None:
        subject.bench.evaluate(x, box)  # others find the box as it was
    return subject.agree("rotation", pairs, what)


def _random_rotation(seed: int) -> Array:
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return np.asarray(q * np.linalg.det(q))


def _turns_of_box(box: Array) -> list[tuple[Array, Array | None]]:
    """Rotations after which the lattice has a box in OpenMM's reduced form, and that box."""
    half = np.diag([-1.0, -1.0, 1.0])
    turned = box @ half
    turned[:2] *= -1  # a and b themselves: the lattice has both signs
    turned[2] -= turned[1] * np.round(turned[2, 1] / turned[1, 1])
    turned[2] -= turned[0] * np.round(turned[2, 0] / turned[0, 0])
    turns: list[tuple[Array, Array | None]] = [(half, turned)]
    if np.array_equal(box, np.diag(np.diag(box))):
        cycle = np.roll(np.eye(3), 1, axis=0)  # x to y to z
        turns.append((cycle, np.diag(cycle @ np.diag(box))))
    return turns


def _permutation(subject: Subject) -> Verdict:
    """Models made for certain atoms may know their order: only atoms of one element change places then."""
    sample, spec = subject.sample, subject.spec
    otherwise: State = "fail"
    kinds = np.zeros(sample.n, dtype=int)
    what = "atoms in another order"
    known = spec is not None and ("atomic_numbers" in spec.inputs or "types" in spec.inputs)
    if not known and not subject.dynamic:
        return Verdict("permutation", "skipped", "the model takes no elements and may know the order of its atoms")
    if spec is not None and (spec.atomic_numbers is not None or spec.particles != "dynamic"):
        kinds = np.array(sample.numbers if sample.numbers is not None else kinds)
        otherwise, what = "doubtful", "atoms of one element in another order (a model made for them may know it)"
    order, generator = np.arange(sample.n), np.random.default_rng(2)
    for kind in set(kinds.tolist()):
        places = np.flatnonzero(kinds == kind)
        order[places] = generator.permutation(places)
    bench = Bench(subject, _ordered(sample, order))
    energy, forces = subject.here
    found = bench.evaluate(sample.positions[order])
    return subject.agree("permutation", [(found, (energy, forces[order]))], what, otherwise)


def _ordered(sample: Sample, order: NDArray[np.intp]) -> Sample:
    numbers = None if sample.numbers is None else tuple(sample.numbers[i] for i in order)
    types = None if sample.types is None else tuple(sample.types[i] for i in order)
    return replace(sample, positions=sample.positions[order], numbers=numbers, types=types)


def _supercell(subject: Subject, box: Array) -> Verdict:
    sample = subject.sample
    if not subject.dynamic or 2 * sample.n > _MOST:
        reason = "the number of particles is fixed" if not subject.dynamic else "the box has too many atoms"
        return Verdict("supercell", "skipped", reason)
    energy, forces = subject.here
    twice = doubled(sample, sample.positions, sample.positions + box[0])
    bench = Bench(subject, replace(twice, box=np.array([2 * box[0], box[1], box[2]])))
    found, offset = bench.evaluate(twice.positions), bench.offset
    expected = offset + 2 * (energy - subject.bench.offset), np.tile(forces, (2, 1))
    return subject.agree("supercell", [(found, expected)], "two cells side by side against twice the one")


def doubled(sample: Sample, first: Array, second: Array) -> Sample:
    """Two copies of the sample at these positions."""
    return replace(
        sample,
        positions=np.concatenate([first, second]),
        numbers=None if sample.numbers is None else 2 * sample.numbers,
        types=None if sample.types is None else 2 * sample.types,
        charge=2 * sample.charge,
    )
