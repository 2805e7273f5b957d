"""Answers that come late or twice, full disks, and a server that is silent for a while, without processes."""

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from nvflare.apis.shareable import ReservedHeaderKey, Shareable
from nvflare.apis.signal import Signal
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.message import Message

from governance_cases import OWNERS
from pharmonia.base.errors import DiskFullError, EngineError, InputError, UnreachableError
from pharmonia.engines.nvflare import controller
from pharmonia.engines.nvflare.controller import LOST_FILE, PushLink
from pharmonia.engines.nvflare.desk import Desk, Question
from pharmonia.engines.nvflare.engine import Limits, NvflareEngine
from pharmonia.engines.nvflare.faultlog import FAULT_LOG
from pharmonia.engines.nvflare.federation_state import Phase
from pharmonia.engines.nvflare.service_coordinator import Ending, Verdict
from pharmonia.engines.nvflare.wire import BODY, FIELDS, Form, Reply, Request, Task
from pharmonia.governance.events import Failed, FailureCode
from pharmonia.nn.choices import Model
from pharmonia.run.files import cannot_write, write_private
from pharmonia.run.records import RoundRecord, TrainedModel
from pharmonia.run.seat import coordinate
from pharmonia.run.site_config import read_coordinator
from run_cases import essence
from site_cases import COORDINATOR, Consortium, fixed_code, history, settings
from test_operations_supervisor import InMemory, lost, seat, told, well

RUN = "run"


@pytest.fixture(scope="module", autouse=True)
def _code() -> Iterator[None]:
    with fixed_code():
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    chosen = settings(rounds=3)
    small = replace(chosen, local=replace(chosen.local, model=Model.LIGAND_ONLY))
    return Consortium(tmp_path_factory.mktemp("late") / "aurora", small, history()).found()


@pytest.fixture(scope="module")
def plain(original: Consortium, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    return original.copied(tmp_path_factory.mktemp("plain") / "aurora").run()


Deliver = Callable[[], Reply]


class Line:
    """Carries requests to the desks of a consortium's sites; once, `bend` says what becomes of one."""

    def __init__(self, place: Consortium, desks: dict[str, Desk]) -> None:
        self._place = place
        self._desks = desks
        self.bend: Callable[[Deliver], Reply] | None = None
        self.victim = OWNERS[1]
        self._one_at_a_time = threading.Lock()  # in one process all sites have PyTorch's one generator

    def ask(self, partner: str, task: Task, request: Request, timeout_s: float) -> Reply:
        def deliver() -> Reply:
            with self._one_at_a_time:
                return self._desks[partner].answer(Question(task=task, peer="pharmonia", request=request))

        if self.bend is not None and partner == self.victim and task is Task.FRAME:
            bend, self.bend = self.bend, None
            return bend(deliver)
        return deliver()


def trained(place: Consortium, bend: Callable[[Deliver], Reply] | None) -> TrainedModel:
    """One attempt of the coordinator over desks; after its first round the line to one partner is bent, once."""
    with place.sites() as sites:
        desks = {
            name: Desk(RUN, "pharmonia", lambda site=site: site, place.folder / name, 1 << 30)  # type: ignore[misc]
            for name, site in sites.items()
        }
        line = Line(place, desks)
        engine = NvflareEngine(line, RUN, OWNERS, Limits())

        def arm(record: RoundRecord) -> None:
            line.bend = bend if record.round_index == 0 else line.bend

        engine.hello(len(engine.partners))
        try:
            config = read_coordinator(place.folder / COORDINATOR)
            return coordinate(config, engine, engine, place.now, arm)
        finally:
            engine.close()


def late(deliver: Deliver) -> Reply:
    """The party answers, and nobody waits for it any more."""
    deliver()
    raise UnreachableError(f"{OWNERS[1]}: no answer to frame within 600 s")


def twice(deliver: Deliver) -> Reply:
    """The request arrives a second time."""
    first = deliver()
    again = deliver()
    assert b"nothing was done" in bytes(again.body)
    return first


def test_an_answer_after_the_time_out_is_of_no_use_and_the_run_goes_on_exactly(
    original: Consortium, plain: TrainedModel, tmp_path: Path
) -> None:
    place = original.copied(tmp_path / "aurora")
    with pytest.raises(UnreachableError, match="no answer"):
        trained(place, late)
    lost = Failed(plan=place.signed.plan.digest, code=FailureCode.PARTNER_LOST)
    assert place.events().count(lost) == 1
    model = trained(place, None)
    np.testing.assert_array_equal(model.parameters, plain.parameters)
    assert essence(model) == essence(plain)
    assert {place.ledger(name).joinpath("entries.jsonl").read_bytes() for name in OWNERS} == {
        place.ledger(COORDINATOR).joinpath("entries.jsonl").read_bytes()
    }
    assert place.verify(OWNERS[1]).failed == ()


def test_a_request_that_arrives_twice_is_done_once(original: Consortium, plain: TrainedModel, tmp_path: Path) -> None:
    place = original.copied(tmp_path / "aurora")
    model = trained(place, twice)
    assert essence(model) == essence(plain)
    assert "ReplayError" in (place.folder / OWNERS[1] / FAULT_LOG).read_text()
    assert not [event for event in place.events() if isinstance(event, Failed)]


# Disks


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_has_an_error_of_its_own_and_any_other_has_not(tmp_path: Path, number: int) -> None:
    assert type(cannot_write(tmp_path, OSError(number, "no room"))) is DiskFullError
    assert type(cannot_write(tmp_path, OSError(errno.EROFS, "read-only"))) is InputError


def test_a_run_that_found_a_disk_full_is_submitted_again() -> None:
    assert Ending(status="FINISHED:ABORTED", error="DiskFullError").verdict() is Verdict.AGAIN
    assert Ending(status="FINISHED:ABORTED", error="InputError").verdict() is Verdict.REFUSED


def test_a_full_disk_at_a_site_is_on_the_ledger_and_the_run_goes_on_exactly(
    original: Consortium, plain: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = original.copied(tmp_path / "aurora")
    with monkeypatch.context() as patch:
        n_written = 0

        def write(path: Path, content: bytes) -> None:
            nonlocal n_written
            n_written += 1
            if n_written > 8:
                raise cannot_write(path, OSError(errno.ENOSPC, "No space left on device"))
            write_private(path, content)

        patch.setattr("pharmonia.run.protection.write_private", write)
        with pytest.raises(DiskFullError, match="A disk is full"):
            trained(place, None)
    assert Failed(plan=place.signed.plan.digest, code=FailureCode.STORAGE_FULL) in place.events()
    assert essence(trained(place, None)) == essence(plain)


# A server that does not answer its operator for a while


class Silent(InMemory):
    """Does not say how the job stands when it is first asked."""

    n_asked = 0

    def status(self, job_id: str) -> str:
        self.n_asked += 1
        if self.n_asked == 1:
            raise UnreachableError("the server does not answer its operator")
        return super().status(job_id)


def test_a_job_is_seen_to_its_end_when_the_server_was_silent_meanwhile(original: Consortium, tmp_path: Path) -> None:
    place = original.copied(tmp_path / "aurora")
    at_work, service, stream = seat(place)
    operator = Silent(place, [well])
    with pytest.raises(UnreachableError):
        at_work.step(operator)
    at_work.step(operator)
    assert (len(operator.jobs), told(stream)[-1], service.state.error) == (1, "run.finished", "")


def test_a_job_whose_server_is_gone_is_forgotten(original: Consortium, tmp_path: Path) -> None:
    place = original.copied(tmp_path / "aurora")
    at_work, service, _ = seat(place)
    operator = Silent(place, [lost, well])
    with pytest.raises(UnreachableError):
        at_work.step(operator)
    at_work.forget()
    at_work.step(operator)
    at_work.step(operator)
    assert (len(operator.jobs), service.state.phase) == (2, Phase.FINISHED)


# A job that is ended while it waits for an answer


class Cell:
    """Carries hellos to a job that has nothing to do; an answer to anything else was lost."""

    def __init__(self) -> None:
        self.never = threading.Event()
        self.n_hellos = 0

    def send_request(self, *, request: Message, **_: object) -> Message:
        if request.payload.get_header(ReservedHeaderKey.TASK_NAME) != Task.HELLO:
            self.never.wait()
        self.n_hellos += 1
        answer = Shareable({FIELDS: Reply(form=Form.FRAME, body=b"").fields(), BODY: b""})
        return Message({MessageHeaderKey.RETURN_CODE: ReturnCode.OK}, answer)


def link(folder: Path, signal: Signal, cell: Cell) -> PushLink:
    context = SimpleNamespace(get_all_public_props=dict, get_job_id=lambda: "job")
    engine = SimpleNamespace(
        get_cell=lambda: SimpleNamespace(core_cell=cell),
        get_client_from_name=lambda name: SimpleNamespace(get_fqcn=lambda: name),
        new_context=lambda: nullcontext(context),
    )
    return PushLink(engine, signal, folder)


FRAME = Request(run=RUN, number=1, start=0, length=0, part=b"")


@pytest.mark.parametrize(("gone", "kind"), [("", EngineError), ("partner-02", UnreachableError)])
def test_a_job_that_is_ended_while_it_waits_says_why(tmp_path: Path, gone: str, kind: type[EngineError]) -> None:
    if gone:
        (tmp_path / LOST_FILE).write_text(gone)
    signal, cell = Signal(), Cell()
    ending = threading.Timer(0.2, signal.trigger, ["ended"])
    ending.start()
    with pytest.raises(kind) as caught:
        link(tmp_path, signal, cell).ask("partner-01", Task.FRAME, FRAME, 600.0)
    cell.never.set()
    assert type(caught.value) is kind
    assert gone in str(caught.value)


def test_an_answer_that_was_lost_is_not_waited_for_until_the_time_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "_LOOK_S", 0.01)
    monkeypatch.setattr(controller, "_IDLE_LOOK_S", 0.05)
    cell = Cell()
    with pytest.raises(UnreachableError, match="partner-01: is idle"):
        link(tmp_path, Signal(), cell).ask("partner-01", Task.FRAME, FRAME, 600.0)
    cell.never.set()
    assert cell.n_hellos == 3
