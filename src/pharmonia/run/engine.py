"""What carries frames between the coordinator and the parties; every engine looks like this to the coordinator."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

OnReply = Callable[[str, bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One frame to every partner and their answers.

    Args:
        replies: One frame per partner, in the engine's order of partners; empty where they were handed on.
        bytes_to_partners: Sum over partners of the frames sent.
        bytes_from_partners: Sum over partners of the frames received.
        wall_s: Seconds until the last answer.
        cpu_s: CPU seconds that the parties took.
    """

    replies: tuple[bytes, ...]
    bytes_to_partners: int
    bytes_from_partners: int
    wall_s: float
    cpu_s: float


class Engine(Protocol):
    """Carries one frame to all partners and waits for all answers."""

    @property
    def partners(self) -> tuple[str, ...]:
        """Names of the partners, in the order of replies."""
        ...

    def exchange(self, frame: bytes) -> Exchange:
        """Send the frame to every partner and collect their answers."""
        ...

    def exchange_each(self, frame: bytes, on_reply: OnReply) -> Exchange:
        """As `exchange`, but hand answers on as they arrive and keep none: they may be as long as the model.

        Args:
            frame: For every partner.
            on_reply: Told a partner's name and its answer; called once at a time, in any order of partners.
        """
        ...


class FrameHandler(Protocol):
    """A party as an engine sees it: bytes in, bytes out."""

    def handle(self, frame: bytes) -> bytes:
        """The answer to a frame."""
        ...


def collect(exchange_each: Callable[[bytes, OnReply], Exchange], partners: Sequence[str], frame: bytes) -> Exchange:
    """The exchange with all its replies, in order of partners, from an engine's way to hand them on."""
    replies: dict[str, bytes] = {}
    exchange = exchange_each(frame, replies.__setitem__)
    return replace(exchange, replies=tuple(replies[partner] for partner in partners))
