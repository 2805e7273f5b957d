"""Repeated measurements of one compound and target: one value where they agree, none where they do not."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector

Rows = npt.NDArray[np.int64]

_ROUNDING = 1 + 1e-9  # so that 1.0 between two logarithms is not over a tolerance of 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JoinedReplicates:
    """Measurements joined by pair.

    Args:
        keys: (n_pairs,) int64, the pairs whose measurements agree, by the first row of each.
        values: (n_pairs,) float64, the median of each.
        disagreeing: (n_rows,) int64, positions of the measurements of all other pairs, in order.
    """

    keys: Rows
    values: Vector
    disagreeing: Rows


def join_replicates(keys: Rows, values: Vector, tolerance: float) -> JoinedReplicates:
    """The median of each pair's measurements if they span at most the tolerance, else no value at all.

    Args:
        keys: (n_rows,) int64, equal for measurements of the same pair.
        values: (n_rows,) float64, finite.
        tolerance: Largest difference between measurements that agree, in the unit of the values.
    """
    order = np.lexsort((values, keys))
    sorted_keys, sorted_values = keys[order], values[order]
    is_start = np.ones(keys.size, dtype=bool)
    is_start[1:] = sorted_keys[1:] != sorted_keys[:-1]
    starts = np.flatnonzero(is_start)
    counts = np.diff(starts, append=keys.size)
    last = starts + counts - 1
    agree = sorted_values[last] - sorted_values[starts] <= tolerance * _ROUNDING
    median = (sorted_values[starts + (counts - 1) // 2] + sorted_values[starts + counts // 2]) / 2
    first_row = np.minimum.reduceat(order, starts) if starts.size else order
    by_first_row = np.flatnonzero(agree)[np.argsort(first_row[agree])]
    return JoinedReplicates(
        keys=sorted_keys[starts][by_first_row],
        values=median[by_first_row],
        disagreeing=np.sort(order[np.repeat(~agree, counts)]),
    )
