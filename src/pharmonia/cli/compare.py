"""`pharmonia compare`: who gains from federating, on measured interactions."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pharmonia.base.errors import InterruptedRunError, OptionError
from pharmonia.cli.progress import command_line, progress_bar
from pharmonia.cli.qsar import DATASETS, PANEL, TaskOptions, refuse_foreign_options, run_tasks, task_settings
from pharmonia.cli.training import (
    MEASURED,
    AggregationName,
    BatchSize,
    LearningRate,
    LocalEpochs,
    MethodName,
    ModelName,
    NormName,
    OptimiserName,
    Partition,
    Patience,
    Rounds,
    Split,
    settings_of,
)

if TYPE_CHECKING:
    from pharmonia.run.mandate import Mandate

RUNNING = "Running"
CONSORTIUM = "Under a plan: all four of these, or none"


def compare(
    context: typer.Context,
    dataset: Annotated[
        str,
        typer.Argument(
            help=f"Interactions, as `pharmonia data list` names them, or many tasks: {', '.join(DATASETS)}."
        ),
    ],
    partners: Annotated[int, typer.Option(help="Number of partners, at least 2.", rich_help_panel=MEASURED)] = 4,
    partition: Partition = "target",
    split: Split = "random",
    seeds: Annotated[
        int, typer.Option(help="Repetitions, each with its own partition and split.", rich_help_panel=MEASURED)
    ] = 1,
    model: ModelName = "gin",
    norm: NormName = "batch",
    optimiser: OptimiserName = "adam",
    learning_rate: LearningRate = 5e-4,
    batch_size: BatchSize = 128,
    local_epochs: LocalEpochs = 1,
    method: MethodName = "fedavg",
    aggregation: AggregationName = "secure",
    rounds: Rounds = 60,
    patience: Patience = 60,
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
    catalogue: Annotated[
        bool,
        typer.Option(
            "--catalogue", help="One head for all partners of a common task, not one each.", rich_help_panel=PANEL
        ),
    ] = False,
    trunk: Annotated[
        str, typer.Option(help="Widths of the shared layers: 256, 400-200.", rich_help_panel=PANEL)
    ] = "256",
    dropout: Annotated[float, typer.Option(help="Share of activations dropped.", rich_help_panel=PANEL)] = 0.4,
    plan: Annotated[Path | None, typer.Option(help="The plan, approved.", rich_help_panel=CONSORTIUM)] = None,
    agreement: Annotated[
        Path | None, typer.Option(help="The agreement, or its consortium's folder.", rich_help_panel=CONSORTIUM)
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="Directory of the ledger: a copy for each partner.", rich_help_panel=CONSORTIUM)
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            help="Directory with PARTNER/PARTNER.key, its .commitment and PARTNER/policy.json of each partner; in one "
            "place only because this simulates.",
            rich_help_panel=CONSORTIUM,
        ),
    ] = None,
) -> None:
    """Train alone, federated and pooled on DATASET, and report who gains.

    The same test rows judge each partner's own model, the ensemble of those, the federated model,
    and one trained on all data in one place. Interrupt at any time; the same command resumes.

    On the data sets of many tasks (adme, kiba-tasks, kiba+adme) partners share a trunk and keep their heads. There
    --partition is scaffold, assay or both, and what is not given is --partition scaffold --method fedsgd
    --learning-rate 0.002 --batch-size 64 (of each partner) --rounds 24 --patience 5.
    """
    from pharmonia.bench.arms import StorePlace  # noqa: PLC0415
    from pharmonia.bench.battery_folder import require_no_battery  # noqa: PLC0415
    from pharmonia.bench.compare import compare as run_comparison  # noqa: PLC0415
    from pharmonia.bench.delivery import hand_over  # noqa: PLC0415
    from pharmonia.bench.output import refuse_other_results, write_outputs  # noqa: PLC0415
    from pharmonia.bench.workplace import Workplace, default_place  # noqa: PLC0415
    from pharmonia.evaluate.report_text import render_terminal  # noqa: PLC0415
    from pharmonia.run.records import Performance  # noqa: PLC0415

    refuse_foreign_options(context, dataset)
    require_no_battery(out)
    refuse_other_results(out, dataset)
    n_workers = os.cpu_count() or 1 if workers is None else workers
    place = StorePlace(url=store, folder=out / "runs") if store else default_place(out)
    if dataset in DATASETS:
        options = TaskOptions(
            partners=partners,
            seeds=seeds,
            partition=partition,
            optimiser=optimiser,
            learning_rate=learning_rate,
            batch_size=batch_size,
            local_epochs=local_epochs,
            method=method,
            aggregation=aggregation,
            rounds=rounds,
            patience=patience,
            catalogue=catalogue,
            trunk=trunk,
            dropout=dropout,
        )
        asked = task_settings(context, dataset, options)
        run_tasks(asked, Workplace(place=place, n_workers=n_workers), out, as_json=as_json)
        return
    settings = settings_of(
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
    mandate = _mandate(plan, agreement, ledger, keys)
    workplace = Workplace(
        place=place,
        n_workers=n_workers,
        performance=Performance(transcripts=transcript, mandate=mandate),
    )
    try:
        with progress_bar("Training") as on_progress:
            report = run_comparison(
                settings, workplace, command=command_line(), now=datetime.now(UTC), on_progress=on_progress
            )
    except KeyboardInterrupt as interrupt:
        raise InterruptedRunError("interrupted; finished rounds are kept, the same command resumes") from interrupt
    written = write_outputs(report, out)
    delivered = None if mandate is None else hand_over(mandate, settings, workplace, written.results, out)
    if as_json:
        typer.echo(written.results.read_text(encoding="utf-8"))
        return
    Console().print(render_terminal(report))
    typer.echo(f"\nReport: {written.html}\nResults: {written.results}")
    if delivered is not None:
        typer.echo(f"Model: {delivered}\nLedger: {ledger}")


def _mandate(plan: Path | None, agreement: Path | None, ledger: Path | None, keys: Path | None) -> "Mandate | None":
    from pharmonia.run.mandate import Mandate  # noqa: PLC0415

    if plan and agreement and ledger and keys:
        return Mandate(plan=plan, agreement=agreement, ledger=ledger, keys=keys)
    if plan or agreement or ledger or keys:
        raise OptionError("a run under a plan takes --plan, --agreement, --ledger and --keys; give all four or none")
    return None
