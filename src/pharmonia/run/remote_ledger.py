"""The coordinator's side of the ledger between machines: a partner's copy, reached by frames."""

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from pharmonia.base.errors import LedgerError, MessageError
from pharmonia.governance.checkpoint import SignedCheckpoint
from pharmonia.governance.identity import PublicKey
from pharmonia.governance.ledger import Entry
from pharmonia.run.ledger_frames import (
    MAX_ENTRIES,
    MAX_PAYLOAD_BYTES,
    CopyState,
    Cosign,
    Cosigned,
    Greeting,
    Hello,
    Keep,
    Message,
    Open,
    Opening,
    Take,
    Where,
    decode,
    encode,
    is_ledger_frame,
)
from pharmonia.run.witness import Witness

AnswerT = TypeVar("AnswerT", CopyState, Cosigned, Opening, Greeting)


class PartnerLink(Protocol):
    """Carries one frame to one partner and brings its answer; an engine is one too."""

    def ask(self, partner: str, frame: bytes) -> bytes:
        """The partner's answer to the frame."""
        ...


class RemoteWitness:
    """A partner's copy of the ledger, on the partner's own machine.

    Guarantees:
        a_partner_s_copy_is_ours: After every append, the partner states the root that our own copy has.
    """

    def __init__(self, partner: str, public: PublicKey, link: PartnerLink) -> None:
        """Public: the key that the agreement names for the partner."""
        self._partner = partner
        self._public = public
        self._link = link
        self._own: Witness | None = None

    @property
    def partner(self) -> str:
        """Whose copy it is."""
        return self._partner

    @property
    def public(self) -> PublicKey:
        """What the partner signs with."""
        return self._public

    def catch_up(self, other: Witness) -> None:
        """Send what our copy has and the partner's does not yet; from now on it is held against ours.

        Raises:
            LedgerError: It has more entries than ours, or other ones: two histories; names the remedy.
        """
        self._own = other
        state = self._ask(Where(), CopyState)
        if state.size > other.size or (state.size and state.root != other.root_at(state.size)):
            raise LedgerError(
                f"the ledger's copy of {self.partner} has {state.size} entries that the copy of {other.partner}, with "
                f"{other.size}, does not begin with: two histories; keep both and ask the other partners"
            )
        self._send(state.size, other.entries_from(state.size))
        for signed in other.checkpoints()[state.n_checkpoints :]:
            self.keep(signed)

    def opening(self) -> Entry | None:
        """What the party states before a run; None if the ledger says so already, or if a refusal will."""
        return self._ask(Open(), Opening).entry

    def take(self, entries: Sequence[Entry]) -> None:
        """Send entries that were just appended to our copy; on the partner's disk when this returns.

        Raises:
            LedgerError: The partner's copy is not ours after it.
        """
        self._send(self._ours().size - len(entries), iter(entries))

    def cosign(self, offered: SignedCheckpoint, coordinator: PublicKey) -> SignedCheckpoint:
        """The offered checkpoint with the partner's signature.

        Raises:
            LedgerError: The partner signed another one, or not with the key that the agreement names.
        """
        signed = self._ask(Cosign(signed=offered), Cosigned).signed
        key = self.public
        names = [one.key for one in signed.signatures]
        false = signed.false_signatures({key.key_id: key, coordinator.key_id: coordinator})
        if signed.checkpoint != offered.checkpoint or key.key_id not in names or false:
            raise LedgerError(f"{self.partner} did not sign the checkpoint of {offered.checkpoint.size} entries")
        return signed

    def keep(self, signed: SignedCheckpoint) -> None:
        """Send a checkpoint for the partner's copy."""
        self._ask(Keep(signed=signed), CopyState)

    def _ours(self) -> Witness:
        if self._own is None:
            raise LedgerError(f"the copy of {self.partner} has not caught up")
        return self._own

    def _send(self, start: int, entries: Iterator[Entry]) -> None:
        for batch in _batches(entries):
            state = self._ask(Take(start=start, entries=batch), CopyState)
            start += len(batch)
            self._require(state, start)

    def _require(self, state: CopyState, size: int) -> None:
        if (state.size, state.root) != (size, self._ours().root_at(size)):
            raise LedgerError(
                f"the ledger's copy of {self.partner} has {state.size} entries with root {state.root}, not our "
                f"{size}: keep both and ask the other partners"
            )

    def _ask(self, message: Message, kind: type[AnswerT]) -> AnswerT:
        return _ask(self._link, self.partner, message, kind)


def greet(link: PartnerLink, partner: str) -> Greeting:
    """Who answers at a partner's site, and on what it stands.

    Raises:
        MessageError: It is not the partner, or no greeting.
        EngineError: The site cannot be reached.
    """
    greeting = _ask(link, partner, Hello(), Greeting)
    if greeting.partner != partner:
        raise MessageError(f"{greeting.partner} answers in the place of {partner}")
    return greeting


def _ask(link: PartnerLink, partner: str, message: Message, kind: type[AnswerT]) -> AnswerT:
    frame = link.ask(partner, encode(message))
    answer = decode(frame) if is_ledger_frame(frame) else None
    if not isinstance(answer, kind):
        raise MessageError(f"{partner}: expected a {kind.__name__} in answer to {type(message).__name__}")
    return answer


def _batches(entries: Iterator[Entry]) -> Iterator[tuple[Entry, ...]]:
    """As many entries as a frame takes, at a time."""
    batch: list[Entry] = []
    n_bytes = 0
    for entry in entries:
        size = len(entry.content) + 256  # with its signature and the end of the line
        if batch and (len(batch) == MAX_ENTRIES or n_bytes + size > MAX_PAYLOAD_BYTES):
            yield tuple(batch)
            batch, n_bytes = [], 0
        batch.append(entry)
        n_bytes += size
    if batch:
        yield tuple(batch)
