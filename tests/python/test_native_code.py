"""Packages (.pt2) are native code: who may bring them, what is said before they run, and the folder they run from."""

from __future__ import annotations

import copy
import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest

import openmmnnp
from helpers import energy_and_forces
from openmmnnp import NNPForce
from openmmnnp.spec import read_spec, write_spec

pytestmark = pytest.mark.asan

MakeContext = Callable[..., openmm.Context]
POSITIONS = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0.1, 0.05, 0]])
REFUSED = "is native code, which can do all that you can, and this one came as bytes"
SCRIPT = """
import os, openmm, openmmnnp, signal, sys
system = openmm.System()
for _ in range(4):
    system.addParticle(1)
force = FORCE
force.setAtomicNumbers([8, 1, 1, 6])
force.addGlobalParameter("k", 0.25)
system.addForce(force)
try:
    reference = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)
    context.setPositions([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0.1, 0.05, 0]])
    print(context.getState(energy=True).getPotentialEnergy()._value)
except openmm.OpenMMException as error:
    print(error)
"""


@pytest.fixture
def package(pair_package: tuple[Path, Any], tmp_path: Path) -> Path:
    """A package that this process has never met."""
    path = tmp_path / "pair.pt2"
    shutil.copy(pair_package[0], path)
    spec = read_spec(path)
    assert spec
    write_spec(path, replace(spec, name=str(uuid.uuid4())))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def energy(force: openmm.Force, make_context: MakeContext) -> float:
    force = NNPForce.cast(force)
    if not force.getAtomicNumbers():
        force.setAtomicNumbers([8, 1, 1, 6])
        force.addGlobalParameter("k", 0.25)
    return energy_and_forces(make_context(openmm.Platform.getPlatformByName("Reference"), force, POSITIONS))[0]


def read(xml: str) -> openmm.Force:
    return openmm.XmlSerializer.deserialize(xml)


def run(package: Path, after: str = "", folder: Path | None = None, first: tuple[str, ...] = (), **options: Any) -> Any:
    """SCRIPT with this package and more code behind, in a process of its own whose temporary folder is given."""
    code = SCRIPT.replace("FORCE", f"openmmnnp.NNPForce({str(package)!r})") + after
    environment = os.environ | ({"TMPDIR": str(folder)} if folder else {})
    command = [*first, sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, **options)


# Who may bring it


def foreign(package: Path) -> dict[str, openmm.Force]:
    """Forces whose code came with their data."""
    data = package.read_bytes()
    hexadecimal = f'<Force type="TorchForce" version="4" file="a.pt2" encodedFileContents="{data.hex()}"/>'
    return {
        "bytes": NNPForce(data),
        "XML": read(openmm.XmlSerializer.serialize(NNPForce(data))),
        "XML of openmm-torch": read(hexadecimal),
        "path in XML of openmm-torch": read(f'<Force type="TorchForce" version="1" file="{package}"/>'),
    }


@pytest.mark.parametrize("origin", ["bytes", "XML", "XML of openmm-torch", "path in XML of openmm-torch"])
def test_code_that_came_with_data_is_refused(package: Path, make_context: MakeContext, origin: str) -> None:
    with pytest.raises(openmm.OpenMMException, match=f"{REFUSED}.*openmmnnp.trust.'{sha256(package)}'"):
        energy(foreign(package)[origin], make_context)


def test_trust_is_the_cure(package: Path, make_context: MakeContext) -> None:
    forces = foreign(package)
    openmmnnp.trust(sha256(package).upper())
    assert len({energy(force, make_context) for force in forces.values()}) == 1


def test_trust_by_environment(package: Path, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENMMNNP_TRUST", "0" * 64 + "," + sha256(package))
    energy(NNPForce(package.read_bytes()), make_context)


@pytest.mark.parametrize("given", ["", "abc", "g" * 64, "a" * 65])
def test_trust_needs_a_hash(given: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits, but .* was given; take it from"):
        openmmnnp.trust(given)


def test_copies_of_a_named_file_run(package: Path, make_context: MakeContext) -> None:
    force = NNPForce(package)
    copies = [read(openmm.XmlSerializer.serialize(force)), copy.deepcopy(force), pickle.loads(pickle.dumps(force))]
    assert len({energy(each, make_context) for each in [*copies, force]}) == 1


def test_file_by_reference_runs(package: Path, make_context: MakeContext) -> None:
    """The System recorded path and hash; nobody named the file in this process."""
    force = NNPForce(package.read_bytes())
    force.setModelBytes(package.read_bytes(), package)
    force.setModelByReference(True)
    energy(read(openmm.XmlSerializer.serialize(force)), make_context)


@pytest.mark.figure("G13", what="no code runs on reading")
def test_reading_opens_no_library(package: Path, tmp_path: Path) -> None:
    (tmp_path / "force.xml").write_text(openmm.XmlSerializer.serialize(NNPForce(package)))
    code = f"import openmm, openmmnnp\nopenmm.XmlSerializer.deserialize(open({str(tmp_path / 'force.xml')!r}).read())\n"
    code += "print([name for name in ('libtorch', '/model.so') if name in open('/proc/self/maps').read()])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_it_is_said_once(package: Path) -> None:
    result = run(package, "del context\nopenmm.Context(system, openmm.VerletIntegrator(0.001))\n")
    lines = result.stderr.splitlines()
    assert len(lines) == 1
    assert f"'{package}' is native code that runs with your rights" in lines[0] and sha256(package) in lines[0]


# The private folder


def folders(parent: Path) -> list[Path]:
    return sorted(parent.glob("openmmnnp-*"))


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp"


def test_folder_goes_with_the_process(package: Path, parent: Path) -> None:
    """Also if the Context lives to the end; only its owner may see it while it is there."""
    result = run(package, "print([oct(os.stat(os.path.join(os.environ['TMPDIR'], f)).st_mode) for f in "
                 "os.listdir(os.environ['TMPDIR'])])", parent)  # fmt: skip
    assert result.stdout.splitlines()[1:] == ["['0o40700']"], result.stderr
    assert folders(parent) == []


def test_folder_of_a_killed_process_is_swept(package: Path, parent: Path) -> None:
    """That of a process that runs, and that of another machine on a shared disk, are left."""
    assert run(package, "os.kill(os.getpid(), signal.SIGKILL)", parent).returncode == -9
    (dead,) = folders(parent)
    _, pid, start, machine, rest = dead.name.split("-")
    elsewhere = dead.with_name(f"openmmnnp-{pid}-{start}-{'0' * len(machine)}-{rest}")
    own_start = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19]
    alive = dead.with_name(f"openmmnnp-{os.getpid()}-{own_start}-{machine}-{rest}")
    for path in (elsewhere, alive):
        path.mkdir()
    assert run(package, "", parent).returncode == 0
    assert folders(parent) == sorted([elsewhere, alive])


def test_file_that_may_not_be_as_large(package: Path, parent: Path) -> None:
    """The limit of the process stands for a full disk on machines where none can be mounted."""
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    result = run(package, "", parent, preexec_fn=limit)
    assert "Cannot write '" in result.stdout and "File too large. Set TMPDIR to a folder" in result.stdout
    assert folders(parent) == []


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ("size=1m", ["Cannot write '{}/", "No space left on device. Set TMPDIR to a folder with space"]),
        ("size=9m,ro", ["Cannot make the folder '{}/", "Read-only file system. Set TMPDIR"]),
        ("size=9m,noexec", ["cannot be run from '{}/", "is mounted noexec. Set TMPDIR"]),
    ],
)
def test_folder_that_does_not_do(package: Path, parent: Path, options: str, texts: list[str]) -> None:
    """On a file system of its own, mounted for one process."""
    shell = f'mount -t tmpfs -o {options} tmpfs {parent} && "$@" && ls -A {parent}'
    first = ("unshare", "--map-root-user", "--mount", "sh", "-c", shell, "sh")
    if subprocess.run([*first, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount file systems")
    result = run(package, "", parent, first)
    for text in texts:
        assert text.format(parent) in result.stdout, result.stdout + result.stderr
    assert "openmmnnp-" not in result.stdout.splitlines()[-1] or len(result.stdout.splitlines()) == 1
