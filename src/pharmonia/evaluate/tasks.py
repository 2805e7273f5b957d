"""Many tasks at once: labelled pairs with predictions, and means of a metric over tasks."""

import itertools
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector, frozen_copy, frozen_view
from pharmonia.base.errors import MetricError

Counts = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float32]

_CHUNK_ROWS = 2**17
_LARGEST = np.float32(1e18)  # squares of larger values leave float32


class Gap(IntEnum):
    """Why some metrics of a task have no value."""

    NONE = 0
    NO_ROWS = 1
    ONE_CLASS = 2
    TOO_FEW_VALUES = 3
    NO_SPREAD = 4

    @property
    def reason(self) -> str:
        """The reason in words; empty when there is none."""
        words = ("", "no labels", "labels of one class only", "fewer than 2 values that are not bounds",
                 "all measured values are equal")  # fmt: skip
        return words[self.value]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaskRows:
    """Measured and predicted values of labelled pairs of compound and task, in any order; not copied.

    Args:
        task: (n_rows,) int32, from 0.
        measured: (n_rows,) float32: 0 or 1 in classification, else the value.
        predicted: (n_rows,) float32, as networks give them: probabilities of a positive, or values.
        censor: (n_rows,) int8: 0 as measured, +1 the true value is above, -1 below; zeros in classification.
        n_tasks: More than the largest task.

    Raises:
        MetricError: Columns of several lengths or dtypes, a task out of range, or values that are not finite.
    """

    task: npt.NDArray[np.int32]
    measured: Floats
    predicted: Floats
    censor: npt.NDArray[np.int8]
    n_tasks: int

    def __post_init__(self) -> None:
        wanted = {"task": np.int32, "measured": np.float32, "predicted": np.float32, "censor": np.int8}
        for name, dtype in wanted.items():
            column = getattr(self, name)
            if column.dtype != dtype or column.shape != (self.task.size,):
                raise MetricError(f"{name} must be ({self.task.size},) {np.dtype(dtype)}, got {column.dtype} of shape "
                                  f"{column.shape}")  # fmt: skip
            object.__setattr__(self, name, frozen_view(column))
        if self.task.size:
            if not 0 <= self.task.min() <= self.task.max() < self.n_tasks:
                raise MetricError(f"a row is of a task that is not 0 to {self.n_tasks - 1}")
            for name in ("measured", "predicted"):
                good = np.abs(getattr(self, name)) < _LARGEST  # False for NaN too
                if not good.all():
                    raise MetricError(f"{name} must be finite and below 1e18, got row {int(good.argmin())}")

    def __len__(self) -> int:
        """Number of rows."""
        return self.task.size

    @property
    def n_rows(self) -> Counts:
        """(n_tasks,) rows of each task."""
        return np.bincount(self.task, minlength=self.n_tasks)


def ordered_bits(values: Floats) -> npt.NDArray[np.uint32]:
    """(n,) whole numbers in the order of the values, equal where these are; so that sorting can carry them along."""
    bits = (values + np.float32(0)).view(np.uint32)  # -0 becomes 0
    return np.where(bits >> 31, ~bits, bits | np.uint32(0x80000000))


def row_chunks(n_rows: int) -> list[slice]:
    """Slices of rows whose intermediate results stay in the processor's cache."""
    return [slice(start, min(start + _CHUNK_ROWS, n_rows)) for start in range(0, n_rows, _CHUNK_ROWS)]


def task_parts(counts: Counts) -> list[tuple[int, int, slice]]:
    """First task, last task + 1 and rows of parts that stay in the processor's cache, or are of one task.

    Args:
        counts: (n_tasks,) rows of each task; rows are in the order of their tasks.
    """
    ends = np.cumsum(counts)
    starts = ends - counts
    firsts = np.flatnonzero(np.diff(starts // _CHUNK_ROWS, prepend=-1)).tolist()
    return [
        (first, last, np.s_[int(starts[first]) : int(ends[last - 1])])
        for first, last in itertools.pairwise([*firsts, counts.size])
    ]


def by_task(rows: TaskRows) -> list[TaskRows]:
    """The rows in parts of consecutive tasks, every task whole and once, few enough rows to stay in the cache.

    Within a part, tasks count from 0 and rows are in the order of their tasks.
    """
    counts = rows.n_rows
    if (np.diff(rows.task) < 0).any():
        small = rows.task.astype(np.uint16) if rows.n_tasks <= 2**16 else rows.task  # sorted by counting
        rows = _taken(rows, np.argsort(small, kind="stable"))
    parts = []
    for first, last, inside in task_parts(counts):
        parts.append(TaskRows(
            task=rows.task[inside] - np.int32(first),
            measured=rows.measured[inside],
            predicted=rows.predicted[inside],
            censor=rows.censor[inside],
            n_tasks=last - first,
        ))  # fmt: skip
    return parts


def _taken(rows: TaskRows, chosen: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> TaskRows:
    return TaskRows(
        task=rows.task[chosen],
        measured=rows.measured[chosen],
        predicted=rows.predicted[chosen],
        censor=rows.censor[chosen],
        n_tasks=rows.n_tasks,
    )


def exact_rows(rows: TaskRows) -> TaskRows:
    """The rows whose measured values are values and not bounds."""
    return _taken(rows, rows.censor == 0)


def sums_by_task(rows: TaskRows, weights: npt.NDArray[np.floating]) -> Vector:
    """(n_tasks,) sums of the rows' weights."""
    sums: Vector = np.bincount(rows.task, weights, rows.n_tasks).astype(np.float64)
    return sums


def divided(numerator: Vector | Counts, denominator: Vector | Counts) -> Vector:
    """Quotients; NaN where the denominator is 0."""
    result = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=result, where=np.asarray(denominator) != 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupMeans:
    """Means of a metric over the tasks of each group.

    Args:
        mean: (n_groups,) float64; NaN for a group without a task that counts.
        n_tasks: (n_groups,) tasks that counted.
    """

    mean: Vector
    n_tasks: Counts

    def __post_init__(self) -> None:
        for name in ("mean", "n_tasks"):
            object.__setattr__(self, name, frozen_copy(getattr(self, name)))


def group_means(
    values: Vector, weights: npt.NDArray[np.floating], group: npt.NDArray[np.integer], n_groups: int
) -> GroupMeans:
    """Weighted means over tasks by group: all of them, a partner's, or those of an assay type.

    Args:
        values: (n_tasks,) a metric; a task where it is NaN does not count.
        weights: (n_tasks,) aggregation weights, not negative; a task of weight 0 does not count.
        group: (n_tasks,) from 0.
        n_groups: More than the largest group.

    Raises:
        MetricError: Arrays of several lengths, a negative weight, or a group out of range.
    """
    if not values.shape == weights.shape == group.shape or values.ndim != 1:
        raise MetricError(f"expected a value, weight and group per task, got {values.shape}, {weights.shape}")
    if values.size and (not weights.min() >= 0 or not 0 <= group.min() <= group.max() < n_groups):
        raise MetricError(f"weights must not be negative, and groups 0 to {n_groups - 1}")
    counts = np.isfinite(values) & (weights > 0)
    total = np.bincount(group[counts], weights[counts] * values[counts], n_groups)
    weight = np.bincount(group[counts], weights[counts], n_groups)
    return GroupMeans(mean=divided(total, weight), n_tasks=np.bincount(group[counts], minlength=n_groups))
