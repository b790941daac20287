"""A simulation from its options to its report: begin one, or go on with one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
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
from .checkpoint import CURRENT, read_checkpoint, write_text
from .dynamics import Run, run_phases
from .folder import RunFolder, check_unchanged
from .options import Options
from .output import cut_back, subset
from .progress import Bar
from .protocol import assign_groups, minimize, phases
from .select import select, solutes

_INPUTS = ("protein", "ligand", "ligand_ff", "topology", "system", "positions", "model", "frames")


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


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
        folder.create(overwrite)
    try:
        return _begin(options, folder, dry_run)
    except BaseException:
        if not dry_run and not (folder / CURRENT).exists():
            folder.clear()  # nothing is lost: the same command can be given again
        raise
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
    check_unchanged(options, {k: v for k, v in changes.items() if k != "out"}, folder.path)
    for name, value in changes.items():
        setattr(options, name, value)
    folder.lock()
    try:
        checkpoint, lines = read_checkpoint(folder.path)
        for line in lines:
            say(f"Warning: {line}.")
        if checkpoint is None:
            if lines:
                raise ValueError(f"no checkpoint of {folder.path} can be read: begin again with --overwrite")
            say("There is no checkpoint yet: beginning again.")
            cut_back(folder.path, {name: 0 for name in (files.LOG, f"trajectory.{options.trajectory_format}")})
            return _begin(options, folder, dry_run=False)
        run = _load(options, folder, values)
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


def _begin(options: Options, folder: RunFolder, dry_run: bool) -> int:
    model = None if options.model is None else _copy_model(options.model, folder, dry_run)
    with Bar("building", unit="steps") as bar:

        def said(text: str) -> None:
            bar.advance(1, label=text)

        built = build(options, said)
        said("embedding the model")
        embedded = None if model is None or options.mm_only else _embed(built, model)
        said("built")
    system = embedded.system if embedded else built.system
    run = _make_run(options, folder, built.topology, system, built.atoms)
    spec = None if model is None else read_spec(model)
    say(summary.start(run, embedded, spec))
    for line in summary.warnings(run, shortest_period(built.region)):
        say(f"Warning: {line}")
    if embedded:
        _try_model(built, embedded)
    if dry_run:
        say("A dry run: nothing was simulated.")
        return 0
    _write_inputs(run, built, embedded, spec)
    run.reference = _minimize(run, built)
    np.save(folder / files.MINIMIZED, run.reference)
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
    write_text(folder / files.SYSTEM, openmm.XmlSerializer.serialize(run.system))
    write_text(folder / files.REGION, openmm.XmlSerializer.serialize(built.region))
    names = [files.TOPOLOGY] + ([files.SAVED] if len(run.saved) < run.topology.getNumAtoms() else [])
    for name, atoms in zip(names, (range(run.topology.getNumAtoms()), run.saved), strict=False):
        with open(folder / name, "w", encoding="utf-8") as file:
            positions = [built.positions[i].value_in_unit(unit.nanometer) for i in atoms]
            app.PDBFile.writeFile(subset(run.topology, atoms), positions * unit.nanometer, file)
    folder.write({"openmm-nnp": VERSION} | summary.record(run, embedded, spec))


def _copy_model(model: Path, folder: RunFolder, dry_run: bool) -> Path:
    """The model in the run's folder, so that what ran can't be overwritten or get lost."""
    if dry_run:
        return model
    shutil.copyfile(model, folder / f"model{model.suffix}")
    return folder / f"model{model.suffix}"


# Going on


def _load(options: Options, folder: RunFolder, values: Mapping[str, Any]) -> Run:
    text = (folder / files.SYSTEM).read_text(encoding="utf-8")
    text = text.replace(escape(values["folder"]), escape(str(folder.path)))  # the model moved with its run
    system = openmm.XmlSerializer.deserialize(text)
    topology = app.PDBFile(str(folder / files.TOPOLOGY)).topology
    run = _make_run(options, folder, topology, system, values["region"]["atoms"])
    run.reference = np.load(folder / files.MINIMIZED)
    return run


# Both


def _make_run(
    options: Options, folder: RunFolder, topology: app.Topology, system: openmm.System, atoms: Sequence[int]
) -> Run:
    members, elements = set(atoms), {atom.index: atom.element for atom in topology.atoms()}
    solute = sorted({*solutes(topology), *atoms})
    if options.save in ("all", "solute"):
        saved = range(topology.getNumAtoms()) if options.save == "all" else solute
    else:
        saved = sorted({*select(topology, options.save), *atoms})
    platform, properties = choose_platform(options)
    return Run(
        folder=folder,
        options=options,
        topology=topology,
        system=system,
        atoms=tuple(atoms),
        bonds=[(a.index, b.index) for a, b in topology.bonds() if a.index in members and b.index in members],
        numbers=[elements[i].atomic_number for i in atoms],
        saved=saved,
        heavy=[i for i in solute if elements[i] is not None and elements[i].atomic_number > 1],
        groups=assign_groups(system),
        platform=platform,
        properties=properties,
        phases=phases(options, bool(system.usesPeriodicBoundaryConditions())),
    )


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


def _resolve(options: Options) -> None:
    """Absolute paths and intervals, so that a run can go on from anywhere."""
    for name in _INPUTS:
        value = getattr(options, name)
        if isinstance(value, Path):
            setattr(options, name, value.absolute())
    if options.ligand_ff and options.ligand_ff.endswith(".xml"):
        options.ligand_ff = str(Path(options.ligand_ff).absolute())
    if options.log_interval is None:
        options.log_interval = min(max(options.time / 1000, 10 * options.timestep), 1.0)
    if options.trajectory_interval is None:
        options.trajectory_interval = min(max(options.time / 500, 20 * options.timestep), 10.0)
