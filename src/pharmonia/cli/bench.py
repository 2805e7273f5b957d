"""`pharmonia bench`: batteries of benchmarks."""

import os
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from importlib.resources import files
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from pharmonia.base.errors import InputError, InterruptedRunError, UnknownNameError
from pharmonia.base.urls import without_passwords
from pharmonia.cli.progress import command_line, progress_bar

if TYPE_CHECKING:
    from rich.console import JustifyMethod

    from pharmonia.bench.arms import StorePlace
    from pharmonia.bench.battery import Battery
    from pharmonia.bench.battery_run import RunJobs

app = typer.Typer(help="Run, resume and report batteries of benchmarks.", no_args_is_help=True)
_SETTING = ("data set", "scenario", "protocol", "partners", "model", "norm", "method")
_SHIPPED = Path(str(files("pharmonia.bench"))) / "batteries"


class Engine(StrEnum):
    """Where a battery's runs go."""

    PROCESSES = "processes"
    RAY = "ray"


BatteryArgument = Annotated[str, typer.Argument(help="A battery of `pharmonia bench list`, or a TOML file.")]
Folder = Annotated[Path, typer.Argument(help="Directory that `pharmonia bench run` wrote.")]


@app.command("list")
def list_batteries() -> None:
    """Show the batteries that come with Pharmonia."""
    from pharmonia.bench.battery import read_battery  # noqa: PLC0415

    table = Table()
    for column in ("battery", "cells", "runs", "what"):
        table.add_column(column, justify="right" if column in ("cells", "runs") else "left")
    for path in sorted(_SHIPPED.glob("*.toml")):
        battery = read_battery(path)
        n_runs = sum(map(len, battery.jobs()))
        table.add_row(path.stem, f"{len(battery.cells):,}", f"{n_runs:,}", battery.title)
    Console().print(table)


@app.command()
def run(
    battery: BatteryArgument,
    out: Annotated[Path, typer.Option(help="Directory for report, results and runs.")] = Path("pharmonia-bench"),
    workers: Annotated[
        int | None,
        typer.Option(help="Processes side by side; one per core unless given. Ray: tasks; one per CPU of the cluster."),
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="processes: this machine. ray: a Ray cluster, or a local one if none is there.")
    ] = Engine.PROCESSES,
    store: Annotated[
        str | None, typer.Option(help="SQLAlchemy URL of the store that all workers reach; a file in OUT unless given.")
    ] = None,
) -> None:
    """Run every cell of BATTERY that OUT does not have yet, and write the report.

    Interrupt at any time; the same command resumes, and finished runs are not done again.
    """
    from pharmonia.bench.battery_folder import claim, note_run, settle, work_place, write_about  # noqa: PLC0415
    from pharmonia.bench.battery_output import write_battery  # noqa: PLC0415
    from pharmonia.bench.battery_run import check_cells, run_battery  # noqa: PLC0415
    from pharmonia.bench.workplace import Workplace  # noqa: PLC0415

    path, found = _read(battery)
    carry = _carrier(engine)
    out = out.resolve()
    place = work_place(out, store)
    workplace = Workplace(place=place, n_workers=_n_at_once(engine, found) if workers is None else workers)
    with claim(out, found):
        check_cells(found)
        if store is not None:
            settle(place)
        write_about(out, found, path.read_bytes(), store)
        now = datetime.now(UTC)
        note = partial(note_run, out, command=command_line(), machine=_machine(engine), now=now)
        try:
            with progress_bar("Battery") as on_progress:
                failed = run_battery(found, workplace, now=now, run_jobs=carry, on_progress=on_progress, on_begin=note)
        except KeyboardInterrupt as interrupt:
            raise InterruptedRunError("interrupted; finished runs are kept, the same command resumes") from interrupt
        written = write_battery(found, place, out, command=command_line(), now=datetime.now(UTC))
    typer.echo(f"Report: {written.html}\nResults: {written.results}")
    if failed:
        raise InputError(
            f"{len(failed)} runs cannot be made, and the report names their cells; the first, {failed[0].job.title} of "
            f"seed {failed[0].job.seed}: {failed[0].reason}"
        )
    written.require_whole()


@app.command()
def status(
    folder: Folder,
    store: Annotated[str | None, typer.Option(help="SQLAlchemy URL of the store, if not in FOLDER.")] = None,
) -> None:
    """Show how far each setting of the battery in FOLDER is."""
    from pharmonia.bench.battery_folder import BATTERY_FILE  # noqa: PLC0415
    from pharmonia.bench.battery_run import states  # noqa: PLC0415

    battery = _of_folder(folder)
    rows: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    place = _place(folder, store)
    found = states(battery, place)
    for state in found:
        k = state.cell.key
        name = (k.dataset, k.scenario, k.protocol, str(k.n_partners), k.model, k.norm, k.method)
        rows.setdefault(name, []).append((state.n_done, state.n_jobs))
    differs = [len(set(values)) > 1 for values in zip(*rows, strict=True)]
    table = Table(title=f"{battery.name} ({folder / BATTERY_FILE})", title_justify="left")
    for column in (*compress(_SETTING, differs), "seeds done", "runs"):
        justify: JustifyMethod = "right" if column in ("partners", "seeds done", "runs") else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=column == "scenario")
    for setting, counts in rows.items():
        n_seeds = sum(done == total for done, total in counts)
        done, total = (sum(column) for column in zip(*counts, strict=True))
        table.add_row(*compress(setting, differs), f"{n_seeds}/{len(counts)}", f"{done}/{total}")
    console = Console()
    console.print(table)
    same = [f"{c} {value}" for c, value, differ in zip(_SETTING, next(iter(rows)), differs, strict=True) if not differ]
    if same:
        console.print(f"Everywhere: {', '.join(same)}", highlight=False)
    for state in found:
        for reason in state.failures:
            console.print(f"Failed: {state.cell.title}: {reason}", highlight=False, markup=False)
    if not place.exists():
        console.print(f"No run has begun in {folder}; if its store is elsewhere, name it with --store", highlight=False)


@app.command()
def report(
    folder: Folder,
    store: Annotated[str | None, typer.Option(help="SQLAlchemy URL of the store, if not in FOLDER.")] = None,
) -> None:
    """Write the report of all cells that are finished in FOLDER."""
    from pharmonia.bench.battery_output import write_battery  # noqa: PLC0415

    battery = _of_folder(folder)
    written = write_battery(battery, _place(folder, store), folder, command=command_line(), now=datetime.now(UTC))
    typer.echo(f"Report: {written.html}\nResults: {written.results}")
    written.require_whole()


def _carrier(engine: Engine) -> "RunJobs":
    """What carries jobs to workers.

    Raises:
        ModuleNotFoundError: Ray is not installed; `main` names the extra.
    """
    match engine:
        case Engine.PROCESSES:
            from pharmonia.bench.pool import run_jobs  # noqa: PLC0415

            return run_jobs
        case Engine.RAY:
            from pharmonia.bench.rays import run_jobs_on_ray  # noqa: PLC0415

            return run_jobs_on_ray


def _machine(engine: Engine) -> str:
    """What the seconds of a report are of, as far as this process knows."""
    from pharmonia.bench.machine import machine  # noqa: PLC0415

    match engine:
        case Engine.PROCESSES:
            return machine()
        case Engine.RAY:
            return f"a Ray cluster, called from {machine()}"


def _n_at_once(engine: Engine, battery: "Battery") -> int:
    """Processes for the cores of this machine; to Ray all jobs, of which it does as many as the cluster has CPUs."""
    match engine:
        case Engine.PROCESSES:
            return os.cpu_count() or 1
        case Engine.RAY:
            return sum(map(len, battery.jobs()))


def _read(name: str) -> "tuple[Path, Battery]":
    from pharmonia.bench.battery import read_battery  # noqa: PLC0415

    shipped = _SHIPPED / f"{name}.toml"
    path = shipped if shipped.exists() else Path(name)
    if not path.exists():
        known = ", ".join(sorted(one.stem for one in _SHIPPED.glob("*.toml")))
        raise UnknownNameError(f"no battery {name!r}: it is neither a file nor one of {known}")
    return path, read_battery(path)


def _of_folder(folder: Path) -> "Battery":
    from pharmonia.bench.battery import read_battery  # noqa: PLC0415
    from pharmonia.bench.battery_folder import BATTERY_FILE, require_same  # noqa: PLC0415

    battery = read_battery(folder / BATTERY_FILE)
    require_same(folder, battery)
    return battery


def _place(folder: Path, store: str | None) -> "StorePlace":
    """Where there are runs to read.

    Raises:
        InputError: The store that is named is not there.
        OptionError: The runs are in a store elsewhere, and none or another is named.
        StoreError: The store that is named belongs to another folder.
    """
    from pharmonia.bench.battery_folder import work_place  # noqa: PLC0415

    place = work_place(folder, store)
    if store is not None and not place.exists():
        raise InputError(f"there is no store at {without_passwords(store)}; name the one that `bench run` was given")
    return place
