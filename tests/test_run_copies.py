"""Copies of the ledger of which some cannot be reached: left out where the plan goes on, and caught up when back."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from governance_cases import NOW, OWNERS, first_version, key_of, plan_under, sign_all
from pharmonia.base.errors import RoundLostError, UnreachableError
from pharmonia.governance.agreement_history import AgreementHistory, propose
from pharmonia.governance.checkpoint import SignedCheckpoint
from pharmonia.governance.events import (
    AgreementAdopted,
    Event,
    Failed,
    FailureCode,
    PlanApproved,
    PlanFiled,
    RoundAggregated,
    RoundOpened,
)
from pharmonia.governance.identity import PublicKey
from pharmonia.governance.ledger import Entry, decode_entry
from pharmonia.governance.plan import RunPlan, Tier
from pharmonia.governance.verify import Delivered
from pharmonia.governance.verify_result import VerificationResult
from pharmonia.run.chronicle import Chronicle
from pharmonia.run.chronicled import Chronicled
from pharmonia.run.engine import Arrived, Exchange, OnReply
from pharmonia.run.ledgerfile import CHECKPOINTS, ENTRIES, read_checkpoints, read_lines, verify_folder
from pharmonia.run.witness import Witness, open_witness
from pharmonia.secagg.header import RoundHeader
from pharmonia.secagg.header import Tier as SumTier
from pharmonia.secagg.messages import SurvivorSet
from pharmonia.secagg.messages import encode as encode_secure

COORDINATOR = "dynamo"
FILES = (ENTRIES, CHECKPOINTS)
LOST, STAYED = "borealis", ("acme", "cygnus")
SESSION, HEADER, MODEL = "cd" * 32, "ef" * 32, "12" * 32
CALLS = ("catch_up", "opening", "take", "cosign", "keep")


def agreed(checkpoint: int) -> AgreementHistory:
    """`governance_cases`' agreement, under which that many partners sign a checkpoint."""
    first = first_version()
    thresholds = replace(first.terms.thresholds, checkpoint=checkpoint)
    changed = replace(first, terms=replace(first.terms, thresholds=thresholds))
    return sign_all(propose(None, changed), [key_of(partner) for partner in first.terms.ids])


class Line:
    """A partner's copy behind a line that may be cut; the coordinator's side is `LedgerCopy`."""

    def __init__(self, witness: Witness, plan: RunPlan, now: datetime) -> None:
        self.witness = witness
        self.approval = PlanApproved(plan=plan.digest)
        self.now = now
        self.cut_at: str | None = None  # the call that does not arrive, and none after it
        self.is_cut = False
        self.asked: list[str] = []

    def _reach(self, call: str) -> Witness:
        self.asked.append(call)
        self.is_cut |= call == self.cut_at
        if self.is_cut:
            raise UnreachableError(f"{self.partner} is away")
        return self.witness

    @property
    def partner(self) -> str:
        return self.witness.partner

    @property
    def public(self) -> PublicKey:
        return self.witness.public

    def opening(self) -> Entry | None:
        """What the partner states before a run."""
        witness = self._reach("opening")
        is_stated = (witness.public.key_id, self.approval.plan) in witness.standing.approvals
        return None if is_stated else witness.state([self.approval], self.now)

    def catch_up(self, other: Witness) -> None:
        self._reach("catch_up").catch_up(other)

    def take(self, entries: Sequence[Entry]) -> None:
        self._reach("take").take(entries)

    def cosign(self, offered: SignedCheckpoint, coordinator: PublicKey) -> SignedCheckpoint:
        return self._reach("cosign").cosign(offered, coordinator)

    def keep(self, signed: SignedCheckpoint) -> None:
        self._reach("keep").keep(signed)


@dataclass
class Place:
    """Everybody's copies of the ledger in one folder, and a clock that goes a second at every look."""

    folder: Path
    checkpoint: int = 2
    tier: Tier = Tier.DROPOUT_TOLERANT
    at: datetime = NOW
    history: AgreementHistory = field(init=False)
    plan: RunPlan = field(init=False)

    def __post_init__(self) -> None:
        self.history = agreed(self.checkpoint)
        plan = plan_under(self.history.current(NOW))
        self.plan = replace(plan, n_rounds=50, aggregation=replace(plan.aggregation, n_colluders=0, tier=self.tier))

    def now(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at

    @contextmanager
    def open(self) -> Iterator[tuple[Chronicle, dict[str, Line]]]:
        """The coordinator's chronicle in a new process, and the lines to the others."""
        with ExitStack() as stack:
            witnesses = {
                name: stack.enter_context(open_witness(name, key_of(name), self.history, self.folder / name))
                for name in (*OWNERS, COORDINATOR)
            }
            lines = {name: Line(witnesses[name], self.plan, self.now()) for name in OWNERS}
            own = witnesses[COORDINATOR]
            yield Chronicle(self.plan, self.history.accepted(), own, list(lines.values()), self.now), lines

    def events(self, name: str = COORDINATOR) -> list[Event]:
        path = self.folder / name / ENTRIES
        return [event for line in read_lines(path) for event in decode_entry(line[:-1]).events] if path.exists() else []

    def signers(self) -> list[set[str]]:
        """Who signed each checkpoint of the coordinator's copy."""
        names = {key_of(name).public.key_id: name for name in (*OWNERS, COORDINATOR)}
        signed = read_checkpoints(self.folder / COORDINATOR / CHECKPOINTS)
        return [{names[one.key] for one in checkpoint.signatures} for checkpoint in signed]

    def verify(self, name: str = COORDINATOR) -> VerificationResult:
        """What `verify` says of a copy, given plan and agreement."""
        delivered = Delivered(plans=(self.plan,))
        return verify_folder(self.folder / name, self.history, delivered, self.at + timedelta(minutes=1))

    def is_same(self, *names: str) -> bool:
        """Whether these copies are the coordinator's, byte for byte."""
        return all(
            (self.folder / name / file).read_bytes() == (self.folder / COORDINATOR / file).read_bytes()
            for name in names
            for file in FILES
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def begin(writing: Chronicle, lines: Mapping[str, Line]) -> None:
    writing.begin({name: line.opening for name, line in lines.items()})


def a_round(writing: Chronicle, index: int, asked: Sequence[str], stayed: Sequence[str]) -> None:
    """A round as its header and its survivors tell it."""
    writing.opened(SESSION, index, HEADER, asked)
    writing.stayed(stayed)
    writing.aggregated(f"{index:064x}")


def recorded_round(writing: Chronicle, lines: Mapping[str, Line]) -> None:
    with writing.recording():
        begin(writing, lines)
        a_round(writing, 0, OWNERS, OWNERS)


def keys_of(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(key_of(name).public.key_id for name in names))


# A run's record


@pytest.mark.parametrize("call", CALLS)
def test_the_record_goes_on_without_an_absent_copy_and_verifies(place: Place, call: str) -> None:
    """Borealis, which approved the plan in an earlier session, is lost at that call of the next."""
    with place.open() as (writing, lines):
        begin(writing, lines)
    with place.open() as (writing, lines):
        lines[LOST].cut_at = call
        with writing.recording():
            begin(writing, lines)
            a_round(writing, 0, STAYED, STAYED)
            n_asked = len(lines[LOST].asked)
            a_round(writing, 1, STAYED, STAYED)
        assert len(lines[LOST].asked) == n_asked  # who is left out is not asked again
    assert [event for event in place.events() if isinstance(event, Failed)] == []
    assert place.is_same(*STAYED)
    assert not place.is_same(LOST)
    assert place.verify().failed == ()
    assert place.verify("acme").failed == ()


@pytest.mark.parametrize("call", CALLS)
def test_where_every_partner_is_needed_an_absent_copy_ends_the_run(tmp_path: Path, call: str) -> None:
    place = Place(tmp_path, tier=Tier.COMMIT_THEN_MASK)
    with place.open() as (writing, lines):
        lines[LOST].cut_at = call
        with pytest.raises(UnreachableError, match="borealis is away"):
            recorded_round(writing, lines)
    assert place.events()[-1] == Failed(plan=place.plan.digest, code=FailureCode.PARTNER_LOST)


def test_a_copy_that_is_back_catches_up_line_for_line(place: Place) -> None:
    with place.open() as (writing, lines):
        begin(writing, lines)
        lines[LOST].cut_at = "take"
        for index in range(3):
            a_round(writing, index, STAYED, STAYED)
    assert len(place.events(LOST)) < len(place.events())
    before = (place.folder / LOST / ENTRIES).read_bytes()
    with place.open() as (writing, lines):
        begin(writing, lines)
        assert lines[LOST].asked[0] == "catch_up"
        a_round(writing, 3, OWNERS, OWNERS)
    assert place.is_same(*OWNERS)
    assert (place.folder / LOST / ENTRIES).read_bytes().startswith(before)
    for name in (*OWNERS, COORDINATOR):
        assert place.verify(name).failed == ()


def test_a_copy_that_is_back_before_the_run_ends_is_caught_up_when_it_ends(place: Place) -> None:
    """A run that fails brings every copy up that it can reach, the absent ones too."""
    with place.open() as (writing, lines):
        begin(writing, lines)
        lines[LOST].cut_at = "take"

        def fails() -> None:
            with writing.recording():
                a_round(writing, 0, STAYED, STAYED)
                lines[LOST].cut_at, lines[LOST].is_cut = None, False
                raise RoundLostError("too few")

        with pytest.raises(RoundLostError):
            fails()
    assert place.events()[-1] == Failed(plan=place.plan.digest, code=FailureCode.ROUND_LOST)
    assert place.is_same(*OWNERS)
    assert place.signers()[-1] == {*OWNERS, COORDINATOR}
    assert place.verify(LOST).failed == ()


def test_a_partner_without_an_approval_that_comes_later_gives_it_then(place: Place) -> None:
    with place.open() as (writing, lines):
        lines[LOST].cut_at = "catch_up"
        begin(writing, lines)
    assert {type(event) for event in place.events()} == {AgreementAdopted, PlanFiled, PlanApproved}
    assert sum(isinstance(event, PlanApproved) for event in place.events()) == 2
    with place.open() as (writing, lines):
        begin(writing, lines)
        a_round(writing, 0, OWNERS, OWNERS)
    assert sum(isinstance(event, PlanApproved) for event in place.events()) == 3
    assert place.verify(LOST).failed == ()


def test_what_was_opened_names_who_was_asked_and_what_was_summed_names_who_stayed(place: Place) -> None:
    with place.open() as (writing, lines):
        begin(writing, lines)
        a_round(writing, 0, OWNERS, OWNERS)
        a_round(writing, 1, OWNERS, STAYED)
        a_round(writing, 2, STAYED, STAYED)
    opened = [event.contributors for event in place.events() if isinstance(event, RoundOpened)]
    summed = [event.contributors for event in place.events() if isinstance(event, RoundAggregated)]
    assert opened == [keys_of(OWNERS), keys_of(OWNERS), keys_of(STAYED)]
    assert summed == [keys_of(OWNERS), keys_of(STAYED), keys_of(STAYED)]
    assert place.verify().failed == ()


def test_a_round_that_is_opened_anew_is_not_said_to_be_of_those_who_stayed_in_the_last(place: Place) -> None:
    """A sum of magnitudes without borealis, then one of values with nobody lost: its own header counts."""
    with place.open() as (writing, lines):
        begin(writing, lines)
        writing.opened(SESSION, 0, HEADER, OWNERS)
        writing.stayed(STAYED)
        a_round(writing, 1, OWNERS, OWNERS)
        writing.stayed(STAYED)  # of no round that is open
        a_round(writing, 2, OWNERS, OWNERS)
    summed = [event.contributors for event in place.events() if isinstance(event, RoundAggregated)]
    assert summed == [keys_of(OWNERS)] * 2


class Stage:
    """An engine that keeps what it carries, and loses whom it is told to."""

    def __init__(self) -> None:
        self.carried: list[dict[str, bytes]] = []
        self.lost: dict[str, str] = {}

    @property
    def partners(self) -> tuple[str, ...]:
        return OWNERS

    def carry(self, frames: Mapping[str, bytes], on_reply: OnReply) -> Exchange:
        self.carried.append(dict(frames))
        for name in frames:
            if name not in self.lost:
                on_reply(name, Arrived(b"short"))
        lost = {name: self.lost[name] for name in frames if name in self.lost}
        return Exchange(replies=(), bytes_to_partners=0, bytes_from_partners=0, wall_s=0.0, cpu_s=0.0, lost=lost)


def header() -> RoundHeader:
    return RoundHeader(
        session=bytes.fromhex(SESSION), round_index=0, tier=SumTier.DROPOUT_TOLERANT, word_bytes=4, length=1, degree=2,
        weight_bits=1, exponents=(0,), layout_digest=bytes(32), model_digest=bytes(32), contributors=OWNERS,
    )  # fmt: skip


def test_header_and_survivors_are_read_off_the_frames_and_the_engine_s_losses_handed_on(place: Place) -> None:
    with place.open() as (writing, lines):
        begin(writing, lines)
        engine = Stage()
        chronicled = Chronicled(engine, writing, OWNERS, masked=True)
        engine.lost[LOST] = "borealis is away"
        sent = header()
        replies: list[str] = []

        def told(name: str, reply: object) -> None:
            replies.append(name)

        assert chronicled.carry(dict.fromkeys(OWNERS, encode_secure(sent)), told).lost == engine.lost
        survivors = SurvivorSet(round_digest=sent.digest, survivors=STAYED)
        assert chronicled.carry(dict.fromkeys(STAYED, encode_secure(survivors)), told).lost == {}
        writing.aggregated(MODEL)
    assert replies == [*STAYED, *STAYED]
    assert [sorted(one) for one in engine.carried] == [sorted(OWNERS), sorted(STAYED)]
    last = [event for event in place.events() if isinstance(event, RoundOpened | RoundAggregated)]
    assert [event.contributors for event in last] == [keys_of(OWNERS), keys_of(STAYED)]
    assert place.verify().failed == ()


def test_no_header_goes_to_who_has_no_copy_of_it(place: Place) -> None:
    """Borealis' ledger cannot be reached, but its line for frames stands: it would refuse what it does not know of."""
    with place.open() as (writing, lines):
        begin(writing, lines)
        engine = Stage()
        chronicled = Chronicled(engine, writing, OWNERS, masked=True)
        lines[LOST].cut_at = "take"
        asked = chronicled.carry(dict.fromkeys(OWNERS, encode_secure(header())), lambda name, reply: None)
        assert set(asked.lost) == {LOST}
        lines[LOST].is_cut, lines[LOST].cut_at = False, None
        asked = chronicled.carry(dict.fromkeys(OWNERS, b"PHM1"), lambda name, reply: None)
        assert set(asked.lost) == {LOST}
    assert [sorted(one) for one in engine.carried] == [list(STAYED), list(STAYED)]


# Checkpoints


def test_a_checkpoint_waits_until_enough_are_there_to_sign(tmp_path: Path) -> None:
    """All four must sign: while one is away there is no checkpoint, and one of everything when it is back."""
    place = Place(tmp_path, checkpoint=4)
    with place.open() as (writing, lines):
        begin(writing, lines)
        assert place.signers() == [{*OWNERS, COORDINATOR}]
        lines[LOST].cut_at = "take"
        for index in range(2):
            a_round(writing, index, OWNERS, STAYED)
        writing.checkpoint()
        assert len(place.signers()) == 1
    with place.open() as (writing, lines):
        begin(writing, lines)
    assert place.signers() == [{*OWNERS, COORDINATOR}] * 2
    assert place.is_same(*OWNERS)
    assert place.verify().failed == ()


@pytest.mark.parametrize(("threshold", "is_sealed"), [(3, True), (4, False)])
def test_a_partner_lost_while_it_should_sign_does_not_leave_a_checkpoint_that_does_not_hold(
    tmp_path: Path, threshold: int, is_sealed: bool
) -> None:
    place = Place(tmp_path, checkpoint=threshold)
    with place.open() as (writing, lines):
        begin(writing, lines)
        lines[LOST].cut_at = "cosign"
        a_round(writing, 0, OWNERS, OWNERS)
        assert place.signers()[1:] == ([{*STAYED, COORDINATOR}] if is_sealed else [])
        a_round(writing, 1, STAYED, STAYED)
    with place.open() as (writing, lines):
        begin(writing, lines)
        a_round(writing, 2, OWNERS, OWNERS)
    assert place.signers()[-1] == {*OWNERS, COORDINATOR}
    assert place.is_same(*OWNERS)
    assert place.verify().failed == ()


def test_a_partner_lost_after_it_signed_has_signed(tmp_path: Path) -> None:
    place = Place(tmp_path, checkpoint=4)
    with place.open() as (writing, lines):
        begin(writing, lines)
        lines[LOST].cut_at = "keep"
        a_round(writing, 0, OWNERS, OWNERS)
        assert place.signers() == [{*OWNERS, COORDINATOR}] * 2
        assert not place.is_same(LOST)
        assert place.is_same(*STAYED)
    with place.open() as (writing, lines):
        begin(writing, lines)
    assert place.is_same(*OWNERS)
    assert place.verify().failed == ()
