"""The user's own CSV and Parquet files as batches of rows, so that no file is ever held whole."""

import hashlib
import io
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pharmonia.base.canonical import digest_file
from pharmonia.base.errors import DataFileError
from pharmonia.data.catalogue import unknown_name
from pharmonia.data.importing import Columns, RowBatch
from pharmonia.data.manifest import FileRecord
from pharmonia.run.csv_end import EndedCsv, csv_header, straddling_hint
from pharmonia.run.fetch import Progress

SUFFIXES = (".csv", ".csv.gz", ".parquet")

_CSV_BLOCK_BYTES = 2 << 20
_PARQUET_BATCH_ROWS = 1 << 14
_READING = "reading rows"


class RowFile:
    """A file of measurements, read once from start to end.

    Raises:
        DataFileError: It is missing, or its name ends in none of .csv, .csv.gz and .parquet.
    """

    def __init__(self, path: Path, columns: Columns, progress: Progress) -> None:
        if not path.is_file():
            raise DataFileError(f"there is no file {path}")
        if not path.name.lower().endswith(SUFFIXES):
            raise DataFileError(f"{path.name}: the name should end in one of {', '.join(SUFFIXES)}")
        self._path, self._columns, self._progress = path, columns, progress
        self._sha256 = ""

    @property
    def stem(self) -> str:
        """The file's name without its suffix."""
        suffix = next(suffix for suffix in SUFFIXES if self._path.name.lower().endswith(suffix))
        return self._path.name[: -len(suffix)]

    def batches(self) -> Iterator[RowBatch]:
        """The rows of the file.

        Raises:
            DataFileError: It is empty, damaged, ends inside a quoted field, or a column has no fitting type.
            UnknownNameError: It has no such column; lists those it has.
        """
        if self._path.stat().st_size == 0:
            raise DataFileError(f"{self._path.name} is empty")
        with _readable(self._path):
            yield from self._parquet() if self._path.suffix.lower() == ".parquet" else self._csv()

    def record(self) -> FileRecord:
        """The file by its bytes, for the manifest; for use after the last batch."""
        digest = self._sha256 or digest_file(self._path)
        return FileRecord(name=self._path.name, sha256=digest, n_bytes=self._path.stat().st_size)

    def _csv(self) -> Iterator[RowBatch]:
        header = csv_header(self._path)
        self._require(header)
        with self._path.open("rb") as raw:
            source = _Watched(raw, self._path.stat().st_size, self._progress)
            is_packed = self._path.suffix.lower() == ".gz"
            plain = pa.CompressedInputStream(pa.PythonFile(source, mode="r"), "gzip") if is_packed else source
            text = EndedCsv(plain, self._path.name, len(header))
            rows = _RowNumbers(text)
            reader = pa_csv.open_csv(
                pa.PythonFile(text, mode="r"),
                read_options=pa_csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK_BYTES),
                parse_options=pa_csv.ParseOptions(
                    invalid_row_handler=rows.skip, newlines_in_values=True, ignore_empty_lines=False
                ),
                convert_options=_csv_types(self._columns),
            )
            for batch in reader:
                yield rows.number(batch)
            yield rows.number(pa.RecordBatch.from_pylist([], schema=reader.schema), last=True)
            text.require_closed(self._path.name, rows.n_rows)
            self._sha256 = source.finish()

    def _parquet(self) -> Iterator[RowBatch]:
        file = pq.ParquetFile(self._path)
        self._require(file.schema_arrow.names)
        for column in self._columns.named():
            _require_type(self._path, file.schema_arrow.field(column), self._columns)
        first, total = 1, file.metadata.num_rows
        batches = file.iter_batches(_PARQUET_BATCH_ROWS, columns=self._columns.named(), use_threads=False)
        for batch in batches:
            rows = np.arange(first, first + batch.num_rows, dtype=np.int64)
            first += batch.num_rows
            yield RowBatch(rows=rows, fields=_plain(batch), malformed=())
            self._progress(_READING, first - 1, total)

    def _require(self, found: list[str]) -> None:
        for column in self._columns.named():
            if found.count(column) > 1:
                raise DataFileError(f"{self._path.name} has {found.count(column)} columns named {column!r}")
            if column not in found:
                raise unknown_name(f"column of {self._path.name}", column, found)


class _RowNumbers:
    """Numbers the rows of a CSV file, those that Arrow skips for their number of fields included."""

    def __init__(self, text: EndedCsv) -> None:
        self.n_rows = 0  # up to the last one numbered
        self._text = text
        self._next = 1
        self._skipped: deque[tuple[int, str]] = deque()

    def skip(self, row: pa_csv.InvalidRow) -> str:
        """Arrow's handler for a row of too many or too few fields; Arrow counts the header as row 1."""
        if not self._text.is_end(row):
            self._skipped.append((row.number - 1, row.text))
        return "skip"

    def number(self, batch: pa.RecordBatch, *, last: bool = False) -> RowBatch:
        """The batch with its rows' numbers and the skipped rows before its end."""
        skipped = np.array([row for row, _ in self._skipped], dtype=np.int64)
        plain = self._next + np.arange(batch.num_rows, dtype=np.int64)
        rows = plain + np.searchsorted(skipped - np.arange(skipped.size), plain, side="right")
        n_before = skipped.size if last or not rows.size else int(np.searchsorted(skipped, rows[-1]))
        malformed = tuple(self._skipped.popleft() for _ in range(n_before))
        if rows.size:
            self._next = int(rows[-1]) + 1
        self.n_rows = max(self.n_rows, self._next - 1, *(row for row, _ in malformed))
        return RowBatch(rows=rows, fields=batch, malformed=malformed)


class _Watched(io.RawIOBase):
    """A file whose bytes are hashed and reported while somebody else reads them."""

    def __init__(self, raw: io.BufferedIOBase, n_bytes: int, progress: Progress) -> None:
        super().__init__()
        self._raw, self._n_bytes, self._progress = raw, n_bytes, progress
        self._digest = hashlib.sha256()
        self._done = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        block = self._raw.read(size)
        self._digest.update(block)
        self._done += len(block)
        self._progress(_READING, self._done, self._n_bytes)
        return block

    def finish(self) -> str:
        """SHA-256 of the whole file."""
        while self.read(_CSV_BLOCK_BYTES):
            pass
        return self._digest.hexdigest()


def _csv_types(columns: Columns) -> pa_csv.ConvertOptions:
    types = dict.fromkeys(columns.named(), pa.dictionary(pa.int32(), pa.binary()))
    return pa_csv.ConvertOptions(
        include_columns=columns.named(),
        column_types={**types, columns.value: pa.binary()},
        null_values=[""],
        strings_can_be_null=True,
    )


def _require_type(path: Path, field: pa.Field, columns: Columns) -> None:
    types = pa.types
    kind = field.type.value_type if types.is_dictionary(field.type) else field.type
    checks = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    text = any(check(kind) for check in checks)
    integer = types.is_integer(kind) and field.name not in (columns.smiles, columns.sequence)
    number = (types.is_floating(kind) or types.is_decimal(kind)) and field.name == columns.value
    if not (text or integer or number):
        wanted = "numbers or text" if field.name == columns.value else "text"
        raise DataFileError(f"{path.name}: the column {field.name!r} is of {field.type}; it should be of {wanted}")


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = batch.columns
    decoded = [one.dictionary_decode() if pa.types.is_dictionary(one.type) else one for one in columns]
    return pa.RecordBatch.from_arrays(decoded, names=batch.schema.names)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        raise DataFileError(f"{path.name} cannot be read: {error}{straddling_hint(error)}") from error
