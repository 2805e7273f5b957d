"""Pieces of the HTML report; every text that came from outside passes through `text`."""

import html
import json

from pharmonia.evaluate.report_axes import Spec
from pharmonia.evaluate.report_text import Rows


def text(words: str) -> str:
    """User text as HTML text or attribute value."""
    return html.escape(words, quote=True)


def plot(name: str, spec: Spec, description: str, caption: str = "") -> str:
    """A place for one picture, its data, what it shows in words, and a caption."""
    data = json.dumps(spec, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    height = spec["layout"]["height"] if isinstance(spec["layout"], dict) else 0
    for mark in "<>&":  # so that no name can end the script element
        data = data.replace(mark, f"\\u{ord(mark):04x}")
    return (
        f'<figure><div class="plot" id="{name}" role="img" aria-label="{text(description)}" '
        f'style="height:{height}px"></div>'
        f'<script type="application/json" id="{name}-data">{data}</script>'
        + (f"<figcaption>{text(caption)}</figcaption>" if caption else "")
        + "</figure>"
    )


def table(rows: Rows, caption: str) -> str:
    """A table with header cells; figures carry their interval in small print."""
    head = "".join(f'<th scope="col">{text(cell)}</th>' for cell in rows[0])
    lines = []
    for row in rows[1:]:
        cells = "".join(f"<td>{two_lines(cell)}</td>" for cell in row[1:])
        lines.append(f'<tr><th scope="row">{text(row[0])}</th>{cells}</tr>')
    return (
        f'<div class="scroll"><table><caption>{text(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def two_lines(cell: str) -> str:
    """A figure with its interval in small print below it."""
    value, found, span = cell.partition(" (")
    return f"{text(value)}<small>{text(span.removesuffix(')'))}</small>" if found else text(cell)


def card(title: str, lead: str, *parts: str) -> str:
    """One section with its heading and a plain sentence."""
    return f'<section class="card"><h2>{text(title)}</h2><p class="lead">{text(lead)}</p>{"".join(parts)}</section>'


def details(summary: str, *parts: str) -> str:
    """Parts that open on demand."""
    return f"<details><summary>{text(summary)}</summary>{''.join(parts)}</details>"
