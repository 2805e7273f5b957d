"""The battery's report says what the numbers say, in Markdown and as one page, and works for any battery."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from battery_cases import (
    METHODS,
    PARTNERS,
    SCENARIOS,
    made_up_battery,
    made_up_battery_description,
    made_up_cell,
    made_up_key,
    main_arms,
)
from pharmonia.base.errors import MetricError
from pharmonia.evaluate.battery import BatteryArm, CellKey, CellOutcome
from pharmonia.evaluate.battery_html import render_battery_html
from pharmonia.evaluate.battery_report import BatteryReport, Unfinished, build_battery_report
from pharmonia.evaluate.battery_stats import Call, OverSeeds, over_seeds
from pharmonia.evaluate.battery_style import look_of
from pharmonia.evaluate.battery_text import render_battery_markdown
from pharmonia.evaluate.battery_wording import battery_headline, p_text, share_text, where_it_does_not_help

NASTY = "</script><script>alert('1')</script><b>&|`x`"
LEFT = (
    Unfinished(key=made_up_key("target", 64), seed=0, reason="not started"),
    Unfinished(key=made_up_key("target", 64), seed=1, reason="not started"),
    Unfinished(key=made_up_key("family", 2), seed=0, reason="failed: 3 families for 4 partners"),
)


@pytest.fixture(scope="module")
def report() -> BatteryReport:
    return build_battery_report(made_up_battery(), made_up_battery_description(unfinished=LEFT))


@pytest.fixture(scope="module")
def page(report: BatteryReport) -> str:
    return render_battery_html(report)


def of(*cells: CellOutcome) -> BatteryReport:
    return build_battery_report(cells, made_up_battery_description())


class _Page(HTMLParser):
    """Collects what a browser would load, tags, ids, links, pictures' descriptions and cells of the leaderboard."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.labels: list[str] = []
        self.values: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        self.tags.append(tag)
        self.loads += [v for k, v in values.items() if k in {"src", "srcset", "action", "poster"}]
        self.links += [values["href"]] if "href" in values else []
        self.ids += [values["id"]] if "id" in values else []
        self.labels += [values["aria-label"]] if values.get("role") == "img" else []
        self.values += [values["data-value"]] if tag == "td" and "data-value" in values else []


def test_the_headline_counts_clear_settings(report: BatteryReport) -> None:
    better, worse, same = (report.n_settings_that(c) for c in (Call.BETTER, Call.WORSE, Call.NO_DIFFERENCE))
    assert better + worse + same == len(report.settings) == len(SCENARIOS) * len(PARTNERS) * len(METHODS)
    assert battery_headline(report.settings) == (
        f"Federating is clearly better than the best alternative in {better} of 90 settings, clearly worse in {worse}, "
        f"and not clearly different in {same}."
    )


def test_a_battery_where_federating_hurts_says_so_first() -> None:
    cells = [made_up_cell(made_up_key(), seed, main_arms((0.4, 0.401, 0.399)[seed])) for seed in range(3)]
    hurt = of(*cells)
    assert battery_headline(hurt.settings).startswith(
        "Federating is clearly better than the best alternative in none of 1 setting, clearly worse in 1"
    )
    for text in (render_battery_markdown(hurt), render_battery_html(hurt)):
        assert "Clearly worse: iid, 4 partners, fedavg: gain −33 % (−34 to −33) against alone." in text  # noqa: RUF001


def test_the_risk_of_a_false_call_is_said_for_each_family_that_is_corrected(report: BatteryReport, page: str) -> None:
    for text in (render_battery_markdown(report), page):
        assert (
            "at a 5 % risk of one or more false calls within each of two families that are corrected separately "
            "(Holm): settings, and means over numbers of partners; so up to 10 % over both." in text
        )


def test_settings_that_were_not_tested_come_with_the_true_reason() -> None:
    alike = [made_up_cell(made_up_key(), seed, main_arms(0.2)) for seed in range(3)]
    one = made_up_cell(made_up_key("target"), 0, main_arms(0.2))
    pooled = made_up_cell(made_up_key("compound"), 0, {BatteryArm.POOLED: 0.2})
    assert "Not tested: 1 setting (the same gain under every seed)." in render_battery_markdown(of(*alike))
    headline = battery_headline(of(one).settings)
    assert "over alone and an ensemble under two or more seeds that are not all the same" in headline
    text = render_battery_markdown(of(*alike, one, pooled))
    assert (
        "Not tested: 3 settings (the same gain under every seed: 1; the federated arm did not run under every seed: 1; "
        "one seed: 1)." in text
    )


def test_where_it_always_helps_that_is_said_too() -> None:
    helps = of(*(made_up_cell(made_up_key(), seed, main_arms(0.2 + seed / 1000)) for seed in range(3)))
    assert where_it_does_not_help(helps.settings, ()) == (
        "In no setting is its mean gain over the best alternative zero or below.",
    )


@pytest.mark.parametrize(
    ("arm", "reason"),
    [
        (BatteryArm.ALONE, "the federated arm did not run under every seed"),
        (BatteryArm.FEDERATED, "no alternative without pooling ran under every seed"),
        (BatteryArm.BOOSTED, "the federated arm did not run under every seed"),
        (BatteryArm.POOLED, "the federated arm did not run under every seed"),
    ],
)
def test_where_nothing_was_compared_nothing_is_said_to_help(arm: BatteryArm, reason: str) -> None:
    lonely = of(*(made_up_cell(made_up_key(), seed, {arm: 0.2 + seed / 100}) for seed in range(3)))
    assert where_it_does_not_help(lonely.settings, ()) == (f"Nothing was compared: {reason}.",)
    assert lonely.claims[0].sentence == f"Nothing was compared: {reason}."
    helps = of(
        *(made_up_cell(made_up_key(), seed, main_arms(0.2 + seed / 100)) for seed in range(3)),
        made_up_cell(made_up_key("target"), 0, {arm: 0.2}),
    )
    assert where_it_does_not_help(helps.settings, ()) == (
        "In none of 1 compared setting is its mean gain over the best alternative zero or below.",
    )


def test_baselines_that_beat_the_federated_model_are_named() -> None:
    arms = main_arms(0.2)
    cheap = of(
        made_up_cell(made_up_key(), 0, arms | {BatteryArm.LIGAND_ONLY: 0.19, BatteryArm.BOOSTED: 0.3}),
        made_up_cell(made_up_key("target"), 0, arms | {BatteryArm.LIGAND_ONLY: 0.1, BatteryArm.BOOSTED: 0.3}),
    )
    text = render_battery_markdown(cheap)
    assert (
        "has a lower mean test MSE than federated in 2 of 2 settings, by most in target, 4 partners, fedavg: 0.100 "
        "against" in text
    )
    assert (
        "boosted (gradient-boosted trees on fingerprints, all data in one place) has a lower mean test MSE than "
        "federated in 0" in text
    )


def test_markdown_has_verdicts_first_and_well_formed_tables(report: BatteryReport) -> None:
    text = render_battery_markdown(report)
    assert re.findall(r"^##? (.*?)(?:,|$)", text, flags=re.MULTILINE)[1:] == [
        "Three published claims",
        "Gain per scenario and method",
        "Where federating does not help",
        "Methods",
        *(f"Scenario {kind}" for kind in ("iid", "compound", "diffused-target", "target", "weak")),
        "Cost of the federated arm",
        "What is missing",
        "How it was run",
        "How long each may train",
        "What this does not show",
    ]
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(tables) == 3 + 1 + 1 + 2 * 5 + 1 + 1 + 1
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1
    assert text.count("**Supported.**") + text.count("**Not supported.**") + text.count("**Cannot say.**") == 3


def test_every_setting_is_in_the_tables_with_units(report: BatteryReport) -> None:
    text = render_battery_markdown(report)
    assert text.count("mean test MSE in (KIBA score)²") == 5
    for setting in report.settings:
        key = setting.key
        assert f"| {key.scenario} | {key.n_partners} | {key.method} | 3 | " in text
        assert share_text(setting.gain) in text


def test_cells_that_are_not_finished_are_listed_with_the_reason(report: BatteryReport, page: str) -> None:
    text = render_battery_markdown(report)
    assert "| target, 64 partners, fedavg | 0, 1 | not started |" in text
    assert "| family, 2 partners, fedavg | 0 | failed: 3 families for 4 partners |" in text
    assert "270 cells finished, 3 not" in text
    assert "270 of 273" in page
    assert "Every cell of the battery is finished." in render_battery_markdown(of(*made_up_battery(1)))


def test_how_it_was_run_can_be_repeated(report: BatteryReport, page: str) -> None:
    for text in (render_battery_markdown(report), page):
        for part in ("pharmonia bench run paper --out battery", "cd" * 32, "2 cores, 8 GB", "2025-11-21", "19,709"):
            assert part in text
        assert "must be 24.6 times its standard deviation over seeds; with 5 seeds, 4.5 times." in text


def test_the_page_loads_nothing_and_its_links_stay_inside(page: str) -> None:
    parsed = _Page(page)
    assert parsed.loads == []
    assert not {"link", "iframe", "img", "object", "embed", "base"} & set(parsed.tags)
    assert all(link.startswith("#") and link[1:] in parsed.ids for link in parsed.links)
    assert len(set(parsed.ids)) == len(parsed.ids)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    assert "prefers-color-scheme: dark" in style


def test_the_page_can_be_read_without_seeing_the_pictures(page: str) -> None:
    parsed = _Page(page)
    assert len(parsed.labels) == 1 + 5 + len(SCENARIOS) + 2
    assert all(len(label) > 20 for label in parsed.labels)
    assert parsed.tags.count("h1") == 1
    assert page.count("<caption>") == parsed.tags.count("table")
    assert '<label for="board-filter">' in page
    assert '<label for="curve-choice">' in page
    assert "<noscript>" in page


def test_the_leaderboard_sorts_by_exact_values_not_by_what_is_shown(report: BatteryReport, page: str) -> None:
    values = _Page(page).values
    gains = [repr(s.gain.value) for s in report.settings if s.key.method == "scaffold" and hasattr(s.gain, "value")]
    assert len(values) % len(report.settings) == 0
    assert set(gains) <= set(values)
    head = page[page.index('<table id="board-table"') : page.index("</thead>", page.index('<table id="board-table"'))]
    assert head.count('<button type="button">') == head.count('<th scope="col"')
    assert head.count("aria-sort=") == 1


def test_names_cannot_become_markup() -> None:
    key = CellKey(dataset=NASTY, scenario=NASTY, protocol=NASTY, n_partners=2, model=NASTY, norm=NASTY, method=NASTY)
    description = made_up_battery_description(
        datasets=(NASTY, "kiba"), unfinished=(Unfinished(key=key, seed=9, reason=NASTY),)
    )
    described = replace(description, battery=NASTY, command=NASTY, machine=NASTY, notes=(NASTY,))
    cells = [made_up_cell(key, 0, main_arms(0.2)), made_up_cell(made_up_key(), 0, main_arms(0.2))]
    nasty = build_battery_report(cells, described)
    page = render_battery_html(nasty)
    assert "<script>alert" not in page
    assert "<b>&" not in page
    text = render_battery_markdown(nasty)
    assert "<script>" not in text
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1


def test_any_battery_can_be_drawn() -> None:
    one = made_up_cell(made_up_key(), 0, main_arms(0.2))
    pooled = made_up_cell(made_up_key(), 0, {BatteryArm.POOLED: 0.2}, curve=())
    many = [made_up_cell(made_up_key(method=f"m{i}"), s, main_arms(0.2 + i / 99)) for i in range(12) for s in (0, 1)]
    undefined = replace(one, scores=tuple(replace(score, ci=None, pearson=None, r2m=None) for score in one.scores))
    for cells in ([one], [pooled], many, [undefined]):
        drawn = of(*cells)
        assert render_battery_markdown(drawn).startswith("# ")
        assert "</html>" in render_battery_html(drawn)
    assert "No setting can be judged yet" in render_battery_markdown(of(one))
    assert "none of 1 setting has them" in render_battery_markdown(of(pooled))


def test_two_data_sets_keep_their_units_and_their_pictures() -> None:
    cells = [made_up_cell(made_up_key(dataset=d), s, main_arms(0.2)) for d in ("kiba", "davis") for s in (0, 1)]
    described = made_up_battery_description(datasets=("kiba", "davis"))
    davis = replace(described.datasets[1], measure="pKd")
    both = build_battery_report(cells, replace(described, datasets=(described.datasets[0], davis)))
    page = render_battery_html(both)
    assert "(pKd)² for davis, (KIBA score)² for kiba" in page
    assert 'id="gain-0"' in page
    assert 'id="gain-1"' in page
    assert "data set" in render_battery_markdown(both)


def test_what_does_not_belong_together_is_refused() -> None:
    cell, description = made_up_cell(made_up_key(), 0, main_arms(0.2)), made_up_battery_description()
    with pytest.raises(MetricError, match="no cell of the battery is finished"):
        build_battery_report([], description)
    with pytest.raises(MetricError, match="data set davis is not described"):
        build_battery_report([made_up_cell(made_up_key(dataset="davis"), 0, main_arms(0.2))], description)
    again = Unfinished(key=cell.key, seed=0, reason="not started")
    with pytest.raises(MetricError, match="has an outcome and is said to be unfinished"):
        build_battery_report([cell], replace(description, unfinished=(again,)))
    with pytest.raises(MetricError, match="64 hexadecimal digits"):
        replace(description, digests=(("x", "short"),))
    with pytest.raises(MetricError, match="each budget may be described once"):
        replace(description, budgets=description.budgets * 2)


def test_other_numbers_of_test_rows_are_pointed_out() -> None:
    cells = [
        made_up_cell(made_up_key(), 0, main_arms(0.2), n_test=500),
        made_up_cell(made_up_key("target"), 0, main_arms(0.2), n_test=490),
    ]
    assert "tested on different rows under the same seed" in render_battery_markdown(of(*cells))
    assert "490 to 500 in a cell" in render_battery_markdown(of(*cells))
    assert "different rows" not in render_battery_markdown(of(cells[0]))


def test_a_battery_without_gains_has_no_table_of_them() -> None:
    heading = "## Gain per scenario and method"
    cells = [made_up_cell(made_up_key(), seed, main_arms(0.2)) for seed in (0, 1)]
    assert heading in render_battery_markdown(of(*cells))
    federated = [replace(cell, scores=tuple(s for s in cell.scores if s.arm is BatteryArm.FEDERATED)) for cell in cells]
    assert heading not in render_battery_markdown(of(*federated))


def test_data_of_ones_own_have_nothing_to_cite() -> None:
    report = of(made_up_cell(made_up_key(), 0, main_arms(0.2)))
    own = replace(report.description.datasets[0], citation="", licence="the owner's")
    text = render_battery_markdown(replace(report, description=replace(report.description, datasets=(own,))))
    assert "KIBA score. Licence: the owner's." in text


def test_small_p_values_are_written_as_bounds() -> None:
    bound = "<\N{NO-BREAK SPACE}0.001"
    assert [p_text(p) for p in (0.0, 0.00099, 0.0312, 1.0)] == [bound, bound, "0.031", "1.000"]


def test_descriptions_and_figures_that_make_no_sense_are_refused() -> None:
    described = made_up_battery_description()
    with pytest.raises(MetricError, match="a data set needs name"):
        replace(described.datasets[0], licence=" ")
    with pytest.raises(MetricError, match="a budget needs a name and counts of at least 1"):
        replace(described.budgets[0], rounds=0)
    with pytest.raises(MetricError, match="needs a reason"):
        Unfinished(key=made_up_key(), seed=0, reason="")
    with pytest.raises(MetricError, match="the battery's command must not be empty"):
        replace(described, command="")
    with pytest.raises(MetricError, match="an interval from 2 seeds on"):
        OverSeeds(value=0.1, half_width=None, n_seeds=2)
    with pytest.raises(MetricError, match="half_width must be finite"):
        OverSeeds(value=0.1, half_width=-1.0, n_seeds=2)
    with pytest.raises(MetricError, match="at least one seed"):
        over_seeds([])


def test_sixteen_methods_are_told_apart_by_mark_and_colour_and_by_dash() -> None:
    looks = [look_of(place) for place in range(64)]
    assert len({(look.colour, look.symbol) for look in looks}) == 64
    assert len({look.dash for look in looks[:16]}) == 16
    assert [look.dash for look in looks[:3]] == ["solid", "dash", "dot"]
