"""What ends a run: its code on the ledger, refusals beside other faults, and the error itself when the ledger fails."""

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from governance_cases import OWNERS
from pharmonia.base.errors import (
    DataFileError,
    DiskFullError,
    EngineError,
    LedgerBusyError,
    UnreachableError,
    UpdateError,
)
from pharmonia.governance.events import Failed, FailureCode, PlanRefused
from pharmonia.governance.plan import Tier
from pharmonia.governance.terms import RefusalCode
from pharmonia.run.chronicle import Chronicle
from pharmonia.run.chronicled import Chronicled
from pharmonia.run.engine import Arrived, Exchange, OnReply
from pharmonia.run.refusals import Refusal, encode_refusal
from pharmonia.secagg.messages import encode as encode_secure
from test_run_copies import Line, Place, begin, header


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def ends_with(writing: Chronicle, error: BaseException) -> None:
    with writing.recording():
        raise error


def failures(place: Place) -> list[FailureCode]:
    return [event.code for event in place.events() if isinstance(event, Failed)]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DiskFullError("no room"), FailureCode.STORAGE_FULL),
        (OSError(errno.ENOSPC, "no room"), FailureCode.STORAGE_FULL),
        (OSError(errno.EDQUOT, "no room"), FailureCode.STORAGE_FULL),
        (OSError(errno.EIO, "broken"), FailureCode.INTERRUPTED),
        (DataFileError("row 3"), FailureCode.INTERRUPTED),
        (LedgerBusyError("another process"), FailureCode.INTERRUPTED),
        (UpdateError("inf"), FailureCode.DIVERGED),
        (EngineError("fell over"), FailureCode.ENGINE_STOPPED),
        (UnreachableError("away"), FailureCode.PARTNER_LOST),
        (KeyboardInterrupt(), FailureCode.INTERRUPTED),
    ],
    ids=repr,
)
def test_a_run_that_ended_says_why_in_the_code_that_fits(place: Place, error: BaseException, code: FailureCode) -> None:
    with place.open() as (writing, lines):
        begin(writing, lines)
        with pytest.raises(type(error)):
            ends_with(writing, error)
    assert failures(place) == [code]
    assert place.is_same(*OWNERS)


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_ledger_without_room_does_not_hide_what_ended_the_run(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with place.open() as (writing, lines):
        begin(writing, lines)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(EngineError, match="fell over") as caught:
                ends_with(writing, EngineError("fell over"))
    assert "No space left" in "".join(caught.value.__notes__)
    assert failures(place) == []
    with place.open() as (writing, lines):
        begin(writing, lines)
        with writing.recording():
            pass
    assert place.verify().failed == ()


def test_a_ledger_interrupted_in_mid_write_says_so_and_opens_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C comes while a round's opening goes to the disk."""
    real, n_written = os.fsync, 0

    def first_is_interrupted(descriptor: int) -> None:
        nonlocal n_written
        n_written += 1
        real(descriptor)
        if n_written == 1:
            raise KeyboardInterrupt

    with place.open() as (writing, lines):
        begin(writing, lines)
        chronicled = Chronicled(Answering({}), writing, OWNERS, masked=True)

        def run() -> None:
            with writing.recording():
                monkeypatch.setattr(os, "fsync", first_is_interrupted)
                chronicled.carry(dict.fromkeys(OWNERS, encode_secure(header())), ignore)

        with pytest.raises(KeyboardInterrupt):
            run()
    assert failures(place) == [FailureCode.INTERRUPTED]
    with place.open() as (writing, lines):
        begin(writing, lines)
    assert place.is_same(*OWNERS)
    assert place.verify().failed == ()


# Refusals


def ignore(name: str, reply: object) -> None:
    """An answer that nobody waits for."""


class Answering:
    """An engine whose partners answer as told, and that then fails as told."""

    def __init__(self, answers: Mapping[str, Callable[[], bytes]], error: BaseException | None = None) -> None:
        self._answers = answers
        self._error = error

    @property
    def partners(self) -> tuple[str, ...]:
        return OWNERS

    def carry(self, frames: Mapping[str, bytes], on_reply: OnReply) -> Exchange:
        for name, answer in self._answers.items():
            on_reply(name, Arrived(answer()))
        if self._error is not None:
            raise self._error
        return Exchange(replies=(), bytes_to_partners=0, bytes_from_partners=0, wall_s=0.0, cpu_s=0.0)


def refusing(place: Place, line: Line) -> Callable[[], bytes]:
    def refuse() -> bytes:
        witness = line.witness
        entry = witness.state([PlanRefused(plan=place.plan.digest, code=RefusalCode.TOO_FEW_PARTNERS)], place.now())
        return encode_refusal(Refusal(entry=entry, reason=f"{line.partner} refuses"))

    return refuse


def n_refusals(place: Place) -> int:
    return sum(isinstance(event, PlanRefused) for event in place.events())


@pytest.mark.parametrize(
    "error", [UnreachableError("away"), EngineError("cygnus: fault"), KeyboardInterrupt()], ids=repr
)
def test_a_refusal_is_on_the_ledger_when_another_partner_fails_in_the_same_exchange(
    place: Place, error: BaseException
) -> None:
    with place.open() as (writing, lines):
        begin(writing, lines)
        answers = {name: refusing(place, lines[name]) for name in OWNERS[:2]}
        chronicled = Chronicled(Answering(answers, error), writing, OWNERS, masked=True)

        def run() -> None:
            with writing.recording():
                chronicled.carry(dict.fromkeys(OWNERS, encode_secure(header())), ignore)

        with pytest.raises(type(error)):
            run()
    assert n_refusals(place) == 2
    assert len(failures(place)) == 1
    assert place.is_same(*OWNERS)
    assert place.verify().failed == ()


def test_a_refusal_that_no_copy_takes_keeps_neither_the_others_nor_the_fault_back(place: Place) -> None:
    with place.open() as (writing, lines):
        begin(writing, lines)
        first, second = OWNERS[:2]
        answers = {first: refusing(place, lines[second]), second: refusing(place, lines[second])}  # said twice
        chronicled = Chronicled(Answering(answers, EngineError("fault")), writing, OWNERS, masked=True)
        with pytest.raises(EngineError, match="fault"):
            chronicled.carry(dict.fromkeys(OWNERS, encode_secure(header())), ignore)
    assert n_refusals(place) == 1


def test_all_refusals_of_an_exchange_are_on_our_copy_where_another_copy_is_away(tmp_path: Path) -> None:
    place = Place(tmp_path, tier=Tier.COMMIT_THEN_MASK)
    with place.open() as (writing, lines):
        begin(writing, lines)

        def cut() -> bytes:
            lines[OWNERS[2]].cut_at = "take"
            return b"short"

        answers = {**{name: refusing(place, lines[name]) for name in OWNERS[:2]}, OWNERS[2]: cut}
        chronicled = Chronicled(Answering(answers), writing, OWNERS, masked=True)
        with pytest.raises(UnreachableError, match="is away"):
            chronicled.carry(dict.fromkeys(OWNERS, encode_secure(header())), ignore)
    assert n_refusals(place) == 2
