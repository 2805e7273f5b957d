"""Draws docs/images/scenario-*.svg from the embedded sample; a test compares the two.

Each picture is a table of pairs: targets down, family by family, and compounds across, scaffold by scaffold. A measured
pair is a square in the colour of its owner (scenarios) or of its part (protocols), beside the counts over the whole
sample.

Usage: python scripts/make_scenario_images.py
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pharmonia.bench.scenario import Scenario, share_rows
from pharmonia.chem.families import family_groups
from pharmonia.chem.scaffolds import scaffold_groups
from pharmonia.data.interactions import Interactions
from pharmonia.data.ownership import NOBODY
from pharmonia.data.splits import Part, SplitKind, split_rows
from pharmonia.run import datasets

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SCENARIOS = (
    "iid",
    "target",
    "compound",
    "diffused-target:0.4",
    "diffused-compound:0.4",
    "size-skew:8",
    "scaffold",
    "family",
    "dirichlet:0.3",
    "weak:0.3",
)
SPLIT_SCENARIO = "iid"  # who owns what in the pictures of protocols
N_PARTNERS = 4
N_COMPOUNDS, N_TARGETS = 96, 52  # drawn of the sample's 458 and 189
# Okabe and Ito 2008, Color Universal Design: told apart with any common colour blindness, on white and on black.
OWNER_COLOURS = ("#0A84C6", "#E69F00", "#009E73", "#CC79A7")
PART_COLOURS = {Part.TRAIN: "#7F93A8", Part.VALID: "#E69F00", Part.TEST: "#E0561B"}
FAINT = "#98A2AD"  # rows that are nobody's, or not used
CELL, GAP = 5, 1  # pixels
LEFT, TOP, SIDE = 30, 44, 168  # margins
STYLE = (
    "text{font:13px system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#4b5763}"
    ".h{font-size:15px;font-weight:600;fill:#1b2733}.m{fill:#8b96a2}"
    "@media(prefers-color-scheme:dark){text{fill:#aab4bf}.h{fill:#e6ebf0}}"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """The part of the sample that is drawn: compounds and targets in the order in which they stand.

    Args:
        column: (n_compounds,) place of each compound from the left; -1 where it is not drawn.
        line: (n_targets,) place of each target from the top; -1 where it is not drawn.
        scaffolds: Places at which a scaffold begins.
        families: Places at which a family begins.
    """

    column: npt.NDArray[np.int64]
    line: npt.NDArray[np.int64]
    scaffolds: tuple[int, ...]
    families: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """The squares of one colour.

    Args:
        name: What they are.
        colour: "#RRGGBB".
        rows: Rows of the data set.
        small: Whether to draw them as dots.
    """

    name: str
    colour: str
    rows: npt.NDArray[np.int64]
    small: bool


def pictures() -> dict[str, str]:
    """Every picture, by file name."""
    interactions = datasets.load("kiba-sample").interactions
    window = _window(interactions)
    made = {}
    for text in SCENARIOS:
        owner = share_rows(Scenario.parse(text), interactions, N_PARTNERS, np.random.default_rng(0)).owner
        layers = [
            Layer(name=f"Partner {index + 1}", colour=colour, rows=np.flatnonzero(owner == index), small=False)
            for index, colour in enumerate(OWNER_COLOURS)
        ]
        nobody = Layer(name="Nobody", colour=FAINT, rows=np.flatnonzero(owner == NOBODY), small=True)
        made[f"scenario-{text.partition(':')[0]}.svg"] = _svg(text, interactions, window, (nobody, *layers))
    for kind in SplitKind:
        made[f"scenario-split-{kind}.svg"] = _svg(kind.value, interactions, window, _parts(interactions, kind))
    return made


def _parts(interactions: Interactions, kind: SplitKind) -> tuple[Layer, ...]:
    partition = share_rows(Scenario.parse(SPLIT_SCENARIO), interactions, N_PARTNERS, np.random.default_rng(0))
    split = split_rows(interactions, kind, partition, np.random.default_rng(1))
    unused = Layer(name="Not used", colour=FAINT, rows=split.rows(Part.UNUSED), small=True)
    names = {Part.TRAIN: "Train", Part.VALID: "Valid", Part.TEST: "Test"}
    layers = [
        Layer(name=names[part], colour=colour, rows=split.rows(part), small=False)
        for part, colour in PART_COLOURS.items()
    ]
    return (unused, *layers)


def _window(interactions: Interactions) -> Window:
    pairs = interactions.pairs
    column, scaffolds = _places(scaffold_groups(interactions.smiles), pairs.compound, N_COMPOUNDS)
    line, families = _places(family_groups(interactions.sequences), pairs.target, N_TARGETS)
    return Window(column=column, line=line, scaffolds=scaffolds, families=families)


def _places(
    group_of: npt.NDArray[np.int32], entity: npt.NDArray[np.int32], n_drawn: int
) -> tuple[npt.NDArray[np.int64], tuple[int, ...]]:
    """The entities with most rows, group by group, and the places at which a group begins."""
    rows = np.bincount(entity, minlength=group_of.size)
    drawn = np.argsort(-rows, kind="stable")[:n_drawn]
    rows_of_group = np.bincount(group_of[drawn], rows[drawn], group_of.max() + 1)
    order = drawn[np.lexsort((-rows[drawn], group_of[drawn], -rows_of_group[group_of[drawn]]))]
    place = np.full(group_of.size, -1, dtype=np.int64)
    place[order] = np.arange(order.size)
    begins = np.flatnonzero(np.diff(group_of[order], prepend=-1))
    return place, tuple(begins.tolist())


def _svg(title: str, interactions: Interactions, window: Window, layers: Sequence[Layer]) -> str:
    width, height = LEFT + N_COMPOUNDS * CELL + SIDE, TOP + N_TARGETS * CELL + 12
    name = f"{title}: measured pairs of {N_TARGETS} targets and {N_COMPOUNDS} compounds"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{name}"><title>{name}</title><style>{STYLE}</style>',
        f'<text class="h" x="{LEFT}" y="16">{title}</text>',
        f'<text x="{LEFT}" y="32">compounds, by scaffold</text>',
        f'<text transform="translate(16 {TOP + N_TARGETS * CELL}) rotate(-90)">targets, by family</text>',
        _ruler(window.scaffolds, N_COMPOUNDS, across=True),
        _ruler(window.families, N_TARGETS, across=False),
    ]
    parts += [_squares(layer, interactions, window) for layer in layers if layer.rows.size]
    parts.append(_legend([layer for layer in (*layers[1:], layers[0]) if layer.rows.size]))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _ruler(begins: tuple[int, ...], n_places: int, *, across: bool) -> str:
    """A line along an edge, broken between groups."""
    path = ""
    for begin, end in zip(begins, (*begins[1:], n_places), strict=True):
        length = (end - begin) * CELL - 2
        path += f"M{LEFT + begin * CELL} {TOP - 5}h{length}" if across else f"M{LEFT - 5} {TOP + begin * CELL}v{length}"
    return f'<path d="{path}" fill="none" stroke="#8b96a2" stroke-width="2"/>'


def _squares(layer: Layer, interactions: Interactions, window: Window) -> str:
    """One path of strokes, each a square."""
    x, y = window.column[interactions.pairs.compound[layer.rows]], window.line[interactions.pairs.target[layer.rows]]
    drawn = np.unique(np.stack((y, x))[:, (x >= 0) & (y >= 0)], axis=1)
    size = CELL - GAP - (2 if layer.small else 0)
    inset = (CELL - GAP - size) // 2
    strokes = "".join(
        f"M{LEFT + column * CELL + inset} {TOP + line * CELL + (CELL - GAP) // 2}h{size}"
        for line, column in drawn.T.tolist()
    )
    return f'<path d="{strokes}" fill="none" stroke="{layer.colour}" stroke-width="{size}"/>'


def _legend(layers: Sequence[Layer]) -> str:
    """Name, number of rows in the whole sample, and a bar of it, one below the other."""
    x, parts = LEFT + N_COMPOUNDS * CELL + 18, []
    longest = max(layer.rows.size for layer in layers)
    for index, layer in enumerate(layers):
        y, length = TOP + 10 + index * 44, round(140 * layer.rows.size / longest)
        parts.append(f'<text x="{x}" y="{y}">{layer.name}, {layer.rows.size:,} rows</text>')
        parts.append(f'<rect x="{x}" y="{y + 6}" width="{max(length, 2)}" height="10" rx="2" fill="{layer.colour}"/>')
    return "".join(parts)


if __name__ == "__main__":
    for file, svg in pictures().items():
        (IMAGES / file).write_text(svg, encoding="utf-8")
        print(f"{file}: {len(svg):,} bytes")
