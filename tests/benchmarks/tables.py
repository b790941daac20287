"""Results as Markdown, and the part of README that holds them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gates import ERRORS, FORCE_ERROR

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
Row = dict[str, Any]


def number(value: float) -> str:
    """Three digits."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def spread(figure: dict[str, float]) -> str:
    return f"{number(figure['median'])} ({number(figure['low'])} - {number(figure['high'])})"


def _cells(row: Row) -> list[str]:
    """Figure, ratio, memory, error of forces, drift."""
    reason = row.get("missing") or row.get("failed")
    if reason:
        return [f"{'not run' if 'missing' in row else 'fails'}: {reason}", *4 * [""]]
    if row.get("fault"):
        return [f"does not count: {row['fault']}", *4 * [""]]
    ratio = number(row["ratio"]["median"]) if "ratio" in row else ""
    memory = f"{row['MiB']:.0f}" if "MiB" in row else ""
    error = f"{row['force_error']:.0e}" if row.get("force_error") is not None else ""
    drift = "{:.1e} ± {:.0e}".format(*row["drift"]) if "drift" in row else ""
    return [spread(row["figure"]), ratio, memory, error, drift]


def table(rows: Sequence[Row]) -> str:
    """One case: a line for each backend, and a column for each figure, or for each size if there are several."""
    unit = next((row["unit"] for row in rows if "unit" in row), "")
    several = len({row["platform"] for row in rows}) > 1
    sizes = list(dict.fromkeys(row["particles"] for row in rows))
    if len(sizes) > 1:
        return _table([f"{unit}, of N", *(f"{n:,d}" for n in sizes)], _by_size(rows, sizes))
    heads = ["", unit, "ratio", "MiB", "error of forces", "drift, kJ/mol/ps"]
    lines = [[_label(row, several), *_cells(row)] for row in rows]
    used = [i for i in range(len(heads)) if i < 2 or any(line[i] for line in lines)]
    return _table([heads[i] for i in used], [[line[i] for i in used] for line in lines])


def _table(heads: list[str], lines: list[list[str]]) -> str:
    aligned = ["---", *(len(heads) - 1) * ["---:"]]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, aligned, *lines))


def _label(row: Row, with_platform: bool) -> str:
    return row["backend"] + (f", {row['platform']}" if with_platform else "")


def _by_size(rows: Sequence[Row], sizes: list[int]) -> list[list[str]]:
    """Figures of each backend and platform by size, and what was found within our force."""
    lines: dict[str, list[str]] = {}
    for row in rows:
        label = _label(row, True)
        lines.setdefault(label, [label, *len(sizes) * [""]])[1 + sizes.index(row["particles"])] = _cells(row)[0]
        for key, text in (("own_stages", "of these our stages"), ("call", "of these the call into torch")):
            if key in row:
                part = f"{label}: {text}"
                lines.setdefault(part, [part, *len(sizes) * [""]])[1 + sizes.index(row["particles"])] = number(row[key])
    return list(lines.values())


def report(results: dict[str, Any]) -> str:
    """All cases, and what they were measured with."""
    machine, versions = results["machine"], results["versions"]
    peer = results["peer"] or {"openmm-torch": "not there"}
    parts = [
        f"Measured on {results['date']} by `make bench`, one thread of {machine['cores']} x {machine['processor']}, "
        f"load {machine['load']} before. {_versions(versions)}; openmm-torch in an environment of its own: "
        f"{_versions(peer)}. Medians (quartiles) over blocks in turns in one run; *ratio*: how many times as long as "
        "the first line. Where a table shows the error of forces, a figure counts only if they are those of the bare "
        f"model in float64 within {FORCE_ERROR:.0e} of their size; where it shows a drift (of the total energy in NVE, "
        f"per particle), only if that is not above PythonForce's within {ERRORS:.0f} standard errors. To a model "
        "in openmm-torch no edges are given: there message passing looks at all pairs. Bare models are given 16 "
        "frames in turn, with their edges. Our setting of malloc serves all backends. MiB: growth of a fresh process, "
        "where only ours has it."
    ]
    for name in dict.fromkeys(row["case"] for row in results["rows"]):
        rows = [row for row in results["rows"] if row["case"] == name]
        parts.append(f"**{name}**" + _platforms(rows))
        parts.append(table(rows))
        parts += [_over_parts(row) for row in rows if "over_parts" in row]
        parts += goals(results["cases"].get(name, {}), rows)
    return "\n\n".join(parts)


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _platforms(rows: Sequence[Row]) -> str:
    platforms = {row["platform"] for row in rows}
    return f", platform {platforms.pop()}" if len(platforms) == 1 else ""


def goals(case: dict[str, Any], rows: Sequence[Row]) -> list[str]:
    """A sentence for each goal of a case whose figures are there."""
    sentences = []
    for goal in case.get("goals", []):
        found = {row["backend"]: row for row in rows if row["platform"] == goal.get("platform", row["platform"])}
        for row in rows:
            if row["backend"] == goal["backend"] and row["platform"] == goal.get("platform", row["platform"]):
                value = _value(row, goal["key"])
                divisor = _value(found.get(goal["over"], {}), goal["key"]) if "over" in goal else 1.0
                if value is not None and divisor:
                    sentences.append(_sentence(goal, row, value / divisor))
    return sentences


def _value(row: Row, key: str) -> float | None:
    value = row.get(key)
    return value["median"] if isinstance(value, dict) else value


def _sentence(goal: dict[str, Any], row: Row, value: float) -> str:
    word = "most" if "most" in goal else "least"
    size = f", {row['particles']:,d} particles" if "sizes" in goal else ""
    met = value <= goal[word] if word == "most" else value >= goal[word]
    verdict = "not resolved" if _is_noise(row[goal["key"]], goal) else "met" if met else "not met"
    return f"Goal: {goal['text']}{size}, at {word} {goal[word]}: {number(value)}, {verdict}."


def _is_noise(figure: Any, goal: dict[str, Any]) -> bool:
    """Do the quartiles lie farther apart than zero and the most that is allowed, and not both beyond that?"""
    if "most" not in goal or "over" in goal or not isinstance(figure, dict):
        return False
    return figure["high"] - figure["low"] > goal["most"] >= figure["low"]


def _over_parts(row: Row) -> str:
    texts = [f"{spread(row['over_turns'])} times bare model and MM step in turn"] if "over_turns" in row else []
    texts.append(f"{spread(row['over_parts'])} times bare model plus MM step, each timed by itself")
    return f"{row['backend']}, {row['platform']}: MD takes {', '.join(texts)}."


def write_readme(path: Path, results: dict[str, Any]) -> None:
    """Put the tables between the marks. Raises ValueError if there are none."""
    text = path.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{path} has no place for tables: put {BEGIN} and {END} where they belong")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n\n{report(results)}\n\n{END}{after}")
