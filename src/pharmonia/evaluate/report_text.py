"""The report for a terminal and as Markdown."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pharmonia.evaluate.gain import Comparison, Figure, TestRows, Undefined, Verdict
from pharmonia.evaluate.metrics import Metric
from pharmonia.evaluate.outcome import Arm
from pharmonia.evaluate.report import Report
from pharmonia.evaluate.wording import (
    ARM_MEANING,
    NO_NUMBER,
    ROWS_MEANING,
    agreement_sentence,
    cost_sentence,
    data_size,
    headline,
    how_it_was_done,
    limits,
    metric_text,
    percent_text,
    pooling_sentence,
    seconds,
    seed_sentence,
    sums_sentence,
    verdict_sentence,
)

Rows = list[tuple[str, ...]]
_STYLES = {
    Verdict.GAINS: "bold green",
    Verdict.LOSES: "bold red",
    Verdict.NO_DIFFERENCE: "bold",
    Verdict.TOO_FEW_ROWS: "dim",
}


def score_table(comparison: Comparison) -> Rows:
    """Header, then one line per arm: the four metrics with their intervals."""
    header = ("arm", *(f"{m.label} ({'lower' if m.lower_is_better else 'higher'} is better)" for m in Metric))
    lines = [
        (scores.arm.value, *(metric_text(scores.of(metric), metric) for metric in Metric))
        for scores in comparison.scores
    ]
    return [header, *lines]


def gain_table(comparisons: Sequence[Comparison]) -> Rows:
    """Header, then one line per comparison: errors of the arms, gains and verdict."""
    header = (
        "partner",
        "test rows",
        *(f"MSE {arm.value}" for arm in Arm),
        "gain over best alternative",
        "gain over alone",
        "verdict",
    )
    lines = [
        (
            comparison.partner or "all together",
            f"{comparison.n_rows:,}",
            *(_point(scores.mse) for scores in comparison.scores),
            percent_text(comparison.gain),
            percent_text(comparison.gain_over_alone),
            comparison.verdict.value,
        )
        for comparison in comparisons
    ]
    return [header, *lines]


def ownership_table(report: Report) -> Rows:
    """Header, then one line per partner: rows by split, compounds and targets."""
    header = ("partner", "train rows", "valid rows", "test rows", "compounds", "targets")
    return [
        header,
        *(
            (h.partner, *(f"{n:,}" for n in (h.n_train, h.n_valid, h.n_test, h.n_compounds, h.n_targets)))
            for h in report.holdings.partners
        ),
    ]


def cost_table(report: Report) -> Rows:
    """Header, then one line per trained arm: rounds, time and traffic of all partners together."""
    header = ("arm", "rounds", "wall time", "processor time", "to partners", "from partners")
    return [
        header,
        *(
            (
                cost.arm.value,
                f"{cost.n_rounds}",
                seconds(cost.wall_s),
                seconds(cost.cpu_s),
                data_size(cost.bytes_to_partners),
                data_size(cost.bytes_from_partners),
            )
            for cost in report.costs
        ),
    ]


def render_terminal(report: Report) -> RenderableType:
    """The answer, the scores, the gain per partner and the cost, to print with Rich."""
    measure = report.description.measure
    summary = [pooling_sentence(report), cost_sentence(report.costs), seed_sentence(report)]
    parts: list[RenderableType] = [
        Text(headline(report), style=_STYLES[report.overall.verdict]),
        Text(" ".join(line for line in summary if line)),
        _rich_table(f"Scores on {ROWS_MEANING[TestRows.OWN]}; MSE in ({measure})²", _narrow_scores(report.overall)),
        _rich_table(f"MSE and gain over the best alternative, {ROWS_MEANING[TestRows.OWN]}", _narrow_gains(report)),
    ]
    if report.costs:
        parts.append(_rich_table("Cost, all partners together", cost_table(report)))
    parts.append(Text(f"Sums. {sums_sentence(report)}"))
    parts.append(Text(f"Agreement. {agreement_sentence(report.description)}"))
    return Group(*parts)


def render_markdown(report: Report) -> str:
    """The whole report as Markdown with tables."""
    d, measure = report.description, report.description.measure
    lines = [
        f"# {_plain(headline(report))}",
        "",
        " ".join(filter(None, (pooling_sentence(report), cost_sentence(report.costs), seed_sentence(report)))),
        "",
        *_bullets(verdict_sentence(c) for c in report.of_partners(TestRows.OWN)),
        *_section("Who owns what", ownership_table(report)),
        *_section(f"Scores, {ROWS_MEANING[TestRows.OWN]}, MSE in ({measure})²", score_table(report.overall)),
        *_section(f"Scores, {ROWS_MEANING[TestRows.ALL]}, MSE in ({measure})²", score_table(report.comparisons[1])),
        *_bullets(f"{arm.value}: {meaning}" for arm, meaning in ARM_MEANING.items()),
        *_section(f"Gain per partner, {ROWS_MEANING[TestRows.OWN]}", gain_table(report.of_partners(TestRows.OWN))),
        *_section(f"Gain per partner, {ROWS_MEANING[TestRows.ALL]}", gain_table(report.of_partners(TestRows.ALL))),
        *_section("Cost, all partners together", cost_table(report)),
        "## How it was done",
        "",
        *_bullets(f"{name}: {text}" for name, text in how_it_was_done(report)),
        *_bullets(f"{name}: {text}" for name, text in provenance(report)),
        "",
        "## What this does not show",
        "",
        *_bullets(limits(d)),
    ]
    return "\n".join(lines) + "\n"


def provenance(report: Report) -> tuple[tuple[str, str], ...]:
    """(heading, text) pairs: versions, command, licence, citation and digests."""
    d = report.description
    return (
        ("Command", d.command),
        ("Made with", f"pharmonia {d.version}, {d.date}, on {d.machine}"),
        ("Data licence", d.licence),
        *([("Data citation", d.citation)] if d.citation else []),
        *((f"SHA-256 of {name}", digest) for name, digest in d.digests),
    )


def _narrow_scores(comparison: Comparison) -> Rows:
    """The table of scores for 80 columns: an arrow for what is better, intervals on a second line."""
    arrows = (f"{metric.label} {'↓' if metric.lower_is_better else '↑'}" for metric in Metric)
    return [("arm", *arrows), *((row[0], *map(_two_lines, row[1:])) for row in score_table(comparison)[1:])]


def _narrow_gains(report: Report) -> Rows:
    """The table of gains for 80 columns: short headers, no gain over alone, intervals on a second line."""
    header = ("partner", "rows", *(arm.value for arm in Arm), "gain", "verdict")
    lines = gain_table(report.of_partners(TestRows.OWN))[1:]
    return [header, *((row[0], *map(_two_lines, row[1:7]), row[8]) for row in lines)]


def _two_lines(cell: str) -> str:
    return cell.replace(" (", "\n").removesuffix(")")


def _point(figure: Figure) -> str:
    return NO_NUMBER if isinstance(figure, Undefined) else f"{figure.value:.3f}"


def _rich_table(title: str, rows: Rows) -> Table:
    table = Table(
        title=Text(title),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column(Text(rows[0][0]), overflow="fold", min_width=min(12, max(len(row[0]) for row in rows)))
    for name in rows[0][1:]:
        table.add_column(Text(name), justify="right")
    for row in rows[1:]:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _section(title: str, rows: Rows) -> list[str]:
    table = [f"| {' | '.join(_plain(cell) for cell in row)} |" for row in rows]
    rule = f"| --- |{' ---: |' * (len(rows[0]) - 1)}"
    return ["", f"## {_plain(title)}", "", table[0], rule, *table[1:], ""]


def _bullets(sentences: Iterable[str]) -> list[str]:
    return [f"- {_plain(sentence)}" for sentence in sentences]


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: one line, nothing read as markup or HTML."""
    marks: dict[str, str | int | None] = {mark: f"\\{mark}" for mark in "\\`*_[]|#"}
    marks.update({"<": "&lt;", ">": "&gt;", "&": "&amp;"})
    return " ".join(text.translate(str.maketrans(marks)).split())
