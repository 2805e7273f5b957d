"""Who gains from federating: every arm on the same resampled test rows, per partner and overall."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy import stats

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import MetricError
from pharmonia.evaluate.bootstrap import Counts, Resampler, Samples, quantiles, resample_counts
from pharmonia.evaluate.metrics import Metric, undefined_reason
from pharmonia.evaluate.outcome import Arm, SeedOutcome

LEVEL = 0.95  # of every interval
MIN_ROWS = 10  # fewer test rows carry no verdict
MIN_RESAMPLES = 100
_TAILS = ((1.0 - LEVEL) / 2, (1.0 + LEVEL) / 2)
_MAX_UNDEFINED = 0.05  # share of resamples that may leave a figure undefined
_MSE = tuple(Metric).index(Metric.MSE)
_ALONE, _ENSEMBLE, _FEDERATED, _POOLED = range(len(Arm))


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse values that are not finite or an interval upside down."""
        if not np.isfinite((self.value, self.low, self.high)).all() or self.low > self.high:
            raise MetricError(f"expected a finite value and interval, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Undefined:
    """Why there is no number."""

    reason: str

    def __post_init__(self) -> None:
        """Refuse an empty reason."""
        if not self.reason:
            raise MetricError("an undefined figure needs a reason")


Figure = Estimate | Undefined


class TestRows(StrEnum):
    """On which test rows a partner is judged."""

    __test__ = False  # no test case, whatever pytest makes of the name

    OWN = "own"  # its own held-out rows; overall, each row by its owner's model
    ALL = "all"  # everyone's; overall, the mean over the partners' models


class Verdict(StrEnum):
    """Whether the interval of the gain over the best alternative without pooling excludes zero."""

    GAINS = "gains"
    LOSES = "loses"
    NO_DIFFERENCE = "no clear difference"
    TOO_FEW_ROWS = "too few rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmScores:
    """The four metrics of one arm, means over the seeds."""

    arm: Arm
    mse: Figure
    ci: Figure
    pearson: Figure
    r2m: Figure

    def of(self, metric: Metric) -> Figure:
        """The figure of one metric."""
        figure: Figure = getattr(self, metric.value)
        return figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One partner's four arms on the same test rows, or all partners' together.

    Gains are shares of an alternative's MSE: 0.12 means that federating cut it by 12 %.
    """

    partner: str | None  # None: all partners together
    rows: TestRows
    n_rows: int  # test rows; the fewest over the seeds
    scores: tuple[ArmScores, ...]  # one per arm, in the order of `Arm`
    best_alternative: Arm | None  # alone or ensemble, whichever has the lower MSE; None without rows
    gain: Figure  # over the best alternative without pooling: 1 - federated / min(alone, ensemble)
    gain_over_alone: Figure
    gain_over_ensemble: Figure
    gain_of_pooling: Figure  # the same for pooled: 1 - pooled / min(alone, ensemble)
    gap_closed: Figure  # share: (best alternative - federated) / (best alternative - pooled)
    gain_over_seeds: Figure  # mean and t-interval over the seeds' gains
    verdict: Verdict

    def __post_init__(self) -> None:
        """Refuse scores that are not one per arm in order."""
        if tuple(scores.arm for scores in self.scores) != tuple(Arm):
            raise MetricError(f"expected scores of {[arm.value for arm in Arm]} in this order")


def compare_arms(outcomes: Sequence[SeedOutcome], rng: np.random.Generator, n_resamples: int) -> tuple[Comparison, ...]:
    """All comparisons: overall on own and on all rows, each partner on its own rows, each on all rows.

    Paired bootstrap over test rows: one resample is drawn of all rows that any seed tests on, and every arm,
    partner and seed is scored on it, so that a row which two seeds test on counts alike in both. A figure
    is the mean over the seeds; its interval runs from the 2.5 % to the 97.5 % quantile of the resamples.
    The best alternative is chosen anew inside each resample and seed, so that the choice between alone and
    ensemble can only favour the alternative. docs/metrics.md gives the equations.

    Args:
        outcomes: One per seed, all of the same partners.
        rng: Draws the resampled test rows.
        n_resamples: At least 100.

    Raises:
        MetricError: No outcomes, different partners, the same seed twice or too few resamples.
    """
    _check(outcomes, n_resamples)
    union = np.unique(np.concatenate([outcome.test_rows for outcome in outcomes]))
    counts = resample_counts(rng, union.size, n_resamples)
    samples = np.stack(
        [_seed_samples(outcome, counts[np.searchsorted(union, outcome.test_rows)]) for outcome in outcomes]
    )
    partners = outcomes[0].partners
    names = [None, None, *partners, *partners]
    kinds = [TestRows.OWN, TestRows.ALL, *[TestRows.OWN] * len(partners), *[TestRows.ALL] * len(partners)]
    return tuple(
        _comparison(name, rows, samples[:, i], outcomes)
        for i, (name, rows) in enumerate(zip(names, kinds, strict=True))
    )


def _check(outcomes: Sequence[SeedOutcome], n_resamples: int) -> None:
    if not outcomes:
        raise MetricError("a comparison needs at least one seed's outcome")
    if len({outcome.partners for outcome in outcomes}) != 1:
        raise MetricError("the seeds' outcomes must have the same partners in the same order")
    if len({outcome.seed for outcome in outcomes}) != len(outcomes):
        raise MetricError(f"each seed may appear once, got {[outcome.seed for outcome in outcomes]}")
    if n_resamples < MIN_RESAMPLES:
        raise MetricError(f"at least {MIN_RESAMPLES} resamples are needed, got {n_resamples}")


def _seed_samples(outcome: SeedOutcome, counts: Counts) -> Samples:
    """(n_comparisons, n_arms, n_metrics, 1 + n_resamples) of one seed, in the order of `compare_arms`."""
    everyone = Resampler(outcome.measured, counts)
    shared = [everyone.metrics(f) for f in (outcome.ensemble, outcome.federated, outcome.pooled)]
    alone_on_all = [everyone.metrics(f) for f in outcome.alone]
    own = []
    for index in range(len(outcome.partners)):
        mine = outcome.owner == index
        resampler = Resampler(outcome.measured[mine], counts[mine])
        arms = (outcome.alone[index], outcome.ensemble, outcome.federated, outcome.pooled)
        own.append([resampler.metrics(f[mine]) for f in arms])
    return np.array(
        [
            [everyone.metrics(outcome.alone_by_owner), *shared],
            [np.mean(alone_on_all, axis=0), *shared],
            *own,
            *([alone, *shared] for alone in alone_on_all),
        ]
    )


def _comparison(partner: str | None, rows: TestRows, samples: Samples, outcomes: Sequence[SeedOutcome]) -> Comparison:
    """One comparison from its (n_seeds, n_arms, n_metrics, 1 + n_resamples) samples."""
    n_rows = min(_row_mask(outcome, partner, rows).sum() for outcome in outcomes)
    if n_rows < 2:
        return _too_few(partner, rows, int(n_rows))
    mse = samples[:, :, _MSE]
    alone, ensemble = mse[:, _ALONE, 0].mean(), mse[:, _ENSEMBLE, 0].mean()
    reason = "an alternative's error is zero"
    if all(np.ptp(outcome.measured) == 0 for outcome in outcomes):
        mse, reason = np.full_like(mse, np.nan), "all test values are equal: nothing can be told"
    best = np.minimum(mse[:, _ALONE], mse[:, _ENSEMBLE])
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = [1.0 - mse[:, _FEDERATED] / other for other in (best, mse[:, _ALONE], mse[:, _ENSEMBLE])]
        gains.append(1.0 - mse[:, _POOLED] / best)
    gain, over_alone, over_ensemble, of_pooling = (_figure(values.mean(axis=0), reason) for values in gains)
    return Comparison(
        partner=partner,
        rows=rows,
        n_rows=int(n_rows),
        scores=_arm_scores(samples, _why_undefined(outcomes, partner, rows)),
        best_alternative=Arm.ALONE if alone <= ensemble else Arm.ENSEMBLE,
        gain=gain,
        gain_over_alone=over_alone,
        gain_over_ensemble=over_ensemble,
        gain_of_pooling=of_pooling,
        gap_closed=_gap_closed(best, mse[:, _FEDERATED], mse[:, _POOLED]),
        gain_over_seeds=over_seeds(gains[0][:, 0]),
        verdict=_verdict(gain, int(n_rows)),
    )


def _row_mask(outcome: SeedOutcome, partner: str | None, rows: TestRows) -> npt.NDArray[np.bool_]:
    if partner is None or rows is TestRows.ALL:
        return np.ones(outcome.owner.size, dtype=np.bool_)
    mine: npt.NDArray[np.bool_] = outcome.owner == outcome.partners.index(partner)
    return mine


def _why_undefined(outcomes: Sequence[SeedOutcome], partner: str | None, rows: TestRows) -> dict[Arm, str]:
    """Per arm, why some metric has no value under some seed; "" where all have."""
    reasons = dict.fromkeys(Arm, "")
    for outcome in outcomes:
        mask = _row_mask(outcome, partner, rows)
        alone = [outcome.alone[outcome.partners.index(partner)]] if partner else list(outcome.alone)
        if partner is None and rows is TestRows.OWN:
            alone = [outcome.alone_by_owner]
        predictions = {
            Arm.ALONE: alone,
            Arm.ENSEMBLE: [outcome.ensemble],
            Arm.FEDERATED: [outcome.federated],
            Arm.POOLED: [outcome.pooled],
        }
        for arm, candidates in predictions.items():
            found = (undefined_reason(outcome.measured[mask], f[mask]) for f in candidates)
            reasons[arm] = reasons[arm] or next(filter(None, found), "")
    return reasons


def _arm_scores(samples: Samples, reasons: dict[Arm, str]) -> tuple[ArmScores, ...]:
    means = samples.mean(axis=0)
    return tuple(
        ArmScores(
            arm=arm,
            **{
                metric.value: _figure(values, reasons[arm] or "too few different rows")
                for metric, values in zip(Metric, means[i], strict=True)
            },
        )
        for i, arm in enumerate(Arm)
    )


def _figure(samples: Vector, reason: str) -> Figure:
    """The value of column 0 with the quantiles of the others, or the reason why it has none."""
    undefined = 1.0 - np.isfinite(samples[1:]).mean()
    if not np.isfinite(samples[0]) or undefined > _MAX_UNDEFINED:
        return Undefined(reason=reason)
    low, high = quantiles(samples, _TAILS)
    return Estimate(value=float(samples[0]), low=float(low), high=float(high))


def _gap_closed(best: Samples, federated: Samples, pooled: Samples) -> Figure:
    """How much of the gap between the best alternative and pooling federating closes, over mean errors.

    Defined only where pooling clearly beats the best alternative: a share of nothing is no number.
    """
    gap = (best - pooled).mean(axis=0)
    if gap[0] <= 0:
        return Undefined(reason="pooling does not beat the best alternative here, so there is no gap to close")
    if not quantiles(gap, _TAILS)[0] > 0:
        return Undefined(reason="pooling does not clearly beat the best alternative here")
    share = (best - federated).mean(axis=0) / np.where(gap > 0, gap, np.nan)
    return _figure(share, "pooling does not clearly beat the best alternative here")


def over_seeds(gains: Vector) -> Figure:
    """Mean of the seeds' gains with Student's t-interval, mean +- t_{0.975, S - 1} s / sqrt(S)."""
    if gains.size == 1:
        return Undefined(reason="one seed: nothing is known about other seeds")
    if not np.isfinite(gains).all():
        return Undefined(reason="the gain is undefined under some seed")
    margin = stats.t.ppf(_TAILS[1], gains.size - 1) * gains.std(ddof=1) / np.sqrt(gains.size)
    mean = gains.mean()
    return Estimate(value=float(mean), low=float(mean - margin), high=float(mean + margin))


def _verdict(gain: Figure, n_rows: int) -> Verdict:
    if n_rows < MIN_ROWS:
        return Verdict.TOO_FEW_ROWS
    if isinstance(gain, Undefined):
        return Verdict.NO_DIFFERENCE
    if gain.low > 0:
        return Verdict.GAINS
    return Verdict.LOSES if gain.high < 0 else Verdict.NO_DIFFERENCE


def _too_few(partner: str | None, rows: TestRows, n_rows: int) -> Comparison:
    nothing = Undefined(reason=f"{n_rows} test rows, at least 2 are needed")
    scores = (ArmScores(arm=arm, mse=nothing, ci=nothing, pearson=nothing, r2m=nothing) for arm in Arm)
    return Comparison(
        partner=partner,
        rows=rows,
        n_rows=n_rows,
        scores=tuple(scores),
        best_alternative=None,
        gain=nothing,
        gain_over_alone=nothing,
        gain_over_ensemble=nothing,
        gain_of_pooling=nothing,
        gap_closed=nothing,
        gain_over_seeds=nothing,
        verdict=Verdict.TOO_FEW_ROWS,
    )
