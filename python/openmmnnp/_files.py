"""Files that are written as a whole or not at all, and errors that name their file."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let errors of the operating system name this file, which a failed write or flush does not by itself."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # NumPy's
            raise OSError(errno.EIO, str(error), os.fspath(path)) from error
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path`, or of what that links to, in the end, forced to disk.

    After a kill there is the old file or the new one; after an error the old one, and nothing beside it.
    """
    path = path.resolve()
    aside = path.with_name(path.name + ".writing")
    with named(path):
        try:
            with open(aside, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        except BaseException:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            raise
    sync(path.parent)


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """An empty hidden folder in the folder of a file, for what is to take its place; it goes in the end.

    One that a killed process left is used again. Raises ValueError if another process has it.
    """
    folder = path.resolve().parent / f".{path.name}.writing"
    folder.mkdir(exist_ok=True)
    with _locked(folder, path):
        try:
            for left in folder.iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path, path: Path) -> Iterator[None]:
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        with suppress(OSError):
            folder.rmdir()
        raise
    try:
        if not _lock(handle, folder):
            raise ValueError(f"another process is writing {path}: wait for it, or name another file")
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> bool:
    """Lock an open folder; False if another process has it, or has had it and removed it."""
    with suppress(OSError):  # a file system without locks
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return folder.exists() and os.path.samestat(os.fstat(handle), os.stat(folder))


def sync(path: Path) -> None:
    """Force what was written to a file, or the renames in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with named(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
