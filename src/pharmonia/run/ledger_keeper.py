"""A partner's side of the ledger between machines: answers the coordinator from the partner's own copy."""

from collections.abc import Callable, Sequence

from pharmonia.base.errors import LedgerError, MessageError, ProofError
from pharmonia.governance.events import RoundOpened
from pharmonia.governance.identity import PublicKey
from pharmonia.governance.ledger import Entry
from pharmonia.run.ledger_frames import (
    CopyState,
    Cosign,
    Cosigned,
    Keep,
    Open,
    Opening,
    Take,
    Where,
    decode,
    encode,
)
from pharmonia.run.witness import Witness


class LedgerKeeper:
    """Answers frames about one partner's copy of the ledger.

    Guarantees:
        entries_that_do_not_extend_our_copy_are_refused: Nothing of ours is ever replaced.
        what_comes_twice_is_taken_once: A frame that is sent again gets the same answer.
    """

    def __init__(
        self,
        witness: Witness,
        coordinators: Sequence[PublicKey],
        opening: Callable[[], Entry | None],
        require: Callable[[Entry], None],
    ) -> None:
        """Make a keeper.

        Args:
            witness: Our copy.
            coordinators: Keys with which checkpoints are offered.
            opening: What we state before a run.
            require: Raises LedgerError for an entry that we know to be false; asked before any is taken.
        """
        self._witness = witness
        self._coordinators = {key.key_id: key for key in coordinators}
        self._opening = opening
        self._require = require
        self._round: RoundOpened | None = None

    @property
    def round(self) -> RoundOpened | None:
        """The last round that the coordinator opened in our copy since this process began."""
        return self._round

    def answer(self, frame: bytes) -> bytes:
        """The answer to a frame.

        Raises:
            MessageError: A frame that no coordinator sends.
            LedgerError: Entries or a checkpoint that our copy does not take.
            ProofError: A checkpoint that is not of our copy.
            InputError: The disk is full or cannot be written.
        """
        match decode(frame):
            case Where():
                return encode(self._state())
            case Take() as take:
                self._take(take)
                return encode(self._state())
            case Cosign() as asked:
                names = [one.key for one in asked.signed.signatures]
                keys = [self._coordinators[name] for name in names if name in self._coordinators]
                if not keys:
                    raise ProofError(f"{self._witness.partner}: a checkpoint is not signed by the plan's coordinator")
                return encode(Cosigned(signed=self._witness.cosign(asked.signed, keys[0])))
            case Keep() as kept:
                self._witness.keep(kept.signed)
                return encode(self._state())
            case Open():
                return encode(Opening(entry=self._opening()))
            case message:
                raise MessageError(f"a coordinator does not send {type(message).__name__}")

    def _state(self) -> CopyState:
        size = self._witness.size
        root = self._witness.root_at(size) if size else None
        return CopyState(size=size, root=root, n_checkpoints=self._witness.n_checkpoints)

    def _take(self, take: Take) -> None:
        size = self._witness.size
        if take.start > size:
            raise LedgerError(
                f"{self._witness.partner}: entries from {take.start} on, but our copy ends at {size}; catch up first"
            )
        known = size - take.start
        if known and not self._begins_with(take):
            raise LedgerError(
                f"{self._witness.partner}: our copy has other entries from {take.start} on: two histories; keep both "
                f"and ask the other partners"
            )
        new = take.entries[known:]
        for entry in new:
            self._require(entry)
        if new:
            self._witness.take(new)
        for entry in take.entries:
            self._note(entry)

    def _begins_with(self, take: Take) -> bool:
        return all(
            ours == theirs for ours, theirs in zip(self._witness.entries_from(take.start), take.entries, strict=False)
        )

    def _note(self, entry: Entry) -> None:
        if entry.key in self._coordinators:
            rounds = [event for event in entry.events if isinstance(event, RoundOpened)]
            self._round = rounds[-1] if rounds else self._round
