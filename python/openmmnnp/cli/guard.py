"""What users can mend is one line, not a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def guarded(verb: str, act: Callable[[], int]) -> int:
    """The exit status of `act`; what users can mend is one line on the standard error, and status 1."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch's threads and OpenMM's wait for each other
    import openmm

    try:
        return act()
    except (ValueError, OSError, ImportError, openmm.OpenMMException) as error:
        print(f"openmm-nnp {verb}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"openmm-nnp {verb}: interrupted", file=sys.stderr)
        return 130
