"""What a coordinator learns from clips and of weights: how many elements were clipped, and the sum of the weights."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pharmonia.base.errors import HeaderError, PharmoniaError, ReplayError, RoundLostError, UnreachableError
from pharmonia.learn.contributions import Contribution
from pharmonia.learn.messages import Repeat
from pharmonia.run.grids import COARSER_BITS, MAX_REPEATS, WEIGHT_BITS
from pharmonia.run.sums import SecureSums, _repeated
from pharmonia.secagg.fixedpoint import clip_limit
from pharmonia.secagg.header import RoundHeader, Tier
from pharmonia.secagg.messages import MaskedUpdate
from pharmonia.secagg.messages import encode as encode_secure
from survivor_cases import FOUR, Net, consortium, contribution, message_in, request, sums_over

TIER_A = Tier.COMMIT_THEN_MASK
SCALES = (36, 24)
LAYOUT = request(0).layout.digest.hex()


def opened(folder: Path, tier: Tier = TIER_A) -> tuple[Net, SecureSums]:
    """At work on a grid that is known."""
    net = consortium(folder, FOUR, tier)
    sums = sums_over(net, folder, tier)
    sums.start()
    sums.restore({LAYOUT: list(SCALES)})
    return net, sums


def ada_contributes(net: Net, values: np.ndarray) -> None:
    made = Contribution(weight=100, values=values.astype(np.float32))
    net.vaults["Ada"].contribution = lambda number: made  # type: ignore[method-assign]


def unmasked(net: Net) -> list[tuple[RoundHeader, np.ndarray]]:
    """What the coordinator has once it added all words of each sum of values, in order; the two last are trailing."""
    headers = {m.digest: m for _, m in net.sent if isinstance(m, RoundHeader) and m.weight_bits == WEIGHT_BITS}
    totals: dict[bytes, np.ndarray] = defaultdict(lambda: np.zeros(LENGTH + 2, dtype=np.uint32))
    for _, message in net.answered:
        if isinstance(message, MaskedUpdate) and message.round_digest in headers:
            totals[message.round_digest] += message.words.astype(np.uint32)
    return [(headers[digest], total) for digest, total in totals.items()]


LENGTH = request(0).layout.length


def beyond_the_grid() -> np.ndarray:
    """Ada's contribution: its first element is five times over the limit of the grid, on which nobody else's is."""
    values = contribution(0).values.copy()
    values[0] = 5 * float(clip_limit(4)) * 2.0 ** (WEIGHT_BITS - SCALES[0]) / 100
    return values


def test_what_a_partner_clipped_does_not_follow_from_the_sum_and_its_repeat(tmp_path: Path) -> None:
    """One partner clips and its sum is made again; the difference of both must not be what was cut off."""
    seen = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        net, sums = opened(folder)
        ada_contributes(net, beyond_the_grid())
        assert sums.collect(request(0)).n_clipped == 0
        (fine, first), *_, (coarse, last) = unmasked(net)
        assert fine.exponents == SCALES
        assert list(first[-2:]) == [sum(range(100, 104)), 1]
        assert last[-1] == 0
        seen.append((first[:-2], last[:-2]))
        exact = last[:60].view("<i4") * 2.0 ** (fine.exponents[0] - coarse.exponents[0])
        cut_off = exact - first[:60].view("<i4")
        spread = np.abs(cut_off[1:]).max()  # elements that nobody clipped
        assert spread > 2.0**28  # without noise, at most the rounding to the coarser grid
    (first, last), (first_again, last_again) = seen
    np.testing.assert_array_equal(last, last_again)
    assert np.count_nonzero(first == first_again) <= 1  # the contributions do not determine it


def test_elements_that_fit_no_grid_lose_the_round(tmp_path: Path) -> None:
    net, sums = opened(tmp_path)
    for vault in net.vaults.values():
        vault.scale = 1e-30
    values = np.full(LENGTH, 1e-30)
    values[0] = 3e38
    ada_contributes(net, values)
    before = sums.scales
    with pytest.raises(RoundLostError, match="1 elements are too large for the coarsest grid"):
        sums.collect(request(0))
    assert len(unmasked(net)) == 1 + MAX_REPEATS
    assert net.refused == {}
    assert sums.scales == before


def test_scales_that_were_just_found_are_not_looked_for_again(tmp_path: Path) -> None:
    """Three contribute next to nothing, one much: the geometric mean tells a scale that is too fine by 20 bits."""
    net = consortium(tmp_path, FOUR, TIER_A)
    sums = sums_over(net, tmp_path, TIER_A)
    sums.start()
    for vault in net.vaults.values():
        vault.scale = 1e-8
    values = np.full(LENGTH, 7.5)
    values[0] = 1e4
    ada_contributes(net, values)
    found = sums.collect(request(0))
    assert (found.n_clipped, found.total_weight) == (0, 406)
    assert found.mean[0] == pytest.approx(1e4 * 100 / 406, rel=1e-5)
    asked = [m.magnitudes for name, m in net.sent if name == "Ada" and isinstance(m, Repeat)]
    assert True not in asked
    exponents = [header.exponents[0] for header, _ in unmasked(net)]
    assert tuple(-np.diff(exponents)) == COARSER_BITS[: len(exponents) - 1]
    assert len(exponents) > 2


# What a partner insists on: these coordinators do not follow the protocol


def finer(exponents: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(exponent + 1 for exponent in exponents)


def coarser_and_finer(exponents: tuple[int, ...]) -> tuple[int, ...]:
    return (exponents[0] - 4, exponents[1] + 1)


@pytest.mark.parametrize("asked", [tuple, finer, coarser_and_finer])
def test_only_coarser_and_seldom(tmp_path: Path, asked: Callable[[tuple[int, ...]], tuple[int, ...]]) -> None:
    net, sums = opened(tmp_path)
    sums.collect(request(0))
    n_left = net.n_answered(MaskedUpdate)
    with pytest.raises(ReplayError, match="on as coarse a grid"):
        sums._sum(_repeated, request(0), asked(SCALES))
    assert net.n_answered(MaskedUpdate) == n_left
    coarser = (SCALES[0] - 1, SCALES[1])
    sums._sum(_repeated, request(0), coarser)  # the partners are whole
    with pytest.raises(ReplayError, match="on as coarse a grid"):
        sums._sum(_repeated, request(0), asked(coarser))
    assert sums.collect(request(1)).n_clipped == 0  # another contribution, on whatever grid


def test_a_contribution_is_masked_again_so_often_and_no_more(tmp_path: Path) -> None:
    net, sums = opened(tmp_path)
    sums.collect(request(0))
    for n in range(1, MAX_REPEATS + 1):
        sums._sum(_repeated, request(0), [SCALES[0] - n, SCALES[1]])
    n_left = net.n_answered(MaskedUpdate)
    with pytest.raises(ReplayError, match=f"masked again {MAX_REPEATS} times"):
        sums._sum(_repeated, request(0), [SCALES[0] - MAX_REPEATS - 1, SCALES[1]])
    assert net.n_answered(MaskedUpdate) == n_left


def with_header(change: Callable[[RoundHeader], RoundHeader]) -> Callable[[str, bytes], bytes]:
    def changed(name: str, frame: bytes) -> bytes:
        message = message_in(frame)
        return encode_secure(change(message)) if isinstance(message, RoundHeader) else frame

    return changed


@pytest.mark.parametrize("bits", [0, 1, 6, 7, WEIGHT_BITS - 1])
def test_nothing_is_asked_about_a_weight(tmp_path: Path, bits: int) -> None:
    """Weights are 100 to 103 but Ada's, which is 3: whether they fit makes no difference to the answer."""
    net, sums = opened(tmp_path)
    small = Contribution(weight=3, values=contribution(0).values)
    net.vaults["Ada"].contribution = lambda number: small  # type: ignore[method-assign]
    net.change = with_header(lambda header: replace(header, weight_bits=bits))
    net.ignores_refusals = True
    with pytest.raises(UnreachableError):
        sums.collect(request(0))
    errors: set[tuple[type[PharmoniaError], str]] = {(type(one), str(one)) for one in net.refused.values()}
    assert errors == {(HeaderError, f"round 0 has {bits} weight bits, not {WEIGHT_BITS}")}
    assert set(net.refused) == set(FOUR)
    assert net.n_answered(MaskedUpdate) == sum(vault.n_made for vault in net.vaults.values()) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda header: replace(header, weight_bits=1),
        lambda header: replace(header, exponents=(header.exponents[0] + 1, *header.exponents[1:])),
        lambda header: replace(header, exponents=tuple(one - 9 for one in header.exponents)),
    ],
)
def test_magnitudes_are_masked_on_their_own_grid_alone(
    tmp_path: Path, change: Callable[[RoundHeader], RoundHeader]
) -> None:
    net = consortium(tmp_path, FOUR, TIER_A)
    sums = sums_over(net, tmp_path, TIER_A)
    sums.start()
    net.change = with_header(change)
    with pytest.raises(HeaderError, match="not on the grid of magnitudes"):
        sums.collect(request(0))
    assert net.n_answered(MaskedUpdate) == 0
