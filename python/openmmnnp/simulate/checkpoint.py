"""Checkpoints that survive a kill at any moment: written aside, forced to disk, then renamed; the last one is kept."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

from .._files import replacing

CURRENT, PREVIOUS = "checkpoint.zip", "checkpoint.previous.zip"


@dataclass
class Checkpoint:
    """A moment of a run: `context` is OpenMM's own checkpoint, `state` a State as XML with the same positions.

    `step` counts from the start of the phase; `sizes` are the bytes of each file that grows, at that moment;
    `inputs` are SHA-256 of what the run is made from.
    """

    phase: str
    step: int
    fingerprint: dict[str, str]  # platform, machine and versions on which `context` can be read
    sizes: dict[str, int]
    inputs: dict[str, str]
    context: bytes
    state: str

    def write(self, folder: Path) -> None:
        """Make this the current checkpoint of the folder; the one that was current is kept."""
        values = asdict(self)
        context, state = values.pop("context"), values.pop("state")
        with replacing(folder / CURRENT) as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                archive.writestr("progress.json", json.dumps(values))
                archive.writestr("context.chk", context)
                archive.writestr("state.xml", state)
            file.flush()
            os.fsync(file.fileno())
            if (folder / CURRENT).exists():
                (folder / PREVIOUS).unlink(missing_ok=True)
                os.link(folder / CURRENT, folder / PREVIOUS)  # so that there is always a current one


def read_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that can be read (None if there is none), and a line for each that could not be."""
    lines: list[str] = []
    for name in (CURRENT, PREVIOUS):
        if not (folder / name).exists():
            continue
        try:
            with zipfile.ZipFile(folder / name) as archive:
                values = json.loads(archive.read("progress.json"))
                state = archive.read("state.xml").decode()
                return Checkpoint(**values, context=archive.read("context.chk"), state=state), lines
        except Exception as error:  # damage shows in many ways
            lines.append(f"{folder / name} can't be read ({error})")
    return None, lines


def write_text(path: Path, text: str) -> None:
    """Replace a file as a whole: after a kill it holds the old text or the new one."""
    with replacing(path) as file:
        file.write(text.encode())
