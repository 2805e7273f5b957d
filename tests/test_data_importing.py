"""Importing rows: every reason, nothing lost, and no matter how the rows are cut into batches."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_cases import COLUMNS, csv_batch
from pharmonia.base.errors import DataFileError
from pharmonia.data.fields import Reason
from pharmonia.data.importing import Importer, Outcome, RowBatch, Tally
from pharmonia.data.units import conversion

Row = tuple[str | None, str | None, str | None]

GOOD: Row = ("CCO", "MKV", "10")
SMILES = ["CCO", "OCC", " C(C)O", "CCN", "C1CC1", "CC(", "", None]
SEQUENCES = ["MKV", "mkv", "MKL", "MK1", " ", None]
VALUES = ["10", "1e1", "+10", " 10 ", "1000", "0", "-1", "nan", "inf", "1e99", "ten", "1_0", "1,5", "", None]
any_rows = st.lists(
    st.tuples(st.sampled_from(SMILES), st.sampled_from(SEQUENCES), st.sampled_from(VALUES)), min_size=1, max_size=30
)


def run(rows: Sequence[Row], sizes: Sequence[int] = (), to: str | None = "pKd") -> tuple[pa.Table, Outcome]:
    """All rejects and the outcome of rows cut into batches of these sizes, the rest in a last one."""
    importer = Importer(COLUMNS, conversion("nM" if to else None, to))
    rejects, first = [], 0
    for size in [*sizes, len(rows)]:
        part = list(rows[first : first + size])
        numbers = np.arange(first + 1, first + 1 + len(part), dtype=np.int64)
        rejects.append(importer.add(RowBatch(rows=numbers, fields=csv_batch(part), malformed=())))
        first += len(part)
    outcome = importer.finish("own", "pKd", 1.0)
    return pa.concat_tables([*rejects, outcome.rejects]), outcome


@pytest.mark.parametrize(
    ("row", "reason", "explanation", "value"),
    [
        ((None, "MKV", "10"), Reason.MISSING, "the SMILES is missing", ""),
        (("  ", "MKV", "10"), Reason.MISSING, "the SMILES is missing", "  "),
        (("CCO", None, "10"), Reason.MISSING, "the sequence is missing", ""),
        (("CCO", "MKV", None), Reason.MISSING, "the value is missing", ""),
        (("CCO", "MKV", " "), Reason.MISSING, "the value is missing", " "),
        (("CC(", "MKV", "10"), Reason.SMILES, "RDKit cannot read the SMILES", "CC("),
        (("CCO x", "MKV", "10"), Reason.SMILES, "white space inside", "CCO x"),
        (("CC\u041e", "MKV", "10"), Reason.SMILES, "not printable ASCII", "CC\u041e"),
        (("CCO", "MK1", "10"), Reason.SEQUENCE, "no residues: '1'", "MK1"),
        (("CCO", "MKV", "ten"), Reason.NUMBER, "not a number", "ten"),
        (("CCO", "MKV", "<10"), Reason.NUMBER, "not a number", "<10"),
        (("CCO", "MKV", "1_0"), Reason.NUMBER, "not a number", "1_0"),
        (("CCO", "MKV", "NaN"), Reason.INFINITE, "not finite", "NaN"),
        (("CCO", "MKV", "-inf"), Reason.INFINITE, "not finite", "-inf"),
        (("CCO", "MKV", "0"), Reason.NOT_POSITIVE, "no logarithm", "0"),
        (("CCO", "MKV", "-3"), Reason.NOT_POSITIVE, "no logarithm", "-3"),
        (("CC(", "MK1", "ten"), Reason.SMILES, "RDKit cannot read", "CC("),
    ],
)
def test_a_bad_row_is_rejected_with_its_reason(row: Row, reason: Reason, explanation: str, value: str) -> None:
    rejects, outcome = run([GOOD, row])
    (rejected,) = rejects.to_pylist()
    assert (rejected["row"], rejected["reason"], rejected["value"]) == (2, reason, value)
    assert explanation in rejected["explanation"]
    assert outcome.tally.rejected == {reason: 1}


def test_a_value_too_large_to_store_is_rejected() -> None:
    rejects, _ = run([GOOD, ("CCO", "MKV", "1e39")], to=None)
    assert rejects["explanation"].to_pylist() == ["the value is too large for 32 bits"]


def test_repeated_measurements_that_agree_become_their_median() -> None:
    _, outcome = run([("CCO", "MKV", "10"), ("CCN", "MKV", "1"), ("OCC", "mkv", "100"), ("CCO", "MKV", "10")])
    assert outcome.interactions is not None
    assert outcome.interactions.smiles == ("CCO", "CCN")
    assert outcome.interactions.pairs.value.tolist() == [8, 9]
    assert outcome.tally == Tally(n_read=4, n_kept=2, n_merged=2, rejected={})
    assert outcome.interactions.n_listed_compounds == 3


def test_repeated_measurements_that_disagree_are_all_rejected() -> None:
    rejects, outcome = run([("CCO", "MKV", "10"), GOOD, ("CCN", "MKV", "1"), ("CCO", "MKV", "1000")])
    assert rejects["row"].to_pylist() == [1, 2, 4]
    assert set(rejects["explanation"].to_pylist()) == {
        "measurements of the same compound and target differ by more than 1 pKd"
    }
    assert rejects["value"].to_pylist() == ["10", "10", "1000"]
    assert outcome.interactions is not None
    assert outcome.interactions.smiles == ("CCN",)


PROTEIN = "MKVLAADTGLSRWEHNPQYF"


def test_accepted_rows_that_look_wrong_are_warned_of() -> None:
    good: Row = ("CCC", PROTEIN, "10")
    assert run([good, ("CCO", PROTEIN, "20")])[1].warnings == ()
    rows: list[Row] = [good, ("CCO", "EGFR", "20"), ("CCN", "KIT", "1e39"), ("CC(", "KIT", "1e99")]
    assert run(rows)[1].warnings == (
        "2 rows, the first of them row 2, have a sequence of fewer than 20 residues; a gene's name is no sequence",
        "row 3 has a value outside 0 to 15 pKd; is the unit right?",
    )
    assert run([good, ("CCO", PROTEIN, "10")])[1].warnings == ("all values are equal: nothing can be learnt from them",)
    assert run([good, ("CCO", PROTEIN, "20")], to=None)[1].warnings == ()  # of no stated unit
    assert run([])[1].warnings == ()


def test_a_compound_of_rejected_rows_only_is_not_listed() -> None:
    _, outcome = run([("CCN", "MKV", "ten"), ("CCN", "MKL", "1"), ("CCO", "MKV", "1")])
    assert outcome.interactions is not None
    assert outcome.interactions.smiles == ("CCN", "CCO")
    assert outcome.interactions.sequences == ("MKV", "MKL")
    _, outcome = run([("CCN", "MKL", "ten"), ("CCO", "MKV", "1")])
    assert outcome.interactions is not None
    assert (outcome.interactions.smiles, outcome.interactions.sequences) == (("CCO",), ("MKV",))


def test_no_row_left_is_no_data_set() -> None:
    assert run([("CC(", "MKV", "1")])[1].interactions is None
    assert run([])[1].tally == Tally(n_read=0, n_kept=0, n_merged=0, rejected={})


@given(rows=any_rows)
def test_every_row_is_kept_merged_or_rejected_once(rows: list[Row]) -> None:
    rejects, outcome = run(rows)
    tally = outcome.tally
    assert tally.n_kept + tally.n_merged + tally.n_rejected == tally.n_read == len(rows)
    assert rejects.num_rows == tally.n_rejected == len(set(rejects["row"].to_pylist()))
    assert tally.n_kept == (len(outcome.interactions.pairs) if outcome.interactions else 0)


@given(rows=any_rows, sizes=st.lists(st.integers(0, 7), max_size=6))
def test_the_cut_into_batches_does_not_matter(rows: list[Row], sizes: list[int]) -> None:
    whole, cut = run(rows), run(rows, sizes)
    assert whole[0].to_pylist() == cut[0].to_pylist()
    assert whole[1].tally == cut[1].tally
    one, other = whole[1].interactions, cut[1].interactions
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert (one.smiles, one.sequences) == (other.smiles, other.sequences)
        assert (one.compound_ids, one.n_listed_compounds) == (other.compound_ids, other.n_listed_compounds)
        for name in ("compound", "target", "value"):
            np.testing.assert_array_equal(getattr(one.pairs, name), getattr(other.pairs, name))


def test_a_tally_that_does_not_add_up_is_refused() -> None:
    with pytest.raises(DataFileError, match="unaccounted"):
        Tally(n_read=3, n_kept=1, n_merged=1, rejected={})
