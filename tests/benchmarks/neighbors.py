"""What edges cost: the plugin's stage `neighbors` against vesin and against lists in torch.

Particles at the density of water (100 in a cubic nm), cutoff 0.5 nm, full lists with shifts, one thread. Timed are

- ours: the stage with all that is in it: positions checked and compared, edges sorted and handed over in int64,
  Cartesian shifts in float32. The host list runs on the Reference platform. With kernels on OpenCL `gather` counts
  too, since the host waits there until all kernels have run and the edges have arrived.
- vesin: its C function alone, pairs and cell shifts, not sorted unless said; or its Python class, with copies.
- all distances in torch: the matrix of them, then those within the cutoff; float32, eager mode.
- a list inside a model: pairs i < j, then both directions; float32, TorchScript.

In a case with rebuild one particle jumps by 0.1 nm at every evaluation; otherwise all move by 0.001 nm, so that lists
with a skin (0.1 nm) are kept. All cases must find the same number of edges, but for the two lists in torch in a box of
less than twice the cutoff, since they know the nearest image only. Figures are medians over interleaved blocks of one
run, with the quartiles:

    OMP_NUM_THREADS=1 CL_CONFIG_CPU_TBB_NUM_WORKERS=1 python tests/benchmarks/neighbors.py --out neighbors.json
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import torch
from potentials import CUTOFF, list_in_model
from timing import surroundings
from tqdm import tqdm

import openmmnnp
from openmmnnp.export import save_pt

SKIN, DENSITY = 0.1, 100.0
PAIR_BYTES = 48  # that lists of all pairs need
MINIMUM_IMAGE = ("all distances in torch", "list inside a model")
KEPT, REBUILT = "skin 0.1 nm, kept", "skin 0.1 nm, rebuilt"

Run = Callable[[np.ndarray], tuple[float, int]]
"""Positions [n, 3] in nm to milliseconds and number of edges."""


class Null(torch.nn.Module):
    """E = 0, with a gradient."""

    def forward(self, positions: torch.Tensor, edges: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
        return 0 * positions.sum()


def null_model(folder: Path) -> Path:
    """A .pt that takes edges and does next to nothing."""
    spec = openmmnnp.ModelSpec("null", "nm", "kJ/mol", "float32", inputs=["positions", "edges", "shifts"])
    spec.cutoff, spec.edges, spec.shifts, spec.small_box = CUTOFF, "full", "cartesian", "images"
    far = {"edges": torch.zeros((2, 3)), "shifts": torch.ones((3, 3))}
    save_pt(Null(), spec, folder / "null.pt", examples=[{"positions": torch.rand(n, 3)} | far for n in (5, 6)])
    return folder / "null.pt"


def all_distances(x: torch.Tensor, box: torch.Tensor, cutoff: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The same from the matrix of all distances."""
    r = x.unsqueeze(0) - x.unsqueeze(1)
    shifts = -box * torch.round(r / box)
    near = (r + shifts).square().sum(2) < cutoff * cutoff
    edges = near.fill_diagonal_(False).nonzero().T
    return edges, shifts[edges[0], edges[1]]


def frames(n: int, jump: bool) -> tuple[list[np.ndarray], float]:
    """Positions [n, 3] of evaluations in turn, on a lattice and off it by up to 0.05 nm, and the box in nm."""
    edge = (n / DENSITY) ** (1 / 3)
    cells = int(np.ceil(n ** (1 / 3) - 1e-9))
    generator = np.random.default_rng(n)
    sites = np.array(list(np.ndindex(cells, cells, cells)))
    sites = sites[np.sort(generator.permutation(len(sites))[:n])]
    start = (sites + 0.5) * edge / cells + generator.uniform(-0.05, 0.05, (n, 3))
    moved = [start + 0.001 * generator.uniform(-1, 1, (n, 3)) for _ in range(4)]
    for positions in moved[1::2]:
        positions[0] += 0.1 * jump
    return [positions.astype(np.float32).astype(np.float64) for positions in moved], edge


def plugin(path: Path, n: int, edge: float, platform: str, skin: float, rebuilds: bool) -> Run:
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*(edge * np.eye(3)))
    for _ in range(n):
        system.addParticle(1.0)
    force = openmmnnp.NNPForce(path)
    force.setUsesPeriodicBoundaryConditions(True)
    force.setSkin(skin)
    force.setDeviceNeighbors(platform != "Reference")
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform(platform))
    context._keep = system  # the Context does not keep its System
    stages = ("neighbors",) if platform == "Reference" else ("gather", "neighbors")

    def run(positions: np.ndarray) -> tuple[float, int]:
        context.setPositions(positions)
        before = force.getDiagnostics(context)
        context.getState(forces=True)
        after = force.getDiagnostics(context)
        if after["list_builds"] == 0:
            raise openmm.OpenMMException(f"there is no list on {platform}")
        if before["evaluations"] > 1:
            assert (after["list_builds"] > before["list_builds"]) == rebuilds, "the list was kept, or was not"
        spent = [sum(found["milliseconds"][s] for s in stages) * found["evaluations"] for found in (before, after)]
        return spent[1] - spent[0], after["edges"]

    return run


def vesin_function(edge: float, skin: float, ordered: bool = False) -> Run:
    """vesin's C function, called as its Python class does."""
    from vesin import _c_api
    from vesin._c_lib import get_library

    library, found, message = get_library(), _c_api.VesinNeighborList(), ctypes.c_char_p()
    options = _c_api.VesinOptions(CUTOFF, True, ordered, _c_api.VesinAutoAlgorithm, skin, 1, True, False, False)
    device = _c_api.VesinDevice(_c_api.VesinCPU, 0)
    pointer = ctypes.POINTER(ctypes.c_double)
    box, periodic = edge * np.eye(3), (ctypes.c_bool * 3)(True, True, True)

    def run(positions: np.ndarray) -> tuple[float, int]:
        points, rows = positions.ctypes.data_as(pointer), box.ctypes.data_as(pointer)
        start = time.perf_counter()
        status = library.vesin_neighbors(points, len(positions), rows, periodic, device, options, found, message)
        milliseconds = 1e3 * (time.perf_counter() - start)
        assert status == 0, message.value
        return milliseconds, found.length

    return run


def vesin_class(edge: float) -> Run:
    import vesin

    neighbors = vesin.NeighborList(cutoff=CUTOFF, full_list=True, n_threads=1)
    return timed(lambda x: neighbors.compute(x, edge * np.eye(3), True, "PS")[0])


def in_torch(function: Callable[..., Any], edge: float) -> Run:
    box = torch.full((3,), edge)
    return timed(lambda x: function(torch.tensor(x, dtype=torch.float32), box, CUTOFF)[0].T)


def timed(find: Callable[[np.ndarray], Any]) -> Run:
    def run(positions: np.ndarray) -> tuple[float, int]:
        start = time.perf_counter()
        pairs = find(positions)
        return 1e3 * (time.perf_counter() - start), len(pairs)

    return run


def list_cases(model: Path, n: int, edge: float) -> dict[str, Callable[[], Run]]:
    """How each case is made."""
    cases: dict[str, Callable[[], Run]] = {}
    for where, platform in (("host", "Reference"), ("OpenCL kernels", "OpenCL")):
        for how, skin in ((KEPT, SKIN), (REBUILT, SKIN), ("no skin", 0)):
            cases[f"ours, {where}, {how}"] = partial(plugin, model, n, edge, platform, skin, how != KEPT)
    for how, skin in ((KEPT, SKIN), (REBUILT, SKIN), ("no skin", 0)):
        cases[f"vesin, {how}"] = partial(vesin_function, edge, skin)
    cases["vesin, no skin, sorted"] = partial(vesin_function, edge, 0, True)
    cases["vesin, no skin, from Python"] = partial(vesin_class, edge)
    cases["all distances in torch"] = partial(in_torch, all_distances, edge)
    cases["list inside a model"] = partial(in_torch, torch.jit.script(list_in_model), edge)
    return cases


def begin(name: str, make: Callable[[], Run], n: int) -> tuple[Callable[[], float], int]:
    """A function for the milliseconds of the next evaluation, warm, and the number of edges of the first frame.

    Raises ImportError, MemoryError or OpenMMException where a case cannot be had.
    """
    needed = PAIR_BYTES * n * n / 2**30
    if name in MINIMUM_IMAGE and needed > available_gib() / 2:
        raise MemoryError("needs too much memory")
    run = make()
    positions, _ = frames(n, REBUILT in name)
    edges = [run(positions[i])[1] for i in (1, 0)][-1]
    turn = itertools.cycle(positions[1:] + positions[:1])
    return lambda: run(next(turn))[0], edges


def measure(model: Path, n: int, only: list[str], blocks: int, left_out: dict[str, list[int]]) -> list[dict[str, Any]]:
    """A row for each case that can be had; others are noted in left_out. Raises ValueError for wrong edges."""
    edge = frames(n, False)[1]
    cases, number, repeats = {}, {}, {}
    wanted = {name: make for name, make in list_cases(model, n, edge).items() if any(text in name for text in only)}
    for name, make in tqdm(wanted.items(), f"{n:,d} particles, begin", leave=False):
        try:
            cases[name], number[name] = begin(name, make, n)
            repeats[name] = int(np.clip(20 / cases[name](), 1, 100))
        except (ImportError, MemoryError, openmm.OpenMMException) as error:
            left_out.setdefault(f"{name}: {str(error)[:200]}", []).append(n)
    expected = next(iter(number.values()))
    for name, found in number.items():
        if abs(found - expected) > 1e-4 * expected and not (name in MINIMUM_IMAGE and edge < 2 * CUTOFF):
            raise ValueError(f"{name} finds {found:,d} edges between {n:,d} particles; there are {expected:,d}")
    times: dict[str, list[float]] = {name: [] for name in cases}
    for block in tqdm(range(blocks), f"{n:,d} particles, blocks"):
        for name, run in cases.items():
            if block >= 3 and times[name][0] > 2000:  # three are enough of what takes seconds
                continue
            run()  # its data may have left the cache
            times[name].append(float(np.median([run() for _ in range(repeats[name])])))
    first = times[next(iter(cases))]
    return [row(name, n, number[name], expected, np.array(times[name]), np.array(first)) for name in cases]


def row(name: str, n: int, edges: int, expected: int, times: np.ndarray, first: np.ndarray) -> dict[str, Any]:
    found = {"case": name, "particles": n, "edges": edges, "complete": abs(edges - expected) <= 1e-4 * expected}
    low, middle, high = (float(np.percentile(times, p)) for p in (25, 50, 75))
    ratio = float(np.median(times / first[: len(times)]))  # block by block: others use this machine too
    return found | {"ms": middle, "low": low, "high": high, "edges_per_second": 1e3 * edges / middle, "ratio": ratio}


def table(rows: list[dict[str, Any]], sizes: list[int], show: Callable[[dict[str, Any]], str]) -> str:
    """Markdown, a line for each case."""
    cells = {(row["case"], row["particles"]): show(row) + ("" if row["complete"] else " \\*") for row in rows}
    lines = ["| particles | " + " | ".join(f"{n:,d}" for n in sizes) + " |", "|---|" + "---:|" * len(sizes)]
    for name in dict.fromkeys(row["case"] for row in rows):
        lines.append(f"| {name} | " + " | ".join(cells.get((name, n), "-") for n in sizes) + " |")
    return "\n".join(lines)


def report(rows: list[dict[str, Any]], sizes: list[int], left_out: dict[str, list[int]]) -> str:
    """Markdown."""
    texts = [
        "Milliseconds, median (quartiles)",
        table(rows, sizes, lambda row: f"{short(row['ms'])} ({short(row['low'])} - {short(row['high'])})"),
        "Million edges a second",
        table(rows, sizes, lambda row: short(row["edges_per_second"] / 1e6)),
        "Times as long as the first (goal: 3 for vesin without skin at 10,000)",
        table(rows, sizes, lambda row: short(row["ratio"])),
    ]
    if not all(row["complete"] for row in rows):
        texts.append("\\* misses edges: the box is smaller than twice the cutoff")
    texts += [f"Left out at {', '.join(f'{n:,d}' for n in where)}: {what}" for what, where in left_out.items()]
    return "\n\n".join(texts)


def short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def available_gib() -> float:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 1000, 10_000, 100_000])
    parser.add_argument("--only", nargs="+", default=[""], help="cases with one of these in their names")
    parser.add_argument("--blocks", type=int, default=15)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    left_out: dict[str, list[int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = null_model(Path(folder))
        for n in arguments.sizes:
            rows += measure(model, n, arguments.only, arguments.blocks, left_out)
    print(report(rows, arguments.sizes, left_out))
    if arguments.out:
        results = surroundings() | {"cutoff": CUTOFF, "skin": SKIN, "rows": rows, "left_out": left_out}
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
