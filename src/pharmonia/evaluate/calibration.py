"""Whether probabilities mean what they say, per task."""

from dataclasses import dataclass, fields

import numpy as np

from pharmonia.base.arrays import Vector, frozen_copy
from pharmonia.evaluate.tasks import Counts, TaskRows, divided, row_chunks

N_BINS = 10  # even, so that one bin starts at 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibrationCells:
    """Rows of each task by tenth of the predicted probability; each (n_tasks, 10).

    A probability of 0.1 belongs to the second bin, of 1 to the last. Shares of positives against mean probabilities
    are the task's reliability diagram.
    """

    n_rows: Counts
    n_positive: Counts
    probability: Vector  # sum over the rows
    squared_error: Vector  # sum of squared differences of probability and label

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, frozen_copy(getattr(self, field.name)))

    @property
    def error(self) -> Vector:
        """(n_tasks,) expected calibration error; NaN without rows.

        Naeini et al. 2015 (doi:10.1609/aaai.v29i1.9602): sum over bins of |share of positives - mean probability|,
        weighted by the share of rows in the bin.
        """
        return divided(np.abs(self.n_positive - self.probability).sum(axis=1), self.n_rows.sum(axis=1))


def calibration_cells(rows: TaskRows) -> CalibrationCells:
    """The cells of probabilities in [0, 1] and labels of 0 and 1."""
    n_cells = rows.n_tasks * N_BINS
    n_rows, n_positive = np.zeros(n_cells, dtype=np.int64), np.zeros(n_cells, dtype=np.int64)
    probability, squared_error = np.zeros(n_cells), np.zeros(n_cells)
    for part in row_chunks(len(rows)):
        p, y = rows.predicted[part].astype(np.float64), rows.measured[part]
        cell = np.minimum((p * N_BINS).astype(np.int64), N_BINS - 1)  # exact: p has 24 bits
        cell += rows.task[part].astype(np.int64) * N_BINS
        n_rows += np.bincount(cell, minlength=n_cells)
        n_positive += np.bincount(cell[y == 1], minlength=n_cells)
        probability += np.bincount(cell, p, n_cells)
        p -= y
        squared_error += np.bincount(cell, np.square(p, out=p), n_cells)
    shape = (rows.n_tasks, N_BINS)
    return CalibrationCells(
        n_rows=n_rows.reshape(shape),
        n_positive=n_positive.reshape(shape),
        probability=probability.reshape(shape),
        squared_error=squared_error.reshape(shape),
    )
