"""Every option of a simulation: its name, default, unit and help. The command line and run.yaml follow from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from . import quantities as q

NONE = "none"


@dataclass(frozen=True)
class Kind:
    """How an option is read from text and written to it."""

    dimension: q.Dimension | None = None
    type: type = str
    choices: tuple[str, ...] = ()
    or_none: bool = False  # the text `none` gives None
    many: bool = False
    minimum: float | None = None
    above: float | None = None  # the value must be greater

    def read(self, value: Any) -> Any:
        """The value of text or of what YAML holds. Raises ValueError."""
        if self.many:
            items = value if isinstance(value, list | tuple) else [value]
            return tuple(self._read_one(item) for item in items)
        return self._read_one(value)

    def _read_one(self, value: Any) -> Any:
        if self.or_none and (value is None or str(value) == NONE):
            return None
        number = self._read_value(value)
        if self.minimum is not None and number < self.minimum:
            raise ValueError(f"{str(value)!r} is too small: {self.minimum:g} is the least")
        if self.above is not None and not self.above < number < math.inf:
            raise ValueError(f"{str(value)!r} is out of range: it must be above {self.above:g} and finite")
        return number

    def _read_value(self, value: Any) -> Any:
        if isinstance(value, dict | list | None):
            raise ValueError(f"{value!r} is no single value")
        if self.dimension is not None:
            return self.dimension.parse(str(value))
        if self.choices and str(value) not in self.choices:
            raise ValueError(f"{str(value)!r} is none of {', '.join(self.choices)}")
        if self.type is bool:
            if not isinstance(value, bool):
                raise ValueError(f"{value!r} is neither true nor false")
            return value
        if self.type in (int, float):
            try:
                return self.type(str(value))
            except ValueError:
                kind = "whole number" if self.type is int else "number"
                raise ValueError(f"{str(value)!r} is no {kind}") from None
        return self.type(str(value))

    def write(self, value: Any) -> Any:
        """What YAML holds: text with a unit, a number, true or false."""
        if value is None:
            return NONE
        if self.many:
            return [str(item) for item in value]
        if self.dimension is not None:
            return self.dimension.format(value)
        return str(value) if self.type is Path else value


def option(
    help: str, default: Any = None, *, group: str, short: bool = False, resume: bool = False, **kind: Any
) -> Any:
    metadata = {"help": help, "group": group, "short": short, "resume": resume, "kind": Kind(**kind)}
    return field(default=default, metadata=metadata)


_FILES, _RUN, _SYSTEM, _PROTOCOL = "files", "run", "system", "protocol"
_OUTPUT, _MACHINE = "output", "machine"


def _interval(help: str) -> Any:
    return option(help, group=_OUTPUT, dimension=q.TIME, above=0.0, or_none=True)


def _uncertainty(help: str) -> Any:
    return option(help, group=_OUTPUT, resume=True, dimension=q.ENERGY, above=0.0, or_none=True)


@dataclass
class Options:
    """The options of `openmm-nnp simulate`. Values are in the first unit of their dimension; None means not given.

    `short` options are in `--help`, all are in `--help-all`; `resume` ones may change when a run is resumed.
    """

    VERB: ClassVar[str] = "simulate"

    protein: Path | None = option("protein, PDB or mmCIF", group=_FILES, short=True, type=Path)
    ligand: Path | None = option("ligand in its pose, SDF or PDB", group=_FILES, short=True, type=Path)
    ligand_ff: str | None = option(
        "its force field: an OpenMM XML file, or gaff-2.2.20, openff-2.2.1, ... through openmmforcefields",
        group=_FILES,
        short=True,
    )
    topology: Path | None = option("or a whole set-up: PDB, mmCIF or prmtop", group=_FILES, short=True, type=Path)
    system: Path | None = option("its System as XML, or a prmtop", group=_FILES, short=True, type=Path)
    positions: Path | None = option(
        "its positions where the topology has none: inpcrd, rst7, PDB, mmCIF", group=_FILES, type=Path
    )
    ml: str | None = option(
        "the model's atoms in MDTraj's selection language, like 'resname LIG' [the ligand]", group=_FILES, short=True
    )
    model: Path | None = option("potential, .pt or .pt2", group=_FILES, short=True, type=Path)
    frames: Path | None = option(
        "labelled geometries of the model's atoms, extended XYZ, that the report compares it with",
        group=_FILES,
        resume=True,
        type=Path,
    )

    time: float = option(
        "length of production", 1000.0, group=_RUN, short=True, resume=True, dimension=q.TIME, above=0.0
    )
    seed: int = option("of velocities, thermostat, barostat and ions", 1, group=_RUN, short=True, type=int)
    mm_only: bool = option("the control run: no model, the same protocol", False, group=_RUN, short=True, type=bool)
    strict: bool = option(
        "end with exit status 3 when the model's molecules change their bonds",
        False,
        group=_RUN,
        resume=True,
        type=bool,
    )

    forcefield: tuple[str, ...] = option(
        "OpenMM force field files", ("amber14-all.xml", "amber14/tip3pfb.xml"), group=_SYSTEM, many=True
    )
    add_hydrogens: bool = option("add the protein's missing hydrogens", False, group=_SYSTEM, type=bool)
    ph: float = option("pH for that", 7.0, group=_SYSTEM, type=float, minimum=0.0)
    padding: float = option("water around the solutes", 0.9, group=_SYSTEM, dimension=q.LENGTH)
    box_shape: str = option(
        "shape of the box",
        "dodecahedron",
        group=_SYSTEM,
        choices=("dodecahedron", "octahedron", "cube"),
    )
    water: str = option(
        "geometry of the water that is added, that of the force field",
        "tip3p",
        group=_SYSTEM,
        choices=("tip3p", "spce", "tip4pew", "tip5p", "swm4ndp"),
    )
    ionic_strength: float = option("salt beside neutralizing ions", 0.15, group=_SYSTEM, dimension=q.CONCENTRATION)
    solvent: bool = option("add water and salt", True, group=_SYSTEM, type=bool)
    cutoff: float = option("of nonbonded forces (PME beyond)", 0.9, group=_SYSTEM, dimension=q.LENGTH, above=0.0)
    constraints: str = option("constrained MM bonds", "hbonds", group=_SYSTEM, choices=("none", "hbonds", "allbonds"))
    hydrogen_mass: float | None = option(
        "mass that hydrogens outside water get from their neighbors, at most 4Da, or none",
        None,
        group=_SYSTEM,
        dimension=q.MASS,
        above=0.0,
        or_none=True,
    )

    temperature: float = option(
        "of the thermostat", 300.0, group=_PROTOCOL, short=True, dimension=q.TEMPERATURE, above=0.0
    )
    pressure: float | None = option(
        "of the barostat, or none", 1.0, group=_PROTOCOL, short=True, dimension=q.PRESSURE, or_none=True
    )
    friction: float = option("of the Langevin thermostat", 1.0, group=_PROTOCOL, dimension=q.RATE)
    nvt_friction: float = option(
        "of the thermostat in NVT, to take up the heat of the start", 10.0, group=_PROTOCOL, dimension=q.RATE
    )
    timestep: float = option("time step", 0.001, group=_PROTOCOL, short=True, dimension=q.TIME, above=0.0)
    minimize_steps: int = option(
        "iterations of each part of a minimization at most (OpenMM makes constraints stiffer in several), 0 for none",
        200,
        group=_PROTOCOL,
        type=int,
        minimum=0,
    )
    nvt: float = option("equilibration at constant volume, restrained", 50.0, group=_PROTOCOL, dimension=q.TIME)
    npt: float = option("equilibration at constant pressure", 100.0, group=_PROTOCOL, dimension=q.TIME)
    restraint: float = option(
        "on heavy atoms of the solutes during NVT", 1000.0, group=_PROTOCOL, dimension=q.STIFFNESS
    )

    out: Path | None = option("folder of the run", group=_OUTPUT, short=True, type=Path)
    log_interval: float | None = _interval("between lines of log.csv [a thousandth of the time, at most 1 ps]")
    trajectory_interval: float | None = _interval("between frames [a five-hundredth of the time, at most 10 ps]")
    checkpoint_interval: float | None = _interval(
        "between checkpoints [about five minutes; 10,000 steps with --deterministic]"
    )
    trajectory_format: str = option("format of the trajectory", "xtc", group=_OUTPUT, choices=("xtc", "dcd"))
    save: str = option("atoms to save: all, solute, or an MDTraj selection", "all", group=_OUTPUT)
    outputs: tuple[str, ...] = option(
        "named outputs of the model to write to outputs.npy, a row for each frame", (), group=_OUTPUT, many=True
    )
    warn_uncertainty: float | None = _uncertainty("warn when energy_std, looked at with each line of log.csv, is above")
    harvest_uncertainty: float | None = _uncertainty("write the model's atoms to uncertain.xyz when it is above")
    stop_uncertainty: float | None = _uncertainty("end with exit status 4 when it is above")
    report: bool = option("write report.html at the end", True, group=_OUTPUT, resume=True, type=bool)

    platform: str | None = option(
        "Reference, CPU, OpenCL, CUDA [the fastest]", group=_MACHINE, short=True, resume=True, or_none=True
    )
    precision: str = option(
        "on OpenCL and CUDA", "mixed", group=_MACHINE, resume=True, choices=("single", "mixed", "double")
    )
    device: str | None = option("index of the GPU [the first]", group=_MACHINE, resume=True, or_none=True)
    threads: int | None = option(
        "of the CPU platform [all cores]", group=_MACHINE, resume=True, type=int, minimum=1, or_none=True
    )
    deterministic: bool = option(
        "sum forces in one order: with one thread and equal intervals, equal runs are equal bit for bit",
        False,
        group=_MACHINE,
        type=bool,
    )

    def to_mapping(self) -> dict[str, Any]:
        """All options by name, as YAML holds them."""
        return written(self)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Options:
        """Options from text or YAML's values. Raises ValueError that names the option."""
        return cls(**read_values(values))


def written(options: Any) -> dict[str, Any]:
    """All options of a dataclass like Options by name, as YAML holds them."""
    return {f.name: kind(f).write(getattr(options, f.name)) for f in fields(options)}


def kind(option: Field[Any]) -> Kind:
    """How the option is read and written."""
    found: Kind = option.metadata["kind"]
    return found


def default_text(option: Field[Any]) -> str:
    """The default for people, "" where there is none."""
    if option.default is MISSING or option.default is None or option.default is False:
        return ""
    value = kind(option).write(option.default)
    return " ".join(value) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def read_values(values: Mapping[str, Any], options: Any = Options) -> dict[str, Any]:
    """Values of options from text or YAML's values. Raises ValueError that names the option.

    `options` is Options, or another dataclass like it.
    """
    known = {f.name: f for f in fields(options)}
    read: dict[str, Any] = {}
    for name, value in values.items():
        found = known.get(str(name).replace("-", "_"))
        if found is None:
            raise ValueError(f"there is no option {name!r}: `openmm-nnp {options.VERB} --help-all` lists all")
        if value in (None, NONE) and found.default is None:
            read[found.name] = None
            continue
        try:
            read[found.name] = kind(found).read(value)
        except ValueError as error:
            raise ValueError(f"{found.name}: {error}") from None
    return read
