"""Runs side by side in processes of one thread each, whatever they are, with a clean end on Ctrl-C."""

import multiprocessing
import queue
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event

from pharmonia.base.errors import EngineError
from pharmonia.bench.qsar_arms import QsarJob, QsarResult
from pharmonia.bench.workplace import Workplace
from pharmonia.run.records import RoundRecord

_POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundDone:
    """A round of a job is finished."""

    job: int  # index into the jobs
    record: RoundRecord


class _StoppedError(Exception):
    """The main process wants this worker to end, or is gone."""


_events: "Queue[RoundDone]"
_stop: Event


def run_jobs(
    jobs: Sequence[QsarJob],
    workplace: Workplace,
    *,
    now: datetime,
    on_event: Callable[[RoundDone], None],
    on_result: Callable[[int, QsarResult], None],
) -> None:
    """Run the jobs, the first in the sequence first; results arrive as they are done.

    Raises:
        EngineError: A worker process died.
        KeyboardInterrupt: Ctrl-C; finished rounds stay in the store.
    """
    context = multiprocessing.get_context("spawn")
    events: Queue[RoundDone] = context.Queue()
    stop = context.Event()
    n_workers = min(workplace.n_workers, len(jobs))
    with ProcessPoolExecutor(n_workers, context, _start_worker, (events, stop)) as executor:
        pending = {executor.submit(_work, index, job, workplace, now): index for index, job in enumerate(jobs)}
        try:
            while pending:
                done, _ = wait(pending, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                _drain(events, on_event)
                for future in done:
                    on_result(pending.pop(future), _result(future))
        except BaseException:
            stop.set()
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def _result(future: Future[QsarResult]) -> QsarResult:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise EngineError(
            "a worker process died, perhaps for lack of memory; run the same command again to resume, "
            "with fewer --workers"
        ) from error


def _drain(events: "Queue[RoundDone]", on_event: Callable[[RoundDone], None]) -> None:
    while True:
        try:
            on_event(events.get_nowait())
        except queue.Empty:
            return


def _start_worker(events: "Queue[RoundDone]", stop: Event) -> None:
    global _events, _stop  # how a pool hands things to its workers
    _events, _stop = events, stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from pharmonia.learn.network import use_one_thread  # noqa: PLC0415 - PyTorch is for workers only

    use_one_thread()


def _work(index: int, job: QsarJob, workplace: Workplace, now: datetime) -> QsarResult:
    from pharmonia.bench.qsar_training import run_job  # noqa: PLC0415 - PyTorch is for workers only

    def on_round(record: RoundRecord) -> None:
        parent = multiprocessing.parent_process()
        if _stop.is_set() or parent is None or not parent.is_alive():
            raise _StoppedError
        _events.put(RoundDone(job=index, record=record))

    return run_job(job, workplace.place, workplace.performance, now, on_round)
