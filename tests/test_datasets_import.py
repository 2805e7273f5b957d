"""Importing files: CSV, compressed CSV and Parquet give the same data set and rejects; failures leave nothing."""

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pharmonia.base.canonical import digest_file
from pharmonia.base.errors import DataFileError, DiskFullError, InputError, OptionError, UnknownNameError
from pharmonia.data.assays_rejects import RejectLog
from pharmonia.data.importing import Columns
from pharmonia.data.units import conversion
from pharmonia.run import datasets
from pharmonia.run.cache import State
from pharmonia.run.fetch import Progress, no_progress
from pharmonia.run.importing import ImportPlan, ImportReport, import_file
from pharmonia.run.prepare_files import read_table

COLUMNS = Columns(smiles="smiles", sequence="protein", value="kd", compound_id="id", target_id="gene")

ROWS = """\ufeffid,smiles,comment,protein,kd,gene
a,CCO,first,MKV,10,T1
b,OCC,"two
lines, quoted",mkv,20,T1b
a,CCO,,MKV,,T1
c,CC(,,MKV,5,T1
c,CCC,,,5,T1
c,CCC,,MK1,5,T1
c,CCC,,MKL,<10,T1
c,CCC,,MKL,inf,T1
c,CCC,,MKL,-4,T1
c,CCC,MKL
d,CCC,,MKL,1,T2
d,CCC,,MKL,1000,T2
,CCN,,MKL,100,T2
c,CCC,,MKL,1,T1,too,many

f,CCF,,MKL,1e3,"T,3"
"""

REJECTS = """"row","reason","explanation","value"
3,"missing-field","the value is missing",""
4,"invalid-smiles","RDKit cannot read the SMILES as a molecule (syntax, valence or aromaticity)","CC("
5,"missing-field","the sequence is missing",""
6,"invalid-sequence","the sequence has characters that are no residues: '1'","MK1"
7,"not-a-number","the value is not a number","<10"
8,"not-finite","the value is not finite","inf"
9,"not-positive","the value is not over 0, so it has no logarithm","-4"
10,"wrong-field-count","the row has more or fewer fields than the header","c,CCC,MKL"
14,"wrong-field-count","the row has more or fewer fields than the header","c,CCC,,MKL,1,T1,too,many"
15,"missing-field","the SMILES is missing",""
11,"replicates-disagree","measurements of the same compound and target differ by more than 1 pKd","1"
12,"replicates-disagree","measurements of the same compound and target differ by more than 1 pKd","1000"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one test; the cache lies in its `cache`."""
    monkeypatch.setenv("PHARMONIA_CACHE", str(tmp_path / "cache"))
    return tmp_path


def run(path: Path, progress: Progress = no_progress, **changes: Any) -> ImportReport:
    plan: dict[str, Any] = {
        "path": path,
        "columns": COLUMNS,
        "conversion": conversion("nM", "pKd"),
        "name": None,
        "measure": None,
        "tolerance": 1.0,
        "rejects": None,
        "again": False,
    }
    return import_file(ImportPlan(**{**plan, **changes}), progress)


def write(path: Path, text: str = ROWS) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_a_csv_file_becomes_a_data_set_and_a_rejects_file(folder: Path) -> None:
    path = write(folder / "My Assay.csv")
    report = run(path)
    loaded = datasets.load("my-assay").interactions
    assert loaded.smiles == ("CCO", "CCN", "CCF")
    assert loaded.compound_ids == ("a;b", "compound-2", "f")
    assert loaded.target_ids == ("T1;T1b", "T2;T,3")
    assert loaded.sequences == ("MKV", "MKL")
    assert loaded.pairs.value.tolist() == pytest.approx([7.849485, 7, 6])
    assert loaded.measure == "pKd"
    assert not loaded.has_published_folds
    assert report.rejects.read_text("utf-8") == REJECTS
    assert report.rejects == folder / "my-assay.rejects.csv"
    assert (report.tally.n_read, report.tally.n_kept, report.tally.n_merged, report.tally.n_rejected) == (16, 3, 1, 12)
    assert report.manifest.sources[0].sha256 == digest_file(path)
    states = {summary.name: summary.state for summary in datasets.available()}
    assert states["my-assay"] is State.IMPORTED
    assert "16 rows read: 3 kept, 1 merged, 12 rejected" in datasets.describe("my-assay").notes[0]


def test_a_compressed_file_gives_the_same(folder: Path) -> None:
    path = folder / "packed.csv.gz"
    path.write_bytes(gzip.compress(ROWS.encode()))
    report = run(path)
    assert report.rejects.read_text("utf-8") == REJECTS
    assert report.manifest.n_rows == 3
    assert report.manifest.sources[0].sha256 == digest_file(path)


@pytest.mark.parametrize("categorical", [False, True])
@pytest.mark.parametrize("values", [pa.float64(), pa.float32(), pa.int64(), pa.string()])
def test_a_parquet_file_gives_the_same_as_its_rows(folder: Path, values: pa.DataType, categorical: bool) -> None:
    smiles = pa.array(["CCO", "OCC", None, "CC(", "CCN", "CCC"])
    table = pa.table(
        {
            "id": pa.array([1, 2, 3, 4, 5, 6]),
            "smiles": smiles.dictionary_encode() if categorical else smiles,
            "protein": pa.array(["MKV", "MKV", "MKV", "MKV", "MKL", "MKL"], pa.large_string()),
            "kd": pa.array([10, 20, 30, 40, None, 0]).cast(values),
            "gene": ["T"] * 6,
        }
    )
    path = folder / "own.parquet"
    pq.write_table(table, path, row_group_size=2)
    report = run(path)
    assert report.rejects.read_text("utf-8").splitlines()[1:] == [
        '3,"missing-field","the SMILES is missing",""',
        '4,"invalid-smiles","RDKit cannot read the SMILES as a molecule (syntax, valence or aromaticity)","CC("',
        '5,"missing-field","the value is missing",""',
        '6,"not-positive","the value is not over 0, so it has no logarithm","0"',
    ]
    loaded = datasets.load("own").interactions
    assert loaded.compound_ids == ("1;2",)
    assert loaded.pairs.value.tolist() == pytest.approx([7.849485])
    assert report.manifest.sources[0].sha256 == digest_file(path)


def test_without_rejected_rows_the_rejects_file_is_a_header(folder: Path) -> None:
    report = run(write(folder / "own.csv", "id,smiles,protein,kd,gene\na,C,MKV,1,T\n"), rejects=folder / "r.csv")
    assert report.rejects.read_text("utf-8").splitlines() == REJECTS.splitlines()[:1]
    assert report.rejects == folder / "r.csv"


def test_rows_are_numbered_right_over_many_blocks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pharmonia.run.rows._CSV_BLOCK_BYTES", 256)
    bad = {3, 4, 57, 58, 59, 100, 199, 200}
    lines = ["x" if row in bad else f"a,C,MKV,{'ten' if row % 50 == 1 else 1},T" for row in range(1, 201)]
    report = run(write(folder / "own.csv", "id,smiles,protein,kd,gene\n" + "\n".join(lines) + "\n"))
    rejected = [line.split(",")[:2] for line in report.rejects.read_text("utf-8").splitlines()[1:]]
    expected = {**dict.fromkeys(bad, '"wrong-field-count"'), **dict.fromkeys((1, 51, 101, 151), '"not-a-number"')}
    assert rejected == [[str(row), expected[row]] for row in sorted(expected)]
    assert report.tally.n_read == 200


def test_an_existing_name_is_kept_unless_asked(folder: Path) -> None:
    path = write(folder / "own.csv")
    run(path)
    with pytest.raises(InputError, match=r"'own' exists.*--again"):
        run(path, conversion=conversion(None, None), tolerance=5000.0)
    assert datasets.load("own").interactions.measure == "pKd"
    run(path, conversion=conversion(None, None), tolerance=5000.0, again=True)
    assert datasets.load("own").interactions.measure == "kd"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("kiba", "catalogue"),
        ("adme", "pharmonia compare adme"),
        ("kiba-tasks", "pharmonia compare kiba-tasks"),
        ("../own", "cannot name"),
        ("", "cannot name"),
    ],
)
def test_names_that_are_not_the_users_are_refused(folder: Path, name: str, message: str) -> None:
    path = write(folder / "....csv") if not name else write(folder / "own.csv")
    with pytest.raises(OptionError, match=message):
        run(path, name=name or None)
    assert left_in(folder) == {path.name}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "own.csv is empty"),
        ("\n", "has no header"),
        ("id,smiles,protein,kd,gene\n", "no row of own.csv is left; 0 rows read"),
        ("id,smiles,protein,kd,gene,kd\n1,C,MKV,1,T,1\n", "2 columns named 'kd'"),
        (
            'id,smiles,protein,kd,gene\n1,C,"MKV,1,T\n' + "x\n" * 9_000_000,
            "own.csv cannot be read.*a quote that is not closed",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(folder: Path, text: str, message: str) -> None:
    path = write(folder / "own.csv", text)
    with pytest.raises(DataFileError, match=message):
        run(path)
    assert left_in(folder) <= {"own.csv", "own.rejects.csv"}
    assert not (folder / "cache" / "own").exists()


FOREIGN = [
    (ROWS.encode("utf-16"), "own.csv is UTF-16 text; save it as CSV UTF-8"),
    (ROWS.encode("utf-16-be"), "own.csv is UTF-16 text"),
    (gzip.compress(ROWS.encode(), mtime=0), r"own.csv is compressed with gzip; name it .csv.gz"),
    (b"PK\x03\x04rest", "own.csv is a workbook or a zip archive"),
    (
        b"id,smiles,protein,kd,gene\n" + 2000 * b"a,CCO,MKV,1,T\n" + b"a,CCO,MKV,1,\xb5\n",
        "own.csv: line 2002 has the byte 0xb5",
    ),
    (
        b"id,smiles,protein,kd,gene\na,CCO,MKV,1,\xb5\n",
        "line 2 has the byte 0xb5, which is not UTF-8 text; save it as CSV UTF-8",
    ),
    (b"id,smiles,protein,kd,\xb5\n", "line 1 has the byte 0xb5"),
    (b"id,smiles,protein,kd,gene\na,CCO,MKV,1,\xc2", "line 2 has the byte 0xc2"),
    (b"id;smiles;protein;kd;gene\n", "separated by semicolons; use commas"),
    (b"id\tsmiles\tprotein\tkd\tgene\n", "separated by tabs; use commas"),
]


@pytest.mark.parametrize(("content", "message"), FOREIGN)
def test_what_is_no_csv_in_utf8_with_commas_is_told_as_what_it_is(folder: Path, content: bytes, message: str) -> None:
    path = folder / "own.csv"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=message):
        run(path)
    with pytest.raises(DataFileError, match=message):
        read_table(path, RejectLog())
    assert left_in(folder) == {"own.csv"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("own.parquet", b"PAR1 is not all"),
        ("own.csv.gz", b"not compressed"),
        ("own.csv.gz", gzip.compress(ROWS.encode(), mtime=0)[:-20]),
        ("own.csv", "smiles\u00e9\n".encode("utf-16")),
        ("own.xlsx", b"PK"),
    ],
)
def test_damaged_and_foreign_files_are_refused(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(DataFileError, match=name):
        run(folder / name)
    assert left_in(folder) == {name}


HEADER = "id,smiles,protein,kd,gene\n"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("end", ["\n", ""])
@pytest.mark.parametrize(
    ("rows", "row"),
    [
        (["1,CC,MKV,1,T", '"2,CCC,MKV,1,T', "3,CCO,MKV,1,T", "4,CCN,MKV,1,T"], 2),  # the rest is a row of one field
        (["1,CC,MKV,1,T", '2,CCC,MKV,1,"T', "3,CCO,MKV,1,T"], 2),  # the rest is in a column that is read
        (["1", "2,CCC,MKV,1,T,X", '3,CCO,MKV,1,T,"X'], 3),
        (['1,CC,MKV,1,"T ""x'], 1),
    ],
)
def test_a_file_that_ends_inside_a_quoted_field_is_refused_and_its_row_named(
    folder: Path, rows: list[str], row: int, end: str, packed: bool
) -> None:
    text = (HEADER + "\n".join(rows) + end).encode()
    path = folder / ("own.csv.gz" if packed else "own.csv")
    path.write_bytes(gzip.compress(text) if packed else text)
    with pytest.raises(DataFileError, match=rf"{path.name} ends inside a quoted field.*: row {row}, counted from 1"):
        run(path)
    assert left_in(folder) == {path.name}


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r", "\n\n"])
def test_quotes_that_are_closed_or_inside_a_field_end_no_import(folder: Path, end: str) -> None:
    text = HEADER + '1,CC,MKV,1,5" T\n2,CCC,MKV,1,"T ""5"" \nx"\n"3",CCO,MKV,1,"T""' + '"' + end
    report = run(write(folder / "own.csv", text))
    empty = 1 if end == "\n\n" else 0
    assert (report.tally.n_read, report.tally.n_kept, report.tally.n_rejected) == (3 + empty, 3, empty)


def test_a_header_with_an_open_quote_is_told(folder: Path) -> None:
    with pytest.raises(DataFileError, match="its header has a quote that is not closed"):
        run(write(folder / "own.csv", 'id,"smiles,protein,kd,gene\n1,CC,MKV,1,T\n'))


def test_a_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(DataFileError, match=r"there is no file .*absent\.csv"):
        run(folder / "absent.csv")


def test_a_missing_column_lists_those_there_are(folder: Path) -> None:
    path = write(folder / "own.csv", "id,smiles,protein,Kd,gene\n1,C,MKV,1,T\n")
    with pytest.raises(UnknownNameError, match=r"column of own\.csv named 'kd'.*mean 'Kd'.*There are: Kd, gene, id"):
        run(path)
    assert left_in(folder) == {"own.csv"}


def test_a_parquet_column_of_another_type_is_refused(folder: Path) -> None:
    path = folder / "own.parquet"
    pq.write_table(pa.table({"id": ["1"], "smiles": [1.5], "protein": ["M"], "kd": [1], "gene": ["T"]}), path)
    with pytest.raises(DataFileError, match="'smiles' is of double; it should be of text"):
        run(path)
    pq.write_table(pa.table({"id": ["1"], "smiles": ["C"], "protein": ["M"], "kd": [True], "gene": ["T"]}), path)
    with pytest.raises(DataFileError, match="'kd' is of bool; it should be of numbers or text"):
        run(path)


def test_when_no_row_is_left_the_reasons_are_kept_and_no_data_set_is_made(folder: Path) -> None:
    path = write(folder / "own.csv", "id,smiles,protein,kd,gene\n1,CC(,MKV,1,T\n")
    with pytest.raises(DataFileError, match=r"1 rejected \(invalid-smiles 1\); see .*own\.rejects\.csv"):
        run(path)
    assert left_in(folder) == {"own.csv", "own.rejects.csv"}


@pytest.mark.parametrize("stage", ["reading rows", "building molecular graphs"])
def test_an_interrupted_import_leaves_no_data_set(folder: Path, stage: str) -> None:
    path = write(folder / "own.csv")

    def interrupt(what: str, done: int, total: int) -> None:
        if what == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(path, interrupt)
    assert left_in(folder) <= {"own.csv", "own.rejects.csv"}
    assert not (folder / "cache" / "own").exists()


def test_options_out_of_range_are_refused(folder: Path) -> None:
    path = write(folder / "own.csv")
    for tolerance in (-1.0, float("nan"), float("inf")):
        with pytest.raises(OptionError, match="tolerance"):
            run(path, tolerance=tolerance)
    with pytest.raises(OptionError, match="cannot go into the imported file"):
        run(path, rejects=path)
    with pytest.raises(InputError, match="--rejects"):
        run(path, rejects=folder / "absent" / "r.csv")
    with pytest.raises(InputError, match=r"it is a folder; .*--rejects"):
        run(path, rejects=folder)
    assert left_in(folder) == {"own.csv"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_rejects_that_find_no_room_are_told(folder: Path) -> None:
    (folder / "r.csv.partial").symlink_to("/dev/full")
    with pytest.raises(DiskFullError, match=r"cannot write .*r\.csv: No space.*--rejects"):
        run(write(folder / "own.csv"), rejects=folder / "r.csv")
    assert left_in(folder) == {"own.csv"}
