"""Damaged model files: every one is refused with a clear error or gives the very result of the undamaged one."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import malformed
from figures import Measure
from fork_server import Server
from helpers import Harmonic
from mutants import mutant, pack, read_entries

pytestmark = pytest.mark.asan

Case = tuple[str, str, dict[str, Any]]
GOOD = ("refused", "identical")
BAD = {"crash": "crashes", "hang": "hangs over 5 s", "wrong result": "wrong results", "unclear error": "unclear errors"}
BAD["litter"] = "files outside or left behind"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def check_refusal(server: Server, path: Path, text: str) -> None:
    answer = server.try_file(path, path.parent)
    print(f"{path.name}: {answer['verdict']} at {answer['stage']}: {answer.get('text', '')}")
    assert answer["verdict"] == "refused", answer
    assert re.search(text, answer["text"], re.DOTALL), answer["text"]


@pytest.mark.parametrize("name", malformed.PLACES)
@pytest.mark.figure("G1", what="hand-made files", platform="Reference")
def test_no_file(server: Server, tmp_path: Path, name: str) -> None:
    make, text = malformed.PLACES[name]
    make(tmp_path / "model.pt")
    check_refusal(server, tmp_path / "model.pt", text)


def check_malformed(server: Server, good: Path, folder: Path, made: tuple[malformed.Make, str]) -> None:
    """Made from the same entries in an archive that Python wrote, which is good itself."""
    make, text = made
    original = pack(read_entries(good.read_bytes()))
    path = folder / good.name
    path.write_bytes(original)
    assert server.try_file(path, folder)["verdict"] == "identical"
    wrong = make(original)
    assert wrong != original
    path.write_bytes(wrong)
    check_refusal(server, path, text)


@pytest.mark.parametrize("name", malformed.FOR_BOTH)
@pytest.mark.figure("G1", what="hand-made files", platform="Reference")
def test_malformed(server: Server, pair_file: Path, tmp_path: Path, name: str) -> None:
    check_malformed(server, pair_file, tmp_path, malformed.FOR_BOTH[name])


@pytest.mark.parametrize("name", malformed.PROGRAMS)
@pytest.mark.figure("G1", what="hand-made files", platform="Reference")
def test_malformed_program(server: Server, pair_pt: Path, tmp_path: Path, name: str) -> None:
    check_malformed(server, pair_pt, tmp_path, malformed.PROGRAMS[name])


@pytest.mark.parametrize("name", malformed.PACKAGES)
@pytest.mark.figure("G1", what="hand-made files", platform="Reference")
def test_malformed_package(server: Server, pair_package: tuple[Path, Any], tmp_path: Path, name: str) -> None:
    check_malformed(server, pair_package[0], tmp_path, malformed.PACKAGES[name])


@pytest.fixture
def files(
    save_model: Callable[[torch.nn.Module], Path], pair_pt: Path, pair_package: tuple[Path, Any]
) -> dict[str, list[bytes]]:
    """Undamaged files by their format: with a spec, and (first) without."""
    return {".pt": [save_model(Harmonic()).read_bytes(), pair_pt.read_bytes()], ".pt2": [pair_package[0].read_bytes()]}


def table(cases: list[Case]) -> str:
    """Counts of verdicts by kind of damage, and where files were refused."""
    lines = [f"{'':16}{'files':>8}{'refused':>9}{'identical':>11}{'other':>7}"]
    for kind in [*dict.fromkeys(kind for kind, *_ in cases), ""]:
        counts = Counter(answer["verdict"] for k, _, answer in cases if kind in (k, ""))
        other = sum(counts.values()) - counts["refused"] - counts["identical"]
        row = (sum(counts.values()), counts["refused"], counts["identical"], other)
        lines.append(f"{kind or 'all':16}{row[0]:8}{row[1]:9}{row[2]:11}{other:7}")
    stages = Counter(answer["stage"] for *_, answer in cases if answer["verdict"] == "refused")
    return "\n".join(lines) + "\nrefused at: " + ", ".join(f"{stage} {n}" for stage, n in stages.most_common())


def try_mutants(server: Server, originals: list[bytes], suffix: str, count: int, folder: Path) -> list[Case]:
    results = []
    for i, original in enumerate(originals):
        path = folder / f"original{i}{suffix}"
        path.write_bytes(original)
        results.append(server.try_file(path, folder))
    assert [answer["verdict"] for answer in results] == ["identical"] * len(originals), results
    cases: list[Case] = []
    for number in range(count):
        which = random.Random(f"original {number}").randrange(len(originals))
        kind, data = mutant(originals[which], number)
        path = folder / f"mutant{number}{suffix}"
        path.write_bytes(data)
        answer = server.try_file(path, folder, results[which]["result"])
        path.unlink()
        cases.append((kind, path.name, answer))
        print(f"{path.name} {kind}: {answer['verdict']} at {answer['stage']}: {answer.get('text', '')}")
    return cases


def check_mutants(
    server: Server, originals: list[bytes], suffix: str, count: int, folder: Path, measure: Measure
) -> None:
    cases = try_mutants(server, originals, suffix, count, folder)
    print(table(cases), *(case for case in cases if case[2]["verdict"] not in GOOD), sep="\n")
    counts = Counter(answer["verdict"] for *_, answer in cases)
    for verdict, name in BAD.items():
        measure(name, counts[verdict], 0)
    assert counts["refused"] + counts["identical"] == count
    assert counts["refused"] > 0.8 * count


@pytest.mark.figure("G1", what="150 mutants each of .pt and .pt2", platform="Reference")
@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_mutants(server: Server, files: dict[str, list[bytes]], suffix: str, tmp_path: Path, measure: Measure) -> None:
    check_mutants(server, files[suffix], suffix, 150, tmp_path, measure)


@pytest.mark.long
@pytest.mark.figure("G1", what="1,000 mutants each of .pt and .pt2", platform="Reference")
@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_thousand_mutants(
    server: Server, files: dict[str, list[bytes]], suffix: str, tmp_path: Path, measure: Measure
) -> None:
    check_mutants(server, files[suffix], suffix, 1000, tmp_path, measure)
