"""Files of public data sets, from the network or a mirror directory, through one check of size and digest."""

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from pharmonia.base.errors import DigestError, FetchError, InputError
from pharmonia.data.catalogue import SourceFile
from pharmonia.run.cache import writing

BLOCK_BYTES = 1 << 16
TIMEOUT_S = 60

Progress = Callable[[str, int, int], None]  # what is being done, how much is done, of how much


def no_progress(what: str, done: int, total: int) -> None:
    """Report nothing."""


def mirror_dir(option: Path | None) -> Path | None:
    """The mirror directory: the option, else the environment variable PHARMONIA_MIRROR, else none.

    Raises:
        InputError: It is no directory.
    """
    named = os.environ.get("PHARMONIA_MIRROR")
    folder = option or (Path(named) if named else None)
    if folder is not None and not folder.is_dir():
        raise InputError(f"the mirror {folder} is not a directory (option --mirror or PHARMONIA_MIRROR)")
    return folder


def obtain(file: SourceFile, folder: Path, mirror: Path | None, progress: Progress) -> Path:
    """Copy one source file into a folder and check it.

    Args:
        file: What is expected.
        folder: Where to put it.
        mirror: Directory to take it from instead of the network.
        progress: Told the bytes so far.

    Raises:
        InputError: The mirror does not hold the file, or it cannot be written.
        FetchError: The download failed.
        DigestError: Other bytes came than were expected; names both digests.
    """
    place = folder / file.path.replace("/", "_")
    with _open(file, mirror) as source, writing(), place.open("wb") as sink:
        _copy(source, sink, file, progress)
    return place


def _open(file: SourceFile, mirror: Path | None) -> BinaryIO:
    if mirror is not None:
        try:
            return (mirror / file.path).open("rb")
        except OSError as error:
            raise InputError(f"the mirror {mirror} does not hold {file.path}: {error.strerror}") from error
    request = urllib.request.Request(file.url, headers={"User-Agent": "pharmonia"})  # noqa: S310 (https only)
    try:
        response: BinaryIO = urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310
    except OSError as error:
        raise _failed(file, error) from error
    return response


def _copy(source: BinaryIO, sink: BinaryIO, file: SourceFile, progress: Progress) -> None:
    digest, done = hashlib.sha256(), 0
    while done <= file.n_bytes:
        try:
            block = source.read(BLOCK_BYTES)
        except OSError as error:
            raise _failed(file, error) from error
        if not block:
            break
        digest.update(block)
        sink.write(block)
        done += len(block)
        progress(file.path, min(done, file.n_bytes), file.n_bytes)
    if done != file.n_bytes or digest.hexdigest() != file.sha256:
        more = " or more" if done > file.n_bytes else ""
        raise DigestError(
            f"{file.path}: SHA-256 should be {file.sha256} of {file.n_bytes} bytes, "
            f"got {digest.hexdigest()} of {done} bytes{more}"
        )


def _failed(file: SourceFile, error: OSError) -> FetchError:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return FetchError(
        f"cannot download {file.url}: {reason}; try again, or copy {file.path} to a directory and name that "
        "directory with --mirror or PHARMONIA_MIRROR"
    )
