"""A file of structures comes back with every row predicted or its reason, in every format and by the command."""

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from rdkit import Chem
from rdkit.Chem import rdDepictor
from typer.testing import CliRunner

from bundle_cases import SMILES, few_references, home_of
from pharmonia.base.errors import DataFileError, InputError, OptionError, UnknownNameError
from pharmonia.chem.standardise_qsar_settings import Refusal
from pharmonia.chem.structures_sdf import MAX_RECORD_LENGTH, sdf_records, sdf_smiles
from pharmonia.cli.main import app
from pharmonia.run.bundle import read_bundle, write_bundle
from pharmonia.run.bundle_export import TrainedPartner
from pharmonia.run.fetch import no_progress
from pharmonia.run.predict import Predictor
from pharmonia.run.predict_domain import DomainState
from pharmonia.run.predict_files import PredictPlan, PredictSummary, predict_file
from pharmonia.run.predict_input import read_structures
from pharmonia.run.predict_output import TableLayout
from predict_cases import partner_with_bundle, predictor_at
from prepare_cases import KEY, write_csv


@pytest.fixture(autouse=True)
def references(monkeypatch: pytest.MonkeyPatch) -> None:
    few_references(monkeypatch)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return home_of(tmp_path_factory)


@pytest.fixture(scope="module")
def partner(home: Path) -> TrainedPartner:
    return partner_with_bundle(home)


@pytest.fixture(scope="module")
def predictor(home: Path, partner: TrainedPartner) -> Iterator[Predictor]:
    with predictor_at(home) as opened:
        yield opened


def plan(home: Path, source: Path, out: str, layout: TableLayout = TableLayout.WIDE, **fields: object) -> PredictPlan:
    values: dict[str, object] = {"smiles_column": None, "id_column": None, "tasks": (), "error_rate": 0.2}
    return PredictPlan(source=source, out=home / out, layout=layout, **{**values, **fields})  # type: ignore[arg-type]


def test_a_table_comes_back_with_every_row_and_rejects_beside_it(predictor: Predictor, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "in.csv", {"name": ["a", "b", "c", "d"], "SMILES": ["CCO", "CC(", None, "Cc1ccccc1"]})
    with source.open("a") as file:
        file.write("e,CC,too,many\n")
    asked = plan(tmp_path, source, "out.csv", id_column="name")
    summary = predict_file(predictor, asked, no_progress)
    assert summary == PredictSummary(
        n_records=5,
        n_in_domain=summary.n_in_domain,
        domain=DomainState.JUDGED,
        n_without_field=0,
        rejected={"unreadable-structure": 1, "empty-structure": 1, "wrong-field-count": 1},
    )
    table = pa_csv.read_csv(tmp_path / "out.csv")
    assert table["id"].to_pylist() == ["a", "b", "c", "d", "e"]
    assert table["row"].to_pylist() == [1, 2, 3, 4, 5]
    reasons = table["reason"].to_pylist()
    assert reasons == ["", "unreadable-structure", "empty-structure", "", "wrong-field-count"]
    found = predictor.predict(["CCO", "Cc1ccccc1"])
    for number, task in enumerate(found.tasks):
        values = table[task.task_id].to_pylist()
        assert [value is None for value in values] == [False, True, True, False, True]
        np.testing.assert_allclose([values[0], values[3]], found.predicted[:, number], rtol=1e-5)
    rejects = pa_csv.read_csv(tmp_path / "out.rejects.csv").to_pydict()
    assert rejects["row"] == [2, 3, 5]
    assert rejects["reason"] == ["unreadable-structure", "empty-structure", "wrong-field-count"]
    assert rejects["explanation"][2] == "the row has 4 fields, the header 2"


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_wide_and_long_say_the_same_in_every_format(predictor: Predictor, tmp_path: Path, suffix: str) -> None:
    source = tmp_path / "in.csv.gz"
    source.write_bytes(gzip.compress(("smiles\n" + "\n".join([*SMILES[:6], "CC("]) + "\n").encode()))
    tables = {}
    for layout in TableLayout:
        asked = plan(tmp_path, source, f"{layout}{suffix}", layout)
        predict_file(predictor, asked, no_progress)
        is_parquet = suffix == ".parquet"
        tables[layout] = (pq.read_table if is_parquet else pa_csv.read_csv)(tmp_path / f"{layout}{suffix}").to_pylist()
    wide, long = tables[TableLayout.WIDE], tables[TableLayout.LONG]
    tasks = predictor.tasks()
    assert len(wide) == 7
    assert len(long) == 6 * len(tasks) + 1
    assert long[-1]["task"] in (None, "")
    assert long[-1]["reason"] == "unreadable-structure"
    assert long[-1]["predicted"] is None
    for row in long[:-1]:
        compound = wide[row["row"] - 1]
        assert row["predicted"] == compound[row["task"]]
        for part in ("lower", "upper", "p_active", "p_inactive", "set", "in_domain"):
            name = f"{row['task']}|{part}"
            assert (row[part] or None) == (compound.get(name) or None)


def test_chunks_change_nothing(predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pharmonia.run import predict_files

    source = write_csv(tmp_path / "in.csv", {"smiles": [*SMILES[:30], "CC(", *SMILES[:7]]})
    predict_file(predictor, plan(tmp_path, source, "whole.csv", TableLayout.LONG), no_progress)
    monkeypatch.setattr(predict_files, "_FEWEST", 1)
    monkeypatch.setattr(predict_files, "_MOST", 4)
    told: list[tuple[int, int]] = []
    predict_file(
        predictor, plan(tmp_path, source, "parts.csv", TableLayout.LONG), lambda _, n, of: told.append((n, of))
    )
    assert len(told) == 10
    assert told[-1] == (source.stat().st_size,) * 2
    whole, parts = (pa_csv.read_csv(tmp_path / name).to_pydict() for name in ("whole.csv", "parts.csv"))
    for name, column in whole.items():
        if name in ("predicted", "lower", "upper"):
            wanted, found = (np.array(values, dtype=float) for values in (column, parts[name]))
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
        elif not name.startswith("p_") and name not in ("set", "in_domain"):
            assert parts[name] == column, name


def sdf(smiles: list[str], **fields: str) -> str:
    text = ""
    for number, one in enumerate(smiles):
        molecule = Chem.MolFromSmiles(one)
        rdDepictor.Compute2DCoords(molecule)
        molecule.SetProp("_Name", f"mol {number}")
        text += Chem.MolToMolBlock(molecule)
        text += "".join(f">  <{name}>\n{value}-{number}\n\n" for name, value in fields.items()) + "$$$$\n"
    return text


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_an_sdf_predicts_as_its_smiles_do(predictor: Predictor, tmp_path: Path, end: str, packed: bool) -> None:
    broken = "broken\n\n\nnot a molecule\nM  END\n$$$$\n"
    text = (sdf(list(SMILES[:3]), CODE="X") + broken + "\n\n$$$$\n" + sdf([SMILES[3]])).replace("\n", end)
    source = tmp_path / ("in.sdf.gz" if packed else "in.sdf")
    source.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    summary = predict_file(predictor, plan(tmp_path, source, "out.csv"), no_progress)
    assert summary.n_records == 6
    assert summary.rejected == {"unreadable-structure": 2}
    table = pa_csv.read_csv(tmp_path / "out.csv")
    assert table["id"].to_pylist() == ["mol 0", "mol 1", "mol 2", "broken", "5", "mol 0"]
    found = predictor.predict(SMILES[:4])
    assert [form for form in table["standard_smiles"].to_pylist() if form] == list(found.forms)
    chunks = read_structures(source, None, "CODE", 10)
    assert [record.identifier for chunk in chunks for record in chunk.records] == [
        "X-0", "X-1", "X-2", "broken", "5", "mol 0",
    ]  # fmt: skip
    summary = predict_file(predictor, plan(tmp_path, source, "named.csv", id_column="CODE"), no_progress)
    assert summary.n_without_field == 3


def test_an_sdf_whose_records_all_lack_the_field_is_refused_with_those_there_are(
    predictor: Predictor, tmp_path: Path
) -> None:
    source = tmp_path / "in.sdf"
    source.write_text(sdf(list(SMILES[:3]), CODE="X", BATCH="B"))
    with pytest.raises(UnknownNameError, match=r"no data field of in\.sdf named 'COD'. Did you mean 'CODE'"):
        predict_file(predictor, plan(tmp_path, source, "out.csv", id_column="COD"), no_progress)
    assert [path.name for path in tmp_path.iterdir()] == ["in.sdf"]
    source.write_text(sdf(list(SMILES[:3])))
    with pytest.raises(DataFileError, match="no record has a data field"):
        predict_file(predictor, plan(tmp_path, source, "out.csv", id_column="CODE"), no_progress)
    source.write_text("")
    assert predict_file(predictor, plan(tmp_path, source, "out.csv", id_column="CODE"), no_progress).n_records == 0


def test_a_domain_that_is_not_known_is_an_empty_cell_and_said(
    home: Path, partner: TrainedPartner, key_file: Path, tmp_path: Path
) -> None:
    write_bundle(tmp_path / "b.zip", replace(read_bundle(home / "acme.zip").contents, domain=None))
    source = write_csv(tmp_path / "in.csv", {"smiles": SMILES[:4]})
    base = ["predict", str(tmp_path / "b.zip"), str(source), "--key", str(key_file), "--workers", "1"]
    done = CliRunner().invoke(app, [*base, "--out", str(tmp_path / "o.parquet"), "--layout", "long"])
    assert done.exit_code == 0, done.output
    assert "domain not known" in done.stdout
    table = pq.read_table(tmp_path / "o.parquet").to_pydict()
    assert set(table["in_domain"]) == set(table["novelty"]) == set(table["domain_p"]) == {None}
    assert None not in table["predicted"]
    done = CliRunner().invoke(app, [*base, "--out", str(tmp_path / "p.csv"), "--json"])
    assert json.loads(done.stdout)["domain"] == "not known"


def test_records_of_an_sdf_never_swallow_each_other() -> None:
    huge = "big\n" + ("x" * 1000 + "\n") * (MAX_RECORD_LENGTH // 1000 + 5) + "$$$$\n"
    text = sdf(["CCO"]) + huge + sdf(["CCN"], A="1") + "$$$$\n" + sdf(["CCC"])[: -len("$$$$\n")]
    found = list(sdf_records(text.splitlines(keepends=True)))
    assert [record.title for record in found] == ["mol 0", "big", "mol 0", "", "mol 0"]
    assert [sdf_smiles(record) for record in found] == [
        "CCO", Refusal.UNREADABLE, "CCN", Refusal.UNREADABLE, "CCC",
    ]  # fmt: skip
    assert found[2].fields == {"A": "1-0"}


def test_a_polymer_drawn_with_brackets_is_not_taken_for_its_unit() -> None:
    block = sdf(["CCO"]).replace(
        "M  END\n",
        "M  STY  1   1 SRU\nM  SAL   1  2   1   2\nM  SBL   1  1   2\nM  SMT   1 n\n"
        "M  SDI   1  4   -1.0000    0.0000   -1.0000    1.0000\n"
        "M  SDI   1  4    1.0000    0.0000    1.0000    1.0000\nM  END\n",
    )
    (record,) = sdf_records(block.splitlines())
    assert sdf_smiles(record) is Refusal.POLYMER


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("in.txt", b"smiles\nCC\n", "should end in one of"),
        ("in.csv", b"", "has no header"),
        ("in.csv", b"name\nCC\n", "no column of in.csv named 'smiles'"),
        ("in.csv.gz", b"smiles\nCC\n", "cannot be read"),
        ("in.csv.gz", gzip.compress(b"smiles\nCC\n" * 1000, mtime=0)[:-20], "cannot be read"),
        ("in.csv", b'smiles\n"' + b"C" * 200_000, "cannot be read"),
    ],
)
def test_a_file_that_is_none_leaves_nothing_behind(
    predictor: Predictor, tmp_path: Path, name: str, content: bytes, error: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=error):
        predict_file(predictor, plan(tmp_path, tmp_path / name, "out.csv"), no_progress)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_bytes_that_are_no_text_spoil_their_row_only(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b"\xef\xbb\xbfsmiles,x\nCCO,\xff\n\xfe\xff,1\nCC\x00,2\nCCN,3\n")
    summary = predict_file(predictor, plan(tmp_path, tmp_path / "in.csv", "out.csv"), no_progress)
    assert summary.n_records == 4
    assert summary.rejected == {"unreadable-structure": 2}


def test_files_are_never_overwritten_and_outputs_have_known_names(predictor: Predictor, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "in.csv", {"smiles": ["CC"]})
    with pytest.raises(InputError, match="never overwrite"):
        predict_file(predictor, plan(tmp_path, source, "in.csv"), no_progress)
    with pytest.raises(DataFileError, match="should end in one of"):
        predict_file(predictor, plan(tmp_path, source, "out.xlsx"), no_progress)
    with pytest.raises(OptionError, match="between 0 and 1"):
        plan(tmp_path, source, "out.csv", error_rate=2.0)
    (tmp_path / "x.sdf").write_text(sdf(["CC"]))
    with pytest.raises(OptionError, match="in no column"):
        predict_file(predictor, plan(tmp_path, tmp_path / "x.sdf", "o.csv", smiles_column="a"), no_progress)


@pytest.fixture(scope="module")
def key_file(home: Path) -> Path:
    path = home / "consortium.key"
    path.write_bytes(b"pharmonia preparation key\n" + KEY.secret.hex().encode() + b"\n")
    path.chmod(0o600)
    return path


def test_the_command_predicts_a_file(partner: TrainedPartner, home: Path, key_file: Path, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "in.csv", {"smiles": [*SMILES[:4], "CC("]})
    out = tmp_path / "out.parquet"
    base = ["predict", str(home / "acme.zip"), str(source), "--key", str(key_file), "--out", str(out), "--workers", "1"]
    done = CliRunner().invoke(app, [*base, "--layout", "long", "--task", "kinase", "--error-rate", "0.1", "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["compounds"] == 5
    assert document["rejected"] == {"unreadable-structure": 1}
    assert set(pq.read_table(out)["assay"].to_pylist()) == {"kinase", None}
    assert (tmp_path / "out.rejects.csv").is_file()


def test_the_command_checks_a_bundle(partner: TrainedPartner, home: Path, key_file: Path) -> None:
    base = ["predict", str(home / "acme.zip"), "--key", str(key_file), "--workers", "1"]
    done = CliRunner().invoke(app, [*base, "--check", str(home / "prepared")])
    assert done.exit_code == 0, done.output
    assert "largest difference" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["in.csv"], ["in.csv", "--out", "o.csv", "--check", "prepared"]])
def test_the_command_wants_a_file_and_a_place_or_a_check(
    partner: TrainedPartner, home: Path, key_file: Path, arguments: list[str]
) -> None:
    done = CliRunner().invoke(app, ["predict", str(home / "acme.zip"), "--key", str(key_file), *arguments])
    assert isinstance(done.exception, OptionError)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in.csv", "--check", "prepared"], "--check writes no predictions: leave INPUT away"),
        (["--check", "prepared", "--out", "o.csv"], "leave --out away"),
        (["--check", "prepared", "--layout", "wide"], "leave --layout away"),
        (["--check", "prepared", "--task", "kinase"], "leave --task away"),
        (["--check", "prepared", "--error-rate", "0.2"], "leave --error-rate away"),
        (["--check", "prepared", "--smiles-column", "s"], "leave --smiles-column away"),
        (["--check", "prepared", "--id-column", "i"], "leave --id-column away"),
        (["in.csv", "--out", "o.csv", "--platform", "p.npy"], "only --check compares .*: leave --platform away"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(key_file: Path, arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["predict", "acme.zip", "--key", str(key_file), *arguments])
    assert isinstance(done.exception, OptionError)
    assert re.search(message, str(done.exception))
