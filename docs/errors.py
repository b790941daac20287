"""The list of errors on the page "Troubleshooting": every text that the project raises, by topic, with its cure.

The texts come from tests/python/errors.txt, where a test finds each. Most say themselves what to do; what the others
leave unsaid is in cures.txt, which also says which source files belong to a topic.
"""

from __future__ import annotations

import html
import re
import sys
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "python"))
from error_texts import all_texts  # noqa: E402

VERBS = (
    "add|ask|begin|build|call|check|choose|compile|compute|copy|correct|create|cut|declare|don't|download|embed|enlarge|export|fill|"
    "give|go|install|interpolate|join|lay|leave|let|look|make|minimize|move|name|pass|put|read|remove|rename|"
    "repeat|replace|report|restore|return|run|save|say|see|set|start|take|train|turn|use|wait|write|load"
)
# What a text says to do: as an imperative, as what is needed, or as what must be.
IMPERATIVE = re.compile(rf"(?:.*?(?:[;:.] (?:\{{\}})?|, so |origin, )|\s*)((?:{VERBS})\b.*)", re.IGNORECASE | re.DOTALL)
NEEDED = re.compile(r".*?\bbut (?:needed (?:is|are) (?P<after>.+)|(?P<before>.+?) (?:is|are) needed)", re.DOTALL)
MUST = re.compile(r".*?(?P<who>all three|all|both legs|they|it)? ?must (?P<what>.+?)(?:, but .*|, not )?", re.DOTALL)


@dataclass
class Topic:
    """Errors of one kind: source files that they are in (patterns), and cures for texts that hold none."""

    title: str
    about: str = ""
    files: list[str] = field(default_factory=list)
    cures: dict[str, str] = field(default_factory=dict)


def listed() -> list[str]:
    """The texts of errors.txt, with {} for what is put in."""
    lines = (ROOT / "tests" / "python" / "errors.txt").read_text(encoding="utf-8").splitlines()
    return [line[4:].replace("\\n", "\n") for line in lines if line.startswith("    ")]


def topics() -> list[Topic]:
    """cures.txt: "# topic", "from: files", what it is about, then cures, each above the texts that it is for."""
    found: list[Topic] = []
    cure = ""
    for line in (Path(__file__).parent / "cures.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            found.append(Topic(line[2:]))
            cure = ""
        elif line.startswith("from: "):
            found[-1].files += line.removeprefix("from: ").split()
        elif line.startswith("about: "):
            found[-1].about = line.removeprefix("about: ")
        elif line.startswith("    "):
            found[-1].cures[line[4:].replace("\\n", "\n")] = cure
        elif line:
            cure = line
    return found


def own_cure(text: str) -> str:
    """What a text itself says to do, "" if it does not."""
    if match := IMPERATIVE.fullmatch(text):
        return match[1]
    if match := NEEDED.match(text):
        return f"give {(match['before'] or match['after']).strip()}"
    if match := MUST.fullmatch(text):
        rest = match["what"].strip()
        return f"{match['who'] or 'it'} must {rest}" + (" those that the text lists" if rest.endswith("one of") else "")
    return ""


def topic_of(path: str, among: list[Topic]) -> Topic | None:
    """The topic that a source file belongs to; the longest pattern that fits counts."""
    fits = [(len(pattern), i) for i, topic in enumerate(among) for pattern in topic.files if fnmatch(path, pattern)]
    return among[max(fits)[1]] if fits else None


def entries() -> dict[str, list[tuple[str, str]]]:
    """Topic -> texts with their cures, in the order of cures.txt; raises ValueError if one has none."""
    among, files = topics(), all_texts()
    found: dict[str, list[tuple[str, str]]] = {topic.title: [] for topic in among}
    for text in sorted(listed(), key=lambda text: re.sub(r"[^a-z]", "", text.lower())):
        topic = topic_of(files[text], among)
        if topic is None:
            raise ValueError(f"no topic of docs/cures.txt has the file {files[text]}: {text}")
        cure = topic.cures.get(text) or _shown(own_cure(text))
        if not cure:
            raise ValueError(f"say in docs/cures.txt, under '{topic.title}', what to do about: {text}")
        found[topic.title].append((text, cure))
    return found


def _shown(text: str) -> str:
    """A text as HTML in which Markdown finds nothing."""
    words = html.escape(" ".join(text.replace("{}", "…").split()), quote=False)
    return re.sub(r"[*_`\[\]]", lambda match: f"&#{ord(match[0])};", words)


def markdown() -> str:
    """The list as Markdown: a heading for each topic, a list of definitions below."""
    about = {topic.title: topic.about for topic in topics()}
    lines: list[str] = []
    for title, texts in entries().items():
        lines += [f"### {title}", "", about[title], ""]
        for text, cure in texts:
            cure = cure.rstrip(" .,:") + "."
            lines += [f"<code>{_shown(text)}</code>", f":   {cure[0].upper()}{cure[1:]}", ""]
    return "\n".join(lines)
