"""A comparison on many tasks as one HTML file that needs nothing else: style, script and data are inside."""

from pharmonia.evaluate.qsar_plots import arm_plot, partner_plot, task_plot
from pharmonia.evaluate.qsar_report import KindReport, QsarReport
from pharmonia.evaluate.qsar_tables import (
    amount_table,
    gain_table,
    group_table,
    holding_table,
    left_out_table,
    means_table,
    qsar_cost_table,
)
from pharmonia.evaluate.qsar_wording import (
    QSAR_ARM_MEANING,
    amount_sentence,
    conformal_sentence,
    ensemble_sentence,
    partners_sentence,
    qsar_headline,
    qsar_limits,
)
from pharmonia.evaluate.report_html import DRAW, plotly_script
from pharmonia.evaluate.report_markup import card, details, plot, table, text
from pharmonia.evaluate.report_style import CSS

_COLOUR = "#0072B2"


def render_qsar_html(report: QsarReport) -> str:
    """A complete HTML page; loads nothing from anywhere.

    Raises:
        MissingExtraError: Plotly, whose script is put into the page, is not installed.
    """
    d = report.description
    said = " ".join([*map(partners_sentence, report.kinds), ensemble_sentence(report)])
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{text(d.title)}</title>",
            f"<style>{CSS}</style></head><body>",
            f'<header class="top"><p class="over"><b>Pharmonia comparison</b> · {text(d.title)} · {d.n_seeds} seeds</p>'
            f'<div class="answer" style="--verdict:{_COLOUR}"><h1>{text(qsar_headline(report))}</h1>'
            f"<p>{text(said)}</p></div></header>",
            "<main>",
            *(_kind(report, kind) for kind in report.kinds),
            _partners(report),
            _cost(report),
            _proof(report),
            _how(report),
            "</main>",
            f"<script>{plotly_script()}</script>",
            f"<script>{DRAW}</script>",
            "</body></html>",
            "",
        )
    )


def _kind(report: QsarReport, kind: KindReport) -> str:
    name, where = kind.kind.capitalize(), f"{kind.n_tasks} tasks of {kind.n_assays} assays"
    means = ", ".join(f"{row[0]} {kind_mean}" for row, kind_mean in _headline_means(report, kind))
    meanings = "".join(f"<li>{text(arm.value)}: {text(QSAR_ARM_MEANING[arm])}</li>" for arm in report.table.arms)
    arms = card(
        f"{name}: {where}",
        f"Means of the {kind.metric.label} on the same test compounds, seeds averaged per task first.",
        plot(f"{kind.kind}-arms", arm_plot(kind), f"Mean {kind.metric.label}: {means}."),
        f"<ul>{meanings}</ul>",
        details("All metrics", table(means_table(report, kind), "Means over the tasks; arrows say what is better.")),
    )
    gains = card(
        f"{name}: gains",
        "Nearer to perfection: (new - base) / (perfect - base). Intervals resample assays; p is Wilcoxon's over them.",
        table(gain_table(kind), "One arm against another."),
        f'<p class="lead">{text(conformal_sentence(kind))}</p>' if kind.conformal else "",
    )
    types = ""
    if len(kind.assay_types) > 1:
        rows = group_table(kind, kind.assay_types, "assay type")
        types = details("By assay type", table(rows, "Federated against alone."))
    partners = card(
        f"{name}: by partner",
        partners_sentence(kind),
        plot(f"{kind.kind}-partners", partner_plot(kind), partners_sentence(kind)),
        details("As a table", table(group_table(kind, kind.partners, "partner"), "Federated against alone.")),
        types,
    )
    amount = card(
        f"{name}: by amount of data",
        amount_sentence(kind),
        plot(f"{kind.kind}-tasks", task_plot(report.table, kind), amount_sentence(kind), "A dot is a partner's task."),
        details("As a table", table(amount_table(kind), "Quarters of the tasks, the scarcest first.")),
    )
    return arms + gains + partners + amount


def _headline_means(report: QsarReport, kind: KindReport) -> list[tuple[tuple[str, ...], str]]:
    rows = means_table(report, kind)
    place = next(index for index, cell in enumerate(rows[0]) if cell.startswith(f"{kind.metric.label} "))
    return [(row, row[place]) for row in rows[1:]]


def _partners(report: QsarReport) -> str:
    return card(
        "Who has what",
        "Under the first seed; each seed shares out anew.",
        table(holding_table(report), "Compounds, labels and tasks of each partner."),
        details("Tasks that are not trained or do not count", table(left_out_table(report), "Over all seeds.")),
    )


def _cost(report: QsarReport) -> str:
    return card(
        "What it cost", "All partners and seeds together.", table(qsar_cost_table(report), "Of the trained arms.")
    )


def _proof(report: QsarReport) -> str:
    items = "".join(f"<li>{text(line)}</li>" for line in report.description.leaks)
    return card("No test compound was trained on", "Checked before anything trains.", f"<ul>{items}</ul>")


def _how(report: QsarReport) -> str:
    entries = "".join(f"<dt>{text(name)}</dt><dd>{text(said)}</dd>" for name, said in report.description.facts)
    items = "".join(f"<li>{text(limit)}</li>" for limit in qsar_limits(report))
    return card("How it was done", "Enough to judge it and to run it again.", f'<dl class="how">{entries}</dl>') + card(
        "What this does not show", "Before anybody decides by it.", f"<ul>{items}</ul>"
    )
