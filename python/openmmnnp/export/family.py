"""A model of a family, exported: what the verb `export` does."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from .._elements import ELEMENTS
from ..atoms import Atoms
from ..families import Loaded, check_packages, find_family
from ..inspect import printable
from ..spec import ModelSpec, read_spec, write_spec
from .package import replaced
from .single import export

__all__ = ["export_family", "named_atoms"]


def export_family(name: str, options: argparse.Namespace, path: str | os.PathLike[str]) -> ModelSpec:
    """Export the model that the options of family ``name`` say, and return the spec as written.

    Raises ImportError with what to install if a package is missing, and ValueError or OSError with a sentence if the
    model can't be read or exported; nothing is written then.
    """
    family, target = find_family(name), Path(path)
    check_packages(name, family)
    atoms = named_atoms(options)
    loaded = family.load(options, atoms)
    if options.charge and (atoms is None or "charge" not in loaded.spec.inputs):
        raise ValueError(
            f"--charge {options.charge} was given, but it is the charge of the atoms of --pdb or --elements, for a "
            "model that takes one"
        )
    if atoms is not None:
        atoms.check_fits(loaded.spec)
    if loaded.module is None:
        if options.threads is not None or options.energy_entry:
            raise ValueError("--threads or --energy-entry was given, but the file runs as it is and is not compiled")
        spec = _copy(loaded, target)
    else:
        spec = export(
            loaded.module,
            loaded.spec,
            target,
            device=options.device,
            example=(atoms or Atoms.for_spec(loaded.spec)).example(loaded.spec),
            energy_entry=options.energy_entry,
            threads=options.threads,
        )
    print(f"{target}: {printable(spec.name)}, license: {printable(spec.license) or 'not said'}", file=sys.stderr)
    return spec


def named_atoms(options: argparse.Namespace) -> Atoms | None:
    """The atoms of ``--pdb`` or ``--elements``; None if neither was given. Raises ValueError if they are no atoms."""
    if options.pdb is not None:
        return Atoms.from_pdb(options.pdb, periodic=not options.no_box, charge=options.charge)
    if options.elements is None:
        return None
    return Atoms.of_elements([_element(word) for word in options.elements.split(",")], charge=options.charge)


def _element(word: str) -> int:
    number, symbol = word.strip(), word.strip().capitalize()
    if number.isdigit() and 0 < int(number) <= len(ELEMENTS):
        return int(number)
    if symbol not in ELEMENTS:
        raise ValueError(f"'{word}' is no element; give atomic numbers or symbols, such as 8,1,1 or O,H,H")
    return ELEMENTS.index(symbol) + 1


def _copy(loaded: Loaded, target: Path) -> ModelSpec:
    """A file that runs as it is, with its spec put into it; its own references are kept if there are no others."""
    assert loaded.path is not None
    if target.suffix != loaded.path.suffix:
        raise ValueError(f"{loaded.path.name} runs as it is, so the output must end in {loaded.path.suffix}, too")
    with replaced(target) as aside:
        shutil.copyfile(loaded.path, aside)
        before = read_spec(aside)
        spec = (
            loaded.spec
            if before is None
            else replace(loaded.spec, references=loaded.spec.references or before.references)
        )
        write_spec(aside, spec)
    return spec
