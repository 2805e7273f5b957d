"""Files of kits on disk: keys that only their owner reads, and other files written only where they change."""

from pathlib import Path

from pharmonia.base.errors import InputError, KitError
from pharmonia.run.files import write_whole
from pharmonia.run.secretfiles import create_secret, read_secret

MANIFEST, APPROVAL, REQUEST = "kit.json", "approval.json", "request.json"
MAX_FILE_BYTES = 2**20


def create_key_file(path: Path, content: bytes) -> None:
    """Write a private key into a new file of mode 0600.

    Raises:
        KeyFileError: The file exists, or cannot be written.
    """
    create_secret(path, content, "request the kit in another folder")


def read_key_file(path: Path) -> bytes:
    """The private key in a file.

    Raises:
        KeyFileError: Missing, or readable by others.
    """
    return read_secret(path, MAX_FILE_BYTES, "the key of a kit")


def read_kit_file(path: Path) -> bytes:
    """A file of a kit.

    Raises:
        KitError: Missing, unreadable, or too large to be one.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KitError(f"cannot read {path}: {error.strerror}; make the kit with `pharmonia deploy kit`") from error
    if len(content) > MAX_FILE_BYTES:
        raise KitError(f"{path} has more than {MAX_FILE_BYTES:,} bytes; it is no file of a kit")
    return content


def write_changed(path: Path, content: bytes) -> bool:
    """Whether the file had to be written: it was not there, or held something else.

    Raises:
        InputError: It cannot be written.
    """
    try:
        if path.is_file() and path.read_bytes() == content:
            return False
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    write_whole(path, content)
    return True
