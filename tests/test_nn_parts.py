"""The parts that make the network fast, each against a plain statement."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pharmonia.nn.bags import Bags, bag_sum
from pharmonia.nn.dropout import dropout
from pharmonia.nn.matmul import linear
from pharmonia.nn.norms import WeightedBatchNorm
from pharmonia.nn.protein import _tails

bags_of_rows = st.lists(st.lists(st.integers(0, 6), max_size=9), min_size=1, max_size=8)


def build(bags: list[list[int]], n_rows: int) -> Bags:
    members = np.array([row for bag in bags for row in bag], dtype=np.int64)
    offsets = np.concatenate(([0], np.cumsum([len(bag) for bag in bags])))
    return Bags.build(members, offsets, n_rows)


@given(bags=bags_of_rows)
@settings(max_examples=60)
def test_bag_sums_and_their_gradient_equal_loops(bags: list[list[int]]) -> None:
    table = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weights = torch.randn(len(bags), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    summed = bag_sum(table, build(bags, 7))
    plain = torch.stack([sum((table[row] for row in bag), 0 * table[0]) for bag in bags])
    torch.testing.assert_close(summed, plain, rtol=1e-12, atol=1e-12)
    (got,) = torch.autograd.grad((summed * weights).sum(), table)
    (expected,) = torch.autograd.grad((plain * weights).sum(), table)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


@given(counts=st.lists(st.integers(1, 5), min_size=2, max_size=9))
@settings(max_examples=40)
def test_weighted_batch_norm_equals_batch_norm_on_expanded_rows(counts: list[int]) -> None:
    generator = torch.Generator().manual_seed(len(counts))
    rows = torch.randn(len(counts), 4, dtype=torch.float64, generator=generator).requires_grad_()
    upstream = torch.randn(sum(counts), 4, dtype=torch.float64, generator=generator)
    index = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    weighted = WeightedBatchNorm(4).double()
    plain = torch.nn.BatchNorm1d(4).double()
    got = weighted(rows, torch.tensor(counts, dtype=torch.float64))[index]
    expected = plain(rows[index])
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    (got_grad,) = torch.autograd.grad((got * upstream).sum(), rows)
    (expected_grad,) = torch.autograd.grad((expected * upstream).sum(), rows)
    torch.testing.assert_close(got_grad, expected_grad, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(weighted.running_mean, plain.running_mean)
    torch.testing.assert_close(weighted.running_var, plain.running_var)
    assert torch.equal(weighted.num_batches_tracked, plain.num_batches_tracked)  # type: ignore[arg-type]


@pytest.mark.parametrize("n_rows", [1, 31, 32, 33, 1000])
def test_tails_are_sums_from_each_row_on(n_rows: int) -> None:
    rows = torch.randn(n_rows, 3, dtype=torch.float64)
    expected = torch.stack([rows[start:].sum(dim=0) for start in range(n_rows + 1)])
    torch.testing.assert_close(_tails(rows), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cut_out", [False, True])
def test_linear_equals_torch_with_its_gradients(dtype: torch.dtype, cut_out: bool) -> None:
    torch.manual_seed(0)
    wide = torch.randn(6, 10, dtype=dtype, requires_grad=True)
    rows = torch.randn(5, 10, dtype=dtype, requires_grad=True)
    bias = torch.randn(6, dtype=dtype, requires_grad=True)
    weight, given_rows = (wide[:, :4], rows[:, 3:7]) if cut_out else (wide, rows)
    got = linear(given_rows, weight, bias)
    expected = torch.nn.functional.linear(given_rows, weight, bias)
    torch.testing.assert_close(got, expected)
    upstream = torch.randn_like(got)
    for mine, theirs in zip(
        torch.autograd.grad(got, (wide, rows, bias), upstream),
        torch.autograd.grad(expected, (wide, rows, bias), upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_dropout_drops_its_share_and_keeps_the_expectation() -> None:
    torch.manual_seed(0)
    rows = torch.ones(400, 1000)
    dropped = dropout(rows, 0.2, training=True)
    share = float((dropped == 0).float().mean())
    assert abs(share - 0.2) < 0.003  # 4.7 standard errors of 400,000 draws
    assert abs(float(dropped.mean()) - 1) < 0.004
    assert set(torch.unique(dropped).tolist()) == {0.0, dropped.max().item()}
    columns = (dropped == 0).float().mean(dim=0)
    assert float(columns.std()) < 0.025  # binomial: 0.02; masks are not shared between rows


def test_dropout_repeats_with_the_seed_and_is_nothing_in_evaluation() -> None:
    rows = torch.randn(7, 5)
    torch.manual_seed(3)
    first = dropout(rows, 0.2, training=True)
    torch.manual_seed(3)
    assert torch.equal(first, dropout(rows, 0.2, training=True))
    assert dropout(rows, 0.2, training=False) is rows
