"""Models whose edges the plugin finds: padding and skin must change nothing, and separate copies must add up."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..spec import write_spec
from .subject import Bench, Result, Subject
from .symmetry import doubled
from .verdict import Verdict

__all__ = ["edges", "separate"]

_SKINS = (0.0, 0.05, 0.3)  # nm
_PADDING = 37  # edges
_FAR = 5.0  # nm, where no cutoff is known


def edges(subject: Subject) -> Iterator[Verdict]:
    """Other skins, and a copy of the file whose spec says more edges than there are."""
    if not subject.takes_edges:
        yield from (Verdict(name, "skipped", "the model takes no edges") for name in ("skin", "padding"))
        return
    found: list[tuple[Result, Result]] = []
    for skin in _SKINS:
        bench = Bench(subject, subject.sample, skin=skin)
        bench.evaluate(subject.sample.positions + 0.01)  # a list that is then used again, or made anew
        found.append((bench.evaluate(subject.sample.positions), subject.here))
    yield subject.agree("skin", found, f"skins of {', '.join(map(str, _SKINS))} nm")
    yield _padding(subject)


def _padding(subject: Subject) -> Verdict:
    spec = subject.spec
    if spec is None or spec.edge_capacity not in (None, "dynamic"):
        return Verdict("padding", "skipped", "the model is always padded, since its spec fixes the number of edges")
    if "shifts" not in spec.inputs:
        return Verdict("padding", "skipped", "the model takes no shifts, so its edges can't be padded")
    subject.bench.evaluate(subject.sample.positions)
    capacity = int(subject.bench.diagnostics["edges"]) + _PADDING
    with tempfile.TemporaryDirectory(prefix="openmm-nnp-check-") as folder:
        copy = Path(folder, subject.path.name)
        copy.write_bytes(subject.path.read_bytes())
        write_spec(copy, replace(spec, edge_capacity=capacity, references=[]))
        found = Bench(subject, subject.sample, path=copy).evaluate(subject.sample.positions)
    return subject.agree("padding", [(found, subject.here)], f"{_PADDING} edges of padding against none")


def separate(subject: Subject) -> Iterator[Verdict]:
    """Two copies of the sample, far apart, have twice its energy without the constant, and each its forces."""
    sample, spec = subject.sample, subject.spec
    reason = (
        "the number of particles is fixed"
        if spec is None or not subject.dynamic
        else "the model is used with a box here"
        if sample.box is not None
        else "the spec says that the model is long-ranged"
        if spec.long_range
        else "charge may move between charged copies"
        if sample.charge or sample.multiplicity != 1
        else ""
    )
    if reason:
        yield Verdict("separate copies", "skipped", reason)
        return
    distance = 2.5 * subject.cutoff if subject.cutoff is not None else _FAR
    shift = np.array([np.ptp(sample.positions[:, 0]) + distance, 0.0, 0.0])
    twice = doubled(sample, sample.positions - shift / 2, sample.positions + shift / 2)
    bench = Bench(subject, twice)
    found, offset = bench.evaluate(twice.positions), bench.offset
    energy, forces = subject.here
    expected = offset + 2 * (energy - subject.bench.offset), np.tile(forces, (2, 1))
    what = f"two copies {distance:.2g} nm apart against twice the one"
    yield subject.agree("separate copies", [(found, expected)], what, "doubtful" if subject.cutoff is None else "fail")
