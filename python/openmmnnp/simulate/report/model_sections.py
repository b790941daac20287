"""The sections on the model: parity, torsion profiles, energy conservation, spread of a committee."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import plots
from .analysis import blocked, mae, rmse, slope
from .evaluate import KT, Potential
from .frames import Scan
from .page import Section, number, plus_minus
from .run_folder import Missing
from .study import MOST_EVALUATIONS, Study
from .trajectory import last_positions

__all__ = ["conservation", "parity", "spread", "torsion_profiles"]

Array = NDArray[np.float64]

KCAL = 4.184  # kJ/mol
KCAL_ANGSTROM = 41.84  # kJ/mol/nm
PANELS = 12  # in one figure


def parity(section: Section, study: Study) -> None:
    """The model against the labels, by source."""
    frames, model = study.frames, study.model
    known = bool(frames.of_split("test").size)
    if not len(study.test):
        raise Missing(f"All frames of {frames.path.name} were trained on: none is left to judge the model by.")
    test, train = _errors(study, study.test, "test"), _errors(study, study.train, "train")
    section.text(
        f"{model.name} against the labels in {frames.path.name}, the region alone in vacuum, on {len(study.test)} "
        f"frames{' that it was not trained on' * known}. Energies are relative to the mean of each source. The spread "
        "of the reference is the standard deviation of its energies and the root mean square of its force components."
    )
    if not known:
        section.note("The file does not say which frames were held out: the model may have been trained on them.")
    held_out, trained = len(frames.of_split("test" if known else "")), len(frames.of_split("train"))
    if max(held_out, trained) > MOST_EVALUATIONS:
        section.note(
            f"At most {MOST_EVALUATIONS} frames of each split, evenly chosen, were evaluated (held out: "
            f"{len(study.test)} of {held_out}; trained on: {len(study.train)} of {trained})."
        )
    head = ["source", "frames", "force RMSE", "MAE", "spread", "energy RMSE", "MAE", "spread"]
    head += ["trained on: frames", "force RMSE", "energy RMSE"]
    keys = ["force_rmse", "force_mae", "force_spread", "energy_rmse", "energy_mae", "energy_spread"]
    rows = []
    for source, errors in test.items():
        trained_on = [train.get(source, {}).get(key, np.nan) for key in ("frames", "force_rmse", "energy_rmse")]
        rows.append([source, str(errors["frames"]), *(number(errors[key]) for key in keys), *map(number, trained_on)])
    section.table("Errors in kcal/mol (energies) and kcal/mol/Å (forces)", head, rows, faint=range(8, 11))
    energies = {
        source: (_centered(frames.energies[study.test[k]]), _centered(study.on_test.energies[k]))
        for source, k in _members(study, study.test).items()
    }
    forces = frames.forces[study.test].ravel() / KCAL_ANGSTROM, study.on_test.forces.ravel() / KCAL_ANGSTROM
    section.figure(
        plots.parity(energies, forces, ("kcal/mol", "kcal/mol/Å")),
        "Energies (left) and force components (right) of the frames above; the line is equality.",
    )
    section.numbers |= {"units": ["kcal/mol", "kcal/mol/angstrom"], "test": test, "train": train, "known": known}


def _errors(study: Study, chosen: NDArray[np.int64], split: str) -> dict[str, dict[str, float]]:
    """Errors by source and of "all", in kcal/mol and kcal/mol/angstrom."""
    if not len(chosen):
        return {}
    frames, found = study.frames, study.on_test if split == "test" else study.on_train
    members = _members(study, chosen)
    energies, reference = np.empty(len(chosen)), np.empty(len(chosen))
    for k in members.values():
        energies[k], reference[k] = _centered(found.energies[k]), _centered(frames.energies[chosen][k])
    forces, labels = found.forces / KCAL_ANGSTROM, frames.forces[chosen] / KCAL_ANGSTROM
    errors = {}
    for source, k in (members | {"all": np.arange(len(chosen))}).items():
        error = energies[k] - reference[k] if len(k) > 1 else np.array([])
        errors[source] = {
            "frames": len(k),
            "force_rmse": rmse(forces[k] - labels[k]),
            "force_mae": mae(forces[k] - labels[k]),
            "force_spread": rmse(labels[k]),
            "energy_rmse": rmse(error),
            "energy_mae": mae(error),
            "energy_spread": rmse(reference[k]),
        }
    return errors


def _members(study: Study, chosen: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Which of the frames `chosen` belong to each source."""
    names = [study.frames.source[i] for i in chosen]
    return {source: np.flatnonzero([name == source for name in names]) for source in dict.fromkeys(names)}


def _centered(energies: Array) -> Array:
    return np.asarray((energies - energies.mean()) / KCAL)


def torsion_profiles(section: Section, study: Study) -> None:
    """Energies along torsion scans: labels, MM, the run's model, other models."""
    frames, scans = study.frames, study.frames.scans()
    if not scans:
        raise Missing(f"{frames.path.name} holds no torsion scans (frames with torsion and angle).")
    potentials: dict[str, tuple[str, Potential]] = {}
    for style in ("mm", "model"):
        try:
            potentials[getattr(study, style).name] = style, getattr(study, style)
        except Missing as missing:
            section.note(str(missing))
    for k, potential in enumerate(study.others):
        potentials[f"{potential.name} [{k + 1}]" if potential.name in potentials else potential.name] = (
            "other",
            potential,
        )
    section.text(
        f"Energies at the geometries of each scan in {frames.path.name}, of the region alone in vacuum. Each curve is "
        "shifted by the median of its differences from the reference, so that a clash does not move all of it; zero is "
        "the reference's lowest point, and axes end half of the reference's range above and below it. The labels are "
        "the reference. No geometry was relaxed with MM or a model: other bonds and angles count as their errors."
    )
    points = np.concatenate([scan.frames for scan in scans])
    found = {
        name: potential.evaluate(study.shown(frames.positions[points], f"scans, {name}")).energies / KCAL
        for name, (_, potential) in potentials.items()
    }
    content, rows, numbers, start = [], [], [], 0
    for scan in scans:
        these = slice(start, start + len(scan.frames))
        start = these.stop
        reference = frames.energies[scan.frames] / KCAL
        aligned = {name: energies[these] - np.median(energies[these] - reference) for name, energies in found.items()}
        lines = [plots.Curve("reference", scan.angles, reference - reference.min(), "reference")]
        for k, (name, energies) in enumerate(aligned.items()):
            style = potentials[name][0]
            lines.append(plots.Curve(name, scan.angles, energies - reference.min(), style, max(0, k - 2)))
        name, split = _named(scan, study), _split(scan)
        height = float(np.ptp(reference))
        drawn = np.concatenate([line.y for line in lines])
        limits = max(drawn.min(), -0.5 * height) - 0.05 * height, min(drawn.max(), 1.5 * height) + 0.05 * height
        content.append(plots.Panel(f"{name}\n{scan.trajectory}{split and f', {split}'}", lines, limits))
        errors = {model: rmse(energies - reference) for model, energies in aligned.items()}
        rows.append([name, f"{scan.trajectory}{split and f' ({split})'}", str(len(reference)), number(height)])
        rows[-1] += map(number, errors.values())
        values = {model: energies.tolist() for model, energies in aligned.items()}
        numbers.append(
            {"trajectory": scan.trajectory, "torsion": scan.torsion, "split": scan.split, "rmse": errors}
            | {"angles": scan.angles.tolist(), "reference": reference.tolist(), "energies": values, "range": height}
        )
    for k in range(0, len(content), PANELS):
        section.figure(
            plots.panels(content[k : k + PANELS], "torsion (degrees)", "energy (kcal/mol)", angles=True),
            "Torsion profiles; atoms, name of the scan, and whether the model was trained on it.",
        )
    head = ["torsion", "scan", "points", "range of reference", *potentials]
    section.table("RMSE from the reference along each scan, kcal/mol", head, rows)
    section.numbers |= {"unit": "kcal/mol", "scans": numbers}


def _named(scan: Scan, study: Study) -> str:
    return "\N{EN DASH}".join(study.main.names[i] for i in scan.torsion)


def _split(scan: Scan) -> str:
    return {"test": "held out", "train": "trained", "": ""}[scan.split]


def conservation(section: Section, study: Study) -> None:
    """NVE dynamics of the region alone, with the model and with its MM terms."""
    if study.nve <= 0:
        raise Missing("NVE dynamics was turned off.")
    there, name = last_positions(study.main)
    start = there - there.mean(axis=0)
    forces = study.model.evaluate([start, there]).forces
    rounding = rmse(forces[1] - forces[0]) / rmse(forces[0])
    found: dict[str, tuple[float, float]] = {}
    content, rows, numbers = [], [], {}
    for key, potential in {"mm": study.mm, "model": study.model}.items():
        total = round(study.nve / 0.002)
        steps = study.shown(potential.nve(start, study.nve), f"NVE, {potential.name}", total)
        times, energies, temperatures = np.array(list(steps)).T
        per_kt = 1000 / (KT * potential.freedom)  # kJ/mol/ps -> kT/ns/dof
        value, error = found[key] = slope(times, energies)
        content.append((potential.name, times, energies, blocked(times), blocked(energies), value))
        fluctuation = float(energies.std())
        cells = [plus_minus(value, error), plus_minus(value * per_kt, error * per_kt)]
        rows.append([potential.name, *cells, number(fluctuation), number(temperatures.mean())])
        numbers[key] = {"slope": value, "error": error, "kT_per_ns_per_dof": value * per_kt, "unit": "kJ/mol/ps"} | {
            "kT_per_ns_per_dof_error": error * per_kt, "fluctuation": fluctuation,
            "temperature": float(temperatures.mean()),
        }  # fmt: skip
    both = float(np.hypot(found["mm"][1], found["model"][1]))
    above = abs(found["model"][0]) > abs(found["mm"][0]) + 2 * both
    section.text(
        f"The region alone in vacuum, without constraints, for {number(study.nve)} ps with steps of 0.5 fs on the "
        f"Reference platform, from its last geometry in {name}, moved to the origin, after 1 ps of Langevin dynamics "
        "at 300 K; the MM control starts from the same geometry. Slopes are those of least squares; their errors are "
        "the scatter of the slopes of eight equal parts, divided by eight, since the total energy has a long memory: "
        "errors from block averages come out half of that. kT is at 300 K, and there are 3n\N{MINUS SIGN}3 degrees of "
        "freedom."
    )
    head = ["", "slope, kJ/mol/ps", "slope, kT/ns/dof", "fluctuation, kJ/mol", "temperature, K"]
    section.table("Drift of the total energy, with standard errors", head, rows)
    section.figure(plots.conservation(content), "Total energy in NVE dynamics, from its mean; all on one scale.")
    section.text(
        f"The slope of {study.model.name} {'IS' if above else 'is not'} above that of MM plus two standard errors "
        f"(|{number(found['model'][0])}| against |{number(found['mm'][0])}| + 2 \N{MULTIPLICATION SIGN} "
        f"{number(both)} kJ/mol/ps, the errors of both added in quadrature)."
    )
    section.text(
        "The region was moved to the origin because single precision is coarser far from it: at its place in the "
        f"trajectory, {number(10 * float(np.linalg.norm(there.mean(axis=0))))} Å away, the model's forces differ by "
        f"{number(rounding, 2)} of their root mean square."
    )
    section.numbers |= numbers | {"rounding": rounding, "picoseconds": study.nve, "start": name, "above": above}


def spread(section: Section, study: Study) -> None:
    """What the members of a committee differ by in production, against the same in training."""
    series = {}
    for run in study.runs:
        try:
            values = run.production.get("energy_std_kJ/mol", np.array([]))
        except Missing:
            continue
        if np.isfinite(values).any():
            series[run.label] = values[np.isfinite(values)]
    if not series:
        raise Missing("No run logged energy_std: the model is no committee, or nothing was logged yet.")
    trained = study.on_train.energy_std if len(study.train) else None
    if trained is None:
        raise Missing("The training frames that give the quantiles are not there, or the model has no energy_std.")
    percent = (50, 95, 99)
    quantiles = dict(zip((f"{p} %" for p in percent), np.percentile(trained, percent).tolist(), strict=True))
    section.text(
        f"energy_std, by which the members of the committee differ in the region's energy, in the log of production "
        f"and on {len(trained)} frames that it was trained on. Members may share an error: a small spread is no proof."
    )
    section.figure(plots.histogram(series, quantiles, "energy_std (kJ/mol)"), "Spread in production.")
    above = {label: float(np.mean(values > quantiles["99 %"])) for label, values in series.items()}
    rows = [
        [label, str(len(v)), *map(number, np.percentile(v, percent)), number(v.max()), _percent(above.get(label))]
        for label, v in (series | {"training": trained}).items()
    ]
    head = ["", "frames", "50 %", "95 %", "99 %", "largest", "above 99 % of training"]
    section.table("Quantiles of energy_std, kJ/mol", head, rows)
    section.numbers |= {"unit": "kJ/mol", "quantiles": quantiles, "share_above_99": above}
    section.numbers["largest"] = {label: float(values.max()) for label, values in series.items()}


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
