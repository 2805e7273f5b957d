"""Repeated measurements against a plain loop."""

import statistics

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pharmonia.data.replicates import join_replicates

measurements = st.lists(st.tuples(st.integers(0, 5), st.integers(-8, 8).map(lambda n: n / 2)), max_size=40)


@given(rows=measurements, tolerance=st.sampled_from([0.0, 0.5, 1.0, 3.0]))
def test_pairs_that_agree_have_their_median_and_others_nothing(rows: list[tuple[int, float]], tolerance: float) -> None:
    groups: dict[int, list[float]] = {}
    for key, value in rows:
        groups.setdefault(key, []).append(value)
    agreeing = {key: group for key, group in groups.items() if max(group) - min(group) <= tolerance}
    keys = np.array([key for key, _ in rows], dtype=np.int64)
    joined = join_replicates(keys, np.array([value for _, value in rows], dtype=np.float64), tolerance)
    assert joined.keys.tolist() == list(agreeing)
    assert joined.values.tolist() == [statistics.median(group) for group in agreeing.values()]
    assert joined.disagreeing.tolist() == [row for row, (key, _) in enumerate(rows) if key not in agreeing]


def test_without_a_tolerance_only_equal_values_agree_however_small_they_are() -> None:
    values = np.array([1e-10, 1e-9, 5e-9, 5e-9])  # molar: the first two are tenfold apart
    joined = join_replicates(np.array([0, 0, 1, 1]), values, 0.0)
    assert (joined.keys.tolist(), joined.values.tolist(), joined.disagreeing.tolist()) == ([1], [5e-9], [0, 1])


def test_rounding_is_not_disagreement() -> None:
    values = -np.log10(np.array([1e-8, 1e-7]))  # a hair more than 1 apart in floating point or not
    assert join_replicates(np.zeros(2, dtype=np.int64), values, 1.0).keys.size == 1
