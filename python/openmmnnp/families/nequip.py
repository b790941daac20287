"""NequIP and Allegro: a package that ``nequip-compile --mode aotinductor`` wrote, which runs as it is.

Batzner et al., Nat. Commun. 13, 2453 (2022); Musaelian et al., Nat. Commun. 14, 579 (2023). Nothing is compiled here:
the file gets a spec with what its metadata do not say (units, license, citation) and results to check it with.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._nequip import spec_values
from ..atoms import Atoms
from ..spec import ENERGY_UNITS, LENGTH_UNITS, ModelSpec
from . import Loaded

if TYPE_CHECKING:
    from torch import Tensor

    Run = Callable[[dict[str, Tensor]], Mapping[str, Tensor]]

HELP = "NequIP or Allegro: a .nequip.pt2 of nequip-compile, which runs as it is, with a license and references put in"
EXTRA = "nequip"
PACKAGES: Sequence[str] = ()  # nequip itself only for --saved

_UNITS = {"atomic_energy": "{e}", "stress": "{e}/{l}/{l}/{l}", "virial": "{e}"}
_KEYS = {
    "positions": "pos",
    "edges": "edge_index",
    "types": "atom_types",
    "box": "cell",
    "shifts": "edge_cell_shift",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The package, and what its metadata do not say."""
    parser.add_argument("package", type=Path, metavar="FILE", help="native code: use only what you trust")
    parser.add_argument(
        "--saved",
        type=Path,
        metavar="FILE",
        help="the checkpoint or .nequip.zip that was compiled: references are its results in Python, by nequip [the "
        "package's own]; a checkpoint is a pickle: load only what you trust",
    )
    parser.add_argument("--length-unit", choices=list(LENGTH_UNITS), default="angstrom", help="[angstrom]")
    parser.add_argument("--energy-unit", choices=list(ENERGY_UNITS), default="eV", help="of the training data [eV]")
    parser.add_argument("--name", help="[the file's]")
    for word in ("license", "citation", "domain"):
        parser.add_argument(f"--{word}", default="", help="put into the spec as it is")


def load(options: argparse.Namespace, atoms: Atoms | None) -> Loaded:
    """The package with a full spec. Raises ValueError if nequip-compile did not write it, or ImportError or OSError."""
    if options.dtype is not None or options.energy_entry:
        raise ValueError("--dtype and --energy-entry were given, but a package runs as nequip-compile made it")
    spec = _spec(options)
    run = _package(options.package, spec) if options.saved is None else _saved(options.saved, spec, options.device)
    spec = replace(spec, references=_references(spec, atoms, options.device, run))
    if options.saved is not None:
        _compare(spec, _package(options.package, spec), options.device)
    return Loaded(spec, path=options.package)


def _spec(options: argparse.Namespace) -> ModelSpec:
    """The spec of the metadata, whatever spec the archive holds, with the words of the command line."""
    try:
        with zipfile.ZipFile(options.package) as archive:
            values = spec_values(archive)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{options.package}: {error}") from error
    if values is None:
        raise ValueError(
            f"{options.package} has no metadata of nequip-compile: compile the model with nequip 0.17 or newer, "
            "nequip-compile --mode aotinductor --target ase"
        )
    spec = ModelSpec(**values)
    spec.validate()
    units = {"e": options.energy_unit, "l": options.length_unit}
    return replace(
        spec,
        name=options.name or options.package.name.split(".")[0],
        length_unit=options.length_unit,
        energy_unit=options.energy_unit,
        output_units={name: _UNITS[name].format(**units) for name in spec.output_units},
        license=options.license,
        citation=options.citation,
        domain=options.domain,
    )


def _package(path: Path, spec: ModelSpec) -> Run:
    """The outputs of the package itself, run by torch."""
    import torch

    model = torch._inductor.aoti_load_package(str(path))
    return lambda inputs: dict(zip(spec.outputs, model(*inputs.values()), strict=True))


def _saved(path: Path, spec: ModelSpec, device: str) -> Run:
    """The outputs of the model that was compiled, in Python."""
    try:
        from nequip.model.saved_models.load_utils import load_saved_model
        from nequip.utils.global_state import set_global_state
    except ImportError as error:
        raise ImportError(f"--saved needs nequip ({error}): run pip install 'openmm-nnp[{EXTRA}]'") from error
    set_global_state()
    model = load_saved_model(str(path)).eval().to(device)

    def run(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        results = model({_KEYS[name]: value for name, value in inputs.items()})
        return {"energy": results["total_energy"], "forces": results["forces"]}

    return run


def _compare(spec: ModelSpec, run: Run, device: str) -> None:
    """Raise ValueError unless the package gives the references."""
    from ..export.eager import tensors
    from ..export.package import compare

    for reference in spec.references:
        results = run(tensors(spec, {name: reference[name] for name in spec.inputs}, device))
        energy = results["energy"] if "energy" in results else results["atomic_energy"].double().sum()
        compare(spec, reference, {}, {"energy": energy.reshape(()), "forces": results["forces"]}, "")


def _references(spec: ModelSpec, atoms: Atoms | None, device: str, run: Run) -> list[dict[str, Any]]:
    """Geometries with the energy and forces of ``run``."""
    from ..export.eager import padded, tensors
    from ..export.examples import variations

    references = []
    for example in variations(spec, (atoms or Atoms.for_spec(spec)).example(spec)):
        inputs = tensors(spec, example, device)
        inputs = padded(spec, inputs, max(2, inputs["edges"].shape[1])) if "shifts" in inputs else inputs
        results = run(dict(inputs))
        energy = results["energy"] if "energy" in results else results["atomic_energy"].double().sum()
        said: dict[str, Any] = {name: (value[0] if name == "box" else value).tolist() for name, value in inputs.items()}
        references.append(said | {"energy": energy.item(), "forces": results["forces"].double().tolist()})
    return references
