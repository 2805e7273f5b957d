"""Training many tasks across partners is training on their pooled data, step after step and learner by learner."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from multitask_cases import FEDSGD, PLAIN, aggregate, broadcast, data_of, partners, server, stacked, start
from pharmonia.base.arrays import Vector
from pharmonia.learn.multitask import MultitaskLearner
from pharmonia.learn.multitask_data import PartnerTasks
from pharmonia.learn.multitask_network import make_network, private_layout, shared_layout, weighted_loss
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.learn.multitask_steps import FederatedStep
from pharmonia.learn.server import ServerState, server_step
from pharmonia.learn.settings import Optimiser
from pharmonia.nn.heads_names import HeadName
from pharmonia.nn.multitask import MultitaskBatch, MultitaskNetwork
from pharmonia.nn.parameters import Layout, load_vector, to_vector


def copy_heads(pooled: MultitaskNetwork, networks: Sequence[MultitaskNetwork]) -> None:
    """Give each partner the pooled network's weights of its own tasks; layers of a head start alike everywhere."""
    starts = dict.fromkeys((HeadName.CLASSIFICATION, HeadName.REGRESSION), 0)
    for network in networks:
        for name in starts:
            ours, theirs = network.head(name), pooled.head(name)
            ours.layers.load_state_dict(theirs.layers.state_dict())
            chosen = slice(starts[name], starts[name] + len(ours.bias))
            starts[name] = chosen.stop
            with torch.no_grad():
                for key in ("weight", "bias"):
                    getattr(ours, key).copy_(getattr(theirs, key)[chosen])


def off(got: Vector, expected: Vector) -> float:
    return float(np.abs(got - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("optimiser", list(Optimiser))
@pytest.mark.parametrize("n_partners", [1, 2, 3, 5])
def test_the_federated_step_is_the_pooled_step(n_partners: int, optimiser: Optimiser) -> None:
    """In float64, by plain sums, minibatch after minibatch, against one PyTorch optimiser over everything.

    Private layers between embedding and tasks would be one per partner here and one in all there, so there are none.
    """
    parts = partners(n_partners)
    plain = replace(PLAIN, head=(), optimiser=optimiser, learning_rate=0.01)
    datas = [data_of(part, plain) for part in parts]
    whole = data_of(stacked(parts), plain)
    pooled = make_network(plain, whole.places.sizes, 1).double()
    networks = [make_network(plain, data.places.sizes, 1).double() for data in datas]
    copy_heads(pooled, networks)
    layout = shared_layout(pooled)
    rng = np.random.default_rng(0)
    orders = [np.array_split(rng.permutation(len(data.train)), 3) for data in datas]
    settings = replace(plain, batch_size=sum(order[0].size for order in orders))
    steps = [FederatedStep(network, layout, settings) for network in networks]
    reference = PooledReference(pooled, settings)
    state, shared = ServerState(), to_vector(pooled, layout)
    starts = np.cumsum([0, *(len(data.train) for data in datas)]).tolist()
    for step in range(3):
        rows = np.concatenate([order[step] + start for order, start in zip(orders, starts, strict=False)])
        reference.step(whole, rows)
        gradients, weights = [], []
        for network, data, work, order in zip(networks, datas, steps, orders, strict=True):
            load_vector(network, layout, shared)
            gradient, _ = work.step(data.train.take(order[step]), settings.learning_rate)
            gradients.append(gradient)
            weights.append(order[step].size)
        mean = np.average(np.array(gradients), axis=0, weights=weights)
        shared, state = server_step(FEDSGD, server(settings), shared, mean, layout.trained_mask, state)
        assert off(shared, to_vector(pooled, layout)) < 1e-12
        for name in (HeadName.CLASSIFICATION, HeadName.REGRESSION):
            together = torch.cat([network.head(name).weight for network in networks]).detach().numpy()
            assert off(together, pooled.head(name).weight.detach().numpy()) < 1e-12


class PooledReference:
    """One owner of all rows: one PyTorch optimiser over all weights, gradients whole."""

    def __init__(self, network: MultitaskNetwork, settings: MultitaskSettings) -> None:
        self.network, self.settings = network, settings
        make = torch.optim.Adam if settings.optimiser is Optimiser.ADAM else torch.optim.SGD
        self.optimiser = make(network.parameters(), lr=settings.learning_rate)

    def step(self, data: PartnerTasks, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        part = data.train.take(rows)
        self.optimiser.zero_grad()
        batch = MultitaskBatch.of(part.bits, part.labels, self.network.dtype)
        loss = weighted_loss(self.network, batch, self.settings)
        (loss / self.settings.batch_size).backward()  # type: ignore[no-untyped-call]
        self.network.trunk.input.fill_gradient()
        if len(rows) != self.settings.batch_size:  # what is shared is a mean over the compounds that there are
            for name, weight in self.network.named_parameters():
                if name in shared_layout(self.network).names and weight.grad is not None:
                    weight.grad.mul_(self.settings.batch_size / len(rows))
        self.optimiser.step()


@pytest.mark.parametrize("n_partners", [1, 2, 3, 5])
def test_learners_contributions_average_to_the_pooled_learners(n_partners: int) -> None:
    """In float32 as on the wire: statistics, then shared weights after each of three steps to 1e-6, and losses."""
    parts = partners(n_partners)
    datas, whole = [data_of(part) for part in parts], data_of(stacked(parts))
    settings = replace(PLAIN, head=(), batch_size=len(whole.train))
    learners = [MultitaskLearner(data, settings, FEDSGD, (1, i)) for i, data in enumerate(datas)]
    pooled = MultitaskLearner(whole, settings, FEDSGD, (1,))
    copy_heads_of_learners(pooled, whole, learners, datas)
    shared, expected = start(learners, settings, FEDSGD), start([pooled], settings, FEDSGD)
    assert off(shared, expected) < 1e-6
    layout = shared_layout(make_network(settings, {}, 1))
    for round_index in range(3):
        change, error = aggregate([learner.contribute(broadcast(shared, round_index)) for learner in learners])
        pooled_change, pooled_error = aggregate([pooled.contribute(broadcast(expected, round_index))])
        assert off(change, pooled_change) < 1e-5
        assert error == pytest.approx(pooled_error, rel=1e-5)
        shared, _ = server_step(FEDSGD, server(settings), shared, change, layout.trained_mask, ServerState())
        expected, _ = server_step(FEDSGD, server(settings), expected, pooled_change, layout.trained_mask, ServerState())
        assert off(shared, expected) < 1e-6


def copy_heads_of_learners(
    pooled: MultitaskLearner, whole: PartnerTasks, learners: Sequence[MultitaskLearner], datas: Sequence[PartnerTasks]
) -> None:
    """Through `private_state` and `restore`, which are all that there is from outside."""
    state, candidate = pooled.private_state()
    layout = heads_of(whole)
    wanted = dict(zip(layout.names, np.split(state["private.now"], np.cumsum(layout.lengths)[:-1]), strict=True))
    starts = dict.fromkeys(wanted, 0)
    for learner, data in zip(learners, datas, strict=True):
        own, pieces = heads_of(data), []
        for name, size in zip(own.names, own.lengths, strict=True):
            pieces.append(wanted[name][starts[name] : starts[name] + size])
            starts[name] += size
        learner.restore({**learner.private_state()[0], "private.now": np.concatenate(pieces)}, candidate)


def heads_of(data: PartnerTasks) -> Layout:
    return private_layout(make_network(replace(PLAIN, head=()), data.places.sizes, 1))
