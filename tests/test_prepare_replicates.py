"""Repeated results to one: every rule by hand, and against joining row by row."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pharmonia.data.assays import AssayType, Direction
from pharmonia.data.assays_replicates import is_credible, join_results, spread_in_folds
from pharmonia.data.recipe_profile import PrepareProfile
from prepare_cases import assay, results

PROFILE = PrepareProfile()
ASSAYS = (
    assay("dose", AssayType.OTHER),
    assay("adme", AssayType.ADME),
    assay("low", AssayType.AUX_HTS, direction=Direction.LOW),
    assay("high", AssayType.AUX_HTS, direction=Direction.HIGH),
    assay("size", AssayType.AUX_HTS),
    assay("binary", AssayType.OTHER, is_binary=True),
    assay("panel", AssayType.CATALOG_PANEL),
)
DOSE, ADME, LOW, HIGH, SIZE, BINARY, PANEL = range(7)
Row = tuple[int, int, str, float]


def joined(rows: list[Row]) -> dict[tuple[int, int], tuple[str, float]]:
    made = join_results(results(rows), ASSAYS, PROFILE).results
    columns = (made.compound.tolist(), made.assay.tolist(), made.qualifier.tolist(), made.value.tolist())
    return {(c, a): ("<=>"[q + 1], v) for c, a, q, v in zip(*columns, strict=True)}


@pytest.mark.parametrize(
    ("which", "repeats", "expected"),
    [
        (DOSE, ["=5", "=6"], "=6"),
        (DOSE, ["=5", "<9"], "=5"),
        (DOSE, [">4", "<9"], ">4"),
        (DOSE, ["<5", "<6"], "<6"),
        (DOSE, ["=6", ">6"], "=6"),
        (PANEL, ["=5", "<9"], "=5"),
        (ADME, ["=1", "=2", "=9"], "=2"),
        (ADME, ["=1", "=2"], "=1.5"),
        (ADME, ["<1", "<2", "=9"], "<2"),
        (ADME, [">1", "=2"], "=1.5"),
        (ADME, ["<1", "=2", ">3"], "=2"),
        (ADME, ["<1", ">3"], None),
        (LOW, ["=1", "=-4", ">3"], "=-4"),
        (HIGH, ["=1", "=-4", "<3"], "=1"),
        (SIZE, ["=1", "=-4"], "=-4"),
        (SIZE, ["=4", "=-4"], "=4"),
        (BINARY, ["=1", "=1", "=-1"], "=1"),
        (BINARY, ["=1", "=-1"], "=1"),
        (BINARY, ["=-1", "=-1", "=1"], "=-1"),
    ],
)
def test_repeats_become_one_by_the_rule_of_their_assay(which: int, repeats: list[str], expected: str | None) -> None:
    made = joined([(0, which, text[0], float(text[1:])) for text in repeats])
    assert made == ({} if expected is None else {(0, which): (expected[0], float(expected[1:]))})


def plain(rows: list[Row]) -> dict[tuple[int, int], tuple[str, float]]:
    """Pair by pair, row by row."""
    made = {}
    for pair in {(compound, which) for compound, which, _, _ in rows}:
        own = [(sign, value) for compound, which, sign, value in rows if (compound, which) == pair]
        one = _plain_one(pair[1], own)
        if one is not None:
            made[pair] = one
    return made


def _plain_one(which: int, own: list[tuple[str, float]]) -> tuple[str, float] | None:
    if len(own) == 1 and which != BINARY:
        return own[0]
    if which == BINARY:
        return "=", 1.0 if sum(value for _, value in own) >= 0 else -1.0
    if which == ADME:
        counts = Counter(sign for sign, _ in own)
        top = [sign for sign in "=<>" if counts[sign] == max(counts.values())]
        sign = "=" if "=" in top else top[0] if len(top) == 1 else ""
        return (sign, float(np.median([value for _, value in own]))) if sign else None
    if which in (DOSE, PANEL, HIGH):
        own = [pair for pair in own if pair[0] != "<"] or own
        rank = [value for _, value in own]
    else:
        rank = [-value if which == LOW else abs(value) for _, value in own]
    best = [pair for pair, score in zip(own, rank, strict=True) if score == max(rank)]
    return max(best, key=lambda pair: ("<>=".index(pair[0]), pair[1]))


any_rows = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.sampled_from([DOSE, ADME, LOW, HIGH, SIZE, PANEL]),
        st.sampled_from("<=>"),
        st.integers(-4, 4).map(float),
    )
    | st.tuples(st.integers(0, 4), st.just(BINARY), st.just("="), st.sampled_from([-1.0, 1.0])),
    max_size=40,
)


@given(rows=any_rows)
@settings(max_examples=200)
def test_joining_all_at_once_equals_joining_row_by_row(rows: list[Row]) -> None:
    assert joined(rows) == plain(rows)


@given(rows=any_rows, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_the_order_of_rows_has_no_influence(rows: list[Row], seed: int) -> None:
    shuffled = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    assert joined(shuffled) == joined(rows)


@given(rows=any_rows)
@settings(max_examples=50)
def test_every_result_is_kept_merged_or_told(rows: list[Row]) -> None:
    made = join_results(results(rows), ASSAYS, PROFILE)
    assert len(made.results) + made.n_merged + made.disagreeing.size == len(rows)
    order = list(zip(made.results.assay.tolist(), made.results.compound.tolist(), strict=True))
    assert order == sorted(set(order))


def test_results_out_of_the_credible_range_are_told_for_panels_too() -> None:
    inside = [(0, DOSE, "=", 3.0), (0, ADME, "=", 1e11), (0, SIZE, "=", -10.0), (0, BINARY, "=", -1.0)]
    outside = [(0, DOSE, "=", 2.9), (0, PANEL, "=", 10.1), (0, SIZE, "=", 10.1), (0, BINARY, "=", 0.0)]
    rows = results([*inside, *outside])
    assert is_credible(rows, ASSAYS, PROFILE).tolist() == [True] * 4 + [False] * 4


def test_spread_is_the_standard_deviation_in_each_fold() -> None:
    rng = np.random.default_rng(0)
    fold = rng.integers(0, 3, 60).astype(np.int8)
    values = rng.normal(size=60)
    made = spread_in_folds(results([(i, i % 2, "=", values[i]) for i in range(60)]), fold, 3, 3)
    for which in range(2):
        for number in range(3):
            own = values[(np.arange(60) % 2 == which) & (fold == number)]
            assert made[which, number] == pytest.approx(own.std(ddof=1), rel=1e-12)
    assert made[2].tolist() == [0, 0, 0]
