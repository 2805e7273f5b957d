"""Verdicts count all that was planned, only what is over the best alternative, and say which rows they rest on."""

import re

import numpy as np
import pytest

from battery_cases import made_up_battery_description, made_up_cell, made_up_key, main_arms, summed_up
from pharmonia.evaluate.battery import BatteryArm, CellOutcome
from pharmonia.evaluate.battery_claims import judge_gain, judge_ownership
from pharmonia.evaluate.battery_effects import Answer
from pharmonia.evaluate.battery_growth import judge_growth
from pharmonia.evaluate.battery_html import render_battery_html
from pharmonia.evaluate.battery_plan import plan_of
from pharmonia.evaluate.battery_plots import battery_time_plot, battery_traffic_plot
from pharmonia.evaluate.battery_report import BatteryReport, Unfinished, build_battery_report
from pharmonia.evaluate.battery_rows import RowsTested, Sameness, sameness
from pharmonia.evaluate.battery_scenarios import gains_by_scenario
from pharmonia.evaluate.battery_stats import Call, holm_over_tests, summarise
from pharmonia.evaluate.battery_text import render_battery_markdown
from pharmonia.evaluate.battery_wording import battery_headline, rows_sentence, where_it_does_not_help
from pharmonia.evaluate.gain import Undefined

WITHOUT_ALONE = {BatteryArm.ENSEMBLE: 0.3, BatteryArm.FEDERATED: 0.19}
OTHER_ROWS = "f" * 16
DIFFERENT = "The settings compared are tested on different rows, so the comparison is of means, not paired by row."


def seeds_of(
    arms: dict[BatteryArm, float], scenario: str = "iid", n_partners: int = 4, *, n_seeds: int = 3
) -> list[CellOutcome]:
    """The setting's cells; each seed's federated error differs a little."""
    key, own = made_up_key(scenario, n_partners), BatteryArm.FEDERATED
    return [
        made_up_cell(key, seed, arms | ({own: arms[own] * (1 + seed / 500)} if own in arms else {}))
        for seed in range(n_seeds)
    ]


def not_started(scenario: str, n_partners: int = 4, *, n_seeds: int = 3) -> list[Unfinished]:
    key = made_up_key(scenario, n_partners)
    return [Unfinished(key=key, seed=seed, reason="not started") for seed in range(n_seeds)]


def report_of(cells: list[CellOutcome], *left: Unfinished) -> BatteryReport:
    return build_battery_report(cells, made_up_battery_description(unfinished=left))


def test_one_test_of_four_that_were_planned_is_corrected_for_four() -> None:
    assert holm_over_tests({"a": 0.01}, 4) == {"a": pytest.approx(0.04)}
    # m = 4: 0.01 x 4 and 0.015 x 3; then the running maximum
    assert holm_over_tests({"a": 0.015, "b": 0.01, "c": None}, 4) == {
        "a": pytest.approx(0.045),
        "b": pytest.approx(0.04),
        "c": None,
    }


def test_a_battery_that_is_stopped_early_is_corrected_as_if_it_were_not() -> None:
    cells = seeds_of(main_arms(0.2), "target", 8)
    left = [*not_started("iid", 8), *not_started("target", 2), *not_started("target", 32)]
    (whole,) = report_of(cells).settings
    stopped = report_of(cells, *left)
    assert whole.p is not None
    assert whole.p_adjusted == whole.p
    assert stopped.settings[0].p_adjusted == pytest.approx(4 * whole.p)
    said = "Corrected over 4 planned settings, 1 of them finished, and over 2 planned pairs of scenario and method."
    assert said in render_battery_markdown(stopped)
    assert "With 3 seeds and 4 planned settings, the first gain" in render_battery_markdown(stopped)
    assert stopped.scenarios[0].p_adjusted == pytest.approx(2 * whole.p)  # iid and target


def test_a_family_holds_what_could_be_tested_and_nothing_else() -> None:
    pooled, lonely = {BatteryArm.POOLED: 0.2}, {BatteryArm.FEDERATED: 0.2}
    cells = [
        *seeds_of(main_arms(0.2), "iid"),
        *seeds_of(pooled, "compound"),
        *seeds_of(lonely, "target"),
        *seeds_of(main_arms(0.2), "family", n_seeds=1),
        *seeds_of(main_arms(0.2), "scaffold", n_seeds=1),
    ]
    scaffold = made_up_key("scaffold")
    left = [(scaffold, 1), *((made_up_key("dirichlet:0.5"), seed) for seed in (0, 1)), (made_up_key("weak:1"), 0)]
    plan = plan_of(cells, left)
    compared = {"iid", "scaffold", "dirichlet:0.5"}  # family and weak:1 have one seed, compound and target no gain
    assert {key.scenario for key in plan.compared} == compared
    assert {key.scenario for key in plan.federated} == compared | {"target"}
    assert {key.scenario for key in plan.finished} == {"iid"}


def test_scenarios_against_iid_are_corrected_for_all_that_are_planned() -> None:
    cells = [*seeds_of(main_arms(0.2))]
    rise = (0.10, 0.11, 0.12)
    for seed in range(3):
        iid = next(cell.mse_of(BatteryArm.FEDERATED) for cell in cells if cell.seed == seed)
        cells.append(made_up_cell(made_up_key("target"), seed, main_arms(iid * (1 + rise[seed]))))
    left = [(made_up_key(scenario), seed) for scenario in ("compound", "family", "size-skew:2") for seed in (0, 1, 2)]
    settings = summed_up(cells)
    alone, among = (judge_ownership(settings, plan_of(cells, more)).effects[0] for more in ([], left))
    assert alone.p_adjusted is not None
    assert among.p_adjusted == pytest.approx(3 * alone.p_adjusted)  # target, compound, family; sizes are no ownership


def test_a_gain_over_an_ensemble_without_alone_supports_no_claim_and_no_headline() -> None:
    report = report_of(seeds_of(WITHOUT_ALONE, "target"))
    (setting,) = report.settings
    assert not isinstance(setting.gain, Undefined)
    assert setting.gain.value > 0.36
    assert setting.call is Call.BETTER  # than the ensemble
    claim = report.claims[0]
    assert (claim.answer, claim.effects) == (Answer.CANNOT_SAY, ())
    said = "The best alternative is not known in 1 setting, which no verdict counts: alone did not run."
    assert claim.sentence == said
    assert battery_headline(report.settings).startswith("No setting can be judged yet")
    assert "Averaged over numbers of partners, it is clearly better" not in render_battery_markdown(report)
    assert report.n_settings_that(Call.BETTER) == 0
    assert where_it_does_not_help(report.settings, ()) == (said,)
    for text in (render_battery_markdown(report), render_battery_html(report)):
        assert text.count(said) == 4  # note, claim, gains, where it does not help
    assert "largest mean gain" not in render_battery_html(report)


@pytest.mark.parametrize(
    ("arms", "lacks"),
    [
        ((BatteryArm.ALONE, BatteryArm.ENSEMBLE), ""),
        ((BatteryArm.ALONE, BatteryArm.ENSEMBLE_WEIGHTED), ""),
        ((BatteryArm.ALONE, BatteryArm.DISTILLED), "no ensemble ran"),
        ((BatteryArm.ENSEMBLE, BatteryArm.DISTILLED), "alone did not run"),
        ((BatteryArm.DISTILLED,), "neither alone nor an ensemble ran"),
    ],
)
def test_the_best_alternative_needs_alone_and_an_ensemble(arms: tuple[BatteryArm, ...], lacks: str) -> None:
    (setting,) = summed_up(seeds_of(dict.fromkeys(arms, 0.3) | {BatteryArm.FEDERATED: 0.2}))
    assert setting.lacks == lacks
    assert (judge_gain([setting]).answer is Answer.SUPPORTED) is (lacks == "")


def test_settings_without_alone_do_not_count_beside_those_with_it() -> None:
    report = report_of([*seeds_of(WITHOUT_ALONE, "target"), *seeds_of(main_arms(0.29))])
    claim = report.claims[0]
    assert [effect.what for effect in claim.effects] == ["iid, 4 partners, fedavg"]
    assert claim.answer is Answer.NOT_SUPPORTED
    assert claim.sentence.endswith(
        "The best alternative is not known in 1 setting, which no verdict counts: alone did not run."
    )
    assert "clearly better than the best alternative in 1 of 1 setting" in battery_headline(report.settings)
    assert "clearly better in 1 and clearly worse in none of 1 pair" in render_battery_markdown(report)


def test_rows_are_the_same_only_where_they_are_known_to_be() -> None:
    one, other, unknown = (RowsTested(n_rows=9, digest=digest) for digest in ("a", "b", None))
    fewer = RowsTested(n_rows=8, digest=None)
    assert sameness([[one, one], [other, other]]) is Sameness.SAME  # of each comparison, not of all
    assert sameness([[one, one], [one, other]]) is Sameness.DIFFERENT
    assert sameness([[one, unknown]]) is Sameness.UNKNOWN
    assert sameness([[unknown, fewer], [one, one]]) is Sameness.DIFFERENT
    assert sameness([[unknown], []]) is Sameness.SAME


@pytest.mark.parametrize(
    ("rows", "cell", "sentence", "note"),
    [
        ("0123456789abcdef", "the same", "", "are tested on the same rows under each seed."),
        (OTHER_ROWS, "different", DIFFERENT, "Settings of kiba published are tested on different rows under the same"),
        (None, "not noted", "Whether the settings compared are tested on the same rows is not noted", "as many rows;"),
    ],
)
def test_a_claim_says_whether_its_settings_share_their_test_rows(
    rows: str | None, cell: str, sentence: str, note: str
) -> None:
    cells = [*seeds_of(main_arms(0.2))]
    cells += [made_up_cell(made_up_key("target"), s, main_arms(0.2 + s / 99), rows=rows) for s in range(3)]
    report = report_of(cells)
    assert sentence in report.claims[1].sentence
    assert ("rows" in report.claims[1].sentence) is bool(sentence)
    assert note in rows_sentence(report.settings)
    for text in (render_battery_markdown(report), render_battery_html(report)):
        assert note in text
        assert sentence in text
    assert f"| 1 | 3 | {cell} | " in render_battery_markdown(report)
    assert "| 1 | 3 | the same | " in render_battery_markdown(report)  # the gain's rows: arms of one cell


def test_trends_are_over_the_rows_of_groups_that_differ_in_one_thing() -> None:
    cells = [
        made_up_cell(made_up_key(f"weak:{share}", n), seed, main_arms(0.2), rows=f"{seed}" * 15 + row)
        for seed in range(2)
        for share, row in (("0.5", "a"), ("1", "b"))
        for n in (2, 4)
    ]
    data, partners = judge_growth(summed_up(cells)).effects
    assert (data.rows, partners.rows) == (Sameness.DIFFERENT, Sameness.SAME)  # rows follow the share
    assert "In 1 of 2 comparisons the settings compared are tested on different rows" in (
        judge_growth(summed_up(cells)).sentence
    )


def test_a_scenario_lacks_what_one_of_its_settings_lacks() -> None:
    cells = [*seeds_of(main_arms(0.2), "target", 2), *seeds_of(WITHOUT_ALONE, "target", 4)]
    plan = plan_of(cells, [])
    (mean,) = gains_by_scenario(summarise(cells, plan), plan)
    assert mean.lacks == "alone did not run"


def federated_traffic(text: str) -> list[str]:
    return re.findall(r"^\| fedavg .*MB.*$", text, flags=re.MULTILINE)


def test_costs_are_of_settings_with_a_federated_arm_only() -> None:
    boosted = [made_up_cell(made_up_key("target"), seed, {BatteryArm.BOOSTED: 0.2}, curve=()) for seed in range(2)]
    federated = seeds_of(main_arms(0.2), n_seeds=2)
    report = report_of([*federated, *boosted])
    assert federated_traffic(render_battery_markdown(report)) == [
        "| fedavg | 4 | 2 | 38.4 MB | 38.4 MB | 79 s | 44 s | 30 s | 30 s | 3.1e-07 |"
    ]
    assert federated_traffic(render_battery_markdown(report_of(federated))) == (
        federated_traffic(render_battery_markdown(report))
    )


def test_costs_of_unlike_networks_and_data_sets_are_not_averaged() -> None:
    cells = [made_up_cell(made_up_key(norm=norm), 0, main_arms(0.2)) for norm in ("batch", "layer")]
    cells.append(made_up_cell(made_up_key("target", norm="layer"), 0, main_arms(0.2), curve=[0.3] * 6))
    text = render_battery_markdown(report_of(cells))
    assert "| method | norm | partners | rounds |" in text
    lines = [line for line in text.splitlines() if line.startswith("| fedavg |") and "MB" in line]
    assert [line.split(" | ")[1:4] for line in lines] == [["batch", "4", "2"], ["layer", "4", "4"]]


def test_the_cost_pictures_draw_a_line_for_each_kind_of_network() -> None:
    cells = [made_up_cell(made_up_key(n_partners=n), 0, main_arms(0.2)) for n in (2, 4)]
    cells.append(made_up_cell(made_up_key(n_partners=4, norm="layer"), 0, main_arms(0.2), curve=[0.3] * 6))
    cells.append(made_up_cell(made_up_key("target", n_partners=4), 0, {BatteryArm.BOOSTED: 0.2}, curve=()))
    for draw, expected in (
        (battery_traffic_plot, {"fedavg, batch": [38.4, 76.8], "fedavg, layer": [None, 230.4]}),  # 2 x n x 4.8 MB x 2
        (battery_time_plot, {"fedavg, batch": [77.0, 79.0], "fedavg, layer": [None, 79.0]}),
    ):
        lines = draw(report_of(cells))["data"]
        assert isinstance(lines, list)
        found = {line["name"]: (line["x"], line["y"]) for line in lines if isinstance(line, dict)}
        assert found == {name: (["2", "4"], values) for name, values in expected.items()}


def test_a_battery_without_federated_runs_has_no_cost_no_curves_and_no_dead_links() -> None:
    cells = [made_up_cell(made_up_key(), seed, {BatteryArm.BOOSTED: 0.2 + seed}, curve=()) for seed in range(2)]
    report = report_of(cells)
    for text in (render_battery_markdown(report), render_battery_html(report).partition("<script>")[0]):
        assert "plain sums" not in text
        assert not re.search(r"\b0 B\b", text)
        assert "Cost of the federated arm" not in text
    page = render_battery_html(report)
    links, ids = (set(re.findall(pattern, page)) for pattern in (r'href="#([\w-]+)"', r' id="([\w-]+)"'))
    assert links <= ids
    assert not {"curves", "cost"} & (links | ids)
    other = render_battery_html(report_of(seeds_of(main_arms(0.2))))
    assert {"curves", "cost"} <= set(re.findall(r'href="#([\w-]+)"', other))


def test_the_leaderboard_shows_baselines_and_says_where_they_beat_federated() -> None:
    arms = main_arms(0.2) | {BatteryArm.BOOSTED: 0.18, BatteryArm.ADDITIVE: 0.3, BatteryArm.DISTILLED: 0.35}
    page = render_battery_html(report_of([*seeds_of(arms), *seeds_of(arms, "target")]))
    said = "Boosted, fitted to all rows in one place, has a lower MSE than federated in 2 of 2 settings."
    board = page[page.index('<div id="board">') : page.index('<div id="curves">')]
    assert said in board
    assert "Additive, fitted" not in page
    for arm, value in (("boosted", 0.18), ("additive", 0.3), ("distilled", 0.35)):
        assert f">MSE {arm}</button>" in board
        assert f'data-value="{np.mean([value] * 3)}"' in board
    assert "MSE ligand-only" not in board


def test_markdown_has_the_concordance_index_of_every_arm() -> None:
    text = render_battery_markdown(report_of(seeds_of(main_arms(0.2))))
    assert "Mean concordance index over seeds, scenario iid, 0 to 1; higher is better." in text
    assert "| setting | alone | ensemble | federated | pooled |" in text
    assert "| iid, 4 partners, fedavg | 0.850 | 0.700 | 0.900 | 0.925 |" in text
