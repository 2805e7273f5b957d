"""Running a battery in a folder: every job once, resumable, and one run at a time."""

import fcntl
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np

from pharmonia import __version__
from pharmonia.base.canonical import Json, canonical_json, digest_json
from pharmonia.base.errors import DataFileError, InputError, OptionError, PharmoniaError, StoreError
from pharmonia.base.urls import without_passwords
from pharmonia.bench.arms import (
    FAILED_FILE,
    PREDICTIONS_FILE,
    DistilledJob,
    FailedJob,
    Job,
    JobResult,
    SharedOut,
    StorePlace,
    run_id_of,
    share_out,
)
from pharmonia.bench.battery import Battery, Cell
from pharmonia.bench.output import COMPARISON_FILE
from pharmonia.bench.pool import OnEvent
from pharmonia.bench.progress import Progress, Shifted, Tracker, sizes_of
from pharmonia.bench.public import lesson_compounds
from pharmonia.bench.settings import ComparisonSettings
from pharmonia.bench.workplace import DATABASE_FILE, Workplace, default_place
from pharmonia.data.ownership import NOBODY
from pharmonia.data.splits import Part
from pharmonia.evaluate.battery import BatteryArm
from pharmonia.learn.settings import Aggregation, Algorithm
from pharmonia.run.files import write_whole
from pharmonia.run.records import Performance
from pharmonia.run.store import RunStore
from pharmonia.secagg.roster import MAX_PARTNERS

ABOUT_FILE, BATTERY_FILE, LOCK_FILE = "battery.json", "battery.toml", "battery.lock"
_OF_COMPARISON = (COMPARISON_FILE, DATABASE_FILE)  # what a comparison leaves in its folder, finished or not


class RunJobs(Protocol):
    """What carries jobs to workers: `pool.run_jobs` on this machine, `rays.run_jobs` on a Ray cluster."""

    def __call__(
        self,
        jobs: Sequence[Job],
        place: StorePlace,
        *,
        now: datetime,
        n_workers: int,
        performance: Performance,
        on_event: OnEvent,
        on_result: Callable[[int, JobResult | FailedJob], None],
    ) -> None:
        """Do the jobs; results arrive as they are done."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CellState:
    """How far a cell is.

    Args:
        cell: The cell.
        n_jobs: Jobs that it needs.
        n_done: Of them, finished.
        failures: Why others cannot be made, as far as they were tried.
    """

    cell: Cell
    n_jobs: int
    n_done: int
    failures: tuple[str, ...]

    @property
    def is_done(self) -> bool:
        """Whether it can be evaluated."""
        return self.n_done == self.n_jobs


def check_cells(battery: Battery) -> None:
    """Share out and split the data of every cell, and refuse what could not be trained, before anything trains.

    Raises:
        InputError: A cell cannot be had; the message names it.
    """
    for cell in battery.cells:
        try:
            shared = share_out(cell.settings, cell.seed)
            if BatteryArm.FEDERATED in cell.arms:
                _require_trainable(cell.settings, shared)
            if cell.public:
                lesson_compounds(cell.public, shared.encoded.interactions, shared.split)
        except PharmoniaError as error:
            k = cell.key
            where = f"{k.dataset}, {k.scenario}, {k.protocol}, {k.n_partners} partners, seed {cell.seed}"
            raise InputError(f"battery {battery.name}, cell {where}: {error}") from error


def _require_trainable(settings: ComparisonSettings, shared: SharedOut) -> None:
    """Refuse what every federated run of these settings would refuse.

    Raises:
        OptionError: More partners than secure sums take, or FedSGD with a partner that has too few rows for its steps.
    """
    if settings.aggregation is Aggregation.SECURE and settings.n_partners > MAX_PARTNERS:
        raise OptionError(f"secure sums take up to {MAX_PARTNERS} partners, got {settings.n_partners}")
    if settings.method.algorithm is not Algorithm.FEDSGD:
        return
    owner = shared.partition.owner[shared.split.rows(Part.TRAIN)]
    n_rows = np.bincount(owner[owner != NOBODY], minlength=settings.n_partners)
    n_steps = -(-int(n_rows.sum()) // settings.local.batch_size)
    least = int(n_rows.argmin())
    if n_rows[least] < 2 * n_steps:
        raise OptionError(
            f"fedsgd takes 2 rows of every partner in each of its {n_steps} steps a round, and "
            f"{shared.partition.names[least]} has {n_rows[least]}; use a larger batch size or fewer partners"
        )


@contextmanager
def claim(folder: Path, battery: Battery) -> Iterator[None]:
    """Hold a results folder for one run of one battery; nothing in it says so yet.

    Raises:
        StoreError: Another run holds it, or it belongs to another battery, another version or a comparison.
        InputError: It cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK_FILE).open("a")
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError(f"another run is at work in {folder}; wait for it or choose another --out") from error
        require_same(folder, battery)
        if not (folder / ABOUT_FILE).exists() and any((folder / name).exists() for name in _OF_COMPARISON):
            raise StoreError(f"{folder} holds results of something else than a battery; choose another --out")
        yield


def write_about(folder: Path, battery: Battery, source: bytes, store: str | None) -> None:
    """Say in a claimed folder which battery its results are of, and which store has its runs, if not the folder's.

    Args:
        folder: Claimed.
        battery: Checked.
        source: The battery's file.
        store: URL of the store, of which no password is noted; None for the folder's own.

    Raises:
        InputError: A file cannot be written.
    """
    about: dict[str, Json] = {"name": battery.name, "cells": digest_of(battery), "version": __version__}
    if store is not None:
        about["store"] = without_passwords(store)
    write_whole(folder / ABOUT_FILE, canonical_json(about))
    write_whole(folder / BATTERY_FILE, source)


def place_of(folder: Path, store: str | None) -> StorePlace:
    """Where the runs of a folder's battery are: in the store that is named, else in the folder's own.

    Raises:
        OptionError: They are in a store elsewhere, and none is named.
        DataFileError: What the folder says of itself cannot be read.
    """
    folder = folder.resolve()
    if store is not None:
        return StorePlace(url=store, folder=folder / "runs")
    if (folder / ABOUT_FILE).exists() and (elsewhere := _about(folder)[-1]) is not None:
        raise OptionError(f"the runs of {folder} are in the store {elsewhere}; name it with --store")
    return default_place(folder)


def require_no_battery(folder: Path) -> None:
    """Refuse a folder that holds a battery, to whatever else would write there.

    Raises:
        StoreError: It does.
    """
    if (folder / ABOUT_FILE).exists():
        raise StoreError(f"{folder} holds results of a battery; choose another --out")


def require_same(folder: Path, battery: Battery) -> None:
    """Refuse a folder that holds results of something else.

    Raises:
        StoreError: Of another battery, other cells or another version; the message says which.
        DataFileError: What it says of itself cannot be read.
    """
    if not (folder / ABOUT_FILE).exists():
        return
    version, name, cells, _ = _about(folder)
    if version != __version__:
        raise StoreError(f"{folder} holds results of pharmonia {version}, this is {__version__}; choose another --out")
    if (name, cells) != (battery.name, digest_of(battery)):
        raise StoreError(f"{folder} holds results of another battery, {name!r}; choose another --out")


def _about(folder: Path) -> tuple[str, str, str, str | None]:
    """Version, name, cells and, if they are elsewhere, store of a folder's results."""
    path = folder / ABOUT_FILE
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        store = about.get("store")
        return str(about["version"]), str(about["name"]), str(about["cells"]), None if store is None else str(store)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataFileError(f"{path} cannot be read: {error}") from error


def digest_of(battery: Battery) -> str:
    """SHA-256 of everything that determines a battery's results."""
    cells: list[Json] = [
        {
            "settings": cell.settings.to_json(cell.seed),
            "method": str(cell.settings.method),
            "aggregation": cell.settings.aggregation,
            "arms": list(cell.arms),
            "public": cell.public,
        }
        for cell in battery.cells
    ]
    return digest_json({"name": battery.name, "cells": cells})


def run_battery(
    battery: Battery,
    workplace: Workplace,
    *,
    now: datetime,
    run_jobs: RunJobs,
    on_progress: Callable[[Progress], None],
) -> tuple[FailedJob, ...]:
    """Do every job of a battery that the store does not have yet; those that are impossible keep nobody else waiting.

    Raises:
        EngineError: A worker died.
        KeyboardInterrupt: Ctrl-C; the same call resumes.
    """
    first, second = battery.jobs()
    done = _done(workplace.place.open(), _ids([*first, *second]))
    failed: list[FailedJob] = []
    tracker = Tracker(sizes_of([*first, *second]), on_progress)
    for index, job in enumerate([*first, *second]):
        if job in done:
            tracker.finished(index)
    for offset, jobs in ((0, first), (len(first), second)):
        places = [offset + index for index, job in enumerate(jobs) if job not in done and _is_taught(job, failed)]
        shifted = tracker.at(places)

        def note(index: int, result: JobResult | FailedJob, shifted: Shifted = shifted) -> None:
            if isinstance(result, FailedJob):
                failed.append(result)
            shifted.finished(index)

        if places:
            run_jobs(
                [jobs[index - offset] for index in places],
                workplace.place,
                now=now,
                n_workers=min(workplace.n_workers, len(places)),
                performance=workplace.performance,
                on_event=shifted.round_done,
                on_result=note,
            )
    return tuple(failed)


def _is_taught(job: Job, failed: Sequence[FailedJob]) -> bool:
    """Whether what a job needs is there."""
    return not (isinstance(job, DistilledJob) and {one.job for one in failed} & set(job.teachers))


def _ids(jobs: Iterable[Job]) -> dict[Job, str]:
    """The runs of jobs, in the order of cells: what is shared out for one job is at hand for the next."""
    return {job: run_id_of(job) for job in jobs}


def _done(store: RunStore, ids: Mapping[Job, str]) -> set[Job]:
    """The jobs that can be evaluated: a run that was killed between its end and its predictions is not among them."""
    finished = store.finished()
    return {job for job, one in ids.items() if one in finished and (store.folder(one) / PREDICTIONS_FILE).exists()}


def states(battery: Battery, place: StorePlace) -> list[CellState]:
    """How far each cell is, in the battery's order; makes no store where there is none."""
    jobs_of = [dict.fromkeys(cell.jobs().values()) for cell in battery.cells]
    ids = _ids(dict.fromkeys(chain.from_iterable(jobs_of)))
    done = _done(place.open(), ids) if place.exists() else set[Job]()
    return [
        CellState(
            cell=cell,
            n_jobs=len(jobs),
            n_done=sum(job in done for job in jobs),
            failures=tuple(sorted(_failures(place, [ids[job] for job in jobs if job not in done]))),
        )
        for cell, jobs in zip(battery.cells, jobs_of, strict=True)
    ]


def _failures(place: StorePlace, run_ids: Iterable[str]) -> set[str]:
    files = [place.folder / run_id / FAILED_FILE for run_id in run_ids]
    return {file.read_text(encoding="utf-8") for file in files if file.exists()}
