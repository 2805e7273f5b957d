"""A ledger on disk: one folder at every partner, appended to by one process, whole after a crash.

    entries.jsonl      one entry a line; an append returns when the line is on the disk (fsync)
    checkpoints.jsonl  one signed checkpoint a line, by rising size
    hashes.bin         hashes of complete subtrees, 32 bytes each; made anew from the entries at every opening
    torn.N             what a crash left of a line that nobody was told was written

A line that lacks its end was never acknowledged. Opening sets it aside, so that nothing is lost, and goes on.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pharmonia.base.errors import InputError, LedgerBusyError, LedgerError, ProofError
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.checkpoint import SignedCheckpoint, decode_checkpoint
from pharmonia.governance.ledger import MAX_LINE_BYTES, Entry, Head, decode_entry
from pharmonia.governance.merkle import HASH_BYTES, frontier_of, n_stored, stored_index
from pharmonia.governance.verify import Delivered, verify_ledger
from pharmonia.governance.verify_result import VerificationResult
from pharmonia.run.files import cannot_write

ENTRIES, CHECKPOINTS, HASHES = "entries.jsonl", "checkpoints.jsonl", "hashes.bin"


class LedgerFile:
    """A ledger that this process alone appends to; made by `open_ledger`."""

    def __init__(self, folder: Path, head: Head, checkpoints: Sequence[SignedCheckpoint]) -> None:
        self._folder = folder
        self._head = head
        self._last = checkpoints[-1] if checkpoints else None

    @property
    def head(self) -> Head:
        """The tree so far, and what each author's next number is."""
        return self._head

    @property
    def last_checkpoint(self) -> SignedCheckpoint | None:
        """The latest that was appended, if any was."""
        return self._last

    def append(self, entries: Sequence[Entry]) -> int:
        """Append entries, in order; on the disk when this returns.

        Whose signatures and rights they are is for `verify_ledger`, and for a partner's own check, to say.

        Returns:
            The ledger's size after them.

        Raises:
            LedgerError: One is of another ledger, or not its author's next; none was appended.
            DiskFullError: There is no room; none was appended.
            InputError: The disk cannot be written; none was appended.
        """
        head, hashes = self._head, list[bytes]()
        for entry in entries:
            head, completed = head.append(entry)
            hashes.extend(completed)
        place = HASH_BYTES * n_stored(self._head.tree.size)
        with _writing(self._folder), (self._folder / HASHES).open("r+b") as file:  # first: nobody asks for them yet
            file.seek(place)
            file.write(b"".join(hashes))
        append_durably(self._folder / ENTRIES, b"".join(entry.to_line() + b"\n" for entry in entries))
        self._head = head
        return head.tree.size

    def append_checkpoint(self, signed: SignedCheckpoint) -> None:
        """Append a checkpoint of this ledger; on the disk when this returns.

        Raises:
            LedgerError: It is not the state of this ledger at its size, or does not follow on the last.
            InputError: As `append`.
        """
        _require_state(signed, self._head, StoredHashes(self._folder))
        size, last = (0, None) if self._last is None else (self._last.checkpoint.size, self._last.checkpoint.digest)
        if signed.checkpoint.size < size or signed.checkpoint.previous != last:
            raise LedgerError(f"a checkpoint of size {signed.checkpoint.size} does not follow on the last, of {size}")
        append_durably(self._folder / CHECKPOINTS, signed.to_line() + b"\n")
        self._last = signed


class StoredHashes:
    """The hashes of complete subtrees in a ledger's folder, from which proofs are read."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / HASHES

    def __call__(self, level: int, index: int) -> bytes:
        """32 bytes.

        Raises:
            ProofError: The ledger is not as large as that.
            InputError: There is no ledger there, or it cannot be read.
        """
        try:
            with self._path.open("rb", buffering=0) as file:
                found = os.pread(file.fileno(), HASH_BYTES, HASH_BYTES * stored_index(level, index))
        except OSError as error:
            raise InputError(f"cannot read {self._path}: {error.strerror}; opening the ledger makes it") from error
        if len(found) != HASH_BYTES:
            raise ProofError(f"{self._path} has no subtree {index} of level {level}; opening the ledger makes it anew")
        return found


@contextmanager
def open_ledger(folder: Path, ledger: str) -> Iterator[LedgerFile]:
    """A ledger to append to, made where there is none, repaired after a crash and locked against other writers.

    Args:
        folder: Of the ledger.
        ledger: The consortium's id, 64 hexadecimal digits.

    Raises:
        LedgerBusyError: Another process writes it.
        LedgerError: A line is damaged, or entries are missing that a checkpoint here has seen; names the remedy.
        InputError: The folder cannot be written.
    """
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / ENTRIES, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LedgerBusyError(f"another process writes the ledger {folder}; end it and run again") from error
        with _writing(folder):
            for name in (ENTRIES, CHECKPOINTS):
                _repair(folder / name)
            _sync_folder(folder)
            head = _replay(folder, ledger)
        place = folder / CHECKPOINTS
        checkpoints = read_checkpoints(place) if place.is_file() else []
        if checkpoints:
            _require_state(checkpoints[-1], head, StoredHashes(folder))
        yield LedgerFile(folder, head, checkpoints)
    finally:
        os.close(lock)


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file with their ends, one at a time and none longer than any line may be.

    Raises:
        InputError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES + 2):
                yield line
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def read_checkpoints(path: Path) -> list[SignedCheckpoint]:
    """The checkpoints in a file of them.

    Raises:
        LedgerError: A line is not one.
        InputError: It cannot be read.
    """
    return [_decoded(path, number, line) for number, line in enumerate(read_lines(path), 1)]


def verify_folder(folder: Path, history: AgreementHistory, delivered: Delivered, now: datetime) -> VerificationResult:
    """What `verify_ledger` says of the ledger in a folder, which is read once, line by line, and not written to.

    Args:
        folder: Of the ledger.
        history: The agreement; its accepted versions count.
        delivered: What else is to be checked.
        now: Against which times are held.

    Raises:
        InputError: A file cannot be read, or the report is not the results of a comparison.
        AgreementError: No version of the agreement is accepted.
    """
    checkpoints = folder / CHECKPOINTS
    own = read_lines(checkpoints) if checkpoints.exists() else ()
    return verify_ledger(read_lines(folder / ENTRIES), own, history.accepted(), delivered, now)


def _decoded(path: Path, number: int, line: bytes) -> SignedCheckpoint:
    try:
        return decode_checkpoint(_whole(line))
    except LedgerError as error:
        raise LedgerError(f"{path.name}, line {number}: {error}") from error


def _whole(line: bytes) -> bytes:
    if not line.endswith(b"\n"):
        raise LedgerError("a line has no end: it was half written")
    return line[:-1]


def _replay(folder: Path, ledger: str) -> Head:
    head = Head(ledger=ledger)
    temporary = folder / f"{HASHES}.{os.getpid()}.tmp"
    try:
        with temporary.open("wb") as hashes:
            for number, line in enumerate(read_lines(folder / ENTRIES), 1):
                try:
                    head, completed = head.append(decode_entry(_whole(line)))
                except LedgerError as error:
                    remedy = "take this ledger from a partner whose copy verifies"
                    raise LedgerError(f"{folder / ENTRIES}, line {number}: {error}; {remedy}") from error
                hashes.writelines(completed)
        temporary.replace(folder / HASHES)
    finally:
        temporary.unlink(missing_ok=True)
    return head


def _require_state(signed: SignedCheckpoint, head: Head, nodes: StoredHashes) -> None:
    checkpoint = signed.checkpoint
    if checkpoint.ledger != head.ledger or checkpoint.size > head.tree.size:
        raise LedgerError(
            f"a checkpoint of {checkpoint.size} entries of {checkpoint.ledger} is not of this ledger of "
            f"{head.tree.size}: entries are missing; take them from a partner's copy"
        )
    tree = head.tree if checkpoint.size == head.tree.size else frontier_of(checkpoint.size, nodes)
    if tree.root.hex() != checkpoint.root:
        raise LedgerError(
            f"the first {checkpoint.size} entries are not those of the checkpoint with root {checkpoint.root}; "
            "keep both and ask the other partners"
        )


def _repair(path: Path) -> None:
    """Set aside what follows on the last end of a line."""
    with path.open("ab+") as file:
        size = file.tell()
        start = _start_of_last_line(file.fileno(), size)
        if start == size:
            return
        torn = os.pread(file.fileno(), size - start, start)
        aside = next(place for n in range(size + 1) if not (place := path.with_name(f"{path.name}.torn.{n}")).exists())
        aside.write_bytes(torn)
        _sync_folder(path.parent)
        file.truncate(start)
        os.fsync(file.fileno())


def _start_of_last_line(descriptor: int, size: int) -> int:
    """Where the bytes after the last end of a line begin; the size, if there are none."""
    end = size
    while end > 0:
        begin = max(0, end - MAX_LINE_BYTES)
        place = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if place >= 0:
            return begin + place + 1
        end = begin
    return 0


def append_durably(path: Path, content: bytes) -> None:
    """Write at the end and wait for the disk; a write that fails is taken back."""
    with _writing(path), path.open("ab", buffering=0) as file:
        size = file.tell()
        try:
            view = memoryview(content)
            while view:
                view = view[file.write(view) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error
