"""What a site refuses before it opens its data, what a coordinator refuses to begin, and who answers at all."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from governance_cases import CODE, OWNERS, key_of
from pharmonia.base.errors import (
    AgreementError,
    CacheError,
    EngineError,
    HeaderError,
    KeyFileError,
    LedgerBusyError,
    LedgerError,
    MessageError,
    PharmoniaError,
    RefusedError,
)
from pharmonia.engines.inprocess import InProcessEngine
from pharmonia.governance.events import Failed, FailureCode, PlanFiled, PlanRefused, RoundAggregated, RoundOpened
from pharmonia.governance.identity import PrivateKey
from pharmonia.governance.plan import RunPlan
from pharmonia.governance.terms import CodeIdentity, RefusalCode
from pharmonia.learn.messages import Finish, SessionRequest, encode
from pharmonia.run import seat
from pharmonia.run.coordinator import Coordinator
from pharmonia.run.documents import read_plan
from pharmonia.run.planned import training_plan_of
from pharmonia.run.records import RoundRecord, TrainingPlan
from pharmonia.run.refusals import decode_refusal, is_refusal
from pharmonia.run.remote_ledger import RemoteWitness, greet
from pharmonia.run.site import open_site
from pharmonia.run.tensors import VALIDATION
from pharmonia.run.witness import open_witness
from pharmonia.secagg.header import RoundHeader, Tier
from pharmonia.secagg.messages import encode as encode_secure
from site_cases import COORDINATOR, Consortium, fixed_code, history, opened, secret, settings

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
    (other_recipe, RefusalCode.RECIPE),
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
    aurora.signed = read_plan(aurora.folder / COORDINATOR / "plan.json")  # what the ledger names
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
            with pytest.raises(MessageError, match="check does not match"):
                borealis.handle(SESSION[:-1] + bytes([SESSION[-1] ^ 1]))  # and the session stands
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


def test_sites_train_neither_more_rounds_nor_more_steps_than_the_plan_has(
    aurora: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = aurora.signed.plan

    def longer(of: RunPlan) -> TrainingPlan:
        planned = training_plan_of(of)
        return replace(planned, schedule=replace(planned.schedule, rounds=of.n_rounds + 1))

    with monkeypatch.context() as greedy:
        greedy.setattr(Coordinator, "_n_steps", lambda self, state: 2)
        with pytest.raises(MessageError, match="asked for 2 steps in round 0, but a round of the plan has 1"):
            aurora.run()
        greedy.undo()
        greedy.setattr(seat, "training_plan_of", longer)
        with pytest.raises(MessageError, match=f"asked to train round {plan.n_rounds}, but the plan has"):
            aurora.run()
    summed = [event for event in aurora.events() if isinstance(event, RoundAggregated)]
    assert len(summed) == plan.n_rounds
    assert aurora.verify().failed == ()
    assert len(aurora.run().rounds) == plan.n_rounds  # by a coordinator that keeps to it


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
    aurora.revoke("borealis")
    with pytest.raises(RefusedError):
        aurora.run()
    shutil.rmtree(aurora.ledger(COORDINATOR))
    with pytest.raises(LedgerError, match="two histories"):
        aurora.run()


def test_whatever_bytes_come_a_site_answers_with_an_error_of_ours_and_goes_on(aurora: Consortium) -> None:
    rng = np.random.default_rng(4)
    whole = [SESSION, encode(Finish(best_round=3)), encode_secure(header_of(aurora.signed.plan, bytes(32)))]
    with opened(aurora, "acme") as acme:
        for number in range(60):
            frame = bytearray(whole[number % len(whole)])
            frame[rng.integers(len(frame))] ^= 1 << int(rng.integers(8))
            for sent in (bytes(frame), rng.bytes(int(rng.integers(80))), b"PHL1" + rng.bytes(40)):
                try:
                    answer = acme.handle(sent)
                except PharmoniaError:
                    continue
                assert is_refusal(answer)
        assert greet(InProcessEngine({"acme": acme}), "acme").partner == "acme"


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
