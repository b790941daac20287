"""What MkDocs does to pages of this site: the list of errors, and Sphinx's roles in docstrings."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import errors  # noqa: E402

LIST_OF_ERRORS = "<!-- errors -->"
ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):<code>~?([^<]*)</code>")


def on_page_markdown(markdown: str, **_: Any) -> str:
    return markdown.replace(LIST_OF_ERRORS, errors.markdown()) if LIST_OF_ERRORS in markdown else markdown


def on_page_content(content: str, **_: Any) -> str:
    return ROLE.sub(r"<code>\1</code>", content)
