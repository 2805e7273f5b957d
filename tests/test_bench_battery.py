"""Batteries: what a file may say, every run done once, resumable, and one at a time in a folder."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench_cases import NOW, SMALL, Inline, battery_of, run, use_small_data
from pharmonia.base.errors import DataFileError, InputError, OptionError, PharmoniaError, StoreError
from pharmonia.bench import arms
from pharmonia.bench.arms import ArmJob, DistilledJob, StorePlace, run_id_of, share_out
from pharmonia.bench.battery import read_battery
from pharmonia.bench.battery_folder import claim, place_of, require_no_battery, require_same, write_about
from pharmonia.bench.battery_output import write_battery
from pharmonia.bench.battery_run import check_cells, states
from pharmonia.bench.battery_score import outcome
from pharmonia.bench.workplace import default_place
from pharmonia.data.splits import Part
from pharmonia.evaluate.battery import BatteryArm
from pharmonia.evaluate.battery_csv import CURVES_FILE, outcomes_from_csv
from pharmonia.evaluate.outcome import Arm
from pharmonia.run.arrayfile import read_arrays

SHIPPED = sorted((Path(arms.__file__).parent / "batteries").glob("*.toml"))


@pytest.fixture
def small_data(monkeypatch: pytest.MonkeyPatch) -> None:
    use_small_data(monkeypatch)


@pytest.mark.usefixtures("small_data")
def test_a_battery_runs_each_job_once_resumes_and_reports(tmp_path: Path) -> None:
    battery = battery_of(tmp_path)
    place = default_place(tmp_path)
    check_cells(battery)
    first = Inline(interrupt_after=4)
    with pytest.raises(KeyboardInterrupt):
        run(battery, tmp_path, first)
    assert [state.is_done for state in states(battery, place)] == [False] * 4
    with pytest.raises(StoreError, match="no cell of battery small is finished"):
        write_battery(battery, place, tmp_path, command="pharmonia bench run", now=NOW)
    second = Inline()
    failed, seen = run(battery, tmp_path, second)
    assert failed == ()
    assert not set(map(run_id_of, first.done)) & set(map(run_id_of, second.done))
    per_seed = 3 + 1 + 2 + 1 + 1 + 1  # alone, distilled, two methods, pooled, additive, target-only
    assert len(first.done) + len(second.done) == 2 * per_seed
    assert isinstance(second.done[-1], DistilledJob)  # after the models that teach it
    assert seen[-1].done == seen[-1].total
    assert all(state.is_done for state in states(battery, place))
    written = write_battery(battery, place, tmp_path, command="pharmonia bench run", now=NOW)
    outcomes = outcomes_from_csv(written.results.read_bytes(), (tmp_path / CURVES_FILE).read_bytes())
    assert len(outcomes) == 4
    assert {score.arm for score in outcomes[0].scores} == set(battery.cells[0].arms)
    assert "small" in written.html.read_text()
    third = Inline()
    run(battery, tmp_path, third)
    assert third.done == []


@pytest.mark.usefixtures("small_data")
def test_arms_are_scored_on_the_same_rows_by_their_definitions(tmp_path: Path) -> None:
    battery = battery_of(tmp_path)
    run(battery, tmp_path, Inline())
    place = default_place(tmp_path)
    store = place.open()
    cell = battery.cells[0]
    shared = share_out(cell.settings, cell.seed)
    test = shared.split.rows(Part.TEST)
    measured = shared.encoded.interactions.pairs.value[test].astype(np.float64)
    alone, errors = [], []
    for (arm, partner), job in cell.jobs().items():
        if arm is BatteryArm.ALONE and partner is not None:
            folder = store.folder(run_id_of(job))
            alone.append(read_arrays(folder / "predictions.safetensors")[0]["predicted"])
            errors.append(store.model(run_id_of(job)).selection.best_error)
    found = outcome(cell, place)
    weights = 1 / np.array(errors)
    expected = {
        BatteryArm.ALONE: [alone[owner][row] for row, owner in enumerate(shared.partition.owner[test])],
        BatteryArm.ENSEMBLE: np.mean(alone, axis=0),
        BatteryArm.ENSEMBLE_WEIGHTED: weights @ np.array(alone) / weights.sum(),
    }
    for arm, predicted in expected.items():
        assert found.mse_of(arm) == pytest.approx(float(np.mean((measured - predicted) ** 2)))
    federated = store.folder(run_id_of(cell.jobs()[BatteryArm.FEDERATED, None])) / "model.safetensors"
    whole = federated.read_bytes()
    federated.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(StoreError, match="damaged"):
        outcome(cell, place)
    assert found.n_test == test.size
    assert found.sum_error is not None
    assert 0 < found.sum_error < 1e-5
    assert found.bytes_from_partners > 0


@pytest.mark.usefixtures("small_data")
def test_private_heads_predict_each_row_by_its_owner(tmp_path: Path) -> None:
    battery = battery_of(tmp_path)
    run(battery, tmp_path, Inline())
    by_method = {str(cell.settings.method): outcome(cell, default_place(tmp_path)) for cell in battery.cells}
    shared, private = (by_method[name].mse_of(BatteryArm.FEDERATED) for name in ("fedavg", "fedavg+private-head"))
    assert shared != private


def test_cells_share_the_runs_that_do_not_depend_on_the_method(tmp_path: Path) -> None:
    battery = battery_of(tmp_path)
    jobs = [set(cell.jobs().values()) for cell in battery.cells if cell.seed == 0]
    common = jobs[0] & jobs[1]
    assert {job for job in common if isinstance(job, ArmJob) and job.arm is Arm.ALONE}
    assert all(job.arm is Arm.FEDERATED for job in jobs[0] ^ jobs[1] if isinstance(job, ArmJob))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_batteries_that_come_along_can_be_read(path: Path) -> None:
    battery = read_battery(path)
    assert battery.name == path.stem
    assert battery.title


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('["target"]', '["tagret"]', "no scenario 'tagret'"),
        ('["target"]', '["weak"]', "needs a number"),
        ('["fedavg", ', '["fedavgg", ', "a method is one of"),
        ("partners = [3]", "partners = [1]", "at least 2 partners"),
        ("partners = [3]", 'partners = ["3"]', "partners must be whole numbers"),
        ("partners = [3]", "partners = []", "a list that is not empty"),
        ("partners = [3]", "partner = [3]", "has partner; it may have"),
        ("rounds = 2", "rounds = 2.5", "rounds must be a whole number"),
        ("rounds = 2", "rouns = 2", r"\[training\] has rouns"),
        ("seeds = 2", "seeds = 0", "seeds must be"),
        ('public = "kiba-sample"', "", "needs public"),
        ('"distilled", ', '"distiled", ', "arms has distiled"),
        ("[[block]]", "[block]", "at least one"),
        ('["fedavg", "fedavg+private-head"]', '["fedavg", "fedavg"]', "has a cell twice"),
        ('"alone", ', '"alone", "alone", ', "arms has an entry twice"),
        ('name = "small"', 'nam = "small"', "the battery has nam"),
        ("rounds = 2", "rounds = true", "rounds must be a whole number, got True"),
        ("seeds = 2", "seeds = true", "seeds must be a whole number from 1 to 100, got True"),
        ("partners = [3]", "partners = [true, 3]", "partners must be whole numbers"),
        ('name = "small"', "", "a battery needs a name"),
        ('name = "small"', 'name = " "', "a battery needs a name"),
        ('name = "small"', "name = 3", "a battery needs a name"),
        ("batch_size = 60", 'optimiser = "adm"', "adm"),
        ("batch_size = 60", "learning_rate = 3", "learning_rate must be"),
    ],
)
def test_a_battery_file_with_a_mistake_is_refused_with_the_place(
    tmp_path: Path, old: str, new: str, match: str
) -> None:
    assert old in SMALL
    with pytest.raises(InputError, match=match) as caught:
        battery_of(tmp_path, SMALL.replace(old, new, 1))
    assert "battery.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("training", "block", "match"),
    [
        ("local_epochs = 2", 'methods = ["fedavg", "fedsgd"]', "fedsgd .* takes 1 local epoch, got 2"),
        ("", 'models = ["gin", "gcn"]\nmethods = ["fedavg+private-norms"]', "the network gcn has no normalisation"),
    ],
)
def test_a_method_that_does_not_go_with_the_rest_is_refused(
    tmp_path: Path, training: str, block: str, match: str
) -> None:
    with pytest.raises(InputError, match=match):
        battery_of(tmp_path, f'name = "one"\n[training]\n{training}\n[[block]]\n{block}')


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="cannot be read"):
        battery_of(tmp_path, "name = ")
    with pytest.raises(DataFileError, match="cannot be read"):
        read_battery(tmp_path / "missing.toml")


@pytest.mark.usefixtures("small_data")
@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("partners = [3]", "partners = [40]", "small, target, random, 40 partners, seed 0"),
        ("partners = [3]", 'partners = [9]\nprotocols = ["cold-both"]', "small, target, cold-both, 9 partners"),
        ('scenarios = ["target"]', 'protocols = ["published"]', "no published fold"),
        ('public = "kiba-sample"', 'public = "nothing"', "nothing"),
    ],
)
def test_an_impossible_combination_is_named_before_anything_trains(
    tmp_path: Path, old: str, new: str, match: str
) -> None:
    battery = battery_of(tmp_path, SMALL.replace(old, new, 1))
    with pytest.raises(PharmoniaError, match=match):
        check_cells(battery)


def test_two_runs_on_one_folder_at_once_are_refused(tmp_path: Path) -> None:
    battery = battery_of(tmp_path / "file")
    refused = pytest.raises(StoreError, match="another run is at work")
    with claim(tmp_path, battery):
        write_about(tmp_path, battery, b"first", None)
        with refused, claim(tmp_path, battery):
            pass
    with claim(tmp_path, battery):  # once it is over, the next may come
        pass
    assert (tmp_path / "battery.toml").read_bytes() == b"first"  # claiming changes nothing


def test_a_folder_of_another_battery_or_version_is_left_as_it_is(tmp_path: Path) -> None:
    battery = battery_of(tmp_path / "file")
    with claim(tmp_path, battery):
        write_about(tmp_path, battery, SMALL.encode(), None)
    with pytest.raises(StoreError, match="another battery, 'small'"):
        require_same(tmp_path, replace(battery, name="other"))
    about = json.loads((tmp_path / "battery.json").read_text())
    (tmp_path / "battery.json").write_text(json.dumps({**about, "version": "0.0.1"}))
    with pytest.raises(StoreError, match=r"results of pharmonia 0\.0\.1"), claim(tmp_path, battery):
        pass
    assert (tmp_path / "battery.toml").read_text() == SMALL
    (tmp_path / "battery.json").write_text("{")
    with pytest.raises(DataFileError, match="cannot be read"):
        require_same(tmp_path, battery)


@pytest.mark.parametrize("name", ["results.json", "runs.sqlite"])
def test_a_folder_of_a_comparison_is_left_as_it_is_and_the_reverse(tmp_path: Path, name: str) -> None:
    battery = battery_of(tmp_path / "file")
    require_no_battery(tmp_path)
    (tmp_path / name).write_bytes(b"of a comparison")
    with pytest.raises(StoreError, match="something else than a battery"), claim(tmp_path, battery):
        pass
    assert (tmp_path / name).read_bytes() == b"of a comparison"
    write_about(tmp_path, battery, b"", None)  # a battery's folder that has such files goes on
    with claim(tmp_path, battery):
        pass
    with pytest.raises(StoreError, match="results of a battery; choose another --out"):
        require_no_battery(tmp_path)


def test_runs_in_a_store_elsewhere_are_asked_for_there_and_its_password_is_not_noted(tmp_path: Path) -> None:
    battery, url = battery_of(tmp_path / "file"), "postgresql://ada:geheim@host/runs"
    assert place_of(tmp_path, None) == default_place(tmp_path)
    write_about(tmp_path, battery, b"", None)
    assert set(json.loads((tmp_path / "battery.json").read_text())) == {"name", "cells", "version"}
    assert place_of(tmp_path, None) == default_place(tmp_path)
    write_about(tmp_path, battery, b"", url)
    require_same(tmp_path, battery)
    assert "geheim" not in (tmp_path / "battery.json").read_text()
    with pytest.raises(OptionError, match=r"are in the store postgresql://ada:\*\*\*@host/runs; name it with --store"):
        place_of(tmp_path, None)
    assert place_of(tmp_path, url) == StorePlace(url=url, folder=tmp_path / "runs")


@pytest.mark.usefixtures("small_data")
def test_looking_at_a_battery_makes_no_store(tmp_path: Path) -> None:
    battery, place = battery_of(tmp_path / "file"), default_place(tmp_path)
    assert [state.n_done for state in states(battery, place)] == [0] * 4
    with pytest.raises(StoreError, match="`pharmonia bench run` goes on"):
        write_battery(battery, place, tmp_path, command="pharmonia bench report", now=NOW)
    assert not list(tmp_path.glob("runs*"))
    (tmp_path / "runs.sqlite").touch()  # a file that holds no store is not made one either
    assert not place.exists()
    states(battery, place)
    assert (tmp_path / "runs.sqlite").read_bytes() == b""
    place.open()
    assert place.exists()


@pytest.mark.usefixtures("small_data")
def test_the_state_of_a_battery_shares_its_data_out_once(tmp_path: Path) -> None:
    many = SMALL.replace("seeds = 2", "seeds = 10").replace("partners = [3]", "partners = [2, 3]")
    battery = battery_of(tmp_path, many.replace('"distilled", ', "").replace(', "fedavg+private-head"', ""))
    assert len(states(battery, default_place(tmp_path))) == 20
    assert arms._share_out.cache_info().misses == 20


def test_a_battery_without_cells_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no cells"):
        replace(battery_of(tmp_path), cells=())
