"""The battery's report as one HTML file that needs nothing else: style, script and data are inside."""

from collections.abc import Sequence

import numpy as np

from pharmonia.evaluate.battery import CellKey
from pharmonia.evaluate.battery_effects import ClaimResult
from pharmonia.evaluate.battery_leaderboard import leaderboard
from pharmonia.evaluate.battery_plots import (
    battery_curve_plot,
    battery_time_plot,
    battery_traffic_plot,
    forest_plot,
    gain_range,
    scenario_marks,
    setting_marks,
)
from pharmonia.evaluate.battery_report import BatteryReport
from pharmonia.evaluate.battery_stats import Call, SettingResult
from pharmonia.evaluate.battery_style import ANSWER_LOOK, BATTERY_CSS, SCRIPT
from pharmonia.evaluate.battery_tables import (
    budget_table,
    by_kind,
    cost_table,
    effect_table,
    how_it_was_run,
    index_table,
    mse_unit,
    scenario_table,
    setting_table,
    unfinished_table,
)
from pharmonia.evaluate.battery_wording import (
    BATTERY_ARM_MEANING,
    baseline_sentences,
    battery_headline,
    battery_limits,
    fixed_text,
    headline_note,
    not_counted,
    nothing_compared,
    rows_sentence,
    setting_name,
    share_text,
    unlike_alternatives,
    varying_fields,
    where_it_does_not_help,
)
from pharmonia.evaluate.gain import Undefined
from pharmonia.evaluate.report_html import plotly_script
from pharmonia.evaluate.report_markup import card, details, plot, table, text
from pharmonia.evaluate.report_style import CSS
from pharmonia.evaluate.wording import count_text, percent

_CUT = "Marks are means over seeds, bars 95 % intervals before the correction; full marks are clear after it (Holm)."
_EFFECTS = "Size: share of an MSE; p: two-sided, of no effect; intervals: Student's t over seeds, 95 %."
_SECTIONS = {
    "claims": "Published claims",
    "gains": "Gain per scenario",
    "not": "Where it does not help",
    "board": "Leaderboard",
    "curves": "Learning curves",
    "cost": "Cost",
    "tables": "Tables",
    "missing": "What is missing",
    "how": "How it was run",
}


def render_battery_html(report: BatteryReport) -> str:
    """A complete HTML page; loads nothing from anywhere.

    Raises:
        MissingExtraError: Plotly, whose script is put into the page, is not installed.
    """
    title = text(f"{report.description.battery}: a battery of benchmarks")
    sections = {
        "claims": _claims(report),
        "gains": _gains(report),
        "not": _not_helping(report),
        "board": leaderboard(report),
        "curves": _curves(report),
        "cost": _cost(report),
        "tables": _tables(report),
        "missing": _missing(report),
        "how": _how(report),
    }
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title>",
            f"<style>{CSS}{BATTERY_CSS}</style></head><body>",
            _top(report, [name for name, section in sections.items() if section]),
            "<main>",
            *sections.values(),
            "</main>",
            f"<footer>Made by pharmonia {text(report.description.version)}. This page is complete in itself and loads "
            "nothing from the network.</footer>",
            f"<script>{plotly_script()}</script>",
            f"<script>{SCRIPT}</script>",
            "</body></html>",
            "",
        )
    )


def _top(report: BatteryReport, sections: Sequence[str]) -> str:
    """The answer, its figures, and links to the sections that the page has."""
    d = report.description
    known = [s for s in report.settings if not isinstance(s.gain, Undefined) and not s.lacks]
    colour = "#0072B2" if report.n_settings_that(Call.BETTER) else "#6B7785"
    n_cells = report.n_cells + len(d.unfinished)
    tiles = [(f"{report.n_cells:,} of {n_cells:,}", "cells finished (setting and seed)")]
    if known:
        gains = {s.key: s.gain for s in known if not isinstance(s.gain, Undefined)}
        varying = varying_fields(report.keys)
        best, worst = max(gains, key=lambda k: gains[k].value), min(gains, key=lambda k: gains[k].value)
        middle = float(np.median([gain.value for gain in gains.values()]))
        tiles += [
            (percent(gains[best].value, sign=True), f"largest mean gain: {setting_name(best, varying)}"),
            (percent(middle, sign=True), f"median of the mean gains of {count_text(len(gains), 'setting')}"),
            (percent(gains[worst].value, sign=True), f"smallest mean gain: {setting_name(worst, varying)}"),
        ]
    items = "".join(f'<div class="tile"><dt>{text(name)}</dt><dd>{text(value)}</dd></div>' for value, name in tiles)
    links = "".join(f'<a href="#{name}">{text(title)}</a>' for name, title in _SECTIONS.items() if name in sections)
    return (
        f'<header class="top"><p class="over"><b>Pharmonia battery: {text(d.battery)}</b> · '
        f"{text(' · '.join(filter(None, (fixed_text(report.keys), d.date))))}</p>"
        f'<div class="answer" style="--verdict:{colour}"><h1>{text(battery_headline(report.settings))}</h1>'
        f"<p>{text(headline_note(report.settings, report.scenarios, report.plan))}</p></div>"
        f'<dl class="tiles">{items}</dl><nav aria-label="Parts of this page">{links}</nav>'
        "<noscript><p>Pictures and sorting need JavaScript; every number is in the tables below.</p></noscript>"
        "</header>"
    )


def _part(name: str, lead: str, *parts: str) -> str:
    """A section that the list of contents links to."""
    return f'<div id="{name}">{card(_SECTIONS[name], lead, *parts)}</div>'


def _claims(report: BatteryReport) -> str:
    cards = "".join(_claim(claim) for claim in report.claims)
    numbers = [
        details(
            claim.statement,
            f'<p class="said">{text(claim.rule)}</p>',
            f'<div class="long">{table(effect_table(claim), _EFFECTS)}</div>' if claim.effects else "",
        )
        for claim in report.claims
    ]
    lead = "The rule of each verdict and its numbers. Claims of Mittone et al. 2023 "
    behind = card("What the verdicts rest on", f"{lead}(arXiv:2302.07684).", *numbers)
    return f'<div id="claims"><div class="three">{cards}</div>{behind}</div>'


def _claim(claim: ClaimResult) -> str:
    look = ANSWER_LOOK[claim.answer]
    return (
        f'<section class="card" style="--verdict:{look.colour}"><h2 class="claim">{text(claim.statement)}</h2>'
        f'<p><span class="badge" style="--badge:{look.ink}">{text(claim.answer.value.capitalize())}</span></p>'
        f'<p class="said">{text(claim.sentence)}</p></section>'
    )


def _gains(report: BatteryReport) -> str:
    methods = _methods(report)
    marks = scenario_marks(report.scenarios)
    if not marks:
        return _part("gains", nothing_compared(report.settings))
    said = "; ".join(f"{row} {method} {share_text(gain)}, {call.value}" for row, method, gain, call in marks)
    parts = []
    for index, block in enumerate(report.blocks()):
        name = ", ".join(getattr(block[0].key, field) for field in varying_fields(report.keys))
        own = [r for r in report.scenarios if _block_of(r.key) == _block_of(block[0].key)]
        summary = scenario_marks(own)
        heading = f"<h3>{text(name)}</h3>" if name else ""
        parts.append(
            heading
            + plot(
                f"gain-{index}",
                forest_plot(summary, methods, gain_range(summary)),
                f"Gain per scenario and method, mean over numbers of partners. {said}",
                f"Mean over numbers of partners. {_CUT}",
            )
            + details("By number of partners", _forests(block, methods, index))
        )
    return _part(
        "gains",
        f"Right of zero, federating beats the best that partners could do without pooling. "
        f"{unlike_alternatives(report.settings)} {not_counted(report.settings)}".strip(),
        *parts,
        details("As a table", table(scenario_table(report), "Gain: share of the best alternative's test MSE.")),
    )


def _forests(block: Sequence[SettingResult], methods: Sequence[str], index: int) -> str:
    kinds = {kind: setting_marks(settings) for kind, settings in by_kind(block).items()}
    ends = gain_range([mark for marks in kinds.values() for mark in marks])
    pictures = []
    for place, (kind, marks) in enumerate(kinds.items()):
        if marks:
            said = "; ".join(f"{row} {method} {share_text(gain)}, {call.value}" for row, method, gain, call in marks)
            picture = plot(f"gain-{index}-{place}", forest_plot(marks, methods, ends), f"Gain, scenario {kind}: {said}")
            pictures.append(f"<div><h3>{text(kind)}</h3>{picture}</div>")
    return f'<div class="two">{"".join(pictures)}</div>'


def _block_of(key: CellKey) -> tuple[str, ...]:
    return key.dataset, key.protocol, key.model, key.norm


def _methods(report: BatteryReport) -> list[str]:
    return sorted({key.method for key in report.keys})


def _not_helping(report: BatteryReport) -> str:
    varying = varying_fields(report.keys)
    baselines = baseline_sentences(report.settings, varying)
    parts = [_list(where_it_does_not_help(report.settings, varying))]
    if baselines:
        parts += ["<h3>Baselines that see less, or learn nothing of structure</h3>", _list(baselines)]
    return _part("not", "Settings in which partners would do as well or better without federating.", *parts)


def _list(sentences: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{text(sentence)}</li>' for sentence in sentences)}</ul>"


def _curves(report: BatteryReport) -> str:
    options, pictures = [], []
    groups: dict[str, list[SettingResult]] = {}
    varying = varying_fields(report.keys)
    for setting in report.settings:
        if setting.curve.size:
            more = "".join(f", {getattr(setting.key, name)}" for name in varying)
            groups.setdefault(f"{setting.key.scenario}{more}", []).append(setting)
    if not groups:
        return ""
    for index, (name, settings) in enumerate(groups.items()):
        spec = battery_curve_plot(settings, mse_unit(report, settings), _methods(report))
        lasts = "; ".join(f"{setting_name(s.key, ())} {s.curve.min():.3f}" for s in settings)
        options.append(f'<option value="{index}">{text(name)}</option>')
        pictures.append(
            f'<div data-of="curves" data-part="{index}"{" hidden" if index else ""}>'
            + plot(f"curve-{index}", spec, f"Validation MSE by round, scenario {name}. Lowest: {lasts}.")
            + "</div>"
        )
    choice = (
        '<div class="tools"><label for="curve-choice">Scenario</label>'
        f'<select id="curve-choice" data-choice="curves">{"".join(options)}</select></div>'
    )
    return _part(
        "curves",
        "Validation MSE of the federated model after each round, mean over seeds; a run that stopped early keeps its "
        "best.",
        choice,
        *pictures,
    )


def _cost(report: BatteryReport) -> str:
    if not any(setting.federated_mse for setting in report.settings):
        return ""
    return _part(
        "cost",
        "Of the federated arm in one cell, all parties together; means over settings with a federated arm and seeds.",
        '<div class="pair">',
        plot("traffic", battery_traffic_plot(report), "Traffic by number of partners; see the table."),
        plot("time", battery_time_plot(report), "Processor time by number of partners; see the table."),
        "</div>",
        details(
            "As a table",
            table(
                cost_table(report),
                "Traffic of all partners; sum error: difference of a secure sum from the float64 sum, relative. "
                "Processor time of another arm: of its own training, all partners together.",
            ),
        ),
    )


def _tables(report: BatteryReport) -> str:
    parts = []
    for kind, settings in by_kind(report.settings).items():
        unit = mse_unit(report, settings)
        parts.append(
            details(
                f"{kind}: {count_text(len(settings), 'setting')}",
                table(setting_table(report, settings), f"Mean test MSE over seeds, in {unit}; gains are shares of it."),
                table(index_table(report, settings), "Mean concordance index over seeds, 0 to 1; higher is better."),
            )
        )
    meanings = [f"{arm.value}: {BATTERY_ARM_MEANING[arm]}" for arm in report.arms]
    return _part("tables", "Every arm in every setting, scenario by scenario.", *parts, _list(meanings))


def _missing(report: BatteryReport) -> str:
    left = report.description.unfinished
    if not left:
        return _part("missing", "Every cell of the battery is finished.")
    lead = f"{count_text(len(left), 'cell')} without an outcome; nothing above counts them."
    return _part("missing", lead, details("Which, and why", table(unfinished_table(report), "Cells not finished.")))


def _how(report: BatteryReport) -> str:
    mono = ("Command", "SHA-256")
    entries = "".join(
        f"<dt>{text(name)}</dt><dd>{f'<code>{text(said)}</code>' if name.startswith(mono) else text(said)}</dd>"
        for name, said in how_it_was_run(report)
    )
    notes = (*report.description.notes, *filter(None, [rows_sentence(report.settings)]))
    return _part(
        "how",
        "Enough to judge it and to run it again.",
        f'<dl class="how">{entries}</dl>',
        _list(notes),
        table(budget_table(report), "How long each may train."),
    ) + card("What this does not show", "", _list(battery_limits(report.settings, report.plan)))
