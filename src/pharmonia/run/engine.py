"""What carries frames between the coordinator and the parties; every engine looks like this to the coordinator."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One frame to every partner and their answers.

    Args:
        replies: One frame per partner, in the engine's order of partners.
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


class FrameHandler(Protocol):
    """A party as an engine sees it: bytes in, bytes out."""

    def handle(self, frame: bytes) -> bytes:
        """The answer to a frame."""
        ...
