"""How well a delivered model does on a partner's own data, with its own private part: for its own eyes."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.base.canonical import Json
from pharmonia.base.errors import DataFileError
from pharmonia.data.interactions import Pairs
from pharmonia.data.partner import PartnerDataset
from pharmonia.data.tasks import PreparedTasks, TaskKind
from pharmonia.evaluate.metrics import score
from pharmonia.governance.plan import RunPlan
from pharmonia.learn.multitask_data import predict_labels, task_places
from pharmonia.learn.multitask_network import trained_network
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.learn.network import predict
from pharmonia.learn.settings import LocalSettings, Method
from pharmonia.run.bundle_export import label_rows, plain_scores
from pharmonia.run.delivered import DeliveredModel
from pharmonia.run.files import write_private
from pharmonia.run.planned import training_plan_of
from pharmonia.run.site_config import DataPlace
from pharmonia.run.site_data import DataCard, read_interactions, read_tasks

SCORES_FILE = "scores.json"
FORMAT = "pharmonia/site-scores/v1"
INTERACTIONS = "interactions"  # the one task of a network of compounds and targets


@dataclass(frozen=True, slots=True, kw_only=True)
class PartScore:
    """One metric of one task on one part of the data.

    Args:
        part: `valid`, by which the round was chosen, or `test`, which the run never looked at.
        task: Its identifier.
        metric: Such as `mse` or `auroc`.
        value: NaN where the rows do not define it.
        n_rows: That it is over; in regression, values that are not bounds.
        n_bounds: Rows whose values are bounds, which of the metrics only `rmse_censored` is over too.

    Raises:
        DataFileError: No rows.
    """

    part: str
    task: str
    metric: str
    value: float
    n_rows: int
    n_bounds: int

    def __post_init__(self) -> None:
        if min(self.n_rows, self.n_bounds) < 0 or self.n_rows + self.n_bounds < 1:
            raise DataFileError(f"{self.task}: a score is over at least one row, got {self.n_rows}")


def site_scores(
    plan: RunPlan, place: DataPlace, card: DataCard, partner: str, model: DeliveredModel, private: Vector
) -> tuple[PartScore, ...]:
    """Scores of a delivered model on the partner's own validation data, and test data where it has them.

    Interactions: MSE and concordance index of the validation rows. Tasks: each task's metrics on the validation folds,
    and on the folds that were neither learnt from nor chosen by.

    Args:
        plan: Of the run.
        place: Of the data.
        card: What the data are, as the plan names them.
        partner: Whose they are.
        model: That was delivered.
        private: (n_private,) the partner's private tensors in the same round's model.

    Raises:
        CacheError: The data are damaged, or not those of the card.
        UpdateError: The model is of another network than the plan's.
    """
    training = training_plan_of(plan)
    if isinstance(training.local, LocalSettings):
        dataset = read_interactions(place, card, partner)
        return _of_pairs(training.local, training.method, model, private, dataset, dataset.valid)
    prepared = read_tasks(place, card)
    learnt = (*place.train_folds, *place.valid_folds)
    rest = tuple(fold for fold in range(prepared.n_folds) if fold not in learnt)
    parts = {"valid": place.valid_folds, "test": rest}
    return _of_tasks(training.local, model, private, prepared, parts)


def _of_pairs(
    local: LocalSettings, method: Method, model: DeliveredModel, private: Vector, dataset: PartnerDataset, pairs: Pairs
) -> tuple[PartScore, ...]:
    found = score(pairs.value, predict(local, method, model.parameters, private, dataset, pairs))
    return tuple(
        PartScore(part="valid", task=INTERACTIONS, metric=name, value=value, n_rows=found.n_rows, n_bounds=0)
        for name, value in (("ci", found.ci), ("mse", found.mse))
    )


def _of_tasks(
    settings: MultitaskSettings,
    model: DeliveredModel,
    private: Vector,
    prepared: PreparedTasks,
    parts: Mapping[str, tuple[int, ...]],
) -> tuple[PartScore, ...]:
    places = task_places(prepared, settings)
    network = trained_network(settings, places.sizes, model.parameters, private)
    found = []
    for part, folds in parts.items():
        chosen = prepared.in_folds(folds)
        if not chosen.size:
            continue
        rows = label_rows(prepared, chosen, predict_labels(network, prepared, places, chosen))
        is_value = np.array([task.kind is TaskKind.REGRESSION for task in prepared.tasks])[rows.task]
        bound = is_value & (rows.censor != 0)
        n_rows, n_bounds = (np.bincount(rows.task[part], minlength=rows.n_tasks).tolist() for part in (~bound, bound))
        for name, values in plain_scores(rows, prepared).items():
            kind, metric = name.split(".")
            found += [
                PartScore(
                    part=part,
                    task=task.task_id,
                    metric=metric,
                    value=float(values[number]),
                    n_rows=n_rows[number],
                    n_bounds=n_bounds[number],
                )
                for number, task in enumerate(prepared.tasks)
                if n_rows[number] + n_bounds[number] and task.kind.value == kind
            ]
    return tuple(found)


def write_scores(
    folder: Path, partner: str, model: DeliveredModel, scores: tuple[PartScore, ...], problem: str
) -> None:
    """Write `scores.json`, mode 0600: by part, task and metric; null where rows define no value.

    Each task has its rows and, apart from them, its bounds.

    Args:
        folder: Where the model lies.
        partner: Whose data they are on.
        model: That was scored.
        scores: None if there was a problem.
        problem: Why there are no scores; empty if there are.

    Raises:
        InputError: The disk is full or cannot be written.
    """
    parts: dict[str, dict[str, dict[str, Json]]] = {}
    for one in scores:
        task = parts.setdefault(one.part, {}).setdefault(one.task, {"n_rows": one.n_rows, "n_bounds": one.n_bounds})
        task[one.metric] = one.value if math.isfinite(one.value) else None
    document: Json = {
        "format": FORMAT,
        "partner": partner,
        "plan": model.plan,
        "best_round": model.best_round,
        "model": model.aggregate,
        "parts": parts,
        "problem": problem,
    }
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_private(folder / SCORES_FILE, text.encode() + b"\n")
