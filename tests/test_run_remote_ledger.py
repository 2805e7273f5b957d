"""The ledger between machines: a partner takes what extends its copy and nothing else, and no lie goes unnoticed."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from governance_cases import NOW, OWNERS, founded, key_of, plan_under
from pharmonia.base.errors import LedgerError, MessageError, PharmoniaError, ProofError
from pharmonia.engines.inprocess import InProcessEngine
from pharmonia.governance.checkpoint import Cosignature
from pharmonia.governance.events import Failed, FailureCode, PlanApproved, PlanFiled, RoundOpened
from pharmonia.governance.identity import PrivateKey
from pharmonia.governance.ledger import sign_entry
from pharmonia.run.chronicle import Chronicle
from pharmonia.run.ledger_frames import CopyState, Cosign, Cosigned, Keep, Message, Opening, Take, Where, decode, encode
from pharmonia.run.ledger_keeper import LedgerKeeper
from pharmonia.run.ledgerfile import CHECKPOINTS, ENTRIES
from pharmonia.run.remote_ledger import RemoteWitness
from pharmonia.run.witness import Witness, open_witness
from remote_ledger_cases import COORDINATOR, GREETING, LEDGER, PLAN, entry

# A partner's side


class Home:
    """A partner's keeper as an engine sees it."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness
        approval = PlanApproved(plan=plan_under(founded().current(NOW)).digest)
        self.keeper = LedgerKeeper(
            witness,
            [key_of(COORDINATOR).public],
            lambda: None if witness.standing.approvals else witness.state([approval], NOW),
            lambda entry: None,
        )
        self.n_asked = 0

    def handle(self, frame: bytes) -> bytes:
        self.n_asked += 1
        return self.keeper.answer(frame)


@contextmanager
def at(folder: Path, *partners: str) -> Iterator[dict[str, Witness]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(open_witness(name, key_of(name), founded(), folder / name)) for name in partners
        }


def asked(home: Home, message: Message) -> Message:
    return decode(home.handle(encode(message)))


def test_what_extends_a_copy_is_taken_once_however_often_it_comes(tmp_path: Path) -> None:
    with at(tmp_path, "acme") as witnesses:
        home = Home(witnesses["acme"])
        first = asked(home, Take(start=0, entries=(entry(0), entry(1))))
        assert asked(home, Take(start=0, entries=(entry(0), entry(1)))) == first
        assert asked(home, Where()) == first
        longer = asked(home, Take(start=1, entries=(entry(1), entry(2))))
        assert isinstance(longer, CopyState)
        assert longer.size == 3
        assert longer.root == witnesses["acme"].root_at(3)


def test_entries_that_do_not_extend_our_copy_are_refused(tmp_path: Path) -> None:
    with at(tmp_path, "acme") as witnesses:
        home = Home(witnesses["acme"])
        asked(home, Take(start=0, entries=(entry(0), entry(1))))
        other = sign_entry(
            ledger=LEDGER, number=1, at=NOW, events=(PlanFiled(plan="ef" * 32),), key=key_of(COORDINATOR)
        )
        strange = sign_entry(ledger=LEDGER, number=0, at=NOW, events=(PlanFiled(plan=PLAN),), key=PrivateKey.generate())
        for take, said in (
            (Take(start=3, entries=(entry(2),)), "catch up first"),
            (Take(start=1, entries=(other,)), "two histories"),
            (Take(start=1, entries=(other, entry(2))), "two histories"),
            (Take(start=2, entries=(entry(1),)), "repeated or out of order"),
            (Take(start=2, entries=(entry(3),)), "follows on missing ones"),
            (Take(start=2, entries=(strange,)), "belongs to no partner"),
            (Take(start=2, entries=(replace(entry(2), signature=bytes(64)),)), "the signature is not of"),
            (Take(start=2, entries=(entry(2, ledger="99" * 32),)), "of the ledger"),
        ):
            with pytest.raises(LedgerError, match=said):
                asked(home, take)
        assert witnesses["acme"].size == 2


def test_only_the_coordinator_s_checkpoint_of_our_own_copy_is_cosigned(tmp_path: Path) -> None:
    with at(tmp_path, "acme", COORDINATOR) as witnesses:
        coordinator, home = witnesses[COORDINATOR], Home(witnesses["acme"])
        coordinator.take([entry(0)])
        asked(home, Take(start=0, entries=(entry(0),)))
        offered = coordinator.propose(NOW)
        answer = asked(home, Cosign(signed=offered))
        assert isinstance(answer, Cosigned)
        assert {one.key for one in answer.signed.signatures} == {
            key_of(COORDINATOR).public.key_id,
            key_of("acme").public.key_id,
        }
        with pytest.raises(ProofError, match="not signed by the plan's coordinator"):
            asked(home, Cosign(signed=witnesses["acme"].propose(NOW)))
        forged = Cosignature(key=key_of(COORDINATOR).public.key_id, signature=bytes(64))
        with pytest.raises(ProofError, match="not signed by the coordinator's key"):
            asked(home, Cosign(signed=replace(offered, signatures=(forged,))))
        coordinator.take([entry(1)])
        with pytest.raises(ProofError, match="keep both"):
            asked(home, Cosign(signed=coordinator.propose(NOW)))


def test_a_false_signature_is_not_kept(tmp_path: Path) -> None:
    with at(tmp_path, "acme", COORDINATOR) as witnesses:
        coordinator, home = witnesses[COORDINATOR], Home(witnesses["acme"])
        coordinator.take([entry(0)])
        asked(home, Take(start=0, entries=(entry(0),)))
        offered = coordinator.propose(NOW)
        forged = Cosignature(key=key_of("borealis").public.key_id, signature=bytes(64))
        listed = tuple(sorted((*offered.signatures, forged), key=lambda one: one.key))
        with pytest.raises(LedgerError, match="not of a partner's key"):
            asked(home, Keep(signed=replace(offered, signatures=listed)))
        kept = asked(home, Keep(signed=offered))
        assert asked(home, Keep(signed=offered)) == kept
        assert isinstance(kept, CopyState)
        assert kept.n_checkpoints == 1


def test_a_partner_is_asked_nothing_that_a_partner_answers(tmp_path: Path) -> None:
    with at(tmp_path, "acme") as witnesses:
        home = Home(witnesses["acme"])
        for message in (Opening(entry=None), CopyState(size=0, root=None, n_checkpoints=0), GREETING):
            with pytest.raises(MessageError, match="does not send"):
                asked(home, message)


def test_the_last_round_is_the_coordinator_s_alone(tmp_path: Path) -> None:
    opened = RoundOpened(
        plan=PLAN, session="cd" * 32, round_index=0, header="ef" * 32, contributors=(key_of("acme").public.key_id,)
    )
    with at(tmp_path, "acme") as witnesses:
        home = Home(witnesses["acme"])
        for author, expected in (("borealis", None), (COORDINATOR, opened)):
            said = sign_entry(ledger=LEDGER, number=0, at=NOW, events=(opened,), key=key_of(author))
            asked(home, Take(start=witnesses["acme"].size, entries=(said,)))
            assert home.keeper.round == expected


# Both sides together


def chronicle(witnesses: dict[str, Witness], homes: dict[str, Home], engine: InProcessEngine) -> Chronicle:
    others = [RemoteWitness(name, key_of(name).public, engine) for name in homes]
    plan = plan_under(founded().current(NOW))
    clock = iter(NOW + timedelta(seconds=one) for one in range(10**6))
    return Chronicle(plan, founded().accepted(), witnesses[COORDINATOR], others, lambda: next(clock))


def a_damaged_round(writing: Chronicle) -> None:
    with writing.recording():
        writing.opened("cd" * 32, 0, "ef" * 32, OWNERS)
        writing.aggregated("12" * 32)
        raise MessageError("damaged")


def test_copies_elsewhere_end_as_copies_at_hand_do(tmp_path: Path) -> None:
    with at(tmp_path, *OWNERS, COORDINATOR) as witnesses:
        homes = {name: Home(witnesses[name]) for name in OWNERS}
        engine = InProcessEngine(homes)
        remotes = [RemoteWitness(name, key_of(name).public, engine) for name in OWNERS]
        writing = chronicle(witnesses, homes, engine)
        writing.begin({remote.partner: remote.opening for remote in remotes})
        with pytest.raises(MessageError):
            a_damaged_round(writing)
    for name in (ENTRIES, CHECKPOINTS):
        assert len({(tmp_path / one / name).read_bytes() for one in (*OWNERS, COORDINATOR)}) == 1
    with at(tmp_path, COORDINATOR) as witnesses:
        last = list(witnesses[COORDINATOR].entries_from(0))[-1]
        assert last.events[0] == Failed(
            plan=plan_under(founded().current(NOW)).digest, code=FailureCode.MESSAGE_DAMAGED
        )
        final = witnesses[COORDINATOR].checkpoints()[-1]
        assert len(final.signatures) == len(OWNERS) + 1


def test_a_copy_that_is_behind_catches_up_in_frames_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pharmonia.run.remote_ledger.MAX_ENTRIES", 4)
    with at(tmp_path, "acme", COORDINATOR) as witnesses:
        coordinator, home = witnesses[COORDINATOR], Home(witnesses["acme"])
        coordinator.take([entry(number) for number in range(5)])
        coordinator.keep(coordinator.propose(NOW))
        coordinator.take([entry(number) for number in range(5, 9)])
        coordinator.keep(coordinator.propose(NOW))
        remote = RemoteWitness("acme", key_of("acme").public, InProcessEngine({"acme": home}))
        remote.catch_up(coordinator)
        assert home.n_asked == 1 + 3 + 2  # where; nine entries; two checkpoints
        assert home.witness.root_at(9) == coordinator.root_at(9)
        remote.catch_up(coordinator)
        assert home.n_asked == 7
        assert home.witness.checkpoints() == coordinator.checkpoints()


def test_a_copy_ahead_of_ours_or_of_another_history_is_found_out(tmp_path: Path) -> None:
    with at(tmp_path, "acme", COORDINATOR) as witnesses:
        coordinator, home = witnesses[COORDINATOR], Home(witnesses["acme"])
        remote = RemoteWitness("acme", key_of("acme").public, InProcessEngine({"acme": home}))
        home.witness.take([entry(0, "borealis")])
        for _ in range(2):
            with pytest.raises(LedgerError, match="two histories; keep both"):
                remote.catch_up(coordinator)
            coordinator.take([coordinator.state([PlanFiled(plan=PLAN)], NOW)])


class Liar(Home):
    """A site that says one thing and keeps another."""

    def __init__(self, witness: Witness, answer: Message) -> None:
        super().__init__(witness)
        self.answered = answer

    def handle(self, frame: bytes) -> bytes:
        return encode(self.answered)


def test_a_partner_that_says_it_took_what_it_did_not_is_found_out(tmp_path: Path) -> None:
    with at(tmp_path, "acme", COORDINATOR) as witnesses:
        coordinator = witnesses[COORDINATOR]
        liar = Liar(witnesses["acme"], CopyState(size=0, root=None, n_checkpoints=0))
        remote = RemoteWitness("acme", key_of("acme").public, InProcessEngine({"acme": liar}))
        with pytest.raises(LedgerError, match="has not caught up"):
            remote.take([entry(0)])
        remote.catch_up(coordinator)
        coordinator.take([entry(0)])
        with pytest.raises(LedgerError, match="not our 1"):
            remote.take([entry(0)])
        liar.answered = CopyState(size=1, root="cd" * 32, n_checkpoints=0)
        with pytest.raises(LedgerError, match="not our 1"):
            remote.take([entry(0)])


def test_a_signature_under_another_checkpoint_or_by_another_key_does_not_count(tmp_path: Path) -> None:
    with at(tmp_path, "acme", COORDINATOR) as witnesses:
        coordinator = witnesses[COORDINATOR]
        coordinator.take([entry(0)])
        offered = coordinator.propose(NOW)
        liar = Liar(witnesses["acme"], Cosigned(signed=offered))
        remote = RemoteWitness("acme", key_of("acme").public, InProcessEngine({"acme": liar}))
        forged = Cosignature(key=key_of("acme").public.key_id, signature=bytes(64))
        listed = tuple(sorted((*offered.signatures, forged), key=lambda one: one.key))
        for signed in (
            offered,
            offered.signed_also_by(key_of("borealis")),
            coordinator.propose(NOW + timedelta(seconds=1)).signed_also_by(key_of("acme")),
            replace(offered, signatures=listed),
        ):
            liar.answered = Cosigned(signed=signed)
            with pytest.raises(LedgerError, match="did not sign the checkpoint"):
                remote.cosign(offered, coordinator.public)
        liar.answered = Opening(entry=None)
        with pytest.raises(MessageError, match="expected a Cosigned"):
            remote.cosign(offered, coordinator.public)


def test_an_unknown_partner_is_an_engine_error(tmp_path: Path) -> None:
    with at(tmp_path, COORDINATOR) as witnesses, pytest.raises(PharmoniaError, match="there is no party 'acme'"):
        RemoteWitness("acme", key_of("acme").public, InProcessEngine({})).catch_up(witnesses[COORDINATOR])
