"""What carries frames between the coordinator and the parties; every engine looks like this to the coordinator."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol

from pharmonia.base.errors import UnreachableError


class Incoming(Protocol):
    """A partner's answer, which may be as long as the model and still under way; it is read once."""

    @property
    def length(self) -> int:
        """Bytes of the whole answer."""
        ...

    @property
    def at_hand(self) -> bytes | None:
        """The whole answer, if it is here already, as every short one is."""
        ...

    def parts(self) -> Iterator[bytes]:
        """The answer from its beginning, a part at a time; whoever reads sets the pace."""
        ...

    def whole(self) -> bytes:
        """All parts in one."""
        ...


@dataclass(frozen=True, slots=True)
class Arrived:
    """An answer that is here."""

    frame: bytes = field(repr=False)

    @property
    def length(self) -> int:
        """Bytes of the whole answer."""
        return len(self.frame)

    @property
    def at_hand(self) -> bytes:
        """The whole answer."""
        return self.frame

    def parts(self) -> Iterator[bytes]:
        """The whole answer, as its only part."""
        yield self.frame

    def whole(self) -> bytes:
        """The whole answer."""
        return self.frame


OnReply = Callable[[str, Incoming], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One frame to each of some partners and their answers.

    Args:
        replies: One frame per partner, in the engine's order of partners; empty where they were handed on.
        bytes_to_partners: Sum over partners of the frames sent.
        bytes_from_partners: Sum over partners of the frames received.
        wall_s: Seconds until the last answer.
        cpu_s: CPU seconds that the parties took.
        lost: Partners that could not be reached, each with the reason.
    """

    replies: tuple[bytes, ...]
    bytes_to_partners: int
    bytes_from_partners: int
    wall_s: float
    cpu_s: float
    lost: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


class Engine(Protocol):
    """Carries frames to partners, all at the same time, and brings their answers."""

    @property
    def partners(self) -> tuple[str, ...]:
        """Names of the partners, in the order of replies."""
        ...

    def carry(self, frames: Mapping[str, bytes], on_reply: OnReply) -> Exchange:
        """Send each of these partners its frame, and hand their answers on as they arrive.

        Args:
            frames: By partner; often the same one for all.
            on_reply: Told a partner's name and its answer, in any order, perhaps from several threads side by side.
                An answer that is lost on the way is an error from the reading of it.

        Raises:
            PharmoniaError: What failed at a partner, or in `on_reply`. A partner that cannot be reached is no error
                but stands in the exchange.
        """
        ...


class FrameHandler(Protocol):
    """A party as an engine sees it: bytes in, bytes out."""

    def handle(self, frame: bytes) -> bytes:
        """The answer to a frame."""
        ...


def exchange(engine: Engine, frame: bytes) -> Exchange:
    """One frame to every partner, and all their answers.

    Raises:
        UnreachableError: A partner cannot be reached.
        PharmoniaError: As `Engine.carry`.
    """
    replies: dict[str, bytes] = {}

    def keep(partner: str, reply: Incoming) -> None:
        replies[partner] = reply.whole()

    told = exchange_each(engine, frame, keep)
    return replace(told, replies=tuple(replies[partner] for partner in engine.partners))


def exchange_each(engine: Engine, frame: bytes, on_reply: OnReply) -> Exchange:
    """As `exchange`, but hand answers on as `Engine.carry` does and keep none: they may be as long as the model."""
    told = engine.carry(dict.fromkeys(engine.partners, frame), on_reply)
    if told.lost:
        raise UnreachableError("; ".join(told.lost[partner] for partner in engine.partners if partner in told.lost))
    return told
