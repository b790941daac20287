"""How the geometries of ejm_31 are sampled: dynamics, torsion scans, stretched bonds and bent angles."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import openmm as mm
from labels import Array, Frame, Xtb, bonds, label, ligand
from openmm import unit
from scans import LIMIT, Torsion, angles, relaxed, relaxed_scan, rigid_scan, rotatable, stretches
from surroundings import in_pocket, in_vacuum, in_water
from tqdm import tqdm

KB = 8.617333262e-5  # eV/K
ACCELERATION = 9.648533212e-3  # (eV/angstrom/dalton) in angstrom/fs^2

HELD_OUT_BONDS = ((3, 7), (14, 16))
"""Middle bonds of the torsions whose scans are never trained on: aryl-C(=O) and pyridine-NH."""


@dataclass(frozen=True)
class Group:
    """Independent trajectories made alike: the first `held_out` of them are never trained on."""

    source: str
    temperature: int  # K
    trajectories: int
    held_out: int
    frames: int
    stride: int  # fs between frames

    def split(self, trajectory: int) -> str:
        return "test" if trajectory < self.held_out else "train"


GROUPS = (
    Group("gaff-300K", 300, 8, 2, 100, 200),
    Group("gaff-600K", 600, 10, 2, 120, 200),
    Group("gaff-1000K", 1000, 12, 2, 80, 200),
    Group("gfn2-300K", 300, 5, 2, 80, 10),
    Group("gfn2-600K", 600, 4, 1, 80, 10),
    Group("gfn2-1000K", 1000, 5, 1, 80, 10),
    Group("water", 300, 3, 1, 40, 200),
    Group("complex", 300, 3, 1, 40, 200),
)


def gaff_trajectory(group: Group, seed: int) -> Iterator[Array]:
    """Langevin dynamics with GAFF in vacuum, in water or in the pocket, no bond of the ligand constrained."""
    surroundings = {"water": in_water, "complex": in_pocket}.get(group.source, in_vacuum)
    alone = surroundings is in_vacuum
    step, discarded, platform = (0.5, 5000, "Reference") if alone else (1.0, 2000, "CPU")
    system, positions = surroundings()
    integrator = mm.LangevinMiddleIntegrator(group.temperature, 2.0, step * unit.femtosecond)
    integrator.setRandomNumberSeed(seed)
    properties = {} if alone else {"Threads": "1"}
    context = mm.Context(system, integrator, mm.Platform.getPlatformByName(platform), properties)
    context.setPositions(positions)
    mm.LocalEnergyMinimizer.minimize(context)
    context.setVelocitiesToTemperature(group.temperature, seed)
    integrator.step(round(discarded / step))
    atoms = len(ligand()[1])
    for _ in range(group.frames):
        integrator.step(round(group.stride / step))
        yield context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom)[:atoms]


def gfn2_trajectory(
    group: Group, seed: int, positions: Array, step: float = 1.0, discarded: int = 200
) -> Iterator[Array]:
    """BAOAB Langevin dynamics with GFN2-xTB forces."""
    _, numbers, masses = ligand()
    rng = np.random.default_rng(seed)
    xtb = Xtb(numbers, positions)
    noise = np.sqrt(KB * group.temperature * ACCELERATION / masses)[:, None]
    keep = np.exp(-0.005 * step)
    velocities = noise * rng.standard_normal(positions.shape)
    kick = 0.5 * step * ACCELERATION / masses[:, None]
    _, forces = xtb(positions)
    for i in range(1, round((discarded + group.frames * group.stride) / step) + 1):
        velocities += kick * forces
        positions = positions + 0.5 * step * velocities
        velocities = keep * velocities + np.sqrt(1 - keep**2) * noise * rng.standard_normal(positions.shape)
        positions = positions + 0.5 * step * velocities
        _, forces = xtb(positions)
        velocities += kick * forces
        elapsed = i * step - discarded
        if elapsed > 0 and elapsed % group.stride == 0:
            yield positions.copy()


def dynamics(group: Group, index: int, seed: int) -> list[Frame]:
    """One trajectory of a group; one with GFN2-xTB starts where the GAFF one of its temperature and number ends."""
    name, number = f"{group.source}-{index}", 1 + seed * 10_000 + index
    if group.source.startswith("gfn2"):
        like = next(g for g in GROUPS if g.source == group.source.replace("gfn2", "gaff"))
        *_, start = gaff_trajectory(like, number + 100 * GROUPS.index(like))
        geometries = gfn2_trajectory(group, number + 100 * GROUPS.index(group), start)
    else:
        geometries = gaff_trajectory(group, number + 100 * GROUPS.index(group))
    return label([Frame(x, name, group.source, group.split(index)) for x in geometries])


@cache
def starts(seed: int) -> dict[str, Array]:
    """Where scans and displacements start: the bound pose, the minimum next to it, and two shapes of GAFF at 300 K."""
    pdb, numbers, _ = ligand()
    bound = np.array(pdb.positions.value_in_unit(unit.angstrom))
    short = Group("gaff-300K", 300, 1, 0, 1, 1000)
    thermal = {f"gaff{i}": next(gaff_trajectory(short, 1 + seed * 10_000 + 9_000 + i)) for i in range(2)}
    return {"bound": bound, "minimum": relaxed(Xtb(numbers, bound), bound)[0]} | thermal


def scan(source: str, start: str, torsion: Torsion, seed: int) -> list[Frame]:
    """All points of a relaxed or rigid scan but those more than LIMIT above the lowest, where atoms run together."""
    split = "test" if torsion[1:3] in HELD_OUT_BONDS else "train"
    name = f"{source}-{start}-{torsion[1]}-{torsion[2]}"
    points = (relaxed_scan if source == "relaxed-scan" else rigid_scan)(starts(seed)[start], torsion)
    frames = label([Frame(x, name, source, split, torsion, angle) for angle, x in points])
    lowest = min(frame.energy for frame in frames)
    return [frame for frame in frames if frame.energy < lowest + LIMIT]


def stretch(atoms: tuple[int, ...], split: str, seed: int) -> list[Frame]:
    name = "stretch-" + "-".join(map(str, atoms))
    return label([Frame(x, name, "stretch", split) for x in stretches(starts(seed)["minimum"], atoms)])


def jobs(seed: int) -> list[Callable[[], list[Frame]]]:
    """Every trajectory, scan and displacement as a function without arguments."""
    found = [partial(dynamics, group, i, seed) for group in GROUPS for i in range(group.trajectories)]
    found += [partial(scan, "relaxed-scan", "minimum", torsion, seed) for torsion in rotatable()]
    for start in ("bound", "minimum", "gaff0", "gaff1"):
        found += [partial(scan, "rigid-scan", start, torsion, seed) for torsion in rotatable()]
    internal = [*map(tuple, bonds().tolist()), *angles()]
    found += [partial(stretch, c, "train" if i % 5 else "test", seed) for i, c in enumerate(internal)]
    return found


def make(seed: int, processes: int) -> list[Frame]:
    """Sample and label everything."""
    with ProcessPoolExecutor(processes) as pool:
        running = [pool.submit(job) for job in jobs(seed)]
        return [frame for job in tqdm(running, "sample and label") for frame in job.result()]
