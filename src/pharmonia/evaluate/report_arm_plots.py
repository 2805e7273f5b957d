"""Pictures of the arms: learning curves, errors, measured against predicted, and cost."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from pharmonia.base.canonical import Json
from pharmonia.evaluate.gain import Estimate
from pharmonia.evaluate.metrics import Metric
from pharmonia.evaluate.outcome import Arm, Curve
from pharmonia.evaluate.report import Report
from pharmonia.evaluate.report_axes import Spec, interval, label, layout, name_axis, number_axis
from pharmonia.evaluate.report_style import ARM_LOOK, INK
from pharmonia.evaluate.wording import data_size, seconds

_LOG_FROM = 8.0  # curves whose largest error is this many times the smallest get a logarithmic axis


def curve_plot(report: Report) -> Spec:
    """Validation error after each round; each partner alone as a thin line."""
    data: list[Json] = []
    for curve in sorted(report.curves, key=lambda curve: (curve.partner is None, list(Arm).index(curve.arm))):
        data.append(_curve_line(curve))
        if curve.partner is None:
            data.append(_best_mark(curve))
    low = min((float(curve.valid_mse.min()) for curve in report.curves), default=0.0)
    high = max((float(curve.valid_mse.max()) for curve in report.curves), default=0.0)
    wide = low > 0 and high > _LOG_FROM * low
    title = f"validation MSE, {Metric.MSE.unit(report.description.measure)}"
    scale: Spec = {"type": "log", **_ticks(low, high)} if wide else {"rangemode": "tozero"}
    y_axis = number_axis(f"{title}, log scale" if wide else title) | scale
    return {"data": data, "layout": layout(380, xaxis=number_axis("round"), yaxis=y_axis)}


def _ticks(low: float, high: float) -> Spec:
    """Ticks of a logarithmic axis at 1, 2 and 5 times powers of ten."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return {"tickvals": list(ticks), "ticktext": [f"{tick:g}" for tick in ticks]}


def _curve_line(curve: Curve) -> Spec:
    look, own = ARM_LOOK[curve.arm], curve.partner is not None
    who = f"{label(curve.partner)} {curve.arm.value}" if own else curve.arm.value
    return {
        "type": "scatter",
        "mode": "lines",
        "name": curve.arm.value,
        "legendgroup": curve.arm.value,
        "showlegend": not own,
        "opacity": 0.4 if own else 1.0,
        "x": list(range(1, curve.valid_mse.size + 1)),
        "y": curve.valid_mse.tolist(),
        "line": {"color": look.colour, "width": 1 if own else 2.8, "dash": "solid" if own else look.dash},
        "hovertemplate": f"{who}, round %{{x}}: %{{y:.3f}}<extra></extra>",
    }


def _best_mark(curve: Curve) -> Spec:
    look = ARM_LOOK[curve.arm]
    return {
        "type": "scatter",
        "mode": "markers",
        "legendgroup": curve.arm.value,
        "showlegend": False,
        "x": [curve.best_round + 1],
        "y": [float(curve.valid_mse[curve.best_round])],
        "marker": {
            "color": look.colour,
            "symbol": look.symbol,
            "size": 12,
            "line": {"color": "#fff", "width": 1.5},
        },
        "hovertemplate": f"{curve.arm.value}: best after round %{{x}}, %{{y:.3f}}<extra></extra>",
    }


def error_plot(report: Report) -> Spec:
    """MSE of each arm on the test rows with its interval."""
    data: list[Json] = []
    for place, scores in enumerate(report.overall.scores):
        look, figure = ARM_LOOK[scores.arm], scores.mse
        if not isinstance(figure, Estimate):
            continue
        span = f"{figure.low:.3f} to {figure.high:.3f}"
        mark: Spec = {
            "type": "scatter",
            "mode": "markers+text",
            "x": [figure.value],
            "y": [place],
            "text": [f"<b>{figure.value:.3f}</b>"],
            "textposition": "top center",
            "marker": {"color": look.colour, "symbol": look.symbol, "size": 14},
            "error_x": interval([figure], look.colour),
            "hovertemplate": f"{scores.arm.value}: {figure.value:.3f} ({span})<extra></extra>",
        }
        data.append(mark)
    names = [f"<b>{arm.value}</b>" if arm is Arm.FEDERATED else arm.value for arm in Arm]
    picture = layout(
        380,
        showlegend=False,
        xaxis=number_axis(f"test MSE, {Metric.MSE.unit(report.description.measure)}; lower is better"),
        yaxis=name_axis(names, 0, top=-0.7, bottom=len(names) - 0.5),
        margin={"l": 10, "r": 14, "t": 10, "b": 44},
    )
    return {"data": data, "layout": picture}


def agreement_plot(report: Report, arm: Arm) -> Spec:
    """Measured against predicted values of one arm as counts; the line is a perfect prediction."""
    edges = report.agreement.edges.tolist()
    centres: list[Json] = [(low + high) / 2 for low, high in pairwise(edges)]
    counts = report.agreement.counts[list(Arm).index(arm)].T.tolist()  # Plotly's rows run along y
    heat: Spec = {
        "type": "heatmap",
        "x": centres,
        "y": centres,
        "z": [[math.log10(n) if n else None for n in row] for row in counts],
        "customdata": counts,
        "colorscale": [[0, _tint(ARM_LOOK[arm].colour)], [1, ARM_LOOK[arm].colour]],
        "showscale": False,
        "hoverongaps": False,
        "hovertemplate": "measured %{x:.2f}, predicted %{y:.2f}: %{customdata} rows<extra></extra>",
    }
    perfect: Spec = {"type": "line", "x0": edges[0], "x1": edges[-1], "y0": edges[0], "y1": edges[-1]}
    measure, ends = report.description.measure, [edges[0], edges[-1]]
    look = layout(
        270,
        xaxis=number_axis(f"measured {measure}", range=ends, nticks=5),
        yaxis=number_axis(f"predicted {measure}", range=ends, nticks=5),
        margin={"l": 10, "r": 8, "t": 8, "b": 40},
        shapes=[perfect | {"line": {"color": INK, "width": 1, "dash": "dot"}}],
    )
    return {"data": [heat], "layout": look}


def _tint(colour: str) -> str:
    """The colour mixed with four parts of white."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{255 - (255 - part) // 5:02X}" for part in parts)


def traffic_plot(report: Report) -> Spec:
    """Bytes to and from the partners, by arm."""
    parts = (("to partners", "bytes_to_partners"), ("from partners", "bytes_from_partners"))
    return _cost_plot(report, parts, 1e-6, "traffic, MB", lambda value: data_size(round(value)))


def time_plot(report: Report) -> Spec:
    """Wall and processor seconds, by arm."""
    return _cost_plot(report, (("wall", "wall_s"), ("processor", "cpu_s")), 1.0, "time, s", seconds)


def _cost_plot(
    report: Report,
    parts: Sequence[tuple[str, str]],
    scale: float,
    title: str,
    text: Callable[[float], str],
) -> Spec:
    """Two bars per arm: the first full, the second pale."""
    data: list[Json] = []
    colours: list[Json] = [ARM_LOOK[cost.arm].colour for cost in report.costs]
    for (name, field), opacity in zip(parts, (1.0, 0.5), strict=True):
        amounts = [float(getattr(cost, field)) for cost in report.costs]
        short = 0.3 * max(float(getattr(cost, field)) for cost in report.costs for _, field in parts)
        bar: Spec = {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "x": [amount * scale for amount in amounts],
            "y": list(range(len(amounts))),
            "text": [f"{name} {text(amount)}" for amount in amounts],
            "textposition": ["inside" if amount > short else "outside" for amount in amounts],
            "textangle": 0,
            "marker": {"color": colours, "opacity": opacity},
            "hovertemplate": "%{text}<extra></extra>",
        }
        data.append(bar)
    names = [cost.arm.value for cost in report.costs]
    look = layout(
        100 + 62 * len(names),
        showlegend=False,
        bargap=0.25,
        xaxis=number_axis(title, rangemode="tozero"),
        yaxis=name_axis(names, 0, top=-0.5, bottom=len(names) - 0.5),
        margin={"l": 10, "r": 14, "t": 6, "b": 44},
    )
    return {"data": data, "layout": look}
