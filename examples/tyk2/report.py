"""Errors of a committee by source and by torsion, as tables."""

from collections import Counter

import numpy as np
import torch
from labels import KCAL, Array, Frame, ligand
from potential import Potential, energy_and_forces
from tqdm import tqdm

SPLITS = ("train", "test")
HEADER = "| source | trajectories | frames | force RMSE | of | energy RMSE | of |\n|---|---|---|---|---|---|---|"


class Predictions:
    """A committee's mean energies [frames], forces [frames, n, 3] and energy_std [frames] beside the labels (eV)."""

    def __init__(self, model: Potential, offset: float, frames: list[Frame], description: str, batch: int = 16) -> None:
        numbers = torch.tensor(ligand()[1])
        parts = torch.tensor(np.array([f.positions for f in frames])).float().split(batch)
        results = [tuple(r.detach() for r in energy_and_forces(model, x, numbers)) for x in tqdm(parts, description)]
        energies = torch.cat([e for e, _ in results]).numpy() + offset
        self.frames, self.std = frames, energies.std(axis=1, ddof=1)
        self.energy_errors = energies.mean(axis=1) - np.array([f.energy for f in frames])
        self.force_errors = torch.cat([f for _, f in results]).numpy() - np.array([f.forces for f in frames])

    def where(self, **values: object) -> Array:
        return np.array([all(getattr(f, k) == v for k, v in values.items()) for f in self.frames])

    def row(self, name: str, chosen: Array) -> str:
        frames = [f for f, keep in zip(self.frames, chosen, strict=True) if keep]
        errors = (rms(self.force_errors[chosen]), np.std([f.forces for f in frames]))
        energies = (rms(self.energy_errors[chosen]), np.std([f.energy for f in frames]))
        cells = [name, len({f.trajectory for f in frames}), len(frames)]
        return "| " + " | ".join(map(str, [*cells, *(f"{KCAL * v:.2f}" for v in (*errors, *energies))])) + " |"

    def table(self) -> str:
        lines = [self.row(name, self.where(source=name)) for name in dict.fromkeys(f.source for f in self.frames)]
        dynamics = np.array([f.source.endswith("K") or f.source in ("water", "complex") for f in self.frames])
        return "\n".join([HEADER, *lines, self.row("all dynamics", dynamics), self.row("all", dynamics | True)])

    def within(self, force: float = 1.0, energy: float = 0.5) -> dict[str, str]:
        """Sources whose root mean square errors are below both (kcal/mol/angstrom, kcal/mol), and the others."""
        sides: dict[str, list[str]] = {"met": [], "missed": []}
        for source in dict.fromkeys(f.source for f in self.frames):
            chosen = self.where(source=source)
            good = KCAL * rms(self.force_errors[chosen]) < force and KCAL * rms(self.energy_errors[chosen]) < energy
            sides["met" if good else "missed"].append(source)
        return {side: ", ".join(sources) or "none" for side, sources in sides.items()}

    def torsions(self) -> str:
        """Errors of the energy along scans, each relative to its mean over the scan."""
        lines = ["| bond | scan | split | points | barrier | energy RMSE | largest |", "|---|---|---|---|---|---|---|"]
        for name in dict.fromkeys(f.trajectory for f in self.frames if f.torsion):
            chosen = self.where(trajectory=name)
            frames = [f for f, keep in zip(self.frames, chosen, strict=True) if keep]
            error = self.energy_errors[chosen] - self.energy_errors[chosen].mean()
            values = (np.ptp([f.energy for f in frames]), rms(error), np.abs(error).max())
            scan, start, first, second = name.rsplit("-", 3)
            cells = [f"{first}-{second}", f"{scan}, {start}", frames[0].split, len(frames)]
            lines.append("| " + " | ".join(map(str, [*cells, *(f"{KCAL * v:.2f}" for v in values)])) + " |")
        return "\n".join(lines)


def rms(x: Array) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


def quantiles(std: Array) -> str:
    return ", ".join(f"{1000 * np.quantile(std, q):.1f} ({q:.0%})" for q in (0.5, 0.95, 0.99))


def counts(frames: list[Frame]) -> str:
    """Frames and trajectories of every source by split."""
    of_frames = Counter((f.source, f.split) for f in frames)
    of_trajectories = Counter(key[:2] for key in {(f.source, f.split, f.trajectory) for f in frames})
    totals = [
        sum(n for key, n in count.items() if key[1] == s) for s in SPLITS for count in (of_frames, of_trajectories)
    ]
    lines = ["| source | trained: frames | trajectories | held out: frames | trajectories |", "|---|---|---|---|---|"]
    for source in dict.fromkeys(f.source for f in frames):
        keys = [(source, split) for split in SPLITS]
        cells = [str(count[key]) for key in keys for count in (of_frames, of_trajectories)]
        lines.append("| " + " | ".join([source, *cells]) + " |")
    lines.append("| " + " | ".join(["all", *map(str, totals)]) + " |")
    return "\n".join(lines)


def spread(unseen: Predictions, seen: Predictions) -> dict[str, object]:
    """What `energy_std` says of the error of the energy."""
    errors = np.abs(unseen.energy_errors)
    ranks = [np.argsort(np.argsort(x)) for x in (unseen.std, errors)]
    return {
        "std_seen": quantiles(seen.std),
        "std_unseen": quantiles(unseen.std),
        "correlation": np.corrcoef(*ranks)[0, 1],
        "within_one": np.mean(errors < unseen.std),
        "within_two": np.mean(errors < 2 * unseen.std),
    }
