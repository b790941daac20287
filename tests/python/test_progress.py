"""Progress: a bar on a terminal, lines in a file."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from types import SimpleNamespace

import pytest

from openmmnnp.simulate import progress
from openmmnnp.simulate.progress import Bar, clock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock: `at.seconds`."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def test_a_bar_on_a_terminal() -> None:
    with redirect_stdout(Terminal()) as terminal, Bar("NPT", 20.0, "ps", done=5.0) as bar:
        bar.advance(2.5, speed="31 ns/day")
        bar.advance(2.5, speed="32 ns/day")
    first, *_, last = terminal.getvalue().rstrip("\n").split("\r")[1:]
    assert first.startswith("NPT ") and " 25% |" in first and "| 5/20 ps [" in first
    assert " 50% |" in last and "| 10/20 ps [" in last and "speed 32 ns/day]" in last
    assert terminal.getvalue().count("\n") == 1


def test_a_bar_without_a_total() -> None:
    with redirect_stdout(Terminal()) as terminal, Bar("building", unit="steps") as bar:
        bar.advance(1, label="adding water")
    last = terminal.getvalue().rstrip("\n").split("\r")[-1]
    assert last.startswith("adding water ") and " 1 steps [" in last and "%" not in last


def test_lines_where_there_is_no_terminal(at: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    """One a minute, with the time left by the speed since the beginning of this process, and one at the end."""
    with Bar("NPT", 20.0, "ps", done=5.0) as bar:
        for seconds in (30, 61, 90, 122, 150):
            at.seconds = 100.0 + seconds
            bar.advance(2.5, speed="31 ns/day")
        assert capsys.readouterr().out.splitlines() == [
            "NPT: 10 of 20 ps in 61 s, speed 31 ns/day, 2.0 min left",
            "NPT: 15 of 20 ps in 2.0 min, speed 31 ns/day, 61 s left",
        ]
        bar.advance(2.5)
    assert capsys.readouterr().out == "NPT: 20 of 20 ps in 2.5 min\n"


def test_lines_without_a_total(at: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    with Bar("building", unit="steps") as bar:
        bar.advance(1, label="adding water")
        at.seconds += 3
        bar.advance(1, label="built")
    assert capsys.readouterr().out == "built: 2 steps in 3 s\n"


@pytest.mark.parametrize("seconds, text", [(0, "0 s"), (89, "89 s"), (90, "1.5 min"), (5400, "1.5 h"), (2e5, "2.3 d")])
def test_durations(seconds: float, text: str) -> None:
    assert clock(seconds) == text
