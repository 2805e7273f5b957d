"""Pictures of the partners: who owns what, what they share, and who gains."""

import html

from pharmonia.base.canonical import Json
from pharmonia.evaluate.gain import Comparison, Estimate, TestRows, Verdict
from pharmonia.evaluate.report import Report
from pharmonia.evaluate.report_axes import (
    ALL_TOGETHER,
    Spec,
    bar_height,
    interval,
    label,
    layout,
    name_axis,
    number_axis,
)
from pharmonia.evaluate.report_style import GRID, INK, SPLIT_COLOURS, VERDICT_LOOK
from pharmonia.evaluate.wording import percent, percent_text

LOWEST_GAIN = -1.0  # what lies below -100 % is cut off in the picture
_MANY = 10  # partners from which a table of pairs carries no numbers


def ownership_plot(report: Report) -> Spec:
    """Rows of each partner, stacked by split; lines up with the picture of gains."""
    partners = report.holdings.partners
    places: list[Json] = list(range(1, len(partners) + 1))
    names: list[Json] = [html.escape(holding.partner) for holding in partners]
    data: list[Json] = []
    for split, colour in SPLIT_COLOURS.items():
        bar: Spec = {
            "type": "bar",
            "orientation": "h",
            "name": split,
            "x": [getattr(holding, f"n_{split}") for holding in partners],
            "y": places,
            "marker": {"color": colour},
            "customdata": names,
            "hovertemplate": f"%{{customdata}}: %{{x:,}} {split} rows<extra></extra>",
        }
        data.append(bar)
    axis = name_axis([label(h.partner) for h in partners], 1, top=-0.5, bottom=len(partners) + 0.5)
    look = layout(bar_height(len(partners) + 1), barmode="stack", bargap=0.32, yaxis=axis)
    return {"data": data, "layout": look | {"xaxis": number_axis("rows", rangemode="tozero")}}


def sharing_plot(report: Report, what: str) -> Spec:
    """How many ``what``, "compounds" or "targets", each two partners have in common."""
    names: list[Json] = [label(holding.partner) for holding in report.holdings.partners]
    few = len(names) <= _MANY
    heat: Spec = {
        "type": "heatmap",
        "z": getattr(report.holdings, f"shared_{what}").tolist(),
        "colorscale": [[0, "#F4F7FA"], [0.001, "#E3EDF5"], [1, "#3F7CAC"]],
        "showscale": not few,
        "xgap": 2 if few else 0,
        "ygap": 2 if few else 0,
        "texttemplate": "%{z:,}" if few else "",
        "hovertemplate": f"%{{y}} and %{{x}}: %{{z:,}} {what} in common<extra></extra>",
        "x": names,
        "y": names,
        "colorbar": {"title": {"text": what}, "thickness": 12},
    }
    places: list[Json] = list(range(len(names)))
    axis: Spec = {"type": "category", "tickvals": places, "automargin": True, "fixedrange": True}
    height = 110 + max(13, min(40, 400 // len(names))) * len(names)
    margin: Spec = {"l": 10, "r": 14, "t": 8, "b": 30}
    look = layout(
        height,
        xaxis=axis | {"tickangle": -35, "showticklabels": few},
        yaxis=axis | {"autorange": "reversed"},
        margin=margin,
    )
    return {"data": [heat], "layout": look}


def gain_plot(report: Report) -> Spec:
    """Gain of each partner on its own rows with its interval, coloured by verdict; zero is marked."""
    shown = [report.overall, *report.of_partners(TestRows.OWN)]
    names = [label(comparison.partner) for comparison in shown]
    names[0] = f"<b>{names[0]}</b>"
    gains = [c.gain for c in shown if isinstance(c.gain, Estimate)]
    low = min([-0.02, *(max(gain.low, LOWEST_GAIN) for gain in gains)])
    high = max([0.02, *(gain.high for gain in gains)])
    room = 0.06 * (high - low)
    ends: list[Json] = [100 * (low - room), 100 * (high + room)]
    x_axis = number_axis("gain, % of the best alternative's MSE", range=ends, nticks=7)
    zero: Spec = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    rule: Spec = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 0.5, "y1": 0.5, "layer": "below"}
    look = layout(
        bar_height(len(shown)),
        xaxis=x_axis,
        yaxis=name_axis(names, 0, top=-0.5, bottom=len(shown) - 0.5),
        shapes=[zero | {"line": {"color": INK, "width": 1.5}}, rule | {"line": {"color": GRID, "width": 1}}],
        annotations=[_gain_number(place, comparison) for place, comparison in enumerate(shown)],
        margin={"l": 10, "r": 72, "t": 34, "b": 44},
    )
    verdicts = dict.fromkeys(comparison.verdict for comparison in shown)
    return {"data": [_gain_marks(shown, verdict) for verdict in verdicts], "layout": look}


def _gain_marks(shown: list[Comparison], verdict: Verdict) -> Spec:
    look = VERDICT_LOOK[verdict]
    places: list[Json] = []
    texts: list[Json] = []
    gains: list[Estimate] = []
    for place, comparison in enumerate(shown):
        if comparison.verdict is verdict and isinstance(comparison.gain, Estimate):
            places.append(place)
            texts.append(f"{html.escape(comparison.partner or ALL_TOGETHER)}: {percent_text(comparison.gain)}")
            gains.append(_visible(comparison.gain))
    return {
        "type": "scatter",
        "mode": "markers",
        "name": verdict.value,
        "x": [gain.value for gain in gains],
        "y": places,
        "marker": {
            "color": look.colour,
            "symbol": look.symbol,
            "size": 11,
            "line": {"width": 2, "color": look.colour},
        },
        "error_x": interval(gains, look.colour),
        "customdata": texts,
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _visible(gain: Estimate) -> Estimate:
    """The part of an estimate that the picture shows, in percent."""
    value, low, high = (100 * max(number, LOWEST_GAIN) for number in (gain.value, gain.low, gain.high))
    return Estimate(value=value, low=low, high=high)


def _gain_number(place: int, comparison: Comparison) -> Spec:
    gain = comparison.gain
    text = percent(gain.value, sign=True) if isinstance(gain, Estimate) else "no number"
    return {
        "xref": "paper",
        "x": 1.0,
        "xanchor": "left",
        "xshift": 6,
        "y": place,
        "text": f"<b>{text}</b>" if place == 0 else text,
        "showarrow": False,
        "font": {"color": VERDICT_LOOK[comparison.verdict].ink, "size": 13},
    }
