"""What a comparison on many tasks is about: arms, metrics, and the tasks of each partner with their predictions."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import frozen_copy
from pharmonia.base.errors import MetricError
from pharmonia.evaluate.tasks import Floats

Index = npt.NDArray[np.int32]


class QsarArm(StrEnum):
    """One way of getting a model."""

    ALONE = "alone"  # a partner's own network on its own data
    BOOSTED = "boosted"  # a partner's own boosted trees, task by task
    ENSEMBLE = "ensemble"  # mean over the alone networks of all partners that have the task
    FEDERATED = "federated"
    POOLED = "pooled"  # one network on everybody's data, each task one column


WITHOUT_POOLING = (QsarArm.ALONE, QsarArm.BOOSTED, QsarArm.ENSEMBLE)  # what a partner can do without a federation


class Kind(StrEnum):
    """What a task's values are."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


class TaskMetric(StrEnum):
    """A metric of one task."""

    AUPRC_CALIBRATED = "auprc_calibrated"
    AUPRC = "auprc"
    AUROC = "auroc"
    F1 = "f1"
    KAPPA = "kappa"
    BRIER = "brier"
    CALIBRATION_ERROR = "calibration_error"
    R2 = "r2"
    RMSE = "rmse"
    RMSE_CENSORED = "rmse_censored"
    SPEARMAN = "spearman"

    @property
    def kind(self) -> Kind:
        """Which tasks have it."""
        regression = (TaskMetric.R2, TaskMetric.RMSE, TaskMetric.RMSE_CENSORED, TaskMetric.SPEARMAN)
        return Kind.REGRESSION if self in regression else Kind.CLASSIFICATION

    @property
    def is_error(self) -> bool:
        """Whether lower is better."""
        return self in (TaskMetric.BRIER, TaskMetric.CALIBRATION_ERROR, TaskMetric.RMSE, TaskMetric.RMSE_CENSORED)

    @property
    def perfect(self) -> float:
        """What a perfect model has."""
        return 0.0 if self.is_error else 1.0

    @property
    def label(self) -> str:
        """Its name for people."""
        return _LABELS[self]


_LABELS = {
    TaskMetric.AUPRC_CALIBRATED: "calibrated AUPRC",
    TaskMetric.AUPRC: "AUPRC",
    TaskMetric.AUROC: "AUROC",
    TaskMetric.F1: "F1",
    TaskMetric.KAPPA: "Cohen's kappa",
    TaskMetric.BRIER: "Brier score",
    TaskMetric.CALIBRATION_ERROR: "calibration error",
    TaskMetric.R2: "R²",
    TaskMetric.RMSE: "RMSE",
    TaskMetric.RMSE_CENSORED: "RMSE with bounds",
    TaskMetric.SPEARMAN: "Spearman's rho",
}

HEADLINE = {Kind.CLASSIFICATION: TaskMetric.AUPRC_CALIBRATED, Kind.REGRESSION: TaskMetric.R2}


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerTask:
    """One task at one partner.

    Args:
        partner: The partner.
        task_id: The task, of the same name at every partner that has it.
        assay_id: Its assay.
        assay_type: The assay's type.
        kind: What its values are.
        n_train: Labels of this partner in the training folds.
        uncounted: Why its scores do not count in means; empty where they do.

    Raises:
        MetricError: A negative number of labels.
    """

    partner: str
    task_id: str
    assay_id: str
    assay_type: str
    kind: Kind
    n_train: int
    uncounted: str

    def __post_init__(self) -> None:
        if self.n_train < 0:
            raise MetricError(f"task {self.task_id}: {self.n_train} training labels")

    @property
    def counts(self) -> bool:
        """Whether its scores count in means."""
        return not self.uncounted

    @property
    def key(self) -> tuple[str, str]:
        """Partner and task; the same under every seed."""
        return self.partner, self.task_id


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QsarOutcome:
    """Measured and predicted labels of the validation and test folds under one seed.

    Args:
        seed: The seed.
        tasks: Every task of every partner.
        task: (n_rows,) int32, index into `tasks`.
        measured: (n_rows,) float32: 1 active, 0 inactive, or the value.
        censor: (n_rows,) int8: 0 as measured, +1 the true value is above, -1 below.
        is_test: (n_rows,) whether a row is of the test fold; the others are of the validation fold.
        predicted: (n_rows,) float32 by arm; NaN where an arm has no model of the task.

    Raises:
        MetricError: Columns of several lengths, a task out of range, or a partner's task twice.
    """

    seed: int
    tasks: tuple[PartnerTask, ...]
    task: Index
    measured: Floats
    censor: npt.NDArray[np.int8]
    is_test: npt.NDArray[np.bool_]
    predicted: Mapping[QsarArm, Floats]

    def __post_init__(self) -> None:
        if len({task.key for task in self.tasks}) != len(self.tasks):
            raise MetricError(f"seed {self.seed}: a partner has a task twice")
        for name in ("task", "measured", "censor", "is_test"):
            column = frozen_copy(getattr(self, name))
            if column.shape != (self.task.size,):
                raise MetricError(f"seed {self.seed}: {name} has {column.shape} for {self.task.size} rows")
            object.__setattr__(self, name, column)
        predicted = {arm: frozen_copy(column) for arm, column in self.predicted.items()}
        if any(column.shape != self.task.shape for column in predicted.values()):
            raise MetricError(f"seed {self.seed}: predictions of another number of rows")
        if self.task.size and not 0 <= self.task.min() <= self.task.max() < len(self.tasks):
            raise MetricError(f"seed {self.seed}: a row is of a task that is not there")
        object.__setattr__(self, "predicted", MappingProxyType(predicted))
