"""What a model file says of itself. Nothing of it is run, unpickled or unpacked; neither torch nor OpenMM is needed."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ._elements import ELEMENTS
from ._reading import is_damage, parse_json
from .spec import COMPONENT_FORCES, DERIVATIVE, NO_ENERGY, PARAMETER, ModelSpec, read_spec

__all__ = ["inspect", "table"]

_PACKAGE = "data/aotinductor/"
_ENERGY_ENTRY = "energy"
_MAX_RATIO = 1100  # of deflate; a record that claims more is a trap
_WORDS = ("authors", "license", "citation", "domain")
_SHAPES: Mapping[str, str] = {
    "positions": "[n, 3]",
    "box": "[3, 3]",
    "atomic_numbers": "[n]",
    "types": "[n]",
    "edges": "[2, e]",
    "shifts": "[e, 3]",
    "mm_positions": "[m, 3]",
    "mm_charges": "[m]",
    "forces": "[n, 3]",
    "mm_forces": "[m, 3]",
    "atomic_energy": "[n]",
    "charges": "[n]",
}
_EDGES = {"edges": "full", "shifts": "cell", "edge capacity": "dynamic", "small box": "images"}
_SCALARS = ("charge", "multiplicity", "energy", "energy_std")
_LENGTHS = ("positions", "box", "mm_positions")
# What torch itself brings; anything else has to be loaded before the program.
_OWN_OPERATORS = frozenset(("aten", "prim", "prims", "inductor", "quantized", "profiler", "higher_order", "onednn"))
_OPERATOR = re.compile(r"\bops\.(\w+)\.(\w+)")
_CLASS = re.compile(r"__torch__\.torch\.classes\.([\w.]+)")
_COMPILED: Mapping[str, str] = {
    "openmmnnp_torch_version": "torch version",
    "AOTI_DEVICE_KEY": "device",
    "AOTI_COMPUTE_CAPABILITY": "GPU compute capability",
    "AOTI_PLATFORM": "system",
    "AOTI_MACHINE": "machine",
    "AOTI_CPU_ISA": "CPU instruction set",
}


def inspect(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the file of a model says, as JSON can hold it: sections by title, each a dictionary or a list of them.

    Raises ValueError, naming the file, if it is damaged or no model; OSError if it can't be read.
    """
    file = Path(path)
    if not file.is_file():
        raise OSError(f"{file}: there is no such file" if not file.exists() else f"{file}: it is no regular file")
    try:
        with zipfile.ZipFile(file) as archive:
            _check_records(archive)
            spec = read_spec(file)
            found = _program(archive)
    except ValueError as error:
        raise ValueError(str(error) if str(file) in str(error) else f"{file}: {error}") from error
    except Exception as error:
        if not is_damage(error):
            raise
        raise ValueError(f"{file}: this is no model file, or it is damaged ({error})") from error
    kind = found.pop("format")
    sections: dict[str, Any] = {"file": _file(file, kind)}
    sections |= {"model": _no_spec(kind)} if spec is None else _described(spec)
    return sections | found


def table(sections: Mapping[str, Any]) -> str:
    """The sections as aligned text for a person."""
    width = max(len(label) for section in sections.values() if isinstance(section, dict) for label in section)
    lines: list[str] = []
    for title, section in sections.items():
        lines += ["", title] if lines else [title]
        if isinstance(section, dict):
            lines += [f"  {printable(label):{width}}  {_text(value)}" for label, value in section.items()]
        else:
            lines += _columns([{label: printable(text) for label, text in row.items()} for row in section])
    return "\n".join(line.rstrip() for line in lines)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items())
    text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    return printable(text)


def printable(text: str) -> str:
    """With escapes for what does not print, so that a file's words can't look like lines of the table."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _columns(rows: list[dict[str, str]]) -> list[str]:
    widths = {label: max(len(row[label]) for row in rows) for label in rows[0]}
    return ["  " + "  ".join(f"{text:{widths[label]}}" for label, text in row.items()) for row in rows]


# The archive


def _check_records(archive: zipfile.ZipFile) -> None:
    """Raise BadZipFile if a record does not match its checksum, is there twice or claims an impossible size."""
    names = Counter(archive.namelist())
    for record in archive.infolist():
        if names[record.filename] > 1:
            raise zipfile.BadZipFile(f"'{record.filename}' is there twice")
        if record.file_size > _MAX_RATIO * max(record.compress_size, 1):
            raise zipfile.BadZipFile(f"'{record.filename}' claims an impossible size")
    damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"'{damaged}' does not match its checksum")


def _records(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Records by their names within the one folder that torch puts all into."""
    return {record.filename.split("/", 1)[-1]: record for record in archive.infolist()}


def _file(path: Path, kind: str) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    size = path.stat().st_size
    return {"path": str(path), "format": kind, "size": f"{size / 2**20:.2f} MiB", "SHA-256": digest.hexdigest()}


# The spec


def _no_spec(kind: str) -> dict[str, Any]:
    if kind.startswith("TorchScript"):
        return {
            "spec": "none: openmm-torch's contract applies",
            "inputs": "positions [n, 3] in nm (, box [3, 3] in nm) (, global parameters)",
            "outputs": "energy in kJ/mol (, forces [n, 3] in kJ/mol/nm)",
        }
    advice = "openmm-nnp export, or openmmnnp.spec.write_spec(), puts one into the file; NNPForce needs it"
    return {"spec": f"none: units, inputs and outputs are not known. {advice}"}


def _described(spec: ModelSpec) -> dict[str, Any]:
    said = {name: getattr(spec, name) for name in _WORDS}
    return {
        "model": {"name": spec.name} | {name: value or "not said" for name, value in said.items()},
        "numbers": _numbers(spec),
        "inputs": [_input(spec, name) for name in spec.inputs],
        "outputs": [_output(spec, name) for name in spec.outputs],
    }


def _numbers(spec: ModelSpec) -> dict[str, Any]:
    """Units, particles, edges and what else the spec says; what it leaves open is left out."""
    values: dict[str, Any] = {
        "length unit": spec.length_unit,
        "energy unit": "none: it gives collective variables" if spec.energy_unit == NO_ENERGY else spec.energy_unit,
        "dtype": spec.dtype,
        "particles": spec.particles,
        "elements": _symbols(spec.elements),
        "atoms": _formula(spec.atomic_numbers),
        "types": spec.type_map,
        "cutoff": None if spec.cutoff is None else f"{spec.cutoff:g} {spec.length_unit}",
        "mm cutoff": None if spec.mm_cutoff is None else f"{spec.mm_cutoff:g} {spec.length_unit}",
    }
    if "edges" in spec.inputs:
        values |= {label: getattr(spec, label.replace(" ", "_")) or default for label, default in _EDGES.items()}
    energies = {_symbol(z): energy for z, energy in (spec.atomic_energies or {}).items()}
    values |= {
        "periodic": "may be" if spec.periodic is None else spec.periodic,
        "long range": spec.long_range,
        "energy offset": None if spec.energy_offset is None else f"{spec.energy_offset:.10g} {spec.energy_unit}",
        "atomic energies": energies,
        "references": [f"{len(reference['positions'])} particles" for reference in spec.references] or "none",
    }
    shown = {"name", "inputs", "outputs", "output_units", "atomic_numbers", "index_dtype", "type_map", *_WORDS}
    more = {f.name.replace("_", " "): getattr(spec, f.name) for f in fields(spec) if f.name not in shown}
    values = {**values, **{label: value for label, value in more.items() if label not in values | _EDGES}}
    return {label: value for label, value in values.items() if value is not None and value not in ([], {}, "")}


def _input(spec: ModelSpec, name: str) -> dict[str, str]:
    integer = name in ("atomic_numbers", "types", "charge", "multiplicity")
    index = name == "edges" or (name == "shifts" and spec.shifts in (None, "cell"))
    dtype = "int64" if integer else (spec.index_dtype or "int64") if index else spec.dtype
    length = name in _LENGTHS or (name == "shifts" and spec.shifts == "cartesian")
    unit = spec.length_unit if length else "e" if name in ("charge", "mm_charges") else ""
    return {"name": name, "dtype": dtype, "shape": _shape(spec, name), "unit": unit}


def _output(spec: ModelSpec, name: str) -> dict[str, str]:
    force = f"{spec.energy_unit}/{spec.length_unit}"
    units = {"energy": spec.energy_unit, "forces": force, "mm_forces": force} | spec.output_units
    if name.startswith(COMPONENT_FORCES):
        unit = units.get(name.removeprefix(COMPONENT_FORCES), "1")
        return {"name": name, "shape": "", "unit": f"{unit}/{spec.length_unit}"}
    derivative = f"{spec.energy_unit} per unit of it" if name.startswith(DERIVATIVE) else ""
    return {"name": name, "shape": _shape(spec, name), "unit": units.get(name, derivative)}


def _shape(spec: ModelSpec, name: str) -> str:
    """ "" where the spec leaves it open."""
    if name in _SCALARS or name.startswith((PARAMETER, DERIVATIVE)):
        return "[]"
    shape = "[1, 3, 3]" if name == "box" and spec.batched_box else _SHAPES.get(name, "")
    shape = shape if spec.particles == "dynamic" else shape.replace("n", str(spec.particles))
    return shape if spec.edge_capacity in (None, "dynamic") else shape.replace("e", str(spec.edge_capacity))


def _symbol(number: int) -> str:
    return ELEMENTS[number - 1]


def _symbols(numbers: list[int] | None) -> list[str]:
    return [_symbol(z) for z in numbers or []]


def _formula(numbers: list[int] | None) -> str:
    """Carbon and hydrogen first, then by name."""
    counts = Counter(_symbols(numbers))
    order = sorted(counts, key=lambda symbol: ({"C": 0, "H": 1}.get(symbol, 2), symbol))
    return "".join(f"{symbol}{counts[symbol] if counts[symbol] > 1 else ''}" for symbol in order)


# The program


def _program(archive: zipfile.ZipFile) -> dict[str, Any]:
    records = _records(archive)
    if any(name.startswith(_PACKAGE) for name in records):
        return _package(archive, records)
    if "constants.pkl" in records and "data.pkl" in records:
        return _script(archive, records)
    raise ValueError(
        "the archive holds neither a TorchScript program nor an AOTInductor package; a state dict or a pickled module "
        "is no model: export it with openmm-nnp export"
    )


def _script(archive: zipfile.ZipFile, records: Mapping[str, zipfile.ZipInfo]) -> dict[str, Any]:
    """A TorchScript program: its weights, and the operators and classes that torch does not bring."""
    code = [archive.read(record).decode(errors="replace") for name, record in records.items() if name.endswith(".py")]
    weights = sum(record.file_size for name, record in records.items() if re.match(r"(data|constants)/", name))
    operators = {f"{space}.{name}" for text in code for space, name in _OPERATOR.findall(text)}
    custom = {name for name in operators if name.split(".")[0] not in _OWN_OPERATORS}
    custom |= {f"class {name}" for text in code for name in _CLASS.findall(text)}
    program = {
        "entries": ["energy, forces by autograd or by the model"],
        "device": "any",
        "weights": f"{weights / 2**20:.2f} MiB",
        "custom operators": sorted(custom) or "none",
    }
    return {"format": "TorchScript (.pt)", "program": program}


def _package(archive: zipfile.ZipFile, records: Mapping[str, zipfile.ZipInfo]) -> dict[str, Any]:
    """An AOTInductor package: what its compiler wrote down, and what the family's own exporter added."""
    metadata: dict[str, Any] = {}
    entries, custom = [], set()
    for name, record in records.items():
        if not name.startswith(_PACKAGE):
            continue
        if name.endswith("_metadata.json"):
            metadata = _object(archive, record) | metadata
        elif name.endswith(".json") and not name.endswith("weights_config.json"):
            custom |= set(_called(_object(archive, record)))
        elif name.endswith(".so"):
            entries.append(name.removeprefix(_PACKAGE).split("/")[0])
    compiled = {label: metadata[key] for key, label in _COMPILED.items() if metadata.get(key)}
    if str(compiled.get("GPU compute capability", "")).isdigit():
        compiled["GPU compute capability"] = f"{int(metadata['AOTI_COMPUTE_CAPABILITY']) / 10:.1f}"
    program = {
        "entries": ["energy alone" if name == _ENERGY_ENTRY else "energy and forces" for name in sorted(entries)],
        "torch version": "not said",
        **compiled,
        "custom operators": sorted(custom) or "none",
    }
    more = {key: value for key, value in metadata.items() if key not in _COMPILED and not key.startswith("AOTI_")}
    return {"format": "AOTInductor package (.pt2)", "program": program} | ({"metadata": more} if more else {})


def _object(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> dict[str, Any]:
    try:
        value = parse_json(archive.read(record))
    except ValueError as error:
        raise ValueError(f"the entry '{record.filename}' is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"the entry '{record.filename}' is a JSON {type(value).__name__}, but must be an object")
    return value


def _called(extern: Mapping[str, Any]) -> Iterator[str]:
    """Names of the operators that a package calls without holding them."""
    nodes = extern.get("nodes")
    for node in nodes if isinstance(nodes, list) else []:
        called = node.get("node") if isinstance(node, dict) else None
        yield str(called.get("target", "unnamed")) if isinstance(called, dict) else "unnamed"
