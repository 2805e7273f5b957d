"""Learning many tasks at a partner: only trunk and catalogue leave, every method learns, and bad input is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from multitask_cases import FEDSGD, N_BITS, PLAIN, aggregate, broadcast, data_of, partners, server, start
from pharmonia.base.arrays import Vector
from pharmonia.base.errors import OptionError, PartitionError, UpdateError
from pharmonia.data.tasks import PreparedTasks, Task
from pharmonia.data.tasks import TaskKind as DataKind
from pharmonia.learn.contributions import unpack
from pharmonia.learn.multitask import MultitaskLearner
from pharmonia.learn.multitask_data import partner_tasks, predict_labels, rows_of, scattered, task_places
from pharmonia.learn.multitask_network import (
    initial_parameters,
    local_network,
    make_network,
    shared_layout,
    statistics,
    trained_network,
)
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.learn.multitask_steps import LocalSteps
from pharmonia.learn.server import ServerState, server_step
from pharmonia.learn.settings import Method, Optimiser
from pharmonia.nn.heads_names import HeadName
from pharmonia.nn.parameters import Layout, to_vector


def one_learner(method: str = "fedsgd", settings: MultitaskSettings = PLAIN) -> MultitaskLearner:
    return MultitaskLearner(data_of(partners(2)[1], settings), settings, Method.parse(method), (1, 0))


def test_only_trunk_and_catalogue_leave() -> None:
    learner = one_learner()
    names, lengths = learner.sum_tensors
    kinds = {name.split(".")[0] + "." + name.split(".")[1] for name in names}
    assert kinds == {"trunk.input", "trunk.middle", "heads.catalogue_classification", "heads.catalogue_regression",
                     "total.train_error", "total.train_rows", "total.valid_error", "total.valid_rows"}  # fmt: skip
    shared = start([learner], PLAIN, FEDSGD)
    assert learner.contribute(broadcast(shared, 0)).values.size == sum(lengths)


@pytest.mark.parametrize(
    "method", ["fedsgd", "fedavg", "fedprox:0.1", "fedadam", "scaffold", "fedavg+equal", "fedavg+validation"]
)
@pytest.mark.parametrize("optimiser", list(Optimiser))
def test_a_resumed_learner_goes_on_bit_for_bit(method: str, optimiser: Optimiser) -> None:
    settings = replace(PLAIN, dropout=0.3, optimiser=optimiser)
    first = one_learner(method, settings)
    shared = start([first], settings, Method.parse(method))
    for round_index in range(2):
        first.contribute(broadcast(shared, round_index, best_round=round_index - 1))
    state, candidate = first.private_state()
    second = one_learner(method, settings)
    second.restore(state, candidate)
    for round_index in range(2, 4):
        given = [one.contribute(broadcast(shared, round_index, best_round=1)) for one in (first, second)]
        assert given[0].weight == given[1].weight
        np.testing.assert_array_equal(given[0].values, given[1].values)
    np.testing.assert_array_equal(first.best_private_part, second.best_private_part)


@pytest.mark.parametrize("method", ["fedsgd", "fedavg", "fedprox:0.01", "scaffold", "fedavg+validation"])
def test_every_method_learns_what_the_labels_say(method: str) -> None:
    """Labels that follow from single bits; the loss of two partners together falls by a good part."""
    parsed = Method.parse(method)
    settings = replace(PLAIN, optimiser=Optimiser.ADAM, learning_rate=0.01, batch_size=1000 if "sgd" in method else 8)
    learners = [
        MultitaskLearner(data_of(easy(part), settings), settings, parsed, (1, i))
        for i, part in enumerate(partners(2))
    ]  # fmt: skip
    shared = start(learners, settings, parsed)
    trained = np.resize(shared_layout(make_network(settings, {}, 1)).trained_mask, shared.size)
    state, errors = ServerState(), []
    for round_index in range(30 if "sgd" in method else 8):
        given = [learner.contribute(broadcast(shared, round_index)) for learner in learners]
        change, error = aggregate(given)
        errors.append(error)
        shared, state = server_step(parsed, server(settings), shared, change, trained, state)
    assert errors[-1] < 0.6 * errors[0]


def easy(part: PreparedTasks) -> PreparedTasks:
    """The same compounds, every label a function of whether the compound has the task's bit."""
    table = np.zeros((part.n_compounds, N_BITS), dtype=bool)
    table[np.repeat(np.arange(part.n_compounds), np.diff(part.features.indptr)), part.features.indices] = True
    is_class = np.array([one.kind is DataKind.CLASSIFICATION for one in part.tasks])[part.labels.task]
    has_bit = table[part.labels.compound, part.labels.task]
    value = np.where(is_class, has_bit, 5 + 2 * has_bit).astype(np.float32)
    return replace(part, labels=replace(part.labels, value=value, censor=np.zeros_like(part.labels.censor)))


def test_fedavg_of_one_partner_is_training_alone() -> None:
    learner = one_learner("fedavg")
    data = data_of(partners(2)[1])
    shared = start([learner], PLAIN, Method.parse("fedavg"))
    change, _ = aggregate([learner.contribute(broadcast(shared, 0))])
    network = trained_network(PLAIN, data.places.sizes, shared, one_learner("fedavg").best_private_part)
    layout = shared_layout(network)
    rng = np.random.default_rng([1, 0, 0])
    torch.manual_seed(int(rng.integers(2**32 - 1)))
    LocalSteps(network, layout, PLAIN, Method.parse("fedavg")).run(data.train, rng, PLAIN.learning_rate, np.zeros(0))
    np.testing.assert_allclose(shared + change, to_vector(network, layout), rtol=1e-5, atol=1e-7)


def test_proximal_pull_keeps_a_partner_nearer_to_the_others() -> None:
    moved = []
    for method in ("fedprox:0.0001", "fedprox:10"):
        learner = one_learner(method)
        shared = start([learner], PLAIN, Method.parse(method))
        change, _ = aggregate([learner.contribute(broadcast(shared, 0))])
        moved.append(float(np.linalg.norm(change)))
    assert moved[1] < 0.8 * moved[0]


def test_steps_of_a_round_go_through_every_compound_once() -> None:
    learner = one_learner()
    shared = start([learner], PLAIN, FEDSGD)
    given = [learner.contribute(broadcast(shared, 0, step=step, n_steps=5)) for step in range(5)]
    assert sum(one.weight for one in given) == len(data_of(partners(2)[1]).train)


def test_a_partner_with_fewer_compounds_than_steps_says_so() -> None:
    learner = one_learner()
    with pytest.raises(UpdateError, match="18 compounds for 40 steps; use a larger batch size"):
        learner.contribute(broadcast(start([learner], PLAIN, FEDSGD), 0, step=39, n_steps=40))


def test_a_diverged_gradient_is_refused_and_never_leaves() -> None:
    learner = one_learner()
    shared = start([learner], PLAIN, FEDSGD)
    with pytest.raises(UpdateError, match=r"not finite|must be finite"):
        learner.contribute(broadcast(np.full_like(shared, np.nan), 0, step=1, n_steps=2))


def test_the_validation_error_is_a_mean_over_tasks() -> None:
    """By hand from predictions: each task's mean loss, then their sum under the tasks' weights."""
    part = partners(1)[0]
    data = data_of(part)
    learner = MultitaskLearner(data, PLAIN, FEDSGD, (1, 0))
    shared = start([learner], PLAIN, FEDSGD)
    totals = unpack(learner.contribute(broadcast(shared, 0, train=False)).values.astype(np.float64), 1).totals
    network = trained_network(PLAIN, data.places.sizes, shared, learner.best_private_part)
    chosen = part.in_folds((1,))
    predicted = predict_labels(network, part, data.places, chosen)
    error, n_tasks = 0.0, 0
    for index, one in enumerate(part.tasks):
        mine = part.labels.task[chosen] == index
        if not mine.any():
            continue
        n_tasks += 1
        y, f, sign = part.labels.value[chosen][mine], predicted[mine], part.labels.censor[chosen][mine]
        if one.kind is DataKind.CLASSIFICATION:
            error += 2 * 0.6 * float(-np.mean(y * np.log(f) + (1 - y) * np.log(1 - f)))
        else:
            name = HeadName.CATALOGUE_REGRESSION if one.catalogue_id else HeadName.REGRESSION
            spread = network.head(name).spread[data.places.column[index]].item()
            error += 2 * 0.4 * float(np.mean(np.where((f - y) * sign > 0, 0, (f - y) / spread) ** 2))
    assert totals.valid_rows == n_tasks
    assert totals.valid_error == pytest.approx(error, rel=1e-4)


def test_whether_a_tasks_scores_count_does_not_change_how_rounds_are_chosen() -> None:
    part = partners(1)[0]
    uncounted = replace(part, tasks=tuple(replace(one, aggregation_weight=0.0) for one in part.tasks))
    for head, importance in data_of(part).importance.items():
        np.testing.assert_array_equal(data_of(uncounted).importance[head], importance)


def test_auxiliary_tasks_choose_a_round_only_where_a_partner_can_validate_on_nothing_else() -> None:
    part = partners(1)[0]

    def judged(names: set[str]) -> list[float]:
        tasks = [
            replace(one, auxiliary=True, aggregation_weight=0.0) if one.task_id in names else one for one in part.tasks
        ]
        data = data_of(replace(part, tasks=tuple(tasks)))
        columns = zip(data.places.head.tolist(), data.places.column.tolist(), strict=True)
        return [float(data.importance[list(HeadName)[head]][column]) for head, column in columns]

    everything = {one.task_id for one in part.tasks}
    first = part.tasks[0].task_id
    assert judged({first}) == [0.0] + [1.0] * (len(everything) - 1)
    assert judged(everything) == [1.0] * len(everything)
    valid = np.unique(part.labels.task[part.in_folds((1,))]).tolist()
    assert judged({part.tasks[index].task_id for index in valid}) == [1.0] * len(everything)


def test_heads_start_at_the_mean_of_their_own_labels_and_the_catalogues_at_everybodys() -> None:
    """A network whose weights are zero predicts the means: nobody has to remember how values were normalised."""
    parts = partners(4)
    datas = [data_of(part) for part in parts]
    learners = [MultitaskLearner(data, PLAIN, FEDSGD, (1, i)) for i, data in enumerate(datas)]
    shared = start(learners, PLAIN, FEDSGD)
    for part, data, learner in zip(parts, datas, learners, strict=True):
        network = trained_network(PLAIN, data.places.sizes, shared, learner.best_private_part)
        with torch.no_grad():
            for name in data.places.sizes:
                network.head(name).weight.zero_()
                if name.kind.value == "regression":
                    network.head(name).bias.zero_()
        for index, one in enumerate(part.tasks):
            owners = parts if one.catalogue_id else [part]
            values = np.concatenate([exact_values(owner, one) for owner in owners])
            expected = values.mean()
            if one.kind is DataKind.CLASSIFICATION:
                expected = (values.sum() + 1) / (values.size + 2)
            name = list(HeadName)[data.places.head[index]]
            found = network.predict_table(data.valid.bits, name)[:, data.places.column[index]]
            np.testing.assert_allclose(found, expected, rtol=1e-4)


def exact_values(part: PreparedTasks, wanted: Task) -> Vector:
    """Training values of a task, or of whatever a partner has of the same catalogue task."""
    found = [
        index for index, one in enumerate(part.tasks)
        if one is wanted or (wanted.catalogue_id is not None and one.catalogue_id == wanted.catalogue_id)
    ]  # fmt: skip
    labels = part.labels
    inside = np.isin(labels.task, found) & (labels.censor == 0) & (part.fold[labels.compound] == 0)
    values: Vector = labels.value[inside].astype(np.float64)
    return values


def test_statistics_of_a_partner_without_catalogue_tasks_are_zeros_after_the_first() -> None:
    data = data_of(partners(3)[2])
    found = statistics(PLAIN, data.train.labels, len(data.train))
    n_labels = sum(part.column.size for part in data.train.labels.values())
    np.testing.assert_allclose(found, [n_labels / len(data.train), *[0.0] * 9])
    with pytest.raises(UpdateError, match="expected 10 statistics"):
        initial_parameters(make_network(PLAIN, {}, 1), PLAIN, FEDSGD, found[:-1], 5)


def test_the_coordinators_network_starts_as_every_partners() -> None:
    sizes = data_of(partners(1)[0]).places.sizes
    ours, theirs = make_network(PLAIN, {}, 7), make_network(PLAIN, sizes, 7)
    assert shared_layout(ours) == shared_layout(theirs)
    np.testing.assert_array_equal(to_vector(ours, shared_layout(ours)), to_vector(theirs, shared_layout(theirs)))


def test_labels_are_weighted_by_task_and_by_censoring() -> None:
    part = partners(1)[0]
    places = task_places(part, PLAIN)
    chosen = part.in_folds((0,))
    rows = rows_of(part, places, chosen)
    by_value = {
        (name, int(column), float(value)): float(weight)
        for name, one in rows.labels.items()
        for column, value, weight in zip(one.column, one.value, one.weight, strict=True)
    }
    for label in chosen.tolist():
        index = int(part.labels.task[label])
        one = part.tasks[index]
        expected = one.weight * (one.censored_weight if part.labels.censor[label] else 1.0)
        key = (list(HeadName)[places.head[index]], int(places.column[index]), float(part.labels.value[label]))
        assert by_value[key] == pytest.approx(expected)


def test_predictions_come_back_in_the_order_of_the_labels() -> None:
    part = partners(1)[0]
    places, chosen = task_places(part, PLAIN), part.in_folds((0, 1))
    rows = rows_of(part, places, chosen)
    values = {name: one.value for name, one in rows.labels.items()}
    np.testing.assert_array_equal(scattered(places, part, chosen, values), part.labels.value[chosen])


def test_a_local_trunk_learns_beside_a_frozen_one() -> None:
    part = easy(partners(2)[1])
    data = data_of(part)
    federated = make_network(PLAIN, {}, 1)
    before = to_vector(federated, shared_layout(federated))
    own_sizes = dict(data.places.sizes)
    network = local_network(PLAIN, own_sizes, federated, 2)
    settings = replace(PLAIN, optimiser=Optimiser.ADAM, learning_rate=0.01, local_epochs=20)
    nothing = Layout(names=(), shapes=(), trained=())
    steps = LocalSteps(network, nothing, settings, Method.parse("fedavg"))
    rng = np.random.default_rng(0)
    losses = [steps.run(data.train, rng, 0.01, np.zeros(0))[0] for _ in range(2)]
    assert losses[1] < 0.5 * losses[0]
    np.testing.assert_array_equal(to_vector(federated, shared_layout(federated)), before)
    assert network.embed(data.valid.bits).shape == (len(data.valid), 20)


@pytest.mark.parametrize(("bad", "message"), [
    ({"trunk": ()}, "widths"), ({"head": (0,)}, "widths"), ({"dropout": 1.0}, "dropout"),
    ({"regression_weight": 1.0}, "regression weight"), ({"catalogue_regression": ("b", "a")}, "ascending"),
    ({"learning_rate": 0.0}, "learning rate"), ({"batch_size": 0}, "batch size"), ({"drop_round": 0}, "drop round"),
])  # fmt: skip
def test_settings_out_of_range_are_refused(bad: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        replace(PLAIN, **bad)  # type: ignore[arg-type]


def test_the_learning_rate_drops_once() -> None:
    assert [PLAIN.rate_at(i) for i in (0, 9, 10, 30)] == pytest.approx([0.05, 0.05, 0.015, 0.015])


def test_a_private_part_by_name_is_refused() -> None:
    with pytest.raises(OptionError, match="heads are private anyway"):
        one_learner("fedavg+private-head")


def test_data_of_another_plan_are_refused() -> None:
    part = partners(1)[0]
    with pytest.raises(UpdateError, match="features have 64 columns, the plan 32"):
        data_of(part, replace(PLAIN, n_bits=32))
    with pytest.raises(UpdateError, match="no catalogue task 'logd'"):
        data_of(part, replace(PLAIN, catalogue_regression=("ppb",)))
    with pytest.raises(PartitionError, match="a needs at least one label in its validation folds; choose other folds"):
        partner_tasks("a", part, PLAIN, train_folds=(0, 1), valid_folds=())
    with pytest.raises(PartitionError, match="a needs at least one label in its training folds"):
        partner_tasks("a", part, PLAIN, train_folds=(), valid_folds=(1,))
