"""Tables to columns: every row is taken, or turned away with its reason."""

import numpy as np
import pytest

from pharmonia.base.errors import DataFileError, OptionError, UnknownNameError
from pharmonia.chem.ecfp_matrix import stack_rows
from pharmonia.chem.standardise_qsar_settings import Refusal
from pharmonia.data.assays import AssayType, Direction
from pharmonia.data.assays_reading import RawResults, read_assays, read_catalogue, read_results
from pharmonia.data.assays_rejects import RejectLog
from pharmonia.data.assays_tables import PlainLayout, TableKind, kind_of, sort_tables
from pharmonia.data.assays_units import in_one_unit
from pharmonia.data.compounds import REFUSED, group_rows, list_compounds, resolve
from prepare_cases import assay, source


def reasons(log: RejectLog) -> list[tuple[int, str]]:
    table = log.table()
    return list(zip(table["row"].to_pylist(), table["reason"].to_pylist(), strict=True))


def read(columns: dict[str, list[object]], log: RejectLog) -> RawResults:
    table = source("T1.csv", columns)
    return read_results([table], {"a": 0, "b": 1, "refused": REFUSED}, {"c1": 0, "c2": 1, "bad": REFUSED}, log)


def test_tables_are_told_by_their_columns() -> None:
    assert kind_of(["input_assay_id", "assay_type"]) is TableKind.ASSAYS
    assert kind_of(["input_compound_id", "input_assay_id", "standard_value"]) is TableKind.RESULTS
    assert kind_of(["input_compound_id", "smiles"]) is TableKind.COMPOUNDS
    assert kind_of(["catalog_assay_id", "catalog_task_id", "threshold"]) is TableKind.CATALOGUE
    assert kind_of(["smiles", "IC50"]) is TableKind.PLAIN


@pytest.mark.parametrize(
    ("compound", "which", "sign", "value", "reason"),
    [
        ("c1", "a", "=", "5", None),
        ("c1", "a", None, " 5.5 ", None),
        ("c1", "a", "<=", "5", None),
        ("c1", "a", "≥", "5", None),
        ("c1", "a", "~", "5", None),
        ("c1", "a", "", "<5", None),
        ("c1", "a", "<", "< 5", None),
        ("c1", "a", ">", "<5", "unknown-qualifier"),
        ("c1", "a", "about", "5", "unknown-qualifier"),
        ("c9", "a", "=", "5", "unknown-compound"),
        ("bad", "a", "=", "5", "compound-rejected"),
        ("c1", "z", "=", "5", "unknown-assay"),
        ("c1", "refused", "=", "5", "assay-rejected"),
        (None, "a", "=", "5", "missing-field"),
        (" ", "a", "=", "5", "missing-field"),
        ("c1", None, "=", "5", "missing-field"),
        ("c1", "", "=", "5", "missing-field"),
        (None, None, "=", None, "missing-field"),
        ("c1", "a", "=", None, "missing-field"),
        ("c1", "a", "=", "ten", "not-a-number"),
        ("c1", "a", "=", "1,5", "not-a-number"),
        ("c1", "a", "=", "1_0", "not-a-number"),
        ("c1", "a", "=", "inactive", "not-a-number"),
        ("c1", "a", "=", "nan", "not-finite"),
        ("c1", "a", "=", "<inf", "not-a-number"),
        ("c1", "a", "=", "1e99", "not-finite"),
    ],
)
def test_a_result_is_taken_or_turned_away_with_its_reason(
    compound: str | None, which: str | None, sign: str | None, value: str | None, reason: str | None
) -> None:
    log = RejectLog()
    columns: dict[str, list[object]] = {
        "input_compound_id": ["c2", compound],
        "input_assay_id": ["b", which],
        "standard_qualifier": ["=", sign],
        "standard_value": ["7", value],
    }
    made = read(columns, log)
    assert reasons(log) == ([] if reason is None else [(2, reason)])
    assert made.row.tolist() == ([1, 2] if reason is None else [1])


def test_qualifiers_say_where_the_true_value_lies() -> None:
    signs = ["<", "<<", "<=", ">", ">>", ">=", "=", "~", None]
    columns: dict[str, list[object]] = {
        "input_compound_id": ["c1"] * 9,
        "input_assay_id": ["a"] * 9,
        "standard_qualifier": list(signs),
        "standard_value": ["5"] * 9,
    }
    assert read(columns, RejectLog()).qualifier.tolist() == [-1] * 3 + [1] * 3 + [0] * 3


T0: dict[str, list[object]] = {
    "input_assay_id": ["a", "b", "c", "d", "e", "f", "a"],
    "assay_type": ["ADME", "other", "OTHER", "OTHER", "OTHER", None, "ADME"],
    "use_in_regression": ["True", "no", "maybe", "1", "1", "1", "1"],
    "is_binary": [None, "0", "0", "0", "0", "0", "0"],
    "direction": ["LOW", None, None, "up", None, None, None],
    "expert_threshold_1": ["7", "6.5", None, None, "six", None, None],
    "expert_threshold_2": ["5", None, None, None, None, None, None],
}


def test_assays_are_read_or_turned_away_with_their_reason() -> None:
    log = RejectLog()
    made = read_assays([source("T0.csv", {name: fields[:6] for name, fields in T0.items()})], log)
    assert [one.assay_id for one in made] == ["a"]
    one = made[0]
    assert (one.assay_type, one.direction, one.expert_thresholds) == (AssayType.ADME, Direction.LOW, (5.0, 7.0))
    assert reasons(log) == [
        (2, "unknown-word"), (3, "unknown-word"), (4, "unknown-word"), (5, "not-a-number"), (6, "unknown-word"),
    ]  # fmt: skip


def test_of_an_assay_described_twice_neither_description_is_taken() -> None:
    log = RejectLog()
    made = read_assays([source("T0.csv", {name: [fields[0], fields[6]] for name, fields in T0.items()})], log)
    assert made == ()
    assert reasons(log) == [(1, "assay-twice"), (2, "assay-twice")]


def test_two_assays_cannot_be_one_assay_of_the_catalogue() -> None:
    log = RejectLog()
    columns: dict[str, list[object]] = {
        "input_assay_id": ["a", "b"],
        "assay_type": ["CATALOG-PANEL"] * 2,
        "catalog_assay_id": ["hERG"] * 2,
    }
    assert [one.assay_id for one in read_assays([source("T0.csv", columns)], log)] == ["a"]
    assert reasons(log) == [(2, "assay-twice")]


def test_the_catalogue_is_read_or_turned_away_with_its_reason() -> None:
    log = RejectLog()
    columns: dict[str, list[object]] = {
        "catalog_assay_id": ["h", "h", "h", None],
        "catalog_task_id": ["h-5", "h-6", "h-5", "x"],
        "threshold": ["5", "nan", "6", "1"],
        "threshold_method": ["expert", "expert", "aux_low", "expert"],
    }
    made = read_catalogue([source("T_cat.csv", columns)], log)
    assert [(task.task_id, task.threshold) for task in made] == [("h-5", 5.0)]
    assert [reason for _, reason in reasons(log)] == ["not-finite", "assay-twice", "missing-field"]


PLAIN: dict[str, list[object]] = {
    "name": ["x", "y", "z"],
    "structure": ["CCO", "CCN", "CCC"],
    "IC50": ["5", None, "<6"],
    "logD": ["1", "2", "nan"],
}


def test_a_wide_table_holds_one_assay_per_endpoint_and_no_empty_cells() -> None:
    layout = PlainLayout(smiles="structure", compound_id="name", endpoints=("IC50", "logD"))
    made = sort_tables([source("own.csv", PLAIN)], layout)
    assert made.plain_assays == ("IC50", "logD")
    log = RejectLog()
    raw = read_results(made.results, {"IC50": 0, "logD": 1}, {"x": 0, "y": 1, "z": 2}, log)
    rows = list(zip(raw.compound, raw.assay, raw.qualifier, raw.value, strict=True))
    assert rows == [(0, 0, 0, 5.0), (2, 0, -1, 6.0), (0, 1, 0, 1.0), (1, 1, 0, 2.0)]
    assert not log.counts()


def test_a_long_table_without_identifiers_tells_compounds_by_their_structures() -> None:
    columns: dict[str, list[object]] = {"s": ["CCO", "CCO"], "e": ["p", "q"], "v": ["1", "2"], "u": ["nM", "uM"]}
    layout = PlainLayout(smiles="s", assay="e", value="v", unit="u")
    made = sort_tables([source("own.csv", columns)], layout)
    raw = read_results(made.results, {"p": 0, "q": 1}, {"CCO": 0}, RejectLog())
    assert raw.value.tolist() == [1, 2]
    assert [raw.units[unit] for unit in raw.unit] == ["nM", "uM"]


def test_a_layout_is_long_or_wide() -> None:
    for wrong in (
        {},
        {"assay": "a"},
        {"assay": "a", "value": "v", "endpoints": ("x",)},
        {"endpoints": ("x",), "unit": "u"},
    ):
        with pytest.raises(OptionError, match="name the columns"):
            PlainLayout(smiles="s", **wrong)


def test_tables_that_nobody_can_place_are_refused() -> None:
    with pytest.raises(DataFileError, match="--smiles-column"):
        sort_tables([source("own.csv", PLAIN)], None)
    with pytest.raises(UnknownNameError, match="structur"):
        sort_tables([source("own.csv", PLAIN)], PlainLayout(smiles="structur", endpoints=("IC50",)))
    compounds = source("T2.csv", {"input_compound_id": ["x"], "smiles": ["C"]})
    with pytest.raises(DataFileError, match="no table of results"):
        sort_tables([compounds], None)


def raw_of(rows: list[tuple[int, str, float, int]]) -> RawResults:
    """Results of rows (assay, unit, value, qualifier)."""
    units = ("", *sorted({unit for _, unit, _, _ in rows if unit}))
    return RawResults(
        compound=np.zeros(len(rows), np.int32),
        assay=np.array([row[0] for row in rows], np.int32),
        value=np.array([row[2] for row in rows]),
        qualifier=np.array([row[3] for row in rows], np.int8),
        unit=np.array([units.index(row[1]) for row in rows], np.int32),
        units=units,
        table=np.zeros(len(rows), np.int32),
        tables=("T1.csv",),
        row=np.arange(1, len(rows) + 1, dtype=np.int64),
    )


def test_concentrations_become_the_unit_that_the_assay_states() -> None:
    log = RejectLog()
    raw = raw_of(
        [
            (0, "nM", 100.0, -1),
            (0, "uM", 1.0, 1),
            (0, "", 6.5, 0),
            (0, "pIC50", 5.0, -1),
            (0, "%", 9.0, 0),
            (0, "nM", 0.0, 0),
        ]
    )
    made = in_one_unit(raw, (assay(unit="pIC50"),), log)
    np.testing.assert_allclose(made.value, [7.0, 6.0, 6.5, 5.0])
    assert made.qualifier.tolist() == [1, -1, 0, -1]  # less of a compound is a higher pIC50
    assert reasons(log) == [(5, "other-unit"), (6, "not-positive")]
    made = in_one_unit(raw_of([(0, "nM", 100.0, -1), (0, "µM", 1.0, 1)]), (assay(unit="uM"),), log)
    np.testing.assert_allclose(made.value, [0.1, 1.0])
    assert made.qualifier.tolist() == [-1, 1]


def test_results_in_several_units_of_an_assay_that_states_none_are_all_turned_away() -> None:
    log = RejectLog()
    made = in_one_unit(
        raw_of([(0, "nM", 1.0, 0), (0, "uM", 1.0, 0), (1, "nM", 1.0, 0), (1, "", 2.0, 0)]),
        (assay("a"), assay("b")),
        log,
    )
    assert made.row.tolist() == [3, 4]
    assert reasons(log) == [(1, "mixed-units"), (2, "mixed-units")]


def test_an_identifier_of_two_structures_is_turned_away_and_one_of_two_spellings_is_not() -> None:
    log = RejectLog()
    table = source(
        "T2.csv",
        {
            "input_compound_id": ["x", "x", "y", "y", "z", None, "w", "v", "v"],
            "smiles": ["CCO", "OCC", "CCO", "CCN", "CC(", "C", None, "CC(", "CCC"],
        },
    )
    listed = list_compounds([table], log)
    forms = {"CCO": "CCO", "OCC": "CCO", "CCN": "CCN", "CC(": Refusal.UNREADABLE, "C": "C", "CCC": "CCC"}
    made = resolve(listed, [forms[smiles] for smiles in listed.smiles], log)
    assert {name: made.forms[form] for name, form in made.form_of.items() if form != REFUSED} == {
        "x": "CCO",
        "v": "CCC",
    }
    assert reasons(log) == [
        (3, "identifier-of-two-structures"), (4, "identifier-of-two-structures"), (5, "unreadable-structure"),
        (6, "missing-field"), (7, "empty-structure"), (8, "unreadable-structure"),
    ]  # fmt: skip


def test_forms_of_equal_columns_share_a_row_within_a_fold_only() -> None:
    rows = [np.array(columns, np.int32) for columns in ([1, 2], [3], [1, 2], [1, 2])]
    made = group_rows(stack_rows(rows, 5), np.array([0, 0, 0, 1], np.int8))
    assert made.row_of_form.tolist() == [0, 1, 0, 2]
    assert [made.features.row(i).tolist() for i in range(3)] == [[1, 2], [3], [1, 2]]
    assert made.fold.tolist() == [0, 0, 1]
    assert made.n_torn == 2
