"""Are lengths and energies in the units that the spec says? Told from bonds, as far as it can be told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..spec import ENERGY_UNITS, LENGTH_UNITS
from .sample import Array
from .subject import Subject, masses
from .verdict import Verdict

__all__ = ["units"]

# Covalent radii in nm: B. Cordero et al., Dalton Trans. 2008, 2832. Elements without one form no bond here.
_RADII = {1: 0.031, 5: 0.084, 6: 0.076, 7: 0.071, 8: 0.066, 9: 0.057, 14: 0.111, 15: 0.107, 16: 0.105, 17: 0.102,
          34: 0.120, 35: 0.120, 53: 0.139}  # fmt: skip
_LIGHT = 2.99792458e-2  # cm/ps
_LENGTHS = 0.8, 1.25  # of the sum of two radii
_TYPICAL = 0.9, 1.12  # the same where bonds are known to be right
_WITH_HYDROGEN = 1900.0, 5000.0  # 1/cm; S-H stretches 2600, H2 4400
_WITHOUT = 400.0, 3000.0  # 1/cm; C-I stretches 500, N2 2360
_IMPOSSIBLE = 6000.0  # 1/cm
_BONDS = 40


class _Bond(NamedTuple):
    first: int
    second: int
    has_hydrogen: bool


def units(subject: Subject) -> Iterator[Verdict]:
    """Distances to nearest neighbors and frequencies of bonds, after a minimization, are those of molecules."""
    numbers = subject.sample.numbers
    if numbers is None or len(numbers) < 2 or not set(numbers) <= set(_RADII):
        reason = "needs two atoms or more, all of nonmetals, whose elements are known"
        yield from (Verdict(name, "skipped", reason) for name in ("length unit", "energy unit"))
        return
    x = subject.relaxed
    ratios = _ratios(subject, x)
    nearest, given = _nearest(ratios), _nearest(_ratios(subject, subject.sample.positions))
    yield _lengths(subject, nearest, _TYPICAL[0] <= given <= _TYPICAL[1])
    bonds = _bonds(numbers, ratios)
    if not bonds or not _LENGTHS[0] <= nearest <= _LENGTHS[1]:
        yield Verdict("energy unit", "skipped", "there are no bonds of usual length to judge it by")
        return
    yield _energies(subject, bonds, [_frequency(subject, x, bond) for bond in bonds])


def _ratios(subject: Subject, x: Array) -> Array:
    """Distances [n, n] over sums of covalent radii; infinite on the diagonal."""
    r = x[None] - x[:, None]
    if subject.sample.box is not None:
        box = subject.sample.box
        for k in (2, 1, 0):
            r = r - np.round(r[..., k : k + 1] / box[k, k]) * box[k]
    radii = np.array([_RADII[z] for z in subject.sample.numbers or ()])
    ratios = np.linalg.norm(r, axis=-1) / (radii[None] + radii[:, None])
    np.fill_diagonal(ratios, np.inf)
    return np.asarray(ratios)


def _nearest(ratios: Array) -> float:
    return float(np.median(ratios.min(axis=1)))


def _lengths(subject: Subject, nearest: float, were_bonds: bool) -> Verdict:
    """A molecule that comes apart or collapses, and one that fits in another unit, is wrong; others are doubtful."""
    low, high = _LENGTHS
    text = f"nearest neighbors over sums of covalent radii, median, minimized ({low} to {high})"
    if low <= nearest <= high:
        return Verdict("length unit", "ok", text, nearest)
    said = subject.spec.length_unit if subject.spec is not None else "nm"
    ratios = {unit: nearest * size / LENGTH_UNITS[said] for unit, size in LENGTH_UNITS.items()}
    other = min(ratios, key=lambda unit: abs(np.log(ratios[unit])))
    hint = "" if other == said else f"; as if the model's unit were {other}, not {said}, or it was not trained on bonds"
    fits = other != said and _TYPICAL[0] <= ratios[other] <= _TYPICAL[1]
    return Verdict("length unit", "fail" if fits or were_bonds else "doubtful", text + hint, nearest)


def _bonds(numbers: tuple[int, ...], ratios: Array) -> list[_Bond]:
    """Some bonds, those of hydrogen first, which are stiff in relation to its mass."""
    first, second = np.nonzero(np.triu((ratios >= _LENGTHS[0]) & (ratios <= _LENGTHS[1])))
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    found = [_Bond(i, j, 1 in (numbers[i], numbers[j])) for i, j in pairs]
    return sorted(found, key=lambda bond: not bond.has_hydrogen)[:_BONDS]


def _frequency(subject: Subject, x: Array, bond: _Bond) -> float:
    """Of the stretching of a bond alone, 1/cm, from differences of forces; negative if it is unstable."""
    weights = masses(subject.sample)[[bond.first, bond.second]]
    reduced = weights.prod() / weights.sum()
    direction = x[bond.second] - x[bond.first]
    step = np.zeros_like(x)
    step[bond.first] = -direction / np.linalg.norm(direction) * reduced / weights[0]
    step[bond.second] = direction / np.linalg.norm(direction) * reduced / weights[1]
    h = 1e-4 if subject.precise else 5e-4  # nm
    up, down = (np.sum(subject.bench.evaluate(x + sign * h * step)[1] * step) for sign in (1, -1))
    square = (down - up) / (2 * h) / reduced  # 1/ps^2
    return float(np.sign(square) * np.sqrt(abs(square)) / (2 * np.pi * _LIGHT))


def _energies(subject: Subject, bonds: list[_Bond], frequencies: list[float]) -> Verdict:
    hydrogen = [f for f, bond in zip(frequencies, bonds, strict=True) if bond.has_hydrogen]
    low, high = _WITH_HYDROGEN if hydrogen else _WITHOUT
    figure = max(hydrogen or frequencies)
    kind = "of hydrogen" if hydrogen else "without hydrogen"
    text = f"highest frequency of {len(hydrogen or frequencies)} bonds {kind}, 1/cm ({low:g} to {high:g})"
    if low <= figure <= high:
        return Verdict("energy unit", "ok", text, figure)
    said = subject.spec.energy_unit if subject.spec is not None else "kJ/mol"
    others = [unit for unit, size in ENERGY_UNITS.items()
              if unit != said and low <= abs(figure) * np.sqrt(size / ENERGY_UNITS[said]) <= high]  # fmt: skip
    hint = f"; usual if the model's unit were {' or '.join(others)}, not {said}" if others else ""
    wrong = figure > _IMPOSSIBLE or (figure > 0 and len(others) > 0)
    return Verdict("energy unit", "fail" if wrong else "doubtful", text + hint, figure, high)
