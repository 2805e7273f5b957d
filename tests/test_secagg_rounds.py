"""Whole rounds: masks cancel exactly, sums equal the plain average within the documented bound, losses are survived."""

import functools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pharmonia.base.errors import MessageError, RoundLostError, UpdateError
from pharmonia.secagg.fixedpoint import Values, clip_limit, error_bound, max_clip_count, next_exponents
from pharmonia.secagg.header import Layout, Tier, neighbours
from pharmonia.secagg.messages import MaskedUpdate, encode
from secagg_cases import (
    Consortium,
    begin,
    consortium,
    drive_to_upload,
    magnitude,
    one_tensor,
    plain_sum,
    plan_of,
    tier_a,
    unmask,
    upload,
)

TIER_B = Tier.DROPOUT_TOLERANT


@functools.cache
def group_of(n: int, ring_degree: int = 6, n_colluders: int = 0) -> Consortium:
    """Keys are made once; sessions are immutable, so that every test starts from the same ones."""
    return consortium(n, ring_degree=ring_degree, n_colluders=n_colluders)


def draw(group: Consortium, length: int, seed: int, scale: float = 1.0) -> tuple[dict[str, Values], dict[str, int]]:
    rng = np.random.default_rng(seed)
    values: dict[str, Values] = {n: rng.normal(0, scale, length).astype(np.float32) for n in group.ids}
    return values, {n: int(rng.integers(1, 2**16 + 1)) for n in group.ids}


def as_integers(values: dict[str, Values], weights: dict[str, int], exponent: int, bits: int) -> np.ndarray:
    """Each partner's fixed-point integers, summed without masks: what the masked sum must be exactly."""
    total = np.zeros(next(iter(values.values())).shape, dtype=np.int64)
    for name, x in values.items():
        limit = clip_limit(len(values))
        product = (x * np.float32(weights[name] * 2.0 ** (exponent - bits))).astype(np.float32)
        total += np.rint(np.clip(product, -limit, limit)).astype(np.int64)
    return total


@pytest.mark.parametrize(
    ("n", "length", "degree"),
    [(2, 1, 6), (2, 70_001, 6), (3, 7, 6), (10, 70_001, 6), (10, 1, 6), (11, 7, 4), (50, 7, 6), (50, 70_001, 10)],
)
def test_masks_cancel_exactly(n: int, length: int, degree: int) -> None:
    group = group_of(n, ring_degree=degree)
    values, weights = draw(group, length, seed=n + length)
    result = tier_a(group, plan_of(one_tensor(length)), values, weights)
    np.testing.assert_array_equal(result.values * 2.0**16, as_integers(values, weights, 16, 16))
    assert result.total_weight == sum(weights.values())
    assert result.contributors == group.ids
    assert result.n_clipped == 0


@pytest.mark.parametrize("n", [2, 3, 10, 50])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_no_wrap_with_every_partner_at_the_clip_limit(n: int, sign: float) -> None:
    group = group_of(n)
    at_limit = np.float32(sign * float(clip_limit(n)) * 2.0**-40)
    values: dict[str, Values] = {name: np.full(5, at_limit, dtype=np.float32) for name in group.ids}
    weights = dict.fromkeys(group.ids, 1)
    result = tier_a(group, plan_of(one_tensor(5), exponents=(40,), weight_bits=0), values, weights)
    np.testing.assert_array_equal(result.values * 2.0**40, sign * n * float(clip_limit(n)))
    assert n * int(clip_limit(n)) <= 2**31 - 1
    assert result.n_clipped == 0
    beyond = {name: np.nextafter(x, sign * np.float32(np.inf)) for name, x in values.items()}
    plan = plan_of(one_tensor(5), exponents=(40,), weight_bits=0)
    assert tier_a(group, plan, beyond, weights).n_clipped == 5 * n


@settings(max_examples=40)
@given(
    n=st.sampled_from([2, 3, 5, 10, 12]),
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    exponents=st.lists(st.integers(0, 22), min_size=4, max_size=4),
    bits=st.integers(0, 24),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_sum_equals_the_float64_average_within_the_bound(
    n: int, lengths: list[int], exponents: list[int], bits: int, dtype: type, seed: int
) -> None:
    group, rng = group_of(n), np.random.default_rng(seed)
    layout = Layout(names=tuple(f"t{i}" for i in range(len(lengths))), lengths=tuple(lengths))
    scales = tuple(exponents[: len(lengths)])
    values: dict[str, Values] = {name: rng.normal(size=layout.length).astype(dtype) for name in group.ids}
    weights = {name: int(rng.integers(1, 2**bits + 1)) for name in group.ids}
    result = tier_a(group, plan_of(layout, exponents=scales, weight_bits=bits), values, weights)
    exact, size = plain_sum(values, weights, 2**bits), magnitude(values, weights, 2**bits)
    per_element = np.repeat(scales, lengths)
    bound = np.array([error_bound(n, int(s), m) for s, m in zip(per_element, size, strict=True)])
    assert (np.abs(result.values - exact) <= bound * (1 + 1e-12)).all()
    average = np.average(list(values.values()), axis=0, weights=list(weights.values()))
    slack = bound * 2**bits / result.total_weight + 1e-12
    assert (np.abs(result.mean() - average) <= slack).all()
    assert result.n_clipped == 0


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), n=st.sampled_from([4, 7, 10, 13]), length=st.integers(1, 30))
def test_any_tolerable_drop_pattern_is_survived(seed: int, n: int, length: int) -> None:
    group, rng = group_of(n, ring_degree=8), np.random.default_rng(seed)
    most = n - max(group.roster.min_contributors, group.roster.share_threshold(n))
    lost = [str(name) for name in rng.choice(group.ids, size=int(rng.integers(0, most + 1)), replace=False)]
    values, weights = draw(group, length, seed)
    sessions, server = drive_to_upload(group, plan_of(one_tensor(length), tier=TIER_B), values, weights, lost)
    result = unmask(sessions, server)[1].finish()
    left = {name: x for name, x in values.items() if name not in lost}
    assert result.contributors == tuple(left)
    assert result.total_weight == sum(weights[name] for name in left)
    clip_of_all = as_integers(left, weights, 16, 16)
    np.testing.assert_array_equal(result.values * 2.0**16, clip_of_all)


@pytest.mark.parametrize(("n", "n_lost", "degree", "colluders"), [(10, 2, 6, 2), (50, 5, 12, 5)])
def test_tier_b_sums_over_the_survivors(n: int, n_lost: int, degree: int, colluders: int) -> None:
    group = group_of(n, ring_degree=degree, n_colluders=colluders)
    lost = group.ids[1 : 1 + n_lost]
    values, weights = draw(group, 1001, seed=n)
    sessions, server = drive_to_upload(group, plan_of(one_tensor(1001), tier=TIER_B), values, weights, lost)
    assert server.missing == lost
    result = unmask(sessions, server)[1].finish()
    left = {name: x for name, x in values.items() if name not in lost}
    np.testing.assert_array_equal(result.values * 2.0**16, as_integers(left, weights, 16, 16))


def test_partners_silent_at_reveal_are_survived() -> None:
    group = group_of(10, n_colluders=2)
    values, weights = draw(group, 33, seed=4)
    sessions, server = drive_to_upload(group, plan_of(one_tensor(33), tier=TIER_B), values, weights)
    result = unmask(sessions, server, silent=group.ids[:3])[1].finish()
    np.testing.assert_array_equal(result.values * 2.0**16, as_integers(values, weights, 16, 16))


def test_too_many_silent_partners_lose_the_round() -> None:
    group = group_of(10, n_colluders=2)
    values, weights = draw(group, 3, seed=4)
    sessions, server = drive_to_upload(group, plan_of(one_tensor(3), tier=TIER_B), values, weights)
    with pytest.raises(RoundLostError, match="6 survivors answered; 7 are needed"):
        unmask(sessions, server, silent=group.ids[:4])[1].finish()


def test_a_silent_neighbour_of_a_lost_partner_loses_the_round() -> None:
    group = group_of(10)
    values, weights = draw(group, 3, seed=4)
    lost = group.ids[:1]
    sessions, server = drive_to_upload(group, plan_of(one_tensor(3), tier=TIER_B), values, weights, lost)
    with pytest.raises(RoundLostError, match="partner-03 is silent, and only it can open its masks with partner-00"):
        unmask(sessions, server, silent=["partner-03"])[1].finish()


def test_too_many_lost_partners_lose_the_round() -> None:
    group = group_of(10)
    values, weights = draw(group, 3, seed=4)
    server = drive_to_upload(group, plan_of(one_tensor(3), tier=TIER_B), values, weights, group.ids[:5])[1]
    with pytest.raises(RoundLostError, match="5 of 10 partners survive; 6 are needed"):
        server.propose()


def test_a_ring_that_could_be_cut_loses_the_round() -> None:
    group = group_of(12, ring_degree=4, n_colluders=1)
    values, weights = draw(group, 3, seed=4)
    server = drive_to_upload(group, plan_of(one_tensor(3), tier=TIER_B), values, weights, group.ids[:3])[1]
    with pytest.raises(RoundLostError, match="3 partners lost and 1 colluding could cut a ring of 4"):
        server.propose()


def test_too_few_signatures_lose_the_round() -> None:
    group = group_of(4)
    values, weights = draw(group, 3, seed=4)
    server, _ = drive_to_upload(group, plan_of(one_tensor(3), tier=TIER_B), values, weights)[1].propose()
    with pytest.raises(RoundLostError, match="0 survivors signed; 3 are needed"):
        server.confirm()


def test_a_loss_before_ready_costs_nothing_and_one_after_it_the_step() -> None:
    group = group_of(5)
    values, weights = draw(group, 3, seed=1)
    plan = plan_of(one_tensor(3))
    sessions, server = begin(group, plan, group.ids[:4])
    _, messages = upload(sessions, server.header, {n: values[n] for n in group.ids[:4]}, weights)
    for message in messages.values():
        server = server.add(message)
    assert server.finish().contributors == group.ids[:4]
    lossy = drive_to_upload(group, plan, values, weights, lost=group.ids[:1])[1]
    with pytest.raises(RoundLostError, match="partner-00 went after READY"):
        lossy.finish()


def test_too_few_ready_partners_open_no_round() -> None:
    group = group_of(5)
    with pytest.raises(RoundLostError, match="2 partners are ready; a sum takes 3"):
        begin(group, plan_of(one_tensor(3)), group.ids[:2])


@pytest.mark.parametrize(("n", "degree"), [(11, 2), (11, 10), (12, 4), (50, 6), (51, 12)])
def test_the_ring_is_regular_and_mutual(n: int, degree: int) -> None:
    header = begin(group_of(n, ring_degree=degree), plan_of(one_tensor(1)))[1].header
    near = {partner: neighbours(header, partner) for partner in header.contributors}
    assert {len(found) for found in near.values()} == {degree}
    assert all(partner in near[other] and other != partner for partner in near for other in near[partner])
    reached = {header.contributors[0]}
    for _ in header.contributors:
        reached |= {other for partner in reached for other in near[partner]}
    assert reached == set(header.contributors)


def test_the_ring_changes_with_the_header() -> None:
    group = group_of(30)
    first, second = (begin(group, plan_of(one_tensor(1), round_index=i))[1].header for i in (0, 1))
    assert any(neighbours(first, partner) != neighbours(second, partner) for partner in group.ids)


@pytest.mark.parametrize("tier", list(Tier))
def test_counts_are_summed_in_two_bytes_a_row(tier: Tier) -> None:
    group, rng = group_of(5), np.random.default_rng(0)
    plan = plan_of(one_tensor(1000), tier=tier, exponents=(), weight_bits=0)
    sessions, server = begin(group, plan)
    bitmaps = {name: rng.random(1000) < 0.3 for name in group.ids}
    for name, bitmap in bitmaps.items():
        out = sessions[name].masked_counts(sessions[name].prepare_mask(server.header), bitmap)
        sessions[name] = out.session
        assert len(encode(out.message)) < 2 * 1000 + 700
        server = server.add(out.message)
    if tier is TIER_B:
        server = unmask(sessions, server)[1]
    np.testing.assert_array_equal(server.finish_counts(), np.sum(list(bitmaps.values()), axis=0))


def test_the_next_scale_follows_the_last_aggregate() -> None:
    group = group_of(3)
    layout = Layout(names=("a", "b"), lengths=(4, 4))
    values: dict[str, Values] = {n: np.array([1, -2, 3, 4, 0, 0, 0, 0], dtype=np.float32) for n in group.ids}
    plan = plan_of(layout, exponents=(10, 9), weight_bits=0)
    last = tier_a(group, plan, values, dict.fromkeys(group.ids, 1))
    # limit 2^31/3, peak 12, 6 bits of headroom: floor(29.41 - 6 - 3.58) = 19
    assert next_exponents(last) == (19, 9)


def test_a_sum_with_clips_is_not_used() -> None:
    """Weights and the count of clipped elements are all that it says; one partner that clips is enough."""
    group = group_of(3)
    values: dict[str, Values] = {n: np.array([1, -2, 3, 4], dtype=np.float32) for n in group.ids}
    values[group.ids[1]] = np.array([1, 1, 2e9, -3e9], dtype=np.float32)
    plan = plan_of(one_tensor(4), exponents=(0,), weight_bits=3)
    found = tier_a(group, plan, values, dict.fromkeys(group.ids, 8))
    assert (found.total_weight, found.n_clipped) == (24, 2)
    for use in (lambda: found.values, found.mean, lambda: found.peaks, lambda: next_exponents(found)):
        with pytest.raises(UpdateError, match="2 elements are beyond the clip limit: this sum is noise"):
            use()


def test_used_and_stale_server_states_are_refused() -> None:
    group = group_of(3)
    values, weights = draw(group, 3, seed=1)
    plan = plan_of(one_tensor(3))
    sessions, opened = begin(group, plan)
    _, messages = upload(sessions, opened.header, values, weights)
    first, second, third = messages.values()
    server = opened.add(first)
    with pytest.raises(MessageError, match="has gone on from this state"):
        opened.add(second)
    server = server.add(second).add(third)
    server.finish()
    with pytest.raises(MessageError, match="has gone on from this state"):
        server.finish()


def test_only_the_sum_is_learnt() -> None:
    group = group_of(3)
    values, weights = draw(group, 40, seed=1)
    server = drive_to_upload(group, plan_of(one_tensor(40)), values, weights)[1]
    assert all(message.words.size == 0 for message in server.arrived.values())


@pytest.mark.parametrize(("n", "tier", "extra"), [(10, Tier.COMMIT_THEN_MASK, 2048), (50, TIER_B, 5120)])
def test_bytes_a_partner_sends_beyond_four_a_parameter(n: int, tier: Tier, extra: int) -> None:
    group = group_of(n, ring_degree=12, n_colluders=5)
    values, weights = draw(group, 1000, seed=2)
    sessions, server = begin(group, plan_of(one_tensor(1000), tier=tier))
    name = group.ids[0]
    ready = encode(group.sessions[name].commit(0, one_tensor(1000), server.header.model_digest)[1])
    sessions, messages = upload(sessions, server.header, values, weights)
    n_bytes = len(ready) + len(encode(messages[name])) - 4000
    if tier is TIER_B:
        for message in list(messages.values())[:-5]:
            assert isinstance(message, MaskedUpdate)
            server = server.add(message)
        server, proposal = server.propose()
        for partner in proposal.survivors:
            sessions[partner], signature = sessions[partner].sign_survivors(proposal)
            server = server.add_signature(signature)
        server, confirmed = server.confirm()
        _, reveal = sessions[name].reveal(confirmed[name])
        n_bytes += len(encode(signature)) + len(encode(reveal))
    assert n_bytes <= extra


@given(n=st.integers(2, 255))
def test_the_clip_limit_is_the_largest_float32_not_above_the_share(n: int) -> None:
    limit, share = clip_limit(n), (2**31 - 1) // n
    assert int(limit) == float(limit) <= share < float(np.nextafter(limit, np.float32(np.inf)))


def test_a_partner_stops_counting_clips_before_the_sum_could_wrap() -> None:
    for n in (2, 3, 50):
        header = begin(group_of(n), plan_of(one_tensor(1)))[1].header
        assert (n - 1) * max_clip_count(header) < n * max_clip_count(header) < 2**32


def test_the_example_in_the_docs_runs() -> None:
    text = (Path(__file__).parents[1] / "docs" / "secagg.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    names: dict[str, object] = {}
    exec(code, names)  # noqa: S102
    assert "result" in names


def test_masking_takes_the_memory_of_one_vector_and_a_little() -> None:
    group, length = group_of(3), 4_000_000
    sessions, server = begin(group, plan_of(one_tensor(length)))
    values = np.ones(length, dtype=np.float32)
    tracemalloc.start()
    try:
        session = sessions[group.ids[0]]
        session.masked_update(session.prepare_mask(server.header), values, 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * length + 2_000_000
