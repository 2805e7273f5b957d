"""Assay tables: worked by hand, and malformed."""

import numpy as np
import pytest

from pharmonia.base.errors import DataFileError
from pharmonia.data.adme import BIOGEN_COLUMNS, AssayTable, parse_biogen
from pharmonia.data.catalogue import BIOGEN_ADME

HEADER = ",".join(["Internal ID", "SMILES", *(f'"{column}"' for column in BIOGEN_COLUMNS.values())])


def parse(*lines: str) -> AssayTable:
    return parse_biogen(BIOGEN_ADME, "\n".join([HEADER, *lines]).encode())


def test_an_empty_cell_is_not_measured() -> None:
    table = parse("Mol1,OCC,1.5,,,,,-2", "Mol2,C,,,3,,,")
    assert table.compound_ids == ("Mol1", "Mol2")
    assert table.smiles == ("CCO", "C")
    assert table.endpoints == tuple(BIOGEN_COLUMNS)
    nan = np.nan
    np.testing.assert_array_equal(table.values, [[1.5, nan, nan, nan, nan, -2], [nan, nan, 3, nan, nan, nan]])
    assert table.n_measured == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Mol1,CC(,1,,,,,", "row 1: RDKit cannot read"),
        ("Mol1,C,x,,,,,", "row 1: .*'x'"),
        ("Mol1,C,inf,,,,,", "infinite"),
        ("Mol1", "row 1"),
    ],
)
def test_malformed_rows_are_refused_by_number(line: str, message: str) -> None:
    with pytest.raises(DataFileError, match=message):
        parse(line)


@pytest.mark.parametrize("content", [b"", b"SMILES\nC\n", b"\xff\xfe"])
def test_another_file_is_refused(content: bytes) -> None:
    with pytest.raises(DataFileError, match=r"ADME_public_set_3521\.csv"):
        parse_biogen(BIOGEN_ADME, content)


def test_tables_of_different_size_are_refused() -> None:
    with pytest.raises(DataFileError, match="differ in number"):
        AssayTable(name="a", compound_ids=("1",), smiles=("C", "CC"), endpoints=("e",), values=np.zeros((1, 1)))
