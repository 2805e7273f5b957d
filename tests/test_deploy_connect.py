"""Kits started for real: a server and its sites find each other with mutual TLS; who does not belong is turned away.

One server and four sites, started at once and all ended with the module: two whose kits are right, one whose partner
has left, and one with a certificate of another authority. The server's own policy is made lax, so that what a site
refuses, it refuses itself.
"""

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from nvflare.fuel.flare_api.api_spec import NoConnection
from nvflare.fuel.flare_api.flare_api import Session, new_secure_session

from deploy_cases import ENGINE, make_authority, make_folder, without_cygnus
from pharmonia.deploy.folder import make_kit
from pharmonia.deploy.posts import Address
from pharmonia.engines.nvflare.job import Job, write_job
from pharmonia.governance.terms import Role
from pharmonia.run.files import write_whole

OPERATOR = "operator@dynamo.pharmonia"
WITHIN_S = 240.0  # this machine may be busy


@dataclass(frozen=True)
class Running:
    """What was started, by name."""

    root: Path
    port: int
    processes: dict[str, "subprocess.Popen[bytes]"]
    session: Session

    def tree(self, name: str) -> list[psutil.Process]:
        top = psutil.Process(self.processes[name].pid)
        return [top, *top.children(recursive=True)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(workspace: Path) -> "subprocess.Popen[bytes]":
    no_way_out = dict.fromkeys(("https_proxy", "http_proxy"), "http://127.0.0.1:9")  # a proxy that is not there
    environment = {**os.environ, **no_way_out, "PHARMONIA_PYTHON": sys.executable}
    with (workspace / "console.txt").open("wb") as console:
        return subprocess.Popen(
            ["/bin/sh", str(workspace / "startup/start.sh")],
            env=environment,
            stdout=console,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def stop(processes: dict[str, "subprocess.Popen[bytes]"]) -> None:
    for process in processes.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def make_kits(root: Path, port: int) -> dict[str, Path]:
    """Workspaces by name."""
    here = Address(host="localhost", port=port)
    now = datetime.now(UTC).replace(microsecond=0)  # those who connect look at the clock
    authority = make_authority(root / "authority", now)
    sites = {
        partner: make_folder(root, authority, partner, Role.DATA_OWNER, here, now) / "site"
        for partner in ("acme", "borealis", "cygnus")
    }
    server = make_folder(root, authority, "dynamo", Role.COORDINATOR, here, now)
    make_kit(server, without_cygnus(), None, None, ENGINE, now)
    (root / "false").mkdir()
    false = make_authority(root / "false" / "authority", now)
    sites["stranger"] = make_folder(root / "false", false, "borealis", Role.DATA_OWNER, here, now) / "site"
    lax = server / "server/local/authorization.json"
    write_whole(lax, lax.read_bytes().replace(b'"byoc": "none"', b'"byoc": "any"'))
    return {"server": server / "server", "operator": server / "operator", **sites}


def log_in(kit: Path) -> Session:
    until = time.monotonic() + WITHIN_S
    while True:
        try:
            return new_secure_session(OPERATOR, str(kit), timeout=5.0, auto_login_max_tries=1)
        except NoConnection:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def connected(session: Session) -> set[str]:
    return {client.name for client in session.get_connected_client_list()}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Everything started, and both right sites connected."""
    root, port = tmp_path_factory.mktemp("connect"), free_port()
    kits = make_kits(root, port)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    session: Session | None = None
    try:
        for name, workspace in kits.items():
            if name != "operator":
                processes[name] = start(workspace)
        session = log_in(kits["operator"])
        until = time.monotonic() + WITHIN_S
        while not {"acme", "borealis"} <= connected(session) and time.monotonic() < until:
            time.sleep(0.2)
        yield Running(root=root, port=port, processes=processes, session=session)
    finally:
        if session is not None:
            with contextlib.suppress(Exception):  # its threads live on if it is not closed before its server goes
                session.close()
        stop(processes)


def said(running: Running, workspace: str) -> str:
    return "".join(path.read_text(errors="replace") for path in (running.root / workspace).glob("*.txt"))


def wait_for(running: Running, workspace: str, words: str) -> None:
    until = time.monotonic() + WITHIN_S
    while words not in said(running, workspace) and time.monotonic() < until:
        time.sleep(0.2)
    assert words in said(running, workspace)


def test_sites_of_the_agreement_register_and_nobody_else(running: Running) -> None:
    wait_for(running, "dynamo-coordinator/server", "Reject disabled client registration: cygnus")
    assert connected(running.session) == {"acme", "borealis"}


def answer(running: Running, certificates: Path | None) -> bytes:
    """What the server says to somebody who begins to speak HTTP/2 under this certificate."""
    context = ssl.create_default_context(cafile=str(running.root / "borealis-data-owner/site/startup/rootCA.pem"))
    context.set_alpn_protocols(["h2"])
    if certificates:
        context.load_cert_chain(certificates / "client.crt", certificates / "client.key")
    heard = b""
    with contextlib.suppress(ssl.SSLError, ConnectionError), contextlib.ExitStack() as stack:
        plain = stack.enter_context(socket.create_connection(("localhost", running.port), timeout=10))
        secured = stack.enter_context(context.wrap_socket(plain, server_hostname="localhost"))
        secured.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        heard = secured.recv(1024)
    return heard


def test_the_server_answers_certificates_of_its_authority_alone(running: Running) -> None:
    assert answer(running, running.root / "borealis-data-owner/site/startup")
    assert answer(running, running.root / "false/borealis-data-owner/site/startup") == b""
    assert answer(running, None) == b""


def test_a_site_trusts_no_server_of_another_authority(running: Running) -> None:
    context = ssl.create_default_context(cafile=str(running.root / "false/authority/authority.pem"))
    with (
        socket.create_connection(("localhost", running.port), timeout=10) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(plain, server_hostname="localhost")


def test_a_site_opens_one_connection_out_and_listens_to_its_own_machine_only(running: Running) -> None:
    found = [one for process in running.tree("borealis") for one in process.net_connections("inet")]
    outward = {(one.raddr.ip.removeprefix("::ffff:"), one.raddr.port) for one in found if one.status == "ESTABLISHED"}
    assert outward == {("127.0.0.1", running.port)}
    assert {one.laddr.ip for one in found if one.status == "LISTEN"} <= {"127.0.0.1"}


def test_the_operator_has_no_shell_at_a_site_and_cannot_operate_it(running: Running) -> None:
    for command in ("ls borealis", "cat borealis log.txt", "sys_info client borealis", "restart client borealis"):
        answer = json.dumps(running.session.api.do_command(command), default=str)
        assert "is not authorized for" in answer, command
    assert {"acme", "borealis"} <= connected(running.session)


def finished(session: Session, job: str) -> dict[str, object]:
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        meta: dict[str, object] = session.get_job_meta(job)
        if str(meta.get("status")).startswith("FINISHED"):
            return meta
        time.sleep(0.2)
    pytest.fail("the job did not end")


def job_with(folder: Path, executor: str) -> Path:
    """A job of ours but for its executor."""
    controller = "pharmonia.engines.nvflare.conduct_seat.SeatController"
    job = Job(run="run", partners=("acme", "borealis"), controller=controller, executor=executor, n_needed=2)
    return write_job(job, folder)


def test_a_site_runs_no_code_that_is_sent_to_it_even_by_a_server_that_would(running: Running, tmp_path: Path) -> None:
    folder = job_with(tmp_path, "pharmonia.engines.nvflare.executor.PartyExecutor")
    write_whole(folder / "app/custom/evil.py", b"import os\n")
    meta = finished(running.session, running.session.submit_job(str(folder)))
    assert meta["status"] == "FINISHED:FAILED_TO_RUN"
    told = str(meta["job_deploy_detail"])
    assert "server: OK" in told
    assert "acme: NVFLARE_ERROR: BYOC not permitted" in told
    assert "borealis: NVFLARE_ERROR: BYOC not permitted" in told


def test_a_site_runs_no_class_but_ours(running: Running, tmp_path: Path) -> None:
    folder = job_with(tmp_path, "nvflare.app_common.np.np_trainer.NPTrainer")
    meta = finished(running.session, running.session.submit_job(str(folder)))
    assert meta["status"] != "FINISHED:COMPLETED"
    logs = "".join(path.read_text(errors="replace") for path in running.root.glob("*-data-owner/site/*/log.txt"))
    assert "Component 'nvflare.app_common.np.np_trainer.NPTrainer' at config path" in logs
    assert "is not in allow_list" in logs
