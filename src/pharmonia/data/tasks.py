"""What a trainer reads: compounds as sparse rows with folds, tasks with weights, and the labelled pairs."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import frozen_view
from pharmonia.base.errors import DataFileError
from pharmonia.chem.ecfp_matrix import CsrMatrix
from pharmonia.data.assays import AssayType, Index, Signs

ACTIVE, INACTIVE = 1.0, 0.0  # values of classification labels

__all__ = ["ACTIVE", "INACTIVE", "CsrMatrix", "Labels", "PreparedTasks", "Task", "TaskKind"]


class TaskKind(StrEnum):
    """What a task's values are."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One assay endpoint column.

    Args:
        task_id: Names it among a partner's tasks; a catalogue task has the catalogue's name at every partner.
        assay_id: The partner's own identifier of its assay.
        kind: What its values are.
        assay_type: The type whose rules it follows.
        weight: Of its labels in training.
        aggregation_weight: 1 where its scores count in a mean over tasks, else 0; may look at every fold, so nothing is
            ever chosen by it.
        auxiliary: Whether it helps training only: its scores never count, and no round is chosen by it.
        censored_weight: Times `weight`, of its qualified labels; 1 for classification.
        catalogue_id: The catalogue's task that it shares with other partners; None for a partner's own.

    Raises:
        DataFileError: No identifier, weights out of range, or an auxiliary task that counts.
    """

    task_id: str
    assay_id: str
    kind: TaskKind
    assay_type: AssayType
    weight: float
    aggregation_weight: float
    auxiliary: bool
    censored_weight: float
    catalogue_id: str | None

    def __post_init__(self) -> None:
        weights = (self.weight, self.aggregation_weight, self.censored_weight)
        if not self.task_id or not np.isfinite(weights).all() or min(weights) < 0 or self.weight == 0:
            raise DataFileError(f"task {self.task_id!r}: weights {weights} are not what they should be")
        if self.auxiliary and self.aggregation_weight:
            raise DataFileError(f"task {self.task_id!r} is auxiliary, and an auxiliary task's scores never count")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labels:
    """Labelled pairs of compounds and tasks, sorted by compound, then task.

    Args:
        compound: (n_labels,) int32, row of the features.
        task: (n_labels,) int32, index of the task.
        value: (n_labels,) float32; 1 active or 0 inactive, or the measured value.
        censor: (n_labels,) int8; -1 the true value is below, 0 it is this, 1 it is above.

    Raises:
        DataFileError: The columns do not fit together, are not sorted, or a pair is twice there.
    """

    compound: Index
    task: Index
    value: npt.NDArray[np.float32]
    censor: Signs

    def __post_init__(self) -> None:
        kinds = {"compound": np.int32, "task": np.int32, "value": np.float32, "censor": np.int8}
        for name, kind in kinds.items():
            column = getattr(self, name)
            if column.dtype != kind or column.shape != (self.value.size,):
                raise DataFileError(f"labels: the column {name} is not (n_labels,) {np.dtype(kind).name}")
            object.__setattr__(self, name, frozen_view(column))
        if self.value.size:
            steps = np.diff(self.compound)
            if (steps < 0).any() or (np.diff(self.task)[steps == 0] <= 0).any():
                raise DataFileError("labels are not sorted by compound and task, or a pair is twice there")
        if not np.isfinite(self.value).all() or (np.abs(self.censor) > 1).any():
            raise DataFileError("a label is not a finite number, or its qualifier is not -1, 0 or 1")

    def __len__(self) -> int:
        """Number of labels."""
        return self.value.size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedTasks:
    """Data of one partner, ready for training.

    Args:
        recipe_digest: Digest of the recipe that they were prepared under, 64 hexadecimal digits.
        features: A row per distinct compound, a column per keyed environment.
        fold: (n_compounds,) int8, from 0.
        n_folds: Number of folds.
        tasks: The tasks; labels name them by index.
        labels: The labelled pairs.

    Raises:
        DataFileError: The parts do not fit together.
    """

    recipe_digest: str
    features: CsrMatrix
    fold: Signs
    n_folds: int
    tasks: tuple[Task, ...]
    labels: Labels

    def __post_init__(self) -> None:
        if self.fold.dtype != np.int8 or self.fold.shape != (self.features.n_rows,):
            raise DataFileError(f"folds must be ({self.features.n_rows},) int8, got {self.fold.shape}")
        if self.fold.size and not (self.fold.min() >= 0 and self.fold.max() < self.n_folds):
            raise DataFileError(f"a compound's fold is not 0 to {self.n_folds - 1}")
        for name, bound in (("compound", self.n_compounds), ("task", len(self.tasks))):
            column = getattr(self.labels, name)
            if column.size and not (column.min() >= 0 and column.max() < bound):
                raise DataFileError(f"a label names {name} {column.max()} of {bound}")
        if len({task.task_id for task in self.tasks}) != len(self.tasks):
            raise DataFileError("two tasks have one identifier")
        object.__setattr__(self, "fold", frozen_view(self.fold))

    @property
    def n_compounds(self) -> int:
        """Number of distinct compounds."""
        return self.features.n_rows

    def in_folds(self, folds: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """Indices of the labels whose compounds are in these folds, ascending."""
        chosen = np.isin(np.arange(self.n_folds), folds)
        return np.flatnonzero(chosen[self.fold[self.labels.compound]])
