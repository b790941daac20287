"""Files that are written as a whole or not at all, and errors that name them."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from openmmnnp._files import folder_beside, named, replacing


def test_errors_name_the_file(tmp_path: Path) -> None:
    for given, found in [
        (OSError(errno.ENOSPC, "No space left on device"), (errno.ENOSPC, "No space left on device", "a.csv")),
        (OSError("3 requested and 1 written"), (errno.EIO, "3 requested and 1 written", "a.csv")),
        (FileNotFoundError(errno.ENOENT, "No such file", "b"), (errno.ENOENT, "No such file", "b")),
    ]:
        with pytest.raises(type(given)) as caught, named("a.csv"):
            raise given
        assert (caught.value.errno, caught.value.strerror, caught.value.filename) == found


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with replacing(path) as file:
        file.write(b"new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


KILLED = """
import os, signal, sys
from pathlib import Path
from openmmnnp._files import folder_beside
with folder_beside(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("h")
    (folder / "more").mkdir()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)])
    assert killed.returncode == -signal.SIGKILL and len(list(tmp_path.iterdir())) == 1
    with folder_beside(path) as folder:
        assert list(folder.iterdir()) == [] and folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_two_processes_can_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with folder_beside(path) as folder:
        (folder / "half").write_text("h")
        with pytest.raises(
            ValueError, match="another process is writing .*model.pt: wait for it, or name another file"
        ):
            with folder_beside(path):
                pass
        assert (folder / "half").exists()
