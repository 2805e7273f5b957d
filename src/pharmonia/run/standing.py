"""What the entries of a ledger leave standing: read once, then kept up with every entry that is added."""

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pharmonia.governance.events import (
    AgreementAdopted,
    Evaluated,
    Event,
    Exporting,
    PlanApproved,
    PlanFiled,
    PolicyChanged,
    Revocable,
    Revoked,
    RoundAggregated,
    RoundOpened,
)
from pharmonia.governance.ledger import Entry, decode_entry
from pharmonia.run.ledgerfile import ENTRIES, read_lines


@dataclass(slots=True)
class Standing:
    """Where a ledger stands; whose rights its entries are is for `verify_ledger` to say.

    Args:
        n_entries: So far.
        latest: The latest time that an entry states.
        adopted: For each version of the agreement that was put in force, how many entries there were with the one that
            did so.
        plans: Digests of plans filed under the version in force.
        approvals: (key id, plan) of approvals not taken back.
        policies: The policy that each key id stated last.
        aggregates: By plan, digests of the models after its rounds.
        trained: By plan, how many entries there were after its last round.
        results: Digests of results that were recorded.
        handed_over: (digest, recipient) of what was handed over.
    """

    n_entries: int = 0
    latest: datetime | None = None
    adopted: list[int] = field(default_factory=list)
    plans: set[str] = field(default_factory=set)
    approvals: set[tuple[str, str]] = field(default_factory=set)
    policies: dict[str, str] = field(default_factory=dict)
    aggregates: dict[str, set[str]] = field(default_factory=dict)
    trained: dict[str, int] = field(default_factory=dict)
    results: set[str] = field(default_factory=set)
    handed_over: set[tuple[str, str]] = field(default_factory=set)
    _sessions: dict[str, str] = field(default_factory=dict)

    @property
    def n_adopted(self) -> int:
        """Versions of the agreement that were put in force."""
        return len(self.adopted)

    def n_adopted_at(self, size: int) -> int:
        """How many of them by the ledger's first entries, so many."""
        return bisect_right(self.adopted, size)

    def take(self, entry: Entry) -> None:
        """Take account of one more entry."""
        self.n_entries += 1
        self.latest = entry.at if self.latest is None else max(self.latest, entry.at)
        for event in entry.events:
            self._apply(event, entry.key)

    def _apply(self, event: Event, author: str) -> None:
        match event:
            case RoundOpened():
                self._sessions[event.session] = event.plan
            case RoundAggregated():
                plan = self._sessions.get(event.session, "")
                self.aggregates.setdefault(plan, set()).add(event.aggregate)
                self.trained[plan] = self.n_entries
            case AgreementAdopted():
                self.adopted.append(self.n_entries)
                self.plans.clear()
                self.approvals.clear()
            case PlanFiled():
                self.plans.add(event.plan)
            case PlanApproved():
                self.approvals.add((author, event.plan))
            case _:
                self._apply_rarer(event, author)

    def _apply_rarer(self, event: Event, author: str) -> None:
        match event:
            case PolicyChanged():
                self.policies[author] = event.policy
            case Revoked(what=Revocable.APPROVAL):
                self.approvals.discard((author, event.subject))
            case Revoked():
                self.approvals = {one for one in self.approvals if one[0] != author}
            case Evaluated():
                self.results.add(event.results)
            case Exporting():
                self.handed_over.add((event.content, event.recipient))
            case _:
                pass


def read_standing(folder: Path) -> Standing:
    """Where the ledger in a folder stands; nothing stands where there is none yet.

    Raises:
        LedgerError: A line is not an entry.
        InputError: It cannot be read.
    """
    standing = Standing()
    if (folder / ENTRIES).exists():
        for line in read_lines(folder / ENTRIES):
            standing.take(decode_entry(line.removesuffix(b"\n")))
    return standing
