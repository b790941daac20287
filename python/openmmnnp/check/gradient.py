"""Are the forces the gradient of the energy?"""

from __future__ import annotations

import numpy as np

from .sample import Array
from .subject import Subject, rms
from .verdict import Verdict, judged

__all__ = ["gradient"]

_STEPS = {"float64": (1e-4, 2e-5, 5e-6, 1e-6), "float32": (5e-4, 1e-3, 2e-3, 2e-4)}  # nm, rms of a coordinate
_BOUNDS = {"float64": 1e-7, "float32": 1e-3}
_DIRECTIONS = 24
_AWAY = 0.002  # nm
_SECONDS = 20.0


def gradient(subject: Subject) -> list[Verdict]:
    """Derivatives of the energy along random directions, in which all atoms move, against the forces.

    Differences are of fourth order, (8 (E(h) - E(-h)) - E(2h) + E(-2h)) / 12h: those of second order are 9e-3 off for
    stiff bonds at an h of 1e-3 nm. Of the error of a direction the root mean square, relative to that of the forces, is
    the figure, with the h at which it is smallest: rounding grows with 1/h and truncation with h^4 (with h where second
    derivatives jump, as those of ANI's CELU networks do), while an error of the forces stays.
    """
    generator, x = np.random.default_rng(0), subject.sample.positions
    if rms(subject.here[1]) == 0:
        return [Verdict("gradient", "fail", "all forces are zero at this geometry: is it in the model's length unit?")]
    x = x + _AWAY * generator.normal(size=x.shape)  # from a minimum, where forces are none
    _, forces = subject.bench.evaluate(x)
    bound, steps = _BOUNDS[subject.dtype], _STEPS[subject.dtype]
    directions = generator.normal(size=(subject.affordable(_SECONDS / 16, 4, _DIRECTIONS), *x.shape))
    given = -np.einsum("kij,ij->k", directions, forces)
    figure, text = np.inf, ""
    for h in steps:
        numeric = np.array([_slope(subject, x, h, direction) for direction in directions])
        error = rms(given - numeric) / rms(forces) / np.sqrt(forces.size)
        if not error >= figure:
            text = f"forces against differences of the energy along {len(directions)} directions, h = {h:g} nm"
            text += "" if error <= bound else _explained(given, numeric, bound)
            figure = error
        if figure <= bound:
            break
    return [judged("gradient", figure, bound, text)]


def _slope(subject: Subject, x: Array, h: float, direction: Array) -> float:
    energies = {k: subject.bench.evaluate(x + k * h * direction)[0] for k in (-2, -1, 1, 2)}
    return (8 * (energies[1] - energies[-1]) - energies[2] + energies[-2]) / (12 * h)


def _explained(given: Array, numeric: Array, bound: float) -> str:
    """Are the forces a multiple of the gradient?"""
    if not np.isfinite(numeric).all() or not numeric.any():
        return "; the energy does not change with the positions"
    factor = float(given @ numeric / (numeric @ numeric))
    rest = rms(given - factor * numeric) / rms(numeric)
    if rest <= max(100 * bound, 1e-3) and abs(factor - 1) > 10 * rest:
        return f"; they are {factor:.6g} times the negative gradient"
    return "; they are not the gradient of this energy, or the energy is too noisy"
