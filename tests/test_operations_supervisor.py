"""The coordinator's service with an operator in memory: what it submits again and what it does not; exact."""

import gc
import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import psutil
import pytest
from nvflare.fuel.flare_api.flare_api import Session

from governance_cases import NOW
from pharmonia.base.errors import EngineError, PharmoniaError, RefusedError, UnreachableError
from pharmonia.engines.inprocess import InProcessEngine
from pharmonia.engines.nvflare.attendance import RollCall
from pharmonia.engines.nvflare.controller import FAILED_FILE
from pharmonia.engines.nvflare.federation_state import Phase, read_state
from pharmonia.engines.nvflare.job import Job
from pharmonia.engines.nvflare.service import Service
from pharmonia.engines.nvflare.service_coordinator import Seat, coordinator_figures
from pharmonia.engines.nvflare.service_operator import Operator
from pharmonia.engines.nvflare.supervisor import Endurance, Kind, Station
from pharmonia.nn.choices import Model
from pharmonia.run.records import RoundRecord, TrainedModel
from pharmonia.run.servicelog import Field, Happening, ServiceLog
from run_cases import essence
from site_cases import COORDINATOR, Consortium, fixed_code, history, settings

Attempt = Callable[[RoundRecord], None]


@pytest.fixture(scope="module", autouse=True)
def _code() -> Iterator[None]:
    with fixed_code():
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    chosen = settings()
    small = replace(chosen, local=replace(chosen.local, model=Model.LIGAND_ONLY))
    return Consortium(tmp_path_factory.mktemp("supervised") / "aurora", small, history()).found()


@pytest.fixture(scope="module")
def undisturbed(original: Consortium, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    return original.copied(tmp_path_factory.mktemp("undisturbed") / "aurora").run()


class Quick(threading.Event):
    """Waits for nothing."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


class InMemory:
    """An operator whose jobs run at once, in this process, as the controller would run them."""

    def __init__(self, place: Consortium, attempts: list[Attempt]) -> None:
        self._place = place
        self._attempts = attempts
        self._status: dict[str, str] = {}
        self.model: TrainedModel | None = None
        self.jobs: list[Job] = []

    def connected(self) -> frozenset[str]:
        return frozenset(self._place.signed.plan.partners)

    def submit(self, job: Job, folder: Path) -> str:
        self.jobs.append(job)
        job_id = f"job-{len(self.jobs)}"
        self._status[job_id] = "FINISHED:COMPLETED"
        attempt = self._attempts.pop(0)
        try:
            with self._place.sites() as sites:
                self.model = self._place.coordinate(InProcessEngine(sites), attempt)
        except PharmoniaError as error:
            (self._place.folder / COORDINATOR / FAILED_FILE).write_text(f"{type(error).__name__}: {error}\n")
            self._status[job_id] = "FINISHED:ABORTED"
        return job_id

    def status(self, job_id: str) -> str:
        return self._status[job_id]

    def roll_call(self, job_id: str) -> RollCall:
        return RollCall(at_work=self.connected(), answering=self.connected())

    def abort(self, job_id: str) -> None:
        self._status[job_id] = "FINISHED:ABORTED"


def lost(record: RoundRecord) -> None:
    raise EngineError("borealis: its process is gone")


def well(record: RoundRecord) -> None:
    """Nothing happens."""


def seat(place: Consortium, n_faults: int = 5) -> tuple[Seat, Service, io.StringIO]:
    folder, stream = place.folder / COORDINATOR, io.StringIO()
    station = Station(
        kind=Kind.SERVER, partner=COORDINATOR, folder=folder, kit=folder / "kit", host="localhost", port=1
    )
    log = ServiceLog(stream, COORDINATOR, lambda: NOW)
    service = Service(station, Endurance(n_faults=n_faults, first_wait_s=0.0), log, Quick())
    return Seat(service), service, stream


def told(stream: io.StringIO) -> list[str]:
    return [json.loads(line)["event"] for line in stream.getvalue().splitlines()]


def test_a_run_that_failed_is_submitted_again_and_is_exact(
    original: Consortium, undisturbed: TrainedModel, tmp_path: Path
) -> None:
    place = original.copied(tmp_path / "aurora")
    at_work, service, stream = seat(place)
    operator = InMemory(place, [lost, lost, well])
    for _ in range(4):
        at_work.step(operator)
    assert operator.model is not None
    assert essence(operator.model) == essence(undisturbed)
    np.testing.assert_array_equal(operator.model.parameters, undisturbed.parameters)
    assert [told(stream).count(one) for one in ("run.submitted", "run.failed", "run.finished")] == [3, 2, 1]
    assert (service.state.phase, service.state.n_attempts, service.state.error) == (Phase.FINISHED, 3, "")


def test_metrics_leave_no_connection_to_the_store_open(original: Consortium, tmp_path: Path) -> None:
    place = original.copied(tmp_path / "aurora")
    _, service, _ = seat(place)
    gc.collect()
    gc.disable()
    try:
        before = psutil.Process().num_fds()
        names = [{one.name for one in coordinator_figures(service)} for _ in range(5)]
        assert psutil.Process().num_fds() == before
    finally:
        gc.enable()
    assert all({"attempts", "rounds", "rounds_planned"} <= one for one in names)


def test_a_finished_run_is_not_submitted(original: Consortium, tmp_path: Path) -> None:
    place = original.copied(tmp_path / "aurora")
    place.run()
    at_work, service, _ = seat(place)
    operator = InMemory(place, [])
    at_work.step(operator)
    assert (operator.jobs, service.state.phase) == ([], Phase.FINISHED)


def test_a_refused_run_is_not_submitted_again_until_another_plan_lies_there(
    original: Consortium, tmp_path: Path
) -> None:
    place = original.copied(tmp_path / "aurora")
    policy = (place.folder / "borealis" / "policy.json").read_bytes()
    place.revoke("borealis")
    at_work, service, stream = seat(place)
    operator = InMemory(place, [well, well])
    for _ in range(3):
        at_work.step(operator)
    assert (len(operator.jobs), service.state.phase, service.state.error) == (1, Phase.REFUSED, RefusedError.__name__)
    assert told(stream)[-1] == "run.refused"
    written = read_state(place.folder / COORDINATOR)
    assert written is not None
    assert written.phase is Phase.REFUSED
    (place.folder / "borealis" / "policy.json").write_bytes(policy)
    place.file(replace(place.drafted(), version=2))
    at_work.step(operator)
    at_work.step(operator)
    assert len(operator.jobs) == 2
    assert operator.jobs[0].run != operator.jobs[1].run


def test_a_service_gives_up_after_its_faults_and_says_so(original: Consortium, tmp_path: Path) -> None:
    place = original.copied(tmp_path / "aurora")
    at_work, service, stream = seat(place, n_faults=1)
    operator = InMemory(place, [lost, lost])
    at_work.step(operator)
    with pytest.raises(EngineError, match="2 faults within"):
        at_work.step(operator)
    assert service.state.phase is Phase.GIVEN_UP
    assert told(stream)[-1] == "service.given-up"


class Vanishing(InMemory):
    """A partner's process goes away, and NVFlare does not notice."""

    def __init__(self, place: Consortium) -> None:
        super().__init__(place, [])
        self.n_looks = 0
        self.aborted: list[str] = []

    def submit(self, job: Job, folder: Path) -> str:
        self.jobs.append(job)
        self._status["job-1"] = "RUNNING"
        return "job-1"

    def roll_call(self, job_id: str) -> RollCall:
        self.n_looks += 1
        at_work = self.connected() if self.n_looks == 1 else self.connected() - {"borealis"}
        return RollCall(at_work=at_work, answering=at_work)

    def abort(self, job_id: str) -> None:
        super().abort(job_id)
        self.aborted.append(job_id)


def test_a_partner_whose_process_is_gone_ends_the_job(original: Consortium, tmp_path: Path) -> None:
    place = original.copied(tmp_path / "aurora")
    at_work, service, stream = seat(place)
    operator = Vanishing(place)
    at_work.step(operator)
    assert (operator.n_looks, operator.aborted) == (3, ["job-1"])  # there, gone, gone
    assert (told(stream)[-1], service.state.error) == ("run.failed", "UnreachableError")


def test_a_server_that_lives_and_fails_its_operator_is_a_fault_in_the_log(
    original: Consortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pharmonia.engines.nvflare.service_coordinator._COMES_UP_S", 0.0)
    at_work, service, stream = seat(original.copied(tmp_path / "aurora"), n_faults=1)
    at_work.endure(UnreachableError("the server does not take the job"))
    [line] = map(json.loads, stream.getvalue().splitlines())
    assert (line["event"], line["level"], line["error"]) == ("operator.failed", "warning", "UnreachableError")
    assert service.state.phase is Phase.RESTARTING
    with pytest.raises(EngineError, match="2 faults within"):
        at_work.endure(UnreachableError("the server does not take the job"))


def test_a_server_that_comes_up_is_no_fault(original: Consortium, tmp_path: Path) -> None:
    at_work, _, stream = seat(original.copied(tmp_path / "aurora"), n_faults=0)
    for _ in range(3):
        at_work.endure(UnreachableError("no connection yet"))
    assert stream.getvalue() == ""


class Silent(InMemory):
    """Its server does not answer once, in the middle of a job."""

    def __init__(self, place: Consortium, service: Service) -> None:
        super().__init__(place, [well])
        self._service = service
        self.phases: list[Phase] = []

    def status(self, job_id: str) -> str:
        self.phases.append(self._service.state.phase)
        if len(self.phases) == 1:
            raise UnreachableError("the server does not answer its operator")
        return super().status(job_id)


def test_a_job_is_seen_to_its_end_after_its_server_did_not_answer(original: Consortium, tmp_path: Path) -> None:
    place = original.copied(tmp_path / "aurora")
    at_work, service, stream = seat(place)
    operator = Silent(place, service)
    with pytest.raises(UnreachableError) as caught:
        at_work.step(operator)
    service.rest(Happening.OPERATOR_FAILED, {Field.ERROR: type(caught.value).__name__})
    assert service.state.phase is Phase.RESTARTING
    at_work.step(operator)
    assert operator.phases == [Phase.RUNNING, Phase.RUNNING]
    assert (len(operator.jobs), told(stream)[-1]) == (1, "run.finished")


class Takes:
    """A session of NVFlare's that notes what it is handed."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def submit_job(self, path: str) -> str:
        self.paths.append(path)
        return "job-1"


def test_a_job_of_a_relative_folder_is_handed_over_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    session = Takes()
    job = Job(run="0" * 16, partners=("acme",), controller="a.B", executor="a.C", n_needed=1)
    assert Operator(cast("Session", session)).submit(job, Path("jobs")) == "job-1"
    assert [Path(path) for path in session.paths] == [tmp_path / "jobs" / "pharmonia"]
