"""What the coordinator's ledger and a partner's copy of it say to each other, and its bytes; and the greeting before.

A frame is `b"PHL1" | kind (1 byte) | header length (4 bytes, little-endian) | header | payload | check`, as in
`learn.messages`: canonical JSON, lines of a ledger, 16 bytes of BLAKE2b over all before. A frame is read only if it is
byte for byte what would be written for what it says. The check finds damage; signatures are in the lines, and who sent
a frame is for the engine's TLS to say.
"""

import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from pharmonia.base.canonical import Json, canonical_json
from pharmonia.base.errors import EventError, LedgerError, MessageError, TermsError
from pharmonia.governance.checkpoint import SignedCheckpoint, decode_checkpoint
from pharmonia.governance.documents import require_digest, require_id, require_text
from pharmonia.governance.ledger import MAX_LINE_BYTES, Entry, decode_entry, read_time, require_time, write_time
from pharmonia.governance.merkle import MAX_LEAVES
from pharmonia.governance.terms import CodeIdentity

MAGIC = b"PHL1"
MAX_HEADER_BYTES = 4096
MAX_PAYLOAD_BYTES = 4 * MAX_LINE_BYTES
MAX_ENTRIES = 1024  # of one frame
MAX_VERSION = 40  # characters of a package's version
CHECK_BYTES = 16
_PREFIX = struct.Struct("<4sBI")


class Kind(IntEnum):
    """What a frame holds."""

    HELLO = 1
    GREETING = 2
    WHERE = 3
    STATE = 4
    TAKE = 5
    COSIGN = 6
    COSIGNED = 7
    KEEP = 8
    OPEN = 9
    OPENING = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Asks who is there, with which code and papers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """Who answers, and on what it stands; nothing of its data but the recipe.

    Args:
        partner: Its id.
        version: Of the installed package.
        code: Digests of what runs there.
        agreement_version: The newest that is accepted there; 0 if none is.
        agreement: Its digest; of the first version if none is accepted.
        plan: Digest of the plan that it holds.
        recipe: Digest of how its data were prepared.
        at: By its clock; UTC, whole seconds.

    Raises:
        MessageError: A field that no site has.
    """

    partner: str
    version: str
    code: CodeIdentity
    agreement_version: int
    agreement: str
    plan: str
    recipe: str
    at: datetime

    def __post_init__(self) -> None:
        try:
            require_id(self.partner, "the partner of a greeting")
            require_text(self.version, "the version of a greeting", MAX_VERSION)
            for digest in (self.agreement, self.plan, self.recipe):
                require_digest(digest, "a digest of a greeting")
            require_time(self.at)
        except (TermsError, EventError) as error:
            raise MessageError(f"a greeting that no site sends: {error}") from error
        if self.agreement_version < 0:
            raise MessageError(f"there is no version {self.agreement_version} of an agreement")


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Asks how far the copy is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyState:
    """How far a copy is.

    Args:
        size: Entries.
        root: Of the tree of those entries, 64 hexadecimal digits; None of none.
        n_checkpoints: Kept.

    Raises:
        MessageError: A state that no copy is in.
    """

    size: int
    root: str | None
    n_checkpoints: int

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_LEAVES or not 0 <= self.n_checkpoints <= MAX_LEAVES:
            raise MessageError(f"a copy with {self.size} entries and {self.n_checkpoints} checkpoints there is not")
        if (self.root is None) != (self.size == 0):
            raise MessageError(f"a copy of {self.size} entries has {'no' if self.root is None else 'a'} root")
        if self.root is not None:
            _require_digest(self.root)


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """Entries for the copy.

    Args:
        start: Index of the first in the ledger.
        entries: At least one.

    Raises:
        MessageError: None, too many, or an index that no ledger has.
    """

    start: int
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.entries) <= MAX_ENTRIES or not 0 <= self.start <= MAX_LEAVES:
            raise MessageError(f"1 to {MAX_ENTRIES} entries go into a frame, got {len(self.entries)} at {self.start}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosign:
    """Asks for the partner's signature under a checkpoint of its own copy."""

    signed: SignedCheckpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigned:
    """The offered checkpoint with that signature."""

    signed: SignedCheckpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """A checkpoint for the copy, with everybody's signatures."""

    signed: SignedCheckpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Asks what the party states before a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What it states; None if the ledger says so already, or if a refusal will."""

    entry: Entry | None


_Bare = Hello | Where | Open
_Sealed = Cosign | Cosigned | Keep
_BARE: dict[Kind, type[_Bare]] = {Kind.HELLO: Hello, Kind.WHERE: Where, Kind.OPEN: Open}
_SEALED: dict[Kind, type[_Sealed]] = {Kind.COSIGN: Cosign, Kind.COSIGNED: Cosigned, Kind.KEEP: Keep}
_KINDS: dict[type[_Bare | _Sealed], Kind] = {kept: kind for kind, kept in (*_BARE.items(), *_SEALED.items())}
Message = Hello | Greeting | Where | CopyState | Take | Cosign | Cosigned | Keep | Open | Opening


def is_ledger_frame(frame: bytes) -> bool:
    """Whether these bytes start like a frame of this module."""
    return frame[: len(MAGIC)] == MAGIC


def encode(message: Message) -> bytes:
    """The frame of a message."""
    header: Json = {}
    lines: list[bytes] = []
    match message:
        case Greeting():
            kind, header = Kind.GREETING, _greeting_json(message)
        case CopyState():
            kind = Kind.STATE
            header = {"size": message.size, "root": message.root, "checkpoints": message.n_checkpoints}
        case Take():
            kind, header = Kind.TAKE, {"start": message.start}
            lines = [entry.to_line() for entry in message.entries]
        case Opening():
            kind, lines = Kind.OPENING, [] if message.entry is None else [message.entry.to_line()]
        case Hello() | Where() | Open():
            kind = _KINDS[type(message)]
        case Cosign() | Cosigned() | Keep():
            kind, lines = _KINDS[type(message)], [message.signed.to_line()]
    return _frame(kind, header, lines)


def decode(frame: bytes) -> Message:
    """The message in a frame.

    Raises:
        MessageError: Truncated, oversized, of another kind, or not byte for byte what would be written.
    """
    kind, header, payload = _unframe(frame)
    try:
        message = _message(kind, header, payload.split(b"\n") if payload else [])
    except (KeyError, TypeError, ValueError, LedgerError, EventError, TermsError) as error:
        raise MessageError(f"a {kind.name.lower()} frame that nobody sends: {error}") from error
    if encode(message) != frame:
        raise MessageError(f"a {kind.name.lower()} frame is not in canonical form")
    return message


def _message(kind: Kind, header: dict[str, Json], lines: Sequence[bytes]) -> Message:
    message: Message
    match kind:
        case Kind.GREETING:
            message = _greeting(header)
        case Kind.STATE:
            root = None if header["root"] is None else _text(header, "root")
            message = CopyState(size=_whole(header, "size"), root=root, n_checkpoints=_whole(header, "checkpoints"))
        case Kind.TAKE:
            message = Take(start=_whole(header, "start"), entries=tuple(decode_entry(line) for line in lines))
        case Kind.OPENING:
            message = Opening(entry=decode_entry(lines[0]) if lines else None)
        case Kind.COSIGN | Kind.COSIGNED | Kind.KEEP:
            message = _SEALED[kind](signed=_checkpoint(lines))
        case _:
            message = _BARE[kind]()
    return message


def _checkpoint(lines: Sequence[bytes]) -> SignedCheckpoint:
    if len(lines) != 1:
        raise LedgerError(f"one checkpoint goes into a frame, got {len(lines)}")
    return decode_checkpoint(lines[0])


def _greeting_json(greeting: Greeting) -> Json:
    return {
        "partner": greeting.partner,
        "version": greeting.version,
        "package": greeting.code.package,
        "environment": greeting.code.environment,
        "agreement_version": greeting.agreement_version,
        "agreement": greeting.agreement,
        "plan": greeting.plan,
        "recipe": greeting.recipe,
        "at": write_time(greeting.at),
    }


def _greeting(header: dict[str, Json]) -> Greeting:
    return Greeting(
        partner=_text(header, "partner"),
        version=_text(header, "version"),
        code=CodeIdentity(package=_text(header, "package"), environment=_text(header, "environment")),
        agreement_version=_whole(header, "agreement_version"),
        agreement=_text(header, "agreement"),
        plan=_text(header, "plan"),
        recipe=_text(header, "recipe"),
        at=read_time(_text(header, "at")),
    )


def _text(header: dict[str, Json], name: str) -> str:
    value = header[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    return value


def _whole(header: dict[str, Json], name: str) -> int:
    value = header[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is no whole number")
    return value


def _require_digest(text: str) -> None:
    try:
        require_digest(text, "a root")
    except TermsError as error:
        raise MessageError(str(error)) from error


def _frame(kind: Kind, header: Json, lines: Sequence[bytes]) -> bytes:
    text = canonical_json(header)
    frame = _PREFIX.pack(MAGIC, kind, len(text)) + text + b"\n".join(lines)
    return frame + _check(frame)


def _check(frame: bytes | memoryview) -> bytes:
    return hashlib.blake2b(frame, digest_size=CHECK_BYTES).digest()


def _unframe(frame: bytes) -> tuple[Kind, dict[str, Json], bytes]:
    end = len(frame) - CHECK_BYTES
    most = _PREFIX.size + MAX_HEADER_BYTES + MAX_PAYLOAD_BYTES
    if not _PREFIX.size <= end <= most:
        raise MessageError(f"a ledger's frame of {len(frame)} bytes is truncated or oversized")
    magic, number, length = _PREFIX.unpack_from(frame)
    if magic != MAGIC or number not in set(Kind):
        raise MessageError(f"expected a frame of version {MAGIC!r} and a known kind, got {magic!r} and {number}")
    start = _PREFIX.size + length
    if length > MAX_HEADER_BYTES or start > end:
        raise MessageError(f"a {Kind(number).name.lower()} frame of {len(frame)} bytes is truncated or oversized")
    if frame[end:] != _check(memoryview(frame)[:end]):
        raise MessageError(f"a {Kind(number).name.lower()} frame's check does not match: it is damaged or truncated")
    try:
        header = json.loads(frame[_PREFIX.size : start].decode())
    except (ValueError, RecursionError) as error:
        raise MessageError("a frame's header is not JSON") from error
    if not isinstance(header, dict):
        raise MessageError("a frame's header is not a JSON object")
    return Kind(number), header, frame[start:end]
