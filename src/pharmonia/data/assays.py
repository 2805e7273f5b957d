"""Assays and their results as preparation holds them: metadata as records, results as columns."""

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector, frozen_view
from pharmonia.base.errors import DataFileError

MAX_EXPERT_THRESHOLDS = 5
BELOW, EXACT, ABOVE = -1, 0, 1  # qualifiers "<", "=", ">": where the true value lies

Index = npt.NDArray[np.int32]
Signs = npt.NDArray[np.int8]


class AssayType(StrEnum):
    """What kind of assay; each has its own rules in a profile."""

    ADME = "ADME"
    OTHER = "OTHER"
    CATALOG_PANEL = "CATALOG-PANEL"
    NON_CATALOG_PANEL = "NON-CATALOG-PANEL"
    AUX_HTS = "AUX_HTS"
    AUX_PL = "AUX_PL"


class Direction(StrEnum):
    """Which values are active ones."""

    HIGH = "high"
    LOW = "low"
    EITHER = "either"  # not stated


@dataclass(frozen=True, slots=True, kw_only=True)
class Assay:
    """One assay, as table T0 describes it.

    Args:
        assay_id: The partner's own identifier.
        assay_type: Its kind.
        use_in_regression: Whether its values make a regression task.
        is_binary: Whether its values are 1 (active) and -1 (inactive).
        direction: Which values are active ones.
        expert_thresholds: Up to five, ascending, each once.
        catalogue_id: Assay of the consortium's catalogue that it is; None if it is the partner's own.
        unit: Unit of its values; empty where none is stated.

    Raises:
        DataFileError: No identifier, or thresholds that are not what they should be.
    """

    assay_id: str
    assay_type: AssayType
    use_in_regression: bool = True
    is_binary: bool = False
    direction: Direction = Direction.EITHER
    expert_thresholds: tuple[float, ...] = ()
    catalogue_id: str | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.assay_id:
            raise DataFileError("an assay has no identifier")
        thresholds = self.expert_thresholds
        ascending = all(low < high for low, high in pairwise(thresholds))
        if len(thresholds) > MAX_EXPERT_THRESHOLDS or not np.isfinite(thresholds).all() or not ascending:
            raise DataFileError(f"assay {self.assay_id}: thresholds must be up to five ascending numbers")


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueTask:
    """One task of the consortium's catalogue, as table T_cat describes it.

    Args:
        catalogue_id: The assay of the catalogue.
        task_id: The task that several partners share.
        threshold: Its threshold.
        auxiliary: Whether it helps training only.
    """

    catalogue_id: str
    task_id: str
    threshold: float
    auxiliary: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Results:
    """Results of assays, one per row.

    Args:
        compound: (n_results,) int32, index of a compound.
        assay: (n_results,) int32, index of an assay.
        value: (n_results,) float64, finite.
        qualifier: (n_results,) int8: -1 the true value is below, 0 it is this, 1 it is above.

    Raises:
        DataFileError: The columns do not fit together.
    """

    compound: Index
    assay: Index
    value: Vector
    qualifier: Signs

    def __post_init__(self) -> None:
        sizes = {column.shape for column in (self.compound, self.assay, self.value, self.qualifier)}
        if len(sizes) != 1 or self.value.ndim != 1:
            raise DataFileError(f"columns of results differ in size: {sorted(sizes)}")
        if not np.isfinite(self.value).all():
            raise DataFileError("a result is not a finite number")
        for name in ("compound", "assay", "value", "qualifier"):
            object.__setattr__(self, name, frozen_view(getattr(self, name)))

    def __len__(self) -> int:
        """Number of results."""
        return self.value.size

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "Results":
        """The results at these rows, in this order."""
        return Results(
            compound=self.compound[rows],
            assay=self.assay[rows],
            value=self.value[rows],
            qualifier=self.qualifier[rows],
        )
