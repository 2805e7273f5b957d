"""Federated methods against their papers' algorithms, written out: two unlike partners of unequal size."""

import numpy as np
import pytest
import torch

from interaction_cases import small_encoded
from pharmonia.base.arrays import Vector
from pharmonia.data.interactions import Pairs
from pharmonia.data.partner import PartnerDataset, partner_dataset
from pharmonia.learn.contributions import Totals, federated_average, unpack
from pharmonia.learn.local import LocalLearner
from pharmonia.learn.network import initial_parameters, make_network
from pharmonia.learn.server import Descent, ServerState, server_step
from pharmonia.learn.settings import LocalSettings, Method, Optimiser, Weighting
from pharmonia.learn.steps import Correction, weight_of
from pharmonia.nn.choices import Model, Norm
from pharmonia.nn.interaction import EntityIndex, InteractionBatch
from pharmonia.nn.parameters import Layout, load_vector
from run_cases import broadcast

RATE, STEPS, ROUNDS, SEED = 0.002, 3, 3, 3
LOCAL = LocalSettings(
    model=Model.LIGAND_ONLY,  # the smallest network there is; with LayerNorm it has no running statistics
    norm=Norm.LAYER,
    optimiser=Optimiser.SGD,
    learning_rate=RATE,
    batch_size=1000,  # of all rows of a partner: an epoch is a step
    local_epochs=STEPS,
)


@pytest.fixture(autouse=True)
def no_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout has no plain formulation that draws the same."""
    monkeypatch.setattr("pharmonia.nn.dropout.dropout_factors", lambda shape, dtype, _: torch.ones(shape, dtype=dtype))


def unlike_partners() -> list[PartnerDataset]:
    """The 40 lowest of 160 values to the first partner, 30 of them to train on; 90 of the others to the second."""
    encoded = small_encoded()
    order = np.argsort(encoded.interactions.pairs.value, kind="stable")
    return [
        partner_dataset(encoded, name, train=np.delete(own, np.s_[::4]), valid=own[::4])
        for name, own in (("Low", order[:40]), ("High", order[40:]))
    ]


class Plain:
    """A partner's error and its gradient by autograd at any parameters; knows of no method."""

    def __init__(self, dataset: PartnerDataset) -> None:
        self._network = make_network(LOCAL, seed=0)
        self._layout = Layout.of(self._network)
        assert all(self._layout.trained)
        self._entities = EntityIndex(dataset.graphs, dataset.tokens, dataset.smiles_tokens)
        self._dataset = dataset
        self.n_rows = len(dataset.train)

    def gradient(self, parameters: Vector) -> Vector:
        """(n_params,) float64, of the mean squared error on the training rows."""
        load_vector(self._network, self._layout, parameters)
        weights = dict(self._network.named_parameters())
        batch, values = self._rows(self._dataset.train)
        error = torch.mean((self._network.train()(batch) - values) ** 2)
        gradients = torch.autograd.grad(error, [weights[name] for name in self._layout.names])
        return np.concatenate([gradient.numpy().reshape(-1) for gradient in gradients]).astype(np.float64)

    def valid_error(self, parameters: Vector) -> float:
        """The summed squared error on the validation rows."""
        load_vector(self._network, self._layout, parameters)
        batch, values = self._rows(self._dataset.valid)
        with torch.no_grad():
            return float(torch.sum((self._network.eval()(batch) - values) ** 2))

    def _rows(self, pairs: Pairs) -> tuple[InteractionBatch, torch.Tensor]:
        return self._entities.batch(pairs.compound, pairs.target), torch.tensor(pairs.value)


@pytest.fixture
def partners() -> list[Plain]:
    return [Plain(dataset) for dataset in unlike_partners()]


def start_of(method: Method) -> Vector:
    """What is broadcast before round 0: parameters, and for SCAFFOLD c after them."""
    network = make_network(LOCAL, SEED)
    values = np.concatenate([dataset.train.value for dataset in unlike_partners()])
    return initial_parameters(network, Layout.of(network), method, float(values.mean(dtype=np.float64)))


def trained(text: str) -> Vector:
    """What is broadcast after ROUNDS rounds of Pharmonia."""
    method = Method.parse(text)
    learners = [LocalLearner(dataset, LOCAL, method, (SEED, k)) for k, dataset in enumerate(unlike_partners())]
    parameters, state = start_of(method), ServerState()
    descent = Descent(optimiser=LOCAL.optimiser, learning_rate=LOCAL.learning_rate)
    for round_index in range(ROUNDS):
        contributions = [learner.contribute(broadcast(round_index, parameters)) for learner in learners]
        aggregate = unpack(federated_average(contributions), sum(one.weight for one in contributions))
        all_trained = np.ones(parameters.size, dtype=np.bool_)
        parameters, state = server_step(method, descent, parameters, aggregate.change, all_trained, state)
    return parameters


def assert_same_way(found: Vector, expected: Vector, start: Vector) -> None:
    """Two models came the same way from the start, to a hundredth of its length; the network is in float32."""
    assert np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected - start)


@pytest.mark.parametrize(("method", "counts"), [("scaffold", (30, 90)), ("scaffold+equal", (1, 1))])
def test_scaffold_takes_the_steps_of_its_paper(partners: list[Plain], method: str, counts: tuple[int, int]) -> None:
    """Karimireddy et al. 2020 (arXiv:1910.06378), Algorithm 1, all partners taking part, option II, global step size 1.

    y <- y - lr (g_i(y) - c_i + c), K times; then c_i+ = c_i - c + (x - y)/(K lr), and x and c move by the partners'
    mean change. Algorithm 1 has plain means over the partners, which is `scaffold+equal`; by default both means, of
    the changes of x and of c, are weighted by rows, as FedAvg's is.
    """
    start = x = start_of(Method())
    c, own = np.zeros_like(x), [np.zeros_like(x) for _ in partners]
    apart = 0.0
    for _ in range(ROUNDS):
        changes, shifts = [], []
        for k, partner in enumerate(partners):
            y = x
            for _ in range(STEPS):
                y = y - RATE * (partner.gradient(y) - own[k] + c)
            after = own[k] - c + (x - y) / (STEPS * RATE)
            changes.append(y - x)
            shifts.append(after - own[k])
            own[k] = after
        x = x + np.average(changes, axis=0, weights=counts)
        c = c + np.average(shifts, axis=0, weights=counts)
        apart = float(np.abs(c - own[0]).max())
    assert apart > 0.5 * np.abs(c).max()  # the correction is no small thing here
    found, control = np.split(trained(method), 2)
    assert_same_way(found, x, start)
    assert_same_way(control, c, np.zeros_like(c))


@pytest.mark.parametrize("mu", [5.0, 50.0])
def test_fedprox_takes_the_steps_of_its_paper(partners: list[Plain], mu: float) -> None:
    """Li et al. 2020 (arXiv:1812.06127), Algorithm 2, by SGD on F_k(w) + mu/2 |w - w_t|^2: + mu (w - w_t)."""
    start = x = start_of(Method())
    for _ in range(ROUNDS):
        ends = []
        for partner in partners:
            y = x
            for _ in range(STEPS):
                y = y - RATE * (partner.gradient(y) + mu * (y - x))
            ends.append(y)
        x = np.average(ends, axis=0, weights=[partner.n_rows for partner in partners])
    assert_same_way(trained(f"fedprox:{mu:g}"), x, start)


def test_the_pull_of_fedprox_in_numbers() -> None:
    """mu 0.25, broadcast (1, -2), gradient (0.5, 0.5): at (3, -2) the first is pulled by 0.25 x 2, the second not."""
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    correction = Correction(Method.parse("fedprox:0.25"), [weight], [])
    with torch.no_grad():
        weight.copy_(torch.tensor([3.0, -2.0]))
    weight.grad = torch.tensor([0.5, 0.5])
    correction.apply()
    assert weight.grad.tolist() == [1.0, 0.5]


def test_the_correction_of_scaffold_in_numbers() -> None:
    """Gradients 1 and 3 under c - c_i = -0.5: followed as 0.5 and 2.5; their mean, 2, is what c_i+ is made of."""
    weight = torch.nn.Parameter(torch.zeros(1))
    correction = Correction(Method.parse("scaffold"), [weight], [torch.tensor([-0.5])])
    followed = []
    for gradient in (1.0, 3.0):
        weight.grad = torch.tensor([gradient])
        correction.apply()
        followed.append(weight.grad.item())
    assert followed == [0.5, 2.5]
    assert [mean.tolist() for mean in correction.mean_gradients()] == [[2.0]]


@pytest.mark.parametrize(
    ("weighting", "before", "after", "weight"),
    [
        (Weighting.ROWS, 3.0, 1.0, 900),
        (Weighting.EQUAL, 3.0, 1.0, 1),
        (Weighting.VALIDATION, 3.0, 1.0, 3072),  # 4096 x 3 / 4
        (Weighting.VALIDATION, 1.0, 3.0, 1024),
        (Weighting.VALIDATION, 2.0, 0.0, 4096),
        (Weighting.VALIDATION, 1.0, 2.0, 1365),  # 1365.33
        (Weighting.VALIDATION, 0.0, 5.0, 1),  # a weight is at least 1
    ],
)
def test_the_weight_of_a_partner_in_numbers(weighting: Weighting, before: float, after: float, weight: int) -> None:
    totals = Totals(valid_error=before, valid_rows=3)
    assert weight_of(weighting, 900, totals, lambda: Totals(valid_error=after, valid_rows=3)) == weight


@pytest.mark.parametrize("weighting", list(Weighting))
def test_partners_of_unequal_size_count_as_their_weighting_has_it(partners: list[Plain], weighting: Weighting) -> None:
    """By rows 30 : 90; equal, the plain mean; by validation, 2^12 before / (before + after) of their own errors."""
    start = x = start_of(Method())
    for _ in range(ROUNDS):
        ends, weights = [], []
        for partner in partners:
            y = x
            for _ in range(STEPS):
                y = y - RATE * partner.gradient(y)
            ends.append(y)
            before, after = partner.valid_error(x), partner.valid_error(y)
            of_validation = max(1, round(2**12 * before / (before + after)))
            weights.append({"rows": partner.n_rows, "equal": 1, "validation": of_validation}[weighting])
        x = np.average(ends, axis=0, weights=weights)
    method = "fedavg" if weighting is Weighting.ROWS else f"fedavg+{weighting}"
    assert_same_way(trained(method), x, start)
