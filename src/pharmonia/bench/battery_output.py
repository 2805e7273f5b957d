"""A battery's report and tidy results as files."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pharmonia import __version__
from pharmonia.base.errors import InputError, StoreError
from pharmonia.bench.arms import StorePlace, share_out
from pharmonia.bench.battery import Battery
from pharmonia.bench.battery_run import CellState, digest_of, states
from pharmonia.bench.battery_score import outcome
from pharmonia.bench.machine import machine
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
    """

    report: BatteryReport
    results: Path
    html: Path


def write_battery(battery: Battery, place: StorePlace, folder: Path, *, command: str, now: datetime) -> WrittenBattery:
    """Evaluate every finished cell and write results.csv, curves.csv, report.md and report.html.

    Raises:
        StoreError: No cell is finished.
        InputError: No cell is finished and some failed, which the message names; or a file cannot be written.
    """
    found = states(battery, place)
    outcomes = [outcome(state.cell, place) for state in found if state.is_done]
    if not outcomes:
        raise _nothing(battery, found, folder)
    unfinished = tuple(
        Unfinished(
            key=state.cell.key,
            seed=state.cell.seed,
            reason=_reason(state),
        )
        for state in found
        if not state.is_done
    )
    description = _description(battery, unfinished, command=command, now=now)
    report = build_battery_report(outcomes, description)
    results, html = folder / RESULTS_FILE, folder / "report.html"
    for path, content in (
        (results, results_csv(outcomes)),
        (folder / CURVES_FILE, curves_csv(outcomes)),
        (folder / "report.md", render_battery_markdown(report).encode()),
        (html, render_battery_html(report).encode()),
    ):
        write_whole(path, content)
    return WrittenBattery(report=report, results=results, html=html)


def _nothing(battery: Battery, found: Sequence[CellState], folder: Path) -> InputError | StoreError:
    """Why there is no report."""
    where = f"no cell of battery {battery.name} is finished in {folder}"
    if failed := [f"{state.cell.title}: {reason}" for state in found for reason in state.failures]:
        return InputError("\n".join([f"{where}, so there is no report; what failed:", *failed]))
    return StoreError(f"{where}: `pharmonia bench run` goes on; runs in a store elsewhere take its --store")


def _reason(state: CellState) -> str:
    if state.failures:
        return f"failed: {state.failures[0]}"
    return f"{state.n_done} of {state.n_jobs} runs finished" if state.n_done else "not started"


def _description(
    battery: Battery, unfinished: tuple[Unfinished, ...], *, command: str, now: datetime
) -> BatteryDescription:
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
        command=command,
        version=__version__,
        machine=machine(),
        date=now.date().isoformat(),
        digests=(("battery", digest_of(battery)), *_data_digests(battery, names)),
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
