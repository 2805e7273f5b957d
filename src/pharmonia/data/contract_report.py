"""What a preparation took in, turned away and made: one report for people and machines."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import pyarrow as pa

from pharmonia.base.canonical import Json, canonical_json
from pharmonia.base.errors import CacheError, DataFileError
from pharmonia.data.assays import AssayType
from pharmonia.data.contract import AssayStatistics
from pharmonia.data.tasks import TaskKind
from pharmonia.data.tasks_candidates import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How much there was and became.

    Args:
        compounds_listed: Distinct identifiers in the tables.
        structures_listed: Distinct structures as listed.
        forms: Distinct standard forms.
        rows: Rows of the features: forms of equal columns in one fold share one.
        torn: Rows whose columns stand in another fold once more.
        results_listed: Rows of results that name a known assay and compound and hold a number.
        results_merged: Results that went into another of the same row and assay.
        results: Results after joining.
        assays: Assays described.
        classification: Classification tasks.
        regression: Regression tasks.
        labels: Labelled pairs.
    """

    compounds_listed: int
    structures_listed: int
    forms: int
    rows: int
    torn: int
    results_listed: int
    results_merged: int
    results: int
    assays: int
    classification: int
    regression: int
    labels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareReport:
    """A preparation in numbers.

    Args:
        recipe_digest: Digest of its recipe.
        counts: How much there was and became.
        rejected: Rows turned away, by "table: reason".
        refused_assays: Assays that make no task: identifier and reason.
        refused_tasks: Tasks that are not trained: identifier and reason.
        fold_rows: Rows of the features in each fold.
        fold_labels: Labels in each fold.
        assays: Each assay in numbers.
    """

    recipe_digest: str
    counts: Counts
    rejected: Mapping[str, int]
    refused_assays: tuple[tuple[str, str], ...]
    refused_tasks: tuple[tuple[str, str], ...]
    fold_rows: tuple[int, ...]
    fold_labels: tuple[int, ...]
    assays: tuple[AssayStatistics, ...]

    @property
    def n_rejected(self) -> int:
        """Rows turned away."""
        return sum(self.rejected.values())

    def require_results(self) -> None:
        """Nothing, if a result is usable.

        Raises:
            DataFileError: None is; says how many rows were turned away for which reason.
        """
        if not self.counts.results:
            reasons = ", ".join(f"{name} {count:,}" for name, count in self.rejected.items())
            raise DataFileError(f"no result is usable: {reasons or 'the tables have none'}; see rejects.csv")

    def as_json(self) -> dict[str, Json]:
        """For machines."""
        return {
            "recipe_digest": self.recipe_digest,
            "counts": {one.name: getattr(self.counts, one.name) for one in fields(Counts)},
            "rejected": dict(self.rejected),
            "refused_assays": [list(pair) for pair in self.refused_assays],
            "refused_tasks": [list(pair) for pair in self.refused_tasks],
            "fold_rows": list(self.fold_rows),
            "fold_labels": list(self.fold_labels),
            "assays": [one.as_json() for one in self.assays],
        }

    def encode(self) -> bytes:
        """Canonical bytes."""
        return canonical_json(self.as_json())

    def warnings(self) -> tuple[str, ...]:
        """What a person should look at before training."""
        found = []
        empty = [str(number) for number, count in enumerate(self.fold_labels) if count == 0]
        if empty:
            found.append(f"no label is in fold {', '.join(empty)}: nothing can be validated or tested there")
        if not self.counts.labels:
            found.append("no task is left: see the reasons in candidates.csv and report.json")
        if self.counts.torn:
            found.append(f"{self.counts.torn} rows have equal columns in different folds")
        return tuple(found)


def decode_report(content: bytes, where: str) -> PrepareReport:
    """The report of `PrepareReport.encode`.

    Raises:
        CacheError: The bytes are no report.
    """
    try:
        document = json.loads(content)
        return PrepareReport(
            recipe_digest=document["recipe_digest"],
            counts=Counts(**document["counts"]),
            rejected=document["rejected"],
            refused_assays=tuple((name, reason) for name, reason in document["refused_assays"]),
            refused_tasks=tuple((name, reason) for name, reason in document["refused_tasks"]),
            fold_rows=tuple(document["fold_rows"]),
            fold_labels=tuple(document["fold_labels"]),
            assays=tuple(_statistics(record) for record in document["assays"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CacheError(f"{where} is no report of a preparation: {error}") from error


def candidates_table(candidates: Sequence[Candidate]) -> pa.Table:
    """One row per task that the assays could make, with its counts and the reason of its refusal."""
    columns: dict[str, pa.Array] = {}
    for one in fields(Candidate):
        values = [getattr(candidate, one.name) for candidate in candidates]
        if one.name in ("kind", "assay_type", "direction"):
            columns[one.name] = pa.array([value.value for value in values], pa.string())
        elif one.name in ("task_id", "assay_id", "method", "catalogue_id", "refusal", "not_evaluated"):
            columns[one.name] = pa.array(values, pa.string())
        elif one.name in ("threshold", "weight", "censored_weight"):
            columns[one.name] = pa.array(values, pa.float64())
        elif one.name == "auxiliary":
            columns[one.name] = pa.array(values, pa.bool_())
        else:
            columns[one.name] = pa.array(values, pa.int64())
    return pa.table(columns)


def count_kinds(candidates: Sequence[Candidate]) -> tuple[int, int]:
    """Classification and regression tasks among those kept."""
    kinds = Counter(candidate.kind for candidate in candidates if candidate.is_kept)
    return kinds[TaskKind.CLASSIFICATION], kinds[TaskKind.REGRESSION]


def _statistics(record: Mapping[str, object]) -> AssayStatistics:
    quantiles, actives = record["quantiles"], record["actives"]
    if not isinstance(quantiles, list):
        raise TypeError("quantiles should be a list")
    return AssayStatistics(
        assay_id=str(record["assay"]),
        assay_type=AssayType(str(record["type"])),
        catalogue_id=None if record["catalogue"] is None else str(record["catalogue"]),
        unit=str(record["unit"]),
        n_results=int(str(record["n_results"])),
        repeated=float(str(record["repeated"])),
        qualified=float(str(record["qualified"])),
        quantiles=tuple(float(one) for one in quantiles),
        actives=math.nan if actives is None else float(str(actives)),
    )
