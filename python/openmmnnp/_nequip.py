"""The spec of a package that nequip-compile wrote (NequIP, Allegro), from the metadata that it put in.

Mirrors csrc/model/NequipPackage.cpp.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import Any

from ._elements import ELEMENTS
from ._reading import parse_json

__all__ = ["spec_values"]

_INPUTS_KEY = "nequip_aoti_inputs"
_OUTPUTS_KEY = "nequip_aoti_outputs"
_INPUTS = {
    "pos": "positions",
    "edge_index": "edges",
    "atom_types": "types",
    "cell": "box",
    "edge_cell_shift": "shifts",
}
"""NequIP's names (nequip.data.AtomicDataDict), and ours."""
_OUTPUTS = {"total_energy": "energy"} | {name: name for name in ("atomic_energy", "forces", "stress", "virial")}
_UNITS = {"atomic_energy": "eV", "stress": "eV/angstrom/angstrom/angstrom", "virial": "eV"}


def spec_values(archive: zipfile.ZipFile) -> dict[str, Any] | None:
    """Fields of the ModelSpec; None if the archive has no metadata of nequip-compile.

    Positions are always float64, and so is the energy; ``model_dtype`` is the precision inside. Units are not in the
    metadata: angstrom and eV, as NequIP's own interfaces take them. Raises ValueError for what cannot run.
    """
    for name in archive.namelist():
        if "/data/aotinductor/" in name and name.endswith("_metadata.json"):
            try:
                metadata = parse_json(archive.read(name))
            except ValueError as error:
                raise ValueError(f"the entry '{name}' is not JSON: {error}") from None
            if isinstance(metadata, dict) and _INPUTS_KEY in metadata:
                return _values(metadata)
    return None


def _values(metadata: Mapping[str, Any]) -> dict[str, Any]:
    operators = metadata.get("nequip_custom_ops_libs")
    if operators is not None:
        raise ValueError(
            f"the package calls operators of {operators!r}, which need Python: compile the model without that modifier"
        )
    inputs, outputs = _translated(metadata, _INPUTS_KEY, _INPUTS), _translated(metadata, _OUTPUTS_KEY, _OUTPUTS)
    values: dict[str, Any] = {"name": "NequIP", "length_unit": "angstrom", "energy_unit": "eV", "dtype": "float64"}
    values |= {"precision": _text(metadata, "model_dtype"), "inputs": inputs, "outputs": outputs}
    values |= {"cutoff": _cutoff(metadata), "edges": "full", "shifts": "real_cell", "long_range": False}
    values["output_units"] = {name: _UNITS[name] for name in outputs if name in _UNITS}
    names = _text(metadata, "type_names").split()
    if len(set(names)) < len(names):
        raise ValueError(f"the metadata by nequip-compile have 'type_names' {names}: name each type once")
    values["type_map"] = {name: i for i, name in enumerate(names)}
    if set(names) <= set(ELEMENTS):
        values["elements"] = [ELEMENTS.index(name) + 1 for name in names]
    if "box" in inputs:
        values["batched_box"] = True
    if "shifts" not in inputs:
        values["periodic"] = False
    return values


def _text(metadata: Mapping[str, Any], key: str) -> str:
    value = metadata.get(key)
    if not isinstance(value, str):
        raise ValueError(f"the metadata by nequip-compile have no text '{key}': compile the model again")
    return value


def _translated(metadata: Mapping[str, Any], key: str, names: Mapping[str, str]) -> list[str]:
    given = _text(metadata, key).split()
    unknown = [name for name in given if name not in names]
    if unknown:
        advice = "compile the model with --target ase, pair_nequip or pair_allegro"
        raise ValueError(f"the metadata by nequip-compile have {unknown[0]!r} in '{key}', which is not known: {advice}")
    return [names[name] for name in given]


def _cutoff(metadata: Mapping[str, Any]) -> float:
    text = _text(metadata, "r_max")
    try:
        value = parse_json(text)
    except ValueError:
        value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ValueError(f"the metadata by nequip-compile have 'r_max' {text!r}, but a positive number is needed")
    return value
