"""AIMNet2 models, of the aimnet package's format and of the older TorchScript format, for molecules without a box."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..atoms import Atoms
from ..spec import ModelSpec
from . import Loaded

HELP = "an AIMNet2 model: a .pt file of the aimnet package, or an older .jpt"
EXTRA = "aimnet2"
PACKAGES: Sequence[str] = ("aimnet",)

_CITATION = "AIMNet2: D. M. Anstine, R. Zubatyuk, O. Isayev, Chem. Sci. 2025, 16, 10228, doi:10.1039/D4SC08572H"
_UNITS = {"charges": "e", "spin_charges": "e"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, and the definition of an old one."""
    parser.add_argument("model", type=Path, metavar="FILE", help="a .jpt runs code: load only what you trust")
    text = "definition of the model in a .jpt, in aimnet's YAML [AIMNet2 with D3, which comes with aimnet]"
    parser.add_argument("--definition", type=Path, metavar="FILE", help=text)
    parser.add_argument("--license", default="", metavar="TEXT", help="of the weights, kept in the file")


def load(options: argparse.Namespace, atoms: Atoms | None) -> Loaded:
    """The model over all pairs. Raises ValueError or OSError if it can't be read or has no energy."""
    import torch

    from ._aimnet2 import Network

    model, metadata = _read(options)
    shifts = _atomic_energies(model, metadata["implemented_species"])
    open_shell = model.num_charge_channels == 2
    outputs = ["energy", "charges", *(["spin_charges"] if open_shell else [])]
    dtype = options.dtype or str(model.afv.weight.dtype).removeprefix("torch.")
    spec = ModelSpec(
        options.model.stem,
        "angstrom",
        "eV",
        dtype,
        inputs=["positions", "atomic_numbers", "charge", *(["multiplicity"] if open_shell else [])],
        outputs=outputs,
        output_units={name: _UNITS[name] for name in outputs if name in _UNITS},
        elements=metadata["implemented_species"],
        periodic=False,
        long_range=True,
        atomic_energies=shifts,
        license=options.license,
        citation=_CITATION,
        domain="" if metadata.get("supports_charged_systems") is not False else "neutral molecules",
    )
    network = Network(model, _coulomb(metadata), _dispersion(metadata))
    return Loaded(spec, network.to(getattr(torch, dtype)))


def _read(options: argparse.Namespace) -> tuple[Any, Mapping[str, Any]]:
    """The model, built by aimnet, and what its file says of it."""
    import aimnet
    from aimnet.models import AIMNet2
    from aimnet.models.base import load_model
    from aimnet.models.utils import load_v1_model

    path, old = options.model, options.model.suffix.lower() == ".jpt"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    if options.definition is not None and not old:
        raise ValueError(f"--definition is for a .jpt, but {path} holds its own")
    definition = options.definition or Path(aimnet.__file__).parent / "models" / "aimnet2_dftd3_wb97m.yaml"
    try:
        model, metadata = load_v1_model(str(path), str(definition), verbose=False) if old else load_model(str(path))
    except OSError:
        raise
    except Exception as error:  # of pickle, YAML, TorchScript or aimnet's own checks
        raise ValueError(f"aimnet can't load {path}: {type(error).__name__}: {error}") from error
    if type(model) is not AIMNet2:
        raise ValueError(f"{path} holds a model of the class {type(model).__name__}, but exported can be AIMNet2")
    return model.eval(), metadata


def _atomic_energies(model: Any, elements: Sequence[int]) -> dict[int, float] | None:
    """The energies of single atoms in eV, by element, in float64; None if the model has none."""
    from ._aimnet2 import is_shift

    tables = [
        module.shifts.weight.detach().double().flatten() for module in model.outputs.children() if is_shift(module)
    ]
    return {z: math.fsum(float(table[z]) for table in tables) for z in elements} if tables else None


def _coulomb(metadata: Mapping[str, Any]) -> Any:
    """The Coulomb energy of all pairs of atoms that aimnet's calculator adds to the model's; None if it adds none."""
    from aimnet.modules.lr import LRCoulomb

    if not metadata.get("needs_coulomb"):
        return None
    return LRCoulomb(
        key_in="charges",
        key_out="energy",
        method="simple",
        rc=metadata.get("coulomb_sr_rc") or 4.6,
        envelope=metadata.get("coulomb_sr_envelope") or "exp",
        subtract_sr=metadata.get("coulomb_mode") != "sr_embedded",
    )


def _dispersion(metadata: Mapping[str, Any]) -> Any:
    """The D3 energy that aimnet's calculator adds to the model's; None if it adds none."""
    from aimnet.modules.lr import DFTD3

    if not metadata.get("needs_dispersion"):
        return None
    return DFTD3(**{name: value for name, value in metadata["d3_params"].items() if name in ("s6", "s8", "a1", "a2")})
