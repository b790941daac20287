"""One leg: equilibrate and sample states between MM and ML/MM, and switch between the two."""

from __future__ import annotations

import numpy as np

from ..simulate.progress import Bar
from ..simulate.protocol import PRODUCTION, Phase, integrator, phase_system
from .engine import Engine, seed_of, without_model
from .options import BAR
from .prepare import Job, Prepared, check_unchanged, load, prepare
from .store import EQUILIBRATED, FORWARD, REVERSE, SAMPLED, Frame, LegFolder, read_frame, write_frame


def run_leg(job: Job) -> None:
    """Run what is left of a leg.

    Raises ValueError for inputs that do not fit and for a folder that was begun with others, OpenMMException where
    OpenMM or the model fails.
    """
    folder = LegFolder(job.folder)
    job.folder.mkdir(parents=True, exist_ok=True)
    folder.lock()
    try:
        record = folder.read_record()
        check_unchanged(job, record)
        if record is None:
            prepare(job, folder)
            record = folder.read_record()
            assert record is not None
        folder.write_record(dict(record) | {"options": job.options.to_mapping()})  # some may change
        Leg(job, folder, load(job, folder, record)).run()
    finally:
        folder.unlock()


def time_of(job: Job) -> float:
    """The length of all dynamics of a leg in ps."""
    o = job.options
    equilibrium = o.nvt + len(o.lambdas) * (o.equilibrate + o.snapshots * o.sample_interval)
    return equilibrium + (2 * o.snapshots * o.switch if o.method == BAR else 0.0)


class Leg:
    """A leg that is prepared."""

    def __init__(self, job: Job, folder: LegFolder, prepared: Prepared) -> None:
        self._job, self._folder, self._prepared, self._options = job, folder, prepared, job.options
        self._pressure = job.options.pressure if prepared.system.usesPeriodicBoundaryConditions() else None
        self._engines: dict[str, Engine] = {}
        self._interval = max(1, job.options.steps(job.options.sample_interval))

    def run(self) -> None:
        """Do what is not done yet."""
        with Bar(self._job.title, time_of(self._job), "ps") as self._bar:
            for k in range(len(self._options.lambdas)):
                self._equilibrate(k)
            self._engines.pop("restrained", None)
            for lambda_ in self._options.lambdas:
                self._sample(lambda_)
            if self._options.method == BAR:
                self._switch(FORWARD, 0.0, 1.0)
                self._switch(REVERSE, 1.0, 0.0)

    def _advance(self, steps: int, text: str) -> None:
        self._bar.advance(steps * self._options.timestep, label=f"{self._job.title}: {text}")

    # Equilibrium

    def _equilibrate(self, k: int) -> None:
        """From the last state's end, or from the start; lambda moves in the first half."""
        lambdas = self._options.lambdas
        text = f"equilibrating lambda {lambdas[k]:g}"
        done, frame = self._folder.read_moment(lambdas[k], EQUILIBRATED)
        self._advance(done, text)
        if frame is None:
            _, frame = self._folder.read_moment(lambdas[k - 1], EQUILIBRATED) if k else (0, self._prepared.start)
            assert frame is not None
        steps = self._options.steps(self._options.equilibrate)
        parts = [("restrained", self._options.steps(self._options.nvt)), ("plain", steps)]
        if k:
            parts = [("ramp", steps // 2), ("full", steps - steps // 2)]
        total = sum(length for _, length in parts)
        while done < total:
            part, left = _part(parts, done)
            piece = min(self._interval, left)
            seed = self._seed("equilibrate", lambdas[k], done)
            if part == "ramp":
                frame = self._ramp(frame, seed, (lambdas[k - 1], lambdas[k]), (done, piece, parts[0][1]))
            else:
                frame = self._dynamics(part, frame, seed, lambdas[k], piece)
            done += piece
            self._folder.write_moment(lambdas[k], EQUILIBRATED, done, frame)
            self._advance(piece, text)
        if total == 0:
            self._folder.write_moment(lambdas[k], EQUILIBRATED, 0, frame)

    def _ramp(self, frame: Frame, seed: int, ends: tuple[float, float], steps: tuple[int, int, int]) -> Frame:
        """A piece of a change of lambda: `steps` are those done, of the piece, and of the whole change."""
        done, piece, whole = steps
        first, last = (ends[0] + (ends[1] - ends[0]) * at / whole for at in (done, done + piece))
        engine = self._engine("full")
        engine.begin(frame, seed, first)
        engine.ramp(first, last, piece)
        return engine.frame()

    def _dynamics(self, name: str, frame: Frame, seed: int, lambda_: float, steps: int) -> Frame:
        engine = self._engine(name)
        engine.begin(frame, seed, lambda_)
        engine.step(steps)
        return engine.frame()

    def _sample(self, lambda_: float) -> None:
        text = f"sampling lambda {lambda_:g}"
        done, frame = self._folder.read_moment(lambda_, SAMPLED)
        if frame is None:
            _, frame = self._folder.read_moment(lambda_, EQUILIBRATED)
        assert frame is not None
        self._advance(min(done, self._options.snapshots) * self._interval, text)
        gaps = self._folder.gaps(lambda_)
        while done < self._options.snapshots:
            name = "full" if lambda_ else "plain"
            frame = self._dynamics(name, frame, self._seed("sample", lambda_, done), lambda_, self._interval)
            if self._options.method == BAR:
                small = Frame(np.asarray(frame.positions, np.float32), None, frame.box)
                write_frame(self._folder.sample(lambda_, done), small)
            else:
                gaps.append(done, [self._gap(frame, lambda_)])
            done += 1
            self._folder.write_moment(lambda_, SAMPLED, done, frame)
            self._advance(self._interval, text)

    def _gap(self, frame: Frame, lambda_: float) -> float:
        """E(ML/MM) - E(MM) in kJ/mol."""
        engine = self._engine("full")
        if not lambda_:
            engine.begin(frame, 1, lambda_)  # else it is there
        return engine.slope()

    # Switches

    def _switch(self, direction: str, first: float, last: float) -> None:
        options, works = self._options, self._folder.works(direction, self._options.switch)
        steps = max(1, options.steps(options.switch))
        done = works.read(options.snapshots)
        text = f"switching {'to' if direction == FORWARD else 'from'} the model"
        self._advance(len(done) * steps, text)
        engine = self._engine("full")
        for k in range(options.snapshots):
            if k not in done:
                with np.load(self._folder.sample(first, k)) as values:
                    engine.begin(read_frame(values), self._seed(direction, options.switch, k), first)
                work, profile = engine.switch(first, last, steps)
                works.append(k, [work, *profile])
                self._advance(steps, text)

    # Contexts

    def _seed(self, *what: object) -> int:
        return seed_of(self._options.seed, self._job.ligand, self._job.leg, *what)

    def _engine(self, name: str) -> Engine:
        """`restrained` and `plain` are MM alone, the first at constant volume; `full` has the model."""
        if name not in self._engines:
            options = self._options.of_leg(self._job.leg)
            system = self._prepared.system if name == "full" else without_model(self._prepared.system)
            phase = Phase(PRODUCTION, "NPT", 0, self._pressure)
            if name == "restrained":
                phase = Phase("nvt", "NVT, restrained", 0, None, restrained=True)
            system = phase_system(system, phase, options, self._prepared.restrained, self._prepared.start.positions)
            self._engines[name] = Engine(
                system,
                integrator(options, phase),
                self._prepared.platform,
                self._prepared.properties,
                options.temperature,
            )
        return self._engines[name]


def _part(parts: list[tuple[str, int]], done: int) -> tuple[str, int]:
    """The part of a sequence of parts in which so many steps are done, and how many are left in it."""
    first, *others = parts
    return (first[0], first[1] - done) if done < first[1] else _part(others, done - first[1])
