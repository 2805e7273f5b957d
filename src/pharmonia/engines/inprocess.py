"""The reference engine: parties in this process, one after another, speaking the same frames as between companies."""

import time
from collections.abc import Mapping

from pharmonia.base.errors import EngineError
from pharmonia.run.engine import Exchange, FrameHandler


class InProcessEngine:
    """Carries frames to party objects by calling them."""

    def __init__(self, parties: Mapping[str, FrameHandler]) -> None:
        self._parties = dict(parties)

    @property
    def partners(self) -> tuple[str, ...]:
        """Names of the partners, in the order of replies."""
        return tuple(self._parties)

    def ask(self, partner: str, frame: bytes) -> bytes:
        """One party's answer to a frame of its own.

        Raises:
            EngineError: There is no such party.
        """
        party = self._parties.get(partner)
        if party is None:
            raise EngineError(f"there is no party {partner!r}; there are {', '.join(self._parties)}")
        return party.handle(frame)

    def exchange(self, frame: bytes) -> Exchange:
        """Send the frame to every party in turn and collect their answers."""
        wall, cpu = time.perf_counter(), time.process_time()
        replies = tuple(party.handle(frame) for party in self._parties.values())
        return Exchange(
            replies=replies,
            bytes_to_partners=len(frame) * len(replies),
            bytes_from_partners=sum(len(reply) for reply in replies),
            wall_s=time.perf_counter() - wall,
            cpu_s=time.process_time() - cpu,
        )
