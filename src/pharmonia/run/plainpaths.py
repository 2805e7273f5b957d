"""Paths with which NVFlare can work."""

import shlex
from pathlib import Path

from pharmonia.base.errors import InputError


def require_plain(path: Path) -> None:
    """Refuses a path that NVFlare 2.9 takes apart: it makes a job's command as text, and splits it as a shell would.

    Raises:
        InputError: The path has a space, a quote, a backslash or a #; names the remedy.
    """
    text = str(path)
    try:
        is_plain = shlex.split(text, comments=True) == [text]
    except ValueError:  # a quote that is never closed
        is_plain = False
    if not is_plain:
        raise InputError(
            f"NVFlare can start no job in {text!r}: the path has a space, a quote, a backslash or a #; move it to one "
            f"without, and run the command again there"
        )
