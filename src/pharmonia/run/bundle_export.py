"""What a run left at a partner, made into a bundle: calibrated on the validation fold, judged on the test fold."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import OptionError
from pharmonia.chem.ecfp_matrix import EnvironmentRows
from pharmonia.data.assays import Direction
from pharmonia.data.recipe import Recipe
from pharmonia.data.recipe_profile import ThresholdRule
from pharmonia.data.tasks import PreparedTasks, TaskKind
from pharmonia.evaluate.classification import classification_scores
from pharmonia.evaluate.conformal import Calibration, calibrate, conformal_scores, prediction_sets
from pharmonia.evaluate.conformal_regression import ResidualCalibration, calibrate_residuals, interval_scores
from pharmonia.evaluate.modelcard import ModelCard, Provenance, TaskCard, TestScore
from pharmonia.evaluate.regression import regression_scores
from pharmonia.evaluate.tasks import Floats, TaskRows
from pharmonia.learn.messages import vector_digest
from pharmonia.learn.multitask_data import TaskPlaces, predict_labels, task_places
from pharmonia.learn.multitask_network import trained_network
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.nn.heads_names import HeadName
from pharmonia.run.bundle_parts import BundleContents, split_weights
from pharmonia.run.bundle_tasks import BundleTask
from pharmonia.run.predict_domain import domain_of

ERROR_RATE = 0.2  # at which the card judges sets and intervals
_PACKAGES = ("numpy", "pharmonia", "rdkit", "torch")
_CLASSES = ("auroc", "auprc_calibrated", "average_precision", "brier", "calibration_error")
_SETS = ("efficiency", "validity")
_VALUES = ("r2", "rmse", "rmse_censored", "spearman")
_INTERVALS = ("validity", "width")

Indices = npt.NDArray[np.int64]
Scores = dict[str, Vector]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folds:
    """Which folds were trained on, chosen and calibrated by, and kept for the test.

    Raises:
        OptionError: One is empty, or a fold is in two.
    """

    train: tuple[int, ...]
    valid: tuple[int, ...]
    test: tuple[int, ...]

    def __post_init__(self) -> None:
        every = (*self.train, *self.valid, *self.test)
        if not (self.train and self.valid and self.test) or len(set(every)) != len(every):
            raise OptionError(f"folds for training, validation and test must be there and differ, got {every}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskNote:
    """What matrices do not tell of a task; as in `BundleTask`."""

    unit: str
    threshold: float | None
    direction: Direction | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNote:
    """What a store tells of a run; as in `Provenance`."""

    run_id: str
    method: str
    data_digest: str
    plan_digest: str | None
    agreement_digest: str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedPartner:
    """What a run left at a partner.

    Args:
        name: The partner.
        settings: Of the network.
        shared: The best round's shared vector, or with SCAFFOLD its first half and the rest unread.
        private: The partner's private tensors in the same round's model.
        prepared: Its data.
        recipe: How they were prepared.
        folds: What each fold was used for.
        alone: (n_test,) predictions of the model that the partner trained by itself, in the order of
            `prepared.in_folds(folds.test)`; None where there is no such model.
        environments: Of `prepared`'s compounds, under the consortium's key; None where nobody kept them.

    Raises:
        OptionError: Data of another recipe, or predictions of other labels.
    """

    name: str
    settings: MultitaskSettings
    shared: Vector
    private: Vector
    prepared: PreparedTasks
    recipe: Recipe
    folds: Folds
    alone: Floats | None
    environments: EnvironmentRows | None

    def __post_init__(self) -> None:
        if self.prepared.recipe_digest != self.recipe.digest:
            raise OptionError(f"{self.name}: the data were prepared under another recipe than the bundle's")
        n_test = self.prepared.in_folds(self.folds.test).size
        if self.alone is not None and self.alone.shape != (n_test,):
            raise OptionError(f"{self.name}: expected {n_test} predictions of its own model, got {self.alone.shape}")
        if self.environments is not None and self.environments.n_rows != self.prepared.n_compounds:
            raise OptionError(f"{self.name}: environments are of {self.environments.n_rows} compounds")


def export_bundle(
    trained: TrainedPartner, run: RunNote, notes: Mapping[str, TaskNote], licence: str, now: datetime
) -> BundleContents:
    """The bundle of what a run left at a partner.

    Calibrated on labels of the validation folds, which also chose the round; scored on labels of the test folds, which
    nothing else looked at.

    Args:
        trained: The partner's model and data.
        run: The run.
        notes: Of each task, by its identifier; a task without one has no unit, threshold or direction.
        licence: Terms of the partner's data.
        now: Time of the export.

    Raises:
        OptionError: Vectors, data or settings do not belong together.
        UpdateError: A task is of a catalogue that the settings do not have.
    """
    prepared = trained.prepared
    places = task_places(prepared, trained.settings)
    weights = split_weights(trained.settings, places.sizes, trained.shared, trained.private)
    network = trained_network(trained.settings, places.sizes, trained.shared, trained.private)
    chosen = {name: prepared.in_folds(getattr(trained.folds, name)) for name in ("train", "valid", "test")}
    rows = {
        name: label_rows(prepared, chosen[name], predict_labels(network, prepared, places, chosen[name]))
        for name in ("valid", "test")
    }
    classes, values = (_of_kind(rows["valid"], prepared, kind) for kind in TaskKind)
    classification, regression = calibrate(classes), calibrate_residuals(values)
    model = {
        **_class_scores(rows["test"], prepared, classification),
        **_value_scores(rows["test"], prepared, regression),
    }
    alone: Scores = {}
    if trained.alone is not None:
        alone = plain_scores(label_rows(prepared, chosen["test"], trained.alone), prepared)
    tasks = _bundle_tasks(prepared, places, notes)
    compounds = [np.unique(prepared.labels.compound[chosen[name]]).astype(np.int64) for name in ("train", "valid")]
    domain = None if trained.environments is None else domain_of(trained.environments, *compounds)
    return BundleContents(
        settings=trained.settings,
        tasks=tasks,
        recipe=trained.recipe,
        weights=weights,
        classification=classification,
        regression=regression,
        domain=domain,
        card=ModelCard(
            partner=trained.name,
            licence=licence,
            n_compounds=compounds[0].size,
            n_environments=None if domain is None else domain.seen.size,
            error_rate=ERROR_RATE,
            provenance=_provenance(trained, run, now),
            tasks=_task_cards(trained, tasks, chosen, model, alone),
        ),
    )


def _provenance(trained: TrainedPartner, run: RunNote, now: datetime) -> Provenance:
    return Provenance(
        run_id=run.run_id,
        method=run.method,
        model_digest=vector_digest(trained.shared),
        data_digest=run.data_digest,
        recipe_digest=trained.recipe.digest,
        plan_digest=run.plan_digest,
        agreement_digest=run.agreement_digest,
        versions=tuple((name, version(name)) for name in _PACKAGES),
        created_at=now,
    )


def _bundle_tasks(prepared: PreparedTasks, places: TaskPlaces, notes: Mapping[str, TaskNote]) -> tuple[BundleTask, ...]:
    heads, nothing = list(HeadName), TaskNote(unit="", threshold=None, direction=None)
    found = []
    for task, head, column in zip(prepared.tasks, places.head.tolist(), places.column.tolist(), strict=True):
        note = notes.get(task.task_id, nothing)
        found.append(
            BundleTask(
                task_id=task.task_id,
                assay_id=task.assay_id,
                kind=task.kind,
                assay_type=task.assay_type,
                catalogue_id=task.catalogue_id,
                unit=note.unit,
                threshold=note.threshold,
                direction=note.direction,
                head=heads[head],
                column=column,
            )
        )
    return tuple(found)


def _task_cards(
    trained: TrainedPartner, tasks: tuple[BundleTask, ...], chosen: Mapping[str, Indices], model: Scores, alone: Scores
) -> tuple[TaskCard, ...]:
    prepared, rules = trained.prepared, trained.recipe.profile.rules
    labels, n_tasks = prepared.labels, len(tasks)
    is_class = np.array([task.kind is TaskKind.CLASSIFICATION for task in tasks])

    def count(rows: Indices) -> list[int]:
        found: list[int] = np.bincount(labels.task[rows], minlength=n_tasks).tolist()
        return found

    of_class = is_class[labels.task]
    exact = {name: rows[of_class[rows] | (labels.censor[rows] == 0)] for name, rows in chosen.items()}
    n_active = count(exact["train"][~of_class[exact["train"]] | (labels.value[exact["train"]] == 1)])
    n_train, n_valid, n_test = count(chosen["train"]), count(exact["valid"]), count(exact["test"])
    return tuple(
        TaskCard(
            task_id=task.task_id,
            kind=task.kind.value,
            meaning=task.meaning(by_size=rules[task.assay_type].thresholds is ThresholdRule.FIXED),
            n_train=n_train[number],
            n_active=n_active[number],
            n_calibration=n_valid[number],
            n_test=n_test[number],
            is_counted=prepared.tasks[number].aggregation_weight > 0,
            scores=_test_scores(task.kind, number, model, alone),
        )
        for number, task in enumerate(tasks)
    )


def _test_scores(kind: TaskKind, number: int, model: Scores, alone: Scores) -> tuple[TestScore, ...]:
    names = (*_CLASSES, *_SETS) if kind is TaskKind.CLASSIFICATION else (*_VALUES, *_INTERVALS)
    keys = {name: f"{kind.value}.{name}" for name in names}
    return tuple(
        TestScore(
            metric=name,
            model=float(model[key][number]),
            alone=float(alone[key][number]) if key in alone else math.nan,
        )
        for name, key in keys.items()
    )


def label_rows(prepared: PreparedTasks, chosen: Indices, predicted: Floats) -> TaskRows:
    """Chosen labels beside what was predicted for them.

    Args:
        prepared: The partner's data.
        chosen: Indices of labels, ascending.
        predicted: (n_chosen,) in that order.
    """
    labels = prepared.labels
    return TaskRows(
        task=labels.task[chosen],
        measured=labels.value[chosen],
        predicted=predicted,
        censor=labels.censor[chosen],
        n_tasks=len(prepared.tasks),
    )


def _of_kind(rows: TaskRows, prepared: PreparedTasks, kind: TaskKind) -> TaskRows:
    inside = np.array([task.kind is kind for task in prepared.tasks], dtype=np.bool_)[rows.task]
    return TaskRows(
        task=rows.task[inside],
        measured=rows.measured[inside],
        predicted=rows.predicted[inside],
        censor=rows.censor[inside],
        n_tasks=rows.n_tasks,
    )


def plain_scores(rows: TaskRows, prepared: PreparedTasks) -> Scores:
    """(n_tasks,) metrics of predictions, by kind and name, as `classification.auroc`; NaN where a task has none."""
    classes = classification_scores(_of_kind(rows, prepared, TaskKind.CLASSIFICATION))
    values = regression_scores(_of_kind(rows, prepared, TaskKind.REGRESSION))
    found = {f"classification.{name}": getattr(classes, name) for name in _CLASSES}
    return found | {f"regression.{name}": getattr(values, name) for name in _VALUES}


def _class_scores(rows: TaskRows, prepared: PreparedTasks, calibration: Calibration) -> Scores:
    """The same, with those of prediction sets."""
    classes = _of_kind(rows, prepared, TaskKind.CLASSIFICATION)
    sets = prediction_sets(calibration.p_values(classes.task, classes.predicted), ERROR_RATE)
    conformal = conformal_scores(classes, sets)
    return plain_scores(rows, prepared) | {f"classification.{name}": getattr(conformal, name) for name in _SETS}


def _value_scores(rows: TaskRows, prepared: PreparedTasks, calibration: ResidualCalibration) -> Scores:
    """Those of intervals."""
    values = _of_kind(rows, prepared, TaskKind.REGRESSION)
    scores = interval_scores(values, calibration.half_width(ERROR_RATE))
    return {f"regression.{name}": getattr(scores, name) for name in _INTERVALS}
