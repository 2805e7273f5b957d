"""How well probabilities rank and decide, for thousands of tasks at once: sorted once, no loop over tasks."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector, frozen_copy
from pharmonia.base.errors import MetricError
from pharmonia.evaluate.calibration import N_BINS, CalibrationCells, calibration_cells
from pharmonia.evaluate.tasks import Counts, Gap, Keys, TaskRows, divided, ordered_bits, row_chunks, task_parts

PRIOR = 0.1  # pi0: the share of positives to which the calibrated AUPRC refers
_LABEL_BITS, _SCORE_BITS = np.uint64(1), np.uint64(32)  # below the task
_TASK_SHIFT = np.uint64(33)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassificationScores:
    """Metrics per task, each (n_tasks,) float64; NaN where a task does not define it, and `gap` says why.

    A task whose labels are of one class has a Brier score and a calibration error only.
    """

    n_rows: Counts
    n_positive: Counts
    auroc: Vector  # area under the ROC curve: share of pairs in the right order, ties count half
    auprc: Vector  # area under the precision-recall curve, linear between points, from (0, 1)
    auprc_calibrated: Vector  # the same as if a tenth of the rows were positive
    average_precision: Vector  # sum of precision times gain of recall
    f1: Vector  # of "positive from 0.5 on"
    f1_max: Vector  # of the best threshold
    kappa: Vector  # Cohen's, from 0.5 on
    kappa_max: Vector
    brier: Vector
    calibration_error: Vector
    gap: npt.NDArray[np.int8]  # of `Gap`

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, frozen_copy(getattr(self, field.name)))


def classification_scores(rows: TaskRows) -> ClassificationScores:
    """All metrics of every task.

    AUROC: Hanley and McNeil 1982. Average precision and the precision-recall curve: as scikit-learn defines them.
    Calibrated AUPRC: Siblini et al. 2020 (arXiv:1909.02827), precision tp / (tp + fp P (1 - pi0) / (N pi0)).
    Kappa: Cohen 1960 (doi:10.1177/001316446002000104).

    Args:
        rows: Labels of 0 and 1, and probabilities.

    Raises:
        MetricError: A label that is neither 0 nor 1, or a probability out of [0, 1].
    """
    positive = rows.measured == 1
    if not (positive | (rows.measured == 0)).all():
        raise MetricError("labels of classification must be 0 or 1")
    if len(rows) and not 0 <= rows.predicted.min() <= rows.predicted.max() <= 1:
        raise MetricError("probabilities must lie in 0 to 1")
    cells = calibration_cells(rows)
    n_rows, n_positive = cells.n_rows.sum(axis=1), cells.n_positive.sum(axis=1)
    curves = _curves(_sorted_keys(rows, positive), n_rows, n_positive)
    f1, kappa = _decided(cells, n_rows, n_positive)
    gap = np.where((n_positive == 0) | (n_positive == n_rows), Gap.ONE_CLASS, Gap.NONE)
    return ClassificationScores(
        n_rows=n_rows,
        n_positive=n_positive,
        **dict(zip(_CURVES, curves, strict=True)),
        f1=f1,
        kappa=kappa,
        brier=divided(cells.squared_error.sum(axis=1), n_rows),
        calibration_error=cells.error,
        gap=np.where(n_rows == 0, Gap.NO_ROWS, gap).astype(np.int8),
    )


_CURVES = ("auroc", "auprc", "auprc_calibrated", "average_precision", "f1_max", "kappa_max")


def _sorted_keys(rows: TaskRows, positive: npt.NDArray[np.bool_]) -> Keys:
    """Task, falling probability and label of each row in one number, sorted: negatives first where two are equal."""
    keys = np.empty(len(rows), dtype=np.uint64)
    for part in row_chunks(len(rows)):
        keys[part] = rows.task[part].astype(np.uint64) << _TASK_SHIFT
        keys[part] |= (~ordered_bits(rows.predicted[part])).astype(np.uint64) << _LABEL_BITS
        keys[part] |= positive[part]
    keys.sort()
    return keys


def _curves(keys: Keys, n_rows: Counts, n_positive: Counts) -> npt.NDArray[np.float64]:
    """(6, n_tasks) what `_CURVES` names; NaN where there are not two classes."""
    found = np.full((len(_CURVES), n_rows.size), np.nan)
    for first, last, inside in task_parts(n_rows):
        tasks = slice(first, last)
        local = keys[inside] - (np.uint64(first) << _TASK_SHIFT)
        found[:, tasks] = _curves_of(local, n_rows[tasks], n_positive[tasks])
    return found


def _curves_of(keys: Keys, n_rows: Counts, n_positive: Counts) -> npt.NDArray[np.float64]:
    """The same for a part of the tasks.

    Every curve bends at probabilities that some positive has, and F1 and kappa are largest at such, so only these
    points are looked at. From one of them up, tp positives and `called` rows are called positive.
    """
    found = np.full((len(_CURVES), n_rows.size), np.nan)
    usable = (n_positive > 0) & (n_positive < n_rows)
    if not usable.any():
        return found
    at = np.flatnonzero(keys.astype(np.uint8) & 1)  # positives
    score = keys[at] >> _LABEL_BITS
    last = np.flatnonzero(np.append(score[1:] != score[:-1], [True]))
    task = (score[last] >> _SCORE_BITS).astype(np.int64)
    tp = last + 1 - (np.cumsum(n_positive) - n_positive)[task]
    called = at[last] + 1 - (np.cumsum(n_rows) - n_rows)[task]
    new_tp = np.diff(last, prepend=-1)
    new_fp = _tied_negatives(keys, score[last], at[last] + 1 - new_tp)
    points = np.array([task, tp, called, new_tp, new_fp])[:, usable[task]]
    found[:, usable] = _areas(points, n_rows, n_positive)
    return found


def _tied_negatives(keys: Keys, score: Keys, first: Counts) -> Counts:
    """How many negatives have the same probability as the positives that start at `first`."""
    before = keys[np.maximum(first - 1, 0)] >> _LABEL_BITS
    tied = np.flatnonzero((before == score) & (first > 0))
    count = np.zeros(first.size, dtype=np.int64)
    count[tied] = first[tied] - np.searchsorted(keys, score[tied] << _LABEL_BITS)
    return count


def _areas(points: Counts, n_rows: Counts, n_positive: Counts) -> npt.NDArray[np.float64]:
    """(6, n_tasks with points) from the points of each task's curves, largest probability first."""
    task, tp, called, new_tp, new_fp = points
    first = np.flatnonzero(np.diff(task, prepend=-1))
    P, n = n_positive[task].astype(np.float64), n_rows[task].astype(np.float64)
    N, fp = n - P, called - tp
    odds = P * (1 - PRIOR) / (N * PRIOR)
    old_tp, old_fp = tp - new_tp, fp - new_fp
    is_start = old_tp + old_fp == 0  # the curve starts at precision 1
    precision, calibrated = tp / called, tp / (tp + fp * odds)
    old_precision = np.where(is_start, 1.0, old_tp / np.maximum(old_tp + old_fp, 1))
    old_calibrated = np.where(is_start, 1.0, old_tp / np.where(is_start, 1.0, old_tp + old_fp * odds))
    recall = new_tp / P
    kappa = 2 * (tp * n - P * called) / (called * N + P * (n - called))
    return np.array(
        [
            np.add.reduceat(new_tp * (2 * (N - fp) + new_fp), first) / (2 * P * N)[first],
            np.add.reduceat(recall * (precision + old_precision), first) / 2,
            np.add.reduceat(recall * (calibrated + old_calibrated), first) / 2,
            np.add.reduceat(recall * precision, first),
            np.maximum.reduceat(2 * tp / (P + called), first),
            np.maximum.reduceat(kappa, first),
        ]
    )


def _decided(cells: CalibrationCells, n_rows: Counts, n_positive: Counts) -> tuple[Vector, Vector]:
    """F1 and kappa of "positive from 0.5 on"; NaN for tasks of one class."""
    called = cells.n_rows[:, N_BINS // 2 :].sum(axis=1)
    tp = cells.n_positive[:, N_BINS // 2 :].sum(axis=1)
    agreed = 2 * (tp * n_rows - n_positive * called)
    by_chance = called * (n_rows - n_positive) + n_positive * (n_rows - called)
    usable = (n_positive > 0) & (n_positive < n_rows)
    f1 = divided(2 * tp, n_positive + called)
    return np.where(usable, f1, np.nan), np.where(usable, divided(agreed, by_chance), np.nan)
