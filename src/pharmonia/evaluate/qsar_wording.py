"""A comparison on many tasks in plain sentences: what came out, what the words mean, what it does not show."""

import math

from pharmonia.evaluate.gain import Estimate
from pharmonia.evaluate.perfection import TaskGains
from pharmonia.evaluate.qsar import QsarArm
from pharmonia.evaluate.qsar_report import KindReport, QsarReport
from pharmonia.evaluate.wording import figure_text, holds_zero, percent

QSAR_ARM_MEANING = {
    QsarArm.ALONE: "each partner's own network on its own data",
    QsarArm.BOOSTED: "each partner's own boosted trees on its own data, task by task",
    QsarArm.ENSEMBLE: "mean of the alone networks of all partners that have the task",
    QsarArm.FEDERATED: "a trunk trained together; data, and heads but for a catalogue's, stay with the partner",
    QsarArm.POOLED: "one network on all data in one place, one column per task: the ceiling",
}


def qsar_headline(report: QsarReport) -> str:
    """The answer in one sentence per kind of task."""
    if not report.kinds:
        return "No task has enough labels in the test fold to be scored."
    return " ".join(_kind_sentence(kind) for kind in report.kinds)


def _kind_sentence(kind: KindReport) -> str:
    said = [_against(kind, QsarArm.ALONE)]
    if kind.best is not QsarArm.ALONE:
        said.append(_against(kind, kind.best, ", the best without pooling"))
    where = f"{kind.kind.capitalize()}, {kind.metric.label} over {kind.n_tasks} tasks of {kind.n_assays} assays"
    return f"{where}: federated is {'; '.join(said)}."


def _against(kind: KindReport, base: QsarArm, about_base: str = "") -> str:
    found = kind.gain(QsarArm.FEDERATED, base)
    gain = found.difference
    words = {1: "better than", -1: "worse than", 0: "not clearly different from"}
    said = f"{words[_direction(gain)]} {base}{about_base}, {figure_text(gain.mean)}"
    return f"{said}, not clear over seeds" if _direction(gain) and holds_zero(found.over_seeds) else said


def _direction(gains: TaskGains) -> int:
    """1 where the interval of a gain is above zero, -1 where below, 0 where it holds zero or there is none."""
    if not isinstance(gains.mean, Estimate):
        return 0
    return int(gains.mean.low > 0) - int(gains.mean.high < 0)


def partners_sentence(kind: KindReport) -> str:
    """How many partners the federation brings more than training alone."""
    groups = [group for group in kind.partners if group.n_tasks]
    gaining = sum(_direction(group.over_alone.difference) > 0 for group in groups)
    losing = sum(_direction(group.over_alone.difference) < 0 for group in groups)
    better = sum(group.federated > group.alone for group in groups)
    return (
        f"{kind.kind.capitalize()}: {better} of {len(groups)} partners have a better mean {kind.metric.label} "
        f"federated than alone; for {gaining} the interval lies above zero, for {losing} below."
    )


def amount_sentence(kind: KindReport) -> str:
    """Whether scarce tasks gain most."""
    amount = kind.by_amount
    if not math.isfinite(amount.trend):
        return "Too few assays, or all alike, to say whether scarce tasks gain most."
    figures = (
        f"rank correlation over assays of mean gain and training labels {amount.trend:.2f}, p = {amount.p_value:.2g}."
    )
    if amount.p_value >= 0.05:
        return f"No clear trend with the amount of data: {figures}"
    return f"{'Assays with few labels' if amount.trend < 0 else 'Assays with more labels'} gain most: {figures}"


def conformal_sentence(kind: KindReport) -> str:
    """Applicability domains, federated against alone; empty for regression."""
    conformal = kind.conformal
    if conformal is None:
        return ""
    alone, federated = conformal.efficiency
    valid_alone, valid_federated = conformal.validity
    return (
        f"At an error rate of {percent(conformal.error_rate)}, the share of test compounds with a set of one class is "
        f"{percent(federated)} federated and {percent(alone)} alone (difference {figure_text(conformal.gain.mean)}); "
        f"the sets hold the true class for {percent(valid_federated)} and {percent(valid_alone)}."
    )


def ensemble_sentence(report: QsarReport) -> str:
    """What the ensemble is here."""
    n = report.description.n_common_tasks
    if n:
        return f"{n} tasks are trained by two partners or more; the ensemble is over those that have the task."
    return "No two partners have a task in common, so the ensemble is the alone models."


def qsar_limits(report: QsarReport) -> tuple[str, ...]:
    """What the comparison does not show."""
    lines = [
        "Partners are simulated from public data; real partners' assays differ in more than their compounds.",
        "Intervals resample assays, after the seeds of each task were averaged; a partner's name stands for another "
        "share of the data under each seed.",
        "Where a task has no stated threshold, it is cut at a quantile of everybody's results, test fold included, "
        "before they are shared out; so what counts as active knows of the test compounds, for all arms alike.",
        "The round is chosen, and the conformal predictors are calibrated, on the same validation fold, which flatters "
        "validity a little and all arms alike.",
        "The gain over the best alternative takes the arm that is best on these test compounds, which favours it.",
        "A relative gain in proximity to perfection weighs tasks near perfection heavily, and a task that only the "
        "base has perfect has none; the plain difference, which every task has, stands beside it.",
    ]
    if any(kind.n_assays < 10 for kind in report.kinds):
        lines.append("With fewer than ten assays, resampling assays says little; look at the interval over seeds.")
    if report.description.n_seeds < 5:
        lines.append(f"{report.description.n_seeds} seeds are few.")
    return tuple(lines)
