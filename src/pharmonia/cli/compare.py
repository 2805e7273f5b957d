"""`pharmonia compare`: who gains from federating, on measured interactions."""

import os
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console

from pharmonia.base.errors import InterruptedRunError, UnknownNameError
from pharmonia.cli.progress import progress_bar

if TYPE_CHECKING:
    from pharmonia.bench.settings import ComparisonSettings

ChoiceT = TypeVar("ChoiceT", bound=StrEnum)
MEASURED = "Data and partners"
TRAINING = "Training"
RUNNING = "Running"


def compare(
    dataset: Annotated[str, typer.Argument(help="A data set's name; `pharmonia data list` shows them.")],
    partners: Annotated[int, typer.Option(help="Number of partners, at least 2.", rich_help_panel=MEASURED)] = 4,
    partition: Annotated[
        str,
        typer.Option(
            help="Between partners: iid, target, compound, scaffold, family, diffused-target:VARIANCE, "
            "diffused-compound:VARIANCE, size-skew:RATIO, dirichlet:ALPHA or weak:SHARE.",
            rich_help_panel=MEASURED,
        ),
    ] = "target",
    split: Annotated[
        str,
        typer.Option(
            help="What is tested on: random, published, cold-target, cold-compound, cold-scaffold or cold-both.",
            rich_help_panel=MEASURED,
        ),
    ] = "random",
    seeds: Annotated[
        int, typer.Option(help="Repetitions, each with its own partition and split.", rich_help_panel=MEASURED)
    ] = 1,
    model: Annotated[
        str,
        typer.Option(help="gin, gcn, gat, gat-gcn, deepdta, ligand-only or target-only.", rich_help_panel=TRAINING),
    ] = "gin",
    norm: Annotated[str, typer.Option(help="In the network: batch or layer.", rich_help_panel=TRAINING)] = "batch",
    optimiser: Annotated[str, typer.Option(help="adam or sgd.", rich_help_panel=TRAINING)] = "adam",
    learning_rate: Annotated[float, typer.Option(help="Step size.", rich_help_panel=TRAINING)] = 5e-4,
    batch_size: Annotated[int, typer.Option(help="Rows per step.", rich_help_panel=TRAINING)] = 128,
    local_epochs: Annotated[int, typer.Option(help="Passes per round.", rich_help_panel=TRAINING)] = 1,
    method: Annotated[
        str,
        typer.Option(
            help="fedavg, fedsgd, fedprox[:mu], fedadam[:rate], fedyogi[:rate], fedadagrad[:rate] or scaffold; "
            "then +private-norms, +private-head, +equal or +validation.",
            rich_help_panel=TRAINING,
        ),
    ] = "fedavg",
    aggregation: Annotated[
        str,
        typer.Option(
            help="secure: only sums leave a partner. plain: for research, updates do.", rich_help_panel=TRAINING
        ),
    ] = "secure",
    rounds: Annotated[int, typer.Option(help="Rounds at most.", rich_help_panel=TRAINING)] = 60,
    patience: Annotated[
        int, typer.Option(help="Stop after so many rounds without a better validation error.", rich_help_panel=TRAINING)
    ] = 60,
    out: Annotated[Path, typer.Option(help="Directory for report, results and runs.", rich_help_panel=RUNNING)] = Path(
        "pharmonia-out"
    ),
    store: Annotated[
        str | None,
        typer.Option(help="SQLAlchemy URL of the store; a file in OUT unless given.", rich_help_panel=RUNNING),
    ] = None,
    transcript: Annotated[
        Path | None,
        typer.Option(
            help="Directory for all that the server sees of the federated runs; `pharmonia audit` attacks it. "
            "Gigabytes for long runs.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes side by side; one per core unless given.", rich_help_panel=RUNNING)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results as JSON.", rich_help_panel=RUNNING)
    ] = False,
) -> None:
    """Train alone, federated and pooled on DATASET, and report who gains.

    The same test rows judge each partner's own model, the ensemble of those, the federated model,
    and one trained on all data in one place. Interrupt at any time; the same command resumes.
    """
    from pharmonia.bench.arms import StorePlace  # noqa: PLC0415
    from pharmonia.bench.compare import compare as run_comparison  # noqa: PLC0415
    from pharmonia.bench.output import write_outputs  # noqa: PLC0415
    from pharmonia.bench.workplace import Workplace, default_place  # noqa: PLC0415
    from pharmonia.evaluate.report_text import render_terminal  # noqa: PLC0415
    from pharmonia.run.records import Performance  # noqa: PLC0415

    settings = _settings(
        dataset,
        n_partners=partners,
        partition=partition,
        split=split,
        n_seeds=seeds,
        local={
            "model": model,
            "norm": norm,
            "optimiser": optimiser,
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "local_epochs": local_epochs,
        },
        method=method,
        aggregation=aggregation,
        schedule={"rounds": rounds, "patience": patience},
    )
    place = StorePlace(url=store, folder=out / "runs") if store else default_place(out)
    workplace = Workplace(
        place=place,
        n_workers=os.cpu_count() or 1 if workers is None else workers,
        performance=Performance(transcripts=transcript),
    )
    try:
        with progress_bar("Training") as on_progress:
            report = run_comparison(
                settings, workplace, command=_command_line(), now=datetime.now(UTC), on_progress=on_progress
            )
    except KeyboardInterrupt as interrupt:
        raise InterruptedRunError("interrupted; finished rounds are kept, the same command resumes") from interrupt
    written = write_outputs(report, out)
    if as_json:
        typer.echo(written.results.read_text(encoding="utf-8"))
        return
    Console().print(render_terminal(report))
    typer.echo(f"\nReport: {written.html}\nResults: {written.results}")


def _settings(
    dataset: str,
    *,
    n_partners: int,
    partition: str,
    split: str,
    n_seeds: int,
    local: Mapping[str, Any],
    method: str,
    aggregation: str,
    schedule: Mapping[str, int],
) -> "ComparisonSettings":
    from pharmonia.bench.scenario import Scenario  # noqa: PLC0415
    from pharmonia.bench.settings import ComparisonSettings  # noqa: PLC0415
    from pharmonia.data.splits import SplitKind  # noqa: PLC0415
    from pharmonia.learn.algorithms import Schedule  # noqa: PLC0415
    from pharmonia.learn.settings import Aggregation, LocalSettings, Method, Optimiser  # noqa: PLC0415
    from pharmonia.nn.choices import Model, Norm  # noqa: PLC0415

    chosen = {
        "model": _choice(Model, "model", local["model"]),
        "norm": _choice(Norm, "norm", local["norm"]),
        "optimiser": _choice(Optimiser, "optimiser", local["optimiser"]),
    }
    return ComparisonSettings(
        dataset=dataset,
        n_partners=n_partners,
        scenario=Scenario.parse(partition),
        split=_choice(SplitKind, "split", split),
        seeds=tuple(range(n_seeds)),
        local=LocalSettings(**{**local, **chosen}),
        method=Method.parse(method),
        aggregation=_choice(Aggregation, "aggregation", aggregation),
        schedule=Schedule(**schedule),
    )


def _choice(kind: type[ChoiceT], option: str, given: str) -> ChoiceT:
    try:
        return kind(given)
    except ValueError as error:
        raise UnknownNameError(f"--{option} must be one of {', '.join(kind)}; got {given!r}") from error


def _command_line() -> str:
    return shlex.join(["pharmonia", *sys.argv[1:]])
