"""Model families in every way of running them: 22, 32, 96 and 648 atoms, one CPU thread.

22: alanine dipeptide, 32: the ligand ejm_31, both in vacuum; 96 and 648: boxes of water. Models have random weights
(but for ani2x), built by each family's own package as its tests do; elements that a model lacks are replaced.

- eager, TorchScript, torch.compile: the module and autograd, in a Python loop, edges given
- .pt2 in a loop: the package in a Python loop, edges given
- .pt2 in MD: a step of NNPForce, with the plugin's edges
- PythonForce: a step of OpenMM's PythonForce with the eager module, and edges from vesin, as openmm-ml does it

Nothing but the model acts on the atoms, and all cases are timed in turns in one run: medians (quartiles) in ms. Forces
of each case are compared with those of the eager model in float64. Memory is the growth of the largest resident set
while a case is set up and evaluated, in a process of its own that holds the eager model already.

    OMP_NUM_THREADS=1 OPENMM_CPU_THREADS=1 python tests/benchmarks/families.py message_passing --out families.json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import torch
from glue import ROOT, summary
from neighbors import surroundings
from openmm import app, unit
from tqdm import tqdm

import openmmnnp
from openmmnnp.atoms import Atoms
from openmmnnp.export import export
from openmmnnp.export.eager import Eager, Inputs, tensors, with_forces
from openmmnnp.export.examples import complete
from openmmnnp.families import Loaded, find_family

sys.path[:0] = [str(ROOT / "tests" / "python"), str(ROOT / "tests" / "python" / "families")]

STEP = 1e-5  # ps: with random weights atoms must not go far
FORCE_ERROR = {"float32": 1e-3, "float64": 1e-7}  # of their root mean square
Run = Callable[[], Any]


@dataclass(frozen=True)
class Subject:
    """A model and the atoms that it is given."""

    loaded: Loaded
    package: Path
    atoms: Atoms

    @property
    def inputs(self) -> Inputs:
        spec = self.loaded.spec
        return tensors(spec, complete(spec, self.atoms.example(spec)))


# Models


def load(family: str, folder: Path, dtype: str) -> Loaded:
    """The family's model for any atoms."""
    if family == "message_passing":
        from water import CUTOFF, MessagePassing

        inputs = ["positions", "atomic_numbers", "edges", "shifts"]
        spec = openmmnnp.ModelSpec("message passing", "nm", "kJ/mol", dtype, inputs=inputs, elements=[1, 6, 7, 8])
        spec.cutoff, spec.edges, spec.shifts = CUTOFF, "full", "cartesian"
        return Loaded(spec, MessagePassing())
    words = [str(path) for path in parameters(family, folder, dtype)]
    parser = argparse.ArgumentParser()
    find_family(family).add_arguments(parser)
    options = parser.parse_args(words)
    options.dtype, options.device, options.charge = dtype, "cpu", 0
    return find_family(family).load(options, None)


def parameters(family: str, folder: Path, dtype: str) -> list[Any]:
    """Words of the command line that name a model of random weights, or the published parameters."""
    if family == "ani2x":
        return ["--parameters", Path(os.environ["OPENMMNNP_TEST_DATA"]) / "ani-2x" / "ani-2x_8x"]
    if family == "mace":
        from test_mace import build

        return [build(folder / "random.model", "ScaleShiftMACE", getattr(torch, dtype))]
    if family == "torchmdnet":
        from test_torchmdnet import build as build_tensornet

        return [build_tensornet(folder / "random.ckpt", dtype)]
    raise ValueError(f"{family} is not one of message_passing, ani2x, mace, torchmdnet")


# Atoms


def dipeptide(folder: Path) -> Atoms:
    from systems import alanine_dipeptide

    system = alanine_dipeptide(False)
    app.PDBFile.writeFile(system.topology, system.positions, open(folder / "dipeptide.pdb", "w"), keepIds=True)
    return Atoms.from_pdb(folder / "dipeptide.pdb", periodic=False)


def ligand(folder: Path) -> Atoms:
    return Atoms.from_pdb(ROOT / "examples" / "tyk2" / "lig.pdb", periodic=False)


def water(count: int, folder: Path) -> Atoms:
    """A box of TIP3P waters after a minimization and 2 ps at 300 K."""
    forcefield, modeller = app.ForceField("tip3p.xml"), app.Modeller(app.Topology(), [])
    modeller.addSolvent(forcefield, numAdded=count)
    edge = modeller.topology.getPeriodicBoxVectors()[0][0]
    system = forcefield.createSystem(modeller.topology, app.PME, min(0.45 * edge, 0.8 * unit.nanometer))
    integrator = openmm.LangevinMiddleIntegrator(300, 5, 0.001)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatform("CPU"))
    context.setPositions(modeller.positions)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=200)
    context.getIntegrator().step(2000)
    state = context.getState(positions=True)
    numbers = tuple(atom.element.atomic_number for atom in modeller.topology.atoms())
    box = 10 * np.array(state.getPeriodicBoxVectors(asNumpy=True)._value)
    return Atoms(numbers, 10 * state.getPositions(asNumpy=True)._value, box)


def known(atoms: Atoms, elements: list[int] | None) -> Atoms:
    """With elements that the model knows in place of others."""
    if not elements:
        return atoms
    return replace(atoms, numbers=tuple(z if z in elements else max(elements) for z in atoms.numbers))


# Ways of running


def with_autograd(subject: Subject, module: torch.nn.Module) -> Run:
    inputs = subject.inputs
    model = Eager(module, subject.loaded.spec)
    wanted = ["energy", "forces"]
    return lambda: model.evaluate(inputs, wanted)


def eager(subject: Subject) -> Run:
    return with_autograd(subject, subject.loaded.module)


def torchscript(subject: Subject) -> Run:
    return with_autograd(subject, torch.jit.script(subject.loaded.module))


def compiled(subject: Subject) -> Run:
    model = Eager(subject.loaded.module, subject.loaded.spec)
    model.module = torch.compile(model.module, dynamic=True)
    inputs = subject.inputs
    return lambda: model.evaluate(inputs, ["energy", "forces"])


def package(subject: Subject) -> Run:
    saved, inputs = torch._inductor.aoti_load_package(str(subject.package)), subject.inputs
    names = with_forces(subject.loaded.spec)

    def run() -> dict[str, torch.Tensor]:
        return dict(zip(names, saved(*inputs.values()), strict=True))

    return run


def in_md(subject: Subject) -> Run:
    force = openmmnnp.NNPForce(subject.package, atomicNumbers=subject.atoms.numbers)
    force.setUsesPeriodicBoundaryConditions(subject.atoms.box is not None)
    return step_of(subject, force)


def python_force(subject: Subject) -> Run:
    """The eager module in OpenMM's PythonForce, with a list of vesin's at each step."""
    import vesin

    spec, atoms = subject.loaded.spec, subject.atoms
    model, example = Eager(subject.loaded.module, spec), atoms.example(spec)
    length = spec_units(spec)
    neighbors = vesin.NeighborList(cutoff=spec.cutoff, full_list=spec.edges != "half", n_threads=1)
    periodic = atoms.box is not None
    box = np.asarray(example.get("box", np.eye(3)))

    def compute(state: openmm.State) -> tuple[float, np.ndarray]:
        x = state.getPositions(asNumpy=True)._value / length[0]
        pairs, cells = neighbors.compute(x, box, periodic, "PS")
        order = np.argsort(pairs[:, 0], kind="stable")  # by center, as the plugin gives them
        pairs, cells = pairs[order], cells[order]
        shifts = cells @ box if spec.shifts == "cartesian" else cells
        given = {**example, "positions": x, "edges": pairs.T.astype(np.int64), "shifts": shifts}
        found = model.evaluate(tensors(spec, {name: given[name] for name in spec.inputs}), ["energy", "forces"])
        return length[1] * found["energy"].item(), length[1] / length[0] * found["forces"].double().numpy()

    force = openmm.PythonForce(compute)
    force.setUsesPeriodicBoundaryConditions(periodic)
    return step_of(subject, force)


def spec_units(spec: openmmnnp.ModelSpec) -> tuple[float, float]:
    """nm and kJ/mol in the model's units."""
    return openmmnnp.spec.LENGTH_UNITS[spec.length_unit], openmmnnp.spec.ENERGY_UNITS[spec.energy_unit]


def step_of(subject: Subject, force: openmm.Force) -> Run:
    """A step of NVE with this force alone; what it returns gives the forces."""
    system, atoms = openmm.System(), subject.atoms
    for z in atoms.numbers:
        system.addParticle(app.Element.getByAtomicNumber(z).mass)
    if atoms.box is not None:
        system.setDefaultPeriodicBoxVectors(*(0.1 * atoms.box))
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(STEP), openmm.Platform.getPlatform("CPU"))
    context.setPositions(0.1 * atoms.positions)
    context.setVelocitiesToTemperature(10, 1)
    length, energy = spec_units(subject.loaded.spec)

    def run() -> Callable[[], np.ndarray]:
        context.getIntegrator().step(1)

        def forces() -> np.ndarray:
            context.setPositions(0.1 * atoms.positions)
            return context.getState(forces=True).getForces(asNumpy=True)._value * length / energy

        return forces

    run.keep = system  # type: ignore[attr-defined]
    return run


CASES: dict[str, Callable[[Subject], Run]] = {
    "eager": eager,
    "TorchScript": torchscript,
    "torch.compile": compiled,
    ".pt2 in a loop": package,
    ".pt2 in MD": in_md,
    "PythonForce": python_force,
}


# Measurements


def forces_of(result: Any) -> np.ndarray:
    return result() if callable(result) else result["forces"].double().numpy()


def memory(subject: Subject, case: str) -> float:
    """MiB by which the largest resident set grows while the case is set up and evaluated three times."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            Path("/proc/self/clear_refs").write_text("5")
            before = resident("VmRSS")
            run = CASES[case](subject)
            for _ in range(3):
                run()
            os.write(writing, f"{(resident('VmHWM') - before) / 1024}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        return float(pipe.read() or "nan")


def resident(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1])


def measure(subject: Subject, name: str, seconds: float) -> list[dict[str, Any]]:
    """A row for each way of running the model. Raises ValueError if forces are wrong."""
    exact = Eager(subject.loaded.module, subject.loaded.spec, dtype=torch.float64)
    double = {k: x.double() if x.is_floating_point() else x for k, x in subject.inputs.items()}
    right = exact.results(double)["forces"].numpy()
    rows: list[dict[str, Any]] = []
    runs: dict[str, Run] = {}
    for case, make in tqdm(CASES.items(), f"{name}: setting up", leave=False):
        row: dict[str, Any] = {"system": name, "atoms": len(right), "case": case}
        rows.append(row)
        try:
            run = make(subject)
            for _ in range(5):
                found = forces_of(run())
        except Exception as error:
            row["failed"] = f"{type(error).__name__}: {error}".splitlines()[0][:100]
            continue
        row["error"] = float(np.sqrt(((found - right) ** 2).mean() / (right**2).mean()))
        if not row["error"] < FORCE_ERROR[subject.loaded.spec.dtype]:
            raise ValueError(f"{name}, {case}: forces are off by {row['error']:.1e} of their size")
        row["MiB"] = memory(subject, case)
        runs[case] = run
    times = interleaved(runs, seconds, name)
    for row in rows:
        if row["case"] in times:
            row["ms"] = summary(times[row["case"]])
            row["ratio"] = summary(times[row["case"]] / times[".pt2 in MD"])
    return rows


def interleaved(runs: dict[str, Run], seconds: float, name: str) -> dict[str, np.ndarray]:
    """Milliseconds of each case, in turns for this time or 15 rounds."""
    times: dict[str, list[float]] = {case: [] for case in runs}
    with tqdm(total=seconds, desc=name, bar_format="{desc}: {percentage:3.0f}% {elapsed}", leave=False) as bar:
        while bar.n < seconds or len(next(iter(times.values()))) < 15:
            for case, run in runs.items():
                start = time.perf_counter()
                run()
                taken = time.perf_counter() - start
                times[case].append(1e3 * taken)
                bar.update(taken)
    return {case: np.array(values) for case, values in times.items()}


def report(family: str, rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        f"{family}:\n",
        "| atoms | case | ms | time over .pt2 in MD | memory, MiB | error of forces |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        if "failed" in row:
            lines.append(f"| {row['atoms']} | {row['case']} | {row['failed']} | | | |")
            continue
        ms, ratio = row["ms"], row["ratio"]
        lines.append(
            f"| {row['atoms']} | {row['case']} | {ms['median']:.2f} ({ms['low']:.2f} - {ms['high']:.2f}) "
            f"| {ratio['median']:.2f} ({ratio['low']:.2f} - {ratio['high']:.2f}) "
            f"| {row['MiB']:.0f} | {row['error']:.0e} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", help="message_passing, ani2x, mace, torchmdnet")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--seconds", type=float, default=20, help="of each system [20]")
    parser.add_argument("--atoms", type=int, nargs="+", default=[22, 32, 96, 648])
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    words = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    systems = {22: dipeptide, 32: ligand, 96: lambda f: water(32, f), 648: lambda f: water(216, f)}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        loaded = load(words.family, folder, words.dtype)
        example = known(water(32, folder), loaded.spec.elements).example(loaded.spec)
        export(loaded.module, loaded.spec, folder / "model.pt2", example=example, threads=1)
        for count in words.atoms:
            atoms = known(systems[count](folder), loaded.spec.elements)
            rows += measure(Subject(loaded, folder / "model.pt2", atoms), f"{count} atoms", words.seconds)
    print(report(words.family, rows))
    if words.out:
        results = surroundings() | {"family": words.family, "dtype": words.dtype, "rows": rows}
        words.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
