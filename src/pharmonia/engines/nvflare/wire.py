"""What crosses NVFlare between the coordinator's job and a site's: our frames as bytes, and why there is none.

READ THIS FIRST. The coordinator asks one site at a time with a `Request`; the site answers with a `Reply`. A reply as
long as a model is held at the site until the coordinator fetches it, so that the coordinator holds no more of them at
once than it has room for.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pharmonia.base import errors
from pharmonia.base.canonical import canonical_json
from pharmonia.base.errors import EngineError, MessageError, PharmoniaError

FAULT_MAGIC = b"PHF1"
MAX_FAULT_BYTES = 4096
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
    FRAME = "pharmonia.frame"  # handle this frame
    FETCH = "pharmonia.fetch"  # send the reply that you hold


class Form(StrEnum):
    """What a reply is."""

    FRAME = "frame"
    HELD = "held"  # its length, as decimal digits; the frame itself waits at the site
    FAULT = "fault"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to one site.

    Args:
        run: The run that it belongs to.
        number: Above that of every earlier request to this site that was not a fetch; a fetch has its frame's.
        frame: Empty in a hello and in a fetch.

    Raises:
        MessageError: Fields of other types: nothing of ours sent it.
    """

    run: str
    number: int
    frame: bytes

    def __post_init__(self) -> None:
        if not isinstance(self.run, str) or not isinstance(self.number, int) or not isinstance(self.frame, bytes):
            raise MessageError("a request holds a run's id, a number and a frame")

    def fields(self) -> dict[str, str | int | bytes]:
        """What stands in NVFlare's message."""
        return {"run": self.run, "number": self.number, "frame": self.frame}

    @classmethod
    def from_fields(cls, fields: Mapping[str, object]) -> "Request":
        """The reverse of `fields`; whatever else NVFlare put beside them is left there.

        Raises:
            MessageError: One is missing or of another type.
        """
        return cls(run=fields.get("run"), number=fields.get("number"), frame=fields.get("frame"))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A site's answer.

    Args:
        form: Of the body.
        body: A frame, the length of a held one, or a fault.

    Raises:
        MessageError: Fields of other types: no site of ours sent it.
    """

    form: Form
    body: bytes

    def __post_init__(self) -> None:
        if not isinstance(self.body, bytes) or self.form not in set(Form):
            raise MessageError("a reply holds its form and a body")

    def fields(self) -> dict[str, str | bytes]:
        """What stands in NVFlare's message."""
        return {"form": self.form.value, "body": self.body}

    @classmethod
    def from_fields(cls, fields: Mapping[str, object]) -> "Reply":
        """The reverse of `fields`.

        Raises:
            MessageError: One is missing or of another type.
        """
        form, body = fields.get("form"), fields.get("body")
        if form not in {each.value for each in Form} or not isinstance(body, bytes):
            raise MessageError("a reply holds its form and a body")
        return cls(form=Form(str(form)), body=body)


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
