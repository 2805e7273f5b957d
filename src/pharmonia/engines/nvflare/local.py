"""A federation of real processes on this machine, with mutual TLS: for trials, tests and benchmarks."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import psutil
from nvflare.fuel.flare_api.api_spec import JobNotFound, NoConnection
from nvflare.fuel.flare_api.flare_api import Session, new_secure_session
from nvflare.lighter.entity import participant_from_dict
from nvflare.lighter.impl.cert import CertBuilder
from nvflare.lighter.impl.static_file import StaticFileBuilder
from nvflare.lighter.impl.workspace import WorkspaceBuilder
from nvflare.lighter.provisioner import Provisioner
from nvflare.lighter.spec import Project

from pharmonia.base.canonical import Json
from pharmonia.base.errors import EngineError, UnreachableError
from pharmonia.engines.nvflare import settings
from pharmonia.engines.nvflare.controller import COORDINATOR_FOLDER, FAILED_FILE
from pharmonia.engines.nvflare.executor import DEFAULT_MAX_FRAME_BYTES, MAX_FRAME_BYTES, SITE_FOLDER
from pharmonia.engines.nvflare.job import Job, write_job

PROJECT = "pharmonia"
SERVER = "localhost"
ADMIN = "admin@localhost.local"
_POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Where a local federation stands.

    Args:
        folder: For kits, logs and jobs; made if missing.
        coordinator: The coordinator's own folder.
        sites: Each partner's own folder, by its name; also the order of replies.
        classes: Class paths that jobs may name.
        environment: Of all processes, besides this one's.
        max_frame_bytes: Longest frame that a site takes.
    """

    folder: Path
    coordinator: Path
    sites: Mapping[str, Path]
    classes: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES


class LocalFederation:
    """Server and sites as processes of their own; leaving the context ends all of them."""

    def __init__(self, plot: Plot) -> None:
        self._plot = plot
        self._services: dict[str, subprocess.Popen[bytes]] = {}
        self._session: Session | None = None

    def __enter__(self) -> "LocalFederation":
        """Provision and start."""
        kits = provision(self._plot)
        try:
            for name, kit in kits.items():
                if name != ADMIN:
                    self._services[name] = self._start(name, kit)
            self._session = self._log_in(kits[ADMIN])
            self._await_sites()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every process."""
        self._stop()

    def _start(self, name: str, kit: Path) -> "subprocess.Popen[bytes]":
        plot = self._plot
        is_server = name == SERVER
        own = {COORDINATOR_FOLDER: str(plot.coordinator)} if is_server else {SITE_FOLDER: str(plot.sites[name])}
        environment = {**os.environ, **settings.MEMORY, **plot.environment, **own}
        environment[MAX_FRAME_BYTES] = str(plot.max_frame_bytes)
        kind, config = ("server", "fed_server.json") if is_server else ("site", "fed_client.json")
        command = [sys.executable, "-m", "pharmonia.engines.nvflare.child", str(os.getpid()), kind]
        command += ["-m", str(kit), "-s", config, "--set", "secure_train=true", "config_folder=config"]
        options = [f"org={_org(name)}"]
        options += [] if is_server else [f"uid={name}"]
        with (kit / "console.txt").open("ab") as console:
            return subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*command, *options],
                env=environment,
                cwd=kit,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _log_in(self, kit: Path) -> Session:
        until = time.monotonic() + 60.0
        while True:
            self._require_alive()
            try:
                with redirect_stdout(sys.stderr):  # NVFlare prints
                    return new_secure_session(ADMIN, str(kit), timeout=5.0, auto_login_max_tries=1)
            except NoConnection as error:
                if time.monotonic() > until:
                    raise UnreachableError("the local server did not come up within 60 s") from error
                time.sleep(_POLL_S)

    def _await_sites(self) -> None:
        until = time.monotonic() + 60.0
        while len(self._admin().get_connected_client_list()) < len(self._plot.sites):
            self._require_alive()
            if time.monotonic() > until:
                raise UnreachableError("not all local sites came up within 60 s")
            time.sleep(_POLL_S)

    def submit(self, job: Job) -> str:
        """NVFlare's id of a job that now waits to be started."""
        job_id: str = self._admin().submit_job(str(write_job(job, self._plot.folder / "jobs")))
        return job_id

    def wait(self, job_id: str, timeout_s: float) -> None:
        """Until the job has ended well.

        Raises:
            UnreachableError: It has not ended in time.
            EngineError: It failed; with the coordinator's reason.
        """
        until = time.monotonic() + timeout_s
        while True:
            self._require_alive()
            with suppress(JobNotFound):
                status = str(self._admin().get_job_meta(job_id).get("status", ""))
                if status.startswith("FINISHED"):
                    break
            if time.monotonic() > until:
                raise UnreachableError(f"the job did not end within {timeout_s:g} s")
            time.sleep(_POLL_S)
        failed = self._plot.coordinator / FAILED_FILE
        if failed.exists():
            raise EngineError(f"the run failed: {failed.read_text(encoding='utf-8').strip()}")
        if status != "FINISHED:COMPLETED":
            raise EngineError(f"NVFlare ended the job with {status}; see the logs under {self._plot.folder}")

    def processes(self) -> list[psutil.Process]:
        """All processes of the federation that live, services and jobs."""
        found = []
        for service in self._services.values():
            with suppress(psutil.NoSuchProcess):
                parent = psutil.Process(service.pid)
                found += [parent, *parent.children(recursive=True)]
        return found

    def _admin(self) -> Session:
        if self._session is None:
            raise EngineError("the local federation is not started")
        return self._session

    def _require_alive(self) -> None:
        for name, service in self._services.items():
            if service.poll() is not None:
                raise EngineError(f"the process of {name} ended with {service.returncode}; see its console.txt")

    def _stop(self) -> None:
        if self._session is not None:
            with suppress(Exception):
                self._session.close()
            self._session = None
        processes = self.processes()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for service in self._services.values():
            service.wait()
        psutil.wait_procs(processes, timeout=10.0)
        self._services = {}


def provision(plot: Plot) -> dict[str, Path]:
    """Kits of the server, the sites and an administrator, by name; every key is made on this machine.

    For trials only: between organisations each makes its own key (`provision`).
    """
    project = Project(name=PROJECT, description="local federation")
    participants: list[dict[str, str | int]] = [
        {"name": SERVER, "type": "server", "org": _org(SERVER), "fed_learn_port": _free_port()},
        {"name": ADMIN, "type": "admin", "org": _org(ADMIN), "role": "project_admin"},
    ]
    participants += [{"name": name, "type": "client", "org": _org(name)} for name in plot.sites]
    for participant in participants:
        project.add_participant(participant_from_dict(dict(participant)))
    plot.folder.mkdir(parents=True, exist_ok=True)
    builders = [WorkspaceBuilder(), StaticFileBuilder(config_folder="config", scheme="grpc"), CertBuilder()]
    with redirect_stdout(sys.stderr):
        Provisioner(str(plot.folder / "kits"), builders).provision(project)
    root = plot.folder / "kits" / PROJECT / "prod_00"
    kits = {str(participant["name"]): root / str(participant["name"]) for participant in participants}
    for name, kit in kits.items():
        if name != ADMIN:
            _settle(plot, name, kit / "local")
    return kits


def _settle(plot: Plot, name: str, local: Path) -> None:
    files: dict[str, Json] = {
        "comm_config.json": settings.communication(plot.max_frame_bytes),
        "log_config.json": settings.logging_config(),
        "resources.json": settings.server_resources(plot.classes, str(plot.folder / "storage"))
        if name == SERVER
        else settings.site_resources(plot.classes),
    }
    for file, content in files.items():
        (local / file).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _org(name: str) -> str:
    return "coordinator" if name in (SERVER, ADMIN) else "".join(letter for letter in name if letter.isalnum())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])
