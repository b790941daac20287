"""Every option of a correction; those of building and of dynamics are the ones of `simulate`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from ..simulate import quantities as q
from ..simulate.options import Options, option, written

COMPLEX, SOLVENT = "complex", "solvent"
LEGS = (COMPLEX, SOLVENT)
BAR, MBAR = "bar", "mbar"
_FILES, _RUN, _PROTOCOL, _OUTPUT, _MACHINE = "files", "run", "protocol", "output", "machine"
# Options of `simulate` with the same meaning here.
_SHARED = (
    *("protein", "ligand", "ligand_ff", "topology", "system", "positions", "ml", "model", "seed", "forcefield"),
    *("add_hydrogens", "ph", "padding", "box_shape", "water", "ionic_strength", "solvent", "cutoff", "constraints"),
    *("hydrogen_mass", "temperature", "pressure", "friction", "nvt_friction", "timestep", "minimize_steps", "nvt"),
    *("restraint", "platform", "precision", "device", "threads", "deterministic"),
)
_SETUPS = ("topology", "system", "positions", "ml")


def _shared(name: str, help: str | None = None, **metadata: Any) -> Any:
    found = next(f for f in fields(Options) if f.name == name)
    text = {} if help is None else {"help": help}
    return field(default=found.default, metadata={**found.metadata, **metadata, **text})


@dataclass
class CorrectOptions:
    """The options of `openmm-nnp correct` for one ligand. Values are in the first unit of their dimension.

    `resume` ones may change when a command is repeated; on the command line `each` ones take a value for each ligand.
    """

    VERB: ClassVar[str] = "correct"

    protein: Path | None = _shared("protein")
    ligand: Path | None = _shared("ligand", "ligands in their poses, SDF or PDB, one in a file", each=True)
    ligand_ff: str | None = _shared(
        "ligand_ff",
        "their force field, one or one for each: an OpenMM XML file, or gaff-2.2.20, openff-2.2.1, ... through "
        "openmmforcefields",
        each=True,
    )
    topology: Path | None = _shared("topology", "or a whole set-up of the complex: PDB, mmCIF or prmtop")
    system: Path | None = _shared("system")
    positions: Path | None = _shared("positions")
    ml: str | None = _shared("ml")
    solvent_topology: Path | None = option(
        "and one of the ligand in water: PDB, mmCIF or prmtop", group=_FILES, short=True, type=Path
    )
    solvent_system: Path | None = option("its System as XML, or a prmtop", group=_FILES, short=True, type=Path)
    solvent_positions: Path | None = option(
        "its positions where the topology has none: inpcrd, rst7, PDB, mmCIF", group=_FILES, type=Path
    )
    solvent_ml: str | None = option("the model's atoms there [as --ml]", group=_FILES)
    model: Path | None = _shared("model", "potential, .pt or .pt2, one or one for each ligand", each=True)

    method: str = option(
        "bar: switches between MM and ML/MM in both directions; mbar: equilibrium at several lambdas",
        BAR,
        group=_RUN,
        short=True,
        choices=(BAR, MBAR),
    )
    snapshots: int = option(
        "samples of each state; with bar one switch begins at each",
        100,
        group=_RUN,
        short=True,
        resume=True,
        type=int,
        minimum=1,
    )
    switch: float = option(
        "length of a switch (bar)", 10.0, group=_RUN, short=True, resume=True, dimension=q.TIME, above=0.0
    )
    states: int = option("values of lambda from 0 to 1 (mbar)", 11, group=_RUN, short=True, type=int, minimum=2)
    seed: int = _shared("seed", "of velocities, thermostats, barostats and ions")
    retries: int = option(
        "how often a leg that failed is tried again", 1, group=_RUN, short=True, resume=True, type=int, minimum=0
    )

    forcefield: tuple[str, ...] = _shared("forcefield")
    add_hydrogens: bool = _shared("add_hydrogens")
    ph: float = _shared("ph")
    padding: float = _shared("padding")
    box_shape: str = _shared("box_shape")
    water: str = _shared("water")
    ionic_strength: float = _shared("ionic_strength")
    solvent: bool = _shared("solvent")
    cutoff: float = _shared("cutoff")
    constraints: str = _shared("constraints", "constrained MM bonds; none of the model's atoms")
    hydrogen_mass: float | None = _shared("hydrogen_mass")

    temperature: float = _shared("temperature")
    pressure: float | None = _shared("pressure")
    friction: float = _shared("friction")
    nvt_friction: float = _shared("nvt_friction")
    timestep: float = _shared("timestep")
    minimize_steps: int = _shared("minimize_steps")
    nvt: float = _shared("nvt")
    restraint: float = _shared("restraint")
    equilibrate: float = option(
        "equilibration of each state; lambda moves to it in the first half", 200.0, group=_PROTOCOL, dimension=q.TIME
    )
    sample_interval: float = option(
        "between samples of a state", 10.0, group=_PROTOCOL, short=True, dimension=q.TIME, above=0.0
    )

    out: Path | None = _shared("out", "folder of the ligands and results, new or of the same command", resume=True)

    workers: int = option(
        "processes on this machine, more than one through Dask",
        1,
        group=_MACHINE,
        short=True,
        resume=True,
        type=int,
        minimum=1,
    )
    cluster: str | None = option(
        "address of the scheduler of a Dask cluster, like tcp://host:8786", group=_MACHINE, short=True, resume=True
    )
    platform: str | None = _shared("platform")
    precision: str = _shared("precision")
    device: str | None = _shared("device")
    threads: int | None = _shared("threads")
    deterministic: bool = _shared("deterministic")

    @property
    def lambdas(self) -> list[float]:
        """The values of lambda that are sampled."""
        last = 1 if self.method == BAR else self.states - 1
        return [k / last for k in range(last + 1)]

    def steps(self, time: float) -> int:
        """Time steps in a time (ps)."""
        return round(time / self.timestep)

    def to_mapping(self) -> dict[str, Any]:
        """All options by name, as YAML holds them."""
        return written(self)

    def of_leg(self, leg: str) -> Options:
        """What `simulate` would be told to build the leg, and to choose its platform."""
        values = {name: getattr(self, name) for name in _SHARED}
        if leg == SOLVENT:
            values |= {name: getattr(self, f"solvent_{name}") for name in _SETUPS}
            values |= {"protein": None, "add_hydrogens": False, "ph": Options().ph, "ml": self.solvent_ml or self.ml}
        return Options(**values)


def check(options: CorrectOptions) -> None:
    """Raise ValueError for options that name no two legs, that have no effect, or that fit no protocol."""
    from ..simulate.build import check_inputs  # imports OpenMM, which the command's help is not to wait for

    _check_legs(options)
    for leg in LEGS:
        check_inputs(options.of_leg(leg))
    unused = ("states",) if options.method == BAR else ("switch",)
    for name in unused:
        if getattr(options, name) != getattr(CorrectOptions(), name):
            raise ValueError(f"--{name} has no effect with --method {options.method}: leave it out")
    for name in ("sample_interval", "switch"):
        if options.steps(getattr(options, name)) < 1:
            text = f"{q.TIME.format(getattr(options, name))} is less than a time step of "
            raise ValueError(f"--{name.replace('_', '-')} {text}{q.TIME.format(options.timestep)}")
    if options.model is None:
        raise ValueError("--model is needed: name a potential (.pt or .pt2)")
    if not options.model.is_file():
        raise ValueError(f"there is no file {options.model}")


def _check_legs(options: CorrectOptions) -> None:
    if options.ligand and not options.protein:
        raise ValueError(
            "a correction is complex minus solvent: give --protein beside --ligand, or ready-made set-ups of both"
        )
    setup = bool(options.topology or options.system)
    missing = [n for n in ("topology", "system") if not getattr(options, f"solvent_{n}")]
    if setup and missing:
        raise ValueError(
            f"a correction is complex minus solvent: --solvent-{missing[0]} is needed beside --topology and --system"
        )
    given = [n for n in _SETUPS if getattr(options, f"solvent_{n}")]
    if given and not setup:
        raise ValueError(f"--solvent-{given[0]} was given without --topology and --system of the complex")
