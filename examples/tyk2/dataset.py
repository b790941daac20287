"""Labelled geometries of ejm_31: sampled with GAFF and with GFN2-xTB molecular dynamics, labelled with GFN2-xTB."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openmm as mm
from openmm import app, unit
from tqdm import tqdm

HERE = Path(__file__).parent
BOHR = 0.529177210544  # angstrom
HARTREE = 27.211386245981  # eV
KJ = 96.48533212331  # kJ/mol in one eV
KCAL = KJ / 4.184  # kcal/mol in one eV
KB = 8.617333262e-5  # eV/K
ACCELERATION = 9.648533212e-3  # (eV/angstrom/dalton) in angstrom/fs^2

Array = np.ndarray


@dataclass(frozen=True)
class Group:
    """Independent trajectories made alike: the first `held_out` of them are never trained on."""

    sampler: str
    temperature: int
    trajectories: int
    held_out: int
    frames: int
    stride: int  # fs between frames


GROUPS = (
    Group("gaff", 300, 8, 2, 100, 200),
    Group("gaff", 600, 10, 2, 120, 200),
    Group("gaff", 1000, 5, 1, 80, 200),
    Group("gfn2", 300, 5, 2, 80, 10),
    Group("gfn2", 600, 1, 1, 80, 10),
)


@dataclass
class Frames:
    """Geometries (angstrom) with energies (eV) and forces (eV/angstrom); `trajectory` says where each came from."""

    numbers: Array
    trajectory: list[str]
    positions: Array
    energies: Array
    forces: Array

    def select(self, keep: list[bool]) -> "Frames":
        names = [t for t, k in zip(self.trajectory, keep, strict=True) if k]
        return Frames(self.numbers, names, self.positions[keep], self.energies[keep], self.forces[keep])


def held_out(trajectory: str) -> bool:
    sampler, temperature, index = trajectory.split("-")
    group = next(g for g in GROUPS if (g.sampler, f"{g.temperature}K") == (sampler, temperature))
    return int(index) < group.held_out


class Xtb:
    """GFN2-xTB energy and forces of one neutral molecule; each call starts from the last one's density."""

    def __init__(self, numbers: Array, positions: Array) -> None:
        from tblite.interface import Calculator

        self.calculator = Calculator("GFN2-xTB", numbers, positions / BOHR)
        self.calculator.set("verbosity", 0)
        self.result: Any = None

    def __call__(self, positions: Array) -> tuple[float, Array]:
        self.calculator.update(positions / BOHR)
        self.result = self.calculator.singlepoint(self.result)
        return self.result["energy"] * HARTREE, self.result["gradient"] * (-HARTREE / BOHR)


def ligand() -> tuple[app.PDBFile, Array, Array]:
    pdb = app.PDBFile(str(HERE / "lig.pdb"))
    atoms = list(pdb.topology.atoms())
    numbers = np.array([a.element.atomic_number for a in atoms])
    masses = np.array([a.element.mass.value_in_unit(unit.dalton) for a in atoms])
    return pdb, numbers, masses


def gaff_trajectory(group: Group, seed: int, step: float = 0.5) -> Iterator[Array]:
    """Langevin dynamics in vacuum, without constraints; 5 ps are thrown away first."""
    pdb, _, _ = ligand()
    system = app.ForceField(str(HERE / "lig_gaff.xml")).createSystem(pdb.topology, nonbondedMethod=app.NoCutoff)
    integrator = mm.LangevinMiddleIntegrator(group.temperature, 2.0, step * unit.femtosecond)
    integrator.setRandomNumberSeed(seed)
    context = mm.Context(system, integrator, mm.Platform.getPlatformByName("Reference"))
    context.setPositions(pdb.positions)
    mm.LocalEnergyMinimizer.minimize(context)
    context.setVelocitiesToTemperature(group.temperature, seed)
    integrator.step(round(5000 / step))
    for _ in range(group.frames):
        integrator.step(round(group.stride / step))
        yield context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom)


def gfn2_trajectory(group: Group, start: Array, seed: int, step: float = 1.0) -> Iterator[Array]:
    """BAOAB Langevin dynamics with GFN2-xTB forces; 200 fs are thrown away first."""
    _, numbers, masses = ligand()
    rng = np.random.default_rng(seed)
    xtb = Xtb(numbers, start)
    noise = np.sqrt(KB * group.temperature * ACCELERATION / masses)[:, None]
    keep = np.exp(-0.005 * step)
    positions, velocities = start.copy(), noise * rng.standard_normal(start.shape)
    kick = 0.5 * step * ACCELERATION / masses[:, None]
    _, forces = xtb(positions)
    for i in range(1, 200 + group.frames * group.stride + 1):
        velocities += kick * forces
        positions += 0.5 * step * velocities
        velocities = keep * velocities + np.sqrt(1 - keep**2) * noise * rng.standard_normal(start.shape)
        positions += 0.5 * step * velocities
        _, forces = xtb(positions)
        velocities += kick * forces
        if i > 200 and (i - 200) % group.stride == 0:
            yield positions.copy()


def sample(seed: int) -> Iterator[tuple[str, Array]]:
    """Geometries of all trajectories by name; a GFN2 trajectory starts where the GAFF one of its number ends."""
    starts: dict[int, list[Array]] = {}
    for g, group in enumerate(GROUPS):
        for i in range(group.trajectories):
            s = 1 + seed * 10_000 + g * 100 + i
            if group.sampler == "gaff":
                frames = gaff_trajectory(group, s)
            else:
                frames = gfn2_trajectory(group, starts[group.temperature][i], s)
            for k, positions in enumerate(frames):
                if group.sampler == "gaff" and k == group.frames - 1:
                    starts.setdefault(group.temperature, []).append(positions)
                yield f"{group.sampler}-{group.temperature}K-{i}", positions


def make(seed: int) -> Frames:
    """Sample and label. Positions are rounded before they are labelled, so that the file holds what was computed."""
    _, numbers, _ = ligand()
    rows = []
    xtb: Xtb | None = None
    for name, positions in tqdm(sample(seed), "sample and label", sum(g.trajectories * g.frames for g in GROUPS)):
        positions = np.round(positions - positions.mean(axis=0), 3)
        xtb = xtb or Xtb(numbers, positions)
        rows.append((name, positions, *xtb(positions)))
    names, x, e, f = zip(*rows, strict=True)
    return Frames(numbers, list(names), np.array(x), np.array(e), np.round(f, 3))


def write(frames: Frames, path: Path) -> None:
    symbols = [app.Element.getByAtomicNumber(int(z)).symbol for z in frames.numbers]
    with gzip.open(path, "wt", compresslevel=9) as file:
        for name, x, e, f in zip(frames.trajectory, frames.positions, frames.energies, frames.forces, strict=True):
            properties = "species:S:1:pos:R:3:forces:R:3"
            print(f'{len(x)}\nProperties={properties} energy={e:.6f} trajectory={name} pbc="F F F"', file=file)
            for s, p, q in zip(symbols, x, f, strict=True):
                print(s, *(f"{v:.3f}" for v in (*p, *q)), file=file)


def read(path: Path) -> Frames:
    _, numbers, _ = ligand()
    n = len(numbers)
    with gzip.open(path, "rt") as file:
        lines = file.read().splitlines()
    names, energies, table = [], [], []
    for start in range(0, len(lines), n + 2):
        fields = dict(word.split("=", 1) for word in lines[start + 1].split() if "=" in word)
        names.append(fields["trajectory"])
        energies.append(float(fields["energy"]))
        table.append([[float(v) for v in line.split()[1:]] for line in lines[start + 2 : start + n + 2]])
    values = np.array(table)
    return Frames(numbers, names, values[..., :3], np.array(energies), values[..., 3:])
