"""What a run says of itself: the block at its start, warnings, run.yaml, and the lines at its end."""

from __future__ import annotations

import json
import os
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import openmm
from openmm import unit

from ..embedding import EmbeddedSystem
from ..spec import ModelSpec
from . import folder as files
from .build import Complex
from .folder import INPUTS, model_name, now, processor, sha256, versions
from .prepare import Run, without_effect
from .progress import clock

_WIDTH = 100


def start(run: Run, built: Complex, embedded: EmbeddedSystem | None, spec: ModelSpec | None) -> str:
    """The block at the start: what runs where, what the model describes, what MM keeps."""
    o = run.options
    rows = [
        ("system", f"{run.topology.getNumAtoms():,} particles, {_box(run)}"),
        ("platform", _platform_text(run)),
        ("units", "kJ/mol, nm, ps, K, bar"),
        *_model_rows(run, embedded, spec),
        ("time step", f"{o.timestep * 1e3:g} fs; {run.system.getNumConstraints():,} constraints"),
        *_dynamics_rows(run, built),
        (
            "log",
            f"every {o.log_interval:g} ps; frames every {o.trajectory_interval:g} ps, of {len(run.saved):,} particles",
        ),
        ("folder", str(run.folder.path)),
    ]
    return "\n".join(_row(label, text) for label, text in rows)


def _row(label: str, text: str) -> str:
    lines = text.splitlines() if "\n" in text else textwrap.wrap(text, _WIDTH)
    return "\n".join(f"{label if i == 0 else '':<12}{line}" for i, line in enumerate(lines))


def _model_rows(run: Run, embedded: EmbeddedSystem | None, spec: ModelSpec | None) -> list[tuple[str, str]]:
    region = f"{len(run.atoms)} particles ({_residues(run)})"
    if embedded is None:
        return [("model", "none: the control run, MM describes everything"), ("region", region)]
    force = embedded.force
    path, digest = Path(force.getModelPath()).name, force.getModelHash()
    rows = [("model", f"{spec.name if spec else 'without a spec'}: {path}, SHA-256 {digest}")]
    if spec:
        rows += [
            ("", f"computes in {spec.length_unit}, {spec.energy_unit} and {spec.dtype}; its energy is kept in float64"),
            ("license", spec.license or "not given"),
            ("domain", spec.domain or "not given"),
        ]
    rows += [
        ("region", f"{region}, charge {embedded.charge}"),
        ("", _charges_text(run)),
        ("removed", str(embedded.removed)),
    ]
    return rows


def _dynamics_rows(run: Run, built: Complex) -> list[tuple[str, str]]:
    o = run.options
    friction = f"{o.friction:g}/ps" + (f" ({o.nvt_friction:g}/ps while restrained)" if run.phases[0].restrained else "")
    parts = ", ".join(f"{phase.title} {phase.steps * o.timestep:g} ps" for phase in run.phases)
    rows = [("dynamics", f"Langevin at {o.temperature:g} K, friction {friction}, seed {o.seed}: {parts}")]
    if built.removed:
        rows.append(("", f"removed from the System that was given: {', '.join(built.removed)}"))
    return rows


def _charges_text(run: Run) -> str:
    charges = _charges(run)
    if not charges:
        return "no MM charges"
    span = f"{min(charges):.3f} to {max(charges):.3f} e"
    return f"MM charges remain towards the rest: {span}, {sum(charges):.3f} e in all"


def _charges(run: Run) -> list[float]:
    """MM charges of the region in e; [] without a NonbondedForce."""
    force = next((f for f in run.system.getForces() if isinstance(f, openmm.NonbondedForce)), None)
    if force is None:
        return []
    return [force.getParticleParameters(i)[0].value_in_unit(unit.elementary_charge) for i in run.atoms]


def _residues(run: Run) -> str:
    atoms = list(run.topology.atoms())
    counts = Counter(f"{atoms[i].residue.name} {atoms[i].residue.id}" for i in run.atoms)
    shown = ", ".join(f"{count} of {name}" for name, count in list(counts.items())[:5])
    return shown + (f" and {len(counts) - 5} more" if len(counts) > 5 else "")


def _box(run: Run) -> str:
    if not run.periodic:
        return "no box"
    rows = run.system.getDefaultPeriodicBoxVectors()
    return "box vectors " + ", ".join(f"({v.x:.2f} {v.y:.2f} {v.z:.2f})" for v in (r._value for r in rows)) + " nm"


def _platform_text(run: Run) -> str:
    name, options = run.platform.getName(), dict(run.properties)
    if "DeviceName" in run.platform.getPropertyNames():
        options["device"] = _device_name(run)
    else:
        options["processor"] = f"{processor()} with {os.cpu_count()} cores"
    options["threads of torch"] = os.environ.get("OMP_NUM_THREADS", "all")
    return f"{name}; " + ", ".join(f"{key} {value}" for key, value in options.items())


def _device_name(run: Run) -> str:
    """What a Context on this platform runs on."""
    system = openmm.System()
    system.addParticle(1.0)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), run.platform, run.properties)
    return str(run.platform.getPropertyValue(context, "DeviceName"))


def warnings(run: Run, period: float) -> list[str]:
    """About options without effect and the time step: `period` is that of the fastest bond of the region, in ps."""
    step, found = run.options.timestep, machine_warnings(run)
    if run.has_model and step > 0.1 * period:
        found.append(
            f"the time step of {1e3 * step:g} fs is more than a tenth of the period of the model's fastest bond "
            f"({1e3 * period:.1f} fs): use {1e2 * period:.2f} fs or less, or heavier hydrogens (--hydrogen-mass)"
        )
    return found


def machine_warnings(run: Run) -> list[str]:
    """About options that the platform does not have."""
    options = without_effect(run.options, run.platform)
    return [f"--{option} has no effect on the platform {run.platform.getName()}" for option in options]


def record(run: Run, embedded: EmbeddedSystem | None, spec: ModelSpec | None) -> dict[str, Any]:
    """run.yaml."""
    o = run.options
    inputs = {name: Path(getattr(o, name)) for name in INPUTS if getattr(o, name)}
    found: dict[str, Any] = {
        "created": now(),
        "folder": str(run.folder.path),
        "versions": versions(),
        "machine": {
            "platform": run.platform.getName(),
            "properties": dict(run.properties),
            "processor": processor(),
            "cores": os.cpu_count(),
        },
        "options": o.to_mapping(),
        "inputs": {k: {"path": str(p), "sha256": sha256(p)} for k, p in inputs.items() if p.is_file()},
        "region": {
            "atoms": [int(i) for i in run.atoms],
            "bonds": [[int(i), int(j)] for i, j in run.bonds],
            "charge": round(sum(_charges(run))),
            "saved": [] if len(run.saved) == run.topology.getNumAtoms() else [int(i) for i in run.saved],
            "restrained": [int(i) for i in run.restrained],
        },
        "groups": dict(run.groups),
        "removed": [list(row) for row in embedded.removed] if embedded else [],
    }
    if o.model is not None:
        found["model"] = _model_record(o.model, spec)
    return found


def _model_record(path: Path, spec: ModelSpec | None) -> dict[str, Any]:
    found: dict[str, Any] = {"path": model_name(path), "sha256": sha256(path)}
    for name in ("name", "license", "domain", "citation", "authors", "dtype", "length_unit", "energy_unit"):
        found[name] = getattr(spec, name) if spec else None
    return found


def end(run: Run) -> str:
    """What was written, and the speed."""
    folder, timing = run.folder.path, run.folder / files.TIMING
    lines = []
    if timing.exists():
        t = json.loads(timing.read_text(encoding="utf-8"))
        lines.append(f"{t['ns_per_day']:.3g} ns/day in production ({t['steps']:,} steps in {clock(t['seconds'])})")
    shown = [name for name in (run.trajectory, files.LOG, files.FINAL, files.REPORT) if (folder / name).exists()]
    lines.append(f"{folder}: {', '.join(shown)}")
    return "\n".join(lines)
