"""Draws docs/images/qsar-scale.svg and prints the tables of docs/scale.md from results/qsar-scale-runs.json.

Usage: python benchmarks/qsar_scale_plot.py
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from qsar_scale_runs import GROWING, RUNS, Run, read_runs

IMAGE = Path(__file__).parents[1] / "docs" / "images" / "qsar-scale.svg"
# Okabe and Ito 2008, Color Universal Design: told apart with any common colour blindness, on white and on black.
COLOURS = {"prepare": "#E69F00", "load": "#CC79A7", "train": "#0A84C6", "evaluate": "#009E73", "round": "#7F93A8"}
FAINT = "#98A2AD"
PANEL, GAP, LEFT, TOP, BOTTOM, SIDE, LINE = 300, 110, 52, 44, 44, 76, 15  # pixels
TIMES, MEMORY = (0.01, 1000.0), 6.0  # what the axes span
STYLE = (
    "text{font:13px system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#4b5763}"
    ".h{font-size:15px;font-weight:600;fill:#1b2733}.g{stroke:#98A2AD;stroke-opacity:.35}"
    "@media(prefers-color-scheme:dark){text{fill:#aab4bf}.h{fill:#e6ebf0}}"
)

Points = list[tuple[float, float]]


def across(n: float, left: float) -> float:
    """Pixel of a number of compounds, 10,000 to a million, on a logarithmic axis."""
    return left + PANEL * (math.log10(n) - 4) / 2


def up_log(cpu_s: float) -> float:
    """Pixel of CPU seconds on a logarithmic axis."""
    low, high = (math.log10(bound) for bound in TIMES)
    return TOP + PANEL * (high - math.log10(max(cpu_s, TIMES[0]))) / (high - low)


def up(gb: float) -> float:
    """Pixel of gigabytes."""
    return TOP + PANEL * (1 - gb / MEMORY)


def picture(runs: Sequence[Run]) -> str:
    """CPU seconds of each phase, and the largest resident set, over the number of compounds."""
    right = LEFT + PANEL + GAP
    width, height = right + PANEL + SIDE, TOP + PANEL + BOTTOM
    name = "CPU seconds and memory over the number of compounds, 10,000 to 1,000,000"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{name}"><title>{name}</title><style>{STYLE}</style>',
        f'<text class="h" x="{LEFT}" y="20">CPU seconds; dotted: in proportion</text>',
        f'<text class="h" x="{right}" y="20">Peak resident GB; the limit is 6</text>',
        *_grid(LEFT, [(up_log(10.0**power), f"{10.0**power:g}") for power in range(-2, 4)]),
        *_grid(right, [(up(gb), str(gb)) for gb in range(7)]),
    ]
    for first in (0.01, 1.0):  # guides of slope one
        ends = [(across(n, LEFT), up_log(first * n / 10_000)) for n in (10_000, min(1_000_000, 10_000_000 / first))]
        parts.append(_line(ends, FAINT, 'stroke-dasharray="3 4"'))
    times = {
        name: [(across(run.n_compounds, LEFT), up_log(run.phases[name].cpu_s)) for run in runs] for name in GROWING
    }
    sizes = {
        name: [(across(run.n_compounds, right), up(run.phases[name].peak_gb)) for run in runs if name in run.phases]
        for name in ("prepare", "train", "evaluate", "round")
    }
    return "".join([*parts, *_curves(times), *_curves(sizes)]) + "</svg>\n"


def _grid(left: float, lines: Sequence[tuple[float, str]]) -> list[str]:
    parts = []
    for y, label in lines:
        parts.append(f'<path class="g" d="M{left:.1f} {y:.1f}h{PANEL}"/>')
        parts.append(f'<text x="{left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    for n in (10_000, 100_000, 1_000_000):
        x = across(n, left)
        parts.append(f'<path class="g" d="M{x:.1f} {TOP}v{PANEL}"/>')
        parts.append(f'<text x="{x:.1f}" y="{TOP + PANEL + 18}" text-anchor="middle">{n:,}</text>')
    parts.append(f'<text x="{left + PANEL / 2:.1f}" y="{TOP + PANEL + 36}" text-anchor="middle">compounds</text>')
    return parts


def _curves(curves: Mapping[str, Points]) -> list[str]:
    """Each with its name at its end; names keep a line's distance."""
    parts, lowest = [], -math.inf
    for name, points in sorted(curves.items(), key=lambda item: item[1][-1][1]):
        (x, y), colour = points[-1], COLOURS[name]
        lowest = max(y + 4, lowest + LINE)
        parts.append(_line(points, colour, 'stroke-width="2"'))
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5" fill="{colour}"/>' for a, b in points]
        parts.append(f'<text x="{x + 8:.1f}" y="{lowest:.1f}">{name}</text>')
    return parts


def _line(points: Points, colour: str, style: str) -> str:
    places = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path d="M{places}" fill="none" stroke="{colour}" {style}/>'


def table(runs: Sequence[Run]) -> str:
    """The runs as a table of the page."""
    names = [*GROWING, "together", "slope"]
    lines = [
        f"| Compounds | Labels | Tasks | Steps | Disk, GB | {' | '.join(names)} | Peak, GB |",
        "| --- " * (len(names) + 6) + "|",
    ]
    before: Run | None = None
    for run in runs:
        slope = ""
        if before is not None:
            slope = f"{math.log(run.cpu_s / before.cpu_s) / math.log(run.n_compounds / before.n_compounds):.2f}"
        cells = [
            *(f"{number:,}" for number in (run.n_compounds, run.n_labels, run.n_tasks, run.n_steps)),
            f"{run.disk_gb:.3g}",
            *(f"{run.phases[name].cpu_s:.3g}" for name in GROWING),
            f"{run.cpu_s:.3g}",
            slope,
            f"{max(one.peak_gb for name, one in run.phases.items() if name != 'round'):.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
        before = run
    return "\n".join(lines) + "\n"


def main() -> None:
    """Draw and print."""
    found = read_runs(RUNS)
    IMAGE.write_text(picture(found.runs), encoding="utf-8")
    print(table(found.runs))
    print(table([found.many]))


if __name__ == "__main__":
    main()
