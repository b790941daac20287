"""MD of 648 atoms of water with a message-passing model: the plugin's list against lists in torch and in Python.

216 TIP3P waters (PME, rigid) and on top of them a model of 2 layers and 32 channels over edges within 0.5 nm, float32,
with random weights, weak beside TIP3P. Timed are steps of NVE:

- plugin's list: NNPForce, the model takes edges; .pt and .pt2
- list in the model: NNPForce, the same model finds its edges itself (list_in_model of neighbors.py); .pt
- PythonForce: the same model, eager or TorchScript, edges from vesin (without it, from list_in_model)

All start from one State. Their energies and forces must be those of the eager model in float64, and the drift of their
total energies must be the same within 4 standard errors. Medians over interleaved blocks of one run (quartiles):

    OMP_NUM_THREADS=1 OPENMM_CPU_THREADS=1 python tests/benchmarks/water.py --out water.json
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import torch
from glue import stepper, summary
from neighbors import CUTOFF, SKIN, list_in_model, surroundings
from openmm import app
from tqdm import tqdm

import openmmnnp
from openmmnnp.export import save_pt, save_pt2

CHANNELS, RADIAL, WATERS = 32, 8, 216
STEP, STEPS = 0.001, 20  # ps, in a block
MODEL_GROUP = 1
ENERGY_ERROR, FORCE_ERROR = 1e-5, 1e-4  # kJ/mol an atom; of the root mean square of the forces

FindEdges = Callable[[np.ndarray, np.ndarray], tuple[torch.Tensor, torch.Tensor]]
"""Positions [n, 3] and box [3, 3] in nm to edges [2, e] and shifts [e, 3]."""


class MessagePassing(torch.nn.Module):
    """Energy in kJ/mol of atoms that pass messages along edges; smooth where a pair reaches the cutoff."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(6)
            self.embedding = torch.nn.Embedding(9, CHANNELS)
            self.filters = torch.nn.ModuleList(torch.nn.Linear(RADIAL, CHANNELS, bias=False) for _ in range(2))
            self.updates = torch.nn.ModuleList(torch.nn.Linear(CHANNELS, CHANNELS) for _ in range(2))
            self.readout = torch.nn.Linear(CHANNELS, 1)
        self.register_buffer("frequencies", torch.pi * torch.arange(1, RADIAL + 1, dtype=torch.float32))

    def forward(
        self, positions: torch.Tensor, atomic_numbers: torch.Tensor, edges: torch.Tensor, shifts: torch.Tensor
    ) -> torch.Tensor:
        center, neighbor = edges[0], edges[1]
        r = positions[neighbor] - positions[center] + shifts
        d = r.square().sum(1, keepdim=True).sqrt() / 0.5
        radial = torch.sin(self.frequencies * d) * (1 - d * d).clamp(min=0) ** 3
        h = self.embedding(atomic_numbers)
        for weigh, update in zip(self.filters, self.updates):  # noqa: B905 (TorchScript has no strict)
            messages = h[neighbor] * weigh(radial)
            h = h + torch.tanh(update(torch.zeros_like(h).index_add(0, center, messages)))
        return 10 * self.readout(h).sum()


class OwnList(torch.nn.Module):
    """The same, with edges that the model finds itself."""

    def __init__(self) -> None:
        super().__init__()
        self.model = MessagePassing()

    def forward(self, positions: torch.Tensor, atomic_numbers: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            edges, shifts = list_in_model(positions, box.diagonal(), 0.5)
        return self.model(positions, atomic_numbers, edges, shifts)


def plugin_edges() -> FindEdges:
    neighbors = openmmnnp.NeighborList(CUTOFF)

    def find(x: np.ndarray, box: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        edges, cells = neighbors.find(x, box)
        return torch.from_numpy(edges), torch.from_numpy(cells @ box)

    return find


def python_edges() -> tuple[str, FindEdges]:
    """The list that a PythonForce takes, and its name."""
    try:
        import vesin
    except ImportError:
        return "torch", lambda x, box: list_in_model(torch.tensor(x).float(), torch.tensor(box).diagonal(), CUTOFF)
    neighbors = vesin.NeighborList(cutoff=CUTOFF, full_list=True, skin=SKIN, n_threads=1)

    def find(x: np.ndarray, box: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        pairs, cells = neighbors.compute(x, box, True, "PS")
        return torch.from_numpy(pairs.T.astype(np.int64)), torch.from_numpy(cells @ box)

    return "vesin", find


def save_models(folder: Path) -> dict[str, Path]:
    """The model as .pt and .pt2, and as .pt with a list of its own."""
    generator = np.random.default_rng(1)
    box, find, examples = 2 * np.eye(3), plugin_edges(), []
    for n in (9, 10):
        x = generator.random((n, 3))
        edges, shifts = find(x, box)
        known = {"positions": x, "box": box, "edges": edges, "shifts": shifts}
        examples.append(known | {"atomic_numbers": generator.choice([1, 8], n)})
    specs = {}
    for name, inputs in (("edges", ["edges", "shifts"]), ("own", ["box"])):
        spec = openmmnnp.ModelSpec(name, "nm", "kJ/mol", "float32", inputs=["positions", "atomic_numbers", *inputs])
        spec.cutoff, spec.edges, spec.shifts, spec.periodic = CUTOFF, "full", "cartesian", True
        specs[name] = spec, [{key: example[key] for key in spec.inputs} for example in examples]
    paths = {name: folder / name for name in ("edges.pt", "edges.pt2", "own.pt")}
    for name, module, save in (
        ("edges.pt", MessagePassing(), save_pt),
        ("edges.pt2", MessagePassing(), save_pt2),
        ("own.pt", OwnList(), save_pt),
    ):
        spec, given = specs[name.split(".")[0]]
        save(module, spec, paths[name], examples=given)
    return paths


def water_box(platform: str) -> tuple[torch.Tensor, openmm.System, openmm.State]:
    """TIP3P waters at 300 K and 1 bar: atomic numbers, System, and the State from which all start."""
    forcefield = app.ForceField("tip3p.xml")
    modeller = app.Modeller(app.Topology(), [])
    modeller.addSolvent(forcefield, numAdded=WATERS)
    system = forcefield.createSystem(modeller.topology, app.PME, 0.8, removeCMMotion=False)
    context = make_context(system, [openmm.MonteCarloBarostat(1, 300, 10)], platform, 0.002, friction=10)
    context.setPositions(modeller.positions)
    openmm.LocalEnergyMinimizer.minimize(context)
    context.setVelocitiesToTemperature(300, 1)
    for _ in tqdm(range(100), "equilibration"):
        context.getIntegrator().step(100)
    numbers = torch.tensor([atom.element.atomic_number for atom in modeller.topology.atoms()])
    return numbers, system, context.getState(positions=True, velocities=True)


def make_context(
    system: openmm.System, forces: list[openmm.Force], platform: str, step: float, friction: float | None = None
) -> openmm.Context:
    """A Context of a copy of the System with more forces: Langevin dynamics with friction, else NVE."""
    system = copy.deepcopy(system)
    for force in forces:
        system.addForce(force)
    integrator = openmm.VerletIntegrator(step)
    if friction:
        integrator = openmm.LangevinMiddleIntegrator(300, friction, step)
        integrator.setRandomNumberSeed(1)
    integrator.setConstraintTolerance(1e-7)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatform(platform))
    context._keep = system  # the Context does not keep its System
    return context


def evaluate(
    model: Callable[..., torch.Tensor], find: FindEdges, numbers: torch.Tensor, dtype: torch.dtype, state: openmm.State
) -> tuple[float, np.ndarray]:
    """Energy in kJ/mol and forces [n, 3] in kJ/mol/nm of a model in Python."""
    x = state.getPositions(asNumpy=True)._value
    edges, shifts = find(x, state.getPeriodicBoxVectors(asNumpy=True)._value)
    positions = torch.tensor(x, dtype=dtype, requires_grad=True)
    energy = model(positions, numbers, edges, shifts.to(dtype))
    (gradient,) = torch.autograd.grad(energy, positions)
    return energy.item(), -gradient.double().numpy()


def nnp_force(path: Path, numbers: torch.Tensor, on_device: bool = False) -> openmm.Force:
    force = openmmnnp.NNPForce(path, atomicNumbers=numbers.tolist())
    force.setUsesPeriodicBoundaryConditions(True)
    force.setSkin(SKIN)
    force.setDeviceNeighbors(on_device)
    return force


def python_force(model: Callable[..., torch.Tensor], find: FindEdges, numbers: torch.Tensor) -> openmm.Force:
    force = openmm.PythonForce(partial(evaluate, model, find, numbers, torch.float32))
    force.setUsesPeriodicBoundaryConditions(True)
    return force


def list_cases(paths: dict[str, Path], numbers: torch.Tensor, platform: str) -> dict[str, list[openmm.Force]]:
    """The force of each case."""
    name, find = python_edges()
    forces = {
        "plugin's list, .pt": nnp_force(paths["edges.pt"], numbers),
        "plugin's list, .pt2": nnp_force(paths["edges.pt2"], numbers),
        "list in the model, .pt": nnp_force(paths["own.pt"], numbers),
        f"PythonForce, {name}, eager": python_force(MessagePassing(), find, numbers),
        f"PythonForce, {name}, TorchScript": python_force(torch.jit.script(MessagePassing()), find, numbers),
    }
    if platform == "OpenCL":
        forces["plugin's list on the device, .pt"] = nnp_force(paths["edges.pt"], numbers, True)
    for force in forces.values():
        force.setForceGroup(MODEL_GROUP)
    return {"no model": []} | {case: [force] for case, force in forces.items()}


class Errors:
    """Checks energy and forces of the model in a Context against the eager model in float64."""

    def __init__(self, numbers: torch.Tensor) -> None:
        self.exact = partial(evaluate, MessagePassing().double(), plugin_edges(), numbers, torch.float64)

    def find(self, context: openmm.Context) -> dict[str, float]:
        """Errors in kJ/mol an atom and relative to the forces. Raises ValueError if they are too large."""
        state = context.getState(positions=True, energy=True, forces=True, groups={MODEL_GROUP})
        energy, forces = self.exact(state)
        off = state.getForces(asNumpy=True)._value - forces
        errors = {
            "energy": abs(state.getPotentialEnergy()._value - energy) / len(forces),
            "forces": float(np.sqrt((off**2).mean() / (forces**2).mean())),
        }
        if not (errors["energy"] < ENERGY_ERROR and errors["forces"] < FORCE_ERROR):
            raise ValueError(f"energies or forces are wrong: {errors}")
        return errors


def total_energy(context: openmm.Context) -> float:
    state = context.getState(energy=True)
    return (state.getPotentialEnergy() + state.getKineticEnergy())._value


def slope(energies: np.ndarray) -> tuple[float, float]:
    """Drift of energies at the ends of blocks and its standard error, kJ/mol/ps."""
    times = STEP * STEPS * np.arange(len(energies))
    (drift, _), covariance = np.polyfit(times, energies, 1, cov=True)
    return float(drift), float(np.sqrt(covariance[0, 0]))


def run(contexts: dict[str, openmm.Context], blocks: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Milliseconds a step and total energies in kJ/mol of each Context [blocks], in turns."""
    times: dict[str, list[float]] = {name: [] for name in contexts}
    energies: dict[str, list[float]] = {name: [] for name in contexts}
    for _ in tqdm(range(blocks), "blocks"):
        for name, context in contexts.items():
            times[name].append(1e3 * stepper(context)(STEPS) / STEPS)
            energies[name].append(total_energy(context))
    return {name: np.array(t) for name, t in times.items()}, {name: np.array(e) for name, e in energies.items()}


def measure(platform: str, paths: dict[str, Path], blocks: int) -> list[dict[str, Any]]:
    """A row for each case. Raises ValueError if energies or forces are wrong."""
    numbers, system, state = water_box(platform)
    cases = list_cases(paths, numbers, platform)
    contexts = {name: make_context(system, forces, platform, STEP) for name, forces in cases.items()}
    for context in contexts.values():
        context.setState(state)
        context.getIntegrator().step(STEPS)
    errors = Errors(numbers)
    found = {name: [errors.find(contexts[name])] for name in contexts if cases[name]}
    times, energies = run(contexts, blocks)
    rows = []
    for name, context in contexts.items():
        drift, uncertain = slope(energies[name])
        row = {"case": name, "ms": summary(times[name]), "drift": drift, "drift_error": uncertain}
        row["ratio"] = summary(times[name] / times["plugin's list, .pt2"])
        row["model_ms"] = summary(times[name] - times["no model"])
        if cases[name]:
            row["errors"] = [*found[name], errors.find(context)]
        if name.startswith(("plugin", "list")):
            diagnostics = openmmnnp.NNPForce.cast(context._keep.getForces()[-1]).getDiagnostics(context)
            row |= {key: diagnostics[key] for key in ("milliseconds", "edges", "list_builds", "evaluations")}
        rows.append(row)
    return rows


def same_drift(rows: list[dict[str, Any]]) -> bool:
    """Is no drift different from that of the first case with a model?"""
    first = rows[1]
    allowed = [4 * np.hypot(row["drift_error"], first["drift_error"]) for row in rows]
    return all(abs(row["drift"] - first["drift"]) < limit for row, limit in zip(rows, allowed, strict=True))


def report(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| | ms a step | model's part | ratio | stage neighbors, ms | error of forces | drift, kJ/mol/ps |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        ms, model, ratio = (row[key] for key in ("ms", "model_ms", "ratio"))
        error = f"{max(e['forces'] for e in row['errors']):.0e}" if "errors" in row else "-"
        stage = f"{row['milliseconds']['neighbors']:.2f}" if row.get("list_builds") else "-"
        lines.append(
            f"| {row['case']} | {ms['median']:.1f} ({ms['low']:.1f} - {ms['high']:.1f}) | {model['median']:.1f} "
            f"| {ratio['median']:.2f} ({ratio['low']:.2f} - {ratio['high']:.2f}) | {stage} | {error} "
            f"| {row['drift']:.2f} ± {row['drift_error']:.2f} |"
        )
    return "\n".join(lines) + f"\n\nDrifts are {'the same' if same_drift(rows) else 'DIFFERENT'}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--platform", default="CPU", choices=["Reference", "CPU", "OpenCL"])
    parser.add_argument("--blocks", type=int, default=100, help=f"of {STEPS} steps")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(arguments.platform, save_models(Path(folder)), arguments.blocks)
    print(report(rows))
    if arguments.out:
        settings = {"platform": arguments.platform, "blocks": arguments.blocks, "steps_a_block": STEPS}
        results = surroundings() | settings | {"rows": rows, "same_drift": same_drift(rows)}
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")
    sys.exit(0 if same_drift(rows) else 1)


if __name__ == "__main__":
    main()
