"""Are the forces the gradient of the energy?"""

from __future__ import annotations

import numpy as np

from .sample import Array
from .subject import Subject, rms
from .verdict import Verdict, judged

__all__ = ["gradient"]

_STEPS = {"float64": 1e-4, "float32": 2e-3}  # nm, of a root mean square over coordinates
_BOUNDS = {"float64": 1e-7, "float32": 1e-3}
_DIRECTIONS = 24
_SECONDS = 20.0


def gradient(subject: Subject) -> list[Verdict]:
    """Derivatives of the energy along random directions, in which all atoms move, against the forces.

    Differences are of fourth order, (8 (E(h) - E(-h)) - E(2h) + E(-2h)) / 12h: those of second order are 9e-3 off for
    stiff bonds at the h of 1e-3 nm that float32 needs at least. Of the error of a direction the root mean square,
    relative to that of the forces, is the figure.
    """
    x, (_, forces) = subject.sample.positions, subject.here
    h, bound = _STEPS[subject.dtype], _BOUNDS[subject.dtype]
    if rms(forces) == 0:
        return [Verdict("gradient", "fail", "all forces are zero at this geometry: is it in the model's length unit?")]
    generator = np.random.default_rng(0)
    directions = generator.normal(size=(subject.affordable(_SECONDS / 4, 6, _DIRECTIONS), *x.shape))
    numeric = np.array([_slope(subject, x, h, d) for d in directions])
    given = -np.einsum("kij,ij->k", directions, forces)
    figure = rms(given - numeric) / rms(forces) / np.sqrt(forces.size)
    text = f"forces against differences of the energy along {len(directions)} directions, h = {h:g} nm"
    if not figure <= bound:
        text += _explained(given, numeric, bound)
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
