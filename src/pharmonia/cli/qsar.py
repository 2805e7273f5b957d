"""`pharmonia compare` on data sets of many tasks: what its options mean there, and which of them mean nothing."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer
from rich.console import Console

from pharmonia.base.errors import InterruptedRunError, OptionError, UnknownNameError
from pharmonia.cli.progress import command_line, progress_bar, steps_bar

if TYPE_CHECKING:
    from pharmonia.bench.qsar_settings import QsarSettings
    from pharmonia.bench.workplace import Workplace

DATASETS = ("adme", "kiba-tasks", "kiba+adme")
PANEL = f"Many tasks: {', '.join(DATASETS)}"
OWN_OPTIONS = ("catalogue", "trunk", "dropout")
OF_INTERACTIONS = ("split", "model", "norm", "transcript", "plan", "agreement", "ledger", "keys")
ValueT = TypeVar("ValueT", str, int, float)
ChoiceT = TypeVar("ChoiceT", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """Options of `pharmonia compare` that change a comparison on many tasks, as they came."""

    partners: int
    seeds: int
    partition: str
    optimiser: str
    learning_rate: float
    batch_size: int
    local_epochs: int
    method: str
    aggregation: str
    rounds: int
    patience: int
    catalogue: bool
    trunk: str
    dropout: float


def refuse_foreign_options(context: typer.Context, dataset: str) -> None:
    """Refuse options that mean nothing for the data set, by name.

    Raises:
        OptionError: One was given.
    """
    is_tasks = dataset in DATASETS
    foreign = OF_INTERACTIONS if is_tasks else OWN_OPTIONS
    given = [name for name in foreign if _is_given(context, name)]
    if given:
        what = "a data set of many tasks" if is_tasks else "not a data set of many tasks"
        raise OptionError(f"{dataset} is {what}, where --{given[0]} means nothing; leave it out")


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def task_settings(context: typer.Context, dataset: str, options: TaskOptions) -> "QsarSettings":
    """The comparison that the options ask for; those that were not given have the defaults of many tasks.

    Args:
        context: Of the command, which knows what was given.
        dataset: One of `DATASETS`.
        options: As they came, or the defaults of interactions.

    Raises:
        UnknownNameError: A choice that is none.
        OptionError: A value out of its range.
    """
    from pharmonia.bench.qsar_settings import QsarSettings  # noqa: PLC0415
    from pharmonia.data.qsar import Sharing, TaskQuorum  # noqa: PLC0415
    from pharmonia.data.qsar_sets import N_BITS, QsarSet  # noqa: PLC0415
    from pharmonia.learn.algorithms import Schedule  # noqa: PLC0415
    from pharmonia.learn.multitask_settings import MultitaskSettings  # noqa: PLC0415
    from pharmonia.learn.settings import Aggregation, Method, Optimiser  # noqa: PLC0415

    def chosen(name: str, value: ValueT, default: ValueT) -> ValueT:
        return value if _is_given(context, name) else default

    rounds = chosen("rounds", options.rounds, 24)
    return QsarSettings(
        dataset=QsarSet(dataset),
        n_partners=options.partners,
        sharing=_choice(Sharing, "partition", chosen("partition", options.partition, Sharing.SCAFFOLD.value)),
        seeds=tuple(range(options.seeds)),
        local=MultitaskSettings(
            n_bits=N_BITS,
            trunk=_widths(options.trunk),
            head=(),
            dropout=options.dropout,
            regression_weight=0.5,
            catalogue_classification=(),
            catalogue_regression=(),
            optimiser=_choice(Optimiser, "optimiser", options.optimiser),
            learning_rate=chosen("learning_rate", options.learning_rate, 2e-3),
            drop_round=max(1, rounds // 2),
            batch_size=chosen("batch_size", options.batch_size, 64),
            local_epochs=options.local_epochs,
        ),
        method=Method.parse(chosen("method", options.method, "fedsgd")),
        aggregation=_choice(Aggregation, "aggregation", options.aggregation),
        schedule=Schedule(rounds=rounds, patience=chosen("patience", options.patience, 5)),
        catalogue=options.catalogue,
        quorum=TaskQuorum(),
    )


def _choice(kind: type[ChoiceT], option: str, given: str) -> ChoiceT:
    try:
        return kind(given)
    except ValueError as error:
        raise UnknownNameError(f"--{option} must be one of {', '.join(kind)} for many tasks; got {given!r}") from error


def _widths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split("-"))
    except ValueError as error:
        raise OptionError(f"--trunk takes widths such as 256 or 400-200, got {text!r}") from error


def run_tasks(settings: "QsarSettings", workplace: "Workplace", out: Path, *, as_json: bool) -> None:
    """Compare, write all results, and print them.

    Raises:
        InterruptedRunError: Ctrl-C; the same command resumes.
    """
    from pharmonia.bench.qsar_compare import compare_tasks, write_federated_runs  # noqa: PLC0415
    from pharmonia.bench.qsar_output import write_qsar_outputs  # noqa: PLC0415
    from pharmonia.evaluate.qsar_text import render_qsar_terminal  # noqa: PLC0415

    try:
        with steps_bar() as steps, progress_bar("Training") as on_progress:
            report = compare_tasks(
                settings, workplace, command=command_line(), now=datetime.now(UTC), steps=steps, on_progress=on_progress
            )
    except KeyboardInterrupt as interrupt:
        raise InterruptedRunError("interrupted; finished rounds are kept, the same command resumes") from interrupt
    written = write_qsar_outputs(report, out)
    write_federated_runs(settings, workplace, out)
    if as_json:
        typer.echo(written.results.read_text(encoding="utf-8"))
        return
    Console().print(render_qsar_terminal(report))
    typer.echo(f"\nReport: {written.html}\nResults: {written.results}\nTasks: {written.tasks}")
