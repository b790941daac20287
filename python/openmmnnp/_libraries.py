"""Loads the compiled libraries when it is imported: first a look at versions, then OpenMM, ours, and the plugins."""

from __future__ import annotations

import warnings
from pathlib import Path

from . import _check

_REINSTALL = "pip install --force-reinstall --no-deps openmm-nnp"


def _load() -> str:
    """Load everything that NNPForce needs, and return the version of openmm-nnp.

    Raises ImportError, in one sentence with a command that mends it, if that can't work.
    """
    try:
        from . import _build
    except ImportError as error:
        raise ImportError(
            "openmmnnp has no compiled libraries here: run pip install --no-build-isolation . in its source folder"
        ) from error
    _check.check_openmm(_build.OPENMM_VERSION)
    _check.check_torch()
    _load_plugins(_load_core())
    return _build.VERSION


def _load_core() -> Path:
    """Load _core, and with it libOpenMMNNP, tell it where torch is, and return the folder that it was loaded from."""
    import openmm  # noqa: F401 - its libraries must be there before ours

    try:
        from . import _core
    except ImportError as error:
        raise ImportError(f"openmm-nnp's libraries can't be loaded ({error}): run {_REINSTALL}") from error
    torch = _check.package_folder("torch")
    if torch is not None:
        _core.setTorchLibraryFolder(str(torch / "lib"))
    return Path(_core.__file__).parent


def _load_plugins(folder: Path) -> None:
    """Load the plugin of each platform that OpenMM has.

    Without the one for Reference and CPU nothing works: ImportError. Without another one, that platform can't run an
    NNPForce while the others can: RuntimeWarning.
    """
    import openmm

    plugins = {path.stem.removeprefix("libOpenMMNNP"): path for path in (folder / "lib" / "plugins").glob("lib*.so")}
    if "Reference" not in plugins:
        raise ImportError(f"openmm-nnp has no plugin for the Reference platform in {folder}: run {_REINSTALL}")
    known = {openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())}
    for platform in sorted(known & set(plugins)):
        try:
            openmm.Platform.loadPluginLibrary(str(plugins[platform]))
        except openmm.OpenMMException as error:
            if platform == "Reference":
                raise ImportError(f"openmm-nnp's plugin can't be loaded ({error}): run {_REINSTALL}") from error
            warnings.warn(
                f"NNPForce can't run on the {platform} platform, since its plugin can't be loaded: {error}",
                RuntimeWarning,
                stacklevel=2,
            )


VERSION = _load()
