"""Runs the code of a page in docs/, so that a page that is read also works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

__all__ = ["blocks", "run_page"]

_FENCED = re.compile(r"^```(bash|python)[ \t]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of the page's blocks fenced as ```bash or ```python, in order; others are for reading only."""
    return [(match[1], match[2]) for match in _FENCED.finditer(page.read_text())]


def run_page(path: Path, folder: Path, **environment: str) -> str:
    """Run a page's blocks in order, all in one folder, and return what they printed.

    Bash runs with ``-euo pipefail``, Python with this interpreter; so does the command ``openmm-nnp``, wherever it is
    installed. ``environment`` is added to the process's own. Raises AssertionError with the block and its output if
    one fails, or if the page has none.
    """
    found = blocks(path)
    assert found, f"{path} has no block fenced as bash or python"
    variables = {**os.environ, **environment, "PATH": _search_path(folder)}
    printed = []
    for i, (language, text) in enumerate(found, 1):
        interpreter = ["bash", "-euo", "pipefail"] if language == "bash" else [sys.executable]
        script = folder / f"block_{i}.{'sh' if language == 'bash' else 'py'}"
        script.write_text(text)
        command = [*interpreter, script.name]
        done = subprocess.run(
            command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert done.returncode == 0, f"{path}, block {i} ended with {done.returncode}:\n{text}\n{done.stdout}"
        printed.append(done.stdout)
    return "".join(printed)


def _search_path(folder: Path) -> str:
    """PATH with a folder in front whose ``openmm-nnp`` and ``python`` run this interpreter."""
    shims = folder / "bin"
    shims.mkdir(exist_ok=True)
    for name, arguments in (("openmm-nnp", "-m openmmnnp"), ("python", "")):
        shim = shims / name
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        shim.chmod(0o755)
    return os.pathsep.join([str(shims), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
