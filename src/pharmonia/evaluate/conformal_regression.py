"""How far a predicted value may be off: split conformal intervals, one width per task.

An interval is given beside a value. If a new compound is exchangeable with the calibration compounds of its task, its
measured value lies outside with a probability of at most the chosen error rate (Lei et al. 2018,
doi:10.1080/01621459.2017.1307116, Algorithm 2; by task, as Norinder et al. 2014, doi:10.1021/ci5001168, do by class).
"""

from dataclasses import dataclass

import numpy as np

from pharmonia.base.arrays import Vector, frozen_copy
from pharmonia.base.errors import MetricError
from pharmonia.evaluate.tasks import Counts, TaskRows, divided, exact_rows, sums_by_task


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResidualCalibration:
    """How far off a model was on calibration compounds, by task.

    Args:
        offsets: (n_tasks + 1,) int64: the residuals of task t are those from offsets[t] on.
        residual: (n_rows,) float64 |measured - predicted| in the unit of the task, ascending within each task.

    Raises:
        MetricError: Arrays that do not belong together.
    """

    offsets: Counts
    residual: Vector

    def __post_init__(self) -> None:
        for name in ("offsets", "residual"):
            object.__setattr__(self, name, frozen_copy(getattr(self, name)))
        fits = self.offsets.size and self.offsets[0] == 0 and self.offsets[-1] == self.residual.size
        if not fits or (np.diff(self.offsets) < 0).any() or not (self.residual >= 0).all():
            raise MetricError("offsets or residuals of a calibration are not what they should be")
        falls = np.diff(self.residual) < 0
        starts = self.offsets[(self.offsets > 0) & (self.offsets < self.residual.size)]
        falls[starts - 1] = False
        if falls.any() or not np.isfinite(self.residual).all():
            raise MetricError("the residuals of a calibration must be finite and ascend within each task")

    @property
    def n_tasks(self) -> int:
        """Tasks that it is of."""
        return self.offsets.size - 1

    def half_width(self, error_rate: float) -> Vector:
        """(n_tasks,) half the width of each task's intervals; infinite where there are too few residuals for the rate.

        Of n residuals the k-th smallest, k = n + 1 - floor(error rate (n + 1)).

        Raises:
            MetricError: An error rate not between 0 and 1.
        """
        if not 0 < error_rate < 1:
            raise MetricError(f"an error rate must lie between 0 and 1, got {error_rate}")
        counts = np.diff(self.offsets)
        place = counts - np.floor(error_rate * (counts + 1)).astype(np.int64)  # from 0
        found = np.full(self.n_tasks, np.inf)
        inside = place < counts
        found[inside] = self.residual[(self.offsets[:-1] + place)[inside]]
        return found


def calibrate_residuals(rows: TaskRows) -> ResidualCalibration:
    """The calibration of a model on compounds that it was not trained on.

    Measured values that are bounds do not say how far off the model was; they are left out, so intervals speak for
    compounds whose values the assay can measure.
    """
    exact = exact_rows(rows)
    residual = np.abs(exact.measured.astype(np.float64) - exact.predicted)
    order = np.lexsort((residual, exact.task))
    return ResidualCalibration(offsets=np.concatenate(([0], np.cumsum(exact.n_rows))), residual=residual[order])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntervalScores:
    """How often intervals hold the measured value, and how wide they are, per task, each (n_tasks,) float64."""

    validity: Vector  # share of values that are not bounds inside their interval; NaN without any
    width: Vector  # in the unit of the task; infinite where there are too few calibration compounds

    def __post_init__(self) -> None:
        for name in ("validity", "width"):
            object.__setattr__(self, name, frozen_copy(getattr(self, name)))


def interval_scores(rows: TaskRows, half_width: Vector) -> IntervalScores:
    """Validity and width of intervals around predictions.

    Args:
        rows: Values that were neither trained on nor calibrated with.
        half_width: (n_tasks,) of `ResidualCalibration.half_width`.

    Raises:
        MetricError: Widths of another number of tasks.
    """
    if half_width.shape != (rows.n_tasks,):
        raise MetricError(f"expected a width for each of {rows.n_tasks} tasks, got {half_width.shape}")
    exact = exact_rows(rows)
    off = np.abs(exact.measured.astype(np.float64) - exact.predicted)
    held = sums_by_task(exact, (off <= half_width[exact.task]).astype(np.float64))
    return IntervalScores(validity=divided(held, exact.n_rows), width=2 * half_width)
