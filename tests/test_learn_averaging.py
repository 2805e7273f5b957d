"""Contributions, their mean, and the choice of the best round, by hand and by property."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import OptionError, UpdateError
from pharmonia.learn.algorithms import Schedule, Selection
from pharmonia.learn.contributions import Contribution, Totals, federated_average, pack, unpack

vectors = arrays(np.float64, 4, elements=st.floats(-1e3, 1e3, width=32))


def contribution(values: Vector, weight: int) -> Contribution:
    return Contribution(weight=weight, values=values.astype(np.float32))


def test_average_by_hand() -> None:
    contributions = [contribution(np.array([1.0, 0.0]), 1), contribution(np.array([4.0, -3.0]), 2)]
    np.testing.assert_allclose(federated_average(contributions), [3.0, -2.0], rtol=1e-15)


@given(delta=vectors, counts=st.lists(st.integers(1, 10**6), min_size=1, max_size=6))
def test_partners_who_agree_are_left_alone(delta: Vector, counts: list[int]) -> None:
    mean = federated_average([contribution(delta, n) for n in counts])
    np.testing.assert_allclose(mean, delta, rtol=1e-12, atol=1e-12)


@given(deltas=st.lists(vectors, min_size=2, max_size=5), order=st.randoms(use_true_random=False))
def test_the_order_of_partners_does_not_matter(deltas: list[Vector], order: object) -> None:
    contributions = [contribution(delta, index + 1) for index, delta in enumerate(deltas)]
    shuffled = sorted(contributions, key=lambda _: order.random())  # type: ignore[attr-defined]
    np.testing.assert_allclose(federated_average(shuffled), federated_average(contributions), rtol=1e-9, atol=1e-9)


def test_contributions_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(UpdateError, match="one length"):
        federated_average([contribution(np.zeros(2), 1), contribution(np.zeros(3), 1)])
    with pytest.raises(UpdateError, match="one length"):
        federated_average([])


def test_totals_of_partners_add_up_whatever_their_weights() -> None:
    """By hand: 2 + 6 squared error over 4 + 8 rows in training, 1 + 3 over 2 + 2 rows in validation."""
    parts = [
        pack(np.array([1.0]), Totals(train_error=2, train_rows=4, valid_error=1, valid_rows=2), weight=4),
        pack(np.array([4.0]), Totals(train_error=6, train_rows=8, valid_error=3, valid_rows=2), weight=2),
    ]
    aggregate = unpack(federated_average(parts), total_weight=6)
    np.testing.assert_allclose(aggregate.change, [2.0])
    totals = aggregate.totals
    found = (totals.train_error, totals.train_rows, totals.valid_error, totals.valid_rows)
    assert found == pytest.approx((8, 12, 4, 4), rel=1e-6)


def test_a_contribution_that_only_validates_has_no_change() -> None:
    aggregate = unpack(federated_average([pack(np.empty(0), Totals(valid_error=3, valid_rows=2), weight=1)]), 1)
    assert aggregate.change.size == 0
    assert aggregate.totals == Totals(valid_error=3, valid_rows=2)


@pytest.mark.parametrize("weight", [0, 2**24 + 1])
def test_a_weight_that_no_sum_can_carry_is_refused(weight: int) -> None:
    with pytest.raises(UpdateError, match="weight"):
        contribution(np.zeros(1), weight)


def test_values_that_cannot_be_summed_are_refused() -> None:
    with pytest.raises(UpdateError, match="diverged"):
        contribution(np.array([np.nan]), 1)
    with pytest.raises(UpdateError, match="vector of float32"):
        Contribution(weight=1, values=np.zeros(1))  # type: ignore[arg-type]
    with pytest.raises(UpdateError, match="lower the learning rate"):
        Totals(valid_error=float("inf"))


@given(errors=st.lists(st.floats(0, 10), min_size=1, max_size=30), patience=st.integers(1, 5))
def test_the_earliest_best_round_is_kept_and_patience_counts_from_it(errors: list[float], patience: int) -> None:
    selection = Selection()
    for index, error in enumerate(errors):
        selection = selection.after(index, error)
    best = int(np.argmin(errors))
    assert (selection.best_round, selection.best_error) == (best, errors[best])
    assert selection.n_waited == len(errors) - 1 - best
    assert selection.should_stop(Schedule(rounds=99, patience=patience)) == (selection.n_waited >= patience)


@pytest.mark.parametrize(("rounds", "patience"), [(0, 1), (1, 0)])
def test_an_empty_schedule_is_refused(rounds: int, patience: int) -> None:
    with pytest.raises(OptionError):
        Schedule(rounds=rounds, patience=patience)
