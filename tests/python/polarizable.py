"""Atoms with charges and polarizabilities among MM charges: a model, and its formula in NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import openmm
import torch

from openmmnnp import ModelSpec, NNPForce
from openmmnnp.models import SwitchedCharges

COULOMB = 1389.35456  # kJ/mol angstrom/e^2
SWITCH, CUTOFF = 4.0, 7.0  # angstrom
CHARGES = {1: 0.3, 6: -0.1, 8: -0.5}  # e
POLARIZABILITIES = {1: 0.6, 6: 1.6, 8: 0.9}  # angstrom^3
LENGTH, STIFFNESS = 1.5, 200.0  # angstrom, kJ/mol/angstrom^2, of a spring between any two atoms
CUBE = np.diag([24.0, 24.0, 24.0])  # angstrom
TILTED = np.array([[24.0, 0, 0], [6.0, 22.0, 0], [-7.0, 5.0, 21.0]])


class Polarizable(torch.nn.Module):
    """E = sum_ij k q_i Q_j/r_ij - k/2 sum_i alpha_i F_i.F_i + springs, F_i = sum_j Q_j (r_i - r_j)/r_ij^3 the field.

    Q are the switched MM charges; gives the energy in kJ/mol and the induced dipoles alpha_i F_i [n, 3].
    """

    def __init__(self, switched: bool = True) -> None:
        super().__init__()
        table = torch.zeros(2, 9, dtype=torch.float64)
        for z in CHARGES:
            table[0, z], table[1, z] = CHARGES[z], POLARIZABILITIES[z]
        self.register_buffer("table", table)
        self.charges = SwitchedCharges(SWITCH, CUTOFF)
        self.switched, self.coulomb, self.length, self.stiffness = switched, COULOMB, LENGTH, STIFFNESS

    def forward(
        self,
        positions: torch.Tensor,
        atomic_numbers: torch.Tensor,
        mm_positions: torch.Tensor,
        mm_charges: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        charges = self.charges(positions, mm_positions, mm_charges) if self.switched else mm_charges
        q, alpha = self.table[0][atomic_numbers], self.table[1][atomic_numbers]
        r = positions.unsqueeze(1) - mm_positions.unsqueeze(0)
        d = r.square().sum(2).sqrt()
        field = (r * (charges / (d * d * d)).unsqueeze(2)).sum(1)
        energy = self.coulomb * ((q.unsqueeze(1) * charges / d).sum() - 0.5 * (alpha * field.square().sum(1)).sum())
        between = positions.unsqueeze(1) - positions.unsqueeze(0)
        eye = torch.eye(positions.shape[0], dtype=positions.dtype, device=positions.device)
        spring = ((between.square().sum(2) + eye).sqrt() - self.length) * (1 - eye)
        return energy + 0.25 * self.stiffness * spring.square().sum(), alpha.unsqueeze(1) * field


class PeriodicPolarizable(torch.nn.Module):
    """E = sum_i sum_j Q_j exp(-r_ij^2/8), r_ij being those of nearest images, for a periodic force."""

    def __init__(self) -> None:
        super().__init__()
        self.charges = SwitchedCharges(SWITCH, CUTOFF)

    def forward(
        self, positions: torch.Tensor, box: torch.Tensor, mm_positions: torch.Tensor, mm_charges: torch.Tensor
    ) -> torch.Tensor:
        charges = self.charges(positions, mm_positions, mm_charges, box)
        r = positions.unsqueeze(1) - mm_positions.unsqueeze(0)
        for axis in (2, 1, 0):
            cells = torch.floor(r[:, :, axis] / box[axis, axis] + 0.5)
            r = r - cells.unsqueeze(2) * box[axis]
        return (charges * torch.exp(-r.square().sum(2) / 8)).sum()


def polarizable_spec(**changes: Any) -> ModelSpec:
    values: dict[str, Any] = {"length_unit": "angstrom", "energy_unit": "kJ/mol", "dtype": "float64"}
    values |= {"inputs": ["positions", "atomic_numbers", "mm_positions", "mm_charges"], "elements": [1, 6, 8]}
    values |= {"outputs": ["energy", "dipoles"], "output_units": {"dipoles": "e*angstrom"}, "mm_cutoff": CUTOFF}
    return ModelSpec("polarizable", **(values | changes))


def switched(r: np.ndarray) -> np.ndarray:
    """The factors [m] of charges at distances [n, m]."""
    x = np.clip((r - SWITCH) / (CUTOFF - SWITCH), 0, 1)
    return 1 - np.prod(10 * x**3 - 15 * x**4 + 6 * x**5, axis=0)


def nearest_images(x: np.ndarray, mm: np.ndarray, box: np.ndarray | None) -> np.ndarray:
    """MM positions [m, 3] as the image nearest to any of the atoms x [n, 3]."""
    if box is None:
        return mm
    cells = np.array(list(itertools.product(range(-2, 3), repeat=3))) @ box
    images = mm[:, None] + cells[None]
    distances = np.linalg.norm(images[:, :, None] - x[None, None], axis=3).min(axis=2)
    return images[np.arange(len(mm)), distances.argmin(axis=1)]


def polarizable_energy(
    x: np.ndarray, z: list[int], mm: np.ndarray, charges: np.ndarray, box: np.ndarray | None
) -> tuple[float, np.ndarray, int]:
    """Energy in kJ/mol, dipoles [n, 3] in e angstrom, and the number of charges within the cutoff."""
    mm = nearest_images(x, mm, box)
    r = x[:, None] - mm[None]
    d = np.linalg.norm(r, axis=2)
    effective = charges * switched(d)
    energy, dipoles = 0.0, np.zeros_like(x)
    for i, number in enumerate(z):
        field = (effective[:, None] * r[i] / d[i][:, None] ** 3).sum(axis=0)
        dipoles[i] = POLARIZABILITIES[number] * field
        energy += COULOMB * (CHARGES[number] * np.sum(effective / d[i]) - 0.5 * dipoles[i] @ field)
        for j in range(i):
            energy += 0.5 * STIFFNESS * (np.linalg.norm(x[i] - x[j]) - LENGTH) ** 2
    return energy, dipoles, int(np.sum(d.min(axis=0) < CUTOFF))


class Surroundings:
    """Five atoms of a force among 100 charges: particles shuffled, the atoms at a corner of the box, charges inside."""

    numbers = [8, 1, 6, 1, 6]

    def __init__(self, box: np.ndarray | None, count: int = 100, seed: int = 1) -> None:
        generator = np.random.default_rng(seed)
        self.box = box
        atoms = np.array([[0, 0, 0], [1.3, 0.2, 0], [-0.6, 1.2, 0.3], [0.2, 0.5, -1.4], [-1.0, -0.9, -0.8]])
        rows = CUBE if box is None else box
        charges: list[np.ndarray] = []
        while len(charges) < count:
            fractions = generator.uniform(-0.5, 0.5, 3)
            candidate = (fractions if box is None else fractions % 1) @ rows
            if np.linalg.norm(nearest_images(atoms, candidate[None], box) - atoms, axis=1).min() > 2.2:
                charges.append(candidate)
        shuffled = generator.permutation(5 + count)
        self.atoms, self.around = [int(k) for k in shuffled[:5]], [int(k) for k in shuffled[5:]]
        self.charges = generator.uniform(-0.8, 0.8, count)
        self.positions = np.zeros((5 + count, 3))  # angstrom
        self.positions[self.atoms], self.positions[self.around] = atoms, np.reshape(charges, (count, 3))

    def system(self, force: NNPForce, mass: float = 20.0) -> openmm.System:
        """A System in which, if there is a box, another force is periodic, so that platforms move molecules."""
        system = openmm.System()
        for _ in self.positions:
            system.addParticle(mass)
        if self.box is not None:
            system.setDefaultPeriodicBoxVectors(*(self.box / 10))
            nonbonded = openmm.NonbondedForce()
            nonbonded.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
            nonbonded.setCutoffDistance(0.5)
            for _ in self.positions:
                nonbonded.addParticle(0, 0.1, 0)
            system.addForce(nonbonded)
        system.addForce(force)
        return system

    def force(self, model: Any) -> NNPForce:
        force = NNPForce(model)
        force.setParticles(self.atoms, self.numbers)
        for atom in self.atoms[1:]:
            force.addBond(self.atoms[0], atom)
        force.setMMCharges(self.around, self.charges)
        return force

    def expected(self, positions: np.ndarray | None = None) -> tuple[float, np.ndarray, int]:
        """What polarizable_energy() says, for positions [N, 3] in nm or those of the start."""
        x = self.positions if positions is None else 10 * positions
        return polarizable_energy(x[self.atoms], self.numbers, x[self.around], self.charges, self.box)
