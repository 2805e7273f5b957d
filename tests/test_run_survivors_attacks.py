"""A coordinator that wants one partner's update asks twice for what is nearly the same, once without that partner."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import HeaderError, ReplayError, RoundLostError, UnreachableError
from pharmonia.learn.messages import Broadcast
from pharmonia.run.cohorts import COHORTS_FILE
from pharmonia.run.sums import Request
from pharmonia.run.tensors import digest_of
from pharmonia.secagg.header import RoundHeader, Tier
from pharmonia.secagg.messages import KeyOffers, MaskedUpdate, Reveal, SurvivorSet, SurvivorSignature
from pharmonia.secagg.messages import encode as encode_secure
from survivor_cases import (
    FOUR,
    SCALES,
    THREE,
    Net,
    assert_is_sum_of,
    at,
    consortium,
    message_in,
    request,
    request_from,
    start,
    started,
    without,
)

Change = Callable[[Vector], Vector]


def negative_zero(vector: Vector) -> Vector:
    return np.array([-0.0, *vector[1:]])


def one_ulp(vector: Vector) -> Vector:
    return np.array([*vector[:-1], np.nextafter(np.float32(vector[-1]), np.float32(1.0))])


def nothing(vector: Vector) -> Vector:
    return vector


def ask_forgetfully(net: Net, folder: Path, wanted: Request, step: str, *lost: str) -> None:
    """A coordinator that remembers nothing asks in a new session, and goes on whatever the parties say."""
    net.repair()
    net.ignores_refusals = True
    net.is_lost = at(step, *lost)
    with pytest.raises(RoundLostError):
        started(net, folder / "forgetful").collect(wanted)


def assert_all_refused(net: Net, names: tuple[str, ...]) -> None:
    assert {name: type(error) for name, error in net.refused.items()} == dict.fromkeys(names, ReplayError)
    assert net.n_answered(SurvivorSignature) == net.n_answered(Reveal) == 0


# Sums that go on without a lost partner: one place, one set


@pytest.mark.parametrize("change", [negative_zero, one_ulp])
@pytest.mark.parametrize("who", ["Ada", "Dan"])
@pytest.mark.parametrize("step", ["key offer", "READY", "header"])
def test_a_model_that_differs_in_one_bit_does_not_get_a_round_summed_among_fewer(
    tmp_path: Path, change: Change, who: str, step: str
) -> None:
    changed = change(start(0))
    assert digest_of(changed) != digest_of(start(0))
    np.testing.assert_allclose(changed, start(0), rtol=2e-7)
    net = consortium(tmp_path)
    started(net, tmp_path).collect(request(0))
    ask_forgetfully(net, tmp_path, request_from(0, changed), step, who)
    assert_all_refused(net, without(FOUR, who))


@pytest.mark.parametrize("change", [negative_zero, one_ulp])
def test_nor_among_more_than_it_was_summed_among(tmp_path: Path, change: Change) -> None:
    net = consortium(tmp_path)
    net.is_lost = at("header", "Dan")
    started(net, tmp_path).collect(request(0))
    ask_forgetfully(net, tmp_path, request_from(0, change(start(0))), "READY")
    assert {name: type(error) for name, error in net.refused.items()} == dict.fromkeys(THREE, ReplayError)
    assert net.n_answered(Reveal) == 0


@pytest.mark.parametrize("trains_first", [True, False])
@pytest.mark.parametrize(("later_round", "change"), [(0, nothing), (0, one_ulp), (7, nothing)])
def test_a_validation_without_a_partner_does_not_follow_on_a_training_with_it_nor_the_other_way_round(
    tmp_path: Path, trains_first: bool, later_round: int, change: Change
) -> None:
    """Both sums hold the validation error of the model that was sent: their difference would be one partner's."""
    net = consortium(tmp_path)
    started(net, tmp_path).collect(request_from(0, start(0), train=trains_first))
    later = request_from(later_round, change(start(0)), train=not trains_first)
    ask_forgetfully(net, tmp_path, later, "header", "Dan")
    assert_all_refused(net, THREE)


def test_the_same_model_in_another_round_is_not_summed_among_fewer(tmp_path: Path) -> None:
    net = consortium(tmp_path)
    started(net, tmp_path).collect(request(0))
    ask_forgetfully(net, tmp_path, request_from(5, start(0)), "header", "Dan")
    assert_all_refused(net, THREE)


def test_many_later_sums_do_not_make_a_partner_forget_an_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pharmonia.run.cohorts.KEPT", 3)
    net = consortium(tmp_path)
    for number in range(6):
        started(net, tmp_path).collect(request(number))
    for parameters in (start(0), one_ulp(start(0))):
        ask_forgetfully(net, tmp_path, request_from(0, parameters), "header", "Dan")
        assert_all_refused(net, THREE)
        assert all("too long ago" in str(error) for error in net.refused.values())


def test_magnitudes_and_the_sum_that_follows_on_them_are_of_one_set(tmp_path: Path) -> None:
    """The first sum of a layout is two: whoever is lost between them is waited for."""
    net = consortium(tmp_path)
    sums = started(net, tmp_path)
    sums.restore({})
    at_header = at("header", "Dan")
    net.is_lost = lambda name, message: net.asked(SurvivorSet).count("Dan") == 1 and at_header(name, message)
    with pytest.raises(RoundLostError, match="bring back Dan"):
        sums.collect(request(0))
    net.repair()
    assert_is_sum_of(started(net, tmp_path).collect(request(0)), tmp_path, FOUR)


# What stays possible: a resume


def test_a_resumed_coordinator_makes_several_rounds_again_among_those_of_each_and_goes_on_with_everybody(
    tmp_path: Path,
) -> None:
    net = consortium(tmp_path)
    sums = started(net, tmp_path)
    first = [sums.collect(request(0))]
    sums.restore(SCALES)
    net.is_lost = at("header", "Dan")
    first += [sums.collect(request(1))]
    for _ in range(2):
        net.repair()
        resumed = started(net, tmp_path)
        for number, of in enumerate((FOUR, THREE)):
            net.sent.clear()
            np.testing.assert_array_equal(resumed.collect(request(number)).mean, first[number].mean)
            assert net.asked(Broadcast) == list(of)
            resumed.restore(SCALES)
        assert_is_sum_of(resumed.collect(request(2)), tmp_path, FOUR, 2)


@pytest.mark.parametrize("change", [negative_zero, one_ulp])
def test_a_resumed_round_that_does_not_come_to_the_same_bits_is_made_among_those_of_the_earlier(
    tmp_path: Path, change: Change
) -> None:
    net = consortium(tmp_path)
    net.is_lost = at("header", "Dan")
    started(net, tmp_path).collect(request(0))
    net.repair()
    assert_is_sum_of(started(net, tmp_path).collect(request_from(0, change(start(0)))), tmp_path, THREE)
    assert net.asked(Broadcast) == list(THREE)


# Sums that wait for everybody: all of the plan, or nothing


def fewer_contributors(name: str, frame: bytes) -> bytes:
    """The server's header leaves Dan out."""
    message = message_in(frame)
    if not isinstance(message, RoundHeader):
        return frame
    return encode_secure(replace(message, contributors=THREE, degree=2))


def fewer_keys(name: str, frame: bytes) -> bytes:
    """Nor does anybody else hear of Dan when the session begins."""
    message = message_in(frame)
    if isinstance(message, KeyOffers) and name != "Dan":
        return encode_secure(KeyOffers(offers=tuple(one for one in message.offers if one.partner != "Dan")))
    return fewer_contributors(name, frame)


@pytest.mark.parametrize("change", [fewer_contributors, fewer_keys])
@pytest.mark.parametrize("is_second", [False, True])
def test_where_every_partner_is_needed_nothing_is_masked_among_fewer_the_first_time_or_later(
    tmp_path: Path, is_second: bool, change: Callable[[str, bytes], bytes]
) -> None:
    """Three of four would hide each other well enough, but the plan says that all are in every sum."""
    tier = Tier.COMMIT_THEN_MASK
    net = consortium(tmp_path, FOUR, tier)
    if is_second:
        started(net, tmp_path, tier).collect(request(0))
    n_made = [vault.n_made for vault in net.vaults.values()]
    net.repair()
    net.ignores_refusals, net.change = True, change
    sums = started(net, tmp_path, tier)
    with pytest.raises(UnreachableError, match="Ada refuses; Ben refuses; Cleo refuses"):
        sums.collect(request(0))
    assert {type(net.refused[name]) for name in THREE} == {HeaderError}
    assert all("leaves out Dan; everybody is in it" in str(net.refused[name]) for name in THREE)
    assert net.n_answered(MaskedUpdate) == 0
    assert [vault.n_made for vault in net.vaults.values()] == n_made  # refused before anything was trained
    assert list(tmp_path.rglob(COHORTS_FILE)) == []  # among the same always: nothing to remember
