"""Compares the versions of OpenMM and torch that are installed with those that the libraries need.

Versions are read as text from the installed packages: nothing is imported and no library is loaded.
"""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path

TORCH_NEEDED = (2, 11)
TORCH_LIBRARY_VARIABLE = "OPENMMNNP_TORCH_LIB"
_INSTALL_TORCH = 'pip install "torch>=2.11,<2.16"'
_VERSION = re.compile(r"""^(?:short_version|__version__)\b[^=\n]*=\s*['"]([^'"]+)['"]""", re.MULTILINE)


def check_openmm(built_for: str) -> None:
    """Raise ImportError, in one sentence, unless OpenMM has the minor version that the libraries were built for."""
    needed = "{}.{}".format(*_minor(built_for))
    found = installed_version("openmm")
    if found is None or _minor(found) != _minor(built_for):
        raise ImportError(
            f"This openmm-nnp was built for OpenMM {needed}, but {_found('OpenMM', found)}: "
            f'run pip install "openmm=={needed}.*"'
        )


def check_torch() -> None:
    """Raise ImportError, in one sentence, unless torch is new enough or the user names a folder of its libraries."""
    found = installed_version("torch")
    if os.environ.get(TORCH_LIBRARY_VARIABLE) or (found is not None and _minor(found) >= TORCH_NEEDED):
        return
    needed = "{}.{}".format(*TORCH_NEEDED)
    raise ImportError(f"openmm-nnp needs torch {needed} or newer, but {_found('torch', found)}: run {_INSTALL_TORCH}")


def installed_version(package: str) -> str | None:
    """Version of the package that `import` would find, or None if it would find none."""
    folder = package_folder(package)
    if folder is None:
        return None
    try:
        match = _VERSION.search((folder / "version.py").read_text(encoding="utf-8"))
    except OSError:
        match = None
    return match[1] if match else _metadata_version(package)


def package_folder(package: str) -> Path | None:
    """Folder of an installed package, found without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def library_folder() -> Path:
    """Folder of our compiled libraries, found without loading one."""
    spec = find_spec("openmmnnp._core")
    return Path(spec.origin if spec and spec.origin else __file__).parent / "lib"


def _metadata_version(package: str) -> str | None:
    from importlib import metadata  # here, since it is slow to import and seldom needed

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _minor(version: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _found(name: str, version: str | None) -> str:
    return f"{name} is not installed" if version is None else f"{name} {version} is installed"
