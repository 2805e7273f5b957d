"""Results of a comparison on many tasks as files."""

import json
from dataclasses import dataclass
from pathlib import Path

from pharmonia.bench.output import COMPARISON_FILE
from pharmonia.evaluate.qsar_csv import left_out_csv, tasks_csv
from pharmonia.evaluate.qsar_html import render_qsar_html
from pharmonia.evaluate.qsar_json import qsar_report_to_json
from pharmonia.evaluate.qsar_report import QsarReport
from pharmonia.evaluate.qsar_text import render_qsar_markdown
from pharmonia.run.files import write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class QsarWritten:
    """Where the results lie.

    Args:
        results: All figures as JSON.
        tasks: Every task of every partner and arm as CSV.
        left_out: Tasks of partners that are not trained or do not count, with reasons.
        markdown: The report as text.
        html: The report with pictures, in one file.
    """

    results: Path
    tasks: Path
    left_out: Path
    markdown: Path
    html: Path


def write_qsar_outputs(report: QsarReport, folder: Path) -> QsarWritten:
    """Write results.json, tasks.csv, left_out.csv, report.md and report.html, each whole or not at all.

    Raises:
        InputError: A file cannot be written.
    """
    written = QsarWritten(
        results=folder / COMPARISON_FILE,
        tasks=folder / "tasks.csv",
        left_out=folder / "left_out.csv",
        markdown=folder / "report.md",
        html=folder / "report.html",
    )
    results = json.dumps(qsar_report_to_json(report), indent=1, allow_nan=False) + "\n"
    write_whole(written.results, results.encode())
    write_whole(written.tasks, tasks_csv(report))
    write_whole(written.left_out, left_out_csv(report))
    write_whole(written.markdown, render_qsar_markdown(report).encode())
    write_whole(written.html, render_qsar_html(report).encode())
    return written
