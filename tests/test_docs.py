"""The documents say what the code does."""

import re
from pathlib import Path

from make_cli_docs import DOCS, page

ROOT = Path(__file__).parents[1]


def test_the_page_of_commands_is_their_help() -> None:
    assert DOCS.read_text(encoding="utf-8") == page(), "run python scripts/make_cli_docs.py"


def test_links_between_documents_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert len(pages) > 5
    for document in pages:
        for target in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8")):
            if not target.startswith(("http", "mailto:")):
                assert (document.parent / target).exists(), f"{document.name} links to {target}"
