"""Tries model files that may be damaged: imports torch once, forks for each file, and judges what happened.

Run as a program it reads lines of JSON, {"path", "folder", "expected"}, and answers each with a line: {"verdict",
"stage", "text"}. The working, home and temporary folders of the child are in `folder`; what it leaves there is held
against it. `expected` is [energy, forces] of the undamaged file, null to ask for them.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

SECONDS = 5.0 if "ASAN_OPTIONS" not in os.environ else 60.0
TRACES = ("Exception raised", "frame #", "c10::", "torch::", "std::")


class Server:
    """The server process, seen from a test."""

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def try_file(self, path: Path, folder: Path, expected: Any = None) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        request = {"path": str(path), "folder": str(folder), "expected": expected}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.verdicts[answer["verdict"]] += 1
        return answer

    def close(self) -> None:
        self.process.communicate()


def evaluate(path: str) -> dict[str, Any]:
    """Energy and forces of a model for four particles, or the stage at which it was refused, and how."""
    import openmm

    from openmmnnp import NNPForce

    stage = "reading"
    try:
        force = NNPForce(path)
        stage = "loading"
        if force.hasModelSpec():
            force.setAtomicNumbers([8, 1, 1, 6])
            for name in force.getModelSpec().parameter_names():
                force.addGlobalParameter(name, 0.25)
        system = openmm.System()
        for _ in range(4):
            system.addParticle(1)
        system.addForce(force)
        platform = openmm.Platform.getPlatformByName("Reference")
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
        stage = "evaluation"
        context.setPositions([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0.1, 0.05, 0]])
        state = context.getState(energy=True, forces=True)
        forces = state.getForces(asNumpy=True)._value.tolist()
        return {"stage": "done", "result": [state.getPotentialEnergy()._value, forces]}
    except Exception as error:
        return {"stage": stage, "text": str(error), "type": type(error).__name__}


def run_child(path: str, folder: Path, pipe: int) -> None:
    """Evaluate in a process of its own, in folders of its own, and write what came out to the pipe."""
    os.chdir(folder)
    os.environ |= {"HOME": str(folder), "TMPDIR": str(folder / "tmp" / "tmp")}
    silent = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silent, stream)
    if "ASAN_OPTIONS" not in os.environ:  # the sanitizer maps more than there is
        resource.setrlimit(resource.RLIMIT_AS, (1 << 35, 1 << 35))
    os.write(pipe, json.dumps(evaluate(path)).encode())
    os._exit(0)


def wait_for(child: int, pipe: int) -> tuple[str, dict[str, Any]]:
    """How the child ended: "", "hang" or "crash"; and what it wrote."""
    written, deadline = b"", time.monotonic() + SECONDS
    while select.select([pipe], [], [], max(0, deadline - time.monotonic()))[0]:
        part = os.read(pipe, 1 << 16)
        if not part:
            break
        written += part
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "hang", {}
    status = os.waitpid(child, 0)[1]
    if status or not written:
        return "crash", {"text": f"exit status {os.waitstatus_to_exitcode(status)}", "stage": "?"}
    return "", json.loads(written)


def judge(answer: dict[str, Any], path: str, expected: Any) -> str:
    if "result" in answer:
        return "identical" if expected in (None, answer["result"]) else "wrong result"
    text = answer["text"]
    clear = answer["type"] == "OpenMMException" and path in text and len(text) < 1500
    return "refused" if clear and not any(trace in text for trace in TRACES) else "unclear error"


def contents(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


def try_in_child(request: dict[str, Any]) -> dict[str, Any]:
    folder = Path(request["folder"])
    (folder / "tmp" / "tmp").mkdir(parents=True, exist_ok=True)
    before = contents(folder)
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            run_child(request["path"], folder, sending)
        finally:
            os._exit(70)
    os.close(sending)
    fate, answer = wait_for(child, receiving)
    os.close(receiving)
    answer["verdict"] = fate or judge(answer, request["path"], request["expected"])
    litter = sorted(contents(folder) - before)
    if litter:
        answer |= {"verdict": "litter", "text": ", ".join(litter)}
    return answer


def main() -> None:
    import torch

    import openmmnnp  # noqa: F401

    torch.set_num_threads(1)
    for line in sys.stdin:
        print(json.dumps(try_in_child(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
