"""Keys that change under a ledger: whose entries count, what a partner may state, and who may sign its checkpoints."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from governance_cases import END, NOW, OWNERS, approved, founded, key_of, plan_under, rotated, sorted_keys, succeeded
from pharmonia.base.errors import AgreementError, DocumentError, LedgerError
from pharmonia.governance.agreement import KeyState, PartnerKey
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.documents import whole_second
from pharmonia.governance.documents_signed import with_signature
from pharmonia.governance.events import (
    AgreementAdopted,
    Event,
    PlanApproved,
    PlanFiled,
    PlanRefused,
    PolicyChanged,
)
from pharmonia.governance.identity import PrivateKey
from pharmonia.governance.ledger import Entry, decode_entry, sign_entry
from pharmonia.governance.terms import Partner, RefusalCode, Role
from pharmonia.governance.verify import Delivered
from pharmonia.governance.verify_result import VerificationResult
from pharmonia.run.chronicle import Chronicle
from pharmonia.run.documents import write_plan
from pharmonia.run.ledgerfile import CHECKPOINTS, ENTRIES, read_checkpoints, read_lines, verify_folder
from pharmonia.run.ownkey import own_key
from pharmonia.run.paperwork import approve_plan, collect_approvals, cosign_copy
from pharmonia.run.refusals import Refusal
from pharmonia.run.site_config import CoordinatorConfig
from pharmonia.run.witness import Witness, open_witness

PLAN = plan_under(founded().versions[0].agreement)
Stating = Callable[[Witness, datetime], Entry | None]


@dataclass
class Ledgers:
    """Everybody's copies in one folder, the keys with which they are opened, and a clock."""

    folder: Path
    history: AgreementHistory
    generations: dict[str, int] = field(default_factory=dict)
    coordinator: str = "dynamo"
    at: datetime = NOW

    def now(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at

    @contextmanager
    def open(self) -> Iterator[dict[str, Witness]]:
        with ExitStack() as stack:
            yield {
                name: stack.enter_context(
                    open_witness(name, key_of(name, self.generations.get(name, 0)), self.history, self.folder / name)
                )
                for name in (*OWNERS, self.coordinator)
            }

    def begin(self, stating: Mapping[str, Stating] | None = None) -> None:
        """What a run writes before its first round, with what these partners state."""
        plan = replace(plan_under(self.history.accepted()[-1]), coordinator=self.coordinator)
        with self.open() as witnesses:
            own, others = witnesses[self.coordinator], [witnesses[name] for name in OWNERS]
            chronicle = Chronicle(plan, self.history.accepted(), own, others, self.now)
            chronicle.begin({name: partial(one, witnesses[name], self.now()) for name, one in (stating or {}).items()})

    def events(self) -> list[tuple[Event, ...]]:
        lines = read_lines(self.folder / self.coordinator / ENTRIES)
        return [decode_entry(line[:-1]).events for line in lines]

    def verify(self) -> VerificationResult:
        return verify_folder(self.folder / self.coordinator, self.history, Delivered(), self.at)


# Versions of the agreement


def test_the_first_run_after_a_coordinator_rotated_its_key_verifies(tmp_path: Path) -> None:
    twice = rotated(rotated(founded(), "dynamo", 1), "dynamo", 2)
    place = Ledgers(tmp_path, twice, {"dynamo": 2})
    place.begin()
    assert place.events()[0] == tuple(
        AgreementAdopted(version=one.version, agreement=one.digest) for one in twice.accepted()
    )
    assert place.verify().findings == ()


def test_a_ledger_follows_a_jump_of_two_versions_of_which_the_last_has_a_new_coordinator(tmp_path: Path) -> None:
    Ledgers(tmp_path, founded()).begin()
    second = rotated(founded(), "borealis", 1)
    last = second.versions[-1].agreement
    grebe = Partner(id="grebe", name="Grebe Hosting", roles=(Role.COORDINATOR,), may_export=())
    key = PartnerKey(partner="grebe", public=key_of("grebe").public, state=KeyState.ACTIVE, valid_until=END)
    terms = replace(last.terms, partners=(*last.terms.partners, grebe))
    third = succeeded(second, replace(last, terms=terms, keys=sorted_keys([*last.keys, key])))
    place = Ledgers(tmp_path, third, {"borealis": 1}, coordinator="grebe")
    (tmp_path / "grebe").mkdir()
    for path in (tmp_path / "dynamo").iterdir():  # who takes over has a copy
        (tmp_path / "grebe" / path.name).write_bytes(path.read_bytes())
    place.begin()
    assert [len(events) for events in place.events()] == [1, 1, 2, 1]
    assert place.verify().findings == ()


# What partners state


def a_policy(at: datetime, key: PrivateKey) -> Entry:
    """The first that a key states."""
    events = (PolicyChanged(policy="ab" * 32),)
    return sign_entry(ledger=PLAN.agreement, number=0, at=at, events=events, key=key)


def test_a_retired_a_revoked_a_proposed_and_an_ended_key_state_nothing(tmp_path: Path) -> None:
    second = rotated(founded(), "borealis", 1)
    unsigned = replace(rotated(second, "borealis", 2).versions[2], signatures=())
    Ledgers(tmp_path, founded()).begin()
    place = Ledgers(tmp_path, AgreementHistory(versions=(*second.versions, unsigned)), {"borealis": 1})
    place.begin()
    with place.open() as witnesses:
        own = witnesses["dynamo"]
        before = (own.size, (tmp_path / "dynamo" / ENTRIES).read_bytes())
        for generation, day, why in (
            (0, NOW, "version 2: the key pk-.* of borealis is retired; its active keys are: pk-"),
            (2, NOW, "version 2: the key .* belongs to no partner"),
            (1, END + timedelta(days=1), "the key pk-.* of borealis ended"),
        ):
            entry = a_policy(day, key_of("borealis", generation))
            with pytest.raises(LedgerError, match=why):
                own.take([entry])
        stranger = a_policy(NOW, key_of("acme"))
        with pytest.raises(LedgerError, match="the signature is not of"):
            own.take([replace(stranger, key=key_of("borealis", 1).public.key_id)])
        assert (own.size, (tmp_path / "dynamo" / ENTRIES).read_bytes()) == before
        own.take([a_policy(place.now(), key_of("borealis", 1))])


def test_old_entries_are_caught_up_under_the_version_in_force_where_they_stand(tmp_path: Path) -> None:
    """Cygnus has seen nothing yet: entries and checkpoints of borealis' first key count where that was active."""
    place = Ledgers(tmp_path, founded())
    place.begin({"borealis": lambda own, at: own.state([PolicyChanged(policy="ab" * 32)], at)})
    for path in (tmp_path / "cygnus").iterdir():
        path.unlink()
    later = Ledgers(tmp_path, rotated(founded(), "borealis", 1), {"borealis": 1}, at=place.at)
    later.begin({"borealis": lambda own, at: own.state([PolicyChanged(policy="cd" * 32)], at)})
    for name in (ENTRIES, CHECKPOINTS):
        assert (tmp_path / "cygnus" / name).read_bytes() == (tmp_path / "dynamo" / name).read_bytes()
    assert later.verify().findings == ()


def test_a_copy_does_not_keep_a_checkpoint_that_a_retired_key_signed(tmp_path: Path) -> None:
    place = Ledgers(tmp_path, rotated(founded(), "borealis", 1), {"borealis": 1})
    place.begin()
    with place.open() as witnesses:
        own = witnesses["dynamo"]
        own.take([own.state([PolicyChanged(policy="ab" * 32)], place.now())])
        offered = own.propose(place.now())
        with pytest.raises(LedgerError, match="not of a partner's key that is active"):
            own.keep(offered.signed_also_by(key_of("borealis")))
        own.keep(offered.signed_also_by(key_of("borealis", 1)))


def signs_for_cygnus(own: Witness, at: datetime) -> Entry:
    return a_policy(whole_second(at), key_of("cygnus"))


@pytest.mark.parametrize(
    ("stating", "why"),
    [
        (lambda own, at: own.state([AgreementAdopted(version=7, agreement="ee" * 32)], at), "AgreementAdopted"),
        (lambda own, at: own.state([PlanFiled(plan="ee" * 32)], at), "PlanFiled"),
        (lambda own, at: own.state([PlanApproved(plan="ee" * 32)], at), "its approval of a plan that is not"),
        (lambda own, at: own.state([PolicyChanged(policy="ee" * 32)], at + timedelta(days=7300)), "2046-.* clock"),
        (lambda own, at: own.state([PolicyChanged(policy="ee" * 32)], at - timedelta(hours=1)), "T11:00.* clock"),
        (signs_for_cygnus, "which is not its key in this run"),
    ],
)
def test_a_partner_cannot_ruin_the_ledger_with_what_it_states_before_a_run(
    tmp_path: Path, stating: Stating, why: str
) -> None:
    place = Ledgers(tmp_path, founded())
    with pytest.raises(LedgerError, match=f"borealis states .*{why}"):
        place.begin({"borealis": stating})
    place.begin({"borealis": lambda own, at: own.state([PlanApproved(plan=PLAN.digest)], at)})
    assert [len(events) for events in place.events()] == [1, 1, 1]
    assert place.verify().findings == ()


def test_who_is_no_data_owner_approves_nothing_before_a_run(tmp_path: Path) -> None:
    place = Ledgers(tmp_path, founded())
    with pytest.raises(LedgerError, match="dynamo states an approval, but is no data owner"):
        place.begin({"dynamo": lambda own, at: own.state([PlanApproved(plan=PLAN.digest)], at)})


def test_a_refusal_of_a_wrong_time_is_not_recorded_and_its_reason_is_told(tmp_path: Path) -> None:
    place = Ledgers(tmp_path, founded())
    place.begin()
    with place.open() as witnesses:
        chronicle = Chronicle(PLAN, place.history.accepted(), witnesses["dynamo"], [witnesses["acme"]], place.now)
        said = [PlanRefused(plan=PLAN.digest, code=RefusalCode.NOT_GRANTED)]
        ahead = Refusal(entry=witnesses["acme"].state(said, END - timedelta(days=1)), reason="acme refuses: no grant")
        late = Refusal(entry=witnesses["acme"].state(said, place.at), reason="acme refuses: no grant")
        ways: list[Callable[[], None]] = [lambda: chronicle.refused([ahead]), lambda: chronicle.declined(ahead)]
        for say in ways:
            with pytest.raises(LedgerError, match=r"acme states .* by its clock.*; it says: acme refuses: no grant"):
                say()
        place.at += timedelta(hours=1)  # others answered later: the refusal was in time
        chronicle.refused([late])
        chronicle.checkpoint()
    assert place.events()[-1] == (said[0],)
    assert place.verify().findings == ()


@pytest.mark.parametrize(
    ("partner", "generation", "day", "why"),
    [
        (
            "borealis",
            0,
            NOW,
            "of borealis, which is retired since version 2 of the agreement; put an active key .*: pk-",
        ),
        ("borealis", 1, END + timedelta(1), r"of borealis, which ended 2099-12-31T23:59:59Z; make another with `pharm"),
        ("borealis", 2, NOW, "of borealis, which only version 4 of the agreement names, and that lacks 3 of the sig"),
        ("acme", 0, NOW, "is a key of acme in the agreement; put a key of borealis there"),
        ("zeppelin", 0, NOW, "is a key of nobody in the agreement"),
        ("borealis", 1, NOW, ""),
    ],
)
def test_a_service_begins_with_a_key_only_with_which_it_may_sign(
    tmp_path: Path, partner: str, generation: int, day: datetime, why: str
) -> None:
    third = rotated(rotated(founded(), "borealis", 1), "acme", 1)
    unsigned = replace(rotated(third, "borealis", 2).versions[3], signatures=())
    history = AgreementHistory(versions=(*third.versions, unsigned))
    path = tmp_path / "borealis.key"
    path.write_bytes(key_of(partner, generation).to_pem(None))
    path.chmod(0o600)
    config = CoordinatorConfig(
        partner="borealis", key=path, agreement=path, plan=path, ledger=path, store_url="", store_folder=path,
        checkpoint_every_s=1,
    )  # fmt: skip
    if why:
        with pytest.raises(AgreementError, match=f"^borealis.key .*{why}"):
            own_key(config, history, day)
    else:
        assert own_key(config, history, day).public == key_of(partner, generation).public


# Signatures under the last checkpoint


def signers(folder: Path) -> set[str]:
    return {one.key for one in read_checkpoints(folder / CHECKPOINTS)[-1].signatures}


@pytest.mark.parametrize("rotating", ["eagle", "dynamo", "borealis"])
def test_a_checkpoint_is_cosigned_under_the_version_in_force_there_whoever_rotated_since(
    tmp_path: Path, rotating: str
) -> None:
    """The ledger is under version 1; a run under version 2 is still to come."""
    place = Ledgers(tmp_path, founded())
    place.begin()
    newer = rotated(founded(), rotating, 1)
    ours, theirs = tmp_path / "dynamo", tmp_path / "acme"
    cosign_copy(theirs, newer, place.now(), key=key_of("eagle"), copies=())
    cosign_copy(ours, newer, place.now(), key=None, copies=[theirs])
    assert key_of("eagle").public.key_id in signers(ours)
    for folder in (ours, theirs):
        assert verify_folder(folder, newer, Delivered(), place.at).findings == ()


def test_a_key_of_a_later_version_does_not_cosign_an_earlier_checkpoint(tmp_path: Path) -> None:
    place = Ledgers(tmp_path, founded())
    place.begin()
    newer, folder = rotated(founded(), "eagle", 1), tmp_path / "acme"
    before = (folder / CHECKPOINTS).read_bytes()
    for key, day, why in (
        (
            key_of("eagle", 1),
            NOW,
            "is under version 1: .* belongs to no partner.*; sign it with the key that was active",
        ),
        (key_of("eagle"), END + timedelta(days=1), "of eagle ended 2099-12-31T23:59:59Z"),
    ):
        with pytest.raises(AgreementError, match=why):
            cosign_copy(folder, newer, day, key=key, copies=())
    later = Ledgers(tmp_path, newer, {"eagle": 1}, at=place.at)
    later.begin()
    with pytest.raises(AgreementError, match="is under version 2 of the agreement, but the file holds 1 accepted"):
        cosign_copy(folder, founded(), place.now(), key=key_of("eagle"), copies=())
    with pytest.raises(AgreementError, match=r"is under version 2: .* of eagle is retired"):
        cosign_copy(folder, newer, place.now(), key=key_of("eagle"), copies=())
    assert (folder / CHECKPOINTS).read_bytes().startswith(before)
    cosign_copy(folder, newer, place.now(), key=key_of("eagle", 1), copies=())
    assert verify_folder(folder, newer, Delivered(), later.now()).findings == ()


def test_nothing_is_written_where_one_of_several_signatures_is_bad(tmp_path: Path) -> None:
    place = Ledgers(tmp_path, founded())
    place.begin()
    good, bad, ours = tmp_path / "acme", tmp_path / "borealis", tmp_path / "cygnus"
    cosign_copy(good, founded(), place.now(), key=key_of("eagle"), copies=())
    for false in (key_of("finch", 1), key_of("zeppelin")):
        path = bad / CHECKPOINTS
        kept = path.read_bytes()
        path.write_bytes(read_checkpoints(path)[-1].signed_also_by(false).to_line() + b"\n")
        before = (ours / CHECKPOINTS).read_bytes()
        with pytest.raises(AgreementError, match=f"signatures of {false.public.key_id} are not over this checkpoint"):
            cosign_copy(ours, founded(), place.now(), key=key_of("finch"), copies=[good, bad])
        assert (ours / CHECKPOINTS).read_bytes() == before
        path.write_bytes(kept)
    cosign_copy(ours, founded(), place.now(), key=key_of("finch"), copies=[good, bad])
    assert signers(ours) >= {key_of(name).public.key_id for name in ("eagle", "finch")}


def test_a_copy_of_a_plan_with_a_false_approval_leaves_ours_as_it_was(tmp_path: Path) -> None:
    agreement = founded().versions[0].agreement
    ours, copy, good = (tmp_path / name for name in ("plan.json", "copy.json", "good.json"))
    plan = approved(PLAN, agreement, ["borealis"])
    write_plan(ours, plan)
    write_plan(good, approved(PLAN, agreement, ["cygnus"]))
    before = ours.read_bytes()
    acme = key_of("acme").public.key_id
    false = replace(plan.signatures[0], key_id=acme, value=bytes(64))
    write_plan(copy, replace(plan, signatures=with_signature(plan.signatures, false)))
    with pytest.raises(DocumentError, match=f"copy.json: plan kinases, version 1: the signature by {acme} of acme"):
        collect_approvals(ours, [good, copy], agreement, NOW)
    assert ours.read_bytes() == before
    assert approve_plan(ours, agreement, key_of("acme"), NOW).approved_by(agreement, NOW) == {"acme", "borealis"}
    collected = collect_approvals(ours, [good], agreement, NOW)
    assert collected.approved_by(agreement, NOW) == set(OWNERS)
