"""A comparison's results as files."""

import json
from dataclasses import dataclass
from pathlib import Path

from pharmonia.base.errors import InputError
from pharmonia.evaluate.report import Report
from pharmonia.evaluate.report_html import render_html
from pharmonia.evaluate.report_json import report_to_json
from pharmonia.evaluate.report_text import render_markdown
from pharmonia.run.files import write_whole

COMPARISON_FILE = "results.json"  # of every comparison, of pairs or of many tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Where the results lie.

    Args:
        results: All figures as JSON.
        markdown: The report as text.
        html: The report with pictures, in one file.
    """

    results: Path
    markdown: Path
    html: Path


def refuse_other_results(folder: Path, dataset: str) -> None:
    """Refuse a folder that holds the results of another data set: files that its comparison does not write would stay.

    Raises:
        InputError: It does; names both.
    """
    path = folder / COMPARISON_FILE
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        found = str(results["run"]["dataset"] if "run" in results else results["title"].split()[0])  # of many tasks
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return  # none, or of nobody that can be told
    if found != dataset:
        raise InputError(
            f"{path} holds the results of {found}, which those of {dataset} would replace; use another --out"
        )


def write_outputs(report: Report, folder: Path) -> Written:
    """Write results.json, report.md and report.html, each whole or not at all.

    Raises:
        InputError: A file cannot be written.
    """
    written = Written(results=folder / COMPARISON_FILE, markdown=folder / "report.md", html=folder / "report.html")
    results = json.dumps(report_to_json(report), indent=1, allow_nan=False) + "\n"
    for path, text in (
        (written.results, results),
        (written.markdown, render_markdown(report)),
        (written.html, render_html(report)),
    ):
        write_whole(path, text.encode())
    return written
