"""Do OpenMM's kernels and the model run at the same time?

Alanine dipeptide in water with PME on OpenCL, and a model of 64 particles. Times of a step: OpenMM's forces alone, with
the model after them (beside a PythonForce, which has the worker thread), and with the model beside them. Medians over
interleaved blocks of one run. The CPU must have a core to spare for the model:

    OMP_NUM_THREADS=1 CL_CONFIG_CPU_TBB_NUM_WORKERS=1 python tests/benchmarks/overlap.py
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import openmm
import torch
from timing import interleave, stepper, summary

sys.path.insert(0, str(Path(__file__).parents[1] / "python"))

import openmmnnp
import systems
from openmmnnp.export import save_pt

SUBSET = 64


class Busy(torch.nn.Module):
    """A pair potential, evaluated as often as asked."""

    def __init__(self, repeats: int) -> None:
        super().__init__()
        self.repeats = repeats

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        energy = torch.zeros((), dtype=positions.dtype)
        for i in range(self.repeats):
            d = positions.unsqueeze(0) - positions.unsqueeze(1)
            energy = energy + torch.exp(-(i + 1) * (d * d).sum(2)).sum()
        return energy


def model(folder: Path, repeats: int) -> Path:
    spec = openmmnnp.ModelSpec("busy", "nm", "kJ/mol", "float32", outputs=["energy"], particles=SUBSET)
    examples = [{"positions": torch.rand(SUBSET, 3)} for _ in range(2)]
    save_pt(Busy(repeats), spec, folder / "busy.pt", examples=examples, progress=False)
    return folder / "busy.pt"


def context(path: Path | None, platform: str, serial: bool) -> openmm.Context:
    system, positions = systems.alanine_dipeptide(explicit=True)[1:]
    n = system.getNumParticles()
    if path is not None:
        force = openmmnnp.NNPForce(path)
        force.setParticles(list(range(SUBSET)))
        system.addForce(force)
    if serial:
        idle = openmm.PythonForce(lambda state: (0.0, np.zeros((1, 3))))
        idle.setParticles([n - 1])
        system.addForce(idle)
    integrator = openmm.LangevinMiddleIntegrator(300, 1, 0.001)
    made = openmm.Context(system, integrator, openmm.Platform.getPlatform(platform))
    made.setPositions(positions)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--platform", default="OpenCL", choices=["OpenCL", "CUDA"])
    parser.add_argument("--repeats", type=int, default=10, help="work of the model")
    parser.add_argument("--blocks", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = model(Path(folder), options.repeats)
        cases = {
            "OpenMM alone": context(None, options.platform, False),
            "OpenMM alone, PythonForce": context(None, options.platform, True),
            "model after OpenMM": context(path, options.platform, True),
            "model beside OpenMM": context(path, options.platform, False),
        }
        steppers = {name: stepper(made) for name, made in cases.items()}
        times = interleave(steppers, 20, options.blocks)
    for name, values in times.items():
        middle = summary(values / 1e3)
        print(f"{name:28s} {middle['median']:8.2f} ms a step [{middle['low']:.2f}, {middle['high']:.2f}]")
    after = np.median(times["model after OpenMM"]) - np.median(times["OpenMM alone, PythonForce"])
    beside = np.median(times["model beside OpenMM"]) - np.median(times["OpenMM alone"])
    print(f"{'hidden':28s} {100 * (1 - beside / after):8.0f} % of the model's {after / 1e3:.2f} ms")


if __name__ == "__main__":
    main()
