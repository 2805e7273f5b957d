"""The user's CSV files with a row after their last one: where a quote is not closed, that row is never seen.

Arrow takes what follows such a quote for one long field, and says nothing. Looking for the row behind the end finds
that without reading the file a second time. What is no CSV in UTF-8 with commas is told as what it is.
"""

import codecs
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
_SAVE_AS = "save it as CSV UTF-8"
_FOREIGN = (
    (codecs.BOM_UTF16_LE, f"is UTF-16 text; {_SAVE_AS}"),
    (codecs.BOM_UTF16_BE, f"is UTF-16 text; {_SAVE_AS}"),
    (b"PK\x03\x04", f"is a workbook or a zip archive, not a CSV; {_SAVE_AS}"),
    (b"\x1f\x8b", "is compressed with gzip; name it .csv.gz"),
)
_DELIMITERS = {";": "semicolons", "\t": "tabs"}


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """The next bytes; none at the end."""


class EndedCsv(io.RawIOBase):
    """A CSV file, uncompressed, with one row more, of one field too many, for Arrow to turn away."""

    def __init__(self, source: Readable, name: str, n_columns: int) -> None:
        super().__init__()
        self._source, self._name, self._last = source, name, b"\n"
        self._decoder, self._n_lines = codecs.getincrementaldecoder("utf-8")(), 0
        self._text = _MARK + "," * n_columns
        self._tail: io.BytesIO | None = None
        self._is_seen = False

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes, of the file and then of the row.

        Raises:
            DataFileError: They are not UTF-8; names their line.
        """
        if self._tail is None:
            block = self._source.read(size)
            self._require_utf8(block)
            if block:
                self._last = block[-1:]
                return block
            start = b"" if self._last in _LINE_ENDS else b"\n"
            self._tail = io.BytesIO(start + self._text.encode() + b"\n")
        return self._tail.read(size)

    def _require_utf8(self, block: bytes) -> None:
        try:
            self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            line = self._n_lines + 1 + error.object.count(b"\n", 0, error.start)
            raise _not_utf8(self._name, line, error.object[error.start : error.end]) from error
        self._n_lines += block.count(b"\n")

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
        DataFileError: It is no CSV, or has no header, or one with a quote that is not closed, not in UTF-8 or not with
            commas.
        OSError: As gzip and the disk have it.
    """
    refuse_foreign_file(path)
    opener = gzip.open if path.name.lower().endswith(".gz") else io.open
    with opener(path, "rt", encoding="utf-8-sig", newline="", errors="surrogateescape") as file:
        try:
            header = next(csv.reader(file, strict=True), [])
        except csv.Error as error:
            raise DataFileError(
                f"{path.name} cannot be read: its header has a quote that is not closed ({error}); {REMEDY}"
            ) from error
    if not any(name.strip() for name in header):
        raise DataFileError(f"{path.name} has no header: its first line should name the columns")
    whole = ",".join(header).encode(errors="surrogateescape")
    try:
        whole.decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(path.name, 1, whole[error.start : error.end]) from error
    require_commas(path.name, header)
    return header


def refuse_foreign_file(path: Path) -> None:
    """Refuse a file named .csv or .csv.gz that begins as something else.

    Raises:
        DataFileError: It does; says what it is and what to do.
        OSError: As gzip and the disk have it.
    """
    opener = gzip.open if path.name.lower().endswith(".gz") else io.open
    with opener(path, "rb") as file:
        start = file.read(4)
    for mark, what in _FOREIGN:
        if start.startswith(mark):
            raise DataFileError(f"{path.name} {what}")


def require_commas(name: str, header: list[str]) -> None:
    """Refuse a header of one column whose name holds other delimiters.

    Raises:
        DataFileError: It does.
    """
    found = [word for mark, word in _DELIMITERS.items() if len(header) == 1 and mark in header[0]]
    if found:
        raise DataFileError(
            f"{name}: the columns of {header[0]!r} are separated by {found[0]}; use commas, and points in numbers"
        )


def _not_utf8(name: str, line: int, found: bytes) -> DataFileError:
    return DataFileError(f"{name}: line {line} has the byte 0x{found[:1].hex()}, which is not UTF-8 text; {_SAVE_AS}")


def straddling_hint(error: Exception) -> str:
    """What Arrow's complaint of a row longer than its block means, for its message; empty for any other error."""
    return " (a quote that is not closed, or a row of megabytes)" if "straddl" in str(error) else ""
