"""What coordinator and partners say to each other, and its bytes.

A frame is `b"PHM1" | kind (1 byte) | header length (4 bytes, little-endian) | header (canonical JSON) | payload`;
the payload is a little-endian float32 vector. No pickle, nothing executable.
"""

import hashlib
import json
import math
import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector, frozen_copy
from pharmonia.base.canonical import Json, canonical_json
from pharmonia.base.errors import MessageError, UpdateError

MAGIC = b"PHM1"
_PREFIX = struct.Struct("<4sBI")
MAX_HEADER_BYTES = 65_536
WIRE_DTYPE = np.dtype("<f4")


class Kind(IntEnum):
    """What a frame holds."""

    STATISTICS_REQUEST = 1
    STATISTICS = 2
    BROADCAST = 3
    REPLY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsRequest:
    """Asks each partner for the sums that centre the model before round 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """A partner's training rows in two sums.

    Raises:
        UpdateError: No rows, or a sum that is not finite.
    """

    n_train: int
    value_sum: float

    def __post_init__(self) -> None:
        if self.n_train < 1 or not math.isfinite(self.value_sum):
            raise UpdateError(f"statistics need rows and a finite sum, got {self.n_train} and {self.value_sum}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Broadcast:
    """The shared parameters at the start of a round, to every partner.

    Args:
        round_index: Counted from 0.
        train: Whether to train from them; validation is asked for always.
        save: Whether the partner persists its private state after this round.
        parameters: (n_params,) float64 on this side; float32 on the wire.
    """

    round_index: int
    train: bool
    save: bool
    parameters: Vector

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", frozen_copy(self.parameters))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Update:
    """One partner's change to the shared parameters in one round, in the clear.

    Args:
        round_index: Counted from 0.
        n_examples: Training rows used; the averaging weight.
        loss: Mean squared error over the training rows while training.
        delta: (n_params,) float64, new minus old; float32 on the wire.

    Raises:
        UpdateError: No examples, or a value that is not finite.
    """

    round_index: int
    n_examples: int
    loss: float
    delta: Vector

    def __post_init__(self) -> None:
        if self.n_examples < 1:
            raise UpdateError(f"n_examples must be at least 1, got {self.n_examples}")
        if not (math.isfinite(self.loss) and np.isfinite(self.delta).all()):
            raise UpdateError(
                f"round {self.round_index}: the update is not finite; training diverged, lower the learning rate"
            )
        object.__setattr__(self, "delta", frozen_copy(self.delta))


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationScore:
    """The broadcast model's error on a partner's validation rows, before it trained.

    Raises:
        UpdateError: No rows, or an error that is not finite.
    """

    n_rows: int
    squared_error: float  # summed over the rows

    def __post_init__(self) -> None:
        if self.n_rows < 1 or not math.isfinite(self.squared_error):
            raise UpdateError(f"a validation score needs rows and a finite error, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reply:
    """A partner's answer to a broadcast; the update is there if training was asked for."""

    round_index: int
    score: ValidationScore
    update: Update | None


Message = StatisticsRequest | Statistics | Broadcast | Reply


def encode(message: Message) -> bytes:
    """The frame of a message."""
    match message:
        case StatisticsRequest():
            return _frame(Kind.STATISTICS_REQUEST, {}, None)
        case Statistics():
            header = {"n_train": message.n_train, "value_sum": message.value_sum}
            return _frame(Kind.STATISTICS, header, None)
        case Broadcast():
            header = {"round": message.round_index, "train": message.train, "save": message.save}
            return _frame(Kind.BROADCAST, header, message.parameters)
        case Reply():
            return _encode_reply(message)


def _encode_reply(reply: Reply) -> bytes:
    header: dict[str, Json] = {
        "round": reply.round_index,
        "n_valid": reply.score.n_rows,
        "valid_squared_error": reply.score.squared_error,
    }
    if reply.update is None:
        return _frame(Kind.REPLY, header, None)
    header |= {"n_examples": reply.update.n_examples, "loss": reply.update.loss}
    return _frame(Kind.REPLY, header, reply.update.delta)


def decode(frame: bytes) -> Message:
    """The message in a frame.

    Raises:
        MessageError: Truncated, of another version or kind, or with fields that do not belong there.
        UpdateError: The values cannot be used.
    """
    kind, header, payload = _unframe(frame)
    try:
        match kind:
            case Kind.STATISTICS_REQUEST:
                return StatisticsRequest()
            case Kind.STATISTICS:
                return Statistics(n_train=int(header["n_train"]), value_sum=float(header["value_sum"]))
            case Kind.BROADCAST:
                return Broadcast(
                    round_index=int(header["round"]),
                    train=bool(header["train"]),
                    save=bool(header["save"]),
                    parameters=payload.astype(np.float64),
                )
            case Kind.REPLY:
                return _decode_reply(header, payload)
    except (KeyError, TypeError, ValueError) as error:
        raise MessageError(f"a {kind.name.lower()} frame has a missing or malformed field: {error}") from error


def _decode_reply(header: dict[str, float], payload: npt.NDArray[np.float32]) -> Reply:
    round_index = int(header["round"])
    score = ValidationScore(n_rows=int(header["n_valid"]), squared_error=float(header["valid_squared_error"]))
    update = None
    if "n_examples" in header:
        update = Update(
            round_index=round_index,
            n_examples=int(header["n_examples"]),
            loss=float(header["loss"]),
            delta=payload.astype(np.float64),
        )
    return Reply(round_index=round_index, score=score, update=update)


def _frame(kind: Kind, header: Json, payload: Vector | None) -> bytes:
    text = canonical_json(header)
    body = b"" if payload is None else payload.astype(WIRE_DTYPE).tobytes()
    return _PREFIX.pack(MAGIC, kind, len(text)) + text + body


def _unframe(frame: bytes) -> tuple[Kind, dict[str, float], npt.NDArray[np.float32]]:
    if len(frame) < _PREFIX.size:
        raise MessageError(f"a frame of {len(frame)} bytes is truncated")
    magic, number, length = _PREFIX.unpack_from(frame)
    if magic != MAGIC or number not in set(Kind):
        raise MessageError(f"expected a frame of version {MAGIC!r} and a known kind, got {magic!r} and {number}")
    start = _PREFIX.size + length
    if length > MAX_HEADER_BYTES or start > len(frame) or (len(frame) - start) % WIRE_DTYPE.itemsize:
        raise MessageError(f"a {Kind(number).name.lower()} frame of {len(frame)} bytes is truncated or oversized")
    try:
        header = json.loads(frame[_PREFIX.size : start])
    except ValueError as error:
        raise MessageError("a frame's header is not JSON") from error
    if not isinstance(header, dict):
        raise MessageError("a frame's header is not a JSON object")
    return Kind(number), header, np.frombuffer(frame, dtype=WIRE_DTYPE, offset=start)


def vector_digest(vector: Vector) -> str:
    """SHA-256 of a parameter vector as little-endian float64, 64 hexadecimal digits."""
    return hashlib.sha256(vector.astype("<f8").tobytes()).hexdigest()
