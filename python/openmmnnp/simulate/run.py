"""A simulation from its options to its report: begin one, or go on with one."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import openmm
from openmm import app, unit

from .._files import named, replacing, sync
from .._libraries import VERSION
from ..embedding import EmbeddedSystem
from ..region import shortest_period
from ..spec import ModelSpec, read_spec
from . import folder as files
from . import summary
from .build import Complex, check_inputs
from .checkpoint import Checkpoint, read_checkpoint, write_text
from .dynamics import run_phases
from .folder import INPUTS, RunFolder, check_unchanged, model_name
from .options import Options
from .output import subset
from .prepare import Run, check_apart, check_model, check_outputs, find_force, make_run, prepare, resolve
from .protocol import minimize
from .quantities import TIME
from .signals import ended_by_signal


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def simulate(options: Options, *, overwrite: bool = False, dry_run: bool = False) -> int:
    """Begin a run in the folder `options.out`, and return an exit status: 0, 3 for changed bonds with `strict`.

    Raises ValueError for options and files that do not fit, OpenMMException where OpenMM or the model fails.
    """
    check_inputs(options)
    check_model(options)
    if options.out is None and not dry_run:
        raise ValueError("--out is needed: name a new folder for the run")
    resolve(options)
    folder = RunFolder(options.out or Path("."))
    if not dry_run:
        check_apart(options, folder)
        folder.check_free(overwrite)
    with ended_by_signal():
        prepared = prepare(options, folder)
        _announce(*prepared)
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
        _warn(lines)
        if checkpoint is None:
            begun = [n for n in (files.LOG, f"trajectory.{options.trajectory_format}") if (folder / n).exists()]
            if lines or begun:
                raise ValueError(f"no checkpoint of {folder.path} can be read: begin again with --overwrite")
            say("There is no checkpoint yet: beginning again.")
            with ended_by_signal():
                prepared = prepare(options, folder)
                _announce(*prepared)
                return _begin(*prepared)
        run = _load(options, folder, values)
        if options.model is not None and not options.mm_only:
            check_outputs(options, read_spec(folder / model_name(options.model)))
        _check_inputs_unchanged(run, checkpoint)
        values["options"] = options.to_mapping()
        values.setdefault("resumed", []).append(files.now())
        folder.write(values)
        done = next(phase for phase in run.phases if phase.name == checkpoint.phase)
        say(f"Going on with {folder.path} at {checkpoint.step * options.timestep:g} ps of {done.title}.")
        _warn(summary.machine_warnings(run))
        status = run_phases(run, checkpoint, say)
        return _finish(run, status)
    finally:
        folder.unlock()


# Beginning


def _announce(run: Run, built: Complex, embedded: EmbeddedSystem | None, spec: ModelSpec | None) -> None:
    say(summary.start(run, built, embedded, spec))
    _warn([*(embedded.warnings if embedded else ()), *summary.warnings(run, shortest_period(built.region))])


def _warn(lines: Sequence[str]) -> None:
    for line in lines:
        say(f"Warning: {line}")


def _begin(run: Run, built: Complex, embedded: EmbeddedSystem | None, spec: ModelSpec | None) -> int:
    _write_inputs(run, built, embedded, spec)
    run.reference = _minimize(run, built)
    with replacing(run.folder / files.MINIMIZED) as file:
        np.save(file, run.reference)
    run.inputs = _hashes(run)
    return _finish(run, run_phases(run, None, say))


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
        with named(folder / name), open(folder / name, "w", encoding="utf-8") as file:
            positions = [built.positions[i].value_in_unit(unit.nanometer) for i in atoms]
            app.PDBFile.writeFile(subset(run.topology, atoms), positions * unit.nanometer, file, keepIds=True)
    for name in names:
        sync(folder / name)


def _keep_model(run: Run) -> None:
    """Copy the model into the run's folder, so that what ran can't be overwritten or get lost."""
    if run.options.model is None:
        return
    copy = run.folder / model_name(run.options.model)
    with named(copy):
        shutil.copyfile(run.options.model, copy)
    sync(copy)
    force = find_force(run.system)
    if force is not None:
        force.setModelFile(copy)


# Going on


def _load(options: Options, folder: RunFolder, values: Mapping[str, Any]) -> Run:
    try:
        with named(folder / files.SYSTEM):
            text = (folder / files.SYSTEM).read_text(encoding="utf-8")
        before, now = (f'="{escape(str(path))}/' for path in (values["folder"], folder.path))
        system = openmm.XmlSerializer.deserialize(text.replace(before, now))  # the model moved with its run
        topology = app.PDBFile(str(folder / files.TOPOLOGY)).topology
        reference = np.load(folder / files.MINIMIZED)
        region, counts = values["region"], (topology.getNumAtoms(), system.getNumParticles(), len(reference))
        if len(set(counts)) > 1:
            raise ValueError(f"{files.TOPOLOGY}, {files.SYSTEM} and {files.MINIMIZED} describe {counts} particles")
        run = make_run(options, folder, topology, system, region["atoms"], region["saved"], region["restrained"])
    except (KeyError, TypeError, IndexError, ValueError, openmm.OpenMMException) as error:
        raise ValueError(f"the run in {folder.path} can't be read, was it edited? ({error})") from error
    run.reference = reference
    run.inputs = _hashes(run)
    return run


def _hashes(run: Run) -> dict[str, str]:
    """SHA-256 of what is sampled: the System but for the model's place, the start, the options."""
    physical = {f.name: run.options.to_mapping()[f.name] for f in fields(Options) if not f.metadata["resume"]}
    free = ("out", "checkpoint_interval", "outputs", *INPUTS)
    text = json.dumps({name: value for name, value in physical.items() if name not in free}, sort_keys=True)
    with named(run.folder / files.SYSTEM):
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
