"""Structures to predict, from CSV or SDF, a few thousand at a time; no record is dropped, whatever it holds.

Only where nobody can say where a record ends, after a quote that is not closed, is the whole file refused.
"""

import csv
import gzip
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from pharmonia.base.errors import DataFileError, OptionError
from pharmonia.chem.standardise_qsar_settings import REFUSAL_TEXTS, Refusal
from pharmonia.chem.structures_sdf import SdfRecord, sdf_records, sdf_smiles
from pharmonia.data.assays_rejects import RowReason
from pharmonia.data.catalogue import unknown_name
from pharmonia.run.csv_end import REMEDY, refuse_foreign_file, require_commas

SMILES_COLUMN = "smiles"  # in any case of letters, where no other is named
ID_COLUMN = "id"  # likewise
_LONGEST_FIELD = 1 << 24  # characters; longer is a quote that is not closed
_MOST_FIELDS = 1000  # names that a message draws on
_CSV, _SDF = (".csv", ".csv.gz"), (".sdf", ".sdf.gz", ".sd")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRecord:
    """One structure as a file lists it.

    Args:
        row: Counted from 1, a CSV's header apart.
        identifier: The partner's own; the row where there is none.
        smiles: As listed, or RDKit's of an SDF; empty where there is none.
        lacks_field: Whether an SDF's record has no data field of the name that was asked for, nor so the identifier in
            it; its title stands in.
        reason: Why the record cannot be read, as `Refusal` or `RowReason` names it; empty where it can.
        explanation: The same in words.
    """

    row: int
    identifier: str
    smiles: str
    reason: str = ""
    explanation: str = ""
    lacks_field: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InputChunk:
    """Consecutive records, and how much of the file has been read by then, in bytes on the disk."""

    records: tuple[InputRecord, ...]
    n_bytes: int


def read_structures(
    path: Path, smiles_column: str | None, id_column: str | None, n_records: int
) -> Iterator[InputChunk]:
    """The structures of a .csv, .csv.gz, .sdf, .sd or .sdf.gz file, so many at a time.

    Args:
        path: The file.
        smiles_column: Of a CSV; None for the one that is called smiles, in any case of letters.
        id_column: Of a CSV, or a data field of an SDF, whose title stands in where a record lacks it; None for a CSV's
            column that is called id, in any case of letters, else the row, and for an SDF's title where it has one.
        n_records: At a time.

    Raises:
        DataFileError: It is missing, of another type, damaged, an SDF without data fields where one is asked for, or a
            CSV without a header, with two columns of the name that is asked for, or with a quote that is not closed.
        UnknownNameError: There is no such column, or no record of an SDF has such a field.
        OptionError: An SDF has no columns.
    """
    name = path.name.lower()
    if not path.is_file():
        raise DataFileError(f"there is no file {path}")
    if not name.endswith(_CSV + _SDF):
        raise DataFileError(f"{path.name}: the name should end in one of {', '.join(_CSV + _SDF)}")
    if name.endswith(_SDF) and smiles_column is not None:
        raise OptionError(f"{path.name} is an SDF: its structures are in no column")
    try:
        if name.endswith(_SDF) and id_column is not None:
            _require_field(path, id_column)
        if name.endswith(_CSV):
            refuse_foreign_file(path)
        with _opened(path) as (raw, text):
            if name.endswith(_SDF):
                records: Iterator[InputRecord] = (
                    _of_sdf(row, record, id_column) for row, record in enumerate(sdf_records(text), 1)
                )
            else:
                records = _csv_records(path.name, text, smiles_column, id_column)
            while chunk := _taken(records, n_records):
                yield InputChunk(records=chunk, n_bytes=raw.tell())
    except (OSError, EOFError) as error:  # gzip's BadGzipFile is an OSError
        raise DataFileError(f"{path.name} cannot be read: {error}") from error


def _taken(records: Iterator[InputRecord], n_records: int) -> tuple[InputRecord, ...]:
    """The next records; the limit of a field's length, which is the process's, is raised only meanwhile."""
    usual = csv.field_size_limit(_LONGEST_FIELD)
    try:
        return tuple(islice(records, n_records))
    finally:
        csv.field_size_limit(usual)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, io.TextIOWrapper]]:
    """The file as it is on the disk, and its text; a byte that is no UTF-8 spoils its own field only."""
    with path.open("rb") as raw:
        plain = gzip.GzipFile(fileobj=raw) if path.name.lower().endswith(".gz") else raw
        with io.TextIOWrapper(plain, encoding="utf-8-sig", errors="replace", newline="") as text:
            yield raw, text


def _csv_records(name: str, text: Iterable[str], smiles: str | None, identifier: str | None) -> Iterator[InputRecord]:
    rows = _csv_rows(name, text)
    header = next(rows, [])
    if not any(column.strip() for column in header):
        raise DataFileError(f"{name} has no header: its first line should name the columns")
    if smiles not in header:
        require_commas(name, header)
    found = _column_called(SMILES_COLUMN, "--smiles-column", name, header) if smiles is None else smiles
    place = _place(name, header, SMILES_COLUMN if found is None else found)
    identifier = _column_called(ID_COLUMN, "--id-column", name, header) if identifier is None else identifier
    id_place = None if identifier is None else _place(name, header, identifier)
    for number, row in enumerate(rows, 1):
        if len(row) == len(header):
            yield InputRecord(
                row=number, identifier=(id_place is not None and row[id_place]) or str(number), smiles=row[place]
            )
            continue
        known = id_place is not None and id_place < len(row)
        yield InputRecord(
            row=number,
            identifier=(known and id_place is not None and row[id_place]) or str(number),
            smiles="",
            reason=RowReason.FIELD_COUNT.value,
            explanation=f"the row has {len(row)} fields, the header {len(header)}",
        )


def _csv_rows(name: str, text: Iterable[str]) -> Iterator[list[str]]:
    """The rows of a CSV file, the header first."""
    rows = csv.reader(text, strict=True)
    while True:
        n_lines = rows.line_num
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataFileError(
                f"{name} cannot be read: the record that begins in line {n_lines + 1} has a quote that is not closed, "
                f"or not where the field ends ({error}); {REMEDY}"
            ) from error
        yield row


def _column_called(wanted: str, option: str, name: str, header: list[str]) -> str | None:
    """The column of that name; where there is none, the one called so in other letters, if any.

    Raises:
        DataFileError: Several are called so in other letters.
    """
    if wanted in header:
        return wanted
    found = [column for column in header if column.lower() == wanted]
    if len(found) > 1:
        raise DataFileError(f"{name} has the columns {', '.join(found)}: name the one to read with {option}")
    return found[0] if found else None


def _place(name: str, header: list[str], column: str) -> int:
    """Where a column stands.

    Raises:
        DataFileError: There are two of that name.
        UnknownNameError: There is none.
    """
    if header.count(column) > 1:
        raise DataFileError(
            f"{name} has {header.count(column)} columns named {column!r}; leave one, or rename the others"
        )
    if column not in header:
        raise unknown_name(f"column of {name}", column, header)
    return header.index(column)


def _require_field(path: Path, field: str) -> None:
    """Nothing, if some record of an SDF has the data field, or there is no record; reads up to the first one with it.

    Raises:
        UnknownNameError: None has; names the fields that there are.
        DataFileError: There are none.
    """
    known: dict[str, None] = {}
    n_records = 0
    with _opened(path) as (_, text):
        for record in sdf_records(text):
            if field in record.fields:
                return
            n_records += 1
            if len(known) < _MOST_FIELDS:
                known.update(dict.fromkeys(record.fields))
    if n_records and not known:
        raise DataFileError(f"{path.name}: no record has a data field, so none has one named {field!r}")
    if n_records:
        raise unknown_name(f"data field of {path.name}", field, list(known))


def _of_sdf(row: int, record: SdfRecord, id_column: str | None) -> InputRecord:
    lacks_field = id_column is not None and id_column not in record.fields
    identifier = record.title if id_column is None or lacks_field else record.fields[id_column]
    found = sdf_smiles(record)
    if isinstance(found, Refusal):
        explanation = REFUSAL_TEXTS[found].replace("the SMILES", "the record")
        return InputRecord(
            row=row,
            identifier=identifier or str(row),
            smiles="",
            reason=found.value,
            explanation=explanation,
            lacks_field=lacks_field,
        )
    return InputRecord(row=row, identifier=identifier or str(row), smiles=found, lacks_field=lacks_field)
