"""`pharmonia compare` as its user meets it: results, errors with their codes, Ctrl-C and resume."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pharmonia.base.errors import InputError
from pharmonia.bench.output import refuse_other_results
from pharmonia.cli.main import main
from pharmonia.evaluate.report_json import report_from_json

LISTEN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell's & makes children deaf
COMMAND = [sys.executable, "-c", f"{LISTEN}; from pharmonia.cli.main import main; main()"]
SMALL = ["--partners", "2", "--rounds", "3", "--workers", "2"]


def run(*arguments: str, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False)


def untimed(path: Path) -> dict[str, Any]:
    """The results without what differs from run to run: seconds, date and command."""
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for name in ("date", "command", "machine"):
        results["run"].pop(name)
    for cost in results["costs"]:
        for name in ("bytes_to_partners", "bytes_from_partners"):
            cost.pop(name)  # a resumed run agrees on keys anew
        cost.pop("wall_s", None)
        cost.pop("cpu_s", None)
    return results


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of an uninterrupted comparison."""
    out = tmp_path_factory.mktemp("whole")
    done = run("compare", "kiba-sample", *SMALL, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "Scores on each partner's own held-out rows" in done.stdout
    return out


def test_a_comparison_writes_its_report_and_results(whole: Path) -> None:
    report = report_from_json(json.loads((whole / "results.json").read_text(encoding="utf-8")))
    assert report.description.dataset == "kiba-sample"
    assert {cost.arm for cost in report.costs} == {"alone", "federated", "pooled"}
    federated = next(cost for cost in report.costs if cost.arm == "federated")
    assert federated.bytes_to_partners > 3 * 2 * 4 * report.description.n_params
    assert sum(holding.n_test for holding in report.holdings.partners) == 1001  # a fifth of each, rounded up
    assert (whole / "report.md").read_text(encoding="utf-8").startswith("#")
    html = (whole / "report.html").read_text(encoding="utf-8")
    assert html.lower().startswith("<!doctype html>")


def test_the_same_command_finds_its_runs_finished_and_gives_the_same_results(whole: Path) -> None:
    before = untimed(whole / "results.json")
    done = run("compare", "kiba-sample", *SMALL, "--out", str(whole), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"]["dataset"] == "kiba-sample"
    assert untimed(whole / "results.json") == before
    assert "round" not in done.stderr  # nothing was trained


def test_interrupted_runs_resume_to_the_same_results(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [*COMMAND, "compare", "kiba-sample", *SMALL, "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    _wait_for_a_round(out / "runs.sqlite", process)
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "resumes" in stderr
    assert not (out / "results.json").exists()
    resumed = run(*command[len(COMMAND) :])
    assert resumed.returncode == 0, resumed.stderr
    assert untimed(out / "results.json") == untimed(whole / "results.json")


needs_proc = pytest.mark.skipif(
    not Path("/proc").is_dir(), reason="finds worker processes through /proc, which this system lacks"
)


@needs_proc
def test_no_worker_outlives_a_killed_comparison_and_the_runs_resume(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [*COMMAND, "compare", "kiba-sample", *SMALL, "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    _wait_for_a_round(out / "runs.sqlite", process)
    workers = _workers(process)
    assert len(workers) == 2
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while any(_is_running(worker) for worker in workers):
        assert time.monotonic() < deadline, "a worker outlives its comparison"
        time.sleep(0.05)
    resumed = run(*command[len(COMMAND) :])
    assert resumed.returncode == 0, resumed.stderr
    assert untimed(out / "results.json") == untimed(whole / "results.json")


@needs_proc
def test_a_killed_worker_is_an_engine_error_and_the_runs_resume(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [*COMMAND, "compare", "kiba-sample", *SMALL, "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    _wait_for_a_round(out / "runs.sqlite", process)
    for worker in _workers(process):
        os.kill(worker, signal.SIGKILL)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 5
    assert "to resume" in " ".join(stderr.split())
    resumed = run(*command[len(COMMAND) :])
    assert resumed.returncode == 0, resumed.stderr
    assert untimed(out / "results.json") == untimed(whole / "results.json")


def _workers(process: "subprocess.Popen[str]") -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def _is_running(pid: int) -> bool:
    """Whether there is such a process that is not a corpse waiting for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_folder_of_a_battery_is_refused_and_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "battery.json").write_text("{}")
    monkeypatch.setattr(sys, "argv", ["pharmonia", "compare", "kiba-sample", *SMALL, "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 4
    assert "holds results of a battery; choose another --out" in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["battery.json"]


def _wait_for_a_round(database: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if database.exists() and _n_rounds(database) > 0:
            return
        time.sleep(0.05)
    pytest.fail("the comparison finished or hung before its first round")


def _n_rounds(database: Path) -> int:
    try:
        with sqlite3.connect(database) as connection:
            return int(connection.execute("select count(*) from rounds").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nothing-here"], "kiba-sample"),
        (["kiba-sample", "--partners", "1"], "at least 2 partners"),
        (["kiba-sample", "--partners", "190"], "at most 189 partners"),
        (["kiba-sample", "--partition", "size"], "iid, target, compound"),
        (["kiba-sample", "--split", "warm"], "published, random, cold-target, cold-compound"),
        (["kiba-sample", "--partners", "189"], "is left with no"),
        (["kiba-sample", "--seeds", "0"], "1 to 100 different seeds"),
        (["kiba-sample", "--rounds", "0"], "rounds and patience"),
        (["kiba-sample", "--learning-rate", "0"], "learning rate"),
        (["kiba-sample", "--batch-size", "1"], "batch size"),
        (["kiba-sample", "--norm", "group"], "batch, layer"),
        (["kiba-sample", "--method", "fedsgd", "--local-epochs", "2"], "takes 1 local epoch, got 2"),
        (["adme", "--local-epochs", "4"], "such as fedavg"),
        (["kiba-sample", "--model", "gat", "--method", "fedavg+private-norms"], "one of gin, ligand-only"),
        (["kiba-sample", "--workers", "-1"], "at least 1 worker"),
        (["kiba"], "pharmonia data fetch kiba"),
        (["kiba-sample", "--store", "nonsense"], "cannot be opened"),
    ],
)
def test_bad_input_is_refused_with_a_remedy_and_leaves_nothing(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    monkeypatch.setenv("PHARMONIA_CACHE", str(tmp_path / "empty-cache"))
    monkeypatch.setattr(sys, "argv", ["pharmonia", "compare", *arguments, "--out", str(out)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert expected in " ".join(capsys.readouterr().err.split())
    assert not list(out.glob("*"))


@pytest.mark.parametrize(("dataset", "options"), [("kiba", ()), ("adme", ("--partition", "scaffold"))])
def test_results_of_another_data_set_are_not_replaced(whole: Path, dataset: str, options: tuple[str, ...]) -> None:
    before = (whole / "results.json").read_bytes()
    done = run("compare", dataset, *options, "--out", str(whole))
    assert done.returncode == 2
    assert f"holds the results of kiba-sample, which those of {dataset} would replace" in " ".join(done.stderr.split())
    assert (whole / "results.json").read_bytes() == before


def test_results_of_many_tasks_are_told_from_those_of_interactions(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"title": "adme shared out between 4 partners by scaffold"}')
    refuse_other_results(tmp_path, "adme")
    with pytest.raises(InputError, match="holds the results of adme"):
        refuse_other_results(tmp_path, "kiba-sample")
    (tmp_path / "results.json").write_text("[]")
    refuse_other_results(tmp_path, "kiba-sample")


def test_a_transcript_of_a_run_that_is_finished_without_one_is_refused(whole: Path, tmp_path: Path) -> None:
    done = run("compare", "kiba-sample", *SMALL, "--out", str(whole), "--transcript", str(tmp_path / "seen"))
    assert done.returncode == 2
    assert "has begun without --transcript; use another --out" in " ".join(done.stderr.split())
