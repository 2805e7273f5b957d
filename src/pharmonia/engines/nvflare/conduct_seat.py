"""What the server's job runs in a consortium's run: the plan in the coordinator's own folder."""

from datetime import UTC, datetime
from pathlib import Path

import psutil

from pharmonia.base.errors import RegroupError
from pharmonia.engines.nvflare.controller import REGROUP_FILE, CoordinatorController
from pharmonia.engines.nvflare.engine import Limits, NvflareEngine
from pharmonia.governance.events import Failed, FailureCode, PlanRefused, RoundOpened
from pharmonia.governance.ledger import decode_entry
from pharmonia.governance.plan import RunPlan
from pharmonia.run.codedigest import installed_code
from pharmonia.run.documents import read_agreement, read_plan
from pharmonia.run.keyfiles import read_service_key
from pharmonia.run.ledgerfile import ENTRIES, read_lines
from pharmonia.run.preflight import FILE, Preflight, greeting_checks, look, write_preflight
from pharmonia.run.preflight_rehearsal_seat import rehearse
from pharmonia.run.preflight_seat import seat_preflight
from pharmonia.run.records import RoundRecord
from pharmonia.run.remote_ledger import greet
from pharmonia.run.seat import RUN_ID_DIGITS, coordinate, needed_partners
from pharmonia.run.site_config import CoordinatorConfig, read_coordinator
from pharmonia.run.store import RunStore
from pharmonia.run.witness import open_witness


class SeatController(CoordinatorController):
    """Conducts the run of the plan that `coordinator.toml` names; rounds are told by its store and its ledger."""

    def n_needed(self, folder: Path) -> int:
        """All partners until a round is saved; then, if the plan goes on without a lost one, as many as a sum takes."""
        config = read_coordinator(folder)
        return needed_partners(config, read_plan(config.plan).plan)

    def limits(self, folder: Path) -> Limits:
        """As `coordinator.toml` has them."""
        config = read_coordinator(folder)
        return Limits(timeout_s=float(config.answer_timeout_s), room_bytes=config.room_mb << 20)

    def conduct(self, engine: NvflareEngine, folder: Path) -> None:
        """Train, or go on where the run stood; the model is in the coordinator's store when this returns."""
        look_before(engine, folder)
        config = read_coordinator(folder)
        note_interruption(config)

        def before_round() -> None:
            if (folder / REGROUP_FILE).exists():
                raise RegroupError("a partner that was away is back")

        coordinate(config, engine, engine, _now, _untold, before_round)


def look_before(engine: NvflareEngine, folder: Path) -> None:
    """Look at this machine and at what every site says of itself, and write the table into the folder.

    What a site will refuse by itself is left to it, so that its reason is on the ledger; this ends the run only for
    what no site can see.

    Raises:
        PharmoniaError: The coordinator's own folder or machine will not do, or a site's clock is another one.
    """
    own = seat_preflight(folder, psutil.virtual_memory().available, _now())
    write_preflight(folder / FILE, own)
    own.require()
    config = read_coordinator(folder)
    plan, agreement = read_plan(config.plan).plan, read_agreement(config.agreement).current(_now())
    greetings = [(greet(engine, partner), _now()) for partner in engine.present]
    found = greeting_checks(plan, agreement, installed_code(), greetings)
    write_preflight(folder / FILE, own.plus(found))
    Preflight(tuple(check for check in found.checks if check.what == "the same clock")).require()
    store = RunStore(config.store_url, config.store_folder)
    if all(check.error is None for check in found.checks) and not store.rounds(plan.digest[:RUN_ID_DIGITS]):
        rehearsal = look("all sites", "a rehearsal of a round, with zeros", lambda: _rehearse(engine, plan))
        write_preflight(folder / FILE, own.plus(found).plus(Preflight((rehearsal,))))
        Preflight((rehearsal,)).require()


def _rehearse(engine: NvflareEngine, plan: RunPlan) -> None:
    rehearse(engine, plan)


def note_interruption(config: CoordinatorConfig) -> None:
    """State on the ledger that a run of the plan ended without a word: its coordinator was killed.

    Raises:
        PharmoniaError: The ledger, the store or the papers cannot be read.
    """
    plan = read_plan(config.plan).plan
    finished = RunStore(config.store_url, config.store_folder).finished()
    if plan.digest[:RUN_ID_DIGITS] in finished or not _is_open(config, plan):
        return
    with open_witness(
        config.partner, read_service_key(config.key, config.passphrase), read_agreement(config.agreement), config.ledger
    ) as own:
        own.take([own.state([Failed(plan=plan.digest, code=FailureCode.INTERRUPTED)], _now())])


def _is_open(config: CoordinatorConfig, plan: RunPlan) -> bool:
    """Whether the last that our copy says of the plan is a round, and neither a failure nor a refusal."""
    is_open = False
    for line in read_lines(config.ledger / ENTRIES) if (config.ledger / ENTRIES).exists() else ():
        if line.endswith(b"\n"):
            for event in decode_entry(line[:-1]).events:
                if isinstance(event, RoundOpened | Failed | PlanRefused) and event.plan == plan.digest:
                    is_open = isinstance(event, RoundOpened)
    return is_open


def _now() -> datetime:
    return datetime.now(UTC)


def _untold(record: RoundRecord) -> None:
    """The store has the round already."""
