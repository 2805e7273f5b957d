"""Federated averaging and the choice of the best round, by hand and by property."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import OptionError, UpdateError
from pharmonia.learn.aggregate import federated_average, pooled_error, pooled_mean
from pharmonia.learn.algorithms import Schedule, Selection
from pharmonia.learn.messages import Statistics, Update, ValidationScore

vectors = arrays(np.float64, 4, elements=st.floats(-1e3, 1e3))


def update(delta: Vector, n_examples: int, round_index: int = 0) -> Update:
    return Update(round_index=round_index, n_examples=n_examples, loss=0.0, delta=delta)


def test_average_by_hand() -> None:
    updates = [update(np.array([1.0, 0.0]), 1), update(np.array([4.0, -3.0]), 2)]
    np.testing.assert_allclose(federated_average(updates), [3.0, -2.0], rtol=1e-15)


@given(delta=vectors, counts=st.lists(st.integers(1, 10**6), min_size=1, max_size=6))
def test_partners_who_agree_are_left_alone(delta: Vector, counts: list[int]) -> None:
    np.testing.assert_allclose(federated_average([update(delta, n) for n in counts]), delta, rtol=1e-12, atol=1e-12)


@given(deltas=st.lists(vectors, min_size=2, max_size=5), order=st.randoms(use_true_random=False))
def test_the_order_of_partners_does_not_matter(deltas: list[Vector], order: object) -> None:
    updates = [update(delta, index + 1) for index, delta in enumerate(deltas)]
    shuffled = sorted(updates, key=lambda _: order.random())  # type: ignore[attr-defined]
    np.testing.assert_allclose(federated_average(shuffled), federated_average(updates), rtol=1e-9, atol=1e-9)


def test_updates_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(UpdateError, match="one round"):
        federated_average([update(np.zeros(2), 1, 0), update(np.zeros(2), 1, 1)])
    with pytest.raises(UpdateError, match="one round"):
        federated_average([update(np.zeros(2), 1), update(np.zeros(3), 1)])
    with pytest.raises(UpdateError, match="one round"):
        federated_average([])


def test_pooled_sums_by_hand() -> None:
    assert pooled_mean([Statistics(n_train=1, value_sum=4.0), Statistics(n_train=3, value_sum=0.0)]) == 1.0
    assert (
        pooled_error([ValidationScore(n_rows=1, squared_error=4.0), ValidationScore(n_rows=3, squared_error=2.0)])
        == 1.5
    )
    with pytest.raises(UpdateError):
        pooled_mean([])
    with pytest.raises(UpdateError):
        pooled_error([])


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
