"""Tables that grow by a row for each report, and can be cut back to a step: CSV for people, ``.npy`` for arrays."""

from __future__ import annotations

import csv
import io
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from .._files import named
from .reading import Floats, Output


class Table(Protocol):
    """Rows in ascending order of their steps."""

    def cut(self, step: int) -> None:
        """Remove the rows of later steps than this one."""

    def append(self, step: int, time: float, outputs: Sequence[Output]) -> None:
        """Add a row; `time` in ps. Raises ValueError if the table has other columns."""


def open_table(path: str | os.PathLike[str], append: bool) -> Table:
    """The table in a file, by the ending of its name. Raises ValueError for another ending, or for another content."""
    path = Path(path)
    if path.suffix not in (".csv", ".npy"):
        raise ValueError(f"{path}: outputs are written to a table, .csv or .npy: let the name end so")
    if not append or not path.exists():
        path.write_bytes(b"")
    return CsvTable(path) if path.suffix == ".csv" else NpyTable(path)


class CsvTable:
    """A line for each row, and a head that names the columns and their units; a column for each number."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._head = self._last = None  # of the file, once known
        self.cut(2**63 - 1)

    _head: list[str] | None
    _last: int | None

    def cut(self, step: int) -> None:
        """Remove the rows of later steps, and a line that was not written to its end."""
        if self._head and (self._last is None or self._last <= step):
            return
        kept, self._last = 0, None
        with named(self._path), open(self._path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                if kept == 0:
                    self._head = self._read_head(line)
                elif (found := self._read_step(line)) <= step:
                    self._last = found
                else:
                    break
                kept += len(line)
        os.truncate(self._path, kept)

    def append(self, step: int, time: float, outputs: Sequence[Output]) -> None:
        """Add a line; the first makes the head."""
        head = ["step", "time_ps", *(label for output in outputs for label in _labels(output))]
        if self._head is None:
            self._write(head)
            self._head = head
        elif self._head != head:
            raise ValueError(_other_columns(self._path, self._head, head))
        self._write([str(step), f"{time:.10g}", *(f"{v:.10g}" for o in outputs for v in o.values.flat)])
        self._last = step

    def _write(self, cells: Sequence[str]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        with named(self._path), open(self._path, "a", encoding="utf-8") as file:
            file.write(line.getvalue())

    def _read_head(self, line: bytes) -> list[str]:
        head = next(csv.reader([line.decode(errors="replace")]), [])
        if head[:2] != ["step", "time_ps"]:
            raise ValueError(_no_table(self._path, "its first line does not begin with step,time_ps"))
        return head

    def _read_step(self, line: bytes) -> int:
        try:
            return int(line.split(b",", 1)[0])
        except ValueError:
            raise ValueError(_no_table(self._path, f"a line begins with {line[:20]!r}, not with a step")) from None


class NpyTable:
    """One structured array in NumPy's own format: ``numpy.load(file, mmap_mode="r")["charges_e"]`` is [rows, n].

    A row is appended to the data before the head counts it, so that the file can be read at any time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._dtype: np.dtype[np.void] | None = None
        self._rows = 0
        self._last = -1
        if path.stat().st_size:
            self._open()

    def _open(self) -> None:
        """Take over what is there: whole rows, counted by the length of the file."""
        try:
            with named(self._path), open(self._path, "rb") as file:
                version = np.lib.format.read_magic(file)
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                start = file.tell()
        except ValueError as error:
            raise ValueError(_no_table(self._path, str(error))) from None
        names = dtype.names or ()
        if version != (1, 0) or len(shape) != 1 or names[:2] != ("step", "time_ps") or start != len(_head(dtype, 0)):
            raise ValueError(_no_table(self._path, f"it holds an array of {dtype}"))
        self._dtype = dtype
        self._resize((self._path.stat().st_size - start) // dtype.itemsize)

    def cut(self, step: int) -> None:
        """Remove the rows of later steps."""
        if self._last > step:
            self._resize(int(np.searchsorted(self._steps(), step, side="right")))

    def append(self, step: int, time: float, outputs: Sequence[Output]) -> None:
        """Add a row; the first makes the head."""
        dtype = np.dtype([("step", "<i8"), ("time_ps", "<f8"), *((o.label, "<f8", o.values.shape) for o in outputs)])
        if self._dtype is None:
            self._dtype = dtype
            with named(self._path):
                self._path.write_bytes(_head(dtype, 0))
        elif self._dtype != dtype:
            raise ValueError(_other_columns(self._path, _fields(self._dtype), _fields(dtype)))
        row = np.zeros((), dtype)
        for name, value in zip(dtype.names or (), [step, time, *(output.values for output in outputs)], strict=True):
            row[name] = value
        with named(self._path), open(self._path, "r+b") as file:
            file.seek(0, os.SEEK_END)
            file.write(row.tobytes())
            file.flush()
            file.seek(0)
            file.write(_head(dtype, self._rows + 1))
        self._rows, self._last = self._rows + 1, step

    def _resize(self, rows: int) -> None:
        assert self._dtype is not None
        head = _head(self._dtype, rows)
        with named(self._path), open(self._path, "r+b") as file:
            file.write(head)
            file.truncate(len(head) + rows * self._dtype.itemsize)
        self._rows = rows
        self._last = int(self._steps()[-1]) if rows else -1

    def _steps(self) -> Floats:
        assert self._dtype is not None
        steps: Floats = np.fromfile(self._path, self._dtype, self._rows, offset=len(_head(self._dtype, 0)))["step"]
        return steps


def count_rows(path: Path) -> None:
    """Make the head of a ``.npy`` table agree with the length of the file."""
    NpyTable(path)


def _head(dtype: np.dtype[np.void], rows: int) -> bytes:
    """The head of a .npy file in its format 1.0, of the same length for any number of rows."""
    descr = np.lib.format.dtype_to_descr(dtype)
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': ({rows},)}}"
    length = -(-(10 + len(text) - len(str(rows)) + 20) // 64) * 64
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", length - 10) + text.ljust(length - 11).encode("latin1") + b"\n"


def _labels(output: Output) -> list[str]:
    """A label for each number, as in ``charges[0]_e``."""
    shape, suffix = output.values.shape, f"_{output.unit}" if output.unit else ""
    if not shape:
        return [output.label]
    places = output.components or tuple(",".join(map(str, index)) for index in np.ndindex(shape))
    return [f"{output.name}[{place}]{suffix}" for place in places]


def _fields(dtype: np.dtype[np.void]) -> list[str]:
    return [f"{name} {list(dtype[name].shape)}" for name in dtype.names or ()]


def _no_table(path: Path, reason: str) -> str:
    return f"{path} can't be appended to, since it is no table of a reporter ({reason}): name another file"


def _other_columns(path: Path, there: Sequence[str], new: Sequence[str]) -> str:
    first = next((i for i, (a, b) in enumerate(zip(there, new, strict=False)) if a != b), min(len(there), len(new)))
    was, now = (columns[first] if first < len(columns) else "nothing" for columns in (there, new))
    return (
        f"{path} has other columns than what is reported now, from column {first + 1} on ({was}, now {now}): "
        "name another file, or leave append out to write it anew"
    )
