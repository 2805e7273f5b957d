"""Rounds between a coordinator and parties: what is trained, what is kept, and that a killed run ends the same."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from interaction_cases import small_encoded
from pharmonia.base.arrays import Vector
from pharmonia.base.errors import InputError, MessageError, OptionError, StoreError
from pharmonia.bench.simulation import interaction_learners, simulate
from pharmonia.data.partner import PartnerDataset
from pharmonia.engines.inprocess import InProcessEngine
from pharmonia.learn.algorithms import Schedule, Selection
from pharmonia.learn.contributions import Contribution
from pharmonia.learn.local import LocalLearner
from pharmonia.learn.messages import Done, Finish, Message, Repeat, SessionRequest, encode
from pharmonia.learn.network import predict
from pharmonia.learn.settings import Aggregation, LocalSettings, Method, Optimiser
from pharmonia.nn.choices import Model, Norm
from pharmonia.run.arrayfile import read_arrays, write_arrays
from pharmonia.run.coordinator import Coordinator
from pharmonia.run.files import write_whole
from pharmonia.run.party import Party
from pharmonia.run.protection import InTheClear
from pharmonia.run.records import RoundRecord, TrainedModel, TrainingPlan
from pharmonia.run.store import RunStatus, RunStore
from pharmonia.run.sums import PlainSums
from run_cases import (
    NEVER,
    NOW,
    OFTEN,
    broadcast,
    coordinator,
    essence,
    initial,
    local_settings,
    open_store,
    opened_at_once,
    partner_datasets,
)


class KilledError(Exception):
    """Stands for a kill: nothing that the run does can catch it."""


RESUMED = [
    (Optimiser.ADAM, "fedavg", (0,)),
    (Optimiser.ADAM, "fedavg", (1, 2)),
    (Optimiser.SGD, "fedavg", (1,)),
    (Optimiser.ADAM, "fedsgd", (1,)),
    (Optimiser.ADAM, "fedyogi", (1,)),
    (Optimiser.SGD, "scaffold", (1,)),
    (Optimiser.ADAM, "fedavg+private-norms", (1,)),
    (Optimiser.ADAM, "fedsgd+private-head", (1,)),
    (Optimiser.ADAM, "fedprox:0.1+validation", (1,)),
]


@pytest.mark.parametrize(("optimiser", "method", "kills"), RESUMED)
def test_a_killed_run_resumes_and_ends_bit_identical(
    tmp_path: Path, optimiser: Optimiser, method: str, kills: tuple[int, ...]
) -> None:
    """The resumed process opens a new session of secure sums; sums do not depend on the masks."""
    local = replace(local_settings(optimiser), batch_size=60)
    whole = coordinator(tmp_path / "whole", rounds=4, local=local, method=method).train(lambda _: None)
    for kill in kills:

        def killed(record: RoundRecord, kill: int = kill) -> None:
            if record.round_index == kill:
                raise KilledError

        with pytest.raises(KilledError):
            coordinator(tmp_path / "killed", rounds=4, local=local, method=method, performance=OFTEN).train(killed)
    seen: list[int] = []
    resumed = coordinator(tmp_path / "killed", rounds=4, local=local, method=method, performance=OFTEN).train(
        lambda record: seen.append(record.round_index)
    )
    assert seen == list(range(max(kills), 4))  # what was finished before the last checkpoint is not repeated
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)
    assert resumed.selection == whole.selection
    assert essence(resumed) == essence(whole)


def test_a_run_learns_and_keeps_the_best_validated_round(tmp_path: Path) -> None:
    local = LocalSettings(
        model=Model.GIN, norm=Norm.LAYER, optimiser=Optimiser.ADAM, learning_rate=5e-3, batch_size=16, local_epochs=1
    )
    model = coordinator(tmp_path, rounds=25, local=local).train(lambda _: None)
    errors = [record.valid_error for record in model.rounds]
    assert len(errors) == 25
    assert model.selection.best_round == int(np.argmin(errors))
    assert model.selection.best_error == min(errors)
    assert min(errors) < 0.8 * errors[0]
    learners = [LocalLearner(dataset, local, Method(), (0, 0)) for dataset in partner_datasets(3)]
    scores = [learner.validate(model.parameters) for learner in learners]
    error = sum(score.valid_error for score in scores) / sum(score.valid_rows for score in scores)
    assert error == pytest.approx(model.selection.best_error, rel=1e-5)  # float32 on the wire


def test_early_stopping_ends_a_run_after_patience(tmp_path: Path) -> None:
    local = LocalSettings(
        model=Model.GIN, norm=Norm.BATCH, optimiser=Optimiser.SGD, learning_rate=1e-9, batch_size=64, local_epochs=1
    )
    model = coordinator(tmp_path, rounds=40, patience=3, local=local).train(lambda _: None)
    best = model.selection.best_round
    assert best is not None
    assert len(model.rounds) == best + 1 + 3 < 40


@pytest.mark.parametrize("aggregation", list(Aggregation))
def test_bytes_are_those_of_the_frames(tmp_path: Path, aggregation: Aggregation) -> None:
    """Three partners, two rounds: a broadcast each, one more that only validates, and an update per round."""
    model = coordinator(tmp_path, rounds=2, aggregation=aggregation).train(lambda _: None)
    vector_bytes = 4 * model.parameters.size
    sent, received = (
        sum(getattr(record, name) for record in model.rounds) for name in ("bytes_to_partners", "bytes_from_partners")
    )
    assert 0 < sent - 3 * 3 * vector_bytes < 3 * 12_000
    assert 0 < received - 3 * 2 * vector_bytes < 3 * 8_000


def test_secure_and_plain_runs_agree_to_the_error_that_the_record_states(tmp_path: Path) -> None:
    secure, plain = (
        coordinator(tmp_path / kind, rounds=1, aggregation=kind).train(lambda _: None) for kind in Aggregation
    )
    error = secure.rounds[0].sum_error
    assert error is not None
    assert 0 < error < 1e-5
    assert secure.rounds[0].n_clipped == 0
    assert plain.rounds[0].sum_error == 0
    assert secure.selection.best_error == pytest.approx(plain.selection.best_error, rel=1e-2)  # Adam amplifies rounding


def test_the_initial_model_predicts_the_mean_of_all_partners() -> None:
    parameters = initial(Norm.LAYER, seed=5, mean_value=7.5)
    np.testing.assert_array_equal(parameters, initial(Norm.LAYER, seed=5, mean_value=7.5))
    assert (parameters != initial(Norm.LAYER, seed=6, mean_value=7.5)).any()
    encoded = small_encoded()
    local = local_settings(norm=Norm.LAYER)
    predicted = predict(local, Method(), parameters, np.empty(0), encoded, encoded.interactions.pairs)
    assert np.abs(predicted - 7.5).max() < 1


def test_statistics_and_validation_are_of_own_rows() -> None:
    dataset = partner_datasets(2)[0]
    learner = LocalLearner(dataset, local_settings(), Method(), (0, 0))
    statistics = learner.statistics()
    assert statistics.weight == len(dataset.train)
    assert statistics.values == pytest.approx([float(dataset.train.value.mean())], rel=1e-6)
    assert learner.validate(initial(Norm.BATCH, 0, 5.0)).valid_rows == len(dataset.valid)


def test_a_party_answers_only_what_a_coordinator_sends_and_rounds_it_can_start(tmp_path: Path) -> None:
    party = Party(LocalLearner(partner_datasets(2)[0], local_settings(), Method(), (0, 0)), InTheClear(), tmp_path)
    with pytest.raises(MessageError, match="does not send Done"):
        party.handle(encode(Done()))
    with pytest.raises(StoreError, match="round 4"):
        party.handle(encode(broadcast(4, initial(Norm.BATCH, 0, 5.0))))
    for frame in (encode(SessionRequest(session=bytes(32))), encode(Repeat(sum_index=1, magnitudes=False))):
        with pytest.raises(MessageError, match="plain run"):
            party.handle(frame)


class StubbornParty:
    """Answers everything with the same frame."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def handle(self, frame: bytes) -> bytes:
        return self._answer


@pytest.mark.parametrize(
    "answer", [Done(), Contribution(weight=1, values=np.zeros(7, dtype=np.float32)), Finish(best_round=0)]
)
def test_an_answer_to_something_else_is_refused(tmp_path: Path, answer: Message) -> None:
    plan = TrainingPlan(local=local_settings(), method=Method(), schedule=Schedule(rounds=1, patience=1), seed=0)
    engine = InProcessEngine({"Stubborn": StubbornParty(encode(answer))})
    with pytest.raises(MessageError, match="expected a contribution of 1 values"):
        Coordinator(plan, PlainSums(engine), open_store(tmp_path), "run", NEVER).train(lambda _: None)


def record(round_index: int, valid_error: float = 0.5) -> RoundRecord:
    return RoundRecord(
        round_index=round_index, valid_error=valid_error, train_loss=0.25, aggregate_digest=f"{round_index:064x}",
        bytes_to_partners=2**40, bytes_from_partners=3, wall_s=1.5, cpu_s=2.5, n_clipped=4, sum_error=None,
    )  # fmt: skip


def test_the_store_keeps_rounds_and_models(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for index in range(4):
        store.add_round("run", record(index))
    store.drop_rounds("run", from_round=2)
    assert store.rounds("run") == (record(0), record(1))
    selection = Selection(best_round=1, best_error=0.5, n_waited=0)
    model = TrainedModel(parameters=np.array([1.0, 2.0]), selection=selection, rounds=store.rounds("run"))
    store.finish("run", model)
    again = RunStore(f"sqlite:///{tmp_path / 'runs.sqlite'}", tmp_path / "runs")
    assert again.open_run("run", {"seed": 3}, NOW) is RunStatus.FINISHED
    assert asdict(again.model("run").selection) == asdict(selection)
    np.testing.assert_array_equal(again.model("run").parameters, [1.0, 2.0])


def test_a_run_with_other_settings_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(StoreError, match="other settings"):
        store.open_run("run", {"seed": 4}, NOW)


def test_many_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    assert opened_at_once(f"sqlite:///{tmp_path}/runs.sqlite", tmp_path) == {RunStatus.RUNNING}


def test_a_store_that_cannot_be_opened_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be opened"):
        RunStore(f"sqlite:///{tmp_path / 'file' / 'runs.sqlite'}", tmp_path)
    with pytest.raises(InputError, match="cannot be opened"):
        RunStore("nonsense", tmp_path)


def test_a_file_that_cannot_be_written_is_an_input_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_whole(tmp_path / "file" / "results.json", b"{}")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        write_whole(tmp_path / "folder", b"{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_damaged_array_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.safetensors"
    write_arrays(path, {"x": np.arange(8.0)}, {"note": 1})
    arrays, meta = read_arrays(path)
    np.testing.assert_array_equal(arrays["x"], np.arange(8.0))
    assert meta == {"note": 1}
    whole = path.read_bytes()
    damaged = {"truncate": whole[:-3], "flip": whole[:-1] + bytes([whole[-1] ^ 1]), "empty": b""}[damage]
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match="damaged"):
        read_arrays(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "wrong", [{"learning_rate": 0.0}, {"learning_rate": 11.0}, {"batch_size": 1}, {"local_epochs": 0}]
)
def test_local_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        LocalSettings(**{**asdict(local_settings()), **wrong})


def run_of_one(folder: Path, dataset: PartnerDataset) -> Vector:
    plan = TrainingPlan(local=local_settings(), method=Method(), schedule=Schedule(rounds=3, patience=9), seed=1)
    learners = interaction_learners([(0, dataset)], local_settings(), Method(), plan.seed)
    simulation = simulate(learners, Aggregation.SECURE, folder)
    store = open_store(folder)
    run = Coordinator(plan, simulation.sums, store, "run", NEVER)
    return run.train(lambda _: None).parameters


def test_a_run_repeats_with_its_seed(tmp_path: Path) -> None:
    dataset = partner_datasets(2)[0]
    first, again = (run_of_one(tmp_path / name, dataset) for name in ("first", "again"))
    np.testing.assert_array_equal(first, again)
