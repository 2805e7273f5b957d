"""What a service writes down about itself in the folder that it serves, so that anybody there can ask how it is."""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

import psutil

from pharmonia.base.canonical import Json
from pharmonia.base.errors import InputError, ServiceBusyError, StoreError
from pharmonia.run.files import write_whole

_LOOK_S = 0.05
STATE_FILE, LOCK_FILE, LOG_FILE = "service.json", "service.lock", "service.log"


class Phase(StrEnum):
    """How far a service is."""

    STARTING = "starting"  # its process is up, and has no connection yet
    CONNECTED = "connected"  # a party's; to the server
    WAITING = "waiting"  # the coordinator's; for partners
    RUNNING = "running"  # a run
    FINISHED = "finished"  # the run of the plan that lies there
    REFUSED = "refused"  # that run, by somebody; see the ledger
    RESTARTING = "restarting"  # after a fault
    GIVEN_UP = "given-up"  # after too many faults
    STOPPED = "stopped"


READY = frozenset({Phase.CONNECTED, Phase.WAITING, Phase.RUNNING, Phase.FINISHED})
SETTLED = frozenset({Phase.FINISHED, Phase.REFUSED, Phase.GIVEN_UP, Phase.STOPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """How a service is.

    Args:
        partner: Whom it serves.
        phase: How far it is.
        pid: Of the service.
        started: When that process began, as the system counts.
        n_restarts: Of NVFlare's process, after faults.
        n_attempts: Runs that were submitted; a coordinator's.
        error: Class of the last error, or nothing.
    """

    partner: str
    phase: Phase
    pid: int
    started: float
    n_restarts: int = 0
    n_attempts: int = 0
    error: str = ""

    def process(self) -> psutil.Process | None:
        """The service's process, if it lives; a later one with the same number is not it."""
        try:
            process = psutil.Process(self.pid)
            is_it = process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if is_it else None


def write_state(folder: Path, state: ServiceState) -> None:
    """Write the state into the folder that is served, with that folder's path: a copy of it is not served.

    Raises:
        InputError: It cannot be written.
    """
    tree = {**asdict(state), "folder": str(folder.resolve())}
    write_whole(folder / STATE_FILE, json.dumps(tree, indent=2).encode() + b"\n")


def read_state(folder: Path) -> ServiceState | None:
    """What the last service of a folder wrote; None if there was none.

    In a copy of the folder that is served, it has the process 0, which nobody's is. Services before
    this version did not write down their folder.

    Raises:
        StoreError: The file is damaged.
    """
    path = folder / STATE_FILE
    try:
        tree = json.loads(path.read_bytes())
        return ServiceState(
            partner=str(tree["partner"]),
            phase=Phase(tree["phase"]),
            pid=0 if _is_copy(folder, tree) else int(tree["pid"]),
            started=float(tree["started"]),
            n_restarts=int(tree["n_restarts"]),
            n_attempts=int(tree["n_attempts"]),
            error=str(tree["error"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged; remove it when no service runs") from error


def _is_copy(folder: Path, tree: Mapping[str, Json]) -> bool:
    """Whether the service that wrote this serves another folder, which is still there: one that was moved is ours."""
    served = tree.get("folder")
    return served is not None and Path(str(served)) != folder.resolve() and (Path(str(served)) / STATE_FILE).exists()


@contextmanager
def serving(folder: Path) -> Iterator[None]:
    """The folder is served by this process alone.

    Raises:
        ServiceBusyError: Another process serves it.
        InputError: The folder cannot be written.
    """
    try:
        lock = os.open(folder / LOCK_FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InputError(f"cannot write {folder / LOCK_FILE}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ServiceBusyError(f"{folder} is served by another process; end that one, then start again") from error
    finally:
        os.close(lock)


def processes_in(workspace: Path) -> list[psutil.Process]:
    """NVFlare's processes of a workspace, services and jobs, whoever started them."""
    named = str(workspace.resolve())
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(word == "-m" and following == named for word, following in pairwise(words)):
            found.append(process)
    return found


def end_processes(processes: list[psutil.Process], patience_s: float) -> None:
    """Ask processes to end, and after that time make them."""
    for process in processes:
        with _gone_is_fine():
            process.terminate()
    left = _outlasting(processes, patience_s)
    for process in left:
        with _gone_is_fine():
            process.kill()
    _outlasting(left, 10.0)


def _outlasting(processes: list[psutil.Process], patience_s: float) -> list[psutil.Process]:
    """Those that live still after that time; one that only waits for its parent to ask how it ended does not."""
    until = time.monotonic() + patience_s
    while (left := [one for one in processes if is_alive(one)]) and time.monotonic() < until:
        time.sleep(_LOOK_S)
    return left


def is_alive(process: psutil.Process) -> bool:
    """Whether a process lives."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except psutil.NoSuchProcess:
        return
