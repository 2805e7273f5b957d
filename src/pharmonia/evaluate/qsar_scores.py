"""Every arm's metrics of every task of every partner, under one seed, on the same test rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector, frozen_copy
from pharmonia.evaluate.classification import classification_scores
from pharmonia.evaluate.conformal import ConformalScores, calibrate, conformal_scores, prediction_sets
from pharmonia.evaluate.qsar import Kind, PartnerTask, QsarArm, QsarOutcome, TaskMetric
from pharmonia.evaluate.regression import regression_scores
from pharmonia.evaluate.tasks import Counts, Gap, TaskRows

ERROR_RATE = 0.2  # of the conformal predictors that are compared


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeedScores:
    """Scores of one seed.

    Args:
        seed: The seed.
        tasks: Every task of every partner.
        n_test: (n_tasks,) labels in the test fold.
        n_positive: (n_tasks,) of them active; 0 for regression.
        values: (n_tasks,) by arm and metric; NaN where the task does not define it, or does not count.
        reasons: One per task: why it has no headline metric or does not count; empty where it does.
        efficiency: (n_tasks,) by arm, share of conformal sets of one class; NaN for regression.
        validity: (n_tasks,) by arm, share of conformal sets that hold the true class.
    """

    seed: int
    tasks: tuple[PartnerTask, ...]
    n_test: Counts
    n_positive: Counts
    values: Mapping[tuple[QsarArm, TaskMetric], Vector]
    reasons: tuple[str, ...]
    efficiency: Mapping[QsarArm, Vector]
    validity: Mapping[QsarArm, Vector]

    def __post_init__(self) -> None:
        for name in ("n_test", "n_positive"):
            object.__setattr__(self, name, frozen_copy(getattr(self, name)))
        for name in ("values", "efficiency", "validity"):
            frozen = {key: frozen_copy(column) for key, column in getattr(self, name).items()}
            object.__setattr__(self, name, MappingProxyType(frozen))


def score(outcome: QsarOutcome) -> SeedScores:
    """The scores of one seed's outcome.

    Raises:
        MetricError: A probability out of [0, 1], or a label of classification that is neither 0 nor 1.
    """
    is_class = np.array([task.kind is Kind.CLASSIFICATION for task in outcome.tasks], dtype=np.bool_)
    counts = np.array([task.counts for task in outcome.tasks], dtype=np.bool_)
    values: dict[tuple[QsarArm, TaskMetric], Vector] = {}
    efficiency, validity = {}, {}
    gap = np.full(len(outcome.tasks), int(Gap.NO_ROWS), dtype=np.int8)
    for arm in outcome.predicted:
        classes, numbers = (_rows(outcome, arm, is_class == side, outcome.is_test) for side in (True, False))
        found, found_numbers = classification_scores(classes), regression_scores(numbers)
        for metric in TaskMetric:
            source = found if metric.kind is Kind.CLASSIFICATION else found_numbers
            column: Vector = getattr(source, metric.value)
            values[arm, metric] = np.where(counts & (is_class == (metric.kind is Kind.CLASSIFICATION)), column, np.nan)
        if arm is QsarArm.ALONE:
            gap = np.where(is_class, found.gap, found_numbers.gap)
        conformal = _conformal(outcome, arm, is_class)
        efficiency[arm], validity[arm] = (
            np.where(counts & is_class, column, np.nan) for column in (conformal.efficiency, conformal.validity)
        )
    n_tasks = len(outcome.tasks)
    positive = outcome.is_test & (outcome.measured == 1) & is_class[outcome.task]
    return SeedScores(
        seed=outcome.seed,
        tasks=outcome.tasks,
        n_test=np.bincount(outcome.task[outcome.is_test], minlength=n_tasks),
        n_positive=np.bincount(outcome.task[positive], minlength=n_tasks),
        values=values,
        reasons=tuple(_reason(task, code) for task, code in zip(outcome.tasks, gap.tolist(), strict=True)),
        efficiency=efficiency,
        validity=validity,
    )


def _reason(task: PartnerTask, gap: int) -> str:
    return task.uncounted or Gap(gap).reason


def _rows(outcome: QsarOutcome, arm: QsarArm, of_kind: npt.NDArray[np.bool_], part: npt.NDArray[np.bool_]) -> TaskRows:
    """The rows of one kind of task and one part that an arm predicts."""
    predicted = outcome.predicted[arm]
    chosen = part & of_kind[outcome.task] & np.isfinite(predicted)
    return TaskRows(
        task=outcome.task[chosen],
        measured=outcome.measured[chosen],
        predicted=predicted[chosen],
        censor=outcome.censor[chosen],
        n_tasks=len(outcome.tasks),
    )


def _conformal(outcome: QsarOutcome, arm: QsarArm, is_class: npt.NDArray[np.bool_]) -> ConformalScores:
    """Predictors calibrated on the validation fold, judged on the test fold."""
    calibration = calibrate(_rows(outcome, arm, is_class, ~outcome.is_test))
    test = _rows(outcome, arm, is_class, outcome.is_test)
    return conformal_scores(test, prediction_sets(calibration.p_values(test.task, test.predicted), ERROR_RATE))
