"""Secrets on disk, whatever they are of: readable by their owner alone, whole, and never overwritten."""

import os
import secrets
from pathlib import Path

from pharmonia.base.errors import KeyFileError

_OTHERS = 0o077


def create_secret(path: Path, content: bytes, remedy: str) -> None:
    """Write a file whole, on the disk, without ever being readable by others or replacing another.

    Raises:
        KeyFileError: The file exists, with the remedy, or cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError as error:
        raise KeyFileError(f"{path} exists; a key file is never overwritten, {remedy}") from error
    except OSError as error:
        raise KeyFileError(f"cannot write {path}: {error.strerror}") from error


def read_secret(path: Path, most: int, wanted: str) -> bytes:
    """A secret's file.

    Args:
        path: Of the file.
        most: Bytes that such a file has.
        wanted: What to name instead of a larger one.

    Raises:
        KeyFileError: Missing, readable by others, or too large.
    """
    try:
        mode = path.stat().st_mode
        if mode & _OTHERS:
            raise KeyFileError(f"{path} can be read by others (mode {mode & 0o777:o}); run `chmod 600 {path}`")
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > most:
        raise KeyFileError(f"{path} is too large for a key file; name {wanted}")
    return content
