"""The battery's report as Markdown."""

from pharmonia.evaluate.battery_effects import ClaimResult
from pharmonia.evaluate.battery_ranks import rank_note
from pharmonia.evaluate.battery_report import BatteryReport
from pharmonia.evaluate.battery_tables import (
    budget_table,
    by_kind,
    cost_table,
    effect_table,
    how_it_was_run,
    index_table,
    mse_unit,
    rank_table,
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
    rows_sentence,
    unlike_alternatives,
    varying_fields,
    where_it_does_not_help,
)
from pharmonia.evaluate.report_text import Rows, _bullets, _plain, _section

_SHOWN_EFFECTS = 5


def render_battery_markdown(report: BatteryReport) -> str:
    """The whole report as Markdown with tables; verdicts first."""
    varying = varying_fields(report.keys)
    lines = [
        f"# {_plain(battery_headline(report.settings))}",
        "",
        _plain(headline_note(report.settings, report.scenarios, report.plan)),
        "",
        f"Battery {_plain(report.description.battery)}. Equal in all settings: "
        f"{_plain(fixed_text(report.keys) or 'nothing')}.",
        "",
        "## Three published claims, put to the test",
        "",
        "Claims of Mittone et al. 2023 (arXiv:2302.07684).",
        "",
    ]
    for claim in report.claims:
        lines += _claim(claim)
    if report.scenarios:
        lines += _section("Gain per scenario and method, mean over numbers of partners", scenario_table(report))
    lines += _note(unlike_alternatives(report.settings))
    lines += _note(not_counted(report.settings))
    lines += ["## Where federating does not help", ""]
    lines += _bullets(where_it_does_not_help(report.settings, varying))
    lines += _bullets(baseline_sentences(report.settings, varying))
    lines += _section("Methods, best first", rank_table(report))
    lines += _note(rank_note(report.settings) if len(report.ranks) > 1 else "")
    for kind, settings in by_kind(report.settings).items():
        title = f"Scenario {kind}, mean test MSE in {mse_unit(report, settings)}"
        lines += _section(title, setting_table(report, settings))
        lines += [f"Mean concordance index over seeds, scenario {_plain(kind)}, 0 to 1; higher is better.", ""]
        lines += [*_table(index_table(report, settings)), ""]
    lines += _bullets(f"{arm.value}: {BATTERY_ARM_MEANING[arm]}" for arm in report.arms)
    if any(setting.federated_mse for setting in report.settings):
        lines += _section("Cost of the federated arm, all parties together, mean of a cell", cost_table(report))
    lines += _missing(report)
    lines += _how(report)
    return "\n".join(lines) + "\n"


def _claim(claim: ClaimResult) -> list[str]:
    lines = [f"### {_plain(claim.statement)}", "", f"**{claim.answer.value.capitalize()}.** {_plain(claim.sentence)}"]
    lines += ["", _plain(claim.rule), ""]
    if claim.effects:
        lines += [*_table(effect_table(claim)[: _SHOWN_EFFECTS + 1]), ""]
    if len(claim.effects) > _SHOWN_EFFECTS:
        lines += [f"The largest {_SHOWN_EFFECTS} of {len(claim.effects)}; the rest is in report.html.", ""]
    return lines


def _note(sentence: str) -> list[str]:
    return [_plain(sentence), ""] if sentence else []


def _table(rows: Rows) -> list[str]:
    return _section("", rows)[3:-1]


def _missing(report: BatteryReport) -> list[str]:
    lines = ["## What is missing", ""]
    if not report.description.unfinished:
        return [*lines, "Every cell of the battery is finished.", ""]
    return [*lines, *_table(unfinished_table(report)), ""]


def _how(report: BatteryReport) -> list[str]:
    notes = (*report.description.notes, *filter(None, [rows_sentence(report.settings)]))
    return [
        "## How it was run",
        "",
        *_bullets(f"{name}: {text}" for name, text in how_it_was_run(report)),
        *_bullets(notes),
        *_section("How long each may train", budget_table(report)),
        "## What this does not show",
        "",
        *_bullets(battery_limits(report.settings, report.plan)),
    ]
