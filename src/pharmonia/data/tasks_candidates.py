"""Candidate tasks of one assay, counted, judged by the quorums, and weighed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector
from pharmonia.data.assays import Assay, AssayType, Direction, Signs
from pharmonia.data.recipe_profile import PrepareProfile, ThresholdRule
from pharmonia.data.tasks import TaskKind
from pharmonia.data.tasks_thresholds import Method, Threshold, class_labels

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A task that an assay could make, and what became of it.

    Args:
        task_id: Its identifier if it is kept.
        assay_id: Its assay.
        kind: Classification or regression.
        assay_type: The type whose quorums apply.
        direction: Which values are active ones.
        threshold: Where values are cut; None for regression.
        method: How the threshold came about; empty for regression.
        auxiliary: Whether it helps training only.
        catalogue_id: The catalogue's task; None for a partner's own, or a shared one under the catalogue's quorum.
        n_first: Actives, or unqualified results.
        n_second: Inactives, or qualified results.
        n_ambiguous: Qualified results that may be of either class.
        min_fold_first: The fewest actives, or unqualified results, of any fold.
        min_fold_second: The fewest inactives of any fold; 0 for regression.
        refusal: Why it is not trained; empty if it is.
        not_evaluated: Why its scores do not count; empty if they do.
        weight: Of its labels; 0 if it is not trained.
        censored_weight: Times the weight, of qualified labels.
    """

    task_id: str
    assay_id: str
    kind: TaskKind
    assay_type: AssayType
    direction: Direction
    threshold: float | None
    method: str
    auxiliary: bool
    catalogue_id: str | None
    n_first: int
    n_second: int
    n_ambiguous: int
    min_fold_first: int
    min_fold_second: int
    refusal: str
    not_evaluated: str
    weight: float = 0.0
    censored_weight: float = 1.0

    @property
    def is_kept(self) -> bool:
        """Whether it becomes a task."""
        return not self.refusal


def classification(
    assay: Assay, threshold: Threshold, values: Vector, qualifiers: Signs, fold: Signs, profile: PrepareProfile
) -> tuple[Candidate, Signs]:
    """The classification task of one threshold, and the class of each result (-1 where it may be either)."""
    rule = ThresholdRule.NONE if assay.is_binary else profile.rules[assay.assay_type].thresholds
    labels = class_labels(values, qualifiers, threshold.value, assay, rule)
    n_folds = profile.folds.n_folds
    active = np.bincount(fold[labels == 1], minlength=n_folds)
    inactive = np.bincount(fold[labels == 0], minlength=n_folds)
    kind, catalogue_id = assay.assay_type, threshold.catalogue_id
    refusal, lacking = "", ""
    if catalogue_id is not None:
        refusal, lacking = _catalogue_quorum(active, inactive, profile)
        if refusal:  # judged as the partner's own
            kind, catalogue_id = AssayType.NON_CATALOG_PANEL, None
    if catalogue_id is None:
        refusal, lacking = _class_quorum(active, inactive, kind, profile)
    name = f"{assay.assay_id}|{threshold.method.value}|{threshold.value!r}"
    candidate = Candidate(
        task_id=f"catalogue|{catalogue_id}" if catalogue_id else f"classification|{name}",
        assay_id=assay.assay_id,
        kind=TaskKind.CLASSIFICATION,
        assay_type=kind,
        direction=assay.direction,
        threshold=None if threshold.method is Method.BINARY else threshold.value,
        method=threshold.method.value,
        auxiliary=threshold.auxiliary,
        catalogue_id=catalogue_id,
        n_first=int(active.sum()),
        n_second=int(inactive.sum()),
        n_ambiguous=int((labels < 0).sum()),
        min_fold_first=int(active.min()),
        min_fold_second=int(inactive.min()),
        refusal=refusal,
        not_evaluated="auxiliary" if threshold.auxiliary else lacking,
    )
    return candidate, labels


def regression(assay: Assay, values: Vector, qualifiers: Signs, fold: Signs, profile: PrepareProfile) -> Candidate:
    """The regression task of an assay; a panel's follows the rules of a partner's own."""
    kind = AssayType.NON_CATALOG_PANEL if assay.assay_type is AssayType.CATALOG_PANEL else assay.assay_type
    rules, n_folds = profile.rules[kind], profile.folds.n_folds
    exact = qualifiers == 0
    per_fold = np.bincount(fold[exact], minlength=n_folds)
    n_exact, n_total = int(exact.sum()), values.size
    refusal = ""
    if n_total < rules.n_total:
        refusal = f"{n_total} results, {rules.n_total} are needed"
    elif n_exact < rules.n_uncensored:
        refusal = f"{n_exact} unqualified results, {rules.n_uncensored} are needed"
    censored = 1 - n_exact / n_total
    return Candidate(
        task_id=f"regression|{assay.assay_id}",
        assay_id=assay.assay_id,
        kind=TaskKind.REGRESSION,
        assay_type=kind,
        direction=assay.direction,
        threshold=None,
        method="",
        auxiliary=rules.auxiliary,
        catalogue_id=None,
        n_first=n_exact,
        n_second=n_total - n_exact,
        n_ambiguous=0,
        min_fold_first=int(per_fold.min()),
        min_fold_second=0,
        refusal=refusal,
        not_evaluated=_not_evaluated(kind, values[exact], fold[exact], per_fold, profile),
        weight=0.0 if refusal else rules.task_weight,
        censored_weight=censored_weight(censored, profile.censored_barrier),
    )


def censored_weight(fraction: float, barrier: float) -> float:
    """Weight of a qualified result: 1 up to the barrier; beyond it, all together weigh the barrier's share.

    barrier (1 - fraction) / (fraction (1 - barrier)).
    """
    return 1.0 if fraction <= barrier else barrier * (1 - fraction) / (fraction * (1 - barrier))


def share_weights(candidates: Sequence[Candidate], profile: PrepareProfile) -> list[Candidate]:
    """The classification candidates of one assay, the assay's weight shared among those kept."""
    n_kept = sum(candidate.is_kept for candidate in candidates)
    return [
        replace(one, weight=profile.rules[one.assay_type].task_weight / n_kept) if one.is_kept else one
        for one in candidates
    ]


def _class_quorum(active: Counts, inactive: Counts, kind: AssayType, profile: PrepareProfile) -> tuple[str, str]:
    rules = profile.rules[kind]
    n_active, n_inactive = int(active.sum()), int(inactive.sum())
    refusal = _one_class(n_active, n_inactive)
    if not refusal and (n_active < rules.n_active or n_inactive < rules.n_inactive):
        refusal = f"{n_active} actives and {n_inactive} inactives, {rules.n_active} and {rules.n_inactive} are needed"
    return refusal, _lacking(active, inactive, rules.n_fold_active, rules.n_fold_inactive)


def _catalogue_quorum(active: Counts, inactive: Counts, profile: PrepareProfile) -> tuple[str, str]:
    quorum = profile.catalogue
    n_active, n_inactive = int(active.sum()), int(inactive.sum())
    refusal = _one_class(n_active, n_inactive)
    if not refusal and n_active + n_inactive < quorum.n_total:
        refusal = f"{n_active + n_inactive} labels, {quorum.n_total} are needed"
    return refusal, _lacking(active, inactive, quorum.n_fold_active, quorum.n_fold_inactive)


def _one_class(n_active: int, n_inactive: int) -> str:
    return "" if n_active and n_inactive else f"one class only: {n_active} actives, {n_inactive} inactives"


def _lacking(active: Counts, inactive: Counts, n_active: int, n_inactive: int) -> str:
    short = np.flatnonzero((active < n_active) | (inactive < n_inactive))
    if not short.size:
        return ""
    fold = int(short[0])
    return f"fold {fold} has {active[fold]} actives and {inactive[fold]} inactives, {n_active} and {n_inactive} count"


def _not_evaluated(kind: AssayType, values: Vector, fold: Signs, per_fold: Counts, profile: PrepareProfile) -> str:
    rules = profile.rules[kind]
    if rules.auxiliary:
        return "auxiliary"
    short = np.flatnonzero(per_fold < rules.n_fold_uncensored)
    if short.size:
        n_here = per_fold[short[0]]
        return f"fold {short[0]} has {n_here} unqualified results, {rules.n_fold_uncensored} count"
    for number in range(profile.folds.n_folds):
        inside = values[fold == number]
        spread = float(inside.std(ddof=1)) if inside.size > 1 else 0.0
        if spread < rules.min_fold_std:
            return f"the standard deviation in fold {number} is {spread:.3g}, {rules.min_fold_std:g} counts"
    return ""
