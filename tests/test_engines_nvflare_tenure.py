"""A job's hold on a site's folder: one desk, and a lock that is given back after the last frame."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_context import FLContext

from governance_cases import NOW, OWNERS, key_of
from nvflare_cases import CaseExecutor
from pharmonia.base.errors import EngineError, LedgerBusyError
from pharmonia.engines.nvflare.conduct_site import SiteExecutor
from pharmonia.engines.nvflare.executor import SITE_FOLDER
from pharmonia.engines.nvflare.tenure import Tenant, Tenure
from pharmonia.governance.events import PlanFiled
from pharmonia.governance.ledger import sign_entry
from pharmonia.run.ledger_frames import CopyState, Take, decode, encode
from pharmonia.run.ledgerfile import open_ledger
from site_cases import COORDINATOR, Consortium, fixed_code, history, settings

WAIT_S = 20.0


class Slow:
    """A party at work until it is told to go on."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def handle(self, frame: bytes) -> bytes:
        self.begun.set()
        self.go_on.wait(WAIT_S)
        return frame


def test_an_idle_party_is_closed_with_its_job_and_once() -> None:
    tenure, closed = Tenure(), list[str]()
    with tenure.at_work() as opened:
        opened.callback(closed.append, "site")
    assert not closed
    for _ in range(2):
        tenure.end()
        assert closed == ["site"]


def test_a_party_at_work_is_closed_when_it_is_done() -> None:
    tenure, party, closed = Tenure(), Slow(), list[str]()
    with tenure.at_work() as opened:
        opened.callback(closed.append, "site")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(Tenant(party, tenure).handle, b"?")
        assert party.begun.wait(WAIT_S)
        tenure.end()
        assert not closed
        party.go_on.set()
        assert answer.result(WAIT_S) == b"?"
    assert closed == ["site"]


def test_what_is_opened_while_the_job_ends_is_closed_too() -> None:
    tenure, closed = Tenure(), list[str]()
    with tenure.at_work() as opened:
        tenure.end()
        opened.callback(closed.append, "site")
        assert not closed
    assert closed == ["site"]


def test_nothing_is_begun_after_the_end() -> None:
    tenure, party = Tenure(), Slow()
    tenure.end()
    with pytest.raises(EngineError, match="has ended"):
        Tenant(party, tenure).handle(b"?")
    with pytest.raises(EngineError, match="has ended"), tenure.at_work():
        pass
    assert not party.begun.is_set()


# A site


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    with fixed_code():
        yield Consortium(tmp_path_factory.mktemp("tenure") / "aurora", settings(), history()).found()


def filed(place: Consortium, number: int) -> bytes:
    """A frame with the coordinator's entry of that number."""
    ledger = place.history.versions[0].agreement.digest
    events = (PlanFiled(plan=f"{number:064x}"),)
    entry = sign_entry(ledger=ledger, number=number, at=NOW, events=events, key=key_of(COORDINATOR))
    return encode(Take(start=number, entries=(entry,)))


def is_locked(place: Consortium, owner: str) -> bool:
    try:
        with open_ledger(place.ledger(owner), place.history.versions[0].agreement.digest):
            return False
    except LedgerBusyError:
        return True


@pytest.mark.parametrize("event", [EventType.END_RUN, EventType.ABORT_TASK])
def test_the_ledger_stays_locked_while_a_late_frame_writes_it_after_the_end_of_the_job(
    place: Consortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: str
) -> None:
    here, owner, real = place.copied(tmp_path / "aurora"), OWNERS[0], os.fsync
    executor = SiteExecutor("run")
    party = executor.open_party(here.folder / owner)
    assert isinstance(decode(party.handle(filed(here, 0))), CopyState)
    begun, go_on = threading.Event(), threading.Event()

    def slow(descriptor: int) -> None:
        begun.set()
        go_on.wait(WAIT_S)
        real(descriptor)

    with ThreadPoolExecutor(1) as pool, monkeypatch.context() as patch:
        patch.setattr(os, "fsync", slow)
        late = pool.submit(party.handle, filed(here, 1))
        assert begun.wait(WAIT_S)
        with ThreadPoolExecutor(1) as ending:
            ended = ending.submit(executor.handle_event, event, FLContext())
            with suppress(TimeoutError):
                ended.result(0.5)
            was_locked = is_locked(here, owner)
            go_on.set()
        assert was_locked
        state = decode(late.result(WAIT_S))
    assert isinstance(state, CopyState)
    assert state.size == 2
    assert not is_locked(here, owner)
    with pytest.raises(EngineError, match="has ended"):
        party.handle(filed(here, 2))


# Two tasks at once


class Meeting:
    """NVFlare's engine, at which threads that make a desk at the same time meet."""

    def __init__(self, n: int) -> None:
        self._barrier = threading.Barrier(n)

    @property
    def client(self) -> SimpleNamespace:
        with suppress(threading.BrokenBarrierError):
            self._barrier.wait(0.5)
        return SimpleNamespace(servers=("pharmonia",))


def test_tasks_that_come_at_once_find_one_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SITE_FOLDER, str(tmp_path))
    executor, engine = CaseExecutor("run"), Meeting(2)
    make: Callable[..., object] = executor._open_desk
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(make, [SimpleNamespace(get_engine=lambda: engine)] * 2)
    assert first is second
