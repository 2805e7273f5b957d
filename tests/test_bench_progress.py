"""Progress and the time left of long runs: what earlier sessions did says nothing of this one's speed."""

import io
import math
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress as Bar

from bench_cases import battery_of, found_in_a_store, use_small_data
from pharmonia.bench.arms import BaselineJob
from pharmonia.bench.pool import RoundDone
from pharmonia.bench.progress import Progress, RunSize, Tracker, results_of, sizes_of
from pharmonia.cli.progress import TimeLeftColumn, WorkReport
from pharmonia.run.records import RoundRecord

HOUR = 3600.0


def progress(done: int, *, before: int = 0, total: int = 100) -> Progress:
    return Progress(before=before, done=done, total=total, what="")


@pytest.mark.parametrize(
    ("reached", "elapsed_s", "left_s"),
    [
        (progress(20), 60.0, 240.0),  # a fifth in a minute
        (progress(60, before=50), 60.0, 240.0),  # a tenth of all in a minute, two fifths of all are left
        (progress(100, before=50), 60.0, 0.0),
        (progress(100, before=100), 0.0, 0.0),
        (progress(0), 60.0, math.inf),
        (progress(50, before=50), 60.0, math.inf),
    ],
)
def test_the_rest_goes_as_fast_as_this_session_went(reached: Progress, elapsed_s: float, left_s: float) -> None:
    assert reached.time_left_s(elapsed_s) == left_s


def test_the_bar_expects_an_end_however_rare_reports_are_and_whatever_an_earlier_session_did() -> None:
    now = [5.0]
    bar = Bar(console=Console(file=io.StringIO()), get_time=lambda: now[0])
    report, column = WorkReport(bar), TimeLeftColumn()

    def shown() -> str:
        return column.render(bar.tasks[0]).plain

    assert shown() == "-:--:--"
    now[0] = 100.0  # data are loaded; work begins
    report(progress(0))
    report(progress(50, before=50))  # a burst: found in the store
    assert shown() == "-:--:--"
    now[0] += 3 * HOUR
    assert shown() == "-:--:--"
    report(progress(60, before=50))
    assert shown() == "12:00:00"
    now[0] += 90.0
    assert shown() == "11:58:30"
    now[0] = 100.0 + 6 * HOUR
    report(progress(75, before=50))
    assert shown() == "6:00:00"
    now[0] += 7 * HOUR
    assert shown() == "0:00:00"


def finished_round(job: int, index: int) -> RoundDone:
    record = RoundRecord(
        round_index=index,
        valid_error=0.5,
        train_loss=0.5,
        aggregate_digest="ab" * 32,
        bytes_to_partners=0,
        bytes_from_partners=0,
        wall_s=1.0,
        cpu_s=1.0,
        n_clipped=0,
        sum_error=None,
    )
    return RoundDone(job=job, record=record)


def test_rounds_and_jobs_of_an_earlier_session_are_told_from_those_of_this_one() -> None:
    seen: list[Progress] = []
    sizes = [RunSize(title=f"job {index}", rows=10, rounds=4) for index in range(3)]
    tracker = Tracker(sizes, seen.append)
    tracker.found(2)
    tracker.round_done(finished_round(0, 2))  # resumed after two rounds
    tracker.round_done(finished_round(0, 3))
    tracker.finished(0)
    tracker.at([1]).finished(0)
    assert [(one.before, one.done) for one in seen] == [(0, 0), (40, 40), (60, 70), (60, 80), (60, 80), (60, 120)]
    assert seen[-1].total == 120
    assert [one.what for one in seen[:2]] == ["starting", "job 2: done"]


def test_runs_that_tell_no_round_were_finished_before() -> None:
    seen: list[Progress] = []
    sizes = [RunSize(title=name, rows=10, rounds=4) for name in "ab"]
    assert results_of(["a", "b"], found_in_a_store, sizes, n_workers=1, on_progress=seen.append) == {"a": "A", "b": "B"}
    assert [(one.before, one.done) for one in seen] == [(0, 0), (40, 40), (80, 80)]


def test_a_baseline_counts_as_one_round_of_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_small_data(monkeypatch)
    first, second = battery_of(tmp_path).jobs()
    jobs = [*first, *second]
    rounds = {size.rounds for job, size in zip(jobs, sizes_of(jobs), strict=True) if isinstance(job, BaselineJob)}
    others = {size.rounds for job, size in zip(jobs, sizes_of(jobs), strict=True) if not isinstance(job, BaselineJob)}
    assert (rounds, others) == ({1}, {2})
