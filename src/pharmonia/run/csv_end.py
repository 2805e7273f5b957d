"""The user's CSV files with a row after their last one: where a quote is not closed, that row is never seen.

Arrow takes what follows such a quote for one long field, and says nothing. Looking for the row behind the end finds
that without reading the file a second time.
"""

import csv
import gzip
import io
from pathlib import Path
from typing import Protocol

import pyarrow.csv as pa_csv

from pharmonia.base.errors import DataFileError

_MARK = "\x03end of file\x03"
_LINE_ENDS = (b"\n", b"\r")
REMEDY = "close it, or double the quote if it belongs to the field"


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """The next bytes; none at the end."""


class EndedCsv(io.RawIOBase):
    """A CSV file, uncompressed, with one row more, of one field too many, for Arrow to turn away."""

    def __init__(self, source: Readable, n_columns: int) -> None:
        super().__init__()
        self._source, self._last = source, b"\n"
        self._text = _MARK + "," * n_columns
        self._tail: io.BytesIO | None = None
        self._is_seen = False

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes, of the file and then of the row."""
        if self._tail is None:
            if block := self._source.read(size):
                self._last = block[-1:]
                return block
            start = b"" if self._last in _LINE_ENDS else b"\n"
            self._tail = io.BytesIO(start + self._text.encode() + b"\n")
        return self._tail.read(size)

    def is_end(self, row: pa_csv.InvalidRow) -> bool:
        """Whether a row that Arrow turned away is the one behind the file's end; to be asked of every such row."""
        found: bool = self._tail is not None and row.text == self._text
        self._is_seen |= found
        return found

    def require_closed(self, name: str, last_row: int) -> None:
        """Nothing, if the row behind the end was seen.

        Args:
            name: Of the file.
            last_row: The last that Arrow found, counted from 1 without the header.

        Raises:
            DataFileError: It was not: the last row ends inside a quoted field.
        """
        if not self._is_seen:
            raise DataFileError(
                f"{name} ends inside a quoted field, which would swallow the rest of the file: row {last_row}, counted "
                f"from 1 without the header, opens a quote that is never closed; {REMEDY}"
            )


def csv_header(path: Path) -> list[str]:
    """The columns of a .csv or .csv.gz file, at least one of them with a name.

    Raises:
        DataFileError: It has no header, or one with a quote that is not closed.
        OSError: As gzip and the disk have it.
        UnicodeDecodeError: It is not UTF-8.
    """
    opener = gzip.open if path.name.lower().endswith(".gz") else io.open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        try:
            header = next(csv.reader(file, strict=True), [])
        except csv.Error as error:
            raise DataFileError(
                f"{path.name} cannot be read: its header has a quote that is not closed ({error}); {REMEDY}"
            ) from error
    if not any(name.strip() for name in header):
        raise DataFileError(f"{path.name} has no header: its first line should name the columns")
    return header


def straddling_hint(error: Exception) -> str:
    """What Arrow's complaint of a row longer than its block means, for its message; empty for any other error."""
    return " (a quote that is not closed, or a row of megabytes)" if "straddl" in str(error) else ""
