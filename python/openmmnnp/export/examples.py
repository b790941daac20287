"""Geometries to export and to check a model with, made from one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..neighbors import NeighborList
from ..spec import ModelSpec

Example = Mapping[str, Any]

__all__ = ["complete", "variations"]

_SHIFTED = 0.02  # of the mean distance between neighbors
_SCALES = (1.0, 0.97, 1.06)
_PER_PARTICLE = ("positions", "atomic_numbers", "types")
_PER_CHARGE = ("mm_positions", "mm_charges")


def complete(spec: ModelSpec, example: Example) -> dict[str, Any]:
    """The example with edges and shifts as the plugin finds them, where the spec takes them and it has none.

    The edges are those of ``box``, whether the model takes it or not, unless the spec says that it is not periodic.
    Raises ValueError if the positions are not [n, 3].
    """
    if "edges" not in spec.inputs or "edges" in example:
        return dict(example)
    given = {name: value for name, value in example.items() if name in spec.inputs or name != "box"}
    positions = np.asarray(example["positions"], dtype=float)
    periodic = spec.periodic is not False and example.get("box") is not None
    box = np.asarray(example["box"], dtype=float) if periodic else None
    edges, cells = NeighborList(
        spec.cutoff or 0.0, edges=spec.edges or "full", small_box=spec.small_box or "images"
    ).find(positions, box)
    shifts = cells if spec.shifts != "cartesian" else cells @ box if box is not None else np.zeros(cells.shape)
    found = {"edges": edges, "shifts": shifts}
    return {name: (given | found)[name] for name in spec.inputs if name in given | found} | given


def variations(spec: ModelSpec, example: Example) -> list[dict[str, Any]]:
    """Three geometries from one: of n, n - 1 and 2 n particles, where their number is dynamic, and of other edges.

    For n of 1 or 2 the second has n + 1.
    The third is two of the first beside each other, in a box of twice the length if there is one. The particles are
    shifted a little at random, always in the same way, so that no symmetry hides an error; the second and the third
    geometry are squeezed and stretched. Charges around them go along: m, m - 1 and, of two of the first, 2 m. Only
    ``positions``, ``atomic_numbers``, ``types``, ``box``, ``mm_positions``, ``mm_charges`` and the edges change.
    """
    plain = {name: value for name, value in example.items() if name not in ("edges", "shifts")}
    chosen = [plain, plain, plain]
    if spec.particles == "dynamic":
        n = len(np.asarray(plain["positions"]))
        chosen = [plain, _first(plain, n - 1) if n > 2 else _first(_doubled(plain), n + 1), _doubled(plain)]
    if spec.takes_charges:
        chosen[1] = _fewer_charges(chosen[1])
    generator = np.random.default_rng(0)
    return [complete(spec, _changed(x, scale, generator)) for x, scale in zip(chosen, _SCALES, strict=True)]


def _first(example: Example, count: int) -> dict[str, Any]:
    return {name: value[:count] if name in _PER_PARTICLE else value for name, value in example.items()}


def _fewer_charges(example: Example) -> dict[str, Any]:
    return {name: value[:-1] if name in _PER_CHARGE else value for name, value in example.items()}


def _doubled(example: Example) -> dict[str, Any]:
    """Twice the particles: a second box along the first vector, or a copy beside them."""
    x = np.asarray(example["positions"], dtype=float)
    twice = _PER_PARTICLE + _PER_CHARGE
    doubled = {name: np.concatenate([v, v]) if name in twice else v for name, v in example.items()}
    width = np.ptp(np.concatenate([x, np.asarray(example.get("mm_positions", x), dtype=float)])[:, 0])
    step = np.array([width + 2 * _spacing(x), 0.0, 0.0])
    if "box" in example:
        box = np.array(example["box"], dtype=float)
        step = box[0].copy()
        box[0] *= 2
        doubled["box"] = box
    for name in {"positions", "mm_positions"} & set(example):
        doubled[name] = np.concatenate([example[name], np.asarray(example[name], dtype=float) + step])
    return doubled


def _changed(example: Example, scale: float, generator: np.random.Generator) -> dict[str, Any]:
    """The particles shifted at random, with all lengths multiplied."""
    changed = dict(example)
    positions = np.asarray(changed["positions"], dtype=float)
    changed["positions"] = scale * (positions + _SHIFTED * _spacing(positions) * generator.normal(size=positions.shape))
    if "mm_positions" in changed:
        changed["mm_positions"] = scale * np.asarray(changed["mm_positions"], dtype=float)
    if "box" in changed:
        changed["box"] = scale * np.asarray(changed["box"], dtype=float)
    return changed


def _spacing(positions: Sequence[Sequence[float]] | np.ndarray) -> float:
    """Mean distance to the nearest neighbor, in the unit of the positions; 0 for one particle."""
    x = np.asarray(positions)
    if len(x) < 2:
        return 0.0
    nearest = [math.sqrt(np.partition(((x - r) ** 2).sum(1), 1)[1]) for r in x]
    return float(np.mean(nearest))
