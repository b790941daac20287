"""The page on ML/MM systems runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pages import run_page

PAGE = Path(__file__).parents[2] / "docs" / "mixed_systems.md"


def test_page(tmp_path: Path) -> None:
    pytest.importorskip("rdkit", reason="the page selects atoms by SMARTS")
    printed = run_page(PAGE, tmp_path)
    assert re.search(r"^NonbondedForce +pairs +496 *$", printed, re.M)
    energies = [float(x) for x in re.findall(r"^[\d.]+: E (\S+) kJ/mol", printed, re.M)]
    slopes = [float(x) for x in re.findall(r"dE/dlambda (\S+) kJ/mol", printed)]
    assert len(energies) == 3 and slopes[1:] == pytest.approx(slopes[:2], abs=0.1)
    assert energies[2] - energies[0] == pytest.approx(slopes[0], abs=0.1)  # the CPU platform sums in float32
    assert "the boundary of the region cuts 1 bonds" in printed
