"""Tables to a folder and back: whole, verified, the same at every partner, and never a crash."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pharmonia.base.canonical import canonical_json
from pharmonia.base.errors import (
    CacheError,
    DataFileError,
    ExpectationError,
    InputError,
    KeyFileError,
    OptionError,
    PharmoniaError,
    RecipeError,
)
from pharmonia.chem.keyed import PreparationKey
from pharmonia.cli.main import app
from pharmonia.data.assays import AssayType
from pharmonia.data.assays_tables import PlainLayout
from pharmonia.data.contract_report import PrepareReport
from pharmonia.data.recipe_codec import profile_from
from pharmonia.data.recipe_profile import PrepareProfile
from pharmonia.run import datasets, prepare_structures
from pharmonia.run.fetch import no_progress
from pharmonia.run.prepare import PreparePlan, prepare
from pharmonia.run.prepare_check import check_prepared, read_expectations, read_recipe
from pharmonia.run.prepare_files import open_prepared
from pharmonia.run.prepare_key import create_preparation_key, read_preparation_key
from prepare_cases import KEY, write_csv

RINGS = ("c1ccccc1{}", "c1ccncc1{}", "C1CCNCC1{}", "c1ccc2[nH]ccc2c1{}", "c1cnc2ccccc2c1{}", "C1CCOC1{}", "c1csc({})n1")
GROUPS = ("C", "CC", "O", "N", "F", "Cl", "C#N", "C(=O)O", "C(N)=O", "OC", "CO", "CN", "S(N)(=O)=O", "C(F)(F)F", "CCO")
SMILES = tuple(ring.format(group) for ring in RINGS for group in GROUPS)
PROFILE = profile_from(
    {
        "min_fold_std": -1.0,
        "rules": {
            kind.value: {"n_active": 5, "n_inactive": 5, "n_total": 10, "n_uncensored": 5, "n_fold_active": 1}
            for kind in (AssayType.OTHER, AssayType.ADME)
        },
    }
)


@pytest.fixture(autouse=True)
def few_references(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole reference takes many seconds; its own tests are elsewhere."""
    monkeypatch.setattr(prepare_structures, "reference_structures", lambda: ("Oc1ccccn1", "CC("))


@pytest.fixture(scope="module")
def structures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that all tests here share."""
    return tmp_path_factory.mktemp("structures") / "structures.sqlite"


def values(smiles: tuple[str, ...]) -> list[float]:
    return [round(3.5 + (sum(map(ord, text)) % 60) / 10, 2) for text in smiles]


def tuner_tables(folder: Path, smiles: tuple[str, ...] = SMILES, prefix: str = "") -> tuple[Path, ...]:
    ids = [f"{prefix}c{number}" for number in range(len(smiles))]
    folder.mkdir(parents=True, exist_ok=True)
    return (
        write_csv(
            folder / "T0.csv",
            {"input_assay_id": ["kinase"], "assay_type": ["OTHER"], "expert_threshold_1": [6], "direction": ["high"]},
        ),
        write_csv(
            folder / "T1.csv",
            {
                "input_compound_id": ids,
                "input_assay_id": ["kinase"] * len(ids),
                "standard_qualifier": ["="] * len(ids),
                "standard_value": values(smiles),
            },
        ),
        write_csv(folder / "T2.csv", {"input_compound_id": ids, "smiles": list(smiles)}),
    )


def plan(folder: Path, tables: tuple[Path, ...], cache: Path | None, key: PreparationKey = KEY) -> PreparePlan:
    return PreparePlan(
        tables=tables, layout=None, key=key, profile=PROFILE, wanted=None, out=folder / "prepared",
        cache=cache, n_workers=1, again=False,
    )  # fmt: skip


def run(folder: Path, tables: tuple[Path, ...], cache: Path) -> PrepareReport:
    return prepare(plan(folder, tables, cache), no_progress)


def rejects(folder: Path) -> list[tuple[str, int, str]]:
    table = pa_csv.read_csv(folder / "prepared" / "rejects.csv")
    return list(zip(*(table[name].to_pylist() for name in ("table", "row", "reason")), strict=True))


def features_by_id(folder: Path) -> dict[str, tuple[int, list[int]]]:
    made = open_prepared(folder / "prepared")
    table = pa_csv.read_csv(folder / "prepared" / "compounds.csv").to_pydict()
    rows = zip(table["input_compound_id"], table["row"], strict=True)
    return {name: (int(made.fold[row]), made.features.row(row).tolist()) for name, row in rows}


def test_tables_become_a_folder_that_opens_as_it_was_written(tmp_path: Path, structures: Path) -> None:
    report = run(tmp_path, tuner_tables(tmp_path), structures)
    made = open_prepared(tmp_path / "prepared")
    assert report.counts.results == len(SMILES) == 105
    assert [task.task_id for task in made.tasks] == [
        "classification|kinase|expert|6.0",
        "classification|kinase|aux-low|5.5",
        "classification|kinase|aux-high|6.5",
        "regression|kinase",
    ]
    assert made.n_compounds == report.counts.rows == sum(report.fold_rows)
    assert len(made.labels) == report.counts.labels == sum(report.fold_labels) == 4 * 105
    assert report.n_rejected == 0
    assert (made.features.n_columns, made.n_folds) == (32_000, 5)
    assert isinstance(made.features.indices.base, np.memmap)
    assert read_recipe(tmp_path / "prepared").digest == made.recipe_digest == report.recipe_digest


def test_a_compounds_row_does_not_depend_on_what_else_is_in_the_file(tmp_path: Path, structures: Path) -> None:
    run(tmp_path / "all", tuner_tables(tmp_path / "all"), structures)
    some = SMILES[::-3]
    run(tmp_path / "some", tuner_tables(tmp_path / "some", some, "other-"), structures)
    whole, part = features_by_id(tmp_path / "all"), features_by_id(tmp_path / "some")
    number = {text: i for i, text in enumerate(SMILES)}
    for index, text in enumerate(some):
        assert part[f"other-c{index}"] == whole[f"c{number[text]}"]


def test_two_partners_put_one_ring_system_into_one_fold_and_one_compound_into_equal_columns(
    tmp_path: Path, structures: Path
) -> None:
    mine, yours = SMILES[::2], SMILES[1::2] + SMILES[:3]
    run(tmp_path / "mine", tuner_tables(tmp_path / "mine", mine), structures)
    run(tmp_path / "yours", tuner_tables(tmp_path / "yours", yours), structures)
    at_mine, at_yours = features_by_id(tmp_path / "mine"), features_by_id(tmp_path / "yours")
    ring_of = {text: ring for ring in RINGS for text in SMILES if text in {ring.format(group) for group in GROUPS}}
    fold_of_ring = {ring_of[text]: at_mine[f"c{i}"][0] for i, text in enumerate(mine)}
    for index, text in enumerate(yours):
        fold, columns = at_yours[f"c{index}"]
        assert fold == fold_of_ring[ring_of[text]]
        if text in mine:
            assert columns == at_mine[f"c{mine.index(text)}"][1]


def test_another_key_gives_other_columns_and_is_refused_under_the_recipe(tmp_path: Path, structures: Path) -> None:
    tables = tuner_tables(tmp_path)
    run(tmp_path, tables, structures)
    agreed = read_recipe(tmp_path / "prepared")
    other = replace(
        plan(tmp_path, tables, structures, PreparationKey(secret=bytes(32))), wanted=agreed, out=tmp_path / "other"
    )
    with pytest.raises(RecipeError, match="another key"):
        prepare(other, no_progress)
    assert not (tmp_path / "other").exists()
    prepare(replace(other, wanted=None), no_progress)
    with pytest.raises(RecipeError, match="another key"):
        open_prepared(tmp_path / "other", agreed)
    ours, theirs = open_prepared(tmp_path / "prepared"), open_prepared(tmp_path / "other")
    assert ours.features.row(0).tolist() != theirs.features.row(0).tolist()


def test_plain_tables_come_to_what_tuners_tables_come_to(tmp_path: Path, structures: Path) -> None:
    run(tmp_path / "tuner", tuner_tables(tmp_path / "tuner"), structures)
    wide = pa.table({"s": list(SMILES), "kinase": values(SMILES), "note": ["text"] * len(SMILES)})
    pq.write_table(wide, tmp_path / "wide.parquet")
    long = write_csv(tmp_path / "long.csv", {"s": SMILES, "assay": ["kinase"] * len(SMILES), "value": values(SMILES)})
    t0 = tmp_path / "tuner" / "T0.csv"
    for path, layout in (
        (tmp_path / "wide.parquet", PlainLayout(smiles="s", endpoints=("kinase",))),
        (long, PlainLayout(smiles="s", assay="assay", value="value")),
    ):
        out = tmp_path / path.stem
        prepare(replace(plan(out, (t0, path), structures), layout=layout), no_progress)
        for name in ("features.indices", "fold", "labels.compound", "labels.task", "labels.value"):
            tuner = (tmp_path / "tuner" / "prepared" / f"{name}.npy").read_bytes()
            assert (out / "prepared" / f"{name}.npy").read_bytes() == tuner


def test_columns_of_numbers_flags_and_categories_are_taken_as_text(tmp_path: Path, structures: Path) -> None:
    run(tmp_path / "csv", tuner_tables(tmp_path / "csv"), structures)
    n = len(SMILES)
    t0 = {"input_assay_id": [7], "assay_type": ["OTHER"], "is_binary": [False], "expert_threshold_1": [6.0]}
    t1 = {"input_compound_id": list(range(n)), "input_assay_id": [7] * n, "standard_value": values(SMILES)}
    categories = pa.array(range(n)).dictionary_encode()
    tables = {
        "T0": pa.table(t0),
        "T1": pa.table(t1),
        "T2": pa.table({"input_compound_id": categories, "smiles": SMILES}),
    }
    for name, table in tables.items():
        pq.write_table(table, tmp_path / f"{name}.parquet")
    report = run(tmp_path, tuple(tmp_path / f"{name}.parquet" for name in tables), structures)
    assert report.n_rejected == 0
    one, two = (open_prepared(place / "prepared") for place in (tmp_path, tmp_path / "csv"))
    np.testing.assert_array_equal(one.labels.value, two.labels.value)
    pq.write_table(pa.table({"input_compound_id": [[1]] * n, "smiles": SMILES}), tmp_path / "T2.parquet")
    with pytest.raises(DataFileError, match="input_compound_id"):
        prepare(
            replace(plan(tmp_path, tuple(tmp_path / f"{name}.parquet" for name in tables), structures), again=True),
            no_progress,
        )


def test_tables_without_an_assay_or_a_compound_are_told_not_crashed_on(tmp_path: Path, structures: Path) -> None:
    t0, t1, t2 = tuner_tables(tmp_path)
    t0.write_text("input_assay_id,assay_type\nkinase,nonsense\n", encoding="utf-8")
    assert run(tmp_path, (t0, t1, t2), structures).rejected == {
        "T1.csv: assay-rejected": 105,
        "T0.csv: unknown-word": 1,
    }
    empty = tuner_tables(tmp_path / "empty", ())
    assert run(tmp_path / "empty", empty, structures).counts.rows == 0


def test_bad_rows_are_listed_and_the_rest_is_prepared(tmp_path: Path, structures: Path) -> None:
    t0, t1, t2 = tuner_tables(tmp_path)
    with t1.open("a", encoding="utf-8") as file:
        file.write("c0,kinase,=,text\nc0,kinase,?,5\nnobody,kinase,=,5\nx1,kinase,=,5\nc0,kinase,=,11\nc0,kinase\n")
    with t2.open("a", encoding="utf-8") as file:
        file.write(f"x1,CC(\nx2,*CC*\nx3,{'C' * 120}\nx4,\nc0,c1ccccc1O\nx5,CCO,more\n")
    n = len(SMILES)
    report = run(tmp_path, (t0, t1, t2), structures)
    told = rejects(tmp_path)
    assert [one for one in told if one[1] > n] == [
        ("T1.csv", n + 1, "compound-rejected"),
        ("T1.csv", n + 2, "compound-rejected"),
        ("T1.csv", n + 3, "unknown-compound"),
        ("T1.csv", n + 4, "compound-rejected"),
        ("T1.csv", n + 5, "compound-rejected"),
        ("T1.csv", n + 6, "wrong-field-count"),
        ("T2.csv", n + 1, "unreadable-structure"),
        ("T2.csv", n + 2, "polymer-or-open-structure"),
        ("T2.csv", n + 3, "too-many-atoms"),
        ("T2.csv", n + 4, "empty-structure"),
        ("T2.csv", n + 5, "identifier-of-two-structures"),
        ("T2.csv", n + 6, "wrong-field-count"),
    ]
    assert [one for one in told if one[1] <= n] == [
        ("T1.csv", 1, "compound-rejected"),
        ("T2.csv", 1, "identifier-of-two-structures"),
    ]
    assert report.counts.results == n - 1
    assert report.n_rejected == len(told)


def test_tables_without_a_usable_row_make_an_empty_folder_with_reasons(tmp_path: Path, structures: Path) -> None:
    t0, t1, t2 = tuner_tables(tmp_path, ("CC(", "nonsense("))
    report = run(tmp_path, (t0, t1, t2), structures)
    assert report.counts.labels == 0
    assert report.refused_assays == (("kinase", "no result is left"),)
    assert any("no task is left" in line for line in report.warnings())
    assert open_prepared(tmp_path / "prepared").tasks == ()


def test_a_folder_is_replaced_only_when_asked_and_only_if_it_is_ours(tmp_path: Path, structures: Path) -> None:
    tables = tuner_tables(tmp_path)
    run(tmp_path, tables, structures)
    with pytest.raises(InputError, match="--again"):
        run(tmp_path, tables, structures)
    prepare(replace(plan(tmp_path, tables, structures), again=True), no_progress)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds no prepared tasks"):
        prepare(replace(plan(tmp_path, tables, structures), out=foreign, again=True), no_progress)
    assert (foreign / "thesis.txt").read_text() == "mine"


def test_equal_tables_make_equal_bytes(tmp_path: Path, structures: Path) -> None:
    for name in ("one", "two"):
        run(tmp_path / name, tuner_tables(tmp_path / name), structures)
    files = sorted(path.name for path in (tmp_path / "one" / "prepared").iterdir())
    assert "manifest.json" in files
    for name in files:
        one, two = ((tmp_path / place / "prepared" / name).read_bytes() for place in ("one", "two"))
        assert one == two


@pytest.mark.parametrize("name", ["fold.npy", "labels.value.npy", "tasks.json", "report.json", "manifest.json"])
@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
def test_a_damaged_folder_is_told(tmp_path: Path, structures: Path, name: str, how: str) -> None:
    run(tmp_path, tuner_tables(tmp_path, SMILES[:40]), structures)
    path = tmp_path / "prepared" / name
    content = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
    else:
        content[-2] ^= 1
        path.write_bytes(content if how == "flipped" else content[:-9])
    with pytest.raises((CacheError, InputError)):
        open_prepared(tmp_path / "prepared")


def test_a_folder_of_an_older_version_is_to_be_prepared_again(tmp_path: Path, structures: Path) -> None:
    run(tmp_path, tuner_tables(tmp_path, SMILES[:40]), structures)
    path = tmp_path / "prepared" / "manifest.json"
    body = {**json.loads(path.read_bytes()), "version": 1}
    del body["sha256"]
    path.write_text(json.dumps({**body, "sha256": hashlib.sha256(canonical_json(body)).hexdigest()}))
    with pytest.raises(CacheError, match="is of version 1 of pharmonia prepared tasks, not 2; prepare them again"):
        open_prepared(tmp_path / "prepared")


def test_the_check_holds_a_folder_against_recipe_and_expectations(tmp_path: Path, structures: Path) -> None:
    run(tmp_path, tuner_tables(tmp_path), structures)
    folder = tmp_path / "prepared"
    expected = tmp_path / "expectations.toml"
    expected.write_text('[[expect]]\nassays = "OTHER"\nmedian = [0, 1]\nunit = "pIC50"\n')
    result = check_prepared(folder, read_recipe(folder / "recipe.json"), read_expectations(expected))
    assert [one.kind.value for one in result.drifts] == ["unit", "value-range"]
    with pytest.raises(ExpectationError, match="2 of"):
        result.require()
    check_prepared(folder, None, ()).require()


@pytest.mark.parametrize(
    "content", ["", "\n\n", "a,a\n1,2\n", "input_compound_id,smiles\n\x00\xff", '"unclosed\n', "a\n1\n"]
)
def test_a_file_that_is_no_table_is_told(tmp_path: Path, structures: Path, content: str) -> None:
    tables = tuner_tables(tmp_path)
    tables[2].write_bytes(content.encode("latin-1"))
    with pytest.raises(DataFileError):
        run(tmp_path, tables, structures)


def test_a_key_file_is_read_by_its_holder_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = create_preparation_key(path)
    assert read_preparation_key(path) == key
    with pytest.raises(KeyFileError, match="never overwritten"):
        create_preparation_key(path)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_preparation_key(path)
    for content in (b"", b"pharmonia preparation key\n00\n", b"pharmonia preparation key\nzz\n", b"-----BEGIN"):
        bad = tmp_path / "bad"
        bad.write_bytes(content)
        bad.chmod(0o600)
        with pytest.raises(KeyFileError):
            read_preparation_key(bad)


def test_the_commands_prepare_and_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = CliRunner()
    tables = [str(path) for path in tuner_tables(tmp_path, SMILES[:60])]
    key, out, recipe = str(tmp_path / "key"), str(tmp_path / "out"), str(tmp_path / "recipe.json")
    profile = tmp_path / "profile.toml"
    profile.write_text("min_fold_std = -1.0\n[rules.OTHER]\nn_active = 5\nn_inactive = 5\n")
    assert runner.invoke(app, ["prepare", "key", key]).exit_code == 0
    made = runner.invoke(app, ["prepare", "recipe", recipe, "--key", key, "--profile", str(profile), "--workers", "1"])
    assert made.output.startswith("recipe digest")
    asked = ["prepare", *tables, "--key", key, "--out", out, "--recipe", recipe, "--workers", "1"]
    done = runner.invoke(app, [*asked, "--json"], catch_exceptions=False)
    report = json.loads(done.stdout)
    assert report["counts"]["results"] == 60
    assert report["recipe_digest"] == read_recipe(Path(recipe)).digest
    told = runner.invoke(app, ["prepare", "check", out, "--recipe", recipe], catch_exceptions=False)
    assert told.exit_code == 0
    assert "the recipe is the agreed one" in told.stdout
    plain = tmp_path / "plain.csv"
    plain.write_text("s,a\nCCO,ten\nCCN,many\n")
    nothing = [
        str(plain),
        "--key",
        key,
        "--out",
        f"{out}-2",
        "--workers",
        "1",
        "--smiles-column",
        "s",
        "--endpoint",
        "a",
    ]
    none = runner.invoke(app, ["prepare", *nothing])
    assert isinstance(none.exception, DataFileError)
    assert re.fullmatch(r"no result is usable: plain.csv: [a-z-]+ 2; see rejects.csv", str(none.exception))
    assert "prepared tasks" not in none.stdout
    assert (Path(f"{out}-2") / "rejects.csv").exists()
    both = runner.invoke(app, [*asked, "--profile", str(profile)])
    assert isinstance(both.exception, OptionError)
    lost = runner.invoke(app, [*asked[:-4], "--endpoint", "x"])
    assert isinstance(lost.exception, PharmoniaError)


@pytest.mark.mirror
def test_compounds_of_biogen_prepare_without_a_reject(mirror: Path, tmp_path: Path, structures: Path) -> None:
    datasets.fetch("biogen-adme", mirror=mirror)
    assays = datasets.load_assays("biogen-adme")
    n = 50
    columns: dict[str, list[object]] = {"id": list(assays.compound_ids[:n]), "smiles": list(assays.smiles[:n])}
    for number, name in enumerate(assays.endpoints):
        cells = assays.values[:n, number].tolist()
        columns[name] = [None if np.isnan(cell) else cell for cell in cells]
    table = write_csv(tmp_path / "biogen.csv", columns)
    layout = PlainLayout(smiles="smiles", compound_id="id", endpoints=assays.endpoints, assay_type=AssayType.ADME)
    report = prepare(replace(plan(tmp_path, (table,), structures), layout=layout), no_progress)
    assert report.n_rejected == 0
    assert report.counts.results_listed == int(np.isfinite(assays.values[:n]).sum())
    assert report.counts.forms == n
    assert PrepareProfile().folds.n_folds == len(report.fold_rows)
