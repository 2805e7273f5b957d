"""A battery's results folder: whose it is, which store has its runs, and who made them."""

import fcntl
import json
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from pharmonia import __version__
from pharmonia.base.canonical import Json, canonical_json, digest_json
from pharmonia.base.errors import DataFileError, InputError, OptionError, PharmoniaError, StoreError
from pharmonia.base.urls import without_passwords
from pharmonia.bench.arms import StorePlace
from pharmonia.bench.battery import Battery, Cell, read_battery
from pharmonia.bench.output import COMPARISON_FILE
from pharmonia.bench.workplace import DATABASE_FILE, default_place
from pharmonia.evaluate.battery_csv import CURVES_FILE, RESULTS_FILE
from pharmonia.run.files import write_whole
from pharmonia.run.store import RunStore, absolute_url, address_of

ABOUT_FILE, BATTERY_FILE, LOCK_FILE = "battery.json", "battery.toml", "battery.lock"
MARKDOWN_FILE, HTML_FILE = "report.md", "report.html"
_OF_RESULTS = (  # what a comparison or battery leaves in its folder, finished or not
    COMPARISON_FILE, DATABASE_FILE, RESULTS_FILE, CURVES_FILE, MARKDOWN_FILE, HTML_FILE, BATTERY_FILE
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """How the results of a folder were made: the latest `bench run` that had something to do.

    Args:
        command: As it was typed.
        date: Of its beginning.
        machines: All that runs of this folder were begun on, the first first.
    """

    command: str
    date: str
    machines: tuple[str, ...]

    @property
    def machine(self) -> str:
        """The machine, for reports; none is named as if it were the only one."""
        return self.machines[0] if len(self.machines) == 1 else f"several machines: {'; '.join(self.machines)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _About:
    """What a folder says of its results.

    Args:
        name: Of the battery.
        cells: Digest of the battery.
        version: Of Pharmonia.
        store: URL of the store elsewhere that has the runs, without its password; None for the folder's own.
        last_run: None before the first job.
    """

    name: str
    cells: str
    version: str
    store: str | None = None
    last_run: LastRun | None = None

    def write(self, folder: Path) -> None:
        """Note it in the folder."""
        values: dict[str, Json] = {"name": self.name, "cells": self.cells, "version": self.version}
        if self.store is not None:
            values["store"] = self.store
        if self.last_run is not None:
            values["last_run"] = asdict(self.last_run) | {"machines": list(self.last_run.machines)}
        write_whole(folder / ABOUT_FILE, canonical_json(values))


@contextmanager
def claim(folder: Path, battery: Battery) -> Iterator[None]:
    """Hold a results folder for one run of one battery; nothing in it says so yet, and a refused one stays as it was.

    Raises:
        StoreError: Another run holds it, or it belongs to another battery, another version or something else.
        InputError: It cannot be written.
    """
    _require_free(folder, battery)
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
        _require_free(folder, battery)  # whoever held it until now may have made it his
        yield


def _require_free(folder: Path, battery: Battery) -> None:
    if (folder / ABOUT_FILE).exists():
        require_same(folder, battery)
    elif found := [name for name in _OF_RESULTS if (folder / name).exists()]:
        raise StoreError(
            f"{folder} holds {found[0]}, but no {ABOUT_FILE}: results of something else than a battery that can go on "
            "here; choose another --out"
        )


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
    _About(
        name=battery.name,
        cells=digest_of(battery),
        version=__version__,
        store=None if store is None else without_passwords(absolute_url(store)),
        last_run=last_run(folder),
    ).write(folder)
    write_whole(folder / BATTERY_FILE, source)
    if battery.code is not None:
        write_whole(folder / battery.code.file, battery.code.source.encode())


def note_run(folder: Path, *, command: str, machine: str, now: datetime) -> None:
    """Note in a claimed folder that a run begins its first job, and where."""
    about = _about(folder)
    before = () if about.last_run is None else about.last_run.machines
    run = LastRun(command=command, date=now.date().isoformat(), machines=tuple(dict.fromkeys((*before, machine))))
    replace(about, last_run=run).write(folder)


def last_run(folder: Path) -> LastRun | None:
    """How the folder's results were made; None where no run of it said so.

    Raises:
        DataFileError: What it says of itself cannot be read.
    """
    return _about(folder).last_run if (folder / ABOUT_FILE).exists() else None


def work_place(folder: Path, store: str | None) -> StorePlace:
    """As `place_of`, for a store that has not the models of its runs in another results folder; makes none.

    Raises:
        StoreError: It has; names the folder.
        PharmoniaError: As `place_of`.
    """
    place = place_of(folder, store)
    if store is not None and place.exists():
        with closing(place.open()) as opened:
            _home(place, opened)
    return place


def place_of(folder: Path, store: str | None) -> StorePlace:
    """Where the runs of a folder's battery are: in the store that is named, else in the folder's own.

    Raises:
        InputError: The URL is none.
        OptionError: They are in a store elsewhere, and none or another is named.
        StoreError: The store that is named is the own of another folder.
        DataFileError: What the folder says of itself cannot be read.
    """
    folder = folder.resolve()
    own = default_place(folder)
    about = _about(folder) if (folder / ABOUT_FILE).exists() else None
    noted = None if about is None else about.store or own.url
    if store is None:
        if noted is not None and address_of(noted) != address_of(own.url):
            raise OptionError(f"the runs of {folder} are in the store {noted}; name it with --store")
        return own
    if noted is not None and address_of(noted) != address_of(store):
        raise OptionError(
            f"the runs of {folder} are in the store {noted}, not in {without_passwords(store)}; name that one, or "
            "choose another --out"
        )
    place = StorePlace(url=absolute_url(store), folder=folder / "runs")
    _require_nobody_elses(place)
    return place


def _require_nobody_elses(place: StorePlace) -> None:
    """Refuse the own store of another results folder.

    Raises:
        StoreError: It is; names the folder.
    """
    file = Path(place.url.removeprefix("sqlite:///"))
    is_own = file.name == DATABASE_FILE and any((file.parent / name).exists() for name in (ABOUT_FILE, COMPARISON_FILE))
    if is_own and file.parent != place.folder.parent:
        raise StoreError(_elsewhere(place, file.parent))


def settle(place: StorePlace) -> None:
    """Have a store elsewhere say, to whoever comes with another results folder, that this one has its models.

    Raises:
        StoreError: Another has.
    """
    with closing(place.open()) as store:
        home = _home(place, store)
        if home != place.folder:
            store.settle(home)


def _home(place: StorePlace, store: RunStore) -> Path | None:
    """What the store says; a folder that notes this store, and lies where it does no more, was moved here."""
    home, folder = store.home(), place.folder.parent
    if home in (None, place.folder) or (not home.exists() and (folder / ABOUT_FILE).exists()):
        return home
    raise StoreError(_elsewhere(place, home.parent))


def _elsewhere(place: StorePlace, owner: Path) -> str:
    return (
        f"the store {without_passwords(place.url)} belongs to {owner}, which has the models of its runs; go on with "
        f"that folder, or name another --store for {place.folder.parent}"
    )


def require_no_battery(folder: Path) -> None:
    """Refuse a folder that holds a battery, to whatever else would write there.

    Raises:
        StoreError: It does.
    """
    if (folder / ABOUT_FILE).exists():
        raise StoreError(f"{folder} holds results of a battery; choose another --out")


def require_same(folder: Path, battery: Battery) -> None:
    """Refuse a folder that holds results of something else than some or all cells of this battery.

    Raises:
        StoreError: Of another battery, of cells that this one has not, or of another version; the message says which.
        DataFileError: What it says of itself cannot be read.
    """
    if not (folder / ABOUT_FILE).exists():
        return
    about = _about(folder)
    if about.version != __version__:
        raise StoreError(
            f"{folder} holds results of pharmonia {about.version}, this is {__version__}; choose another --out"
        )
    if about.name != battery.name:
        raise StoreError(f"{folder} holds results of another battery, {about.name!r}; choose another --out")
    if about.cells == digest_of(battery):
        return
    before = _battery_of(folder, about)
    now = {_plain(cell): cell for cell in battery.cells}
    if left := [cell for cell in before.cells if not _is_covered(cell, now.get(_plain(cell)))]:
        raise StoreError(
            f"{folder} holds results of {before.name!r} with {len(left)} cells that this file has not, the first: "
            f"{left[0].title}{_twin(left[0], battery)}; add them, or choose another --out"
        )


def _battery_of(folder: Path, about: _About) -> Battery:
    """The battery whose results a folder holds, in its own words.

    Raises:
        StoreError: They are not those of which it notes the digest.
    """
    try:
        battery = read_battery(folder / BATTERY_FILE)
    except PharmoniaError as error:
        raise StoreError(f"{folder} does not say which cells it holds, {error}; choose another --out") from error
    if digest_of(battery) != about.cells:
        raise StoreError(
            f"{folder / BATTERY_FILE} was changed after it was run; put it back and extend a file elsewhere, "
            "or choose another --out"
        )
    return battery


def _is_covered(before: Cell, now: Cell | None) -> bool:
    """Whether a cell is still there, perhaps with further arms."""
    return now is not None and set(before.arms) <= set(now.arms) and before.public in ("", now.public)


def _twin(cell: Cell, battery: Battery) -> str:
    is_there = any(one.title == cell.title for one in battery.cells)
    return " (there is one in this file, but its training, arms, public data or code differ)" if is_there else ""


def _about(folder: Path) -> _About:
    path = folder / ABOUT_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        store, last = values.get("store"), values.get("last_run")
        return _About(
            name=str(values["name"]),
            cells=str(values["cells"]),
            version=str(values["version"]),
            store=None if store is None else str(store),
            last_run=None if last is None else _last_run(last["command"], last["date"], last["machines"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataFileError(f"{path} cannot be read: {error}") from error


def _last_run(command: object, date: object, machines: Iterable[object]) -> LastRun:
    return LastRun(command=str(command), date=str(date), machines=tuple(map(str, machines)))


def digest_of(battery: Battery) -> str:
    """SHA-256 of everything that determines a battery's results."""
    cells: list[Json] = [_values(cell) | {"arms": list(cell.arms), "public": cell.public} for cell in battery.cells]
    return digest_json({"name": battery.name, "cells": cells})


def _plain(cell: Cell) -> bytes:
    """What determines a cell's results, whatever its arms."""
    return canonical_json(_values(cell))


def _values(cell: Cell) -> dict[str, Json]:
    return {
        "settings": cell.settings.to_json(cell.seed),
        "method": cell.settings.method.identity,
        "aggregation": cell.settings.aggregation,
    }
