"""How much nearer to perfection one model is than another, task by task, and which tasks gain most."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import MetricError
from pharmonia.evaluate.bootstrap import quantiles, resample_counts
from pharmonia.evaluate.gain import LEVEL, MIN_RESAMPLES, Estimate, Figure, Undefined
from pharmonia.evaluate.tasks import Counts, divided

MIN_TASKS = 6  # fewer cannot differ significantly by signs and ranks


def proximity_gains(new: Vector, base: Vector, perfect: float) -> Vector:
    """(n_tasks,) relative improvement of proximity to perfection, (new - base) / (perfect - base).

    Heyndrickx et al. 2024 (doi:10.1021/acs.jcim.3c00799). 1 where the new model is perfect, 0 where nothing changed,
    negative where it is worse; 0 where both are perfect, and NaN where only the base is, or a metric is undefined.

    Args:
        new: (n_tasks,) a metric of the new model.
        base: (n_tasks,) the same metric, on the same rows, of the model to compare with.
        perfect: What a perfect model has: 1 for most metrics, 0 for errors.

    Raises:
        MetricError: Metrics of different tasks.
    """
    if new.shape != base.shape or new.ndim != 1:
        raise MetricError(f"expected two metrics of the same tasks, got {new.shape} and {base.shape}")
    both_perfect = (new == perfect) & (base == perfect)
    return np.where(both_perfect, 0.0, divided(new - base, perfect - base))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGains:
    """What became of many tasks.

    Args:
        n_tasks: Those that count: with a gain and a weight.
        mean: Weighted mean gain with its 95 % interval over resampled groups of tasks.
        share_better: Weighted share of tasks with a gain above zero, counting no change half.
        p_value: Of no difference, by Wilcoxon's signed ranks over the groups' mean gains, two-sided; NaN below 6
            groups, or where nothing changed.
    """

    n_tasks: int
    mean: Figure
    share_better: float
    p_value: float


def task_gains(
    gains: Vector,
    weights: npt.NDArray[np.floating],
    group: npt.NDArray[np.integer],
    rng: np.random.Generator,
    n_resamples: int,
) -> TaskGains:
    """The gains of many tasks in one line.

    Tasks of one assay, such as thresholds next to each other, rise and fall together: groups are resampled whole
    (Efron and Tibshirani 1993), and the test is over groups.

    Args:
        gains: (n_tasks,) from `proximity_gains`; NaN does not count.
        weights: (n_tasks,) aggregation weights; 0 does not count.
        group: (n_tasks,) from 0: the assay.
        rng: Draws the resamples.
        n_resamples: At least 100.

    Raises:
        MetricError: Arrays of several lengths, or too few resamples.
    """
    if not gains.shape == weights.shape == group.shape or n_resamples < MIN_RESAMPLES:
        raise MetricError(f"expected a gain, weight and group per task and at least {MIN_RESAMPLES} resamples")
    counts = np.isfinite(gains) & (weights > 0)
    g, w = gains[counts], weights[counts].astype(np.float64)
    if not g.size:
        return TaskGains(n_tasks=0, mean=Undefined(reason="no task has a gain"), share_better=np.nan, p_value=np.nan)
    _, place = np.unique(group[counts], return_inverse=True)
    total, weight = np.bincount(place, w * g).astype(np.float64), np.bincount(place, w).astype(np.float64)
    return TaskGains(
        n_tasks=g.size,
        mean=_interval(total, weight, rng, n_resamples),
        share_better=float(w @ ((g > 0) + 0.5 * (g == 0)) / w.sum()),
        p_value=_signed_rank_p(total / weight),
    )


def _interval(total: Vector, weight: Vector, rng: np.random.Generator, n_resamples: int) -> Figure:
    """The ratio of two sums over groups, with its interval over resampled groups."""
    if total.size < 2:
        return Undefined(reason="tasks of one assay only, at least 2 are needed")
    drawn = resample_counts(rng, total.size, n_resamples).astype(np.float64)
    samples = (total @ drawn) / (weight @ drawn)
    low, high = quantiles(samples, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Estimate(value=float(samples[0]), low=float(low), high=float(high))


def _signed_rank_p(gains: Vector) -> float:
    if gains.size < MIN_TASKS or not gains.any():
        return float("nan")
    return float(stats.wilcoxon(gains).pvalue)


@dataclass(frozen=True, slots=True, kw_only=True)
class AmountBin:
    """The gains of the tasks with so many training labels, both ends included."""

    fewest: int
    most: int
    gains: TaskGains


@dataclass(frozen=True, slots=True, kw_only=True)
class GainByAmount:
    """Whether scarce tasks gain most.

    Args:
        bins: From the scarcest tasks to the richest, of nearly equal numbers of tasks.
        trend: Spearman's correlation, over groups, of the mean gain with the mean number of training labels; below zero
            if scarce tasks gain most.
        p_value: Of no trend, two-sided, by Student's t. NaN, as the trend, below 6 groups or where all are alike.
    """

    bins: tuple[AmountBin, ...]
    trend: float
    p_value: float


def gain_by_amount(
    gains: Vector,
    weights: npt.NDArray[np.floating],
    group: npt.NDArray[np.integer],
    n_train: Counts,
    rng: np.random.Generator,
    n_resamples: int,
    n_bins: int,
) -> GainByAmount:
    """Gains by how many labels a task was trained on, at the partner that asks.

    The trend is over groups, each one observation: the tasks of an assay rise and fall together, at all partners.

    Args:
        gains: As in `task_gains`, as are the next two.
        weights: Aggregation weights.
        group: The assay.
        n_train: (n_tasks,) training labels of the partner's own.
        rng: Draws the resamples.
        n_resamples: At least 100.
        n_bins: At most; tasks with equal numbers of labels stay together.

    Raises:
        MetricError: As `task_gains`, or no bins.
    """
    if n_train.shape != gains.shape or n_bins < 1:
        raise MetricError(f"expected the labels of {gains.size} tasks and at least 1 bin")
    counts = np.flatnonzero(np.isfinite(gains) & (weights > 0))
    n = n_train[counts]
    edges = np.unique(np.quantile(n, np.linspace(0, 1, n_bins + 1)[1:-1], method="lower")) if n.size else n
    place = np.searchsorted(edges, n)
    bins = []
    for index in np.unique(place).tolist():
        mine = counts[place == index]
        inside = task_gains(gains[mine], weights[mine], group[mine], rng, n_resamples)
        bins.append(AmountBin(fewest=int(n_train[mine].min()), most=int(n_train[mine].max()), gains=inside))
    trend, p_value = _trend(gains[counts], weights[counts].astype(np.float64), group[counts], n)
    return GainByAmount(bins=tuple(bins), trend=trend, p_value=p_value)


def _trend(gains: Vector, weights: Vector, group: npt.NDArray[np.integer], n_train: Counts) -> tuple[float, float]:
    """Spearman's correlation of groups' mean gains with their mean labels, and its p value; NaN for few or alike."""
    _, place = np.unique(group, return_inverse=True)
    weight = np.bincount(place, weights)
    gain, amount = (np.bincount(place, weights * each) / weight for each in (gains, n_train))
    if weight.size < MIN_TASKS or not np.ptp(gain) or not np.ptp(amount):
        return float("nan"), float("nan")
    found = stats.spearmanr(amount, gain)
    return float(found.statistic), float(found.pvalue)
