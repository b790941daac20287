"""Make ejm_31.pt and MODEL_CARD.md from nothing: `python train.py --seed 1` (needs torch, openmm, tblite and tqdm)."""

import argparse
import dataclasses
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from dataset import KCAL, Array, Frames, held_out, make, read, write
from potential import Potential, energy_and_forces
from stability import Dynamics, nve
from tqdm import trange

from openmmnnp.export.package import save_pt
from openmmnnp.spec import ModelSpec

HERE = Path(__file__).parent
CITATION = (
    "Labels: C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 2019, 15, 1652 (GFN2-xTB). "
    "Architecture after K. Schuett, O. Unke, M. Gastegger, ICML 2021 (PaiNN)."
)
DOMAIN = (
    "Conformations of neutral ejm_31 near the bound pose between 300 and 1000 K; no other molecule, protonation state "
    "or bond arrangement."
)


@dataclass(frozen=True)
class Row:
    """Errors against GFN2-xTB on one group of held-out trajectories."""

    group: str
    trajectories: int
    frames: int
    force_rmse: float  # eV/angstrom, over components
    force_spread: float  # eV/angstrom, root mean square of the reference
    energy_rmse: float  # eV
    energy_spread: float  # eV, standard deviation of the reference


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, help="labelled geometries (.xyz.gz) to use instead of making them")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the model, its card and the data")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--batch", type=int, default=5)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--energy-weight", type=float, default=0.1, help="angstrom^-2, beside a force weight of 1")
    parser.add_argument("--nve", type=float, default=20.0, help="picoseconds of the stability test")
    return parser.parse_args()


def predict(model: Potential, frames: Frames, batch: int = 32) -> tuple[Array, Array]:
    numbers = torch.tensor(frames.numbers)
    parts = torch.tensor(frames.positions, dtype=torch.float32).split(batch)
    energies, forces = zip(*(energy_and_forces(model, x, numbers) for x in parts), strict=True)
    return torch.cat(energies).detach().numpy(), torch.cat(forces).numpy()


def train(frames: Frames, args: argparse.Namespace) -> tuple[Potential, float]:
    """The trained model and its energy offset (eV)."""
    torch.manual_seed(args.seed)
    model = Potential(args.features, args.layers)
    numbers = torch.tensor(frames.numbers)
    offset = float(np.mean(frames.energies - predict(model, frames)[0]))
    positions, forces = (torch.tensor(a, dtype=torch.float32) for a in (frames.positions, frames.forces))
    energies = torch.tensor(frames.energies - offset)

    optimizer = torch.optim.Adam(model.parameters(), args.rate)
    steps = args.epochs * (len(energies) // args.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.rate, steps, pct_start=0.05, cycle_momentum=False)
    progress, mean = trange(steps, desc="train", mininterval=1.0), math.nan
    for i in progress:
        if i % (len(energies) // args.batch) == 0:
            batches = torch.randperm(len(energies)).split(args.batch)
        chosen = batches[i % (len(energies) // args.batch)]
        energy, force = energy_and_forces(model, positions[chosen], numbers, train=True)
        force_loss = (force - forces[chosen]).square().mean()
        loss = force_loss + args.energy_weight * (energy - energies[chosen]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        mean = force_loss.item() if math.isnan(mean) else 0.99 * mean + 0.01 * force_loss.item()
        progress.set_postfix_str(f"force RMSE {KCAL * mean**0.5:.2f} kcal/mol/A", refresh=False)
    return model.eval(), offset


def assess(model: Potential, offset: float, frames: Frames) -> list[Row]:
    energies, forces = predict(model, frames)
    group = np.array([name.rsplit("-", 1)[0] for name in frames.trajectory])
    rows = []
    for name in dict.fromkeys(group):
        here = group == name
        e, f = frames.energies[here], frames.forces[here]
        trajectories = len({t for t in frames.trajectory if t.startswith(name + "-")})
        force_rmse, energy_rmse = np.std(forces[here] - f), np.sqrt(np.mean((energies[here] + offset - e) ** 2))
        rows.append(Row(name, trajectories, len(e), force_rmse, np.std(f), energy_rmse, np.std(e)))
    return rows


def save(model: Potential, offset: float, frames: Frames, path: Path) -> None:
    numbers = frames.numbers.tolist()
    spec = ModelSpec(
        name="ejm_31-gfn2",
        length_unit="angstrom",
        energy_unit="eV",
        dtype="float32",
        inputs=["positions", "atomic_numbers"],
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
    chosen = frames.positions[0], frames.positions[len(frames.positions) // 2]
    save_pt(model, spec, path, examples=[{"positions": x, "atomic_numbers": numbers} for x in chosen])


def table(rows: list[Row]) -> str:
    lines = [
        "| trajectories | number | frames | force RMSE, kcal/mol/angstrom | of | energy RMSE, kcal/mol | of |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        errors = (r.force_rmse, r.force_spread, r.energy_rmse, r.energy_spread)
        cells = (r.group, r.trajectories, r.frames, *(f"{KCAL * v:.2f}" for v in errors))
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


CARD = """# ejm_31-gfn2

A compact potential for one molecule, the ligand ejm_31 of the Tyk2 set (32 atoms, neutral), trained on GFN2-xTB
energies and forces. Written by `train.py`; every number below was measured by the run that wrote the model.

- Model: {parameters} parameters in float32, {layers} rounds of message passing with {features} features over all pairs
  within {cutoff} angstrom (after PaiNN), and a fixed screened repulsion of the nuclei. Invariant under translation,
  rotation and permutation of like atoms by construction.
- Made by: `python train.py --seed {seed} --epochs {epochs}` with torch {torch}; sampling and labels: {labelling};
  training: {training:.0f} s on one thread.
- Data: {frames} geometries from {trajectories} independent trajectories. Names say how they were sampled: `gaff`,
  Langevin dynamics with GAFF 2.2.20 in vacuum (0.2 ps between frames); `gfn2`, Langevin dynamics with GFN2-xTB itself
  (10 fs between frames, so neighboring frames are much alike).
- Split by trajectory: {trained} frames of {trained_trajectories} trajectories were trained on. The errors below are of
  the others, which took no part in training or in any choice made by this run.

## Errors on held-out trajectories

{held_out}

"of" is the spread of the reference: the root mean square of the force components, the standard deviation of the energy.
For comparison, on the trajectories it was trained on:

{seen}

## Dynamics in vacuum

{picoseconds:g} ps of NVE with steps of {step:g} fs from a held-out 300 K geometry at {temperature:.0f} K on average.
The total energy drifts by {drift:.1e} +- {drift_error:.1e} kT per ns and degree of freedom and fluctuates by
{fluctuation:.3f} kJ/mol; no bond was longer than {longest_bond:.2f} of its initial length.

## What it is not good for

- Any other molecule, charge or protonation state; breaking or forming bonds; atoms pressed closer than at 1000 K.
- Conformations that were not sampled: trajectories start at the bound pose, and amide isomers are rare or absent.
- Anything that GFN2-xTB gets wrong. Torsion barriers and relative energies of conformers are those of GFN2-xTB, not of
  density functional theory.
- Interactions with the surroundings: in a protein or in water these come from the force field (mechanical embedding).

License: MIT. {citation}
"""


def card(
    model: Potential,
    args: argparse.Namespace,
    frames: Frames,
    seen: list[Row],
    unseen: list[Row],
    dynamics: Dynamics,
    labelling: str,
    training: float,
) -> str:
    trained = [t for t in frames.trajectory if not held_out(t)]
    return CARD.format(
        parameters=sum(p.numel() for p in model.parameters()),
        layers=args.layers,
        features=args.features,
        cutoff=model.cutoff,
        seed=args.seed,
        epochs=args.epochs,
        torch=torch.__version__,
        labelling=labelling,
        training=training,
        frames=len(frames.energies),
        trajectories=len(set(frames.trajectory)),
        trained=len(trained),
        trained_trajectories=len(set(trained)),
        held_out=table(unseen),
        seen=table(seen),
        citation=CITATION,
        **dataclasses.asdict(dynamics),
    )


def main() -> None:
    args = parse()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    frames = read(args.data) if args.data else make(args.seed)
    labelling = f"read from {args.data.name}" if args.data else f"{time.perf_counter() - began:.0f} s"
    if not args.data:
        write(frames, args.out / "ejm_31.xyz.gz")
    unseen = frames.select([held_out(t) for t in frames.trajectory])
    seen = frames.select([not held_out(t) for t in frames.trajectory])

    began = time.perf_counter()
    model, offset = train(seen, args)
    training = time.perf_counter() - began
    errors = assess(model, offset, unseen)
    print(table(errors))
    save(model, offset, unseen, args.out / "ejm_31.pt")
    dynamics = nve(torch.jit.load(str(args.out / "ejm_31.pt")), unseen.positions[0], args.nve, args.seed)
    print(dynamics)
    text = card(model, args, frames, assess(model, offset, seen), errors, dynamics, labelling, training)
    (args.out / "MODEL_CARD.md").write_text(text)


if __name__ == "__main__":
    main()
