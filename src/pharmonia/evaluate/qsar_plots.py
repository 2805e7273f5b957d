"""Pictures of a comparison on many tasks; plain JSON for Plotly."""

import html

import numpy as np

from pharmonia.base.canonical import Json
from pharmonia.evaluate.gain import Estimate
from pharmonia.evaluate.qsar import QsarArm
from pharmonia.evaluate.qsar_gain import TaskTable, paired
from pharmonia.evaluate.qsar_report import KindReport
from pharmonia.evaluate.report_axes import Spec, bar_height, interval, label, layout, name_axis, number_axis
from pharmonia.evaluate.report_style import INK, MUTED

QSAR_COLOUR = {  # Okabe and Ito 2008; as in the report on interactions
    QsarArm.ALONE: "#E69F00",
    QsarArm.BOOSTED: "#56B4E9",
    QsarArm.ENSEMBLE: "#CC79A7",
    QsarArm.FEDERATED: "#0072B2",
    QsarArm.POOLED: "#009E73",
}
QSAR_SYMBOL = {
    QsarArm.ALONE: "circle",
    QsarArm.BOOSTED: "x",
    QsarArm.ENSEMBLE: "square",
    QsarArm.FEDERATED: "diamond",
    QsarArm.POOLED: "triangle-up",
}


def arm_plot(kind: KindReport) -> Spec:
    """The mean headline metric of each arm."""
    arms = list(dict.fromkeys(arm for arm, _ in kind.means))
    data: list[Json] = []
    for place, arm in enumerate(arms):
        value = kind.means[arm, kind.metric]
        mark: Spec = {
            "type": "scatter",
            "mode": "markers+text",
            "x": [value],
            "y": [place],
            "text": [f"<b>{value:.3f}</b>"],
            "textposition": "top center",
            "marker": {"color": QSAR_COLOUR[arm], "symbol": QSAR_SYMBOL[arm], "size": 14},
            "hovertemplate": f"{arm.value}: {value:.3f}<extra></extra>",
        }
        data.append(mark)
    look = layout(
        110 + 46 * len(arms),
        showlegend=False,
        xaxis=number_axis(f"mean {kind.metric.label} of {kind.n_tasks} tasks"),
        yaxis=name_axis([arm.value for arm in arms], 0, top=-0.7, bottom=len(arms) - 0.4),
    )
    return {"data": data, "layout": look}


def partner_plot(kind: KindReport) -> Spec:
    """The difference from alone of each partner, with its interval."""
    groups = [group for group in kind.partners if isinstance(group.over_alone.difference.mean, Estimate)]
    found = [group.over_alone.difference.mean for group in groups]
    figures = [figure for figure in found if isinstance(figure, Estimate)]
    mark: Spec = {
        "type": "scatter",
        "mode": "markers",
        "x": [figure.value for figure in figures],
        "y": list(range(len(figures))),
        "marker": {"color": QSAR_COLOUR[QsarArm.FEDERATED], "symbol": "diamond", "size": 11},
        "error_x": interval(figures, QSAR_COLOUR[QsarArm.FEDERATED]),
        "hovertemplate": "%{x:.3f}<extra></extra>",
    }
    zero: Spec = {
        "type": "line",
        "x0": 0,
        "x1": 0,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": {"color": INK, "width": 1},
    }
    look = layout(
        bar_height(max(len(groups), 1)),
        showlegend=False,
        shapes=[zero],
        xaxis=number_axis(f"{kind.metric.label}, federated minus alone"),
        yaxis=name_axis([label(group.name) for group in groups], 0, top=-0.6, bottom=len(groups) - 0.4),
    )
    return {"data": [mark], "layout": look}


def task_plot(table: TaskTable, kind: KindReport) -> Spec:
    """Every task of every partner: difference from alone against the partner's training labels."""
    federated, alone = paired(table, QsarArm.FEDERATED, QsarArm.ALONE, kind.metric)
    difference = federated - alone
    there = np.flatnonzero(table.of_kind(kind.kind) & np.isfinite(difference))
    names = [f"{table.tasks[index].partner}, {table.tasks[index].task_id}" for index in there.tolist()]
    dots: Spec = {
        "type": "scatter",
        "mode": "markers",
        "x": [float(value) for value in table.n_train[there]],
        "y": [round(float(value), 4) for value in difference[there]],
        "text": [html.escape(name) for name in names],
        "marker": {"color": QSAR_COLOUR[QsarArm.FEDERATED], "size": 5, "opacity": 0.45},
        "hovertemplate": "%{text}: %{y:+.3f} with %{x:.0f} labels<extra></extra>",
    }
    bins = [one for one in kind.by_amount.bins if isinstance(one.gains.mean, Estimate)]
    zero: Spec = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": 0,
        "y1": 0,
        "line": {"color": MUTED, "width": 1},
    }
    look = layout(
        360,
        showlegend=False,
        shapes=[zero],
        xaxis=number_axis("training labels of the partner", type="log" if bins else "linear"),
        yaxis=number_axis(f"{kind.metric.label}, federated minus alone"),
    )
    return {"data": [dots], "layout": look}
