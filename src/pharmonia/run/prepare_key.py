"""The consortium's preparation key on disk: a file that its holder alone can read, and that is never overwritten."""

from pathlib import Path

from pharmonia.base.errors import KeyFileError
from pharmonia.chem.keyed import KEY_BYTES, PreparationKey
from pharmonia.run.secretfiles import create_secret, read_secret

_HEADING = b"pharmonia preparation key\n"


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
    create_secret(path, _HEADING + key.secret.hex().encode() + b"\n", "choose another name")


def read_preparation_key(path: Path) -> PreparationKey:
    """The key in a file.

    Raises:
        KeyFileError: Missing, readable by others, or no preparation key.
    """
    content = read_secret(path, 4 * KEY_BYTES + len(_HEADING), "the file that the consortium shares")
    if not content.startswith(_HEADING):
        raise KeyFileError(f"{path} is not a preparation key; name the file that the consortium shares")
    try:
        secret = bytes.fromhex(content[len(_HEADING) :].decode().strip())
    except ValueError as error:
        raise KeyFileError(f"{path} is damaged: its second line is not hexadecimal") from error
    if len(secret) != KEY_BYTES:
        raise KeyFileError(f"{path} is damaged: it should hold {KEY_BYTES} bytes, it holds {len(secret)}")
    return PreparationKey(secret=secret)
