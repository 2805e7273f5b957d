"""Running a battery: every job once, and resumable."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Protocol

import numpy as np

from pharmonia.base.errors import InputError, OptionError, PharmoniaError
from pharmonia.bench.arms import (
    FAILED_FILE,
    PREDICTIONS_FILE,
    BaselineJob,
    DistilledJob,
    FailedJob,
    Job,
    JobResult,
    SharedOut,
    StorePlace,
    run_id_of,
    share_out,
)
from pharmonia.bench.battery import Battery, Cell
from pharmonia.bench.pool import OnEvent
from pharmonia.bench.progress import Progress, Shifted, Tracker, sizes_of
from pharmonia.bench.public import lesson_compounds
from pharmonia.bench.settings import ComparisonSettings
from pharmonia.bench.workplace import Workplace
from pharmonia.data.ownership import NOBODY
from pharmonia.data.splits import Part
from pharmonia.evaluate.battery import BatteryArm
from pharmonia.learn.settings import Aggregation, Algorithm
from pharmonia.run.records import Performance
from pharmonia.run.store import RunStore
from pharmonia.secagg.roster import MAX_PARTNERS


class RunJobs(Protocol):
    """What carries jobs to workers: `pool.run_jobs` on this machine, `rays.run_jobs` on a Ray cluster."""

    def __call__(
        self,
        jobs: Sequence[Job],
        place: StorePlace,
        *,
        now: datetime,
        n_workers: int,
        performance: Performance,
        on_event: OnEvent,
        on_result: Callable[[int, JobResult | FailedJob], None],
    ) -> None:
        """Do the jobs; results arrive as they are done."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CellState:
    """How far a cell is.

    Args:
        cell: The cell.
        n_jobs: Jobs that it needs.
        n_done: Of them, finished.
        failures: Why others cannot be made, as far as they were tried.
    """

    cell: Cell
    n_jobs: int
    n_done: int
    failures: tuple[str, ...]

    @property
    def is_done(self) -> bool:
        """Whether it can be evaluated."""
        return self.n_done == self.n_jobs


def check_cells(battery: Battery) -> None:
    """Share out and split the data of every cell, and refuse what could not be trained, before anything trains.

    Raises:
        InputError: A cell cannot be had; the message names it.
    """
    for cell in battery.cells:
        try:
            shared = share_out(cell.settings, cell.seed)
            if BatteryArm.FEDERATED in cell.arms:
                _require_trainable(cell.settings, shared)
            if cell.public:
                lesson_compounds(cell.public, shared.encoded.interactions, shared.split)
        except PharmoniaError as error:
            k = cell.key
            where = f"{k.dataset}, {k.scenario}, {k.protocol}, {k.n_partners} partners, seed {cell.seed}"
            raise InputError(f"battery {battery.name}, cell {where}: {error}") from error


def _require_trainable(settings: ComparisonSettings, shared: SharedOut) -> None:
    """Refuse what every federated run of these settings would refuse.

    Raises:
        OptionError: More partners than secure sums take, or FedSGD with a partner that has too few rows for its steps.
    """
    if settings.aggregation is Aggregation.SECURE and settings.n_partners > MAX_PARTNERS:
        raise OptionError(f"secure sums take up to {MAX_PARTNERS} partners, got {settings.n_partners}")
    if settings.method.algorithm is not Algorithm.FEDSGD:
        return
    owner = shared.partition.owner[shared.split.rows(Part.TRAIN)]
    n_rows = np.bincount(owner[owner != NOBODY], minlength=settings.n_partners)
    n_steps = -(-int(n_rows.sum()) // settings.local.batch_size)
    least = int(n_rows.argmin())
    if n_rows[least] < 2 * n_steps:
        raise OptionError(
            f"fedsgd takes 2 rows of every partner in each of its {n_steps} steps a round, and "
            f"{shared.partition.names[least]} has {n_rows[least]}; use a larger batch size or fewer partners"
        )


def run_battery(
    battery: Battery,
    workplace: Workplace,
    *,
    now: datetime,
    run_jobs: RunJobs,
    on_progress: Callable[[Progress], None],
    on_begin: Callable[[], None],
) -> tuple[FailedJob, ...]:
    """Do every job of a battery that the store does not have yet; those that are impossible keep nobody else waiting.

    Args:
        battery: Checked.
        workplace: Where, and with how many workers.
        now: When.
        run_jobs: Carries jobs to workers.
        on_progress: Told how far it is.
        on_begin: Told before jobs are handed out, if there are any to do.

    Raises:
        EngineError: A worker died.
        KeyboardInterrupt: Ctrl-C; the same call resumes.
    """
    first, second = battery.jobs()
    done = _done(workplace.place.open(), _ids([*first, *second]))
    failed: list[FailedJob] = []
    tracker = Tracker(sizes_of([*first, *second]), on_progress)
    for index, job in enumerate([*first, *second]):
        if job in done:
            tracker.found(index)
    for offset, jobs in ((0, first), (len(first), second)):
        places = [offset + index for index, job in enumerate(jobs) if job not in done and _is_taught(job, failed)]
        shifted = tracker.at(places)

        def note(index: int, result: JobResult | FailedJob, shifted: Shifted = shifted) -> None:
            if isinstance(result, FailedJob):
                failed.append(result)
            shifted.finished(index)

        if places:
            on_begin()
            run_jobs(
                [jobs[index - offset] for index in places],
                workplace.place,
                now=now,
                n_workers=min(workplace.n_workers, len(places)),
                performance=workplace.performance,
                on_event=shifted.round_done,
                on_result=note,
            )
    return tuple(failed)


def _is_taught(job: Job, failed: Sequence[FailedJob]) -> bool:
    """Whether what a job needs is there."""
    return not (isinstance(job, DistilledJob) and {one.job for one in failed} & set(job.teachers))


def _ids(jobs: Iterable[Job]) -> dict[Job, str]:
    """The runs of jobs, in the order of cells: what is shared out for one job is at hand for the next."""
    return {job: run_id_of(job) for job in jobs}


def _done(store: RunStore, ids: Mapping[Job, str]) -> set[Job]:
    """The jobs that can be evaluated: not a run that was killed before its predictions, or that lost a file."""
    finished = store.finished()
    return {job for job, one in ids.items() if one in finished and _has_files(store, job, one)}


def _has_files(store: RunStore, job: Job, run_id: str) -> bool:
    has_model = isinstance(job, BaselineJob) or store.has_model(run_id)
    return has_model and (store.folder(run_id) / PREDICTIONS_FILE).exists()


def states(battery: Battery, place: StorePlace) -> list[CellState]:
    """How far each cell is, in the battery's order; makes no store where there is none."""
    jobs_of = [dict.fromkeys(cell.jobs().values()) for cell in battery.cells]
    ids = _ids(dict.fromkeys(chain.from_iterable(jobs_of)))
    done = _done(place.open(), ids) if place.exists() else set[Job]()
    return [
        CellState(
            cell=cell,
            n_jobs=len(jobs),
            n_done=sum(job in done for job in jobs),
            failures=tuple(sorted(_failures(place, [ids[job] for job in jobs if job not in done]))),
        )
        for cell, jobs in zip(battery.cells, jobs_of, strict=True)
    ]


def _failures(place: StorePlace, run_ids: Iterable[str]) -> set[str]:
    files = [place.folder / run_id / FAILED_FILE for run_id in run_ids]
    return {file.read_text(encoding="utf-8") for file in files if file.exists()}
