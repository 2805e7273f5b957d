"""A consortium at work in a folder for tests: `governance_cases`' three data owners and coordinator, on small data."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from governance_cases import CODE, COMMITMENTS, NOW, OWNERS, approved, founded, key_of, plan_under
from pharmonia.bench.charter import Charter, Seat
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.plan import RunPlan, SignedPlan
from pharmonia.governance.policy import LocalPolicy, open_policy, revoke_all, sign_policy
from pharmonia.governance.terms import CodeIdentity
from pharmonia.governance.verify import Delivered
from pharmonia.governance.verify_result import VerificationResult
from pharmonia.run.chronicle import Chronicle
from pharmonia.run.documents import write_agreement, write_policy
from pharmonia.run.ledgerfile import verify_folder
from pharmonia.run.permit import Papers, Permit
from pharmonia.run.witness import open_witness

ROUNDS = 3  # of the plan


@dataclass
class House:
    """Everybody's files under one folder, and a clock that goes a second at every look."""

    folder: Path
    signed: SignedPlan
    at: datetime = NOW
    history: AgreementHistory = field(default_factory=founded)
    code: CodeIdentity = CODE

    def __post_init__(self) -> None:
        write_agreement(self.folder / "agreement.json", self.history)
        for owner in OWNERS:
            self.allow(owner, open_policy(self.history.current(NOW), owner, NOW))

    def now(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at

    def copy_of(self, partner: str) -> Path:
        return self.folder / "ledger" / partner

    def policy_file(self, owner: str) -> Path:
        return self.folder / f"{owner}-policy.json"

    def allow(self, owner: str, policy: LocalPolicy) -> None:
        signed = sign_policy(policy, self.history.current(NOW), key_of(owner), NOW)
        write_policy(self.policy_file(owner), signed)

    def revoke(self, owner: str) -> None:
        """The owner takes all its grants back, from the next look at the clock on."""
        policy = open_policy(self.history.current(NOW), owner, NOW)
        self.allow(owner, revoke_all(policy, self.at))

    @contextmanager
    def at_work(self, commitments: dict[str, str] | None = None) -> Iterator[Charter]:
        """All copies open, as a new process would open them."""
        with ExitStack() as stack:
            witnesses = {
                name: stack.enter_context(open_witness(name, key_of(name), self.history, self.copy_of(name)))
                for name in (*OWNERS, "dynamo")
            }
            plan, versions = self.signed.plan, self.history.accepted()
            others = [witnesses[name] for name in OWNERS]
            chronicle = Chronicle(plan, versions, witnesses["dynamo"], others, self.now)
            seats = []
            for name in OWNERS:
                papers = Papers(agreement=self.folder / "agreement.json", policy=self.policy_file(name))
                commitment = (commitments or COMMITMENTS)[name]
                permit = Permit(self.signed, papers, commitment, self.code, witnesses[name], self.now)
                seats.append(Seat(partner=name, key=key_of(name), permit=permit))
            yield Charter(plan=plan, agreement=versions[-1], seats=tuple(seats), chronicle=chronicle)

    def verify(self, partner: str = "dynamo") -> VerificationResult:
        """What verification says of a partner's copy."""
        delivered = Delivered(plans=(self.signed.plan,))
        return verify_folder(self.copy_of(partner), self.history, delivered, self.at + timedelta(minutes=1))


def house(folder: Path, plan: RunPlan | None = None, *, approved_by: tuple[str, ...] = OWNERS) -> House:
    """A consortium whose plan those owners have approved."""
    agreement = founded().current(NOW)
    folder.mkdir(parents=True, exist_ok=True)
    signed = approved(plan or replace(plan_under(agreement), n_rounds=ROUNDS), agreement, approved_by)
    return House(folder=folder, signed=signed)
