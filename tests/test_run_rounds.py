"""Rounds between a coordinator and parties: what is trained, what is kept, and that a killed run ends the same."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from interaction_cases import small_encoded
from pharmonia.base.arrays import Vector
from pharmonia.base.errors import InputError, MessageError, OptionError, StoreError
from pharmonia.data.partition import PartitionKind, partition_rows
from pharmonia.data.partner import PartnerDataset, partner_dataset
from pharmonia.data.splits import Part, SplitKind, split_rows
from pharmonia.engines.inprocess import InProcessEngine
from pharmonia.learn.algorithms import Schedule, Selection
from pharmonia.learn.local import LocalLearner, initial_parameters, predict
from pharmonia.learn.messages import Broadcast, Reply, Statistics, ValidationScore, decode, encode
from pharmonia.learn.settings import LocalSettings, Optimiser
from pharmonia.nn.choices import Norm
from pharmonia.run.arrayfile import read_arrays, write_arrays
from pharmonia.run.coordinator import Coordinator
from pharmonia.run.files import write_whole
from pharmonia.run.party import Party
from pharmonia.run.records import Performance, RoundRecord, TrainedModel, TrainingPlan
from pharmonia.run.store import RunStatus, RunStore

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OFTEN, NEVER = Performance(checkpoint_every_s=0.0), Performance(checkpoint_every_s=1e9)


def local_settings(optimiser: Optimiser = Optimiser.ADAM, norm: Norm = Norm.BATCH) -> LocalSettings:
    return LocalSettings(norm=norm, optimiser=optimiser, learning_rate=1e-3, batch_size=16, local_epochs=1)


def partner_datasets(n_partners: int) -> list[PartnerDataset]:
    encoded = small_encoded()
    partition = partition_rows(encoded.interactions, PartitionKind.TARGET, n_partners, np.random.default_rng(1))
    split = split_rows(encoded.interactions, SplitKind.RANDOM, partition, np.random.default_rng(2))
    train, valid = split.rows(Part.TRAIN), split.rows(Part.VALID)
    return [
        partner_dataset(
            encoded,
            name,
            train=train[partition.owner[train] == index],
            valid=valid[partition.owner[valid] == index],
        )
        for index, name in enumerate(partition.names)
    ]


def open_store(folder: Path) -> RunStore:
    store = RunStore(f"sqlite:///{folder / 'runs.sqlite'}", folder / "runs")
    store.open_run("run", {"seed": 3}, NOW)
    return store


def coordinator(
    folder: Path,
    *,
    rounds: int = 6,
    patience: int = 50,
    n_partners: int = 2,
    performance: Performance = NEVER,
    local: LocalSettings | None = None,
) -> Coordinator:
    """A run of fresh objects over what the folder holds, as a new process would make them."""
    local = local or local_settings()
    parties = {
        dataset.name: Party(LocalLearner(dataset, local, (3, index)), folder / "runs" / "run" / f"party-{index}")
        for index, dataset in enumerate(partner_datasets(n_partners))
    }
    plan = TrainingPlan(local=local, schedule=Schedule(rounds=rounds, patience=patience), seed=3)
    return Coordinator(plan, InProcessEngine(parties), open_store(folder), "run", performance)


def essence(model: TrainedModel) -> list[tuple[int, float, float, str]]:
    """All of the rounds but the time they took."""
    return [(r.round_index, r.valid_mse, r.train_loss, r.aggregate_digest) for r in model.rounds]


class KilledError(Exception):
    """Stands for a kill: nothing that the run does can catch it."""


@pytest.mark.parametrize("optimiser", list(Optimiser))
@pytest.mark.parametrize("kills", [(0,), (3,), (1, 2, 4)])
def test_a_killed_run_resumes_and_ends_bit_identical(
    tmp_path: Path, optimiser: Optimiser, kills: tuple[int, ...]
) -> None:
    local = local_settings(optimiser)
    whole = coordinator(tmp_path / "whole", local=local).train(lambda _: None)
    for kill in kills:

        def killed(record: RoundRecord, kill: int = kill) -> None:
            if record.round_index == kill:
                raise KilledError

        with pytest.raises(KilledError):
            coordinator(tmp_path / "killed", local=local, performance=OFTEN).train(killed)
    seen: list[int] = []
    resumed = coordinator(tmp_path / "killed", local=local, performance=OFTEN).train(
        lambda record: seen.append(record.round_index)
    )
    assert seen == list(range(max(kills), 6))  # what was finished before the last checkpoint is not repeated
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)
    assert resumed.selection == whole.selection
    assert essence(resumed) == essence(whole)


def test_a_run_learns_and_keeps_the_best_validated_round(tmp_path: Path) -> None:
    local = LocalSettings(norm=Norm.LAYER, optimiser=Optimiser.ADAM, learning_rate=5e-3, batch_size=16, local_epochs=1)
    model = coordinator(tmp_path, rounds=25, local=local).train(lambda _: None)
    errors = [record.valid_mse for record in model.rounds]
    assert len(errors) == 25
    assert model.selection.best_round == int(np.argmin(errors))
    assert model.selection.best_error == min(errors)
    assert min(errors) < 0.8 * errors[0]
    learners = [LocalLearner(dataset, local, (0, 0)) for dataset in partner_datasets(2)]
    scores = [learner.validate(model.parameters) for learner in learners]
    error = sum(score.squared_error for score in scores) / sum(score.n_rows for score in scores)
    assert error == pytest.approx(model.selection.best_error, rel=1e-5)  # float32 on the wire


def test_early_stopping_ends_a_run_after_patience(tmp_path: Path) -> None:
    local = LocalSettings(norm=Norm.BATCH, optimiser=Optimiser.SGD, learning_rate=1e-9, batch_size=64, local_epochs=1)
    model = coordinator(tmp_path, rounds=40, patience=3, local=local).train(lambda _: None)
    best = model.selection.best_round
    assert best is not None
    assert len(model.rounds) == best + 1 + 3 < 40


def test_bytes_are_those_of_the_frames(tmp_path: Path) -> None:
    """Two partners, two rounds: a broadcast each, one more that only validates, and an update per round."""
    model = coordinator(tmp_path, rounds=2).train(lambda _: None)
    vector_bytes = 4 * model.parameters.size
    sent, received = (
        sum(getattr(record, name) for record in model.rounds) for name in ("bytes_to_partners", "bytes_from_partners")
    )
    assert 0 < sent - 2 * 3 * vector_bytes < 6 * 100
    assert 0 < received - 2 * 2 * vector_bytes < 6 * 200


def test_the_initial_model_predicts_the_mean_of_all_partners() -> None:
    parameters = initial_parameters(Norm.LAYER, seed=5, mean_value=7.5)
    np.testing.assert_array_equal(parameters, initial_parameters(Norm.LAYER, seed=5, mean_value=7.5))
    assert (parameters != initial_parameters(Norm.LAYER, seed=6, mean_value=7.5)).any()
    encoded = small_encoded()
    predicted = predict(parameters, Norm.LAYER, encoded, encoded.interactions.pairs)
    assert np.abs(predicted - 7.5).max() < 1


def test_statistics_and_validation_are_sums_over_own_rows() -> None:
    dataset = partner_datasets(2)[0]
    learner = LocalLearner(dataset, local_settings(), (0, 0))
    statistics = learner.statistics()
    assert statistics.n_train == len(dataset.train)
    assert statistics.value_sum == pytest.approx(float(dataset.train.value.sum()), rel=1e-6)
    score = learner.validate(initial_parameters(Norm.BATCH, 0, 5.0))
    assert score.n_rows == len(dataset.valid)


def test_a_party_answers_only_what_a_coordinator_sends_and_rounds_it_can_start(tmp_path: Path) -> None:
    party = Party(LocalLearner(partner_datasets(2)[0], local_settings(), (0, 0)), tmp_path)
    with pytest.raises(MessageError, match="does not send Statistics"):
        party.handle(encode(Statistics(n_train=1, value_sum=0.0)))
    late = Broadcast(round_index=4, train=True, save=False, parameters=initial_parameters(Norm.BATCH, 0, 5.0))
    with pytest.raises(StoreError, match="round 4"):
        party.handle(encode(late))


class StubbornParty:
    """Answers every broadcast as for one round."""

    def __init__(self, round_index: int) -> None:
        self._round_index = round_index

    def handle(self, frame: bytes) -> bytes:
        if isinstance(decode(frame), Broadcast):
            score = ValidationScore(n_rows=1, squared_error=1.0)
            return encode(Reply(round_index=self._round_index, score=score, update=None))
        return encode(Statistics(n_train=1, value_sum=1.0))


@pytest.mark.parametrize("round_index", [0, 7])
def test_an_answer_to_another_round_or_without_update_is_refused(tmp_path: Path, round_index: int) -> None:
    plan = TrainingPlan(local=local_settings(), schedule=Schedule(rounds=1, patience=1), seed=0)
    engine = InProcessEngine({"Stubborn": StubbornParty(round_index)})
    with pytest.raises(MessageError, match="Stubborn did not answer round 0 as asked"):
        Coordinator(plan, engine, open_store(tmp_path), "run", NEVER).train(lambda _: None)


def record(round_index: int, valid_mse: float = 0.5) -> RoundRecord:
    return RoundRecord(
        round_index=round_index, valid_mse=valid_mse, train_loss=0.25, aggregate_digest=f"{round_index:064x}",
        bytes_to_partners=2**40, bytes_from_partners=3, wall_s=1.5, cpu_s=2.5,
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
    plan = TrainingPlan(local=local_settings(), schedule=Schedule(rounds=3, patience=9), seed=1)
    engine = InProcessEngine({dataset.name: Party(LocalLearner(dataset, local_settings(), (1, 0)), folder)})
    return Coordinator(plan, engine, open_store(folder), "run", NEVER).train(lambda _: None).parameters


def test_a_run_repeats_with_its_seed(tmp_path: Path) -> None:
    dataset = partner_datasets(2)[0]
    first, again = (run_of_one(tmp_path / name, dataset) for name in ("first", "again"))
    np.testing.assert_array_equal(first, again)
