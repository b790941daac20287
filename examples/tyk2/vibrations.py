"""Vibrational frequencies of a potential and of GFN2-xTB, each at its own minimum."""

import copy
from collections.abc import Callable

import numpy as np
import torch
from labels import Array, Xtb, ligand
from potential import Potential, energy_and_forces
from sampling import ACCELERATION
from scans import relaxed
from tqdm import trange

LIGHT = 2.99792458e-5  # cm/fs

Surface = Callable[[Array], tuple[float, Array]]


def surface(model: Potential) -> Surface:
    """Energy (eV) and forces (eV/angstrom) of a committee's mean in float64."""
    double, numbers = copy.deepcopy(model).double(), torch.tensor(ligand()[1])

    def evaluate(x: Array) -> tuple[float, Array]:
        energy, forces = energy_and_forces(double, torch.tensor(x), numbers)
        return energy.mean().item(), forces.numpy()

    return evaluate


def frequencies(evaluate: Surface, x: Array, name: str, h: float = 0.005) -> Array:
    """Harmonic frequencies (1/cm) without the six of translation and rotation, from central differences of forces."""
    masses = np.repeat(ligand()[2], 3)
    hessian = np.zeros((x.size, x.size))
    for i in trange(x.size, desc=f"Hessian of {name}"):
        d = np.zeros(x.size)
        d[i] = h
        up, down = (evaluate(x + sign * d.reshape(x.shape))[1] for sign in (1, -1))
        hessian[i] = (down - up).ravel() / (2 * h)
    squares = np.linalg.eigvalsh(0.5 * (hessian + hessian.T) / np.sqrt(np.outer(masses, masses)))
    omega = np.sqrt(np.abs(squares) * ACCELERATION) * np.sign(squares) / (2 * np.pi * LIGHT)
    return np.sort(np.delete(omega, np.argsort(np.abs(omega))[:6]))


def compare(model: Potential, start: Array) -> tuple[Array, Array, float]:
    """Frequencies of the model and of GFN2-xTB, and the distance (angstrom, RMS) between their minima.

    The model's is the one next to GFN2-xTB's.
    """
    surfaces = {"GFN2-xTB": Xtb(ligand()[1], start), "the model": surface(model)}
    found = {}
    for name, evaluate in surfaces.items():
        x, _ = relaxed(evaluate, start, tolerance=0.002, limit=400)
        found[name] = x, frequencies(evaluate, x, name)
        start = x
    (a, of_xtb), (b, of_model) = found.values()
    return of_model, of_xtb, superposed(a, b)


def superposed(a: Array, b: Array) -> float:
    """Root mean square distance of the atoms after the best rotation."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    u, _, v = np.linalg.svd(a.T @ b)
    flip = np.diag([1.0, 1.0, np.linalg.det(u @ v)])
    return float(np.sqrt(np.mean(np.sum((a @ u @ flip @ v - b) ** 2, axis=1))))
