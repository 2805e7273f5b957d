"""A partner's site: the same run as in one process, what it refuses before it opens its data, and how it goes on."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from governance_cases import CODE, NOW, OWNERS, key_of
from multitask_cases import PLAIN, data_of, partners
from pharmonia.base.errors import (
    AgreementError,
    CacheError,
    DataFileError,
    EngineError,
    HeaderError,
    KeyFileError,
    LedgerBusyError,
    LedgerError,
    MessageError,
    RefusedError,
)
from pharmonia.bench.settings import ComparisonSettings
from pharmonia.bench.simulation import interaction_learners, simulate
from pharmonia.bench.sites import partner_share
from pharmonia.data.recipe import Recipe
from pharmonia.data.recipe_profile import PrepareProfile
from pharmonia.data.tasks import PreparedTasks
from pharmonia.engines.inprocess import InProcessEngine
from pharmonia.governance.events import Failed, FailureCode, PlanFiled, PlanRefused, RoundAggregated, RoundOpened
from pharmonia.governance.identity import PrivateKey
from pharmonia.governance.plan import RunPlan
from pharmonia.governance.terms import CodeIdentity, RefusalCode
from pharmonia.learn.learner import Learner
from pharmonia.learn.messages import SessionRequest, encode
from pharmonia.learn.multitask import MultitaskLearner
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.learn.settings import Aggregation, Method
from pharmonia.run import seat, site
from pharmonia.run.coordinator import Coordinator
from pharmonia.run.documents import read_plan
from pharmonia.run.engine import FrameHandler
from pharmonia.run.plan_settings import listed
from pharmonia.run.planned_tasks import MULTITASK, multitask_method_settings, multitask_model_settings
from pharmonia.run.prepare_files import write_prepared
from pharmonia.run.records import RoundRecord, TrainedModel, TrainingPlan
from pharmonia.run.refusals import decode_refusal, is_refusal
from pharmonia.run.remote_ledger import RemoteWitness, greet
from pharmonia.run.site import Site, open_site
from pharmonia.run.store import RunStore
from pharmonia.run.tensors import VALIDATION
from pharmonia.run.witness import open_witness
from pharmonia.secagg.header import RoundHeader, Tier
from pharmonia.secagg.messages import encode as encode_secure
from run_cases import NEVER, essence
from site_cases import COORDINATOR, Consortium, history, secret, settings

EVERYBODY = (*OWNERS, COORDINATOR)


@pytest.fixture(scope="module", autouse=True)
def _code() -> Iterator[None]:
    """What runs here is what the plan names, whatever is edited meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (site, seat):
            patch.setattr(module, "installed_code", lambda: CODE)
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


def opened(place: Consortium, owner: str) -> AbstractContextManager[Site]:
    return open_site(place.folder / owner, now=place.now)


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


def trained_in_process(folder: Path, learners: Sequence[tuple[int, str, Learner]], plan: TrainingPlan) -> TrainedModel:
    made = simulate(learners, Aggregation.SECURE, folder)
    store = RunStore(f"sqlite:///{folder / 'runs.sqlite'}", folder)
    store.open_run("run", {}, NOW)
    return Coordinator(plan, made.engine, made.sums, store, "run", NEVER, made.sum_error).train(lambda record: None)


def test_a_run_between_sites_gives_bit_for_bit_the_model_of_one_process(
    finished: tuple[Consortium, TrainedModel], in_process: TrainedModel
) -> None:
    _, model = finished
    assert essence(model) == essence(in_process)
    np.testing.assert_array_equal(model.parameters, in_process.parameters)


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
        model_settings=listed(multitask_model_settings(PLAIN)),
        method=method,
        method_settings=listed(multitask_method_settings(PLAIN, patience=50)),
    )
    place.file(plan)
    return PLAIN


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


# What a site refuses before it opens its data


def no_arrays(place: Consortium, owner: str) -> None:
    """Whoever opens a data file of that owner is found out: none is there."""
    for path in (place.folder / owner / "data").glob("*.npy"):
        path.unlink()


def revoked(place: Consortium) -> None:
    place.revoke("borealis")


def other_code(place: Consortium) -> None:
    code = CodeIdentity(package="ff" * 32, environment=CODE.environment)
    place.file(replace(place.drafted(), code=code), OWNERS)


def for_someone_else(place: Consortium) -> None:
    plan = place.drafted()
    others = tuple(one for one in plan.datasets if one.partner != "borealis")
    sums = replace(plan.aggregation, n_colluders=0)
    place.file(replace(plan, datasets=others, aggregation=sums), ("borealis",))


def other_agreement(place: Consortium) -> None:
    place.amend("borealis")


def wrong_data(place: Consortium) -> None:
    manifest, other = (place.folder / name / "data" / "site-data.json" for name in ("borealis", "acme"))
    manifest.write_bytes(other.read_bytes())


def other_recipe(place: Consortium) -> None:
    place.file(replace(place.drafted(), recipe="ab" * 32))


def other_plan(place: Consortium) -> None:
    """Approved by all, but the coordinator runs the one before."""
    signed = place.signed
    place.file(replace(place.drafted(), seed=6), ("borealis",))
    place.signed = signed


REFUSED: list[tuple[Callable[[Consortium], None], RefusalCode]] = [
    (revoked, RefusalCode.GRANT_REVOKED),
    (other_code, RefusalCode.CODE_DIFFERS),
    (for_someone_else, RefusalCode.DATASET),
    (other_agreement, RefusalCode.OTHER_AGREEMENT),
    (other_plan, RefusalCode.PLAN_NOT_APPROVED),
    (wrong_data, RefusalCode.DATASET),
    (other_recipe, RefusalCode.DATASET),
]


@pytest.mark.parametrize(("change", "code"), REFUSED)
def test_a_refusal_comes_before_any_data_and_its_reason_is_on_every_ledger(
    aurora: Consortium, change: Callable[[Consortium], None], code: RefusalCode
) -> None:
    change(aurora)
    no_arrays(aurora, "borealis")
    with pytest.raises(RefusedError, match="borealis refuses"):
        aurora.run()
    plan = read_plan(aurora.folder / "borealis" / "plan.json").plan.digest  # what lies there
    for name in EVERYBODY:
        assert PlanRefused(plan=plan, code=code) in aurora.events(name)
        assert aurora.verify(name).failed == ()
    assert not any(isinstance(event, RoundOpened) for event in aurora.events())


SESSION = encode(SessionRequest(session=bytes(32)))


@pytest.mark.parametrize(("change", "code"), REFUSED)
def test_a_site_alone_refuses_whatever_it_is_asked(
    aurora: Consortium, change: Callable[[Consortium], None], code: RefusalCode
) -> None:
    change(aurora)
    no_arrays(aurora, "borealis")
    with open_site(aurora.folder / "borealis", now=aurora.now) as borealis:
        frames = [SESSION] if change is other_plan else [SESSION, b"PHM1" + bytes(40), b"nonsense"]
        for frame in frames:
            refusal = decode_refusal(borealis.handle(frame))
            assert [event.code for event in refusal.entry.events if isinstance(event, PlanRefused)] == [code]
            assert refusal.reason.startswith("borealis refuses: ")


def test_the_policy_counts_at_the_next_frame(aurora: Consortium) -> None:
    def stop(record: RoundRecord) -> None:
        aurora.revoke("borealis")

    with pytest.raises(RefusedError, match="borealis refuses"):
        aurora.run(stop)
    assert aurora.events()[-1] == PlanRefused(plan=aurora.signed.plan.digest, code=RefusalCode.GRANT_REVOKED)
    assert aurora.verify("cygnus").failed == ()


def test_a_round_of_another_plan_is_refused_even_if_ours_is_on_the_ledger_too(
    aurora: Consortium,
) -> None:
    """Borealis approved both, one after the other; its site holds the second, and the coordinator runs the first."""
    other_plan(aurora)
    second = read_plan(aurora.folder / "borealis" / "plan.json").plan.digest
    with aurora.sites() as sites:
        engine = InProcessEngine(sites)
        with pytest.raises(RefusedError):
            aurora.coordinate(engine)
        borealis = sites["borealis"]
        home = open_witness(COORDINATOR, key_of(COORDINATOR), aurora.history, aurora.ledger(COORDINATOR))
        with home as coordinator:
            remote = RemoteWitness("borealis", key_of("borealis").public, engine)
            remote.catch_up(coordinator)
            for event in (PlanFiled(plan=second), None):
                stated = remote.opening() if event is None else coordinator.state([event], aurora.now())
                assert stated is not None
                coordinator.take([stated])
                remote.take([stated])
            assert not is_refusal(borealis.handle(SESSION))
            header = header_of(aurora.signed.plan, bytes(32))
            with pytest.raises(HeaderError, match="not on our copy"):
                borealis.handle(encode_secure(header))
            opened = RoundOpened(
                plan=aurora.signed.plan.digest,
                session=bytes(32).hex(),
                round_index=0,
                header=header.digest.hex(),
                contributors=tuple(sorted(key_of(name).public.key_id for name in OWNERS)),
            )
            entry = coordinator.state([opened], aurora.now())
            coordinator.take([entry])
            remote.take([entry])
            refusal = decode_refusal(borealis.handle(encode_secure(header)))
    expected = PlanRefused(plan=aurora.signed.plan.digest, code=RefusalCode.PLAN_NOT_APPROVED)
    assert refusal.entry.events == (expected,)


def header_of(plan: RunPlan, session: bytes) -> RoundHeader:
    return RoundHeader(
        session=session,
        round_index=0,
        tier=Tier.COMMIT_THEN_MASK,
        word_bytes=4,
        length=VALIDATION.length,
        degree=2,
        layout_digest=VALIDATION.digest,
        model_digest=bytes(32),
        exponents=(8,) * len(VALIDATION.names),
        weight_bits=12,
        contributors=plan.partners,
    )


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


# What is not a run at all


def test_a_greeting_says_on_what_a_site_stands(aurora: Consortium) -> None:
    with aurora.sites() as sites:
        found = greet(InProcessEngine(sites), "cygnus")
        with pytest.raises(MessageError, match="acme answers in the place of cygnus"):
            greet(InProcessEngine({"cygnus": sites["acme"]}), "cygnus")
    plan = aurora.signed.plan
    assert (found.partner, found.code, found.plan, found.recipe) == ("cygnus", CODE, plan.digest, plan.recipe)
    assert (found.agreement_version, found.agreement) == (1, plan.agreement)


def test_a_site_is_open_in_one_process_only(aurora: Consortium) -> None:
    with aurora.sites(), pytest.raises(LedgerBusyError), opened(aurora, "acme"):
        pass


def test_a_key_that_others_can_read_or_that_is_another_s_opens_no_site(aurora: Consortium) -> None:
    path = aurora.folder / "acme" / "acme.key"
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="can be read by others"), opened(aurora, "acme"):
        pass
    secret(path, PrivateKey.generate().to_pem(None))
    with pytest.raises(AgreementError, match="is a key of nobody"), opened(aurora, "acme"):
        pass


def test_data_damaged_since_the_plan_end_the_run_and_not_the_site(aurora: Consortium) -> None:
    path = aurora.folder / "borealis" / "data" / "train.value.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with aurora.sites() as sites:
        with pytest.raises(CacheError, match=r"train\.value\.npy is damaged"):
            aurora.coordinate(InProcessEngine(sites))
        assert greet(InProcessEngine(sites), "borealis").partner == "borealis"
    assert aurora.events()[-1] == Failed(plan=aurora.signed.plan.digest, code=FailureCode.MESSAGE_DAMAGED)
    assert aurora.verify().failed == ()


def test_a_second_coordinator_with_a_ledger_of_its_own_is_found_out(aurora: Consortium) -> None:
    def stop(record: RoundRecord) -> None:
        raise EngineError("enough")

    with pytest.raises(EngineError):
        aurora.run(stop)
    shutil.rmtree(aurora.ledger(COORDINATOR))
    shutil.rmtree(aurora.folder / COORDINATOR / "store")
    with pytest.raises(LedgerError, match="two histories"):
        aurora.run()


def test_a_coordinator_runs_neither_another_s_plan_nor_other_code_nor_half_a_consortium(
    aurora: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    with aurora.sites() as sites:
        some = InProcessEngine({name: sites[name] for name in OWNERS[:2]})
        with pytest.raises(EngineError, match="connected: acme, borealis"):
            aurora.coordinate(some)
        monkeypatch.setattr(seat, "installed_code", lambda: replace(CODE, package="ff" * 32))
        with pytest.raises(RefusedError, match="other code"):
            aurora.coordinate(InProcessEngine(sites))
        config = aurora.folder / COORDINATOR / "coordinator.toml"
        config.write_text(config.read_text().replace('partner = "dynamo"', 'partner = "acme"'))
        with pytest.raises(RefusedError, match="coordinated by dynamo"):
            aurora.coordinate(InProcessEngine(sites))
    assert not aurora.ledger(COORDINATOR).exists()
