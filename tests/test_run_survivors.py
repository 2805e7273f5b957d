"""Sums that go on without a lost partner: of whom they are, what stands, and that nothing is ever summed twice."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pharmonia.base.errors import (
    HeaderError,
    ReplayError,
    RoundLostError,
    UnreachableError,
)
from pharmonia.learn.contributions import federated_average
from pharmonia.learn.messages import Finish, Repeat
from pharmonia.learn.messages import Message as LearnMessage
from pharmonia.run.cohorts import COHORTS_FILE, Cohorts
from pharmonia.run.sums import PartnersSum, SecureSums
from pharmonia.secagg.header import RoundHeader, Tier
from pharmonia.secagg.messages import (
    MaskedUpdate,
    Message,
    Reveal,
    SurvivorSet,
    SurvivorSignature,
)
from pharmonia.secagg.messages import encode as encode_secure
from survivor_cases import (
    AFTER_UPDATE,
    FOUR,
    NAMES,
    SCALES,
    SERVER,
    STEPS,
    THREE,
    Net,
    assert_is_sum_of,
    at,
    consortium,
    members,
    request,
    started,
    sums_over,
    without,
)

# What a sum is of


@pytest.mark.parametrize("n", [4, 5])
def test_where_nobody_is_lost_both_tiers_sum_bit_for_bit_alike(tmp_path: Path, n: int) -> None:
    found = {}
    for tier in Tier:
        folder = tmp_path / tier.name
        sums = sums_over(consortium(folder, NAMES[:n], tier), folder, tier)
        sums.start()
        found[tier] = [sums.collect(request(number)) for number in range(2)]
        assert [one.n_clipped for one in found[tier]] == [0, 0]
    for one, other in zip(*found.values(), strict=True):
        np.testing.assert_array_equal(one.mean, other.mean)
        assert one.total_weight == other.total_weight


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("n", [4, 5])
@pytest.mark.parametrize("who", ["Ada", "Dan"])
def test_a_partner_lost_at_any_step_is_in_the_sum_only_if_its_update_had_arrived(
    tmp_path: Path, step: str, n: int, who: str
) -> None:
    net = consortium(tmp_path, NAMES[:n])
    net.is_lost = at(step, who)
    sums = started(net, tmp_path)
    found = sums.collect(request(0))
    of = NAMES[:n] if step in AFTER_UPDATE else without(NAMES[:n], who)
    assert_is_sum_of(found, tmp_path, of)
    assert set(net.lost) == {who}


@pytest.mark.parametrize("step", STEPS)
def test_an_answer_that_breaks_off_leaves_no_trace(tmp_path: Path, step: str) -> None:
    """Dan was asked and has answered, and half of it came: a masked update that is not whole is in no sum."""
    net = consortium(tmp_path)
    net.breaks_off = at(step, "Dan")
    found = started(net, tmp_path).collect(request(0))
    assert_is_sum_of(found, tmp_path, FOUR if step in AFTER_UPDATE else THREE)


def test_two_may_be_lost_one_after_the_other_where_enough_are_left(tmp_path: Path) -> None:
    """Of 5 with one colluder: after one was lost, 4 begin, and 3 of them may end."""
    net = consortium(tmp_path, NAMES)
    net.is_lost = lambda name, message: at("READY", "Eve")(name, message) or at("header", "Ben")(name, message)
    found = started(net, tmp_path).collect(request(0))
    assert_is_sum_of(found, tmp_path, ("Ada", "Cleo", "Dan"))


@pytest.mark.parametrize("step", STEPS)
def test_two_lost_of_four_lose_the_round_and_nothing_is_revealed(tmp_path: Path, step: str) -> None:
    net = consortium(tmp_path)
    net.is_lost = at(step, "Cleo", "Dan")
    with pytest.raises(RoundLostError):
        started(net, tmp_path).collect(request(0))
    n_reveals = net.n_answered(Reveal)
    assert n_reveals == (2 if step == "confirmation" else 0)  # three would be needed to open a single self-mask
    net.repair()
    found = started(net, tmp_path).collect(request(0))  # with everybody back, the same sum is made
    assert_is_sum_of(found, tmp_path, FOUR)


@pytest.mark.parametrize("step", ["key offer", "READY", "header"])
def test_no_sum_is_of_fewer_than_the_agreement_asks_for(tmp_path: Path, step: str) -> None:
    """Four of five would hide each other well enough, but the agreement says five."""
    net = consortium(tmp_path, NAMES)
    cohorts = Cohorts(tmp_path / SERVER / COHORTS_FILE)
    sums = SecureSums(net, members(NAMES), n_colluders=1, ring_degree=4, cohorts=cohorts, min_cohort=5)
    sums.start()
    sums.restore(SCALES)
    assert_is_sum_of(sums.collect(request(0)), tmp_path, NAMES)
    net.is_lost = at(step, "Dan")
    sums.start()
    with pytest.raises(RoundLostError, match="4 partners are left; the agreement asks for 5"):
        sums.collect(request(1))
    assert net.asked(SurvivorSet) == list(NAMES)  # of the first sum


def test_who_is_away_stays_away(tmp_path: Path) -> None:
    """Who was lost is asked nothing more in the session, though it could be reached, and everything in the next."""
    net = consortium(tmp_path)
    net.is_lost = at("header", "Dan")
    sums = started(net, tmp_path)
    sums.collect(request(0))
    sums.restore(SCALES)
    net.repair()
    for number in (1, 2):
        found = sums.collect(request(number))
        sums.restore(SCALES)
        assert_is_sum_of(found, tmp_path, THREE, number)
    sums.tell(Finish(best_round=0))
    assert "Dan" not in {name for name, _ in net.sent}
    assert net.asked(Finish) == list(THREE)
    again = started(net, tmp_path)
    assert_is_sum_of(again.collect(request(3)), tmp_path, FOUR, 3)


def test_who_is_lost_when_told_the_end_is_no_error(tmp_path: Path) -> None:
    net = consortium(tmp_path)
    sums = started(net, tmp_path)
    sums.collect(request(0))
    net.is_lost = lambda name, message: isinstance(message, Finish) and name != "Ada"
    sums.tell(Finish(best_round=0))
    assert set(net.lost) == {"Ben", "Cleo", "Dan"}


# Sums with clipped elements


def clipping(net: Net) -> None:
    """From now on, what partners contribute is far over the grid."""
    for vault in net.vaults.values():
        vault.scale = 1e3


def assert_is_close_to_mean(found: PartnersSum, net: Net, names: tuple[str, ...], number: int) -> None:
    exact = federated_average([net.vaults[name].contribution(number) for name in names])
    np.testing.assert_allclose(found.mean[:60], exact[:60], atol=1e-4 * np.abs(exact[:60]).max())
    assert found.n_clipped == 0
    assert found.total_weight == sum(net.vaults[name].contribution(number).weight for name in names)


@pytest.mark.parametrize("step", ["READY", "header"])
def test_a_clipped_sum_without_a_lost_partner_is_made_again_without_it(tmp_path: Path, step: str) -> None:
    net = consortium(tmp_path)
    sums = started(net, tmp_path)
    sums.collect(request(0))
    clipping(net)
    net.is_lost = at(step, "Dan")
    assert_is_close_to_mean(sums.collect(request(1)), net, THREE, 1)
    assert set(net.asked(Repeat)) == set(THREE)


def assert_is_made_in_a_new_session(net: Net, folder: Path) -> None:
    """With everybody back, the sum that was lost is made, of the same contributions among the same partners."""
    net.repair()
    assert_is_close_to_mean(started(net, folder).collect(request(1)), net, FOUR, 1)
    assert set(net.asked(Repeat)) == set(FOUR)


@pytest.mark.parametrize("step", AFTER_UPDATE)
def test_a_clipped_sum_of_a_partner_that_was_lost_after_its_update_loses_the_round(tmp_path: Path, step: str) -> None:
    """It is not made again among fewer, and never stands."""
    net = consortium(tmp_path)
    sums = started(net, tmp_path)
    sums.collect(request(0))
    before = sums.scales
    clipping(net)
    net.is_lost = at(step, "Dan")
    with pytest.raises(RoundLostError, match="bring back Dan"):
        sums.collect(request(1))
    assert net.asked(Repeat) == []
    assert sums.scales == before
    assert_is_made_in_a_new_session(net, tmp_path)


@pytest.mark.parametrize("place", range(2), ids=["magnitudes", "values"])
@pytest.mark.parametrize("step", ["READY", "header", "survivors", "confirmation"])
def test_a_partner_lost_while_a_clipped_sum_is_made_again_loses_the_round_unless_the_sum_was_made(
    tmp_path: Path, place: int, step: str
) -> None:
    """Dan is lost at that step of the sum of magnitudes or of the sum after it."""
    net = consortium(tmp_path)
    sums = started(net, tmp_path)
    sums.collect(request(0))
    clipping(net)
    kind = Repeat if step == "READY" else STEPS[step]
    n_seen = 0

    def lost(name: str, message: LearnMessage | Message) -> bool:
        nonlocal n_seen
        if name == "Dan" and isinstance(message, kind) and net.asked(Repeat):
            n_seen += 1
            return n_seen == place + 1
        return False

    net.is_lost = lost
    n_made = [vault.n_made for vault in net.vaults.values()]
    if place == 1 and step in AFTER_UPDATE:
        assert_is_close_to_mean(sums.collect(request(1)), net, FOUR, 1)
        net.is_lost = lambda name, message: False
        assert_is_close_to_mean(sums.collect(request(2)), net, THREE, 2)
        n_made = [n + (name != "Dan") for n, name in zip(n_made, net.vaults, strict=True)]
    else:
        with pytest.raises(RoundLostError):
            sums.collect(request(1))
    assert [vault.n_made for vault in net.vaults.values()] == [n + 1 for n in n_made]
    assert net.lost.keys() == {"Dan"}
    assert net.refused == {}
    if place == 0 or step not in AFTER_UPDATE:
        assert_is_made_in_a_new_session(net, tmp_path)


# One cohort per contribution


def nothing_was_learnt(net: Net) -> bool:
    """Too few signed for any to reveal: one, at most, that had signed nothing before."""
    return net.n_answered(Reveal) == 0 and net.n_answered(SurvivorSignature) <= 1


def second_sum(net: Net, folder: Path, lost: Callable[[str, LearnMessage | Message], bool]) -> None:
    """A coordinator that forgot asks for the same contributions in a new session, whatever the parties say."""
    net.repair()
    net.ignores_refusals = True
    net.is_lost = lost
    with pytest.raises(RoundLostError):
        started(net, folder / "forgetful").collect(request(0))


@pytest.mark.parametrize("who", FOUR)
@pytest.mark.parametrize("step", ["key offer", "READY", "header"])
def test_one_cohort_per_contribution(tmp_path: Path, who: str, step: str) -> None:
    """Without that partner, every other refuses: from both sums, what it contributed would follow."""
    net = consortium(tmp_path)
    started(net, tmp_path).collect(request(0))
    second_sum(net, tmp_path, at(step, who))
    others = without(FOUR, who)
    assert {name: type(error) for name, error in net.refused.items()} == dict.fromkeys(others, ReplayError)
    assert net.n_answered(SurvivorSignature) == net.n_answered(Reveal) == 0


def test_contributions_summed_without_a_partner_are_not_summed_with_it(tmp_path: Path) -> None:
    net = consortium(tmp_path)
    net.is_lost = at("header", "Dan")
    started(net, tmp_path).collect(request(0))
    second_sum(net, tmp_path, lambda name, message: False)
    assert {name: type(error) for name, error in net.refused.items()} == dict.fromkeys(THREE, ReplayError)
    assert nothing_was_learnt(net)


@pytest.mark.parametrize("who", THREE)
def test_a_partner_that_had_not_signed_cannot_be_used_against_another(tmp_path: Path, who: str) -> None:
    """Dan's update is in the first sum, but it was lost before it signed: the others' word is enough."""
    net = consortium(tmp_path)
    net.is_lost = at("survivors", "Dan")
    started(net, tmp_path).collect(request(0))
    second_sum(net, tmp_path, at("header", who))
    assert {name: type(error) for name, error in net.refused.items()} == dict.fromkeys(without(THREE, who), ReplayError)
    assert nothing_was_learnt(net)


def test_a_second_sum_within_the_session_is_refused_too(tmp_path: Path) -> None:
    net = consortium(tmp_path)
    sums = started(net, tmp_path)
    sums.collect(request(0))
    net.sent.clear()
    net.is_lost = at("header", "Dan")
    with pytest.raises(RoundLostError, match="bring back Dan"):
        sums.collect(request(0))  # an honest coordinator does not even propose it
    assert net.asked(SurvivorSet) == []
    for name in THREE:  # and of another, nobody signs it
        frame = encode_secure(
            SurvivorSet(round_digest=next(m for _, m in net.sent if isinstance(m, RoundHeader)).digest, survivors=THREE)
        )
        with pytest.raises(ReplayError, match=r"summed among Ada, Ben, Cleo, Dan, .* among Ada, Ben, Cleo;"):
            net.vaults[name].handle(frame)


def test_the_same_set_may_sum_the_same_again_in_a_later_session(tmp_path: Path) -> None:
    net = consortium(tmp_path)
    first = started(net, tmp_path).collect(request(0))
    for folder in (tmp_path, tmp_path / "forgetful"):
        np.testing.assert_array_equal(started(net, folder).collect(request(0)).mean, first.mean)


@pytest.mark.parametrize("tier", Tier)
def test_a_header_of_the_other_tier_than_the_terms_is_refused_before_anything_is_trained(
    tmp_path: Path, tier: Tier
) -> None:
    net = consortium(tmp_path, FOUR, tier)
    other = next(one for one in Tier if one is not tier)
    net.ignores_refusals = True
    with pytest.raises((RoundLostError, UnreachableError)):
        started(net, tmp_path, other).collect(request(0))
    assert {name: type(error) for name, error in net.refused.items()} == dict.fromkeys(FOUR, HeaderError)
    assert all("not summed as the terms say" in str(error) for error in net.refused.values())
    assert sum(vault.n_made for vault in net.vaults.values()) == net.n_answered(MaskedUpdate) == 0
    assert list(tmp_path.rglob(COHORTS_FILE)) == []
