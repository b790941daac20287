"""Runs the phases: steps, log, trajectory, checkpoints, and what is watched meanwhile."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from .._files import named, sync
from . import folder as files
from .checkpoint import CURRENT, Checkpoint, write_text
from .output import Log, Trajectory, cut_back, sizes, subset
from .outputs import ModelOutputs
from .prepare import Run, find_force
from .progress import Bar
from .protocol import BAROSTAT_INTERVAL, GROUPS, PRODUCTION, Phase, velocity_seed
from .signals import noted_signals
from .watch import CLOSE_CONTACT, Seen, Watch

FINISHED, BONDS_CHANGED, UNCERTAIN = 0, 3, 4  # exit statuses; a signal gives 128 and its number
_REINITIALIZED = ("Reference", "CPU")  # where a continuation is bit for bit if checkpoints renew the Context
_SECONDS_BETWEEN_CHECKPOINTS = 300.0
_SECONDS_BETWEEN_LOOKS = 0.5  # at signals and the progress bar


def run_phases(run: Run, begin: Checkpoint | None, said: Callable[[str], None]) -> int:
    """Run what is left, from the checkpoint or from the minimized positions, and return an exit status."""
    names = [phase.name for phase in run.phases]
    left = run.phases[names.index(begin.phase) if begin else 0 :]
    state: openmm.State | None = None
    with noted_signals() as received:
        for phase in left:
            dynamics = Dynamics(run, phase, said)
            dynamics.restore(begin) if begin else dynamics.begin(state)
            begin = None
            status = dynamics.advance(received)
            if status != FINISHED:
                return status
            state = dynamics.state()
    _write_results(run, dynamics)
    return FINISHED


class Dynamics:
    """One phase in its Context."""

    def __init__(self, run: Run, phase: Phase, said: Callable[[str], None]) -> None:
        self._run, self._phase, self._said = run, phase, said
        self._outputs = ModelOutputs(run, phase.name, said)
        self._use(run.context(phase))
        self._step = 0
        self._began, self._began_at = time.perf_counter(), 0
        self._freedom, self._mass = _degrees_of_freedom(run.system), _mass(run.system)
        assert run.reference is not None
        self._watch = Watch(run.atoms, run.numbers, run.bonds, run.reference)
        self._known_changes: tuple[Any, ...] = ((), ())
        self._close, self._stopped = False, FINISHED
        self._stages: Counter[str] = Counter()  # milliseconds in all
        self._evaluations = 0
        self._trajectory = Trajectory(
            run.folder / run.trajectory,
            run.topology,
            run.saved,
            run.steps(run.options.trajectory_interval),
            run.options.timestep,
        )

    def _use(self, context: openmm.Context) -> None:
        self.context = context
        self._force = find_force(context.getSystem())
        self._outputs.use(context.getSystem())

    # Begin and end

    def begin(self, state: openmm.State | None) -> None:
        """Start the phase from the last one's State, or from the minimized positions with new velocities."""
        if state is None:
            self.context.setPositions(self._run.reference)
            self.context.applyConstraints(1e-6)
            self.context.computeVirtualSites()
            self.context.setVelocitiesToTemperature(
                self._run.options.temperature * unit.kelvin, velocity_seed(self._run.options)
            )
        else:
            if self._run.periodic:
                self.context.setPeriodicBoxVectors(*state.getPeriodicBoxVectors())
            self.context.setPositions(state.getPositions())
            self.context.setVelocities(state.getVelocities())
        if self._run.options.checkpoint_interval is None:
            self._choose_checkpoint_interval()
        self._open_log()
        self.save()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint, or from its State where OpenMM's own checkpoint can't be read."""
        here = fingerprint(self.context)
        then = checkpoint.fingerprint
        changed = [f"{name} ({then.get(name)}, now {here[name]})" for name in here if then.get(name) != here[name]]
        reason = "it was written with another " + ", ".join(changed) if changed else ""
        if not changed:
            try:
                self.context.loadCheckpoint(checkpoint.context)
            except openmm.OpenMMException as error:
                reason = f"OpenMM can't read it ({error})"
        if reason:
            # A Context of this step: not the random numbers of the first steps again.
            self._use(self._run.context(self._phase, checkpoint.step))
            self.context.setState(openmm.XmlSerializer.deserialize(checkpoint.state))
            self._said(f"The checkpoint's State is used, not its bits: {reason}. The continuation is not bit for bit.")
        cut_back(self._run.folder.path, checkpoint.sizes)
        self._step = checkpoint.step
        self._began, self._began_at = time.perf_counter(), self._step
        self._open_log()

    def state(self) -> openmm.State:
        """Positions, velocities, box and energy, as they are now."""
        return self.context.getState(positions=True, velocities=True, energy=True)

    def save(self) -> None:
        """Write a checkpoint, after looking that the energy is finite."""
        state = self.context.getState(
            positions=True, velocities=True, energy=True, parameters=True, integratorParameters=True
        )
        self._check_finite(state)
        grown = (files.LOG, self._run.trajectory, files.OUTPUTS, files.UNCERTAIN)
        for path in (self._run.folder / name for name in grown):
            if path.exists():
                sync(path)
        Checkpoint(
            self._phase.name,
            self._step,
            fingerprint(self.context),
            sizes(self._run.folder.path, grown),
            dict(self._run.inputs),
            self.context.createCheckpoint(),
            openmm.XmlSerializer.serialize(state),
        ).write(self._run.folder.path)
        self._collect_stages()
        if self.context.getPlatform().getName() in _REINITIALIZED:
            self.context.reinitialize(preserveState=True)  # as a resumed run does, so that both go on alike

    # The loop

    def advance(self, received: Sequence[int]) -> int:
        """Step to the end of the phase; return an exit status."""
        options, total = self._run.options, self._phase.steps
        every = {
            self._log: self._run.steps(options.log_interval),
            self._frame: self._run.steps(options.trajectory_interval),
            self.save: self._checkpoint_steps(),
        }
        self._began, self._began_at = time.perf_counter(), self._step
        with Bar(self._phase.title, total * options.timestep, "ps", self._step * options.timestep) as bar:
            for step in self._stops(every.values(), total, received, bar):
                self._step = step
                for action, interval in every.items():
                    if step % interval == 0 or (step == total and action == self.save):
                        action()
                if self._stopped:
                    return self._stopped
        if received:
            self.save()
            self._said(f"Stopped by signal {received[0]}; a checkpoint was written at {self._time():g} ps.")
            return 128 + received[0]
        return FINISHED

    def _checkpoint_steps(self) -> int:
        """Steps between checkpoints; whole intervals of a barostat, since each begins to count anew."""
        steps = self._run.steps(self._run.options.checkpoint_interval)
        return steps if self._phase.pressure is None else -(-steps // BAROSTAT_INTERVAL) * BAROSTAT_INTERVAL

    def _stops(self, intervals: Any, total: int, received: Sequence[int], bar: Bar) -> Iterator[int]:
        """Step on, and yield each step at which something is due."""
        step, chunk = self._step, 1
        while step < total and not received:
            due = min(total, *((step // interval + 1) * interval for interval in intervals))
            while step < due and not received:
                count, began = min(chunk, due - step), time.perf_counter()
                self.context.getIntegrator().step(count)
                spent = time.perf_counter() - began
                step += count
                chunk = max(1, min(2 * chunk, int(count * _SECONDS_BETWEEN_LOOKS / max(spent, 1e-6))))
                bar.advance(count * self._run.options.timestep, speed=f"{self._speed(step):.3g} ns/day")
            if step == due:
                yield step
            else:
                self._step = step

    def _log(self) -> None:
        state = self.context.getState(positions=True, energy=True)
        self._check_finite(state)
        kinetic = state.getKineticEnergy().value_in_unit(unit.kilojoule_per_mole)
        row = {
            "phase": self._phase.name,
            "step": self._step,
            "time_ps": self._time(),
            "potential_kJ/mol": state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole),
            "kinetic_kJ/mol": kinetic,
            "temperature_K": 2 * kinetic / (self._freedom * 0.00831446261815324),
            "speed_ns/day": self._speed(self._step),
        }
        if self._run.periodic:
            volume = state.getPeriodicBoxVolume().value_in_unit(unit.nanometer**3)
            row |= {"volume_nm3": volume, "density_g/mL": self._mass / volume * 1.66053906892e-3}
        for name in {**self._run.groups, **({"restraints": GROUPS["restraints"]} if self._phase.restrained else {})}:
            row[f"{name}_kJ/mol"] = self._group_energy(name)
        row["energy_std_kJ/mol"] = self._outputs.look(self.context, self._step, self._time())
        if self._outputs.too_uncertain:
            self._stopped = UNCERTAIN
        seen = self._look(state)
        contact = seen.contact if math.isfinite(seen.contact) else None
        row |= {"shortest_contact_nm": contact, "changed_bonds": seen.changed}
        self._file.write(row)

    def _group_energy(self, name: str) -> float:
        group = GROUPS[name]
        energy = self.context.getState(energy=True, groups={group}).getPotentialEnergy()
        return float(energy.value_in_unit(unit.kilojoule_per_mole))

    def _frame(self) -> None:
        if self._phase.name == PRODUCTION:
            named = self._outputs.in_frames
            state = self.context.getState(positions=True, energy=named, enforcePeriodicBox=self._run.periodic)
            self._trajectory.write(state)
            if named:
                self._outputs.write_frame(self.context, self._step, self._time())

    # What is watched

    def _look(self, state: openmm.State) -> Seen:
        positions = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        vectors = state.getPeriodicBoxVectors(asNumpy=True)
        box = np.array(vectors.value_in_unit(unit.nanometer)) if self._run.periodic else None
        seen = self._watch.look(positions, box)
        changes = (seen.broken, seen.formed)
        if changes != self._known_changes and seen.changed:
            self._warn_of_changes(seen, positions)
        self._known_changes = changes
        was_close, self._close = self._close, seen.contact < CLOSE_CONTACT
        if self._close and not was_close:
            self._said(
                f"Warning at {self._time():g} ps: the model's atoms are {seen.contact:.3f} nm from others; look at the "
                "trajectory"
            )
        return seen

    def _warn_of_changes(self, seen: Seen, positions: Any) -> None:
        names = {atom.index: atom.name for atom in self._run.topology.atoms() if atom.index in set(self._run.atoms)}
        listed = [
            f"{names[i]}-{names[j]} {what}"
            for what, pairs in (("broke", seen.broken), ("formed", seen.formed))
            for i, j in pairs
        ]
        path = self._run.folder / "changed_bonds.pdb"
        with named(path), open(path, "w", encoding="utf-8") as file:
            part = subset(self._run.topology, sorted(self._run.atoms))
            app.PDBFile.writeFile(part, positions[sorted(self._run.atoms)] * unit.nanometer, file)
        self._said(
            f"Warning at {self._time():g} ps: bonds of the model's molecules changed ({', '.join(listed)}); see "
            f"{path}. The model may be outside its domain, or the time step too long."
        )
        if self._run.options.strict:
            self._stopped = BONDS_CHANGED

    def _check_finite(self, state: openmm.State) -> None:
        energy = (state.getPotentialEnergy() + state.getKineticEnergy())._value
        if math.isfinite(energy):
            return
        found = f"the energy is {energy} kJ/mol at {self._time():g} ps of {self._phase.title}"
        if not (self._run.folder / CURRENT).exists():
            raise ValueError(f"{found}, before the first checkpoint: do atoms overlap in the input?")
        raise ValueError(
            f"{found}: the last checkpoint was written before and is good; look at the trajectory for a clash, or use "
            "a shorter step"
        )

    # Figures

    def _time(self) -> float:
        return round(self._step * self._run.options.timestep, 9)

    def _speed(self, step: int) -> float:
        """ns/day since this process began the phase."""
        return self._nanoseconds_per_day(step - self._began_at, time.perf_counter() - self._began)

    def _nanoseconds_per_day(self, steps: int, seconds: float) -> float:
        return steps * self._run.options.timestep * 1e-3 / max(seconds, 1e-9) * 86400

    def timing(self) -> dict[str, Any]:
        """Speed of the phase in this process, and the model's time by stage."""
        seconds, steps = time.perf_counter() - self._began, self._step - self._began_at
        found = {
            "phase": self._phase.name,
            "steps": steps,
            "seconds": seconds,
            "ns_per_day": self._nanoseconds_per_day(steps, seconds),
            "milliseconds_per_step": 1e3 * seconds / steps if steps else None,
        }
        if self._evaluations:
            means = {stage: total / self._evaluations for stage, total in self._stages.items()}
            found |= {"stages_ms": means, "evaluations": self._evaluations}
        return found

    def _collect_stages(self) -> None:
        """Add up what the force has measured; a new Context begins at zero."""
        if self._force is None:
            return
        diagnostics = self._force.getDiagnostics(self.context)
        if self.context.getPlatform().getName() not in _REINITIALIZED:
            self._stages, self._evaluations = Counter(), 0
        self._evaluations += diagnostics["evaluations"]
        for stage, mean in diagnostics["milliseconds"].items():
            self._stages[stage] += mean * diagnostics["evaluations"]

    # Files

    def _open_log(self) -> None:
        columns = ["phase", "step", "time_ps", "potential_kJ/mol", "kinetic_kJ/mol", "temperature_K"]
        columns += ["volume_nm3", "density_g/mL"]
        restrained = any(phase.restrained for phase in self._run.phases)
        columns += [f"{name}_kJ/mol" for name in (*self._run.groups, *(["restraints"] if restrained else []))]
        columns += ["energy_std_kJ/mol", "shortest_contact_nm", "changed_bonds", "speed_ns/day"]
        self._file = Log(self._run.folder / files.LOG, columns)

    def _choose_checkpoint_interval(self) -> None:
        """About five minutes at the speed of this machine, in whole lines of the log; written to run.yaml."""
        if self._run.options.deterministic:
            self._set_checkpoint_interval(10_000)
            return
        before, count = self.context.createCheckpoint(), 10
        self.context.getIntegrator().step(2)
        began = time.perf_counter()
        self.context.getIntegrator().step(count)
        steps = _SECONDS_BETWEEN_CHECKPOINTS / (time.perf_counter() - began) * count
        self.context.loadCheckpoint(before)
        log = self._run.steps(self._run.options.log_interval)
        self._set_checkpoint_interval(max(1, round(steps / log)) * log)

    def _set_checkpoint_interval(self, steps: int) -> None:
        options = self._run.options
        options.checkpoint_interval = options.timestep * min(steps, self._run.steps(options.time))
        values = self._run.folder.read()
        values["options"] = options.to_mapping()
        self._run.folder.write(values)


def fingerprint(context: openmm.Context) -> dict[str, str]:
    """What must be equal for OpenMM to read its own checkpoint to the same bits."""
    platform = context.getPlatform()
    versions = files.versions()
    found = {"platform": platform.getName(), "processor": files.processor()}
    found |= {name: versions[name] for name in ("openmm", "torch")}
    names = set(platform.getPropertyNames())
    for name in ("Precision", "DeviceName", "Threads"):
        if name in names:
            found[name] = platform.getPropertyValue(context, name)
    return found


def _write_results(run: Run, dynamics: Dynamics) -> None:
    timing = dynamics.timing()
    if timing["steps"]:
        write_text(run.folder / files.TIMING, json.dumps(timing, indent=1) + "\n")
    state = dynamics.context.getState(
        positions=True, velocities=True, energy=True, parameters=True, enforcePeriodicBox=run.periodic
    )
    write_text(run.folder / files.STATE, openmm.XmlSerializer.serialize(state))
    run.topology.setPeriodicBoxVectors(state.getPeriodicBoxVectors() if run.periodic else None)
    with named(run.folder / files.FINAL), open(run.folder / files.FINAL, "w", encoding="utf-8") as file:
        app.PDBFile.writeFile(run.topology, state.getPositions(), file, keepIds=True)


def _degrees_of_freedom(system: openmm.System) -> int:
    moving = sum(system.getParticleMass(i)._value > 0 for i in range(system.getNumParticles()))
    constrained = system.getNumConstraints()
    removes = any(isinstance(force, openmm.CMMotionRemover) for force in system.getForces())
    return int(max(1, 3 * moving - constrained - (3 if removes else 0)))


def _mass(system: openmm.System) -> float:
    """In dalton."""
    return float(sum(system.getParticleMass(i)._value for i in range(system.getNumParticles())))
