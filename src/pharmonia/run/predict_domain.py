"""Whether a compound is like those that a model was made from, told by its environments alone."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector, frozen_copy
from pharmonia.base.errors import MetricError
from pharmonia.chem.ecfp_matrix import Codes, EnvironmentRows

Rows = npt.NDArray[np.int64]


class DomainState(StrEnum):
    """Whether predictions come with a verdict on their compounds."""

    JUDGED = "judged"
    UNKNOWN = "not known"
    TOO_FEW = "too few calibration compounds"


DOMAIN_TEXTS = {
    DomainState.JUDGED: "compounds less like the training compounds than most calibration compounds are not in domain",
    DomainState.UNKNOWN: "the bundle does not hold the environments that it was trained on, so nobody can say which "
    "compounds are like them; export it again, with --key, from data that `pharmonia prepare` wrote",
    DomainState.TOO_FEW: "no compound could be called foreign at this error rate, so none is said to be in domain; ask "
    "for a higher error rate",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Domain:
    """The environments that a partner trained on, and how foreign its calibration compounds were to them.

    A compound's novelty is the share of its environments that no training compound has. They are told apart by codes of
    32 bits under the consortium's key, never by columns: thousands of columns are soon all taken, and any compound
    would seem known. Of n environments trained on, a new one is taken for a known one with a probability of n / 2^32, a
    fifth of a per cent for ten million. A compound's p-value is a conformal one (Laxhammar and Falkman 2010,
    doi:10.1145/1833280.1833287): of compounds exchangeable with the calibration compounds, at most the chosen share is
    called foreign.

    Args:
        seen: (n_seen,) uint32 codes of the training compounds' environments under the key, ascending, each once.
        novelty: (n_calibration,) float64 of the calibration compounds, ascending.

    Raises:
        MetricError: Codes or novelties out of order, or novelties that are no shares.
    """

    seen: Codes
    novelty: Vector

    def __post_init__(self) -> None:
        for name in ("seen", "novelty"):
            object.__setattr__(self, name, frozen_copy(getattr(self, name)))
        if self.seen.ndim != 1 or (self.seen[1:] <= self.seen[:-1]).any():
            raise MetricError("codes of environments must ascend, each once")
        if not ((self.novelty >= 0) & (self.novelty <= 1)).all() or (np.diff(self.novelty) < 0).any():
            raise MetricError("novelties must be shares in ascending order")

    def novelty_of(self, environments: EnvironmentRows) -> Vector:
        """(n_rows,) share of each compound's environments that no training compound has; 0 for a row without any.

        Args:
            environments: Under the key.
        """
        new = np.concatenate(([0], np.cumsum(~np.isin(environments.codes, self.seen))))
        n_new, n_set = np.diff(new[environments.indptr]), np.diff(environments.indptr)
        share: Vector = n_new / np.maximum(n_set, 1)
        return share

    def p_values(self, novelty: Vector) -> Vector:
        """(n_rows,) (calibration compounds of at least this novelty + 1) / (their number + 1)."""
        at_least = self.novelty.size - np.searchsorted(self.novelty, novelty)
        p_value: Vector = (at_least + 1) / (self.novelty.size + 1)
        return p_value

    def can_reject(self, error_rate: float) -> bool:
        """Whether there are calibration compounds enough for any compound to be called foreign at this error rate."""
        return error_rate * (self.novelty.size + 1) >= 1


def domain_of(environments: EnvironmentRows, train: Rows, calibration: Rows) -> Domain:
    """The domain of a model.

    Args:
        environments: Of the partner's compounds, under the key.
        train: Rows trained on.
        calibration: Rows of the validation fold.
    """
    inside = np.zeros(environments.n_rows, dtype=np.bool_)
    inside[train] = True
    seen = np.unique(environments.codes[np.repeat(inside, np.diff(environments.indptr))])
    everything = Domain(seen=seen, novelty=np.zeros(0)).novelty_of(environments)
    return Domain(seen=seen, novelty=np.sort(everything[calibration]))
