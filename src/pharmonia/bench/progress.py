"""How far a comparison or battery is."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from pharmonia.bench.arms import ArmJob, BaselineJob, Job, share_out
from pharmonia.bench.pool import RoundDone, side_by_side
from pharmonia.data.splits import Part
from pharmonia.run.records import RoundRecord

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a comparison is, in training rows gone through.

    Args:
        before: Rows times rounds that an earlier session had finished.
        done: Rows times rounds finished, those among them.
        total: Rows times rounds at most; arms that stop early count as done.
        what: The arm and round that moved last, for people.
    """

    before: int
    done: int
    total: int
    what: str

    def time_left_s(self, elapsed_s: float) -> float:
        """Seconds left if the rest goes as fast as this session went so far; infinite while it finished nothing."""
        if self.done == self.total:
            return 0.0
        if self.done == self.before:
            return math.inf
        return elapsed_s * (self.total - self.done) / (self.done - self.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSize:
    """How much of the work a run is.

    Args:
        title: What people call it.
        rows: What it goes through in a round, in rows or the like.
        rounds: At most.
    """

    title: str
    rows: int
    rounds: int


class Tracker:
    """Turns finished rounds into progress, each round weighted by the rows it went through."""

    def __init__(self, sizes: Sequence[RunSize], on_progress: Callable[[Progress], None]) -> None:
        """Make a tracker when the work begins, which it reports: the time that it takes counts from there."""
        self._sizes, self._on_progress = sizes, on_progress
        self._done = [0] * len(sizes)
        self._rows_before, self._rows_done = 0, 0
        self._total = sum(size.rows * size.rounds for size in sizes)
        self._report("starting")

    def has_moved(self, index: int) -> bool:
        """Whether a round of a job, or all of it, is known to be finished."""
        return self._done[index] > 0

    def found(self, index: int) -> None:
        """Note a job that an earlier session had finished."""
        self._rows_before += self._reach(index, self._sizes[index].rounds)
        self._report_of(index, "done")

    def round_done(self, event: RoundDone) -> None:
        """Note a finished round; what is missing before it, an earlier session had done."""
        record = event.record
        self._rows_before += self._reach(event.job, record.round_index)
        self._reach(event.job, record.round_index + 1)
        self._report_of(event.job, f"round {record.round_index + 1}, validation error {record.valid_error:.3f}")

    def at(self, places: Sequence[int]) -> "Shifted":
        """The tracker for jobs that stand at these places among all."""
        return Shifted(self, places)

    def finished(self, index: int) -> None:
        """Note a finished job."""
        self._reach(index, self._sizes[index].rounds)
        self._report_of(index, "done")

    def _reach(self, index: int, rounds: int) -> int:
        further = max(0, rounds - self._done[index])
        self._done[index] += further
        rows = further * self._sizes[index].rows
        self._rows_done += rows
        return rows

    def _report_of(self, index: int, state: str) -> None:
        self._report(f"{self._sizes[index].title}: {state}")

    def _report(self, what: str) -> None:
        self._on_progress(Progress(before=self._rows_before, done=self._rows_done, total=self._total, what=what))


def sizes_of(jobs: Sequence[Job]) -> list[RunSize]:
    """How much of the work each job on interactions is; a baseline, which takes seconds, counts as one round."""
    many_seeds = len({job.seed for job in jobs}) > 1
    return [
        RunSize(
            title=f"{job.title}, seed {job.seed}" if many_seeds else job.title,
            rows=_training_rows(job),
            rounds=1 if isinstance(job, BaselineJob) else job.settings.schedule.rounds,
        )
        for job in jobs
    ]


def _training_rows(job: Job) -> int:
    shared = share_out(job.settings, job.seed)
    owner = shared.partition.owner[shared.split.rows(Part.TRAIN)]
    if isinstance(job, ArmJob) and job.partner is not None:
        return int((owner == job.partner).sum())
    return owner.size


def results_of(
    jobs: Sequence[JobT],
    work: Callable[[JobT, Callable[[RoundRecord], None]], ResultT],
    sizes: Sequence[RunSize],
    *,
    n_workers: int,
    on_progress: Callable[[Progress], None],
) -> dict[JobT, ResultT]:
    """What came of each job; as `side_by_side`, with progress.

    Raises:
        EngineError: A worker process died.
        KeyboardInterrupt: Ctrl-C; finished rounds stay in the store.
    """
    results: dict[JobT, ResultT] = {}
    tracker = Tracker(sizes, on_progress)

    def keep(index: int, result: ResultT) -> None:
        results[jobs[index]] = result
        if tracker.has_moved(index):
            tracker.finished(index)
        else:
            tracker.found(index)  # a run that is finished in the store tells no round

    n_workers = min(n_workers, len(jobs))
    side_by_side(jobs, work, n_workers=n_workers, on_event=tracker.round_done, on_result=keep)
    return results


class Shifted:
    """Passes events of some jobs on to the tracker of all."""

    def __init__(self, tracker: Tracker, places: Sequence[int]) -> None:
        self._tracker, self._places = tracker, places

    def round_done(self, event: RoundDone) -> None:
        """Note a finished round."""
        self._tracker.round_done(replace(event, job=self._places[event.job]))

    def finished(self, index: int) -> None:
        """Note a finished job."""
        self._tracker.finished(self._places[index])
