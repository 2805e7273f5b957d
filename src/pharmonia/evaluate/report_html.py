"""The report as one HTML file that needs nothing else: style, data and Plotly's script are inside."""

import numpy as np

from pharmonia.base.errors import MissingExtraError
from pharmonia.evaluate.gain import Estimate, Figure, TestRows
from pharmonia.evaluate.metrics import Metric
from pharmonia.evaluate.outcome import Arm, Cost
from pharmonia.evaluate.report import Report
from pharmonia.evaluate.report_arm_plots import agreement_plot, curve_plot, error_plot, time_plot, traffic_plot
from pharmonia.evaluate.report_markup import card, details, plot, table, text, two_lines
from pharmonia.evaluate.report_partner_plots import LOWEST_GAIN, gain_plot, ownership_plot, sharing_plot
from pharmonia.evaluate.report_style import ARM_LOOK, CSS, VERDICT_LOOK
from pharmonia.evaluate.report_text import cost_table, gain_table, ownership_table, provenance, score_table
from pharmonia.evaluate.wording import (
    ARM_MEANING,
    NO_NUMBER,
    ROWS_MEANING,
    cost_sentence,
    data_size,
    headline,
    how_it_was_done,
    limits,
    metric_text,
    partner_count,
    percent,
    pooling_sentence,
    seconds,
    seed_sentence,
    verdict_sentence,
)

DRAW = """
for (const place of document.querySelectorAll('.plot')) {
  const spec = JSON.parse(document.getElementById(place.id + '-data').textContent);
  Plotly.newPlot(place, spec.data, spec.layout, {responsive: true, displayModeBar: false});
}
"""


def render_html(report: Report) -> str:
    """A complete HTML page; loads nothing from anywhere.

    Raises:
        MissingExtraError: Plotly, whose script is put into the page, is not installed.
    """
    title = text(f"{report.description.dataset}: who gains from federating")
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title>",
            f"<style>{CSS}</style></head><body>",
            _answer(report),
            "<main>",
            _partners(report),
            _arms(report),
            _scores(report),
            _agreement(report),
            _sharing(report),
            _cost(report),
            _method(report),
            "</main>",
            _footer(report),
            f"<script>{plotly_script()}</script>",
            f"<script>{DRAW}</script>",
            "</body></html>",
            "",
        )
    )


def plotly_script() -> str:
    """Plotly itself, so that a page needs no network.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs  # noqa: PLC0415  # in an extra: needed for this page only
    except ImportError as error:
        raise MissingExtraError("the HTML report needs Plotly: pip install '.[web]' in Pharmonia's checkout") from error
    return str(get_plotlyjs())


def _answer(report: Report) -> str:
    d, verdict = report.description, VERDICT_LOOK[report.overall.verdict]
    facts = " · ".join(
        (f"{len(report.holdings.partners)} partners, partition {d.partition}", f"{d.split} split", d.date)
    )
    sentences = (pooling_sentence(report), cost_sentence(report.costs), seed_sentence(report))
    return (
        f'<header class="top"><p class="over"><b>Pharmonia comparison: {text(d.dataset)}</b> · {text(facts)}</p>'
        f'<div class="answer" style="--verdict:{verdict.colour}"><h1>{text(headline(report))}</h1>'
        f"<p>{text(' '.join(filter(None, sentences)))}</p></div>{_tiles(report)}</header>"
    )


def _tiles(report: Report) -> str:
    overall = report.overall
    best = overall.best_alternative
    errors = {scores.arm: scores.mse for scores in overall.scores}
    unit = Metric.MSE.unit(report.description.measure)
    tiles = [
        (_value(errors[Arm.FEDERATED]), f"federated error, MSE in {unit}"),
        (
            _value(errors[best]) if best else NO_NUMBER,
            f"best alternative: {best.value if best else 'none'}, MSE in {unit}",
        ),
        (_value(errors[Arm.POOLED]), f"pooled, the ceiling, MSE in {unit}"),
        (partner_count(report).split(" partners")[0], "partners gain on their own held-out rows"),
    ]
    items = "".join(f'<div class="tile"><dt>{text(name)}</dt><dd>{text(value)}</dd></div>' for value, name in tiles)
    return f'<dl class="tiles">{items}</dl>'


def _value(figure: Figure) -> str:
    return f"{figure.value:.3f}" if isinstance(figure, Estimate) else NO_NUMBER


def _partners(report: Report) -> str:
    own = report.of_partners(TestRows.OWN)
    cut = any(isinstance(c.gain, Estimate) and c.gain.low < LOWEST_GAIN for c in own)
    note = f" What lies below {percent(LOWEST_GAIN)} is cut off." if cut else ""
    gains = " ".join(verdict_sentence(comparison) for comparison in own)
    owns = "; ".join(
        f"{h.partner}: {h.n_train:,} train, {h.n_valid:,} valid, {h.n_test:,} test" for h in report.holdings.partners
    )
    return (
        '<div class="row">'
        + card(
            "Who owns what",
            "Measured interactions of each partner, by what they are used for.",
            plot("ownership", ownership_plot(report), f"Rows per partner by split. {owns}."),
        )
        + card(
            "Who gains",
            "Right of zero, federating beats the best that is possible without pooling.",
            plot(
                "gain",
                gain_plot(report),
                f"Gain per partner with 95 % intervals. {gains}",
                f"On {ROWS_MEANING[TestRows.OWN]}; bars are 95 % intervals.{note}",
            ),
        )
        + "</div>"
    )


def _arms(report: Report) -> str:
    ends = "; ".join(
        f"{c.arm.value} {c.valid_mse[c.best_round]:.3f} after round {c.best_round + 1}"
        for c in report.curves
        if c.partner is None
    )
    errors = "; ".join(f"{scores.arm.value} {metric_text(scores.mse, Metric.MSE)}" for scores in report.overall.scores)
    return (
        '<div class="row">'
        + card(
            "How they learned",
            "Error on validation rows after each round; marks are the models that were kept, thin lines single "
            "partners alone.",
            plot("curves", curve_plot(report), f"Validation MSE by round. Best: {ends}."),
        )
        + card(
            "Error on the test rows",
            "All partners together, each row by its owner's model; bars are 95 % intervals.",
            plot("errors", error_plot(report), f"Test MSE by arm with 95 % intervals: {errors}."),
        )
        + "</div>"
    )


def _scores(report: Report) -> str:
    unit = Metric.MSE.unit(report.description.measure)
    lines = []
    for scores in report.overall.scores:
        look = ARM_LOOK[scores.arm]
        cells = "".join(f"<td>{two_lines(metric_text(scores.of(metric), metric))}</td>" for metric in Metric)
        lines.append(
            f'<tr class="{scores.arm.value}"><th scope="row"><span class="key" style="background:{look.colour}">'
            f'</span>{scores.arm.value}<span class="meaning">{text(ARM_MEANING[scores.arm])}</span></th>{cells}</tr>'
        )
    head = "".join(f'<th scope="col">{text(cell)}</th>' for cell in score_table(report.overall)[0])
    caption = f"Values with 95 % intervals on {ROWS_MEANING[TestRows.OWN]}; MSE in {unit}."
    main = (
        f'<div class="scroll"><table><caption>{text(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
    everyone = f"On {ROWS_MEANING[TestRows.ALL]}; alone is the mean over the partners; MSE in {unit}."
    return card(
        "Scores",
        "Four ways to get a model, judged on the same test rows.",
        main,
        details("The same on everyone's rows", table(score_table(report.comparisons[1]), everyone)),
        *(
            details(
                f"Partner by partner on {ROWS_MEANING[rows]}",
                table(gain_table(report.of_partners(rows)), f"MSE in {unit}; gains are cuts in MSE."),
            )
            for rows in TestRows
        ),
    )


def _agreement(report: Report) -> str:
    pictures = "".join(
        f"<div><h3>{arm.value}</h3>"
        + plot(
            f"agreement-{arm.value}",
            agreement_plot(report, arm),
            f"Measured against predicted {report.description.measure}, {arm.value}: counts of test rows.",
        )
        + "</div>"
        for arm in Arm
    )
    return card(
        "Measured against predicted",
        "Test rows, darker where there are more; on the dotted line a prediction is perfect. Only counts "
        "per cell are kept, without compound or target.",
        f'<div class="quad">{pictures}</div>',
    )


def _sharing(report: Report) -> str:
    n = len(report.holdings.partners)
    if n == 1:
        return ""
    parts = []
    for what in ("compounds", "targets"):
        matrix = getattr(report.holdings, f"shared_{what}")
        shared = matrix[np.triu_indices(n, k=1)]
        said = f"Two partners share {int(shared.min()):,} to {int(shared.max()):,} {what}."
        if not shared.any():
            said = f"No two partners share any of their {what}."
        parts.append(
            f"<div><h3>{what.capitalize()}</h3>" + plot(what, sharing_plot(report, what), said, said) + "</div>"
        )
    return card(
        "What partners have in common",
        "Compounds and targets that two partners both own; the diagonal is what one partner owns.",
        f'<div class="pair">{"".join(parts)}</div>',
        details("As a table", table(ownership_table(report), "Rows, compounds and targets of each partner.")),
    )


def _cost(report: Report) -> str:
    if not report.costs:
        return ""
    n_seeds = len(report.description.seeds)
    said = {cost.arm: _cost_words(cost) for cost in report.costs}
    words = "; ".join(f"{arm.value} {text}" for arm, text in said.items())
    return card(
        "What it cost",
        f"All partners together{f', mean over {n_seeds} seeds' if n_seeds > 1 else ''}. Pooling moves the data "
        "itself, once, which is not counted as traffic.",
        '<div class="pair">',
        plot("traffic", traffic_plot(report), f"Traffic by arm: {words}."),
        plot("time", time_plot(report), f"Seconds by arm: {words}."),
        "</div>",
        details("As a table", table(cost_table(report), "Rounds, time and traffic of each arm.")),
    )


def _cost_words(cost: Cost) -> str:
    traffic = f"{data_size(cost.bytes_to_partners)} to and {data_size(cost.bytes_from_partners)} from partners"
    return f"{traffic}, {seconds(cost.wall_s)} wall and {seconds(cost.cpu_s)} processor time"


def _method(report: Report) -> str:
    pairs = (*how_it_was_done(report), *provenance(report))
    mono = ("Command", "SHA-256")
    entries = "".join(
        f"<dt>{text(name)}</dt><dd>{f'<code>{text(said)}</code>' if name.startswith(mono) else text(said)}</dd>"
        for name, said in pairs
    )
    items = "".join(f"<li>{text(limit)}</li>" for limit in limits(report.description))
    return card("How it was done", "Enough to judge it and to run it again.", f'<dl class="how">{entries}</dl>') + (
        f'<section class="card"><h2>What this does not show</h2><ul>{items}</ul></section>'
    )


def _footer(report: Report) -> str:
    d = report.description
    return (
        f"<footer>Made by pharmonia {text(d.version)}. This page is complete in itself and loads nothing from the "
        "network. Metrics: MSE, mean squared error; concordance index, share of pairs in the right order; "
        "Pearson r; r²m, modified squared correlation.</footer>"
    )
