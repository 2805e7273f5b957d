"""A run between sites is that of one process, bit for bit, also after a kill; and every ledger tells it."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from governance_cases import NOW, OWNERS
from multitask_cases import ONE_PASS, data_of, partners
from pharmonia.base.errors import (
    DataFileError,
    EngineError,
    MessageError,
)
from pharmonia.bench.settings import ComparisonSettings
from pharmonia.bench.simulation import interaction_learners, simulate
from pharmonia.bench.sites import partner_share
from pharmonia.data.recipe import Recipe
from pharmonia.data.recipe_profile import PrepareProfile
from pharmonia.data.tasks import PreparedTasks
from pharmonia.engines.inprocess import InProcessEngine
from pharmonia.governance.events import Failed, FailureCode, RoundAggregated
from pharmonia.learn.learner import Learner
from pharmonia.learn.multitask import MultitaskLearner
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.learn.settings import Aggregation, Method
from pharmonia.run.coordinator import Coordinator
from pharmonia.run.engine import FrameHandler
from pharmonia.run.plan_settings import listed
from pharmonia.run.planned_tasks import MULTITASK, multitask_method_settings, multitask_model_settings
from pharmonia.run.prepare_files import write_prepared
from pharmonia.run.records import RoundRecord, TrainedModel, TrainingPlan
from pharmonia.run.site import open_site
from pharmonia.run.store import RunStore
from run_cases import NEVER, essence
from site_cases import COORDINATOR, Consortium, fixed_code, history, opened, settings

EVERYBODY = (*OWNERS, COORDINATOR)


@pytest.fixture(scope="module", autouse=True)
def _code() -> Iterator[None]:
    with fixed_code():
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    return Consortium(folder=tmp_path_factory.mktemp("aurora"), settings=settings(), history=history()).found()


@pytest.fixture
def aurora(original: Consortium, tmp_path: Path) -> Consortium:
    return original.copied(tmp_path / "aurora")


@pytest.fixture(scope="module")
def finished(original: Consortium, tmp_path_factory: pytest.TempPathFactory) -> tuple[Consortium, TrainedModel]:
    """A whole run between sites."""
    place = original.copied(tmp_path_factory.mktemp("finished") / "aurora")
    return place, place.run()


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    return bench_run(tmp_path_factory.mktemp("bench"), settings())


class Relay(InProcessEngine):
    """An engine whose parties may be replaced while it stands."""

    def __init__(self, parties: dict[str, FrameHandler]) -> None:
        super().__init__(parties)
        self._parties = parties

    @property
    def partners(self) -> tuple[str, ...]:
        return OWNERS


def bench_run(folder: Path, chosen: ComparisonSettings) -> TrainedModel:
    """The federated run of a comparison, as `bench.training` makes it."""
    datasets = [(index, partner_share(chosen, index, f"partner {index + 1}")) for index in range(3)]
    learners = interaction_learners(datasets, chosen.local, chosen.method, chosen.seeds[0])
    plan = TrainingPlan(local=chosen.local, method=chosen.method, schedule=chosen.schedule, seed=chosen.seeds[0])
    return trained_in_process(folder, learners, plan)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def trained_in_process(folder: Path, learners: Sequence[tuple[int, str, Learner]], plan: TrainingPlan) -> TrainedModel:
    made = simulate(learners, Aggregation.SECURE, folder)
    store = RunStore(f"sqlite:///{folder / 'runs.sqlite'}", folder)
    store.open_run("run", {}, NOW)
    return Coordinator(plan, made.sums, store, "run", NEVER, made.sum_error).train(lambda record: None)


def test_a_run_between_sites_gives_bit_for_bit_the_model_of_one_process(
    finished: tuple[Consortium, TrainedModel], in_process: TrainedModel
) -> None:
    _, model = finished
    assert essence(model) == essence(in_process)
    np.testing.assert_array_equal(model.parameters, in_process.parameters)


def test_what_a_site_keeps_of_its_data_and_of_its_own_gradients_nobody_else_can_read(
    finished: tuple[Consortium, TrainedModel],
) -> None:
    place, _ = finished
    for owner in OWNERS:
        home = place.folder / owner
        kept = [*home.glob("state/*/*.safetensors"), *home.glob("state/*/*.bin"), *home.glob("data/*.npy")]
        names = {path.name for path in kept}
        assert {"private.safetensors", "last-mask.bin", "train.value.npy"} < names
        assert any(name.startswith("before-round-") for name in names)
        assert {mode(path) for path in kept} == {0o600}
        assert {mode(home / "data"), *map(mode, home.glob("state/*"))} == {0o700}


def test_every_copy_of_the_ledger_is_the_same_and_verifies(finished: tuple[Consortium, TrainedModel]) -> None:
    place, model = finished
    for name in ("entries.jsonl", "checkpoints.jsonl"):
        assert len({(place.ledger(one) / name).read_bytes() for one in EVERYBODY}) == 1
    for name in EVERYBODY:
        assert place.verify(name).failed == ()
    aggregates = [one.aggregate for one in place.events() if isinstance(one, RoundAggregated)]
    assert aggregates == [record.aggregate_digest for record in model.rounds]


def test_a_finished_run_is_not_run_again(finished: tuple[Consortium, TrainedModel]) -> None:
    place, model = finished
    n_events = len(place.events())
    np.testing.assert_array_equal(place.run().parameters, model.parameters)
    assert len(place.events()) == n_events


def test_fedsgd_with_private_norms_is_the_same_between_sites_and_each_keeps_its_norms(
    original: Consortium, tmp_path: Path
) -> None:
    place = original.copied(tmp_path / "aurora")
    place.settings = settings("fedsgd+private-norms", rounds=1, batch_size=2048)
    place.file(place.drafted())
    model = place.run()
    assert essence(model) == essence(bench_run(tmp_path / "bench", place.settings))
    for owner in OWNERS:
        assert len(list((place.folder / owner / "state").glob("*/private.safetensors"))) == 1


def with_tasks(place: Consortium, parts: Sequence[PreparedTasks], method: str) -> MultitaskSettings:
    """Prepared tasks instead of interactions at every owner, and a plan that trains them."""
    recipe = Recipe(profile=PrepareProfile(), rdkit="2026.09.1", key_commitment="ab" * 32, reference="cd" * 32)
    for owner, part in zip(OWNERS, parts, strict=True):
        home = place.folder / owner
        write_prepared(home / "prepared", part, recipe, {})
        text, _, _ = (home / "site.toml").read_text().partition("[data]")
        data = '[data]\nkind = "tasks"\nfolder = "prepared"\ntrain_folds = [0]\nvalid_folds = [1]\n'
        (home / "site.toml").write_text(text + data)
    plan = replace(
        place.drafted(),
        recipe=recipe.digest,
        model=MULTITASK,
        model_settings=listed(multitask_model_settings(ONE_PASS)),
        method=method,
        method_settings=listed(multitask_method_settings(ONE_PASS, patience=50)),
    )
    place.file(plan)
    return ONE_PASS


@pytest.mark.parametrize("method", ["fedsgd", "fedavg"])
def test_many_tasks_are_trained_between_sites_bit_for_bit_as_in_one_process(
    original: Consortium, tmp_path: Path, method: str
) -> None:
    place, parts = original.copied(tmp_path / "aurora"), partners(3)
    local = with_tasks(place, parts, method)
    model = place.run()
    chosen = Method.parse(method)
    learners: list[tuple[int, str, Learner]] = [
        (index, f"p{index}", MultitaskLearner(data_of(part, local), local, chosen, (5, index)))
        for index, part in enumerate(parts)
    ]
    plan = TrainingPlan(local=local, method=chosen, schedule=settings().schedule, seed=5)
    expected = trained_in_process(tmp_path / "bench", learners, plan)
    assert essence(model) == essence(expected)
    np.testing.assert_array_equal(model.parameters, expected.parameters)
    assert len(list(place.folder.glob("*/state/*/private.safetensors"))) == len(OWNERS)  # heads


def test_data_of_another_kind_than_the_plan_trains_end_the_run(original: Consortium, tmp_path: Path) -> None:
    place = original.copied(tmp_path / "aurora")
    interactions = place.signed.plan
    with_tasks(place, partners(3), "fedsgd")
    as_pairs = replace(
        place.signed.plan,
        model=interactions.model,
        model_settings=interactions.model_settings,
        method_settings=interactions.method_settings,
    )
    place.file(as_pairs)
    with pytest.raises(DataFileError, match="does not learn from tasks"):
        place.run()


# What goes on after a kill


def test_a_site_killed_between_rounds_goes_on_bit_for_bit(aurora: Consortium, in_process: TrainedModel) -> None:
    with aurora.sites() as sites:

        def kill(record: RoundRecord) -> None:
            if record.round_index == 0:
                raise EngineError("borealis was killed")

        with pytest.raises(EngineError):
            aurora.coordinate(InProcessEngine(sites), kill)
    model = aurora.run()
    assert essence(model) == essence(in_process)
    assert aurora.verify("borealis").failed == ()


def test_a_site_alone_killed_and_reopened_goes_on_with_the_others_still_there(
    aurora: Consortium, in_process: TrainedModel
) -> None:
    with ExitStack() as stack:
        sites = {name: stack.enter_context(open_site(aurora.folder / name, now=aurora.now)) for name in OWNERS[1:]}
        first = ExitStack()
        handlers: dict[str, FrameHandler] = {**sites, OWNERS[0]: first.enter_context(opened(aurora, OWNERS[0]))}
        engine = Relay(handlers)

        def kill(record: RoundRecord) -> None:
            first.close()
            handlers[OWNERS[0]] = stack.enter_context(opened(aurora, OWNERS[0]))

        with pytest.raises(MessageError, match="no session has begun"):
            aurora.coordinate(engine, kill)
        assert aurora.events()[-1] == Failed(plan=aurora.signed.plan.digest, code=FailureCode.MESSAGE_DAMAGED)
        model = aurora.coordinate(engine)
    assert essence(model) == essence(in_process)
    assert aurora.verify().failed == ()


class Unplugged:
    """A site behind a cable that is out."""

    def handle(self, frame: bytes) -> bytes:
        raise EngineError("cygnus cannot be reached")


def test_a_site_that_cannot_be_reached_ends_the_run_on_all_other_ledgers_and_catches_up_later(
    aurora: Consortium, in_process: TrainedModel
) -> None:
    with aurora.sites() as sites:
        handlers: dict[str, FrameHandler] = {**sites}
        engine = Relay(handlers)

        def unplug(record: RoundRecord) -> None:
            handlers["cygnus"] = Unplugged()

        with pytest.raises(EngineError, match="cygnus cannot be reached"):
            aurora.coordinate(engine, unplug)
        stopped = Failed(plan=aurora.signed.plan.digest, code=FailureCode.ENGINE_STOPPED)
        for name in EVERYBODY:
            assert (aurora.events(name)[-1] == stopped) == (name != "cygnus")
            assert name == "cygnus" or aurora.verify(name).failed == ()
        handlers["cygnus"] = sites["cygnus"]
        model = aurora.coordinate(engine)
    assert essence(model) == essence(in_process)
    assert aurora.ledger("cygnus").joinpath("entries.jsonl").read_bytes().count(b"engine-stopped") == 1
    assert aurora.verify("cygnus").failed == ()


def test_a_coordinator_with_data_of_its_own_has_a_site_like_everybody(tmp_path: Path) -> None:
    place = Consortium(
        folder=tmp_path, settings=settings(rounds=1), history=history("acme"), coordinator="acme"
    ).found()
    place.run()
    for name in OWNERS:
        assert place.verify(name).failed == ()
    assert place.ledger("acme") != place.ledger_of_site("acme")
    content = {(place.ledger_of_site(name) / "entries.jsonl").read_bytes() for name in OWNERS}
    assert content == {(place.ledger("acme") / "entries.jsonl").read_bytes()}


def test_a_coordinator_that_lost_its_store_begins_anew_with_sites_that_went_further(
    aurora: Consortium, in_process: TrainedModel
) -> None:
    def lose(record: RoundRecord) -> None:
        if record.round_index == 0:
            raise EngineError("the disk of the store is gone")

    with aurora.sites() as sites:
        with pytest.raises(EngineError):
            aurora.coordinate(InProcessEngine(sites), lose)
        shutil.rmtree(aurora.folder / COORDINATOR / "store")
        model = aurora.coordinate(InProcessEngine(sites))
    assert essence(model) == essence(in_process)
