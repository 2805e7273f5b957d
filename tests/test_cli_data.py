"""`pharmonia data` as people and machines call it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pharmonia.base.errors import DigestError, InputError, MissingExtraError, OptionError, UnknownNameError
from pharmonia.cli.data import app
from pharmonia.data.catalogue import CATALOGUE, KIBA

IMPORT = ["--smiles-column", "s", "--sequence-column", "p", "--value-column", "v"]
PROTEIN = "MKVLAADTGLSRWEHNPQYF"
ROWS = f"s,p,v\nCCO,{PROTEIN},10\nOCC,{PROTEIN},20\nCC(,{PROTEIN},1\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one test, and an empty cache."""
    monkeypatch.setenv("PHARMONIA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("PHARMONIA_MIRROR", raising=False)
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def output(*arguments: str) -> str:
    result = call(*arguments)
    assert result.exception is None, result.exception
    assert result.stderr == ""
    return result.stdout


def test_the_list_names_every_data_set_with_its_state(folder: Path) -> None:
    text = output("list")
    for name in CATALOGUE:
        assert name in text
    assert "118,254" in text
    assert text.count("not fetched") == 3
    listed = json.loads(output("list", "--json"))
    assert [one["name"] for one in listed] == list(CATALOGUE)
    assert listed[0]["state"] == "embedded"
    assert not (folder / "cache").exists()


def test_info_states_licence_citation_and_digests(folder: Path) -> None:
    text = output("info", "kiba")
    for expected in ("not stated by the source", "ci400709d", KIBA.files[0].sha256, "not fetched"):
        assert expected in text
    told = json.loads(output("info", "kiba", "--json"))
    assert told["sources"][0] == {
        "name": KIBA.files[0].url,
        "sha256": KIBA.files[0].sha256,
        "n_bytes": KIBA.files[0].n_bytes,
    }
    assert "MIT" in output("info", "kiba-sample")
    assert not (folder / "cache").exists()


def test_import_prints_what_became_of_the_rows(folder: Path) -> None:
    path = folder / "own.csv"
    path.write_text(ROWS)
    text = output("import", str(path), *IMPORT, "--unit", "nM", "--to", "pKd")
    for expected in ("kept + merged + rejected = read", "invalid-smiles", "own.rejects.csv", "own: pKd"):
        assert expected in text.replace("\n", "")
    told = json.loads(output("import", str(path), *IMPORT, "--name", "other", "--tolerance", "10", "--json"))
    assert (told["n_read"], told["n_kept"], told["n_merged"], told["n_rejected"]) == (3, 1, 1, 1)
    assert told["rejected"] == {"invalid-smiles": 1}
    assert told["measure"] == "v"
    assert [one["name"] for one in json.loads(output("list", "--json"))][-2:] == ["other", "own"]
    assert "3 rows read" in output("info", "own")


def test_import_warns_beside_its_results(folder: Path) -> None:
    path = folder / "own.csv"
    path.write_text("s,p,v\nCCO,EGFR,10\nCCC,EGFR,20\n")
    done = call("import", str(path), *IMPORT, "--json")
    assert done.stderr.startswith("warning: 2 rows, the first of them row 1, have a sequence of fewer than 20 residues")
    again = call("import", str(path), *IMPORT, "--again")
    assert "the data set holds 2 rows, 2 compounds, 1 target\n" in again.stdout
    assert json.loads(done.stdout)["warnings"] == [done.stderr.removeprefix("warning: ").strip()]


def test_the_tolerance_of_values_that_are_no_logarithms_is_nothing(folder: Path) -> None:
    path = folder / "own.csv"
    path.write_text(f"{ROWS}CCN,{PROTEIN},1\n")
    told = json.loads(output("import", str(path), *IMPORT, "--json"))
    assert told["rejected"] == {"invalid-smiles": 1, "replicates-disagree": 2}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["info", "kibba"], UnknownNameError, "mean 'kiba'"),
        (["fetch", "pdb"], UnknownNameError, "There are: biogen-adme"),
        (["fetch", "kiba", "--mirror", "absent"], InputError, "not a directory"),
        (["import", "own.csv", *IMPORT, "--unit", "nm"], UnknownNameError, "mean 'nM'"),
        (["import", "own.csv", *IMPORT, "--to", "pKd"], OptionError, "name a concentration"),
        (["import", "own.csv", *IMPORT, "--unit", "pKi", "--to", "pKd"], OptionError, "cannot become pKd"),
        (["import", "own.csv", *IMPORT, "--name", "davis"], OptionError, "catalogue"),
        (["import", "own.csv", *IMPORT[:-1], "value"], UnknownNameError, "There are: p, s, v"),
    ],
)
def test_bad_input_is_an_error_with_a_remedy_and_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], error: type[Exception], message: str
) -> None:
    monkeypatch.chdir(folder)
    (folder / "own.csv").write_text(ROWS)
    result = call(*arguments)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {"own.csv"}


def test_fetch_from_a_mirror_that_holds_other_bytes(folder: Path) -> None:
    for file in KIBA.files:
        (folder / "mirror" / file.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "mirror" / file.path).write_text("{}")
    result = call("fetch", "kiba", "--mirror", str(folder / "mirror"))
    assert isinstance(result.exception, DigestError)
    assert list((folder / "cache").iterdir()) == []


@pytest.mark.mirror
def test_fetch_says_what_is_ready(folder: Path, mirror: Path) -> None:
    assert "davis is ready: 30,056 rows, 68 compounds, 379 targets" in output("fetch", "davis", "--mirror", str(mirror))
    assert (folder / "cache" / "davis").is_dir()


def test_a_missing_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pharmonia.run.importing", None)
    result = call("import", str(folder / "own.csv"), *IMPORT)
    assert isinstance(result.exception, MissingExtraError)
    assert "pip install '.[train]'" in str(result.exception)


def test_listing_needs_neither_rdkit_nor_arrow_nor_torch(folder: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['rdkit', 'pyarrow', 'torch', 'safetensors'], None))\n"
        "from typer.testing import CliRunner\n"
        "from pharmonia.cli.data import app\n"
        "for call in (['--help'], ['import', '--help'], ['list'], ['info', 'kiba']):\n"
        "    result = CliRunner().invoke(app, call)\n"
        "    assert result.exit_code == 0, result.exception\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder)
