"""What NNPForce costs on CUDA beside its model, and what handing over between CUDA contexts costs.

1. Null model of 64 particles in a water box of the size of DHFR's (23,556 atoms, PME): time of a step less time of a
   step without the force, with and without CUDA graphs, beside OpenMM's PythonForce with setParticles.
2. The same package, and that of a 32-atom ligand, replayed alone in a C++ loop: a step with the force against the sum
   of the bare replay and a step without the force.
3. Three experiments with the driver alone and with torch: latency of handing over between two contexts and back; a
   ladder (gather, + graph launch, + scatter); torch's kernels while another context is current.

Figures are microseconds, medians over interleaved blocks of one run with the quartiles. Writes
tests/benchmarks/results/DATE_GPU.json. tests/gpu/run.sh runs it; alone:

    python tests/benchmarks/gpu.py --work FOLDER
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import torch
from potentials import SUBSET, Null
from timing import interleave, summary

import openmmnnp
from openmmnnp.export import save_pt2

ROOT = Path(__file__).parents[2]
WATERS = 7852
FOREIGN = """
import ctypes, sys, torch
library = ctypes.CDLL(sys.argv[1])
library.bareCudaForeignContext.restype = ctypes.c_char_p
print(library.bareCudaForeignContext(200).decode())
"""


def water_box() -> tuple[openmm.System, np.ndarray, float]:
    """TIP3P waters on a lattice, turned at random, at the density of water: System, positions [n, 3], box in nm."""
    edge = (WATERS * 0.0299) ** (1 / 3)
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*(edge * np.eye(3)))
    nonbonded = openmm.NonbondedForce()
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.PME)
    nonbonded.setCutoffDistance(0.9)
    nonbonded.setUseDispersionCorrection(False)
    angle = np.radians(104.52)
    water = 0.09572 * np.array([[0, 0, 0], [1, 0, 0], [np.cos(angle), np.sin(angle), 0]])
    generator = np.random.default_rng(1)
    cells = round(WATERS ** (1 / 3) + 0.5)
    sites = np.array(list(np.ndindex(cells, cells, cells)))
    positions = []
    for i, site in enumerate(generator.permutation(sites)[:WATERS]):
        turn, _ = np.linalg.qr(generator.normal(size=(3, 3)))
        positions.append((site + 0.5) * edge / cells + water @ turn)
        for j, (mass, charge, sigma, epsilon) in enumerate(
            [(15.9994, -0.834, 0.315075, 0.635968), (1.008, 0.417, 1, 0), (1.008, 0.417, 1, 0)]
        ):
            system.addParticle(mass)
            nonbonded.addParticle(charge, sigma, epsilon)
            for k in range(j):
                nonbonded.addException(3 * i + j, 3 * i + k, 0, 1, 0)
        for j, k, length in ((0, 1, 0.09572), (0, 2, 0.09572), (1, 2, 0.15139)):
            system.addConstraint(3 * i + j, 3 * i + k, length)
    system.addForce(nonbonded)
    return system, np.concatenate(positions), edge


def null_package(folder: Path) -> Path:
    path = folder / "null_cuda.pt2"
    if not path.exists():
        spec = openmmnnp.ModelSpec("null", "nm", "kJ/mol", "float32", outputs=["energy"], particles=SUBSET)
        examples = [{"positions": torch.rand(SUBSET, 3)} for _ in range(2)]
        save_pt2(Null(), spec, path, examples=examples, device="cuda", progress=False)
    return path


def ligand_package(folder: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """The Tyk2 ligand's potential for CUDA, a geometry of it in angstrom [32, 3], its atomic numbers [32]."""
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
    save_pt2(eager, spec, folder / "ligand.pt2", examples=examples, device="cuda")
    positions = examples[0]["positions"].numpy()
    return folder / "ligand.pt2", positions, examples[0]["atomic_numbers"].numpy()


class Box:
    """The water box, minimized once, from which Contexts with different forces are made."""

    def __init__(self) -> None:
        self.system, positions, _ = water_box()
        context = self._context(None)
        context.setPositions(positions)
        openmm.LocalEnergyMinimizer.minimize(context, 10, 300)
        context.setVelocitiesToTemperature(100, 1)
        context.getIntegrator().setStepSize(0.0005)
        context.getIntegrator().step(1000)
        self.state = context.getState(positions=True, velocities=True)

    def _context(self, force: openmm.Force | None) -> openmm.Context:
        system = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(self.system))
        if force is not None:
            system.addForce(force)
        integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.001)
        context = openmm.Context(system, integrator, openmm.Platform.getPlatform("CUDA"), {"Precision": "mixed"})
        context._keep = system
        return context

    def context(self, force: openmm.Force | None) -> openmm.Context:
        context = self._context(force)
        context.setState(self.state)
        context.getIntegrator().step(50)  # past the capture of a graph
        return context


def stepper(context: openmm.Context) -> Callable[[int], float]:
    """Seconds for a number of steps, until the device has done them."""

    def run(steps: int) -> float:
        context.getState(positions=True)
        start = time.perf_counter()
        context.getIntegrator().step(steps)
        context.getState(positions=True)
        return time.perf_counter() - start

    return run


def nnp_force(path: Path, particles: list[int], graphs: bool = True, numbers: list[int] | None = None) -> openmm.Force:
    force = openmmnnp.NNPForce(path, atomicNumbers=numbers)
    force.setParticles(particles)
    force.setCudaGraphs(graphs)
    if numbers is not None:
        force.setScaleParameter("s", 1e-12)  # the particles are water: the model is evaluated, and hardly felt
    return force


def python_force() -> openmm.Force:
    """OpenMM's PythonForce that does next to nothing for the same particles."""
    forces = np.zeros((SUBSET, 3))

    def compute(state: openmm.State) -> tuple[float, np.ndarray]:
        state.getPositions(asNumpy=True)
        return 0.0, forces

    force = openmm.PythonForce(compute)
    force.setParticles(list(range(SUBSET)))
    return force


def bare_stepper(library: ctypes.CDLL, loop: ctypes.c_void_p, wait: bool) -> Callable[[int], float]:
    return lambda steps: library.bareCudaRun(loop, steps, int(wait))


def open_bare(library: ctypes.CDLL, path: Path, x: np.ndarray, z: np.ndarray | None) -> ctypes.c_void_p:
    library.bareCudaOpen.restype = ctypes.c_void_p
    library.bareCudaRun.restype = ctypes.c_double
    library.bareCudaRun.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    x = np.ascontiguousarray(x, np.float32)
    numbers = None if z is None else np.ascontiguousarray(z, np.int64)
    pointer = None if numbers is None else numbers.ctypes.data_as(ctypes.c_void_p)
    return library.bareCudaOpen(str(path).encode(), len(x), x.ctypes.data_as(ctypes.c_void_p), pointer)


def measure(
    box: Box, library: ctypes.CDLL | None, name: str, path: Path, x: np.ndarray, z: np.ndarray | None, blocks: int
) -> dict[str, Any]:
    """A package in the box: what it adds to a step, and against the bare replay."""
    particles = list(range(len(x)))
    numbers = None if z is None else [int(value) for value in z]
    contexts = {
        "without": box.context(None),
        "NNPForce": box.context(nnp_force(path, particles, True, numbers)),
        "NNPForce_no_graph": box.context(nnp_force(path, particles, False, numbers)),
    }
    if z is None:
        contexts["PythonForce"] = box.context(python_force())
    cases = {key: stepper(context) for key, context in contexts.items()}
    if library is not None:
        loop = open_bare(library, path, x, z)
        cases |= {"bare": bare_stepper(library, loop, False), "bare_waiting": bare_stepper(library, loop, True)}
    times = interleave(cases, 500, blocks)
    row: dict[str, Any] = {"model": name, "steps_a_block": 500, "times": {k: summary(v) for k, v in times.items()}}
    row["added"] = {k: summary(times[k] - times["without"]) for k in contexts if k != "without"}
    if library is not None:
        row["ratio"] = {k: summary(times["NNPForce"] / (times["without"] + times[k])) for k in ("bare", "bare_waiting")}
    system = contexts["NNPForce"].getSystem()
    force = openmmnnp.NNPForce.cast(system.getForce(system.getNumForces() - 1))
    found = force.getDiagnostics(contexts["NNPForce"])
    row["graph"] = {"captured": found["cudaGraph"], "reason": found["cudaGraphReason"]}
    row["host_milliseconds_by_stage"] = found["milliseconds"]
    print(json.dumps(row), flush=True)
    return row


def build(folder: Path) -> dict[str, Path]:
    """The C++ programs; those that cannot be built here are left out, with a message."""
    built = {}
    configure = ["cmake", "-S", ROOT / "tests" / "cpp", "-B", folder, f"-DPython_EXECUTABLE={sys.executable}"]
    configure.append(f"-DOpenMM_ROOT={Path(openmm.version.openmm_library_path).parent}")
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
    for target, file in (("bare_cuda", "libbare_cuda.so"), ("handover", "handover")):
        result = subprocess.run(["cmake", "--build", folder, "--target", target], capture_output=True, text=True)
        if result.returncode == 0:
            built[target] = folder / file
        else:
            print(f"{target} cannot be built:\n{(result.stdout + result.stderr)[-1500:]}", flush=True)
    return built


def experiments(programs: dict[str, Path]) -> dict[str, Any]:
    commands: dict[str, list[str]] = {}
    if "handover" in programs:
        commands["handover"] = [str(programs["handover"])]
    if "bare_cuda" in programs:
        commands["torch_in_another_context"] = [sys.executable, "-c", FOREIGN, str(programs["bare_cuda"])]
    found: dict[str, Any] = {}
    for name, command in commands.items():
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
        try:
            found[name] = json.loads(result.stdout)
        except json.JSONDecodeError:
            found[name] = {"failed": result.returncode, "output": (result.stdout + result.stderr)[-500:]}
        print(name, json.dumps(found[name]), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for packages and programs")
    parser.add_argument("--blocks", type=int, default=15)
    parser.add_argument("--out", type=Path, help="file for the results")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    gpu = torch.cuda.get_device_name()
    results: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "gpu": gpu,
        "versions": {
            "openmm": openmm.__version__,
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "openmmnnp": openmmnnp.__version__,
        },
    }
    name = f"{results['date']}_{re.sub('[^A-Za-z0-9]+', '-', gpu)}.json"
    out = arguments.out or ROOT / "tests" / "benchmarks" / "results" / name
    out.parent.mkdir(parents=True, exist_ok=True)

    def save() -> None:
        out.write_text(json.dumps(results, indent=1) + "\n")

    programs = build(arguments.work / "cpp")
    results["experiments"] = experiments(programs)
    save()
    library = ctypes.CDLL(str(programs["bare_cuda"])) if "bare_cuda" in programs else None
    box = Box()
    null = null_package(arguments.work)
    results["null"] = measure(box, library, "null", null, np.random.rand(SUBSET, 3), None, arguments.blocks)
    save()
    package, x, z = ligand_package(arguments.work)
    results["ligand"] = measure(box, library, "ligand", package, x, z, arguments.blocks)
    save()
    print("results are in", out)


if __name__ == "__main__":
    main()
