"""The report's figures, each as its media type and bytes. They can be told apart in black and white."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from .page import number

__all__ = ["Curve", "Image", "Panel", "conservation", "histogram", "panels", "parity", "speed"]

Array = NDArray[np.float64]
Image = tuple[str, bytes]

WIDTH = 7.1  # inches: a page's text
BLACK, MM, ML = "#000000", "#D55E00", "#0072B2"  # Okabe and Ito's palette
OTHERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
MARKERS = "osD^vPX<>*h"
HATCHES = ("////", "....", "xxxx", "----", "||||")
STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.0,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "axes.formatter.useoffset": False,
    "svg.hashsalt": "openmmnnp",
    "figure.dpi": 100,
}


class Curve(NamedTuple):
    """A line in a panel; `style` is "reference", "mm", "model" or "other", `rank` tells those of one style apart."""

    label: str
    x: Array
    y: Array
    style: str
    rank: int = 0
    thin: bool = False


class Panel(NamedTuple):
    """A small plot."""

    title: str
    curves: Sequence[Curve]
    limits: tuple[float, float] | None = None  # of y


def drawn(draw: Callable[..., Figure]) -> Callable[..., Image]:
    """The figure that `draw` makes, as SVG or as PNG of twice the resolution of a screen, whichever is smaller."""

    @wraps(draw)
    def image(*args: Any, **options: Any) -> Image:
        with matplotlib.rc_context(STYLE):
            figure = draw(*args, **options)
            images = []
            for name, kind, metadata in (("svg", "image/svg+xml", {"Date": None}), ("png", "image/png", None)):
                file = io.BytesIO()
                figure.savefig(file, format=name, dpi=200, metadata=metadata)
                images.append((kind, file.getvalue()))
        return min(images, key=lambda found: len(found[1]))

    return image


@drawn
def parity(energies: Mapping[str, tuple[Array, Array]], forces: tuple[Array, Array], units: tuple[str, str]) -> Figure:
    """Model against reference: energies by source (each reference, model), and all force components."""
    figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    for k, (source, (reference, model)) in enumerate(energies.items()):
        color = (ML, MM, *OTHERS, BLACK)[k % 8]
        marker = MARKERS[k % len(MARKERS)]
        left.plot(reference, model, marker, color=color, ms=2.6, mew=0.4, mfc="none", label=source, rasterized=True)
    left.set(xlabel=f"reference energy ({units[0]})", ylabel=f"model energy ({units[0]})")
    bins = right.hexbin(*forces, gridsize=70, norm=LogNorm(), cmap="cividis_r", linewidths=0.1, rasterized=True)
    right.set(xlabel=f"reference force ({units[1]})", ylabel=f"model force ({units[1]})")
    figure.colorbar(bins, ax=right, label="components per bin", shrink=0.85)
    for axes in (left, right):
        _diagonal(axes)
    columns = math.ceil(len(energies) / math.ceil(len(energies) / 6))
    handles = left.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=columns, markerscale=1.6, handlelength=1)
    return figure


@drawn
def panels(
    content: Sequence[Panel],
    x: str,
    y: str,
    *,
    columns: int = 3,
    height: float = 1.75,
    angles: bool = False,
    shared: bool = False,
    shaded: float | None = None,
    from_zero: bool = False,
) -> Figure:
    """Small plots with common labels of the axes and one legend.

    A curve with one x more than y is a histogram. `angles`: x is in degrees, all around. `shared`: all have the same y
    axis. `shaded`: x up to here is grey. `from_zero`: y begins at 0.
    """
    columns = min(columns, len(content))
    rows = math.ceil(len(content) / columns)
    figure = Figure(figsize=(WIDTH, height * rows + 0.65), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=shared).flatten()
    legend: dict[str, Any] = {}
    every = np.concatenate([curve.x for panel in content for curve in panel.curves])
    left_right = (-180.0, 180.0) if angles else (min(0.0, every.min()), every.max())
    for axes, panel in zip(grid, content, strict=False):
        for curve in panel.curves:
            steps = len(curve.x) > len(curve.y)
            line = _stairs(axes, curve) if steps else axes.plot(curve.x, curve.y, **_look(curve))[0]
            if not curve.thin:
                legend.setdefault(curve.label, line)
        axes.set_title(panel.title)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set(xlim=left_right, **({"ylim": panel.limits} if panel.limits else {}))
        if angles:
            axes.set_xticks((-180, -90, 0, 90, 180))
        if shaded is not None:
            axes.axvspan(left_right[0], shaded, color="0.93", zorder=0, lw=0)
    if from_zero:  # when all is drawn: it ends the automatic scaling of shared axes
        for axes in grid[: len(content)]:
            axes.set_ylim(bottom=0)
    for axes in grid[len(content) :]:
        axes.remove()
    for axes in grid[max(0, len(content) - columns) : len(content)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel(x, fontsize=8)
    figure.supylabel(y, fontsize=8)
    figure.legend(list(legend.values()), list(legend), loc="outside upper center", ncols=4)
    return figure


@drawn
def conservation(content: Sequence[tuple[str, Array, Array, Array, Array, float]]) -> Figure:
    """Total energy of MM and of the model: (title, times, energies, block times, block means, slope), side by side."""
    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
    grid = figure.subplots(1, len(content), squeeze=False, sharey=True)[0]
    for axes, color, (title, times, energies, t, y, slope) in zip(grid, (MM, ML), content, strict=True):
        level = energies.mean()
        axes.plot(times, energies - level, color=_tint(color, 0.65), lw=0.4, label="each 2 fs", rasterized=True)
        axes.plot(t, y - level, "o", color=color, ms=2.2, label="block means")
        axes.plot(t, slope * (t - t.mean()) + y.mean() - level, "k-", lw=1, label="least squares")
        axes.set(title=title, xlabel="time (ps)", xlim=(0, times[-1]))
        axes.xaxis.set_major_locator(MaxNLocator(5))
    grid[0].set_ylabel("total energy \N{MINUS SIGN} mean (kJ/mol)")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


@drawn
def histogram(values: Mapping[str, Array], marks: Mapping[str, float], x: str) -> Figure:
    """Histograms of some series on one axis, with marked values."""
    figure = Figure(figsize=(WIDTH, 2.5), layout="constrained")
    axes = figure.subplots()
    every = np.concatenate([*values.values(), np.array(list(marks.values()))])
    edges = np.linspace(0, max(every.max() * 1.05, 1e-12), 51)
    for k, (label, series) in enumerate(values.items()):
        look = {"color": _tint(ML, 0.3 * (k % 3)), "ls": DASHES[k % 5], "lw": 1.2}
        axes.stairs(np.histogram(series, edges)[0], edges, label=label, **look)
    for k, (label, mark) in enumerate(marks.items()):
        axes.axvline(mark, color=BLACK, lw=0.9, ls=DASHES[(k + 2) % 5], label=f"{label} of training")
    axes.set(xlabel=x, ylabel="frames", xlim=(0, edges[-1]))
    figure.legend(loc="outside right upper")
    return figure


@drawn
def speed(rates: Mapping[str, float], steps: Mapping[str, Mapping[str, float]]) -> Figure:
    """ns/day by run, and milliseconds per step by run and stage."""
    figure = Figure(figsize=(WIDTH, 0.9 + 0.34 * len(rates)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1.6))
    left.barh(list(rates), list(rates.values()), color="0.75", height=0.6)
    for run, rate in rates.items():
        left.annotate(f" {number(rate)}", (rate, run), va="center", fontsize=7)
    left.margins(x=0.18)
    left.set_xlabel("ns/day")
    left.invert_yaxis()
    stages = list(dict.fromkeys(stage for run in steps.values() for stage, time in run.items() if time))
    start = dict.fromkeys(rates, 0.0)
    for k, stage in enumerate(stages):
        rest = k == len(stages) - 1
        color = "0.85" if rest else (ML, *OTHERS[:4])[k % 5]
        runs = [run for run in rates if stage in steps.get(run, {})]
        widths = [steps[run][stage] for run in runs]
        lefts = [start[run] for run in runs]
        hatch = "" if rest else HATCHES[k % 5]
        right.barh(runs, widths, left=lefts, color=color, hatch=hatch, ec="white", lw=0.3, height=0.6, label=stage)
        start |= {run: start[run] + width for run, width in zip(runs, widths, strict=True)}
    right.set_xlabel("ms/step")
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper center", ncols=6, handlelength=1.6)
    return figure


def _stairs(axes: Axes, curve: Curve) -> Any:
    look = _look(curve)
    return axes.stairs(curve.y, curve.x, baseline=None, color=look["color"], ls=look["ls"], lw=look["lw"])


def _look(curve: Curve) -> dict[str, Any]:
    """How a curve is drawn."""
    base = {"reference": BLACK, "mm": MM, "model": ML}.get(curve.style, OTHERS[curve.rank % len(OTHERS)])
    seeds = curve.style in ("mm", "model")
    look: dict[str, Any] = {"color": _tint(base, 0.3 * (curve.rank % 3)) if seeds else base}
    look["ls"] = {"reference": "-", "mm": DASHES[1], "model": "-"}.get(curve.style, DASHES[2 + curve.rank % 3])
    look["lw"] = 0.5 if curve.thin else 1.2
    if curve.style == "reference":
        look |= {"marker": "o", "ms": 2.4, "mfc": "white", "mew": 0.7, "lw": 0.7}
    return look


def _tint(color: str, white: float) -> tuple[float, float, float]:
    red, green, blue = (1 - (1 - part) * (1 - white) for part in to_rgb(color))
    return red, green, blue


def _diagonal(axes: Axes) -> None:
    low = min(axes.get_xlim()[0], axes.get_ylim()[0])
    high = max(axes.get_xlim()[1], axes.get_ylim()[1])
    axes.plot([low, high], [low, high], color="0.4", lw=0.6, zorder=0)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    ticks = [tick for tick in MaxNLocator(6).tick_values(low, high) if low <= tick <= high]
    axes.set(xticks=ticks, yticks=ticks)
