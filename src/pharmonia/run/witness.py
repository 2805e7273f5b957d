"""A partner's own copy of the ledger: what it says itself, what it takes from others, what it signs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path

from pharmonia.base.errors import LedgerError
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.checkpoint import Checkpoint, SignedCheckpoint, sign_checkpoint
from pharmonia.governance.checkpoint_views import cosign
from pharmonia.governance.documents import whole_second
from pharmonia.governance.events import Event
from pharmonia.governance.identity import PrivateKey, PublicKey
from pharmonia.governance.ledger import Entry, decode_entry, sign_entry
from pharmonia.governance.merkle import frontier_of
from pharmonia.governance.verify_versions import Versions, unsigned
from pharmonia.run.ledgerfile import (
    CHECKPOINTS,
    ENTRIES,
    LedgerFile,
    StoredHashes,
    open_ledger,
    read_checkpoints,
    read_lines,
)
from pharmonia.run.standing import Standing, read_standing


class Witness:
    """One partner, its key and its copy of the ledger; made by `open_witness`.

    Guarantees:
        a_stranger_s_entry_is_not_taken: Only entries that verification takes too: signed by a key that is active in the
            version of the agreement in force at their place, before its end.
        a_false_signature_is_not_kept: Of a checkpoint, each is of a key active in the version in force at its size.
        nothing_is_cosigned_unseen: A checkpoint is signed only if our own copy hashes to it.
    """

    def __init__(
        self, partner: str, key: PrivateKey, history: AgreementHistory, folder: Path, copy: LedgerFile
    ) -> None:
        self.partner = partner
        self.standing: Standing = read_standing(folder)
        self._key = key
        self._folder = folder
        self._copy = copy
        path = folder / CHECKPOINTS
        self._n_checkpoints = sum(1 for _ in read_lines(path)) if path.exists() else 0
        self._versions = Versions(history.accepted())

    @property
    def public(self) -> PublicKey:
        """The half of our key that everybody may know."""
        return self._key.public

    @property
    def size(self) -> int:
        """Entries of our copy."""
        return self._copy.head.tree.size

    @property
    def is_covered(self) -> bool:
        """Whether our copy's last checkpoint is of all its entries."""
        last = self._copy.last_checkpoint
        return last is not None and last.checkpoint.size == self.size

    def root_at(self, size: int) -> str:
        """Root of our copy's first entries, 64 hexadecimal digits."""
        tree = self._copy.head.tree
        return (tree if size == tree.size else frontier_of(size, StoredHashes(self._folder))).root.hex()

    def state(self, events: Sequence[Event], at: datetime) -> Entry:
        """Our next entry, signed; it stands when it comes back with the others' entries."""
        number = self._copy.head.n_by_key.get(self.public.key_id, 0)
        ledger = self._copy.head.ledger
        return sign_entry(ledger=ledger, number=number, at=whole_second(at), events=tuple(events), key=self._key)

    def take(self, entries: Sequence[Entry]) -> None:
        """Append entries to our copy; on the disk when this returns.

        Raises:
            LedgerError: One is not signed as the version of the agreement in force there asks for, puts another one in
                force than the next, or is not its author's next; none was appended.
            InputError: The disk is full or cannot be written.
        """
        n_adopted = self.standing.n_adopted
        for entry in entries:
            why = unsigned(entry, self._versions.judging(entry.events, n_adopted))
            if why:
                raise LedgerError(f"{self.partner} does not take an entry in the name of {entry.key}: {why}")
            n_adopted = self._versions.after(entry, n_adopted)
        self._copy.append(entries)
        for entry in entries:
            self.standing.take(entry)

    def propose(self, at: datetime) -> SignedCheckpoint:
        """A checkpoint of our copy as it is, under our signature."""
        head, last = self._copy.head, self._copy.last_checkpoint
        previous = None if last is None else last.checkpoint.digest
        root = head.tree.root.hex()
        state = Checkpoint(ledger=head.ledger, size=head.tree.size, root=root, at=whole_second(at), previous=previous)
        return sign_checkpoint(state, self._key)

    def cosign(self, offered: SignedCheckpoint, coordinator: PublicKey) -> SignedCheckpoint:
        """The offered checkpoint with our signature.

        Raises:
            ProofError: It is not the state of our copy, or not signed by the coordinator.
        """
        return cosign(offered, self._copy.head.tree, self._copy.head.ledger, coordinator, self._key)

    def keep(self, signed: SignedCheckpoint) -> None:
        """Append a checkpoint to our copy, unless it is the last that is there.

        Raises:
            LedgerError: It is not the state of our copy, does not follow on the last, or bears a signature that is not
                of a key that was a partner's then.
        """
        in_force = self._versions.in_force(self.standing.n_adopted_at(signed.checkpoint.size))
        false = signed.false_signatures(in_force.keys)
        if false:
            raise LedgerError(
                f"{self.partner}: a signature in the name of {false[0]} is not of a partner's key that is active"
            )
        last = self._copy.last_checkpoint
        if last is None or last.checkpoint != signed.checkpoint:
            self._copy.append_checkpoint(signed)
            self._n_checkpoints += 1

    def catch_up(self, other: "Witness") -> None:
        """Take what another copy has and ours does not yet.

        Raises:
            LedgerError: Ours has more entries, or other ones: two histories; names the remedy.
        """
        size = self.size
        if size > other.size or (size and self.root_at(size) != other.root_at(size)):
            raise LedgerError(
                f"the ledger's copy of {self.partner} has {size} entries that the copy of {other.partner}, with "
                f"{other.size}, does not begin with: two histories; keep both and ask the other partners"
            )
        missing = list(other.entries_from(size))
        if missing:
            self.take(missing)
        theirs = other.checkpoints()
        for signed in theirs[len(self.checkpoints()) :]:
            self.keep(signed)

    def entries_from(self, start: int) -> Iterator[Entry]:
        """The entries of our copy from the one of that index on."""
        if start < self.size:
            for line in islice(read_lines(self._folder / ENTRIES), start, self.size):
                yield decode_entry(line.removesuffix(b"\n"))

    @property
    def n_checkpoints(self) -> int:
        """Checkpoints of our copy."""
        return self._n_checkpoints

    def checkpoints(self) -> list[SignedCheckpoint]:
        """All checkpoints of our copy."""
        path = self._folder / CHECKPOINTS
        return read_checkpoints(path) if path.exists() else []


@contextmanager
def open_witness(partner: str, key: PrivateKey, history: AgreementHistory, folder: Path) -> Iterator[Witness]:
    """A partner with its copy of the ledger open, made where there is none, and locked against other writers.

    Raises:
        LedgerBusyError: Another process writes it.
        LedgerError: It is damaged.
        AgreementError: No version of the agreement is accepted.
        InputError: The folder cannot be written.
    """
    with open_ledger(folder, history.versions[0].agreement.digest) as copy:
        yield Witness(partner, key, history, folder, copy)
