"""What crosses NVFlare between the coordinator's job and a site's: our frames as bytes, and why there is none.

READ THIS FIRST. The coordinator asks a site with a `Request`; the site answers with a `Reply`. Each is a task that
NVFlare pushes, so that the site's filters and audit see it. Frames as long as a model go in parts, each a request and a
reply of its own, a few on their way at once: nothing in between then holds more than these. (NVFlare's own streams of
large messages keep what they sent for a minute, and write every large request out as text before it is handed on.)
"""

import io
import json
from dataclasses import dataclass
from enum import StrEnum

from pharmonia.base import errors
from pharmonia.base.canonical import canonical_json
from pharmonia.base.errors import EngineError, MessageError, PharmoniaError

Bytes = bytes | memoryview
FIELDS, BODY = "fields", "body"  # of a pushed task's data, and of what comes back
FAULT_MAGIC = b"PHF1"
MAX_FAULT_BYTES = 4096
PART_BYTES = (
    4 << 20
)  # of every part but a frame's last; below the 10 MiB from which NVFlare takes bytes out of messages
MAX_REASON = 500
INTERNAL = "internal error; its text is in the site's own log"
# Their messages name frames, rounds, partners and documents, never structures, sequences, values or local paths.
_SAFE = (
    errors.MessageError,
    errors.RosterError,
    errors.HeaderError,
    errors.KeyExchangeError,
    errors.ReplayError,
    errors.SurvivorsError,
    errors.AgreementError,
    errors.RefusedError,
    errors.EngineError,
)
_KINDS = {
    kind.__name__: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PharmoniaError)
}


class Task(StrEnum):
    """What a site is asked; NVFlare routes by this name."""

    HELLO = "pharmonia.hello"  # are you there, and may this run begin
    FRAME = "pharmonia.frame"  # handle this frame, or keep this part of it
    FETCH = "pharmonia.fetch"  # send a part of the reply that you hold


class Form(StrEnum):
    """What a reply is."""

    FRAME = "frame"  # or a part of one
    MORE = "more"  # nothing yet: the next part of the request may come, or the next hello
    HELD = "held"  # its length, as decimal digits; the frame itself waits at the site
    FAULT = "fault"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to one site.

    Args:
        run: The run that it belongs to.
        number: Above that of every earlier frame to this site; parts and fetches have their frame's.
        start: Where in the frame, or in the reply to be fetched, this part begins.
        length: Of the whole frame; 0 in a hello and in a fetch.
        part: The frame, or a part of it; not copied.

    Raises:
        MessageError: Fields of other types, or a part outside its frame: nothing of ours sent it.
    """

    run: str
    number: int
    start: int
    length: int
    part: Bytes

    def __post_init__(self) -> None:
        if not all(0 <= number < 2**63 for number in (self.number, self.start, self.length)):
            raise MessageError("a request holds its number and place")
        if self.part and self.start + len(self.part) > self.length:
            raise MessageError(f"{len(self.part)} bytes from {self.start} on are no part of {self.length}")

    def fields(self) -> dict[str, str | int]:
        """What stands beside the part."""
        return {"run": self.run, "number": self.number, "start": self.start, "length": self.length}

    @classmethod
    def from_message(cls, fields: object, payload: object) -> "Request":
        """The request in a task's data.

        Args:
            fields: Of `fields`.
            payload: The part; None for an empty one.

        Raises:
            MessageError: A field is missing or of another type.
        """
        if not isinstance(fields, dict) or not isinstance(fields.get("run"), str):
            raise MessageError("a request names its run")
        number, start, length = (fields.get(name) for name in ("number", "start", "length"))
        if not isinstance(number, int) or not isinstance(start, int) or not isinstance(length, int):
            raise MessageError("a request holds its number and place")
        return cls(run=fields["run"], number=number, start=start, length=length, part=_payload(payload))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A site's answer.

    Args:
        form: Of the body.
        body: A frame or part of one, not copied; the length of a held one, or a fault.
    """

    form: Form
    body: Bytes

    def fields(self) -> dict[str, str]:
        """What stands beside the body."""
        return {"form": self.form.value}

    @classmethod
    def from_message(cls, fields: object, payload: object) -> "Reply":
        """The reply in a message; as `Request.from_message`."""
        form = fields.get("form") if isinstance(fields, dict) else None
        if not isinstance(form, str) or form not in set(Form):
            raise MessageError("a reply tells its form")
        return cls(form=Form(form), body=_payload(payload))


def _payload(payload: object) -> bytes:
    if not isinstance(payload, bytes | bytearray | memoryview | None):
        raise MessageError(f"a message carries bytes, got {type(payload).__name__}")
    return bytes(payload or b"")


class Assembly:
    """A frame that arrives in parts, in any order; it takes no more memory than the frame."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._buffer = io.BytesIO(bytes(length))
        self._missing = set(range(0, max(length, 1), PART_BYTES))

    @property
    def is_whole(self) -> bool:
        """Whether all parts are here."""
        return not self._missing

    def add(self, start: int, part: Bytes) -> None:
        """Take a part.

        Raises:
            MessageError: It is none, or has come before.
        """
        if start not in self._missing or len(part) != min(PART_BYTES, self.length - start):
            raise MessageError(f"{len(part)} bytes from {start} on are no part of {self.length} that is missing")
        self._missing.remove(start)
        self._buffer.seek(start)
        self._buffer.write(part)

    def frame(self) -> bytes:
        """The whole frame, not copied."""
        return self._buffer.getvalue()


def held_length(body: bytes) -> int:
    """Bytes of a frame that is held at a site.

    Raises:
        MessageError: No number.
    """
    if not body.isdigit() or len(body) > 19:
        raise MessageError("a held reply names its length")
    return int(body)


def encode_fault(error: BaseException) -> bytes:
    """The fault that tells of an error: its class in our tree, and its message where that is known to hold no data.

    Guarantees:
        only_known_messages_leave: Any other error is named by its class and what that class means, or not at all.
    """
    kind = type(error).__name__ if _KINDS.get(type(error).__name__) is type(error) else EngineError.__name__
    if isinstance(error, _SAFE):
        reason = "".join(letter if letter.isprintable() else " " for letter in str(error))[:MAX_REASON]
    elif isinstance(error, PharmoniaError):
        reason = f"{(_KINDS[kind].__doc__ or '').strip()} The site's own log has the details."
    else:
        reason = INTERNAL
    return FAULT_MAGIC + canonical_json({"error": kind, "reason": reason})


def decode_fault(body: bytes, partner: str) -> PharmoniaError:
    """The error that a fault tells of, with the partner's name before its reason.

    Raises:
        MessageError: No fault that a site sends.
    """
    if body[: len(FAULT_MAGIC)] != FAULT_MAGIC or len(body) > MAX_FAULT_BYTES:
        raise MessageError(f"{partner}: expected a fault of at most {MAX_FAULT_BYTES} bytes, got {len(body)}")
    try:
        told = json.loads(body[len(FAULT_MAGIC) :])
        kind, reason = _KINDS[told["error"]], str(told["reason"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MessageError(f"{partner}: a fault that no site sends") from error
    if not reason.isprintable() or len(reason) > MAX_REASON:
        raise MessageError(f"{partner}: a fault's reason is at most {MAX_REASON} printable characters")
    return kind(f"{partner}: {reason}")
