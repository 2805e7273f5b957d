"""Sparse rounds: rows that few partners touched wait, and nothing is lost on the way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pharmonia.base.errors import HeaderError, UpdateError
from pharmonia.secagg.fixedpoint import WeightedSum
from pharmonia.secagg.sparse import (
    MIN_COUNT,
    RowUpdate,
    common_rows,
    count_layout,
    row_update,
    sparse_layout,
)
from secagg_cases import MODEL, begin, consortium, one_tensor, plan_of

GROUP = consortium(5)
N_ROWS, N_COLUMNS = 60, 4


def draw(rng: np.random.Generator, n_rows: int = N_ROWS, n_columns: int = N_COLUMNS) -> np.ndarray:
    dense = rng.normal(size=(n_rows, n_columns)).astype(np.float32)
    dense[rng.random(n_rows) < 0.6] = 0
    return dense


def dense_of(update: RowUpdate) -> np.ndarray:
    dense = np.zeros((update.n_rows, update.values.shape[1]), dtype=np.float32)
    dense[update.rows] = update.values
    return dense


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), n_rows=st.integers(1, 30), n_columns=st.integers(1, 5))
def test_released_and_residual_are_the_total(seed: int, n_rows: int, n_columns: int) -> None:
    rng = np.random.default_rng(seed)
    dense = draw(rng, n_rows, n_columns)
    common = np.flatnonzero(rng.random(n_rows) < 0.5)
    update = row_update(dense)
    np.testing.assert_array_equal(dense_of(update), dense)
    released, rest = update.release(common)
    total = dense_of(rest)
    assert not total[common].any()
    total[common] += released.reshape(common.size, n_columns)
    np.testing.assert_array_equal(total, dense)
    np.testing.assert_array_equal(rest.touched, dense_of(rest).any(axis=1))


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_carried_is_added_to_the_next_step(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = draw(rng), draw(rng)
    total = row_update(first).plus(row_update(second))
    np.testing.assert_array_equal(dense_of(total), first + second)


def sparse_step(
    round_index: int, updates: dict[str, RowUpdate]
) -> tuple[WeightedSum, np.ndarray, dict[str, RowUpdate]]:
    """Counts under masks, then the common rows under masks."""
    counted = plan_of(count_layout(N_ROWS), round_index=round_index, exponents=(), weight_bits=0)
    sessions, server = begin(GROUP, counted)
    for name, update in updates.items():
        out = sessions[name].masked_counts(sessions[name].prepare_mask(server.header), update.touched)
        server, sessions[name] = server.add(out.message), out.session
    common = common_rows(server.finish_counts(), MIN_COUNT)
    released = {name: update.release(common) for name, update in updates.items()}
    rest = {name: residual for name, (_, residual) in released.items()}
    layout = sparse_layout("first.weight", common, N_COLUMNS, one_tensor(1))
    plan = plan_of(layout, round_index=round_index + 1, weight_bits=0)
    sessions, server = begin(GROUP, plan)
    for name, (values, _) in released.items():
        vector = np.append(values, np.float32(1))
        out = sessions[name].masked_update(sessions[name].prepare_mask(server.header), vector, 1)
        server = server.add(out.message)
    return server.finish(), common, rest


def test_steps_sum_common_rows_and_lose_nothing() -> None:
    rng = np.random.default_rng(0)
    carried = {name: row_update(np.zeros((N_ROWS, N_COLUMNS), dtype=np.float32)) for name in GROUP.ids}
    summed = np.zeros((N_ROWS, N_COLUMNS))
    given_in = np.zeros((N_ROWS, N_COLUMNS))
    for step in range(4):
        fresh = {name: draw(rng) for name in GROUP.ids}
        given_in += np.sum(list(fresh.values()), axis=0)
        updates = {name: carried[name].plus(row_update(fresh[name])) for name in GROUP.ids}
        result, common, carried = sparse_step(2 * step, updates)
        summed[common] += result.values[:-1].reshape(-1, N_COLUMNS)
        assert result.values[-1] == len(GROUP.ids)
        counts = np.sum([update.touched for update in updates.values()], axis=0)
        np.testing.assert_array_equal(common, np.flatnonzero(counts >= MIN_COUNT))
    left = np.sum([dense_of(rest) for rest in carried.values()], axis=0)
    np.testing.assert_allclose(summed + left, given_in, atol=4 * 5 * 2.0**-16)


def test_partners_told_other_rows_refuse_the_header() -> None:
    ours = sparse_layout("w", np.array([1, 2]), 3, None)
    theirs = sparse_layout("w", np.array([1, 3]), 3, None)
    assert ours.lengths == theirs.lengths == (6,)
    header = begin(GROUP, plan_of(theirs))[1].header
    session, _ = GROUP.sessions[GROUP.ids[0]].commit(0, ours, MODEL)
    with pytest.raises(HeaderError, match="another layout"):
        session.prepare_mask(header)


def test_a_row_of_one_partner_is_never_released() -> None:
    with pytest.raises(UpdateError, match="would stand unmixed"):
        common_rows(np.zeros(3, dtype=np.uint16), 1)


def test_malformed_row_updates_are_refused() -> None:
    values = np.ones((2, 3), dtype=np.float32)
    for rows in (np.array([1, 1]), np.array([-1, 2]), np.array([1, 9])):
        with pytest.raises(UpdateError, match="rows must ascend within 9"):
            RowUpdate(n_rows=9, rows=rows, values=values)
    with pytest.raises(UpdateError, match="expected float32 rows"):
        RowUpdate(n_rows=9, rows=np.array([1]), values=values)
    one, other = (RowUpdate(n_rows=n, rows=np.array([0, 1]), values=values) for n in (9, 8))
    with pytest.raises(UpdateError, match="different shapes"):
        one.plus(other)
