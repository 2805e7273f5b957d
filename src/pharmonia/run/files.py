"""Files written whole or not at all, and there after the power went."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pharmonia.base.errors import DiskFullError, InputError

_ALL, _OWNER = 0o666, 0o600  # less what the process masks
_NOT_OWNER = 0o077
_GROUP_ENTERS, _OTHERS_ENTER = 0o010, 0o001


def write_whole(path: Path, content: bytes) -> None:
    """Write a file through a temporary one renamed into place, making its folder where needed; on the disk then.

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
        _make_folder(path.parent)
        try:
            temporary.unlink(missing_ok=True)  # of a killed process with our number
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


@contextmanager
def for_us_alone() -> Iterator[None]:
    """While it lasts, whatever this process and those that it starts make is for their user alone."""
    before = os.umask(_NOT_OWNER)
    try:
        yield
    finally:
        os.umask(before)


def require_closed(folder: Path) -> None:
    """Refuses a folder into which another user can come; one of those above it may be what keeps him out.

    Raises:
        InputError: Group or others can; with the remedy.
    """
    try:
        modes = [one.stat().st_mode for one in (folder.resolve(), *folder.resolve().parents)]
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}") from error
    if any(all(mode & enters for mode in modes) for enters in (_GROUP_ENTERS, _OTHERS_ENTER)):
        raise InputError(f"{folder} is open to others (mode {modes[0] & 0o777:o}); run `chmod 700 {folder}`")


def make_durably(path: Path) -> None:
    """Make an empty file, unless there is one, that stays in its folder whatever happens to the power.

    Whoever made the folders on its way may not have waited for the disk: all of them are synced, as far as we may.

    Raises:
        DiskFullError: There is no room for it.
        InputError: It cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        for folder in path.absolute().parents:
            with suppress(PermissionError):  # of another owner, and there before us
                sync_folder(folder)
    except OSError as error:
        raise cannot_write(path, error) from error


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; a file system that cannot say so is taken at its word.

    Raises:
        OSError: It cannot be opened or written.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def _make_folder(folder: Path) -> None:
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in made:
        sync_folder(one.parent)


def cannot_write(path: Path, error: OSError) -> InputError:
    """What to raise when a path cannot be written: `DiskFullError` where room is what is missing."""
    kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else InputError
    return kind(f"cannot write {path}: {error.strerror}")
