"""Looks at an installation and says what is wrong, and what to do.

Nothing of OpenMM, torch or our libraries is loaded into this process: versions are read as text, and what must run runs
in processes of its own, so that a missing package or a crashing driver is a finding like others.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import _check

SECONDS = 120  # for a process; OpenCL compiles kernels when it first meets them
MEGABYTES_NEEDED = 200
ON_EVERY_MACHINE = ("Reference", "CPU")
TOLERANCE = 1e-5  # relative; devices compute in float32
REINSTALL = "pip install --force-reinstall --no-deps openmm-nnp"


@dataclass
class Finding:
    """One thing that was looked at. `state` is "ok", "warning" (some of it does not work) or "error"."""

    name: str
    state: str
    text: str
    cure: str = ""


def examine() -> list[Finding]:
    """Look at everything. Findings come in an order in which an early one may explain later ones."""
    findings = [Finding("Python", "ok", f"{platform.python_version()} ({sys.executable})")]
    findings += [_own_version(), _openmm(), _torch(), _torch_library()]
    probe = _run_probe("platforms()")
    if isinstance(probe, str):
        cure = _command_in(probe) or REINSTALL
        findings.append(Finding("import openmmnnp", "error", probe, cure))
    else:
        findings.append(Finding("import openmmnnp", "ok", "works"))
        findings += _platforms(probe)
        findings += [_evaluation(name) for name, has_kernel in probe["platforms"].items() if has_kernel]
    return findings + [_private_folder(), *_leftovers(), _threads()]


def report(findings: list[Finding], *, as_json: bool) -> str:
    """The findings as text for a person, or as JSON."""
    if as_json:
        return json.dumps([asdict(finding) for finding in findings], indent=1)
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:8} {finding.name:{width}}  {finding.text}")
        if finding.cure:
            lines.append(f"{'':8} {'':{width}}  -> {finding.cure}")
    errors = sum(finding.state == "error" for finding in findings)
    return "\n".join([*lines, f"{errors} errors" if errors != 1 else "1 error"])


# Versions, read as text


def _build() -> Any:
    try:
        from . import _build
    except ImportError:
        return None
    return _build


def _own_version() -> Finding:
    build = _build()
    if build is None:
        return Finding("openmm-nnp", "error", "has no compiled libraries", "pip install --no-build-isolation .")
    text = f"{build.VERSION}, built for OpenMM {build.OPENMM_VERSION} and torch {', '.join(build.TORCH_VERSIONS)}"
    return Finding("openmm-nnp", "ok", text)


def _openmm() -> Finding:
    build = _build()
    check = (lambda: _check.check_openmm(build.OPENMM_VERSION)) if build else (lambda: None)
    return _version("OpenMM", "openmm", check, "")


def _torch() -> Finding:
    folder = _check.package_folder("torch")
    cuda = None
    if folder is not None and (folder / "version.py").exists():
        cuda = re.search(r"^cuda\b[^=\n]*=\s*'([^']+)'", (folder / "version.py").read_text(), re.MULTILINE)
    return _version("torch", "torch", _check.check_torch, f", with CUDA {cuda[1]}" if cuda else ", without CUDA")


def _version(name: str, package: str, check: Callable[[], None], more: str) -> Finding:
    try:
        check()
    except ImportError as error:
        return Finding(name, "error", str(error).split(": run ")[0], _command_in(str(error)))
    version = _check.installed_version(package)
    return Finding(name, "ok" if version else "error", f"{version}{more}" if version else "is not installed")


def _torch_library() -> Finding:
    """The library for TorchScript that fits the torch that is installed."""
    name = "TorchScript"
    folder = _check.library_folder()
    there = sorted(p.stem.removeprefix("libOpenMMNNPTorch-") for p in folder.glob("libOpenMMNNPTorch-*.so"))
    version = _check.installed_version("torch") or ""
    minor = ".".join(version.split(".")[:2])
    if minor in there:
        return Finding(name, "ok", f"library for torch {minor} is there")
    text = f"no library for torch {minor or '(not installed)'}, only for {', '.join(there) or 'none'}: .pt does not run"
    cure = f'pip install "torch=={there[-1]}.*", or use a package (.pt2)' if there else REINSTALL
    return Finding(name, "warning", text, cure)


def _command_in(text: str) -> str:
    """What a message says to run."""
    return text.rsplit(": run ", 1)[1].splitlines()[0] if ": run " in text else ""


# What runs in processes of its own


def _run_probe(call: str) -> dict[str, Any] | str:
    """The answer of a function of _probe, or a sentence about how its process failed."""
    command = [sys.executable, "-c", f"from openmmnnp import _probe; _probe.{call}"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"gave no answer in {SECONDS} s"
    if result.returncode < 0:
        return f"crashed ({signal.Signals(-result.returncode).name})"
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    if result.returncode:
        return lines[-1] if lines else f"ended with exit status {result.returncode}"
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return answer


def _platforms(probe: dict[str, Any]) -> Iterator[Finding]:
    ours = [name for name, has_kernel in probe["platforms"].items() if has_kernel]
    others = [name for name, has_kernel in probe["platforms"].items() if not has_kernel]
    text = "NNPForce runs on " + ", ".join(ours) + (f"; not on {', '.join(others)}" if others else "")
    missing = [name for name in ON_EVERY_MACHINE if name not in ours]
    yield Finding("platforms", "error" if missing else "ok", text, REINSTALL if missing else "")
    for failure in probe["failures"]:
        cure = "needed for that platform only: install its driver, or ignore it"
        yield Finding("plugin of OpenMM", "warning", failure, cure)


def _evaluation(name: str) -> Finding:
    """A tiny force on a platform against its analytic value."""
    probe = _run_probe(f"evaluate({name!r})")
    if isinstance(probe, str):
        state = "error" if name in ON_EVERY_MACHINE or "crashed" in probe else "warning"
        cure = "choose another platform, or look at its driver (clinfo, nvidia-smi)"
        return Finding(f"force on {name}", state, probe, _command_in(probe) or cure)
    text = f"relative error {probe['error']:.1g} on {probe['device']}, {1000 * probe['seconds']:.0f} ms at first"
    if probe["error"] > TOLERANCE:
        return Finding(f"force on {name}", "error", f"WRONG, {text}", "do not use this platform; report this")
    return Finding(f"force on {name}", "ok", text)


# The machine


def _temporary() -> Path:
    """The folder in which the libraries make theirs: TMPDIR if it is a folder, else /tmp."""
    named = Path(next((os.environ[v] for v in ("TMPDIR", "TMP", "TEMP", "TEMPDIR") if v in os.environ), "/tmp"))
    return named if named.is_dir() else Path("/tmp")


def _private_folder() -> Finding:
    """Where libraries of packages (.pt2) are unpacked: it must be writable and executable, with space."""
    folder, name = _temporary(), "private folder"
    cure = "set TMPDIR to a folder with space that allows execution"
    try:
        with tempfile.TemporaryDirectory(prefix="openmmnnp-doctor-", dir=folder) as made:
            executable = not os.statvfs(made).f_flag & os.ST_NOEXEC
        free = shutil.disk_usage(folder).free // 2**20
    except OSError as error:
        return Finding(name, "error", f"{folder} is not writable ({error.strerror})", cure)
    if not executable:
        return Finding(name, "error", f"{folder} is mounted noexec, so packages (.pt2) do not run", cure)
    if free < MEGABYTES_NEEDED:
        return Finding(name, "warning", f"{folder} has {free} MB free, {MEGABYTES_NEEDED} are advised", cure)
    return Finding(name, "ok", f"{folder} is writable and executable, {free} MB are free")


def _leftovers() -> Iterator[Finding]:
    """Folders of processes that were killed."""
    dead = [
        path for path in _temporary().glob("openmmnnp-*-*-*-*") if not Path("/proc", path.name.split("-")[1]).exists()
    ]
    if dead:
        text = f"{len(dead)} folders of processes that are gone, e.g. {dead[0]}"
        yield Finding("leftovers", "ok", text, "the next process of this machine that loads a package removes them")


def _threads() -> Finding:
    count = os.environ.get("OMP_NUM_THREADS")
    if count is None:
        text = f"OMP_NUM_THREADS is not set: torch may start {os.cpu_count()} threads that wait for OpenMM's"
        return Finding("threads", "warning", text, "set OMP_NUM_THREADS=1 unless you measured that more is faster")
    return Finding("threads", "ok", f"OMP_NUM_THREADS={count}")
