"""Tables of a comparison on many tasks, for every form of the report."""

import math
from collections import Counter

from pharmonia.evaluate.perfection import TaskGains
from pharmonia.evaluate.qsar import QsarArm, TaskMetric
from pharmonia.evaluate.qsar_gain import ArmGain
from pharmonia.evaluate.qsar_report import GroupGain, KindReport, QsarReport
from pharmonia.evaluate.report_text import Rows
from pharmonia.evaluate.wording import NO_NUMBER, data_size, figure_text, percent, percent_text, seconds


def number(value: float) -> str:
    """Three decimals, or a dash."""
    return f"{value:.3f}" if math.isfinite(value) else NO_NUMBER


def p_text(value: float) -> str:
    """A p-value, or a dash."""
    if not math.isfinite(value):
        return NO_NUMBER
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def means_table(report: QsarReport, kind: KindReport) -> Rows:
    """Header, then one line per arm: means of every metric over the tasks."""
    metrics = [metric for metric in TaskMetric if metric.kind is kind.kind]
    header = ("arm", *(f"{metric.label} {'↓' if metric.is_error else '↑'}" for metric in metrics))
    return [header, *((arm.value, *(number(kind.means[arm, m]) for m in metrics)) for arm in report.table.arms)]


def gain_table(kind: KindReport) -> Rows:
    """Header, then one line per pair of arms."""
    header = (
        "comparison", "tasks", "nearer to perfection", f"{kind.metric.label}, difference", "over seeds",
        "tasks better", "p",
    )  # fmt: skip
    return [header, *((f"{gain.new} over {gain.base}", *_gain_cells(gain)) for gain in kind.gains)]


def group_table(kind: KindReport, groups: tuple[GroupGain, ...], name: str) -> Rows:
    """Header, then one line per partner or assay type: federated against alone and the best alternative."""
    header = (
        name, "tasks", f"{kind.metric.label} alone", "federated", "nearer to perfection than alone",
        "p", "difference from alone", f"difference from {kind.best}",
    )  # fmt: skip
    n_columns = len(header) - (kind.best is QsarArm.ALONE)  # the last two would be the same
    rows = [
        header,
        *(
            (
                group.name,
                str(group.n_tasks),
                number(group.alone),
                number(group.federated),
                percent_text(group.over_alone.proximity.mean),
                p_text(group.over_alone.difference.p_value),
                figure_text(group.over_alone.difference.mean),
                figure_text(group.over_best.difference.mean),
            )
            for group in groups
            if group.n_tasks
        ),
    ]
    return [row[:n_columns] for row in rows]


def amount_table(kind: KindReport) -> Rows:
    """Header, then one line per quarter of the tasks, the scarcest first."""
    header = ("training labels of the partner", "tasks", "nearer to perfection than alone", "tasks better")
    return [
        header,
        *(
            (f"{one.fewest:,} to {one.most:,}", str(one.gains.n_tasks), percent_text(one.gains.mean), _share(one.gains))
            for one in kind.by_amount.bins
        ),
    ]


def holding_table(report: QsarReport) -> Rows:
    """Header, then one line per partner under the first seed."""
    header = (
        "partner",
        "compounds",
        "training labels",
        "validation labels",
        "test labels",
        "tasks",
        "tasks that count",
    )
    return [
        header,
        *(
            (h.partner, *(f"{n:,}" for n in (h.n_compounds, h.n_train, h.n_valid, h.n_test, h.n_tasks, h.n_counting)))
            for h in report.description.holdings
        ),
    ]


def qsar_cost_table(report: QsarReport) -> Rows:
    """Header, then one line per trained arm, all seeds and partners together."""
    header = ("arm", "rounds at most", "processor time", "bytes between organisations", "sum error", "clipped")
    return [
        header,
        *(
            (
                cost.arm.value,
                str(cost.n_rounds),
                seconds(cost.cpu_s),
                data_size(cost.bytes_sent),
                NO_NUMBER if cost.sum_error is None else f"{cost.sum_error:.1e}",
                str(cost.n_clipped),
            )
            for cost in report.description.costs
        ),
    ]


def left_out_table(report: QsarReport) -> Rows:
    """Header, then one line per reason why partners' tasks are not trained or do not count, over all seeds."""
    untrained = Counter(_without_counts(one.reason) for one in report.description.untrained)
    uncounted = Counter(_without_counts(reason) for _, _, _, reason in report.uncounted)
    return [
        ("reason", "not trained", "not counted"),
        *((reason, str(untrained[reason]), str(uncounted[reason])) for reason in sorted({*untrained, *uncounted})),
    ]


def _without_counts(reason: str) -> str:
    """A reason with its numbers left out, so that equal ones can be counted."""
    return " ".join("N" if word[0].isdigit() else word for word in reason.split())


def _gain_cells(gain: ArmGain) -> tuple[str, ...]:
    return (
        str(gain.proximity.n_tasks),
        percent_text(gain.proximity.mean),
        figure_text(gain.difference.mean),
        figure_text(gain.over_seeds),
        _share(gain.difference),
        p_text(gain.difference.p_value),
    )


def _share(gains: TaskGains) -> str:
    return percent(gains.share_better) if gains.n_tasks else NO_NUMBER
