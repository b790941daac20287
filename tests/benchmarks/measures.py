"""What is measured of each case, every backend in turn in one run.  Each function returns the rows of its table."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from backends import (
    BARE,
    EAGER,
    FORMATS,
    IN_TURN,
    NONE,
    Bench,
    Unavailable,
    exact_forces,
    make_system,
    ml_potential,
    open_session,
    peak,
    published_ani,
)
from cases import Case
from gates import LEAST_POINTS, force_error, judge, slope
from potentials import Potential
from session import ENERGIES, NPT, NVE, Session
from subjects import STEP, SUBJECTS, Subject, lattice
from timing import interleave, summary
from tqdm import tqdm

import openmmnnp

ROUNDS, LEAST_BLOCK = 11, 0.03  # rounds at least; seconds of a block at least
FEW, PATIENCE = 3, 4  # rounds where so many times the seconds are over
ALONE = (*BARE, IN_TURN, EAGER)
CONTROL, LAMBDA = "PythonForce", "lambda_interpolate"
Row = dict[str, Any]
Sessions = dict[str, Any]


def open_all(
    case: Case, platform: str, subject: Subject, potential: Potential, bench: Bench, mode: str = NVE
) -> tuple[Sessions, list[Row]]:
    """Sessions by backend, and a row for each backend, with the reason where it can't run."""
    sessions: Sessions = {}
    rows = []
    for name in tqdm(case.backends, f"{case.name}, {platform}: setting up", leave=False):
        row: Row = {"case": case.name, "platform": platform, "backend": name}
        row["particles"] = subject.system.getNumParticles()
        rows.append(row)
        try:
            sessions[name] = open_session(name, subject, potential, platform, bench, mode)
            sessions[name].run(2)
        except Unavailable as error:
            row["missing"] = str(error)
        except Exception as error:
            row["failed"] = _first_line(error)
        if "missing" in row or "failed" in row:
            sessions.pop(name, None)
    return sessions, rows


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:120]}"


def rounds(
    sessions: Sessions,
    seconds: float,
    title: str,
    after: Callable[[str], None] = lambda name: None,
    few: int = FEW,
    warm: int = 1,
) -> tuple[dict[str, np.ndarray], int]:
    """Seconds a step of each session [rounds], in turns, and the number of steps in a block."""
    fastest = min(
        (session.run(1 + warm) / (1 + warm) for name, session in sessions.items() if name != NONE), default=LEAST_BLOCK
    )
    steps = int(np.clip(np.ceil(LEAST_BLOCK / fastest), 1, 500))
    times: dict[str, list[float]] = {name: [] for name in sessions}
    with tqdm(total=seconds, desc=title, bar_format="{desc}: {percentage:3.0f}% {elapsed}", leave=False) as bar:
        count, spent = 0, 0.0
        while spent < seconds or count < (ROUNDS if spent < PATIENCE * seconds else few):
            for name, session in sessions.items():
                session.run(warm)  # or what was asked for after the last block would answer the first step
                taken = session.run(steps)
                times[name].append(taken / steps)
                after(name)
                spent += taken
                bar.update(min(taken, max(0.0, seconds - bar.n)))
            count += 1
    return {name: np.array(values) for name, values in times.items()}, steps


def fill(rows: list[Row], times: dict[str, np.ndarray], unit: str, scale: float) -> None:
    """Put figures and ratios to the first row into the rows."""
    first = times.get(rows[0]["backend"])
    for row in rows:
        if row["backend"] in times:
            row["unit"], row["figure"] = unit, summary(scale * times[row["backend"]])
            if first is not None:
                row["ratio"] = summary(times[row["backend"]] / first)


def step(case: Case, platform: str, potential: Potential, bench: Bench) -> list[Row]:
    """Time of an NVE step, beside the bare model and the System without it."""
    subject = SUBJECTS[case.system]()
    peaks = peaks_of(case, platform, subject, potential, bench) if case.memory else {}
    sessions, rows = open_all(case, platform, subject, potential, bench)
    exact = exact_forces(subject, potential)
    errors = {name: [force_error(s, exact)] for name, s in sessions.items() if name not in (*ALONE, NONE)}
    energies: dict[str, list[float]] = {name: [] for name in errors}

    def note(name: str) -> None:
        if name in energies:
            energies[name].append(sessions[name].total())

    times, steps = rounds(sessions, case.seconds, f"{case.name}, {platform}", note, LEAST_POINTS)
    fill(rows, times, "ms", 1e3)
    by_name = {row["backend"]: row for row in rows}
    for name, values in energies.items():
        by_name[name]["force_error"] = max(*errors[name], force_error(sessions[name], exact))
        if len(values) >= LEAST_POINTS:
            by_name[name]["drift"] = slope(np.array(values), (steps + 1) * STEP, subject.system.getNumParticles())
    for name, most in peaks.items():
        by_name[name]["MiB"] = most
    for row in rows:
        if row["backend"] in energies:
            row["fault"] = judge(row, by_name.get(CONTROL, {}))
    for form, bare in ((".pt2", "bare .pt2, C++ loop"), (".pt", "bare .pt, C++ loop")):
        if form in times and bare in times and NONE in times:
            by_name[form]["over_parts"] = summary(times[form] / (times[bare] + times[NONE]))
    if ".pt2" in times and IN_TURN in times:
        by_name[".pt2"]["over_turns"] = summary(times[".pt2"] / times[IN_TURN])
    return rows


def peaks_of(case: Case, platform: str, subject: Subject, potential: Potential, bench: Bench) -> dict[str, float]:
    """MiB by backend, each in a process of its own, while no model is loaded here."""
    found = {}
    for name in tqdm([name for name in case.backends if name != NONE], f"{case.name}: memory", leave=False):
        try:
            found[name] = peak(name, subject, potential, platform, bench)
        except Unavailable:
            continue
    return found


def glue(case: Case, platform: str, potential: Potential, bench: Bench) -> list[Row]:
    """Time of a step less that of one without the model's force group, in the same Context."""
    rows: list[Row] = []
    for n in case.sizes:
        subject = lattice(n)
        sessions, found = open_all(case, platform, subject, potential, bench)
        steps = int(np.clip(2_000_000 // n, 20, 2000))
        times = interleave({n: functools.partial(_difference, s) for n, s in sessions.items()}, steps, case.blocks)
        for row in found:
            if row["backend"] in times:
                row |= {"unit": "us", "figure": summary(times[row["backend"]])}
            if row["backend"] in FORMATS and row["backend"] in sessions:
                row |= _stages(sessions[row["backend"]])
        rows += found
    return rows


def _stages(session: Session) -> Row:
    """Mean microseconds within the force: of our stages, and of the call into torch."""
    force = openmmnnp.NNPForce.cast(session.system.getForce(session.system.getNumForces() - 1))
    stages = force.getDiagnostics(session.context)["milliseconds"]
    call = 1e3 * stages.pop("evaluate")
    return {"own_stages": 1e3 * sum(stages.values()), "call": call}


def _difference(session: Any, steps: int) -> float:
    """Seconds that the model takes in as many steps, or a bare model."""
    if not hasattr(session, "use_model"):
        return float(session.run(steps))
    session.use_model(False)
    without = session.run(steps)
    session.use_model(True)
    return float(session.run(steps) - without)


def energy(case: Case, platform: str, potential: Potential, bench: Bench) -> list[Row]:
    """Time of an energy without forces, as a CustomIntegrator asks for it."""
    return _calls(case, platform, potential, bench, "run", ENERGIES)


def barostat(case: Case, platform: str, potential: Potential, bench: Bench) -> list[Row]:
    """Time of a step with a trial move of MonteCarloBarostat."""
    return _calls(case, platform, potential, bench, "run", NPT)


def xml(case: Case, platform: str, potential: Potential, bench: Bench) -> list[Row]:
    """Time to write the System as XML and to read it."""
    return _calls(case, platform, potential, bench, "xml")


def create(case: Case, platform: str, potential: Potential, bench: Bench) -> list[Row]:
    """Time to make a Context, with its first forces, of a model that another Context has in use."""
    return _calls(case, platform, potential, bench, "create")


def _calls(case: Case, platform: str, potential: Potential, bench: Bench, call: str, mode: str = NVE) -> list[Row]:
    """Time of a Session's method."""
    subject = SUBJECTS[case.system]()
    sessions, rows = open_all(case, platform, subject, potential, bench, mode)
    exact = exact_forces(subject, potential)
    for row in rows:
        if row["backend"] in sessions and row["backend"] != NONE:
            row["force_error"] = force_error(sessions[row["backend"]], exact)
            row["fault"] = judge(row)
    callers = {name: _Caller(getattr(session, call)) for name, session in sessions.items()}
    times, _ = rounds(callers, case.seconds, f"{case.name}, {platform}", warm=0)
    fill(rows, times, "ms", 1e3)
    return rows


class _Caller:
    def __init__(self, call: Callable[[int], float]) -> None:
        self.run = call


def minimize(case: Case, platform: str, potential: Potential, bench: Bench) -> list[Row]:
    """Time of 50 iterations of OpenMM's minimizer; the energies where they end must agree."""
    subject = SUBJECTS[case.system]()
    sessions, rows = open_all(case, platform, subject, potential, bench)
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in tqdm(range(ROUNDS), f"{case.name}, {platform}", leave=False):
        for name, session in sessions.items():
            times[name].append(session.minimize(50))
    fill(rows, {name: np.array(values) for name, values in times.items()}, "ms", 1e3)
    exact = exact_forces(subject, potential)
    for row in rows:
        if row["backend"] in sessions:
            session = sessions[row["backend"]]
            x, box, _ = session.forces()
            row["residual"] = float(np.sqrt((exact(x, box) ** 2).mean()))
            row["force_error"] = None
            row["fault"] = ""
    least = min((row["residual"] for row in rows if "residual" in row), default=0.0)
    for row in rows:
        if row.get("residual", 0.0) > 3 * least + 5:
            row["fault"] = f"forces of {row['residual']:.0f} kJ/mol/nm are left, of another {least:.0f}"
    return rows


def scaled_to_zero(case: Case, platform: str, potential: Potential, bench: Bench) -> list[Row]:
    """Time of a step at lambda = 0, and of one of the MM System."""
    subject = SUBJECTS[case.system]()
    atoms = subject.indices
    systems: dict[str, Any] = {NONE: subject.system}
    rows: list[Row] = []
    for name in case.backends:
        row: Row = {"case": case.name, "platform": platform, "backend": name, "particles": len(atoms)}
        rows.append(row)
        try:
            systems[name] = _with_lambda(name, subject, potential, atoms)
        except Unavailable as error:
            row["missing"] = str(error)
        except Exception as error:
            row["failed"] = _first_line(error)
    sessions = {name: Session(system, platform, STEP, subject.start) for name, system in systems.items()}
    for session in sessions.values():
        if LAMBDA in session.context.getParameters():
            session.set_parameter(LAMBDA, 0.0)
    energies = {name: session.total() for name, session in sessions.items()}
    times, _ = rounds(sessions, case.seconds, f"{case.name}, {platform}")
    fill(rows, times, "ms", 1e3)
    for row in rows:
        off = abs(energies.get(row["backend"], np.nan) - energies[NONE])
        row["fault"] = f"the energy is {off:.1e} kJ/mol from that of MM" if off > 1e-3 else ""
    return rows


def _with_lambda(name: str, subject: Subject, potential: Potential, atoms: list[int]) -> openmm.System:
    """``scaled``: a force on top of MM; ``interpolated``: between MM and ML/MM, with the derivative."""
    how, _, form = name.partition(" ")
    if name == NONE:
        return subject.system
    if how == "scaled":
        system = make_system(form, subject, potential)
        force = openmmnnp.NNPForce.cast(system.getForce(system.getNumForces() - 1))
        force.setScaleParameter(LAMBDA, 0.0)
        return system
    if form in FORMATS:
        path = potential.files[FORMATS[form]]
        return openmmnnp.createMixedSystem(subject.topology, subject.system, atoms, path, interpolate=True)
    with published_ani():
        return ml_potential()("ani2x").createMixedSystem(subject.topology, subject.system, atoms, interpolate=True)


def cold(case: Case, platform: str, potential: Potential, bench: Bench) -> list[Row]:
    """Time from the start of Python to the first forces, files being in the page cache."""
    subject = SUBJECTS[case.system]()
    atoms = bench.folder / "cold.json"
    atoms.write_text(json.dumps({"numbers": subject.numbers, "positions": subject.start[0].tolist()}))
    right = exact_forces(subject, potential)(subject.start[0], subject.start[2])
    rows: list[Row] = []
    times: dict[str, list[float]] = {name: [] for name in case.backends}
    for name in case.backends:
        rows.append({"case": case.name, "platform": platform, "backend": name, "particles": len(subject.numbers)})
    for _ in tqdm(range(ROUNDS), f"{case.name}, {platform}", leave=False):
        for row in rows:
            name = row["backend"]
            path = potential.files[FORMATS[name]] if name in FORMATS else name
            command = [sys.executable, Path(__file__).with_name("cold.py"), atoms, path, platform]
            start = time.perf_counter()
            printed = subprocess.run(command, capture_output=True, text=True)
            times[name].append(time.perf_counter() - start)
            if printed.returncode != 0:
                row["failed"] = printed.stderr.strip().splitlines()[-1][:120]
                continue
            off = np.array(json.loads(printed.stdout)) - right
            row["force_error"] = float(np.sqrt((off**2).mean() / (right**2).mean()))
            row["fault"] = judge(row)
    fill(rows, {name: np.array(values) for name, values in times.items()}, "s", 1.0)
    return rows


MEASURES: dict[str, Callable[[Case, str, Potential, Bench], list[Row]]] = {
    "step": step,
    "glue": glue,
    "energy": energy,
    "barostat": barostat,
    "xml": xml,
    "create": create,
    "minimize": minimize,
    "scaled to zero": scaled_to_zero,
    "cold start": cold,
}
