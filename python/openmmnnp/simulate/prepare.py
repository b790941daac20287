"""Builds everything that a run needs, and tries the model, before anything is written."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app

from ..embedding import EmbeddedSystem
from ..embedding.mixed import createMixedSystem
from ..force import NNPForce
from ..spec import ModelSpec, read_spec
from .build import Complex, build
from .folder import INPUTS, RunFolder
from .options import Options
from .progress import Bar
from .protocol import Phase, assign_groups, integrator, phase_system, phases
from .quantities import TIME
from .select import select, solutes

_PROPERTIES = {"precision": "Precision", "device": "DeviceIndex", "threads": "Threads"}  # OpenMM's names


@dataclass
class Run:
    """All that the phases need. `atoms`, `bonds` and `numbers` are those of the model's region."""

    folder: RunFolder
    options: Options
    topology: app.Topology
    system: openmm.System  # of production, without a barostat
    atoms: Sequence[int]
    bonds: Sequence[tuple[int, int]]
    numbers: Sequence[int]
    saved: Sequence[int]  # in the trajectory
    restrained: Sequence[int]  # during NVT
    groups: Mapping[str, int]
    platform: openmm.Platform
    properties: dict[str, str]
    phases: list[Phase]
    reference: NDArray[np.float64] | None = None  # [N][3] nm: positions after minimization
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)  # SHA-256 of what the run is made from

    @property
    def periodic(self) -> bool:
        return bool(self.system.usesPeriodicBoundaryConditions())

    @property
    def has_model(self) -> bool:
        return find_force(self.system) is not None

    @property
    def trajectory(self) -> str:
        return f"trajectory.{self.options.trajectory_format}"

    def steps(self, interval: float | None) -> int:
        """Time steps in an interval (ps), at least one."""
        assert interval is not None
        return max(1, round(interval / self.options.timestep))

    def context(self, phase: Phase, step: int = 0) -> openmm.Context:
        """A new Context for a phase, with random numbers of their own for a beginning at `step`."""
        assert self.reference is not None
        system = phase_system(self.system, phase, self.options, self.restrained, self.reference, step)
        return openmm.Context(system, integrator(self.options, phase, step), self.platform, self.properties)


def find_force(system: openmm.System) -> NNPForce | None:
    """The model's force in a System."""
    return next((NNPForce.cast(force) for force in system.getForces() if NNPForce.isinstance(force)), None)


Prepared = tuple[Run, Complex, EmbeddedSystem | None, ModelSpec | None]


def prepare(options: Options, folder: RunFolder) -> Prepared:
    """Build everything and try the model, before anything is written."""
    with Bar("building", unit="steps") as bar:

        def said(text: str) -> None:
            bar.advance(1, label=text)

        built = build(options, said)
        said("embedding the model")
        embedded = None if options.model is None or options.mm_only else _embed(built, options.model)
        said("built")
    run = make_run(options, folder, built.topology, embedded.system if embedded else built.system, built.atoms)
    spec = None if options.model is None else read_spec(options.model)
    if embedded:
        _try_model(built, embedded)
    return run, built, embedded, spec


def _embed(built: Complex, model: Path) -> EmbeddedSystem:
    """The model in place of the region's MM terms."""
    force = NNPForce(str(model))
    force.setModelByReference(True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        info = createMixedSystem(built.topology, built.system, built.atoms, force, returnInfo=True)
    texts = tuple(str(warning.message) for warning in caught)
    removed, charge = info["removed"], info["force"].getCharge()
    return EmbeddedSystem(info["system"], info["force"], built.atoms, removed, charge, texts)


def _try_model(built: Complex, embedded: EmbeddedSystem) -> None:
    """Evaluate the model on the region alone: what does not fit is found now, not after the minimization."""
    force = NNPForce(embedded.force.getModelPath(), atomicNumbers=embedded.force.getAtomicNumbers())
    force.setCharge(embedded.force.getCharge())
    force.setUsesPeriodicBoundaryConditions(embedded.force.usesPeriodicBoundaryConditions())
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*built.system.getDefaultPeriodicBoxVectors())
    for i in range(len(built.atoms)):
        system.addParticle(built.region.getParticleMass(i))
    system.addForce(force)
    reference = openmm.Platform.getPlatform("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)
    context.setPositions([built.positions[i] for i in built.atoms])
    context.getState(energy=True)


def make_run(
    options: Options,
    folder: RunFolder,
    topology: app.Topology,
    system: openmm.System,
    atoms: Sequence[int],
    saved: Sequence[int] | None = None,
    restrained: Sequence[int] | None = None,
) -> Run:
    """The run of a System; `saved` and `restrained` as run.yaml has them, or as the options choose them."""
    members, elements = set(atoms), {atom.index: atom.element for atom in topology.atoms()}
    if saved is None:
        saved = _saved(options, topology, atoms)
    if restrained is None:
        solute = sorted({*solutes(topology), *atoms})
        restrained = [i for i in solute if elements[i] is not None and elements[i].atomic_number > 1]
    platform, properties = choose_platform(options)
    return Run(
        folder=folder,
        options=options,
        topology=topology,
        system=system,
        atoms=tuple(atoms),
        bonds=[(a.index, b.index) for a, b in topology.bonds() if a.index in members and b.index in members],
        numbers=[elements[i].atomic_number for i in atoms],
        saved=saved or range(topology.getNumAtoms()),
        restrained=restrained,
        groups=assign_groups(system),
        platform=platform,
        properties=properties,
        phases=phases(options, bool(system.usesPeriodicBoundaryConditions())),
    )


def _saved(options: Options, topology: app.Topology, atoms: Sequence[int]) -> Sequence[int]:
    """Atoms in the trajectory, with those of the region; [] for all."""
    if options.save == "all":
        return []
    chosen = solutes(topology) if options.save == "solute" else select(topology, options.save)
    return sorted({*chosen, *atoms})


def choose_platform(options: Options) -> tuple[openmm.Platform, dict[str, str]]:
    """OpenMM's platform and its properties; the fastest that runs our force if none is named."""
    ours = usable_platforms()
    name = options.platform or max(ours, key=lambda n: openmm.Platform.getPlatform(n).getSpeed())
    if name not in ours:
        raise ValueError(f"--platform {name} is none of {', '.join(ours)}, on which NNPForce runs here")
    platform = openmm.Platform.getPlatform(name)
    wanted = {key: getattr(options, option) for option, key in _PROPERTIES.items()}
    wanted["DeterministicForces"] = "true" if options.deterministic else None
    return platform, {k: str(v) for k, v in wanted.items() if v is not None and k in platform.getPropertyNames()}


def without_effect(options: Options, platform: openmm.Platform) -> list[str]:
    """Names of options that were given and are none of the platform's."""
    absent = [option for option, key in _PROPERTIES.items() if key not in platform.getPropertyNames()]
    return [option for option in absent if getattr(options, option) != getattr(Options(), option)]


def usable_platforms() -> list[str]:
    """Names of the platforms that can run an NNPForce."""
    platforms = [openmm.Platform.getPlatform(i) for i in range(openmm.Platform.getNumPlatforms())]
    return [p.getName() for p in platforms if p.supportsKernels(["CalcNNPForce"])]


def check_model(options: Options) -> None:
    """Raise ValueError if there is no model, and none is not meant."""
    if options.mm_only:
        return
    if options.model is None:
        raise ValueError("--model is needed: name a potential (.pt or .pt2), or run the control with --mm-only")
    if not options.model.is_file():
        raise ValueError(f"there is no file {options.model}")


def check_apart(options: Options, folder: RunFolder) -> None:
    """Raise ValueError if an input lies in the folder that is to be filled."""
    inside = [n for n in INPUTS if getattr(options, n) and Path(getattr(options, n)).absolute().parent == folder.path]
    if inside:
        raise ValueError(f"--{inside[0].replace('_', '-')} lies in --out {folder.path}: name another folder")


def resolve(options: Options) -> None:
    """Absolute paths and intervals, so that a run can go on from anywhere."""
    for name in INPUTS:
        value = getattr(options, name)
        if isinstance(value, Path):
            setattr(options, name, value.absolute())
    if options.ligand_ff and options.ligand_ff.endswith(".xml"):
        options.ligand_ff = str(Path(options.ligand_ff).absolute())
    if options.log_interval is None:
        options.log_interval = min(max(options.time / 1000, 50 * options.timestep), 1.0, options.time)
    if options.trajectory_interval is None:
        options.trajectory_interval = min(max(options.time / 500, 50 * options.timestep), 10.0, options.time)
    for name in ("time", "log_interval", "trajectory_interval", "checkpoint_interval"):
        value = getattr(options, name)
        if value is not None and round(value / options.timestep) < 1:
            text = f"{TIME.format(value)} is less than a time step of {TIME.format(options.timestep)}"
            raise ValueError(f"--{name.replace('_', '-')} {text}")
