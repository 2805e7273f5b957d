"""Scenarios and methods of one's own: a file beside a battery, as the documentation shows it."""

import re
from pathlib import Path

import numpy as np
import pytest

from bench_cases import NOW, Inline, run, use_small_data
from interaction_cases import small_encoded
from pharmonia.base.errors import InputError, OptionError, PartitionError, StoreError
from pharmonia.base.owncode import OwnCode
from pharmonia.bench.arms import ArmJob, run_id_of, share_out
from pharmonia.bench.battery import Battery, read_battery
from pharmonia.bench.battery_folder import digest_of, require_same, write_about
from pharmonia.bench.battery_output import write_battery
from pharmonia.bench.battery_run import check_cells
from pharmonia.bench.own_scenario import OwnScenario
from pharmonia.bench.pool import run_jobs
from pharmonia.bench.workplace import default_place
from pharmonia.data.splits import Part
from pharmonia.evaluate.outcome import Arm
from pharmonia.learn.server import Descent, ServerState, server_step
from pharmonia.learn.settings import Method, Optimiser
from pharmonia.run.files import write_whole

PAGE = (Path(__file__).parent.parent / "docs" / "batteries.md").read_text(encoding="utf-8")
DOCUMENTED = re.search(r"`mine\.py`:\n\n```python\n(.*?)```", PAGE, re.DOTALL)
BATTERY = re.search(r"`mine\.toml`:\n\n```toml\n(.*?)```", PAGE, re.DOTALL)
BUDGET = "\n[training]\nrounds = 3\nbatch_size = 20\n"
LEAST = "\n[training]\nrounds = 1\nbatch_size = 500\n"
DESCENT = Descent(optimiser=Optimiser.SGD, learning_rate=0.1)


def documented() -> OwnCode:
    assert DOCUMENTED is not None
    return OwnCode(file="mine.py", source=DOCUMENTED[1])


def own_battery(folder: Path, source: str, block: str) -> Battery:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.py").write_text(source)
    (folder / "mine.toml").write_text(f'name = "mine"\ncode = "mine.py"\n{BUDGET}\n[[block]]\n{block}')
    return read_battery(folder / "mine.toml")


SMALL = 'datasets = ["small"]\npartners = [3]\narms = ["federated"]\n'


def rounds_of(battery: Battery, method: str, folder: Path) -> list[str]:
    """Digest of each round's aggregate: what every later round and the model follow from."""
    job = next(
        job
        for cell in battery.cells
        for job in cell.jobs().values()
        if isinstance(job, ArmJob) and job.arm is Arm.FEDERATED and str(cell.settings.method) == method
    )
    return [record.aggregate_digest for record in default_place(folder).open().rounds(run_id_of(job))]


def test_the_documented_file_and_battery_run_in_worker_processes_and_are_reported(tmp_path: Path) -> None:
    assert BATTERY is not None
    source = documented().source
    (tmp_path / "mine.py").write_text(source)
    (tmp_path / "mine.toml").write_text(BATTERY[1].replace("\n[[block]]", LEAST + "\n[[block]]"))
    battery = read_battery(tmp_path / "mine.toml")
    out = tmp_path / "out"
    out.mkdir()
    check_cells(battery)
    write_about(out, battery, (tmp_path / "mine.toml").read_bytes(), None)
    failed, _ = run(battery, out, run_jobs)
    assert failed == ()
    assert read_battery(out / "battery.toml") == battery  # the folder has all that `status` and `report` read
    written = write_battery(battery, default_place(out), out, command="pharmonia bench run", now=NOW)
    assert {one.key.method for one in written.report.settings} == {"fedavg", "fedavgm:0.9", "pulled:0.01"}
    assert {one.key.scenario for one in written.report.settings} == {"by-size"}
    assert documented().digest in written.html.read_text()


def test_the_documented_scenario_gives_the_shortest_compounds_to_the_first_partner() -> None:
    interactions = small_encoded().interactions
    scenario = OwnScenario(code=documented(), name="by-size")
    owner = scenario.owners(interactions, 3, np.random.default_rng(0))
    lengths = np.array([len(smiles) for smiles in interactions.smiles])[interactions.pairs.compound]
    assert np.ptp(np.bincount(owner)) <= 1
    assert all(lengths[owner == index].max() <= lengths[owner == index + 1].min() for index in (0, 1))


def test_the_documented_momentum_by_hand() -> None:
    method = Method.parse("fedavgm:0.5", documented())
    trained = np.array([True, False])
    first, state = server_step(method, DESCENT, np.zeros(2), np.array([1.0, 3.0]), trained, ServerState())
    second, state = server_step(method, DESCENT, first, np.array([2.0, 5.0]), trained, state)
    assert first.tolist() == [1.0, 3.0]
    assert second.tolist() == [1.0 + 2.0 + 0.5 * 1.0, 3.0 + 5.0]  # running statistics have no momentum
    assert state.n_steps == 2


def test_own_methods_are_pharmonias_in_the_case_where_they_mean_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_small_data(monkeypatch)
    methods = 'methods = ["fedavg", "fedavgm:0", "fedprox:0.5", "pulled:0.5", "fedavgm:0.9"]\n'
    battery = own_battery(tmp_path, documented().source, SMALL + methods)
    assert run(battery, tmp_path, Inline())[0] == ()
    found = {
        name: rounds_of(battery, name, tmp_path) for name in ("fedavg", "fedprox:0.5", "pulled:0.5", "fedavgm:0.9")
    }
    assert rounds_of(battery, "fedavgm", tmp_path) == found["fedavg"]
    assert found["pulled:0.5"] == found["fedprox:0.5"]
    assert len(set(map(tuple, found.values()))) == 3


def test_another_version_of_the_file_is_another_run_and_another_battery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_small_data(monkeypatch)
    block = SMALL + 'scenarios = ["by-size", "iid"]\nmethods = ["fedavg", "fedavgm:0.9"]\n'
    first = own_battery(tmp_path / "1", documented().source, block)
    second = own_battery(tmp_path / "2", documented().source + "\n# thought again\n", block)
    ids = [{cell.title: run_id_of(job) for cell in b.cells for job in cell.jobs().values()} for b in (first, second)]
    same = {title for title in ids[0] if ids[0][title] == ids[1][title]}
    assert same == {"small, iid, random, 3 partners, gin, batch, fedavg, seed 0"}
    assert digest_of(first) != digest_of(second)
    (tmp_path / "out").mkdir()
    write_about(tmp_path / "out", first, (tmp_path / "1" / "mine.toml").read_bytes(), None)
    require_same(tmp_path / "out", first)
    with pytest.raises(StoreError, match=r"with 3 cells that this file has not.* public data or code differ"):
        require_same(tmp_path / "out", second)


def test_rows_of_nobody_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_small_data(monkeypatch)
    source = "def scenario_half(interactions, n_partners, number, rng):\n"
    source += "    return [-1 if row % 2 == 0 else row % 4 // 2 for row in range(len(interactions.pairs))]\n"
    battery = own_battery(tmp_path, source, SMALL.replace("[3]", "[2]") + 'scenarios = ["half:2"]\n')
    shared = share_out(battery.cells[0].settings, 0)
    used = np.concatenate([shared.split.rows(part) for part in (Part.TRAIN, Part.VALID, Part.TEST)])
    assert set(shared.partition.owner[used].tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("source", "block", "message"),
    [
        ("def f(:", "", "mine.py: line 1: no Python"),
        ("def scenario_iid(): pass", "", "Pharmonia has a scenario 'iid' itself"),
        ("def server_fedprox(): pass", "", "Pharmonia has a method 'fedprox' itself"),
        ("def scenario_a(): pass", 'scenarios = ["b"]\n', "no scenario 'b'; choose iid, .*, a"),
        ("def server_a(): pass", 'methods = ["b"]\n', "a method is one of fedavg, .*, a; got 'b'"),
        ("def scenario_a(): pass", 'scenarios = ["a:x"]\n', "after the colon comes a number"),
        ("def server_a(): pass", 'methods = ["a:x"]\n', "after the colon comes a number"),
        ("def server_a(): pass", 'methods = ["a:-1"]\n', "takes no strength"),
    ],
)
def test_a_file_or_name_that_cannot_be_is_refused_before_anything_runs(
    tmp_path: Path, source: str, block: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        own_battery(tmp_path, source, block or 'scenarios = ["iid"]\n')


@pytest.mark.parametrize("code", ['"../mine.py"', '"mine.txt"', "3", '"absent.py"'])
def test_code_is_a_python_file_beside_the_battery(tmp_path: Path, code: str) -> None:
    write_whole(tmp_path / "mine.toml", f'name = "mine"\ncode = {code}\n[[block]]\n'.encode())
    with pytest.raises(InputError, match="code "):
        read_battery(tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ("return [0, 1]", PartitionError, "one owner per row, 160 whole numbers; got int64 of shape"),
        ("return rng.random(160)", PartitionError, "got float64"),
        ("return rng.integers(0, 2, 160) * 7", PartitionError, "0 to 2, or -1 for nobody; got 0 to 7"),
        ("return 1 / 0", OptionError, "mine.py, line 2: scenario_a failed with ZeroDivisionError"),
    ],
)
def test_a_scenario_that_returns_something_else_is_refused_with_its_place(
    body: str, error: type[Exception], message: str
) -> None:
    code = OwnCode(file="mine.py", source=f"def scenario_a(interactions, n_partners, number, rng):\n    {body}\n")
    with pytest.raises(error, match=message):
        OwnScenario(code=code, name="a").owners(small_encoded().interactions, 3, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def server_a(strength, change, state):\n    return change", "must return a step and state.after"),
        ("def server_a(strength, change, state):\n    return change[1:], state.after()", "the step has shape"),
        ("def server_a(strength, change, state):\n    return missing", "line 2: server_a failed with NameError"),
        ("def local_a(strength, gradient, weight, start):\n    return None", "a tensor of the gradient's shape"),
        ("def local_a(strength, gradient, weight, start):\n    return gradient @ 3", "line 2: local_a failed with"),
    ],
)
def test_a_method_that_fails_is_reported_and_keeps_nobody_else_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    use_small_data(monkeypatch)
    battery = own_battery(tmp_path, source, SMALL + 'methods = ["a", "fedavg"]\n')
    failed, _ = run(battery, tmp_path, Inline())
    assert len(failed) == 1
    assert re.search(message, failed[0].reason)
    assert rounds_of(battery, "fedavg", tmp_path)


def test_a_run_id_without_own_code_says_nothing_of_code() -> None:
    assert Method.parse("fedavg", documented()).identity == "fedavg"
    assert Method.parse("fedadagrad:0.1").identity == "fedadagrad:0.1@2"  # before, it had momentum
