"""Jobs on a Ray cluster instead of processes of this machine; store and data must be in reach of every node."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pharmonia.bench.arms import FailedJob, Job, JobResult, StorePlace
from pharmonia.bench.pool import OnEvent
from pharmonia.engines.ray import for_each
from pharmonia.run.records import Performance


@dataclass(frozen=True, slots=True, kw_only=True)
class _Errand:
    job: Job
    place: StorePlace
    performance: Performance
    now: datetime


def run_jobs_on_ray(
    jobs: Sequence[Job],
    place: StorePlace,
    *,
    now: datetime,
    n_workers: int,
    performance: Performance,
    on_event: OnEvent,  # noqa: ARG001 - rounds stay on their node; progress is by finished jobs
    on_result: Callable[[int, JobResult | FailedJob], None],
) -> None:
    """Do the jobs, the first first; results arrive as they are done.

    Raises:
        EngineError: A worker died, or there is no cluster to be had.
        KeyboardInterrupt: Ctrl-C; finished rounds stay in the store.
    """
    errands = [_Errand(job=job, place=place, performance=performance, now=now) for job in jobs]
    for_each(_work, errands, n_at_once=n_workers, on_result=on_result)


def _work(errand: _Errand) -> JobResult | FailedJob:
    from pharmonia.bench.training import attempt_job  # noqa: PLC0415 - PyTorch is for workers only
    from pharmonia.learn.network import use_one_thread  # noqa: PLC0415

    use_one_thread()
    return attempt_job(errand.job, errand.place, errand.performance, errand.now, lambda _: None)
