"""The metrics agree with their definitions, exactly where they promise to."""

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import MetricError
from pharmonia.evaluate.bootstrap import Resampler, quantiles, resample_counts
from pharmonia.evaluate.metrics import (
    Metric,
    PairCount,
    Scores,
    concordance_index,
    count_pairs,
    mse,
    pearson,
    r2m,
    score,
)
from pharmonia.evaluate.pairs import PairOrder


def counted_by_definition(y: Vector, f: Vector) -> PairCount:
    comparable = y[:, None] > y[None, :]
    return PairCount(
        n_comparable=int(comparable.sum()),
        n_concordant=int((comparable & (f[:, None] > f[None, :])).sum()),
        n_tied=int((comparable & (f[:, None] == f[None, :])).sum()),
    )


def tied_vectors(n_min: int = 2, n_max: int = 60) -> st.SearchStrategy[tuple[Vector, Vector]]:
    """Two vectors of one length with many ties of each and of both."""
    pairs = st.tuples(st.integers(0, 6), st.integers(-3, 3))
    return st.lists(pairs, min_size=n_min, max_size=n_max).map(
        lambda rows: (np.array([a for a, _ in rows], float), np.array([b for _, b in rows], float))
    )


def test_metrics_worked_by_hand() -> None:
    y, f = [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]
    assert mse(y, f) == pytest.approx(2 / 3)
    assert concordance_index(y, f) == pytest.approx(2 / 3)
    assert pearson(y, f) == pytest.approx(0.5)
    # k = 13/14, residuals (1, -11, 16)/14: r02 = 1 - 378/196/2 = 1/28; r2 = 1/4
    assert r2m(y, f) == pytest.approx(0.25 * (1 - math.sqrt(1 / 4 - 1 / 28)))


def test_equal_predictions_count_half() -> None:
    assert concordance_index([1.0, 2.0, 2.0, 4.0], [5.0, 5.0, 5.0, 5.0]) == 0.5
    assert count_pairs([1, 2, 2, 4], [5, 5, 6, 5]) == PairCount(n_comparable=5, n_concordant=1, n_tied=3)


@given(vectors=tied_vectors())
def test_pairs_are_counted_as_defined_with_many_ties(vectors: tuple[Vector, Vector]) -> None:
    assert count_pairs(*vectors) == counted_by_definition(*vectors)


@given(vectors=tied_vectors(), seed=st.integers(0, 99))
def test_the_order_of_rows_changes_nothing(vectors: tuple[Vector, Vector], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(vectors[0].size)
    assert count_pairs(vectors[0][order], vectors[1][order]) == count_pairs(*vectors)


def test_pairs_agree_with_kendalls_tau_on_a_million_rows_in_seconds() -> None:
    rng = np.random.default_rng(5)
    y = rng.normal(size=1_000_000).round(2)
    f = (y + rng.normal(size=y.size)).round(2)
    start = time.process_time()
    pairs = count_pairs(y, f)
    assert time.process_time() - start < 10.0
    n_f_only_tied = pairs.n_tied
    n_discordant = pairs.n_comparable - pairs.n_concordant - n_f_only_tied
    all_pairs = y.size * (y.size - 1) // 2
    f_ties = sum(n * (n - 1) // 2 for n in np.unique(f, return_counts=True)[1].tolist())
    tau = stats.kendalltau(y, f).statistic
    by_tau = tau * math.sqrt(all_pairs - f_ties) * math.sqrt(pairs.n_comparable)
    assert round(by_tau) == pairs.n_concordant - n_discordant


@given(seed=st.integers(0, 10**6))
def test_pearson_is_scipys(seed: int) -> None:
    y, f = np.random.default_rng(seed).normal(11.7, 0.8, size=(2, 30))
    assert pearson(y, f) == pytest.approx(stats.pearsonr(y, f).statistic, abs=1e-12)


@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-60, 1e-3, 1.0, 1e60]))
def test_units_change_only_the_mse(seed: int, scale: float) -> None:
    y, f = np.random.default_rng(seed).normal(11.7, 0.8, size=(2, 30))
    plain, scaled = score(y, f), score(scale * y, scale * f)
    assert scaled.ci == plain.ci
    assert scaled.pearson == pytest.approx(plain.pearson, rel=1e-9, abs=1e-12)
    assert scaled.r2m == pytest.approx(plain.r2m, rel=1e-6, abs=1e-6)


def test_perfect_predictions_score_perfectly() -> None:
    perfect = score([1.0, 2.0, 5.0], [1.0, 2.0, 5.0])
    assert (perfect.mse, perfect.ci) == (0.0, 1.0)
    assert perfect.pearson == pytest.approx(1.0)
    assert perfect.r2m == pytest.approx(1.0, abs=1e-7)


def test_a_partner_with_equal_measured_values_gets_a_reason_not_a_crash() -> None:
    scores = score([3.0, 3.0, 3.0], [1.0, 2.0, 3.0])
    assert scores.mse == pytest.approx(5 / 3)
    assert all(math.isnan(value) for value in (scores.ci, scores.pearson, scores.r2m))
    assert scores.reason == "all 3 measured values are equal"


def test_equal_predictions_have_a_concordance_index_but_no_correlation() -> None:
    scores = score([1.0, 2.0, 3.0], [7.0, 7.0, 7.0])
    assert scores.ci == 0.5
    assert math.isnan(scores.pearson)
    assert scores.reason == "all 3 predicted values are equal"


@pytest.mark.parametrize(
    ("measured", "predicted", "message"),
    [
        ([1.0, 2.0], [1.0], "one length"),
        ([1.0], [1.0], "at least 2 rows, got 1"),
        ([], [], "at least 2 rows, got 0"),
        ([1.0, math.nan], [1.0, 2.0], "measured must be finite .* nan at row 1"),
        ([1.0, 2.0], [math.inf, 2.0], "predicted must be finite .* inf at row 0"),
        ([1.0, 2.0], [1e200, 2.0], "predicted must be finite and below 1e"),
        ([[1.0, 2.0]], [[1.0, 2.0]], "vectors"),
    ],
)
def test_bad_values_are_refused_with_their_place(measured: list[float], predicted: list[float], message: str) -> None:
    for metric in (mse, concordance_index, pearson, r2m, score):
        with pytest.raises(MetricError, match=message):
            metric(measured, predicted)


def test_metrics_without_a_value_say_why() -> None:
    with pytest.raises(MetricError, match="all 2 measured values are equal"):
        concordance_index([1.0, 1.0], [1.0, 2.0])
    for metric in (pearson, r2m):
        with pytest.raises(MetricError, match="all 2 predicted values are equal"):
            metric([1.0, 2.0], [1.0, 1.0])


def test_scores_refuse_a_nan_without_a_reason() -> None:
    with pytest.raises(MetricError, match="reason"):
        Scores(n_rows=3, mse=1.0, ci=math.nan, pearson=0.1, r2m=0.1, reason="")
    with pytest.raises(MetricError, match="reason"):
        Scores(n_rows=3, mse=1.0, ci=0.5, pearson=0.1, r2m=0.1, reason="because")


def test_resamples_have_as_many_rows_as_the_sample_and_start_with_it() -> None:
    counts = resample_counts(np.random.default_rng(0), 50, 200)
    assert counts.shape == (50, 201)
    assert (counts.sum(axis=0) == 50).all()
    assert (counts[:, 0] == 1).all()


@given(vectors=tied_vectors(n_min=1, n_max=40), seed=st.integers(0, 10**6))
def test_every_resample_scores_as_if_its_rows_were_written_out(vectors: tuple[Vector, Vector], seed: int) -> None:
    y, f = vectors
    counts = resample_counts(np.random.default_rng(seed), y.size, 4)
    samples = Resampler(y, counts).metrics(f)
    for column in range(counts.shape[1]):
        rows = np.repeat(np.arange(y.size), counts[:, column])
        if rows.size < 2:
            continue
        written_out = score(y[rows], f[rows])
        expected = [getattr(written_out, metric.value) for metric in Metric]
        np.testing.assert_allclose(samples[:, column], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("n_rows", [63, 64, 65, 2048, 2049, 5000])
def test_weighted_pairs_are_exact_whatever_the_number_of_blocks(n_rows: int) -> None:
    rng = np.random.default_rng(n_rows)
    y, f = rng.normal(size=(2, n_rows)).round(1)
    counts = resample_counts(rng, n_rows, 3)
    found = PairOrder(y, f).concordant(counts.astype(np.float64))
    for column in range(4):
        rows = np.repeat(np.arange(n_rows), counts[:, column])
        pairs = count_pairs(y[rows], f[rows])
        assert found[column] == pairs.n_concordant + pairs.n_tied / 2


def test_quantiles_leave_out_the_sample_itself_and_what_is_undefined() -> None:
    assert quantiles(np.array([99.0, 1.0, np.nan, 3.0]), (0.0, 0.5, 1.0)).tolist() == [1.0, 2.0, 3.0]
    assert np.isnan(quantiles(np.array([99.0, np.nan]), (0.5,))).all()


def test_no_rows_give_no_numbers() -> None:
    counts = np.ones((0, 5), dtype=np.int16)
    assert np.isnan(Resampler(np.empty(0), counts).metrics(np.empty(0))).all()
