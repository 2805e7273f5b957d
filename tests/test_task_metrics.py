"""Metrics of many tasks at once equal scikit-learn's and SciPy's, task by task; gains by hand."""

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk  # type: ignore[import-untyped]

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import MetricError
from pharmonia.evaluate.calibration import calibration_cells
from pharmonia.evaluate.classification import PRIOR, ClassificationScores, classification_scores
from pharmonia.evaluate.gain import Estimate, Undefined
from pharmonia.evaluate.perfection import gain_by_amount, proximity_gains, task_gains
from pharmonia.evaluate.regression import regression_scores
from pharmonia.evaluate.tasks import Gap, TaskRows, by_task, group_means, ordered_bits

GRIDS = [None, 4, 16]  # distinct probabilities: all, or so many that most are tied


def task_rows(
    task: npt.ArrayLike, measured: npt.ArrayLike, predicted: npt.ArrayLike, n_tasks: int, censor: npt.ArrayLike = 0
) -> TaskRows:
    place = np.asarray(task, dtype=np.int32)
    return TaskRows(
        task=place,
        measured=np.asarray(measured, dtype=np.float32),
        predicted=np.asarray(predicted, dtype=np.float32),
        censor=np.broadcast_to(np.asarray(censor, dtype=np.int8), place.shape),
        n_tasks=n_tasks,
    )


def binary_rows(seed: int, n_rows: int, n_tasks: int, grid: int | None) -> TaskRows:
    """Some tasks without rows, some with a few, some of one class, in mixed order; some probabilities 0, 1/2 and 1."""
    rng = np.random.default_rng(seed)
    task = np.minimum(rng.exponential(n_tasks / 3, n_rows).astype(int), n_tasks - 1)
    measured = rng.random(n_rows) < rng.choice([0.02, 0.3, 0.7], n_tasks)[task]
    predicted = np.clip(rng.normal(0.4 + 0.2 * measured, 0.3), 0, 1)
    if grid:
        predicted = np.round(predicted * grid) / grid
    return task_rows(task, measured, predicted, n_tasks)


def by_sklearn(y: npt.NDArray[np.float32], p: npt.NDArray[np.float32]) -> dict[str, float]:
    """Each metric of one task, from scikit-learn's own functions."""
    precision, recall, _ = sk.precision_recall_curve(y, p)
    fpr, tpr, _ = sk.roc_curve(y, p, drop_intermediate=False)
    calibrated = np.append(1.0, tpr[1:] * PRIOR / (tpr[1:] * PRIOR + fpr[1:] * (1 - PRIOR)))
    thresholds = np.unique(p)
    return {
        "auroc": sk.roc_auc_score(y, p),
        "auprc": sk.auc(recall, precision),
        "auprc_calibrated": sk.auc(tpr, calibrated),
        "average_precision": sk.average_precision_score(y, p),
        "f1": sk.f1_score(y, p >= np.float32(0.5)),
        "f1_max": max(sk.f1_score(y, p >= t) for t in thresholds),
        "kappa": sk.cohen_kappa_score(y, p >= np.float32(0.5)),
        "kappa_max": max(sk.cohen_kappa_score(y, p >= t) for t in thresholds),
        "brier": sk.brier_score_loss(y, p.astype(np.float64)),
    }


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), grid=st.sampled_from(GRIDS), n_rows=st.integers(20, 200))
def test_classification_equals_scikit_learn(seed: int, grid: int | None, n_rows: int) -> None:
    rows = binary_rows(seed, n_rows, 8, grid)
    found = classification_scores(rows)
    for task in range(rows.n_tasks):
        inside = rows.task == task
        y, p = rows.measured[inside], rows.predicted[inside]
        if 0 < y.sum() < y.size:
            for name, expected in by_sklearn(y, p).items():
                assert getattr(found, name)[task] == pytest.approx(expected, abs=1e-9), (name, task)
            assert found.gap[task] == Gap.NONE


@pytest.mark.parametrize("grid", GRIDS)
def test_areas_of_many_large_tasks_equal_scikit_learn(grid: int | None) -> None:
    """More rows than one part holds; the tasks between parts too."""
    rows = binary_rows(1, 300_000, 60, grid)
    found = classification_scores(rows)
    assert len(by_task(rows)) > 2
    for task in (0, 1, 7, 23, 59):
        y, p = rows.measured[rows.task == task], rows.predicted[rows.task == task]
        if 0 < y.sum() < y.size:
            assert found.auroc[task] == pytest.approx(sk.roc_auc_score(y, p), abs=1e-12)
            assert found.average_precision[task] == pytest.approx(sk.average_precision_score(y, p), abs=1e-12)


def test_classification_worked_by_hand() -> None:
    """Positives at .95 and .8, negatives at .8 and .3: of four pairs three are in order and one is tied."""
    found = classification_scores(task_rows([0] * 4, [1, 0, 1, 0], [0.95, 0.8, 0.8, 0.3], 1))
    assert found.auroc[0] == (3 + 0.5) / 4
    assert found.average_precision[0] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert found.auprc[0] == pytest.approx(0.5 * 1 + 0.5 * (1 + 2 / 3) / 2)
    assert found.f1[0] == found.f1_max[0] == pytest.approx(0.8)
    assert found.kappa[0] == found.kappa_max[0] == pytest.approx(0.5)
    assert found.brier[0] == pytest.approx((0.0025 + 0.64 + 0.04 + 0.09) / 4)
    assert found.calibration_error[0] == pytest.approx((0.05 + 0.6 + 0.3) / 4, abs=1e-6)
    calibrated = (1 * 0.1) / (1 * 0.1 + 0.5 * 0.9)  # recall 1 and fall-out 1/2, as if a tenth were positive
    assert found.auprc_calibrated[0] == pytest.approx(0.5 + 0.5 * (1 + calibrated) / 2)


def test_a_task_of_one_class_or_without_rows_has_a_reason_and_what_it_can_have() -> None:
    found = classification_scores(task_rows([0, 0, 2, 2], [1, 1, 0, 1], [0.5, 1.0, 0.1, 0.2], 4))
    assert found.gap.tolist() == [Gap.ONE_CLASS, Gap.NO_ROWS, Gap.NONE, Gap.NO_ROWS]
    assert found.brier[[0, 2]] == pytest.approx([0.125, 0.325])
    for name in ("auroc", "auprc", "auprc_calibrated", "average_precision", "f1", "f1_max", "kappa", "kappa_max"):
        values = getattr(found, name)
        assert np.isnan(values).tolist() == [True, True, False, True], name
    assert [Gap(code).reason for code in (0, 2)] == ["", "labels of one class only"]


def test_no_rows_at_all_are_no_crash() -> None:
    for n_tasks in (0, 3):
        nothing = task_rows([], [], [], n_tasks)
        assert np.isnan(classification_scores(nothing).auroc).all()
        assert regression_scores(nothing).gap.tolist() == [Gap.NO_ROWS] * n_tasks


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), grid=st.sampled_from(GRIDS))
def test_the_order_of_rows_and_other_tasks_change_nothing(seed: int, grid: int | None) -> None:
    rows = binary_rows(seed, 80, 6, grid)
    order = np.random.default_rng(seed).permutation(len(rows))
    mixed = task_rows(rows.task[order], rows.measured[order], rows.predicted[order], rows.n_tasks)
    only = rows.task == 1
    alone = task_rows(np.zeros(only.sum()), rows.measured[only], rows.predicted[only], 1)
    first, second, third = (classification_scores(some) for some in (rows, mixed, alone))
    for name in ClassificationScores.__slots__:
        whole = getattr(first, name)
        np.testing.assert_allclose(whole, getattr(second, name), rtol=1e-12)
        np.testing.assert_allclose(whole[1], getattr(third, name)[0], rtol=1e-12)


def test_a_probability_just_below_a_half_is_not_positive() -> None:
    below = np.nextafter(np.float32(0.5), np.float32(0))
    found = classification_scores(task_rows([0] * 4, [1, 1, 0, 0], [0.5, below, below, 0.1], 1))
    assert found.f1[0] == pytest.approx(2 / 3)


def test_a_calibrated_forecast_has_no_calibration_error_and_bins_are_half_open() -> None:
    cells = calibration_cells(task_rows([0] * 6, [0, 0, 0, 1, 1, 0], [0.0, 0.25, 0.25, 0.25, 1.0, 0.25], 1))
    assert cells.n_rows[0].tolist() == [1, 0, 4, 0, 0, 0, 0, 0, 0, 1]
    assert cells.error[0] == 0
    assert calibration_cells(task_rows([0], [0], [0.5], 1)).n_rows[0].tolist() == [0] * 5 + [1] + [0] * 4


def value_rows(seed: int, n_rows: int, n_tasks: int, grid: int | None) -> TaskRows:
    rng = np.random.default_rng(seed)
    task = rng.integers(0, n_tasks, n_rows)
    measured = rng.normal(5 + task, 1 + task)
    predicted = measured + rng.normal(0, 2, n_rows)
    if grid:
        measured, predicted = np.round(measured), np.round(predicted)
    return task_rows(task, measured, predicted, n_tasks, rng.choice([-1, 0, 0, 0, 1], n_rows))


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), grid=st.sampled_from(GRIDS), n_rows=st.integers(20, 200))
def test_regression_equals_scikit_learn_and_scipy(seed: int, grid: int | None, n_rows: int) -> None:
    rows = value_rows(seed, n_rows, 5, grid)
    found = regression_scores(rows)
    for task in range(5):
        inside = rows.task == task
        y, f, sign = (array[inside].astype(np.float64) for array in (rows.measured, rows.predicted, rows.censor))
        exact = sign == 0
        assert found.rmse_censored[task] == pytest.approx(one_sided_rmse(y, f, sign), nan_ok=True)
        if exact.sum() < 3 or np.ptp(y[exact]) == 0 or np.ptp(f[exact]) == 0:
            continue
        y, f = y[exact], f[exact]
        assert found.n_exact[task] == y.size
        assert found.rmse[task] == pytest.approx(sk.root_mean_squared_error(y, f))
        assert found.r2[task] == pytest.approx(sk.r2_score(y, f))
        assert found.pearson[task] == pytest.approx(stats.pearsonr(y, f).statistic)
        assert found.spearman[task] == pytest.approx(stats.spearmanr(y, f).statistic)


def one_sided_rmse(y: Vector, f: Vector, sign: Vector) -> float:
    """Row by row: above a lower bound and below an upper bound there is no error."""
    errors = []
    for measured, predicted, side in zip(y, f, sign, strict=True):
        satisfied = (side > 0 and predicted > measured) or (side < 0 and predicted < measured)
        errors.append(0.0 if satisfied else (predicted - measured) ** 2)
    return math.sqrt(sum(errors) / len(errors)) if errors else math.nan


def test_regression_of_many_large_tasks_equals_scipy() -> None:
    rows = value_rows(2, 300_000, 10, None)
    assert len(by_task(rows)) > 2
    found = regression_scores(rows)
    for task in (0, 4, 9):
        inside = (rows.task == task) & (rows.censor == 0)
        expected = stats.spearmanr(rows.measured[inside], rows.predicted[inside]).statistic
        assert found.spearman[task] == pytest.approx(expected, abs=1e-12)


def test_a_regression_task_without_spread_has_errors_and_a_reason() -> None:
    rows = task_rows(
        [0, 0, 0, 1, 2, 2, 3, 3], [0.1] * 3 + [5, 1, 2, 1, 2], [0, 1, 2, 5, 1, 2, 7, 7], 4, [0] * 4 + [1, 1, 0, 0]
    )
    found = regression_scores(rows)
    assert found.gap.tolist() == [Gap.NO_SPREAD, Gap.TOO_FEW_VALUES, Gap.TOO_FEW_VALUES, Gap.NONE]
    assert np.isnan(found.r2).tolist() == [True, True, True, False]
    assert np.isnan(found.spearman).tolist() == [True, True, True, True]  # the last: equal predictions
    assert found.rmse[1] == 0
    assert np.isnan(found.rmse[2])
    assert found.rmse_censored[2] == 0


@given(values=st.lists(st.floats(-(2.0**50), 2.0**50, width=32), min_size=2, max_size=20))
def test_ordered_bits_are_in_the_order_of_the_values(values: list[float]) -> None:
    array = np.array([*values, 0.0, -0.0], dtype=np.float32)
    np.testing.assert_array_equal(
        stats.rankdata(ordered_bits(array).astype(np.float64)), stats.rankdata(array.astype(np.float64))
    )


@pytest.mark.parametrize(("task", "measured", "predicted", "message"), [
    ([0], [0.5], [0.5], "labels of classification"), ([0], [1], [1.5], "probabilities"),
    ([0], [1], [-0.1], "probabilities"), ([0], [1], [math.nan], "predicted must be finite"),
    ([0], [math.inf], [0.5], "measured must be finite"), ([1], [1], [1], "not 0 to 0"), ([-1], [1], [1], "not 0 to 0"),
    ([0, 0], [1], [1], "measured must be"),
])  # fmt: skip
def test_rows_that_have_no_metric_are_refused(
    task: list[int], measured: list[float], predicted: list[float], message: str
) -> None:
    with pytest.raises(MetricError, match=message):
        classification_scores(task_rows(task, measured, predicted, 1))


def test_a_column_of_another_dtype_is_refused() -> None:
    with pytest.raises(MetricError, match="task must be"):
        TaskRows(
            task=np.zeros(1, dtype=np.int64), measured=np.zeros(1, dtype=np.float32),
            predicted=np.zeros(1, dtype=np.float32), censor=np.zeros(1, dtype=np.int8), n_tasks=1,
        )  # fmt: skip


def test_means_by_group_leave_out_what_is_undefined_or_does_not_count() -> None:
    values, weights = np.array([0.5, 0.7, math.nan, 0.9, 0.1]), np.array([1.0, 3.0, 1.0, 0.0, 1.0])
    found = group_means(values, weights, np.array([0, 0, 0, 1, 2]), 3)
    np.testing.assert_allclose(found.mean, [0.65, math.nan, 0.1])
    assert found.n_tasks.tolist() == [2, 0, 1]
    with pytest.raises(MetricError, match="groups 0 to 1"):
        group_means(values, weights, np.array([0, 0, 0, 1, 2]), 2)
    with pytest.raises(MetricError, match="value, weight and group"):
        group_means(values, weights[:2], np.zeros(5, dtype=np.int64), 1)


def test_proximity_to_perfection_by_hand() -> None:
    new, base = np.array([0.9, 0.8, 0.7, 1.0, 0.9, math.nan]), np.array([0.8, 0.8, 0.8, 1.0, 1.0, 0.5])
    found = proximity_gains(new, base, perfect=1.0)
    np.testing.assert_allclose(found, [0.5, 0.0, -0.5, 0.0, math.nan, math.nan], atol=1e-12)
    np.testing.assert_allclose(proximity_gains(np.array([0.6]), np.array([0.8]), perfect=0.0), [0.25])


@given(base=st.floats(0, 0.99), new=st.floats(0, 1))
def test_a_gain_is_one_for_a_perfect_model_and_its_sign_says_better_or_worse(base: float, new: float) -> None:
    gain, best = proximity_gains(np.array([new, 1.0]), np.array([base, base]), perfect=1.0)
    assert best == pytest.approx(1.0)
    assert np.sign(gain) == np.sign(new - base)


def summary(gains: Vector, group: npt.NDArray[np.int64] | None = None) -> tuple[float, float, float, float]:
    found = task_gains(
        gains, np.ones(gains.size), np.arange(gains.size) if group is None else group, np.random.default_rng(0), 500
    )
    assert isinstance(found.mean, Estimate)
    return found.mean.value, found.mean.low, found.mean.high, found.p_value


def test_the_gains_of_many_tasks_have_an_interval_and_a_p_value() -> None:
    gains = np.random.default_rng(1).normal(0.05, 0.1, 200)
    value, low, high, p_value = summary(gains)
    assert value == pytest.approx(gains.mean())
    half = 1.96 * gains.std() / math.sqrt(200)
    assert [low, high] == pytest.approx([value - half, value + half], abs=0.004)
    assert p_value == pytest.approx(stats.wilcoxon(gains).pvalue)


def test_tasks_of_one_assay_do_not_count_as_evidence_of_their_own() -> None:
    """Ten thresholds of each assay that all say the same are no more evidence than one."""
    gains = np.random.default_rng(2).normal(0.05, 0.1, 20)
    once = summary(gains)
    tenfold = summary(np.repeat(gains, 10), np.repeat(np.arange(20), 10))
    assert tenfold == pytest.approx(once)


def test_weights_and_undefined_gains() -> None:
    rng = np.random.default_rng(0)
    found = task_gains(
        np.array([0.2, -0.1, math.nan, 9.0, 0.0]), np.array([1.0, 2.0, 1.0, 0.0, 1.0]), np.arange(5), rng, 100
    )
    assert found.n_tasks == 3
    assert isinstance(found.mean, Estimate)
    assert found.mean.value == pytest.approx(0.0)
    assert found.share_better == pytest.approx((1 + 0.5) / 4)
    assert math.isnan(found.p_value)
    none = task_gains(np.array([math.nan]), np.ones(1), np.zeros(1, dtype=np.int64), rng, 100)
    assert none.mean == Undefined(reason="no task has a gain")
    one = task_gains(np.array([0.1, 0.2]), np.ones(2), np.zeros(2, dtype=np.int64), rng, 100)
    assert one.mean == Undefined(reason="tasks of one assay only, at least 2 are needed")
    with pytest.raises(MetricError, match="at least 100 resamples"):
        task_gains(np.zeros(2), np.ones(2), np.arange(2), rng, 99)
    with pytest.raises(MetricError, match="same tasks"):
        proximity_gains(np.zeros(2), np.zeros(3), 1.0)


def test_scarce_tasks_that_gain_most_show_in_bins_and_trend() -> None:
    rng = np.random.default_rng(3)
    n_train = np.repeat([30, 100, 1000, 10_000], 25)
    gains = np.repeat([0.2, 0.1, 0.05, 0.0], 25) + rng.normal(0, 0.01, 100)
    found = gain_by_amount(gains, np.ones(100), np.arange(100), n_train, rng, 100, n_bins=4)
    assert [(one.fewest, one.most, one.gains.n_tasks) for one in found.bins] == [
        (n, n, 25) for n in (30, 100, 1000, 10_000)
    ]
    means = [one.gains.mean.value for one in found.bins if isinstance(one.gains.mean, Estimate)]
    assert means == pytest.approx([0.2, 0.1, 0.05, 0.0], abs=0.01)
    assert found.trend == pytest.approx(stats.spearmanr(n_train, gains).statistic)
    assert found.p_value < 1e-6


def test_the_trend_is_over_assays_of_which_each_is_one_observation() -> None:
    rng = np.random.default_rng(4)
    per_assay = np.array([0.3, 0.2, 0.25, 0.1, 0.05, 0.0])
    amount = np.array([30, 60, 50, 200, 100, 300])
    group = np.repeat(np.arange(6), 40)
    shift = np.tile([-0.01, 0.01], 120)
    found = gain_by_amount(
        per_assay[group] + shift, np.ones(240), group, amount[group] + np.tile([-1, 1], 120), rng, 100, n_bins=4
    )
    by_hand = stats.spearmanr(amount, per_assay)
    assert found.trend == pytest.approx(by_hand.statistic)
    assert found.p_value == pytest.approx(by_hand.pvalue)
    few = group < 5
    without = gain_by_amount(per_assay[group[few]], np.ones(200), group[few], amount[group[few]], rng, 100, n_bins=4)
    assert math.isnan(without.p_value)


def test_assays_that_differ_without_a_trend_seldom_show_one() -> None:
    rng = np.random.default_rng(1)
    n_found = 0
    for _ in range(200):
        group = np.repeat(np.arange(20), 6)
        gains = rng.normal(0, 0.1, 20)[group] + rng.normal(0, 0.05, 120)
        n_train = rng.integers(30, 500, 20)[group] + rng.integers(-5, 6, 120)
        n_found += gain_by_amount(gains, np.ones(120), group, n_train, rng, 100, n_bins=4).p_value < 0.05
    assert n_found / 200 < 0.1


@given(seed=st.integers(0, 1000), n_bins=st.integers(1, 8))
@settings(max_examples=20)
def test_every_task_is_in_one_bin_and_equal_amounts_in_the_same(seed: int, n_bins: int) -> None:
    rng = np.random.default_rng(seed)
    n_train = rng.integers(1, 12, 30)
    found = gain_by_amount(rng.normal(size=30), np.ones(30), np.arange(30), n_train, rng, 100, n_bins)
    assert sum(one.gains.n_tasks for one in found.bins) == 30
    assert len(found.bins) <= n_bins
    ends = [(one.fewest, one.most) for one in found.bins]
    assert all(low <= high for low, high in ends)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ends))


def test_no_trend_without_tasks() -> None:
    rng = np.random.default_rng(0)
    found = gain_by_amount(np.empty(0), np.empty(0), np.empty(0, dtype=int), np.empty(0, dtype=int), rng, 100, 3)
    assert found.bins == ()
    assert math.isnan(found.trend)
    with pytest.raises(MetricError, match="at least 1 bin"):
        gain_by_amount(np.zeros(1), np.ones(1), np.zeros(1, dtype=int), np.ones(1, dtype=int), rng, 100, 0)
