"""Structures and identifiers are read off a CSV as its columns say, or the file is refused as what it is."""

import csv
import gzip
from pathlib import Path

import pytest

from pharmonia.base.errors import DataFileError
from pharmonia.run.predict_input import read_structures


def smiles_of(path: Path, smiles: str | None = None) -> list[str]:
    """What is read of a file, three records at a time."""
    return [record.smiles for chunk in read_structures(path, smiles, None, 3) for record in chunk.records]


def test_a_long_field_costs_nobody_its_prediction(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    note = "x" * 140_000
    path.write_text(f'smiles,note\nCC,1\nCCC,{note}\nCCO,"{note}\n"\nCCN,2\n')
    usual = csv.field_size_limit()
    assert smiles_of(path) == ["CC", "CCC", "CCO", "CCN"]
    assert csv.field_size_limit() == usual


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ('CC,1\n"CCC,2\nCCO,3\nCCN,4\n', 3),
        ('CC,"1\n2"\nCCC,"2\nCCO,3\nCCN,4\n', 4),
        ('"CC","1"\n"CCC,"2"\n"CCO","3"\n', 3),  # it would close where the next quote opens
        ('"CC,1', 2),
    ],
)
def test_a_quote_that_is_not_closed_is_an_error_that_names_its_line(tmp_path: Path, rows: str, line: int) -> None:
    path = tmp_path / "in.csv"
    path.write_text("smiles,note\n" + rows)
    with pytest.raises(
        DataFileError, match=rf"in\.csv cannot be read: the record that begins in line {line} has a quote"
    ):
        smiles_of(path)


def test_the_limit_of_a_field_ends_a_quote_that_is_not_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pharmonia.run.predict_input._LONGEST_FIELD", 1000)
    path = tmp_path / "in.csv"
    path.write_text('smiles,note\nCC,1\n"CCC,2\n' + "CCO,3\n" * 500)
    with pytest.raises(DataFileError, match=r"line 3 has a quote that is not closed.*larger than field limit"):
        smiles_of(path)


@pytest.mark.parametrize("header", ["SMILES,smiles", "Smiles,smiles"])
def test_the_column_called_smiles_comes_before_those_in_other_letters(tmp_path: Path, header: str) -> None:
    path = tmp_path / "in.csv"
    path.write_text(f"{header}\nCC,CCO\n")
    assert smiles_of(path) == ["CCO"]
    assert smiles_of(path, header.split(",", maxsplit=1)[0]) == ["CC"]


@pytest.mark.parametrize(
    ("header", "asked", "message"),
    [
        ("smiles,smiles", None, "2 columns named 'smiles'"),
        ("Smiles,SMILES", None, "has the columns Smiles, SMILES: name the one to read with --smiles-column"),
        ("mol,mol", "mol", "2 columns named 'mol'"),
    ],
)
def test_where_two_columns_may_be_meant_none_is_taken(
    tmp_path: Path, header: str, asked: str | None, message: str
) -> None:
    path = tmp_path / "in.csv"
    path.write_text(f"{header}\nCC,CCO\n")
    with pytest.raises(DataFileError, match=message):
        smiles_of(path, asked)


@pytest.mark.parametrize(("header", "identifiers"), [("id", ["B", "A"]), ("ID", ["B", "A"]), ("key", ["1", "2"])])
def test_the_column_called_id_identifies_where_none_is_named(
    tmp_path: Path, header: str, identifiers: list[str]
) -> None:
    path = tmp_path / "in.csv"
    path.write_text(f"{header},smiles\nB,CC\nA,CCO\n")
    found = [record.identifier for chunk in read_structures(path, None, None, 3) for record in chunk.records]
    assert found == identifiers
    path.write_text("Id,ID,smiles\nB,A,CC\n")
    with pytest.raises(DataFileError, match="name the one to read with --id-column"):
        list(read_structures(path, None, None, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id;smiles\n1;CC\n", "separated by semicolons; use commas"),
        ("id,smiles\n".encode("utf-16"), "in.csv is UTF-16 text"),
        (gzip.compress(b"id,smiles\n", mtime=0), "name it .csv.gz"),
    ],
)
def test_what_is_no_csv_with_commas_is_told_as_what_it_is(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=message):
        smiles_of(path)
    path.write_bytes(b"a;b\nCC\n")
    assert smiles_of(path, "a;b") == ["CC"]


def test_an_identifiers_column_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("smiles,id,id\nCC,1,2\n")
    with pytest.raises(DataFileError, match="2 columns named 'id'"):
        list(read_structures(tmp_path / "in.csv", None, "id", 3))
