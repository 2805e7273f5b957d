"""How well predictions agree with measurements: MSE, concordance index, Pearson, r2m."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import MetricError

_LARGEST = 1e100  # squares of larger values leave float64


class Metric(StrEnum):
    """What is measured, in the order in which it is reported."""

    MSE = "mse"
    CI = "ci"
    PEARSON = "pearson"
    R2M = "r2m"

    @property
    def label(self) -> str:
        """Its name in a table or on an axis."""
        labels = {"mse": "MSE", "ci": "Concordance index", "pearson": "Pearson r", "r2m": "r²m"}
        return labels[self.value]

    @property
    def lower_is_better(self) -> bool:
        """Whether a smaller value is a better one."""
        return self is Metric.MSE

    def unit(self, measure: str) -> str:
        """Its unit when the measured value is in units of ``measure``."""
        units = {
            "mse": f"({measure})²",
            "ci": "fraction of comparable pairs",
            "pearson": "correlation, -1 to 1",
            "r2m": "index, at most 1",
        }
        return units[self.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCount:
    """Pairs of rows whose measured values differ, by what the predictions say of them."""

    n_comparable: int
    n_concordant: int  # predictions in the order of the measurements
    n_tied: int  # predictions equal

    @property
    def index(self) -> float:
        """(n_concordant + n_tied / 2) / n_comparable."""
        return (2 * self.n_concordant + self.n_tied) / (2 * self.n_comparable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The four metrics over the same rows.

    A metric that these rows do not define is NaN, and ``reason`` says why: a partner whose measured values
    are all equal has an MSE but no concordance index, Pearson r or r2m.
    """

    n_rows: int
    mse: float  # squared unit of the measured value
    ci: float  # concordance index, 0 to 1
    pearson: float  # -1 to 1
    r2m: float  # at most 1
    reason: str  # why a metric is NaN; empty when none is

    def __post_init__(self) -> None:
        """Refuse a NaN without a reason, a reason without a NaN, and an undefined MSE."""
        if self.n_rows < 1 or not math.isfinite(self.mse) or self.mse < 0:
            raise MetricError(f"expected a finite MSE over at least 1 row, got {self.mse} over {self.n_rows}")
        undefined = any(math.isnan(value) for value in (self.ci, self.pearson, self.r2m))
        if undefined != bool(self.reason):
            raise MetricError(f"a metric is NaN exactly when a reason is given, got {self}")


def checked_pair(measured: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[Vector, Vector]:
    """Both as (n,) float64, or a refusal.

    Raises:
        MetricError: Lengths differ, fewer than 2 rows, or a value is not finite or too large.
    """
    y = np.asarray(measured, dtype=np.float64)
    f = np.asarray(predicted, dtype=np.float64)
    if y.ndim != 1 or y.shape != f.shape:
        raise MetricError(f"measured and predicted must be vectors of one length, got {y.shape} and {f.shape}")
    if y.size < 2:
        raise MetricError(f"a metric needs at least 2 rows, got {y.size}")
    for name, values in (("measured", y), ("predicted", f)):
        good = np.abs(values) < _LARGEST  # False for NaN too
        if not good.all():
            row = int(good.argmin())
            raise MetricError(f"{name} must be finite and below {_LARGEST:g}, got {values[row]} at row {row}")
    return y, f


def mse(measured: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Mean squared error, sum((y - f)^2) / n, in the squared unit of the measured value.

    Raises:
        MetricError: As `checked_pair`.
    """
    y, f = checked_pair(measured, predicted)
    return float(np.mean((y - f) ** 2))


def concordance_index(measured: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Share of comparable pairs that the predictions put in the right order; equal predictions count half.

    Gönen and Heller 2005 (Biometrika 92:965); Öztürk et al. 2018 (doi:10.1093/bioinformatics/bty593).
    Exact in O(n log n): see `count_pairs`.

    Raises:
        MetricError: As `checked_pair`, or all measured values are equal.
    """
    pairs = count_pairs(measured, predicted)
    if pairs.n_comparable == 0:
        raise MetricError(f"no concordance index: {undefined_reason(*checked_pair(measured, predicted))}")
    return pairs.index


def count_pairs(measured: npt.ArrayLike, predicted: npt.ArrayLike) -> PairCount:
    """Exact integer counts of comparable, concordant and tied pairs, in O(n log n).

    Sorting ties of one value against the other leaves a permutation whose ascending pairs are exactly the
    concordant ones (`tie_free_order`).

    Raises:
        MetricError: As `checked_pair`.
    """
    y, f = checked_pair(measured, predicted)
    by_measured, position = tie_free_order(y, f)
    y_ties = equal_pairs(y[by_measured])
    both = (y[by_measured][1:] == y[by_measured][:-1]) & (f[by_measured][1:] == f[by_measured][:-1])
    f_ties = equal_pairs(np.sort(f))
    return PairCount(
        n_comparable=y.size * (y.size - 1) // 2 - y_ties,
        n_concordant=_count_ascending(position),
        n_tied=f_ties - _pairs_of_runs(both),
    )


def tie_free_order(y: Vector, f: Vector) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
    """Rows by measured value, and each row of the order by predicted value as a position in the first.

    The first order sorts by (y ascending, f descending, row ascending), the second by (f ascending,
    y descending, row descending). Two rows ascend in both exactly when y and f both strictly ascend.

    Returns:
        (n,) rows in the first order; (n,) int64 positions in the first order, listed in the second order.
    """
    by_measured = np.lexsort((-f, y))
    backwards = np.argsort(f[by_measured[::-1]], kind="stable")
    return by_measured, (y.size - 1 - backwards).astype(np.int64)


def equal_pairs(ordered: Vector) -> int:
    """Number of pairs of equal values in a sorted vector."""
    return _pairs_of_runs(ordered[1:] == ordered[:-1])


def _pairs_of_runs(same_as_previous: npt.NDArray[np.bool_]) -> int:
    """Sum of k (k - 1) / 2 over runs of k equal neighbours, told by which rows equal the one before."""
    starts = np.flatnonzero(np.concatenate([[True], ~same_as_previous, [True]]))
    sizes = np.diff(starts)
    return int(np.sum(sizes * (sizes - 1) // 2))


def _count_ascending(permutation: npt.NDArray[np.int64]) -> int:
    """Number of i < j with p[i] < p[j], for a permutation p of 0..n-1, in O(n log n) integer operations.

    One pass per bit, highest first: rows that share the higher bits stand together in their first order;
    a 0 before a 1 in the current bit is one ascending pair; then each group is parted by that bit.
    """
    values, n = permutation, permutation.size
    place = np.arange(n)
    total = 0
    for bit in reversed(range(max(n - 1, 1).bit_length())):
        start = (values >> (bit + 1)) << (bit + 1)
        is_one = (values >> bit) & 1
        zeros_before = np.cumsum(1 - is_one) - (1 - is_one)
        zeros_before -= zeros_before[start]
        total += int(np.dot(is_one, zeros_before))
        n_zeros = np.minimum(1 << bit, n - start)
        ones_place = start + n_zeros + (place - start - zeros_before)
        parted = np.empty_like(values)
        parted[np.where(is_one, ones_place, start + zeros_before)] = values
        values = parted
    return total


def pearson(measured: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Pearson correlation, -1 to 1.

    Raises:
        MetricError: As `checked_pair`, or either vector is constant.
    """
    return _correlations(*_spread_pair(measured, predicted))[0]


def r2m(measured: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """The modified squared correlation, r2 (1 - sqrt(|r2 - r02|)), at most 1.

    Roy et al. 2013 (doi:10.1002/jcc.23231); Öztürk et al. 2018 (doi:10.1093/bioinformatics/bty593): r2 is
    the squared Pearson correlation and r02 = 1 - sum((y - k f)^2) / sum((y - mean(y))^2) belongs to the
    regression through the origin, k = sum(y f) / sum(f^2). DeepDTA's published code takes |r2^2 - r02^2|
    instead; docs/metrics.md says what that changes.

    Raises:
        MetricError: As `checked_pair`, or either vector is constant.
    """
    return _correlations(*_spread_pair(measured, predicted))[1]


def score(measured: npt.ArrayLike, predicted: npt.ArrayLike) -> Scores:
    """All four metrics; those that the rows do not define are NaN, with the reason.

    Raises:
        MetricError: As `checked_pair`.
    """
    y, f = checked_pair(measured, predicted)
    pairs = count_pairs(y, f)
    reason = undefined_reason(y, f)
    r, modified = (math.nan, math.nan) if reason else _correlations(y, f)
    return Scores(
        n_rows=y.size,
        mse=mse(y, f),
        ci=pairs.index if pairs.n_comparable else math.nan,
        pearson=r,
        r2m=modified,
        reason=reason,
    )


def undefined_reason(measured: Vector, predicted: Vector) -> str:
    """Why a metric of these rows is undefined: too few rows or no spread; empty when all are defined."""
    if measured.size < 2:
        return f"{measured.size} test rows, at least 2 are needed"
    for name, values in (("measured", measured), ("predicted", predicted)):
        if values.min() == values.max():
            return f"all {values.size} {name} values are equal"
    return ""


def _spread_pair(measured: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[Vector, Vector]:
    y, f = checked_pair(measured, predicted)
    reason = undefined_reason(y, f)
    if reason:
        raise MetricError(f"no correlation: {reason}")
    return y, f


def _correlations(y: Vector, f: Vector) -> tuple[float, float]:
    """Pearson r and r2m of two vectors that are not constant, scaled so that no square underflows."""
    y, f = y / np.abs(y).max(), f / np.abs(f).max()
    y_spread, f_spread = y - y.mean(), f - f.mean()
    y_unit, f_unit = (v / np.abs(v).max() for v in (y_spread, f_spread))
    r = float(np.clip(y_unit @ f_unit / math.sqrt((y_unit @ y_unit) * (f_unit @ f_unit)), -1.0, 1.0))
    k = (y @ f) / (f @ f)
    residual = y - k * f
    r02 = 1.0 - float((residual @ residual) / (y_spread @ y_spread))
    return r, r * r * (1.0 - math.sqrt(abs(r * r - r02)))
