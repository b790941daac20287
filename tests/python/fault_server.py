"""A process that does one thing to files, in children of which each meets one fault: tests/cpp/faults.c is preloaded.

One JSON object a line on the standard input: {"operation": a name, "folder": where its files are, "calls": those that
are counted, "number": which of them goes wrong (0: none), "fault": an errno, SHORTENED or KILLED, "stays": whether all
later ones go wrong, too}. One a line on the standard output: {"verdict": "done", "failed", "killed", "crash" or "hang",
"count": how many calls there were, "last": the one that went wrong, "result" or "type" and "text"}.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SHORTENED, KILLED = -1, -2
SECONDS = 60.0


class FaultServer:
    """The process, seen from a test."""

    def __init__(self, library: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "LD_PRELOAD": str(library)},
        )

    def meet(
        self, operation: str, folder: Path, calls: str, number: int, fault: int, stays: bool = False
    ) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        request = {"operation": operation, "folder": str(folder), "calls": f" {calls} "}
        request |= {"number": number, "fault": fault, "stays": stays}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        self.process.communicate()


# What is done


def load(path: Path) -> list[Any]:
    import openmm

    from openmmnnp import NNPForce

    force = NNPForce(path)
    force.setAtomicNumbers([8, 1, 1, 6])
    force.addGlobalParameter("k", 0.25)
    system = openmm.System()
    for _ in range(4):
        system.addParticle(1)
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0.1, 0.05, 0]])
    state = context.getState(energy=True, forces=True)
    return [state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value.tolist()]


def read_reference(folder: Path) -> str:
    import openmm

    from openmmnnp import NNPForce
    from openmmnnp._files import named

    with named(folder / "force.xml"):
        xml = (folder / "force.xml").read_text()
    found = NNPForce.cast(openmm.XmlSerializer.deserialize(xml))
    assert found is not None
    return found.getModelHash()


def write_spec(folder: Path) -> None:
    from models import pair_spec
    from openmmnnp.spec import write_spec

    write_spec(folder / "model.pt", pair_spec(outputs=["energy", "atomic_energy"], license="another"))


def save_pt(folder: Path) -> None:
    from models import Pair, pair_example, pair_spec
    from openmmnnp.export import save_pt

    save_pt(Pair(), pair_spec(), folder / "model.pt", examples=[pair_example(3), pair_example(6)], progress=False)


def save_pt2(folder: Path) -> None:
    """With a package that was compiled before."""
    import shutil

    from models import Pair, pair_example, pair_spec
    from openmmnnp.export import package, save_pt2

    def compiled(program: Any, path: Path, options: Any) -> None:
        shutil.copyfile(folder / "compiled", path)

    package.compile_package, package.trace = compiled, lambda *_: None
    os.environ["TMPDIR"] = str(folder.parent)  # torch's loader, which looks at the result, is not on trial
    save_pt2(Pair(), pair_spec(), folder / "model.pt2", examples=[pair_example(3), pair_example(6)], progress=False)


def store(folder: Path) -> None:
    """What a leg of a correction keeps."""
    import numpy as np

    from openmmnnp.correct.store import Frame, LegFolder

    leg = LegFolder(folder)
    leg.write_record({"options": {"a": 2}})
    for index in range(3):
        leg.gaps(0.0).append(index, [1.5 * index])
        leg.write_moment(0.0, "sampled.npz", index + 1, Frame(np.full((2, 3), index), None, None))


def tables(folder: Path) -> None:
    """What reporters write."""
    import numpy as np

    from openmmnnp.reporters.reading import Output
    from openmmnnp.reporters.tables import open_table

    for name in ("outputs.csv", "outputs.npy"):
        table = open_table(folder / name, append=True)
        table.cut(20)
        for step in (30, 40):
            table.append(step, 0.001 * step, [Output("charges", "e", np.arange(4.0) + step)])


def checkpoint(folder: Path) -> None:
    from openmmnnp.simulate.checkpoint import Checkpoint

    Checkpoint("nvt", 7, {}, {}, {}, b"bits" * 1000, "<State/>").write(folder)


def simulate(folder: Path) -> int:
    from openmmnnp.simulate.folder import options_from_yaml
    from openmmnnp.simulate.options import Options
    from openmmnnp.simulate.run import simulate

    os.chdir(folder)
    return simulate(Options(**options_from_yaml(folder / "job.yaml")), overwrite=True)


def resume(folder: Path) -> int:
    from openmmnnp.simulate.run import resume

    return resume(folder / "run", {})


OPERATIONS: dict[str, Callable[[Path], Any]] = {
    "load .pt": lambda folder: load(folder / "model.pt"),
    "load .pt2": lambda folder: load(folder / "model.pt2"),
    "read by reference": read_reference,
    "write_spec": write_spec,
    "save_pt": save_pt,
    "save_pt2": save_pt2,
    "store": store,
    "tables": tables,
    "checkpoint": checkpoint,
    "simulate": simulate,
    "resume": resume,
}


# The process


def run_child(request: dict[str, Any], pipe: int) -> None:
    folder, faults = request["folder"], ctypes.CDLL(None)
    faults.faults_last.restype = ctypes.c_char_p
    os.environ["TMPDIR"] = os.path.join(folder, "tmp")
    silent = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silent, stream)
    numbers = (ctypes.c_int(request[name]) for name in ("number", "fault", "stays"))
    answer: dict[str, Any]
    faults.faults_arm(folder.encode(), request["calls"].encode(), *numbers)
    try:
        answer = {"verdict": "done", "result": OPERATIONS[request["operation"]](Path(folder))}
    except Exception as error:
        answer = {"verdict": "failed", "type": type(error).__name__, "text": str(error)}
    last, count = faults.faults_last().decode(), faults.faults_count()
    faults.faults_arm(b"", b"", 0, 0, 0)
    answer |= {"count": count, "last": last}
    os.write(pipe, json.dumps(answer).encode())
    os._exit(0)


def wait_for(child: int, pipe: int) -> dict[str, Any]:
    written, deadline = b"", time.monotonic() + SECONDS
    while select.select([pipe], [], [], max(0, deadline - time.monotonic()))[0]:
        part = os.read(pipe, 1 << 16)
        if not part:
            break
        written += part
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return {"verdict": "hang", "text": "", "last": ""}
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == -signal.SIGKILL:
        return {"verdict": "killed", "last": ""}
    if code or not written:
        return {"verdict": "crash", "text": f"exit status {code} {written.decode()}", "last": ""}
    answer: dict[str, Any] = json.loads(written)
    return answer


def main() -> None:
    import torch

    import openmmnnp.correct.store
    import openmmnnp.export
    import openmmnnp.simulate.run  # noqa: F401

    torch.set_num_threads(1)
    for line in sys.stdin:
        receiving, sending = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(receiving)
            run_child(json.loads(line), sending)
        os.close(sending)
        print(json.dumps(wait_for(child, receiving)), flush=True)
        os.close(receiving)


if __name__ == "__main__":
    main()
