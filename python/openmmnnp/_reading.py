"""What the readers of model files share: strict JSON, and what zipfile raises for a damaged archive."""

from __future__ import annotations

import errno
import json
import math
import struct
import zipfile
import zlib
from typing import Any

__all__ = ["is_damage", "parse_json"]

# A method of compression that zipfile lacks, and JSON that is nested too deeply, are RuntimeErrors too.
_DAMAGE = (ValueError, zipfile.BadZipFile, zlib.error, EOFError, struct.error, OverflowError, RuntimeError)


def is_damage(error: Exception) -> bool:
    """Is it what zipfile raises for a damaged archive, or a reader for wrong contents?"""
    before_begin = isinstance(error, OSError) and error.errno == errno.EINVAL  # zipfile looked for an entry there
    return before_begin or isinstance(error, _DAMAGE)


def parse_json(text: str | bytes) -> Any:
    """JSON as csrc/model/StrictJson.h takes it: no key twice in an object, finite numbers, whole characters.

    Raises ValueError.
    """
    decoded = text if isinstance(text, str) else text.decode("utf-8-sig")
    try:
        value = json.loads(decoded, object_pairs_hook=_object, parse_float=_number, parse_constant=_number)
        json.dumps(value, ensure_ascii=False).encode()  # fails for half of a surrogate pair
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is there twice")
    return value


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number that a double holds")
    return value
