"""TensorNet and TensorNet2 models of TorchMD-Net, AceFF among them: a checkpoint becomes a module over edges."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..atoms import Atoms
from ..spec import ENERGY_UNITS, LENGTH_UNITS, ModelSpec
from . import Loaded

HELP = "TorchMD-Net: TensorNet and TensorNet2, such as AceFF, from a checkpoint (.ckpt)"
EXTRA = "torchmdnet"
PACKAGES: Sequence[str] = ("torchmdnet",)

_CITATIONS = {
    "TensorNet": "G. Simeon, G. De Fabritiis, TensorNet: Cartesian Tensor Representations for Efficient Learning of "
    "Molecular Potentials, NeurIPS 2023",
    "TensorNet2": "G. Simeon, G. De Fabritiis, TensorNet: Cartesian Tensor Representations for Efficient Learning of "
    "Molecular Potentials, NeurIPS 2023; TensorNet2 adds charges, as TorchMD-Net 3 implements it",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The checkpoint, and what it does not record."""
    text = "file that torchmd-train wrote; reading it runs code that is in it: take only what you trust"
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help=text)
    parser.add_argument("--length-unit", choices=list(LENGTH_UNITS), default="angstrom", help="as trained [angstrom]")
    parser.add_argument("--energy-unit", choices=list(ENERGY_UNITS), default="eV", help="as trained [eV]")
    text = "the model was trained with total charges, or without [as the checkpoint says; a model with charges: yes]"
    parser.add_argument("--charged", action=argparse.BooleanOptionalAction, help=text)
    text = "add the atoms' reference energies to a model that was trained without them"
    parser.add_argument("--total-energy", action="store_true", help=text)
    text = "cut the Coulomb energy of a model with charges, by a reaction field: it may then be periodic [as trained]"
    parser.add_argument("--coulomb-cutoff", type=float, metavar="LENGTH", help=text)
    parser.add_argument("--license", default="", metavar="TEXT", help="of the weights, kept in the file")


def load(options: argparse.Namespace, atoms: Atoms | None) -> Loaded:
    """The checkpoint's model over edges. Raises ValueError for what it is made of and can't be exported."""
    import torch

    from ._tensornet import Network

    model, hyper = _read(options)
    representation, output = model.representation_model, model.output_model
    _check_parts(model)
    has_coulomb = hasattr(output, "qweights")
    _check_units(options, has_coulomb or getattr(representation, "repulsion", None) is not None)
    kind, mean, energies = type(representation).__name__, float(model.mean), _atomic_energies(model)
    charged = bool(hyper.get("charge")) or kind == "TensorNet2" if options.charged is None else options.charged
    dtype = options.dtype or str(model.std.dtype).removeprefix("torch.")
    spec = ModelSpec(
        options.checkpoint.stem,
        options.length_unit,
        options.energy_unit,
        dtype,
        inputs=["positions", "atomic_numbers", "edges", "shifts", *(["charge"] if charged else [])],
        elements=_elements(model),
        cutoff=_cutoff(model),
        edges="full",
        shifts="cartesian",
        periodic=False if has_coulomb and output.cutoff is None else None,
        long_range=has_coulomb,
        energy_offset=mean if mean and energies is None else None,
        atomic_energies=energies,
        license=options.license,
        citation=_CITATIONS[kind],
    )
    network = Network(model, constant=0.0 if energies is None else mean)
    return Loaded(spec, network.to(getattr(torch, dtype)))


def _read(options: argparse.Namespace) -> tuple[Any, Mapping[str, Any]]:
    """The checkpoint's TorchMD_Net, without forces, and its hyperparameters."""
    import torch
    from torchmdnet.models.model import load_model

    path = options.checkpoint
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=False)
        hyper = {**checkpoint["hyper_parameters"], "derivative": False, "static_shapes": False}
    except Exception as error:  # whatever unpickling some other file may raise
        raise ValueError(f"{path} is no checkpoint of TorchMD-Net: {type(error).__name__}: {error}") from error
    if options.total_energy and not hyper.get("remove_ref_energy"):
        raise ValueError(f"{path} was not trained with remove_ref_energy: leave out --total-energy")
    if options.coulomb_cutoff is not None and "Coulomb" not in hyper["output_model"]:
        raise ValueError(f"{path} has no Coulomb energy: leave out --coulomb-cutoff")
    hyper |= {} if options.coulomb_cutoff is None else {"coulomb_cutoff": options.coulomb_cutoff}
    try:
        reference = {"remove_ref_energy": False} if options.total_energy else {}
        return load_model(str(path), args=dict(hyper), **reference), hyper
    except (AssertionError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"TorchMD-Net can't make the model of {path}: {type(error).__name__}: {error}") from error


def _check_parts(model: Any) -> None:
    """Raise ValueError for a part of a TorchMD_Net that is not written in terms of edges here."""
    for role, part, known in (
        ("representation", model.representation_model, ("TensorNet", "TensorNet2")),
        ("output", model.output_model, ("Scalar", "ScalarPlusWeightedCoulomb")),
        *(("prior", prior, ("Atomref", "LearnableAtomref", "ZBL")) for prior in model.prior_model or ()),
    ):
        if type(part).__name__ not in known:
            raise ValueError(
                f"the checkpoint has the {role} model {type(part).__name__}, but exported can be {', '.join(known)}"
            )
    if model.representation_model.equivariance_invariance_group != "O(3)":
        raise ValueError(
            "the checkpoint is of the group SO(3), for which TorchMD-Net's operators in Warp and those in PyTorch give "
            "energies of mirror images, and it does not say with which it was trained; only O(3) can be exported"
        )
    if model.output_model.reduce_op not in ("sum", "add"):
        raise ValueError(f"the atoms' energies are reduced by '{model.output_model.reduce_op}', but must be summed")


def _check_units(options: argparse.Namespace, fixed: bool) -> None:
    """Raise ValueError for other units than those in which TorchMD-Net has the constants of physics."""
    given = options.length_unit, options.energy_unit
    if fixed and given != ("angstrom", "eV"):
        raise ValueError(
            f"the units are {' and '.join(given)}, but a model with charges or repulsion is in angstrom and eV: leave "
            "out --length-unit and --energy-unit"
        )


def _atomic_energies(model: Any) -> dict[int, float] | None:
    """The sum of the enabled atomic references, by element; None if there are none."""
    tables = [prior.atomref.weight.detach().double().flatten() for prior in _references(model) if prior.enable]
    return {z: math.fsum(float(table[z]) for table in tables) for z in _elements(model)} if tables else None


def _elements(model: Any) -> list[int]:
    """The elements that have a reference energy; without one, all that the model has an embedding for."""
    rows = model.representation_model.tensor_embedding.emb.num_embeddings
    tables = [prior.atomref.weight.flatten().tolist() for prior in _references(model)]
    rows = min([rows, *map(len, tables)])
    return [z for z in range(1, rows) if any(table[z] for table in tables)] or list(range(1, rows))


def _references(model: Any) -> list[Any]:
    return [prior for prior in model.prior_model or () if hasattr(prior, "atomref")]


def _cutoff(model: Any) -> float:
    """The longest of all cutoffs."""
    others = [getattr(prior, "cutoff_distance", 0.0) for prior in model.prior_model or ()]
    coulomb = getattr(model.output_model, "cutoff", None) or 0.0
    return float(max(model.representation_model.cutoff_upper, coulomb, *others, 0.0))
