"""Model families in every way of running them: 22, 32, 96 and 648 atoms, one CPU thread.

22: alanine dipeptide, 32: the ligand ejm_31, both in vacuum; 96 and 648: boxes of water, or the same waters in vacuum
for models that know no box. Models have random weights (but for ani2x), built by each family's own package as its tests
do; elements that a model lacks are replaced.

- eager, TorchScript, torch.compile: the module and autograd, in a Python loop, edges given
- .pt2 in a loop: the package in a Python loop, edges given
- .pt2 in MD: a step of NNPForce, with the plugin's edges
- PythonForce: a step of OpenMM's PythonForce with the eager model, and edges from vesin, as openmm-ml does it

metatomic's files are TorchScript: there all that is .pt2 elsewhere is .pt, and PythonForce runs TorchScript.

Nothing but the model acts on the atoms, and all cases are timed in turns in one run: medians (quartiles) in ms. Forces
of each case are compared with those of the model in Python, in float64 where it can. Memory is the growth of the
largest resident set while a case is set up and evaluated, in a process of its own that holds the model already.

    OMP_NUM_THREADS=1 OPENMM_CPU_THREADS=1 python tests/benchmarks/families.py message_passing --out families.json
"""

from __future__ import annotations

import argparse
import json
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
from family_models import FAMILIES, Model, build
from openmm import app, unit
from timing import ROOT, memory, summary, surroundings
from tqdm import tqdm

import openmmnnp
from openmmnnp.atoms import Atoms
from openmmnnp.export.eager import Eager, Inputs, tensors
from openmmnnp.export.examples import complete

STEP = 1e-5  # ps: with random weights atoms must not go far
FORCE_ERROR = {"float32": 1e-3, "float64": 1e-7}  # of their root mean square
WANTED = ["energy", "forces"]
Run = Callable[[], Any]


@dataclass(frozen=True)
class Subject:
    """A model and the atoms that it is given."""

    model: Model
    atoms: Atoms

    @property
    def inputs(self) -> Inputs:
        spec = self.model.spec
        return tensors(spec, complete(spec, self.atoms.example(spec)))


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


def known(atoms: Atoms, spec: openmmnnp.ModelSpec) -> Atoms:
    """With elements that the model knows in place of others, and without a box if it knows none."""
    known = spec.elements or [1, 6, 8]  # a model with types only: those of the tests
    numbers = tuple(z if z in known else max(known) for z in atoms.numbers)
    return replace(atoms, numbers=numbers, box=None if spec.periodic is False else atoms.box)


# Ways of running


def module_of(subject: Subject) -> torch.nn.Module:
    if subject.model.module is None:
        raise ValueError(subject.model.reason)
    return subject.model.module


def in_python(subject: Subject) -> Run:
    inputs = subject.inputs
    return lambda: subject.model.evaluate(inputs, WANTED)


def torchscript(subject: Subject) -> Run:
    model, inputs = Eager(torch.jit.script(module_of(subject)), subject.model.spec), subject.inputs
    return lambda: model.evaluate(inputs, WANTED)


def compiled(subject: Subject) -> Run:
    model, inputs = Eager(module_of(subject), subject.model.spec), subject.inputs
    model.module = torch.compile(model.module, dynamic=True)
    return lambda: model.evaluate(inputs, WANTED)


def package(subject: Subject) -> Run:
    saved, inputs = torch._inductor.aoti_load_package(str(subject.model.file)), subject.inputs
    names = openmmnnp.spec.read_spec(subject.model.file).outputs

    def run() -> dict[str, torch.Tensor]:
        return dict(zip(names, saved(*inputs.values()), strict=True))

    return run


def in_md(subject: Subject) -> Run:
    force = openmmnnp.NNPForce(subject.model.file, atomicNumbers=subject.atoms.numbers)
    force.setUsesPeriodicBoundaryConditions(subject.atoms.box is not None)
    return step_of(subject, force)


def python_force(subject: Subject) -> Run:
    """The model in OpenMM's PythonForce, with a list of vesin's at each step if it takes edges."""
    import vesin

    spec, atoms = subject.model.spec, subject.atoms
    example, (length, energy) = atoms.example(spec), spec_units(spec)
    periodic = atoms.box is not None
    box = np.asarray(example.get("box", np.eye(3)))
    neighbors = vesin.NeighborList(cutoff=spec.cutoff or 1.0, full_list=spec.edges != "half", n_threads=1)

    def compute(state: openmm.State) -> tuple[float, np.ndarray]:
        x = state.getPositions(asNumpy=True)._value / length
        given = {**example, "positions": x}
        if "edges" in spec.inputs:
            pairs, cells = neighbors.compute(x, box, periodic, "PS")
            order = np.argsort(pairs[:, 0], kind="stable")  # by center, as the plugin gives them
            pairs, cells = pairs[order], cells[order]
            given |= {"edges": pairs.T.astype(np.int64), "shifts": cells @ box if spec.shifts == "cartesian" else cells}
        found = subject.model.evaluate(tensors(spec, {name: given[name] for name in spec.inputs}), WANTED)
        return energy * found["energy"].item(), energy / length * found["forces"].double().numpy()

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
    length, energy = spec_units(subject.model.spec)

    def run() -> Callable[[], np.ndarray]:
        context.getIntegrator().step(1)

        def forces() -> np.ndarray:
            context.setPositions(0.1 * atoms.positions)
            return context.getState(forces=True).getForces(asNumpy=True)._value * length / energy

        return forces

    run.keep = system  # type: ignore[attr-defined]
    return run


IN_MD = "{file} in MD"
CASES: dict[str, Callable[[Subject], Run]] = {
    "eager": in_python,
    "TorchScript": torchscript,
    "torch.compile": compiled,
    "{file} in a loop": package,
    IN_MD: in_md,
    "PythonForce": python_force,
}


def cases_of(model: Model) -> dict[str, Callable[[Subject], Run]]:
    """Ways of running this file: a .pt in a Python loop is TorchScript."""
    if model.file.suffix == ".pt2":
        return CASES
    return {"TorchScript": in_python, IN_MD: in_md, "PythonForce": python_force}


# Measurements


def forces_of(result: Any) -> np.ndarray:
    return result() if callable(result) else result["forces"].double().numpy()


def peak(subject: Subject, make: Callable[[Subject], Run]) -> float:
    """MiB by which the largest resident set grows while the case is set up and evaluated three times."""

    def work() -> None:
        run = make(subject)
        for _ in range(3):
            run()

    return memory(work)


def measure(subject: Subject, name: str, seconds: float) -> list[dict[str, Any]]:
    """A row for each way of running the model. Raises ValueError if forces are wrong."""
    right = subject.model.exact(subject.inputs, WANTED)["forces"].double().numpy()
    rows: list[dict[str, Any]] = []
    runs: dict[str, Run] = {}
    for case, make in tqdm(cases_of(subject.model).items(), f"{name}: setting up", leave=False):
        row: dict[str, Any] = {"system": name, "atoms": len(right), "case": case.format(file=subject.model.file.suffix)}
        rows.append(row)
        try:
            run = make(subject)
            for _ in range(5):
                found = forces_of(run())
        except Exception as error:
            row["failed"] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:100]}"
            continue
        row["error"] = float(np.sqrt(((found - right) ** 2).mean() / (right**2).mean()))
        if not row["error"] < FORCE_ERROR[subject.model.spec.precision or subject.model.spec.dtype]:
            raise ValueError(f"{name}, {case}: forces are off by {row['error']:.1e} of their size")
        row["MiB"] = peak(subject, make)
        runs[row["case"]] = run
    times = interleaved(runs, seconds, name)
    for row in rows:
        if row["case"] in times:
            row["ms"] = summary(times[row["case"]])
            row["ratio"] = summary(times[row["case"]] / times[IN_MD.format(file=subject.model.file.suffix)])
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
        "| atoms | case | ms | time over the file in MD | memory, MiB | error of forces |",
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
    parser.add_argument("family", choices=FAMILIES)
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
        model = build(words.family, folder, words.dtype, lambda spec: known(water(32, folder), spec))
        for count in words.atoms:
            atoms = known(systems[count](folder), model.spec)
            rows += measure(Subject(model, atoms), f"{count} atoms", words.seconds)
    print(report(words.family, rows))
    if words.out:
        results = surroundings() | {"family": words.family, "dtype": words.dtype, "rows": rows}
        words.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
