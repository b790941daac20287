"""Statistics of the report: errors of a mean and of a slope from correlated samples, errors of a model. NumPy only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Estimate", "blocked", "inefficiency", "mae", "mean", "rmse", "slope"]

Array = NDArray[np.float64]

BLOCKS = 100  # at most: a long series is averaged in this many blocks before its correlation is looked at
PARTS = 8  # of a series, whose slopes tell the error of a slope
FEW = 10  # fewer independent samples than this say little of their own error


class Estimate(NamedTuple):
    """A value, its standard error (NaN where it can't be told) and the number of independent samples behind it."""

    value: float
    error: float
    samples: float

    @property
    def reliable(self) -> bool:
        """Is the error more than an order of magnitude?"""
        return self.samples >= FEW


def rmse(differences: Array) -> float:
    """Root mean square of an array of any shape; NaN if it is empty."""
    return float(np.sqrt(np.mean(np.square(differences)))) if differences.size else float("nan")


def mae(differences: Array) -> float:
    """Mean absolute value of an array of any shape; NaN if it is empty."""
    return float(np.mean(np.abs(differences))) if differences.size else float("nan")


def blocked(values: Array, blocks: int = BLOCKS) -> Array:
    """Means of (at most) `blocks` consecutive blocks of equal length; a rest at the end is left out."""
    length = max(1, len(values) // blocks)
    return np.asarray(values[: len(values) // length * length].reshape(-1, length).mean(axis=1))


def inefficiency(values: Array) -> float:
    """Number of samples that count as one, 1 + 2 sum_k (1 - k/n) C(k), summed until C(k) first falls to 0.

    C is the normalized autocorrelation of `values` [n] about their mean.
    """
    n, centered = len(values), values - values.mean()
    variance = float(centered @ centered)
    if n < 3 or variance == 0:
        return 1.0
    total = 1.0
    for k in range(1, n - 1):
        correlation = float(centered[:-k] @ centered[k:]) / variance * n / (n - k)
        if correlation <= 0:
            break
        total += 2 * (1 - k / n) * correlation
    return total


def mean(values: Array) -> Estimate:
    """Mean of a correlated series [n], its error from the inefficiency of block means; NaNs are left out."""
    values = values[np.isfinite(values)]
    if not len(values):
        return Estimate(float("nan"), float("nan"), 0.0)
    if values.min() == values.max():
        return Estimate(float(values[0]), 0.0, float(len(values)))
    means = blocked(values)
    samples = len(means) / inefficiency(means)
    error = float(means.std(ddof=1) / np.sqrt(samples)) if len(means) > 1 else float("nan")
    return Estimate(float(values.mean()), error, samples)


def slope(times: Array, values: Array) -> tuple[float, float]:
    """Slope of `values` [n] over `times` [n] by least squares, and its standard error; NaN for less than 24 values.

    The error is the standard deviation of the slopes of eight equal parts, divided by eight. That is right for noise
    with a memory of all lengths (1/f, slopes scatter as 1/length), which the total energy of Verlet dynamics has:
    errors from block averages are half of the scatter then. For noise without memory it is 2.8 times too large.
    """
    length = len(values) // PARTS
    if length < 3:
        return float("nan"), float("nan")
    parts = [_least_squares(times[k : k + length], values[k : k + length]) for k in range(0, PARTS * length, length)]
    return _least_squares(times, values), float(np.std(parts, ddof=1)) / PARTS


def _least_squares(times: Array, values: Array) -> float:
    centered = times - times.mean()
    return float(centered @ values / (centered @ centered))
