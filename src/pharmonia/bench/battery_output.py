"""A battery's report and tidy results as files."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pharmonia import __version__
from pharmonia.base.errors import InputError, StoreError
from pharmonia.bench.arms import StorePlace, share_out
from pharmonia.bench.battery import Battery
from pharmonia.bench.battery_folder import HTML_FILE, MARKDOWN_FILE, LastRun, digest_of, last_run
from pharmonia.bench.battery_run import CellState, states
from pharmonia.bench.battery_score import outcome
from pharmonia.bench.machine import machine
from pharmonia.evaluate.battery import CellOutcome
from pharmonia.evaluate.battery_csv import CURVES_FILE, RESULTS_FILE, curves_csv, results_csv
from pharmonia.evaluate.battery_html import render_battery_html
from pharmonia.evaluate.battery_report import (
    BatteryDataset,
    BatteryDescription,
    BatteryReport,
    Budget,
    Unfinished,
    build_battery_report,
)
from pharmonia.evaluate.battery_text import render_battery_markdown
from pharmonia.run.cache import describe
from pharmonia.run.files import write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenBattery:
    """Where a battery's results lie.

    Args:
        report: What they say.
        results: One row per cell, to re-plot.
        html: The report with pictures, in one file.
        damaged: Why cells that were finished are not in it: files of their runs that cannot be read.
    """

    report: BatteryReport
    results: Path
    html: Path
    damaged: tuple[str, ...]

    def require_whole(self) -> None:
        """Raise what keeps finished cells out of the report.

        Raises:
            StoreError: Files of their runs are damaged; names the first.
        """
        if self.damaged:
            raise StoreError(f"{len(self.damaged)} finished cells are not in the report; the first: {self.damaged[0]}")


def write_battery(battery: Battery, place: StorePlace, folder: Path, *, command: str, now: datetime) -> WrittenBattery:
    """Evaluate every finished cell and write results.csv, curves.csv, report.md and report.html.

    Args:
        battery: Of the folder.
        place: Of its runs.
        folder: For the report; if it notes how its runs were made, the report says that.
        command: That asks for the report.
        now: When.

    Raises:
        StoreError: No cell is finished, or the store fails.
        InputError: No cell is finished and some failed, which the message names; or a file cannot be written.
    """
    found = states(battery, place)
    judged = [_judged(state, place) for state in found]
    outcomes = [one for one in judged if isinstance(one, CellOutcome)]
    unfinished = tuple(one for one in judged if isinstance(one, Unfinished))
    damaged = tuple(
        f"{state.cell.title}: {one.reason}"
        for state, one in zip(found, judged, strict=True)
        if state.is_done and isinstance(one, Unfinished)
    )
    if not outcomes:
        raise _nothing(battery, found, damaged, folder)
    run = last_run(folder) or LastRun(command=command, date=now.date().isoformat(), machines=(machine(),))
    report = build_battery_report(outcomes, _description(battery, unfinished, run))
    results, html = folder / RESULTS_FILE, folder / HTML_FILE
    for path, content in (
        (results, results_csv(outcomes)),
        (folder / CURVES_FILE, curves_csv(outcomes)),
        (folder / MARKDOWN_FILE, render_battery_markdown(report).encode()),
        (html, render_battery_html(report).encode()),
    ):
        write_whole(path, content)
    return WrittenBattery(report=report, results=results, html=html, damaged=damaged)


def _judged(state: CellState, place: StorePlace) -> CellOutcome | Unfinished:
    """What a cell brought, or why nothing.

    Raises:
        StoreError: The store fails.
    """
    key, seed = state.cell.key, state.cell.seed
    if not state.is_done:
        return Unfinished(key=key, seed=seed, reason=_reason(state))
    try:
        return outcome(state.cell, place)
    except StoreError as error:
        place.open().finished()  # fails again if it is the database and not a file
        return Unfinished(key=key, seed=seed, reason=str(error).replace(f"{place.folder.parent}/", ""))


def _nothing(
    battery: Battery, found: Sequence[CellState], damaged: Sequence[str], folder: Path
) -> InputError | StoreError:
    """Why there is no report."""
    where = f"no cell of battery {battery.name} is finished in {folder}"
    if damaged:
        return StoreError("\n".join([f"{where} and can be read, so there is no report:", *damaged]))
    if failed := [f"{state.cell.title}: {reason}" for state in found for reason in state.failures]:
        return InputError("\n".join([f"{where}, so there is no report; what failed:", *failed]))
    return StoreError(f"{where}: `pharmonia bench run` goes on; runs in a store elsewhere take its --store")


def _reason(state: CellState) -> str:
    if state.failures:
        return f"failed: {state.failures[0]}"
    return f"{state.n_done} of {state.n_jobs} runs finished" if state.n_done else "not started"


def _description(battery: Battery, unfinished: tuple[Unfinished, ...], run: LastRun) -> BatteryDescription:
    first = battery.cells[0].settings
    names = list(dict.fromkeys(cell.settings.dataset for cell in battery.cells))
    methods = dict.fromkeys(str(cell.settings.method) for cell in battery.cells)
    arms = [name for name in ("alone", "pooled") if any(name in cell.arms for cell in battery.cells)]
    return BatteryDescription(
        battery=battery.name,
        datasets=tuple(_dataset(battery, name) for name in names),
        budgets=tuple(
            Budget(
                name=name,
                rounds=first.schedule.rounds,
                local_epochs=first.local.local_epochs,
                patience=first.schedule.patience,
            )
            for name in [*methods, *arms]
        ),
        unfinished=unfinished,
        notes=_notes(battery),
        command=run.command,
        version=__version__,
        machine=run.machine,
        date=run.date,
        digests=(("battery", digest_of(battery)), *_code_digests(battery), *_data_digests(battery, names)),
    )


def _dataset(battery: Battery, name: str) -> BatteryDataset:
    cell = next(cell for cell in battery.cells if cell.settings.dataset == name)
    about = describe(name)
    measure = share_out(cell.settings, cell.seed).encoded.interactions.measure
    return BatteryDataset(name=name, measure=measure, licence=about.summary.licence, citation=about.citation)


def _data_digests(battery: Battery, names: Sequence[str]) -> list[tuple[str, str]]:
    cells = [next(cell for cell in battery.cells if cell.settings.dataset == name) for name in names]
    return [
        (f"data set {name}", share_out(cell.settings, cell.seed).digest)
        for name, cell in zip(names, cells, strict=True)
    ]


def _code_digests(battery: Battery) -> list[tuple[str, str]]:
    return [] if battery.code is None else [(f"code {battery.code.file}", battery.code.digest)]


def _notes(battery: Battery) -> tuple[str, ...]:
    first = battery.cells[0].settings
    local = first.local
    sums = "Sums over the partners are secure: only masked updates leave a partner."
    if first.aggregation != "secure":
        sums = "Sums over the partners are plain: updates leave a partner in the clear, for research only."
    notes = [
        f"{local.optimiser}, learning rate {local.learning_rate:g}, batches of {local.batch_size:,} rows.",
        sums,
        "Every network keeps the model of its best validation round; boosted and additive have no rounds and are "
        "fitted once, to training rows. Test rows choose nothing.",
        "The weighted ensemble weighs each partner's model by the inverse of its own validation MSE.",
    ]
    if any(cell.public for cell in battery.cells):
        public = next(cell.public for cell in battery.cells if cell.public)
        notes.append(f"Distilled: one network taught by the ensemble on compounds of {public}, public to all partners.")
    return tuple(notes)
