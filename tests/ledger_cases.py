"""A ledger in memory that tests write to: of the consortium of `governance_cases`, honest or not."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from governance_cases import NOW, OWNERS, founded, key_of
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.checkpoint import Checkpoint, SignedCheckpoint, sign_checkpoint
from pharmonia.governance.events import (
    AgreementAdopted,
    Evaluated,
    Event,
    Exporting,
    Failed,
    FailureCode,
    FigureName,
    PlanApproved,
    PlanFiled,
    PlanRefused,
    PolicyChanged,
    RecordedFigure,
    RoundAggregated,
    RoundOpened,
)
from pharmonia.governance.identity import PrivateKey
from pharmonia.governance.ledger import Entry, sign_entry
from pharmonia.governance.merkle import Frontier, Nodes, leaf_hash, stored_index
from pharmonia.governance.terms import RefusalCode, ResourceKind
from pharmonia.governance.verify import Delivered, verify_ledger
from pharmonia.governance.verify_result import Check, VerificationResult

PLAN, OTHER_PLAN, SESSION, HEADER, AGGREGATE, MODEL, RESULTS = (f"{i:02x}" * 32 for i in range(1, 8))
FIGURES = (RecordedFigure(name=FigureName.MSE, ten_thousandths=1873),)
LATER = NOW + timedelta(days=400)


def ids_of(*partners: str) -> tuple[str, ...]:
    """The partners' first keys, as events name them."""
    return tuple(sorted(key_of(partner).public.key_id for partner in partners))


@dataclass
class Book:
    """A ledger that grows; times go on by a minute an entry."""

    ledger: str = field(default_factory=lambda: founded().versions[0].agreement.digest)
    entries: list[Entry] = field(default_factory=list)
    checkpoints: list[SignedCheckpoint] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    at: datetime = NOW

    def say(self, partner: str, *events: Event, generation: int = 0, after: timedelta = timedelta(minutes=1)) -> Entry:
        """A partner's next entry."""
        key = key_of(partner, generation)
        number = self.numbers.get(key.public.key_id, 0)
        self.numbers[key.public.key_id] = number + 1
        self.at += after
        entry = sign_entry(ledger=self.ledger, number=number, at=self.at, events=events, key=key)
        self.entries.append(entry)
        return entry

    def grown(self) -> tuple[Frontier, Nodes]:
        """The tree of the entries as they stand, in whatever order, and the store of its hashes."""
        tree, stored = Frontier(), list[bytes]()
        for entry in self.entries:
            tree, completed = tree.append(leaf_hash(entry.to_line()))
            stored.extend(completed)
        return tree, lambda level, index: stored[stored_index(level, index)]

    def check(self, *signers: str) -> SignedCheckpoint:
        """A checkpoint of the ledger as it is, signed by the coordinator and a data owner if by nobody else."""
        tree, _ = self.grown()
        previous = self.checkpoints[-1].checkpoint.digest if self.checkpoints else None
        state = Checkpoint(ledger=self.ledger, size=tree.size, root=tree.root.hex(), at=self.at, previous=previous)
        keys: list[PrivateKey] = [key_of(signer) for signer in signers or ("dynamo", "acme")]
        signed = sign_checkpoint(state, keys[0])
        for key in keys[1:]:
            signed = signed.signed_also_by(key)
        self.checkpoints.append(signed)
        return signed

    def lines(self) -> list[bytes]:
        """As the file has them."""
        return [entry.to_line() + b"\n" for entry in self.entries]

    def checkpoint_lines(self) -> list[bytes]:
        """As the file has them."""
        return [signed.to_line() + b"\n" for signed in self.checkpoints]

    def verify(
        self, delivered: Delivered | None = None, *, versions: Sequence[Agreement] | None = None, now: datetime = LATER
    ) -> VerificationResult:
        """What verification says of it, with a checkpoint of the whole ledger."""
        if not self.checkpoints or self.checkpoints[-1].checkpoint.size < len(self.entries):
            self.check()
        accepted = founded().accepted() if versions is None else versions
        return verify_ledger(self.lines(), self.checkpoint_lines(), accepted, delivered or Delivered(), now)


def approved_book(at: datetime = NOW) -> Book:
    """A consortium whose three data owners have approved a plan."""
    book = Book(at=at)
    version = founded().versions[0].agreement
    book.say("dynamo", AgreementAdopted(version=1, agreement=version.digest))
    book.say("acme", PlanFiled(plan=PLAN), PlanApproved(plan=PLAN))
    book.say("borealis", PlanApproved(plan=PLAN))
    book.say("cygnus", PlanApproved(plan=PLAN))
    return book


def a_round(index: int, *partners: str, plan: str = PLAN) -> tuple[RoundOpened, RoundAggregated]:
    """Header and aggregate of a round."""
    keys = ids_of(*(partners or OWNERS))
    opened = RoundOpened(plan=plan, session=SESSION, round_index=index, header=HEADER, contributors=keys)
    return opened, RoundAggregated(session=SESSION, round_index=index, aggregate=AGGREGATE, contributors=keys)


def whole_book(at: datetime = NOW) -> Book:
    """A run from agreement to export, with a checkpoint in the middle and one at the end."""
    book = approved_book(at)
    book.say("dynamo", *a_round(0))
    book.check()
    book.say("cygnus", PlanRefused(plan=PLAN, code=RefusalCode.CODE_DIFFERS), PolicyChanged(policy=HEADER))
    book.say("dynamo", a_round(1)[0])
    book.say("dynamo", Failed(plan=PLAN, code=FailureCode.ROUND_LOST))
    book.say("dynamo", *a_round(2, "acme", "borealis"))
    book.say("acme", Evaluated(plan=PLAN, model=MODEL, results=RESULTS, figures=FIGURES))
    recipient = key_of("borealis").public.key_id
    book.say("dynamo", Exporting(what=ResourceKind.SHARED_TRUNK, content=MODEL, recipient=recipient))
    book.say("acme", Exporting(what=ResourceKind.REPORT, content=RESULTS, recipient="public"))
    book.check()
    return book


def failed(book: Book, delivered: Delivered | None = None) -> set[Check]:
    """The checks that find something in it."""
    return {tally.check for tally in book.verify(delivered).tallies if tally.n_failed}
