"""Three partners with kiba-sample in folders of their own, and a coordinator with one, as between organisations."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from governance_cases import CODE, END, NOW, OWNERS, approved, first_version, key_of, sign_all
from pharmonia.bench.planned import PlanHead, draft_plan
from pharmonia.bench.scenario import Scenario
from pharmonia.bench.settings import ComparisonSettings
from pharmonia.bench.sites import share_to_sites, write_coordinator
from pharmonia.data.splits import SplitKind
from pharmonia.engines.inprocess import InProcessEngine
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.agreement_history import AgreementHistory, propose
from pharmonia.governance.events import Event
from pharmonia.governance.identity import CommitmentKey
from pharmonia.governance.ledger import decode_entry
from pharmonia.governance.plan import RunPlan, SignedPlan
from pharmonia.governance.policy import LocalPolicy, open_policy, revoke_all, sign_policy
from pharmonia.governance.terms import Role
from pharmonia.governance.verify import Delivered
from pharmonia.governance.verify_result import VerificationResult
from pharmonia.learn.algorithms import Schedule
from pharmonia.learn.settings import Aggregation, LocalSettings, Method, Optimiser
from pharmonia.nn.choices import Model, Norm
from pharmonia.run import seat, site
from pharmonia.run.documents import write_agreement, write_plan, write_policy
from pharmonia.run.ledgerfile import ENTRIES, read_lines, verify_folder
from pharmonia.run.records import RoundRecord, TrainedModel
from pharmonia.run.seat import coordinate
from pharmonia.run.site import Site, open_site
from pharmonia.run.site_config import read_coordinator, read_site
from pharmonia.run.site_data import site_commitment

COORDINATOR = "dynamo"
COORDINATOR_LEDGER = "coordinator-ledger"


def settings(
    method: str = "fedavg", rounds: int = 2, batch_size: int = 512, n_partners: int = len(OWNERS)
) -> ComparisonSettings:
    """A small run on kiba-sample."""
    return ComparisonSettings(
        dataset="kiba-sample",
        n_partners=n_partners,
        scenario=Scenario.parse("target"),
        split=SplitKind.RANDOM,
        seeds=(5,),
        local=LocalSettings(
            model=Model.GIN,
            norm=Norm.BATCH,
            optimiser=Optimiser.ADAM,
            learning_rate=1e-3,
            batch_size=batch_size,
            local_epochs=1,
        ),
        method=Method.parse(method),
        aggregation=Aggregation.SECURE,
        schedule=Schedule(rounds=rounds, patience=50),
    )


def history(coordinator: str = COORDINATOR, owners: tuple[str, ...] = OWNERS) -> AgreementHistory:
    """`governance_cases`' agreement without a privacy budget; these partners may coordinate and bring data too."""
    first = first_version()
    rules = replace(first.terms.plan_rules, privacy_budget=None)
    more = {name: {Role.COORDINATOR} if name == coordinator else set[Role]() for name in first.terms.ids}
    for name in owners:
        more[name].add(Role.DATA_OWNER)
    partners = tuple(
        replace(one, roles=tuple(role for role in Role if role in {*one.roles, *more[one.id]}))
        for one in first.terms.partners
    )
    terms = replace(
        first.terms,
        plan_rules=rules,
        partners=partners,
        trunk_recipients=owners,
        thresholds=replace(first.terms.thresholds, plan=len(owners) // 2 + 1),
    )
    changed = replace(first, terms=terms)
    return sign_all(propose(None, changed), [key_of(partner) for partner in first.terms.ids])


@contextmanager
def fixed_code() -> Iterator[None]:
    """What runs here is what the plan names, whatever is edited meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (site, seat):
            patch.setattr(module, "installed_code", lambda: CODE)
        yield


def secret(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)


@dataclass
class Consortium:
    """Everybody's folders under one, and a clock that goes a second at every look."""

    folder: Path
    settings: ComparisonSettings
    history: AgreementHistory
    at: datetime = NOW
    coordinator: str = COORDINATOR
    owners: tuple[str, ...] = OWNERS
    signed: SignedPlan = field(init=False)

    def found(self) -> "Consortium":
        """Data, keys and policies in every folder; then the plan that the data owners approve."""
        share_to_sites(self.folder, self.settings, self.owners)
        write_coordinator(self.folder / self.coordinator, self.coordinator, 0)
        for name in self.everybody:
            home = self.folder / name
            secret(home / f"{name}.key", key_of(name).to_pem(None))
            write_agreement(home / "agreement.json", self.history)
        for owner in self.owners:
            heading = b"pharmonia commitment key\n"
            commitment_key = CommitmentKey(owner.encode().ljust(32))
            secret(self.folder / owner / f"{owner}.key.commitment", heading + commitment_key.secret.hex().encode())
            self.allow(owner, open_policy(self.history.current(NOW), owner, NOW))
        self.file(self.drafted())
        return self

    def drafted(self) -> RunPlan:
        """The plan of the settings, on what each owner committed to at home."""
        agreement = self.history.current(NOW)
        commitments = {name: site_commitment(read_site(self.folder / name), "aurora") for name in self.owners}
        head = PlanHead(name="kinases", version=1, valid_until=END - timedelta(days=100), coordinator=self.coordinator)
        return draft_plan(self.settings, agreement, head, commitments, CODE)

    @property
    def everybody(self) -> tuple[str, ...]:
        return tuple(sorted({*self.owners, self.coordinator}))

    def file(self, plan: RunPlan, names: tuple[str, ...] = ()) -> None:
        """The plan, approved by all data owners, in those folders, or in all."""
        self.signed = approved(plan, self.history.current(NOW), self.owners)
        for name in names or self.everybody:
            write_plan(self.folder / name / "plan.json", self.signed)

    def copied(self, folder: Path) -> "Consortium":
        """The same consortium in another folder."""
        shutil.copytree(self.folder, folder)
        other = replace(self, folder=folder, at=NOW)
        other.signed = self.signed
        return other

    def now(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at

    def allow(self, owner: str, policy: LocalPolicy) -> None:
        signed = sign_policy(policy, self.history.current(NOW), key_of(owner), NOW)
        write_policy(self.folder / owner / "policy.json", signed)

    def revoke(self, owner: str) -> None:
        """The owner takes all its grants back, from the next look at the clock on."""
        self.allow(owner, revoke_all(open_policy(self.history.current(NOW), owner, NOW), self.at))

    def amend(self, owner: str) -> None:
        """A newer version of the agreement lies at one owner."""
        first = self.history.current(NOW)
        terms = replace(first.terms, purpose="Models of kinase selectivity and toxicity.")
        second = Agreement(version=2, previous=first.digest, terms=terms, keys=first.keys)
        newer = sign_all(propose(self.history, second), [key_of(name) for name in self.owners])
        write_agreement(self.folder / owner / "agreement.json", newer)

    @contextmanager
    def sites(self) -> Iterator[dict[str, Site]]:
        """All sites open, as their own processes would have them."""
        with ExitStack() as stack:
            yield {name: stack.enter_context(open_site(self.folder / name, now=self.now)) for name in self.owners}

    def run(self, on_round: Callable[[RoundRecord], None] = lambda record: None) -> TrainedModel:
        """The coordinator's run over open sites."""
        with self.sites() as sites:
            return self.coordinate(InProcessEngine(sites), on_round)

    def coordinate(
        self,
        engine: InProcessEngine,
        on_round: Callable[[RoundRecord], None] = lambda record: None,
        before_round: Callable[[], None] | None = None,
    ) -> TrainedModel:
        config = read_coordinator(self.folder / self.coordinator)
        return coordinate(config, engine, engine, self.now, on_round, before_round)

    def ledger(self, name: str) -> Path:
        return self.folder / name / COORDINATOR_LEDGER if name == self.coordinator else self.ledger_of_site(name)

    def ledger_of_site(self, name: str) -> Path:
        return self.folder / name / "ledger"

    def events(self, name: str = COORDINATOR) -> list[Event]:
        lines = read_lines(self.ledger(name) / ENTRIES)
        return [event for line in lines for event in decode_entry(line[:-1]).events]

    def verify(self, name: str = COORDINATOR) -> VerificationResult:
        """What verification says of a copy."""
        delivered = Delivered(plans=(self.signed.plan,))
        return verify_folder(self.ledger(name), self.history, delivered, self.at + timedelta(minutes=1))


def opened(place: Consortium, owner: str) -> AbstractContextManager[Site]:
    return open_site(place.folder / owner, now=place.now)
