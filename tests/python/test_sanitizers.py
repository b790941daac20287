"""All tests marked `asan`, with libraries that were built with sanitizers (the preset `asan` of CMake)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
@pytest.mark.figure("G12", what="all tests marked asan, with sanitizers")
def test_no_report_of_the_sanitizers() -> None:
    script = Path(__file__).parents[1] / "asan" / "run.sh"
    result = subprocess.run([script, sys.executable, "-q"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(result.stdout[-20000:])
    assert result.returncode == 0
    assert "runtime error" not in result.stdout and "AddressSanitizer" not in result.stdout
