"""Runs of networks of many tasks: the same rounds, sums and resumes as with pairs of compound and target."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multitask_cases import PLAIN, data_of, partners, stacked
from pharmonia.base.arrays import Vector
from pharmonia.base.errors import OptionError, UpdateError
from pharmonia.bench.simulation import Simulation, simulate
from pharmonia.learn.algorithms import Schedule
from pharmonia.learn.contributions import Totals
from pharmonia.learn.multitask import MultitaskLearner
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.learn.settings import Aggregation, Method
from pharmonia.run.coordinator import Coordinator
from pharmonia.run.records import Performance, RoundRecord, TrainedModel, TrainingPlan
from run_cases import NEVER, OFTEN, essence, open_store

METHODS = ["fedavg", "fedsgd", "scaffold", "fedadam:0.01+equal"]


def simulation_of(folder: Path, method: str, aggregation: Aggregation, settings: MultitaskSettings) -> Simulation:
    learners = []
    for index, part in enumerate(partners(3)):
        data = data_of(part, settings, f"p{index}")
        learners.append((index, data.name, MultitaskLearner(data, settings, Method.parse(method), (3, index))))
    return simulate(learners, aggregation, folder / "runs" / "run")


def train(
    folder: Path,
    method: str,
    *,
    aggregation: Aggregation = Aggregation.SECURE,
    performance: Performance = NEVER,
    rounds: int = 4,
    stop_after: int | None = None,
    settings: MultitaskSettings = PLAIN,
) -> tuple[TrainedModel, dict[str, Vector]]:
    """The model and what each partner kept to itself; with `stop_after`, a run killed after that round."""
    plan = TrainingPlan(
        local=settings, method=Method.parse(method), schedule=Schedule(rounds=rounds, patience=9), seed=3
    )
    made = simulation_of(folder, method, aggregation, settings)
    coordinator = Coordinator(plan, made.sums, open_store(folder), "run", performance, made.sum_error)

    def watch(record: RoundRecord) -> None:
        if record.round_index == stop_after:
            raise KeyboardInterrupt

    model = coordinator.train(watch)
    return model, {name: party.best_private_part for name, party in made.parties.items()}


@pytest.mark.parametrize("method", METHODS)
def test_a_run_learns_and_its_secure_sums_are_those_in_the_clear(tmp_path: Path, method: str) -> None:
    secure, heads = train(tmp_path / "secure", method)
    plain, plain_heads = train(tmp_path / "plain", method, aggregation=Aggregation.PLAIN)
    errors = [record.valid_error for record in secure.rounds]
    assert min(errors[1:]) < errors[0]
    assert max(record.sum_error or 0.0 for record in secure.rounds) < 2e-3  # where a gradient falls from step to step
    np.testing.assert_allclose(errors, [record.valid_error for record in plain.rounds], rtol=2e-3)
    for name, part in heads.items():
        np.testing.assert_allclose(part, plain_heads[name], atol=5e-3)


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_run_ends_bit_identical_to_one_that_was_not(tmp_path: Path, method: str) -> None:
    whole, heads = train(tmp_path / "whole", method, performance=OFTEN)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", method, performance=OFTEN, stop_after=1)
    resumed, resumed_heads = train(tmp_path / "killed", method, performance=OFTEN)
    assert essence(resumed) == essence(whole)
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)
    for name, part in heads.items():
        np.testing.assert_array_equal(resumed_heads[name], part)


def test_an_owner_of_everything_takes_part_alone(tmp_path: Path) -> None:
    data = data_of(stacked(partners(2)))
    method = Method.parse("fedsgd")
    made = simulate([(0, "all", MultitaskLearner(data, PLAIN, method, (3, 0)))], Aggregation.SECURE, tmp_path / "home")
    plan = TrainingPlan(local=PLAIN, method=method, schedule=Schedule(rounds=5, patience=9), seed=3)
    model = Coordinator(plan, made.sums, open_store(tmp_path), "run", NEVER).train(lambda _: None)
    errors = [record.valid_error for record in model.rounds]
    assert min(errors[1:]) < errors[0]


class _Blind(MultitaskLearner):
    """Says that it validated nothing."""

    def _validate(self) -> Totals:
        return Totals()


def test_rounds_that_nobody_validates_are_refused(tmp_path: Path) -> None:
    method = Method.parse("fedsgd")
    learner = _Blind(data_of(partners(1)[0]), PLAIN, method, (3, 0))
    made = simulate([(0, "blind", learner)], Aggregation.SECURE, tmp_path / "home")
    plan = TrainingPlan(local=PLAIN, method=method, schedule=Schedule(rounds=2, patience=9), seed=3)
    with pytest.raises(UpdateError, match="nobody validated the model"):
        Coordinator(plan, made.sums, open_store(tmp_path), "run", NEVER).train(lambda _: None)


def test_the_learning_rate_drops_at_the_coordinator_too(tmp_path: Path) -> None:
    early = replace(PLAIN, drop_round=1)
    dropped, _ = train(tmp_path / "early", "fedsgd", settings=early, aggregation=Aggregation.PLAIN, rounds=2)
    kept, _ = train(tmp_path / "late", "fedsgd", aggregation=Aggregation.PLAIN, rounds=2)
    assert dropped.rounds[0].aggregate_digest == kept.rounds[0].aggregate_digest
    assert dropped.rounds[1].aggregate_digest != kept.rounds[1].aggregate_digest


def test_the_training_loss_of_fedsgd_is_over_the_one_pass_that_it_makes(tmp_path: Path) -> None:
    records = [
        train(tmp_path / f"{n}", "fedsgd", settings=replace(PLAIN, local_epochs=n), rounds=1)[0].rounds[0]
        for n in (1, 4)
    ]
    assert records[0].train_loss == records[1].train_loss


def test_a_method_with_private_norms_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    plan = TrainingPlan(
        local=PLAIN, method=Method.parse("fedavg+private-norms"), schedule=Schedule(rounds=1, patience=9), seed=3
    )
    made = simulation_of(tmp_path, "fedavg", Aggregation.PLAIN, PLAIN)
    with pytest.raises(OptionError, match="private"):
        Coordinator(plan, made.sums, open_store(tmp_path), "run", NEVER)
