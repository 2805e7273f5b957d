"""A battery's results folder: who may write there, how it grows, and which store has its runs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from bench_cases import NOW, SMALL, Inline, battery_of, use_small_data
from pharmonia.base.errors import InputError, OptionError, StoreError
from pharmonia.bench.arms import PREDICTIONS_FILE, StorePlace, run_id_of
from pharmonia.bench.battery import Battery
from pharmonia.bench.battery_folder import (
    ABOUT_FILE,
    BATTERY_FILE,
    claim,
    last_run,
    note_run,
    place_of,
    require_same,
    settle,
    work_place,
    write_about,
)
from pharmonia.bench.battery_run import run_battery, states
from pharmonia.bench.workplace import Workplace, default_place
from pharmonia.cli import bench
from pharmonia.evaluate.battery import BatteryArm
from pharmonia.run.arrayfile import read_arrays
from pharmonia.run.store import RunStore, address_of

ONE = SMALL.replace("seeds = 2", "seeds = 1").replace(', "fedavg+private-head"', "")
ONE = ONE.replace(
    '["alone", "ensemble", "ensemble-weighted", "distilled", "federated", "pooled", "additive", "target-only"]',
    '["federated", "additive"]',
)


def held(folder: Path, text: str = SMALL, store: str | None = None) -> Battery:
    """A battery whose results the folder has from now on."""
    battery = battery_of(folder.parent / f"file of {folder.name}", text)
    with claim(folder, battery):
        write_about(folder, battery, text.encode(), store)
    return battery


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "name", ["results.json", "runs.sqlite", "results.csv", "curves.csv", "report.md", "report.html", "battery.toml"]
)
def test_a_folder_with_results_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path, name: str) -> None:
    battery, out = battery_of(tmp_path / "file"), tmp_path / "out"
    out.mkdir()
    (out / name).write_bytes(b"of somebody")
    refused = pytest.raises(StoreError, match=f"holds {name}, but no battery.json: .*choose another --out")
    with refused, claim(out, battery):
        pass
    assert files(out) == {name: b"of somebody"}  # no lock either


def test_a_folder_of_another_battery_gets_no_lock(tmp_path: Path) -> None:
    out = tmp_path / "out"
    held(out)
    (out / "battery.lock").unlink()
    before = files(out)
    other = replace(battery_of(tmp_path / "file"), name="other")
    with pytest.raises(StoreError, match="another battery, 'small'"), claim(out, other):
        pass
    assert files(out) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seeds = 2", "seeds = 5"),
        ("partners = [3]", "partners = [2, 3]"),
        ("[[block]]", '[[block]]\nprotocols = ["cold-target"]\ndatasets = ["small"]\n\n[[block]]'),
        ('["fedavg", "fedavg+private-head"]', '["fedavg+private-head", "fedavg"]'),
        ('"pooled", ', '"pooled", "boosted", '),
        ('title = "Twelve compounds"', 'title = "Other words"'),
    ],
)
def test_a_battery_may_grow_in_its_folder(tmp_path: Path, old: str, new: str) -> None:
    out = tmp_path / "out"
    held(out)
    grown = held(out, SMALL.replace(old, new, 1))
    require_same(out, grown)
    assert (out / BATTERY_FILE).read_text() == SMALL.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (
            "seeds = 2",
            "seeds = 1",
            "with 2 cells that this file has not, the first: small, .* fedavg, seed 1; add them",
        ),
        (
            "partners = [3]",
            "partners = [4]",
            r"with 4 cells .* the first: small, target, random, 3 partners, .*seed 0;",
        ),
        ("rounds = 2", "rounds = 3", r"with 4 cells .* seed 0 \(there is one in this file, but its training"),
        ('"pooled", ', "", r"with 4 cells .* seed 0 \(there is one in this file, but its training, arms"),
        ('public = "kiba-sample"', 'public = "biogen-adme"', "with 4 cells .* public data or code differ"),
    ],
)
def test_a_battery_that_lacks_what_its_folder_has_is_refused_with_the_difference(
    tmp_path: Path, old: str, new: str, match: str
) -> None:
    out = tmp_path / "out"
    held(out)
    before = files(out)
    with pytest.raises(StoreError, match=match):
        held(out, SMALL.replace(old, new, 1))
    assert files(out) == before


def test_a_folder_whose_battery_was_edited_by_hand_is_refused_and_a_killed_extension_goes_on(tmp_path: Path) -> None:
    out, grown = tmp_path / "out", SMALL.replace("seeds = 2", "seeds = 3")
    held(out)
    (out / BATTERY_FILE).write_text(grown)
    with pytest.raises(StoreError, match=r"battery\.toml was changed after it was run; put it back"):
        held(out, grown)
    (out / BATTERY_FILE).write_text(SMALL)
    held(out, grown)
    (out / BATTERY_FILE).write_text(SMALL)  # killed when battery.json was written, and battery.toml was not
    held(out, grown)
    assert (out / BATTERY_FILE).read_text() == grown
    (out / BATTERY_FILE).unlink()
    with pytest.raises(StoreError, match="does not say which cells it holds"):
        held(out, SMALL)


def test_the_store_of_a_folder_stays_the_one_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own, elsewhere = tmp_path / "own", tmp_path / "elsewhere"
    held(own)
    with pytest.raises(OptionError, match=r"own are in the store sqlite:///.*own/runs\.sqlite, not in sqlite:///x\.db"):
        place_of(own, "sqlite:///x.db")
    assert place_of(own, "sqlite:///own/runs.sqlite") == default_place(own)  # the same, named
    held(elsewhere, store="sqlite:///x.db")
    assert json.loads((elsewhere / ABOUT_FILE).read_text())["store"] == f"sqlite:///{tmp_path / 'x.db'}"
    monkeypatch.chdir(elsewhere)
    with pytest.raises(OptionError, match=r"in the store sqlite:///.*/x\.db, not in sqlite:///x\.db; name that one"):
        place_of(elsewhere, "sqlite:///x.db")
    with pytest.raises(OptionError, match="name it with --store"):
        place_of(elsewhere, None)
    same = place_of(elsewhere, "sqlite:///../x.db")
    assert same == StorePlace(url=f"sqlite:///{tmp_path / 'x.db'}", folder=elsewhere / "runs")


def test_a_server_is_the_same_store_whoever_asks_it(tmp_path: Path) -> None:
    url = "postgresql+psycopg://ada:geheim@host:5432/runs"
    held(tmp_path / "out", store=url)
    for same in (url, "postgresql+psycopg://bob@host:5432/runs", "postgresql://host:5432/runs"):
        assert place_of(tmp_path / "out", same).url == same
    for other in (url.replace("/runs", "/walks"), url.replace("@host", "@guest"), url.replace("5432", "5433")):
        with pytest.raises(OptionError, match="choose another --out") as refused:
            place_of(tmp_path / "out", other)
        assert "geheim" not in str(refused.value)


@pytest.mark.parametrize("url", ["nonsense", "sqlite://", "sqlite:///"])
def test_a_url_that_keeps_no_store_is_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"cannot be opened|names no file"):
        address_of(url)


def test_a_store_belongs_to_one_folder_wherever_that_is_moved(tmp_path: Path) -> None:
    first, second, url = tmp_path / "first", tmp_path / "second", f"sqlite:///{tmp_path / 'x.db'}"
    assert work_place(first, url).open().home() is None  # a store in which nobody settled, as in earlier versions
    held(first, store=url)
    settle(work_place(first, url))
    with pytest.raises(StoreError, match=f"belongs to {first}, which has the models .* --store for .*second"):
        work_place(second, url)
    with pytest.raises(StoreError, match=f"belongs to {first}"):
        settle(StorePlace(url=url, folder=second / "runs"))
    (first / "runs").mkdir()
    first.rename(second)
    settle(work_place(second, url))  # its battery.json names the store
    with pytest.raises(StoreError, match=f"belongs to {second}"):
        work_place(first, url)


def test_of_two_who_settle_at_once_one_fails(tmp_path: Path) -> None:
    first, second = (RunStore(f"sqlite:///{tmp_path / 'x.db'}", tmp_path / name) for name in ("a", "b"))
    before = first.home(), second.home()
    assert before == (None, None)
    first.settle(None)
    with pytest.raises(StoreError, match="the same command goes on"):
        second.settle(None)
    assert second.home() == tmp_path / "a"


@pytest.mark.parametrize("name", ["battery.json", "results.json"])
def test_the_own_store_of_another_folder_is_refused(tmp_path: Path, name: str) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    place = default_place(first)
    place.open()
    assert work_place(second, place.url).folder == second / "runs"  # a database that nobody else's results lie beside
    (first / name).write_text("{}")
    with pytest.raises(StoreError, match=f"belongs to {first}, which has the models of its runs"):
        work_place(second, place.url)


def test_a_folder_that_was_deleted_is_made_again_from_its_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_small_data(monkeypatch)
    out, url = tmp_path / "out", f"sqlite:///{tmp_path / 'x.db'}"
    battery = held(out, ONE, url)
    place = work_place(out, url)
    settle(place)

    def again() -> tuple[list[str], np.ndarray, list[tuple[int, float, str]]]:
        inline = Inline()
        workplace = Workplace(place=work_place(out, url), n_workers=1)
        assert (
            run_battery(battery, workplace, now=NOW, run_jobs=inline, on_progress=lambda _: None, on_begin=lambda: None)
            == ()
        )
        assert all(state.is_done for state in states(battery, place))
        run_id = run_id_of(battery.cells[0].jobs()[BatteryArm.FEDERATED, None])
        predicted = read_arrays(place.folder / run_id / PREDICTIONS_FILE)[0]["predicted"]
        rounds = [(one.round_index, one.valid_error, one.aggregate_digest) for one in place.open().rounds(run_id)]
        return [job.title for job in inline.done], predicted, rounds

    first = again()
    assert first[0] == ["federated", "additive"]
    assert again()[0] == []
    shutil.rmtree(out)
    held(out, ONE, url)
    second = again()
    assert second[0] == first[0]
    np.testing.assert_array_equal(second[1], first[1])
    assert second[2] == first[2]
    assert len(first[2]) == 2


def test_a_folder_says_how_its_results_were_made_and_on_what(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert last_run(out) is None
    held(out)
    assert last_run(out) is None
    note_run(out, command="pharmonia bench run a.toml", machine="2 CPU cores", now=NOW)
    held(out)  # begun again
    found = last_run(out)
    assert found is not None
    assert (found.command, found.date, found.machine) == ("pharmonia bench run a.toml", "2026-01-02", "2 CPU cores")
    note_run(out, command="pharmonia bench run b.toml", machine="a Ray cluster", now=NOW)
    note_run(out, command="pharmonia bench run c.toml", machine="2 CPU cores", now=NOW)
    found = last_run(out)
    assert found is not None
    assert found.command == "pharmonia bench run c.toml"
    assert found.machine == "several machines: 2 CPU cores; a Ray cluster"


def test_a_store_of_another_version_is_named_as_one(tmp_path: Path) -> None:
    place = default_place(tmp_path)
    place.open()
    with sa.create_engine(place.url).begin() as connection:
        connection.execute(sa.text("ALTER TABLE rounds ADD COLUMN seconds DOUBLE"))
    with pytest.raises(StoreError, match="another version of pharmonia: its table rounds has a column seconds; choose"):
        place.open()
    with sa.create_engine(place.url).begin() as connection:
        connection.execute(sa.text("ALTER TABLE rounds DROP COLUMN wall_s"))
    with pytest.raises(StoreError, match="its table rounds has no column wall_s; choose another store"):
        place.open()


def test_a_report_says_how_the_runs_were_made_and_not_who_asked_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, file = tmp_path / "out", tmp_path / "grows.toml"
    text = 'name = "grows"\n[[block]]\nscenarios = ["iid"]\narms = ["additive"]'

    monkeypatch.setattr(bench, "_carrier", lambda _: Inline())

    def run(seeds: int, *said: str) -> str:
        file.write_text(f"seeds = {seeds}\n{text}")
        monkeypatch.setattr("sys.argv", ["pharmonia", *said])
        bench.run(str(file), out, 1, bench.Engine.PROCESSES, None)
        return (out / "report.md").read_text()

    assert "pharmonia bench run first" in run(1, "bench", "run", "first")
    assert "pharmonia bench run first" in run(1, "bench", "run", "nothing left to do")
    monkeypatch.setattr("sys.argv", ["pharmonia", "bench", "report", "out"])
    bench.report(out, None)
    assert "pharmonia bench run first" in (out / "report.md").read_text()
    assert "pharmonia bench report out" not in (out / "report.md").read_text()
    grown = run(2, "bench", "run", "second")
    assert "pharmonia bench run second" in grown
    assert "2 cells finished, 0 not" in grown
    damaged = next((out / "runs").glob("*/predictions.safetensors"))
    damaged.write_bytes(b"")
    capsys.readouterr()
    with pytest.raises(StoreError, match="1 finished cells are not in the report"):
        bench.report(out, None)
    assert "Report: " in capsys.readouterr().out
    assert "1 cells finished, 1 not" in (out / "report.md").read_text()
