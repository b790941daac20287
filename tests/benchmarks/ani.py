"""ANI-2x, energy and forces of the ligand ejm_31 (32 atoms, 8 networks), on one CPU thread.

TorchANI, our module in eager mode, as .pt and as .pt2, and the bare matrix products of our networks, forward and
backward, with the same weights. Beside them the times that the hardware sets, measured in the same run: arithmetic at
the rate of a large matrix product, and weights read twice (forward and backward) at the rate of a large sum.

All figures are medians over interleaved blocks of one run, with the quartiles:

    OMP_NUM_THREADS=1 python tests/benchmarks/ani.py DATA/ani-2x/ani-2x_8x --out ani.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import ROOT, summary, surroundings
from torch import Tensor

from openmmnnp.atoms import Atoms
from openmmnnp.export import export
from openmmnnp.families import ani2x
from openmmnnp.models.ani import AniMolecule

LIGAND = ROOT / "examples" / "tyk2" / "lig.pdb"
SIDE, LARGE = 1024, 64 * 2**20  # of a large matrix product; bytes of a large sum
Case = Callable[[], Any]


def with_forces(model: Callable[[Tensor], Tensor], positions: Tensor) -> Case:
    """A call of a model that returns the energy, and its gradient."""

    def run() -> Tensor:
        x = positions.clone().requires_grad_(True)
        return torch.autograd.grad(model(x), x)[0]

    return run


def products(module: AniMolecule, dtype: torch.dtype) -> Case:
    """The matrix products of the networks, forward and backward with respect to the environments."""
    groups = []
    for network, atoms in zip(module.networks, module.counts, strict=True):
        weights = [network.weight, *(layer.weight for layer in network.hidden)]
        groups.append((torch.randn(atoms, len(weights[0]), dtype=dtype), weights, network.members))

    def run() -> None:
        for x, (first, *others), members in groups:
            y = (x @ first).view(len(x), members, -1).transpose(0, 1)
            for weight in others:
                y = torch.bmm(y, weight)
            for weight in reversed(others):
                y = torch.bmm(y, weight.transpose(1, 2))
            y.transpose(0, 1).reshape(len(x), -1) @ first.t()

    return run


def work(module: AniMolecule) -> tuple[float, float]:
    """Floating-point operations of these products, and bytes of their weights."""
    operations = size = 0.0
    for network, atoms in zip(module.networks, module.counts, strict=True):
        for weight in [network.weight, *(layer.weight for layer in network.hidden)]:
            operations += 2 * 2 * atoms * weight.numel()
            size += weight.numel() * weight.element_size()
    return operations, size


def hardware(dtype: torch.dtype) -> dict[str, Case]:
    matrix = torch.randn(SIDE, SIDE, dtype=dtype)
    numbers = torch.ones(LARGE // matrix.element_size(), dtype=dtype)
    return {"large product": lambda: matrix @ matrix, "large sum": lambda: numbers.sum()}


def interleave(cases: Mapping[str, Case], blocks: int, repeats: int = 3) -> dict[str, np.ndarray]:
    """Milliseconds a call of each case [blocks], the cases in turn in every block."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for block in range(-3, blocks):  # three blocks to warm up
        for name, run in cases.items():
            start = time.perf_counter()
            for _ in range(repeats):
                run()
            if block >= 0:
                times[name].append(1000 * (time.perf_counter() - start) / repeats)
    return {name: np.array(values) for name, values in times.items()}


def models(parameters: Path, name: str, folder: Path) -> tuple[dict[str, Case], AniMolecule]:
    """The cases of a dtype, and our module."""
    dtype = getattr(torch, name)
    atoms = Atoms.from_pdb(LIGAND, periodic=False)
    x, numbers = torch.tensor(atoms.positions, dtype=dtype), torch.tensor([atoms.numbers])
    options = argparse.Namespace(model="ani2x", parameters=parameters, network=None, dtype=name)
    theirs = ani2x._read("ani2x", parameters, None).to(dtype).requires_grad_(False)
    loaded = ani2x.load(options, atoms)
    ours = loaded.module
    assert isinstance(ours, AniMolecule)
    for suffix in ("pt", "pt2"):
        path = folder / f"{name}.{suffix}"
        export(ours, loaded.spec, path, example=atoms.example(loaded.spec))
    scripted = torch.jit.freeze(torch.jit.load(str(folder / f"{name}.pt")).eval())
    package = torch._inductor.aoti_load_package(str(folder / f"{name}.pt2"))
    return {
        "TorchANI": with_forces(lambda y: theirs((numbers, y[None])).energies[0], x),
        "ours, eager": with_forces(lambda y: ours(y)[0], x),
        ".pt": with_forces(lambda y: scripted(y)[0], x),
        ".pt2": lambda: package(x),
        "matrix products": products(ours, dtype),
        **hardware(dtype),
    }, ours


def measure(parameters: Path, name: str, folder: Path, blocks: int) -> dict[str, Any]:
    cases, ours = models(parameters, name, folder)
    times = interleave(cases, blocks)
    operations, size = work(ours)
    rate = 2 * SIDE**3 / np.median(times["large product"])  # per millisecond
    bandwidth = LARGE / np.median(times["large sum"])
    bounds = {"arithmetic": operations / rate, "weights read twice": 2 * size / bandwidth}
    found = {name: summary(values) for name, values in times.items()}
    ratios = {
        name: round(float(np.median(times["TorchANI"] / times[name])), 2) for name in ("ours, eager", ".pt", ".pt2")
    }
    print(f"\n{name}: ms a call, median [quartiles]; weights {size / 1e6:.1f} MB, {operations / 1e9:.2f} GFLOP")
    for case, values in found.items():
        text = f"{ratios[case]:5.2f} times TorchANI's speed" if case in ratios else ""
        print(f"  {case:20} {values['median']:8.2f} [{values['low']:.2f}, {values['high']:.2f}]  {text}")
    print(f"  large product: {rate / 1e6:.1f} GFLOP/s; large sum: {bandwidth / 1e6:.1f} GB/s")
    over = {}
    for bound, value in {**bounds, "matrix products": found["matrix products"]["median"]}.items():
        over[bound] = round(found[".pt2"]["median"] / value, 2)
        print(f"  bound by {bound}: {value:.2f} ms; .pt2 takes {over[bound]:.2f} times as long")
    return {"dtype": name, "times": found, "ratios": ratios, "bounds": bounds, "over_bounds": over}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parameters", type=Path, help="folder of the published parameters of ANI-2x")
    parser.add_argument("--blocks", type=int, default=31)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float64"])
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(arguments.parameters, name, Path(folder), arguments.blocks) for name in arguments.dtypes]
    results = surroundings() | {"ejm_31": rows}
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
