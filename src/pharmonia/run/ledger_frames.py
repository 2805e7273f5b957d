"""What the coordinator's ledger and a partner's copy of it say to each other, and its bytes; and the greeting before.

Frames (`base.frames`) under `b"PHL1"`; the payload is lines of a ledger. A frame is read only if it is byte for byte
what would be written for what it says. Signatures are in the lines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from pharmonia.base.canonical import Json
from pharmonia.base.errors import EventError, LedgerError, MessageError, TermsError
from pharmonia.base.frames import FrameFormat, header_text, header_whole
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


_FORMAT = FrameFormat(magic=MAGIC, kinds=Kind, max_header_bytes=MAX_HEADER_BYTES, max_payload_bytes=MAX_PAYLOAD_BYTES)


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
    return _FORMAT.is_of(frame)


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
    return _FORMAT.pack(kind, header, b"\n".join(lines))


def decode(frame: bytes) -> Message:
    """The message in a frame.

    Raises:
        MessageError: Truncated, oversized, of another kind, or not byte for byte what would be written.
    """
    parts = _FORMAT.unpack(frame)
    kind = parts.kind
    try:
        message = _message(kind, parts.header, parts.payload.tobytes().split(b"\n") if parts.payload else [])
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
            root = None if header["root"] is None else header_text(header, "root")
            message = CopyState(
                size=header_whole(header, "size"), root=root, n_checkpoints=header_whole(header, "checkpoints")
            )
        case Kind.TAKE:
            message = Take(start=header_whole(header, "start"), entries=tuple(decode_entry(line) for line in lines))
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
        partner=header_text(header, "partner"),
        version=header_text(header, "version"),
        code=CodeIdentity(package=header_text(header, "package"), environment=header_text(header, "environment")),
        agreement_version=header_whole(header, "agreement_version"),
        agreement=header_text(header, "agreement"),
        plan=header_text(header, "plan"),
        recipe=header_text(header, "recipe"),
        at=read_time(header_text(header, "at")),
    )


def _require_digest(text: str) -> None:
    try:
        require_digest(text, "a root")
    except TermsError as error:
        raise MessageError(str(error)) from error
