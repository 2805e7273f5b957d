"""Running a battery in a folder: every job once, resumable, and one run at a time."""

import fcntl
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pharmonia import __version__
from pharmonia.base.canonical import Json, canonical_json, digest_json
from pharmonia.base.errors import DataFileError, InputError, PharmoniaError, StoreError
from pharmonia.bench.arms import Job, JobResult, StorePlace, run_id_of, share_out
from pharmonia.bench.battery import Battery, Cell
from pharmonia.bench.pool import OnEvent
from pharmonia.bench.progress import Progress, Tracker, sizes_of
from pharmonia.bench.public import require_public
from pharmonia.bench.workplace import Workplace
from pharmonia.run.files import write_whole
from pharmonia.run.records import Performance

ABOUT_FILE, BATTERY_FILE, LOCK_FILE = "battery.json", "battery.toml", "battery.lock"


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
        on_result: Callable[[int, JobResult], None],
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
    """

    cell: Cell
    n_jobs: int
    n_done: int

    @property
    def is_done(self) -> bool:
        """Whether it can be evaluated."""
        return self.n_done == self.n_jobs


def check_cells(battery: Battery) -> None:
    """Share out and split the data of every cell, before anything trains.

    Raises:
        InputError: A cell cannot be had; the message names it.
    """
    for public in sorted({cell.public for cell in battery.cells if cell.public}):
        require_public(public)
    for cell in battery.cells:
        try:
            share_out(cell.settings, cell.seed)
        except PharmoniaError as error:
            k = cell.key
            where = f"{k.dataset}, {k.scenario}, {k.protocol}, {k.n_partners} partners, seed {cell.seed}"
            raise InputError(f"battery {battery.name}, cell {where}: {error}") from error


@contextmanager
def claim(folder: Path, battery: Battery, source: bytes) -> Iterator[None]:
    """Hold a results folder for one run of one battery.

    Raises:
        StoreError: Another run holds it, or it belongs to another battery or version.
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
        about: dict[str, Json] = {"name": battery.name, "cells": digest_of(battery), "version": __version__}
        write_whole(folder / ABOUT_FILE, canonical_json(about))
        write_whole(folder / BATTERY_FILE, source)
        yield


def require_same(folder: Path, battery: Battery) -> None:
    """Refuse a folder that holds results of something else.

    Raises:
        StoreError: Of another battery, other cells or another version; the message says which.
        DataFileError: What it says of itself cannot be read.
    """
    path = folder / ABOUT_FILE
    if not path.exists():
        return
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        version, name, cells = str(about["version"]), str(about["name"]), str(about["cells"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataFileError(f"{path} cannot be read: {error}") from error
    if version != __version__:
        raise StoreError(f"{folder} holds results of pharmonia {version}, this is {__version__}; choose another --out")
    if (name, cells) != (battery.name, digest_of(battery)):
        raise StoreError(f"{folder} holds results of another battery, {name!r}; choose another --out")


def digest_of(battery: Battery) -> str:
    """SHA-256 of everything that determines a battery's results."""
    cells: list[Json] = [
        {"settings": cell.settings.to_json(cell.seed), "method": str(cell.settings.method), "arms": list(cell.arms)}
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
) -> None:
    """Do every job of a battery that the store does not have yet.

    Raises:
        EngineError: A worker died.
        KeyboardInterrupt: Ctrl-C; the same call resumes.
    """
    first, second = battery.jobs()
    finished = workplace.place.open().finished()
    tracker = Tracker(sizes_of([*first, *second]), on_progress)
    for offset, jobs in ((0, first), (len(first), second)):
        done = [index for index, job in enumerate(jobs) if run_id_of(job) in finished]
        for index in done:
            tracker.finished(offset + index)
        places = [offset + index for index in range(len(jobs)) if index not in set(done)]
        if places:
            run_jobs(
                [jobs[index - offset] for index in places],
                workplace.place,
                now=now,
                n_workers=min(workplace.n_workers, len(places)),
                performance=workplace.performance,
                on_event=tracker.at(places).round_done,
                on_result=tracker.at(places).result,
            )


def states(battery: Battery, place: StorePlace) -> list[CellState]:
    """How far each cell is, in the battery's order."""
    finished = place.open().finished()
    found = []
    for cell in battery.cells:
        ids = {run_id_of(job) for job in cell.jobs().values()}
        found.append(CellState(cell=cell, n_jobs=len(ids), n_done=len(ids & finished)))
    return found
