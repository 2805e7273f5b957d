"""What a comparison left for a partner becomes its bundle, and predicts what the run predicted."""

import json
import shutil
from dataclasses import asdict
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bundle_cases import FOLDS, SETTINGS, few_references, home_of, partner_at, prepare_partner
from pharmonia.base.errors import CacheError, InputError, StoreError, UnknownNameError
from pharmonia.cli.main import app
from pharmonia.data.assays import Direction
from pharmonia.learn.messages import vector_digest
from pharmonia.learn.multitask_data import predict_labels, task_places
from pharmonia.learn.multitask_network import trained_network
from pharmonia.run.arrayfile import write_arrays
from pharmonia.run.bundle import read_bundle
from pharmonia.run.bundle_export import TaskNote, TrainedPartner
from pharmonia.run.bundle_runs import RUN_FORMAT, find_run, notes_table, read_partner, task_notes
from pharmonia.run.predict_check import check_predictions
from pharmonia.run.prepare_check import check_prepared
from pharmonia.run.prepare_files import CANDIDATES, REPORT, open_prepared, write_prepared
from prepare_cases import KEY


@pytest.fixture(scope="module")
def partner(tmp_path_factory: pytest.TempPathFactory) -> TrainedPartner:
    return partner_at(home_of(tmp_path_factory))


@pytest.fixture(scope="module")
def out(partner: TrainedPartner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as docs/qsar.md describes it, of one partner; the second one's data are the first one's."""
    folder = tmp_path_factory.mktemp("out")
    run = folder / "runs" / "abc123"
    run.mkdir(parents=True)
    write_arrays(run / "model.safetensors", {"parameters": partner.shared}, {"best_round": 3})
    places = task_places(partner.prepared, SETTINGS)
    network = trained_network(SETTINGS, places.sizes, partner.shared, partner.private)
    everything = np.arange(len(partner.prepared.labels))
    for name in ("partner-1", "partner-2"):
        write_prepared(run / name / "prepared", partner.prepared, partner.recipe, {})
        write_arrays(run / name / "private.safetensors", {"private": partner.private}, {"partner": name})
        np.save(run / name / "predictions.npy", predict_labels(network, partner.prepared, places, everything))
    description = {
        "format": RUN_FORMAT[0],
        "format_version": RUN_FORMAT[1],
        "method": "fedsgd",
        "settings": asdict(SETTINGS),
        "partners": ["acme", "bolt"],
        "model_digest": vector_digest(partner.shared),
        "train_folds": list(FOLDS.train),
        "valid_fold": FOLDS.valid[0],
        "test_fold": FOLDS.test[0],
    }
    (run / "run.json").write_text(json.dumps(description))
    (folder / "federated.json").write_text(json.dumps({"0": "runs/abc123"}))
    return folder


def test_a_runs_partner_is_read_as_it_was_left(out: Path, partner: TrainedPartner) -> None:
    trained, note, notes = read_partner(find_run(out, 0), "bolt", None)
    np.testing.assert_array_equal(trained.shared, partner.shared)
    np.testing.assert_array_equal(trained.private, partner.private)
    assert trained.prepared.tasks == partner.prepared.tasks
    assert (trained.name, trained.settings, trained.folds) == ("bolt", SETTINGS, FOLDS)
    assert trained.alone is None
    assert (note.run_id, note.method) == ("abc123", "fedsgd")
    assert notes == {}
    assert find_run(out / "runs" / "abc123", 7).folder == out / "runs" / "abc123"


def test_the_partners_own_model_is_beside_the_federated_one_where_the_run_kept_it(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out, tmp_path / "out")
    home = tmp_path / "out" / "runs" / "abc123" / "partner-1"
    prepared = open_prepared(home / "prepared")
    every = np.linspace(0, 1, len(prepared.labels), dtype=np.float32)
    np.save(home / "alone.npy", every)
    trained, _, _ = read_partner(find_run(tmp_path / "out", 0), "acme", None)
    assert trained.alone is not None
    np.testing.assert_array_equal(trained.alone, every[prepared.in_folds(FOLDS.test)])
    np.save(home / "alone.npy", every[:-1])
    with pytest.raises(StoreError, match="should hold"):
        read_partner(find_run(tmp_path / "out", 0), "acme", None)


def test_units_and_thresholds_come_from_the_reports_of_preparation(partner: TrainedPartner, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        few_references(patch)
        prepared, _ = prepare_partner(tmp_path)
    folder = tmp_path / "prepared"
    report = json.loads((folder / REPORT).read_bytes())
    report["assays"][0]["unit"] = "nM"
    (folder / REPORT).write_text(json.dumps(report))
    notes = task_notes(folder)
    assert {task.task_id for task in prepared.tasks} <= set(notes)
    for task in prepared.tasks:
        note = notes[task.task_id]
        assert note.unit == ("nM" if task.assay_id == report["assays"][0]["assay"] else "")
        wanted = float(task.task_id.rpartition("|")[2]) if task.kind.value == "classification" else None
        assert note.threshold == wanted
    (folder / CANDIDATES).unlink()
    assert task_notes(folder) == {}


def test_a_share_of_prepared_tasks_keeps_unit_threshold_and_direction(partner: TrainedPartner, tmp_path: Path) -> None:
    known = {
        task.task_id: TaskNote(unit=f"u{number}", threshold=number / 3 or None, direction=direction)
        for number, (task, direction) in enumerate(zip(partner.prepared.tasks, cycle([None, *Direction])))
    }
    table = notes_table(
        {**known, "another's": TaskNote(unit="", threshold=None, direction=None)}, partner.prepared.tasks
    )
    write_prepared(tmp_path / "prepared", partner.prepared, partner.recipe, {CANDIDATES: table})
    assert task_notes(tmp_path / "prepared") == known
    with pytest.raises(InputError, match=r"every file of .*prepared is whole, but there is no report\.json"):
        check_prepared(tmp_path / "prepared", None, ())


def test_a_direction_that_preparation_notes_is_in_what_a_task_means(tmp_path: Path) -> None:
    columns = "task_id,assay_id,threshold,direction\n"
    (tmp_path / CANDIDATES).write_text(columns + "a,x,6.5,low\nb,x,,high\nc,x,1,\n")
    found = task_notes(tmp_path)
    assert [found[name].direction for name in "abc"] == [Direction.LOW, Direction.HIGH, None]
    (tmp_path / CANDIDATES).write_text(columns + "a,x,6.5,sideways\n")
    with pytest.raises(CacheError, match=r"is damaged.*sideways"):
        task_notes(tmp_path)


def test_export_then_check_finds_the_runs_predictions_again(out: Path, tmp_path: Path) -> None:
    path = tmp_path / "acme.zip"
    arguments = ["export", str(out), "--partner", "acme", "--out", str(path), "--licence", "CC-BY", "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    bundle = read_bundle(path)
    assert json.loads(done.stdout)["digest"] == bundle.digest
    assert bundle.contents.card.licence == "CC-BY"
    home = out / "runs" / "abc123" / "partner-1"
    found = check_predictions(bundle, open_prepared(home / "prepared"), np.load(home / "predictions.npy"))
    assert found.largest == 0.0
    key = tmp_path / "consortium.key"
    key.write_bytes(b"pharmonia preparation key\n" + KEY.secret.hex().encode() + b"\n")
    key.chmod(0o600)
    with pytest.MonkeyPatch.context() as patch:
        few_references(patch)
        arguments = ["predict", str(path), "--key", str(key), "--check", str(home / "prepared"), "--json"]
        done = CliRunner().invoke(app, [*arguments, "--cache", str(tmp_path / "structures.sqlite"), "--workers", "1"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["largest_difference"] == 0.0


def test_the_model_of_another_round_is_refused(out: Path, partner: TrainedPartner, tmp_path: Path) -> None:
    shutil.copytree(out, tmp_path / "out")
    model = tmp_path / "out" / "runs" / "abc123" / "model.safetensors"
    write_arrays(model, {"parameters": partner.shared + 1e-6}, {})
    with pytest.raises(StoreError, match="not the model of the run's best round"):
        read_partner(find_run(tmp_path / "out", 0), "acme", None)


def test_names_that_are_none_are_refused_with_those_there_are(out: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="There are: acme, bolt"):
        read_partner(find_run(out, 0), "acne", None)
    with pytest.raises(UnknownNameError, match="seed of this comparison named '4'"):
        find_run(out, 4)
    with pytest.raises(InputError, match="no federated run"):
        find_run(tmp_path, 0)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("federated.json", b"{"),
        ("federated.json", b"[]"),
        ("runs/abc123/run.json", b"{}"),
        ("runs/abc123/run.json", b"\xff"),
        ("runs/abc123/run.json", b'{"format":"other","format_version":1}'),
        ("runs/abc123/model.safetensors", b"nothing"),
        ("runs/abc123/partner-1/private.safetensors", b""),
    ],
)
def test_damage_is_named(out: Path, tmp_path: Path, name: str, content: bytes) -> None:
    shutil.copytree(out, tmp_path / "out")
    (tmp_path / "out" / name).write_bytes(content)
    with pytest.raises(StoreError, match=Path(name).name.replace(".", r"\.")):
        read_partner(find_run(tmp_path / "out", 0), "acme", None)
    (tmp_path / "out" / name).unlink()
    with pytest.raises(InputError):
        read_partner(find_run(tmp_path / "out", 0), "acme", None)
