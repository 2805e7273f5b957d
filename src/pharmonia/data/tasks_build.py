"""Results to tasks and labels: joined, cut by thresholds, judged by quorums, weighed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pharmonia.base.errors import DataFileError
from pharmonia.data.assays import Assay, AssayType, CatalogueTask, Index, Results, Signs
from pharmonia.data.assays_replicates import spread_in_folds
from pharmonia.data.recipe_profile import PrepareProfile
from pharmonia.data.tasks import ACTIVE, Labels, Task, TaskKind
from pharmonia.data.tasks_candidates import Candidate, classification, regression, share_weights
from pharmonia.data.tasks_thresholds import thresholds_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BuiltTasks:
    """What results come to.

    Args:
        tasks: Those that are trained.
        labels: Their labels.
        candidates: All that the assays could make, in the order of the assays, with the reason of each refusal.
        refused: Assays that make no candidate at all: identifier and reason.
    """

    tasks: tuple[Task, ...]
    labels: Labels
    candidates: tuple[Candidate, ...]
    refused: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Column:
    """One task's labels."""

    compound: Index
    value: npt.NDArray[np.float32]
    censor: Signs


def build_tasks(
    results: Results,
    assays: Sequence[Assay],
    fold: Signs,
    profile: PrepareProfile,
    catalogue: Sequence[CatalogueTask],
) -> BuiltTasks:
    """The tasks of joined results.

    Args:
        results: At most one per compound and assay, sorted by assay, then compound (`join_results`).
        assays: What `results.assay` indexes.
        fold: (n_compounds,) int8.
        profile: The rules.
        catalogue: Tasks that partners share.

    Raises:
        DataFileError: The results are not sorted, or two assays have one identifier.
    """
    if len({assay.assay_id for assay in assays}) != len(assays):
        raise DataFileError("two assays have one identifier")
    if (np.diff(results.assay) < 0).any():
        raise DataFileError("the results are not sorted by assay")
    starts = np.searchsorted(results.assay, np.arange(len(assays) + 1))
    spread = spread_in_folds(results, fold, len(assays), profile.folds.n_folds)
    candidates: list[Candidate] = []
    columns: list[_Column] = []
    refused: list[tuple[str, str]] = []
    for number, listed in enumerate(assays):
        rows = slice(int(starts[number]), int(starts[number + 1]))
        shared = [task for task in catalogue if task.catalogue_id == listed.catalogue_id]
        assay = _effective(listed, shared)
        reason, regresses = _variation(assay, spread[number], rows.stop - rows.start, profile)
        if reason:
            refused.append((assay.assay_id, reason))
            continue
        assay = replace(assay, use_in_regression=assay.use_in_regression and regresses)
        made = _candidates(assay, results, rows, fold, profile, shared)
        if not made:
            refused.append(
                (assay.assay_id, "no threshold and no regression: neither its table nor its results say how")
            )
        candidates.extend(candidate for candidate, _ in made)
        columns.extend(column for candidate, column in made if candidate.is_kept)
    return _assemble(candidates, columns, refused)


def _effective(assay: Assay, shared: Sequence[CatalogueTask]) -> Assay:
    """A panel that the catalogue does not list is the partner's own."""
    if assay.assay_type is AssayType.CATALOG_PANEL and not shared:
        return replace(assay, assay_type=AssayType.NON_CATALOG_PANEL)
    return assay


def _variation(
    assay: Assay, spread: npt.NDArray[np.float64], n_results: int, profile: PrepareProfile
) -> tuple[str, bool]:
    """Why the assay makes no task, if so, and whether it may make a regression task."""
    if n_results == 0:
        return "no result is left", False
    low = np.flatnonzero(spread <= profile.min_fold_std)
    if not low.size:
        return "", True
    if assay.assay_type is AssayType.CATALOG_PANEL:
        return "", False
    where = f"in fold {low[0]} its results do not vary, or there are fewer than two"
    return f"{where} (min_fold_std {profile.min_fold_std:g})", False


def _candidates(
    assay: Assay,
    results: Results,
    rows: slice,
    fold: Signs,
    profile: PrepareProfile,
    shared: Sequence[CatalogueTask],
) -> list[tuple[Candidate, _Column]]:
    compound, values, qualifiers = results.compound[rows], results.value[rows], results.qualifier[rows]
    folds = fold[compound]
    classes, columns = [], []
    for threshold in thresholds_of(assay, values, qualifiers, profile, shared):
        candidate, labels = classification(assay, threshold, values, qualifiers, folds, profile)
        known = labels >= 0
        classes.append(candidate)
        column = _Column(
            compound=compound[known],
            value=labels[known].astype(np.float32) * np.float32(ACTIVE),
            censor=np.zeros(int(known.sum()), dtype=np.int8),
        )
        columns.append(column)
    made = list(zip(share_weights(classes, profile), columns, strict=True))
    if assay.use_in_regression and not assay.is_binary:
        column = _Column(compound=compound, value=values.astype(np.float32), censor=qualifiers)
        made.append((regression(assay, values, qualifiers, folds, profile), column))
    return made


def _assemble(candidates: list[Candidate], columns: list[_Column], refused: list[tuple[str, str]]) -> BuiltTasks:
    kept = [candidate for candidate in candidates if candidate.is_kept]
    sizes = [column.compound.size for column in columns]
    none = _Column(compound=np.zeros(0, np.int32), value=np.zeros(0, np.float32), censor=np.zeros(0, np.int8))
    columns = columns or [none]
    task = np.repeat(np.arange(len(kept), dtype=np.int32), sizes)
    compound = np.concatenate([column.compound for column in columns])
    order = np.argsort(compound, kind="stable")  # tasks stay ascending within a compound
    labels = Labels(
        compound=compound[order],
        task=task[order],
        value=np.concatenate([column.value for column in columns])[order],
        censor=np.concatenate([column.censor for column in columns])[order],
    )
    return BuiltTasks(
        tasks=tuple(_task(candidate) for candidate in kept),
        labels=labels,
        candidates=tuple(candidates),
        refused=tuple(refused),
    )


def _task(candidate: Candidate) -> Task:
    return Task(
        task_id=candidate.task_id,
        assay_id=candidate.assay_id,
        kind=candidate.kind,
        assay_type=candidate.assay_type,
        weight=candidate.weight,
        aggregation_weight=0.0 if candidate.not_evaluated else 1.0,
        auxiliary=candidate.auxiliary,
        censored_weight=candidate.censored_weight if candidate.kind is TaskKind.REGRESSION else 1.0,
        catalogue_id=candidate.catalogue_id,
    )
