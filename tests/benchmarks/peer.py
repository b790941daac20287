"""openmm-torch's TorchForce, in a Python of its own: a Session in another process, called by name.

Run by that Python this file answers requests on its standard input; imported, it starts such a process.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

CALLS = ("create", "forces", "memory", "minimize", "restart", "run", "total", "use_model", "xml")


class Peer:
    """The other process."""

    def __init__(self, python: Path) -> None:
        self.python = python
        packages = next(python.parents[1].glob("lib/python3.*/site-packages"))
        libraries = [str(folder) for folder in packages.glob("nvidia/*/lib")]  # which its wheel does not find
        path = os.pathsep.join([*libraries, os.environ.get("LD_LIBRARY_PATH", "")])
        environment = os.environ | {"LD_LIBRARY_PATH": path, "PYTHONPATH": ""}
        self.process = subprocess.Popen(
            [python, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        self.versions: dict[str, str] = self.ask()

    def ask(self, *request: Any) -> Any:
        """The answer to a request; RuntimeError with the other process's error."""
        assert self.process.stdin is not None and self.process.stdout is not None
        if request:
            pickle.dump(request, self.process.stdin)
            self.process.stdin.flush()
        try:
            good, answer = pickle.load(self.process.stdout)
        except EOFError:
            raise RuntimeError("openmm-torch's process ended") from None
        if not good:
            raise RuntimeError(f"openmm-torch: {answer}")
        return answer

    def session(
        self, xml: str, model: Path, periodic: bool, platform: str, step: float, start: Sequence[np.ndarray], mode: str
    ) -> PeerSession:
        """A Session with the model's TorchForce; only the latest one works."""
        self.ask("open", xml, str(model), periodic, platform, step, start, mode)
        return PeerSession(self)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class PeerSession:
    """The same calls as a Session's."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def __getattr__(self, name: str) -> Any:
        if name not in CALLS:
            raise AttributeError(name)
        return lambda *arguments: self._peer.ask(name, *arguments)


def open_session(
    xml: str, model: str, periodic: bool, platform: str, step: float, start: Sequence[np.ndarray], mode: str
) -> Any:
    import openmm
    import openmmtorch
    from session import MODEL_GROUP, Session

    system = openmm.XmlSerializer.deserialize(xml)
    force = openmmtorch.TorchForce(model)
    force.setUsesPeriodicBoundaryConditions(periodic)
    force.setForceGroup(MODEL_GROUP)
    system.addForce(force)
    return Session(system, platform, step, start, mode)


def three_steps(*arguments: Any) -> None:
    session = open_session(*arguments)
    for _ in range(3):
        session.run(1)


def serve() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what others print must not get among the answers

    def answer(good: bool, value: Any) -> None:
        pickle.dump((good, value), answers)
        answers.flush()

    import torch  # before openmm, whose plugins need its libraries

    torch.set_num_threads(1)
    from importlib.metadata import distributions

    names = ("openmm", "torch", "openmmtorch", "acellera-openmmtorch")
    answer(True, {d.name.lower(): d.version for d in distributions() if d.name.lower() in names})
    session: Any = None
    while True:
        try:
            name, *arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            if name == "open":
                session = None
                session = open_session(*arguments)
                answer(True, None)
            elif name == "memory":
                from timing import memory

                answer(True, memory(lambda given=arguments: three_steps(*given)))
            else:
                answer(True, getattr(session, name)(*arguments))
        except Exception as error:
            answer(False, f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    serve()
