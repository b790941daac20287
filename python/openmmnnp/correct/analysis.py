"""Free energy differences from works or from energy gaps, and whether they can be trusted. Energies in kJ/mol.

H(lambda) is linear in lambda, so that the reduced energies of a sample are lambda dH/dlambda/kT but for a constant,
which MBAR does not see: one number for each sample, the energy gap E(ML/MM) - E(MM), is enough.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GAS_CONSTANT = 8.31446261815324e-3  # kJ/mol/K
# P. V. Klimovich, M. R. Shirts, D. L. Mobley, J. Comput. Aided Mol. Des. 2015, 29, 397: elements of the overlap matrix
# between neighbors below this make the estimate and its uncertainty unreliable.
LEAST_OVERLAP = 0.03
LEAST_SAMPLES = 10  # independent ones of each state
MOST_DRIFT = 4.0  # standard errors between the estimates of the first and of the second half


_NEGLIGIBLE = 1e-3  # kJ/mol: two models that are the same differ by rounding
OVERLAP, SAMPLES, DRIFT = "overlap", "samples", "drift"


@dataclass(frozen=True)
class Doubt:
    """Why a result is not to be used: OVERLAP, SAMPLES or DRIFT, and the finding in words."""

    cause: str
    text: str


@dataclass(frozen=True)
class Estimate:
    """A free energy difference with its standard error, and what speaks for and against it.

    `overlap` [K, K] is the overlap matrix of the states, `independent` the number of independent samples of each,
    `halves` the estimates of the first and second half of the samples, `crossing` where Gaussians fitted to the works
    cross (None for MBAR). `doubt` is what forbids to use `value`.
    """

    value: float
    error: float
    overlap: Floats
    independent: tuple[int, ...]
    halves: tuple[float, float]
    crossing: float | None
    doubt: Doubt | None

    @property
    def least_overlap(self) -> float:
        """The smallest element of the overlap matrix between neighbors."""
        return float(min(np.diag(self.overlap, 1).min(), np.diag(self.overlap, -1).min()))


def bar(forward: Floats, reverse: Floats, temperature: float) -> Estimate:
    """The Bennett acceptance ratio of works in both directions, each done on the system.

    G. E. Crooks, Phys. Rev. E 1999, 60, 2721; M. R. Shirts et al., Phys. Rev. Lett. 2003, 91, 140601. All works are
    used; the error is for as many as are independent.
    """
    works = (np.asarray(forward, float), np.asarray(reverse, float))
    inefficiency = [_inefficiency(w) for w in works]
    whole = _bar(*works, temperature)
    halves = [_bar(half(works[0]), half(works[1]), temperature) for half in (_first, _second)]
    factor = math.sqrt(max(inefficiency))
    overlap = _overlap_of_two(*works, whole[0], temperature)
    independent = tuple(int(len(w) / g) for w, g in zip(works, inefficiency, strict=True))
    return _judged(whole[0], factor * whole[1], overlap, independent, halves, factor, _crossing(*works))


def mbar(lambdas: Sequence[float], gaps: Sequence[Floats], temperature: float) -> Estimate:
    """The multistate Bennett acceptance ratio of energy gaps E(ML/MM) - E(MM), sampled at each lambda.

    M. R. Shirts, J. D. Chodera, J. Chem. Phys. 2008, 129, 124105. Of correlated samples so many are used as are
    independent (J. D. Chodera et al., J. Chem. Theory Comput. 2007, 3, 26). The difference is from the first state to
    the last.
    """
    series = [_independent(np.asarray(g, float)) for g in gaps]
    counts = tuple(map(len, series))
    pairs = _overlap_of_neighbors(lambdas, series, temperature)
    if not np.diag(pairs, 1).min() >= LEAST_OVERLAP:  # MBAR would take minutes, and its overlap be no larger
        return _judged(math.nan, math.nan, pairs, counts, [(math.nan, math.nan)] * 2, 1.0, None)
    value, error, overlap = _mbar(lambdas, series, temperature)
    halves = [_mbar(lambdas, [half(g) for g in series], temperature)[:2] for half in (_first, _second)]
    return _judged(value, error, overlap, counts, halves, 1.0, None)


def _judged(
    value: float,
    error: float,
    overlap: Floats,
    independent: tuple[int, ...],
    halves: Sequence[tuple[float, float]],
    factor: float,
    crossing: float | None,
) -> Estimate:
    found = Estimate(value, error, overlap, independent, (halves[0][0], halves[1][0]), crossing, None)
    return replace(found, doubt=_doubt(found, factor * math.hypot(halves[0][1], halves[1][1])))


def _doubt(found: Estimate, halves_error: float) -> Doubt | None:
    between = np.minimum(np.diag(found.overlap, 1), np.diag(found.overlap, -1))
    worst = int(np.argmin(between))
    if not between[worst] >= LEAST_OVERLAP or not math.isfinite(found.value):
        what = "the works of both directions" if len(between) == 1 else f"the states {worst} and {worst + 1}"
        return Doubt(OVERLAP, f"{what} overlap by {between[worst]:.2g}, and {LEAST_OVERLAP:g} is needed")
    fewest = min(found.independent)
    if fewest < LEAST_SAMPLES:
        return Doubt(SAMPLES, f"there are {fewest} independent samples of a state, and {LEAST_SAMPLES} are needed")
    apart = abs(found.halves[0] - found.halves[1])
    if not apart <= MOST_DRIFT * halves_error + _NEGLIGIBLE:
        errors = apart / halves_error if halves_error else math.inf
        return Doubt(DRIFT, f"the two halves of the samples differ by {errors:.1f} standard errors")
    return None


def _bar(forward: Floats, reverse: Floats, temperature: float) -> tuple[float, float]:
    """Value and standard error; NaN where the works are too far apart for a solution."""
    pymbar = load_pymbar()
    kt = GAS_CONSTANT * temperature
    if min(len(forward), len(reverse)) == 0:
        return math.nan, math.nan
    gaps = np.concatenate([forward, -reverse])
    if np.ptp(gaps) < _NEGLIGIBLE:
        return float(gaps.mean()), 0.0
    # Absolute energies of a model would cost digits, and pymbar's tolerance is relative: the result is about 10 kT.
    zero = float(forward.mean() - reverse.mean()) / 2 - 10 * kt
    works = (forward - zero) / kt, (reverse + zero) / kt
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = pymbar.bar(*works, relative_tolerance=1e-10)
    except (pymbar.utils.ConvergenceError, pymbar.utils.BoundsError, pymbar.utils.ParameterError):
        return math.nan, math.nan
    return zero + kt * float(found["Delta_f"]), kt * float(found["dDelta_f"])


def _mbar(lambdas: Sequence[float], gaps: Sequence[Floats], temperature: float) -> tuple[float, float, Floats]:
    pymbar = load_pymbar()
    kt = GAS_CONSTANT * temperature
    counts = np.array([len(g) for g in gaps])
    if counts.min() == 0:
        return math.nan, math.nan, np.zeros((len(gaps), len(gaps)))
    every = np.concatenate(gaps)
    middle = float(every.mean())
    u = np.asarray(lambdas)[:, None] * (every - middle)[None] / kt
    if np.ptp(every) < _NEGLIGIBLE:
        return (lambdas[-1] - lambdas[0]) * middle, 0.0, _overlap(u, counts, np.zeros(len(gaps)))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            solved = pymbar.MBAR(u, counts)
            found = solved.compute_free_energy_differences()
        except (pymbar.utils.ConvergenceError, pymbar.utils.ParameterError, ValueError, FloatingPointError):
            return math.nan, math.nan, np.zeros((len(gaps), len(gaps)))
    span = lambdas[-1] - lambdas[0]
    value = span * middle + kt * float(found["Delta_f"][0, -1])
    return value, kt * float(found["dDelta_f"][0, -1]), _overlap(u, counts, np.asarray(solved.f_k))


def _overlap_of_neighbors(lambdas: Sequence[float], gaps: Sequence[Floats], temperature: float) -> Floats:
    """The overlap matrix [K, K] of neighbors, each pair taken alone; 0 elsewhere."""
    found = np.zeros((len(gaps), len(gaps)))
    for k in range(len(gaps) - 1):
        width = lambdas[k + 1] - lambdas[k]
        works = width * gaps[k], -width * gaps[k + 1]
        pair = _overlap_of_two(*works, _bar(*works, temperature)[0], temperature)
        found[k, k + 1], found[k + 1, k] = pair[0, 1], pair[1, 0]
    return found


def _overlap_of_two(forward: Floats, reverse: Floats, difference: float, temperature: float) -> Floats:
    """The overlap matrix [2, 2] of the ensembles of forward and of reversed works."""
    if not math.isfinite(difference):
        return np.zeros((2, 2))
    gaps = (np.concatenate([forward, -reverse]) - difference) / (GAS_CONSTANT * temperature)
    return _overlap(np.stack([np.zeros_like(gaps), gaps]), np.array([len(forward), len(reverse)]), np.zeros(2))


def _overlap(u: Floats, counts: NDArray[np.int64], f: Floats) -> Floats:
    """O_ij = N_j sum_n W_in W_jn of reduced energies u [K, N] and free energies f [K] (Klimovich et al.)."""
    logarithms = f[:, None] - u
    highest = logarithms.max(axis=0)
    weights = np.exp(logarithms - highest)
    weights /= (counts[:, None] * weights).sum(axis=0)
    found: Floats = (weights @ weights.T) * counts[None]
    return found


def _crossing(forward: Floats, reverse: Floats) -> float | None:
    """Where Gaussians fitted to the works and the negative reverse works cross, between their means.

    M. Goette, H. Grubmueller, J. Comput. Chem. 2009, 30, 447. None if they do not cross there.
    """
    a, b = forward.mean(), -reverse.mean()
    s, t = (max(float(np.std(w)), 1e-12) for w in (forward, reverse))
    center = (a + b) / 2
    a, b = a - center, b - center
    # -(x - a)^2/2s^2 - ln s = -(x - b)^2/2t^2 - ln t
    quadratic = [1 / t**2 - 1 / s**2, 2 * (a / s**2 - b / t**2), (b / t) ** 2 - (a / s) ** 2 + 2 * math.log(t / s)]
    roots = [float(x.real) for x in np.roots(quadratic) if abs(x.imag) < 1e-9 and min(a, b) <= x.real <= max(a, b)]
    return float(center) + min(roots, key=abs) if roots else None


def _inefficiency(series: Floats) -> float:
    """How many samples of a series are worth one independent one."""
    if len(series) < 3 or np.ptp(series) == 0:
        return 1.0
    return float(load_pymbar().timeseries.statistical_inefficiency(series))


def _independent(series: Floats) -> Floats:
    indices = load_pymbar().timeseries.subsample_correlated_data(series, g=_inefficiency(series))
    chosen: Floats = series[np.asarray(indices, int)]
    return chosen


def _first(series: Floats) -> Floats:
    return series[: len(series) // 2]


def _second(series: Floats) -> Floats:
    return series[len(series) // 2 :]


def load_pymbar() -> Any:
    """The package, which is not to speak of JAX and of solvers. Raises ImportError that says what to install."""
    logging.getLogger("pymbar").setLevel(logging.CRITICAL)
    try:
        import pymbar
    except ImportError as error:
        raise ImportError(
            "corrections need pymbar, which is not installed: run pip install 'openmm-nnp[correct]'"
        ) from error
    return pymbar
