"""The consortium's preparation key on disk: a file that its holder alone can read, and that is never overwritten."""

import os
from pathlib import Path

from pharmonia.base.errors import KeyFileError
from pharmonia.chem.keyed import KEY_BYTES, PreparationKey

_HEADING = b"pharmonia preparation key\n"
_OTHERS = 0o077


def create_preparation_key(path: Path) -> PreparationKey:
    """A fresh key, written to a new file of mode 0600.

    Raises:
        KeyFileError: The file exists, or cannot be written.
    """
    key = PreparationKey.generate()
    write_preparation_key(path, key)
    return key


def write_preparation_key(path: Path, key: PreparationKey) -> None:
    """Write a key that is known already.

    Raises:
        KeyFileError: The file exists, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_HEADING + key.secret.hex().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise KeyFileError(f"{path} exists; a key file is never overwritten, choose another name") from error
    except OSError as error:
        raise KeyFileError(f"cannot write {path}: {error.strerror}") from error


def read_preparation_key(path: Path) -> PreparationKey:
    """The key in a file.

    Raises:
        KeyFileError: Missing, readable by others, or no preparation key.
    """
    try:
        mode = path.stat().st_mode
        if mode & _OTHERS:
            raise KeyFileError(f"{path} can be read by others (mode {mode & 0o777:o}); run `chmod 600 {path}`")
        with path.open("rb") as file:
            content = file.read(4 * KEY_BYTES + len(_HEADING))
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror}") from error
    if not content.startswith(_HEADING):
        raise KeyFileError(f"{path} is not a preparation key; name the file that the consortium shares")
    try:
        secret = bytes.fromhex(content[len(_HEADING) :].decode().strip())
    except ValueError as error:
        raise KeyFileError(f"{path} is damaged: its second line is not hexadecimal") from error
    if len(secret) != KEY_BYTES:
        raise KeyFileError(f"{path} is damaged: it should hold {KEY_BYTES} bytes, it holds {len(secret)}")
    return PreparationKey(secret=secret)
