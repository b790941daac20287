"""Time and memory."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import numpy as np

from .subject import Subject
from .verdict import Verdict

__all__ = ["cost", "peak_memory"]

_SECONDS = 5.0


def peak_memory() -> float:
    """The most memory that this process has had so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cost(subject: Subject, before: float) -> Iterator[Verdict]:
    """Time per evaluation, growth of the peak memory since ``before`` (MiB), and the size of the file."""
    count = subject.affordable(_SECONDS, 5, 200)
    x = subject.sample.positions
    times = 1e3 * np.array([subject.bench.timed(x, 1e-7 * (k + 4)) for k in range(count)])
    low, middle, high = np.percentile(times, (25, 50, 75))
    threads = subject.bench.diagnostics["threads"]
    text = f"ms per evaluation, median of {count} (quartiles {low:.3g} and {high:.3g}), {subject.sample.n} particles"
    yield Verdict("time", "ok", f"{text}, {subject.platform}, {threads} thread{'s' * (threads != 1)}", float(middle))
    growth = peak_memory() - before
    yield Verdict("memory", "ok", "MiB by which the peak of this process has grown, with torch if it was new", growth)
    yield Verdict("file size", "ok", "MiB", subject.path.stat().st_size / 2**20)
