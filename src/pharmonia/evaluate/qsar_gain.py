"""Who gains from federating on many tasks: seeds averaged per task first, then assays resampled."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector, frozen_copy
from pharmonia.base.errors import MetricError
from pharmonia.evaluate.gain import Figure, over_seeds
from pharmonia.evaluate.perfection import TaskGains, proximity_gains, task_gains
from pharmonia.evaluate.qsar import Kind, PartnerTask, QsarArm, TaskMetric
from pharmonia.evaluate.qsar_scores import SeedScores
from pharmonia.evaluate.tasks import divided

N_RESAMPLES = 1_000
_DIGITS = 9  # of a metric, so that 1 - 1e-16 is 1
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaskTable:
    """Every task of every partner, over all seeds.

    Args:
        tasks: Each partner's task once, sorted by partner and task.
        group: (n_tasks,) int64, the assay of each, counted from 0.
        values: (n_seeds, n_tasks) by arm and metric; NaN where a seed does not define it.
        efficiency: The same by arm.
        validity: The same by arm.
        n_train: (n_tasks,) float64, mean training labels over the seeds that have the task.
        n_test: (n_tasks,) float64, likewise in the test fold.
        n_seeds: (n_tasks,) int64, seeds under which its scores count.
    """

    tasks: tuple[PartnerTask, ...]
    group: npt.NDArray[np.int64]
    values: dict[tuple[QsarArm, TaskMetric], Vector]
    efficiency: dict[QsarArm, Vector]
    validity: dict[QsarArm, Vector]
    n_train: Vector
    n_test: Vector
    n_seeds: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in ("group", "n_train", "n_test", "n_seeds"):
            object.__setattr__(self, name, frozen_copy(getattr(self, name)))

    @property
    def arms(self) -> tuple[QsarArm, ...]:
        """The arms that there are, in their order."""
        return tuple(arm for arm in QsarArm if arm in self.efficiency)

    def of_kind(self, kind: Kind) -> Mask:
        """(n_tasks,) whether a task is of a kind."""
        return np.array([task.kind is kind for task in self.tasks], dtype=np.bool_)


def task_table(seeds: Sequence[SeedScores]) -> TaskTable:
    """The scores of all seeds side by side.

    Raises:
        MetricError: No seed, a seed twice, or seeds of different arms.
    """
    if not seeds or len({one.seed for one in seeds}) != len(seeds):
        raise MetricError("a comparison needs at least one seed, each once")
    if len({frozenset(one.values) for one in seeds}) != 1:
        raise MetricError("the seeds were run with different arms")
    found = {task.key: task for one in seeds for task in one.tasks}
    keys = sorted(found, key=lambda key: (_natural(key[0]), key[1]))
    place = {key: index for index, key in enumerate(keys)}
    where = [np.array([place[task.key] for task in one.tasks], dtype=np.int64) for one in seeds]

    def stacked(columns: Sequence[Vector]) -> Vector:
        table = np.full((len(seeds), len(keys)), np.nan)
        for row, (column, at) in enumerate(zip(columns, where, strict=True)):
            table[row, at] = column
        return table

    tasks = tuple(found[key] for key in keys)
    assays = {assay: index for index, assay in enumerate(sorted({task.assay_id for task in tasks}))}
    counted = stacked([np.array([1.0 if task.counts else np.nan for task in one.tasks]) for one in seeds])
    return TaskTable(
        tasks=tasks,
        group=np.array([assays[task.assay_id] for task in tasks], dtype=np.int64),
        values={key: stacked([one.values[key] for one in seeds]) for key in seeds[0].values},
        efficiency={arm: stacked([one.efficiency[arm] for one in seeds]) for arm in seeds[0].efficiency},
        validity={arm: stacked([one.validity[arm] for one in seeds]) for arm in seeds[0].validity},
        n_train=mean_over_seeds(stacked([np.array([float(task.n_train) for task in one.tasks]) for one in seeds])),
        n_test=mean_over_seeds(stacked([one.n_test.astype(np.float64) for one in seeds])),
        n_seeds=np.isfinite(counted).sum(axis=0),
    )


def _natural(name: str) -> tuple[int, str]:
    """Partner 2 before Partner 10."""
    return len(name), name


def mean_over_seeds(values: Vector) -> Vector:
    """(n_tasks,) means over the seeds that define a value; NaN where none does."""
    there = np.isfinite(values)
    n = there.sum(axis=0)
    total = np.where(there, values, 0.0).sum(axis=0)
    return divided(total, n)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmGain:
    """One arm against another on the same tasks.

    Args:
        new: The arm that is judged.
        base: What it is compared with.
        metric: By which metric.
        proximity: Relative improvement of proximity to perfection.
        difference: The plain difference of the metric, positive where the new arm is better.
        over_seeds: Mean difference of each seed: their mean with Student's 95 % interval. Not of the proximity, which a
            single task near perfection under a single seed would rule.
    """

    new: QsarArm
    base: QsarArm
    metric: TaskMetric
    proximity: TaskGains
    difference: TaskGains
    over_seeds: Figure


def paired(table: TaskTable, new: QsarArm, base: QsarArm, metric: TaskMetric) -> tuple[Vector, Vector]:
    """(n_tasks,) metrics of two arms, each a mean over the seeds that define both."""
    first, second = table.values[new, metric], table.values[base, metric]
    both = np.isfinite(first) & np.isfinite(second)
    return mean_over_seeds(np.where(both, first, np.nan)), mean_over_seeds(np.where(both, second, np.nan))


def proximity_of(new: Vector, base: Vector, metric: TaskMetric) -> Vector:
    """(n_tasks,) relative improvements of proximity to perfection; what rounding keeps from perfection is perfect."""
    return proximity_gains(np.round(new, _DIGITS), np.round(base, _DIGITS), metric.perfect)


def gain_of(
    table: TaskTable, new: QsarArm, base: QsarArm, metric: TaskMetric, rng: np.random.Generator, chosen: Mask
) -> ArmGain:
    """One arm against another on chosen tasks; each task weighs the same, and the tasks of one assay go together.

    Args:
        table: All tasks.
        new: The arm that is judged.
        base: What it is compared with.
        metric: Of the kind of the chosen tasks.
        rng: Draws the resamples.
        chosen: (n_tasks,) which tasks.
    """
    first, second = paired(table, new, base, metric)
    sign = -1.0 if metric.is_error else 1.0
    weights, group = chosen.astype(np.float64), table.group
    seeds = zip(table.values[new, metric], table.values[base, metric], strict=True)
    per_seed = [_mean(sign * (one - other)[chosen]) for one, other in seeds]
    proximity = proximity_of(first, second, metric)
    return ArmGain(
        new=new,
        base=base,
        metric=metric,
        proximity=task_gains(proximity, weights, group, rng, N_RESAMPLES),
        difference=task_gains(sign * (first - second), weights, group, rng, N_RESAMPLES),
        over_seeds=over_seeds(np.array(per_seed)),
    )


def _mean(values: Vector) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if there.size else float("nan")
