"""What the consortium expects of every partner's assays, and where one's own depart from it, before any training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt

from pharmonia.base.canonical import Json
from pharmonia.base.errors import OptionError
from pharmonia.data.assays import Assay, AssayType, Results
from pharmonia.data.catalogue import unknown_name
from pharmonia.data.tasks import TaskKind
from pharmonia.data.tasks_candidates import Candidate
from pharmonia.data.units import plain_unit

QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
_RANGES = ("lowest", "median", "highest", "actives", "repeated", "qualified")


@dataclass(frozen=True, slots=True, kw_only=True)
class AssayStatistics:
    """One assay in numbers, after joining.

    Args:
        assay_id: The partner's own identifier.
        assay_type: Its type.
        catalogue_id: Assay of the catalogue that it is, or None.
        unit: Unit of its values; empty where none is stated.
        n_results: Results after joining.
        repeated: Share of credible results that went into another's.
        qualified: Share of results qualified "<" or ">".
        quantiles: At 0, 5, 50, 95 and 100 %; none where no result is left.
        actives: Share of actives of its first main classification task; NaN where it has none.
    """

    assay_id: str
    assay_type: AssayType
    catalogue_id: str | None
    unit: str
    n_results: int
    repeated: float
    qualified: float
    quantiles: tuple[float, ...]
    actives: float

    def as_json(self) -> dict[str, Json]:
        """For machines; a share that does not exist is null."""
        return {
            "assay": self.assay_id,
            "type": self.assay_type.value,
            "catalogue": self.catalogue_id,
            "unit": self.unit,
            "n_results": self.n_results,
            "repeated": self.repeated,
            "qualified": self.qualified,
            "quantiles": list(self.quantiles),
            "actives": None if math.isnan(self.actives) else self.actives,
        }


class DriftKind(StrEnum):
    """What departs from an expectation."""

    ASSAYS = "assays"
    RESULTS = "results"
    UNIT = "unit"
    RANGE = "value-range"
    CLASSES = "class-balance"
    REPEATED = "duplicates"
    QUALIFIED = "qualified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What the consortium expects of the assays that it names.

    Args:
        assays: Pattern of catalogue identifiers, or types of assays, with * and ?.
        unit: The unit that they must state; None for any.
        lowest: Bounds of the 5 % quantile.
        median: Bounds of the median.
        highest: Bounds of the 95 % quantile.
        actives: Bounds of the share of actives.
        repeated: Bounds of the share of repeated results.
        qualified: Bounds of the share of qualified results.

    Raises:
        OptionError: A lower bound is over its upper one.
    """

    assays: str
    unit: str | None = None
    lowest: tuple[float, float] = (-math.inf, math.inf)
    median: tuple[float, float] = (-math.inf, math.inf)
    highest: tuple[float, float] = (-math.inf, math.inf)
    actives: tuple[float, float] = (0.0, 1.0)
    repeated: tuple[float, float] = (0.0, 1.0)
    qualified: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        for name in _RANGES:
            low, high = getattr(self, name)
            if not low <= high:
                raise OptionError(f"{name} of {self.assays}: {low} is not below {high}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """An assay that departs from an expectation, or, by its pattern, an expectation that names no assay."""

    assay_id: str
    kind: DriftKind
    found: str
    expected: str

    def sentence(self) -> str:
        """For people."""
        return f"{self.assay_id}: {self.kind.value} is {self.found}, expected is {self.expected}"


def statistics_of(
    results: Results, assays: Sequence[Assay], n_credible: npt.NDArray[np.int64], candidates: Sequence[Candidate]
) -> tuple[AssayStatistics, ...]:
    """Each assay in numbers, those without any result included.

    Args:
        results: Joined, sorted by assay.
        assays: What `results.assay` indexes.
        n_credible: (n_assays,) int64, credible results before joining.
        candidates: The tasks that the assays could make.
    """
    balance: dict[str, float] = {}
    for one in candidates:
        n_labels = one.n_first + one.n_second
        if one.kind is TaskKind.CLASSIFICATION and not one.auxiliary and n_labels:
            balance.setdefault(one.assay_id, one.n_first / n_labels)
    starts = np.searchsorted(results.assay, np.arange(len(assays) + 1))
    found = []
    for number, assay in enumerate(assays):
        rows = slice(int(starts[number]), int(starts[number + 1]))
        values = results.value[rows]
        found.append(
            AssayStatistics(
                assay_id=assay.assay_id,
                assay_type=assay.assay_type,
                catalogue_id=assay.catalogue_id,
                unit=assay.unit,
                n_results=values.size,
                repeated=1 - values.size / max(int(n_credible[number]), values.size, 1),
                qualified=float((results.qualifier[rows] != 0).mean()) if values.size else 0.0,
                quantiles=tuple(np.quantile(values, QUANTILES).tolist()) if values.size else (),
                actives=balance.get(assay.assay_id, math.nan),
            )
        )
    return tuple(found)


def drift(statistics: Sequence[AssayStatistics], expectations: Sequence[Expectation]) -> tuple[Drift, ...]:
    """Where assays depart from what is expected of them, then the expectations that name no assay.

    An assay answers to every expectation that names it; one without any result departs from each.
    """
    departures = [
        found
        for one in statistics
        for expected in expectations
        if _names(expected, one)
        for found in _departures(one, expected)
    ]
    unmet = [
        Drift(assay_id=expected.assays, kind=DriftKind.ASSAYS, found="none", expected="at least one")
        for expected in expectations
        if not any(_names(expected, one) for one in statistics)
    ]
    return (*departures, *unmet)


def expectations_from(document: Mapping[str, object], where: str) -> tuple[Expectation, ...]:
    """The expectations of a document: a list `expect` of tables, as TOML or JSON writes it.

    Raises:
        OptionError: It is not of that form; names the entry.
    """
    listed = document.get("expect")
    if set(document) != {"expect"} or not isinstance(listed, list):
        raise OptionError(f"{where} must hold a list of [[expect]] tables and nothing else")
    return tuple(_expectation(entry, f"{where}, expectation {number}") for number, entry in enumerate(listed, 1))


def _expectation(entry: object, where: str) -> Expectation:
    known = ("assays", "unit", *_RANGES)
    if not isinstance(entry, Mapping) or not isinstance(entry.get("assays"), str):
        raise OptionError(f"{where} must name its assays")
    for name in entry:
        if name not in known:
            raise unknown_name(f"entry of {where}", str(name), known)
    unit = entry.get("unit")
    if not (unit is None or isinstance(unit, str)):
        raise OptionError(f"{where}: the unit must be text")
    bounds = {name: _bounds(entry[name], f"{where}: {name}") for name in _RANGES if name in entry}
    return Expectation(assays=str(entry["assays"]), unit=unit, **bounds)


def _bounds(value: object, where: str) -> tuple[float, float]:
    if not (isinstance(value, list) and len(value) == 2 and all(_is_number(one) for one in value)):
        raise OptionError(f"{where} must be two numbers, got {value!r}")
    return float(value[0]), float(value[1])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names(expected: Expectation, one: AssayStatistics) -> bool:
    names = (one.catalogue_id or "", one.assay_type.value)
    return any(fnmatchcase(name, expected.assays) for name in names if name)


def _departures(one: AssayStatistics, expected: Expectation) -> list[Drift]:
    if not one.n_results:
        return [_drift(one, DriftKind.RESULTS, "none", "at least one")]
    found = []
    if expected.unit is not None and plain_unit(one.unit) != plain_unit(expected.unit):
        found.append(_drift(one, DriftKind.UNIT, one.unit or "not stated", expected.unit))
    checks = (
        (DriftKind.RANGE, "5 % quantile", one.quantiles[1], expected.lowest),
        (DriftKind.RANGE, "median", one.quantiles[2], expected.median),
        (DriftKind.RANGE, "95 % quantile", one.quantiles[3], expected.highest),
        (DriftKind.CLASSES, "share of actives", one.actives, expected.actives),
        (DriftKind.REPEATED, "share", one.repeated, expected.repeated),
        (DriftKind.QUALIFIED, "share", one.qualified, expected.qualified),
    )
    for kind, what, value, (low, high) in checks:
        if not math.isnan(value) and not low <= value <= high:
            found.append(_drift(one, kind, f"{what} {value:.4g}", f"{low:g} to {high:g}"))
    return found


def _drift(one: AssayStatistics, kind: DriftKind, found: str, expected: str) -> Drift:
    return Drift(assay_id=one.assay_id, kind=kind, found=found, expected=expected)
