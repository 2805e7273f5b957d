"""The pictures of scenarios and protocols are those of the code."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from make_scenario_images import IMAGES, SCENARIOS, pictures
from pharmonia.bench.scenario import Scenario, ScenarioKind
from pharmonia.data.splits import SplitKind

PAGE = IMAGES.parent / "scenarios.md"


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    return pictures()


def test_each_scenario_and_each_protocol_has_a_picture_on_the_page(drawn: dict[str, str]) -> None:
    assert {Scenario.parse(text).kind for text in SCENARIOS} == set(ScenarioKind)
    expected = {f"scenario-{kind}.svg" for kind in ScenarioKind} | {f"scenario-split-{kind}.svg" for kind in SplitKind}
    assert set(drawn) == expected
    shown = re.findall(r"\]\(images/(scenario-[^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(expected)


def test_the_pictures_are_what_the_code_draws(drawn: dict[str, str]) -> None:
    for file, svg in drawn.items():
        assert (IMAGES / file).read_text(encoding="utf-8") == svg, "run python scripts/make_scenario_images.py"
    assert {path.name for path in Path(IMAGES).glob("scenario-*.svg")} == set(drawn)


def test_the_pictures_are_small_well_formed_and_named(drawn: dict[str, str]) -> None:
    for svg in drawn.values():
        assert len(svg) < 32_000
        root = ElementTree.fromstring(svg)  # noqa: S314 (our own text)
        assert root.get("aria-label")
        assert "prefers-color-scheme:dark" in svg
