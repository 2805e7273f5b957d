"""A comparison on many tasks for a terminal and as Markdown."""

from rich.console import Group, RenderableType
from rich.text import Text

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
from pharmonia.evaluate.report_text import Rows, _bullets, _plain, _rich_table, _section


def render_qsar_terminal(report: QsarReport) -> RenderableType:
    """The answer, the arms, the gains and the partners, to print with Rich."""
    parts: list[RenderableType] = [Text(qsar_headline(report), style="bold")]
    for kind in report.kinds:
        parts += [
            _rich_table(f"{kind.kind.capitalize()}: means over {kind.n_tasks} tasks", means_table(report, kind)),
            _rich_table("Gains", _narrow(gain_table(kind))),
            _rich_table("Federated by partner", _narrow(_columns(group_table(kind, kind.partners, "partner"), 5))),
            Text(" ".join(filter(None, (amount_sentence(kind), conformal_sentence(kind))))),
        ]
    parts.append(_rich_table("Cost, all partners and seeds together", qsar_cost_table(report)))
    return Group(*parts)


def render_qsar_markdown(report: QsarReport) -> str:
    """The whole report as Markdown with tables."""
    d = report.description
    lines = [f"# {_plain(d.title)}", "", _plain(qsar_headline(report)), ""]
    lines += _bullets([*(partners_sentence(kind) for kind in report.kinds), ensemble_sentence(report)])
    lines += _section("Who has what, under the first seed", holding_table(report))
    for kind in report.kinds:
        lines += _kind(report, kind)
    lines += _bullets(f"{arm.value}: {QSAR_ARM_MEANING[arm]}" for arm in report.table.arms)
    lines += _section("Cost, all partners and seeds together", qsar_cost_table(report))
    lines += ["## No test compound was trained on", "", *_bullets(d.leaks)]
    lines += _section("Partners' tasks that are not trained or do not count, over all seeds", left_out_table(report))
    lines += ["Each of them is in left_out.csv.", ""]
    lines += ["## How it was done", "", *_bullets(f"{name}: {text}" for name, text in d.facts)]
    lines += ["", "## What this does not show", "", *_bullets(qsar_limits(report))]
    return "\n".join(lines) + "\n"


def _kind(report: QsarReport, kind: KindReport) -> list[str]:
    name = kind.kind.capitalize()
    lines = _section(f"{name}: means over {kind.n_tasks} tasks of {kind.n_assays} assays", means_table(report, kind))
    lines += _section(f"{name}: gains", gain_table(kind))
    lines += _section(f"{name}: by partner", group_table(kind, kind.partners, "partner"))
    if len(kind.assay_types) > 1:
        lines += _section(f"{name}: by assay type", group_table(kind, kind.assay_types, "assay type"))
    lines += _section(f"{name}: by amount of data", amount_table(kind))
    lines += [_plain(amount_sentence(kind)), ""]
    said = conformal_sentence(kind)
    return [*lines, *([f"Applicability domain. {_plain(said)}", ""] if said else [])]


def _narrow(rows: Rows) -> Rows:
    """Intervals on a second line, for 80 columns."""
    return [rows[0], *(tuple(cell.replace(" (", "\n").removesuffix(")") for cell in row) for row in rows[1:])]


def _columns(rows: Rows, n: int) -> Rows:
    return [row[:n] for row in rows]
