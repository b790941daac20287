"""The mixed System of a leg and its start, made once and read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from .._files import named, sync
from .._libraries import VERSION
from ..embedding.interpolate import LAMBDA
from ..embedding.mixed import createMixedSystem
from ..force import NNPForce
from ..region import region_system
from ..simulate.build import Complex, build
from ..simulate.checkpoint import write_text
from ..simulate.folder import now, sha256, versions
from ..simulate.options import kind
from ..simulate.prepare import choose_platform, find_force
from ..simulate.progress import Bar
from ..simulate.protocol import minimize
from ..simulate.select import solutes
from .engine import group_by_lambda, without_model
from .options import CorrectOptions
from .store import LEG, REGION, START, SYSTEM, TOPOLOGY, Frame, LegFolder, read_frame, write_frame

_SAME_ENERGY = 0.1  # kJ/mol, between the MM energies of the model's atoms in both legs


@dataclass(frozen=True)
class Job:
    """A leg to run: `leg` is complex or solvent, `folder` its own."""

    ligand: str
    leg: str
    folder: Path
    options: CorrectOptions

    @property
    def title(self) -> str:
        return f"{self.ligand}, {self.leg}"


@dataclass(frozen=True)
class Prepared:
    """What a leg needs to run: the mixed System without a barostat, minimized positions, and restrained particles."""

    system: openmm.System
    start: Frame
    restrained: Sequence[int]
    platform: openmm.Platform
    properties: dict[str, str]


def check_unchanged(job: Job, record: Mapping[str, Any] | None) -> None:
    """Raise ValueError that names the first option or input with which the leg's record was not written."""
    if record is None:
        return
    known, inputs = record["options"], record.get("inputs", {})
    for option in fields(CorrectOptions):
        name = option.name
        value = kind(option).write(getattr(job.options, name))
        if option.metadata["resume"] or _is_input(job.options, name) or known.get(name) == value:
            continue
        raise ValueError(
            f"--{name.replace('_', '-')} is {known.get(name)} in {job.folder} and {value} now: a leg keeps it; take "
            "another --out"
        )
    digests = _inputs(job.options)
    changed = [name for name in {**inputs, **digests} if inputs.get(name) != digests.get(name)]
    if changed:
        raise ValueError(
            f"the file of --{changed[0].replace('_', '-')} is another one than when {job.folder} was begun: "
            "restore it, or take another --out"
        )


def _is_input(options: CorrectOptions, name: str) -> bool:
    value = getattr(options, name)
    return isinstance(value, Path) or (name == "ligand_ff" and str(value).endswith(".xml"))


def _inputs(options: CorrectOptions) -> dict[str, str]:
    """SHA-256 of the input files by option."""
    names = [f.name for f in fields(options) if f.name != "out" and _is_input(options, f.name)]
    paths = {name: Path(getattr(options, name)) for name in names}
    return {name: sha256(path) for name, path in paths.items() if path.is_file()}


def prepare(job: Job, folder: LegFolder) -> None:
    """Build the leg and minimize it, and write all that is needed to run it.

    Raises ValueError for inputs that do not fit, OpenMMException where OpenMM or the model fails.
    """
    options = job.options.of_leg(job.leg)
    with Bar(f"{job.title}: building", unit="steps") as bar:
        built = build(options, lambda text: bar.advance(1, label=f"{job.title}: {text}"), flexible=True)
        _check_flexible(built, job)
        mixed = _mixed(built, job)
        bar.advance(1, label=f"{job.title}: built")
    platform, properties = choose_platform(options)
    positions = np.array(built.positions.value_in_unit(unit.nanometer))
    if options.minimize_steps:
        plain = without_model(mixed)
        label = f"{job.title}: minimizing"
        positions = minimize(plain, positions, label, options.minimize_steps, platform, properties)
    check_linear(mixed, positions, platform, properties)
    _write(job, folder, built, mixed, positions)
    _check_same_molecule(folder)


def _mixed(built: Complex, job: Job) -> openmm.System:
    force = NNPForce(str(job.options.model))
    force.setModelByReference(True)
    mixed = createMixedSystem(built.topology, built.system, built.atoms, force, interpolate=True)
    group_by_lambda(mixed)
    return mixed


def _check_flexible(built: Complex, job: Job) -> None:
    """A bond that is constrained in a System often has no energy there, and would be free without the constraint."""
    bonded = set()
    for force in built.region.getForces():
        if isinstance(force, openmm.HarmonicBondForce | openmm.CustomBondForce):
            bonded |= {frozenset(force.getBondParameters(k)[:2]) for k in range(force.getNumBonds())}
    pairs = [built.region.getConstraintParameters(k)[:2] for k in range(built.region.getNumConstraints())]
    atoms = list(built.topology.atoms())
    bare = [[atoms[built.atoms[i]].name for i in pair] for pair in pairs if frozenset(pair) not in bonded]
    if bare:
        names = ", ".join("-".join(pair) for pair in bare[:10])
        raise ValueError(
            f"{len(bare)} constraints of the model's atoms in the System of the {job.leg} have no MM bond beside them "
            f"({names}), so that MM without constraints is not defined: create it with flexibleConstraints=True or "
            "constraints=None"
        )


def check_linear(system: openmm.System, positions: Any, platform: openmm.Platform, properties: dict[str, str]) -> None:
    """Raise ValueError if dE/dlambda is not E(1) - E(0), on which the analysis rests."""
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform, properties)
    context.setPositions(positions)
    context.computeVirtualSites()
    slopes, energies = [], []
    for lambda_ in (0.0, 1.0):
        context.setParameter(LAMBDA, lambda_)
        state = context.getState(energy=True, parameterDerivatives=True)
        slopes.append(state.getEnergyParameterDerivatives()[LAMBDA])
        energies.append(state.getPotentialEnergy()._value)
    difference = energies[1] - energies[0]
    tolerance = 0.1 + 1e-6 * max(map(abs, energies)) + 1e-5 * abs(difference)
    if not max(abs(slope - difference) for slope in slopes) < tolerance:
        raise ValueError(
            f"dE/dlambda is {slopes[0]:.2f} kJ/mol at lambda = 0 and {slopes[1]:.2f} at 1, but E(1) - E(0) is "
            f"{difference:.2f}: is the energy finite at the start, and do atoms overlap?"
        )


def _write(job: Job, folder: LegFolder, built: Complex, mixed: openmm.System, positions: Any) -> None:
    write_text(folder / SYSTEM, openmm.XmlSerializer.serialize(mixed))
    write_text(folder / REGION, openmm.XmlSerializer.serialize(region_system(built.system, built.atoms)))
    with named(folder / TOPOLOGY), open(folder / TOPOLOGY, "w", encoding="utf-8") as file:
        app.PDBFile.writeFile(built.topology, positions * unit.nanometer, file, keepIds=True)
    sync(folder / TOPOLOGY)
    box = None
    if mixed.usesPeriodicBoundaryConditions():
        box = np.array([vector._value for vector in mixed.getDefaultPeriodicBoxVectors()])
    write_frame(folder / START, Frame(positions, None, box))
    elements = [atom.element for atom in built.topology.atoms()]
    heavy = sorted({*solutes(built.topology), *built.atoms})
    folder.write_record(
        {
            "openmm-nnp": VERSION,
            "created": now(),
            "ligand": job.ligand,
            "leg": job.leg,
            "options": job.options.to_mapping(),
            "inputs": _inputs(job.options),
            "versions": versions(),
            "atoms": [int(i) for i in built.atoms],
            "numbers": [elements[i].atomic_number if elements[i] else 0 for i in built.atoms],
            "restrained": [int(i) for i in heavy if elements[i] is not None and elements[i].atomic_number > 1],
        }
    )


def _check_same_molecule(folder: LegFolder) -> None:
    """Raise ValueError if the other leg, where it is there, has another molecule, or the same with other MM terms."""
    for path in sorted(folder.path.parent.glob(f"*/{LEG}")):
        other = LegFolder(path.parent)
        record, theirs = folder.read_record(), other.read_record()
        if other.path == folder.path or record is None or theirs is None:
            continue
        numbers = record["numbers"], theirs["numbers"]
        if numbers[0] != numbers[1]:
            (folder / LEG).unlink()
            raise ValueError(
                f"the model's atoms have the atomic numbers {_shown(numbers[0])} here and {_shown(numbers[1])} in "
                f"{other.path}: both legs must have the same molecule in the same order"
            )
        with np.load(folder / START) as values:
            positions = read_frame(values).positions[record["atoms"]]
        energies = [_energy(f / REGION, positions) for f in (folder, other)]
        if not abs(energies[0] - energies[1]) < _SAME_ENERGY:
            (folder / LEG).unlink()
            raise ValueError(
                f"the MM energy of the model's atoms is {energies[0]:.2f} kJ/mol with the terms of this leg and "
                f"{energies[1]:.2f} with those of {other.path}: both legs need the same MM force field for them"
            )


def _shown(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers[:12])) + (" ..." if len(numbers) > 12 else "")


def _energy(path: Path, positions: Any) -> float:
    system = openmm.XmlSerializer.deserialize(path.read_text(encoding="utf-8"))
    reference = openmm.Platform.getPlatform("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)
    context.setPositions(positions)
    return float(context.getState(energy=True).getPotentialEnergy()._value)


def load(job: Job, folder: LegFolder, record: Mapping[str, Any]) -> Prepared:
    """What `prepare` wrote. Raises ValueError if it can't be read."""
    try:
        system = openmm.XmlSerializer.deserialize((folder / SYSTEM).read_text(encoding="utf-8"))
        with np.load(folder / START) as values:
            start = read_frame(values)
        if len(start.positions) != system.getNumParticles():
            raise ValueError(f"{SYSTEM} has {system.getNumParticles()} particles, {START} {len(start.positions)}")
    except (KeyError, OSError, ValueError, openmm.OpenMMException) as error:
        raise ValueError(f"the leg in {folder.path} can't be read, was it edited? ({error})") from error
    force = find_force(system)
    assert force is not None and job.options.model is not None
    force.setModelFile(job.options.model)  # it may have moved
    platform, properties = choose_platform(job.options.of_leg(job.leg))
    return Prepared(system, start, record["restrained"], platform, properties)
