"""A report on runs: one page of HTML that needs nothing but itself, and its numbers as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import openmm
from openmm import unit

from ..._units import without_unit
from ..checkpoint import write_text
from ..extras import check_extras

__all__ = ["write_report"]


def write_report(
    runs: Sequence[str | Path],
    out: str | Path,
    *,
    frames: str | Path | None = None,
    models: Sequence[str | Path] = (),
    nve: float | unit.Quantity = 10.0,
    progress: bool = True,
) -> Path:
    """Write a page on one or more runs of the same molecule to `out`, and its numbers beside it, as .json.

    Parameters
    ----------
    runs : list of folders
        what runs wrote, ML/MM and MM controls; a part that a folder lacks is named on the page
    out : path
        the page; its folder is made
    frames : path, optional
        extended XYZ (.xyz or .xyz.gz) with energies (eV), forces (eV/angstrom) and the keys trajectory, source, split,
        torsion and angle; atoms are the region's, in its order
    models : list of paths
        other models to evaluate on the torsion scans in `frames`
    nve : float or Quantity
        length of the NVE dynamics in ps, 0 for none
    progress : bool
        show progress bars

    Raises ImportError if a package of openmm-nnp[simulate] is missing; FileNotFoundError or ValueError if a folder is
    no run, or frames do not fit it; openmm.OpenMMException if a model does not.
    """
    check_extras()
    from . import dynamics_sections, model_sections, run_sections
    from .page import Section, page
    from .run_folder import Missing, read_runs
    from .study import Study

    picoseconds = float(without_unit(nve))
    folders = read_runs([Path(run) for run in runs])
    study = Study(folders, None if frames is None else Path(frames), [Path(m) for m in models], picoseconds, progress)
    content: dict[str, tuple[str, Callable[[Section, Study], None]]] = {
        "provenance": ("Provenance", run_sections.provenance),
        "parity": ("Parity with the labels", model_sections.parity),
        "torsion_profiles": ("Torsion profiles", model_sections.torsion_profiles),
        "nve": ("Energy conservation", model_sections.conservation),
        "energies": ("Energies by force group", dynamics_sections.energies),
        "structure": ("Ligand RMSD and torsions", dynamics_sections.structure),
        "spread": ("Spread of the committee", model_sections.spread),
        "speed": ("Speed", run_sections.speed),
        "limits": ("What this report does not show", run_sections.limits),
    }
    with suppress(Missing):
        list(study.others)  # now, not in a section: one that does not fit is the caller's error
    sections: dict[str, Section] = {}
    for key, (title, write) in content.items():
        section = sections[key] = Section(title)
        try:
            write(section, study)
        except (Missing, openmm.OpenMMException) as missing:  # OpenMM's: dynamics or a geometry gave no number
            section.note(str(missing))
            section.numbers["missing"] = str(missing)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    created = study.main.info.get("created", "unknown date")
    subtitle = f"{len(folders)} run{'s' * (len(folders) > 1)}; the first with the model is of {created}"
    text = page(f"openmm-nnp report: {study.main.region_name}", subtitle, list(sections.values()))
    write_text(out, text)
    numbers = {key: _plain(section.numbers) for key, section in sections.items()}
    write_text(out.with_suffix(".json"), json.dumps(numbers, indent=1, allow_nan=False))
    return out


def _plain(value: Any) -> Any:
    """`value` as JSON can hold it: None for what is not finite, lists for tuples, numbers for NumPy's."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, bool | int | str | None):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else None
