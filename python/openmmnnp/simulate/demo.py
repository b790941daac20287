"""The demo: Tyk2 with the ligand ejm_31, once with the model, once with MM alone, and a report of both."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from .. import _core
from .checkpoint import CURRENT
from .folder import REPORT
from .options import Options
from .prepare import choose_platform
from .progress import clock
from .run import resume, say, simulate

# Within 15 minutes on two cores, or on a GPU; lengths in ps.
SHORT: dict[str, Any] = {"time": 1.0, "nvt": 0.4, "npt": 0.3, "minimize_steps": 20}
LONG: dict[str, Any] = {"time": 1000.0, "nvt": 50.0, "npt": 100.0, "minimize_steps": 200}
NVE = 5.0  # ps of the region alone, in the report


def data_folder() -> Path:
    """Where the files of the demo are installed."""
    return Path(_core.__file__).parent / "tyk2"


def demo(folder: Path, *, platform: str | None = None, time_ps: float | None = None, overwrite: bool = False) -> int:
    """Run the demo into a folder and return an exit status; what is there already goes on, unless `overwrite`.

    Without `time_ps` production is 1 ns on CUDA and 1 ps elsewhere.
    """
    began, data = time.monotonic(), data_folder()
    name = choose_platform(Options(platform=platform))[0].getName()
    lengths = dict(LONG if name == "CUDA" else SHORT)
    if time_ps is not None:
        lengths["time"] = time_ps
    for leg, mm_only in (("mlmm", False), ("mm", True)):
        say(f"\n{'The control: MM alone' if mm_only else 'The ligand described by the model'}, in {folder / leg}")
        options = Options(
            protein=data / "Tyk2_protein.pdb",
            ligand=data / "lig.pdb",
            ligand_ff=str(data / "lig_gaff.xml"),
            model=data / "ejm_31.pt",
            out=folder / leg,
            mm_only=mm_only,
            platform=platform,
            report=False,
            **lengths,
        )
        begun = (folder / leg / CURRENT).exists() and not overwrite
        status = resume(folder / leg, {}) if begun else simulate(options, overwrite=overwrite)
        if status:
            return status
    from .report import write_report  # loads matplotlib

    say("\nThe report: the model against its labels, torsions, energy conservation, both runs side by side")
    page = write_report([folder / "mlmm", folder / "mm"], folder / REPORT, frames=data / "ejm_31.xyz.gz", nve=NVE)
    say(f"The demo took {clock(time.monotonic() - began)}. Open {page} in a browser.")
    if name != "CUDA":
        say("A run of a few ps shows that it runs. For 1 ns: openmm-nnp demo LONGER --time 1ns")
    return 0
