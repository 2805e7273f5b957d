"""What the services of both sides have in common: one folder, one process of NVFlare, a state, a log and health."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import FrameType

import psutil

from pharmonia.base.errors import DiskFullError, EngineError, ServiceBusyError
from pharmonia.engines.nvflare.federation_state import READY, Phase, ServiceState, read_state, serving, write_state
from pharmonia.engines.nvflare.health import Health
from pharmonia.engines.nvflare.supervisor import Endurance, Faults, Station, Supervised
from pharmonia.run.metrics_text import Figure
from pharmonia.run.servicelog import Fact, Field, Happening, Level, ServiceLog

POLL_S = 0.2


class Service:
    """One side's process of NVFlare, kept alive; what a run needs besides is for the sides to add."""

    def __init__(self, station: Station, endurance: Endurance, log: ServiceLog, stop: threading.Event) -> None:
        """Stop: set when the service is to end."""
        self.station = station
        self.log = log
        self.stop = stop
        self._faults = Faults(endurance)
        self._process = Supervised(station)
        started = psutil.Process().create_time()
        self._state = ServiceState(partner=station.partner, phase=Phase.STARTING, pid=os.getpid(), started=started)

    @property
    def state(self) -> ServiceState:
        """As it is written in the folder."""
        return self._state

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Folder and kit are ours and the process runs, until the service ends, whatever ends it.

        Raises:
            ServiceBusyError: Another process serves the folder or the kit, or listens on the server's port.
            InputError: The folder or the kit cannot be written, or NVFlare can start no job in a folder of that path.
            EngineError: The process cannot be started.
        """
        with serving(self.station.folder), serving(self.station.workspace):
            self._say(Level.INFO, Happening.SERVICE_STARTED, {Field.PROCESS: os.getpid()})
            self.move(Phase.STARTING)
            try:
                try:
                    self._start()
                except ServiceBusyError:
                    self._say(Level.ERROR, Happening.PORT_BUSY, {Field.PORT: self.station.port})
                    raise
                yield
            finally:
                self._process.stop()
                if self._state.phase is not Phase.GIVEN_UP:
                    self.move(Phase.STOPPED)
                self._say(Level.INFO, Happening.SERVICE_STOPPED, {})

    def _start(self) -> None:
        self._process.start()
        self._say(Level.INFO, Happening.PROCESS_STARTED, {Field.PROCESS: self._process.pid})

    def revive(self) -> None:
        """Start the process anew if it has ended, after the wait that this fault costs.

        Raises:
            EngineError: It ended, or found its port taken, too often.
        """
        code = self._process.exit_code()
        if code is None:
            return
        self.rest(Happening.PROCESS_ENDED, {Field.EXIT: code})
        while not self.stop.is_set():
            try:
                self._start()
            except ServiceBusyError:
                self.rest(Happening.PORT_BUSY, {Field.PORT: self.station.port})
            else:
                self._state = replace(self._state, n_restarts=self._state.n_restarts + 1)
                self.move(Phase.STARTING)
                return

    def rest(self, event: Happening, facts: Mapping[Field, Fact]) -> None:
        """Note a fault and wait before the next try.

        Raises:
            EngineError: It was one too many.
        """
        try:
            wait_s = self._faults.add(time.monotonic())
        except EngineError:
            self.move(Phase.GIVEN_UP)
            self._say(Level.ERROR, Happening.GIVEN_UP, facts)
            raise
        self.move(Phase.RESTARTING)
        self._say(Level.WARNING, event, {**facts, Field.WAIT_S: int(wait_s)})
        self.stop.wait(wait_s)

    def is_dead(self) -> bool:
        """Whether the process has ended."""
        return self._process.exit_code() is not None

    def end_process(self) -> None:
        """End NVFlare's process and its jobs; `revive` starts it anew."""
        self._process.stop()

    def is_connected(self) -> bool:
        """Whether the process has a connection to the server."""
        return self._process.is_connected()

    def move(self, phase: Phase) -> None:
        """Go on to a phase, and write that down if it is another one."""
        self.note(replace(self._state, phase=phase))

    def note(self, state: ServiceState) -> None:
        """Write the state down if it is another one than is written, and there is room for it."""
        self._state = state
        with suppress(DiskFullError):  # a service that cannot tell how it is still serves
            if read_state(self.station.folder) != state:
                write_state(self.station.folder, state)

    def _say(self, level: Level, event: Happening, facts: Mapping[Field, Fact]) -> None:
        self.log.say(level, event, facts)

    @property
    def is_ready(self) -> bool:
        """Whether it can take part in a run."""
        return self._state.phase in READY

    def health(self, more: Callable[[], tuple[Figure, ...]]) -> Health:
        """How it is; more: figures of the side."""
        state = self._state
        figures = (
            Figure(name="up", help="Whether NVFlare's process runs.", value=float(not self.is_dead())),
            Figure(name="ready", help="Whether it can take part in a run.", value=float(self.is_ready)),
            Figure(name="restarts", help="Of NVFlare's process, after faults.", value=state.n_restarts),
            Figure(
                name="memory_bytes",
                help="Resident memory of the service and its processes.",
                value=psutil.Process().memory_info().rss + self._process.memory_bytes(),
            ),
            *more(),
        )
        return Health(service=state.partner, figures=figures)


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; the handlers that were there come back afterwards."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - Python's signature
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
