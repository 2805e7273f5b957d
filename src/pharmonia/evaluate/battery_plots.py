"""Pictures of a battery: gains with intervals, learning curves and costs; plain JSON for Plotly."""

from collections.abc import Callable, Sequence

import numpy as np

from pharmonia.base.canonical import Json
from pharmonia.evaluate.battery import CellKey
from pharmonia.evaluate.battery_report import BatteryReport
from pharmonia.evaluate.battery_scenarios import ScenarioResult
from pharmonia.evaluate.battery_stats import Call, OverSeeds, SettingResult
from pharmonia.evaluate.battery_style import look_of
from pharmonia.evaluate.battery_tables import cost_groups
from pharmonia.evaluate.battery_wording import partners_text, share_text
from pharmonia.evaluate.gain import Undefined
from pharmonia.evaluate.report_axes import Spec, label, layout, name_axis, number_axis
from pharmonia.evaluate.report_style import GRID, INK
from pharmonia.evaluate.wording import data_size, seconds

_LINE_PX = 15  # height of one mark in a forest plot
_ROOM = 0.3  # of the span of the values, kept free for intervals on either side
_LOG_FROM = 2.5  # curves whose largest error is this many times the smallest get a logarithmic axis
Mark = tuple[str, str, OverSeeds, Call]  # row, method, gain, verdict

_CLEAR = frozenset({Call.BETTER, Call.WORSE})


def scenario_marks(scenarios: Sequence[ScenarioResult]) -> list[Mark]:
    """What the forest plot over scenarios draws."""
    return [(result.key.scenario, result.key.method, result.gain, result.call) for result in scenarios]


def setting_marks(settings: Sequence[SettingResult]) -> list[Mark]:
    """What the forest plot of one kind of scenario draws; settings without a gain are left out."""
    return [
        (_row_name(setting.key), setting.key.method, setting.gain, setting.call)
        for setting in settings
        if not isinstance(setting.gain, Undefined)
    ]


def _row_name(key: CellKey) -> str:
    parameter = key.scenario.partition(":")[2]
    return f"{parameter} · {partners_text(key.n_partners)}" if parameter else partners_text(key.n_partners)


def gain_range(marks: Sequence[Mark]) -> tuple[float, float]:
    """The part of the axis of gains, in percent, that holds all means, zero, and room for intervals."""
    values = [100 * gain.value for _, _, gain, _ in marks]
    low, high = min([0.0, *values]), max([0.0, *values])
    room = max(_ROOM * (high - low), 2.0)
    return low - room, high + room


def forest_plot(marks: Sequence[Mark], methods: Sequence[str], ends: tuple[float, float]) -> Spec:
    """Gains with their intervals, a line per row and in it a mark per method; full marks are clear calls."""
    rows = list(dict.fromkeys(row for row, *_ in marks))
    step = 1.0 / (len(methods) + 1)
    data: list[Json] = []
    for index, method in enumerate(methods):
        own = [mark for mark in marks if mark[1] == method]
        if own:
            offset = (index - (len(methods) - 1) / 2) * step
            data += [_legend_mark(method, index), _forest_trace(own, rows, offset, index)]
    bands: list[Json] = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "layer": "below"}
        | {"line": {"color": GRID, "width": 1}}
        for y in np.arange(0.5, len(rows) - 0.5).tolist()
    ]
    zero: Spec = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    look = layout(
        92 + max(26, _LINE_PX * (len(methods) + 1)) * len(rows),
        xaxis=number_axis("gain, % of the best alternative's test MSE", range=list(ends), nticks=7),
        yaxis=name_axis([label(row) for row in rows], 0, top=-0.5, bottom=len(rows) - 0.5),
        shapes=[zero | {"line": {"color": INK, "width": 1.5}}, *bands],
        margin={"l": 10, "r": 14, "t": 34, "b": 44},
    )
    return {"data": data, "layout": look}


def _legend_mark(method: str, place: int) -> Spec:
    """A full mark for the legend, whatever the verdicts are."""
    look = look_of(place)
    marker: Spec = {"color": look.colour, "symbol": look.symbol, "size": 9}
    return {"type": "scatter", "mode": "markers", "name": label(method), "x": [None], "y": [None], "marker": marker}


def _forest_trace(marks: Sequence[Mark], rows: list[str], offset: float, place: int) -> Spec:
    look = look_of(place)
    half_widths = [100 * (gain.half_width or 0.0) for _, _, gain, _ in marks]
    return {
        "type": "scatter",
        "mode": "markers",
        "showlegend": False,
        "x": [100 * gain.value for _, _, gain, _ in marks],
        "y": [rows.index(row) + offset for row, *_ in marks],
        "marker": {
            "color": look.colour,
            "symbol": [look.symbol if call in _CLEAR else f"{look.symbol}-open" for *_, call in marks],
            "size": 9,
            "line": {"width": 1.5, "color": look.colour},
        },
        "error_x": {"type": "data", "array": half_widths, "color": look.colour, "thickness": 1.5, "width": 3},
        "customdata": [f"{label(row)}, {label(m)}: {share_text(gain)}, {call.value}" for row, m, gain, call in marks],
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def battery_curve_plot(settings: Sequence[SettingResult], unit: str, methods: Sequence[str]) -> Spec:
    """Mean validation MSE by round: a colour per number of partners, a dash per method."""
    counts = sorted({setting.key.n_partners for setting in settings})
    shown = [method for method in methods if any(setting.key.method == method for setting in settings)]
    data: list[Json] = []
    for setting in settings:
        colour = look_of(counts.index(setting.key.n_partners)).colour
        dash = look_of(methods.index(setting.key.method)).dash
        name = f"{partners_text(setting.key.n_partners)}, {label(setting.key.method)}"
        line = _line(name, colour, dash, setting.curve.tolist())
        data.append(line | {"hovertemplate": f"{name}, round %{{x}}: %{{y:.3f}}<extra></extra>", "showlegend": False})
    data += [_line(partners_text(n), look_of(i).colour, "solid", []) for i, n in enumerate(counts)]
    if len(shown) > 1:
        data += [_line(label(method), INK, look_of(methods.index(method)).dash, []) for method in shown]
    values = np.concatenate([setting.curve for setting in settings])
    wide = values.min() > 0 and values.max() > _LOG_FROM * values.min()
    scale: Spec = {"type": "log", "dtick": "D2"} if wide else {"rangemode": "tozero"}
    title = f"validation MSE, {unit}{', log scale' if wide else ''}"
    look = layout(440, xaxis=number_axis("round"), yaxis=number_axis(title) | scale)
    return {"data": data, "layout": look}


def _line(name: str, colour: str, dash: str, values: Sequence[float]) -> Spec:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": list(range(1, len(values) + 1)) or [None],
        "y": [float(f"{value:.4g}") for value in values] or [None],
        "line": {"color": colour, "dash": dash, "width": 2},
    }


def battery_traffic_plot(report: BatteryReport) -> Spec:
    """Bytes to and from all partners by number of partners, a line per group of `cost_groups`."""
    most = max(setting.cost.bytes_to_partners + setting.cost.bytes_from_partners for setting in report.settings)
    unit, size = ("GB", 1e9) if most >= 1e9 else ("MB", 1e6)
    return _cost_plot(
        report,
        f"traffic of a cell, {unit}",
        lambda setting: (setting.cost.bytes_to_partners + setting.cost.bytes_from_partners) / size,
        lambda value: data_size(round(value * size)),
    )


def battery_time_plot(report: BatteryReport) -> Spec:
    """Processor seconds of all parties by number of partners, a line per group of `cost_groups`."""
    return _cost_plot(report, "processor time of a cell, s", lambda setting: setting.cost.cpu_s, seconds)


def _cost_plot(
    report: BatteryReport, title: str, amount: Callable[[SettingResult], float], text: Callable[[float], str]
) -> Spec:
    groups = cost_groups(report)
    counts = sorted({n for by_count in groups.values() for n in by_count})
    data: list[Json] = []
    for index, (group, by_count) in enumerate(groups.items()):
        look, name = look_of(index), label(", ".join(group))
        by_place = [[amount(setting) for setting in by_count.get(n, ())] for n in counts]
        means = [float(np.mean(amounts)) if amounts else None for amounts in by_place]
        trace: Spec = {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": [str(n) for n in counts],
            "y": means,
            "line": {"color": look.colour, "dash": look.dash, "width": 2},
            "marker": {"symbol": look.symbol, "size": 8, "color": look.colour},
            "customdata": ["" if mean is None else text(mean) for mean in means],
            "hovertemplate": f"{name}, %{{x}} partners: %{{customdata}}<extra></extra>",
        }
        data.append(trace)
    axis = number_axis("partners", type="category")
    return {
        "data": data,
        "layout": layout(300 + 10 * len(data), xaxis=axis, yaxis=number_axis(title, rangemode="tozero")),
    }
