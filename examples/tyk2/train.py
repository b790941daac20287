"""Make ejm_31.pt and MODEL_CARD.md from nothing: `python train.py --seed 1` (needs torch, openmm, tblite and tqdm).

`--data` takes labelled geometries as they are. `--init-from ejm_31.pt --add FRAMES.xyz` starts from the weights of a
committee and trains on further frames also, which GFN2-xTB labels if they are not labelled.
"""

import argparse
import dataclasses
import math
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from card import card
from gradients import Gradients
from labels import HERE, KCAL, Array, Frame, label, ligand, read, write
from potential import Committee, Potential, make
from report import counts
from sampling import make as make_frames
from soap import Soap
from torch import Tensor
from tqdm import trange

from openmmnnp.export import export
from openmmnnp.spec import ModelSpec

CITATION = (
    "Labels: C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 2019, 15, 1652 (GFN2-xTB). "
    "Architecture after K. Schuett, O. Unke, M. Gastegger, ICML 2021 (PaiNN)."
)
DOMAIN = (
    "Conformations of neutral ejm_31 between 300 and 1000 K with all torsions turned; no other molecule, protonation "
    "state or bond arrangement."
)

State = dict[str, Tensor]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, help="labelled geometries (.xyz.gz) to use instead of making them")
    parser.add_argument("--init-from", type=Path, metavar="MODEL.pt", help="a committee of train.py to start from")
    parser.add_argument("--add", type=Path, action="append", default=[], metavar="FRAMES.xyz", help="more to train on")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the model, its card and the data")
    parser.add_argument("--epochs", type=int, default=12, help="0 keeps the weights of --init-from and tests them")
    parser.add_argument("--minutes", type=float, default=math.inf, help="end training after these if before --epochs")
    parser.add_argument("--eager", action="store_true", help="compile nothing, neither for training nor for dynamics")
    parser.add_argument("--batch", type=int, default=5)
    parser.add_argument("--rate", type=float, help="highest learning rate; None: 5e-3, with --init-from 2e-4")
    parser.add_argument("--energy-weight", type=float, default=0.3, help="angstrom^-2, beside a force weight of 1")
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--processes", type=int, default=2, help="how many trajectories or members at a time")
    parser.add_argument("--nvt", type=float, default=100.0, help="picoseconds of dynamics at 300 K in the card")
    parser.add_argument("--nve", type=float, default=20.0, help="picoseconds of the test of energy conservation")
    args = parser.parse_args()
    for path in [args.data, args.init_from, *args.add]:
        if path and not path.is_file():
            parser.error(f"there is no file {path}")
    args.rate = args.rate or (2e-4 if args.init_from else 5e-3)
    if args.epochs == 0 and not args.init_from:
        parser.error("--epochs 0 trains nothing, so --init-from must name a model")
    return args


def added(path: Path) -> list[Frame]:
    """Frames of a file as training data, labelled by GFN2-xTB where they have no energies and forces."""
    frames = read(path, trajectory=path.name.split(".")[0], source="added", split="train")
    marked = [dataclasses.replace(f, source="added", split="train") for f in frames]
    return label(marked, f"label {path.name}")


def tensors(frames: list[Frame], offset: float) -> tuple[Tensor, Tensor, Tensor]:
    """Positions in float32, energies above the offset in float64, forces in float32."""
    positions, forces = (torch.tensor(np.array([getattr(f, k) for f in frames])) for k in ("positions", "forces"))
    return positions.float(), torch.tensor([f.energy - offset for f in frames], dtype=torch.float64), forces.float()


def train(
    model: Potential, frames: list[Frame], offset: float, args: argparse.Namespace, member: int
) -> tuple[State, float]:
    """Weights of one member, and the epochs done, after all of them or its share of the minutes."""
    torch.set_num_threads(1)
    torch.manual_seed(args.seed * 100 + member)
    gradients = Gradients(model, args.energy_weight, args.eager)
    data = tensors(frames, offset)
    optimizer = Soap(model.parameters(), args.rate)
    batches = max(1, len(frames) // args.batch)
    share, mean, i = 60 * args.minutes * min(1.0, args.processes / args.members), math.nan, 0
    progress = trange(args.epochs * batches, desc=f"member {member}", mininterval=2.0, position=member, leave=False)
    began = time.perf_counter()
    for i in progress:
        if i % batches == 0:
            order = torch.randperm(len(frames)).split(args.batch)
        done = max(i / progress.total, (time.perf_counter() - began) / share)
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min(1.0, done / 0.02) * 0.5 * (1 + math.cos(math.pi * done))
        latest = gradients(*(values[order[i % batches]] for values in data))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        mean = latest if math.isnan(mean) else 0.99 * mean + 0.01 * latest
        progress.set_postfix_str(f"force RMSE {KCAL * mean**0.5:.2f} kcal/mol/A", refresh=False)
    return {name: value.detach() for name, value in model.state_dict().items()}, i / batches


def train_committee(frames: list[Frame], args: argparse.Namespace) -> tuple[Potential, float, list[float]]:
    """The committee, its energy offset (eV) and the epochs that each member saw.

    Each member starts from its own random weights, or from its own in the file, and has its own order of the frames.
    """
    if args.init_from:
        start, spec = make(args.init_from)
        weights, offset = start.members.state_dict(), spec.energy_offset
        args.members, _, features = weights["embedding"].shape
        layers, radial, cutoff = len(start.members.layers), len(start.members.centers), start.members.cutoff
    else:
        layers, features, radial, cutoff = args.layers, args.features, 10, 5.5
        offset = float(np.mean([f.energy for f in frames]))
    shape = dict(features=features, layers=layers, radial=radial, cutoff=cutoff)
    members = []
    for i in range(args.members):
        torch.manual_seed(args.seed * 100 + i)
        members.append(Potential(1, **shape))
        if args.init_from:
            members[-1].load_state_dict({k: weights[k][i : i + 1] for k in members[-1].state_dict()})
    with ProcessPoolExecutor(args.processes, get_context("spawn")) as pool:
        running = [pool.submit(train, m, frames, offset, args, i) for i, m in enumerate(members)]
        trained, epochs = zip(*(job.result() for job in running), strict=True)
    committee = Potential(args.members, **shape)
    committee.load_state_dict({k: torch.cat([state[k] for state in trained]) for k in trained[0]})
    return committee.eval().requires_grad_(False), offset, list(epochs)


def save(model: Potential, offset: float, positions: Array, path: Path) -> None:
    numbers = ligand()[1].tolist()
    spec = ModelSpec(
        name="ejm_31-gfn2",
        length_unit="angstrom",
        energy_unit="eV",
        dtype="float32",
        inputs=["positions", "atomic_numbers"],
        outputs=["energy", "energy_std"],
        output_units={"energy_std": "eV"},
        particles=len(numbers),
        atomic_numbers=numbers,
        elements=sorted(set(numbers)),
        periodic=False,
        long_range=False,
        energy_offset=offset,
        authors=["openmm-nnp developers"],
        license="MIT",
        citation=CITATION,
        domain=DOMAIN,
    )
    export(Committee(model), spec, path, example={"positions": positions, "atomic_numbers": numbers})


def main() -> None:
    args = parse()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        frames = read(args.data or HERE / "ejm_31.xyz.gz") if args.data or args.init_from else []
        more = [frame for path in args.add for frame in added(path)]
    except ValueError as error:
        sys.exit(f"train.py: {error}")
    began = time.perf_counter()
    frames = (frames or make_frames(args.seed, args.processes)) + more
    labelling = "those of the file" if args.data or args.init_from else f"{time.perf_counter() - began:.0f} s"
    print(counts(frames))
    if args.add or not (args.data or args.init_from):
        write(frames, args.out / "ejm_31.xyz.gz")

    began = time.perf_counter()
    model, offset, epochs = train_committee([f for f in frames if f.split == "train"], args)
    seconds = time.perf_counter() - began
    training = f"{min(epochs):.1f} to {max(epochs):.1f} epochs in {seconds:.0f} s, {args.processes} members at a time"
    unseen = [f.positions for f in frames if f.split == "test"]
    path = args.out / "ejm_31.pt"
    save(model, offset, unseen[0], path)
    with TemporaryDirectory() as folder:
        tested = path if args.eager else Path(folder, "ejm_31.pt2")  # three times as fast in dynamics
        if tested != path:
            save(model, offset, unseen[0], tested)
        text = card(model, offset, frames, tested, labelling=labelling, training=training, **vars(args))
    (args.out / "MODEL_CARD.md").write_text(text)


if __name__ == "__main__":
    main()
