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
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from io import FileIO
from pathlib import Path
from threading import Lock

from pharmonia.base.errors import InputError, LedgerBusyError, LedgerError, ProofError
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.checkpoint import SignedCheckpoint, decode_checkpoint
from pharmonia.governance.documents_signed import require_past
from pharmonia.governance.ledger import MAX_LINE_BYTES, Entry, Head, decode_entry
from pharmonia.governance.merkle import HASH_BYTES, frontier_of, n_stored, stored_index
from pharmonia.governance.verify import Delivered, verify_ledger
from pharmonia.governance.verify_result import VerificationResult
from pharmonia.run.files import cannot_write, sync_folder

ENTRIES, CHECKPOINTS, HASHES = "entries.jsonl", "checkpoints.jsonl", "hashes.bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A ledger as far as somebody was told that it is on the disk; replaced as one, so that nothing comes in between.

    Args:
        head: The tree, and how many entries each author has made.
        last: The latest checkpoint.
        n_entry_bytes: Of the entries.
        n_checkpoint_bytes: Of the checkpoints.
    """

    head: Head
    last: SignedCheckpoint | None
    n_entry_bytes: int
    n_checkpoint_bytes: int


class LedgerFile:
    """A ledger that this process alone appends to; made by `open_ledger`.

    Guarantees:
        an_interrupted_append_leaves_no_trace: Whatever ends it, its lines are gone before anything else is appended.
        who_let_go_of_the_lock_writes_no_more: An append under way is waited for, and a later one refused.
    """

    def __init__(self, folder: Path, known: _Known) -> None:
        self._folder = folder
        self._known = known
        self._is_open = True
        self._one_at_a_time = Lock()

    @property
    def head(self) -> Head:
        """The tree so far, and what each author's next number is."""
        return self._known.head

    @property
    def last_checkpoint(self) -> SignedCheckpoint | None:
        """The latest that was appended, if any was."""
        return self._known.last

    def append(self, entries: Sequence[Entry]) -> int:
        """Append entries, in order; on the disk when this returns.

        Whose signatures and rights they are is for `verify_ledger`, and for a partner's own check, to say.

        Returns:
            The ledger's size after them.

        Raises:
            LedgerError: One is of another ledger, or not its author's next; none was appended.
            LedgerBusyError: The lock was let go of; none was appended.
            DiskFullError: There is no room; none was appended.
            InputError: The disk cannot be written; none was appended.
        """
        with self._writer() as known:
            head, hashes = known.head, list[bytes]()
            for entry in entries:
                head, completed = head.append(entry)
                hashes.extend(completed)
            place = HASH_BYTES * n_stored(known.head.tree.size)
            with _writing(self._folder), (self._folder / HASHES).open("r+b") as file:  # first: nobody asks for them yet
                file.seek(place)
                file.write(b"".join(hashes))
            content = b"".join(entry.to_line() + b"\n" for entry in entries)
            append_durably(self._folder / ENTRIES, content)
            self._known = replace(known, head=head, n_entry_bytes=known.n_entry_bytes + len(content))
            return head.tree.size

    def append_checkpoint(self, signed: SignedCheckpoint) -> None:
        """Append a checkpoint of this ledger; on the disk when this returns.

        Raises:
            LedgerError: It is not the state of this ledger at its size, or does not follow on the last.
            LedgerBusyError, InputError: As `append`.
        """
        with self._writer() as known:
            _require_state(signed, known.head, StoredHashes(self._folder))
            last = None if known.last is None else known.last.checkpoint
            size, digest = (0, None) if last is None else (last.size, last.digest)
            given = signed.checkpoint
            if given.size < size or given.previous != digest:
                raise LedgerError(f"a checkpoint of size {given.size} does not follow on the last, of {size}")
            content = signed.to_line() + b"\n"
            append_durably(self._folder / CHECKPOINTS, content)
            self._known = replace(known, last=signed, n_checkpoint_bytes=known.n_checkpoint_bytes + len(content))

    def close(self) -> None:
        """Append nothing from now on; returns when no append is under way."""
        with self._one_at_a_time:
            self._is_open = False

    @contextmanager
    def _writer(self) -> Iterator[_Known]:
        """The only one who writes, with what nobody was told was written taken back."""
        with self._one_at_a_time:
            if not self._is_open:
                raise LedgerBusyError(f"the ledger {self._folder} was let go of; another process may write it by now")
            known = self._known
            with _writing(self._folder):
                _cut(self._folder / ENTRIES, known.n_entry_bytes)
                _cut(self._folder / CHECKPOINTS, known.n_checkpoint_bytes)
            yield known


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
            sync_folder(folder)
            head = _replay(folder, ledger)
        checkpoints = read_checkpoints(folder / CHECKPOINTS)
        if checkpoints:
            _require_state(checkpoints[-1], head, StoredHashes(folder))
        file = LedgerFile(folder, _known_of(folder, head, checkpoints))
        try:
            yield file
        finally:
            file.close()
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
        AgreementError: No version of the agreement is accepted, or a signature on one is from the future.
    """
    for signed in history.versions[: history.n_accepted]:
        require_past(signed.signatures, now, f"{signed.agreement.name}, version {signed.agreement.version}")
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
        sync_folder(path.parent)
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
    """Write lines at the end and wait for the disk; a write that fails or is interrupted is taken back.

    What a taking back that was itself interrupted left of a line is taken back by the next write.
    """
    with _writing(path), path.open("ab+", buffering=0) as file:
        size = _cut_to_lines(file)
        try:
            view = memoryview(content)
            while view:
                view = view[file.write(view) :]
            os.fsync(file.fileno())
        except BaseException:
            _take_back(file, size)
            raise


def _take_back(file: FileIO, size: int) -> None:
    with suppress(OSError):  # what ended the write is what is told
        file.truncate(size)


def _cut_to_lines(file: FileIO) -> int:
    """The size of a file of whole lines, which it is afterwards."""
    size = file.tell()
    if size == 0 or os.pread(file.fileno(), 1, size - 1) == b"\n":
        return size
    start = _start_of_last_line(file.fileno(), size)
    file.truncate(start)
    return start


def _cut(path: Path, n_bytes: int) -> None:
    """Take back what lies beyond what is known of a file that only its holder writes.

    Raises:
        LedgerError: It is shorter.
    """
    size = path.stat().st_size
    if size < n_bytes:
        raise LedgerError(f"{path} has {size} bytes, and had {n_bytes}; take this ledger from a partner's copy")
    if size > n_bytes:
        os.truncate(path, n_bytes)


def _known_of(folder: Path, head: Head, checkpoints: Sequence[SignedCheckpoint]) -> _Known:
    with _writing(folder):
        n_entry_bytes, n_checkpoint_bytes = ((folder / name).stat().st_size for name in (ENTRIES, CHECKPOINTS))
    last = checkpoints[-1] if checkpoints else None
    return _Known(head=head, last=last, n_entry_bytes=n_entry_bytes, n_checkpoint_bytes=n_checkpoint_bytes)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error
