"""How well predicted values agree with measured ones, for thousands of tasks at once, bounds included."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector, frozen_copy
from pharmonia.evaluate.tasks import (
    Counts,
    Floats,
    Gap,
    TaskRows,
    by_task,
    divided,
    exact_rows,
    ordered_bits,
    sums_by_task,
)

_VALUE_BITS = np.uint64(32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegressionScores:
    """Metrics per task, each (n_tasks,) float64; NaN where a task does not define it, and `gap` says why.

    All but `rmse_censored` are over the values that are not bounds. A task whose measured values are all equal has
    errors but no R2 and no correlations; equal predictions leave the correlations undefined too.
    """

    n_rows: Counts
    n_exact: Counts  # rows that are values and not bounds
    rmse: Vector  # in the unit of the task
    rmse_censored: Vector  # bounds included: no error where the prediction lies on the known side
    r2: Vector  # 1 - squared errors / squared deviations from the mean
    pearson: Vector
    spearman: Vector  # correlation of ranks, ties share the mean rank
    gap: npt.NDArray[np.int8]  # of `Gap`

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, frozen_copy(getattr(self, field.name)))


def regression_scores(rows: TaskRows) -> RegressionScores:
    """All metrics of every task."""
    parts = [_scores_of(part) for part in by_task(rows)] or [_scores_of(rows)]
    together = {field.name: np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(RegressionScores)}  # fmt: skip
    return RegressionScores(**together)


def _scores_of(rows: TaskRows) -> RegressionScores:
    excess = rows.predicted.astype(np.float64) - rows.measured
    one_sided = np.where(excess * rows.censor > 0, 0.0, excess)
    exact = exact_rows(rows)
    y, f = exact.measured.astype(np.float64), exact.predicted.astype(np.float64)
    n_exact = exact.n_rows
    squared_error = sums_by_task(exact, np.square(f - y))
    pearson, spread = _correlations(exact, y, f)
    spearman, _ = _correlations(exact, _ranks(exact, exact.measured), _ranks(exact, exact.predicted))
    gap = np.where(spread > 0, Gap.NONE, Gap.NO_SPREAD)
    gap = np.where(n_exact < 2, Gap.TOO_FEW_VALUES, gap)
    return RegressionScores(
        n_rows=rows.n_rows,
        n_exact=n_exact,
        rmse=np.sqrt(divided(squared_error, n_exact)),
        rmse_censored=np.sqrt(divided(sums_by_task(rows, np.square(one_sided)), rows.n_rows)),
        r2=1.0 - divided(squared_error, spread),
        pearson=pearson,
        spearman=spearman,
        gap=np.where(rows.n_rows == 0, Gap.NO_ROWS, gap).astype(np.int8),
    )


def _correlations(rows: TaskRows, y: Vector, f: Vector) -> tuple[Vector, Vector]:
    """(n_tasks,) correlations, and sums of squared deviations of y; both exact zeros where all values are equal."""
    y, f = _centred(rows, y), _centred(rows, f)
    of_y, of_f = sums_by_task(rows, np.square(y)), sums_by_task(rows, np.square(f))
    together = sums_by_task(rows, y * f)
    return np.clip(divided(together, np.sqrt(of_y) * np.sqrt(of_f)), -1.0, 1.0), of_y


def _centred(rows: TaskRows, values: Vector) -> Vector:
    """Deviations from each task's mean; taken from its first value first, so that equal values leave zeros."""
    anchor = np.zeros(rows.n_tasks)
    anchor[rows.task] = values
    deviations: Vector = values - anchor[rows.task]
    mean = divided(sums_by_task(rows, deviations), rows.n_rows)
    centred: Vector = deviations - mean[rows.task]
    return centred


def _ranks(rows: TaskRows, values: Floats) -> Vector:
    """(n_rows,) rank of each value among its task's, ties at their mean rank; tasks follow one another."""
    keys = rows.task.astype(np.uint64) << _VALUE_BITS | ordered_bits(values)
    order = np.argsort(keys)
    ordered = keys[order]
    starts = np.flatnonzero(np.append([True], ordered[1:] != ordered[:-1])) if keys.size else np.zeros(0, np.int64)
    lengths = np.diff(np.append(starts, keys.size))
    ranks = np.empty(keys.size)
    ranks[order] = np.repeat(starts + (lengths - 1) / 2, lengths)
    return ranks
