"""DeepDTA's text files: worked by hand, and every way to be malformed."""

import numpy as np
import pytest

from data_cases import TINY, tiny_entry
from pharmonia.base.errors import DataFileError
from pharmonia.data.deepdta import parse_deepdta
from pharmonia.data.interactions import Interactions


def parse(files: dict[str, str], measure: str = "pKd") -> Interactions:
    return parse_deepdta(tiny_entry(files, measure=measure), lambda path: files[path].encode())


def test_rows_are_the_measured_entries_row_by_row() -> None:
    parsed = parse(TINY)
    # L1 and L3 are both ethanol, P1 and P3 the same sequence; rows are (L1,P1) (L1,P3) (L3,P1) (L3,P2).
    assert parsed.smiles == ("CCO", "CCN")
    assert parsed.compound_ids == ("L1;L3", "L2")
    assert parsed.sequences == ("MKV", "MKL")
    assert parsed.target_ids == ("P1;P3", "P2")
    assert parsed.pairs.compound.tolist() == [0, 0, 0, 0]
    assert parsed.pairs.target.tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(parsed.pairs.value, [7, 9, 8, 6])  # 100, 1, 10 and 1000 nM
    assert parsed.fold.tolist() == [1, -1, 0, 2]
    assert (parsed.n_listed_compounds, parsed.n_listed_targets) == (3, 3)


def test_kiba_scores_stay_as_they_are() -> None:
    assert parse(TINY, "KIBA score").pairs.value.tolist() == [100, 1, 10, 1000]


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("matrix", "1 2 3\n1 2\n1 2 3\n", r"tiny/matrix.txt, row 2: expected 3 values.* got 2"),
        ("matrix", "1 2 3\n", "expected 3 rows.* got 1"),
        ("matrix", "1 2 3\n1 x 3\n1 2 3\n", "row 2: .*'x'"),
        ("matrix", "1 2 3\n1 inf 3\n1 2 3\n", "row 2: a value is infinite"),
        ("matrix", "1 2 3\nnan 0 3\n1 2 3\n", "row 2: a Kd must be over 0 nM, got 0"),
        ("matrix", "1 nan nan\nnan nan nan\nnan nan nan\n", r"train.txt: fold 2 names a row outside 0 to 0"),
        ("ligands", "{", "tiny/ligands.txt: not readable as JSON"),
        ("ligands", '["CCO"]', "expected a JSON object"),
        ("ligands", '{"L1": "CCO", "L2": "CCN", "L3": 3}', "expected a JSON object"),
        ("ligands", '{"L1": "CCO", "L2": "CC(", "L3": "C"}', r"entry 2 \(L2\): RDKit cannot read"),
        ("ligands", '{"L1": "CCO", "L1": "CCN", "L3": "C"}', "listed twice"),
        ("proteins", '{"P1": "MKV", "P2": "MK1", "P3": "MKV"}', r"entry 2 \(P2\)"),
        ("train", "{}", "expected a list of training folds"),
        ("train", "[[0], 3]", "expected a list of training folds"),
        ("train", "[[0], [true]]", "fold 2 should be a list of row numbers"),
        ("train", "[[0], [4]]", "fold 2 names a row outside 0 to 3"),
        ("train", "[[0], [-1]]", "fold 2 names a row outside 0 to 3"),
        ("train", "[[0], [0]]", "fold 2 names rows that are in a fold already, such as row 0"),
        ("train", "[[0, 0], [1]]", "fold 1 names rows that are in a fold already"),
        ("test", "[0]", "tiny/test.txt: fold 0 names rows that are in a fold already"),
        ("test", '"0"', "fold 0 should be a list"),
    ],
)
def test_malformed_files_are_refused_by_file_and_row(path: str, text: str, message: str) -> None:
    with pytest.raises(DataFileError, match=message):
        parse({**TINY, f"tiny/{path}.txt": text})
