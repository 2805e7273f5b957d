"""One federation of real processes: killed on both sides in mid-run, resumed, the same to the bit as one process."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

import pharmonia
from pharmonia.bench.simulation import interaction_learners, simulate
from pharmonia.bench.sites import partner_share
from pharmonia.cli.operations import Trial, read_trial
from pharmonia.cli.training import settings_of
from pharmonia.engines.nvflare.federation_state import is_alive, processes_in, read_state
from pharmonia.governance.events import Event, Failed, RoundAggregated, RoundOpened
from pharmonia.governance.ledger import decode_entry
from pharmonia.learn.settings import Aggregation
from pharmonia.run.coordinator import Coordinator
from pharmonia.run.datasets import load
from pharmonia.run.documents import read_plan
from pharmonia.run.ledgerfile import ENTRIES, read_lines
from pharmonia.run.records import TrainedModel, TrainingPlan
from pharmonia.run.store import RunStore
from run_cases import NEVER, NOW, essence

PAGE = (Path(__file__).parents[1] / "docs" / "operations.md").read_text(encoding="utf-8")
LINES = [
    shlex.split(line.removeprefix("$ pharmonia "))
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]
ROUNDS = 24  # a third of a second each: the run must not end before all that is killed is
NO_WAY_OUT = dict.fromkeys(("https_proxy", "http_proxy"), "http://127.0.0.1:9")  # a proxy that is not there
WITHIN_S = 240.0  # this machine may be busy; a run takes a few seconds
SETTINGS = settings_of(
    "kiba-sample",
    n_partners=2,
    partition="target",
    split="random",
    n_seeds=1,
    local={
        "model": "ligand-only",
        "norm": "batch",
        "optimiser": "adam",
        "learning_rate": 5e-4,
        "batch_size": 256,
        "local_epochs": 1,
    },
    method="fedavg",
    aggregation="secure",
    schedule={"rounds": ROUNDS, "patience": 60},
)


@dataclass(frozen=True)
class Said:
    """What a command left."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Place:
    """A trial, and the package as it was when the tests began, whatever is edited meanwhile."""

    folder: Path
    package: Path

    @property
    def trial(self) -> Trial:
        return read_trial(self.folder)

    @property
    def ledger(self) -> Path:
        return self.folder / "coordinator" / "coordinator-ledger"

    def do(self, *arguments: str) -> Said:
        code = "from pharmonia.cli.main import main; main()"
        environment = {**os.environ, **NO_WAY_OUT, "PYTHONPATH": str(self.package), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder.parent,
            env=environment,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def events(self, folder: Path) -> list[Event]:
        path = folder / ENTRIES
        lines = [line for line in read_lines(path) if line.endswith(b"\n")] if path.exists() else []
        return [event for line in lines for event in decode_entry(line[:-1]).events]

    def n_rounds(self) -> int:
        return sum(isinstance(event, RoundAggregated) for event in self.events(self.ledger))

    def went_on(self) -> bool:
        """Whether the last failure was followed by a round."""
        told = [one for one in self.events(self.ledger) if isinstance(one, Failed | RoundAggregated)]
        failed = [at for at, one in enumerate(told) if isinstance(one, Failed)]
        return bool(failed) and failed[-1] + 1 < len(told)

    def workers(self, member: str) -> list[psutil.Process]:
        return left_of(self.folder, member)

    def service(self, member: str) -> psutil.Process:
        state = read_state(self.folder / member)
        process = None if state is None else state.process()
        assert process is not None
        return process

    def log(self, member: str) -> list[dict[str, str | int]]:
        return [json.loads(line) for line in (self.folder / member / "service.log").read_text().splitlines()]


def until(what: str, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not is_so():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {WITHIN_S:g} s: {what}")
        time.sleep(0.1)


def left_of(folder: Path, member: str) -> list[psutil.Process]:
    return processes_in(folder / member / "kit" / ("server" if member == "coordinator" else "site"))


def page(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return int(error.code), error.read().decode()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A finished run: a partner's process was killed in it, and then the coordinator's service and all it had."""
    root = tmp_path_factory.mktemp("operations")
    shutil.copytree(Path(pharmonia.__file__).parent, root / "package" / "pharmonia")
    place = Place(root / "trial", root / "package")
    try:
        began = place.do(*(word for word in LINES[0] if word != "--wait"))
        assert began.code == 0, began.err
        until("a first round", lambda: place.n_rounds() >= 1)
        for process in place.workers("partner-02"):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        until("a round after a partner was killed", place.went_on)
        assert place.n_rounds() < ROUNDS
        service, server = place.service("coordinator"), place.workers("coordinator")
        service.kill()
        until("the end of the coordinator's processes", lambda: not any(map(is_alive, [service, *server])))
        again = place.do("up", str(place.folder), "--wait")
        assert again.code == 0, again.err
        yield place
    finally:
        if place.folder.exists():
            place.do("down", str(place.folder))


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    """The same run as a comparison makes it, in this process."""
    folder = tmp_path_factory.mktemp("bench")
    datasets = [(index, partner_share(SETTINGS, index, f"partner {index + 1}")) for index in range(2)]
    made = simulate(interaction_learners(datasets, SETTINGS.local, SETTINGS.method, 0), Aggregation.SECURE, folder)
    store = RunStore(f"sqlite:///{folder / 'runs.sqlite'}", folder)
    store.open_run("run", {}, NOW)
    plan = TrainingPlan(local=SETTINGS.local, method=SETTINGS.method, schedule=SETTINGS.schedule, seed=0)
    return Coordinator(plan, made.sums, store, "run", NEVER, made.sum_error).train(lambda record: None)


def test_a_run_killed_on_both_sides_ends_bit_for_bit_as_one_that_was_not(done: Place, in_process: TrainedModel) -> None:
    home = done.folder / "coordinator"
    plan = read_plan(home / "plan.json").plan
    model = RunStore(f"sqlite:///{home / 'store' / 'runs.sqlite'}", home / "store").model(plan.digest[:16])
    np.testing.assert_array_equal(model.parameters, in_process.parameters)
    assert essence(model) == essence(in_process)


def test_the_ledger_tells_of_every_failure_and_of_going_on(done: Place) -> None:
    events = done.events(done.ledger)
    failures = [at for at, event in enumerate(events) if isinstance(event, Failed)]
    sessions = {event.session for event in events if isinstance(event, RoundOpened)}
    assert len(failures) >= 2  # the partner's, and the coordinator's own
    assert len(sessions) >= 3
    assert any(isinstance(event, RoundOpened) for event in events[failures[-1] :])


def test_every_copy_is_the_same_and_verifies_at_a_partner(done: Place) -> None:
    copies = [done.folder / partner / "ledger" for partner in done.trial.partners]
    assert {(copy / ENTRIES).read_bytes() for copy in copies} == {(done.ledger / ENTRIES).read_bytes()}
    agreement = done.folder / "partner-01" / "agreement.json"
    plan = done.folder / "partner-01" / "plan.json"
    verified = done.do("verify", str(copies[0]), "--agreement", str(agreement), "--plan", str(plan))
    assert verified.code == 0, verified.out + verified.err


def test_logs_hold_no_structure_sequence_or_value_of_the_data(done: Place) -> None:
    table = load("kiba-sample").interactions
    said = b"".join(
        path.read_bytes()
        for pattern in ("*/service.log", "*/service.err", "*/faults.log", "*/failed.txt", "*/kit/*/console.txt*")
        for path in done.folder.glob(pattern)
    )
    said += b"".join(path.read_bytes() for path in done.folder.glob("*/kit/*/log*.txt"))
    assert said
    assert not [text for text in (*table.smiles, *table.sequences) if len(text) > 3 and text.encode() in said]


def test_logs_are_lines_of_json_that_tell_what_happened(done: Place) -> None:
    told = [line["event"] for line in done.log("coordinator")]
    assert told.count("run.submitted") >= 3
    assert "run.failed" in told
    assert told[-1] == "run.finished"
    assert "process.ended" in [line["event"] for line in done.log("partner-02")]
    assert {line["service"] for line in done.log("partner-02")} == {"partner-02"}


def test_status_says_where_everything_stands(done: Place) -> None:
    status = json.loads(done.do("status", str(done.folder), "--json").out)
    assert status["run"]["is_finished"]
    assert status["run"]["n_rounds"] == ROUNDS
    assert status["run"]["valid_error"] > 0
    assert [one["partner"] for one in status["members"]] == ["coordinator", "partner-01", "partner-02"]
    assert len({one["ledger"]["root"] for one in status["members"]}) == 1
    assert all(one["pid"] and one["memory_bytes"] > 0 for one in status["members"])


def test_a_partner_s_own_checks_pass_while_the_server_is_up(done: Place) -> None:
    checked = done.do("party", "check", str(done.folder / "partner-01"))
    assert checked.code == 0, checked.out + checked.err
    assert done.do("coordinator", "preflight", str(done.folder / "coordinator")).code == 0


def test_a_second_service_of_a_folder_is_refused(done: Place) -> None:
    second = done.do("party", "start", str(done.folder / "partner-01"))
    assert second.code == 2
    assert "served by another process" in second.err


def test_other_options_than_the_trial_was_made_with_are_refused(done: Place) -> None:
    other = done.do("up", str(done.folder), "--rounds", "7")
    assert other.code == 2
    assert f"has --rounds {ROUNDS}, not 7" in " ".join(other.err.split())


def test_every_line_of_the_guide_does_what_it_says(done: Place) -> None:
    """The run was begun with the guide's first line, and is finished: the others find it so."""
    assert LINES[0][:2] == ["up", done.folder.name]
    for line in LINES:
        said = done.do(*line)
        assert said.code == 0, (line, said.out, said.err)


def test_down_leaves_no_process_and_up_afterwards_finds_the_run_finished(done: Place) -> None:
    assert done.do("down", str(done.folder)).code == 0
    left = [
        one for one in psutil.process_iter(["cmdline"]) if any(str(done.folder) in w for w in one.info["cmdline"] or ())
    ]
    assert not left
    assert json.loads(done.do("status", str(done.folder), "--json").out)["members"][0]["phase"] == "stopped"
    assert [line["event"] for line in done.log("partner-01")][-1] == "service.stopped"


def test_a_service_in_the_foreground_says_how_it_is_and_ends_by_sigterm(done: Place) -> None:
    done.do("down", str(done.folder))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = "from pharmonia.cli.main import main; main()"
    command = [sys.executable, "-c", code, "party", "start", str(done.folder / "partner-01"), "--health", str(port)]
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(done.package)}, stdout=subprocess.PIPE, text=True
    ) as service:
        until("its process", lambda: bool(done.workers("partner-01")))
        assert page(port, "/healthz") == (200, "ok\n")
        assert page(port, "/readyz")[0] == 503  # there is no server
        assert 'pharmonia_connected{service="partner-01"} 0.0' in page(port, "/metrics")[1]
        service.send_signal(signal.SIGTERM)
        assert service.wait(timeout=60) == 0
    assert not done.workers("partner-01")


def test_ctrl_c_ends_everything_and_leaves_what_goes_on(done: Place, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # ignored in a shell's background
    code = f"{heard}; from pharmonia.cli.main import main; main()"
    command = [sys.executable, "-c", code, "up", str(folder), "--partners", "2", "--model", "ligand-only"]
    environment = {**os.environ, "PYTHONPATH": str(done.package)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as up:
        until("the services", (folder / "coordinator" / "service.json").exists)
        up.send_signal(signal.SIGINT)
        assert up.wait(timeout=90) == 130
        assert up.stderr is not None
        assert "goes on" in up.stderr.read()
    left = [one for one in psutil.process_iter(["cmdline"]) if any(str(folder) in w for w in one.info["cmdline"] or ())]
    assert not left
    assert json.loads(done.do("status", str(folder), "--json").out)["run"]["n_rounds"] == 0
    (folder / "partner-01" / "kit" / "site" / "startup" / "client.key").chmod(0o644)
    failed = done.do("up", str(folder))
    assert failed.code == 5
    assert "the service of partner-01 ended with exit code 2" in " ".join(failed.err.split())
    assert not [one for member in ("coordinator", "partner-01", "partner-02") if (one := left_of(folder, member))]
