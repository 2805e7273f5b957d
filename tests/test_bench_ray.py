"""A battery on a real Ray cluster gives what one process gives, finished at once or resumed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster

from bench_cases import NOW, Inline, battery_of, run
from interaction_cases import RESIDUES, SMILES
from pharmonia.base.arrays import Vector
from pharmonia.base.errors import EngineError, InputError
from pharmonia.bench import rays
from pharmonia.bench.arms import PREDICTIONS_FILE, FailedJob, Job, JobResult, StorePlace, run_id_of
from pharmonia.bench.battery import Battery
from pharmonia.bench.battery_run import run_battery
from pharmonia.bench.pool import OnEvent
from pharmonia.bench.progress import Progress
from pharmonia.bench.rays import run_jobs_on_ray
from pharmonia.bench.workplace import Workplace, default_place
from pharmonia.cli import bench
from pharmonia.data.importing import Columns
from pharmonia.data.units import conversion
from pharmonia.engines.ray import for_each
from pharmonia.run.arrayfile import read_arrays
from pharmonia.run.fetch import no_progress
from pharmonia.run.importing import ImportPlan, import_file
from pharmonia.run.records import Performance

TINY = """
name = "tiny"
title = "One cell"
public = "kiba-sample"
[training]
rounds = 1
batch_size = 60
[[block]]
datasets = ["small-on-disk"]
partners = [2]
arms = ["alone", "ensemble", "distilled", "federated", "additive"]
"""
N_JOBS = 5  # alone twice, distilled, federated, additive
BASELINES = """
name = "baselines"
title = "One baseline"
seeds = 3
[[block]]
arms = ["additive"]
"""
MEET_WITHIN_S = 30.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes of one CPU each on this machine, which this process has joined."""
    head = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, connect=True, head_node_args=head)
    try:
        nodes.add_node(num_cpus=1, object_store_memory=80_000_000)
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def small_data(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """108 measurements in the cache, where workers find them."""
    path = tmp_path_factory.mktemp("data") / "small-on-disk.csv"
    rows = [
        (smiles, RESIDUES[target:] + RESIDUES, 5 + 0.1 * index - 0.2 * target)
        for index, smiles in enumerate(SMILES)
        for target in range(9)
    ]
    path.write_text("\n".join(["smiles,sequence,pkd", *(f"{s},{p},{v}" for s, p, v in rows)]))
    assert os.environ["PHARMONIA_CACHE"] == str(cache_dir)
    plan = ImportPlan(
        path=path,
        columns=Columns(smiles="smiles", sequence="sequence", value="pkd", compound_id=None, target_id=None),
        conversion=conversion("pKd", None),
        name=None,
        measure=None,
        tolerance=0.0,
        rejects=None,
        again=False,
    )
    import_file(plan, no_progress)


def predictions(battery: Battery, folder: Path) -> dict[str, Vector]:
    """Of every job that is done, by its run id."""
    ids = [run_id_of(job) for jobs in battery.jobs() for job in jobs]
    paths = {one: folder / "runs" / one / PREDICTIONS_FILE for one in ids}
    return {one: read_arrays(path)[0]["predicted"] for one, path in paths.items() if path.exists()}


@pytest.fixture(scope="module")
def expected(small_data: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Vector]:
    """What one process predicts."""
    folder = tmp_path_factory.mktemp("expected")
    battery = battery_of(folder, TINY)
    run(battery, folder, Inline())
    found = predictions(battery, folder)
    assert len(found) == N_JOBS
    return found


def run_on_ray(battery: Battery, folder: Path, on_progress: Callable[[Progress], None]) -> tuple[FailedJob, ...]:
    workplace = Workplace(place=default_place(folder), n_workers=N_JOBS)
    return run_battery(
        battery, workplace, now=NOW, run_jobs=run_jobs_on_ray, on_progress=on_progress, on_begin=lambda: None
    )


def test_where_there_is_no_cluster_one_is_started_for_the_while() -> None:  # first here, while there is none
    found: dict[int, str] = {}
    for_each(os.path.basename, ["a/b", "c/d"], n_at_once=2, on_result=found.__setitem__)
    assert found == {0: "b", 1: "d"}
    assert not ray.is_initialized()


@pytest.mark.usefixtures("cluster")
def test_a_battery_on_ray_gives_what_one_process_gives(tmp_path: Path, expected: dict[str, Vector]) -> None:
    seen: list[Progress] = []
    battery = battery_of(tmp_path, TINY)
    assert run_on_ray(battery, tmp_path, seen.append) == ()
    np.testing.assert_equal(predictions(battery, tmp_path), expected)
    assert seen[-1].what == "distilled: done"  # after the models that teach it
    assert (seen[-1].before, seen[-1].done) == (0, seen[-1].total)


@pytest.mark.usefixtures("cluster")
def test_a_battery_that_was_interrupted_on_ray_resumes_there(tmp_path: Path, expected: dict[str, Vector]) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    battery = battery_of(tmp_path, TINY)
    with pytest.raises(KeyboardInterrupt):
        run_on_ray(battery, tmp_path, interrupt)
    n_done = len(predictions(battery, tmp_path))
    assert 1 <= n_done < N_JOBS
    seen: list[Progress] = []
    assert run_on_ray(battery, tmp_path, seen.append) == ()
    assert len(seen) == 1 + N_JOBS
    assert 0 < seen[-1].before < seen[-1].done == seen[-1].total
    np.testing.assert_equal(predictions(battery, tmp_path), expected)


@pytest.mark.usefixtures("cluster")
def test_as_many_tasks_run_at_once_as_all_nodes_have_processors(tmp_path: Path) -> None:
    def meet(folder: Path) -> str:  # in here, so that Ray sends its code: its nodes do not know this file
        context = ray.get_runtime_context()
        (folder / str(context.get_task_id())).touch()
        give_up = time.monotonic() + MEET_WITHIN_S
        while len(list(folder.iterdir())) < 2 and time.monotonic() < give_up:
            time.sleep(0.05)
        return context.get_node_id()

    nodes: dict[int, str] = {}
    for_each(meet, [tmp_path] * 4, n_at_once=4, on_result=nodes.__setitem__)
    assert len(nodes) == 4
    assert len(set(nodes.values())) == 2


@pytest.mark.usefixtures("cluster")
def test_ray_gets_all_jobs_at_once_unless_told_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[int] = []

    def noting(
        jobs: Sequence[Job],
        place: StorePlace,
        *,
        now: datetime,
        n_workers: int,
        performance: Performance,
        on_event: OnEvent,
        on_result: Callable[[int, JobResult | FailedJob], None],
    ) -> None:
        handed.append(n_workers)
        run_jobs_on_ray(
            jobs,
            place,
            now=now,
            n_workers=n_workers,
            performance=performance,
            on_event=on_event,
            on_result=on_result,
        )

    monkeypatch.setattr(rays, "run_jobs_on_ray", noting)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # this machine is not the cluster
    battery = tmp_path / "baselines.toml"
    battery.write_text(BASELINES)
    for workers in (None, 2):
        out = tmp_path / str(workers)
        bench.run(str(battery), out=out, workers=workers, engine=bench.Engine.RAY, store=None)
        assert len((out / "results.csv").read_text().splitlines()) == 1 + 3
    assert handed == [3, 2]


def test_without_ray_the_command_names_the_extra_and_takes_no_folder(tmp_path: Path) -> None:
    (tmp_path / "baselines.toml").write_text(BASELINES)
    code = "import sys; sys.modules['ray'] = None; from pharmonia.cli.main import main; main()"
    command = [sys.executable, "-c", code, "bench", "run", "baselines.toml", "--out", "out", "--engine", "ray"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert refused.returncode == 2
    assert "pip install '.[ray]'" in refused.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("cluster")
def test_errors_and_deaths_on_ray_have_their_places_in_the_tree() -> None:
    def half(number: int) -> float:
        if number == 3:
            raise InputError("three is refused")
        if number == 5:
            os._exit(1)
        return number / 2

    found: dict[int, float] = {}
    for_each(half, [0, 2, 4], n_at_once=2, on_result=found.__setitem__)
    assert found == {0: 0.0, 1: 1.0, 2: 2.0}
    with pytest.raises(InputError, match="three is refused"):
        for_each(half, [2, 3], n_at_once=1, on_result=found.__setitem__)
    with pytest.raises(EngineError, match="resume"):
        for_each(half, [5], n_at_once=1, on_result=found.__setitem__)
