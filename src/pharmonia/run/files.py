"""Files written whole or not at all."""

import errno
import os
from pathlib import Path

from pharmonia.base.errors import DiskFullError, InputError

_ALL, _OWNER = 0o666, 0o600  # less what the process masks


def write_whole(path: Path, content: bytes) -> None:
    """Write a file through a temporary one renamed into place, making its folder where needed.

    Raises:
        DiskFullError: There is no room for it.
        InputError: It cannot be written.
    """
    _write(path, content, _ALL)


def write_private(path: Path, content: bytes) -> None:
    """As `write_whole`, of mode 0600 from its first byte on.

    Raises:
        DiskFullError: There is no room for it.
        InputError: It cannot be written.
    """
    _write(path, content, _OWNER)


def _write(path: Path, content: bytes, mode: int) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.unlink(missing_ok=True)  # of a killed process with our number
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> InputError:
    """What to raise when a path cannot be written: `DiskFullError` where room is what is missing."""
    kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else InputError
    return kind(f"cannot write {path}: {error.strerror}")
