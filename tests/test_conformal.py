"""Prediction sets hold the true class as often as they promise, for each class by itself."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pharmonia.base.errors import MetricError
from pharmonia.evaluate.conformal import Calibration, calibrate, conformal_scores, in_domain, prediction_sets
from pharmonia.evaluate.tasks import TaskRows


def task_rows(task: list[int], measured: list[int], predicted: list[float], n_tasks: int) -> TaskRows:
    return TaskRows(
        task=np.array(task, dtype=np.int32),
        measured=np.array(measured, dtype=np.float32),
        predicted=np.array(predicted, dtype=np.float32),
        censor=np.zeros(len(task), dtype=np.int8),
        n_tasks=n_tasks,
    )


def random_rows(seed: int, n_rows: int, n_tasks: int, share: float = 0.3, noise: float = 0.2) -> TaskRows:
    rng = np.random.default_rng(seed)
    task = rng.integers(0, n_tasks, n_rows)
    positive = rng.random(n_rows) < share
    predicted = np.clip(rng.normal(0.3 + 0.4 * positive, noise), 0, 1).round(2)
    return task_rows(task.tolist(), positive.astype(int).tolist(), predicted.tolist(), n_tasks)


def test_p_values_by_hand() -> None:
    """Negatives .1 .2 .4, positives .3 .6 .9: a new compound at .35 is like one of three of either class."""
    calibration = calibrate(task_rows([0] * 6, [0, 0, 0, 1, 1, 1], [0.4, 0.1, 0.2, 0.9, 0.3, 0.6], 1))
    found = calibration.p_values(np.zeros(3, dtype=np.int32), np.array([0.35, 0.95, 0.4], dtype=np.float32))
    np.testing.assert_allclose(found, [[2 / 4, 2 / 4], [1 / 4, 4 / 4], [2 / 4, 2 / 4]])
    sets = prediction_sets(found, 0.3)
    assert sets.tolist() == [[True, True], [False, True], [True, True]]
    assert in_domain(sets).tolist() == [False, True, False]


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_p_values_are_counts_over_all_calibration_rows(seed: int) -> None:
    rows, new = random_rows(seed, 60, 4), random_rows(seed + 1, 20, 4)
    found = calibrate(rows).p_values(new.task, new.predicted)
    for i, (task, p) in enumerate(zip(new.task, new.predicted, strict=True)):
        negative, positive = ((rows.task == task) & (rows.measured == c) for c in (0, 1))
        assert found[i, 0] == ((rows.predicted[negative] >= p).sum() + 1) / (negative.sum() + 1)
        assert found[i, 1] == ((rows.predicted[positive] <= p).sum() + 1) / (positive.sum() + 1)


@settings(max_examples=25)
@given(values=st.lists(st.integers(0, 6), min_size=2, max_size=12), error=st.sampled_from([0.1, 0.2, 0.5, 0.9]))
def test_of_exchangeable_compounds_no_more_than_promised_are_missed(values: list[int], error: float) -> None:
    """Exact, not on average: each of n + 1 compounds in turn is the new one; at most a share of them is missed."""
    for label in (0, 1):
        missed = 0
        for i, value in enumerate(values):
            rest = [other / 6 for j, other in enumerate(values) if j != i]
            calibration = calibrate(task_rows([0] * len(rest), [label] * len(rest), rest, 1))
            found = calibration.p_values(np.zeros(1, dtype=np.int32), np.array([value / 6], dtype=np.float32))
            missed += not prediction_sets(found, error)[0, label]
        assert missed <= error * len(values)


def test_sets_are_valid_for_the_rare_class_too_and_efficient_where_the_model_is_good() -> None:
    good, bad = (
        conformal_scores(new, prediction_sets(calibrate(old).p_values(new.task, new.predicted), 0.1))
        for old, new in ((random_rows(i, 40_000, 2, 0.05, noise), random_rows(i + 1, 40_000, 2, 0.05, noise))
                         for i, noise in ((1, 0.1), (5, 0.4)))
    )  # fmt: skip
    for found in (good, bad):
        for validity in (found.validity, found.validity_negative, found.validity_positive):
            assert (validity > 0.88).all()
    assert (good.efficiency > 0.8).all()
    assert (good.efficiency > bad.efficiency + 0.3).all()


def test_scores_by_hand() -> None:
    rows = task_rows([0, 0, 0, 2], [1, 0, 0, 1], [0.5] * 4, 3)
    sets = np.array([[False, True], [False, True], [True, True], [False, False]])
    found = conformal_scores(rows, sets)
    np.testing.assert_allclose(found.efficiency, [2 / 3, np.nan, 0])
    np.testing.assert_allclose(found.validity, [2 / 3, np.nan, 0])
    np.testing.assert_allclose(found.validity_negative, [1 / 2, np.nan, np.nan])
    np.testing.assert_allclose(found.validity_positive, [1, np.nan, 0])
    np.testing.assert_allclose(found.correct, [1 / 2, np.nan, np.nan])


def test_a_class_without_calibration_compounds_is_never_ruled_out() -> None:
    calibration = calibrate(task_rows([0, 0], [0, 0], [0.1, 0.2], 2))
    found = calibration.p_values(np.array([0, 1], dtype=np.int32), np.array([0.9, 0.9], dtype=np.float32))
    np.testing.assert_allclose(found, [[1 / 3, 1.0], [1.0, 1.0]])


@pytest.mark.parametrize("error", [0.0, 1.0, -1.0, np.nan])
def test_an_error_rate_that_is_none_is_refused(error: float) -> None:
    with pytest.raises(MetricError, match="between 0 and 1"):
        prediction_sets(np.ones((1, 2)), error)


def test_calibrations_that_are_none_are_refused() -> None:
    for offsets, values in (([0, 1, 1], [2.0]), ([0, 2, 1], [0.1]), ([0, 1], [0.1]), ([0, 2, 2], [0.5, 0.1])):
        with pytest.raises(MetricError, match="calibration"):
            Calibration(offsets=np.array(offsets), probability=np.array(values, dtype=np.float32))
    with pytest.raises(MetricError, match="labels of classification"):
        calibrate(task_rows([0], [2], [0.5], 1))
    calibration = calibrate(task_rows([0], [1], [0.5], 1))
    for tasks, size in product(([1], [-1], [0, 0]), (1,)):
        with pytest.raises(MetricError, match="a task of 1"):
            calibration.p_values(np.array(tasks, dtype=np.int32), np.zeros(size, dtype=np.float32))
    with pytest.raises(MetricError, match="sets of 1 rows"):
        conformal_scores(task_rows([0], [1], [0.5], 1), np.ones((2, 2), dtype=np.bool_))
