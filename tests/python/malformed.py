"""Model files that somebody made wrong on purpose: name -> (how to make it, what the error must say).

A maker takes the bytes of a good file and gives the bytes of a wrong one, or takes the path and makes it there.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import struct
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mutants import pack, read_entries

Make = Callable[[bytes], bytes]
SPEC = "extra/openmmnnp.json"
CODE = "code/__torch__/models.py"
PICKLE_THAT_RUNS = b"cposix\nsystem\n(S'touch ran'\ntR."


# Not an archive


def plain_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def pickled(_: bytes) -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": torch.ones(3)}, buffer)
    return buffer.getvalue()


PLACES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda path: None, "No such file or directory"),
    "directory": (Path.mkdir, "not a regular file"),
    "fifo": (os.mkfifo, "not a regular file"),
    "socket": (plain_socket, "not a regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "dangling link": (lambda path: path.symlink_to("nowhere"), "No such file"),
    "link to itself": (lambda path: path.symlink_to(path.name), "symbolic links"),
}

CONTENTS: dict[str, tuple[Make, str]] = {
    "empty": (lambda data: b"", "The file is empty"),
    "text": (lambda data: b"energy = 1\n" * 99, "not a zip archive"),
    "bare pickle": (lambda data: pickle.dumps({"weight": [1.0]}), "not a zip archive"),
    "compressed": (lambda data: zlib.compress(data), "not a zip archive"),
    "zip without entries": (lambda data: pack([]), "not a zip archive"),
    "state dict": (pickled, "A state dict or a pickled module is no model"),
}


# An archive that is none, or two


def directory_records(data: bytes) -> list[int]:
    """Where the records of the directory are, in a file that Python wrote."""
    size, begin = struct.unpack_from("<II", data, len(data) - 10)
    places, at = [], begin
    while at < begin + size:
        places.append(at)
        at += 46 + sum(struct.unpack_from("<HHH", data, at + 28))
    return places


def with_number(place: int, offset: int, form: str, value: int) -> Make:
    """Set a number in the directory's record of the entry `place`, or in the end record (-1)."""

    def make(data: bytes) -> bytes:
        changed = bytearray(data)
        at = len(data) - 22 if place == -1 else directory_records(data)[place]
        struct.pack_into(form, changed, at + offset, value)
        return bytes(changed)

    return make


def in_header(offset: int, form: str, value: int) -> Make:
    """Set a number in the first entry's local header, which must be the file's first."""

    def make(data: bytes) -> bytes:
        changed = bytearray(data)
        struct.pack_into(form, changed, offset, value)
        return bytes(changed)

    return make


def two_archives(data: bytes) -> bytes:
    return data + pack([("other/data.pkl", b"x")])


def before(data: bytes) -> bytes:
    """Another archive's entries lie in front of the archive."""
    return pack([("other/data.pkl", b"x")]) + data


def gap(data: bytes) -> bytes:
    """Bytes between the entries and the directory, which the end record accounts for."""
    begin = struct.unpack_from("<I", data, len(data) - 6)[0]
    return data[:begin] + b"hidden" + data[begin:-6] + struct.pack("<IH", begin + 6, 0)


def overlap(data: bytes) -> bytes:
    """Two records of the directory for one entry."""
    records = directory_records(data)
    return with_number(1, 42, "<I", struct.unpack_from("<I", data, records[0] + 42)[0])(data)


def decoy(data: bytes) -> bytes:
    """A second end record within the comment of the first."""
    end = data[-22:]
    return data[:-2] + struct.pack("<H", 22) + end


def locator(data: bytes) -> bytes:
    """An end record for zip64 that points elsewhere."""
    return data[:-22] + bytes(56) + struct.pack("<IIQI", 0x07064B50, 0, 0, 1) + data[-22:]


ARCHIVES: dict[str, tuple[Make, str]] = {
    "first header only": (lambda data: data[:40], "not a complete zip archive"),
    "half": (lambda data: data[: len(data) // 2], "not a complete zip archive"),
    "text behind": (lambda data: data + b"text", "something follows it"),
    "archive behind": (two_archives, "directory is missing or damaged"),
    "archive in front": (before, "directory is missing or damaged"),
    "comment": (lambda data: data[:-2] + b"\4\0text", "something follows it"),
    "decoy in a comment": (decoy, "directory is missing|damaged"),
    "decoy of zip64": (locator, "zip64"),
    "gap": (gap, "between its entries and its directory"),
    "overlap": (overlap, "differs from the directory"),
    "more entries said": (with_number(-1, 10, "<H", 99), "end record is damaged"),
    "fewer entries said": (
        lambda data: with_number(-1, 8, "<I", 0x10001)(data),
        r"its directory has \d+ entries, but says 1",
    ),
    "entries beyond": (with_number(-1, 16, "<I", 2**31), "directory is missing or damaged"),
    "other name in header": (in_header(30, "<B", ord("x")), "differs from the directory"),
    "other size in header": (in_header(18, "<I", 7), "differs from the directory"),
    "other checksum in header": (in_header(14, "<I", 7), "differs from the directory"),
    "other checksum": (with_number(0, 16, "<I", 7), "differs from the directory"),
    "huge name": (with_number(0, 28, "<H", 65535), "record lies outside"),
    "huge extra field": (with_number(0, 30, "<H", 65535), "record lies outside"),
    "huge size": (with_number(0, 24, "<I", 2**32 - 2), "differs from the directory|impossible size"),
    "size of zip64": (with_number(0, 24, "<I", 2**32 - 1), "lacks its sizes"),
    "encrypted": (with_number(0, 8, "<H", 1), "is encrypted"),
    "link": (with_number(0, 38, "<I", 0o120777 << 16), "is not a regular file"),
    "device in archive": (with_number(0, 38, "<I", 0o020666 << 16), "is not a regular file"),
    "fifo in archive": (with_number(0, 38, "<I", 0o010666 << 16), "is not a regular file"),
    "other packing": (lambda data: pack(read_entries(data), compression=zipfile.ZIP_BZIP2), "other than deflate"),
}


# Right checksums, wrong entries


def top(data: bytes) -> str:
    return read_entries(data)[0][0].split("/")[0] + "/"


def adding(name: str, content: bytes = b"x") -> Make:
    """One more entry; {} in its name is the top folder with its slash."""
    return lambda data: pack([*read_entries(data), (name.replace("{}", top(data)), content)])


def replacing(suffix: str, change: Callable[[bytes], bytes | None]) -> Make:
    """Other contents for the entries that end so, or none."""

    def make(data: bytes) -> bytes:
        entries = [
            (name, change(content) if name.endswith(suffix) else content) for name, content in read_entries(data)
        ]
        return pack([(name, content) for name, content in entries if content is not None])

    return make


def without(suffix: str) -> Make:
    return replacing(suffix, lambda content: None)


def twice(data: bytes) -> bytes:
    """An entry whose name is changed, in header and directory, to that of another of the same length."""
    return adding("{}dat_.pkl")(adding("{}data.pkl")(without("data.pkl")(data))).replace(b"dat_.pkl", b"data.pkl")


def bomb(data: bytes) -> bytes:
    return pack([*read_entries(data), (top(data) + "zeros", bytes(200 << 20))], compression=zipfile.ZIP_DEFLATED)


NAMES: dict[str, tuple[Make, str]] = {
    "twice": (twice, "is there twice"),
    "twice but for case": (lambda data: adding("{}DATA.PKL")(adding("{}data.pkl")(without("data.pkl")(data))), "twice"),
    "dot dot": (adding("{}../../escaped"), "leaves its folder"),
    "dot dot first": (adding("../escaped"), "leaves its folder"),
    "dot dot last": (adding("{}data/.."), "leaves its folder"),
    "absolute": (adding("/tmp/escaped"), "not a relative path"),
    "backslash": (adding("{}..\\escaped"), "not a relative path"),
    "drive": (adding("C:escaped"), "not a relative path"),
    "nul": (lambda data: adding("{}a_b")(data).replace(b"a_b", b"a\0b"), "not a relative path"),
    "other folder": (adding("elsewhere/data"), "not in the one folder"),
    "no folder": (adding("data"), "not in the one folder"),
    "bomb": (bomb, "times as large as the file"),
}


# The spec


def spec(**changes: Any) -> Make:
    return replacing(SPEC, lambda content: json.dumps(json.loads(content) | changes).encode())


def spec_text(change: Callable[[str], str]) -> Make:
    return replacing(SPEC, lambda content: change(content.decode()).encode("latin-1"))


def first_reference(**changes: Any) -> Make:
    def change(content: bytes) -> bytes:
        values = json.loads(content)
        values["references"][0] |= changes
        return json.dumps(values).encode()

    return replacing(SPEC, change)


SPECS: dict[str, tuple[Make, str]] = {
    "no json": (spec_text(lambda text: "format: 1"), "not a valid JSON object .*parse error"),
    "json list": (spec_text(lambda text: "[1]"), "it is of type array"),
    "json twice": (spec_text(lambda text: text + text), "not a valid JSON object .*parse error"),
    "latin-1": (spec_text(lambda text: text.replace("pair", "p\xe4r")), "not a valid JSON object .*UTF-8"),
    "deep": (
        spec_text(lambda text: text[:-1] + ', "domain": ' + "[" * 200_000 + "]" * 200_000 + "}"),
        "64 levels deep",
    ),
    "key twice": (spec_text(lambda text: text[:-1] + ', "dtype": "float64"}'), 'key "dtype" is there twice'),
    "nan": (spec_text(lambda text: text[:-1] + ', "cutoff": NaN}'), "not a valid JSON object"),
    "overflow": (spec_text(lambda text: text[:-1] + ', "cutoff": 1e999}'), "number overflow"),
    "unknown key": (spec(unit="nm"), 'the key "unit", which this openmm-nnp does not know'),
    "no unit": (spec(length_unit=None), '"length_unit": null, but a value is needed'),
    "format 2": (spec(format=2), '"format": 2'),
    "format 1.5": (spec(format=1.5), '"format": 1.5, but the number 1'),
    "half": (spec(dtype="float16"), "'float16', but one of 'float32', 'float64'"),
    "swapped types": (spec(inputs={"positions": 1}, outputs="energy"), "but a list of texts is needed"),
    "huge element": (spec(elements=[10**30]), "a list of atomic numbers"),
    "negative type": (spec(type_map={"H": -1}), "an object {name: type}"),
    "huge count": (spec(particles=2**40), '"dynamic" or a positive number'),
    "energies of no element": (spec(atomic_energies={"0x8": 1.0}), "atomic number from 1 to 118"),
    "input twice": (spec(inputs=["positions", "positions"]), "the input 'positions' twice; name it once"),
    "no positions": (spec(inputs=["atomic_numbers"]), "but 'positions' is needed"),
    "output twice": (spec(outputs=["energy", "energy"]), "an output twice: .* name each once"),
    "derivative of nothing": (spec(outputs=["energy", "parameter_derivative.q"]), "without the input 'parameters.q'"),
    "unit of nothing": (spec(output_units={"x": "e"}), "output_units\" for 'x', but one of the outputs"),
    "other particles": (spec(particles=3, atomic_numbers=[1, 1]), 'but 2, the number of "atomic_numbers", is needed'),
    "both energies": (spec(energy_offset=1.0), 'both "energy_offset" and "atomic_energies"; keep one'),
    "edges without cutoff": (
        spec(inputs=["positions", "parameters.k", "edges"]),
        "a number, since the model takes edges, is needed",
    ),
    "references that are one": (spec(references={"energy": 0}), "but a list is needed"),
    "reference that is none": (spec(references=[1]), "a reference that is no object"),
    "reference without energy": (
        spec(references=[{"positions": [[0, 0, 0]], "atomic_numbers": [1], "parameters.k": 1}]),
        'without a number "energy"',
    ),
    "ragged": (first_reference(positions=[[0, 0, 0], [0]]), "regular array of numbers"),
    "no particles": (first_reference(positions=[]), r"shape \[0\], but \[n, 3\] is needed"),
    "too few forces": (first_reference(forces=[[0, 0, 0]]), r"\[1, 3\], but \[3, 3\] is needed"),
    "huge atomic number": (first_reference(atomic_numbers=[1e300, 1, 1]), "no integer of 32 bits"),
    "unknown in reference": (first_reference(speed=1), 'a reference with the key "speed"'),
    "wrong energy": (first_reference(energy=1.0), "the model gives"),
}


# TorchScript


def code(addition: str) -> Make:
    """Lines at the end of the code of the model's class."""
    return replacing(CODE, lambda content: content + addition.encode())


def call(line: str) -> Make:
    """A line in front of forward's first."""
    return replacing(CODE, lambda content: content.replace(b"    r = ", f"    {line}\n    r = ".encode(), 1))


METHOD = "  def other(self: __torch__.models.Pair, x: Tensor) -> Tensor:\n    {}\n    return x\n"
SETSTATE = "  def __setstate__(self: __torch__.models.Pair, x: Tensor) -> NoneType:\n    {}\n    return None\n"
SAVE = "torch.save(x, 'written')"
PROGRAMS: dict[str, tuple[Make, str]] = {
    "saves": (call("torch.save(positions, 'written')"), "uses aten::save .*forward.*writes files; no potential needs"),
    "saves by another name": (call("t = torch; t.save(positions, 'written')"), "aten::save|cannot be loaded"),
    "saves in another method": (code(METHOD.format(SAVE)), "uses aten::save .*other"),
    "maps": (
        call("positions = torch.add(positions, torch.from_file('written', True, 3))"),
        "uses aten::from_file .*maps files",
    ),
    "runs while it loads": (code(SETSTATE.format(SAVE)), "method __setstate__"),
    "reinterprets": (
        call("positions = ops.inductor._reinterpret_tensor(positions, [9, 3], [3, 1], 99)"),
        "uses inductor::_reinterpret_tensor .*reinterprets memory",
    ),
    "talks": (call("positions = ops._c10d_functional.all_reduce(positions, 'sum', '0')"), "talks to other processes"),
    "unknown operator": (call("positions = ops.mine.run(positions)"), "cannot be loaded: .*mine"),
    "no code": (without(CODE), "cannot be loaded: "),
    "wrong code": (code("  def ("), "cannot be loaded: "),
    "deep code": (call("y = " + "(" * 100_000 + "1" + ")" * 100_000), "nests more than 200 brackets"),
    "no constants": (without("constants.pkl"), "neither a TorchScript program"),
    "no weights": (without("data/0"), "cannot be loaded: "),
    "short weights": (replacing("data/0", lambda content: content[:1]), "tensor of 4 bytes, but the archive holds no"),
    "pickle that runs": (replacing("data.pkl", lambda content: PICKLE_THAT_RUNS), "cannot be loaded: "),
    "old format": (adding("{}model.json", b"{}"), "from before torch 1.0"),
}


# Packages


def metadata(**changes: str) -> Make:
    return replacing("_metadata.json", lambda content: json.dumps(json.loads(content) | changes).encode())


def in_library(offset: int, value: int) -> Make:
    return replacing(".so", lambda content: content[:offset] + bytes([value]) + content[offset + 1 :])


def library(source: str) -> Make:
    """In the place of the library one that is compiled from this source."""

    def compiled(_: bytes) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            command = ["c++", "-x", "c", "-shared", "-fPIC", "-o", f"{folder}/x.so", "-"]
            subprocess.run(command, input=source.encode(), check=True)
            return Path(folder, "x.so").read_bytes()

    return replacing(".so", compiled)


PACKAGES: dict[str, tuple[Make, str]] = {
    "no spec": (without(SPEC), "carries no ModelSpec"),
    "no library": (without(".so"), "holds no compiled library"),
    "two libraries": (adding("{}data/aotinductor/model/b.so"), "more than one library"),
    "two lists of operators": (
        lambda data: adding("{}data/aotinductor/model/b.json", b"{}")(
            adding("{}data/aotinductor/model/a.json", b"{}")(data)
        ),
        "more than one list of operators",
    ),
    "library that is text": (replacing(".so", lambda content: b"text" * 99), "is not an ELF file"),
    "library for another machine": (in_library(18, 8), "not a shared library for this machine"),
    "program for a library": (in_library(16, 2), "not a shared library for this machine"),
    "library of something else": (
        library("int answer = 42;"),
        "library lacks the function AOTInductorModel.*not a model",
    ),
    "library that needs another": (
        library("int missing(void); int answer(void) { return missing(); }"),
        "library cannot be loaded: .*undefined symbol: missing.*compiled by torch 2.*Export the model again",
    ),
    "no metadata": (without("_metadata.json"), "holds no metadata"),
    "metadata that is a list": (replacing("_metadata.json", lambda content: b"[]"), "it is of type array"),
    "another device": (metadata(AOTI_DEVICE_KEY="cuda"), "compiled for the device 'cuda'"),
    "another machine": (metadata(AOTI_MACHINE="aarch64"), "compiled for linux on aarch64"),
    "another system": (metadata(AOTI_PLATFORM="win32"), "compiled for win32"),
    "another CPU": (metadata(AOTI_CPU_ISA="AVX2 AVX1024"), "a CPU with AVX1024"),
    "another torch": (metadata(openmmnnp_torch_version="3.0.0"), "compiled by torch 3.0.0"),
    "older torch": (metadata(openmmnnp_torch_version="2.6.0"), "compiled by torch 2.6.0"),
    "weights outside": (adding("{}data/weights/weight_0"), "weights or constants outside its library"),
    "custom operators": (
        adding("{}data/aotinductor/model/a.json", b'{"nodes": [{"node": {"target": "mine::op"}}]}'),
        "not compiled into it",
    ),
    "operators without names": (
        adding("{}data/aotinductor/model/a.json", b'{"nodes": [{"node": [1]}, 2]}'),
        r'not compiled into it \("unnamed" "unnamed"\)',
    ),
}

FOR_BOTH = CONTENTS | ARCHIVES | NAMES | SPECS
