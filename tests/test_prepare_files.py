"""Tables read whole or refused, and folders of prepared tasks written whole, replaced whole, or left as they were."""

import gzip
from pathlib import Path

import pytest

from pharmonia.base.errors import DataFileError
from pharmonia.data.assays_rejects import RejectLog
from pharmonia.run.prepare_files import read_table


@pytest.mark.parametrize("packed", [False, True])
def test_a_table_that_ends_inside_a_quoted_field_is_refused_and_its_row_named(tmp_path: Path, packed: bool) -> None:
    text = b'smiles,assay,value\nCCO,A,0\nCC,A\nCCC,"A,2\nCCCC,A,3\nCCCCC,A,4\n'
    path = tmp_path / ("t.csv.gz" if packed else "t.csv")
    path.write_bytes(gzip.compress(text) if packed else text)
    with pytest.raises(DataFileError, match=r"t\.csv.* ends inside a quoted field.*: row 3, counted from 1"):
        read_table(path, RejectLog())
    closed = text.replace(b'"A', b'"A\n"')
    path.write_bytes(gzip.compress(closed) if packed else closed)
    log = RejectLog()
    assert read_table(path, log).rows.tolist() == [1, 3, 4, 5]
    assert log.table()["row"].to_pylist() == [2]


def test_a_quote_left_open_before_megabytes_of_rows_is_hinted_at(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('smiles,assay,value\nCCO,"A,0\n' + "CCO,A,1\n" * 300_000)
    with pytest.raises(DataFileError, match="a quote that is not closed"):
        read_table(path, RejectLog())
