"""Among whom contributions were summed: stated once, kept on the disk, and never stated otherwise."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pharmonia.base.errors import DiskFullError, InputError, MessageError, PharmoniaError, ReplayError, StoreError
from pharmonia.learn.messages import Broadcast, Repeat, StatisticsRequest
from pharmonia.run.cohorts import STATISTICS, Cohorts, place_of

PLACE, NEXT = (4, 0), (4, 1)
START, LATER = bytes(32), bytes(31) + b"\x01"
FOUR = ("Ada", "Ben", "Cleo", "Dan")
THREE = ("Ada", "Ben", "Cleo")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "cohorts.jsonl"


def start(number: int) -> bytes:
    """A shared vector's digest for each number."""
    return number.to_bytes(32, "big")


def test_nothing_is_known_and_nothing_written_before_the_first_sum(path: Path) -> None:
    assert Cohorts(path).of(PLACE, START) is None
    assert not path.parent.exists()


def test_the_same_again_is_fine_and_writes_no_second_line(path: Path) -> None:
    cohorts = Cohorts(path)
    for _ in range(3):
        cohorts.settle(PLACE, START, FOUR)
    assert cohorts.of(PLACE, START) == FOUR
    assert path.read_bytes().count(b"\n") == 1
    Cohorts(path).settle(PLACE, START, FOUR)
    assert path.read_bytes().count(b"\n") == 1


@pytest.mark.parametrize("other", [THREE, (*FOUR, "Eve"), ("Ada", "Ben", "Cleo", "Eve"), ()], ids=len)
def test_another_set_is_refused_with_both_named_and_the_first_stands(path: Path, other: tuple[str, ...]) -> None:
    cohorts = Cohorts(path)
    cohorts.settle(PLACE, START, FOUR)
    before = path.read_bytes()
    with pytest.raises(ReplayError) as raised:
        cohorts.settle(PLACE, START, other)
    assert ", ".join(FOUR) in str(raised.value)
    assert ", ".join(other) in str(raised.value)
    assert "bring the same partners back" in str(raised.value)
    assert cohorts.of(PLACE, START) == FOUR
    assert path.read_bytes() == before


def test_a_place_is_the_round_and_step_that_a_coordinator_asks_for_whatever_else_it_says() -> None:
    def broadcast(*, step: int = 3, train: bool = True, n_steps: int = 9, parameter: float = 0.0) -> Broadcast:
        return Broadcast(
            sum_index=7, magnitudes=not train, round_index=2, step=step, n_steps=n_steps, train=train, save=train,
            best_round=-1, parameters=np.array([parameter]),
        )  # fmt: skip

    same = (broadcast(), broadcast(train=False), broadcast(n_steps=4), broadcast(parameter=-0.0))
    assert {place_of(one) for one in same} == {(2, 3)}
    assert place_of(broadcast(step=4)) == (2, 4)
    statistics = [StatisticsRequest(sum_index=index, magnitudes=bool(index)) for index in range(2)]
    assert {place_of(one) for one in statistics} == {STATISTICS}
    assert STATISTICS < (0, 0)
    with pytest.raises(MessageError, match="a Repeat begins no sum"):
        place_of(Repeat(sum_index=7, magnitudes=False))


def test_another_place_with_another_start_is_another_sum(path: Path) -> None:
    cohorts = Cohorts(path)
    cohorts.settle(PLACE, START, FOUR)
    cohorts.settle(NEXT, LATER, THREE)
    for known in (cohorts, Cohorts(path)):
        assert known.of(PLACE, START) == FOUR
        assert known.of(NEXT, LATER) == THREE
        assert known.of((5, 0), start(7)) is None


def test_one_place_is_of_one_set_whatever_the_model_and_one_model_is_whatever_the_place(path: Path) -> None:
    Cohorts(path).settle(PLACE, START, FOUR)
    for number, (place, model) in enumerate([(PLACE, LATER), (NEXT, START)]):
        for known in (Cohorts(path), Cohorts(path)):
            assert known.of(place, model) == FOUR
            with pytest.raises(ReplayError, match="summed among Ada, Ben, Cleo, Dan,"):
                known.settle(place, model, THREE)
        Cohorts(path).settle(place, model, FOUR)  # as a resumed run may that did not come to the same bits
        assert path.read_bytes().count(b"\n") == 2 + number


def test_a_model_of_one_set_at_a_place_of_another_is_summed_among_neither(path: Path) -> None:
    cohorts = Cohorts(path)
    cohorts.settle(PLACE, START, FOUR)
    cohorts.settle(NEXT, LATER, THREE)
    for partners in (FOUR, THREE):
        with pytest.raises(ReplayError, match=r"step 1 of round 4 was summed among Ada, Ben, Cleo, and .* Dan; begin"):
            cohorts.settle(NEXT, START, partners)
    with pytest.raises(ReplayError):
        cohorts.of(PLACE, LATER)


def test_a_later_process_knows_what_an_earlier_one_settled(path: Path) -> None:
    Cohorts(path).settle(PLACE, START, THREE)
    resumed = Cohorts(path)
    assert resumed.of(PLACE, START) == THREE
    with pytest.raises(ReplayError):
        resumed.settle(PLACE, START, FOUR)
    Cohorts(path).settle(NEXT, LATER, FOUR)
    assert Cohorts(path).of(PLACE, START) == THREE
    assert Cohorts(path).of(NEXT, LATER) == FOUR


def test_the_bytes_of_the_file_stay_as_they_are(path: Path) -> None:
    Cohorts(path).settle((12, 3), bytes(range(32)), ("Ada", "Zoë"))
    digest = b"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    assert path.read_bytes() == b'[12,3,"' + digest + b'",["Ada","Zo\\u00eb"]]\n'
    assert Cohorts(path).of((12, 3), start(1)) == ("Ada", "Zoë")


@settings(max_examples=40)
@given(st.data())
def test_a_last_line_cut_by_a_power_failure_is_ignored_and_replaced(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "cohorts.jsonl"
    cohorts = Cohorts(path)
    cohorts.settle(PLACE, START, FOUR)
    whole = path.read_bytes()
    cohorts.settle(NEXT, LATER, FOUR)
    last = path.read_bytes()[len(whole) :]
    path.write_bytes(whole + last[: data.draw(st.integers(0, len(last) - 1))])
    resumed = Cohorts(path)
    assert resumed.of(PLACE, START) == FOUR
    assert resumed.of(NEXT, LATER) is None
    assert path.read_bytes() == whole
    resumed.settle(NEXT, LATER, THREE)
    assert Cohorts(path).of(PLACE, START) == FOUR
    assert Cohorts(path).of(NEXT, LATER) == THREE


def test_zeros_that_a_power_failure_leaves_at_the_end_are_replaced(path: Path) -> None:
    Cohorts(path).settle(PLACE, START, FOUR)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(4096))
    assert Cohorts(path).of(PLACE, START) == FOUR
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "line",
    [b"", b"\xff\xfe", b"{}", b"[]", b'"Ada"', b"null", b'[0,0,"ab"]', b'[0,0,"ab","Ada"]', b'[0,0,"ab",[1,2]]',
     b'[0,0,7,["Ada"]]', b'["0",0,"ab",["Ada"]]', b'["ab",["Ada"]]', b'[0,0,"ab",["Ada"],0]', b'{"ab":"Ada"}',
     b'["dropped",3,0]', b'[4,0,"ab",["Ada"]]', b'[0,0,"ab",["Ada"'],
)  # fmt: skip
def test_a_damaged_file_is_refused_with_a_remedy_and_left_as_it_is(path: Path, line: bytes) -> None:
    Cohorts(path).settle(PLACE, START, FOUR)
    damaged = path.read_bytes() + line + b"\n"
    path.write_bytes(damaged)
    cohorts = Cohorts(path)
    for _ in range(2):  # what is not known is not settled either, however often it is tried
        with pytest.raises(StoreError, match=r"is damaged .*; begin a new run, with another plan"):
            cohorts.of(PLACE, START)
        with pytest.raises(StoreError, match="is damaged"):
            cohorts.settle(NEXT, LATER, FOUR)
    assert path.read_bytes() == damaged


@settings(max_examples=40)
@given(noise=st.binary(max_size=60))
def test_bytes_that_nobody_wrote_are_refused_or_ignored(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = tmp_path_factory.mktemp("noise") / "cohorts.jsonl"
    path.write_bytes(noise)
    try:
        assert Cohorts(path).of(PLACE, START) is None
    except StoreError:
        assert b"\n" in noise


def test_of_too_many_sums_the_earliest_are_refused_and_not_forgotten(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pharmonia.run.cohorts.KEPT", 3)
    cohorts = Cohorts(path)
    for number in range(5):
        cohorts.settle((number, 0), start(number), FOUR)
    resumed = Cohorts(path)
    for known in (cohorts, resumed, Cohorts(path)):
        assert [known.of((number, 0), start(number)) for number in (2, 3, 4, 5)] == [FOUR, FOUR, FOUR, None]
        for place in (STATISTICS, (0, 0), (1, 0)):
            for partners in (THREE, FOUR):
                with pytest.raises(ReplayError, match="too long ago to say among whom"):
                    known.settle(place, start(99), partners)
    assert path.read_bytes().count(b"\n") == 4  # a later process makes the file as short as it can be
    with pytest.raises(ReplayError):
        resumed.settle((2, 0), start(2), THREE)
    resumed.settle((5, 0), start(5), THREE)
    for known in (resumed, Cohorts(path)):
        with pytest.raises(ReplayError, match="round 2 was too long ago"):
            known.of((2, 0), start(2))


@pytest.mark.parametrize("place", [PLACE, (3, 9)], ids=["same place", "earlier"])
def test_a_flood_of_sums_drops_nothing_that_is_not_refused_from_then_on(
    path: Path, monkeypatch: pytest.MonkeyPatch, place: tuple[int, int]
) -> None:
    """A coordinator fills the file with other models of one place: then there is no room, and what is there stays."""
    monkeypatch.setattr("pharmonia.run.cohorts.KEPT", 5)
    cohorts = Cohorts(path)
    for number in range(5):
        cohorts.settle(PLACE, start(number), FOUR)
    for known in (cohorts, Cohorts(path)):
        with pytest.raises(ReplayError, match="5 sums are kept that are no earlier than"):
            known.settle(place, start(9), FOUR)
        assert [known.of(PLACE, start(number)) for number in range(5)] == [FOUR] * 5
    cohorts.settle(NEXT, start(9), FOUR)  # a run that goes on does so
    with pytest.raises(ReplayError, match="too long ago"):
        cohorts.settle(PLACE, start(0), THREE)


@settings(max_examples=40)
@given(st.data())
def test_no_order_of_requests_gets_two_sets_for_one_place(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever a coordinator asks for, across restarts and with little room, a place that was summed has one set."""
    path = tmp_path_factory.mktemp("any") / "cohorts.jsonl"
    summed: dict[tuple[int, int], tuple[str, ...]] = {}
    asked = st.tuples(
        st.tuples(st.integers(-1, 4), st.integers(0, 1)), st.integers(0, 5), st.sampled_from([THREE, FOUR])
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pharmonia.run.cohorts.KEPT", data.draw(st.integers(1, 4)))
        patch.setattr(os, "fsync", lambda descriptor: None)
        cohorts = Cohorts(path)
        for place, number, partners in data.draw(st.lists(asked, max_size=25)):
            if data.draw(st.booleans()):
                cohorts = Cohorts(path)
            try:
                cohorts.settle(place, start(number), partners)
            except ReplayError:
                continue
            assert summed.setdefault(place, partners) == partners
    assert not path.exists() or path.read_bytes().count(b"\n") <= 10


def test_the_file_stays_bounded_within_one_process_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pharmonia.run.cohorts.KEPT", 3)
    cohorts = Cohorts(path)
    for number in range(40):
        cohorts.settle((number, 0), start(number), FOUR)
        assert path.read_bytes().count(b"\n") <= 6
    assert Cohorts(path).of((39, 0), start(39)) == FOUR
    with pytest.raises(ReplayError, match="too long ago"):
        Cohorts(path).of((36, 0), start(36))


def test_what_is_settled_is_on_the_disk_with_the_folders_on_its_way_and_not_only_on_its_way_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[int, bytes]] = []
    real = os.fsync

    def watched(descriptor: int) -> None:
        real(descriptor)
        synced.append((os.fstat(descriptor).st_ino, path.read_bytes()))

    monkeypatch.setattr(os, "fsync", watched)
    Cohorts(path).settle(PLACE, START, FOUR)
    *folders, last = synced
    assert {path.parent.stat().st_ino, path.parent.parent.stat().st_ino} <= {inode for inode, _ in folders}
    assert {content for _, content in folders} == {b""}  # its name is there before the first sum is
    assert last == (path.stat().st_ino, path.read_bytes())
    assert path.read_bytes() != b""
    synced.clear()
    Cohorts(path).settle(NEXT, LATER, FOUR)
    assert synced == [(path.stat().st_ino, path.read_bytes())]


def test_a_file_made_shorter_is_on_the_disk_before_it_takes_the_place_of_the_longer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pharmonia.run.cohorts.KEPT", 3)
    cohorts = Cohorts(path)
    for number in range(5):
        cohorts.settle((number, 0), start(number), FOUR)
    long = path.read_bytes()
    synced: list[tuple[int, bytes]] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append((os.fstat(fd).st_ino, path.read_bytes())))
    assert Cohorts(path).of((4, 0), start(4)) == FOUR
    short = path.read_bytes()
    assert len(short) < len(long)
    assert synced == [(path.stat().st_ino, long), (path.parent.stat().st_ino, short)]


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, DiskFullError), (errno.EIO, InputError)])
@pytest.mark.parametrize("n_before", [0, 1])
def test_a_disk_that_takes_half_a_line_settles_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[PharmoniaError], n_before: int
) -> None:
    """The line is written, but does not get to the disk: it is taken back, and what comes later is whole."""
    cohorts = Cohorts(path)
    for index in range(n_before):
        cohorts.settle((0, index), start(index), FOUR)
    before = path.read_bytes() if n_before else b""
    with monkeypatch.context() as patch:

        def failing(descriptor: int) -> None:
            raise OSError(number, os.strerror(number))

        patch.setattr(os, "fsync", failing)
        with pytest.raises(kind, match="cannot write"):
            cohorts.settle(NEXT, LATER, FOUR)
    assert path.read_bytes() == before
    assert cohorts.of(NEXT, LATER) is None
    assert Cohorts(path).of(NEXT, LATER) is None
    cohorts.settle(NEXT, LATER, THREE)
    assert Cohorts(path).of(NEXT, LATER) == THREE


def test_a_folder_that_cannot_be_made_settles_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cohorts = Cohorts(tmp_path / "file" / "cohorts.jsonl")
    with pytest.raises(InputError, match="cannot read"):
        cohorts.settle(PLACE, START, FOUR)
    folder = tmp_path / "state"
    away = Cohorts(folder / "cohorts.jsonl")
    assert away.of(PLACE, START) is None
    folder.write_text("")  # since then, something stands where the folder should
    with pytest.raises(InputError, match="cannot write"):
        away.settle(PLACE, START, FOUR)
    assert away.of(PLACE, START) is None
    folder.unlink()
    away.settle(PLACE, START, THREE)
    assert Cohorts(folder / "cohorts.jsonl").of(PLACE, START) == THREE


def test_a_file_that_cannot_be_read_is_an_input_error(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(InputError, match="cannot read"):
        Cohorts(path).of(PLACE, START)
