"""Gains are paired, honest about what has no number, and their intervals cover as they should."""

from dataclasses import replace

import numpy as np
import pytest

from pharmonia.base.errors import MetricError
from pharmonia.evaluate.gain import Comparison, Estimate, Figure, TestRows, Undefined, Verdict, compare_arms
from pharmonia.evaluate.metrics import Metric, score
from pharmonia.evaluate.outcome import Arm, Curve, Holding, Holdings, SeedOutcome, mean_curve
from report_cases import made_up_outcome


def compared(*outcomes: SeedOutcome, n_resamples: int = 200) -> dict[tuple[str | None, TestRows], Comparison]:
    found = compare_arms(outcomes, np.random.default_rng(3), n_resamples)
    return {(comparison.partner, comparison.rows): comparison for comparison in found}


def number(figure: Figure) -> Estimate:
    if isinstance(figure, Undefined):
        pytest.fail(f"expected a number, got: {figure.reason}")
    return figure


def with_own_rows(outcome: SeedOutcome, sizes: tuple[int, ...]) -> SeedOutcome:
    """The same predictions with other owners."""
    return replace(outcome, owner=np.repeat(np.arange(len(sizes)), sizes).astype(np.int16))


def test_scores_are_those_of_the_plain_metrics() -> None:
    outcome = made_up_outcome()
    found = compared(outcome)
    mine = outcome.owner == 2
    cases = {
        ("partner-3", TestRows.OWN): (mine, (outcome.alone[2], outcome.ensemble, outcome.federated, outcome.pooled)),
        (None, TestRows.OWN): (
            np.ones_like(mine),
            (outcome.alone_by_owner, outcome.ensemble, outcome.federated, outcome.pooled),
        ),
        ("partner-1", TestRows.ALL): (
            np.ones_like(mine),
            (outcome.alone[0], outcome.ensemble, outcome.federated, outcome.pooled),
        ),
    }
    for key, (rows, predictions) in cases.items():
        for scores, predicted in zip(found[key].scores, predictions, strict=True):
            plain = score(outcome.measured[rows], predicted[rows])
            for metric in Metric:
                assert number(scores.of(metric)).value == pytest.approx(getattr(plain, metric.value), abs=1e-9)


def test_overall_alone_on_all_rows_is_the_mean_over_partners() -> None:
    outcome = made_up_outcome()
    alone = compared(outcome)[None, TestRows.ALL].scores[0]
    expected = np.mean([score(outcome.measured, f).mse for f in outcome.alone])
    assert number(alone.mse).value == pytest.approx(expected)


def test_the_gain_is_over_the_better_of_alone_and_ensemble() -> None:
    outcome = made_up_outcome()
    for comparison in compared(outcome).values():
        alone, ensemble, federated, pooled = (number(scores.mse).value for scores in comparison.scores)
        best = min(alone, ensemble)
        assert number(comparison.gain).value == pytest.approx(1 - federated / best)
        assert number(comparison.gain_over_alone).value == pytest.approx(1 - federated / alone)
        assert number(comparison.gain_over_ensemble).value == pytest.approx(1 - federated / ensemble)
        assert number(comparison.gain_of_pooling).value == pytest.approx(1 - pooled / best)
        if isinstance(comparison.gap_closed, Estimate):
            assert comparison.gap_closed.value == pytest.approx((best - federated) / (best - pooled))
        assert comparison.best_alternative is (Arm.ALONE if alone <= ensemble else Arm.ENSEMBLE)


def test_equal_arms_gain_exactly_nothing() -> None:
    outcome = made_up_outcome()
    same = replace(
        outcome, alone=np.tile(outcome.federated, (4, 1)), pooled=outcome.federated, federated=outcome.federated
    )
    for comparison in compared(same).values():
        assert comparison.gain == Estimate(value=0.0, low=0.0, high=0.0)
        assert comparison.verdict is Verdict.NO_DIFFERENCE
        assert isinstance(comparison.gap_closed, Undefined)


def test_verdicts_follow_the_interval() -> None:
    for noise, verdict in ((0.25, Verdict.GAINS), (1.2, Verdict.LOSES)):
        overall = compared(made_up_outcome(n_test=800, federated_noise=noise))[None, TestRows.OWN]
        assert overall.verdict is verdict
        gain = number(overall.gain)
        assert (gain.low > 0) == (verdict is Verdict.GAINS)
        assert (gain.high < 0) == (verdict is Verdict.LOSES)


def test_the_same_resamples_give_the_same_answer() -> None:
    outcome = made_up_outcome()
    assert compare_arms([outcome], np.random.default_rng(1), 150) == compare_arms(
        [outcome], np.random.default_rng(1), 150
    )


def test_a_partner_without_rows_does_not_crash_the_others() -> None:
    outcome = with_own_rows(made_up_outcome(), (1, 0, 5, 394))
    found = compared(outcome)
    for name, n_rows in (("partner-1", 1), ("partner-2", 0)):
        comparison = found[name, TestRows.OWN]
        assert comparison.verdict is Verdict.TOO_FEW_ROWS
        assert comparison.gain == Undefined(reason=f"{n_rows} test rows, at least 2 are needed")
    few = found["partner-3", TestRows.OWN]
    assert (few.n_rows, few.verdict) == (5, Verdict.TOO_FEW_ROWS)
    assert number(few.gain)
    assert found["partner-4", TestRows.OWN].verdict is not Verdict.TOO_FEW_ROWS


def test_a_partner_with_equal_measured_values_has_an_error_but_no_ranking() -> None:
    outcome = made_up_outcome()
    measured = np.where(outcome.owner == 0, 11.1, outcome.measured)
    scores = compared(replace(outcome, measured=measured))["partner-1", TestRows.OWN].scores
    for arm in scores:
        assert number(arm.mse)
        assert isinstance(arm.ci, Undefined)
        assert "measured values are equal" in arm.ci.reason


def test_no_gap_to_pooling_is_said_not_divided_by() -> None:
    overall = compared(made_up_outcome(pooled_noise=1.5))[None, TestRows.OWN]
    assert isinstance(overall.gap_closed, Undefined)
    assert "no gap to close" in overall.gap_closed.reason


def test_seeds_are_averaged_and_their_t_interval_stands_apart() -> None:
    outcomes = [made_up_outcome(seed=seed) for seed in (1, 2, 3)]
    together = compared(*outcomes)[None, TestRows.OWN]
    gains = [number(compared(outcome)[None, TestRows.OWN].gain).value for outcome in outcomes]
    assert number(together.gain).value == pytest.approx(np.mean(gains))
    over_seeds = number(together.gain_over_seeds)
    margin = 4.302652729911275 * np.std(gains, ddof=1) / np.sqrt(3)  # Student's t, 2 degrees of freedom
    assert over_seeds.high - over_seeds.value == pytest.approx(margin)
    alone = compared(outcomes[0])[None, TestRows.OWN].gain_over_seeds
    assert isinstance(alone, Undefined)
    assert "one seed" in alone.reason


def test_the_same_test_rows_under_two_seeds_do_not_count_twice() -> None:
    first = made_up_outcome()
    second = replace(first, seed=2)
    once, twice = (number(compared(*o)[None, TestRows.OWN].gain) for o in ((first,), (first, second)))
    assert twice.value == pytest.approx(once.value)
    assert twice.low == pytest.approx(once.low)
    assert twice.high == pytest.approx(once.high)


def test_intervals_cover_the_true_gain_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(11)
    base = made_up_outcome(n_test=150, n_partners=1)
    true_gain, n_trials, n_covered = 1 - 0.5**2 / 0.7**2, 200, 0
    for _ in range(n_trials):
        measured = rng.normal(11.7, 0.8, 150)
        noise = rng.normal(size=(3, 150)) * np.array([[0.7], [0.5], [0.45]])
        outcome = replace(
            base,
            measured=measured,
            alone=measured + noise[:1],
            federated=measured + noise[1],
            pooled=measured + noise[2],
        )
        gain = number(compare_arms([outcome], rng, 200)[0].gain)
        n_covered += gain.low <= true_gain <= gain.high
    assert 0.90 <= n_covered / n_trials <= 0.99


@pytest.mark.parametrize(
    ("outcomes", "n_resamples", "message"),
    [
        ([], 200, "at least one seed"),
        ([made_up_outcome(), made_up_outcome()], 200, "each seed may appear once"),
        ([made_up_outcome(), made_up_outcome(seed=2, n_partners=3)], 200, "same partners"),
        ([made_up_outcome()], 99, "at least 100 resamples"),
    ],
)
def test_outcomes_that_do_not_belong_together_are_refused(
    outcomes: list[SeedOutcome], n_resamples: int, message: str
) -> None:
    with pytest.raises(MetricError, match=message):
        compare_arms(outcomes, np.random.default_rng(0), n_resamples)


def test_outcomes_refuse_arrays_that_do_not_fit() -> None:
    good = made_up_outcome(n_test=20)
    for change, message in (
        ({"pooled": np.zeros(19)}, "pooled must have shape"),
        ({"alone": np.zeros((3, 20))}, "alone must have shape"),
        ({"federated": np.full(20, np.nan)}, "federated holds 20 values that are not finite"),
        ({"owner": np.full(20, 4, dtype=np.int16)}, "owner must hold"),
        ({"test_rows": np.zeros(20, dtype=np.int64)}, "different rows"),
        ({"partners": ("a", "b", "c", "d")}, "holdings must list the partners"),
        ({"curves": good.curves + good.curves[:1]}, "at most one curve"),
    ):
        with pytest.raises(MetricError, match=message):
            replace(good, **change)
    with pytest.raises(ValueError, match="read-only"):
        good.measured[0] = 1.0


def test_holdings_refuse_matrices_that_contradict_the_counts() -> None:
    one = Holding(partner="a", n_train=1, n_valid=0, n_test=1, n_compounds=2, n_targets=1)
    with pytest.raises(MetricError, match="diagonal of shared_compounds"):
        Holdings(partners=(one,), shared_compounds=np.array([[3]]), shared_targets=np.array([[1]]))


def test_a_partner_that_stopped_early_keeps_its_best_error() -> None:
    long = Curve(arm=Arm.ALONE, partner="a", valid_mse=np.array([4.0, 3.0, 2.0, 1.0]), best_round=3)
    short = Curve(arm=Arm.ALONE, partner="b", valid_mse=np.array([2.0, 3.0]), best_round=0)
    mean = mean_curve([long, short], [1, 3])
    np.testing.assert_allclose(mean.valid_mse, [2.5, 3.0, 2.0, 1.75])
    assert mean.best_round == 3
