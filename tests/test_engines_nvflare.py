"""A federation of real processes with mutual TLS: the same models as in one process, and each failure by its name."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

import nvflare_cases
from nvflare_cases import MAX_FRAME_BYTES, PARTNERS, RESULTS_FILE, ROUNDS, learners_of, plan_of
from pharmonia.bench.simulation import simulate
from pharmonia.engines.nvflare.faultlog import FAULT_LOG
from pharmonia.engines.nvflare.job import Job
from pharmonia.engines.nvflare.local import LocalFederation, Plot
from pharmonia.learn.settings import Aggregation
from pharmonia.run.coordinator import Coordinator
from run_cases import NEVER, open_store

CLASSES = ("nvflare_cases.CaseController", "nvflare_cases.CaseExecutor")
Results = dict[str, object]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("federation")


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    """What the test's coordinator wrote down; the federation runs once, and nothing of it is left after."""
    paths = [str(Path(nvflare_cases.__file__).parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    plot = Plot(
        folder=folder / "federation",
        coordinator=folder / "coordinator",
        sites={name: folder / "sites" / name for name in PARTNERS},
        classes=CLASSES,
        environment={"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        max_frame_bytes=MAX_FRAME_BYTES,
    )
    plot.coordinator.mkdir()
    with LocalFederation(plot) as federation:
        job = Job(run="run", partners=PARTNERS, controller=CLASSES[0], executor=CLASSES[1], n_needed=len(PARTNERS))
        federation.wait(federation.submit(job), timeout_s=300.0)
        processes = federation.processes()
    assert len(processes) >= len(PARTNERS) + 1
    assert not any(process.is_running() for process in processes)
    results: Results = json.loads((plot.coordinator / RESULTS_FILE).read_text(encoding="utf-8"))
    return results


@pytest.mark.parametrize("run", ROUNDS)
def test_a_run_between_processes_gives_the_model_of_the_run_in_one(results: Results, tmp_path: Path, run: str) -> None:
    made = simulate(learners_of(run), Aggregation.SECURE, tmp_path / "home")
    coordinator = Coordinator(plan_of(run), made.sums, open_store(tmp_path), "run", NEVER)
    model = coordinator.train(lambda _: None)
    assert results[run] == hashlib.sha256(model.parameters.tobytes()).hexdigest()


def test_frames_longer_than_a_part_arrive_whole(results: Results) -> None:
    assert results["long"] == [True, True, True]


def test_one_partner_can_be_asked(results: Results) -> None:
    assert results["one"] == "do echo one"


def test_a_partner_who_speaks_in_the_coordinator_s_name_reaches_nobody(results: Results, folder: Path) -> None:
    assert "frame" not in str(results["attack"])
    assert results["after attack"] == "do echo fine"  # a forged request of a high number was not even counted


@pytest.mark.parametrize(
    ("case", "kind", "reason"),
    [
        ("too long", "MessageError", f"Ada: a frame has at most {MAX_FRAME_BYTES} bytes here"),
        ("answer too long", "MessageError", f"the answer has {MAX_FRAME_BYTES + 1}"),
        ("store", "StoreError", "Cleo: The store of runs"),
        ("badly", "EngineError", "Ada: internal error"),
        ("late", "UnreachableError", "Ada: no answer"),
        ("busy", "EngineError", "Ada: still at work"),
        ("run", "MessageError", "Ada: the request belongs to another run"),
        ("task", "MessageError", "Ben: there is no such task"),
    ],
)
def test_what_fails_is_told_by_class_and_partner(results: Results, case: str, kind: str, reason: str) -> None:
    told = results[case]
    assert isinstance(told, list)
    assert told[0] == kind
    assert reason in told[1]


def test_what_failed_is_written_out_at_the_site_alone(results: Results, folder: Path) -> None:
    secrets = ("CC(=O)Oc1ccccc1C(=O)O", "7.3", str(folder / "sites" / "Ada"))
    assert not any(secret in json.dumps(results) for secret in secrets)
    log = (folder / "sites" / "Ada" / FAULT_LOG).read_text(encoding="utf-8")
    assert all(secret in log for secret in secrets)


def test_no_frame_and_no_log_of_a_site_stands_at_the_server(results: Results, folder: Path) -> None:
    kits = folder / "federation" / "kits" / "pharmonia" / "prod_00"
    for path in (kits / "localhost").rglob("*"):
        if path.is_file():
            assert b"CC(=O)" not in path.read_bytes()


BOUND = """
import runpy, time
runpy.run_module = lambda *_, **__: (print("bound", flush=True), time.sleep(600))
from pharmonia.engines.nvflare.child import main
main()
"""
STARTER = f"""
import os, subprocess, sys, time
command = [sys.executable, "-c", {BOUND!r}, str(os.getpid()), "server"]
print(subprocess.Popen(command).pid, flush=True)
time.sleep(600)
"""


def test_a_service_whose_starter_is_gone_already_does_not_begin() -> None:
    command = [sys.executable, "-c", BOUND, str(os.getppid()), "server"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, b"")


def test_services_die_with_whoever_started_them(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert parent.stdout.readline() == "bound\n"
        parent.send_signal(signal.SIGKILL)
    until = time.monotonic() + 60.0
    with suppress(psutil.NoSuchProcess):
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < until, "the service outlived its starter"
