"""Tables read whole or refused, and folders of prepared tasks written whole, replaced whole, or left as they were."""

import gzip
from pathlib import Path

import pytest

from bundle_cases import home_of, partner_at
from pharmonia.base.errors import DataFileError, InputError
from pharmonia.data.assays_rejects import RejectLog
from pharmonia.run.bundle_export import TrainedPartner
from pharmonia.run.prepare_files import open_prepared, read_table, write_prepared


@pytest.fixture(scope="module")
def partner(tmp_path_factory: pytest.TempPathFactory) -> TrainedPartner:
    return partner_at(home_of(tmp_path_factory))


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


def test_a_folder_is_replaced_from_inside_it(
    partner: TrainedPartner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "prepared"
    write_prepared(folder, partner.prepared, partner.recipe, {"note.txt": b"old"})
    monkeypatch.chdir(folder)
    write_prepared(Path(), partner.prepared, partner.recipe, {"note.txt": b"new"})
    assert (folder / "note.txt").read_bytes() == b"new"
    open_prepared(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["prepared"]


def test_a_folder_that_cannot_be_replaced_stays(
    partner: TrainedPartner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rename = tmp_path / "prepared", Path.rename
    write_prepared(folder, partner.prepared, partner.recipe, {"note.txt": b"old"})
    aside: list[bool] = []

    def fail(path: Path, target: Path) -> Path:
        if path.name.endswith(".partial"):
            aside.append(any((other / "note.txt").is_file() for other in tmp_path.glob("*.replaced")))
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(InputError, match=r"cannot write .*prepared: Input/output error"):
        write_prepared(folder, partner.prepared, partner.recipe, {"note.txt": b"new"})
    assert aside == [True]  # a kill here would have lost neither
    assert (folder / "note.txt").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["prepared"]
