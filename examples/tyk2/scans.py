"""Torsion scans, relaxed and rigid, and displacements of single bonds and angles."""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import torch
from labels import Array, Xtb, bonds, ligand
from torch import Tensor

STEP = 15  # degrees between the points of a scan
LIMIT = 3.0  # eV above the lowest point of its scan: what lies higher is left out

Torsion = tuple[int, int, int, int]


@cache
def neighbors() -> dict[int, list[int]]:
    table: dict[int, list[int]] = {}
    for a, b in bonds().tolist():
        table.setdefault(a, []).append(b)
        table.setdefault(b, []).append(a)
    return {atom: sorted(others) for atom, others in table.items()}


def side(bond: tuple[int, int]) -> list[int]:
    """Atoms on the second atom's side of a bond, in which the first is too if the bond is part of a ring."""
    table, found, queue = neighbors(), {bond[1]}, [a for a in neighbors()[bond[1]] if a != bond[0]]
    while queue:
        atom = queue.pop()
        found.add(atom)
        queue += [a for a in table[atom] if a not in found]
    return sorted(found)


def rotatable() -> list[Torsion]:
    """One torsion for every bond outside rings between atoms that have other neighbors, amides and methyl included."""
    table, torsions = neighbors(), []
    for j, k in bonds().tolist():
        if len(table[j]) > 1 and len(table[k]) > 1 and j not in side((j, k)):
            torsions.append((next(a for a in table[j] if a != k), j, k, next(a for a in table[k] if a != j)))
    return torsions


def coordinate(x: Tensor, atoms: tuple[int, ...]) -> Tensor:
    """A bond length (two atoms, angstrom), an angle (three) or a torsion (four; radians) of positions [n, 3]."""
    steps = [x[b] - x[a] for a, b in zip(atoms[:-1], atoms[1:], strict=True)]
    if len(atoms) == 2:
        return steps[0].norm()
    if len(atoms) == 3:
        return torch.atan2(torch.linalg.cross(-steps[0], steps[1]).norm(), -steps[0] @ steps[1])
    first, second = torch.linalg.cross(steps[0], steps[1]), torch.linalg.cross(steps[1], steps[2])
    return torch.atan2(steps[1].norm() * (steps[0] @ second), first @ second)


def measured(x: Array, atoms: tuple[int, ...]) -> tuple[float, Array]:
    """The coordinate and its gradient [n, 3]."""
    leaf = torch.tensor(x, requires_grad=True)
    value = coordinate(leaf, atoms)
    (gradient,) = torch.autograd.grad(value, leaf)
    return value.item(), gradient.numpy()


def displaced(x: Array, atoms: tuple[int, ...], target: float, iterations: int = 5) -> Array:
    """The least displacement (Newton steps along the gradient) that gives the coordinate its target."""
    for _ in range(iterations):
        value, gradient = measured(x, atoms)
        x = x + (target - value) * gradient / np.sum(gradient**2)
    return x


def rotated(x: Array, torsion: Torsion, angle: float) -> Array:
    """The second half of the molecule turned about the middle bond until the torsion is `angle` (radians)."""
    _, j, k, _ = torsion
    axis = (x[k] - x[j]) / np.linalg.norm(x[k] - x[j])
    turn = angle - measured(x, torsion)[0]
    moving = side((j, k))
    r = x[moving] - x[j]
    turned = r * np.cos(turn) + np.cross(axis, r) * np.sin(turn) + np.outer(r @ axis, axis) * (1 - np.cos(turn))
    x = x.copy()
    x[moving] = x[j] + turned
    return x


def relaxed(
    surface: Callable[[Array], tuple[float, Array]],
    x: Array,
    torsion: Torsion | None = None,
    tolerance: float = 0.02,
    limit: int = 120,
) -> tuple[Array, float]:
    """The nearest minimum and its energy (eV), by BFGS, the torsion kept at its value if one is given.

    The constraint is exact: steps and forces lose their component along the torsion's gradient, and the torsion is set
    again after each step. Ends when no component of what is left of the force exceeds `tolerance` (eV/angstrom).
    """
    held = measured(x, torsion)[0] if torsion else 0.0
    inverse, last, energy = np.eye(x.size) / 40.0, None, 0.0
    for _ in range(limit):
        energy, force = surface(x)
        if torsion:
            normal = measured(x, torsion)[1]
            force = force - normal * np.sum(force * normal) / np.sum(normal**2)
        if last is not None:
            inverse = bfgs(inverse, (x - last[0]).ravel(), (last[1] - force).ravel())
        if np.abs(force).max() < tolerance:
            break
        step = (inverse @ force.ravel()).reshape(x.shape)
        last = x, force
        x = x + step * min(1.0, 0.15 / np.abs(step).max())
        if torsion:
            x = rotated(x, torsion, held)
    return x, energy


def bfgs(inverse: Array, s: Array, y: Array) -> Array:
    """The inverse Hessian after a step s that changed the gradient by y; unchanged if the curvature is not positive."""
    if s @ y < 1e-8:
        return inverse
    left = np.eye(len(s)) - np.outer(s, y) / (s @ y)
    return left @ inverse @ left.T + np.outer(s, s) / (s @ y)


def angles() -> list[tuple[int, int, int]]:
    table = neighbors()
    return [(i, j, k) for j, ends in table.items() for i in ends for k in ends if i < k]


def relaxed_scan(start: Array, torsion: Torsion) -> Iterator[tuple[float, Array]]:
    """Angle (degrees) and constrained minimum of every point of the circle, each from the one before it."""
    xtb = Xtb(ligand()[1], start)
    first = np.degrees(measured(start, torsion)[0])
    for turn in range(0, 360, STEP):
        angle = wrapped(round(first) + turn)
        start, _ = relaxed(xtb, rotated(start, torsion, np.radians(angle)), torsion)
        yield angle, start


def rigid_scan(start: Array, torsion: Torsion) -> Iterator[tuple[float, Array]]:
    for turn in range(0, 360, STEP):
        angle = wrapped(round(np.degrees(measured(start, torsion)[0])) + turn)
        yield angle, rotated(start, torsion, np.radians(angle))


def wrapped(degrees: float) -> float:
    return (degrees + 180.0) % 360.0 - 180.0


def stretches(start: Array, atoms: tuple[int, ...]) -> Iterator[Array]:
    """One bond stretched and pressed by up to 0.15 angstrom, or one angle bent by up to 20 degrees."""
    value, _ = measured(start, atoms)
    reach = 0.15 if len(atoms) == 2 else np.radians(20.0)
    for fraction in (-1.0, -0.67, -0.33, 0.33, 0.67, 1.0):
        yield displaced(start, atoms, value + fraction * reach)
