"""Methods are ranked and compared over the same alternatives, and where gains are over unlike ones that is said."""

from importlib.resources import files
from pathlib import Path

import pytest

from battery_cases import SCENARIOS, made_up_battery, made_up_battery_description, made_up_cell, made_up_key, summed_up
from pharmonia.bench.arms import ArmJob
from pharmonia.bench.battery import Cell, read_battery
from pharmonia.evaluate.battery import BatteryArm, CellOutcome
from pharmonia.evaluate.battery_html import render_battery_html
from pharmonia.evaluate.battery_ranks import rank_methods, rank_note
from pharmonia.evaluate.battery_report import BatteryReport, build_battery_report
from pharmonia.evaluate.battery_text import render_battery_markdown
from pharmonia.evaluate.battery_wording import unlike_alternatives
from pharmonia.evaluate.gain import Undefined
from pharmonia.evaluate.outcome import Arm

FEW = {BatteryArm.ALONE: 0.3, BatteryArm.ENSEMBLE: 0.25}
MORE = FEW | {BatteryArm.ENSEMBLE_WEIGHTED: 0.24, BatteryArm.DISTILLED: 0.206}


def unlike_cells() -> list[CellOutcome]:
    """FedAvg is judged against four alternatives, FedProx against two of them; FedAvg has the lower error."""
    cells = []
    for seed in range(3):
        luck = 1 + seed / 1000
        avg, prox = ({BatteryArm.FEDERATED: error * luck} for error in (0.2, 0.2005))
        cells.append(made_up_cell(made_up_key("target", 8, "fedavg"), seed, MORE | avg))
        cells.append(made_up_cell(made_up_key("target", 8, "fedprox"), seed, FEW | prox))
    return cells


def report_of(cells: list[CellOutcome]) -> BatteryReport:
    return build_battery_report(cells, made_up_battery_description())


def test_a_ranks_gain_is_over_the_alternatives_that_every_method_ran() -> None:
    first, second = rank_methods(summed_up(unlike_cells()))
    assert (first.method, second.method) == ("fedavg", "fedprox")
    assert first.mean_gain == pytest.approx(1 - 0.2 * 1.001 / 0.25)
    assert second.mean_gain == pytest.approx(1 - 0.2005 * 1.001 / 0.25)


def test_a_common_alternative_is_chosen_under_each_seed() -> None:
    cells = []
    for seed, (alone, ensemble) in enumerate([(0.25, 0.5), (0.5, 0.4)]):
        arms = {BatteryArm.ALONE: alone, BatteryArm.ENSEMBLE: ensemble, BatteryArm.FEDERATED: 0.2}
        cells.append(made_up_cell(made_up_key(method="fedavg"), seed, arms))
        cells.append(made_up_cell(made_up_key(method="fedprox"), seed, arms | {BatteryArm.DISTILLED: 0.1}))
    for rank in rank_methods(summed_up(cells)):
        assert rank.mean_gain == pytest.approx((1 - 0.2 / 0.25 + 1 - 0.2 / 0.4) / 2)


@pytest.mark.parametrize("second", [{BatteryArm.DISTILLED: 0.2}, {BatteryArm.ALONE: 0.0}])
def test_without_an_alternative_in_common_methods_have_ranks_but_no_gain(second: dict[BatteryArm, float]) -> None:
    settings = summed_up(
        [
            made_up_cell(made_up_key(method="fedavg"), 0, {BatteryArm.ALONE: 0.3, BatteryArm.FEDERATED: 0.2}),
            made_up_cell(made_up_key(method="fedprox"), 0, second | {BatteryArm.FEDERATED: 0.1}),
        ]
    )
    ranks = rank_methods(settings)
    assert [rank.mean_rank for rank in ranks] == [1.0, 2.0]
    assert all(isinstance(rank.mean_gain, Undefined) for rank in ranks)
    assert ("there is no mean gain" in rank_note(settings)) is (BatteryArm.DISTILLED in second)


def test_the_table_of_methods_says_what_its_gains_are_over() -> None:
    note = (
        "Mean gain: over the best of the alternatives that every method ran in a compared setting (alone, ensemble). "
        "Clear calls count all settings of a method, each over all alternatives that ran in it."
    )
    report = report_of(unlike_cells())
    assert rank_note(report.settings) == note
    assert note in render_battery_markdown(report)
    assert note in render_battery_html(report)
    apart = summed_up([made_up_cell(made_up_key(m, method=m), 0, MORE) for m in ("a", "b")])
    assert rank_note(apart).startswith("No setting was finished by every method under the same seeds")


def test_gains_over_unlike_alternatives_are_not_ranked_and_their_alternatives_are_shown() -> None:
    report = report_of(unlike_cells())
    note = (
        "Gains are over unlike alternatives (1 setting over alone, ensemble, ensemble-weighted, distilled; 1 setting "
        "over alone, ensemble); compare them only where the alternatives are the same."
    )
    assert unlike_alternatives(report.settings) == note
    assert note in render_battery_markdown(report)
    page = render_battery_html(report)
    board = page[page.index('<table id="board-table"') : page.index("</table>", page.index('<table id="board-table"'))]
    assert "aria-sort=" not in board
    assert note in board
    assert 'data-value="alone, ensemble"' in board
    assert board.index('data-value="fedavg"') < board.index('data-value="fedprox"')


def test_gains_over_the_same_alternatives_are_ranked_without_a_word() -> None:
    report = report_of(list(made_up_battery()))
    assert unlike_alternatives(report.settings) == ""
    assert "unlike" not in render_battery_markdown(report)
    assert "gain is over" not in render_battery_html(report)
    assert len({setting.key.scenario for setting in report.settings}) == len(SCENARIOS)


def test_the_methods_of_the_full_battery_are_judged_by_fedavgs_arms_without_more_training() -> None:
    battery = read_battery(Path(str(files("pharmonia.bench") / "batteries" / "full.toml")))

    def is_compared(cell: Cell) -> bool:
        k = cell.key
        return (k.scenario, k.protocol, k.n_partners, k.model, k.norm) == ("target", "published", 8, "gin", "batch")

    cells = [cell for cell in battery.cells if is_compared(cell) and cell.seed == 0]
    (fedavg,) = [cell for cell in cells if cell.key.method == "fedavg"]
    assert len(cells) == 11
    for cell in cells:
        assert cell.arms == fedavg.arms
        more = set(cell.jobs().values()) - set(fedavg.jobs().values())
        assert all(isinstance(job, ArmJob) and job.arm is Arm.FEDERATED for job in more)
        assert len(more) == (cell is not fedavg)
