"""What a table says is what its labels say: units, refused assays, binary results and missing identifiers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.csv as pa_csv
import pytest
from typer.testing import CliRunner, Result

from pharmonia.base.errors import ExpectationError, OptionError, UnknownNameError
from pharmonia.cli.main import app
from pharmonia.data.assays_tables import PlainLayout
from pharmonia.run import prepare_structures
from pharmonia.run.prepare_check import check_prepared, read_expectations
from pharmonia.run.prepare_files import open_prepared
from pharmonia.run.prepare_key import create_preparation_key
from prepare_cases import write_csv

SMILES = ("CCO", "CCN", "CCC", "CCCC", "CCCCC", "c1ccccc1", "c1ccccc1C", "c1ccncc1", "CC(=O)O", "CCS")
SETTINGS = """min_fold_std = -1.0
[folds]
n_folds = 2
[rules.OTHER]
n_active = 1
n_inactive = 1
n_total = 2
n_uncensored = 1
[rules.ADME]
n_active = 1
n_inactive = 1
"""
Row = tuple[str, int, str]


@pytest.fixture(autouse=True)
def few_references(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole reference takes many seconds; its own tests are elsewhere."""
    monkeypatch.setattr(prepare_structures, "reference_structures", lambda: ("Oc1ccccn1", "CC("))


def prepared(folder: Path, tables: Sequence[Path], *options: str, settings: str = SETTINGS) -> Result:
    """What `pharmonia prepare` says of long tables with the columns smiles, assay, value."""
    key, profile = folder / "key", folder / "profile.toml"
    if not key.exists():
        create_preparation_key(key)
    profile.write_text(settings)
    arguments = [
        "prepare",
        *map(str, tables),
        "--key",
        str(key),
        "--profile",
        str(profile),
        "--again",
        "--workers",
        "1",
    ]
    arguments += ["--cache", str(folder / "structures.sqlite"), "--out", str(folder / "out")]
    return CliRunner().invoke(app, [*arguments, *options])


LONG = ("--smiles-column", "smiles", "--assay-column", "assay", "--value-column", "value")


def rejects(folder: Path) -> list[Row]:
    table = pa_csv.read_csv(folder / "out" / "rejects.csv")
    return list(zip(*(table[name].to_pylist() for name in ("table", "row", "reason")), strict=True))


def values_by_smiles(folder: Path, task_id: str) -> dict[str, float]:
    """The labels of one task by identifier, which of plain tables is the SMILES."""
    made = open_prepared(folder / "out")
    number = [task.task_id for task in made.tasks].index(task_id)
    chosen = made.labels.task == number
    table = pa_csv.read_csv(folder / "out" / "compounds.csv").to_pydict()
    names = dict(zip(table["row"], table["input_compound_id"], strict=True))
    rows = zip(made.labels.compound[chosen].tolist(), made.labels.value[chosen].tolist(), strict=True)
    return {names[row]: value for row, value in rows}


CONCENTRATIONS = (1, 3.5, 5, 7, 9, 50, 100, 1000, 5000, 10000)


@pytest.mark.parametrize("unit", ["nM", "uM", "µM", "M", "nmol/L", "ug/mL"])
def test_concentrations_are_never_judged_as_negative_logarithms(tmp_path: Path, unit: str) -> None:
    columns = {"smiles": SMILES, "assay": ["A"] * 10, "value": CONCENTRATIONS, "unit": [unit] * 10}
    table = write_csv(tmp_path / "own.csv", columns)
    done = prepared(tmp_path, [table], *LONG, "--unit-column", "unit")
    assert str(done.exception) == "no result is usable: own.csv: concentration 10; see rejects.csv"
    assert rejects(tmp_path) == [("own.csv", row, "concentration") for row in range(1, 11)]
    told = pa_csv.read_csv(tmp_path / "out" / "rejects.csv")["explanation"][0].as_py()
    assert "standard_unit" in told
    assert "--to" in told


def test_a_stated_concentration_is_not_judged_either_and_adme_takes_any_unit(tmp_path: Path) -> None:
    columns = {"smiles": SMILES * 2, "assay": ["A"] * 10 + ["B"] * 10, "value": CONCENTRATIONS * 2}
    table = write_csv(tmp_path / "own.csv", columns)
    t0 = {"input_assay_id": ["A", "B"], "assay_type": ["OTHER", "ADME"], "standard_unit": ["nM", "nM"]}
    assert prepared(tmp_path, [write_csv(tmp_path / "T0.csv", t0), table], *LONG).exit_code == 0
    assert rejects(tmp_path) == [("own.csv", row, "concentration") for row in range(1, 11)]
    assert {task.assay_id for task in open_prepared(tmp_path / "out").tasks} == {"B"}


def test_concentrations_become_negative_logarithms_where_that_is_asked_for(tmp_path: Path) -> None:
    signs = ["<", "=", "=", "=", "=", "=", "=", "=", "=", ">"]
    columns = {"smiles": SMILES, "assay": ["A"] * 10, "value": CONCENTRATIONS, "unit": ["nM"] * 10, "sign": signs}
    table = write_csv(tmp_path / "own.csv", columns)
    options = (*LONG, "--unit-column", "unit", "--qualifier-column", "sign", "--to", "pIC50")
    assert prepared(tmp_path, [table], *options).exit_code == 0
    assert rejects(tmp_path) == []
    found = values_by_smiles(tmp_path, "regression|A")
    for smiles, concentration in zip(SMILES, CONCENTRATIONS, strict=True):
        assert found[smiles] == pytest.approx(9 - np.log10(concentration))
    made = open_prepared(tmp_path / "out")
    regression = made.labels.task == len(made.tasks) - 1
    assert sorted(made.labels.censor[regression].tolist()) == [-1, *[0] * 8, 1]
    strongest = made.labels.value[regression].argmax()
    assert made.labels.censor[regression][strongest] == 1  # less of a compound is a higher pIC50


def test_what_results_become_needs_a_column_of_units_and_a_unit_that_exists() -> None:
    with pytest.raises(OptionError, match="column of units"):
        PlainLayout(smiles="s", endpoints=("IC50",), to="pIC50")
    with pytest.raises(UnknownNameError, match="pIC51"):
        PlainLayout(smiles="s", assay="a", value="v", unit="u", to="pIC51")


def test_an_expectation_that_nothing_can_answer_to_is_a_departure(tmp_path: Path) -> None:
    t0 = {"input_assay_id": ["A", "B"], "assay_type": ["OTHER", "ADME"], "is_binary": ["true", "false"]}
    columns = {"smiles": SMILES, "assay": ["A"] * 10, "value": [1] * 3 + [-1] * 7}
    tables = [write_csv(tmp_path / "T0.csv", t0), write_csv(tmp_path / "own.csv", columns)]
    assert prepared(tmp_path, tables, *LONG).exit_code == 0
    expected = tmp_path / "expected.toml"
    for text, found in (
        ('assays = "ADEM"', [("ADEM", "assays")]),  # a slip of the pen
        ('assays = "ADME"', [("B", "results")]),
        ('assays = "OTHER"\nactives = [0.9, 1.0]', [("A", "class-balance")]),
        ('assays = "OTHER"\nactives = [0.25, 0.35]', []),
    ):
        expected.write_text(f"[[expect]]\n{text}\n")
        result = check_prepared(tmp_path / "out", None, read_expectations(expected))
        assert [(one.assay_id, one.kind.value) for one in result.drifts] == found


def test_two_spellings_of_micromolar_are_one_unit(tmp_path: Path) -> None:
    units = ["uM", "µM", "μM", " uM", ""] * 2
    table = write_csv(tmp_path / "own.csv", {"smiles": SMILES, "assay": ["A"] * 10, "value": range(10), "unit": units})
    assert prepared(tmp_path, [table], *LONG, "--unit-column", "unit", "--assay-type", "ADME").exit_code == 0
    assert rejects(tmp_path) == []
    for spelling, met in (("µM", True), ("μM", True), ("uM", True), ("nM", False)):
        expected = tmp_path / "expected.toml"
        expected.write_text(f'[[expect]]\nassays = "ADME"\nunit = "{spelling}"\n', encoding="utf-8")
        arguments = ["prepare", "check", str(tmp_path / "out"), "--expectations", str(expected)]
        assert isinstance(CliRunner().invoke(app, arguments).exception, ExpectationError) is not met


def test_options_of_plain_tables_are_refused_where_there_is_none(tmp_path: Path) -> None:
    t0 = write_csv(tmp_path / "T0.csv", {"input_assay_id": ["A"], "assay_type": ["OTHER"]})
    t1 = {"input_compound_id": SMILES, "input_assay_id": ["A"] * 10, "standard_value": [5, 6] * 5}
    t2 = {"input_compound_id": SMILES, "smiles": SMILES}
    tables = [t0, write_csv(tmp_path / "T1.csv", t1), write_csv(tmp_path / "T2.csv", t2)]
    for option in (("--direction", "low"), ("--assay-type", "ADME"), ("--direction", "high")):
        result = prepared(tmp_path, tables, *option)
        assert isinstance(result.exception, OptionError)
        assert "plain tables" in str(result.exception)
    assert prepared(tmp_path, tables).exit_code == 0


@pytest.mark.parametrize(
    ("t0", "listed"),
    [
        ("A,ADME,down\n", [(1, "unknown-word")]),
        ("A,ADME,low\nA,ADME,low\n", [(1, "assay-twice"), (2, "assay-twice")]),
        ("A,ADME\n", [(1, "wrong-field-count")]),
        ("A,ADME,low,more\n", [(1, "wrong-field-count")]),
    ],
)
def test_an_assay_that_t0_turned_away_never_comes_back_under_default_rules(
    tmp_path: Path, t0: str, listed: list[tuple[int, str]]
) -> None:
    described = tmp_path / "T0.csv"
    described.write_text(f"input_assay_id,assay_type,direction\n{t0}")
    columns = {"smiles": SMILES, "assay": ["A", "B"] * 5, "value": [5, 5, 6, 6, 7, 7, 8, 8, 9, 9]}
    assert prepared(tmp_path, [described, write_csv(tmp_path / "own.csv", columns)], *LONG).exit_code == 0
    assert {task.assay_id for task in open_prepared(tmp_path / "out").tasks} == {"B"}
    rows = [("own.csv", row, "assay-rejected") for row in range(1, 11, 2)]
    assert rejects(tmp_path) == [("T0.csv", row, reason) for row, reason in listed] + rows


@pytest.mark.parametrize("direction", ["high", "low", ""])
def test_ones_of_a_binary_assay_are_its_actives(tmp_path: Path, direction: str) -> None:
    t0 = {"input_assay_id": ["A"], "assay_type": ["OTHER"], "direction": [direction], "is_binary": ["true"]}
    columns = {"smiles": SMILES, "assay": ["A"] * 10, "value": [1] * 3 + [-1] * 7}
    tables = [write_csv(tmp_path / "T0.csv", t0), write_csv(tmp_path / "own.csv", columns)]
    assert prepared(tmp_path, tables, *LONG).exit_code == 0
    found = values_by_smiles(tmp_path, "classification|A|binary|0.0")
    assert found == {smiles: float(number < 3) for number, smiles in enumerate(SMILES)}


def test_a_missing_identifier_is_told_by_the_column_of_the_partners_own_file(tmp_path: Path) -> None:
    ids = [None, *(f"c{number}" for number in range(1, 10))]
    columns = {"name": ids, "smiles": SMILES, "assay": ["A", None, *["A"] * 8], "value": range(10)}
    table = write_csv(tmp_path / "own.csv", columns)
    assert prepared(tmp_path, [table], *LONG, "--id-column", "name", "--assay-type", "ADME").exit_code == 0
    told = pa_csv.read_csv(tmp_path / "out" / "rejects.csv")
    rows = zip(*(told[name].to_pylist() for name in ("row", "reason", "explanation")), strict=True)
    missing = (1, "missing-field", "name is missing")  # of the table's compounds, and of its results
    assert list(rows) == [missing, missing, (2, "missing-field", "assay is missing")]


@pytest.mark.parametrize("method", ["scaffold", "lsh"])
def test_mirror_images_share_a_fold_where_stereo_is_kept(tmp_path: Path, method: str) -> None:
    left = ("O=C1N[C@@H](c2ccccc2)Cc2ccccc21", "CC[C@H](C)O", "CC[C@@H](F)Cl", "C/C=C/CO", "C[C@@H](N)C(=O)O")
    right = ("O=C1N[C@H](c2ccccc2)Cc2ccccc21", "CC[C@@H](C)O", "CC[C@H](F)Cl", "C/C=C\\CO", "C[C@H](N)C(=O)O")
    table = write_csv(tmp_path / "own.csv", {"smiles": left + right, "assay": ["A"] * 10, "value": range(10)})
    folds = f"n_folds = 20\nmethod = '{method}'\n[standard]\nkeep_stereo = true\n"
    assert prepared(tmp_path, [table], *LONG, settings=SETTINGS.replace("n_folds = 2\n", folds)).exit_code == 0
    made = pa_csv.read_csv(tmp_path / "out" / "compounds.csv").to_pydict()
    assert len(set(made["standard_smiles"])) == 10
    fold = dict(zip(made["input_compound_id"], made["fold"], strict=True))
    assert [fold[smiles] for smiles in left] == [fold[smiles] for smiles in right]
