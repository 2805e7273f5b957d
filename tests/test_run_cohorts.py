"""Among whom contributions were summed: stated once, kept on the disk, and never stated otherwise."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pharmonia.base.errors import DiskFullError, InputError, PharmoniaError, ReplayError, StoreError
from pharmonia.run.cohorts import Cohorts
from pharmonia.secagg.header import Layout

LAYOUT = Layout(names=("wide",), lengths=(400,))
NARROW = Layout(names=("narrow",), lengths=(3,))
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
    assert Cohorts(path).of(LAYOUT, START) is None
    assert not path.parent.exists()


def test_the_same_again_is_fine_and_writes_no_second_line(path: Path) -> None:
    cohorts = Cohorts(path)
    for _ in range(3):
        cohorts.settle(LAYOUT, START, FOUR)
    assert cohorts.of(LAYOUT, START) == FOUR
    assert path.read_bytes().count(b"\n") == 1
    Cohorts(path).settle(LAYOUT, START, FOUR)
    assert path.read_bytes().count(b"\n") == 1


@pytest.mark.parametrize("other", [THREE, (*FOUR, "Eve"), ("Ada", "Ben", "Cleo", "Eve"), ()], ids=len)
def test_another_set_is_refused_with_both_named_and_the_first_stands(path: Path, other: tuple[str, ...]) -> None:
    cohorts = Cohorts(path)
    cohorts.settle(LAYOUT, START, FOUR)
    before = path.read_bytes()
    with pytest.raises(ReplayError) as raised:
        cohorts.settle(LAYOUT, START, other)
    assert ", ".join(FOUR) in str(raised.value)
    assert ", ".join(other) in str(raised.value)
    assert "bring the same partners back" in str(raised.value)
    assert cohorts.of(LAYOUT, START) == FOUR
    assert path.read_bytes() == before


def test_another_layout_or_another_start_is_another_sum(path: Path) -> None:
    cohorts = Cohorts(path)
    cohorts.settle(LAYOUT, START, FOUR)
    cohorts.settle(LAYOUT, LATER, THREE)
    cohorts.settle(NARROW, START, ("Ada", "Ben"))
    for known in (cohorts, Cohorts(path)):
        assert known.of(LAYOUT, START) == FOUR
        assert known.of(LAYOUT, LATER) == THREE
        assert known.of(NARROW, START) == ("Ada", "Ben")
        assert known.of(NARROW, LATER) is None


def test_a_later_process_knows_what_an_earlier_one_settled(path: Path) -> None:
    Cohorts(path).settle(LAYOUT, START, THREE)
    resumed = Cohorts(path)
    assert resumed.of(LAYOUT, START) == THREE
    with pytest.raises(ReplayError):
        resumed.settle(LAYOUT, START, FOUR)
    Cohorts(path).settle(LAYOUT, LATER, FOUR)
    assert Cohorts(path).of(LAYOUT, START) == THREE
    assert Cohorts(path).of(LAYOUT, LATER) == FOUR


def test_the_bytes_of_the_file_stay_as_they_are(path: Path) -> None:
    Cohorts(path).settle(LAYOUT, START, ("Ada", "Zoë"))
    key, rest = path.read_bytes()[2:66], path.read_bytes()[66:]
    assert len(bytes.fromhex(key.decode())) == 32
    assert rest == b'",["Ada","Zo\\u00eb"]]\n'
    assert Cohorts(path).of(LAYOUT, START) == ("Ada", "Zoë")


@settings(max_examples=40)
@given(st.data())
def test_a_last_line_cut_by_a_power_failure_is_ignored_and_replaced(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "cohorts.jsonl"
    cohorts = Cohorts(path)
    cohorts.settle(LAYOUT, START, FOUR)
    whole = path.read_bytes()
    cohorts.settle(LAYOUT, LATER, FOUR)
    last = path.read_bytes()[len(whole) :]
    path.write_bytes(whole + last[: data.draw(st.integers(0, len(last) - 1))])
    resumed = Cohorts(path)
    assert resumed.of(LAYOUT, START) == FOUR
    assert resumed.of(LAYOUT, LATER) is None
    assert path.read_bytes() == whole
    resumed.settle(LAYOUT, LATER, THREE)
    assert Cohorts(path).of(LAYOUT, START) == FOUR
    assert Cohorts(path).of(LAYOUT, LATER) == THREE


def test_zeros_that_a_power_failure_leaves_at_the_end_are_replaced(path: Path) -> None:
    Cohorts(path).settle(LAYOUT, START, FOUR)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(4096))
    assert Cohorts(path).of(LAYOUT, START) == FOUR
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "line",
    [b"", b"\xff\xfe", b"{}", b"[]", b'"Ada"', b"null", b'["ab"]', b'["ab","Ada"]', b'["ab",[1,2]]', b'[7,["Ada"]]',
     b'[["ab"],[]]', b'["ab",["Ada"],0]', b'{"ab":"Ada","cd":"Ben"}', b'["ab",["Ada"'],
)  # fmt: skip
def test_a_damaged_file_is_refused_with_a_remedy_and_left_as_it_is(path: Path, line: bytes) -> None:
    Cohorts(path).settle(LAYOUT, START, FOUR)
    damaged = path.read_bytes() + line + b"\n"
    path.write_bytes(damaged)
    cohorts = Cohorts(path)
    for _ in range(2):  # what is not known is not settled either, however often it is tried
        with pytest.raises(StoreError, match=r"is damaged .*; begin a new run, with another plan"):
            cohorts.of(LAYOUT, START)
        with pytest.raises(StoreError, match="is damaged"):
            cohorts.settle(LAYOUT, LATER, FOUR)
    assert path.read_bytes() == damaged


@settings(max_examples=40)
@given(noise=st.binary(max_size=60))
def test_bytes_that_nobody_wrote_are_refused_or_ignored(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = tmp_path_factory.mktemp("noise") / "cohorts.jsonl"
    path.write_bytes(noise)
    try:
        assert Cohorts(path).of(LAYOUT, START) is None
    except StoreError:
        assert b"\n" in noise


def test_only_the_newest_are_remembered(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pharmonia.run.cohorts.KEPT", 3)
    cohorts = Cohorts(path)
    for number in range(5):
        cohorts.settle(LAYOUT, start(number), FOUR)
    resumed = Cohorts(path)
    for known in (cohorts, resumed):
        assert [known.of(LAYOUT, start(number)) for number in range(5)] == [None, None, FOUR, FOUR, FOUR]
    assert path.read_bytes().count(b"\n") == 3  # a later process makes the file as short as it can be
    with pytest.raises(ReplayError):
        resumed.settle(LAYOUT, start(2), THREE)
    resumed.settle(LAYOUT, start(5), THREE)
    assert resumed.of(LAYOUT, start(2)) is None


def test_what_is_settled_is_on_the_disk_and_not_only_on_its_way_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bytes] = []
    real = os.fsync

    def watched(descriptor: int) -> None:
        real(descriptor)
        synced.append(path.read_bytes())

    monkeypatch.setattr(os, "fsync", watched)
    Cohorts(path).settle(LAYOUT, START, FOUR)
    assert synced[-1] == path.read_bytes() != b""


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, DiskFullError), (errno.EIO, InputError)])
@pytest.mark.parametrize("n_before", [0, 1])
def test_a_disk_that_takes_half_a_line_settles_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[PharmoniaError], n_before: int
) -> None:
    """The line is written, but does not get to the disk: it is taken back, and what comes later is whole."""
    cohorts = Cohorts(path)
    for index in range(n_before):
        cohorts.settle(LAYOUT, start(index), FOUR)
    before = path.read_bytes() if n_before else b""
    with monkeypatch.context() as patch:

        def failing(descriptor: int) -> None:
            raise OSError(number, os.strerror(number))

        patch.setattr(os, "fsync", failing)
        with pytest.raises(kind, match="cannot write"):
            cohorts.settle(LAYOUT, LATER, FOUR)
    assert path.read_bytes() == before
    assert cohorts.of(LAYOUT, LATER) is None
    assert Cohorts(path).of(LAYOUT, LATER) is None
    cohorts.settle(LAYOUT, LATER, THREE)
    assert Cohorts(path).of(LAYOUT, LATER) == THREE


def test_a_folder_that_cannot_be_made_settles_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cohorts = Cohorts(tmp_path / "file" / "cohorts.jsonl")
    with pytest.raises(InputError, match="cannot read"):
        cohorts.settle(LAYOUT, START, FOUR)
    folder = tmp_path / "state"
    away = Cohorts(folder / "cohorts.jsonl")
    assert away.of(LAYOUT, START) is None
    folder.write_text("")  # since then, something stands where the folder should
    with pytest.raises(InputError, match="cannot write"):
        away.settle(LAYOUT, START, FOUR)
    assert away.of(LAYOUT, START) is None
    folder.unlink()
    away.settle(LAYOUT, START, THREE)
    assert Cohorts(folder / "cohorts.jsonl").of(LAYOUT, START) == THREE


def test_a_file_that_cannot_be_read_is_an_input_error(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(InputError, match="cannot read"):
        Cohorts(path).of(LAYOUT, START)
