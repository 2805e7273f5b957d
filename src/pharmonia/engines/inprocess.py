"""The reference engine: parties in this process, one after another, speaking the same frames as between companies."""

import time
from collections.abc import Mapping

from pharmonia.base.errors import EngineError, UnreachableError
from pharmonia.run.engine import Arrived, Exchange, FrameHandler, OnReply


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

    def carry(self, frames: Mapping[str, bytes], on_reply: OnReply) -> Exchange:
        """Send each party its frame, one after the other, and hand their answers on."""
        wall, cpu_s, n_received = time.perf_counter(), 0.0, 0
        lost: dict[str, str] = {}
        for name, frame in frames.items():
            cpu = time.process_time()
            try:
                reply = self.ask(name, frame)
            except UnreachableError as error:
                lost[name] = str(error)
                continue
            cpu_s += time.process_time() - cpu
            n_received += len(reply)
            on_reply(name, Arrived(reply))
        return Exchange(
            replies=(),
            bytes_to_partners=sum(map(len, frames.values())),
            bytes_from_partners=n_received,
            wall_s=time.perf_counter() - wall,
            cpu_s=cpu_s,
            lost=lost,
        )
