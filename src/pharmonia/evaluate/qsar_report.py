"""The report of a comparison on many tasks: everything that is said and drawn, as data."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.evaluate.perfection import GainByAmount, TaskGains, gain_by_amount, task_gains
from pharmonia.evaluate.qsar import HEADLINE, WITHOUT_POOLING, Kind, QsarArm, TaskMetric
from pharmonia.evaluate.qsar_gain import (
    N_RESAMPLES,
    ArmGain,
    Mask,
    TaskTable,
    gain_of,
    mean_over_seeds,
    paired,
    proximity_of,
    task_table,
)
from pharmonia.evaluate.qsar_scores import ERROR_RATE, SeedScores

N_BINS = 4  # of tasks by their number of labels


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCost:
    """What an arm took over all its runs and seeds; the ensemble and the trees cost no rounds."""

    arm: QsarArm
    n_rounds: int  # of the longest run
    cpu_s: float
    bytes_sent: int  # between partners and coordinator, both ways; 0 where nothing leaves an organisation
    n_clipped: int
    sum_error: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QsarHolding:
    """What one partner has under the first seed: compounds, labels by fold, tasks trained, and tasks that count."""

    partner: str
    n_compounds: int
    n_train: int
    n_valid: int
    n_test: int
    n_tasks: int
    n_counting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Untrained:
    """A task that a partner has labels of and does not train, and why."""

    seed: int
    partner: str
    task_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QsarDescription:
    """How the comparison was done, for people.

    Args:
        facts: (heading, text) pairs.
        title: Data set, partners and sharing in one line.
        n_seeds: Repetitions.
        n_common_tasks: Tasks that at least two partners train; 0 means that the ensemble is the alone models.
        holdings: Of every partner.
        untrained: Tasks that a partner has labels of and does not train.
        leaks: Sentences that prove that no test compound was trained on.
        costs: By arm.
    """

    facts: tuple[tuple[str, str], ...]
    title: str
    n_seeds: int
    n_common_tasks: int
    holdings: tuple[QsarHolding, ...]
    untrained: tuple[Untrained, ...]
    leaks: tuple[str, ...]
    costs: tuple[ArmCost, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupGain:
    """The federated arm against alone and against the best alternative on the tasks of a partner or assay type."""

    name: str
    n_tasks: int
    alone: float  # mean of the headline metric
    federated: float
    over_alone: ArmGain
    over_best: ArmGain


@dataclass(frozen=True, slots=True, kw_only=True)
class ConformalGain:
    """Applicability domains at one error rate, federated against alone.

    Args:
        error_rate: Of the predictors.
        efficiency: Mean share of sets of one class, alone and federated.
        validity: Mean share of sets that hold the true class, alone and federated.
        gain: Federated efficiency minus alone.
    """

    error_rate: float
    efficiency: tuple[float, float]
    validity: tuple[float, float]
    gain: TaskGains


@dataclass(frozen=True, slots=True, kw_only=True)
class KindReport:
    """Everything about the tasks of one kind.

    Args:
        kind: Classification or regression.
        metric: The headline metric.
        n_tasks: Tasks of partners with a headline metric in every arm.
        n_assays: Their assays.
        means: Per arm and metric, means over those tasks.
        best: The arm without pooling whose mean headline metric is best.
        gains: Arm against arm.
        partners: By partner.
        assay_types: By type of assay.
        by_amount: Proximity gain over alone by a partner's own training labels.
        conformal: None for regression.
    """

    kind: Kind
    metric: TaskMetric
    n_tasks: int
    n_assays: int
    means: dict[tuple[QsarArm, TaskMetric], float]
    best: QsarArm
    gains: tuple[ArmGain, ...]
    partners: tuple[GroupGain, ...]
    assay_types: tuple[GroupGain, ...]
    by_amount: GainByAmount
    conformal: ConformalGain | None

    def gain(self, new: QsarArm, base: QsarArm) -> ArmGain:
        """One arm against another."""
        return next(gain for gain in self.gains if (gain.new, gain.base) == (new, base))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QsarReport:
    """A comparison on many tasks.

    Args:
        description: How it was done.
        table: Every task.
        uncounted: Seed, partner, task and reason of each that has no headline metric under that seed.
        kinds: One per kind that has tasks with a metric.
    """

    description: QsarDescription
    table: TaskTable
    uncounted: tuple[tuple[int, str, str, str], ...]
    kinds: tuple[KindReport, ...]


def build_qsar_report(
    seeds: Sequence[SeedScores], description: QsarDescription, rng: np.random.Generator
) -> QsarReport:
    """The report of all seeds' scores.

    Args:
        seeds: One per seed.
        description: How it was done.
        rng: Draws the resamples.

    Raises:
        MetricError: No seed, a seed twice, or seeds of different arms.
    """
    table = task_table(seeds)
    kinds = [_kind(table, kind, rng) for kind in Kind if _everywhere(table, kind).any()]
    uncounted = [
        (one.seed, task.partner, task.task_id, reason)
        for one in seeds
        for task, reason in zip(one.tasks, one.reasons, strict=True)
        if reason
    ]
    return QsarReport(description=description, table=table, uncounted=tuple(uncounted), kinds=tuple(kinds))


def _everywhere(table: TaskTable, kind: Kind) -> Mask:
    """(n_tasks,) whether every arm has the headline metric of a task, under one seed at least."""
    metric = HEADLINE[kind]
    there = np.all([np.isfinite(table.values[arm, metric]) for arm in table.arms], axis=0)
    chosen: Mask = table.of_kind(kind) & there.any(axis=0)
    return chosen


def _kind(table: TaskTable, kind: Kind, rng: np.random.Generator) -> KindReport:
    metric, chosen = HEADLINE[kind], _everywhere(table, kind)
    means = {
        (arm, each): _mean(mean_over_seeds(table.values[arm, each])[chosen])
        for arm in table.arms
        for each in TaskMetric
        if each.kind is kind
    }
    best = max((arm for arm in table.arms if arm in WITHOUT_POOLING), key=lambda arm: means[arm, metric])
    bases = [arm for arm in table.arms if arm is not QsarArm.FEDERATED]
    gains = [gain_of(table, QsarArm.FEDERATED, base, metric, rng, chosen) for base in bases]
    gains += [gain_of(table, QsarArm.POOLED, base, metric, rng, chosen) for base in WITHOUT_POOLING if base in bases]
    partners = dict.fromkeys(task.partner for task in table.tasks)
    types = sorted({task.assay_type for task in table.tasks})
    by_partner = [(name, np.array([task.partner == name for task in table.tasks])) for name in partners]
    by_type = [(name, np.array([task.assay_type == name for task in table.tasks])) for name in types]
    federated, alone = paired(table, QsarArm.FEDERATED, QsarArm.ALONE, metric)
    proximity = proximity_of(federated, alone, metric)
    weights = chosen.astype(np.float64)
    n_train = np.round(table.n_train).astype(np.int64)
    return KindReport(
        kind=kind,
        metric=metric,
        n_tasks=int(chosen.sum()),
        n_assays=np.unique(table.group[chosen]).size,
        means=means,
        best=best,
        gains=tuple(gains),
        partners=tuple(_group(table, name, best, metric, chosen & mask, rng) for name, mask in by_partner),
        assay_types=tuple(_group(table, name, best, metric, chosen & mask, rng) for name, mask in by_type),
        by_amount=gain_by_amount(proximity, weights, table.group, n_train, rng, N_RESAMPLES, N_BINS),
        conformal=_conformal(table, chosen, rng) if kind is Kind.CLASSIFICATION else None,
    )


def _group(
    table: TaskTable, name: str, best: QsarArm, metric: TaskMetric, chosen: Mask, rng: np.random.Generator
) -> GroupGain:
    federated, alone = paired(table, QsarArm.FEDERATED, QsarArm.ALONE, metric)
    return GroupGain(
        name=name,
        n_tasks=int(chosen.sum()),
        alone=_mean(alone[chosen]),
        federated=_mean(federated[chosen]),
        over_alone=gain_of(table, QsarArm.FEDERATED, QsarArm.ALONE, metric, rng, chosen),
        over_best=gain_of(table, QsarArm.FEDERATED, best, metric, rng, chosen),
    )


def _conformal(table: TaskTable, chosen: Mask, rng: np.random.Generator) -> ConformalGain:
    arms = (QsarArm.ALONE, QsarArm.FEDERATED)
    alone, federated = (mean_over_seeds(table.efficiency[arm]) for arm in arms)
    valid_alone, valid_federated = (_mean(mean_over_seeds(table.validity[arm])[chosen]) for arm in arms)
    weights = chosen.astype(np.float64)
    return ConformalGain(
        error_rate=ERROR_RATE,
        efficiency=(_mean(alone[chosen]), _mean(federated[chosen])),
        validity=(valid_alone, valid_federated),
        gain=task_gains(federated - alone, weights, table.group, rng, N_RESAMPLES),
    )


def _mean(values: Vector) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if there.size else float("nan")
