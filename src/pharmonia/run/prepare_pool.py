"""Work on structures in processes, chunk by chunk; one that kills its process costs itself and nothing else."""

import itertools
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from pharmonia.base.errors import EngineError

Work = Callable[[Sequence[str]], list[bytes]]  # one payload per text; of a module, so that processes find it

_CHUNK = 128  # texts that a process takes at a time
_AHEAD = 3  # chunks per process that wait or run
_WORTH_A_POOL = 256  # texts; fewer are done faster here
_HARMLESS = ("C",)  # work on methane ends no process


class StructurePool:
    """A pool of processes that starts when there is enough to do, and starts again when one dies."""

    def __init__(self, n_workers: int, crashed: bytes) -> None:
        """Nothing is started yet.

        Args:
            n_workers: Processes; with 1, the work is done in this one.
            crashed: Payload of a text that ended its process.
        """
        self._n_workers, self._crashed = n_workers, crashed
        self._executor: ProcessPoolExecutor | None = None

    def map(self, work: Work, texts: Sequence[str]) -> Iterator[tuple[int, list[bytes]]]:
        """Where each chunk starts and its payloads, as they are done, in no order.

        Raises:
            EngineError: Processes end whatever they are given.
        """
        chunks = [(start, texts[start : start + _CHUNK]) for start in range(0, len(texts), _CHUNK)]
        if self._n_workers == 1 or len(texts) < _WORTH_A_POOL:
            yield from ((start, work(chunk)) for start, chunk in chunks)
            return
        waiting = iter(chunks)
        running: dict[Future[list[bytes]], tuple[int, Sequence[str]]] = {}
        while True:
            for start, chunk in itertools.islice(waiting, self._n_workers * _AHEAD - len(running)):
                running[self._submit(work, chunk)] = (start, chunk)
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                start, chunk = running.pop(future)
                try:
                    yield start, future.result()
                except BrokenProcessPool:
                    self.close()
                    yield start, self._carefully(work, chunk)

    def alone(self, work: Work, texts: Sequence[str]) -> Iterator[tuple[int, list[bytes]]]:
        """As `map`, for texts that have ended a process: in processes of their own, however few.

        Raises:
            EngineError: Processes end whatever they are given.
        """
        for start in range(0, len(texts), _CHUNK):
            yield start, self._carefully(work, texts[start : start + _CHUNK])

    def close(self) -> None:
        """End the processes, each after the chunk that it has."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None

    def _submit(self, work: Work, chunk: Sequence[str]) -> Future[list[bytes]]:
        if self._executor is None:
            self._executor = _start(self._n_workers)
        try:
            return self._executor.submit(work, chunk)
        except BrokenProcessPool:  # it died since; its futures tell
            self.close()
            return self._submit(work, chunk)

    def _carefully(self, work: Work, chunk: Sequence[str]) -> list[bytes]:
        """The payloads of a chunk, halved until the text that ends its process is alone."""
        with _start(1) as alone:
            try:
                return alone.submit(work, chunk).result()
            except BrokenProcessPool:
                pass
        if len(chunk) == 1:
            _require_workers(work)
            return [self._crashed]
        half = len(chunk) // 2
        return self._carefully(work, chunk[:half]) + self._carefully(work, chunk[half:])


def _require_workers(work: Work) -> None:
    """Refuse to blame a structure where processes end without one."""
    with _start(1) as alone:
        try:
            alone.submit(work, _HARMLESS).result()
        except BrokenProcessPool as error:
            raise EngineError(
                "worker processes cannot start, or end on any structure; see that there is memory for them and run "
                "again; what is done is kept"
            ) from error


def _start(n_workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(n_workers, multiprocessing.get_context("spawn"), _ignore_interrupts)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
