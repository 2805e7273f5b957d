"""How a side of a consortium's run stands, from what lies in its folder: service, processes, ledger, rounds."""

from dataclasses import dataclass
from pathlib import Path

import psutil

from pharmonia.base.errors import InputError
from pharmonia.engines.nvflare.federation_state import Phase, ServiceState, processes_in, read_state
from pharmonia.governance.events_codec import encode_event
from pharmonia.governance.ledger import decode_entry
from pharmonia.run.documents import read_plan
from pharmonia.run.ledgerfile import CHECKPOINTS, ENTRIES, read_checkpoints, read_lines
from pharmonia.run.site_config import COORDINATOR_FILE, SITE_FILE, read_coordinator, read_site
from pharmonia.run.store import RunStore

RUN_ID_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerStatus:
    """How far a copy of the ledger is.

    Args:
        n_entries: Lines.
        last_event: Kind of the last event, as the ledger calls it; nothing of an empty one.
        root: Of the last checkpoint, 64 hexadecimal digits; nothing before the first.
    """

    n_entries: int
    last_event: str
    root: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStatus:
    """How one side stands.

    Args:
        partner: Whose it is.
        is_coordinator: Whether it runs the server.
        phase: As its service said last; `stopped` if that is gone.
        pid: Of the service; 0 if it is not alive.
        n_processes: Of NVFlare, services and jobs, that live.
        memory_bytes: Resident, of all of them.
        n_restarts: Of NVFlare's process, after faults.
        error: Class of the last error, or nothing.
        ledger: Its copy.
    """

    partner: str
    is_coordinator: bool
    phase: Phase
    pid: int
    n_processes: int
    memory_bytes: int
    n_restarts: int
    error: str
    ledger: LedgerStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """How far the run of the plan in a coordinator's folder is.

    Args:
        plan: Digest of the plan.
        n_rounds: Finished.
        n_planned: At most.
        valid_error: Of the last finished round; None before the first.
        sent_bytes: Frames to partners, so far.
        received_bytes: Frames from partners, so far.
        is_finished: Whether the model is there.
    """

    plan: str
    n_rounds: int
    n_planned: int
    valid_error: float | None
    sent_bytes: int
    received_bytes: int
    is_finished: bool


def member_status(folder: Path, kit: Path) -> MemberStatus:
    """How the side in a folder stands.

    Args:
        folder: Of `site.toml` or `coordinator.toml`.
        kit: Its start-up kit.

    Raises:
        InputError: It is neither's folder.
        StoreError, LedgerError: A file there is damaged.
    """
    is_coordinator = (folder / COORDINATOR_FILE).exists()
    if not is_coordinator and not (folder / SITE_FILE).exists():
        raise InputError(f"{folder} holds neither {SITE_FILE} nor {COORDINATOR_FILE}")
    config = read_coordinator(folder) if is_coordinator else read_site(folder)
    state = read_state(folder)
    service = None if state is None else state.process()
    processes = processes_in(kit / ("server" if is_coordinator else "site"))
    alive = processes if service is None else [service, *processes]
    return MemberStatus(
        partner=config.partner,
        is_coordinator=is_coordinator,
        phase=_phase(state, service),
        pid=0 if service is None else service.pid,
        n_processes=len(processes),
        memory_bytes=sum(map(_memory, alive)),
        n_restarts=0 if state is None else state.n_restarts,
        error="" if state is None else state.error,
        ledger=_ledger(config.ledger),
    )


def run_progress(folder: Path) -> RunProgress:
    """How far the run of the plan in a coordinator's folder is, from its store.

    Raises:
        InputError: The folder or the store cannot be read.
        StoreError: The store is damaged.
    """
    config = read_coordinator(folder)
    plan = read_plan(config.plan).plan
    run = plan.digest[:RUN_ID_DIGITS]
    store = RunStore(config.store_url, config.store_folder)
    rounds = store.rounds(run)
    return RunProgress(
        plan=plan.digest,
        n_rounds=len(rounds),
        n_planned=plan.n_rounds,
        valid_error=rounds[-1].valid_error if rounds else None,
        sent_bytes=sum(one.bytes_to_partners for one in rounds),
        received_bytes=sum(one.bytes_from_partners for one in rounds),
        is_finished=run in store.finished(),
    )


def _phase(state: ServiceState | None, service: psutil.Process | None) -> Phase:
    if state is None:
        return Phase.STOPPED
    return state.phase if service is not None or state.phase is Phase.GIVEN_UP else Phase.STOPPED


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _ledger(folder: Path) -> LedgerStatus:
    """A line that is being written is left out."""
    if not (folder / ENTRIES).exists():
        return LedgerStatus(n_entries=0, last_event="", root="")
    n_entries, last = 0, b""
    for line in read_lines(folder / ENTRIES):
        if line.endswith(b"\n"):
            n_entries, last = n_entries + 1, line[:-1]
    kind = str(encode_event(decode_entry(last).events[-1])["kind"]) if last else ""
    checkpoints = read_checkpoints(folder / CHECKPOINTS) if (folder / CHECKPOINTS).exists() else []
    return LedgerStatus(
        n_entries=n_entries, last_event=kind, root=checkpoints[-1].checkpoint.root if checkpoints else ""
    )
