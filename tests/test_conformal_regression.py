"""Intervals hold the measured value as often as they promise, for each task by itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pharmonia.base.errors import MetricError
from pharmonia.evaluate.conformal_regression import ResidualCalibration, calibrate_residuals, interval_scores
from pharmonia.evaluate.tasks import TaskRows


def task_rows(
    task: list[int], measured: list[float], predicted: list[float], n_tasks: int, censor: list[int] | None = None
) -> TaskRows:
    return TaskRows(
        task=np.array(task, dtype=np.int32),
        measured=np.array(measured, dtype=np.float32),
        predicted=np.array(predicted, dtype=np.float32),
        censor=np.array(censor or [0] * len(task), dtype=np.int8),
        n_tasks=n_tasks,
    )


def test_half_widths_by_hand() -> None:
    """Residuals .5 1 2 4 of task 0 and 3 of task 2: at 40 % the third of four, at 15 % no number is enough."""
    rows = task_rows([2, 0, 0, 0, 0], [3, 5, 1, 2, 0], [0, 1, 0, 0, 0.5], 3)
    calibration = calibrate_residuals(rows)
    assert calibration.offsets.tolist() == [0, 4, 4, 5]
    assert calibration.residual.tolist() == [0.5, 1, 2, 4, 3]
    assert calibration.half_width(0.4).tolist() == [2, np.inf, np.inf]
    assert calibration.half_width(0.2).tolist() == [4, np.inf, np.inf]
    assert calibration.half_width(0.15).tolist() == [np.inf, np.inf, np.inf]
    assert calibration.half_width(0.5).tolist() == [2, np.inf, 3]


@settings(max_examples=40)
@given(
    values=st.lists(st.integers(0, 5), min_size=1, max_size=14),
    error=st.sampled_from([0.05, 0.1, 0.2, 0.29, 0.5, 0.7, 0.9]),
)
def test_of_exchangeable_compounds_no_more_than_promised_are_missed(values: list[int], error: float) -> None:
    """Exact, not on average: each of n + 1 compounds in turn is the new one; at most a share of them is missed."""
    missed = 0
    for i, value in enumerate(values):
        rest = [float(other) for j, other in enumerate(values) if j != i]
        calibration = calibrate_residuals(task_rows([0] * len(rest), rest, [0.0] * len(rest), 1))
        missed += value > calibration.half_width(error)[0]
    assert missed <= error * len(values)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), error=st.floats(0.02, 0.98))
def test_widths_are_order_statistics_of_each_task_by_itself(seed: int, error: float) -> None:
    rng = np.random.default_rng(seed)
    task = rng.integers(0, 4, 50)
    rows = task_rows(task.tolist(), rng.normal(size=50).tolist(), rng.normal(size=50).tolist(), 5)
    found = calibrate_residuals(rows).half_width(error)
    for number in range(5):
        mine = rows.task == number
        residuals = np.sort(np.abs(rows.measured[mine].astype(float) - rows.predicted[mine]))
        inside = [w for w in residuals if (np.sum(residuals >= w) + 1) / (residuals.size + 1) > error]
        everything = 1 / (residuals.size + 1) > error  # even a residual above all of them conforms
        assert found[number] == (np.inf if everything else max(inside, default=-1.0))


def test_intervals_are_valid_on_new_compounds_and_narrow_where_the_model_is_good() -> None:
    rng = np.random.default_rng(1)
    noise = np.array([0.2, 1.0])
    task = np.repeat([0, 1], 20_000)
    old, new = (task_rows(task.tolist(), rng.normal(0, noise[task]).tolist(), [0.0] * task.size, 2) for _ in range(2))
    found = interval_scores(new, calibrate_residuals(old).half_width(0.1))
    np.testing.assert_allclose(found.validity, 0.9, atol=0.015)
    np.testing.assert_allclose(found.width, 2 * 1.645 * noise, rtol=0.05)


def test_bounds_neither_calibrate_nor_count() -> None:
    rows = task_rows([0, 0, 0], [1, 9, 9], [0, 0, 0], 1, censor=[0, 1, -1])
    calibration = calibrate_residuals(rows)
    assert calibration.residual.tolist() == [1]
    assert interval_scores(rows, calibration.half_width(0.5)).validity.tolist() == [1]


@pytest.mark.parametrize("error", [0.0, 1.0, -1.0, np.nan])
def test_an_error_rate_that_is_none_is_refused(error: float) -> None:
    with pytest.raises(MetricError, match="between 0 and 1"):
        calibrate_residuals(task_rows([0], [1], [0], 1)).half_width(error)


@pytest.mark.parametrize(
    ("offsets", "residual"),
    [
        ([0, 2], [1.0]),
        ([1, 1], [1.0]),
        ([0, 2, 1, 2], [1.0, 2.0]),
        ([0, 2], [2.0, 1.0]),
        ([0, 1], [-1.0]),
        ([0, 1], [np.nan]),
        ([0, 1], [np.inf]),
        ([], [1.0]),
    ],
)
def test_a_calibration_that_cannot_be_one_is_refused(offsets: list[int], residual: list[float]) -> None:
    with pytest.raises(MetricError):
        ResidualCalibration(offsets=np.array(offsets, dtype=np.int64), residual=np.array(residual))


def test_widths_of_other_tasks_are_refused() -> None:
    with pytest.raises(MetricError, match="each of 1 tasks"):
        interval_scores(task_rows([0], [1], [0], 1), np.ones(2))
