"""MACE: a ``.model`` file as its training writes it, or one of the published models by name."""

from __future__ import annotations

import argparse
import contextlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atoms import Atoms
from ..spec import ModelSpec
from . import Loaded

if TYPE_CHECKING:
    from torch import nn

HELP = "a MACE model: the .model file that its training wrote, or a published model by name"
EXTRA = "mace"
PACKAGES: Sequence[str] = ("mace", "e3nn")

_OUTPUTS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "MACE": {"atomic_energy": ("node_energy", "eV")},
    "ScaleShiftMACE": {"atomic_energy": ("node_energy", "eV")},
    "EnergyDipolesMACE": {"dipole": ("dipole", "debye"), "atomic_dipoles": ("atomic_dipoles", "debye")},
}
"""By the model's class: what it gives beside the energy, MACE's name and the unit."""
_ASL = "ASL (Academic Software License, no commercial use), https://github.com/gabor1/ASL"
_CITATION = "MACE: Batatia et al., NeurIPS 2022, arXiv:2206.07697"
_PUBLISHED = {
    "mace-off-": ("mace_off", "Kovács et al., J. Am. Chem. Soc. 2025, arXiv:2312.15211", "neutral organic molecules"),
    "mace-omol-": ("mace_omol", "Levine et al., 2025, arXiv:2505.08762 (OMol25)", "molecules, metal complexes, ions"),
    "mace-mp-": ("mace_mp", "Batatia et al., 2023, arXiv:2401.00096", "materials"),
    "mace-anicc": (
        "mace_anicc",
        "Kovács et al., J. Chem. Phys. 2023, doi:10.1063/5.0155322",
        "molecules of H, C, N, O",
    ),
}
"""By the beginning of a name: mace's function, what to cite, and the domain."""
_ACADEMIC = (
    "mace-off-",
    "mace-omol-",
    "mace-mp-small-omat",
    "mace-mp-medium-omat",
    "mace-mp-mace-matpes",
    "mace-mp-mh",
)
"""What names begin with whose weights are under the ASL; the others are under MIT."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model and which of its energies."""
    parser.add_argument("model", nargs="?", type=Path, metavar="FILE", help="a pickle: load only what you trust")
    parser.add_argument(
        "--name",
        help="a model that mace downloads: mace-off-small (or -medium, -large), mace-mp-medium-mpa-0 (or another name "
        "that mace_mp knows), mace-omol-extra_large, mace-anicc",
    )
    parser.add_argument("--head", help="the head of a model with several [as MACE's calculator: the one named default]")
    parser.add_argument(
        "--energy",
        choices=["total", "interaction"],
        default="total",
        help="interaction: without the energies of lone atoms [total]",
    )


def load(options: argparse.Namespace, atoms: Atoms | None) -> Loaded:
    """The model that the options name. Raises ValueError or OSError if it can't be read or has no energy to export."""
    if (options.model is None) == (options.name is None):
        raise ValueError("give either the FILE of a MACE model or --name")
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")  # of mace and e3nn about themselves
        model = _published(options.name) if options.model is None else _read(options.model)
        return _loaded(model, options, atoms)


def _read(path: Path) -> Any:
    """What a file holds. Raises OSError or ValueError if it can't be read."""
    import mace.calculators  # noqa: F401 - before torch.load, as mace does
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{path} can't be read as a MACE model: {error}") from error


def _published(name: str) -> Any:
    """A published model, by mace's own function, which keeps what it downloads. Raises ValueError or OSError."""
    from mace import calculators
    from mace.calculators import foundations_models

    prefix = _prefix(name)
    function, model = _PUBLISHED[prefix][0], name.removeprefix(prefix)
    known = {"mace_off": foundations_models.mace_off_urls, "mace_mp": foundations_models.mace_mp_urls}
    models = sorted(known.get(function, {"extra_large"} if function == "mace_omol" else {""}))
    if model not in models:
        raise ValueError(f"'{name}' is not known; after '{prefix}' stands one of {', '.join(models)}")
    try:
        return getattr(calculators, function)(**{"model": model} if model else {}, device="cpu", return_raw_model=True)
    except RuntimeError as error:
        reason = error.__cause__ or error
        raise OSError(f"'{name}' can't be downloaded ({reason}): download it elsewhere and give the FILE") from error


def _prefix(name: str) -> str:
    for prefix in _PUBLISHED:
        if name.startswith(prefix):
            return prefix
    raise ValueError(f"the MACE model '{name}' is not known; names begin with {', '.join(_PUBLISHED)}")


def _loaded(model: Any, options: argparse.Namespace, atoms: Atoms | None) -> Loaded:
    """The network and its spec. Raises ValueError if the model gives no energy, or takes what can't be given."""
    import torch

    from ._mace import FEATURES, Network

    kind = type(model).__name__
    if kind not in _OUTPUTS:
        raise ValueError(
            f"the file holds a {kind}, but needed is one of {', '.join(_OUTPUTS)}, as MACE's training saves"
        )
    features = list(getattr(model, "embedding_specs", None) or ())
    if not set(features) <= set(FEATURES):
        raise ValueError(f"the model takes {', '.join(features)}, but only {', '.join(FEATURES)} can be given")
    trained = str(next(model.parameters()).dtype).removeprefix("torch.")
    head = _head(list(getattr(model, "heads", None) or ["Default"]), options.head)
    elements, alone = [int(z) for z in model.atomic_numbers], model.atomic_energies_fn.atomic_energies
    energies = dict(zip(elements, alone.reshape(-1, len(elements))[head].tolist(), strict=True))
    alone.zero_()
    spec = replace(
        _spec(options),
        dtype=trained,
        inputs=["positions", "atomic_numbers", "edges", "shifts", *(FEATURES[name] for name in features)],
        outputs=["energy", *_OUTPUTS[kind]],
        output_units={name: unit for name, (_, unit) in _OUTPUTS[kind].items()},
        elements=elements,
        cutoff=float(model.r_max),
        atomic_energies=energies if options.energy == "total" else None,
    )
    network = Network(model, head, features, [name for name, _ in _OUTPUTS[kind].values()]).eval()
    _make_traceable(network, spec, atoms)
    spec.dtype = options.dtype or trained
    return Loaded(spec, network.to(getattr(torch, spec.dtype)))


def _spec(options: argparse.Namespace) -> ModelSpec:
    """What the options say of the model: its name, license and what to cite."""
    spec = ModelSpec("", "angstrom", "eV", "float64", edges="full", shifts="cartesian", long_range=False)
    spec.citation = _CITATION
    if options.name is None:
        return replace(spec, name=options.model.stem)
    _, citation, domain = _PUBLISHED[_prefix(options.name)]
    license = _ASL if options.name.startswith(_ACADEMIC) else "MIT"
    return replace(spec, name=options.name, license=license, citation=f"{citation}; {_CITATION}", domain=domain)


def _head(heads: Sequence[str], wanted: str | None) -> int:
    """Which head to take: as MACE's calculator, the only one or that called default. Raises ValueError if unclear."""
    found = [i for i, head in enumerate(heads) if head == wanted or (wanted is None and head.lower() == "default")]
    if wanted is None and len(heads) == 1:
        return 0
    if not found:
        given = "none was chosen" if wanted is None else f"'{wanted}' was given"
        raise ValueError(f"the model has the heads {', '.join(heads)}, but {given}: choose one with --head")
    return found[0]


def _make_traceable(network: nn.Module, spec: ModelSpec, atoms: Atoms | None) -> None:
    """Replace what is scripted in a network by the Python code for it.

    Raises ValueError unless it then gives the same energy and outputs as before, as MACE itself computes them.
    """
    import torch

    from ..export.examples import complete
    from ._mace import use_python_code

    dtype = getattr(torch, spec.dtype)
    example = complete(spec, (atoms or Atoms.for_spec(spec)).example(spec))
    tensors = [torch.as_tensor(example[name]) for name in spec.inputs]
    inputs = [x.to(dtype) if x.is_floating_point() else x for x in tensors]
    before, default = network(*inputs), torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        use_python_code(network)
    finally:
        torch.set_default_dtype(default)
    tolerance = 1e-4 if spec.dtype == "float32" else 1e-9
    for name, old, new in zip(spec.outputs, before, network(*inputs), strict=True):
        if not torch.allclose(old, new, rtol=tolerance, atol=tolerance * max(1.0, float(old.detach().abs().max()))):
            raise ValueError(
                f"the output '{name}' changes by {(old - new).abs().max():.3g} when e3nn's code is unscripted"
            )
