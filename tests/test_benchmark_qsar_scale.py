"""Data at scale: rows are taken as by the plain formulas, and the benchmark's drawing, sums and picture are right."""


import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask_cases import PLAIN, partners
from pharmonia.data.tasks import PreparedTasks
from pharmonia.learn.multitask_data import MultitaskRows, TaskPlaces, rows_of, task_places
from pharmonia.nn import sparse
from pharmonia.nn.heads import LabelRows
from pharmonia.nn.sparse import BitRows, row_places

Indices = npt.NDArray[np.int64]


def plain_take(bits: BitRows, rows: Indices) -> BitRows:
    indptr, places = row_places(bits.indptr, rows)
    return BitRows(indptr=indptr, indices=bits.indices[places], n_columns=bits.n_columns)


def plain_rows_of(prepared: PreparedTasks, places: TaskPlaces, chosen: Indices) -> MultitaskRows:
    """The formula that says what `rows_of` gives; sorts, and holds several numbers for each bit and label."""
    labels, features = prepared.labels, prepared.features
    compounds, row = np.unique(labels.compound[chosen], return_inverse=True)
    bits = BitRows(indptr=features.indptr, indices=features.indices, n_columns=features.n_columns)
    weight = np.array([task.weight for task in prepared.tasks], dtype=np.float32)
    censored = np.array([task.censored_weight for task in prepared.tasks], dtype=np.float32)
    parts = {}
    for name, size in places.sizes.items():
        inside = places.tasks_of(name)[labels.task[chosen]]
        mine, task = chosen[inside], labels.task[chosen[inside]]
        parts[name] = LabelRows(
            indptr=np.searchsorted(row[inside], np.arange(compounds.size + 1)).astype(np.int64),
            column=places.column[task],
            value=labels.value[mine],
            censor=labels.censor[mine],
            weight=weight[task] * np.where(labels.censor[mine] != 0, censored[task], np.float32(1)),
            n_columns=size,
        )
    return MultitaskRows(bits=plain_take(bits, compounds.astype(np.int64)), labels=parts)


def assert_same_bits(got: BitRows, expected: BitRows) -> None:
    assert got.n_columns == expected.n_columns
    for name in ("indptr", "indices"):
        one, other = getattr(got, name), getattr(expected, name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@given(seed=st.integers(0, 10**6), n_taken=st.integers(0, 40), block=st.sampled_from([1, 3, 8, 64]))
@settings(deadline=None)
def test_rows_taken_in_blocks_are_those_taken_at_once(seed: int, n_taken: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 4, 12)
    bits = BitRows(
        indptr=np.concatenate(([0], np.cumsum(lengths))),
        indices=rng.integers(0, 9, lengths.sum(), dtype=np.int32),
        n_columns=9,
    )
    rows = rng.integers(0, 12, n_taken)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse, "_BLOCK_ROWS", block)
        assert_same_bits(bits.take(rows), plain_take(bits, rows))


@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.0, 0.05, 0.6, 1.0]))
@settings(deadline=None)
def test_rows_of_chosen_labels_are_those_of_the_plain_formula_to_the_bit(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    for prepared in partners(3):
        chosen = np.flatnonzero(rng.random(len(prepared.labels)) < share)
        places = task_places(prepared, PLAIN)
        got, expected = rows_of(prepared, places, chosen), plain_rows_of(prepared, places, chosen)
        assert_same_bits(got.bits, expected.bits)
        assert got.labels.keys() == expected.labels.keys()
        for name, part in got.labels.items():
            for field in ("indptr", "column", "value", "censor", "weight"):
                one, other = getattr(part, field), getattr(expected.labels[name], field)
                assert one.dtype == other.dtype
                np.testing.assert_array_equal(one, other)
