"""The report of a comparison: tables as data and plain sentences, built by one pure function."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector, frozen_copy
from pharmonia.base.errors import MetricError
from pharmonia.evaluate.gain import Comparison, TestRows, Verdict, compare_arms
from pharmonia.evaluate.outcome import Arm, Cost, Curve, Holdings, RunDescription, SeedOutcome

DEFAULT_RESAMPLES = 1000
_N_BINS = 40


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AgreementGrid:
    """How often predicted values met measured ones: counts per cell, without saying of which compound or target."""

    edges: Vector  # (n_bins + 1,) ascending, in the unit of the measured value; of both axes
    counts: npt.NDArray[np.int64]  # (n_arms, n_bins measured, n_bins predicted), summed over the seeds

    def __post_init__(self) -> None:
        """Refuse edges that do not ascend and counts of another shape."""
        edges = frozen_copy(np.asarray(self.edges, dtype=np.float64))
        counts = frozen_copy(np.asarray(self.counts, dtype=np.int64))
        if edges.ndim != 1 or edges.size < 2 or not (np.diff(edges) > 0).all():
            raise MetricError("the edges of an agreement grid must ascend")
        if counts.shape != (len(Arm), edges.size - 1, edges.size - 1) or counts.min() < 0:
            raise MetricError(f"an agreement grid needs {len(Arm)} square tables of counts, got {counts.shape}")
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "counts", counts)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """What a comparison found, ready to be printed, written or drawn."""

    description: RunDescription
    n_resamples: int
    comparisons: tuple[Comparison, ...]  # overall own, overall all, each partner own, each partner all
    holdings: Holdings  # under the first seed
    curves: tuple[Curve, ...]  # mean over the seeds
    costs: tuple[Cost, ...]  # mean over the seeds
    agreement: AgreementGrid

    def __post_init__(self) -> None:
        """Refuse comparisons that are not those of the partners in their order."""
        names = [holding.partner for holding in self.holdings.partners]
        expected = [(name, rows) for part in ([None], names) for rows in TestRows for name in part]
        found = [(comparison.partner, comparison.rows) for comparison in self.comparisons]
        if found != expected:
            raise MetricError(f"expected comparisons {expected}, got {found}")

    @property
    def overall(self) -> Comparison:
        """All partners together, each test row judged by its owner: the answer."""
        return self.comparisons[0]

    def of_partners(self, rows: TestRows) -> tuple[Comparison, ...]:
        """One comparison per partner on these rows."""
        return tuple(c for c in self.comparisons if c.partner is not None and c.rows is rows)

    def n_partners_that(self, verdict: Verdict) -> int:
        """Partners with this verdict on their own rows."""
        return sum(comparison.verdict is verdict for comparison in self.of_partners(TestRows.OWN))


def build_report(
    outcomes: Sequence[SeedOutcome],
    description: RunDescription,
    rng: np.random.Generator,
    n_resamples: int = DEFAULT_RESAMPLES,
) -> Report:
    """Scores, gains, verdicts and everything drawn, from one outcome per seed.

    Args:
        outcomes: One per seed of the description, in its order, all of the same partners.
        description: How the comparison was run.
        rng: Draws the resampled test rows.
        n_resamples: Bootstrap resamples, at least 100.

    Raises:
        MetricError: The outcomes do not belong together or to the description.
    """
    seeds = tuple(outcome.seed for outcome in outcomes)
    if seeds != description.seeds:
        raise MetricError(f"the run's seeds are {description.seeds}, its outcomes have {seeds}")
    return Report(
        description=description,
        n_resamples=n_resamples,
        comparisons=compare_arms(outcomes, rng, n_resamples),
        holdings=outcomes[0].holdings,
        curves=_mean_curves(outcomes),
        costs=_mean_costs(outcomes),
        agreement=_agreement(outcomes),
    )


def _mean_curves(outcomes: Sequence[SeedOutcome]) -> tuple[Curve, ...]:
    """Mean over the seeds of every curve that all seeds have; shorter ones keep their best error."""
    tables = [{(curve.arm, curve.partner): curve for curve in outcome.curves} for outcome in outcomes]
    common = [key for key in tables[0] if all(key in table for table in tables)]
    means = []
    for arm, partner in common:
        curves = [table[arm, partner] for table in tables]
        n_rounds = max(curve.valid_mse.size for curve in curves)
        mean = np.mean([curve.extended(n_rounds) for curve in curves], axis=0)
        means.append(Curve(arm=arm, partner=partner, valid_mse=mean, best_round=int(mean.argmin())))
    return tuple(means)


def _mean_costs(outcomes: Sequence[SeedOutcome]) -> tuple[Cost, ...]:
    """Mean over the seeds of the cost of every arm that all seeds have; counts rounded, errors of sums the largest."""
    tables = [{cost.arm: cost for cost in outcome.costs} for outcome in outcomes]
    means = []
    for arm in (arm for arm in Arm if all(arm in table for table in tables)):
        costs = [table[arm] for table in tables]
        means.append(
            Cost(
                arm=arm,
                n_rounds=round(np.mean([cost.n_rounds for cost in costs])),
                wall_s=float(np.mean([cost.wall_s for cost in costs])),
                cpu_s=float(np.mean([cost.cpu_s for cost in costs])),
                bytes_to_partners=round(np.mean([cost.bytes_to_partners for cost in costs])),
                bytes_from_partners=round(np.mean([cost.bytes_from_partners for cost in costs])),
                n_clipped=max(cost.n_clipped for cost in costs),
                sum_error=max((cost.sum_error for cost in costs if cost.sum_error is not None), default=None),
            )
        )
    return tuple(means)


def _agreement(outcomes: Sequence[SeedOutcome]) -> AgreementGrid:
    """Counts over a grid that spans all measured and nearly all predicted values; the rest is at the rim."""
    measured = np.concatenate([outcome.measured for outcome in outcomes])
    arms = [
        np.concatenate([getattr(outcome, name) for outcome in outcomes])
        for name in ("alone_by_owner", "ensemble", "federated", "pooled")
    ]
    ends = [np.quantile(values, (0.001, 0.999)) for values in arms]
    low = min(measured.min(), *(end[0] for end in ends))
    high = max(measured.max(), *(end[1] for end in ends))
    edges = np.linspace(low, high if high > low else low + 1.0, _N_BINS + 1)
    counts = [np.histogram2d(measured, np.clip(values, edges[0], edges[-1]), bins=(edges, edges))[0] for values in arms]
    return AgreementGrid(edges=edges, counts=np.array(counts, dtype=np.int64))
