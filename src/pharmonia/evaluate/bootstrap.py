"""The four metrics over many resamples of the same test rows, exact for each resample."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector
from pharmonia.evaluate.metrics import Metric
from pharmonia.evaluate.pairs import PairOrder, TieRuns, Weights

Counts = npt.NDArray[np.int16]  # (n_rows, 1 + n_resamples) how often each row was drawn; column 0 is all ones
Samples = npt.NDArray[np.float64]  # (..., 1 + n_resamples) one value per column of the counts

_WIDTH = 32  # columns at a time: see pairs.py
_FLAT = 1e-12  # a variance below this share of its mean square is rounding, not spread


def resample_counts(rng: np.random.Generator, n_rows: int, n_resamples: int) -> Counts:
    """How often each row appears in each bootstrap resample of ``n_rows`` rows drawn with replacement.

    Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 6. Column 0 is the sample itself,
    every row once, so that the estimate and its resamples come from one computation.

    Returns:
        (n_rows, 1 + n_resamples) int16; every column sums to n_rows.
    """
    counts = np.ones((1 + n_resamples, n_rows), dtype=np.int16)
    for resample in counts[1:]:
        resample[:] = np.bincount(rng.integers(n_rows, size=n_rows), minlength=n_rows)
    return np.ascontiguousarray(counts.T)


def quantiles(samples: Samples, levels: Sequence[float]) -> Vector:
    """Quantiles of the resamples (not of column 0) that are defined.

    Args:
        samples: (1 + n_resamples,) float64.
        levels: Between 0 and 1.

    Returns:
        (n_levels,) float64, NaN when no resample is defined.
    """
    values = samples[1:][np.isfinite(samples[1:])]
    return np.quantile(values, levels) if values.size else np.full(len(levels), np.nan)


class Resampler:
    """Measured values with their resamples, ready to score any number of predictions of the same rows."""

    def __init__(self, measured: Vector, counts: Counts) -> None:
        """Take (n_rows,) measured values, any number even none, and their (n_rows, n_columns) counts."""
        self._measured, self._counts = measured, counts
        ties = TieRuns(np.argsort(measured, kind="stable"), measured)
        total = counts.sum(axis=0, dtype=np.float64)
        self._comparable = total * total - self._over_columns(ties.sum_of_squares)  # twice the pairs

    def metrics(self, predicted: Vector) -> Samples:
        """(n_metrics, n_columns) float64 in the order of `Metric`; NaN where a column does not define one."""
        if predicted.size == 0:
            return np.full((len(Metric), self._counts.shape[1]), np.nan)
        y, f = self._measured, predicted
        concordant = self._over_columns(PairOrder(y, f).concordant)
        yc, fc = y - y.mean(), f - f.mean()
        terms = np.stack([np.ones_like(y), (y - f) ** 2, yc, fc, yc * yc, fc * fc, yc * fc])
        sums = self._over_columns(lambda weights: np.einsum("kn,nr->kr", terms, weights))
        with np.errstate(divide="ignore", invalid="ignore"):
            mse, r, r2m = _moment_metrics(sums, float(y.mean()), float(f.mean()))
            return np.stack([mse, 2.0 * concordant / self._comparable, r, r2m])

    def _over_columns(self, function: Callable[[Weights], Samples]) -> Samples:
        """The function's values, a few columns at a time so that the weights stay near the cache."""
        starts = range(0, self._counts.shape[1], _WIDTH)
        parts = [function(self._counts[:, i : i + _WIDTH].astype(np.float64)) for i in starts]
        return np.concatenate(parts, axis=-1)


def _moment_metrics(sums: Samples, y_mean: float, f_mean: float) -> tuple[Vector, Vector, Vector]:
    """MSE, Pearson r and r2m of each column from its weighted sums; equations in metrics.py.

    Args:
        sums: (7, n_columns) weighted sums of 1, (y - f)^2, and with y and f centred on the means of all
            rows, of y, f, y^2, f^2 and y f.
        y_mean: Mean of the measured values that y was centred on.
        f_mean: Mean of the predictions that f was centred on.
    """
    n, squared_error, sy, sf, syy, sff, syf = sums
    y_spread, f_spread = syy - sy * sy / n, sff - sf * sf / n
    y_spread = np.where(y_spread > _FLAT * syy, y_spread, np.nan)
    f_spread = np.where(f_spread > _FLAT * sff, f_spread, np.nan)
    r = np.clip((syf - sy * sf / n) / np.sqrt(y_spread * f_spread), -1.0, 1.0)
    raw_yy = syy + 2.0 * y_mean * sy + n * y_mean**2
    raw_ff = sff + 2.0 * f_mean * sf + n * f_mean**2
    raw_yf = syf + f_mean * sy + y_mean * sf + n * y_mean * f_mean
    r02 = 1.0 - (raw_yy - raw_yf**2 / raw_ff) / y_spread
    return squared_error / n, r, r**2 * (1.0 - np.sqrt(np.abs(r**2 - r02)))
