"""Tables of assays from the partner's own files, and folders of prepared tasks: written whole, verified when read."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pharmonia.base.canonical import digest_file
from pharmonia.base.errors import CacheError, DataFileError, InputError
from pharmonia.data.assays_rejects import RejectLog, RowReason
from pharmonia.data.assays_tables import VALUE, SourceTable
from pharmonia.data.manifest import FileRecord
from pharmonia.data.matrices import (
    ARRAYS,
    PreparedManifest,
    arrays_of,
    decode_prepared,
    decode_tasks,
    encode_tasks,
    prepared_from,
)
from pharmonia.data.recipe import Recipe
from pharmonia.data.tasks import PreparedTasks
from pharmonia.run.csv_end import EndedCsv, csv_header, straddling_hint
from pharmonia.run.files import cannot_write

MANIFEST, TASKS, RECIPE, REPORT = "manifest.json", "tasks.json", "recipe.json", "report.json"
REJECTED, COMPOUND_ROWS, CANDIDATES = "rejects.csv", "compounds.csv", "candidates.csv"

_SUFFIXES = (".csv", ".csv.gz", ".parquet")


def read_table(path: Path, log: RejectLog) -> SourceTable:
    """A table from a .csv, .csv.gz or .parquet file; rows of too many or too few fields are noted.

    Raises:
        DataFileError: It is missing, empty, damaged, of another type, ends inside a quoted field, or has two columns of
            one name.
    """
    name = path.name
    if not path.is_file():
        raise DataFileError(f"there is no file {path}")
    if not name.lower().endswith(_SUFFIXES):
        raise DataFileError(f"{name}: the name should end in one of {', '.join(_SUFFIXES)}")
    if path.stat().st_size == 0:
        raise DataFileError(f"{name} is empty")
    try:
        if name.lower().endswith(".parquet"):
            columns = pq.ParquetFile(path).read(use_threads=False)
            _require_distinct(name, columns.column_names)
            rows = np.arange(1, columns.num_rows + 1, dtype=np.int64)
            return SourceTable(name=name, columns=columns.unify_dictionaries().combine_chunks(), rows=rows)
        return _read_csv(path, log)
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        raise DataFileError(f"{name} cannot be read: {error}{straddling_hint(error)}") from error


def _read_csv(path: Path, log: RejectLog) -> SourceTable:
    names = csv_header(path)
    _require_distinct(path.name, names)
    skipped: list[tuple[int, str]] = []
    coded = pa.dictionary(pa.int32(), pa.binary())
    with pa.input_stream(path, compression="gzip" if path.name.lower().endswith(".gz") else None) as plain:
        text = EndedCsv(plain, path.name, len(names))

        def skip(row: pa_csv.InvalidRow) -> str:
            if not text.is_end(row):
                skipped.append((row.number - 1, row.text))  # Arrow counts the header as row 1
            return "skip"

        columns = pa_csv.read_csv(
            pa.PythonFile(text, mode="r"),
            read_options=pa_csv.ReadOptions(use_threads=False),
            parse_options=pa_csv.ParseOptions(
                invalid_row_handler=skip, newlines_in_values=True, ignore_empty_lines=False
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types={name: pa.binary() if name == VALUE else coded for name in names},
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    wrong = np.array([number for number, _ in skipped], dtype=np.int64)
    text.require_closed(path.name, columns.num_rows + wrong.size)
    rows = np.setdiff1d(np.arange(1, columns.num_rows + wrong.size + 1, dtype=np.int64), wrong)
    texts = pa.array([row[:200] for _, row in skipped], pa.string())
    explanation = "the row has more or fewer fields than the header"
    log.add(path.name, wrong, RowReason.FIELD_COUNT, explanation, texts)
    return SourceTable(name=path.name, columns=columns.unify_dictionaries().combine_chunks(), rows=rows)


def _require_distinct(name: str, columns: Sequence[str]) -> None:
    if not any(column.strip() for column in columns):
        raise DataFileError(f"{name} has no header: its first line should name the columns")
    twice = {column for column in columns if columns.count(column) > 1}
    if twice:
        raise DataFileError(f"{name} has two columns named {min(twice)!r}")


def write_prepared(
    folder: Path, prepared: PreparedTasks, recipe: Recipe, others: Mapping[str, bytes | pa.Table]
) -> None:
    """Write a folder of prepared tasks, complete or not at all; one that is there is replaced.

    That one is moved aside before the new one takes its place, and removed after: a process killed between leaves both
    beside the place, under hidden names.

    Args:
        folder: Where.
        prepared: The tasks.
        recipe: How they were prepared.
        others: Reports and tables beside them, by file name.

    Raises:
        DiskFullError: There is no room for it.
        InputError: The folder cannot be written.
    """
    folder = folder.resolve()
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(mode=0o700, parents=True)
        for name, array in arrays_of(prepared).items():
            np.save(partial / f"{name}.npy", array, allow_pickle=False)
        (partial / TASKS).write_bytes(encode_tasks(prepared.tasks))
        (partial / RECIPE).write_bytes(recipe.encode())
        for name, content in others.items():
            if isinstance(content, bytes):
                (partial / name).write_bytes(content)
            else:
                pa_csv.write_csv(content, partial / name)
        files = tuple(
            FileRecord(name=path.name, sha256=digest_file(path), n_bytes=path.stat().st_size)
            for path in sorted(partial.iterdir())
        )
        manifest = PreparedManifest(
            recipe=recipe,
            n_columns=prepared.features.n_columns,
            n_compounds=prepared.n_compounds,
            n_labels=len(prepared.labels),
            files=files,
        )
        (partial / MANIFEST).write_bytes(manifest.encode())
        _put(partial, folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _put(made: Path, folder: Path) -> None:
    """Move a folder to its place; what was there stays unless that succeeds."""
    if not folder.exists():
        made.rename(folder)
        return
    old = folder.with_name(f".{folder.name}.{os.getpid()}.replaced")
    folder.rename(old)
    try:
        made.rename(folder)
    finally:
        if not folder.exists():
            old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def read_prepared_manifest(folder: Path) -> PreparedManifest:
    """What a folder of prepared tasks holds.

    Raises:
        InputError: It is no such folder.
        CacheError: Its manifest is damaged.
    """
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{folder} holds no prepared tasks: {path.name} cannot be read") from error
    return decode_prepared(content, str(path))


def verify_prepared(folder: Path, manifest: PreparedManifest) -> None:
    """Nothing, if every file has the digest that the manifest states.

    Raises:
        CacheError: One is missing or has another; names it.
    """
    for record in manifest.files:
        path = folder / record.name
        found = digest_file(path) if path.is_file() else "no file"
        if found != record.sha256:
            raise CacheError(f"{path} is damaged: its SHA-256 should be {record.sha256}, found {found}; prepare again")


def open_prepared(folder: Path, wanted: Recipe | None = None) -> PreparedTasks:
    """The prepared tasks of a folder, verified, their arrays mapped from the disk.

    Args:
        folder: What `write_prepared` wrote.
        wanted: The consortium's recipe; None to take any.

    Raises:
        InputError: It is no such folder.
        CacheError: A file is damaged.
        RecipeError: They were prepared under another recipe; names the differences.
    """
    manifest = read_prepared_manifest(folder)
    if wanted is not None:
        manifest.recipe.require_same(wanted)
    verify_prepared(folder, manifest)
    try:
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS}
        tasks = decode_tasks((folder / TASKS).read_bytes(), str(folder / TASKS))
    except (OSError, ValueError) as error:
        raise CacheError(f"{folder} is damaged: {error}; prepare again") from error
    return prepared_from(manifest, arrays, tasks)
