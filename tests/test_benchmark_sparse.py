"""The network and the sums on which the benchmark of sparse rounds stands."""

import sys

import numpy as np
import pytest
import torch
from scipy import sparse

from pharmonia.secagg.header import Layout
from secagg_flwr import Flower
from secagg_sparse import MaskedSums, bytes_sent, error_over_bound
from sparse_training import (
    LEARNING_RATE,
    Adagrad,
    Arm,
    Consortium,
    Network,
    Summed,
    Tasks,
    normalised_rmse,
    sum_encoded,
)

SHAPE = (40, 6, 3)  # bits, hidden units, tasks


def batch_of(rng: np.random.Generator, first_bit: int = 0) -> Tasks:
    """Eight compounds; a third of the values is missing."""
    bits = (rng.random((8, SHAPE[0])) < 0.2).astype(np.float32)
    bits[:, :first_bit] = 0
    values = rng.normal(size=(8, SHAPE[2])).astype(np.float32)
    values[rng.random(values.shape) < 1 / 3] = np.nan
    return Tasks(bits=sparse.csr_array(bits), values=values)


def network() -> Network:
    return Network(SHAPE, np.random.default_rng(5))


def unseen(_: Summed) -> None:
    """A check that checks nothing."""


def test_the_gradient_is_that_of_autograd() -> None:
    net, batch = network(), batch_of(np.random.default_rng(1))
    first, rest = (torch.tensor(w, dtype=torch.float64, requires_grad=True) for w in (net.first, net.rest))
    bias, heads, offset = torch.split(rest, list(net.lengths))
    hidden = torch.relu(torch.tensor(batch.bits.toarray(), dtype=torch.float64) @ first + bias)
    wanted = torch.tensor(batch.values, dtype=torch.float64)
    is_measured = torch.isfinite(wanted)
    error = torch.where(is_measured, hidden @ heads.reshape(SHAPE[1], -1) + offset - torch.nan_to_num(wanted), 0.0)
    loss = ((error**2).sum(dim=1) / is_measured.sum(dim=1).clamp(min=1)).mean()
    d_first, d_rest = torch.autograd.grad(loss, (first, rest))
    found = net.gradient(batch)
    dense = np.zeros(SHAPE[:2], dtype=np.float32)
    dense[found.rows.rows] = found.rows.values
    np.testing.assert_allclose(dense, d_first.numpy(), atol=1e-6)
    np.testing.assert_allclose(found.rest, d_rest.numpy(), atol=1e-6)


def test_the_first_step_of_adagrad_is_a_learning_rate_against_the_sign_and_leaves_other_rows() -> None:
    net = network()
    before, rest = net.first.copy(), net.rest.copy()
    slope = np.array([[1, -2, 3, -4, 5, -6]], dtype=np.float32)
    Adagrad(net).step(np.array([7]), slope, np.zeros_like(rest))
    np.testing.assert_allclose(net.first[7], before[7] - LEARNING_RATE * np.sign(slope[0]), rtol=1e-5)
    np.testing.assert_array_equal(np.delete(net.first, 7, axis=0), np.delete(before, 7, axis=0))
    np.testing.assert_array_equal(net.rest, rest)


def trained(arm: Arm, batches: list[list[Tasks]], seen: list[Summed]) -> Network:
    net = network()
    consortium = Consortium(net, arm, len(batches[0]), seen.append)
    for batch in batches:
        consortium.step(batch)
    return net


def test_dense_secure_sums_stay_within_their_bound_and_train_as_plain_ones_do() -> None:
    rng = np.random.default_rng(2)
    batches = [[batch_of(rng) for _ in range(10)] for _ in range(6)]
    seen: list[Summed] = []
    plain, secure = trained(Arm.PLAIN, batches, []), trained(Arm.SECURE, batches, seen)
    assert len(seen) == 6
    assert max(map(error_over_bound, seen)) <= 1
    np.testing.assert_allclose(secure.first, plain.first, atol=1e-4)


def test_sparse_is_dense_to_the_last_bit_where_all_partners_touch_all_rows() -> None:
    rng = np.random.default_rng(3)
    batches = [[batch_of(rng)] * 4 for _ in range(4)]
    one, other = trained(Arm.SECURE, batches, []), trained(Arm.SPARSE, batches, [])
    np.testing.assert_array_equal(one.first, other.first)
    np.testing.assert_array_equal(one.rest, other.rest)


def test_a_row_that_one_partner_touches_is_carried_and_never_moves() -> None:
    rng = np.random.default_rng(4)
    net = network()
    before = net.first.copy()
    consortium = Consortium(net, Arm.SPARSE, 4, unseen)
    for _ in range(5):
        counts = consortium.step([batch_of(rng, first_bit=10 * (partner > 0)) for partner in range(4)])
    np.testing.assert_array_equal(net.first[:10], before[:10])
    assert (net.first[10:] != before[10:]).any(axis=1).all()
    assert counts.n_carried >= 10 / 4  # the first partner's ten rows, in the mean over four


def test_sums_without_masks_are_those_under_masks_bit_for_bit() -> None:
    rng = np.random.default_rng(6)
    layout = Layout(names=("first", "rest"), lengths=(60, 11))
    vectors = [rng.normal(size=71).astype(np.float32) for _ in range(10)]
    touched = [rng.random(40) < 0.4 for _ in vectors]
    masked = MaskedSums()
    found = masked.values(layout, (18, 21), lambda index: vectors[index])
    np.testing.assert_array_equal(found.values, sum_encoded(vectors, layout, (18, 21)).values)
    np.testing.assert_array_equal(masked.counts(touched), np.sum(touched, axis=0))


def test_predicting_the_mean_has_a_normalised_error_of_one_and_rare_tasks_have_none() -> None:
    measured = np.array([[1, np.nan, 2], [-1, np.nan, np.nan], [3, 1, -2]], dtype=np.float32)
    found = normalised_rmse(measured, np.zeros_like(measured), 2)
    np.testing.assert_allclose(found, [1, np.nan, 1])
    np.testing.assert_allclose(normalised_rmse(measured, np.nan_to_num(measured) * 0.5, 2), [0.5, np.nan, 0.5])


def test_a_partner_sends_four_bytes_a_value_and_two_a_count() -> None:
    assert bytes_sent(Arm.SECURE, 32_000, 1000) == 4 * (32_000 * 2_000 + 1000 + 2)
    assert bytes_sent(Arm.SPARSE, 100, 1000) == 2 * 32_000 + 4 * (100 * 2_000 + 1000 + 2)


def test_a_python_without_flower_is_refused_with_the_reason() -> None:
    with pytest.raises(SystemExit, match="does that Python have flwr"):
        Flower(sys.executable, 10)
    with pytest.raises(SystemExit, match="cannot be started"):
        Flower("no-such-python", 10)
