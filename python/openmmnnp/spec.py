"""What a model file says of its model: inputs, outputs, units, and results to check it with.

A :class:`ModelSpec` is stored as JSON in the entry ``extra/openmmnnp.json`` of a TorchScript archive (``.pt``) or an
AOTInductor package (``.pt2``). This module mirrors ``ModelSpec.h`` and needs neither torch nor OpenMM.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

from ._files import folder_beside, named
from ._nequip import spec_values
from ._reading import is_damage, parse_json

__all__ = ["ENERGY_UNITS", "LENGTH_UNITS", "ModelSpec", "read_spec", "write_spec"]

FORMAT = 1
ENTRY = "extra/openmmnnp.json"

# CODATA 2022; the elementary charge and the Avogadro constant are exact.
_AVOGADRO = 6.02214076e23  # 1/mol
_ELEMENTARY_CHARGE = 1.602176634e-19  # C
_HARTREE = 4.3597447222060e-18  # J
_BOHR = 0.0529177210544  # nm

LENGTH_UNITS: Mapping[str, float] = {"nm": 1.0, "angstrom": 0.1, "bohr": _BOHR}
"""Length units that a model may use, in nm."""

ENERGY_UNITS: Mapping[str, float] = {
    "kJ/mol": 1.0,
    "kcal/mol": 4.184,
    "eV": _ELEMENTARY_CHARGE * _AVOGADRO / 1000,
    "hartree": _HARTREE * _AVOGADRO / 1000,
}
"""Energy units that a model may use, in kJ/mol."""

DTYPES = ("float32", "float64")
LIBRARIES = ("metatensor", "metatomic")
INPUTS = (
    "positions",
    "box",
    "atomic_numbers",
    "types",
    "edges",
    "shifts",
    "charge",
    "multiplicity",
    "mm_positions",
    "mm_charges",
)
PARAMETER = "parameters."
DERIVATIVE = "parameter_derivative."
COMPONENT_FORCES = "forces."
NO_ENERGY = "1"
"""The ``energy_unit`` of a model that gives collective variables alone."""

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "length_unit": tuple(LENGTH_UNITS),
    "energy_unit": (*ENERGY_UNITS, NO_ENERGY),
    "dtype": DTYPES,
    "edges": ("full", "half"),
    "shifts": ("cell", "real_cell", "cartesian"),
    "precision": DTYPES,
    "index_dtype": ("int64", "int32"),
    "small_box": ("images", "refuse"),
}
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass
class ModelSpec:
    """The contract between a network and the force. Lengths are in ``length_unit``, energies in ``energy_unit``.

    ``inputs`` are passed, and ``outputs`` returned, in the order listed. Fields that are None or empty are left out of
    the JSON. Creating a spec checks nothing; :meth:`validate` does, and so do reading and writing.

    ``precision`` is that of the arithmetic in the model, if not ``dtype``. With ``batched_box`` the model takes the box
    as [1, 3, 3]. A model without the output ``energy`` gives ``atomic_energy`` [n] or [n, 1], whose sum it is.

    A model with the inputs ``mm_positions`` [m, 3] and ``mm_charges`` [m] (in e) gets the charges within ``mm_cutoff``
    of any of its particles, or all without one, and at least two: what is added has no charge and is far away. It gives
    ``mm_forces`` [m, 3], or leaves them to be derived from the energy.
    ``collective_variables`` are outputs NAME whose components may be collective variables, with their number; a package
    (``.pt2``) gives -dNAME/dr of them as ``forces.NAME`` [..., n, 3]. The ``energy_unit`` "1" says that a model gives
    nothing but such: its energy, the sum of the first output, serves to check it.
    """

    name: str
    length_unit: str
    energy_unit: str
    dtype: str
    inputs: list[str] = field(default_factory=lambda: ["positions"])
    outputs: list[str] = field(default_factory=lambda: ["energy"])
    output_units: dict[str, str] = field(default_factory=dict)
    collective_variables: dict[str, int] = field(default_factory=dict)
    particles: str | int = "dynamic"
    atomic_numbers: list[int] | None = None
    elements: list[int] | None = None
    type_map: dict[str, int] | None = None
    cutoff: float | None = None
    edges: str | None = None
    shifts: str | None = None
    index_dtype: str | None = None
    precision: str | None = None
    batched_box: bool | None = None
    edge_capacity: str | int | None = None
    small_box: str | None = None
    mm_cutoff: float | None = None
    periodic: bool | None = None
    long_range: bool | None = None
    libraries: list[str] = field(default_factory=list)
    energy_offset: float | None = None
    atomic_energies: dict[int, float] | None = None
    authors: list[str] = field(default_factory=list)
    license: str = ""
    citation: str = ""
    domain: str = ""
    references: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> str:
        """The spec as JSON text; floats keep every bit. Raises ValueError if the spec is not valid."""
        self.validate()
        said = {f.name: getattr(self, f.name) for f in fields(self)}
        return json.dumps({"format": FORMAT} | {k: v for k, v in said.items() if not _unsaid(v)}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> ModelSpec:
        """Read and check JSON text. Raises ValueError that names the key, what was given and what is needed."""
        try:
            values = parse_json(text)
        except ValueError as error:
            raise ValueError(f"the model's spec is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise ValueError(f"the model's spec is a JSON {type(values).__name__}, but must be an object")
        _check_keys(cls, values)
        del values["format"]
        if isinstance(values.get("atomic_energies"), dict):
            values["atomic_energies"] = _integer_keys(values["atomic_energies"])
        spec = cls(**values)
        spec.validate()
        return spec

    def validate(self) -> None:
        """Raise ValueError if a value is unknown, missing or contradicts another one."""
        self._check_types()
        for key, choices in _CHOICES.items():
            value = getattr(self, key)
            if value is not None and value not in choices:
                raise _error(key, value, "one of " + ", ".join(choices))
        self._check_inputs()
        self._check_outputs()
        self._check_particles()
        self._check_energies()
        for name in self.libraries:
            if name not in LIBRARIES:
                raise _error("libraries", name, "one of " + ", ".join(LIBRARIES))
        for i, reference in enumerate(self.references):
            self._check_reference(f"references[{i}]", reference)

    @property
    def takes_charges(self) -> bool:
        """Does the model take charges around its particles, ``mm_positions`` and ``mm_charges``?"""
        return "mm_positions" in self.inputs

    def parameter_names(self) -> list[str]:
        """Names NAME of the inputs ``parameters.NAME``, in order."""
        return [name.removeprefix(PARAMETER) for name in self.inputs if name.startswith(PARAMETER)]

    def is_variable(self, output: str) -> bool:
        """Is it a named output, whose components may be collective variables?"""
        return output in self.outputs and output not in ("energy", "forces", "mm_forces") and "." not in output

    @property
    def summed_output(self) -> str:
        """The output whose sum is the energy of a model that gives collective variables alone."""
        return next(name for name in self.outputs if self.is_variable(name))

    def constant_energy(self, atomic_numbers: Iterable[int] | None = None) -> float:
        """The constant part of the energy, in ``energy_unit``, summed in float64.

        ``atomic_numbers`` [n] are needed by a spec with ``atomic_energies``, unless the spec itself fixes them.
        Raises ValueError for an element without an energy.
        """
        if self.atomic_energies is None:
            return self.energy_offset or 0.0
        numbers = self.atomic_numbers if atomic_numbers is None else [int(z) for z in atomic_numbers]
        if numbers is None:
            raise ValueError("atomic_energies are summed over the atoms: give their atomic numbers")
        unknown = sorted(set(numbers) - set(self.atomic_energies))
        if unknown:
            raise _error("atomic_energies", sorted(self.atomic_energies), f"an energy for the elements {unknown} also")
        return math.fsum(self.atomic_energies[z] for z in numbers)

    def _check_types(self) -> None:
        for key, (needed, ok) in _TYPES.items():
            value = getattr(self, key)
            if value is None and key in _OPTIONAL:
                continue
            if not ok(value):
                raise _error(key, value, needed)

    def _check_inputs(self) -> None:
        _check_unique("inputs", self.inputs)
        for name in self.inputs:
            parameter = name.startswith(PARAMETER) and len(name) > len(PARAMETER)
            if name not in INPUTS and not parameter:
                raise _error("inputs", name, "one of " + ", ".join(INPUTS) + f", {PARAMETER}NAME")
        if "positions" not in self.inputs:
            raise _error("inputs", self.inputs, "'positions' among them")
        if ("edges" in self.inputs or "shifts" in self.inputs) and self.cutoff is None:
            raise _error("cutoff", None, f"a number in {self.length_unit}, since the model takes edges")
        if ("mm_positions" in self.inputs) != ("mm_charges" in self.inputs):
            raise _error("inputs", self.inputs, "'mm_positions' and 'mm_charges', or neither")
        if self.mm_cutoff is not None and not self.takes_charges:
            raise _error("mm_cutoff", self.mm_cutoff, "no value, since the model takes no mm_charges")
        if self.periodic and not {"box", "shifts"} & set(self.inputs):
            raise _error("inputs", self.inputs, "'box' (or 'edges' and 'shifts') among them, since periodic is true")

    def _check_outputs(self) -> None:
        _check_unique("outputs", self.outputs)
        alone = self.energy_unit == NO_ENERGY and bool(self.outputs) and self.is_variable(self.outputs[0])
        if "energy" not in self.outputs and not {"atomic_energy", "forces"} <= set(self.outputs) and not alone:
            raise _error("outputs", self.outputs, "'energy' among them (or 'atomic_energy' and 'forces')")
        if "mm_forces" in self.outputs and not self.takes_charges:
            raise _error("outputs", "mm_forces", "the input 'mm_positions' for it")
        for name in self.outputs:
            if name.startswith(DERIVATIVE) and PARAMETER + name.removeprefix(DERIVATIVE) not in self.inputs:
                raise _error("outputs", name, f"the input '{PARAMETER}{name.removeprefix(DERIVATIVE)}' for it")
            if name.startswith(COMPONENT_FORCES) and not self.is_variable(name.removeprefix(COMPONENT_FORCES)):
                raise _error("outputs", name, f"the output '{name.removeprefix(COMPONENT_FORCES)}' for it")
            if not name.startswith((DERIVATIVE, COMPONENT_FORCES)) and not _NAME.fullmatch(name):
                raise _error("outputs", name, "letters, digits and underscores")
        forces = ("energy", "forces", "mm_forces")
        derived = (DERIVATIVE, COMPONENT_FORCES)
        fixed = {name for name in self.outputs if name in forces or name.startswith(derived)}
        for name in self.collective_variables:
            if not self.is_variable(name):
                raise _error("collective_variables", name, "a named output of the model")
        for name in self.output_units:
            if name not in set(self.outputs) - fixed:
                raise _error("output_units", name, f"one of the named outputs {sorted(set(self.outputs) - fixed)}")

    def _check_particles(self) -> None:
        if self.atomic_numbers is not None and self.particles != len(self.atomic_numbers):
            given = f"{self.particles!r} with {len(self.atomic_numbers)} atomic_numbers"
            raise _error("particles", given, f"{len(self.atomic_numbers)}, since atomic_numbers fix the particles")
        missing = sorted(set(self.atomic_numbers or ()) - set(self.elements or self.atomic_numbers or ()))
        if missing:
            raise _error("elements", self.elements, f"{missing} also, which atomic_numbers has")

    def _check_energies(self) -> None:
        if self.atomic_energies is None:
            return
        if self.energy_offset is not None:
            raise ValueError("energy_offset and atomic_energies are both given: give one, or add the one to the other")
        if self.atomic_numbers is None and "atomic_numbers" not in self.inputs:
            raise _error("atomic_energies", "no atomic numbers", "'atomic_numbers' among inputs, or fixed in the spec")
        missing = sorted(set(self.elements or ()) - set(self.atomic_energies))
        if missing:
            raise _error("atomic_energies", sorted(self.atomic_energies), f"an energy for the elements {missing} also")

    def _check_reference(self, where: str, reference: dict[str, Any]) -> None:
        needed = {*self.inputs, "energy", "forces"} | ({"mm_forces"} if self.takes_charges else set())
        if set(reference) != needed:
            raise _error(where, sorted(reference), f"exactly {sorted(needed)}")
        shape = _shape(reference["positions"])
        if len(shape) != 2 or shape[1] != 3 or self.particles not in ("dynamic", shape[0]):
            raise _error(f"{where}.positions", f"shape {list(shape)}", f"shape [{self.particles}, 3]")
        if _shape(reference["forces"]) != shape:
            raise _error(f"{where}.forces", f"shape {list(_shape(reference['forces']))}", f"shape {list(shape)}")
        if self.takes_charges:
            m = len(reference["mm_charges"]) if isinstance(reference["mm_charges"], list) else 0
            for name, needed_shape in (("mm_charges", (m,)), ("mm_positions", (m, 3)), ("mm_forces", (m, 3))):
                if _shape(reference[name]) != needed_shape:
                    given = f"shape {list(_shape(reference[name]))}"
                    raise _error(f"{where}.{name}", given, f"shape {list(needed_shape)}")
        for name, value in reference.items():
            scalar = name in ("energy", "charge", "multiplicity") or name.startswith(PARAMETER)
            if (_shape(value) == ()) != scalar:
                raise _error(f"{where}.{name}", value, "a number" if scalar else "an array")


def read_spec(path: str | os.PathLike[str]) -> ModelSpec | None:
    """The spec in a ``.pt`` or ``.pt2`` archive, or None if it holds none (openmm-torch's contract applies then).

    A package that nequip-compile wrote holds none, but metadata that make one.

    Raises ValueError, naming the file, if it is no model archive or if the spec is wrong; OSError if it can't be read.
    """
    try:
        with named(path), zipfile.ZipFile(path) as archive:
            name = f"{_root(archive)}/{ENTRY}"
            if name in archive.namelist():
                return ModelSpec.from_json(archive.read(name))
            values = spec_values(archive)
            return None if values is None else _validated(ModelSpec(**values))
    except Exception as error:
        if not is_damage(error):
            raise
        raise ValueError(f"{os.fspath(path)}: {error}") from error


def write_spec(path: str | os.PathLike[str], spec: ModelSpec) -> None:
    """Put a spec into a ``.pt`` or ``.pt2`` archive, in place of one that is there.

    Raises ValueError if the spec is wrong or the file is no model archive.
    """
    add_entries(path, {ENTRY: spec.to_json().encode()})


def add_entries(path: str | os.PathLike[str], entries: Mapping[str, bytes]) -> None:
    """Put entries into the folder of a model archive, in place of those that are there.

    The archive is written anew beside the old one, all entries uncompressed and aligned to 64 bytes as torch does, and
    replaces it at the end. TorchScript's records of source locations, which name the exporter's folders, are left
    out. Raises ValueError if the file is no model archive.
    """
    path = Path(path)
    try:
        with folder_beside(path) as folder, named(path):
            aside = folder / path.name
            with open(aside, "w+b") as out:
                _copy_with(path, out, entries)
            os.chmod(aside, path.stat().st_mode & 0o777)
            os.replace(aside, path.resolve())
    except Exception as error:
        if not is_damage(error):
            raise
        raise ValueError(f"{path}: {error}") from error


def _copy_with(path: Path, out: BinaryIO, entries: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        added = {f"{_root(old)}/{name}": data for name, data in entries.items()}
        for entry in old.infolist():
            if entry.filename not in added and not entry.filename.endswith(".debug_pkl"):
                _write_entry(new, out.tell(), entry.filename, old.read(entry))
        for name, data in added.items():
            _write_entry(new, out.tell(), name, data)


def _write_entry(archive: zipfile.ZipFile, offset: int, name: str, data: bytes) -> None:
    """Append an uncompressed entry whose data begin at a multiple of 64 bytes, as torch's own writer places them."""
    info = zipfile.ZipInfo(name)
    padding = -(offset + 30 + len(name.encode()) + 4) % 64  # 30: local header, 4: header of the extra field
    info.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
    archive.writestr(info, data)


def _root(archive: zipfile.ZipFile) -> str:
    """The folder that holds all entries of a model archive."""
    roots = {name.split("/", 1)[0] for name in archive.namelist() if "/" in name}
    if len(roots) != 1 or any("/" not in name for name in archive.namelist()):
        raise ValueError("this zip archive is no model: torch puts all entries into one folder")
    return roots.pop()


def _validated(spec: ModelSpec) -> ModelSpec:
    spec.validate()
    return spec


def _error(key: str, given: object, needed: str) -> ValueError:
    return ValueError(f"the model's spec, key '{key}': {given!r} was given, needed is {needed}")


def _unsaid(value: object) -> bool:
    return value is None or value == "" or value == [] or value == {}


def _check_keys(cls: type[ModelSpec], values: Mapping[str, Any]) -> None:
    if values.get("format") != FORMAT or isinstance(values["format"], bool):
        needed = f"{FORMAT}; a file of a later format needs a later openmmnnp (pip install -U openmm-nnp)"
        raise _error("format", values.get("format"), needed)
    known = [f.name for f in fields(cls)]
    unknown = sorted(set(values) - {"format", *known})
    if unknown:
        raise _error(unknown[0], values[unknown[0]], "no such key; the keys are format, " + ", ".join(known))
    for key in ("name", "length_unit", "energy_unit", "dtype", "inputs", "outputs"):
        if key not in values:
            raise _error(key, None, "a value: the key is missing")


def _integer_keys(energies: Mapping[str, Any]) -> dict[int, Any]:
    try:
        return {int(z): energy for z, energy in energies.items()}
    except ValueError:
        raise _error("atomic_energies", list(energies), "atomic numbers as keys") from None


def _check_unique(key: str, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise _error(key, repeated[0], "every name once")


def _shape(array: Any) -> tuple[int, ...]:
    """Shape of nested lists of finite numbers; raises ValueError if they are ragged or hold anything else."""
    if not isinstance(array, list):
        if not _is_number(array):
            raise _error("references", array, "finite numbers")
        return ()
    shapes = {_shape(row) for row in array}
    if len(shapes) > 1:
        raise _error("references", "a ragged array", "rows of one length")
    return (len(array), *(shapes.pop() if shapes else ()))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_element(value: object) -> bool:
    return _is_count(value) and value <= 118  # type: ignore[operator]


def _is_list(value: object, ok: Any) -> bool:
    return isinstance(value, list) and all(map(ok, value))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_dict(value: object, key: Any, ok: Any) -> bool:
    return isinstance(value, dict) and all(map(key, value)) and all(map(ok, value.values()))


_TEXT = ("a text", _is_text)
_COUNT = ("'dynamic' or a number of at least 1", lambda value: value == "dynamic" or _is_count(value))
_FLAG = ("true or false", lambda value: isinstance(value, bool))
_TEXTS = ("a list of texts", lambda value: _is_list(value, _is_text))
_ELEMENTS = ("a list of atomic numbers (1 to 118)", lambda value: _is_list(value, _is_element))
_TYPES: Mapping[str, tuple[str, Any]] = {
    **dict.fromkeys(_CHOICES, _TEXT),
    **dict.fromkeys(("name", "license", "citation", "domain"), _TEXT),
    **dict.fromkeys(("inputs", "outputs", "authors", "libraries"), _TEXTS),
    **dict.fromkeys(("atomic_numbers", "elements"), _ELEMENTS),
    **dict.fromkeys(("particles", "edge_capacity"), _COUNT),
    **dict.fromkeys(("periodic", "long_range", "batched_box"), _FLAG),
    "collective_variables": (
        "an object of numbers of components (1 and up)",
        lambda value: _is_dict(value, _is_text, _is_count),
    ),
    "output_units": ("an object of texts", lambda value: _is_dict(value, _is_text, _is_text)),
    "type_map": (
        "an object of types (0 and up)",
        lambda value: _is_dict(value, _is_text, lambda t: t == 0 or _is_count(t)),
    ),
    **dict.fromkeys(("cutoff", "mm_cutoff"), ("a positive number", lambda value: _is_number(value) and value > 0)),
    "energy_offset": ("a finite number", _is_number),
    "atomic_energies": (
        "an object {atomic number: finite number}",
        lambda value: _is_dict(value, _is_element, _is_number),
    ),
    "references": ("a list of objects", lambda value: _is_list(value, lambda r: isinstance(r, dict))),
}
_OPTIONAL = frozenset(f.name for f in fields(ModelSpec) if f.default is None)
