"""What is on disks while a sum goes on without a lost partner, and a coordinator that begins again."""

from pathlib import Path

import numpy as np
import pytest

from pharmonia.base.errors import (
    DiskFullError,
    RoundLostError,
)
from pharmonia.learn.messages import Broadcast
from pharmonia.learn.messages import Message as LearnMessage
from pharmonia.run.cohorts import COHORTS_FILE, Cohorts
from pharmonia.run.tensors import digest_of
from pharmonia.secagg.messages import (
    ConfirmedSurvivors,
    Message,
    Reveal,
    SurvivorSet,
    SurvivorSignature,
)
from survivor_cases import (
    FOUR,
    NAMES,
    SCALES,
    SERVER,
    THREE,
    assert_is_sum_of,
    at,
    consortium,
    message_in,
    request,
    start,
    started,
)

# What is on the disk, and when


def test_the_set_is_on_every_disk_before_anybody_hears_of_it(tmp_path: Path) -> None:
    net = consortium(tmp_path)
    net.is_lost = at("header", "Dan")
    known: list[list[tuple[str, ...] | None]] = []

    def look(name: str, frame: bytes) -> bytes:
        if isinstance(message_in(frame), SurvivorSet | ConfirmedSurvivors):
            files = [tmp_path / one / COHORTS_FILE for one in (SERVER, *FOUR)]
            known.append([Cohorts(file).of((0, 0), digest_of(start(0))) for file in files])
        return frame

    net.change = look
    started(net, tmp_path).collect(request(0))
    assert [one[0] for one in known] == [THREE] * 6
    assert [one[1:] for one in known[:3]] == [[THREE] * n + [None] * (4 - n) for n in range(3)]
    assert known[3:] == [[THREE] * 4 + [None]] * 3  # of Dan, who is not in the sum, there is nothing to keep


def test_a_party_whose_disk_is_full_signs_nothing_and_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        if path.parent.name != SERVER:
            raise DiskFullError(f"cannot write {path}: no space left")

    net = consortium(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("pharmonia.run.cohorts.append_durably", full)
        with pytest.raises(DiskFullError):
            started(net, tmp_path).collect(request(0))
        assert net.n_answered(SurvivorSignature) == net.n_answered(Reveal) == 0
    net.repair()
    assert_is_sum_of(started(net, tmp_path).collect(request(0)), tmp_path, FOUR)


def test_a_coordinator_whose_disk_is_full_proposes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise DiskFullError(f"cannot write {path}: no space left")

    net = consortium(tmp_path)
    sums = started(net, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("pharmonia.run.cohorts.append_durably", full)
        with pytest.raises(DiskFullError):
            sums.collect(request(0))
    assert net.asked(SurvivorSet) == []


# A coordinator that was killed and begins again


def test_a_resumed_coordinator_asks_only_those_of_the_earlier_sum_and_then_everybody(tmp_path: Path) -> None:
    net = consortium(tmp_path)
    net.is_lost = at("header", "Dan")
    first = started(net, tmp_path).collect(request(0))
    net.repair()
    resumed = started(net, tmp_path)
    again = resumed.collect(request(0))
    np.testing.assert_array_equal(again.mean, first.mean)
    assert net.asked(Broadcast) == list(THREE)
    resumed.restore(SCALES)
    assert_is_sum_of(resumed.collect(request(1)), tmp_path, FOUR, 1)


@pytest.mark.parametrize("step", ["key offer", "key offers told", "READY", "header"])
@pytest.mark.parametrize("n", [4, 5])
def test_a_resumed_coordinator_says_who_must_come_back(tmp_path: Path, step: str, n: int) -> None:
    net = consortium(tmp_path, NAMES[:n])
    first = started(net, tmp_path).collect(request(0))
    net.repair()
    net.is_lost = at(step, "Cleo")
    with pytest.raises(RoundLostError, match=r"begun among Ada, .* bring back Cleo$"):
        started(net, tmp_path).collect(request(0))
    assert net.asked(SurvivorSet) == []
    if step.startswith("key"):
        assert net.asked(Broadcast) == []  # known before anybody trains
    net.repair()
    np.testing.assert_array_equal(started(net, tmp_path).collect(request(0)).mean, first.mean)


def test_a_sum_that_nobody_signed_may_be_made_among_others(tmp_path: Path) -> None:
    """The coordinator is killed after the uploads, before it proposes: nothing is known of them."""
    net = consortium(tmp_path)

    def killed(name: str, message: LearnMessage | Message) -> bool:
        if isinstance(message, SurvivorSet):
            raise KeyboardInterrupt
        return False

    net.is_lost = killed
    with pytest.raises(KeyboardInterrupt):
        started(net, tmp_path / "lost with its disk").collect(request(0))
    net.repair()
    net.is_lost = at("READY", "Dan")
    assert_is_sum_of(started(net, tmp_path).collect(request(0)), tmp_path, THREE)
