"""Training runs side by side in processes of one thread each, with progress and a clean end on Ctrl-C."""

import multiprocessing
import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from typing import TypeVar

from pharmonia.base.errors import EngineError
from pharmonia.bench.arms import FailedJob, Job, JobResult, StorePlace
from pharmonia.run.records import Performance, RoundRecord

_POLL_S = 0.2
_AHEAD = 4  # jobs handed out per worker; all of a large battery at once would be slow to watch
JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundDone:
    """A round of a job is finished."""

    job: int  # index into the jobs
    record: RoundRecord


OnEvent = Callable[[RoundDone], None]


class _StoppedError(Exception):
    """The main process wants this worker to end."""


_events: "Queue[RoundDone]"
_stop: Event


def run_jobs(
    jobs: Sequence[Job],
    place: StorePlace,
    *,
    now: datetime,
    n_workers: int,
    performance: Performance,
    on_event: OnEvent,
    on_result: Callable[[int, JobResult | FailedJob], None],
) -> None:
    """Run the jobs of a battery, the first in the sequence first; as `side_by_side`."""
    work = partial(_attempt, place=place, performance=performance, now=now)
    side_by_side(jobs, work, n_workers=n_workers, on_event=on_event, on_result=on_result)


def do_job(
    job: Job, on_round: Callable[[RoundRecord], None], *, place: StorePlace, performance: Performance, now: datetime
) -> JobResult:
    """What a job brings: the work of a worker process."""
    from pharmonia.bench.training import run_job  # noqa: PLC0415 - PyTorch is for workers only

    return run_job(job, place, performance, now, on_round)


def _attempt(
    job: Job, on_round: Callable[[RoundRecord], None], *, place: StorePlace, performance: Performance, now: datetime
) -> JobResult | FailedJob:
    from pharmonia.bench.training import attempt_job  # noqa: PLC0415 - PyTorch is for workers only

    return attempt_job(job, place, performance, now, on_round)


def side_by_side(
    jobs: Sequence[JobT],
    work: Callable[[JobT, Callable[[RoundRecord], None]], ResultT],
    *,
    n_workers: int,
    on_event: OnEvent,
    on_result: Callable[[int, ResultT], None],
) -> None:
    """Do the jobs, the first in the sequence first; results arrive as they are done.

    Args:
        jobs: What to do.
        work: Does one in a worker, and tells each finished round; a function of a module, or a partial of one.
        n_workers: Processes.
        on_event: Told each finished round.
        on_result: Told the index of each finished job, and what came of it.

    Raises:
        EngineError: A worker process died.
        KeyboardInterrupt: Ctrl-C; finished rounds stay in the store.
    """
    context = multiprocessing.get_context("spawn")
    events: Queue[RoundDone] = context.Queue()
    stop = context.Event()
    with ProcessPoolExecutor(n_workers, context, _start_worker, (events, stop)) as executor:
        waiting, pending = deque(enumerate(jobs)), dict[Future[ResultT], int]()
        try:
            while waiting or pending:
                while waiting and len(pending) < _AHEAD * n_workers:
                    index, job = waiting.popleft()
                    pending[executor.submit(_work, index, job, work)] = index
                done, _ = wait(pending, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                _drain(events, on_event)
                for future in done:
                    on_result(pending.pop(future), _result(future))
        except BaseException:
            stop.set()
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def _result(future: Future[ResultT]) -> ResultT:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise EngineError(
            "a worker process died, perhaps for lack of memory; run the same command again to resume, "
            "with fewer --workers"
        ) from error


def _drain(events: "Queue[RoundDone]", on_event: OnEvent) -> None:
    while True:
        try:
            on_event(events.get_nowait())
        except queue.Empty:
            return


def _start_worker(events: "Queue[RoundDone]", stop: Event) -> None:
    global _events, _stop  # how a pool hands things to its workers
    _events, _stop = events, stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from pharmonia.learn.network import use_one_thread  # noqa: PLC0415 - PyTorch is for workers only

    use_one_thread()


def _end_with_parent() -> None:
    """End this worker when the main process is gone, killed perhaps; what is half done, the next run does again."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(index: int, job: JobT, work: Callable[[JobT, Callable[[RoundRecord], None]], ResultT]) -> ResultT:
    def on_round(record: RoundRecord) -> None:
        if _stop.is_set():
            raise _StoppedError
        _events.put(RoundDone(job=index, record=record))

    return work(job, on_round)
