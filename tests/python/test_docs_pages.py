"""The pages of the documentation: links lead somewhere, files exist, and each error has a cure."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

from test_docs import DOCS, PAGES, ROOT
from test_torchforce import INTERFACE

sys.path.insert(0, str(DOCS))
import errors  # noqa: E402


def test_links() -> None:
    """Links lead to files and headings that exist; those to other sites have the form of a link."""
    for name, page in PAGES.items():
        text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]*)\)", text):
            if "://" in target:
                assert re.fullmatch(r"https://[\w.-]+\.\w+(/[\w./~+-]*)?", target), f"{name}: {target}"
            elif target.startswith("#"):
                assert target[1:] in anchors(page), f"{name}: {target}"
            else:
                path, _, anchor = target.partition("#")
                assert (page.parent / path).exists(), f"{name}: {target}"
                assert not anchor or anchor in anchors(page.parent / path), f"{name}: {target}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    included = {"what-works-where"} if page.name == "index.md" else set()
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings} | included


def test_files_that_are_named_exist() -> None:
    for name, page in PAGES.items():
        for path in re.findall(r"`((?:csrc|docs|examples|python|tests)/[\w./-]+)`", page.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), f"{name}: {path}"
    table = (DOCS / "reliability.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)`", table)
    assert len(named) > 15 and all((ROOT / "tests" / "python" / test).exists() for test in named)
    assert re.findall(r"^\| (G\d+) ", table, re.MULTILINE) == [f"G{i}" for i in range(1, 16)]


def test_figures_are_shown_and_come_from_runs() -> None:
    drawn = set(re.findall(r'"(\w+\.png)"', (DOCS / "figures.py").read_text(encoding="utf-8"))) - {"total_energy.png"}
    shown = {name for page in PAGES.values() for name in re.findall(r"figures/(\w+\.png)", page.read_text())}
    assert drawn == shown == {path.name for path in (DOCS / "figures").iterdir()}
    assert sum(path.stat().st_size for path in (DOCS / "figures").iterdir()) < 500_000


def test_versions_agree() -> None:
    project = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    cmake = re.search(r"project\(openmm-nnp VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())
    change = re.search(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert project and cmake and change
    assert project[1] == cmake[1] == change[1] == citation["version"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation) and citation["license"] == "MIT"


def test_openmm_torch_is_compared_line_by_line() -> None:
    page = (DOCS / "openmm-torch.md").read_text(encoding="utf-8")
    assert [name for name in INTERFACE if f"{name}(" not in page] == []


# Errors


def test_every_error_has_a_cure() -> None:
    assert sum(map(len, errors.entries().values())) == len(errors.listed()) > 500


def test_no_cure_is_left_over() -> None:
    files = errors.all_texts()
    topics = errors.topics()
    for topic in topics:
        for text in topic.cures:
            assert text in errors.listed(), f"no error has this text any more: {text}"
            assert errors.topic_of(files[text], topics) is topic, f"belongs under another topic: {text}"


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("the file {} is bad; copy it again.", "copy it again."),
        ("x is {}, but a positive number is needed.", "give a positive number"),
        ("{} must be an integer, but {} was given", "it must be an integer"),
        ("it failed: {}", ""),
    ],
)
def test_cures_within_texts(text: str, cure: str) -> None:
    assert errors.own_cure(text) == cure


def test_errors_become_markdown_that_shows_them() -> None:
    page = errors.markdown()
    assert (
        "<code>The file is empty; a TorchScript file (.pt) or an AOTInductor package (.pt2) is needed.</code>" in page
    )
    assert page.count("\n:   ") == len(errors.listed())
