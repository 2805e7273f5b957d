"""What a model is, what it may be used for and how well it did: facts for people and machines beside its weights.

The questions are those of Mitchell et al. 2019 (arXiv:1810.03993); every answer is counted or measured, none is judged.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from pharmonia.base.canonical import Json, canonical_json
from pharmonia.base.errors import BundleError, OptionError

_ADDED = ("n_environments",)  # fields that cards of bundles of version 1 lack
MetricName = str  # of a field of ClassificationScores, RegressionScores, ConformalScores or IntervalScores


@dataclass(frozen=True, slots=True, kw_only=True)
class TestScore:
    """One metric of one task on the test fold.

    Args:
        metric: Its name.
        model: The bundle's model; NaN where the task does not define it.
        alone: The model that the partner trained by itself; NaN where there is none.
    """

    __test__ = False  # no test, whatever its name

    metric: MetricName
    model: float
    alone: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCard:
    """One task: what it predicts, from how much, and how well.

    Args:
        task_id: Its identifier.
        kind: Classification or regression.
        meaning: What a prediction says, in words.
        n_train: Labels trained on.
        n_active: Of these, actives; in regression, values that are not bounds.
        n_calibration: Labels of the validation fold that calibrate it; in regression, values that are not bounds.
        n_test: Labels of the test fold; in regression, values that are not bounds.
        is_counted: Whether its scores count in means over tasks; those of one that only helps training do not.
        scores: On the test fold.

    Raises:
        OptionError: Counts that cannot be.
    """

    task_id: str
    kind: str
    meaning: str
    n_train: int
    n_active: int
    n_calibration: int
    n_test: int
    is_counted: bool
    scores: tuple[TestScore, ...]

    def __post_init__(self) -> None:
        counts = (self.n_train, self.n_active, self.n_calibration, self.n_test)
        if min(counts) < 0 or self.n_active > self.n_train:
            raise OptionError(f"task {self.task_id!r}: counts {counts} cannot be")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a model comes from.

    Args:
        run_id: Of the run that trained it, in the store.
        method: How the partners' steps became one.
        model_digest: SHA-256 of the shared vector, as store and ledger have it.
        data_digest: SHA-256 of the manifest of the partner's prepared tasks.
        recipe_digest: Of the recipe that they were prepared under.
        plan_digest: Of the signed plan; None for a run without one.
        agreement_digest: Of the agreement that the plan is under; None without one.
        versions: Names and versions of the packages that exported it.
        created_at: When; aware of its time zone.

    Raises:
        OptionError: A time without a zone.
    """

    run_id: str
    method: str
    model_digest: str
    data_digest: str
    recipe_digest: str
    plan_digest: str | None
    agreement_digest: str | None
    versions: tuple[tuple[str, str], ...]
    created_at: datetime

    def __post_init__(self) -> None:
        if self.created_at.tzinfo is None:
            raise OptionError("the time of an export needs its zone")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """The card of a model that a partner takes home.

    Args:
        partner: Whose heads they are.
        licence: Terms of the data that the partner trained on.
        n_compounds: The partner's compounds trained on.
        n_environments: Their distinct environments, which tell compounds in domain; None where nobody kept them.
        error_rate: At which the scores of sets and intervals are.
        provenance: Where it comes from.
        tasks: Each task.
    """

    partner: str
    licence: str
    n_compounds: int
    n_environments: int | None
    error_rate: float
    provenance: Provenance
    tasks: tuple[TaskCard, ...]

    def encode(self) -> bytes:
        """Canonical JSON; a metric that is not defined is null, an infinite one is "inf"."""
        return canonical_json(
            {
                "partner": self.partner,
                "licence": self.licence,
                "n_compounds": self.n_compounds,
                "n_environments": self.n_environments,
                "error_rate": self.error_rate,
                "provenance": _provenance_json(self.provenance),
                "tasks": [_task_json(task) for task in self.tasks],
            }
        )


def decode_card(content: bytes, where: str) -> ModelCard:
    """The card of `ModelCard.encode`.

    Raises:
        BundleError: The bytes are no card.
    """
    try:
        document = json.loads(content)
        if {*document, *_ADDED} != {one.name for one in fields(ModelCard)}:
            raise ValueError("its fields are others")
        return ModelCard(
            partner=str(document["partner"]),
            licence=str(document["licence"]),
            n_compounds=int(document["n_compounds"]),
            n_environments=_count(document.get("n_environments")),
            error_rate=float(document["error_rate"]),
            provenance=_provenance_from(document["provenance"]),
            tasks=tuple(_task_from(record) for record in document["tasks"]),
        )
    except (ValueError, KeyError, TypeError, OptionError) as error:
        raise BundleError(f"{where} is no model card: {error}") from error


def means(tasks: Sequence[TaskCard], metric: MetricName) -> tuple[float, float, int]:
    """Mean of a metric over tasks for the model and alone, and over how many: those that count, where both are finite.

    Where no task has both, the mean of the model alone over tasks that have it, NaN for the other.
    """
    scores = [score for task in tasks if task.is_counted for score in task.scores]
    found = [score for score in scores if score.metric == metric and math.isfinite(score.model)]
    both = [score for score in found if math.isfinite(score.alone)]
    chosen = both or found
    if not chosen:
        return math.nan, math.nan, 0
    n = len(chosen)
    return sum(one.model for one in chosen) / n, sum(one.alone for one in chosen) / n, n


def _provenance_json(provenance: Provenance) -> dict[str, Json]:
    body: dict[str, Json] = {one.name: getattr(provenance, one.name) for one in fields(Provenance)}
    return {
        **body,
        "versions": dict(provenance.versions),
        "created_at": provenance.created_at.astimezone(UTC).isoformat(),
    }


def _provenance_from(record: Mapping[str, object]) -> Provenance:
    plan, agreement, versions = record["plan_digest"], record["agreement_digest"], record["versions"]
    if not isinstance(versions, Mapping):
        raise TypeError("versions should be a table")
    names = ("run_id", "method", "model_digest", "data_digest", "recipe_digest")
    texts = {name: str(record[name]) for name in names}
    return Provenance(
        **texts,
        plan_digest=None if plan is None else str(plan),
        agreement_digest=None if agreement is None else str(agreement),
        versions=tuple(sorted((str(name), str(version)) for name, version in versions.items())),
        created_at=datetime.fromisoformat(str(record["created_at"])),
    )


def _task_json(task: TaskCard) -> dict[str, Json]:
    body: dict[str, Json] = {one.name: getattr(task, one.name) for one in fields(TaskCard) if one.name != "scores"}
    scores = {score.metric: {"model": _number(score.model), "alone": _number(score.alone)} for score in task.scores}
    return {**body, "scores": scores}


def _task_from(record: Mapping[str, object]) -> TaskCard:
    scores = record["scores"]
    if not isinstance(scores, Mapping):
        raise TypeError("scores should be a table")
    counts = {name: int(str(record[name])) for name in ("n_train", "n_active", "n_calibration", "n_test")}
    return TaskCard(
        task_id=str(record["task_id"]),
        kind=str(record["kind"]),
        meaning=str(record["meaning"]),
        **counts,
        is_counted=bool(record.get("is_counted", True)),
        scores=tuple(
            TestScore(metric=str(name), model=_float(pair["model"]), alone=_float(pair["alone"]))
            for name, pair in scores.items()
        ),
    )


def _count(value: object) -> int | None:
    return None if value is None else int(str(value))


def _number(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)


def _float(value: object) -> float:
    return math.nan if value is None else float(str(value))
