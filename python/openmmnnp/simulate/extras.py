"""The packages that simulations need beside OpenMM and torch."""

from __future__ import annotations

import importlib.util

_NEEDED = ("ase", "matplotlib", "mdtraj", "rdkit", "tqdm", "yaml")


def check_extras() -> None:
    """Raise ImportError that says what to install if one is missing."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"simulations need packages that are not installed ({', '.join(missing)}): run pip install "
            "'openmm-nnp[simulate]'"
        )
