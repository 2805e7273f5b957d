"""The store of runs: one row per run and per round in a database, arrays in files beside it."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from pharmonia.base.canonical import Json, canonical_json
from pharmonia.base.errors import DiskFullError, InputError, StoreError
from pharmonia.base.urls import without_passwords
from pharmonia.learn.algorithms import Selection
from pharmonia.run.arrayfile import read_arrays, write_arrays
from pharmonia.run.files import cannot_write
from pharmonia.run.records import RoundRecord, TrainedModel

_POSTGRES_DISK_FULL = "53100"
_SQLITE = "sqlite:///"  # and a path as it stands
_metadata = sa.MetaData()

_runs = sa.Table(
    "runs",
    _metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("settings", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("model_digest", sa.String(64)),
)

_rounds = sa.Table(
    "rounds",
    _metadata,
    sa.Column("run_id", sa.String(64), sa.ForeignKey("runs.run_id"), primary_key=True),
    sa.Column("round_index", sa.Integer, primary_key=True),
    sa.Column("valid_error", sa.Double, nullable=False),
    sa.Column("train_loss", sa.Double, nullable=False),
    sa.Column("aggregate_digest", sa.String(64), nullable=False),
    sa.Column("bytes_to_partners", sa.BigInteger, nullable=False),
    sa.Column("bytes_from_partners", sa.BigInteger, nullable=False),
    sa.Column("wall_s", sa.Double, nullable=False),
    sa.Column("cpu_s", sa.Double, nullable=False),
    sa.Column("n_clipped", sa.BigInteger, nullable=False),
    sa.Column("sum_error", sa.Double),
)

_homes = sa.Table(  # of one row at most, and not in stores of those who never say where their arrays are
    "homes",
    sa.MetaData(),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("folder", sa.Text, nullable=False),
)


class RunStatus(StrEnum):
    """How far a run is."""

    RUNNING = "running"  # or killed: only a new start can tell
    FINISHED = "finished"


def _parsed(url: str) -> sa.URL:
    """A URL; SQLAlchemy would end a file's path at a question mark, and put the store beside the folder meant."""
    return sa.URL.create("sqlite", database=url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else sa.make_url(url)


def absolute_url(url: str) -> str:
    """The URL, with the whole path of its file where it is SQLite's: the same store from whatever folder it is named.

    Raises:
        InputError: It is no URL of a database, or one that ends with its process.
    """
    try:
        parsed = _parsed(url)
    except SQLAlchemyError as error:
        raise InputError(f"the store cannot be opened: {_reason(error)}") from error
    if parsed.get_backend_name() != "sqlite" or parsed.query:
        return url
    if not parsed.database:
        raise InputError(f"{_named(parsed)} keeps nothing: it names no file, as in sqlite:///runs.sqlite")
    return f"{_SQLITE}{Path(parsed.database).resolve()}"


def address_of(url: str) -> str:
    """What tells one store from another: its absolute URL without driver, user and password.

    Raises:
        InputError: As `absolute_url`.
    """
    parsed = _parsed(absolute_url(url))
    if parsed.get_backend_name() == "sqlite":
        return f"{_SQLITE}{parsed.database}"
    server = sa.URL.create(
        parsed.get_backend_name(), host=parsed.host, port=parsed.port, database=parsed.database, query=parsed.query
    )
    return without_passwords(server.render_as_string())


def _make_tables(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for table in _metadata.sorted_tables:
            connection.execute(sa.schema.CreateTable(table, if_not_exists=True))


def _require_our_tables(engine: sa.Engine, name: str) -> None:
    """Refuse a store whose tables are of another version.

    Raises:
        StoreError: They are; names a column.
    """
    inspector = sa.inspect(engine)
    for table in _metadata.sorted_tables:
        found = {column["name"] for column in inspector.get_columns(table.name)}
        ours = set(table.c.keys())
        if differ := [*sorted(ours - found), *sorted(found - ours)]:
            has = "has a" if differ[0] in found else "has no"
            raise StoreError(
                f"{name} was written by another version of pharmonia: its table {table.name} {has} column {differ[0]}; "
                "choose another store, or go on with that version"
            )


def is_store(url: str) -> bool:
    """Whether a database is there and holds a store; makes neither.

    Raises:
        InputError: The database cannot be opened.
    """
    name = "the store"
    try:
        parsed = _parsed(url)
        name = _named(parsed)
        if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
            return False
        engine = sa.create_engine(parsed)
        try:
            return sa.inspect(engine).has_table(_runs.name)
        finally:
            engine.dispose()
    except (SQLAlchemyError, ModuleNotFoundError, OSError) as error:
        raise InputError(f"{name} cannot be opened: {_reason(error)}") from error


class RunStore:
    """Runs, rounds, metrics and digests in a database; models and checkpoints in files.

    Several processes may write different runs at once.
    """

    def __init__(self, url: str, folder: Path) -> None:
        """Open or create the store.

        Args:
            url: An SQLAlchemy URL, such as postgresql+psycopg://user@host/runs, or sqlite:/// and a file's path, in
                which no letter has a meaning of its own.
            folder: Where arrays go, one sub-folder per run.

        Raises:
            InputError: The database cannot be opened.
            StoreError: Its tables are of another version.
        """
        self._folder = folder
        self._name = "the store"
        try:
            parsed = _parsed(url)
            self._name = _named(parsed)
            arguments = {}
            if parsed.get_backend_name() == "sqlite":
                arguments["timeout"] = 60
                Path(parsed.database or "").parent.mkdir(parents=True, exist_ok=True)
            self._engine = sa.create_engine(parsed, connect_args=arguments, pool_pre_ping=True)
            self._open()
        except (SQLAlchemyError, ModuleNotFoundError, OSError) as error:
            raise InputError(f"{self._name} cannot be opened: {_reason(error)}") from error

    def _open(self) -> None:
        try:
            _make_tables(self._engine)
        except SQLAlchemyError:  # PostgreSQL's "if not exists" fails where another process makes them at once
            try:
                _make_tables(self._engine)
            except SQLAlchemyError:
                self.close()
                raise
        try:
            _require_our_tables(self._engine, self._name)
        except StoreError:
            self.close()
            raise

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        """All of what is done within, or nothing."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            if _is_full(error):
                raise DiskFullError(f"{self._name} has no room: {_reason(error)}") from error
            raise StoreError(f"{self._name} failed: {_reason(error)}; the same command goes on from there") from error

    def close(self) -> None:
        """Give back the connections that it keeps for the next question."""
        self._engine.dispose()

    def folder(self, run_id: str) -> Path:
        """Where a run keeps its arrays."""
        return self._folder / run_id

    def home(self) -> Path | None:
        """The folder that `settle` noted; None if it never did."""
        with self._transaction() as connection:
            if not sa.inspect(connection).has_table(_homes.name):
                return None
            found = connection.execute(sa.select(_homes.c.folder)).scalar_one_or_none()
        return None if found is None else Path(found)

    def settle(self, before: Path | None) -> None:
        """Note that the arrays of these runs are in our folder.

        Args:
            before: What `home` said; of two who settle at once, one fails.

        Raises:
            StoreError: The store is no longer there, or it has another home by now.
        """
        with self._transaction() as connection:
            connection.execute(sa.schema.CreateTable(_homes, if_not_exists=True))
            if before is not None:
                connection.execute(_homes.delete().where(_homes.c.folder == str(before)))
            connection.execute(_homes.insert().values(number=0, folder=str(self._folder)))

    def open_run(self, run_id: str, settings: Json, now: datetime) -> RunStatus:
        """Register a run, or find it with the same settings.

        Raises:
            StoreError: The run exists with other settings.
        """
        text = canonical_json(settings).decode()
        with self._transaction() as connection:
            row = connection.execute(sa.select(_runs).where(_runs.c.run_id == run_id)).one_or_none()
            if row is None:
                status = RunStatus.RUNNING
                connection.execute(_runs.insert().values(run_id=run_id, status=status, settings=text, created_at=now))
                return status
        if row.settings != text:
            raise StoreError(f"run {run_id} is in the store with other settings")
        return RunStatus(row.status)

    def add_round(self, run_id: str, record: RoundRecord) -> None:
        """Record a finished and validated round."""
        values = {column.name: getattr(record, column.name) for column in _rounds.c if column.name != "run_id"}
        with self._transaction() as connection:
            connection.execute(_rounds.insert().values(run_id=run_id, **values))

    def drop_rounds(self, run_id: str, *, from_round: int) -> None:
        """Forget rounds that a resumed run will repeat."""
        after = (_rounds.c.run_id == run_id) & (_rounds.c.round_index >= from_round)
        with self._transaction() as connection:
            connection.execute(_rounds.delete().where(after))

    def rounds(self, run_id: str) -> tuple[RoundRecord, ...]:
        """A run's rounds, in order."""
        fields = [column for column in _rounds.c if column.name != "run_id"]
        query = sa.select(*fields).where(_rounds.c.run_id == run_id).order_by(_rounds.c.round_index)
        with self._transaction() as connection:
            return tuple(RoundRecord(**row._mapping) for row in connection.execute(query))

    def finish(self, run_id: str, model: TrainedModel) -> None:
        """Keep the best model and mark the run finished; the file is in place before the mark is."""
        selection = model.selection
        meta = {"best_round": selection.best_round, "best_error": selection.best_error, "n_waited": selection.n_waited}
        write_arrays(self._model_file(run_id), {"parameters": model.parameters}, meta)
        digest = next((r.aggregate_digest for r in model.rounds if r.round_index == selection.best_round), None)
        with self._transaction() as connection:
            connection.execute(
                _runs.update().where(_runs.c.run_id == run_id).values(status=RunStatus.FINISHED, model_digest=digest)
            )

    def finish_without_model(self, run_id: str) -> None:
        """Mark a run finished that leaves nothing but predictions."""
        with self._transaction() as connection:
            connection.execute(_runs.update().where(_runs.c.run_id == run_id).values(status=RunStatus.FINISHED))

    def reopen(self, run_id: str) -> None:
        """Forget a finished run's rounds and model, so that it is made again from its beginning.

        What is left of its arrays goes first: whoever is killed in between finds a finished run without a model.

        Raises:
            InputError: They cannot be removed.
        """
        try:
            if self.folder(run_id).exists():
                shutil.rmtree(self.folder(run_id))
        except OSError as error:
            raise cannot_write(self.folder(run_id), error) from error
        with self._transaction() as connection:
            connection.execute(_rounds.delete().where(_rounds.c.run_id == run_id))
            connection.execute(
                _runs.update().where(_runs.c.run_id == run_id).values(status=RunStatus.RUNNING, model_digest=None)
            )

    def has_model(self, run_id: str) -> bool:
        """Whether the file of a run's model is there; it may be damaged."""
        return self._model_file(run_id).exists()

    def finished(self) -> frozenset[str]:
        """Ids of all finished runs."""
        query = sa.select(_runs.c.run_id).where(_runs.c.status == RunStatus.FINISHED)
        with self._transaction() as connection:
            return frozenset(connection.execute(query).scalars())

    def model(self, run_id: str) -> TrainedModel:
        """The best model of a finished run.

        Raises:
            StoreError: The file is missing or damaged.
        """
        arrays, meta = read_arrays(self._model_file(run_id))
        return TrainedModel(parameters=arrays["parameters"], selection=Selection(**meta), rounds=self.rounds(run_id))

    def _model_file(self, run_id: str) -> Path:
        return self.folder(run_id) / "model.safetensors"


def _named(url: sa.URL) -> str:
    return f"the store {without_passwords(url.render_as_string(hide_password=True))}"


def _is_full(error: Exception) -> bool:
    """Whether the database's disk is full, in the words of SQLite or of PostgreSQL."""
    origin = getattr(error, "orig", None)
    is_sqlite_full = getattr(origin, "sqlite_errorcode", None) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
    return is_sqlite_full or getattr(origin, "sqlstate", None) == _POSTGRES_DISK_FULL


def _reason(error: Exception) -> str:
    """What the database said, without our statements and values."""
    origin = getattr(error, "orig", None) or error
    return str(origin).strip().splitlines()[0] if str(origin).strip() else type(origin).__name__
