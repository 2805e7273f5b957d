"""Every number that decides what assay results become, as typed settings; the defaults are MELLODDY-TUNER 3's.

Where TUNER's code departs from its own rules, the rules are followed (docs/prepare.md names each case).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pharmonia.base.errors import OptionError
from pharmonia.chem.ecfp_matrix import EcfpSettings
from pharmonia.chem.folds_settings import FoldMethod, FoldSettings
from pharmonia.chem.standardise_qsar_settings import StandardSettings
from pharmonia.data.assays import AssayType

NEVER = 2**62  # a quorum that no task reaches


class ReplicateRule(StrEnum):
    """What repeated results of one compound in one assay become."""

    MAX = "max"  # the largest; those qualified "<" only where there is no other
    MEDIAN = "median"  # the median, with the majority's qualifier
    BY_DIRECTION = "by-direction"  # smallest, largest, or largest in size, by the assay's direction


class ThresholdRule(StrEnum):
    """How results become classes."""

    DOSE_RESPONSE = "dose-response"
    QUANTILES = "quantiles"
    FIXED = "fixed"
    NONE = "none"  # of binary results only


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeRules:
    """The rules for assays of one type.

    Args:
        lowest: Results below are not credible.
        highest: Results above are not credible.
        replicates: What repeated results become.
        thresholds: How results become classes.
        auxiliary: Whether its tasks help training only.
        task_weight: Weight of an assay, shared among its tasks.
        n_active: Actives that a classification task needs for training.
        n_inactive: Inactives that it needs.
        n_fold_active: Actives that it needs in each fold for evaluation.
        n_fold_inactive: Inactives that it needs in each fold.
        n_total: Results that a regression task needs for training.
        n_uncensored: Unqualified results that it needs.
        n_fold_uncensored: Unqualified results that it needs in each fold for evaluation.
        min_fold_std: Standard deviation that its unqualified results need in each fold for evaluation.

    Raises:
        OptionError: A number is out of range.
    """

    lowest: float = -math.inf
    highest: float = math.inf
    replicates: ReplicateRule
    thresholds: ThresholdRule
    auxiliary: bool = False
    task_weight: float = 1.0
    n_active: int = 25
    n_inactive: int = 25
    n_fold_active: int = 10
    n_fold_inactive: int = 10
    n_total: int = 50
    n_uncensored: int = 25
    n_fold_uncensored: int = 25
    min_fold_std: float = 0.5

    def __post_init__(self) -> None:
        if not self.lowest < self.highest:
            raise OptionError(f"credible results lie between two numbers, got {self.lowest} and {self.highest}")
        counts = [self.n_active, self.n_inactive, self.n_fold_active, self.n_fold_inactive]
        counts += [self.n_total, self.n_uncensored, self.n_fold_uncensored]
        if min(counts) < 0:
            raise OptionError("a quorum must be 0 or more")
        if not (0 < self.task_weight < math.inf and self.min_fold_std >= 0):
            raise OptionError("a task's weight must be over 0 and a standard deviation 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdSettings:
    """Numbers of the threshold rules.

    Args:
        trials: Thresholds tried in turn where no expert names one (dose-response).
        min_active_fraction: Share of actives that a tried threshold needs, beside the quorum of its type.
        sandwich: Distance of the auxiliary thresholds below and above (dose-response).
        max_sandwiched: With more expert thresholds than that there are no auxiliary ones.
        upper_quantile: Beside the median, of uncensored results; 1 minus it where low values are active (quantiles).
        fixed: Threshold of screening results, in size.
        censored_shift: How far beyond its bound a qualified result counts in the fallback median, log10.

    Raises:
        OptionError: A number is out of range.
    """

    trials: tuple[float, ...] = (8.0, 7.0, 6.0, 5.0, 4.7, 4.4)
    min_active_fraction: float = 0.2
    sandwich: float = 0.5
    max_sandwiched: int = 3
    upper_quantile: float = 0.75
    fixed: float = 3.0
    censored_shift: float = math.log10(2.0)

    def __post_init__(self) -> None:
        if not (0 <= self.min_active_fraction <= 1 and 0.5 <= self.upper_quantile <= 1):
            raise OptionError("a share of actives lies between 0 and 1, an upper quantile between 0.5 and 1")
        if not (self.sandwich > 0 and self.max_sandwiched >= 0 and self.fixed > 0 and self.censored_shift >= 0):
            raise OptionError("distances between thresholds, and the fixed threshold, must be over 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueSettings:
    """Quorums of tasks that several partners share through the catalogue.

    Args:
        n_total: Labels that such a task needs for training.
        n_fold_active: Actives that it needs in each fold for evaluation.
        n_fold_inactive: Inactives that it needs in each fold.
    """

    n_total: int = 400
    n_fold_active: int = 10
    n_fold_inactive: int = 10

    def __post_init__(self) -> None:
        if min(self.n_total, self.n_fold_active, self.n_fold_inactive) < 0:
            raise OptionError("a quorum must be 0 or more")


_DOSE_RESPONSE = TypeRules(
    lowest=3.0, highest=10.0, replicates=ReplicateRule.MAX, thresholds=ThresholdRule.DOSE_RESPONSE
)


def _auxiliary(thresholds: ThresholdRule, n_total: int) -> TypeRules:
    return TypeRules(
        lowest=-10.0,
        highest=10.0,
        replicates=ReplicateRule.BY_DIRECTION,
        thresholds=thresholds,
        auxiliary=True,
        task_weight=0.1,
        n_active=10,
        n_inactive=10_000,
        n_total=n_total,
    )


TUNER_RULES = {
    AssayType.ADME: TypeRules(
        lowest=-1e12,
        highest=1e12,
        replicates=ReplicateRule.MEDIAN,
        thresholds=ThresholdRule.QUANTILES,
        min_fold_std=0.0,
    ),
    AssayType.OTHER: _DOSE_RESPONSE,
    AssayType.CATALOG_PANEL: _DOSE_RESPONSE,
    AssayType.NON_CATALOG_PANEL: _DOSE_RESPONSE,
    AssayType.AUX_HTS: _auxiliary(ThresholdRule.FIXED, 50),
    AssayType.AUX_PL: _auxiliary(ThresholdRule.NONE, NEVER),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareProfile:
    """All settings of preparation; part of the recipe that partners agree on.

    Args:
        standard: How structures are standardised.
        ecfp: How they become columns.
        folds: How they become folds.
        thresholds: How results become classes.
        catalogue: Quorums of catalogue tasks.
        rules: The rules of each type of assay.
        min_fold_std: Assays whose standard deviation within a fold is no more than that, or that have fewer than two
            results there, make no task (a catalogue panel: no regression task); below 0 for no such rule.
        censored_barrier: Share of qualified results from which on they weigh less in regression; in all they then
            weigh this share.

    Raises:
        OptionError: A type of assay has no rules, or numbers do not fit together.
    """

    standard: StandardSettings = field(default_factory=StandardSettings)
    ecfp: EcfpSettings = field(default_factory=EcfpSettings)
    folds: FoldSettings = field(default_factory=FoldSettings)
    thresholds: ThresholdSettings = field(default_factory=ThresholdSettings)
    catalogue: CatalogueSettings = field(default_factory=CatalogueSettings)
    rules: Mapping[AssayType, TypeRules] = field(default_factory=lambda: dict(TUNER_RULES))
    min_fold_std: float = 1e-12
    censored_barrier: float = 0.05

    def __post_init__(self) -> None:
        missing = set(AssayType) - set(self.rules)
        if missing:
            raise OptionError(f"the profile has no rules for assays of type {min(missing)}")
        if not 0 < self.censored_barrier < 1:
            raise OptionError("the censored barrier lies between 0 and 1")
        reads = self.folds.method is FoldMethod.LSH
        if reads and max(self.folds.lsh_bits) >= self.ecfp.n_bits:
            raise OptionError(f"the fold hash reads column {max(self.folds.lsh_bits)} of {self.ecfp.n_bits}")
