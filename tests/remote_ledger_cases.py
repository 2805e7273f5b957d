"""Entries and a greeting for tests of the ledger between machines."""

from governance_cases import CODE, NOW, founded, key_of
from pharmonia.governance.events import PlanFiled
from pharmonia.governance.ledger import Entry, sign_entry
from pharmonia.run.ledger_frames import Greeting

PLAN = "ab" * 32
LEDGER = founded().versions[0].agreement.digest
COORDINATOR = "dynamo"


def entry(number: int, author: str = COORDINATOR, ledger: str = LEDGER) -> Entry:
    """An author's entry of that number, of a plan filed."""
    return sign_entry(ledger=ledger, number=number, at=NOW, events=(PlanFiled(plan=PLAN),), key=key_of(author))


GREETING = Greeting(
    partner="acme",
    version="0.1.0",
    code=CODE,
    agreement_version=1,
    agreement=LEDGER,
    plan=PLAN,
    recipe="3c" * 32,
    at=NOW,
)
