"""What an embedding removed from the MM terms, as a table to print."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

_MAX_LISTED = 20


class RemovedTerms(NamedTuple):
    """How many terms of one kind left one Force, and how many of that kind stay in it (None: not counted)."""

    force: str
    kind: str
    removed: int
    kept: int | None = None


class RemovedTable(tuple[RemovedTerms, ...]):
    """All terms that an embedding removed, in the order of the System's Forces; str() gives a table to print."""

    def __str__(self) -> str:
        lines = [f"{'force':<28}{'terms':<20}{'removed':>9}{'kept':>9}"]
        lines += [f"{r.force:<28}{r.kind:<20}{r.removed:>9}{'' if r.kept is None else r.kept:>9}" for r in self]
        return "\n".join(lines)


def listed(items: Iterable[object]) -> str:
    """The first 20 items, and how many more there are."""
    texts = [str(item) for item in items]
    more = f" and {len(texts) - _MAX_LISTED} more" if len(texts) > _MAX_LISTED else ""
    return ", ".join(texts[:_MAX_LISTED]) + more
