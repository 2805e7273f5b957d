"""The reference engine: parties in this process, one after another, speaking the same frames as between companies."""

import time
from collections.abc import Mapping

from pharmonia.base.errors import EngineError
from pharmonia.run.engine import Exchange, FrameHandler, OnReply, collect


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
        return collect(self.exchange_each, self.partners, frame)

    def exchange_each(self, frame: bytes, on_reply: OnReply) -> Exchange:
        """Send the frame to every party in turn and hand their answers on."""
        wall, cpu_s, n_received = time.perf_counter(), 0.0, 0
        for name, party in self._parties.items():
            cpu = time.process_time()
            reply = party.handle(frame)
            cpu_s += time.process_time() - cpu
            n_received += len(reply)
            on_reply(name, reply)
        return Exchange(
            replies=(),
            bytes_to_partners=len(frame) * len(self._parties),
            bytes_from_partners=n_received,
            wall_s=time.perf_counter() - wall,
            cpu_s=cpu_s,
        )
