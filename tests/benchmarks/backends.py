"""Every way of running a model in OpenMM that is installed, and the model by itself."""

from __future__ import annotations

import copy
import functools
import multiprocessing
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import openmm
import torch
from bare import BareLoop
from peer import Peer
from potentials import Evaluator, OwnList, OwnMolecule, Potential
from session import MODEL_GROUP, NVE, Session
from subjects import STEP, Subject
from timing import memory

import openmmnnp
from openmmnnp.spec import ENERGY_UNITS, LENGTH_UNITS

FORMATS = {".pt": "pt", ".pt2": "pt2", ".pt2, energy entry": "pt2-energy"}
BARE = {"bare .pt2, C++ loop": "pt2", "bare .pt, C++ loop": "pt"}
IN_TURN = "bare .pt2 and MM step in turn"
EAGER = "bare, eager, Python loop"
NONE = "no model"
FRAMES = 16  # of a bare model


class Unavailable(Exception):
    """A backend that is not installed, or can't run this model."""


class Runs(Protocol):
    """What can be timed: a Session, its like in another process, or a model by itself."""

    def run(self, steps: int) -> float: ...


@dataclass
class Bench:
    """What is shared by the cases of one run."""

    folder: Path
    peer: Peer | None = None
    frames: int = FRAMES

    def with_own_list(self, subject: Subject, potential: Potential) -> tuple[Path, bool]:
        """The model with openmm-torch's contract, and whether it takes the box."""
        numbers = torch.tensor(subject.numbers)
        takes_box = "edges" in potential.spec.inputs
        unit_of = ENERGY_UNITS[potential.spec.energy_unit]
        if takes_box:
            if subject.particles is not None:
                raise Unavailable("no subset of this model")
            module: torch.nn.Module = OwnList(numbers, subject.periodic)
        else:
            per_nm = 1 / LENGTH_UNITS[potential.spec.length_unit]
            module = OwnMolecule(potential.module, torch.tensor(subject.indices), per_nm, unit_of)
        path = self.folder / f"{potential.name}-{subject.system.getNumParticles()}-contract.pt"
        torch.jit.script(module.eval()).save(str(path))
        return path, takes_box


# Forces


def nnp_force(subject: Subject, potential: Potential, form: str) -> openmm.Force:
    force = openmmnnp.NNPForce(potential.files[FORMATS[form]])
    takes = "atomic_numbers" in potential.spec.inputs
    numbers = list(subject.numbers) if takes or potential.spec.atomic_numbers else None
    if subject.particles is None:
        if numbers:
            force.setAtomicNumbers(numbers)
    else:
        force.setParticles(subject.particles, atomicNumbers=numbers)
    force.setUsesPeriodicBoundaryConditions(subject.periodic)
    return force


def python_force(subject: Subject, potential: Potential) -> openmm.Force:
    """OpenMM's PythonForce with the model in eager mode, and a list of vesin's at each step if it takes edges."""
    if potential.name == "null":
        compute = functools.partial(_nothing, np.zeros((len(subject.indices), 3)))
    else:
        compute = InPython(subject.numbers, subject.periodic, potential)
    force = openmm.PythonForce(compute)
    force.setUsesPeriodicBoundaryConditions(subject.periodic)
    if subject.particles is not None:
        force.setParticles(subject.particles)
    return force


def _nothing(forces: np.ndarray, state: openmm.State) -> tuple[float, np.ndarray]:
    state.getPositions(asNumpy=True)
    return 0.0, forces


class InPython:
    """(State) -> energy in kJ/mol and forces in kJ/mol/nm."""

    def __init__(self, numbers: Sequence[int], periodic: bool, potential: Potential) -> None:
        self.spec, self.evaluator = potential.spec, potential.evaluator()
        self.numbers, self.periodic, self.neighbors = np.array(numbers), periodic, None
        if "edges" in self.spec.inputs:
            import vesin

            self.neighbors = vesin.NeighborList(cutoff=self.spec.cutoff, full_list=True, n_threads=1)

    def __call__(self, state: openmm.State) -> tuple[float, np.ndarray]:
        nm = LENGTH_UNITS[self.spec.length_unit]
        x = state.getPositions(asNumpy=True)._value / nm
        box = state.getPeriodicBoxVectors(asNumpy=True)._value / nm if self.periodic else np.eye(3)
        return self.evaluator(self.inputs(x, np.asarray(box)))

    def inputs(self, x: np.ndarray, box: np.ndarray) -> dict[str, Any]:
        given: dict[str, Any] = {"positions": x, "atomic_numbers": self.numbers}
        if self.neighbors is not None:
            pairs, cells = self.neighbors.compute(x, box, self.periodic, "PS")
            order = np.argsort(pairs[:, 0], kind="stable")  # by center, as the plugin gives them
            given |= {"edges": pairs[order].T.astype(np.int64), "shifts": cells[order] @ box}
        return {name: given[name] for name in self.spec.inputs}


def openmmml_forces(system: openmm.System, subject: Subject, potential: Potential) -> None:
    """Add the model as openmm-ml does: ANI-2x by its own implementation, others through an ASE calculator."""
    add = functools.partial(_implementation(potential), forceGroup=MODEL_GROUP)
    if potential.name == "ANI-2x":
        with published_ani():
            add(topology=subject.topology, system=system, atoms=subject.particles)
    else:
        add(topology=subject.topology, system=system, atoms=subject.particles, calculator=calculator(potential))


def ml_potential() -> Any:
    """openmm-ml's MLPotential. Raises Unavailable."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from openmmml import MLPotential
    except ImportError as error:
        raise Unavailable(f"openmm-ml is not installed: {error}") from error
    return MLPotential


def _implementation(potential: Potential) -> Callable[..., None]:
    found: Callable[..., None] = ml_potential()("ani2x" if potential.name == "ANI-2x" else "ase")._impl.addForces
    return found


class published_ani:
    """TorchANI's constructor, with the parameters of the tests in place of a download."""

    def __enter__(self) -> None:
        import torchani
        from potentials import ani_parameters

        from openmmnnp.families import ani2x

        self.before = torchani.models.ANI2x
        torchani.models.ANI2x = lambda **_: ani2x._read("ani2x", ani_parameters(), None).to(torch.float32)

    def __exit__(self, *_: object) -> None:
        import torchani

        torchani.models.ANI2x = self.before


def calculator(potential: Potential) -> Any:
    """An ASE calculator with the model in eager mode and a list of vesin's."""
    import vesin
    from ase import units
    from ase.calculators.calculator import Calculator, all_changes

    evaluator, spec = potential.evaluator(), potential.spec
    nm = LENGTH_UNITS[spec.length_unit]
    neighbors = vesin.NeighborList(cutoff=spec.cutoff, full_list=True, n_threads=1)

    class Model(Calculator):
        implemented_properties = ["energy", "forces"]

        def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
            super().calculate(atoms, properties, system_changes)
            periodic = bool(atoms.pbc.any())
            x, box = 0.1 / nm * atoms.positions, 0.1 / nm * np.array(atoms.cell) if periodic else np.eye(3)
            pairs, cells = neighbors.compute(x, box, periodic, "PS")
            given = {"positions": x, "atomic_numbers": atoms.numbers}
            given |= {"edges": pairs.T.astype(np.int64), "shifts": cells @ box}
            energy, forces = evaluator(given)
            kj = units.kJ / units.mol
            self.results = {"energy": energy * kj, "forces": forces * kj / 10}

    return Model()


# Sessions


def make_system(name: str, subject: Subject, potential: Potential) -> openmm.System:
    """A copy of the subject's System with the model of a backend in force group 1."""
    system = copy.deepcopy(subject.system)
    if name == NONE:
        return system
    if name == "openmm-ml":
        openmmml_forces(system, subject, potential)
        return system
    force = nnp_force(subject, potential, name) if name in FORMATS else python_force(subject, potential)
    force.setForceGroup(MODEL_GROUP)
    system.addForce(force)
    return system


def open_session(
    name: str, subject: Subject, potential: Potential, platform: str, bench: Bench, mode: str = NVE
) -> Runs:
    """A backend's Session, or the bare model. Raises Unavailable."""
    if name in BARE:
        return bare_loop(name, subject, potential, bench)
    if name == IN_TURN:
        if platform not in ("Reference", "CPU"):
            raise Unavailable("a device would have to wait for each step")
        alone = Session(make_system(NONE, subject, potential), platform, STEP, subject.start, mode)
        return InTurn(bare_loop("bare .pt2, C++ loop", subject, potential, bench), alone)
    if name == EAGER:
        return EagerLoop(subject, potential)
    if name == "openmm-torch":
        if bench.peer is None:
            raise Unavailable("needs an environment of its own: make bench-openmmtorch")
        path, box = bench.with_own_list(subject, potential)
        xml = openmm.XmlSerializer.serialize(subject.system)
        return bench.peer.session(xml, path, box, platform, STEP, subject.start, mode)
    return Session(make_system(name, subject, potential), platform, STEP, subject.start, mode)


def bare_loop(name: str, subject: Subject, potential: Potential, bench: Bench) -> BareLoop:
    evaluator, frames = potential.evaluator(), []
    for x, box in subject.frames(bench.frames):
        inputs = potential.inputs(subject.numbers, x, subject.box(box))
        frames.append(list(evaluator.tensors(inputs).values()))
    return BareLoop(potential.files[BARE[name]], frames, bench.folder / "cpp")


class InTurn:
    """The bare model once, a step of the System without it, and so on: each finds the caches as the other left them."""

    def __init__(self, loop: BareLoop, alone: Session) -> None:
        self.loop, self.alone = loop, alone

    def run(self, steps: int) -> float:
        evaluate, step = self.loop.run, self.alone.run
        return sum(evaluate(1) + step(1) for _ in range(steps))


class EagerLoop:
    """The module with autograd in a Python loop, the same inputs again and again."""

    def __init__(self, subject: Subject, potential: Potential) -> None:
        x, _, box = subject.start
        inputs = potential.inputs(subject.numbers, x[subject.indices], subject.box(box))
        self.evaluator = potential.evaluator()
        self.tensors = self.evaluator.tensors(inputs)

    def run(self, steps: int) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            self.evaluator.eager.evaluate(self.tensors, ["energy", "forces"])
        return time.perf_counter() - start


def peak(name: str, subject: Subject, potential: Potential, platform: str, bench: Bench) -> float:
    """MiB that a fresh process, with all packages imported, grows at most by in three steps of a backend."""
    if name == "openmm-torch":
        if bench.peer is None:
            raise Unavailable("needs an environment of its own: make bench-openmmtorch")
        path, box = bench.with_own_list(subject, potential)
        xml = openmm.XmlSerializer.serialize(subject.system)
        fresh = Peer(bench.peer.python)
        try:
            return float(fresh.ask("memory", xml, str(path), box, platform, STEP, subject.start, NVE))
        finally:
            fresh.close()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_three_steps, name, subject, potential, platform, bench.folder).result()


def _three_steps(name: str, subject: Subject, potential: Potential, platform: str, folder: Path) -> float:
    torch.set_num_threads(1)

    def work() -> None:
        session = open_session(name, subject, potential, platform, Bench(folder, frames=1))
        for _ in range(3):
            session.run(1)

    return memory(work)


def exact_forces(subject: Subject, potential: Potential) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The model in float64: positions [N, 3] and box [3, 3] in nm to forces [N, 3] in kJ/mol/nm."""
    evaluator: Evaluator = potential.evaluator(torch.float64)

    def find(x: np.ndarray, box: np.ndarray) -> np.ndarray:
        inputs = potential.inputs(subject.numbers, x[subject.indices], subject.box(box))
        forces = np.zeros(x.shape)
        forces[subject.indices] = evaluator(inputs)[1]
        return forces

    return find
