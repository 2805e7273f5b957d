"""What all pictures of the HTML report share: axes, layout, intervals, names; plain JSON for Plotly."""

import html

from pharmonia.base.canonical import Json
from pharmonia.evaluate.gain import Estimate
from pharmonia.evaluate.report_style import FONT, GRID, INK

Spec = dict[str, Json]
ALL_TOGETHER = "all together"
_LABEL_LENGTH = 22


def label(name: str | None) -> str:
    """A partner's name as an axis shows it: short, and with no markup that Plotly would obey."""
    text = name or ALL_TOGETHER
    short = text if len(text) <= _LABEL_LENGTH else text[: _LABEL_LENGTH - 1] + "…"
    return html.escape(short)


def bar_height(n_bars: int) -> int:
    """Pixels for a picture with one horizontal line per partner."""
    return 110 + max(20, min(46, 420 // n_bars)) * n_bars


def number_axis(title: str, **more: Json) -> Spec:
    """An axis of numbers; its title names what is shown and its unit."""
    axis: Spec = {
        "title": {"text": html.escape(title), "standoff": 8, "font": {"size": 13}},
        "gridcolor": GRID,
        "zeroline": False,
        "automargin": True,
        "fixedrange": True,
    }
    return axis | more


def name_axis(names: list[str], first: int, *, top: float, bottom: float) -> Spec:
    """A vertical axis with one name per whole number from ``first`` down."""
    return {
        "tickvals": list(range(first, first + len(names))),
        "ticktext": list(names),
        "range": [bottom, top],
        "ticks": "outside",  # without colour: room between name and bar
        "ticklen": 5,
        "tickcolor": "rgba(0,0,0,0)",
        "showgrid": False,
        "zeroline": False,
        "automargin": True,
        "fixedrange": True,
    }


def layout(height: int, **more: Json) -> Spec:
    """The common look, ``height`` pixels high and as wide as its place."""
    base: Spec = {
        "height": height,
        "margin": {"l": 10, "r": 14, "t": 34, "b": 44},
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": True,
        "legend": {
            "orientation": "h",
            "traceorder": "normal",
            "x": 0,
            "y": 1.0,
            "yanchor": "bottom",
            "font": {"size": 13},
        },
        "hoverlabel": {"font": {"family": FONT}},
    }
    return base | more


def interval(estimates: list[Estimate], colour: str) -> Spec:
    """Horizontal error bars from the estimates' values to the ends of their intervals."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [estimate.high - estimate.value for estimate in estimates],
        "arrayminus": [estimate.value - estimate.low for estimate in estimates],
        "color": colour,
        "thickness": 2.5,
        "width": 5,
    }
