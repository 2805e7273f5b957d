"""Where an assay's results are cut into active and inactive, and which class each result then has."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector
from pharmonia.data.assays import ABOVE, BELOW, EXACT, Assay, AssayType, CatalogueTask, Direction, Signs
from pharmonia.data.recipe_profile import PrepareProfile, ThresholdRule


class Method(StrEnum):
    """How a threshold came about."""

    EXPERT = "expert"
    CATALOGUE = "catalogue"
    FIXED_ADAPTIVE = "fixed-adaptive"
    MEDIAN = "median"
    QUARTILE = "quartile"
    FIXED = "fixed"
    BINARY = "binary"
    AUX_LOW = "aux-low"
    AUX_HIGH = "aux-high"


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """One cut through an assay's values.

    Args:
        value: Where.
        method: How it came about.
        auxiliary: Whether its task helps training only.
        catalogue_id: The catalogue's task that it makes; None for a partner's own.
    """

    value: float
    method: Method
    auxiliary: bool
    catalogue_id: str | None = None


def thresholds_of(
    assay: Assay, values: Vector, qualifiers: Signs, profile: PrepareProfile, catalogue: Sequence[CatalogueTask]
) -> tuple[Threshold, ...]:
    """The thresholds of one assay, each value once.

    Args:
        assay: The assay.
        values: (n_results,) float64, its joined results.
        qualifiers: (n_results,) int8.
        profile: The rules.
        catalogue: The catalogue's tasks for this assay; none where it is not of the catalogue.
    """
    rules = profile.rules[assay.assay_type]
    if assay.is_binary:
        return (Threshold(value=0.0, method=Method.BINARY, auxiliary=rules.auxiliary),)
    if assay.assay_type is AssayType.CATALOG_PANEL:
        return tuple(_of_catalogue(task) for task in catalogue)
    match rules.thresholds:
        case ThresholdRule.DOSE_RESPONSE:
            found = _dose_response(assay, values, qualifiers, profile)
        case ThresholdRule.QUANTILES:
            found = _quantiles(assay, values[qualifiers == EXACT], profile)
        case ThresholdRule.FIXED:
            cut = profile.thresholds.fixed
            found = [(-cut if assay.direction is Direction.LOW else cut, Method.FIXED)]
        case ThresholdRule.NONE:
            found = []
    distinct = dict(reversed(found))  # the first of equal ones stays
    helping = (Method.AUX_LOW, Method.AUX_HIGH)
    return tuple(
        Threshold(value=value, method=method, auxiliary=rules.auxiliary or method in helping)
        for value, method in reversed(distinct.items())
    )


def class_labels(values: Vector, qualifiers: Signs, threshold: float, assay: Assay, rule: ThresholdRule) -> Signs:
    """(n_results,) int8: 1 active, 0 inactive, -1 for a qualified result that may be either.

    Active is a value at the threshold or beyond it in the assay's direction (high where none is stated). Screening
    results (a fixed threshold) are taken as they are, without their qualifiers, and by size where no direction is
    stated. Of a binary assay 1 is active, whatever its direction.
    """
    if rule is ThresholdRule.FIXED:
        size = np.abs(values) if assay.direction is Direction.EITHER else values
        beyond = size <= threshold if assay.direction is Direction.LOW else size >= threshold
        return beyond.astype(np.int8)
    sign = -1 if assay.direction is Direction.LOW and not assay.is_binary else 1
    above = sign * (values - threshold)
    beyond = above >= 0
    may_fall = qualifiers == sign * BELOW  # the true value is less active than this
    may_rise = qualifiers == sign * ABOVE
    labels = beyond.astype(np.int8)
    labels[may_fall & (above > 0)] = -1
    labels[may_fall & (above <= 0)] = 0
    labels[may_rise & (above < 0)] = -1
    return labels


def _of_catalogue(task: CatalogueTask) -> Threshold:
    return Threshold(value=task.threshold, method=Method.CATALOGUE, auxiliary=task.auxiliary, catalogue_id=task.task_id)


def _dose_response(
    assay: Assay, values: Vector, qualifiers: Signs, profile: PrepareProfile
) -> list[tuple[float, Method]]:
    settings, experts = profile.thresholds, assay.expert_thresholds
    found = [(value, Method.EXPERT) for value in experts]
    if not experts:
        found = [_adaptive(assay, values, qualifiers, profile)]
    if len(experts) <= settings.max_sandwiched:
        found.append((found[0][0] - settings.sandwich, Method.AUX_LOW))
        found.append((max(value for value, _ in found[:-1]) + settings.sandwich, Method.AUX_HIGH))
    return found


def _adaptive(assay: Assay, values: Vector, qualifiers: Signs, profile: PrepareProfile) -> tuple[float, Method]:
    """The first tried threshold with enough of both classes, else the median."""
    settings, rules = profile.thresholds, profile.rules[assay.assay_type]
    for trial in settings.trials:
        labels = class_labels(values, qualifiers, trial, assay, rules.thresholds)
        n_active, n_inactive = int((labels == 1).sum()), int((labels == 0).sum())
        enough = n_active >= rules.n_active and n_inactive >= rules.n_inactive
        if enough and n_active >= settings.min_active_fraction * (n_active + n_inactive):
            return trial, Method.FIXED_ADAPTIVE
    return float(np.median(values + settings.censored_shift * qualifiers)), Method.MEDIAN


def _quantiles(assay: Assay, values: npt.NDArray[np.float64], profile: PrepareProfile) -> list[tuple[float, Method]]:
    if assay.expert_thresholds:
        return [(value, Method.EXPERT) for value in assay.expert_thresholds]
    if values.size < 2:
        return []
    upper = profile.thresholds.upper_quantile
    share = 1 - upper if assay.direction is Direction.LOW else upper
    return [(float(np.median(values)), Method.MEDIAN), (float(np.quantile(values, share)), Method.QUARTILE)]
