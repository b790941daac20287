"""The report's HTML: a page that needs nothing but itself. Every text that is put in is escaped here."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from string import Template
from typing import Any

__all__ = ["Section", "number", "page", "plus_minus"]

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 15px/1.5 "Helvetica Neue", Arial, sans-serif; color: #1a1a1a; background: #fff; max-width: 56rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0.2rem; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #bbb; padding-bottom: 0.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 0.8rem 0; font-size: 0.87rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: bold; padding-bottom: 0.25rem; }
th, td { padding: 0.18rem 0.6rem 0.18rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #e2e2e2; }
thead th { border-bottom: 1px solid #555; }
tbody th { font-weight: normal; }
td { overflow-wrap: anywhere; }
.numbers td, .numbers thead th:not(:first-child) { text-align: right; }
.numbers td, .numbers tbody th { white-space: nowrap; }
.faint { color: #6a6a6a; }
figure { margin: 1rem 0; break-inside: avoid; }
figure img { width: 100%; height: auto; }
figcaption, .note { font-size: 0.87rem; color: #444; }
.note { border-left: 3px solid #bbb; padding-left: 0.7rem; }
@media print { body { max-width: none; margin: 0; font-size: 9.5pt; }
  table { font-size: 7.5pt; } figcaption, .note { font-size: 8pt; } h2 { break-after: avoid; }
  tr { break-inside: avoid; } }
</style>
</head>
<body>
<h1>$title</h1>
<p class="faint">$subtitle</p>
$body
</body>
</html>
""")


@dataclass
class Section:
    """A section of the page, and the numbers that it states, for report.json."""

    title: str
    parts: list[str] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)

    def text(self, text: str) -> None:
        """Append a paragraph."""
        self.parts.append(f"<p>{escape(text)}</p>")

    def note(self, text: str) -> None:
        """Append a paragraph that stands out: something is missing, or a warning."""
        self.parts.append(f'<p class="note">{escape(text)}</p>')

    def items(self, texts: Iterable[str]) -> None:
        """Append a list."""
        self.parts.append("<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>")

    def table(
        self,
        caption: str,
        head: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        numbers: bool = True,
        faint: Sequence[int] = (),
    ) -> None:
        """Append a table; `numbers` aligns all columns but the first to the right, those in `faint` are grey."""

        def row(tag: str, cells: Sequence[str]) -> str:
            grey = ['class="faint"' if k in faint else "" for k in range(len(cells))]
            tags = ["th" if k == 0 else tag for k in range(len(cells))]
            marked = zip(tags, grey, map(escape, cells), strict=True)
            return "<tr>" + "".join(f"<{t} {g}>{cell}</{t}>".replace(" >", ">") for t, g, cell in marked) + "</tr>"

        shape = ' class="numbers"' if numbers else ""
        body = "\n".join(row("td", cells) for cells in rows)
        self.parts.append(
            f'<div class="scroll"><table{shape}><caption>{escape(caption)}</caption>'
            f"<thead>{row('th', head)}</thead>\n<tbody>{body}</tbody></table></div>"
        )

    def figure(self, image: tuple[str, bytes], caption: str) -> None:
        """Append a figure: its media type and its bytes."""
        kind, data = image
        source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
        self.parts.append(
            f'<figure><img alt="{escape(caption)}" src="{source}"><figcaption>{escape(caption)}</figcaption></figure>'
        )


def page(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The whole page; sections are numbered in order."""
    body = "\n".join(
        f"<section>\n<h2>{k}. {escape(section.title)}</h2>\n" + "\n".join(section.parts) + "\n</section>"
        for k, section in enumerate(sections, 1)
    )
    return _PAGE.substitute(title=escape(title), subtitle=escape(subtitle), body=body)


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, a dash for what is unknown."""
    if not math.isfinite(value):
        return "\N{EN DASH}"
    decimals = max(0, digits - 1 - _magnitude(value))
    if value and not 1e-3 <= abs(value) < 1e7:
        return _minus(f"{value:.{digits - 1}e}")
    return _minus(f"{value:.{decimals}f}")


def plus_minus(value: float, error: float) -> str:
    """A value and its standard error, both to the second digit of the error."""
    if not math.isfinite(error) or error == 0:
        return number(value)
    if max(abs(value), error) < 1e-3:
        power = _magnitude(max(abs(value), error))
        return (
            f"({plus_minus(value / 10.0**power, error / 10.0**power)}) \N{MULTIPLICATION SIGN} {_minus(f'1e{power}')}"
        )
    decimals = max(0, 1 - _magnitude(error))
    return _minus(f"{value:.{decimals}f} \N{PLUS-MINUS SIGN} {error:.{decimals}f}")


def _magnitude(value: float) -> int:
    return math.floor(math.log10(abs(value))) if value else 0


def _minus(text: str) -> str:
    """With the sign of the printer, not the keyboard's."""
    return text.replace("-", "\N{MINUS SIGN}")
