"""Entries of a ledger: events of one author under one signature, their bytes, and the head that grows by them.

An entry is one line of canonical JSON; the leaf of the Merkle tree is that line without its end. An author counts its
own entries from 0, so that nobody can repeat, leave out or reorder what it said, not even who keeps the ledger. The
ledger's id stands in what is signed, so that no entry of one consortium is ever one of another.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType

from pharmonia.base.canonical import canonical_json
from pharmonia.base.errors import EventError, LedgerError
from pharmonia.governance.events import Event, require_digest, require_key_id, require_number
from pharmonia.governance.events_codec import decode_event, encode_event
from pharmonia.governance.identity import SIGNATURE_BYTES, PrivateKey, PublicKey
from pharmonia.governance.merkle import MAX_LEAVES, Frontier, leaf_hash

MAX_EVENTS = 64
MAX_LINE_BYTES = 1 << 20
DOMAIN = "ledger-entry"

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_SIGNATURE_HEX = re.compile(rf"[0-9a-f]{{{2 * SIGNATURE_BYTES}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one author signed at one time.

    Args:
        ledger: The consortium's id, 64 hexadecimal digits: the digest of its founding agreement.
        key: The author's key id.
        number: The author's own count of its entries under this key, from 0.
        at: By the author's clock; UTC, whole seconds.
        events: 1 to 64, in order.
        signature: 64 bytes, over `content`.

    Raises:
        EventError: A field that no entry has.
    """

    ledger: str
    key: str
    number: int
    at: datetime
    events: tuple[Event, ...]
    signature: bytes
    content: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_digest("ledger", self.ledger)
        require_key_id("key", self.key)
        require_number("number", self.number, 0, MAX_LEAVES)
        require_time(self.at)
        if not 1 <= len(self.events) <= MAX_EVENTS:
            raise EventError(f"an entry holds 1 to {MAX_EVENTS} events, got {len(self.events)}")
        if len(self.signature) != SIGNATURE_BYTES:
            raise EventError(f"a signature has {SIGNATURE_BYTES} bytes, got {len(self.signature)}")
        object.__setattr__(self, "content", _content(self.ledger, self.key, self.number, self.at, self.events))

    def to_line(self) -> bytes:
        """Canonical JSON, without the end of the line; "signature" is the last key in order."""
        return b'%s,"signature":"%s"}' % (self.content[:-1], self.signature.hex().encode())

    def is_signed_by(self, key: PublicKey) -> bool:
        """Whether the signature is of that key."""
        return key.verify(self.signature, DOMAIN, self.content)


def sign_entry(*, ledger: str, number: int, at: datetime, events: tuple[Event, ...], key: PrivateKey) -> Entry:
    """An entry under its author's signature.

    Raises:
        EventError: A field that no entry has.
    """
    key_id = key.public.key_id
    require_time(at)
    signature = key.sign(DOMAIN, _content(ledger, key_id, number, at, events))
    return Entry(ledger=ledger, key=key_id, number=number, at=at, events=events, signature=signature)


def decode_entry(line: bytes) -> Entry:
    """The entry that a line is, its end taken off.

    Raises:
        LedgerError: It is not, byte for byte, the line of an entry.
    """
    body = load_object(line)
    events = body.get("events")
    if type(events) is not list:
        raise LedgerError(f"events must be a list, got {type(events).__name__}")
    number = body.get("number")
    if type(number) is not int:
        raise LedgerError("the number of an entry must be a whole number")
    try:
        entry = Entry(
            ledger=text_field(body, "ledger"),
            key=text_field(body, "key"),
            number=number,
            at=read_time(text_field(body, "at")),
            events=tuple(decode_event(event) for event in events),
            signature=read_signature(text_field(body, "signature")),
        )
    except EventError as error:
        raise LedgerError(f"an entry that no ledger takes: {error}") from error
    if entry.to_line() != line:
        raise LedgerError("an entry is not in canonical form, or has fields that no entry has")
    return entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A ledger as far as it was read: its tree, and how many entries each author has made."""

    ledger: str
    tree: Frontier = field(default_factory=Frontier)
    n_by_key: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def append(self, entry: Entry) -> tuple["Head", tuple[bytes, ...]]:
        """The head after one more entry, and the subtrees that it completes (see `Frontier.append`).

        Raises:
            LedgerError: The entry is of another ledger, or not the author's next.
        """
        if entry.ledger != self.ledger:
            raise LedgerError(f"entry {self.tree.size} is of the ledger {entry.ledger}, not of {self.ledger}")
        expected = self.n_by_key.get(entry.key, 0)
        if entry.number != expected:
            fault = "is repeated or out of order" if entry.number < expected else "follows on missing ones"
            raise LedgerError(
                f"entry {self.tree.size}: number {entry.number} of {entry.key} {fault}; {expected} is next"
            )
        tree, completed = self.tree.append(leaf_hash(entry.to_line()))
        counts = MappingProxyType({**self.n_by_key, entry.key: expected + 1})
        return Head(ledger=self.ledger, tree=tree, n_by_key=counts), completed


def load_object(line: bytes) -> dict[str, object]:
    """The JSON object that a line is; canonical form is for the caller to check.

    Raises:
        LedgerError: It is none, or too long.
    """
    if len(line) > MAX_LINE_BYTES:
        raise LedgerError(f"a line holds at most {MAX_LINE_BYTES} bytes, got {len(line)}")
    try:
        value = json.loads(line.decode())  # json would guess at the encoding of bytes
    except (ValueError, RecursionError) as error:
        raise LedgerError("a line is not JSON") from error
    if type(value) is not dict:
        raise LedgerError(f"a line must be a JSON object, got {type(value).__name__}")
    return value


def text_field(body: Mapping[str, object], name: str) -> str:
    """A field that holds text.

    Raises:
        LedgerError: It does not.
    """
    value = body.get(name)
    if type(value) is not str:
        raise LedgerError(f"{name} must be a text, got {type(value).__name__}")
    return value


def require_time(at: datetime) -> None:
    """Refuse a time that is not in UTC and whole seconds of this century or the next.

    Raises:
        EventError: It is not.
    """
    if at.tzinfo is not UTC or at.microsecond or not 2000 <= at.year <= 2199:
        raise EventError(f"a time must be in UTC and whole seconds, from 2000 to 2199, got {at.isoformat()}")


def write_time(at: datetime) -> str:
    """Such as 2026-11-21T09:30:00Z."""
    return f"{at.isoformat()[:19]}Z"


def read_time(text: str) -> datetime:
    """The time of `write_time`.

    Raises:
        LedgerError: Not a time in UTC and whole seconds.
    """
    if not _TIME.fullmatch(text):
        raise LedgerError(f"expected a time such as 2026-11-21T09:30:00Z, got a text of {len(text)}")
    try:
        return datetime.fromisoformat(text[:-1]).replace(tzinfo=UTC)
    except ValueError as error:
        raise LedgerError(f"there is no time {text}") from error


def read_signature(text: str) -> bytes:
    """64 bytes from hexadecimal digits.

    Raises:
        LedgerError: Not 128 digits in lower case.
    """
    if not _SIGNATURE_HEX.fullmatch(text):
        raise LedgerError(f"a signature has {2 * SIGNATURE_BYTES} hexadecimal digits, got a text of {len(text)}")
    return bytes.fromhex(text)


def _content(ledger: str, key: str, number: int, at: datetime, events: tuple[Event, ...]) -> bytes:
    return canonical_json(
        {
            "ledger": ledger,
            "key": key,
            "number": number,
            "at": write_time(at),
            "events": [encode_event(event) for event in events],
        }
    )
