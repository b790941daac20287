"""A simulation from its options to its report: begin one, or go on with one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import openmm
from openmm import app, unit

from .._libraries import VERSION
from ..embedding import EmbeddedSystem, mechanical_embedding
from ..force import NNPForce
from ..region import shortest_period
from ..spec import ModelSpec, read_spec
from . import folder as files
from . import summary
from .build import Complex, build, check_inputs
from .checkpoint import Checkpoint, read_checkpoint, sync_file, write_text
from .dynamics import Run, find_force, handled, run_phases
from .folder import INPUTS as _INPUTS
from .folder import RunFolder, check_unchanged, model_name
from .options import Options
from .output import subset
from .progress import Bar
from .protocol import assign_groups, minimize, phases
from .quantities import TIME
from .select import select, solutes


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


@contextlib.contextmanager
def ended_by_signal() -> Iterator[None]:
    """SIGTERM ends what is inside like Ctrl-C."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with handled(end, signal.SIGTERM):
        yield


def simulate(options: Options, *, overwrite: bool = False, dry_run: bool = False) -> int:
    """Begin a run in the folder `options.out`, and return an exit status: 0, 3 for changed bonds with `strict`.

    Raises ValueError for options and files that do not fit, OpenMMException where OpenMM or the model fails.
    """
    check_inputs(options)
    _check_model(options)
    if options.out is None and not dry_run:
        raise ValueError("--out is needed: name a new folder for the run")
    _resolve(options)
    folder = RunFolder(options.out or Path("."))
    if not dry_run:
        _check_apart(options, folder)
        folder.check_free(overwrite)
    with ended_by_signal():
        prepared = _prepare(options, folder)
        if dry_run:
            say("A dry run: nothing was simulated.")
            return 0
        folder.create()
        try:
            return _begin(*prepared)
        finally:
            folder.unlock()


def resume(path: Path, changes: Mapping[str, Any]) -> int:
    """Go on with the run in a folder, with changed options, and return an exit status as `simulate` does.

    Raises ValueError for a folder that holds no run, and for a change of what is sampled.
    """
    folder = RunFolder(path)
    values = folder.read()
    options = Options.from_mapping(values["options"])
    options.out = folder.path
    check_unchanged(options, changes, folder.path)
    _check_longer(options, changes, folder)
    for name, value in changes.items():
        setattr(options, name, value)
    folder.lock()
    try:
        checkpoint, lines = read_checkpoint(folder.path)
        for line in lines:
            say(f"Warning: {line}.")
        if checkpoint is None:
            begun = [n for n in (files.LOG, f"trajectory.{options.trajectory_format}") if (folder / n).exists()]
            if lines or begun:
                raise ValueError(f"no checkpoint of {folder.path} can be read: begin again with --overwrite")
            say("There is no checkpoint yet: beginning again.")
            with ended_by_signal():
                return _begin(*_prepare(options, folder))
        run = _load(options, folder, values)
        _check_inputs_unchanged(run, checkpoint)
        values["options"] = options.to_mapping()
        values.setdefault("resumed", []).append(files.now())
        folder.write(values)
        done = next(phase for phase in run.phases if phase.name == checkpoint.phase)
        say(f"Going on with {folder.path} at {checkpoint.step * options.timestep:g} ps of {done.title}.")
        status = run_phases(run, checkpoint, say)
        return _finish(run, status)
    finally:
        folder.unlock()


# Beginning


Prepared = tuple[Run, Complex, EmbeddedSystem | None, ModelSpec | None]


def _prepare(options: Options, folder: RunFolder) -> Prepared:
    """Build everything and try the model, before anything is written."""
    with Bar("building", unit="steps") as bar:

        def said(text: str) -> None:
            bar.advance(1, label=text)

        built = build(options, said)
        said("embedding the model")
        embedded = None if options.model is None or options.mm_only else _embed(built, options.model)
        said("built")
    run = _make_run(options, folder, built.topology, embedded.system if embedded else built.system, built.atoms)
    spec = None if options.model is None else read_spec(options.model)
    say(summary.start(run, embedded, spec))
    for line in summary.warnings(run, shortest_period(built.region)):
        say(f"Warning: {line}")
    if embedded:
        _try_model(built, embedded)
    return run, built, embedded, spec


def _begin(run: Run, built: Complex, embedded: EmbeddedSystem | None, spec: ModelSpec | None) -> int:
    _write_inputs(run, built, embedded, spec)
    run.reference = _minimize(run, built)
    with open(run.folder / files.MINIMIZED, "wb") as file:
        np.save(file, run.reference)
        file.flush()
        os.fsync(file.fileno())
    run.inputs = _hashes(run)
    return _finish(run, run_phases(run, None, say))


def _embed(built: Complex, model: Path) -> EmbeddedSystem:
    """The model in place of the region's MM terms."""
    force = NNPForce(str(model))
    force.setModelByReference(True)
    embedded = mechanical_embedding(built.topology, built.system, built.atoms, force)
    embedded.force.setCharge(embedded.charge or 0)
    return embedded


def _try_model(built: Complex, embedded: EmbeddedSystem) -> None:
    """Evaluate the model on the region alone: what does not fit is found now, not after the minimization."""
    force = NNPForce(embedded.force.getModelPath(), atomicNumbers=embedded.force.getAtomicNumbers())
    force.setCharge(embedded.force.getCharge())
    system = openmm.System()
    for i in range(len(built.atoms)):
        system.addParticle(built.region.getParticleMass(i))
    system.addForce(force)
    reference = openmm.Platform.getPlatform("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)
    context.setPositions([built.positions[i] for i in built.atoms])
    context.getState(energy=True)


def _minimize(run: Run, built: Complex) -> Any:
    """Positions [N][3] in nm after a minimization with MM and one with the model."""
    positions = np.array(built.positions.value_in_unit(unit.nanometer))
    if run.options.minimize_steps == 0:
        return positions
    settings = run.options.minimize_steps, run.platform, run.properties
    positions = minimize(built.system, positions, "minimizing (MM)", *settings)
    if run.has_model:
        positions = minimize(run.system, positions, "minimizing (with model)", *settings)
    return positions


def _write_inputs(run: Run, built: Complex, embedded: EmbeddedSystem | None, spec: ModelSpec | None) -> None:
    folder = run.folder
    folder.write({"openmm-nnp": VERSION} | summary.record(run, embedded, spec))  # first: it tells that this is a run
    _keep_model(run)
    write_text(folder / files.SYSTEM, openmm.XmlSerializer.serialize(run.system))
    write_text(folder / files.REGION, openmm.XmlSerializer.serialize(built.region))
    names = [files.TOPOLOGY] + ([files.SAVED] if len(run.saved) < run.topology.getNumAtoms() else [])
    for name, atoms in zip(names, (range(run.topology.getNumAtoms()), run.saved), strict=False):
        with open(folder / name, "w", encoding="utf-8") as file:
            positions = [built.positions[i].value_in_unit(unit.nanometer) for i in atoms]
            app.PDBFile.writeFile(subset(run.topology, atoms), positions * unit.nanometer, file, keepIds=True)
    for name in names:
        sync_file(folder / name)


def _keep_model(run: Run) -> None:
    """Copy the model into the run's folder, so that what ran can't be overwritten or get lost."""
    if run.options.model is None:
        return
    copy = run.folder / model_name(run.options.model)
    shutil.copyfile(run.options.model, copy)
    sync_file(copy)
    force = find_force(run.system)
    if force is not None:
        force.setModelFile(copy)


# Going on


def _load(options: Options, folder: RunFolder, values: Mapping[str, Any]) -> Run:
    try:
        text = (folder / files.SYSTEM).read_text(encoding="utf-8")
        before, now = (f'="{escape(str(path))}/' for path in (values["folder"], folder.path))
        system = openmm.XmlSerializer.deserialize(text.replace(before, now))  # the model moved with its run
        topology = app.PDBFile(str(folder / files.TOPOLOGY)).topology
        reference = np.load(folder / files.MINIMIZED)
        region, counts = values["region"], (topology.getNumAtoms(), system.getNumParticles(), len(reference))
        if len(set(counts)) > 1:
            raise ValueError(f"{files.TOPOLOGY}, {files.SYSTEM} and {files.MINIMIZED} describe {counts} particles")
        run = _make_run(options, folder, topology, system, region["atoms"], region["saved"], region["restrained"])
    except (KeyError, TypeError, IndexError, ValueError, openmm.OpenMMException) as error:
        raise ValueError(f"the run in {folder.path} can't be read, was it edited? ({error})") from error
    run.reference = reference
    run.inputs = _hashes(run)
    return run


def _hashes(run: Run) -> dict[str, str]:
    """SHA-256 of what is sampled: the System but for the model's place, the start, the options."""
    physical = {f.name: run.options.to_mapping()[f.name] for f in fields(Options) if not f.metadata["resume"]}
    free = ("out", "checkpoint_interval", *_INPUTS)
    text = json.dumps({name: value for name, value in physical.items() if name not in free}, sort_keys=True)
    system = (run.folder / files.SYSTEM).read_bytes()
    return {
        files.RUN: hashlib.sha256(text.encode()).hexdigest(),
        files.SYSTEM: hashlib.sha256(system).hexdigest(),
        files.MINIMIZED: files.sha256(run.folder / files.MINIMIZED),
    }


def _check_inputs_unchanged(run: Run, checkpoint: Checkpoint) -> None:
    changed = [name for name, digest in run.inputs.items() if checkpoint.inputs.get(name) != digest]
    if changed:
        raise ValueError(
            f"{run.folder.path}: {', '.join(changed)} changed since the checkpoint was written: restore what was "
            "there, or begin a new run with --config and --out"
        )


def _check_longer(options: Options, changes: Mapping[str, Any], folder: RunFolder) -> None:
    if changes.get("time", math.inf) < options.time:
        raise ValueError(
            f"--time {TIME.format(changes['time'])} is less than the {TIME.format(options.time)} of the run in "
            f"{folder.path}: give a longer time, or leave it out"
        )


# Both


def _make_run(
    options: Options,
    folder: RunFolder,
    topology: app.Topology,
    system: openmm.System,
    atoms: Sequence[int],
    saved: Sequence[int] | None = None,
    restrained: Sequence[int] | None = None,
) -> Run:
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
        heavy=restrained,
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


def _finish(run: Run, status: int) -> int:
    folder = run.folder.path
    if status > 128:
        say(f"Go on with: openmm-nnp simulate --resume {folder}")
        return status
    if run.options.report:
        from .report import write_report  # loads matplotlib

        try:
            write_report([folder], folder / files.REPORT, frames=run.options.frames)
        except (ValueError, OSError, openmm.OpenMMException) as error:
            say(f"Warning: the report could not be written: {error}")
    say(summary.end(run))
    return status


def choose_platform(options: Options) -> tuple[openmm.Platform, dict[str, str]]:
    """OpenMM's platform and its properties; the fastest that runs our force if none is named."""
    ours = usable_platforms()
    name = options.platform or max(ours, key=lambda n: openmm.Platform.getPlatform(n).getSpeed())
    if name not in ours:
        raise ValueError(f"--platform {name} is none of {', '.join(ours)}, on which NNPForce runs here")
    platform = openmm.Platform.getPlatform(name)
    wanted = {
        "Precision": options.precision,
        "DeviceIndex": options.device,
        "Threads": None if options.threads is None else str(options.threads),
        "DeterministicForces": "true" if options.deterministic else None,
    }
    return platform, {k: v for k, v in wanted.items() if v is not None and k in platform.getPropertyNames()}


def usable_platforms() -> list[str]:
    """Names of the platforms that can run an NNPForce."""
    platforms = [openmm.Platform.getPlatform(i) for i in range(openmm.Platform.getNumPlatforms())]
    return [p.getName() for p in platforms if p.supportsKernels(["CalcNNPForce"])]


def _check_model(options: Options) -> None:
    if options.mm_only:
        return
    if options.model is None:
        raise ValueError("--model is needed: name a potential (.pt or .pt2), or run the control with --mm-only")
    if not options.model.is_file():
        raise ValueError(f"there is no file {options.model}")


def _check_apart(options: Options, folder: RunFolder) -> None:
    """Raise ValueError if an input lies in the folder that is to be filled."""
    inside = [n for n in _INPUTS if getattr(options, n) and Path(getattr(options, n)).absolute().parent == folder.path]
    if inside:
        raise ValueError(f"--{inside[0].replace('_', '-')} lies in --out {folder.path}: name another folder")


def _resolve(options: Options) -> None:
    """Absolute paths and intervals, so that a run can go on from anywhere."""
    for name in _INPUTS:
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
