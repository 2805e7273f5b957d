"""What a partner may state on the coordinator's ledger: its own, and nothing with which no ledger verifies any more."""

from collections.abc import Collection
from datetime import datetime

from pharmonia.base.errors import LedgerError
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.documents import time_text
from pharmonia.governance.documents_signed import CLOCK_SKEW
from pharmonia.governance.events import PlanApproved, PolicyChanged
from pharmonia.governance.ledger import Entry


def require_opening(entry: Entry, partner: str, plans: Collection[str], agreement: Agreement) -> None:
    """Nothing, if an entry is what a partner states before a run: its approval of a plan, its policy, or both.

    Args:
        entry: What the partner states.
        partner: Who states it.
        plans: Digests of those on the ledger under the version in force.
        agreement: That version.

    Raises:
        LedgerError: It states something else, or approves what is not there or without data of its own.
    """
    for event in entry.events:
        if not isinstance(event, PlanApproved | PolicyChanged):
            what = type(event).__name__
        elif isinstance(event, PlanApproved) and event.plan not in plans:
            what = "its approval of a plan that is not on the ledger"
        elif isinstance(event, PlanApproved) and partner not in agreement.terms.data_owners:
            what = "an approval, but is no data owner"
        else:
            continue
        raise LedgerError(
            f"{partner} states {what}; before a run, a data owner states its approval of the plan and its policy, and "
            f"this was not written: have {partner} look at its site"
        )


def require_own(entry: Entry, partner: str, key: str | None, since: datetime, now: datetime) -> None:
    """Nothing, if an entry is in a partner's own name and of a time that the ledger takes.

    Args:
        entry: What the partner states.
        partner: Who states it.
        key: Id of the partner's key in this run; None of a stranger.
        since: It was stated no more than five minutes before.
        now: Nor more than five minutes after; both by our clock.

    Raises:
        LedgerError: Another key or time.
    """
    if entry.key != key:
        raise LedgerError(f"{partner} states something in the name of {entry.key}, which is not its key in this run")
    if not since - CLOCK_SKEW <= entry.at <= now + CLOCK_SKEW:
        here = f"{time_text(now)} here" if since >= now else f"from {time_text(since)} to {time_text(now)} here"
        raise LedgerError(
            f"{partner} states something at {time_text(entry.at)} by its clock, when it was {here}; set the clock that "
            f"is wrong, and run again"
        )
