"""MODEL_CARD.md: the text of card.md with every number measured."""

import shlex
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from dynamics import Run, drift, run
from labels import Array, Frame
from potential import Potential
from report import Predictions, counts, rms, spread
from vibrations import compare


def card(model: Potential, offset: float, frames: list[Frame], path: Path, **how: object) -> str:
    """The card of a model, whose dynamics are those of the file at `path`.

    `how` holds seed, processes, nvt and nve (picoseconds), and in words labelling and training.
    """
    unseen, seen, scans = (
        Predictions(model, offset, [f for f in frames if chosen(f)], f"errors, {name}")
        for name, chosen in {
            "held out": lambda f: f.split == "test",
            "trained": lambda f: f.split == "train",
            "scans": lambda f: f.torsion,
        }.items()
    )
    print(unseen.table())
    start = next(f.positions for f in unseen.frames if f.source == "gaff-300K")
    with ProcessPoolExecutor(how["processes"], get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        nvt = pool.submit(run, path, start, how["nvt"], 1.0, 1.0, how["seed"])
        nve = pool.submit(run, path, start, how["nve"], 0.5, 0.0, how["seed"])
        vibrations = pool.submit(compare, model, start)
        measured = of_dynamics(nvt.result(), nve.result()) | of_vibrations(*vibrations.result())
    template = Path(__file__).with_name("card.md").read_text()
    return template.format(
        command=shlex.join(["python", "train.py", *sys.argv[1:]]),
        torch=torch.__version__,
        labelling=how["labelling"],
        training=how["training"],
        tested=path.name,
        counts=counts(frames),
        unseen=unseen.table(),
        seen=seen.table(),
        torsions=scans.torsions(),
        **unseen.within(),
        **of_architecture(model),
        **spread(unseen, seen),
        **measured,
    )


def of_architecture(model: Potential) -> dict[str, object]:
    members, _, features = model.embedding.shape
    parameters = sum(p.numel() for p in model.parameters()) // members
    found = dict(members=members, features=features, parameters=parameters)
    return found | dict(layers=len(model.layers), radial=len(model.centers), cutoff=model.cutoff)


def of_dynamics(nvt: Run, nve: Run) -> dict[str, object]:
    slope, error = drift(nve)
    return dict(nvt=nvt, nve=nve, fluctuation=nve.total.std(), drift=slope, drift_error=error)


def of_vibrations(of_model: Array, of_xtb: Array, apart: float) -> dict[str, object]:
    wrong = of_model - of_xtb
    worst = np.abs(wrong).argmax()
    return dict(
        modes=len(wrong),
        apart=apart,
        frequency_rmse=rms(wrong),
        frequency_low=rms(wrong[of_xtb < 500]),
        frequency_worst=abs(wrong[worst]),
        frequency_at=of_xtb[worst],
        frequency_lowest=", ".join(f"{a:.0f} ({b:.0f})" for a, b in list(zip(of_model, of_xtb, strict=True))[:6]),
    )
