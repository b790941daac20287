"""The models of the benchmarks: in Python, as .pt and .pt2, and with openmm-torch's contract."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from message_passing import CUTOFF, MessagePassing
from timing import ROOT
from torch import Tensor, nn

import openmmnnp
from openmmnnp.atoms import Atoms
from openmmnnp.export import export, save_pt, save_pt2
from openmmnnp.export.eager import Eager, Inputs, tensors
from openmmnnp.export.examples import complete
from openmmnnp.spec import ENERGY_UNITS, LENGTH_UNITS

SUBSET = 64
LIGAND = ROOT / "examples" / "tyk2" / "lig.pdb"


class Null(nn.Module):
    """E = 0, with a gradient."""

    def forward(self, positions: Tensor) -> Tensor:
        return 0 * positions.sum()


def list_in_model(x: torch.Tensor, box: torch.Tensor, cutoff: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Edges [2, e] and shifts [e, 3] in a rectangular box [3] of at least twice the cutoff, as a model finds them."""
    i, j = torch.triu_indices(x.shape[0], x.shape[0], 1).unbind(0)
    r = x[j] - x[i]
    shifts = -box * torch.round(r / box)
    r = r + shifts
    near = torch.nonzero((r * r).sum(1) < cutoff * cutoff).squeeze(1)
    i, j, shifts = i[near], j[near], shifts[near]
    return torch.stack((torch.cat((i, j)), torch.cat((j, i)))), torch.cat((shifts, -shifts))


class OwnList(nn.Module):
    """MessagePassing with openmm-torch's contract: positions and box in nm to kJ/mol, edges found by the model."""

    def __init__(self, numbers: Tensor, periodic: bool) -> None:
        super().__init__()
        self.model, self.periodic = MessagePassing(), periodic
        self.register_buffer("numbers", numbers)

    def forward(self, positions: Tensor, box: Tensor) -> Tensor:
        x = positions.to(torch.float32)
        edge = box.diagonal().to(torch.float32) if self.periodic else torch.full([3], 1e6)
        with torch.no_grad():
            edges, shifts = list_in_model(x, edge, 0.5)
        return self.model(x, self.numbers, edges, shifts)


class Energy(nn.Module):
    """The first output of a model of positions."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, positions: Tensor) -> Tensor:
        return self.model(positions)[0]


class OwnMolecule(nn.Module):
    """A model of one molecule with openmm-torch's contract: positions of all particles in nm to kJ/mol."""

    def __init__(self, model: nn.Module, particles: Tensor, per_nm: float, unit: float) -> None:
        super().__init__()
        self.model, self.per_nm, self.unit = model, per_nm, unit
        self.register_buffer("particles", particles)

    def forward(self, positions: Tensor) -> Tensor:
        x = positions[self.particles]
        x = x - x[:1].detach()  # or float32 would round positions far from the origin
        return self.unit * self.model(x.to(torch.float32) * self.per_nm)


@dataclass(frozen=True)
class Potential:
    """A module, the files made of it by format, and its results in Python.

    The files of ``pt2-energy`` have an entry for energies alone.
    """

    name: str
    spec: openmmnnp.ModelSpec
    module: nn.Module
    files: dict[str, Path]

    def inputs(self, numbers: tuple[int, ...], x: np.ndarray, box: np.ndarray | None) -> dict[str, Any]:
        """Every input by name, for atoms at x [n, 3] in nm, edges being those that the plugin finds."""
        nm = LENGTH_UNITS[self.spec.length_unit]
        atoms = Atoms(numbers, 10 * x, None if box is None else 10 * box)
        example = atoms.example(self.spec) | {"positions": x / nm}
        return {name: value for name, value in complete(self.spec, example).items() if name in self.spec.inputs}

    def evaluator(self, dtype: torch.dtype | None = None) -> Evaluator:
        """In the dtype of the spec, or in another."""
        return Evaluator(self, dtype or getattr(torch, self.spec.dtype))


class Evaluator:
    """The module with autograd: energy in kJ/mol and forces [n, 3] in kJ/mol/nm of inputs by name."""

    def __init__(self, potential: Potential, dtype: torch.dtype) -> None:
        self.eager, self.spec, self.dtype = Eager(potential.module, potential.spec, dtype=dtype), potential.spec, dtype
        self.unit = ENERGY_UNITS[self.spec.energy_unit]
        self.force_unit = self.unit / LENGTH_UNITS[self.spec.length_unit]

    def tensors(self, inputs: dict[str, Any]) -> Inputs:
        given = tensors(self.spec, inputs)
        return {name: x.to(self.dtype) if x.is_floating_point() else x for name, x in given.items()}

    def __call__(self, inputs: dict[str, Any]) -> tuple[float, np.ndarray]:
        found = self.eager.evaluate(self.tensors(inputs), ["energy", "forces"])
        return self.unit * found["energy"].item(), self.force_unit * found["forces"].double().numpy()


def null(folder: Path, options: Mapping[str, Any] | None = None) -> Potential:
    """For 64 particles; ``options`` are inductor's."""
    spec = openmmnnp.ModelSpec("null", "nm", "kJ/mol", "float64", outputs=["energy"], particles=SUBSET)
    examples = [{"positions": torch.rand(SUBSET, 3, dtype=torch.float64)} for _ in range(2)]
    files = {"pt": folder / "null.pt", "pt2": folder / "null.pt2"}
    save_pt(Null(), spec, files["pt"], examples=examples, progress=False)
    save_pt2(Null(), spec, files["pt2"], examples=examples, options=options, progress=False)
    return Potential("null", spec, Null(), files)


def message_passing(folder: Path) -> Potential:
    """For any number of H, C, N, O and Cl."""
    inputs = ["positions", "atomic_numbers", "edges", "shifts"]
    spec = openmmnnp.ModelSpec("message passing", "nm", "kJ/mol", "float32", inputs=inputs, elements=[1, 6, 7, 8, 17])
    spec.cutoff, spec.edges, spec.shifts = CUTOFF, "full", "cartesian"
    generator = np.random.default_rng(1)
    atoms = Atoms((8, 1, 1) * 32, 10 * generator.random((96, 3)), 10 * np.eye(3))
    files = {name: folder / f"message_passing{name}" for name in (".pt", ".pt2", "-energy.pt2")}
    for name, path in files.items():
        export(
            MessagePassing(),
            spec,
            path,
            example=atoms.example(spec),
            progress=False,
            energy_entry=name.startswith("-"),
            **({"threads": 1} if path.suffix == ".pt2" else {}),
        )
    keys = ("pt", "pt2", "pt2-energy")
    return Potential("message passing", spec, MessagePassing(), dict(zip(keys, files.values(), strict=True)))


def ani_parameters() -> Path:
    """Folder of the published parameters. Raises ValueError if OPENMMNNP_TEST_DATA does not say where."""
    folder = os.environ.get("OPENMMNNP_TEST_DATA")
    if folder is None:
        raise ValueError("needs ANI-2x's parameters: set OPENMMNNP_TEST_DATA to a folder with ani-2x/ani-2x_8x")
    return Path(folder) / "ani-2x" / "ani-2x_8x"


def ani2x(folder: Path) -> Potential:
    """ANI-2x, all eight networks, for the ligand ejm_31. Raises ValueError as ani_parameters()."""
    from openmmnnp.families import find_family

    parser = argparse.ArgumentParser()
    find_family("ani2x").add_arguments(parser)
    options = parser.parse_args(["--parameters", str(ani_parameters())])
    options.dtype, options.device, options.charge = "float32", "cpu", 0
    atoms = Atoms.from_pdb(LIGAND, periodic=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = find_family("ani2x").load(options, atoms)
    assert loaded.module is not None
    loaded.spec.outputs, loaded.spec.output_units = ["energy"], {}
    module = Energy(loaded.module)
    files = {name: folder / f"ani2x.{name}" for name in ("pt", "pt2")}
    for path in files.values():
        export(module, loaded.spec, path, example=atoms.example(loaded.spec), progress=False)
    return Potential("ANI-2x", loaded.spec, module, files)


POTENTIALS = {"null": null, "message_passing": message_passing, "ani2x": ani2x}
