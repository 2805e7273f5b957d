"""Where a classifier may be trusted: Mondrian conformal predictors, one per task and class.

A label set is given instead of a label: {active}, {inactive}, both or neither. If a new compound is exchangeable with
the calibration compounds of its class, the set misses the true label with a probability of at most the chosen error
rate, for each class by itself (Vovk, Gammerman and Shafer 2005; Norinder et al. 2014, doi:10.1021/ci5001168).
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector, frozen_copy
from pharmonia.base.errors import MetricError
from pharmonia.evaluate.tasks import Counts, Floats, Keys, TaskRows, divided, ordered_bits

Sets = npt.NDArray[np.bool_]  # (n_rows, 2) whether 0, and whether 1, is in the set
_SCORE_BITS = np.uint64(32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """Probabilities that a model gave to calibration compounds, by task and true class.

    Args:
        offsets: (2 n_tasks + 1,) int64: the values of task t and class c are those from offsets[2 t + c] on.
        probability: (n_rows,) float32, of being positive; ascending within each task and class.

    Raises:
        MetricError: Arrays that do not belong together.
    """

    offsets: Counts
    probability: Floats

    def __post_init__(self) -> None:
        for name in ("offsets", "probability"):
            object.__setattr__(self, name, frozen_copy(getattr(self, name)))
        rising = self.offsets.size % 2 == 1 and self.offsets[0] == 0 and self.offsets[-1] == self.probability.size
        if (
            not rising
            or (np.diff(self.offsets) < 0).any()
            or not ((self.probability >= 0) & (self.probability <= 1)).all()
        ):
            raise MetricError("offsets or probabilities of a calibration are not what they should be")
        if (np.diff(self._keys.astype(np.int64)) < 0).any():
            raise MetricError("the probabilities of a calibration must ascend within each task and class")

    @property
    def n_tasks(self) -> int:
        """Tasks that it is of."""
        return self.offsets.size // 2

    @property
    def _keys(self) -> Keys:
        return _keys(np.repeat(np.arange(self.offsets.size - 1), np.diff(self.offsets)), self.probability)

    def p_values(self, task: npt.NDArray[np.int32], predicted: Floats) -> Vector:
        """(n_rows, 2) p-values of being negative, and of being positive.

        (calibration compounds of the class that conform no better + 1) / (their number + 1); 1 for a class without
        any, so that it is never ruled out.

        Args:
            task: (n_rows,) from 0.
            predicted: (n_rows,) float32 probabilities of being positive.

        Raises:
            MetricError: Arrays of several lengths, or a task out of range.
        """
        if task.shape != predicted.shape or (task.size and not 0 <= task.min() <= task.max() < self.n_tasks):
            raise MetricError(f"expected a task of {self.n_tasks} and a probability for each row")
        keys, result = self._keys, np.empty((task.size, 2))
        negative, positive = 2 * task.astype(np.int64), 2 * task.astype(np.int64) + 1
        below = np.searchsorted(keys, _keys(negative, predicted))
        up_to = np.searchsorted(keys, _keys(positive, predicted), side="right")
        for column, (cell, worse) in enumerate(
            ((negative, self.offsets[negative + 1] - below), (positive, up_to - self.offsets[positive]))
        ):
            result[:, column] = (worse + 1) / (self.offsets[cell + 1] - self.offsets[cell] + 1)
        return result


def _keys(cell: npt.NDArray[np.integer], probability: Floats) -> Keys:
    return cell.astype(np.uint64) << _SCORE_BITS | ordered_bits(probability)


def calibrate(rows: TaskRows) -> Calibration:
    """The calibration of a model on compounds that it was not trained on.

    Args:
        rows: Labels of 0 and 1, and probabilities.

    Raises:
        MetricError: A label that is neither 0 nor 1, or a probability out of [0, 1].
    """
    if not ((rows.measured == 0) | (rows.measured == 1)).all():
        raise MetricError("labels of classification must be 0 or 1")
    cell = 2 * rows.task.astype(np.int64) + rows.measured.astype(np.int64)
    order = np.argsort(_keys(cell, rows.predicted))
    counts = np.bincount(cell, minlength=2 * rows.n_tasks)
    return Calibration(offsets=np.concatenate(([0], np.cumsum(counts))), probability=rows.predicted[order])


def prediction_sets(p_values: Vector, error_rate: float) -> Sets:
    """(n_rows, 2) whether each class is in the set at an error rate: those whose p-value is above it.

    Raises:
        MetricError: An error rate not between 0 and 1.
    """
    if not 0 < error_rate < 1:
        raise MetricError(f"an error rate must lie between 0 and 1, got {error_rate}")
    return p_values > error_rate


def in_domain(sets: Sets) -> npt.NDArray[np.bool_]:
    """(n_rows,) whether the set is one class: the model commits itself."""
    one: npt.NDArray[np.bool_] = sets.sum(axis=1) == 1
    return one


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConformalScores:
    """How often prediction sets commit themselves and hold, per task, each (n_tasks,) float64; NaN without rows."""

    efficiency: Vector  # share of sets of one class
    validity: Vector  # share of sets that hold the true class
    validity_negative: Vector  # the same, of the rows labelled 0
    validity_positive: Vector
    correct: Vector  # share of sets of one class that are right

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, frozen_copy(getattr(self, field.name)))


def conformal_scores(rows: TaskRows, sets: Sets) -> ConformalScores:
    """Efficiency and validity of prediction sets; compare models at the same error rate, on the same rows.

    Raises:
        MetricError: Sets of other rows, or a label that is neither 0 nor 1.
    """
    if sets.shape != (len(rows), 2) or not ((rows.measured == 0) | (rows.measured == 1)).all():
        raise MetricError(f"expected sets of {len(rows)} rows, and labels of 0 or 1")
    positive = rows.measured == 1
    holds, one = np.where(positive, sets[:, 1], sets[:, 0]), in_domain(sets)

    def share(inside: npt.NDArray[np.bool_], of: npt.NDArray[np.bool_]) -> Vector:
        counts = (np.bincount(rows.task[mask], minlength=rows.n_tasks) for mask in (inside & of, of))
        return divided(*counts)

    everything = np.ones(len(rows), dtype=np.bool_)
    return ConformalScores(
        efficiency=share(one, everything),
        validity=share(holds, everything),
        validity_negative=share(holds, ~positive),
        validity_positive=share(holds, positive),
        correct=share(holds, one),
    )
