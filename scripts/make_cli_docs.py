"""Writes docs/cli.md from the commands' own help; a test compares the two.

Usage: python scripts/make_cli_docs.py
"""

import os
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs" / "cli.md"
COMMANDS = (
    (),
    ("compare",),
    ("data",),
    ("data", "list"),
    ("data", "info"),
    ("data", "fetch"),
    ("data", "import"),
    ("prepare",),
    *(("prepare", name) for name in ("tables", "check", "key", "recipe")),
    ("export",),
    ("predict",),
    ("audit",),
    ("bench",),
    *(("bench", name) for name in ("list", "run", "status", "report")),
    ("keys",),
    *(("keys", name) for name in ("create", "show", "rotate")),
    ("consortium",),
    *(("consortium", name) for name in ("init", "invite", "join", "amend", "sign", "show", "diff")),
    ("policy",),
    *(("policy", name) for name in ("open", "grant", "revoke", "sign", "show")),
    ("plan",),
    *(("plan", name) for name in ("commitment", "new", "new-tasks", "approve", "show", "check")),
    ("ledger",),
    *(("ledger", name) for name in ("show", "cosign", "prove")),
    ("deploy",),
    *(("deploy", name) for name in ("authority", "request", "approve", "kit", "check", "status")),
    *((name,) for name in ("up", "status", "logs", "down")),
    ("party",),
    *(("party", name) for name in ("start", "check")),
    ("coordinator",),
    *(("coordinator", name) for name in ("start", "preflight")),
    ("verify",),
)
WIDTH = "100"


def help_of(command: tuple[str, ...]) -> str:
    """What `pharmonia COMMAND --help` prints on a terminal of 100 columns."""
    code = "import sys; sys.argv[0] = 'pharmonia'; from pharmonia.cli.main import main; main()"
    plain = {**os.environ, "TERMINAL_WIDTH": WIDTH, "COLUMNS": WIDTH, "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code, *command, "--help"], env=plain, capture_output=True, text=True, check=True
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def page() -> str:
    """The whole page."""
    parts = ["# Commands\n\nMade by `python scripts/make_cli_docs.py` from the commands' own help.\n"]
    for command in COMMANDS:
        name = " ".join(("pharmonia", *command))
        parts.append(f"## `{name}`\n\n```text\n{help_of(command)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    DOCS.write_text(page(), encoding="utf-8")
