"""Rounds that touch few rows of a large tensor: count rows under masks, release the common ones, carry the rest.

A row that one partner alone touched would stand unmixed in a dense sum. Here a row is released once at least m partners
touch it; until then each partner keeps its part for the next step.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import frozen_copy
from pharmonia.base.errors import UpdateError
from pharmonia.secagg.header import Layout
from pharmonia.secagg.wire import digest

MIN_COUNT = 3
Rows = npt.NDArray[np.int64]
Counts = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowUpdate:
    """A tensor's update by row; rows that are not named are zero.

    Args:
        n_rows: Of the tensor.
        rows: (k,) int64, ascending.
        values: (k, n_columns) float32.

    Raises:
        UpdateError: Rows and values that do not fit.
    """

    n_rows: int
    rows: Rows
    values: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        rows = self.rows
        if self.values.ndim != 2 or self.values.dtype != np.float32 or rows.shape != self.values.shape[:1]:
            raise UpdateError(f"expected float32 rows, got {self.values.dtype} {self.values.shape} for {rows.shape}")
        if rows.size and not (rows[0] >= 0 and rows[-1] < self.n_rows and (np.diff(rows) > 0).all()):
            raise UpdateError(f"rows must ascend within {self.n_rows}")
        object.__setattr__(self, "rows", frozen_copy(rows.astype(np.int64)))
        object.__setattr__(self, "values", frozen_copy(self.values))

    @property
    def touched(self) -> npt.NDArray[np.bool_]:
        """(n_rows,) bitmap of the rows that are named."""
        bitmap = np.zeros(self.n_rows, dtype=np.bool_)
        bitmap[self.rows] = True
        return bitmap

    def plus(self, other: "RowUpdate") -> "RowUpdate":
        """The sum, over the rows of either; how a step takes up what was carried.

        Raises:
            UpdateError: Of tensors of two shapes.
        """
        if (self.n_rows, self.values.shape[1]) != (other.n_rows, other.values.shape[1]):
            raise UpdateError("two row updates are of tensors of different shapes")
        rows = np.union1d(self.rows, other.rows)
        values = np.zeros((rows.size, self.values.shape[1]), dtype=np.float32)
        values[np.searchsorted(rows, self.rows)] = self.values
        values[np.searchsorted(rows, other.rows)] += other.values
        return RowUpdate(n_rows=self.n_rows, rows=rows, values=values)

    def release(self, common: Rows) -> tuple[npt.NDArray[np.float32], "RowUpdate"]:
        """What goes into the sum, and what is carried to the next step.

        Args:
            common: Rows that enough partners touched, from `common_rows`.

        Returns:
            (len(common) * n_columns,) float32, zero in rows that are not ours; and the rest.

        Guarantees:
            released_and_residual_are_the_total: Every row is in exactly one of the two, bit for bit.
        """
        released = np.zeros((common.size, self.values.shape[1]), dtype=np.float32)
        is_common = np.isin(self.rows, common)
        released[np.searchsorted(common, self.rows[is_common])] = self.values[is_common]
        rest = RowUpdate(n_rows=self.n_rows, rows=self.rows[~is_common], values=self.values[~is_common])
        return released.reshape(-1), rest


def row_update(dense: npt.NDArray[np.float32]) -> RowUpdate:
    """The rows of a (n_rows, n_columns) update that are not all zero."""
    rows = np.flatnonzero(dense.any(axis=1))
    return RowUpdate(n_rows=dense.shape[0], rows=rows, values=dense[rows])


def common_rows(counts: Counts, min_count: int) -> Rows:
    """Ascending rows that at least `min_count` partners touched; `MIN_COUNT` unless the plan says otherwise.

    Raises:
        UpdateError: A minimum below 2, under which a row would stand unmixed.
    """
    if min_count < 2:
        raise UpdateError(f"a row that {min_count} partner touched would stand unmixed in the sum")
    return np.flatnonzero(counts >= min_count)


def count_layout(n_rows: int) -> Layout:
    """The layout of a sum of row counts."""
    return Layout(names=("rows",), lengths=(n_rows,))


def sparse_layout(name: str, common: Rows, n_columns: int, dense: Layout | None) -> Layout:
    """The layout of a sum over common rows, then of the tensors that are summed whole.

    The rows are hashed into the first name, so that partners who were told different rows mask under different headers.
    """
    rows = digest("rows", common.astype("<i8").tobytes()).hex()
    names, lengths = ((), ()) if dense is None else (dense.names, dense.lengths)
    return Layout(names=(f"{name}[{rows}]", *names), lengths=(common.size * n_columns, *lengths))
