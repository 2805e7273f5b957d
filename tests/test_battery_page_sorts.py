"""The leaderboard of a battery's page sorts and filters: the page's own script, run by Node on the page's own table."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from battery_cases import made_up_battery, made_up_battery_description, made_up_cell, made_up_key
from pharmonia.evaluate.battery import BatteryArm
from pharmonia.evaluate.battery_html import render_battery_html
from pharmonia.evaluate.battery_report import build_battery_report

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="no Node.js (`node`) to run the page's script")
BROWSER = Path(__file__).parent / "page_in_node.js"
VOID = {"meta", "input", "br", "img", "link", "hr"}
Node = dict[str, Any]


class _Tree(HTMLParser):
    """A page as nested elements; of its scripts only the last, the page's own, is kept, by itself."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.root: Node = {"tag": "page", "attributes": {}, "children": []}
        self.script = ""
        self._open = [self.root]
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element: Node = {"tag": tag, "attributes": {name: value or "" for name, value in attrs}, "children": []}
        self._open[-1]["children"].append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()["tag"] == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1]["tag"] == "script":
            self.script = data
        else:
            self._open[-1]["children"].append(data)


def inside(element: Node, tag: str) -> list[Node]:
    """All elements of a kind in another, in the page's order."""
    found: list[Node] = []
    for child in element["children"]:
        if not isinstance(child, str):
            found += [child] if child["tag"] == tag else inside(child, tag)
    return found


def words(element: Node) -> str:
    return "".join(child if isinstance(child, str) else words(child) for child in element["children"])


@dataclass(frozen=True)
class Board:
    """The leaderboard as it stands in the page, before anybody touches it."""

    tree: _Tree
    titles: list[str]
    first: list[str]  # which way the first click sorts each column
    sorted: list[str | None]
    rows: list[list[str]]  # what each cell is sorted by
    shown: list[list[str]]  # what each cell says

    def after(self, *actions: Mapping[str, int | str]) -> list[dict[str, Any]]:
        """The table after each of the reader's actions, in which rows have their places in the page, from 0."""
        asked = json.dumps({"page": self.tree.root, "script": self.tree.script, "actions": actions})
        assert NODE is not None
        done = subprocess.run([NODE, BROWSER], input=asked, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        seen: list[dict[str, Any]] = json.loads(done.stdout)
        return seen

    def column(self, title: str) -> int:
        return self.titles.index(title)


@pytest.fixture(scope="module")
def board() -> Board:
    """Of all settings of a made-up battery, and of one that has no gain."""
    alone = made_up_cell(made_up_key("family"), 0, {BatteryArm.FEDERATED: 0.2})
    report = build_battery_report([*made_up_battery(1), alone], made_up_battery_description())
    tree = _Tree(render_battery_html(report))
    (table,) = (one for one in inside(tree.root, "table") if one["attributes"].get("id") == "board-table")
    heads = inside(table, "th")
    lines = [inside(line, "td") for line in inside(table, "tr")[1:]]
    return Board(
        tree=tree,
        titles=[words(head) for head in heads],
        first=[head["attributes"]["data-first"] for head in heads],
        sorted=[head["attributes"].get("aria-sort") for head in heads],
        rows=[[cell["attributes"]["data-value"] for cell in line] for line in lines],
        shown=[[words(cell).lower() for cell in line] for line in lines],
    )


def in_order(values: list[str], *, falling: bool) -> list[str]:
    """Numbers by size, words by the alphabet; what is empty comes last, whichever the way."""
    there = [value for value in values if value]
    try:
        there.sort(key=float, reverse=falling)
    except ValueError:
        there.sort(reverse=falling)
    return there + [""] * (len(values) - len(there))


def test_a_click_on_any_heading_sorts_by_it_and_a_second_the_other_way(board: Board) -> None:
    clicks = [index for index in range(len(board.titles)) for _ in range(3)]
    seen = board.after(*({"click": index} for index in clicks))
    ways: dict[int, list[str]] = {}
    for index, after in zip(clicks, seen, strict=True):
        way = after["sorted"][index]
        assert [other for other in after["sorted"] if other] == [way]  # no other heading says that it sorts
        assert sorted(after["order"]) == list(range(len(board.rows)))
        values = [board.rows[row][index] for row in after["order"]]
        assert values == in_order(values, falling=way == "descending"), board.titles[index]
        ways.setdefault(index, []).append(way)
    other = {"ascending": "descending", "descending": "ascending"}
    assert board.sorted[0] is None
    for index, found in ways.items():
        first = board.first[index]
        assert found == [first, other[first], first], board.titles[index]


def test_rows_of_the_same_value_keep_the_order_that_they_had(board: Board) -> None:
    by_partners, by_method = board.after({"click": board.column("partners")}, {"click": board.column("method")})
    place = {row: index for index, row in enumerate(by_partners["order"])}
    method = board.column("method")
    expected = sorted(by_partners["order"], key=lambda row: (board.rows[row][method], place[row]))
    assert by_method["order"] == expected


def test_a_setting_without_a_gain_is_last_both_ways(board: Board) -> None:
    gain = board.column("gain")
    (without,) = (row for row, values in enumerate(board.rows) if values[gain] == "")
    assert board.sorted[gain] == "descending"  # as the page comes
    rising, falling = board.after({"click": gain}, {"click": gain})
    assert (rising["sorted"][gain], falling["sorted"][gain]) == ("ascending", "descending")
    assert rising["order"][-1] == falling["order"][-1] == without


def test_words_typed_leave_the_settings_that_have_them_all(board: Board) -> None:
    scenario, partners, method = (board.column(name) for name in ("scenario", "partners", "method"))
    by_words, by_number, all_again = board.after({"type": "Weak FedProx"}, {"type": "16 target"}, {"type": " "})
    assert by_words["shown"] == [
        row for row, said in enumerate(board.shown) if "weak" in said[scenario] and said[method] == "fedprox"
    ]
    assert by_words["count"] == f"{2 * 5} of {len(board.rows)} settings"
    assert {board.shown[row][partners] for row in by_number["shown"]} == {"16"}  # not 160, nor a gain of 1.6 %
    assert {board.shown[row][scenario] for row in by_number["shown"]} == {"target", "diffused-target:0.1"}
    assert all_again["shown"] == list(range(len(board.rows)))
    assert all_again["count"] == f"{len(board.rows)} of {len(board.rows)} settings"
