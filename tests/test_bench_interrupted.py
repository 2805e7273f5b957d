"""`pharmonia bench run` that is interrupted, killed or started twice, as processes; nothing here depends on speed.

The battery's method waits inside its second round, where the environment asks it to, until its worker is told to stop.
So a run is in the middle whenever the signal arrives.
"""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from threading import Timer

import pytest

from bench_cases import Inline
from pharmonia.bench import pool
from pharmonia.bench.arms import PREDICTIONS_FILE, BaselineJob, run_id_of
from pharmonia.bench.battery import read_battery
from pharmonia.bench.battery_run import CellState, states
from pharmonia.bench.workplace import default_place
from pharmonia.cli.main import main
from pharmonia.evaluate.battery_csv import CURVES_FILE, outcomes_from_csv

LISTEN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell's & makes children deaf
START = [sys.executable, "-c", f"{LISTEN}; from pharmonia.cli.main import main; main()"]
HUNG_S = 300.0  # only a test that would hang for ever meets it
ASKED, WAITS = "PHARMONIA_TEST_WAITS", "waits in its second round"
CODE = f"""
import os
import sys


def server_waiting(strength, change, state):
    if state.n_steps == 1 and "{ASKED}" in os.environ:
        from pharmonia.bench import pool

        print("{WAITS}", file=sys.stderr, flush=True)
        pool._stop.wait()
    return change, state.after()
"""
BATTERY = """
name = "waiting"
title = "A baseline, and three rounds"
code = "waiting.py"

[training]
rounds = 3
batch_size = 512

[[block]]
partners = [2]
models = ["ligand-only"]
methods = ["waiting"]
arms = ["additive", "federated"]
"""


@pytest.fixture(scope="module")
def battery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("battery")
    (folder / "waiting.py").write_text(CODE)
    (folder / "waiting.toml").write_text(BATTERY)
    return folder / "waiting.toml"


@pytest.fixture(scope="module")
def whole(battery: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What an uninterrupted run finds."""
    out = tmp_path_factory.mktemp("whole")
    run_here(battery, out)
    return found_in(out)


def command(battery: Path, out: Path) -> list[str]:
    return ["bench", "run", str(battery), "--out", str(out), "--workers", "1"]


def run_here(battery: Path, out: Path) -> None:
    """The same command in this process, which has loaded all that it needs, its jobs too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["pharmonia", *command(battery, out)])
        patch.setattr(pool, "run_jobs", Inline())
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 0


@contextmanager
def in_the_middle(battery: Path, out: Path) -> Iterator["subprocess.Popen[str]"]:
    """A run whose baseline is finished, whose first round is stored, and which waits in its second."""
    process = subprocess.Popen(
        [*START, *command(battery, out)],
        env={**os.environ, ASKED: "1"},
        start_new_session=True,  # so that a Ctrl-C reaches its workers too, and not these tests
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    guard = Timer(HUNG_S, os.killpg, (process.pid, signal.SIGKILL))
    guard.start()
    try:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if WAITS in line:
                break
        assert WAITS in said, said
        with closing(sqlite3.connect(out / "runs.sqlite")) as connection:
            assert connection.execute("select count(*) from rounds").fetchone() == (1,)
        yield process
        assert guard.is_alive(), "the run or its worker hung"
    finally:
        guard.cancel()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def last_words(process: "subprocess.Popen[str]") -> str:
    """What a run says until it and its workers, who write to the same place, are gone."""
    assert process.stderr is not None
    said = process.stderr.read()
    process.wait()
    return " ".join(said.split())


def state_of(battery: Path, out: Path) -> CellState:
    (state,) = states(read_battery(battery), default_place(out))
    return state


def baseline(battery: Path, out: Path) -> tuple[int, int]:
    """Which file holds the baseline's predictions, and since when."""
    (job,) = (job for job in read_battery(battery).jobs()[0] if isinstance(job, BaselineJob))
    about = (default_place(out).folder / run_id_of(job) / PREDICTIONS_FILE).stat()
    return about.st_ino, about.st_mtime_ns


def found_in(out: Path) -> dict[str, object]:
    """The results without what differs from run to run: bytes, as keys are agreed on anew, and seconds."""
    (outcome,) = outcomes_from_csv((out / "results.csv").read_bytes(), (out / CURVES_FILE).read_bytes())
    differ = ("bytes_", "cpu_s", "wall_s")
    found = {field.name: getattr(outcome, field.name) for field in fields(outcome) if not field.name.startswith(differ)}
    return found | {"curve": outcome.curve.tolist()}


def assert_it_resumes(battery: Path, out: Path, whole: dict[str, object]) -> None:
    """The same command goes on from an unfinished run to the results of an uninterrupted one."""
    state = state_of(battery, out)
    assert (state.n_done, state.n_jobs, state.failures) == (1, 2, ())
    assert not (out / "results.csv").exists()
    before = baseline(battery, out)
    run_here(battery, out)
    assert state_of(battery, out).is_done
    assert baseline(battery, out) == before  # a finished run is not done again
    assert found_in(out) == whole


def test_a_battery_that_is_interrupted_resumes_to_the_same_results(
    battery: Path, whole: dict[str, object], tmp_path: Path
) -> None:
    with in_the_middle(battery, tmp_path) as process:
        os.killpg(process.pid, signal.SIGINT)
        said = last_words(process)
    assert process.returncode == 130
    assert "the same command resumes" in said
    assert_it_resumes(battery, tmp_path, whole)


def test_a_battery_that_is_killed_takes_its_workers_along_and_resumes_to_the_same_results(
    battery: Path, whole: dict[str, object], tmp_path: Path
) -> None:
    with in_the_middle(battery, tmp_path) as process:
        process.kill()
        last_words(process)  # ends only when no worker is left
    assert process.returncode == -signal.SIGKILL
    assert_it_resumes(battery, tmp_path, whole)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_run_in_the_same_folder_is_refused_and_changes_nothing(battery: Path, tmp_path: Path) -> None:
    with in_the_middle(battery, tmp_path) as process:
        before = contents(tmp_path)
        second = subprocess.run(
            [*START, *command(battery, tmp_path)], capture_output=True, text=True, timeout=HUNG_S, check=False
        )
        assert second.returncode == 4
        assert "another run is at work in" in " ".join(second.stderr.split())
        assert contents(tmp_path) == before
        assert process.poll() is None  # the first is still at work
