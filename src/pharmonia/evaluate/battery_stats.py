"""Per setting: gain over the best alternative without pooling, paired over seeds, corrected for looking at many.

docs/battery-report.md gives the equations and the reasons.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from scipy import stats

from pharmonia.base.arrays import Vector, frozen_copy
from pharmonia.base.errors import MetricError
from pharmonia.evaluate.battery import ALTERNATIVES, ENSEMBLES, TRAINED_BESIDE, BatteryArm, CellKey, CellOutcome
from pharmonia.evaluate.battery_plan import Plan
from pharmonia.evaluate.battery_rows import RowsTested
from pharmonia.evaluate.gain import LEVEL, Undefined
from pharmonia.evaluate.metrics import Metric

ALPHA = 1.0 - LEVEL  # of every test
_ROUNDING = 1e-12  # values that differ by less, absolute and relative to the largest, are taken as equal
Name = TypeVar("Name")


@dataclass(frozen=True, slots=True, kw_only=True)
class OverSeeds:
    """A mean over seeds with Student's t-interval; without one where there is a single seed."""

    value: float
    half_width: float | None  # of the 95 % interval; None with one seed
    n_seeds: int

    def __post_init__(self) -> None:
        """Refuse values that are not finite, and an interval without seeds for it."""
        if not math.isfinite(self.value) or self.n_seeds < 1 or (self.half_width is None) != (self.n_seeds == 1):
            raise MetricError(f"expected a finite mean, and an interval from 2 seeds on, got {self}")
        if self.half_width is not None and not 0 <= self.half_width < math.inf:
            raise MetricError(f"half_width must be finite and not negative, got {self.half_width}")

    @property
    def low(self) -> float:
        """Lower end of the interval; minus infinity with one seed."""
        return -math.inf if self.half_width is None else self.value - self.half_width

    @property
    def high(self) -> float:
        """Upper end of the interval; infinity with one seed."""
        return math.inf if self.half_width is None else self.value + self.half_width


def over_seeds(values: Sequence[float]) -> OverSeeds:
    """Mean of one value per seed, +- t_{0.975, S - 1} s / sqrt(S) over S seeds.

    Raises:
        MetricError: No values, or one is not finite.
    """
    if not values:
        raise MetricError("a mean over seeds needs at least one seed")
    n, half_width = len(values), None
    if n > 1:
        quantile = float(stats.t.ppf((1.0 + LEVEL) / 2, n - 1))
        half_width = quantile * float(np.std(values, ddof=1)) / math.sqrt(n)
    return OverSeeds(value=float(np.mean(values)), half_width=half_width, n_seeds=n)


def t_test(values: Sequence[float]) -> float | None:
    """Two-sided p of Student's t-test that the mean over seeds is zero.

    None with one seed, and where all seeds have the same value up to rounding: without spread, t is no number.
    """
    mean = over_seeds(values)
    if float(np.ptp(values)) <= _ROUNDING * max(1.0, float(np.abs(values).max())):
        return None
    error = float(np.std(values, ddof=1)) / math.sqrt(mean.n_seeds)
    return float(2.0 * stats.t.sf(abs(mean.value) / error, mean.n_seeds - 1))


def holm_adjusted(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values, in the order given; those below 0.05 are rejected with a family-wise error of 5 %.

    Holm 1979 (Scandinavian Journal of Statistics 6:65): with p_(1) <= ... <= p_(m),
    adjusted p_(i) = max over j <= i of min(1, (m - j + 1) p_(j)). Valid whatever the dependence of the tests.

    Raises:
        MetricError: A value is not between 0 and 1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise MetricError(f"p-values must be between 0 and 1, got {list(p_values)}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, p[order] * np.arange(p.size, 0, -1)))
    return tuple(adjusted.tolist())


def holm_over_tests(p_values: Mapping[Name, float | None], n_planned: int) -> dict[Name, float | None]:
    """`holm_adjusted` over all tests that were planned; those that were not made count as made with p = 1.

    So a family is as large when its battery is stopped early as when it is finished. None stays None.
    """
    tested = {name: p for name, p in p_values.items() if p is not None}
    not_made = [1.0] * (n_planned - len(tested))
    adjusted = dict(zip(tested, holm_adjusted([*tested.values(), *not_made]), strict=False))
    return {name: adjusted.get(name) for name in p_values}


class Call(StrEnum):
    """What the seeds say of one setting, after the correction for looking at many."""

    BETTER = "clearly better"
    WORSE = "clearly worse"
    NO_DIFFERENCE = "no clear difference"
    NOT_TESTED = "not tested"  # no gain, one seed, or the same gain under every seed


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmMean:
    """One arm's metrics, means over the seeds."""

    arm: BatteryArm
    mse: OverSeeds
    ci: float | None  # None: not defined under some seed
    pearson: float | None
    r2m: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanCost:
    """What the federated arm took, all parties together, means over the seeds."""

    rounds_run: float
    n_params: int
    bytes_to_partners: float
    bytes_from_partners: float
    cpu_s: float
    wall_s: float
    sum_error: float | None  # the largest; None where every sum was plain
    cpu_s_beside: Mapping[BatteryArm, float]  # of the other arms that trained, as far as noted under every seed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SettingResult:
    """One setting over its seeds. Gains are shares of the best alternative's MSE."""

    key: CellKey
    seeds: tuple[int, ...]
    tested_on: tuple[RowsTested, ...]  # one per seed
    scores: tuple[ArmMean, ...]  # in the order of `BatteryArm`; arms that ran under every seed
    federated_mse: tuple[float, ...]  # one per seed; empty without a federated arm
    alternative_mse: Mapping[BatteryArm, tuple[float, ...]]  # one per seed; of alternatives that ran under every seed
    best_alternative: BatteryArm | None  # with the lowest mean MSE
    seed_gains: tuple[float, ...]  # one per seed; empty where the gain is undefined
    gain: OverSeeds | Undefined  # 1 - federated / min(alternatives), the minimum taken under each seed
    p: float | None  # of a gain of zero; None: not tested
    p_adjusted: float | None  # by Holm over all settings that the battery plans to compare
    gap_closed: float | Undefined  # (best alternative - federated) / (best alternative - pooled), of mean errors
    cost: MeanCost
    curve: Vector  # (n_rounds,) float64: mean validation MSE after each round

    def mean_of(self, arm: BatteryArm) -> ArmMean | None:
        """The arm's means; None where it did not run under every seed."""
        return next((score for score in self.scores if score.arm is arm), None)

    @property
    def lacks(self) -> str:
        """Why its gain, if any, need not be over the best alternative; empty where alone and an ensemble ran."""
        has_ensemble = any(arm in self.alternative_mse for arm in ENSEMBLES)
        if BatteryArm.ALONE in self.alternative_mse:
            return "" if has_ensemble else "no ensemble ran"
        return "alone did not run" if has_ensemble else "neither alone nor an ensemble ran"

    @property
    def untested(self) -> str:
        """Why its gain could not be tested; empty where it was."""
        if isinstance(self.gain, Undefined):
            return self.gain.reason
        if self.p is not None:
            return ""
        return "one seed" if len(self.seeds) == 1 else "the same gain under every seed"

    @property
    def call(self) -> Call:
        """The verdict at a family-wise error of 5 % over settings; means over partners are a family of their own."""
        return call_of(self.gain, self.p_adjusted)


def call_of(gain: OverSeeds | Undefined, p_adjusted: float | None) -> Call:
    """The verdict on a gain whose p-value is corrected for all tests of its family."""
    if p_adjusted is None or isinstance(gain, Undefined):
        return Call.NOT_TESTED
    if p_adjusted >= ALPHA:
        return Call.NO_DIFFERENCE
    return Call.BETTER if gain.value > 0 else Call.WORSE


def summarise(outcomes: Sequence[CellOutcome], plan: Plan) -> tuple[SettingResult, ...]:
    """One result per setting, Holm-corrected over all that are planned, in the order of `in_reading_order`.

    Raises:
        MetricError: A cell appears twice.
    """
    cells: dict[CellKey, dict[int, CellOutcome]] = {}
    for outcome in outcomes:
        if outcome.seed in cells.setdefault(outcome.key, {}):
            raise MetricError(f"{outcome.key}, seed {outcome.seed} appears twice")
        cells[outcome.key][outcome.seed] = outcome
    keys = sorted(cells, key=in_reading_order)
    groups = {key: [cells[key][seed] for seed in sorted(cells[key])] for key in keys}
    gains = {key: seed_gains(group) for key, group in groups.items()}
    tests = {key: None if isinstance(gain, Undefined) else t_test(gain) for key, gain in gains.items()}
    adjusted = holm_over_tests(tests, len(plan.compared))
    return tuple(_result(key, groups[key], gains[key], tests[key], adjusted[key]) for key in keys)


def in_reading_order(key: CellKey) -> tuple[str | bool | float, ...]:
    """Sorts settings as a reader looks for them: IID first, parameters and partners as numbers."""
    parameter = key.parameter
    number = -math.inf if math.isnan(parameter) else parameter
    block = (key.dataset, key.protocol, key.model, key.norm)
    return (*block, key.kind != "iid", key.kind, number, key.scenario, key.n_partners, key.method)


def best_alternative_mse(outcome: CellOutcome) -> float:
    """The lowest MSE of the alternatives that ran; NaN where none did.

    Chosen on the test rows under each seed, which can only favour the alternative, never federating.
    """
    ran = [score.mse for score in outcome.scores if score.arm in ALTERNATIVES]
    return min(ran, default=math.nan)


def seed_gains(group: Sequence[CellOutcome]) -> list[float] | Undefined:
    """One gain per seed of one setting, 1 - federated / best alternative, or why there is none."""
    federated = [outcome.mse_of(BatteryArm.FEDERATED) for outcome in group]
    best = [best_alternative_mse(outcome) for outcome in group]
    if any(map(math.isnan, federated)):
        return Undefined(reason="the federated arm did not run under every seed")
    if any(map(math.isnan, best)):
        return Undefined(reason="no alternative without pooling ran under every seed")
    if len({frozenset(s.arm for s in outcome.scores if s.arm in ALTERNATIVES) for outcome in group}) > 1:
        return Undefined(reason="its seeds ran different alternatives, so their best ones cannot be compared")
    if min(best) == 0.0:
        return Undefined(reason="an alternative's error is zero")
    return [1.0 - ours / other for ours, other in zip(federated, best, strict=True)]


def _result(
    key: CellKey,
    group: list[CellOutcome],
    gains: list[float] | Undefined,
    p: float | None,
    p_adjusted: float | None,
) -> SettingResult:
    scores = _arm_means(group)
    alternatives = [score for score in scores if score.arm in ALTERNATIVES]
    federated = [outcome.mse_of(BatteryArm.FEDERATED) for outcome in group]
    return SettingResult(
        key=key,
        seeds=tuple(outcome.seed for outcome in group),
        tested_on=tuple(RowsTested(n_rows=outcome.n_test, digest=outcome.test_rows_digest) for outcome in group),
        scores=scores,
        federated_mse=() if any(map(math.isnan, federated)) else tuple(federated),
        alternative_mse=MappingProxyType(
            {score.arm: tuple(outcome.mse_of(score.arm) for outcome in group) for score in alternatives}
        ),
        best_alternative=min(alternatives, key=lambda score: score.mse.value).arm if alternatives else None,
        seed_gains=() if isinstance(gains, Undefined) else tuple(gains),
        gain=gains if isinstance(gains, Undefined) else over_seeds(gains),
        p=p,
        p_adjusted=p_adjusted,
        gap_closed=_gap_closed(group),
        cost=_mean_cost(group),
        curve=mean_curve([outcome.curve for outcome in group]),
    )


def _arm_means(group: list[CellOutcome]) -> tuple[ArmMean, ...]:
    means = []
    for arm in BatteryArm:
        found = [score for outcome in group for score in outcome.scores if score.arm is arm]
        if len(found) != len(group):
            continue
        others = (_mean([score.of(m) for score in found]) for m in (Metric.CI, Metric.PEARSON, Metric.R2M))
        ci, pearson, r2m = others
        mse = over_seeds([score.mse for score in found])
        means.append(ArmMean(arm=arm, mse=mse, ci=ci, pearson=pearson, r2m=r2m))
    return tuple(means)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _gap_closed(group: list[CellOutcome]) -> float | Undefined:
    """How much of the way from the best alternative to pooling federating goes: a quotient of mean differences."""
    best = np.array([best_alternative_mse(outcome) for outcome in group])
    federated, pooled = (
        np.array([outcome.mse_of(arm) for outcome in group]) for arm in (BatteryArm.FEDERATED, BatteryArm.POOLED)
    )
    if np.isnan([best, federated, pooled]).any():
        return Undefined(reason="the federated arm, the pooled arm or every alternative is missing under some seed")
    if (best <= pooled).any():
        return Undefined(reason="pooling does not beat the best alternative under every seed")
    return float((best - federated).mean() / (best - pooled).mean())


def _mean_cost(group: list[CellOutcome]) -> MeanCost:
    errors = [outcome.sum_error for outcome in group if outcome.sum_error is not None]
    return MeanCost(
        rounds_run=float(np.mean([outcome.rounds_run for outcome in group])),
        n_params=max(outcome.n_params for outcome in group),
        bytes_to_partners=float(np.mean([outcome.bytes_to_partners for outcome in group])),
        bytes_from_partners=float(np.mean([outcome.bytes_from_partners for outcome in group])),
        cpu_s=float(np.mean([outcome.cpu_s for outcome in group])),
        wall_s=float(np.mean([outcome.wall_s for outcome in group])),
        sum_error=max(errors, default=None),
        cpu_s_beside=MappingProxyType(
            {
                arm: float(np.mean([outcome.cpu_s_beside[arm] for outcome in group]))
                for arm in TRAINED_BESIDE
                if all(arm in outcome.cpu_s_beside for outcome in group)
            }
        ),
    )


def mean_curve(curves: Sequence[Vector]) -> Vector:
    """Mean of the seeds' curves; one that stopped early keeps its lowest error, as its best model is kept.

    Returns:
        (n_rounds of the longest,) float64; empty where a seed has none.
    """
    n_rounds = max(curve.size for curve in curves)
    if min(curve.size for curve in curves) == 0:
        return frozen_copy(np.empty(0))
    full = [np.concatenate([curve, np.full(n_rounds - curve.size, curve.min())]) for curve in curves]
    return frozen_copy(np.mean(full, axis=0))
