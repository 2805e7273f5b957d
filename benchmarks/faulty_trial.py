"""A trial of real processes whose members can be killed, cut off and filled up; what its ledger and services say of it.

The package is copied first and run from there, so that what is edited meanwhile changes nothing.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

import pharmonia
from pharmonia.base.canonical import Json
from pharmonia.bench.settings import ComparisonSettings
from pharmonia.bench.simulation import interaction_learners, simulate
from pharmonia.bench.sites import partner_share
from pharmonia.cli.operations import Trial, read_trial
from pharmonia.cli.training import settings_of
from pharmonia.deploy.folder import read_manifest
from pharmonia.engines.nvflare.federation_state import Phase, ServiceState, processes_in, read_state
from pharmonia.governance.events import Event, Failed, FailureCode, RoundAggregated, RoundOpened
from pharmonia.governance.ledger import decode_entry
from pharmonia.governance.plan import Tier
from pharmonia.learn.settings import Aggregation
from pharmonia.run.coordinator import Coordinator
from pharmonia.run.documents import read_plan
from pharmonia.run.ledgerfile import ENTRIES, read_lines
from pharmonia.run.records import Performance, TrainedModel, TrainingPlan
from pharmonia.run.store import RunStore
from relay import Relay
from small_disks import small_disk

COORDINATOR = "coordinator"
SMALL_DISK_MB = 1200  # preflight wants 1 GB free
WITHIN_S = 300.0  # machines may be busy; a run of these settings takes some seconds
_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}  # of PyTorch: those that wait leave the cores to others
_MAIN = "from pharmonia.cli.main import main; main()"
_MAKE = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from pharmonia.cli import operations
from pharmonia.cli.training import settings_of
from pharmonia.governance.plan import Tier
folder, host, settings = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
operations.HOST = host
operations.make_trial(folder, settings_of("kiba-sample", **settings), Tier(sys.argv[4]), {}, datetime.now(UTC))
"""


def settings_tree(n_partners: int, rounds: int) -> dict[str, Json]:
    """What is trained: small, so that time goes into faults."""
    return {
        "n_partners": n_partners,
        "partition": "target",
        "split": "random",
        "n_seeds": 1,
        "local": {
            "model": "ligand-only",
            "norm": "batch",
            "optimiser": "adam",
            "learning_rate": 5e-4,
            "batch_size": 256,
            "local_epochs": 1,
        },
        "method": "fedavg",
        "aggregation": "secure",
        "schedule": {"rounds": rounds, "patience": 1000},
    }


def settings(n_partners: int, rounds: int) -> ComparisonSettings:
    """The same as an object."""
    return settings_of("kiba-sample", **settings_tree(n_partners, rounds))  # type: ignore[arg-type]


class NotWithinError(Exception):
    """What was awaited has not come."""


def until(what: str, is_so: Callable[[], bool], within_s: float = WITHIN_S) -> float:
    """Seconds until it is so."""
    started = time.monotonic()
    while not is_so():
        if time.monotonic() - started > within_s:
            raise NotWithinError(f"not within {within_s:g} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - started


@dataclass
class FaultyTrial:
    """A trial; made by `faulty_trial`.

    Args:
        folder: The trial's.
        package: Folder of the copied package.
        prefixes: By member, what its service's command is preceded by (a network namespace, say).
    """

    folder: Path
    package: Path
    prefixes: Mapping[str, Sequence[str]]
    _started: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def trial(self) -> Trial:
        """What lies in the folder."""
        return read_trial(self.folder)

    def do(self, *arguments: str) -> str:
        """What a command prints."""
        return run_copy(self.package, _MAIN, *arguments)

    def launch(self, member: str) -> None:
        """Start a member's service, as systemd would."""
        place, side = self.folder / member, "coordinator" if member == COORDINATOR else "party"
        command = [*self.prefixes.get(member, ()), sys.executable, "-c", _MAIN, side, "start", str(place)]
        with (place / "service.log").open("ab") as log, (place / "service.err").open("ab") as console:
            self._started.append(
                subprocess.Popen(
                    command,
                    env=environment(self.package),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=console,
                    start_new_session=True,
                )
            )

    def launch_all(self) -> None:
        """Start every member's service."""
        for member in self.trial.members:
            self.launch(member)

    def end(self) -> None:
        """End every process of the trial."""
        self.do("down", str(self.folder))
        for process in self._started:
            process.wait(timeout=30)

    def log(self) -> str:
        """What the coordinator's service said so far."""
        return (self.folder / COORDINATOR / "service.log").read_text(encoding="utf-8")

    def ledger(self, member: str) -> Path:
        """Folder of a member's copy of the ledger."""
        return self.folder / member / ("coordinator-ledger" if member == COORDINATOR else "ledger")

    def events(self, member: str = COORDINATOR) -> list[Event]:
        """What stands on a member's copy of the ledger."""
        path = self.ledger(member) / ENTRIES
        lines = [line for line in read_lines(path) if line.endswith(b"\n")] if path.exists() else []
        return [event for line in lines for event in decode_entry(line[:-1]).events]

    def n_rounds(self) -> int:
        """Rounds that the ledger has as finished, those that were repeated counted again."""
        return sum(isinstance(event, RoundAggregated) for event in self.events())

    def failures(self) -> list[FailureCode]:
        """The failures on the ledger."""
        return [event.code for event in self.events() if isinstance(event, Failed)]

    def cohorts(self) -> list[int]:
        """Partners in the sum of each round, in order."""
        return [len(event.contributors) for event in self.events() if isinstance(event, RoundAggregated)]

    def n_sessions(self) -> int:
        """Sessions of secure aggregation that have a round."""
        return len({event.session for event in self.events() if isinstance(event, RoundOpened)})

    def await_rounds(self, n_more: int) -> float:
        """Seconds until so many more rounds are finished."""
        wanted = self.n_rounds() + n_more
        return until(f"{n_more} more rounds", lambda: self.n_rounds() >= wanted)

    def await_mid_round(self) -> None:
        """Until a round has begun that is not finished."""

        def in_round() -> bool:
            told = [one for one in self.events() if isinstance(one, RoundOpened | RoundAggregated)]
            return bool(told) and isinstance(told[-1], RoundOpened)

        until("a round that has begun", in_round)

    def state_of(self, member: str) -> ServiceState:
        """What a member's service last wrote down."""
        state = read_state(self.folder / member)
        return state or ServiceState(partner=member, phase=Phase.STARTING, pid=0, started=0.0)

    def phase(self, member: str = COORDINATOR) -> Phase:
        """How far a member's service is."""
        return self.state_of(member).phase

    def is_served(self, member: str) -> bool:
        """Whether a member's service lives."""
        return self.state_of(member).process() is not None

    def await_finish(self) -> float:
        """Seconds until the run is finished."""
        return until("the end of the run", lambda: self.phase() is Phase.FINISHED)

    def workers(self, member: str) -> list[psutil.Process]:
        """NVFlare's processes of a member: its service's and its job's."""
        return processes_in(self.trial.kit(member) / ("server" if member == COORDINATOR else "site"))

    def job(self, member: str) -> psutil.Process:
        """The process of a member's job."""
        found: list[psutil.Process] = []

        def is_there() -> bool:
            found[:] = [one for one in self.workers(member) if is_job(one)]
            return bool(found)

        until(f"a job of {member}", is_there)
        return found[0]

    def service(self, member: str) -> psutil.Process:
        """A member's service."""
        state = read_state(self.folder / member)
        process = None if state is None else state.process()
        if process is None:
            raise NotWithinError(f"no service of {member} lives")
        return process

    def kill_all_of(self, member: str) -> None:
        """SIGKILL for the service and all that it started: as if the machine had lost its power."""
        doomed = [self.service(member), *self.workers(member)]
        for process in doomed:
            with suppress(psutil.NoSuchProcess):  # a service takes its processes with it
                process.kill()
        for started in self._started:
            if started.pid == doomed[0].pid:
                started.wait(timeout=15)
        _, left = psutil.wait_procs(doomed, timeout=15)
        if left:
            raise NotWithinError(f"{len(left)} processes of {member} outlived SIGKILL")

    def model(self) -> TrainedModel:
        """What the run gave."""
        home = self.folder / COORDINATOR
        plan = read_plan(home / "plan.json").plan
        return RunStore(f"sqlite:///{home / 'store' / 'runs.sqlite'}", home / "store").model(plan.digest[:16])

    def copies_are_one(self) -> bool:
        """Whether every member has the same ledger, byte for byte."""
        return len({(self.ledger(one) / ENTRIES).read_bytes() for one in self.trial.members}) == 1

    def verify(self, member: str) -> str:
        """What a partner's verification prints; an error if it does not hold."""
        place = self.folder / member
        plan, agreement = str(place / "plan.json"), str(place / "agreement.json")
        return self.do("verify", str(self.ledger(member)), "--agreement", agreement, "--plan", plan)

    def processes_left(self) -> list[int]:
        """Processes whose command names the trial's folder."""
        named = str(self.folder)
        commands = [(one.pid, one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])]
        return [pid for pid, words in commands if pid != os.getpid() and any(named in word for word in words)]


def is_job(process: psutil.Process) -> bool:
    """Whether a process of NVFlare is a job's and not a service."""
    try:
        return any("worker_process" in word or "runner_process" in word for word in process.cmdline())
    except psutil.NoSuchProcess:
        return False


@contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    """A process that lives and does nothing."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def environment(package: Path) -> dict[str, str]:
    """Of a process that runs the copied package."""
    return {**os.environ, "PYTHONPATH": str(package), "PYTHONUNBUFFERED": "1", **_THREADS}


def run_copy(package: Path, code: str, *arguments: str) -> str:
    """What code prints that runs in the copied package.

    Raises:
        RuntimeError: It ended with an error; with what it printed.
    """
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(
        command, env=environment(package), capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


@contextmanager
def faulty_trial(
    root: Path,
    *,
    n_partners: int,
    rounds: int,
    tier: Tier = Tier.COMMIT_THEN_MASK,
    host: str = "localhost",
    small_disks: Sequence[str] = (),
    prefixes: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[FaultyTrial]:
    """A trial whose services are not started yet; at the end all of its processes are.

    Args:
        root: An empty folder.
        n_partners: Besides the coordinator.
        rounds: Of the plan.
        tier: Whether the run waits for a lost partner.
        host: Under which sites reach the server.
        small_disks: Members whose folder is on a small disk.
        prefixes: As `FaultyTrial`.
    """
    package = root / "package"
    shutil.copytree(Path(pharmonia.__file__).parent, package / "pharmonia", ignore=shutil.ignore_patterns("*.pyc"))
    folder = root / "trial"
    run_copy(package, _MAKE, str(folder), host, json.dumps(settings_tree(n_partners, rounds)), tier.value)
    made = FaultyTrial(folder=folder.resolve(), package=package, prefixes=prefixes or {})
    with ExitStack() as disks:
        for member in small_disks:
            disks.enter_context(small_disk(made.folder / member, SMALL_DISK_MB))
        try:
            yield made
        finally:
            made.end()


@contextmanager
def relayed(made: FaultyTrial, member: str) -> Iterator[Relay]:
    """A partner's line to the server goes through a relay; before its service is started."""
    port = read_manifest(made.trial.kit(COORDINATOR)).server.port
    with Relay(("127.0.0.1", port)) as relay:
        place = made.folder / member
        server = f"localhost:{relay.port}"
        made.do("deploy", "kit", str(place / "kit"), "--agreement", str(place / "agreement.json"), "--server", server)
        yield relay


def undisturbed(folder: Path, n_partners: int, rounds: int) -> TrainedModel:
    """The same run in this process, without any fault."""
    same = settings(n_partners, rounds)
    datasets = [(index, partner_share(same, index, f"partner {index + 1}")) for index in range(n_partners)]
    made = simulate(interaction_learners(datasets, same.local, same.method, 0), Aggregation.SECURE, folder)
    store = RunStore(f"sqlite:///{folder / 'runs.sqlite'}", folder)
    plan = TrainingPlan(local=same.local, method=same.method, schedule=same.schedule, seed=0)
    run, sums = "run", made.sums
    store.open_run(run, {}, datetime.now(UTC))
    performance = Performance(checkpoint_every_s=1e9)
    return Coordinator(plan, sums, store, run, performance, made.sum_error).train(lambda _: None)
