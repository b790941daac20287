"""The demo: Tyk2 with the ligand ejm_31, once with the model, once with MM alone, and a report of both."""

from __future__ import annotations

import argparse
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
EJM_31, ANI_2X = "ejm_31", "ani2x"
NVE = 5.0  # ps of the region alone, in the report


def data_folder() -> Path:
    """Where the files of the demo are installed."""
    return Path(_core.__file__).parent / "tyk2"


def prepare_model(
    model: str, folder: Path, device: str, parameters: Path | None = None, overwrite: bool = False
) -> Path:
    """File of the demo's model: compiled into `folder` for this machine, or TorchScript where there is no compiler.

    What an earlier demo compiled is used again, unless `overwrite`. Raises ValueError, OSError or ImportError if there
    is no such model.
    """
    if model not in (EJM_31, ANI_2X):
        return Path(model)
    folder.mkdir(parents=True, exist_ok=True)
    compiled = folder / f"{model}-{device}.pt2"
    if compiled.exists() and not overwrite:
        return compiled
    say(f"The ligand's potential, compiled for this machine into {compiled}")
    from ..export.compile import NoCompilerError  # loads torch

    try:
        _compile(model, compiled, device, parameters)
    except NoCompilerError as error:
        say(f"{error} The demo runs TorchScript, which is slower.")
        if model == EJM_31:
            return data_folder() / "ejm_31.pt"
        compiled = folder / f"{model}.pt"
        _compile(model, compiled, device, parameters)
    return compiled


def _compile(model: str, path: Path, device: str, parameters: Path | None) -> None:
    from ..export.family import export_family

    data = data_folder()
    common: dict[str, Any] = dict(pdb=data / "lig.pdb", elements=None, charge=0, no_box=True, dtype=None, device=device)
    if model == ANI_2X:
        own: dict[str, Any] = dict(model=ANI_2X, parameters=parameters, network=None)
    else:
        own = dict(factory="potential:make", arguments=[str(data / "ejm_31.pt")], folder=data)
    family, threads = (ANI_2X if model == ANI_2X else "factory"), (1 if path.suffix == ".pt2" else None)
    export_family(family, argparse.Namespace(**common, **own, threads=threads, energy_entry=False), path)


def demo(
    folder: Path,
    *,
    model: str = EJM_31,
    parameters: Path | None = None,
    platform: str | None = None,
    time_ps: float | None = None,
    overwrite: bool = False,
) -> int:
    """Run the demo into a folder and return an exit status; what is there already goes on, unless `overwrite`.

    `model` is "ejm_31", our potential for this ligand, "ani2x", with TorchANI's parameters (those in the folder
    `parameters`, else downloaded), or a model file. The first two are compiled on this machine. Without `time_ps`
    production is 1 ns on CUDA and 1 ps elsewhere.
    """
    began, data = time.monotonic(), data_folder()
    name = choose_platform(Options(platform=platform))[0].getName()
    potential = prepare_model(model, folder, "cuda" if name == "CUDA" else "cpu", parameters, overwrite)
    lengths = dict(LONG if name == "CUDA" else SHORT)
    if time_ps is not None:
        lengths["time"] = time_ps
    for leg, mm_only in (("mlmm", False), ("mm", True)):
        say(f"\n{'The control: MM alone' if mm_only else 'The ligand described by the model'}, in {folder / leg}")
        options = Options(
            protein=data / "Tyk2_protein.pdb",
            ligand=data / "lig.pdb",
            ligand_ff=str(data / "lig_gaff.xml"),
            model=potential,
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
