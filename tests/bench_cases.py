"""A battery on a data set of 160 rows, its jobs done in this process."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from interaction_cases import small_encoded
from pharmonia.bench import arms
from pharmonia.bench.arms import FailedJob, Job, JobResult, StorePlace
from pharmonia.bench.battery import Battery, read_battery
from pharmonia.bench.battery_run import RunJobs, run_battery
from pharmonia.bench.pool import OnEvent
from pharmonia.bench.progress import Progress
from pharmonia.bench.training import attempt_job
from pharmonia.bench.workplace import Workplace, default_place
from pharmonia.run.cache import describe
from pharmonia.run.datasets import load
from pharmonia.run.records import Performance, RoundRecord

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SMALL = """
name = "small"
title = "Twelve compounds"
seeds = 2
public = "kiba-sample"

[training]
rounds = 2
batch_size = 60

[[block]]
datasets = ["small"]
scenarios = ["target"]
partners = [3]
methods = ["fedavg", "fedavg+private-head"]
arms = ["alone", "ensemble", "ensemble-weighted", "distilled", "federated", "pooled", "additive", "target-only"]
"""


def use_small_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set of 160 rows under the name `small`."""
    encoded = small_encoded()
    monkeypatch.setattr(arms, "load", lambda name: encoded if name == "small" else load(name))
    monkeypatch.setattr("pharmonia.bench.battery_output.describe", lambda _: describe("kiba-sample"))
    arms._loaded.cache_clear()
    arms._share_out.cache_clear()


def battery_of(folder: Path, text: str = SMALL) -> Battery:
    path = folder / "battery.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return read_battery(path)


class Inline:
    """Does jobs in this process, and remembers which; may be interrupted."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.done: list[Job] = []
        self._interrupt_after = interrupt_after

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
        for index, job in enumerate(jobs):
            if len(self.done) == self._interrupt_after:
                raise KeyboardInterrupt
            on_result(index, attempt_job(job, place, performance, now, lambda _: None))
            self.done.append(job)


def run(battery: Battery, folder: Path, run_jobs: RunJobs) -> tuple[tuple[FailedJob, ...], list[Progress]]:
    """What failed, and the progress."""
    seen: list[Progress] = []
    workplace = Workplace(place=default_place(folder), n_workers=1)
    failed = run_battery(battery, workplace, now=NOW, run_jobs=run_jobs, on_progress=seen.append, on_begin=lambda: None)
    return failed, seen


def found_in_a_store(job: str, on_round: Callable[[RoundRecord], None]) -> str:
    """The work of a job that needs no round; workers find it here, as they cannot import a test module."""
    return job.upper()
