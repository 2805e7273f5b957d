"""NVFlare's process as a service keeps it: started, watched, started again after a fault, ended with all of its jobs.

NVFlare ends a job when one process of it dies, and resumes nothing. What a run needs to go on is on both sides' own
disks (`run.site`, `run.coordinator`), so that here a process is simply started anew.
"""

import errno
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from pharmonia.base.errors import EngineError, OptionError, ServiceBusyError
from pharmonia.engines.nvflare.federation_state import end_processes, processes_in
from pharmonia.engines.nvflare.settings import MEMORY
from pharmonia.run.plainpaths import require_plain

# As `controller` and `executor` read them; those load NVFlare, which a partner's service itself does not need.
COORDINATOR_FOLDER, SITE_FOLDER = "PHARMONIA_COORDINATOR", "PHARMONIA_SITE"
STORAGE = "storage"  # of NVFlare's server, in its workspace: jobs, none of which it could resume
CONSOLE, LAST_CONSOLE = "console.txt", "console.txt.1"  # of this process of NVFlare's, and of the one before it
N_JOBS_KEPT = 5  # folders of jobs that have ended, the newest: logs for support
_JOB = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # NVFlare names jobs and their folders so
_NO_PROXY, _NO_PROXY_OF_ALL = "no_grpc_proxy", "no_proxy"  # gRPC reads the second where the first is not set
_END_S = 5.0


class Kind(StrEnum):
    """What a process is."""

    SERVER = "server"
    SITE = "site"


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """Where a service works.

    Args:
        kind: Server or site.
        partner: Whose it is.
        folder: Of `coordinator.toml` or `site.toml`.
        kit: The start-up kit.
        host: Of the server, wherever that is.
        port: Of the server.
    """

    kind: Kind
    partner: str
    folder: Path
    kit: Path
    host: str
    port: int

    @property
    def workspace(self) -> Path:
        """NVFlare's."""
        return self.kit.resolve() / self.kind.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Endurance:
    """How long a service tries.

    Args:
        n_faults: It gives up at the next one after so many.
        within_s: Those that are longer ago do not count.
        first_wait_s: Before it tries again; twice as long after each further fault.
        longest_wait_s: At most.

    Raises:
        OptionError: Numbers below 0.
    """

    n_faults: int = 20
    within_s: float = 3600.0
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0

    def __post_init__(self) -> None:
        if self.n_faults < 0 or min(self.within_s, self.first_wait_s, self.longest_wait_s) < 0:
            raise OptionError(f"a service endures 0 faults or more, got {self.n_faults}")


class Faults:
    """Counts faults, and says how long to wait after each."""

    def __init__(self, endurance: Endurance) -> None:
        self._endurance = endurance
        self._at: list[float] = []

    def add(self, at_s: float) -> float:
        """Seconds to wait before the next try.

        Args:
            at_s: Of a clock that only goes forward.

        Raises:
            EngineError: It was one too many.
        """
        endurance = self._endurance
        self._at = [earlier for earlier in self._at if at_s - earlier <= endurance.within_s] + [at_s]
        if len(self._at) > endurance.n_faults:
            raise EngineError(
                f"{len(self._at)} faults within {endurance.within_s:g} s; look at failed.txt, faults.log and the kit's "
                f"log.txt, then start the service again"
            )
        return float(min(endurance.first_wait_s * 2 ** (len(self._at) - 1), endurance.longest_wait_s))


def forget_jobs(workspace: Path) -> None:
    """Remove the folders of old jobs from a workspace of NVFlare, where no job may run; each attempt leaves one.

    A folder that cannot be removed stays, and keeps nobody from starting.
    """
    left = [one for one in workspace.glob("*-*-*-*-*") if _JOB.fullmatch(one.name) and one.is_dir()]
    for folder in sorted(left, key=lambda one: one.stat().st_mtime)[:-N_JOBS_KEPT]:
        shutil.rmtree(folder, ignore_errors=True)


def direct(environment: Mapping[str, str], host: str) -> dict[str, str]:
    """An environment in which gRPC asks no proxy for a host; what else goes through none stays as it is."""
    names = environment.get(_NO_PROXY, environment.get(_NO_PROXY_OF_ALL, ""))
    listed = [name for name in map(str.strip, names.split(",")) if name]
    return {**environment, _NO_PROXY: ",".join(listed if host in listed else [*listed, host])}


def require_free(host: str, port: int) -> None:
    """Refuses a port on which another process listens; connections of one that has ended do not count.

    Args:
        host: Of the server: NVFlare listens on that alone if it is of this machine's own, else on all interfaces.
        port: Of the server.

    Raises:
        ServiceBusyError: One does.
    """
    is_own = host == "localhost" or host.startswith("127.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host if is_own else "", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ServiceBusyError(
                    f"another process listens on port {port}, which is the server's; end that one, or make the kits "
                    f"anew with another port (`pharmonia deploy kit --server HOST:PORT`), then start again"
                ) from error


class Supervised:
    """One process of NVFlare; used from the main thread, with whose end the system ends the process too."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that was last started; 0 before."""
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it, once nothing is left of an earlier one.

        Raises:
            InputError: NVFlare can start no job in a folder of that path.
            ServiceBusyError: Another process listens on the server's port.
            EngineError: It cannot be started.
        """
        station = self._station
        for path in (station.workspace, Path(sys.executable)):
            require_plain(path)
        end_processes(processes_in(station.workspace), _END_S)
        forget_jobs(station.workspace)
        is_server = station.kind is Kind.SERVER
        if is_server:
            require_free(station.host, station.port)
            shutil.rmtree(station.workspace / STORAGE, ignore_errors=True)
        own = COORDINATOR_FOLDER if is_server else SITE_FOLDER
        config = "fed_server.json" if is_server else "fed_client.json"
        names = [f"org={station.partner}"] + ([] if is_server else [f"uid={station.partner}"])
        command = [sys.executable, "-m", "pharmonia.engines.nvflare.child", str(os.getpid()), station.kind.value]
        command += ["-m", str(station.workspace), "-s", config, "--set", "secure_train=true", "config_folder=config"]
        try:
            if (station.workspace / CONSOLE).exists():
                (station.workspace / CONSOLE).replace(station.workspace / LAST_CONSOLE)
            with (station.workspace / CONSOLE).open("wb") as console:
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    [*command, *names],
                    env={**MEMORY, **direct(os.environ, station.host), own: str(station.folder.absolute())},
                    cwd=station.workspace,
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise EngineError(f"cannot start the {station.kind} in {station.workspace}: {error.strerror}") from error

    def exit_code(self) -> int | None:
        """How it ended; None while it lives."""
        return None if self._process is None else self._process.poll()

    def is_connected(self) -> bool:
        """Whether a connection to the server stands."""
        try:
            connections = psutil.Process(self.pid).net_connections("tcp")
        except psutil.Error:
            return False
        port = self._station.port
        return any(
            one.status == psutil.CONN_ESTABLISHED and one.raddr and one.raddr.port == port for one in connections
        )

    def memory_bytes(self) -> int:
        """Resident memory of the process and its jobs."""
        total = 0
        for process in processes_in(self._station.workspace):
            try:
                total += int(process.memory_info().rss)
            except psutil.Error:
                continue
        return total

    def stop(self) -> None:
        """End it and all of its jobs."""
        end_processes(processes_in(self._station.workspace), _END_S)
        if self._process is not None:
            self._process.wait()
