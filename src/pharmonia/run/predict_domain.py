"""Whether a compound is like those that a model was made from, told by its environments alone."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector, frozen_copy
from pharmonia.base.errors import MetricError
from pharmonia.chem.ecfp_matrix import CsrMatrix

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Domain:
    """The columns that a partner trained on, and how foreign its calibration compounds were to them.

    A compound's novelty is the share of its columns that no training compound has. Its p-value is a conformal one
    (Laxhammar and Falkman 2010, doi:10.1145/1833280.1833287): of compounds exchangeable with the calibration compounds,
    at most the chosen share is called foreign.

    Args:
        seen: (n_bits,) whether some training compound has the column.
        novelty: (n_calibration,) float64 of the calibration compounds, ascending.

    Raises:
        MetricError: Values that are no shares, or out of order.
    """

    seen: npt.NDArray[np.bool_]
    novelty: Vector

    def __post_init__(self) -> None:
        for name in ("seen", "novelty"):
            object.__setattr__(self, name, frozen_copy(getattr(self, name)))
        if not ((self.novelty >= 0) & (self.novelty <= 1)).all() or (np.diff(self.novelty) < 0).any():
            raise MetricError("novelties must be shares in ascending order")

    def novelty_of(self, features: CsrMatrix) -> Vector:
        """(n_rows,) share of each compound's columns that no training compound has; 0 for a row without columns.

        Raises:
            MetricError: Features of another width.
        """
        if features.n_columns != self.seen.size:
            raise MetricError(f"expected {self.seen.size} columns, got {features.n_columns}")
        new = np.concatenate(([0], np.cumsum(~self.seen[features.indices])))
        n_new, n_set = np.diff(new[features.indptr]), np.diff(features.indptr)
        share: Vector = n_new / np.maximum(n_set, 1)
        return share

    def p_values(self, novelty: Vector) -> Vector:
        """(n_rows,) (calibration compounds of at least this novelty + 1) / (their number + 1)."""
        at_least = self.novelty.size - np.searchsorted(self.novelty, novelty)
        p_value: Vector = (at_least + 1) / (self.novelty.size + 1)
        return p_value


def domain_of(features: CsrMatrix, train: Rows, calibration: Rows) -> Domain:
    """The domain of a model.

    Args:
        features: Of the partner's compounds.
        train: Rows trained on.
        calibration: Rows of the validation fold.
    """
    seen, inside = np.zeros(features.n_columns, dtype=np.bool_), np.zeros(features.n_rows, dtype=np.bool_)
    inside[train] = True
    seen[features.indices[np.repeat(inside, np.diff(features.indptr))]] = True
    bare = Domain(seen=seen, novelty=np.zeros(0))
    everything = bare.novelty_of(features)
    return Domain(seen=seen, novelty=np.sort(everything[calibration]))
