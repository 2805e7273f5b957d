"""How a model goes from the coordinator to a partner, and its bytes.

First an offer, so that nobody is sent what it has; then the model, and the partner's word that it is on its disk.
Frames (`base.frames`) under `b"PHD1"`; the payload of a model is its vector as little-endian float64. That the model is
one that the partners made is for the ledger to say.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from pharmonia.base.canonical import Json
from pharmonia.base.errors import MessageError, TermsError
from pharmonia.base.frames import FrameFormat, header_text, header_whole
from pharmonia.governance.documents import require_digest
from pharmonia.run.delivered import MAX_PARAMETERS, DeliveredModel, require_model

MAGIC = b"PHD1"
MAX_HEADER_BYTES = 1024
_WIRE = np.dtype("<f8")


class Kind(IntEnum):
    """What a frame holds."""

    OFFER = 1
    ANSWER = 2
    MODEL = 3
    KEPT = 4


_FORMAT = FrameFormat(
    magic=MAGIC,
    kinds=Kind,
    max_header_bytes=MAX_HEADER_BYTES,
    max_payload_bytes=MAX_PARAMETERS * _WIRE.itemsize,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Asks whether a partner lacks a model.

    Args:
        plan: Digest of the plan.
        best_round: Whose model it is.
        aggregate: Digest of its vector, as a round's on the ledger.
        content: Digest of its file.

    Raises:
        MessageError: A model that no run has.
    """

    plan: str
    best_round: int
    aggregate: str
    content: str

    def __post_init__(self) -> None:
        require_model(self.plan, self.best_round)
        for digest in (self.aggregate, self.content):
            _require_digest(digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whether the offered model is lacking."""

    is_lacking: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The model is on the partner's disk, in a file of this digest."""

    content: str

    def __post_init__(self) -> None:
        _require_digest(self.content)


Message = Offer | Answer | DeliveredModel | Kept


def is_delivery_frame(frame: bytes) -> bool:
    """Whether these bytes start like a frame of this module."""
    return _FORMAT.is_of(frame)


def encode(message: Message) -> bytes:
    """The frame of a message."""
    header: Json
    payload: bytes | memoryview = b""
    match message:
        case Offer():
            kind = Kind.OFFER
            header = {
                "plan": message.plan,
                "best_round": message.best_round,
                "aggregate": message.aggregate,
                "content": message.content,
            }
        case Answer():
            kind, header = Kind.ANSWER, {"is_lacking": message.is_lacking}
        case DeliveredModel():
            kind, header = Kind.MODEL, {"plan": message.plan, "best_round": message.best_round}
            payload = np.ascontiguousarray(message.parameters, _WIRE).view(np.uint8).data
        case Kept():
            kind, header = Kind.KEPT, {"content": message.content}
    return _FORMAT.pack(kind, header, payload)


def decode(frame: bytes) -> Message:
    """The message in a frame.

    Raises:
        MessageError: Truncated, oversized, of another kind, or not byte for byte what would be written.
    """
    parts = _FORMAT.unpack(frame)
    kind = parts.kind
    try:
        if not parts.is_canonical:
            raise TypeError("its header is not in canonical form")
        message = _message(kind, parts.header, parts.payload)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise MessageError(f"a {kind.name.lower()} frame that nobody sends: {error}") from error
    return message


def _message(kind: Kind, header: dict[str, Json], payload: memoryview) -> Message:
    message: Message
    names = {"plan", "best_round"}
    match kind:
        case Kind.OFFER:
            names |= {"aggregate", "content"}
            message = Offer(
                plan=header_text(header, "plan"),
                best_round=header_whole(header, "best_round"),
                aggregate=header_text(header, "aggregate"),
                content=header_text(header, "content"),
            )
        case Kind.ANSWER:
            names = {"is_lacking"}
            message = Answer(is_lacking=_flag(header, "is_lacking"))
        case Kind.MODEL:
            if len(payload) % _WIRE.itemsize:
                raise ValueError(f"{len(payload)} bytes are no vector")
            vector = np.frombuffer(payload, dtype=_WIRE).astype(np.float64)
            message = DeliveredModel(
                plan=header_text(header, "plan"), best_round=header_whole(header, "best_round"), parameters=vector
            )
        case Kind.KEPT:
            names = {"content"}
            message = Kept(content=header_text(header, "content"))
    if set(header) != names or (len(payload) > 0) != (kind is Kind.MODEL):
        raise ValueError("it holds other fields, or more than its kind")
    return message


def _flag(header: dict[str, Json], name: str) -> bool:
    value = header[name]
    if not isinstance(value, bool):
        raise TypeError(f"{name} is neither true nor false")
    return value


def _require_digest(text: str) -> None:
    try:
        require_digest(text, "a digest of a model")
    except TermsError as error:
        raise MessageError(str(error)) from error
