"""How far a comparison or battery is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pharmonia.bench.arms import ArmJob, Job, JobResult, share_out
from pharmonia.bench.pool import RoundDone
from pharmonia.data.splits import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a comparison is, in training rows gone through.

    Args:
        done: Rows times rounds finished.
        total: Rows times rounds at most; arms that stop early count as done.
        what: The arm and round that moved last, for people.
    """

    done: int
    total: int
    what: str


class Tracker:
    """Turns finished rounds into progress, each round weighted by the rows it went through."""

    def __init__(self, jobs: Sequence[Job], on_progress: Callable[[Progress], None]) -> None:
        self._jobs = jobs
        self._on_progress = on_progress
        self._rows = [_training_rows(job) for job in jobs]
        self._done = [0] * len(jobs)
        self._rounds = [job.settings.schedule.rounds for job in jobs]
        self._many_seeds = len({job.seed for job in jobs}) > 1

    def round_done(self, event: RoundDone) -> None:
        """Note a finished round."""
        self._done[event.job] = max(self._done[event.job], event.record.round_index + 1)
        record = event.record
        self._report(event.job, f"round {record.round_index + 1}, validation error {record.valid_error:.3f}")

    def at(self, places: Sequence[int]) -> "Shifted":
        """The tracker for jobs that stand at these places among all."""
        return Shifted(self, places)

    def finished(self, index: int) -> None:
        """Note a finished job."""
        self._done[index] = self._rounds[index]
        self._report(index, "done")

    def _report(self, index: int, state: str) -> None:
        job = self._jobs[index]
        seed = f", seed {job.seed}" if self._many_seeds else ""
        self._on_progress(
            Progress(
                done=sum(rows * done for rows, done in zip(self._rows, self._done, strict=True)),
                total=sum(rows * rounds for rows, rounds in zip(self._rows, self._rounds, strict=True)),
                what=f"{job.title}{seed}: {state}",
            )
        )


def _training_rows(job: Job) -> int:
    shared = share_out(job.settings, job.seed)
    owner = shared.partition.owner[shared.split.rows(Part.TRAIN)]
    if isinstance(job, ArmJob) and job.partner is not None:
        return int((owner == job.partner).sum())
    return owner.size


class Shifted:
    """Passes events of some jobs on to the tracker of all."""

    def __init__(self, tracker: Tracker, places: Sequence[int]) -> None:
        self._tracker, self._places = tracker, places

    def round_done(self, event: RoundDone) -> None:
        """Note a finished round."""
        self._tracker.round_done(replace(event, job=self._places[event.job]))

    def result(self, index: int, _: JobResult) -> None:
        """Note a finished job."""
        self._tracker.finished(self._places[index])
