"""What coordinator and partners say to each other, and its bytes.

Frames (`base.frames`) under `b"PHM1"`; the payload is a little-endian float32 vector. What secure sums need besides has
frames of its own (`secagg.messages`).
"""

import hashlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector, frozen_view
from pharmonia.base.canonical import Json
from pharmonia.base.errors import MessageError
from pharmonia.base.frames import FrameFormat
from pharmonia.learn.contributions import Contribution

MAGIC = b"PHM1"
MAX_HEADER_BYTES = 65_536
WIRE_DTYPE = np.dtype("<f4")
SESSION_BYTES = 32


class Kind(IntEnum):
    """What a frame holds."""

    SESSION_REQUEST = 1
    STATISTICS_REQUEST = 2
    BROADCAST = 3
    REPEAT = 4
    FINISH = 5
    CONTRIBUTION = 6
    DONE = 7


_FORMAT = FrameFormat(magic=MAGIC, kinds=Kind, max_header_bytes=MAX_HEADER_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRequest:
    """Asks each partner for a signed key of a new session of secure sums.

    Raises:
        MessageError: Not 32 bytes.
    """

    session: bytes

    def __post_init__(self) -> None:
        if len(self.session) != SESSION_BYTES:
            raise MessageError(f"a session has {SESSION_BYTES} bytes, got {len(self.session)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsRequest:
    """Asks each partner for the mean of its training values, weighted by their number, before round 0.

    Args:
        sum_index: Counts the sums of a session.
        magnitudes: As in `Broadcast`.
    """

    sum_index: int
    magnitudes: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Broadcast:
    """The shared vector at the start of a step, to every partner.

    Args:
        sum_index: Counts the sums of a session.
        magnitudes: Whether this sum is of the contributions' magnitudes, to scale the next one, which is of themselves.
        round_index: Counted from 0.
        step: Within the round, counted from 0; the model is validated in the first.
        n_steps: Of the round; 1 but for FedSGD.
        train: Whether to train; False ends a run with a validation.
        save: Whether the partner persists its private state after this round.
        best_round: Whose model is the best known; -1 before there is one. Partners keep their private part of it.
        parameters: (n_shared,) float64 on this side, not copied; float32 on the wire.
    """

    sum_index: int
    magnitudes: bool
    round_index: int
    step: int
    n_steps: int
    train: bool
    save: bool
    best_round: int
    parameters: Vector

    def __post_init__(self) -> None:
        if not 0 <= self.step < self.n_steps or self.round_index < 0:
            raise MessageError(f"there is no step {self.step} of {self.n_steps} in round {self.round_index}")
        object.__setattr__(self, "parameters", frozen_view(self.parameters))


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """Asks for the last contribution again, or for its magnitudes, because the scale of its sum is to be found."""

    sum_index: int
    magnitudes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The run is over; `best_round` as in `Broadcast`."""

    best_round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A partner has done what it was told; nothing else is to be said."""


Message = SessionRequest | StatisticsRequest | Broadcast | Repeat | Finish | Contribution | Done


def is_learning_frame(frame: bytes) -> bool:
    """Whether these bytes start like a frame of this module; others belong to secure aggregation."""
    return _FORMAT.is_of(frame)


def encode(message: Message) -> bytes:
    """The frame of a message."""
    match message:
        case SessionRequest():
            frame = _frame(Kind.SESSION_REQUEST, {"session": message.session.hex()})
        case StatisticsRequest():
            frame = _frame(Kind.STATISTICS_REQUEST, {"sum": message.sum_index, "magnitudes": message.magnitudes})
        case Broadcast():
            header: dict[str, Json] = {
                "sum": message.sum_index,
                "magnitudes": message.magnitudes,
                "round": message.round_index,
                "step": message.step,
                "n_steps": message.n_steps,
                "train": message.train,
                "save": message.save,
                "best_round": message.best_round,
            }
            frame = _frame(Kind.BROADCAST, header, message.parameters.astype(WIRE_DTYPE))
        case Repeat():
            frame = _frame(Kind.REPEAT, {"sum": message.sum_index, "magnitudes": message.magnitudes})
        case Finish():
            frame = _frame(Kind.FINISH, {"best_round": message.best_round})
        case Contribution():
            frame = _frame(Kind.CONTRIBUTION, {"weight": message.weight}, message.values)
        case Done():
            frame = _frame(Kind.DONE, {})
    return frame


def decode(frame: bytes) -> Message:
    """The message in a frame.

    Raises:
        MessageError: Truncated, of another version or kind, or with fields that do not belong there.
        UpdateError: The values cannot be used.
    """
    kind, header, payload = _unframe(frame)
    if payload.size and kind not in (Kind.BROADCAST, Kind.CONTRIBUTION):
        raise MessageError(f"a {kind.name.lower()} frame has no payload, got {payload.size} values")
    try:
        return _message(kind, header, payload)
    except (KeyError, TypeError, ValueError) as error:
        raise MessageError(f"a {kind.name.lower()} frame has a missing or malformed field: {error}") from error


def _message(kind: Kind, header: dict[str, Json], payload: npt.NDArray[np.float32]) -> Message:
    message: Message
    match kind:
        case Kind.SESSION_REQUEST:
            message = SessionRequest(session=bytes.fromhex(str(header["session"])))
        case Kind.STATISTICS_REQUEST:
            message = StatisticsRequest(sum_index=_integer(header, "sum"), magnitudes=bool(header["magnitudes"]))
        case Kind.BROADCAST:
            message = Broadcast(
                sum_index=_integer(header, "sum"),
                magnitudes=bool(header["magnitudes"]),
                round_index=_integer(header, "round"),
                step=_integer(header, "step"),
                n_steps=_integer(header, "n_steps"),
                train=bool(header["train"]),
                save=bool(header["save"]),
                best_round=_integer(header, "best_round"),
                parameters=payload.astype(np.float64),
            )
        case Kind.REPEAT:
            message = Repeat(sum_index=_integer(header, "sum"), magnitudes=bool(header["magnitudes"]))
        case Kind.FINISH:
            message = Finish(best_round=_integer(header, "best_round"))
        case Kind.CONTRIBUTION:
            message = Contribution(weight=_integer(header, "weight"), values=payload)
        case Kind.DONE:
            message = Done()
    return message


def _integer(header: dict[str, Json], name: str) -> int:
    value = header[name]
    if not isinstance(value, int):
        raise TypeError(f"{name} is no whole number")
    return value


def _frame(kind: Kind, header: Json, payload: npt.NDArray[np.float32] | None = None) -> bytes:
    return _FORMAT.pack(kind, header, b"" if payload is None else np.ascontiguousarray(payload).view(np.uint8).data)


def _unframe(frame: bytes) -> tuple[Kind, dict[str, Json], npt.NDArray[np.float32]]:
    parts = _FORMAT.unpack(frame)
    if len(parts.payload) % WIRE_DTYPE.itemsize:
        raise MessageError(f"a {parts.kind.name.lower()} frame of {len(frame)} bytes holds no whole vector")
    return parts.kind, parts.header, np.frombuffer(parts.payload, dtype=WIRE_DTYPE)


def vector_digest(vector: Vector) -> str:
    """SHA-256 of a parameter vector as little-endian float64, 64 hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(vector, "<f8").view(np.uint8).data).hexdigest()
