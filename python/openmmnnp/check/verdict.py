"""What a check found, and the table of all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["State", "Verdict", "as_json", "judged", "table"]

State = Literal["ok", "fail", "doubtful", "skipped"]


@dataclass(frozen=True)
class Verdict:
    """One line of the table.

    Attributes
    ----------
    name : what was looked at
    state : "ok", "fail", "doubtful" (it may be right, and wants a look) or "skipped", with the reason in the text
    text : what the figure is, and what may be wrong
    figure, bound : what was found and what is allowed, None where there is none
    """

    name: str
    state: State
    text: str
    figure: float | None = None
    bound: float | None = None


def judged(name: str, figure: float, bound: float, text: str, otherwise: State = "fail") -> Verdict:
    """Ok if the figure is at most the bound; not a number is never ok."""
    return Verdict(name, "ok" if figure <= bound else otherwise, text, figure, bound)


def table(verdicts: Sequence[Verdict]) -> str:
    """Aligned lines: verdict, check, figure, bound, text; a line with their number at the end."""
    width = max((len(verdict.name) for verdict in verdicts), default=0)
    lines = [f"{'verdict':8}  {'check':{width}}  {'figure':>8}  {'bound':>8}"]
    for v in verdicts:
        lines.append(f"{v.state:8}  {v.name:{width}}  {_number(v.figure):>8}  {_number(v.bound):>8}  {v.text}")
    counts = [(state, sum(v.state == state for v in verdicts)) for state in ("ok", "doubtful", "skipped", "fail")]
    return "\n".join([*lines, ", ".join(f"{count} {state}" for state, count in counts if count)])


def as_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict as JSON can hold it; a figure that is not finite is None."""
    finite = {key: value for key, value in (("figure", verdict.figure), ("bound", verdict.bound)) if _is_finite(value)}
    empty = {"figure": None, "bound": None}
    return {"name": verdict.name, "state": verdict.state, "text": verdict.text} | empty | finite


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}" if not 1 <= abs(value) < 1e5 else f"{value:.4g}"
