"""What a masked vector looks like to whoever lacks the masks: uniform noise, unrelated from round to round."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from pharmonia.secagg.fixedpoint import Values
from pharmonia.secagg.header import Tier
from pharmonia.secagg.masks import sum_masks
from pharmonia.secagg.streams import Stream, add_streams, mask_key
from secagg_cases import Consortium, begin, consortium, drive_to_upload, one_tensor, plan_of, upload

LENGTH = 200_000
GROUP = consortium(4, n_colluders=1)
FIRST = GROUP.ids[0]
LEAST_P = 1e-6  # a sound stream fails once in a million runs


def masked(values: Values, tier: Tier = Tier.COMMIT_THEN_MASK, round_index: int = 0) -> npt.NDArray[np.unsignedinteger]:
    sessions, server = begin(GROUP, plan_of(one_tensor(values.size), tier=tier, round_index=round_index))
    _, messages = upload(sessions, server.header, {FIRST: values}, {FIRST: 1})
    return messages[FIRST].words


def uniform_p(words: npt.NDArray[np.unsignedinteger]) -> list[float]:
    """p-values of chi-square tests on each byte of the words."""
    raw = words.view(np.uint8).reshape(words.size, -1)
    return [float(stats.chisquare(np.bincount(raw[:, i], minlength=256)).pvalue) for i in range(raw.shape[1])]


@pytest.mark.parametrize("tier", list(Tier))
def test_a_masked_zero_vector_looks_uniform(tier: Tier) -> None:
    assert min(uniform_p(masked(np.zeros(LENGTH, dtype=np.float32), tier))) > LEAST_P


@pytest.mark.parametrize("tier", list(Tier))
def test_a_clipped_update_is_noise(tier: Tier) -> None:
    """One element of 200,000 is too large: what leaves is new noise each time, for whoever takes the masks off too."""
    values = np.full(LENGTH, 0.25, dtype=np.float32)
    sessions, server = begin(GROUP, plan_of(one_tensor(LENGTH), tier=tier))

    def left(values: Values) -> list[npt.NDArray[np.unsignedinteger]]:
        masks = [sessions[FIRST].prepare_mask(server.header) for _ in range(2)]
        bare = [sum_masks(server.header, FIRST, sessions[FIRST].pair_keys, mask.seed).take() for mask in masks]
        sent = [sessions[FIRST].masked_update(mask, values, 3).message.words for mask in masks]
        return [words - mask for words, mask in zip(sent, bare, strict=True)]

    first, second = left(values)
    np.testing.assert_array_equal(first, second)
    values[1_000] = 2.0**30
    first, second = left(values)
    assert [list(words[-2:]) for words in (first, second)] == [[3, 1], [3, 1]]
    for noise in (first[:-2], second[:-2], first[:-2] - second[:-2]):
        assert min(uniform_p(noise)) > LEAST_P


def test_a_structured_update_looks_uniform() -> None:
    assert min(uniform_p(masked(np.repeat([1.0, -1.0], LENGTH // 2).astype(np.float32)))) > LEAST_P


def test_the_statistics_would_see_an_unmasked_update() -> None:
    plain = np.rint(np.random.default_rng(0).normal(0, 2.0**16, LENGTH)).astype(np.int64).astype("<u4")
    assert min(uniform_p(plain)) < 1e-100


def test_a_masked_update_does_not_correlate_with_the_update() -> None:
    """The attack works on the plain update and on the sum of fixed-point words, and fails on the masked words."""
    x = np.random.default_rng(1).normal(size=LENGTH).astype(np.float32)
    seen = masked(x)[:-2].astype("<u4").view("<i4").astype(np.float64)
    plain = np.rint(x * 2.0**16)
    limit = 6 / np.sqrt(LENGTH)
    assert abs(np.corrcoef(seen, x)[0, 1]) < limit
    assert np.corrcoef(plain, x)[0, 1] > 0.999


def test_the_same_header_gives_the_same_mask_and_another_an_unrelated_one() -> None:
    headers = [begin(GROUP, plan_of(one_tensor(LENGTH), round_index=i))[1].header for i in (0, 1)]
    keys = GROUP.sessions[FIRST].pair_keys
    first, again, other = (sum_masks(header, FIRST, keys, b"").take() for header in (headers[0], *headers))
    np.testing.assert_array_equal(first, again)
    assert min(uniform_p(first - other)) > LEAST_P
    assert np.count_nonzero(first == other) < 10


def test_a_self_mask_is_fresh_in_every_round_of_tier_b() -> None:
    sessions, server = begin(GROUP, plan_of(one_tensor(64), tier=Tier.DROPOUT_TOLERANT))
    first, second = (sessions[FIRST].prepare_mask(server.header) for _ in range(2))
    assert first.seed != second.seed
    assert not np.array_equal(first.take(), second.take())


@pytest.mark.parametrize("tier", list(Tier))
def test_a_server_with_colluders_sees_only_the_honest_sum(tier: Tier) -> None:
    """Server and one partner take off all they can: each honest partner is left uniform, their sum is not."""
    group = consortium(3, n_colluders=1)
    a, b, evil = group.ids
    x: dict[str, Values] = {name: np.full(LENGTH, 1.0 + i, dtype=np.float32) for i, name in enumerate(group.ids)}
    ones = dict.fromkeys(group.ids, 1)
    sessions, server = begin(group, plan_of(one_tensor(LENGTH), tier=tier, weight_bits=0))
    _, messages = upload(sessions, server.header, x, ones)
    left = {name: without_colluder(group, server.header.digest, messages[name].words, name, evil) for name in (a, b)}
    assert min(uniform_p(left[a])) > LEAST_P
    if tier is Tier.COMMIT_THEN_MASK:
        total = (left[a] + left[b])[:-2]
        assert set(total.tolist()) == {3 * 2**16}


def without_colluder(
    group: Consortium, rh: bytes, words: npt.NDArray[np.unsignedinteger], name: str, evil: str
) -> npt.NDArray[np.unsignedinteger]:
    """The words of a partner less the mask that it shares with a colluding one."""
    bare = words.copy()
    add_streams(bare, [Stream(mask_key(group.sessions[evil].pair_keys[name], rh), is_added=name > evil)])
    return bare


def test_a_lost_partner_s_late_upload_is_noise_to_the_server() -> None:
    """With every pair mask of the round revealed, the self-mask still covers the update that came too late."""
    group = consortium(5)
    zero: dict[str, Values] = {name: np.zeros(LENGTH, dtype=np.float32) for name in group.ids}
    ones = dict.fromkeys(group.ids, 1)
    plan = plan_of(one_tensor(LENGTH), tier=Tier.DROPOUT_TOLERANT)
    sessions, server = begin(group, plan)
    _, messages = upload(sessions, server.header, zero, ones)
    late = group.ids[-1]
    words = messages[late].words
    for other in group.ids[:-1]:
        words = without_colluder(group, server.header.digest, words, late, other)
    assert min(uniform_p(words)) > LEAST_P
    assert drive_to_upload(group, plan, zero, ones, lost=[late])[1].missing == (late,)
