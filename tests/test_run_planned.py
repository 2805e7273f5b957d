"""Runs under a plan end as runs without one, stop where leave ends, and stand on every copy of the ledger."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from governance_cases import NOW, OWNERS, approved, first_version, founded, key_of, plan_under, sign_all
from pharmonia.base.errors import EngineError, LedgerError, ProofError, RefusedError, StoreError
from pharmonia.bench import simulation
from pharmonia.bench.charter import Charter
from pharmonia.governance.agreement_history import AgreementHistory, propose
from pharmonia.governance.events import (
    AgreementAdopted,
    Event,
    Failed,
    FailureCode,
    PlanApproved,
    PlanFiled,
    PlanRefused,
    PolicyChanged,
    Revoked,
    RoundAggregated,
    RoundOpened,
)
from pharmonia.governance.identity import PrivateKey
from pharmonia.governance.ledger import decode_entry, sign_entry
from pharmonia.governance.policy import open_policy
from pharmonia.governance.terms import RefusalCode
from pharmonia.learn.algorithms import Schedule
from pharmonia.learn.contributions import Contribution
from pharmonia.learn.local import LocalLearner
from pharmonia.learn.messages import Broadcast
from pharmonia.learn.settings import Aggregation, Method
from pharmonia.run.coordinator import Coordinator
from pharmonia.run.ledgerfile import ENTRIES, read_lines
from pharmonia.run.records import Performance, RoundRecord, TrainedModel, TrainingPlan
from pharmonia.run.witness import open_witness
from planned_cases import ROUNDS, House, house
from run_cases import NEVER, OFTEN, essence, local_settings, open_store, partner_datasets


class Watched(LocalLearner):
    """A learner that counts how often its data was used."""

    n_used = 0

    def contribute(self, broadcast: Broadcast) -> Contribution:
        Watched.n_used += 1
        return super().contribute(broadcast)

    def statistics(self) -> Contribution:
        Watched.n_used += 1
        return super().statistics()


def train(
    folder: Path,
    charter: Charter | None,
    *,
    on_round: Callable[[RoundRecord], None] = lambda record: None,
    aggregation: Aggregation = Aggregation.SECURE,
    performance: Performance = NEVER,
) -> TrainedModel:
    """A run as `bench.training` makes it, over what the folder holds."""
    plan = TrainingPlan(local=local_settings(), method=Method(), schedule=Schedule(rounds=ROUNDS, patience=50), seed=3)
    store = open_store(folder)
    parts = list(enumerate(partner_datasets(3)))
    learners = simulation.interaction_learners(parts, local_settings(), Method(), plan.seed)
    made = simulation.simulate(learners, aggregation, folder / "runs" / "run", None, charter)
    told = None if charter is None else charter.chronicle.aggregated
    coordinator = Coordinator(plan, made.sums, store, "run", performance, made.sum_error, told)
    watching: AbstractContextManager[None] = nullcontext()
    if charter is not None:
        charter.chronicle.require_recorded([record.aggregate_digest for record in store.rounds("run")])
        charter.chronicle.begin({seat.partner: seat.permit.opening for seat in charter.seats})
        watching = charter.chronicle.recording()
    with watching:
        return coordinator.train(on_round)


def without_sums() -> AgreementHistory:
    """The same consortium, whose agreement leaves sums in the clear to its partners."""
    first = first_version()
    rules = replace(first.terms.plan_rules, secure_aggregation=False, n_colluders=0)
    changed = replace(first, terms=replace(first.terms, plan_rules=rules))
    return sign_all(propose(None, changed), [key_of(partner) for partner in first.terms.ids])


def events(place: House, partner: str = "dynamo") -> list[Event]:
    lines = read_lines(place.copy_of(partner) / ENTRIES)
    return [event for line in lines for event in decode_entry(line[:-1]).events]


def kinds(place: House) -> list[type[Event]]:
    return [type(event) for event in events(place)]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> type[Watched]:
    monkeypatch.setattr(simulation, "LocalLearner", Watched)
    monkeypatch.setattr(Watched, "n_used", 0)
    return Watched


def test_a_plan_changes_nothing_of_the_result(tmp_path: Path) -> None:
    place = house(tmp_path / "consortium")
    with place.at_work() as charter:
        under = train(tmp_path / "under", charter)
    assert essence(under) == essence(train(tmp_path / "without", None))


def test_every_copy_of_the_ledger_verifies_and_says_what_was_done(tmp_path: Path) -> None:
    place = house(tmp_path)
    with place.at_work() as charter:
        model = train(tmp_path, charter)
    said = events(place)
    each: list[type[Event]] = [PlanApproved, PolicyChanged]
    assert kinds(place)[:8] == [AgreementAdopted, PlanFiled, *each * 3]
    aggregates = [event.aggregate for event in said if isinstance(event, RoundAggregated)]
    assert aggregates == [record.aggregate_digest for record in model.rounds]
    opened = [event for event in said if isinstance(event, RoundOpened)]
    assert len(opened) >= ROUNDS + 1  # and a last one, to validate
    keys = tuple(sorted(key_of(owner).public.key_id for owner in OWNERS))
    assert {event.contributors for event in opened} == {keys}
    for partner in (*OWNERS, "dynamo"):
        assert place.verify(partner).failed == (), place.verify(partner).summary()
    assert len({(place.copy_of(name) / ENTRIES).read_bytes() for name in (*OWNERS, "dynamo")}) == 1


def test_a_revocation_ends_the_run_before_the_next_round(tmp_path: Path, watched: type[Watched]) -> None:
    place = house(tmp_path)
    used: list[int] = []

    def revoke(record: RoundRecord) -> None:
        if record.round_index == 1:
            place.revoke("borealis")
            used.append(watched.n_used)

    with place.at_work() as charter, pytest.raises(RefusedError, match="borealis refuses: policy of borealis"):
        train(tmp_path, charter, on_round=revoke)
    assert watched.n_used <= used[0] + 2  # the others may have begun; borealis did not
    assert kinds(place)[-3:] == [PolicyChanged, Revoked, PlanRefused]
    assert events(place)[-1] == PlanRefused(plan=place.signed.plan.digest, code=RefusalCode.GRANT_REVOKED)
    assert place.verify("acme").failed == ()


def test_a_resumed_run_goes_on_in_the_same_ledger_and_ends_the_same(tmp_path: Path) -> None:
    place = house(tmp_path)
    whole = train(tmp_path / "whole", None)

    def stop(record: RoundRecord) -> None:
        if record.round_index == 1:
            place.revoke("cygnus")

    with place.at_work() as charter, pytest.raises(RefusedError):
        train(tmp_path / "runs", charter, on_round=stop, performance=OFTEN)
    n_before = len(events(place))
    again = open_policy(place.history.current(NOW), "cygnus", NOW)
    place.allow("cygnus", replace(again, serial=3))
    with place.at_work() as charter:
        resumed = train(tmp_path / "runs", charter, performance=OFTEN)
    assert essence(resumed) == essence(whole)
    after = kinds(place)[n_before:]
    assert (after[0], after[1]) == (PlanApproved, PolicyChanged)
    assert AgreementAdopted not in after
    assert PlanFiled not in after
    assert place.verify().failed == ()


def test_going_on_without_leave_shows_in_the_ledger(tmp_path: Path) -> None:
    """A coordinator that opens a round after a revocation signs its own conviction."""
    place = house(tmp_path)
    with place.at_work() as charter:
        with pytest.raises(RefusedError):
            train(tmp_path, charter, on_round=lambda record: place.revoke("acme"))
        assert Revoked in kinds(place)
        charter.chronicle.opened("ab" * 32, 0, "cd" * 32, OWNERS)
        charter.chronicle.checkpoint()
    assert [family.value for family in place.verify().failed] == ["approvals"]


def test_nothing_is_contributed_in_the_clear_where_the_plan_asks_for_sums(
    tmp_path: Path, watched: type[Watched]
) -> None:
    place = house(tmp_path)
    with place.at_work() as charter, pytest.raises(RefusedError, match="would leave in the clear"):
        train(tmp_path, charter, aggregation=Aggregation.PLAIN)
    assert watched.n_used == 0
    assert events(place)[-1] == PlanRefused(plan=place.signed.plan.digest, code=RefusalCode.PLAIN_AGGREGATION)


def test_a_party_without_leave_does_not_state_its_approval(tmp_path: Path) -> None:
    place = house(tmp_path)
    place.revoke("acme")
    with place.at_work() as charter, pytest.raises(RefusedError, match="acme refuses"):
        train(tmp_path, charter)
    key = key_of("acme").public.key_id
    entries = [decode_entry(line[:-1]) for line in read_lines(place.copy_of("acme") / ENTRIES)]
    said = [event for entry in entries if entry.key == key for event in entry.events]
    assert [type(event) for event in said] == [PolicyChanged, PlanRefused]


def test_nothing_is_handed_over_after_a_revocation(tmp_path: Path) -> None:
    place = house(tmp_path)
    with place.at_work() as charter:
        train(tmp_path, charter)
        charter.require_leave()
        place.revoke("cygnus")
        with pytest.raises(RefusedError, match="cygnus refuses"):
            charter.require_leave()
    assert kinds(place)[-1] is PlanRefused
    assert place.verify().failed == ()


def test_a_failure_is_on_the_ledger(tmp_path: Path) -> None:
    place = house(tmp_path)

    def fail(record: RoundRecord) -> None:
        raise EngineError("the cable is out")

    with place.at_work() as charter, pytest.raises(EngineError):
        train(tmp_path, charter, on_round=fail)
    assert events(place)[-1] == Failed(plan=place.signed.plan.digest, code=FailureCode.ENGINE_STOPPED)
    assert place.verify().failed == ()


def test_rounds_that_were_run_without_the_plan_are_not_passed_off_as_its(tmp_path: Path) -> None:
    train(tmp_path, None)
    place = house(tmp_path / "consortium")
    with place.at_work() as charter, pytest.raises(StoreError, match=r"3 rounds .* run without it"):
        train(tmp_path, charter)


def test_a_plain_run_s_rounds_are_on_the_ledger_where_nobody_asks_for_sums(tmp_path: Path) -> None:
    history = without_sums()
    agreement = history.current(NOW)
    plan = plan_under(agreement)
    plain = replace(plan, n_rounds=ROUNDS, aggregation=replace(plan.aggregation, required=False))
    place = House(folder=tmp_path, signed=approved(plain, agreement), history=history)
    with place.at_work() as charter:
        under = train(tmp_path, charter, aggregation=Aggregation.PLAIN)
    assert [one.aggregate for one in events(place) if isinstance(one, RoundAggregated)] == [
        record.aggregate_digest for record in under.rounds
    ]
    assert place.verify().failed == ()


# Copies of the ledger


def test_a_stranger_s_entry_is_not_taken(tmp_path: Path) -> None:
    ledger = founded().versions[0].agreement.digest
    stated: tuple[Event, ...] = (PlanFiled(plan="ab" * 32),)
    entry = sign_entry(ledger=ledger, number=0, at=NOW, events=stated, key=PrivateKey.generate())
    with open_witness("acme", key_of("acme"), founded(), tmp_path) as witness:
        with pytest.raises(LedgerError, match="belongs to no partner"):
            witness.take([entry])
        forged = replace(
            sign_entry(ledger=ledger, number=0, at=NOW, events=stated, key=key_of("dynamo")), signature=bytes(64)
        )
        with pytest.raises(LedgerError, match="the signature is not of"):
            witness.take([forged])
        assert witness.size == 0


def test_nothing_is_cosigned_unseen(tmp_path: Path) -> None:
    with (
        open_witness("dynamo", key_of("dynamo"), founded(), tmp_path / "dynamo") as coordinator,
        open_witness("acme", key_of("acme"), founded(), tmp_path / "acme") as acme,
    ):
        coordinator.take([coordinator.state([PlanFiled(plan="ab" * 32)], NOW)])
        offered = coordinator.propose(NOW)
        with pytest.raises(ProofError, match="keep both"):
            acme.cosign(offered, coordinator.public)
        acme.catch_up(coordinator)
        assert len(acme.cosign(offered, coordinator.public).signatures) == 2


def test_a_copy_that_is_behind_catches_up_and_another_history_is_found_out(tmp_path: Path) -> None:
    place = house(tmp_path)
    with place.at_work() as charter:
        charter.chronicle.begin({seat.partner: seat.permit.opening for seat in charter.seats})
    path = place.copy_of("cygnus") / ENTRIES
    kept = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(kept[:2]))
    (path.parent / "checkpoints.jsonl").unlink()
    with place.at_work() as charter:
        charter.chronicle.begin({})
    assert path.read_bytes() == b"".join(kept)
    assert place.verify("cygnus").failed == ()
    with open_witness("cygnus", key_of("cygnus"), founded(), path.parent) as witness:
        witness.take([witness.state([PlanFiled(plan="ab" * 32)], NOW)])
    with place.at_work() as charter, pytest.raises(LedgerError, match="two histories; keep both"):
        charter.chronicle.begin({})
