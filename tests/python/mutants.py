"""Ten kinds of damage to a model file, each drawn from a random generator."""

from __future__ import annotations

import io
import random
import re
import struct
import zipfile
from collections.abc import Callable

Entries = list[tuple[str, bytes]]


def read_entries(data: bytes) -> Entries:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def pack(entries: Entries, **options: int) -> bytes:
    """An archive of these entries with right checksums."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:  # type: ignore[call-overload]
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def _run(draw: random.Random, size: int) -> tuple[int, int]:
    """Begin and end of a piece of the file of up to 4 KiB, more often short than long."""
    length = min(int(2 ** draw.uniform(0, 12)), size)
    begin = draw.randrange(size - length + 1)
    return begin, begin + length


def flip_bit(data: bytearray, draw: random.Random) -> bytes:
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def randomize(data: bytearray, draw: random.Random) -> bytes:
    begin, end = _run(draw, len(data))
    data[begin:end] = draw.randbytes(end - begin)
    return bytes(data)


def blank(data: bytearray, draw: random.Random) -> bytes:
    begin, end = _run(draw, len(data))
    data[begin:end] = bytes(end - begin)
    return bytes(data)


def truncate(data: bytearray, draw: random.Random) -> bytes:
    return bytes(data[: draw.randrange(len(data))])


def delete(data: bytearray, draw: random.Random) -> bytes:
    begin, end = _run(draw, len(data))
    return bytes(data[:begin] + data[end:])


def insert(data: bytearray, draw: random.Random) -> bytes:
    begin, end = _run(draw, len(data))
    return bytes(data[:begin] + draw.randbytes(end - begin) + data[begin:])


def repeat(data: bytearray, draw: random.Random) -> bytes:
    begin, end = _run(draw, len(data))
    return bytes(data[:end] + data[begin:])


def swap(data: bytearray, draw: random.Random) -> bytes:
    begin, end = _run(draw, len(data))
    other = draw.randrange(len(data) - (end - begin) + 1)
    piece = data[begin:end]
    data[begin:end] = data[other : other + len(piece)]
    data[other : other + len(piece)] = piece
    return bytes(data)


def lie(data: bytearray, draw: random.Random) -> bytes:
    """A number of a header becomes another one, most often an extreme one."""
    places = [match.start() for match in re.finditer(rb"PK(\x03\x04|\x01\x02|\x05\x06|\x06\x06|\x06\x07)", data)]
    at = min(draw.choice(places) + draw.randrange(4, 46), len(data) - 4)
    form = draw.choice(["<H", "<I"])
    most = 2 ** (8 * struct.calcsize(form)) - 1
    struct.pack_into(form, data, at, draw.choice([0, 1, most, most - 1, most // 2, draw.randrange(most)]))
    return bytes(data)


def reassemble(data: bytearray, draw: random.Random) -> bytes:
    """Right checksums, wrong entries: one lost, renamed, twice, emptied or cut, or two contents exchanged."""
    entries = read_entries(bytes(data))
    i, k = draw.randrange(len(entries)), draw.randrange(len(entries))
    name, content = entries[i]
    change = draw.randrange(6)
    if change == 0:
        del entries[i]
    elif change == 1:
        entries[i] = (name[:-1], content)
    elif change == 2:
        entries.append((name.swapcase(), content))
    elif change == 3:
        entries[i], entries[k] = (name, entries[k][1]), (entries[k][0], content)
    else:
        entries[i] = (name, content[: draw.randrange(len(content) + 1)] if change == 4 else b"")
    return pack(entries)


KINDS: list[Callable[[bytearray, random.Random], bytes]] = [
    flip_bit,
    randomize,
    blank,
    truncate,
    delete,
    insert,
    repeat,
    swap,
    lie,
    reassemble,
]


def mutant(data: bytes, number: int) -> tuple[str, bytes]:
    """The kind and the bytes of a mutant; the same for the same number and data."""
    kind = KINDS[number % len(KINDS)]
    return kind.__name__, kind(bytearray(data), random.Random(number))
