"""Where services and trials can work: paths, copies, one service to a kit, the server's port, no proxy."""

import io
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_cases import ENGINE
from governance_cases import NOW, founded
from pharmonia.base.errors import EngineError, InputError, ServiceBusyError
from pharmonia.bench.workplace import default_place
from pharmonia.cli.operations import make_trial, read_trial
from pharmonia.deploy.folder import make_kit
from pharmonia.deploy.posts import SERVER as SERVER_POST
from pharmonia.deploy.posts import SITE, Address, Post
from pharmonia.deploy.workspace import workspace_files
from pharmonia.engines.nvflare.federation_state import Phase, ServiceState, read_state, serving, write_state
from pharmonia.engines.nvflare.service import Service
from pharmonia.engines.nvflare.supervisor import (
    CONSOLE,
    LAST_CONSOLE,
    Endurance,
    Kind,
    Station,
    Supervised,
    direct,
    require_free,
)
from pharmonia.governance.plan import Tier
from pharmonia.run.plainpaths import require_plain
from pharmonia.run.servicelog import ServiceLog
from pharmonia.run.site_config import read_coordinator
from pharmonia.run.store import RunStore
from site_cases import settings
from test_operations_supervisor import Quick

NOT_PLAIN = ["a b", "h#1", "it's", 'a"b', "a\\b", "tab\tbed"]
HOST = "fl.dynamo.example"


# Paths that NVFlare would take apart


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_a_path_that_nvflare_takes_apart_is_refused_with_the_remedy(name: str) -> None:
    with pytest.raises(InputError, match="a space, a quote, a backslash or a #; move it"):
        require_plain(Path("/srv") / name / "kit")


def test_other_paths_are_taken() -> None:
    for name in ("q?1", "é", "a*b", "a$b", "a;b", "a&b", "(x)", "100%"):
        require_plain(Path("/srv") / name)


def station(folder: Path, kind: Kind = Kind.SITE, port: int = 1) -> Station:
    (folder / "kit" / kind.value).mkdir(parents=True, exist_ok=True)
    return Station(kind=kind, partner="acme", folder=folder, kit=folder / "kit", host="localhost", port=port)


def test_a_process_is_not_started_where_no_job_of_it_could_be(tmp_path: Path) -> None:
    process = Supervised(station(tmp_path / "a b"))
    with pytest.raises(InputError, match="a b"):
        process.start()
    assert process.pid == 0


def test_a_kit_is_not_made_where_it_cannot_run(tmp_path: Path) -> None:
    (tmp_path / "my kit").mkdir()
    with pytest.raises(InputError, match=r"NVFlare can start no job in .*my kit"):
        make_kit(tmp_path / "my kit", founded(), None, None, ENGINE, NOW)


def refused_trial(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        make_trial(folder, settings(), Tier.COMMIT_THEN_MASK, {}, NOW)
    return str(caught.value)


def test_a_trial_is_not_made_where_it_cannot_run(tmp_path: Path) -> None:
    assert "NVFlare can start no job" in refused_trial(tmp_path / "it's")
    assert list(tmp_path.iterdir()) == []


def test_a_trial_is_not_made_in_the_place_of_the_folder_that_we_are_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (Path(), tmp_path, Path("..") / tmp_path.name):
        assert "is the folder that you are in; name a new one" in refused_trial(folder)
    assert tmp_path.is_dir()
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    assert "is not empty" in refused_trial(tmp_path)


def test_a_trial_is_not_made_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert "file cannot be a trial's folder: Not a directory" in refused_trial(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(InputError, match="file holds no trial"):
        read_trial(tmp_path / "file")


def test_a_trial_is_looked_for_in_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(InputError, match="is the folder that you are in still there"):
        read_trial(Path())
    assert "is the folder that you are in still there" in refused_trial(Path())


# The store


@pytest.mark.parametrize("name", ["q?1", "a%20b", "h#1", "é", "a b"])
def test_a_store_lies_in_its_folder_whatever_that_is_called(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    place = default_place(home / "out")
    RunStore(place.url, place.folder)
    (home / "coordinator.toml").write_text(
        'partner = "dynamo"\nkey = "k"\nagreement = "a"\nplan = "p"\nledger = "l"\ncheckpoint_every_s = 0\n'
        'store_url = "sqlite:///store/runs.sqlite"\nstore_folder = "store"\n'
    )
    config = read_coordinator(home)
    RunStore(config.store_url, config.store_folder)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert set(home.rglob("*.sqlite")) == {home / "out" / "runs.sqlite", home / "store" / "runs.sqlite"}


# A state in a copy


def served(folder: Path) -> ServiceState:
    folder.mkdir()
    own = ServiceState(partner="acme", phase=Phase.CONNECTED, pid=os.getpid(), started=psutil.Process().create_time())
    write_state(folder, own)
    return own


def test_the_service_of_a_folder_is_not_that_of_a_copy(tmp_path: Path) -> None:
    own = served(tmp_path / "trial")
    shutil.copytree(tmp_path / "trial", tmp_path / "copy")
    copied, first = read_state(tmp_path / "copy"), read_state(tmp_path / "trial")
    assert copied is not None
    assert (copied.process(), copied.phase) == (None, Phase.CONNECTED)
    assert first == own
    assert own.process() is not None


def test_a_folder_that_was_moved_keeps_its_service(tmp_path: Path) -> None:
    own = served(tmp_path / "trial")
    (tmp_path / "trial").rename(tmp_path / "moved")
    assert read_state(tmp_path / "moved") == own
    assert not (tmp_path / "trial").exists()


def test_a_state_of_an_earlier_version_names_no_folder(tmp_path: Path) -> None:
    own = served(tmp_path / "trial")
    path = tmp_path / "trial" / "service.json"
    tree = json.loads(path.read_bytes())
    assert tree.pop("folder") == str((tmp_path / "trial").resolve())
    path.write_text(json.dumps(tree))
    assert read_state(tmp_path / "trial") == own


# One service to a kit, and to a port


@contextmanager
def listening() -> Iterator[int]:
    """A port that somebody has; as gRPC does, he would let others listen there too."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield int(other.getsockname()[1])


def service(place: Station, n_faults: int = 5) -> tuple[Service, io.StringIO]:
    stream = io.StringIO()
    log = ServiceLog(stream, "acme", lambda: NOW)
    return Service(place, Endurance(n_faults=n_faults, first_wait_s=0.0), log, Quick()), stream


def told(stream: io.StringIO) -> list[tuple[str, str]]:
    return [(line["event"], line["level"]) for line in map(json.loads, stream.getvalue().splitlines())]


def test_a_kit_is_served_once_from_whatever_folder(tmp_path: Path) -> None:
    place = station(tmp_path / "one")
    (tmp_path / "two").mkdir()
    second, stream = service(replace(place, folder=tmp_path / "two"))
    with (
        serving(place.folder),
        serving(place.workspace),
        pytest.raises(ServiceBusyError, match="kit/site is served by another process"),
        second.alive(),
    ):
        pass
    assert stream.getvalue() == ""


def test_a_port_is_taken_while_somebody_listens_and_not_by_ended_connections() -> None:
    with listening() as port:
        for host in ("localhost", "127.0.0.1", HOST):
            with pytest.raises(ServiceBusyError, match=f"listens on port {port}.*--server HOST:PORT"):
                require_free(host, port)
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("127.0.0.1", 0))
            server.listen()
            waiting = int(server.getsockname()[1])
            with socket.create_connection(("127.0.0.1", waiting)) as client:
                accepted, _ = server.accept()
                accepted.close()  # this end closes first, and waits
                client.recv(1)
    states = {one.status for one in psutil.net_connections("tcp") if one.laddr and one.laddr.port == waiting}
    assert states == {psutil.CONN_TIME_WAIT}
    require_free("localhost", waiting)
    require_free("localhost", port)


def test_a_service_says_at_once_that_the_server_s_port_is_taken(tmp_path: Path) -> None:
    with listening() as port:
        busy, stream = service(station(tmp_path, Kind.SERVER, port))
        with pytest.raises(ServiceBusyError, match=f"port {port}"), busy.alive():
            pass
    assert told(stream) == [("service.started", "info"), ("port.busy", "error"), ("service.stopped", "info")]


def test_a_site_needs_no_port(tmp_path: Path) -> None:
    with listening() as port:
        process = Supervised(station(tmp_path, Kind.SITE, port))
        process.start()
        process.stop()


class Ended(Supervised):
    """A process that has ended."""

    def exit_code(self) -> int:
        return -9


def test_a_server_whose_port_was_taken_after_a_fault_is_tried_again_as_often_as_after_others(tmp_path: Path) -> None:
    with listening() as port:
        place = station(tmp_path, Kind.SERVER, port)
        again, stream = service(place, n_faults=3)
        again._process = cast("Supervised", Ended(place))
        with pytest.raises(EngineError, match="4 faults within"):
            again.revive()
    assert told(stream) == [
        ("process.ended", "warning"),
        ("port.busy", "warning"),
        ("port.busy", "warning"),
        ("service.given-up", "error"),
    ]
    assert again.state.n_restarts == 0


def test_what_the_process_before_said_is_kept(tmp_path: Path) -> None:
    place = station(tmp_path)
    (place.workspace / CONSOLE).write_text("Address already in use\n")
    process = Supervised(place)
    process.start()
    process.stop()
    assert (place.workspace / LAST_CONSOLE).read_text() == "Address already in use\n"


# No proxy


@given(
    listed=st.lists(st.sampled_from(["a.example", " b.example", ""])),
    name=st.sampled_from(["no_grpc_proxy", "no_proxy"]),
)
def test_grpc_asks_no_proxy_for_the_server_nor_for_whom_it_asked_none_before(listed: list[str], name: str) -> None:
    before = {"https_proxy": "http://proxy:3128", name: ",".join(listed)}
    after = direct(before, HOST)
    assert {**after, **before, "no_grpc_proxy": ""} == {**before, "no_grpc_proxy": ""}
    names = after["no_grpc_proxy"].split(",")
    assert names == [one.strip() for one in listed if one.strip()] + [HOST]
    assert direct(after, HOST) == after


# NVFlare's process alone


def started(folder: Path, post: Post, environment: dict[str, str], cwd: Path) -> "subprocess.CompletedProcess[str]":
    """What a kit's start file hands over to a Python that only prints it."""
    files = workspace_files(post, "aurora", "acme", "dynamo", ("dynamo",), Address(host=HOST, port=8002), ENGINE)
    script, python = folder / "startup" / "start.sh", cwd / "python"
    script.parent.mkdir(parents=True)
    script.write_bytes(files["startup/start.sh"])
    python.write_text(f'#!/bin/sh\nprintf "%s|%s|%s" "${post.data_variable}" "$no_grpc_proxy" "$4"\n')
    python.chmod(0o700)
    return subprocess.run(
        ["/bin/sh", str(script)],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "PHARMONIA_PYTHON": "./python", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("post", [SITE, SERVER_POST])
@pytest.mark.parametrize("given", ["data", "./data", "/srv/data", ""])
def test_a_folder_given_to_the_start_file_is_taken_from_where_we_are(tmp_path: Path, post: Post, given: str) -> None:
    kit = tmp_path / "kit" / post.folder
    environment = {post.data_variable: given, "no_proxy": "a.example"} if given else {}
    said = started(kit, post, environment, tmp_path)
    folder, proxies, workspace = said.stdout.split("|")
    assert folder == (str(tmp_path / given) if given == "/srv/data" else f"{tmp_path}/{given}" if given else "")
    assert proxies == ("a.example" if given else "") + f",{HOST}"
    assert workspace == str(kit)


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_the_start_file_refuses_a_kit_in_which_no_job_could_start(tmp_path: Path, name: str) -> None:
    said = started(tmp_path / name, SITE, {}, tmp_path)
    assert (said.returncode, said.stdout) == (2, "")
    assert f"{name}: NVFlare can start no job in a path with a space" in said.stderr
