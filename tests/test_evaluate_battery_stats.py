"""Gains over seeds, Holm's correction and the three claims, worked by hand and against references."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from battery_cases import made_up_battery, made_up_cell, made_up_key, main_arms, summed_up
from pharmonia.base.errors import MetricError
from pharmonia.evaluate.battery import BatteryArm, CellKey, CellOutcome
from pharmonia.evaluate.battery_claims import judge_claims, judge_gain, judge_ownership
from pharmonia.evaluate.battery_effects import Answer, ClaimResult, Finding
from pharmonia.evaluate.battery_growth import judge_growth
from pharmonia.evaluate.battery_plan import Plan
from pharmonia.evaluate.battery_ranks import rank_methods
from pharmonia.evaluate.battery_scenarios import balanced, gains_by_scenario, needed_signal
from pharmonia.evaluate.battery_stats import (
    Call,
    OverSeeds,
    SettingResult,
    holm_adjusted,
    holm_over_tests,
    mean_curve,
    over_seeds,
    t_test,
)
from pharmonia.evaluate.gain import Undefined

SMALL = (0.995, 1.0, 1.005)  # how a seed's luck changes its errors


def one_setting(*arms: Mapping[BatteryArm, float]) -> SettingResult:
    return summed_up([made_up_cell(made_up_key(), seed, mse) for seed, mse in enumerate(arms)])[0]


def whole(settings: Sequence[SettingResult]) -> Plan:
    """The plan of a battery that has these settings, all of them finished."""
    keys = frozenset(setting.key for setting in settings if len(setting.seeds) > 1)
    return Plan(federated=keys, compared=keys, finished=keys)


def ownership(settings: Sequence[SettingResult]) -> ClaimResult:
    return judge_ownership(settings, whole(settings))


def gain_of(setting: SettingResult) -> OverSeeds:
    if isinstance(setting.gain, Undefined):
        pytest.fail(setting.gain.reason)
    return setting.gain


def battery(error: Callable[[CellKey, int], float], *keys: CellKey, n_seeds: int = 3) -> tuple[SettingResult, ...]:
    """Settings whose federated MSE is given by a function; alone is 0.3, pooled 0.15."""
    cells = [made_up_cell(key, seed, main_arms(error(key, seed))) for key in keys for seed in range(n_seeds)]
    return summed_up(cells)


def test_a_gain_over_two_seeds_worked_by_hand() -> None:
    setting = one_setting(main_arms(0.24), main_arms(0.27))
    gain = gain_of(setting)
    assert gain.value == pytest.approx(0.15)  # 1 - 0.24 / 0.3 = 0.2 and 1 - 0.27 / 0.3 = 0.1
    assert gain.half_width == pytest.approx(12.7062047 * 0.05)  # t of 1 degree of freedom; s / sqrt(2) = 0.05
    assert setting.p == pytest.approx(2 * (0.5 - math.atan(3.0) / math.pi))  # t = 3, a Cauchy distribution
    assert setting.gap_closed == pytest.approx(0.045 / 0.15)  # (0.3 - 0.255) / (0.3 - 0.15)
    assert setting.call is Call.NO_DIFFERENCE


def test_the_best_alternative_is_chosen_under_each_seed() -> None:
    first = main_arms(0.2, alone=0.25) | {BatteryArm.ENSEMBLE: 0.4, BatteryArm.BOOSTED: 0.01}
    second = main_arms(0.2, alone=0.5) | {BatteryArm.ENSEMBLE: 0.4, BatteryArm.BOOSTED: 0.01}
    setting = one_setting(first, second)
    assert gain_of(setting).value == pytest.approx(((1 - 0.2 / 0.25) + (1 - 0.2 / 0.4)) / 2)
    assert setting.best_alternative is BatteryArm.ALONE  # of the lower mean, 0.375; baselines do not count


@given(
    errors=st.lists(st.tuples(*[st.floats(0.05, 1.0)] * 4), min_size=2, max_size=6),
)
def test_choosing_under_each_seed_never_favours_federating(errors: list[tuple[float, ...]]) -> None:
    arms = (BatteryArm.FEDERATED, BatteryArm.ALONE, BatteryArm.ENSEMBLE, BatteryArm.DISTILLED)
    setting = one_setting(*(dict(zip(arms, values, strict=True)) for values in errors))
    for index in (1, 2, 3):
        fixed = np.mean([1 - values[0] / values[index] for values in errors])
        assert gain_of(setting).value <= fixed + 1e-9


def test_one_seed_has_a_gain_but_no_interval_and_no_test() -> None:
    setting = one_setting(main_arms(0.24))
    assert gain_of(setting) == over_seeds([1 - 0.24 / 0.3])
    assert gain_of(setting).half_width is None
    assert gain_of(setting).low == -math.inf
    assert gain_of(setting).high == math.inf
    assert (setting.p, setting.p_adjusted, setting.call) == (None, None, Call.NOT_TESTED)


@pytest.mark.parametrize(
    ("arms", "reason"),
    [
        ([{BatteryArm.ALONE: 0.3}], "the federated arm did not run"),
        ([{BatteryArm.FEDERATED: 0.3, BatteryArm.POOLED: 0.1}], "no alternative without pooling ran"),
        ([main_arms(0.2), main_arms(0.2) | {BatteryArm.DISTILLED: 0.2}], "different alternatives"),
        ([main_arms(0.2, alone=0.0)], "error is zero"),
    ],
)
def test_without_the_arms_there_is_a_reason_instead_of_a_gain(arms: list[dict[BatteryArm, float]], reason: str) -> None:
    setting = one_setting(*arms)
    assert isinstance(setting.gain, Undefined)
    assert reason in setting.gain.reason
    assert setting.call is Call.NOT_TESTED


def test_nothing_is_said_of_the_way_to_pooling_where_pooling_does_not_win() -> None:
    assert isinstance(one_setting(main_arms(0.2), main_arms(0.2, pooled=0.31)).gap_closed, Undefined)
    assert isinstance(one_setting({BatteryArm.ALONE: 0.3, BatteryArm.FEDERATED: 0.2}).gap_closed, Undefined)


@given(values=st.lists(st.floats(-1, 1), min_size=2, max_size=9, unique=True))
def test_interval_and_p_are_scipys(values: list[float]) -> None:
    if np.std(values) < 1e-6:
        return
    reference = stats.ttest_1samp(values, 0.0)
    interval = reference.confidence_interval(0.95)
    mean = over_seeds(values)
    assert mean.low == pytest.approx(float(interval.low), rel=1e-9, abs=1e-12)
    assert mean.high == pytest.approx(float(interval.high), rel=1e-9, abs=1e-12)
    assert t_test(values) == pytest.approx(reference.pvalue, rel=1e-9, abs=1e-300)


def test_seeds_without_spread_are_not_tested() -> None:
    assert t_test([0.1, 0.1]) is None
    assert t_test([0.1]) is None


def test_holm_worked_by_hand() -> None:
    # m = 4: sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 is 0.02, 0.03, 0.06, 0.04; then the running maximum
    assert holm_adjusted([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm_adjusted([0.9, 0.8]) == (1.0, 1.0)
    assert holm_adjusted([]) == ()


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_the_step_down_procedure_rejects(p: list[float]) -> None:
    rejected: set[int] = set()
    for index in sorted(range(len(p)), key=lambda i: p[i]):
        if p[index] * (len(p) - len(rejected)) >= 0.05:
            break
        rejected.add(index)
    adjusted = holm_adjusted(p)
    assert {i for i, value in enumerate(adjusted) if value < 0.05} == rejected
    assert all(raw <= value <= min(1.0, len(p) * raw) + 1e-15 for raw, value in zip(p, adjusted, strict=True))


def test_holm_keeps_its_promise_of_5_percent_false_calls() -> None:
    rng = np.random.default_rng(5)
    false = sum(min(holm_adjusted(rng.random(20).tolist())) < 0.05 for _ in range(2000))
    assert 0.04 < false / 2000 < 0.06


def test_settings_that_were_not_to_be_tested_do_not_count_for_the_correction() -> None:
    assert holm_over_tests({"a": 0.03, "b": None, "c": 0.02}, 2) == {"a": 0.04, "b": None, "c": 0.04}
    with pytest.raises(MetricError, match="between 0 and 1"):
        holm_adjusted([1.5])


def test_more_settings_make_the_same_gain_less_clear() -> None:
    def error(key: CellKey, seed: int) -> float:
        return 0.3 - (0.05, 0.06, 0.055)[seed] * (key.n_partners == 2) - (0.001, -0.001, 0.0)[seed]

    alone = battery(error, made_up_key(n_partners=2))
    among = battery(error, *(made_up_key(n_partners=n) for n in range(2, 42)))
    assert alone[0].call is Call.BETTER
    assert among[0].p == pytest.approx(alone[0].p)
    assert among[0].call is Call.NO_DIFFERENCE


@pytest.mark.parametrize("values", [[0.1] * 3, [0.2] * 10, [1 - 0.2 / 0.3, 1 - 0.4 / 0.6], [1e9 / 3] * 3])
def test_seeds_that_are_all_alike_are_not_tested_whatever_rounding_leaves_of_a_spread(values: list[float]) -> None:
    assert t_test(values) is None


def test_a_clear_loss_is_called_worse() -> None:
    assert battery(lambda _, seed: 0.4 * SMALL[seed], made_up_key())[0].call is Call.WORSE


def test_settings_come_in_reading_order_and_cells_once() -> None:
    keys = [made_up_key(s, n) for s in ("weak:1", "weak:0.3", "target", "iid", "weak:0.05") for n in (16, 2)]
    found = [(s.key.scenario, s.key.n_partners) for s in battery(lambda *_: 0.2, *keys, n_seeds=1)]
    assert found == [(s, n) for s in ("iid", "target", "weak:0.05", "weak:0.3", "weak:1") for n in (2, 16)]
    with pytest.raises(MetricError, match="appears twice"):
        summed_up([made_up_cell(made_up_key(), 0, main_arms(0.2))] * 2)


def test_a_curve_that_stopped_early_keeps_its_lowest_error() -> None:
    mean = mean_curve([np.array([3.0, 1.0, 2.0]), np.array([5.0])])
    assert mean.tolist() == [4.0, 3.0, 3.5]
    assert mean_curve([np.array([1.0]), np.empty(0)]).size == 0


def test_a_gain_of_15_percent_is_supported_only_where_it_is_clear() -> None:
    clear = judge_gain(battery(lambda _, seed: 0.25 * SMALL[seed], made_up_key()))
    assert clear.answer is Answer.SUPPORTED
    assert clear.sentence.startswith(
        "In 1 of 1 setting the mean gain is 15 % or more and clearly above zero; the most is +17 % ("
    )
    noisy = judge_gain(battery(lambda _, seed: (0.1, 0.3, 0.3)[seed], made_up_key()))
    assert noisy.answer is Answer.CANNOT_SAY
    assert "In no setting is it both 15 % or more and clearly above zero, but in 1 of 1 setting a" in noisy.sentence
    small = judge_gain(battery(lambda _, seed: 0.28 * SMALL[seed], made_up_key(), made_up_key("target")))
    assert small.answer is Answer.NOT_SUPPORTED
    assert "every interval ends below 15 %" in small.sentence


def test_the_sentence_of_a_claim_says_no_more_than_was_tested() -> None:
    gains = (0.10, 0.16, 0.20)
    claim = judge_gain(battery(lambda _, seed: 0.3 * (1 - gains[seed]), made_up_key()))
    assert claim.effects[0].size.low < 0.15  # 15 % itself is within the interval; only zero is not
    assert claim.sentence == (
        "In 1 of 1 setting the mean gain is 15 % or more and clearly above zero; the most is +15 % (+2.8 to +28) in "
        "iid, 4 partners, fedavg."
    )
    rises = (0.02, 0.06, 0.08)
    hurt = ownership(
        battery(
            lambda key, seed: 0.2 * (1 + rises[seed] * (key.kind == "target")), made_up_key(), made_up_key("target")
        )
    )
    assert hurt.answer is Answer.CANNOT_SAY
    assert hurt.sentence.startswith("In no scenario is the mean rise of the federated MSE both 5 % or more and clearly")
    harm = ownership(ownership_battery(0.2))
    assert harm.sentence.startswith(
        "In 1 of 2 scenarios the mean rise of the federated MSE is 5 % or more and clearly above zero; the most is +2"
    )
    assert "every interval ends below 5 %" in ownership(ownership_battery(0.01)).sentence
    growth = judge_growth(weak_battery(-0.1, 0.05)).sentence
    assert "the mean fall is 5 % or more and clearly above zero." in growth
    assert "the mean rise is 5 % or more and clearly above zero." in growth


def test_one_seed_supports_no_claim_and_none_against_it() -> None:
    keys = [made_up_key(s, n) for s in ("iid", "target", "weak:0.1", "weak:1") for n in (2, 8)]
    settings = battery(lambda key, _: 0.1 + 0.01 * key.n_partners, *keys, n_seeds=1)
    claims = judge_claims(settings, whole(settings))
    assert [claim.answer for claim in claims] == [Answer.CANNOT_SAY] * 3
    assert all("One seed only" in claim.sentence for claim in claims)
    assert all(claim.effects for claim in claims)


def test_a_battery_without_the_cells_cannot_say() -> None:
    settings = summed_up([made_up_cell(made_up_key(), 0, {BatteryArm.POOLED: 0.2})])
    claims = judge_claims(settings, whole(settings))
    assert [claim.answer for claim in claims] == [Answer.CANNOT_SAY] * 3
    assert [claim.effects for claim in claims] == [()] * 3
    assert claims[1].sentence == ("The battery has no scenario beside IID at equal partners, model, method and seed.")


def ownership_battery(rise: float, spread: float = 0.0) -> tuple[SettingResult, ...]:
    def error(key: CellKey, seed: int) -> float:
        change = rise + spread * (seed - 1) if key.kind == "target" else 0.0
        return 0.2 * SMALL[seed] * (1 + change) * (1 + 0.001 * seed * (key.kind != "iid"))

    return battery(error, *(made_up_key(s, n) for s in ("iid", "target", "compound", "size-skew:2") for n in (4, 8)))


def test_ownership_that_is_not_iid_hurts_harms_not_or_stays_open() -> None:
    harmless = ownership(ownership_battery(0.01))
    assert harmless.answer is Answer.SUPPORTED
    assert [effect.what for effect in harmless.effects] == ["target against iid", "compound against iid"]
    assert harmless.effects[0].size.value == pytest.approx(0.01 + 0.001 * 1.01)  # seeds add 0, 0.1 and 0.2 %
    assert harmless.effects[0].n_settings == 2
    assert ownership(ownership_battery(0.2)).answer is Answer.NOT_SUPPORTED
    assert ownership(ownership_battery(0.02, spread=0.1)).answer is Answer.CANNOT_SAY
    assert ownership(ownership_battery(0.02, spread=0.1)).effects[0].finding is Finding.OPEN


def test_a_pair_of_settings_is_compared_at_equal_seeds_only() -> None:
    cells = [made_up_cell(made_up_key("iid"), seed, main_arms(0.2 * 2**seed)) for seed in (0, 1, 2)]
    cells += [made_up_cell(made_up_key("target"), seed, main_arms(0.2 * 2**seed * 1.1)) for seed in (1, 2, 3)]
    (effect,) = ownership(summed_up(cells)).effects
    assert effect.size.n_seeds == 2
    assert effect.size.value == pytest.approx(0.1)


def test_means_over_settings_are_over_the_same_settings_under_every_seed() -> None:
    keys = [made_up_key(n_partners=n) for n in (2, 4, 8)]
    full, half = frozenset({0, 1, 2}), frozenset({0, 1})
    assert balanced({keys[0]: full, keys[1]: full, keys[2]: half}) == (keys[:2], [0, 1, 2])  # 2 x 2 beats 3 x 1
    assert balanced({keys[0]: full, keys[1]: half, keys[2]: half}) == (keys, [0, 1])
    assert balanced({keys[0]: frozenset()}) == ([], [])
    assert balanced({}) == ([], [])


def weak_battery(per_doubling_of_data: float, per_doubling_of_partners: float) -> tuple[SettingResult, ...]:
    def error(key: CellKey, seed: int) -> float:
        doublings = math.log2(key.parameter / 0.25)
        change = (1 + per_doubling_of_data) ** doublings * (1 + per_doubling_of_partners) ** math.log2(key.n_partners)
        luck = 1 + 0.002 * seed
        return float(0.2 * SMALL[seed] * change * luck**doublings * luck**key.n_partners)

    shares = ("weak:0.25", "weak:0.5", "weak:1")
    return battery(error, *(made_up_key(share, n) for share in shares for n in (2, 4, 8)))


def test_growth_is_the_fitted_change_over_the_tested_range() -> None:
    claim = judge_growth(weak_battery(-0.1, 0.05))
    data, partners = claim.effects
    assert data.what == "fall from a share of 25 % to 100 %"
    assert data.size.value == pytest.approx(1 - 0.9**2 * np.mean([1.002 ** (2 * s) for s in range(3)]), abs=1e-4)
    assert partners.what == "rise from 2 to 8 partners"
    assert partners.size.value == pytest.approx(1.05**2 - 1, abs=0.02)
    assert data.n_settings == partners.n_settings == 9
    assert claim.answer is Answer.SUPPORTED


def test_growth_is_not_supported_when_one_half_is_ruled_out() -> None:
    assert judge_growth(weak_battery(-0.1, 0.0)).answer is Answer.NOT_SUPPORTED
    assert judge_growth(weak_battery(0.05, 0.05)).answer is Answer.NOT_SUPPORTED


def test_growth_says_which_cells_are_missing() -> None:
    one_share = [s for s in weak_battery(-0.1, 0.05) if s.key.scenario == "weak:1"]
    claim = judge_growth(one_share)
    assert claim.answer is Answer.CANNOT_SAY
    assert claim.sentence.endswith("Several shares at equal partners are missing.")
    one_count = [s for s in weak_battery(-0.1, 0.05) if s.key.n_partners == 4]
    assert judge_growth(one_count).sentence.endswith("Several numbers of partners at equal share are missing.")


def test_methods_are_ranked_where_all_of_them_ran() -> None:
    def error(key: CellKey, seed: int) -> float:
        return {"fedavg": 0.2, "fedprox": 0.2, "scaffold": 0.19}[key.method] * SMALL[seed]

    keys = [made_up_key("iid", n, method) for n in (2, 4) for method in ("fedavg", "fedprox", "scaffold")]
    first, second, third = rank_methods(battery(error, *keys, made_up_key("target", 2, "fedavg")))
    assert (first.method, first.mean_rank, first.n_first, first.n_settings) == ("scaffold", 1.0, 2, 2)
    assert (second.method, second.mean_rank, third.mean_rank) == ("fedavg", 2.5, 2.5)
    assert first.mean_gain == pytest.approx(1 - 0.19 / 0.3)
    assert second.n_tested == 3


def test_a_whole_battery_is_judged_in_a_moment() -> None:
    outcomes: tuple[CellOutcome, ...] = made_up_battery()
    settings = summed_up(outcomes)
    assert len(settings) == len(outcomes) // 3
    p = [setting.p for setting in settings if setting.p is not None]
    assert tuple(s.p_adjusted for s in settings) == holm_adjusted(p)


def test_the_gain_of_a_scenario_is_a_mean_over_partner_counts_under_each_seed() -> None:
    def error(key: CellKey, seed: int) -> float:
        return 0.3 * (1 - {2: 0.1, 4: 0.3}[key.n_partners] - 0.02 * seed)

    keys = [made_up_key("target", n, method) for n in (2, 4) for method in ("fedavg", "fedprox")]
    settings = battery(error, *keys)
    results = gains_by_scenario(settings, whole(settings))
    assert [(result.key.method, result.n_partners) for result in results] == [("fedavg", (2, 4)), ("fedprox", (2, 4))]
    assert results[0].gain.value == pytest.approx(0.2 + 0.02)
    p = stats.ttest_1samp([0.2, 0.22, 0.24], 0.0).pvalue
    assert results[0].p_adjusted == pytest.approx(2 * p)
    assert results[0].call is Call.BETTER


def test_a_number_of_partners_without_every_seed_is_left_out_of_the_mean() -> None:
    cells = [made_up_cell(made_up_key(n_partners=n), s, main_arms(0.2)) for n in (2, 4) for s in (0, 1, 2)]
    cells.append(made_up_cell(made_up_key(n_partners=8), 0, main_arms(0.1)))
    settings = summed_up(cells)
    (result,) = gains_by_scenario(settings, whole(settings))
    assert (result.n_partners, result.n_left_out, result.gain.n_seeds) == ((2, 4), 1, 3)
    settings = summed_up(cells[-1:])
    (lonely,) = gains_by_scenario(settings, whole(settings))
    assert lonely.call is Call.NOT_TESTED


def test_the_signal_that_holms_first_step_needs_is_named_exactly() -> None:
    values = np.array([-1.0, 0.0, 1.0])  # mean 0, standard deviation 1
    at = needed_signal(90, 3)
    for shift, clear in ((at * 1.001, True), (at * 0.999, False)):
        p = stats.ttest_1samp(values + shift, 0.0).pvalue
        assert (holm_adjusted([float(p), *[1.0] * 89])[0] < 0.05) is clear
