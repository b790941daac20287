"""Fault points: a disk that is full, read-only or broken, and kill -9, at each call of an operation on its files.

Each time there is a clear error that names a file, or success; nothing is left behind, what was there before is there
still, and the operation can be done afterwards.
"""

from __future__ import annotations

import builtins
import errno
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import yaml

from fault_server import KILLED, SHORTENED, FaultServer
from figures import Measure
from openmmnnp import NNPForce
from openmmnnp.correct.store import Frame, LegFolder
from openmmnnp.reporters.reading import Output
from openmmnnp.reporters.tables import open_table
from openmmnnp.simulate import checkpoint as checkpoints
from openmmnnp.spec import read_spec
from simulations import write_job
from test_resume import results

SOURCE = Path(__file__).parents[1] / "cpp" / "faults.c"
TRACES = ("Traceback", "frame #", "c10::", "enforce fail")
WRITING = "create write truncate mkdir fsync rename link unlink"


@dataclass(frozen=True)
class Fault:
    """Calls that can meet it, the errno, and whether it stays once it has come."""

    calls: str
    fault: int
    stays: bool = False


FAULTS = {
    "disk full": Fault("create write truncate mkdir fsync rename link", errno.ENOSPC, stays=True),
    "disk full for a moment": Fault("create write truncate mkdir fsync rename link", errno.ENOSPC),
    "read-only": Fault("create truncate mkdir rename link", errno.EROFS, stays=True),
    "broken disk": Fault("open read mmap", errno.EIO),
    "short reads and writes": Fault("read write", SHORTENED, stays=True),
    "interrupted": Fault("read write", errno.EINTR),
    "noexec": Fault("statvfs dlopen", errno.EPERM),
    "killed": Fault(WRITING, KILLED),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultServer]:
    library = tmp_path_factory.mktemp("faults") / "libfaults.so"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", SOURCE, "-o", library, "-ldl"], check=True)
    server = FaultServer(library)
    yield server
    server.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, pair_pt: Path, pair_package: tuple[Path, Any]) -> dict[str, Path]:
    """For each operation the folder as it is before."""
    folders = {name: tmp_path_factory.mktemp(name.replace(" ", "_")) for name in OPERATIONS}
    for name, folder in folders.items():
        (folder / "tmp").mkdir()
        OPERATIONS[name](folder, {".pt": pair_pt, ".pt2": pair_package[0]})
    return folders


# What is there before


def with_models(folder: Path, models: dict[str, Path]) -> None:
    for suffix, path in models.items():
        shutil.copy(path, folder / f"model{suffix}")


def with_old_file(folder: Path, models: dict[str, Path]) -> None:
    (folder / "model.pt").write_bytes(b"the old one")


def with_package(folder: Path, models: dict[str, Path]) -> None:
    """A package that was compiled, in the place of torch's compiler, and an older file where it is to go."""
    shutil.copy(models[".pt2"], folder / "compiled")
    (folder / "model.pt2").write_bytes(b"the old one")


def with_reference(folder: Path, models: dict[str, Path]) -> None:
    with_models(folder, models)
    force = NNPForce(folder / "model.pt")
    force.setModelByReference(True)
    (folder / "force.xml").write_text(openmm.XmlSerializer.serialize(force))


def with_leg(folder: Path, models: dict[str, Path]) -> None:
    leg = LegFolder(folder)
    leg.write_record({"options": {"a": 1}})
    leg.write_moment(0.0, "sampled.npz", 0, Frame(np.zeros((2, 3)), None, None))


def with_tables(folder: Path, models: dict[str, Path]) -> None:
    for name in ("outputs.csv", "outputs.npy"):
        table = open_table(folder / name, append=False)
        for step in (10, 20):
            table.append(step, 0.001 * step, [Output("charges", "e", np.arange(4.0) + step)])


def with_checkpoints(folder: Path, models: dict[str, Path]) -> None:
    for step in (5, 6):
        checkpoints.Checkpoint("nvt", step, {}, {}, {}, b"bits" * 1000, "<State/>").write(folder)


def with_job(folder: Path, models: dict[str, Path]) -> None:
    files = {"protein": Path("protein.pdb"), "model": Path("springs.pt"), "out": Path("run")}
    options = replace(write_job(folder), time=0.04, nvt=0.01, minimize_steps=2, **files)
    (folder / "job.yaml").write_text(yaml.safe_dump(options.to_mapping()))


OPERATIONS = {
    "load .pt": with_models,
    "load .pt2": with_models,
    "read by reference": with_reference,
    "write_spec": with_models,
    "save_pt": with_old_file,
    "save_pt2": with_package,
    "store": with_leg,
    "tables": with_tables,
    "checkpoint": with_checkpoints,
    "simulate": with_job,
}


# What is there afterwards


def check_model(folder: Path, suffix: str, old: bytes, done: bool) -> None:
    """The file is the old one as it was, or the new one as a whole."""
    path = folder / f"model{suffix}"
    if path.read_bytes() == old:
        assert not done
    else:
        NNPForce(path)
        spec = read_spec(path)
        assert spec is not None and (spec.license == "another" or spec.references)


def check_leg(folder: Path, done: bool) -> None:
    leg = LegFolder(folder)
    record, rows = leg.read_record(), leg.gaps(0.0).read()
    count, frame = leg.read_moment(0.0, "sampled.npz")
    assert record is not None and record["options"]["a"] in (1, 2) and frame is not None
    assert np.all(frame.positions == max(0, count - 1)) and [*rows] in ([*range(count)], [*range(count + 1)])
    assert all(rows[index] == [1.5 * index] for index in rows)
    assert not done or (record["options"]["a"], count) == (2, 3)


def check_tables(folder: Path, done: bool) -> None:
    """Whole rows in their order, once they are opened again."""
    for name in ("outputs.csv", "outputs.npy"):
        open_table(folder / name, append=True)
    lines = (folder / "outputs.csv").read_text().splitlines()
    steps = [int(line.split(",")[0]) for line in lines[1:]]
    found = np.load(folder / "outputs.npy")
    for each in (steps, found["step"].tolist()):
        assert each == [10, 20, 30, 40][: len(each)] and len(each) >= (4 if done else 2)
    assert np.array_equal(found["charges_e"], np.arange(4.0) + found["step"][:, None])


def check_checkpoints(folder: Path, done: bool) -> None:
    found, lines = checkpoints.read_checkpoint(folder)
    assert lines == [] and found is not None and found.step in ((7,) if done else (6, 7))


def check(operation: str, folder: Path, before: Path, done: bool, litter: bool = False) -> None:
    """Are the files in the folder whole; a killed process may have left others beside them (litter)."""
    if operation == "write_spec" or operation.startswith("save_"):
        suffix = ".pt2" if operation == "save_pt2" else ".pt"
        check_model(folder, suffix, (before / f"model{suffix}").read_bytes(), done)
    elif operation == "store":
        check_leg(folder, done)
    elif operation == "tables":
        check_tables(folder, done)
    elif operation == "checkpoint":
        check_checkpoints(folder, done)
    elif operation != "simulate" and not litter:
        assert contents(folder) == contents(before)


def contents(folder: Path) -> dict[str, bytes]:
    """Of all files, but for those that grow or come with an operation."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# The sweep


def clear(answer: dict[str, Any], folder: Path) -> bool:
    kind = getattr(builtins, answer["type"], openmm.OpenMMException if answer["type"] == "OpenMMException" else int)
    named = str(folder) in answer["text"] and len(answer["text"]) < 1500
    return (
        issubclass(kind, (OSError, ValueError, openmm.OpenMMException))
        and named
        and not (any(trace in answer["text"] for trace in TRACES))
    )


def meet(
    server: FaultServer, operation: str, before: Path, folder: Path, fault: Fault, number: int, whole: dict[str, Any]
) -> str:
    """The verdict on one fault: what is wrong with how the operation took it, or done, failed or killed."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(before, folder)
    answer = server.meet(operation, folder, fault.calls, number, fault.fault, fault.stays)
    verdict: str = answer["verdict"]
    print(f"{operation} {number}: {answer}")
    if verdict == "failed" and not clear(answer, folder):
        return f"unclear error at {answer['last']}: {answer['text']}"
    if verdict in ("crash", "hang"):
        return f"{verdict} {answer['text']}"
    litter = names(folder) - whole["names"]
    emptied = answer["last"].startswith("open ") and Path(answer["last"][5:]).is_dir()  # it could not be opened for it
    if verdict != "killed" and litter and not emptied:
        return f"left behind at {answer['last']}: {sorted(litter)}"
    if verdict == "done" and answer["result"] != whole["result"]:
        return "another result"
    try:
        check(operation, folder, before, verdict == "done", bool(litter))
        again(server, operation, folder, whole)
    except Exception as error:
        return f"afterwards, {answer['last']}: {type(error).__name__} {error}"
    return verdict


def again(server: FaultServer, operation: str, folder: Path, whole: dict[str, Any]) -> None:
    """Without a fault, in the same folder."""
    run = folder / "run"
    if operation == "simulate" and (run / checkpoints.CURRENT).exists():
        operation = "resume"
    answer = server.meet(operation, folder, "", 0, 0)
    assert answer["verdict"] == "done" and answer["result"] == whole["result"], answer
    assert names(folder) <= whole["names"], names(folder) - whole["names"]
    if "bits" in whole:
        assert results(run) == whole["bits"]


def sweep(
    server: FaultServer, files: dict[str, Path], operation: str, kind: str, most: int, folder: Path
) -> tuple[Counter[str], int]:
    """Verdicts on up to so many faults of a kind, spread over all calls that can meet it."""
    fault, before = FAULTS[kind], files[operation]
    place = folder / "place"
    shutil.copytree(before, place)
    answer = server.meet(operation, place, fault.calls, 0, 0)
    assert answer["verdict"] == "done", answer
    check(operation, place, before, True)
    whole = {"result": answer["result"], "names": names(place)}
    if operation == "simulate":
        whole["bits"] = results(place / "run")
    count = answer["count"]
    inner = np.linspace(1, count, most + 2)[1:-1]
    numbers = range(1, count + 1) if count <= most else sorted({round(x) for x in inner})
    return Counter(meet(server, operation, before, place, fault, number, whole) for number in numbers), count


def check_sweep(
    server: FaultServer, files: dict[str, Path], operation: str, kind: str, most: int, folder: Path, measure: Measure
) -> None:
    verdicts, count = sweep(server, files, operation, kind, most, folder)
    bad = {verdict: n for verdict, n in verdicts.items() if verdict not in ("done", "failed", "killed")}
    print(f"{operation}, {kind}: {count} calls, {verdicts}")
    measure("crashes, hangs, unclear errors, losses, litter", sum(bad.values()), 0)


SLOW = {"simulate": 25, "save_pt2": 8}  # and how many of their calls in the long run


@pytest.mark.figure("G7", what="fault points, some of each operation's calls", platform="Reference")
@pytest.mark.parametrize("kind", FAULTS)
def test_faults(server: FaultServer, files: dict[str, Path], kind: str, tmp_path: Path, measure: Measure) -> None:
    for operation in OPERATIONS:
        if operation not in SLOW or kind in ("disk full", "killed"):
            (tmp_path / operation).mkdir()
            most = 1 if operation in SLOW else 2
            check_sweep(server, files, operation, kind, most, tmp_path / operation, measure)


@pytest.mark.long
@pytest.mark.figure("G7", what="fault points, all calls (of simulate 25, of save_pt2 8)", platform="Reference")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("kind", FAULTS)
def test_all_faults(
    server: FaultServer, files: dict[str, Path], operation: str, kind: str, tmp_path: Path, measure: Measure
) -> None:
    check_sweep(server, files, operation, kind, SLOW.get(operation, 1000), tmp_path, measure)
