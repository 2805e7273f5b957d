"""What structures came to, by content: never computed twice, in this preparation or the next."""

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from pharmonia.base.errors import CacheError, DiskFullError, InputError
from pharmonia.run.files import cannot_write

_KEY_BYTES, _CHECK_BYTES = 20, 8
_LOOKUP = 500  # keys in one query
_WAIT_S = 60.0  # for another process that writes


class StructureCache:
    """Payloads by key in one SQLite file, each with a check of its bytes.

    A key is a digest of the settings, the version of RDKit and the structure, so nothing in it ever goes stale; it
    holds structures and nothing made with the consortium's key, so it must lie where only the partner can read it.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            DiskFullError: There is no room for it.
            InputError: It cannot be opened.
            CacheError: It is damaged.
        """
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._file = sqlite3.connect(path, timeout=_WAIT_S)
            self._file.execute("PRAGMA synchronous = NORMAL")
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute(
                "CREATE TABLE IF NOT EXISTS structures (key BLOB PRIMARY KEY, payload BLOB NOT NULL) WITHOUT ROWID"
            )
        except OSError as error:
            raise cannot_write(path, error) from error
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error

    def find(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The payloads of those keys that are known.

        Raises:
            InputError: Another process holds the file, or the disk fails.
            CacheError: One is damaged.
        """
        found: dict[bytes, bytes] = {}
        try:
            for start in range(0, len(keys), _LOOKUP):
                some = keys[start : start + _LOOKUP]
                marks = ",".join("?" * len(some))
                query = f"SELECT key, payload FROM structures WHERE key IN ({marks})"  # noqa: S608 - marks only
                found.update(self._file.execute(query, some))
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error
        for key, payload in found.items():
            if not isinstance(payload, bytes) or _check(key, payload[_CHECK_BYTES:]) != payload[:_CHECK_BYTES]:
                raise self._damaged("a payload is not the one that was written")
        return {key: payload[_CHECK_BYTES:] for key, payload in found.items()}

    def keep(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Write payloads by key.

        Raises:
            DiskFullError: There is no room for them.
            InputError: Another process holds the file, or it cannot be written.
            CacheError: The file is damaged.
        """
        try:
            with self._file:
                rows = ((key, _check(key, payload) + payload) for key, payload in items)
                self._file.executemany("INSERT OR REPLACE INTO structures VALUES (?, ?)", rows)
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _unusable(self, error: sqlite3.DatabaseError) -> CacheError | InputError:
        """What to raise: a cache that is busy, or cannot be read or written for now, is not damaged."""
        if not isinstance(error, sqlite3.OperationalError):
            return self._damaged(str(error))
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # less what is told beyond the kind
        match code:
            case sqlite3.SQLITE_ERROR:  # the file is no table of structures
                return self._damaged(str(error))
            case sqlite3.SQLITE_FULL:
                return DiskFullError(f"no room for the cache of structures {self._path}: {error}; make room there")
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                remedy = "wait for the process that writes it and run again"
            case _:
                remedy = "see that its disk has room and that you may write there"
        return InputError(f"cannot use the cache of structures {self._path}: {error}; {remedy}")

    def _damaged(self, text: str) -> CacheError:
        return CacheError(f"the cache of structures {self._path} is damaged ({text}); remove it and run again")


def structure_key(stage: str, text: str) -> bytes:
    """The key of a text under the digest of a stage's settings."""
    return hashlib.sha256(f"{stage}\x00{text}".encode()).digest()[:_KEY_BYTES]


def _check(key: bytes, payload: bytes) -> bytes:
    return hashlib.blake2b(key + payload, digest_size=_CHECK_BYTES).digest()
