"""The report says what the numbers say, in every form, and can be read back."""

import builtins
import copy
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from types import ModuleType

import numpy as np
import pytest
from rich.console import Console

from pharmonia.base.errors import DataFileError, MetricError, MissingExtraError
from pharmonia.evaluate.gain import Estimate, TestRows, Verdict
from pharmonia.evaluate.outcome import Arm, SeedOutcome
from pharmonia.evaluate.report import Report, build_report
from pharmonia.evaluate.report_html import render_html
from pharmonia.evaluate.report_json import report_from_json, report_to_json
from pharmonia.evaluate.report_text import render_markdown, render_terminal
from pharmonia.evaluate.wording import (
    cost_sentence,
    data_size,
    headline,
    percent,
    percent_range,
    percent_text,
    seconds,
    verdict_sentence,
)
from report_cases import made_up_description, made_up_outcome

NASTY = ("<script>alert(1)</script>", '"quotes" & <b>bold</b>', "pipe | and `code`", "partner-4")


def reported(outcome: SeedOutcome, *more: SeedOutcome) -> Report:
    outcomes = (outcome, *more)
    description = made_up_description(tuple(o.seed for o in outcomes), len(outcome.partners))
    return build_report(outcomes, description, np.random.default_rng(2), 100)


@pytest.fixture(scope="module")
def report() -> Report:
    return reported(made_up_outcome(n_test=1000, federated_noise=0.4, pooled_noise=0.35))


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return render_html(report)


def test_the_headline_gives_the_gain_its_interval_and_who_gains(report: Report) -> None:
    gain = report.overall.gain
    if not isinstance(gain, Estimate):
        pytest.fail("expected a gain")
    n_gain = report.n_partners_that(Verdict.GAINS)
    assert headline(report) == (
        f"Federating cut the error by {percent_range(gain)} against the best that the partners could do without "
        f"pooling their data; {n_gain} of 4 partners gain."
    )


def test_the_headline_says_when_federating_hurts_or_changes_nothing() -> None:
    hurts = reported(made_up_outcome(n_test=600, federated_noise=1.2))
    assert re.match(r"Federating did not pay here: its error is \d+ % \(\d+ to \d+\) above", headline(hurts))
    assert "0 of 4 partners gain, 4 lose" in headline(hurts)
    outcome = made_up_outcome(n_test=400)
    flat = reported(replace(outcome, federated=outcome.alone_by_owner))
    assert headline(flat).startswith("Federating made no clear difference: the error changed by ")


def test_a_gain_that_seeds_do_not_share_is_said_to_be_unclear() -> None:
    seeds = [made_up_outcome(seed=seed, n_test=600, federated_noise=noise) for seed, noise in enumerate((0.3, 0.62))]
    report = reported(*seeds)
    over = report.overall.gain_over_seeds
    assert report.overall.verdict is Verdict.GAINS
    assert isinstance(over, Estimate)
    assert over.low < 0 < over.high
    assert headline(report).startswith("Not clear over seeds: federating cut the error by ")


def test_equal_test_values_have_no_gain() -> None:
    outcome = made_up_outcome(n_test=600, federated_noise=0.1)
    flat = reported(replace(outcome, measured=np.full_like(outcome.measured, 6.0)))
    assert headline(flat) == (
        "There is no number for the gain from federating: all test values are equal: nothing can be told."
    )
    assert flat.n_partners_that(Verdict.GAINS) == 0
    assert report_to_json(report_from_json(report_to_json(flat))) == report_to_json(flat)


def test_one_round_is_no_rounds(report: Report) -> None:
    costs = tuple(replace(cost, n_rounds=1) for cost in report.costs)
    assert cost_sentence(costs).startswith("It took 1 round, ")
    assert cost_sentence(report.costs).startswith(f"It took {report.costs[0].n_rounds} rounds, ")


def test_an_interval_that_excludes_zero_does_not_hold_it_by_rounding() -> None:
    assert percent_text(Estimate(value=-0.015, low=-0.031, high=-0.0002)) == "−1.50 % (−3.10 to −0.02)"  # noqa: RUF001
    assert percent_text(Estimate(value=0.0002, low=0.0001, high=0.0003)) == "+0.02 % (+0.01 to +0.03)"
    assert percent_range(Estimate(value=0.015, low=0.0002, high=0.031)) == "1.50 % (0.02 to 3.10)"
    assert percent_range(Estimate(value=0.015, low=0.0, high=0.031)) == "1.5 % (0.0 to 3.1)"


def test_sentences_of_partners_name_rows_number_and_interval(report: Report) -> None:
    for comparison in report.of_partners(TestRows.OWN):
        sentence = verdict_sentence(comparison)
        assert sentence.startswith(f"{comparison.partner}")
        assert f"{comparison.n_rows:,} held-out rows" in sentence


def test_few_rows_are_said_to_be_few() -> None:
    outcome = made_up_outcome(n_test=60)
    few = reported(replace(outcome, owner=np.repeat(np.arange(4), (1, 4, 25, 30)).astype(np.int16)))
    assert "2 have too few rows to tell" in headline(few)
    assert verdict_sentence(few.of_partners(TestRows.OWN)[0]) == "partner-1: 1 held-out rows are too few for a verdict."
    assert report_to_json(report_from_json(report_to_json(few))) == report_to_json(few)
    assert "too few rows" in render_html(few)


@pytest.mark.parametrize(
    ("share", "plain", "signed"),
    [(0.1234, "12 %", "+12 %"), (-0.056, "−5.6 %", "−5.6 %"), (0.0, "0.0 %", "0.0 %"), (-0.0001, "0.0 %", "0.0 %")],  # noqa: RUF001
)
def test_shares_are_written_as_percentages(share: float, plain: str, signed: str) -> None:
    assert percent(share) == plain
    assert percent(share, sign=True) == signed


def test_sizes_and_durations_are_written_as_people_say_them() -> None:
    assert [data_size(n) for n in (0, 999, 1000, 41_234_567, 1_152_000_000)] == [
        "0 B",
        "999 B",
        "1 kB",
        "41.2 MB",
        "1.15 GB",
    ]
    assert [seconds(t) for t in (0.44, 48.2, 200, 7500)] == ["0.4 s", "48 s", "3 min 20 s", "2 h 05 min"]


def test_json_comes_back_as_it_went(report: Report) -> None:
    text = json.dumps(report_to_json(report), allow_nan=False)
    assert report_to_json(report_from_json(json.loads(text))) == report_to_json(report)


def test_json_has_a_version_and_a_unit_on_every_figure(report: Report) -> None:
    content = json.loads(json.dumps(report_to_json(report)))
    assert (content["schema"], content["schema_version"]) == ("pharmonia/comparison", 2)
    overall = content["comparisons"][0]
    assert overall["scores"]["federated"]["mse"]["unit"] == "(KIBA score)²"
    assert set(overall["scores"]) == {arm.value for arm in Arm}
    figures = [overall["gain"], overall["gap_closed"], *overall["scores"]["alone"].values()]
    assert all(figure["unit"] for figure in figures)
    assert content["costs"][1]["bytes_to_partners"]["unit"] == "bytes"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema_version",), 1, "version 1"),
        (("schema",), "other", "other version 2"),
        (("n_resamples",), "many", "n_resamples: expected a whole number, got 'many'"),
        (("comparisons", 0, "verdict"), "wins", r"comparisons\[0\].verdict: expected one of"),
        (("comparisons", 0, "gain", "low"), None, r"comparisons\[0\].gain.low: expected a number"),
        (("comparisons", 0, "gain", "low"), 9.0, "contradict themselves"),
        (("run", "digests"), {"x": "short"}, "64 hexadecimal digits"),
        (("ownership", "shared_targets", 0, 1), 5, "symmetric"),
        (("agreement", "counts", "alone"), [[1, 2], [3]], "square tables"),
    ],
)
def test_results_that_are_not_ours_are_refused_with_the_place(
    report: Report, path: tuple[str | int, ...], value: object, message: str
) -> None:
    content = copy.deepcopy(json.loads(json.dumps(report_to_json(report))))
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(DataFileError, match=message):
        report_from_json(content)


def test_a_missing_field_is_named(report: Report) -> None:
    content = {key: value for key, value in report_to_json(report).items() if key != "costs"}
    with pytest.raises(DataFileError, match="'costs' is missing"):
        report_from_json(content)


def test_the_seeds_of_outcomes_and_description_must_agree() -> None:
    with pytest.raises(MetricError, match="seeds"):
        build_report([made_up_outcome(seed=7)], made_up_description((1,)), np.random.default_rng(0), 100)


def test_markdown_has_every_section_and_well_formed_tables(report: Report) -> None:
    text = render_markdown(report)
    assert text.startswith(f"# {headline(report)}\n")
    assert re.findall(r"^## (.*?)(?:,|$)", text, flags=re.MULTILINE) == [
        "Who owns what",
        "Scores",
        "Scores",
        "Gain per partner",
        "Gain per partner",
        "Cost",
        "How it was done",
        "What this does not show",
    ]
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(tables) == 6
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_names_cannot_break_markdown_tables() -> None:
    text = render_markdown(reported(made_up_outcome(names=NASTY)))
    assert "<script>" not in text
    assert r"pipe \| and \`code\`" in text


def test_the_terminal_shows_answer_scores_and_partners(report: Report) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render_terminal(report))
    text = console.export_text()
    for word in ("Federating cut", "ensemble", "pooled", "partner-4", "(KIBA score)²", "576 MB"):
        assert word in text


class _Page(HTMLParser):
    """Collects what a browser would load, headings, table headers and names of pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.labels: list[str] = []
        self.language = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.loads += [v or "" for k, v in attrs if k in {"src", "href", "srcset", "data", "action", "poster"}]
        if tag == "html":
            self.language = values.get("lang") or ""
        if values.get("role") == "img":
            self.labels.append(values.get("aria-label") or "")


def test_the_page_loads_nothing(page: str) -> None:
    parsed = _Page()
    parsed.feed(page)
    assert parsed.loads == []
    assert not {"link", "iframe", "img", "object", "embed", "base"} & set(parsed.tags)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style


def test_the_page_can_be_read_without_seeing_the_pictures(page: str) -> None:
    parsed = _Page()
    parsed.feed(page)
    assert parsed.language == "en"
    assert len(parsed.labels) == 12
    assert all(len(label) > 20 for label in parsed.labels)
    assert parsed.tags.count("h1") == 1
    assert parsed.tags.count("table") >= 5
    assert page.count('scope="col"') > 10
    assert page.count("<caption>") == parsed.tags.count("table")


def test_plotlys_script_is_in_the_page_once(page: str) -> None:
    assert len(re.findall(r"plotly\.js v\d+\.\d+\.\d+", page[:2_000_000])) <= 1
    assert page.count("Plotly.newPlot(place") == 1
    assert 3_000_000 < len(page) < 8_000_000


def test_names_cannot_become_markup_in_the_page() -> None:
    outcome = made_up_outcome(names=NASTY)
    described = replace(made_up_description(), dataset="<script>data</script>", command="x </script><b>")
    page = render_html(build_report([outcome], described, np.random.default_rng(0), 100))
    for bad in ("<script>alert", "<script>data", "<b>bold", "</script><b>", '"quotes" & <'):
        assert bad not in page
    spec = re.search(r'id="gain-data">(.*?)</script>', page)
    if spec is None:
        pytest.fail("the picture of gains has no data")
    ticks = json.loads(spec[1])["layout"]["yaxis"]["ticktext"]
    assert ticks[1].startswith("&lt;script&gt;")  # Plotly reads tags in labels, so they must not be there


@pytest.mark.parametrize("n_partners", [1, 2, 32])
def test_any_number_of_partners_can_be_drawn(n_partners: int) -> None:
    drawn = reported(made_up_outcome(n_partners=n_partners, n_test=320))
    page = render_html(drawn)
    assert page.count('class="plot"') == (10 if n_partners == 1 else 12)
    assert f"{n_partners} partners" in page or n_partners == 1


def test_several_seeds_are_said_in_words() -> None:
    several = reported(made_up_outcome(), made_up_outcome(seed=2))
    for text in (render_markdown(several), render_html(several)):
        assert "Gain over 2 seeds" in text
        assert "means over the 2 seeds" in text


def test_a_missing_plotly_names_the_extra(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_plotly(name: str, *args: object, **kwargs: object) -> ModuleType:
        if name.startswith("plotly"):
            raise ImportError(name)
        return real(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_plotly)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[web\]'"):
        render_html(report)
