"""The physics that a figure must pass to count: forces of the bare model, and an energy that drifts no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

FORCE_ERROR = 1e-4  # of the root mean square of the forces, in float32 against the model in float64
ERRORS = 4.0  # standard errors by which drifts may differ
LEAST_POINTS = 8  # for a slope

Exact = Callable[[np.ndarray, np.ndarray], np.ndarray]


def force_error(session: Any, exact: Exact) -> float:
    """Root mean square of the error of the model's forces where the session is, relative to the forces."""
    x, box, forces = session.forces()
    right = exact(x, box)
    size = np.sqrt((right**2).mean())
    off = np.sqrt(((forces - right) ** 2).mean())
    return float(off / size) if size > 0 else float(off)


def slope(energies: np.ndarray, interval: float, particles: int) -> tuple[float, float]:
    """Drift of total energies [k] in kJ/mol, taken every ``interval`` ps, and its error, in kJ/mol/ps per particle."""
    times = interval * np.arange(len(energies))
    (drift, _), covariance = np.polyfit(times, energies, 1, cov=True)
    return float(drift) / particles, float(np.sqrt(covariance[0, 0])) / particles


def judge(row: dict[str, Any], control: dict[str, Any] | None = None) -> str:
    """Why a figure does not count, else "": wrong forces, or a drift beyond that of a control in the same run."""
    error = row.get("force_error")
    if error is None or not error <= FORCE_ERROR:
        return "forces were not compared" if error is None else f"forces are off by {error:.1e} of their size"
    if control is None:
        return ""
    if "drift" not in row or "drift" not in control:
        return "energies were not compared with a control's"
    (drift, uncertain), (other, others) = row["drift"], control["drift"]
    if not abs(drift) <= abs(other) + ERRORS * float(np.hypot(uncertain, others)):
        return f"energy drifts by {drift:.1e} kJ/mol/ps per particle, the control by {other:.1e}"
    return ""
