"""A model card as Markdown."""

import math
from collections.abc import Sequence
from datetime import UTC

from pharmonia.evaluate.modelcard import ModelCard, TaskCard, means

COLUMNS = {  # metrics shown by kind of task, and their headings; both models where `alone` is among the columns
    "classification": {
        "auroc": "AUROC",
        "auprc_calibrated": "calibrated AUPRC",
        "brier": "Brier",
        "efficiency": "one-class sets",
        "validity": "sets that hold",
    },
    "regression": {
        "r2": "R²",
        "rmse": "RMSE",
        "spearman": "Spearman",
        "validity": "intervals that hold",
        "width": "interval width",
    },
}
_COMPARED = ("auroc", "auprc_calibrated", "brier", "r2", "rmse", "spearman")

_PURPOSE = """\
## What it is for

Ranking and prioritising small organic compounds for the assays below, by the partner that holds this bundle, where the
compounds are like those that the partner trained on: use predictions that are marked in domain, and look at the set or
interval of each.

## What it is not for

- Decisions on the safety or treatment of people or animals, and any substitute for measuring.
- Assays, units, thresholds or species other than those named: another partner's assay of that name may differ.
- Mixtures, polymers and structures larger than the recipe allows; they get a reason, not a value.
- Telling enantiomers apart, unless the recipe keeps stereo.
- Proving that a compound was, or was not, measured by anybody.
"""


def render_card(card: ModelCard) -> str:
    """The card as Markdown, for people."""
    parts = [f"# Model card: {_cell(card.partner)}", _summary(card), _PURPOSE.rstrip(), _trust(card)]
    for kind, columns in COLUMNS.items():
        tasks = [task for task in card.tasks if task.kind == kind]
        if tasks:
            parts.append(_table(kind, tasks, columns))
    parts.append(_provenance(card))
    return "\n\n".join(parts) + "\n"


def _summary(card: ModelCard) -> str:
    lines = [
        "A network of many tasks: a trunk trained with other partners, and this partner's own heads. It reads keyed "
        "ECFP columns of standardised structures; without the consortium's key it predicts nothing.",
        "",
        f"- Trained on {card.n_compounds:,} compounds of this partner, with "
        f"{sum(task.n_train for task in card.tasks):,} labels of {len(card.tasks):,} tasks.",
        f"- Terms of these data: {_cell(card.licence)}",
    ]
    for kind, metric, name in (("classification", "auroc", "AUROC"), ("regression", "r2", "R²")):
        lines.extend(_compared([task for task in card.tasks if task.kind == kind], kind, metric, name))
    return "\n".join(lines)


def _compared(tasks: Sequence[TaskCard], kind: str, metric: str, name: str) -> list[str]:
    model, alone, n_tasks = means(tasks, metric)
    if not n_tasks:
        return []
    if math.isnan(alone):
        return [f"- Test fold, mean {name} over {n_tasks:,} {kind} tasks: {model:.3f}."]
    scores = [score for task in tasks if task.is_counted for score in task.scores if score.metric == metric]
    better = sum(score.model > score.alone for score in scores)  # NaN compares false
    return [
        f"- Test fold, mean {name} over {n_tasks:,} {kind} tasks: {model:.3f}; the partner's own model alone "
        f"{alone:.3f}. Better than alone in {better:,} of them."
    ]


def _trust(card: ModelCard) -> str:
    domain = (
        "Which compounds are in domain is not known, as the environments trained on are not: no prediction is marked "
        "so."
        if card.n_environments is None
        else f"Compounds are held against the {card.n_environments:,} distinct environments trained on."
    )
    return (
        "## Where to trust it\n\n"
        "Calibrated on the validation fold; that fold also chose the round of training, so calibration flatters a "
        f"little. The test fold shows what came of it at an error rate of {card.error_rate:g}: the shares of sets and "
        f"of intervals that hold should be at least {1 - card.error_rate:g}. Where they are below, new compounds are "
        "not like the calibration compounds: folds are of whole scaffolds, so they seldom are.\n\n"
        f"{domain}"
    )


def _table(kind: str, tasks: Sequence[TaskCard], columns: dict[str, str]) -> str:
    second = "actives" if kind == "classification" else "not bounds"
    headings = ["task", "a prediction is", "labels", second, "calibration", "test", *columns.values()]
    lines = [
        f"## {kind.capitalize()}",
        "",
        " ".join(_notes(kind, tasks)),
        "",
        "| " + " | ".join(headings) + " |",
        "| --- | --- |" + " ---: |" * (len(headings) - 2),
    ]
    for task in tasks:
        counts = (task.n_train, task.n_active, task.n_calibration, task.n_test)
        scores = {score.metric: score for score in task.scores}
        name = _cell(task.task_id) + ("" if task.is_counted else " \\*")
        cells = [name, _cell(task.meaning), *(f"{count:,}" for count in counts)]
        for metric in columns:
            score = scores.get(metric)
            text = "-" if score is None else _decimal(score.model)
            if score is not None and metric in _COMPARED and not math.isnan(score.alone):
                text += f" ({_decimal(score.alone)})"
            cells.append(text)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _notes(kind: str, tasks: Sequence[TaskCard]) -> list[str]:
    """What a table's columns need said."""
    notes = ["On the test fold."]
    if any(not math.isnan(one.alone) for task in tasks for one in task.scores if one.metric in _COMPARED):
        notes = ["On the test fold; in brackets, the partner's own model alone."]
    if kind == "regression":
        notes.append("Calibration and test count values that are not bounds.")
    if not all(task.is_counted for task in tasks):
        notes.append("\\* helps training only, or has too few labels to be judged: it counts in no mean.")
    return notes


def _provenance(card: ModelCard) -> str:
    origin = card.provenance
    facts = [
        ("run", origin.run_id),
        ("method", origin.method),
        ("shared model, SHA-256", origin.model_digest),
        ("prepared data, SHA-256", origin.data_digest),
        ("recipe, SHA-256", origin.recipe_digest),
        ("plan, SHA-256", origin.plan_digest or "none: a run without a signed plan"),
        ("agreement, SHA-256", origin.agreement_digest or "none"),
        ("exported", f"{origin.created_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"),
        *origin.versions,
    ]
    lines = ["## Where it comes from", "", "| | |", "| --- | --- |"]
    return "\n".join(lines + [f"| {_cell(name)} | {_cell(value)} |" for name, value in facts])


def _decimal(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.3f}" if math.isfinite(value) else "unbounded"


def _cell(text: str) -> str:
    """Text that ends no cell of a table, and starts no markup."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
