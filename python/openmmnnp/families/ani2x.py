"""ANI-2x and its relatives, with the published parameters that TorchANI reads or downloads."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atoms import Atoms
from ..spec import ModelSpec
from . import Loaded

if TYPE_CHECKING:
    from ..models.ani_parameters import AniParameters

HELP = "ANI-2x, ANI-1x or ANI-1ccx: organic molecules of H, C, N, O (2x: F, S, Cl), neutral, by TorchANI's parameters"
EXTRA = "ani"
PACKAGES: Sequence[str] = ("torchani",)

_ALL_PAIRS = 64  # atoms up to which a fixed molecule takes all its pairs, rather than the plugin's edges
_ORGANIC = "neutral organic molecules in their singlet ground state"
_WORDS = {
    "ani2x": {
        "authors": ["C. Devereux", "J. S. Smith", "K. K. Huddleston", "K. Barros", "R. Zubatyuk", "O. Isayev"]
        + ["A. E. Roitberg"],
        "citation": "J. Chem. Theory Comput. 16, 4192 (2020), doi:10.1021/acs.jctc.0c00121",
        "domain": f"{_ORGANIC}; H C N O F S Cl; wB97X/6-31G(d)",
    },
    "ani1x": {
        "authors": ["J. S. Smith", "B. Nebgen", "N. Lubbers", "O. Isayev", "A. E. Roitberg"],
        "citation": "J. Chem. Phys. 148, 241733 (2018), doi:10.1063/1.5023802",
        "domain": f"{_ORGANIC}; H C N O; wB97X/6-31G(d)",
    },
    "ani1ccx": {
        "authors": ["J. S. Smith", "B. T. Nebgen", "R. Zubatyuk", "N. Lubbers", "C. Devereux", "K. Barros"]
        + ["S. Tretiak", "O. Isayev", "A. E. Roitberg"],
        "citation": "Nat. Commun. 10, 2903 (2019), doi:10.1038/s41467-019-10827-4",
        "domain": f"{_ORGANIC}; H C N O; CCSD(T)*/CBS",
    },
}
_CONSTRUCTORS = {"ani2x": "ANI2x", "ani1x": "ANI1x", "ani1ccx": "ANI1ccx"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, and where its parameters are."""
    parser.add_argument(
        "--parameters",
        type=Path,
        metavar="DIR",
        help="published files: *.params, *.dat, train0/networks, ... [TorchANI downloads them]",
    )
    parser.add_argument("--model", choices=sorted(_WORDS), default="ani2x", help="which of the models [ani2x]")
    parser.add_argument("--network", type=int, metavar="I", help="one network, from 0 on, not the mean of all")


def load(options: argparse.Namespace, atoms: Atoms | None) -> Loaded:
    """A model for ``atoms`` alone, which is faster, or for any atoms of its elements if there are none.

    Raises ValueError or OSError if the parameters can't be had, for an element that the model does not have, and for
    a charge, which ANI does not know.
    """
    from ..models.ani_parameters import AniParameters

    if atoms is not None and atoms.charge:
        raise ValueError(f"the atoms have the charge {atoms.charge}, but ANI models are for neutral molecules")
    parameters = AniParameters.from_torchani(_read(options.model, options.parameters, options.network))
    return _for_atoms(options, parameters, atoms)


def _for_atoms(options: argparse.Namespace, parameters: AniParameters, atoms: Atoms | None) -> Loaded:
    """The module and its spec."""
    import torch

    from ..models.ani import AniAnyAtoms, AniFixedEdges, AniMolecule

    spec = _spec(options, parameters)
    module: torch.nn.Module
    if atoms is not None:
        spec.atomic_numbers, spec.particles = list(atoms.numbers), len(atoms.numbers)
        spec.elements = sorted(set(atoms.numbers))
        spec.atomic_energies = parameters.restricted(atoms.numbers).self_energies
    if atoms is not None and atoms.box is None and len(atoms.numbers) <= _ALL_PAIRS:
        spec.inputs, spec.periodic = ["positions"], False
        module = AniMolecule(parameters, atoms.numbers)
    else:
        spec.inputs = ["positions", *([] if atoms else ["atomic_numbers"]), "edges", "shifts"]
        spec.cutoff, spec.edges, spec.shifts = parameters.radial_cutoff, "full", "cartesian"
        if atoms is not None:
            spec.periodic = atoms.box is not None
        module = AniFixedEdges(parameters, atoms.numbers) if atoms else AniAnyAtoms(parameters)
    return Loaded(spec, module.to(getattr(torch, spec.dtype)))


def _spec(options: argparse.Namespace, parameters: AniParameters) -> ModelSpec:
    """What all modules of a model have in common."""
    network = "" if options.network is None else f", network {options.network}"
    words: dict[str, Any] = _WORDS[options.model]
    ensemble = parameters.members > 1
    return ModelSpec(
        f"{_CONSTRUCTORS[options.model].replace('ANI', 'ANI-')}{network}",
        length_unit="angstrom",
        energy_unit="hartree",
        dtype=options.dtype or "float32",
        outputs=["energy", *(["energy_std"] if ensemble else []), "atomic_energy"],
        output_units={"atomic_energy": "hartree"} | ({"energy_std": "hartree"} if ensemble else {}),
        elements=sorted(parameters.elements),
        atomic_energies=parameters.self_energies,
        long_range=False,
        license="MIT",
        **words,
    )


def _read(name: str, folder: Path | None, network: int | None) -> Any:
    """TorchANI's model, in float64. Raises ValueError or OSError if there are no parameters."""
    with _double():
        if folder is None:
            return _downloaded(name, network)
        return _published(folder, network)


def _published(folder: Path, network: int | None) -> Any:
    """The model of a folder in NeuroChem's format."""
    from torchani.arch import ANI
    from torchani.neurochem import NeurochemInfo, NeurochemParseError, modules_from_info

    members = len(list(folder.glob("train*/networks")))
    constants, energies = _only(folder, "*.params"), _only(folder, "*.dat")
    if members == 0:
        raise ValueError(f"{folder} holds no networks: parameters are {constants.name} beside train0/networks, ...")
    if network is not None and not 0 <= network < members:
        raise ValueError(f"network {network} was asked for, but {folder} holds networks 0 to {members - 1}")
    try:
        info = NeurochemInfo(energies, constants, folder / "train", members)
        aev, networks, self_energies, symbols = modules_from_info(info, network)
    except (NeurochemParseError, AssertionError, IndexError) as error:
        raise ValueError(f"{folder} can't be read as parameters in NeuroChem's format: {error}") from error
    return ANI(symbols, aev, networks, self_energies, periodic_table_index=True)


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        needed = f"one file {pattern} beside train0/networks, train1/networks, ..."
        raise ValueError(f"{folder} holds {len(found)} files {pattern}, but parameters are {needed}")
    return found[0]


def _downloaded(name: str, network: int | None) -> Any:
    """The model with the parameters in TorchANI's cache, or from the network."""
    from torchani import models

    try:
        return getattr(models, _CONSTRUCTORS[name])(model_index=network)
    except (OSError, RuntimeError) as error:
        raise OSError(
            f"the parameters of {name} can't be downloaded; give their folder, --parameters DIR: {error}"
        ) from error


@contextmanager
def _double() -> Iterator[None]:
    """Read into float64, as self energies do not fit float32; keep TorchANI quiet about what is not needed here."""
    import torch

    before = torch.get_default_dtype()
    os.environ.setdefault("TORCHANI_NO_WARN_EXTENSIONS", "1")
    torch.set_default_dtype(torch.float64)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_default_dtype(before)
