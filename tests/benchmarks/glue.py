"""What NNPForce costs beside its model.

1. Glue: time of a step with a null model of 64 particles less time of a step without the force, for Systems of growing
   size, beside OpenMM's PythonForce with setParticles.
2. A compact 32-atom model in MD against the same call in a bare C++ loop, as .pt and .pt2.

All figures are medians over interleaved blocks of one run, with the quartiles. One thread:

    OMP_NUM_THREADS=1 OPENMM_CPU_THREADS=1 python tests/benchmarks/glue.py
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform as machine
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import openmm
import torch

import openmmnnp
from openmmnnp.export import save_pt, save_pt2

ROOT = Path(__file__).parents[2]
SUBSET = 64


class Null(torch.nn.Module):
    """E = 0, with a gradient."""

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return 0 * positions.sum()


def null_package(folder: Path) -> Path:
    """A .pt2 that does next to nothing."""
    spec = openmmnnp.ModelSpec("null", "nm", "kJ/mol", "float64", outputs=["energy"], particles=SUBSET)
    examples = [{"positions": torch.rand(SUBSET, 3, dtype=torch.float64)} for _ in range(2)]
    save_pt2(Null(), spec, folder / "null.pt2", examples=examples)
    return folder / "null.pt2"


def python_force() -> openmm.Force:
    """OpenMM's PythonForce that does next to nothing for the same particles."""
    forces = np.zeros((SUBSET, 3))

    def compute(state: openmm.State) -> tuple[float, np.ndarray]:
        state.getPositions(asNumpy=True)
        return 0.0, forces

    force = openmm.PythonForce(compute)
    force.setParticles(list(range(SUBSET)))
    return force


def make_context(force: openmm.Force | None, n: int, platform: str) -> openmm.Context:
    system = openmm.System()
    for _ in range(n):
        system.addParticle(1.0)
    if force is not None:
        system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(platform))
    generator = np.random.default_rng(1)
    context.setPositions(generator.random((n, 3)))
    context.setVelocities(1e-3 * generator.normal(size=(n, 3)))  # or the last evaluation would answer every call
    context._keep = system  # the Context does not keep its System
    return context


def interleave(cases: Mapping[str, Callable[[int], float]], steps: int, blocks: int) -> dict[str, np.ndarray]:
    """Microseconds a step of each case [blocks], the cases in turn in every block."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for block in range(-2, blocks):  # two blocks to warm up
        for name, run in cases.items():
            seconds = run(steps)
            if block >= 0:
                times[name].append(1e6 * seconds / steps)
    return {name: np.array(values) for name, values in times.items()}


def stepper(context: openmm.Context) -> Callable[[int], float]:
    def run(steps: int) -> float:
        start = time.perf_counter()
        context.getIntegrator().step(steps)
        return time.perf_counter() - start

    return run


def summary(values: np.ndarray) -> dict[str, float]:
    low, median, high = np.percentile(values, [25, 50, 75])
    return {"median": round(float(median), 2), "low": round(float(low), 2), "high": round(float(high), 2)}


def measure_glue(package: Path, sizes: list[int], blocks: int) -> list[dict[str, object]]:
    rows = []
    for platform in ("Reference", "CPU"):
        for n in sizes:
            force = openmmnnp.NNPForce(package)
            force.setParticles(range(SUBSET))
            with_force = make_context(force, n, platform)
            contexts = {
                "without": make_context(None, n, platform),
                "NNPForce": with_force,
                "PythonForce": make_context(python_force(), n, platform),
            }
            steps = max(20, min(2000, 2_000_000 // n))
            times = interleave({name: stepper(context) for name, context in contexts.items()}, steps, blocks)
            stages = force.getDiagnostics(with_force)["milliseconds"]
            own = 1000 * sum(value for name, value in stages.items() if name != "evaluate")
            row = {
                "platform": platform,
                "particles": n,
                "step_without": summary(times["without"]),
                "glue_NNPForce": summary(times["NNPForce"] - times["without"]),
                "glue_PythonForce": summary(times["PythonForce"] - times["without"]),
                "stages_without_evaluate": round(own, 2),
                "evaluate": round(1000 * stages["evaluate"], 2),
            }
            rows.append(row)
            print(
                f"{platform:10} {n:8,d} particles, us a step: without {row['step_without']['median']:9.1f}   "
                f"NNPForce +{row['glue_NNPForce']['median']:7.1f} "
                f"[{row['glue_NNPForce']['low']:.1f}, {row['glue_NNPForce']['high']:.1f}]   "
                f"PythonForce +{row['glue_PythonForce']['median']:8.1f}   "
                f"our stages {own:5.2f}, torch's call {row['evaluate']:6.2f}",
                flush=True,
            )
    return rows


def build_bare_loop(folder: Path) -> ctypes.CDLL:
    for command in (
        ["cmake", "-S", ROOT / "tests" / "cpp", "-B", folder, f"-DPython_EXECUTABLE={sys.executable}"],
        ["cmake", "--build", folder, "--target", "bare_loop"],
    ):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    library = ctypes.CDLL(str(folder / "libbare_loop.so"))
    library.bareLoopOpen.restype = ctypes.c_void_p
    library.bareLoopRun.restype = ctypes.c_double
    library.bareLoopRun.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return library


def ligand_models(folder: Path, device: str = "cpu") -> tuple[dict[str, Path], np.ndarray, np.ndarray]:
    """The Tyk2 ligand's potential as .pt and .pt2, a geometry of it in angstrom [32, 3], its atomic numbers [32]."""
    original = ROOT / "examples" / "tyk2" / "ejm_31.pt"
    spec = openmmnnp.spec.read_spec(original)
    assert spec is not None
    module = torch.jit.load(str(original))
    sys.path.insert(0, str(original.parent))
    from potential import Committee, Potential

    class Mean(Committee):
        def forward(self, positions: torch.Tensor, atomic_numbers: torch.Tensor) -> torch.Tensor:
            return self.members(positions, atomic_numbers).mean()

    weights = module.state_dict()
    eager = Mean(Potential(len(weights["members.embedding"])))
    eager.load_state_dict({name: weights[name] for name in eager.state_dict()})
    examples = [
        {key: torch.tensor(value) for key, value in r.items() if key in spec.inputs} for r in spec.references[:2]
    ]
    for example in examples:
        example["positions"] = example["positions"].to(torch.float32)
    spec.references, spec.outputs, spec.output_units = [], ["energy"], {}
    save_pt(eager, spec, folder / "ligand.pt", examples=examples, progress=False)
    save_pt2(eager, spec, folder / "ligand.pt2", examples=examples, device=device)
    positions = examples[0]["positions"].numpy()
    return {s: folder / f"ligand.{s}" for s in ("pt", "pt2")}, positions, examples[0]["atomic_numbers"].numpy()


def measure_bare(folder: Path, blocks: int) -> list[dict[str, object]]:
    models, positions, numbers = ligand_models(folder)
    library = build_bare_loop(folder / "build")
    n = len(numbers)
    rows = []
    for name, path in models.items():
        x = np.ascontiguousarray(positions, np.float32)
        z = np.ascontiguousarray(numbers, np.int64)
        loop = library.bareLoopOpen(
            str(path).encode(), n, x.ctypes.data_as(ctypes.c_void_p), z.ctypes.data_as(ctypes.c_void_p)
        )
        context = make_context(openmmnnp.NNPForce(path, atomicNumbers=[int(z) for z in numbers]), n, "Reference")
        context.setPositions(positions / 10)
        without = make_context(None, n, "Reference")
        cases = {
            "bare": lambda steps, loop=loop: library.bareLoopRun(loop, steps),
            "MD": stepper(context),
            "without": stepper(without),
        }
        times = interleave(cases, 50, blocks)
        ratio = times["MD"] / (times["bare"] + times["without"])
        row = {"model": name, **{k: summary(v) for k, v in times.items()}, "MD/(bare+without)": summary(ratio)}
        row["ratio"] = round(float(np.median(ratio)), 3)
        rows.append(row)
        print(
            f"ligand.{name}: us an evaluation: bare loop {row['bare']['median']:.1f}, step without the force "
            f"{row['without']['median']:.1f}, step with it {row['MD']['median']:.1f}; ratio {row['ratio']}",
            flush=True,
        )
    return rows


def import_times() -> dict[str, float]:
    """Seconds of wall time in fresh interpreters, medians of 5."""
    result = {}
    for code in ("import openmm", "import openmm, openmmnnp", "import torch"):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append(time.perf_counter() - start)
        result[code] = round(float(np.median(times)), 3)
    return result


def context_time(package: Path) -> dict[str, float]:
    """Seconds to make a Context with a fresh model, and with one that is loaded already."""

    def make() -> tuple[float, openmm.Context]:
        force = openmmnnp.NNPForce(package)
        force.setParticles(range(SUBSET))
        start = time.perf_counter()
        context = make_context(force, 1000, "Reference")
        return round(time.perf_counter() - start, 4), context

    cold, first = make()
    warm, second = make()
    del first, second
    return {"first": cold, "second": warm}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--blocks", type=int, default=21)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--skip-bare", action="store_true", help="leave the bare loop out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        package = null_package(Path(folder))
        results = {
            "machine": {"processor": machine.processor() or machine.machine(), "cores": os.cpu_count()},
            "versions": {"openmm": openmm.__version__, "torch": torch.__version__, "openmmnnp": openmmnnp.__version__},
            "import_seconds": import_times(),
            "context_seconds": context_time(package),
            "glue": measure_glue(package, arguments.sizes, arguments.blocks),
            "bare": [] if arguments.skip_bare else measure_bare(Path(folder), arguments.blocks),
        }
    results["peak_memory_MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({key: results[key] for key in ("import_seconds", "context_seconds", "peak_memory_MiB")}))
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
