"""Finds the texts of errors in the sources: what is thrown in C++, what is raised in Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Functions that throw what they are given, beside `throw` itself.
THROWING = (
    r"throw (?:\w+::)*(?:ModelError|OpenMMException)|\b(?:refuse|refuseEntry|refuseArchive|fail|checkStatus|check)"
)
STRING = r'"(?:[^"\\]|\\.)*"'


def texts_in_cpp(source: str) -> Iterator[str]:
    """Texts with {} for what is put in; strings that stand together are one."""
    source = re.sub(rf"({STRING})|//[^\n]*|/\*.*?\*/", lambda match: match[1] or "", source, flags=re.DOTALL)
    for start in re.finditer(rf"(?:{THROWING})\(", source):
        end = re.compile(rf"(?:{STRING}|[^\";])*").match(source, start.end())
        assert end
        pieces = re.split(rf"({STRING})", source[start.end() : end.end()])
        yield _joined(piece[1:-1] if i % 2 else None if piece.strip() else "" for i, piece in enumerate(pieces))


def texts_in_python(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            yield _joined(piece for argument in node.exc.args for piece in _pieces(argument))


def _pieces(node: ast.expr) -> Iterator[str | None]:
    if isinstance(node, ast.JoinedStr):
        for value in node.values:
            yield from _pieces(value)
    elif isinstance(node, ast.BinOp):
        yield from _pieces(node.left)
        yield from _pieces(node.right)
    else:
        yield node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _joined(pieces: Iterator[str | None]) -> str:
    text = "".join("{}" if piece is None else piece for piece in pieces)
    return re.sub(r"(\{\})+", "{}", text.replace('\\"', '"').replace("\\n", "\n")).removesuffix("{}").removeprefix("{}")


def all_texts() -> dict[str, str]:
    """Every text of the sources that has words of its own, and its file."""
    found = {}
    for folder, pattern, read in (
        ("csrc", "*.cpp", texts_in_cpp),
        ("csrc", "*.h", texts_in_cpp),
        ("python", "*.py", texts_in_python),
    ):
        for path in sorted((ROOT / folder).rglob(pattern)):
            for text in read(path.read_text(encoding="utf-8")):
                if len(re.findall(r"[a-z]{2,}", text)) > 1:
                    found[text] = str(path.relative_to(ROOT))
    return found
