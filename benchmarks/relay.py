"""A line between a site and the server as a relay of TCP: delay, byte rate, cut and healed on command.

For kernels without `tc netem`. It forwards bytes and reads none of them (they are TLS's). What it is not: each side has
its own connection to the relay, so that loss, reordering and TCP's own probing of the line do not happen; a cut keeps
what was under way and delivers it after healing, as TCP would by sending again.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar

CHUNK_BYTES = 64 << 10
_ROOM = 64  # chunks under way in one direction of a connection, besides what the delay holds
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What a line is like.

    Args:
        one_way_s: Seconds that a byte is under way.
        bytes_per_s: In each direction, of all connections together; 0 for no limit.
    """

    one_way_s: float = 0.0
    bytes_per_s: float = 0.0

    def __post_init__(self) -> None:
        if self.one_way_s < 0 or self.bytes_per_s < 0:
            raise ValueError(f"a line has seconds and bytes from 0 on, got {self}")


@dataclass(slots=True)
class _Direction:
    """One way of a line: when it is free again, and what went over it."""

    free_at: float = 0.0
    n_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Way:
    """One way of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    direction: _Direction
    queue: "asyncio.Queue[tuple[float, bytes]]" = field(default_factory=lambda: asyncio.Queue(_ROOM * 16))


class Relay:
    """Listens on a port of its own in a thread of its own, until the context ends."""

    def __init__(self, target: tuple[str, int], host: str = "127.0.0.1", line: Line | None = None) -> None:
        """Target: host and port of the server; host: on which it listens itself."""
        self._target = target
        self._host = host
        self._line = line or Line()
        self._up, self._down = _Direction(), _Direction()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._open = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def bytes_up(self) -> int:
        """From those who connect to the target, so far."""
        return self._up.n_bytes

    @property
    def bytes_down(self) -> int:
        """From the target, so far."""
        return self._down.n_bytes

    def cut(self) -> None:
        """Nothing goes over the line any more, and nobody is told."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def heal(self) -> None:
        """It goes on."""
        self._loop.call_soon_threadsafe(self._open.set)

    def become(self, line: Line) -> None:
        """Another line from now on."""
        self._line = line

    def __enter__(self) -> "Relay":
        """Listen."""
        self._thread.start()
        self.port = self._do(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every connection."""
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[None, None, ResultT]) -> ResultT:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    async def _listen(self) -> int:
        self._open.set()
        self._server = await asyncio.start_server(self._connected, self._host, 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = [task for task in self._tasks if not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = asyncio.current_task()
        if own is not None:
            self._tasks.add(own)
            own.add_done_callback(self._tasks.discard)
        try:
            await self._open.wait()
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except (OSError, asyncio.CancelledError):
            writer.close()
            return
        ways = (_Way(reader, far_writer, self._up), _Way(far_reader, writer, self._down))
        loops: tuple[Callable[[_Way], Coroutine[None, None, None]], ...] = (self._take, self._give)
        tasks = [asyncio.ensure_future(work(way)) for way in ways for work in loops]
        try:
            await asyncio.gather(*tasks)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for task in tasks:
                task.cancel()
            for way in ways:
                way.writer.close()

    async def _take(self, way: _Way) -> None:
        """Read, and say when each chunk arrives; an end is a chunk without bytes."""
        while True:
            chunk = await way.reader.read(CHUNK_BYTES)
            line, direction = self._line, way.direction
            now = self._loop.time()
            direction.free_at = max(direction.free_at, now)
            if line.bytes_per_s:
                direction.free_at += len(chunk) / line.bytes_per_s
                if direction.free_at - now > line.one_way_s + _ROOM * CHUNK_BYTES / line.bytes_per_s:
                    await asyncio.sleep(direction.free_at - now - line.one_way_s)
            await way.queue.put((direction.free_at + line.one_way_s, chunk))
            if not chunk:
                return

    async def _give(self, way: _Way) -> None:
        while True:
            at, chunk = await way.queue.get()
            wait_s = at - self._loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            await self._open.wait()
            if not chunk:
                if way.writer.can_write_eof():
                    way.writer.write_eof()
                return
            way.direction.n_bytes += len(chunk)
            way.writer.write(chunk)
            await way.writer.drain()
