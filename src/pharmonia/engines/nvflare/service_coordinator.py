"""The coordinator's service: its server's process, and the run of the plan in its folder, submitted until it is done.

A run that ended for a fault (the engine's, a partner's machine, a lost round) is submitted again and goes on from its
last round. One that was refused is not: that is for the consortium, who find the reason on the ledger.
"""

import time
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path
from typing import Protocol

from pharmonia.base import errors
from pharmonia.base.errors import (
    DiskFullError,
    EngineError,
    InputError,
    LedgerBusyError,
    PharmoniaError,
    RegroupError,
    UnreachableError,
)
from pharmonia.engines.nvflare.attendance import Attendance, RollCall
from pharmonia.engines.nvflare.controller import FAILED_FILE, LOST_FILE, REGROUP_FILE
from pharmonia.engines.nvflare.federation_state import Phase
from pharmonia.engines.nvflare.job import Job
from pharmonia.engines.nvflare.kits import CONTROLLER, EXECUTOR
from pharmonia.engines.nvflare.service import POLL_S, Service
from pharmonia.engines.nvflare.service_operator import operating
from pharmonia.governance.plan import RunPlan
from pharmonia.run.documents import read_plan
from pharmonia.run.files import write_whole
from pharmonia.run.metrics_text import Figure
from pharmonia.run.seat import RUN_ID_DIGITS, fewest_partners, needed_partners, undelivered
from pharmonia.run.servicelog import Fact, Field, Happening, Level
from pharmonia.run.site_config import CoordinatorConfig, read_coordinator
from pharmonia.run.store import RunStore

JOBS = "jobs"  # in the coordinator's folder
_COMPLETED = "FINISHED:COMPLETED"
_ENDED = "FINISHED"
_LOST = "FINISHED:LOST"  # ours: a site's process was gone
_LOOK_EVERY = 8  # looks at a job's status to one at the sites' processes
_ABORT_S = 20.0
_COMES_UP_S = 60.0  # that long a server may take to let its operator in
_PASSING = (EngineError, LedgerBusyError, DiskFullError)  # may be gone at the next try


class Verdict(Enum):
    """What follows from how a run ended."""

    DONE = auto()
    AGAIN = auto()
    REGROUP = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended.

    Args:
        status: Of the job, as NVFlare calls it.
        error: Class of the error that the run ended with; nothing if it left none.
    """

    status: str
    error: str = ""

    def verdict(self) -> Verdict:
        """Whether to submit it again.

        A fault of machines may be gone at the next try. What somebody refused, or what is damaged, is for people.
        """
        kind = getattr(errors, self.error, None) if self.error else None
        if kind is RegroupError:
            return Verdict.REGROUP
        if kind is None:
            return Verdict.DONE if self.status == _COMPLETED else Verdict.AGAIN
        return Verdict.AGAIN if issubclass(kind, _PASSING) else Verdict.REFUSED


def read_error(folder: Path) -> str:
    """Class of the error that the last run of a coordinator's folder ended with; nothing if none is told."""
    try:
        name = (folder / FAILED_FILE).read_text(encoding="utf-8").partition(":")[0].strip()
    except (OSError, UnicodeDecodeError):
        return ""
    kind = getattr(errors, name, None)
    return name if isinstance(kind, type) and issubclass(kind, PharmoniaError) else EngineError.__name__


class Operations(Protocol):
    """What a seat asks of NVFlare's server; `Operator` is one."""

    def connected(self) -> frozenset[str]:
        """Names of the sites that are connected."""
        ...

    def submit(self, job: Job, folder: Path) -> str:
        """Id of a job that now waits to be started."""
        ...

    def status(self, job_id: str) -> str:
        """How a job stands, as NVFlare calls it."""
        ...

    def roll_call(self, job_id: str) -> RollCall:
        """What the sites say, of a job and at all."""
        ...

    def abort(self, job_id: str) -> None:
        """End a job."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Submitted:
    """A job that the server has.

    Args:
        id: NVFlare's.
        plan: That it runs.
        attendance: Of its sites.
    """

    id: str
    plan: RunPlan
    attendance: Attendance

    @property
    def run(self) -> str:
        """Of the store."""
        return self.plan.digest[:RUN_ID_DIGITS]


class Seat:
    """One coordinator's service at work."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._folder = service.station.folder
        self._config: CoordinatorConfig = read_coordinator(self._folder)
        self._store = RunStore(self._config.store_url, self._config.store_folder)
        self._refused: str | None = None  # digest of the plan
        self._job: _Submitted | None = None  # that the server has, as far as we know
        self._n_told = 0
        self._owed_from = 0.0  # by the clock that only goes forward
        self._answers_from: float | None = None  # the same; None until its operator asks a server that was started

    def work(self) -> None:
        """Until the process ends or the service does: run what is to be run."""
        station = self._service.station
        name = f"operator@{station.partner}.pharmonia"
        with operating(station.kit.absolute() / "operator", name, station.host) as operator:
            self._answers_from = time.monotonic()
            while not (self._service.stop.is_set() or self._service.is_dead()):
                self.step(operator)

    def step(self, operator: Operations) -> None:
        """Run the plan that lies there once, or wait a little if there is nothing to run.

        A job that was submitted is seen to its end first, also when the server did not answer its operator meanwhile.
        """
        if self._job is not None:
            self._service.move(Phase.RUNNING)  # again, if the server did not answer
            self._see_through(operator, self._job)
            return
        plan = read_plan(self._config.plan).plan
        run = plan.digest[:RUN_ID_DIGITS]
        if run in self._store.finished() and not self._owes(operator, plan):
            self._service.move(Phase.FINISHED)
        elif plan.digest == self._refused:
            self._service.move(Phase.REFUSED)
        else:
            self._attempt(operator, plan, run)
            return
        self._service.stop.wait(5 * POLL_S)

    def _owes(self, operator: Operations, plan: RunPlan) -> bool:
        """Whether a finished run's model can now be brought to somebody who has not got it."""
        owed = undelivered(self._store, plan)
        if not owed or time.monotonic() < self._owed_from:
            return False
        return bool(operator.connected().intersection(owed))

    def _attempt(self, operator: Operations, plan: RunPlan, run: str) -> None:
        service = self._service
        service.move(Phase.WAITING)
        service.log.say(Level.INFO, Happening.PARTNERS_AWAITED, {Field.PARTNERS: len(plan.partners)})
        n_needed = needed_partners(self._config, plan)
        partners = frozenset(plan.partners)
        until = time.monotonic() + self._config.lost_wait_s
        while len(there := operator.connected() & partners) < len(partners):
            if len(there) >= n_needed and time.monotonic() >= until:
                break
            if service.stop.wait(POLL_S) or service.is_dead():
                return
        for name in (FAILED_FILE, LOST_FILE, REGROUP_FILE):
            (self._folder / name).unlink(missing_ok=True)
        job = Job(
            run=run,
            partners=plan.partners,
            controller=CONTROLLER,
            executor=EXECUTOR,
            n_needed=min(fewest_partners(self._config, plan), n_needed),
        )
        job_id = operator.submit(job, self._folder / JOBS)
        self._job = _Submitted(id=job_id, plan=plan, attendance=Attendance(partners - there))
        self._tell_lost(partners - there, run)
        service.note(replace(service.state, phase=Phase.RUNNING, n_attempts=service.state.n_attempts + 1, error=""))
        facts: dict[Field, Fact] = {Field.RUN: run, Field.ATTEMPT: service.state.n_attempts}
        service.log.say(Level.INFO, Happening.RUN_SUBMITTED, facts)
        self._see_through(operator, self._job)

    def forget(self) -> None:
        """The server that had our job is gone, and its jobs with it."""
        self._job = None
        self._answers_from = None

    def endure(self, error: EngineError) -> None:
        """Note as a fault that the server failed its operator, unless it has died, which `revive` notes, or comes up.

        Raises:
            EngineError: It was one fault too many.
        """
        service = self._service
        if service.stop.wait(5 * POLL_S) or service.is_dead():
            return
        if self._answers_from is None:
            self._answers_from = time.monotonic() + _COMES_UP_S
        if time.monotonic() >= self._answers_from:
            service.rest(Happening.OPERATOR_FAILED, {Field.ERROR: type(error).__name__})

    def _see_through(self, operator: Operations, job: "_Submitted") -> None:
        ending = self._watch(operator, job)
        self._job = None
        if ending is not None:
            self._conclude(ending, job.plan, {Field.RUN: job.run, Field.ATTEMPT: self._service.state.n_attempts})

    def _watch(self, operator: Operations, job: "_Submitted") -> Ending | None:
        """How the job ended; None if the service or its process did."""
        service, n_looks = self._service, 0
        while not (service.stop.wait(POLL_S) or service.is_dead()):
            self._tell_rounds(job.run)
            status = operator.status(job.id)
            if status.startswith(_ENDED):
                self._tell_rounds(job.run)
                return Ending(status=status, error=read_error(self._folder))
            n_looks += 1
            if n_looks % _LOOK_EVERY == 0 and not self._goes_on(operator.roll_call(job.id), job):
                return self._give_job_up(operator, job.id, job.run)
        if service.stop.is_set():
            operator.abort(job.id)
        return None

    def _goes_on(self, roll: RollCall, job: "_Submitted") -> bool:
        """Whether enough partners are left; tells the job who is lost, and that one who was is back."""
        attendance, plan = job.attendance, job.plan
        lost = attendance.lost(roll)
        if lost:
            self._tell_lost(lost, job.run)
            with suppress(InputError):  # it only tells the job whom not to wait for, or why it ends
                write_whole(self._folder / LOST_FILE, "\n".join(sorted(attendance.absent)).encode())
            if len(plan.partners) - len(attendance.absent) < needed_partners(self._config, plan):
                return False
        back = attendance.back(roll)
        if back and not (self._folder / REGROUP_FILE).exists():
            for partner in sorted(back):
                facts: dict[Field, Fact] = {Field.RUN: job.run, Field.PARTNER: partner}
                self._service.log.say(Level.INFO, Happening.PARTNER_BACK, facts)
            with suppress(InputError):
                write_whole(self._folder / REGROUP_FILE, "\n".join(sorted(back)).encode())
        return True

    def _tell_lost(self, lost: frozenset[str], run: str) -> None:
        for partner in sorted(lost):
            self._service.log.say(Level.WARNING, Happening.PARTNER_LOST, {Field.RUN: run, Field.PARTNER: partner})

    def _give_job_up(self, operator: Operations, job_id: str, run: str) -> Ending | None:
        """A partner's process is gone, which NVFlare would notice late or never; None if the server had to be ended."""
        if run in self._store.finished():
            return Ending(status=_COMPLETED)
        operator.abort(job_id)
        until = time.monotonic() + _ABORT_S
        while not (self._service.stop.wait(POLL_S) or time.monotonic() > until):
            if operator.status(job_id).startswith(_ENDED):
                return Ending(status=_LOST, error=UnreachableError.__name__)
        self._service.end_process()
        return None

    def _tell_rounds(self, run: str) -> None:
        n_rounds = len(self._store.rounds(run))
        for index in range(self._n_told, n_rounds):
            self._service.log.say(Level.INFO, Happening.ROUND_FINISHED, {Field.RUN: run, Field.ROUND: index})
        self._n_told = n_rounds

    def _conclude(self, ending: Ending, plan: RunPlan, attempt: dict[Field, Fact]) -> None:
        service = self._service
        facts: dict[Field, Fact] = {**attempt, Field.STATUS: ending.status}
        if ending.error:
            facts[Field.ERROR] = ending.error
        verdict = ending.verdict()
        service.note(replace(service.state, error="" if verdict is Verdict.REGROUP else ending.error))
        is_finished = plan.digest[:RUN_ID_DIGITS] in self._store.finished()
        if verdict is Verdict.DONE and not is_finished:
            verdict = Verdict.AGAIN  # a job that ended without a word, and without a model
        if verdict is Verdict.AGAIN and is_finished:
            verdict = Verdict.DONE  # but somebody has not got the model
            self._owed_from = time.monotonic() + self._config.lost_wait_s
        match verdict:
            case Verdict.DONE:
                service.log.say(Level.INFO, Happening.RUN_FINISHED, facts)
            case Verdict.REFUSED:
                self._refused = plan.digest
                service.log.say(Level.ERROR, Happening.RUN_REFUSED, facts)
            case Verdict.REGROUP:
                service.move(Phase.RESTARTING)
            case Verdict.AGAIN:
                service.rest(Happening.RUN_FAILED, facts)


def serve_coordinator(service: Service) -> None:
    """Keep the server alive and run the plan in the coordinator's folder, and every later one, until told to stop.

    Raises:
        ServiceBusyError: Another process serves the folder or the kit, or listens on the server's port.
        EngineError: The process, its operator's session or the run failed too often.
        InputError: `coordinator.toml` or the plan cannot be read.
    """
    seat = Seat(service)
    with service.alive():
        while not service.stop.is_set():
            if service.is_dead():
                seat.forget()
            service.revive()
            try:
                seat.work()
            except EngineError as error:
                if service.state.phase is Phase.GIVEN_UP:
                    raise
                seat.endure(error)


def coordinator_figures(service: Service) -> tuple[Figure, ...]:
    """What a coordinator's metrics say besides those of every service."""
    folder = service.station.folder
    figures = [Figure(name="attempts", help="Runs submitted since the service began.", value=service.state.n_attempts)]
    try:
        config = read_coordinator(folder)
        plan = read_plan(config.plan).plan
        with closing(RunStore(config.store_url, config.store_folder)) as store:
            rounds = store.rounds(plan.digest[:RUN_ID_DIGITS])
    except (InputError, errors.EvidenceError):
        return tuple(figures)
    figures += [
        Figure(name="rounds", help="Rounds of the plan that are finished.", value=len(rounds)),
        Figure(name="rounds_planned", help="Rounds of the plan at most.", value=plan.n_rounds),
        Figure(name="sent_bytes", help="Frames sent to partners.", value=sum(one.bytes_to_partners for one in rounds)),
        Figure(
            name="received_bytes",
            help="Frames received from partners.",
            value=sum(one.bytes_from_partners for one in rounds),
        ),
    ]
    return tuple(figures)
