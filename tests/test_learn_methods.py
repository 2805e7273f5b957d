"""Federated methods: by hand, and against the case in which each is a simpler one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import OptionError, UnknownNameError, UpdateError
from pharmonia.data.partner import PartnerDataset
from pharmonia.learn.contributions import N_TOTALS, Totals, federated_average
from pharmonia.learn.local import LocalLearner
from pharmonia.learn.messages import Broadcast
from pharmonia.learn.network import initial_parameters, make_network, private_names, shared_layout
from pharmonia.learn.server import BETA_1, BETA_2, TAU, Descent, ServerState, server_step
from pharmonia.learn.settings import (
    VALIDATION_WEIGHT_BITS,
    Aggregation,
    Algorithm,
    LocalSettings,
    Method,
    Optimiser,
    Private,
    Weighting,
)
from pharmonia.learn.steps import weight_of
from pharmonia.nn.choices import Norm
from pharmonia.run.records import TrainedModel
from run_cases import broadcast, coordinator, initial, local_settings, partner_datasets, pooled_dataset

LAYER = replace(local_settings(norm=Norm.LAYER), batch_size=60)


@given(
    algorithm=st.sampled_from(list(Algorithm)),
    private=st.sampled_from(list(Private)),
    weighting=st.sampled_from(list(Weighting)),
    strength=st.floats(0, 1000, exclude_min=True, exclude_max=True),
)
def test_a_methods_text_reads_back(
    algorithm: Algorithm, private: Private, weighting: Weighting, strength: float
) -> None:
    has_strength = ":" in str(Method.parse(algorithm))
    if algorithm is Algorithm.FEDSGD:
        weighting = Weighting.ROWS
    method = Method(
        algorithm=algorithm, strength=strength if has_strength else 0.0, private=private, weighting=weighting
    )
    assert Method.parse(str(method)) == method


def test_two_strengths_have_two_texts() -> None:
    """The text is the run's id: what rounds two methods to one would take the model of one for the other's."""
    texts = {str(Method(algorithm=Algorithm.FEDPROX, strength=value)) for value in (0.1234567, 0.12345671, 0.123457)}
    assert texts == {"fedprox:0.1234567", "fedprox:0.12345671", "fedprox:0.123457"}


@pytest.mark.parametrize(
    "text",
    [
        *("fedavg", "fedprox:0", "fedprox:0.01", "fedprox:1", "fedprox:10", "fedprox:0.0001", "fedprox:1e-05"),
        *("fedadam:0.003+equal", "fedadagrad:0.1", "fedyogi:0.0001", "scaffold+private-norms", "fedavg+private-head"),
    ],
)
def test_the_text_of_a_run_stays_what_it_is(text: str) -> None:
    assert str(Method.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("fedfoo", UnknownNameError),
        ("fedavg+loud", UnknownNameError),
        ("fedprox:much", OptionError),
        ("fedprox:-1", OptionError),
        ("fedadam:0", OptionError),
        ("fedavg:", OptionError),
        ("fedavg:0.1", OptionError),
    ],
)
def test_a_method_that_is_none_is_refused(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        Method.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "fedavg+private-norms+private-head",
        "fedavg+equal+validation",
        "fedavg+validation+private-head+equal",
        "fedavg+equal+equal",
    ],
)
def test_a_second_modifier_of_one_kind_is_refused(text: str) -> None:
    """The last one used to win, so a partner who asked for private norms as well had them summed."""
    second = text.rsplit("+", 1)[1]
    with pytest.raises(OptionError, match=f"at most one private part and one weighting; '{second}' is a second"):
        Method.parse(text)


def test_a_private_part_and_a_weighting_go_together_in_either_order() -> None:
    expected = Method(private=Private.NORMS, weighting=Weighting.EQUAL)
    assert Method.parse("fedavg+private-norms+equal") == Method.parse("fedavg+equal+private-norms") == expected


@pytest.mark.parametrize("weighting", [Weighting.EQUAL, Weighting.VALIDATION])
def test_fedsgd_takes_no_weighting_as_its_gradients_are_summed_over_rows(weighting: Weighting) -> None:
    """Equal weights used to be accepted, and rows were counted all the same."""
    refusal = f"fedsgd takes no weighting, got {weighting}: it sums gradients over the rows"
    with pytest.raises(OptionError, match=refusal):
        Method(algorithm=Algorithm.FEDSGD, weighting=weighting)
    with pytest.raises(OptionError, match=refusal):
        Method.parse(f"fedsgd+{weighting}")


TRAINED = np.array([True, True, False])


def two_steps(method: str, changes: list[Vector], optimiser: Optimiser = Optimiser.ADAM) -> Vector:
    parameters, state = np.array([1.0, 2.0, 3.0]), ServerState()
    descent = Descent(optimiser=optimiser, learning_rate=local_settings().learning_rate)
    for change in changes:
        parameters, state = server_step(Method.parse(method), descent, parameters, change, TRAINED, state)
    assert state.n_steps == len(changes)
    return parameters


@pytest.mark.parametrize("method", ["fedavg", "fedprox:1"])
def test_averaging_servers_add_the_mean_change(method: str) -> None:
    np.testing.assert_allclose(two_steps(method, [np.array([1.0, -1.0, 0.5])] * 2), [3.0, 0.0, 4.0])


@pytest.mark.parametrize("name", ["fedadam", "fedyogi"])
def test_adaptive_servers_by_hand(name: str) -> None:
    """Reddi et al. 2021, Algorithm 2, one element after another; running statistics move as they are."""
    changes = [np.array([0.5, -0.2, 0.25]), np.array([-0.1, -0.4, 0.25])]
    expected = [1.0, 2.0]
    for element in range(2):
        m, v = 0.0, TAU**2
        for change in changes:
            d = change[element]
            m = BETA_1 * m + (1 - BETA_1) * d
            if name == "fedadam":
                v = BETA_2 * v + (1 - BETA_2) * d * d
            else:
                v = v - (1 - BETA_2) * d * d * np.sign(v - d * d)
            expected[element] += 0.3 * m / (np.sqrt(v) + TAU)
    np.testing.assert_allclose(two_steps(f"{name}:0.3", changes), [*expected, 3.5], rtol=1e-12)


def test_fedadagrad_has_no_momentum_by_hand() -> None:
    """Reddi et al. 2021, Algorithm 2 with the beta_1 = 0 of appendix D: each step is eta Delta / (sqrt(v) + tau).

    From 1, by 0.3: v is 1e-6 + 0.5^2 = 0.250001, then + 0.1^2 = 0.260001; with momentum the second step would still go
    up. From 2, nothing happens in a round without a change.
    """
    first, second = np.array([0.5, -0.2, 0.25]), np.array([-0.1, 0.0, 0.25])
    expected = [
        1 + 0.3 * 0.5 / (0.250001**0.5 + 0.001) - 0.3 * 0.1 / (0.260001**0.5 + 0.001),
        2 - 0.3 * 0.2 / (0.040001**0.5 + 0.001),
        3.5,
    ]
    np.testing.assert_allclose(two_steps("fedadagrad:0.3", [first, second]), expected, rtol=1e-12)


@pytest.mark.parametrize("optimiser", list(Optimiser))
def test_the_server_of_fedsgd_steps_as_pytorch_does(optimiser: Optimiser) -> None:
    gradients = [np.array([0.5, -0.2]), np.array([-0.1, -0.4]), np.array([3.0, 0.0])]
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
    kind = torch.optim.Adam if optimiser is Optimiser.ADAM else torch.optim.SGD
    reference = kind([weight], lr=local_settings().learning_rate)
    for gradient in gradients:
        weight.grad = torch.from_numpy(gradient.copy())
        reference.step()
    found = two_steps("fedsgd", [np.append(gradient, 0.0) for gradient in gradients], optimiser)
    np.testing.assert_allclose(found, [*weight.detach().numpy(), 3.0], rtol=1e-12)


def train(
    folder: Path,
    method: str,
    *,
    local: LocalSettings = LAYER,
    datasets: list[PartnerDataset] | None = None,
    rounds: int = 2,
    aggregation: Aggregation = Aggregation.PLAIN,
) -> TrainedModel:
    run = coordinator(folder, rounds=rounds, local=local, method=method, aggregation=aggregation, datasets=datasets)
    return run.train(lambda _: None)


def digests(model: TrainedModel) -> list[str]:
    return [record.aggregate_digest for record in model.rounds]


def test_fedprox_without_a_pull_is_fedavg(tmp_path: Path) -> None:
    assert digests(train(tmp_path / "prox", "fedprox:0")) == digests(train(tmp_path / "avg", "fedavg"))


def test_fedprox_stays_nearer_to_the_broadcast_model(tmp_path: Path) -> None:
    local = replace(LAYER, optimiser=Optimiser.SGD, learning_rate=0.01, local_epochs=5, batch_size=16)
    start = initial(Norm.LAYER, 3, 4.6)
    moved = {
        method: float(np.linalg.norm(train(tmp_path / method[-1], method, local=local, rounds=1).parameters - start))
        for method in ("fedprox:0", "fedprox:9")
    }
    assert moved["fedprox:9"] < 0.9 * moved["fedprox:0"]


@pytest.mark.parametrize("method", ["fedavg", "fedprox:0", "scaffold", "fedavg+equal", "fedavg+validation"])
def test_one_partner_is_alone(tmp_path: Path, method: str) -> None:
    """With one partner the mean is its own change: SCAFFOLD's two control variates are then equal and cancel."""
    local = replace(LAYER, optimiser=Optimiser.SGD)
    one = partner_datasets(3)[:1]
    alone = train(tmp_path / "alone", "fedavg", local=local, datasets=one)
    found = train(tmp_path / "found", method, local=local, datasets=one)
    np.testing.assert_allclose(found.parameters[: alone.parameters.size], alone.parameters, atol=1e-6)


@pytest.fixture
def no_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout draws differ between partners and one owner of all rows; without it both compute the same."""
    monkeypatch.setattr("pharmonia.nn.dropout.dropout_factors", lambda shape, dtype, _: torch.ones(shape, dtype=dtype))


@pytest.mark.usefixtures("no_dropout")
def test_the_mean_gradient_of_partners_is_the_pooled_gradient() -> None:
    local, method = replace(LAYER, batch_size=1000), Method.parse("fedsgd")
    parts = [LocalLearner(part, local, method, (3, i)) for i, part in enumerate(partner_datasets(3))]
    pooled = LocalLearner(pooled_dataset(3), local, method, (3, 0))
    start = broadcast(0, initial(Norm.LAYER, 3, 4.0))
    mean = federated_average([part.contribute(start) for part in parts])[:-N_TOTALS]
    expected = federated_average([pooled.contribute(start)])[:-N_TOTALS]
    assert np.abs(mean - expected).max() < 1e-6 * np.abs(expected).max()


@pytest.mark.usefixtures("no_dropout")
@pytest.mark.parametrize("aggregation", list(Aggregation))
def test_fedsgd_with_full_batches_is_pooled_gradient_descent(tmp_path: Path, aggregation: Aggregation) -> None:
    local = replace(LAYER, optimiser=Optimiser.SGD, learning_rate=0.01, batch_size=1000)
    found = train(tmp_path / "partners", "fedsgd", local=local, rounds=4, aggregation=aggregation).parameters
    pooled = train(tmp_path / "pooled", "fedsgd", local=local, rounds=4, datasets=[pooled_dataset(3)]).parameters
    moved = np.abs(pooled - initial(Norm.LAYER, 3, 0.0)).max()
    assert np.abs(found - pooled).max() < 1e-5 * moved


def test_fedsgd_refuses_more_steps_than_a_partner_has_rows(tmp_path: Path) -> None:
    with pytest.raises(UpdateError, match="larger batch size"):
        train(tmp_path, "fedsgd", local=replace(LAYER, batch_size=2))


def test_the_control_variates_of_scaffold_are_mean_gradients(tmp_path: Path) -> None:
    """Karimireddy et al. 2020, option II with SGD: c_i+ = (x - y_i)/(K lr) + c_i - c; c is their mean."""
    local = replace(LAYER, optimiser=Optimiser.SGD, learning_rate=0.01, batch_size=16)
    method = Method.parse("scaffold")
    dataset = partner_datasets(3)[0]
    learner = LocalLearner(dataset, local, method, (3, 0))
    start = initial(Norm.LAYER, 3, 4.0)
    change, control = np.split(learner.contribute(broadcast(0, np.append(start, 0 * start))).values[:-N_TOTALS], 2)
    n_steps = -(-len(dataset.train) // 16)
    np.testing.assert_allclose(control, -change / (n_steps * 0.01), atol=1e-3 * np.abs(control).max())
    again, shift = np.split(learner.contribute(broadcast(1, np.append(start, control))).values[:-N_TOTALS], 2)
    second = control.astype(np.float64) + shift  # c_i+ of the second round; its correction -c_i + c was zero
    np.testing.assert_allclose(second, -again / (n_steps * 0.01), atol=1e-3 * np.abs(control).max())


@pytest.mark.parametrize("private", [Private.NORMS, Private.HEAD])
def test_private_tensors_are_in_no_sum_and_differ_between_partners(private: Private) -> None:
    method = Method.parse(f"fedavg+private-{private}")
    learners = [LocalLearner(part, local_settings(), method, (3, i)) for i, part in enumerate(partner_datasets(3))]
    names = learners[0].sum_tensors[0]
    whole = make_network(local_settings(), 3)
    assert private_names(whole, private)
    assert not set(names) & private_names(whole, private)
    start = broadcast(0, initial_parameters(whole, shared_layout(whole, method), method, 4.0))
    for learner in learners:
        learner.contribute(start)
        learner.contribute(replace_round(start, 1))
        learner.note_best(0)
    parts = [learner.best_private_part for learner in learners]
    assert parts[0].size > 0
    assert (parts[0] != parts[1]).any()


def test_the_private_part_kept_is_that_of_the_best_round() -> None:
    method = Method.parse("fedavg+private-head")
    learner = LocalLearner(partner_datasets(3)[0], local_settings(), method, (3, 0))
    whole = make_network(local_settings(), 3)
    start = broadcast(0, initial_parameters(whole, shared_layout(whole, method), method, 4.0))
    learner.contribute(start)
    learner.contribute(replace_round(start, 1))  # validates the model after round 0
    after_first = learner.private_state()[0]["private.candidate"]
    learner.contribute(replace(replace_round(start, 2), best_round=0))
    np.testing.assert_array_equal(learner.best_private_part, after_first)
    learner.note_best(7)  # of a round that this partner knows nothing of: nothing changes
    np.testing.assert_array_equal(learner.best_private_part, after_first)


def replace_round(message: Broadcast, round_index: int) -> Broadcast:
    return replace(message, round_index=round_index)


def test_a_partner_without_any_error_to_lower_weighs_as_one_whose_training_changed_nothing() -> None:
    half = weight_of(Weighting.VALIDATION, 900, Totals(valid_error=3.0, valid_rows=3), lambda: Totals(valid_error=3.0))
    assert weight_of(Weighting.VALIDATION, 900, Totals(valid_rows=3), lambda: Totals(valid_rows=3)) == half
    assert half == 2**VALIDATION_WEIGHT_BITS / 2


def test_a_partner_whose_training_helps_more_weighs_more() -> None:
    local = replace(local_settings(), learning_rate=5e-4, batch_size=16, local_epochs=5)
    weights = []
    for rate in (local.learning_rate, 1e-9):
        settings = replace(local, learning_rate=rate, norm=Norm.LAYER)
        learner = LocalLearner(partner_datasets(3)[0], settings, Method.parse("fedavg+validation"), (3, 0))
        weights.append(learner.contribute(broadcast(0, initial(Norm.LAYER, 3, 0.0))).weight)
    assert weights[0] > 1.2 * weights[1]
    assert weights[1] == pytest.approx(2**VALIDATION_WEIGHT_BITS / 2, rel=0.01)
