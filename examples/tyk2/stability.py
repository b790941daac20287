"""Energy conservation and integrity of the molecule in dynamics with a potential."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from dataset import ACCELERATION, KB, KJ, Array, ligand
from potential import energy_and_forces
from tqdm import trange


@dataclass(frozen=True)
class Dynamics:
    """What NVE dynamics in vacuum did."""

    picoseconds: float
    step: float  # fs
    temperature: float  # K, mean
    drift: float  # kT per ns and degree of freedom
    drift_error: float
    fluctuation: float  # kJ/mol, standard deviation of the total energy
    longest_bond: float  # largest ratio of a bond to its initial length
    milliseconds: float  # per evaluation


def bonds() -> Array:
    return np.array([(a.index, b.index) for a, b in ligand()[0].topology.bonds()])


def nve(model: torch.nn.Module, start: Array, picoseconds: float, seed: int, step: float = 0.5) -> Dynamics:
    """Velocity Verlet in vacuum after 1 ps of Langevin dynamics at 300 K."""
    _, z, masses = ligand()
    numbers, mass = torch.tensor(z), masses[:, None]
    rng = np.random.default_rng(seed)
    noise, keep = np.sqrt(KB * 300 * ACCELERATION / mass), np.exp(-0.01 * step)
    x, v, pairs = start.copy(), noise * rng.standard_normal(start.shape), bonds()
    steps, warmup = round(picoseconds * 1000 / step), round(1000 / step)
    total, kinetic = np.zeros(steps), np.zeros(steps)
    longest, began = 0.0, time.perf_counter()
    force = energy_and_forces(model, torch.tensor(x, dtype=torch.float32), numbers)[1].numpy()
    for i in trange(-warmup, steps, desc="NVE", mininterval=1.0):
        if i < 0:
            v = keep * v + np.sqrt(1 - keep**2) * noise * rng.standard_normal(start.shape)
        v = v + 0.5 * step * ACCELERATION / mass * force
        x = x + step * v
        energy, f = energy_and_forces(model, torch.tensor(x, dtype=torch.float32), numbers)
        force = f.numpy()
        v = v + 0.5 * step * ACCELERATION / mass * force
        if i >= 0:
            kinetic[i] = 0.5 * np.sum(mass * v**2) / ACCELERATION
            total[i] = kinetic[i] + energy.item()
            ratio = bond_lengths(x, pairs) / bond_lengths(start, pairs)
            longest = max(longest, float(ratio.max()))
    milliseconds = 1e3 * (time.perf_counter() - began) / (steps + warmup)
    freedom = 3 * len(z) - 3
    drift, error = slope(total, picoseconds / 1000)
    unit = KB * 300 * freedom
    temperature = 2 * kinetic.mean() / (KB * freedom)
    return Dynamics(picoseconds, step, temperature, drift / unit, error / unit, KJ * total.std(), longest, milliseconds)


def bond_lengths(x: Array, pairs: Array) -> Array:
    return np.linalg.norm(x[pairs[:, 0]] - x[pairs[:, 1]], axis=-1)


def slope(values: Array, duration: float, blocks: int = 20) -> tuple[float, float]:
    """Slope over the duration and its standard error, from the means of blocks."""
    y = values[: len(values) // blocks * blocks].reshape(blocks, -1).mean(axis=1)
    t = (np.arange(blocks) + 0.5) / blocks * duration
    (a, b), covariance = np.polyfit(t, y, 1, cov=True)
    return float(a), float(np.sqrt(covariance[0, 0]))
