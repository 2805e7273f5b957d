"""Files written whole or not at all."""

import os
from pathlib import Path

from pharmonia.base.errors import InputError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file through a temporary one renamed into place, making its folder where needed.

    Raises:
        InputError: It cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
