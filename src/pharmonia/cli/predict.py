"""`pharmonia predict`: what a bundle says of new structures."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pharmonia.base.errors import OptionError
from pharmonia.cli.progress import steps_bar, train_extra

if TYPE_CHECKING:
    from pharmonia.run.predict_check import PredictionCheck
    from pharmonia.run.predict_files import PredictSummary
    from pharmonia.run.predict_output import TableLayout

CHECKING = "Instead of predicting"
PREDICTIONS = "predictions.npy"
OF_PREDICTING = ("source", "out", "layout", "task", "error_rate", "smiles_column", "id_column")  # parameters, not flags


def predict(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(help="What `pharmonia export` wrote: a folder or .zip.")],
    source: Annotated[Path | None, typer.Argument(metavar="INPUT", help="Structures: .csv[.gz] or .sdf[.gz].")] = None,
    *,
    key: Annotated[Path, typer.Option("--key", help="The consortium's preparation key.")],
    out: Annotated[Path | None, typer.Option(help="File to write: .csv, .csv.gz or .parquet.")] = None,
    layout: Annotated[str, typer.Option(help="A row per compound (wide), or per compound and task (long).")] = "wide",
    task: Annotated[list[str] | None, typer.Option(help="A task or assay of the bundle; repeat it.")] = None,
    error_rate: Annotated[float, typer.Option(help="How often label sets and intervals may miss.")] = 0.2,
    smiles_column: Annotated[str | None, typer.Option(help="CSV: column of SMILES (default: smiles).")] = None,
    id_column: Annotated[
        str | None,
        typer.Option(
            help="Your identifiers: column of a CSV (default: id), data field of an SDF (default: its title)."
        ),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="File of structures met before (default: structures.sqlite in the cache).")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes for structures (default: all processors).")] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            help="Predict the labelled pairs of this prepared folder, and compare with what the run predicted.",
            rich_help_panel=CHECKING,
        ),
    ] = None,
    platform: Annotated[
        Path | None,
        typer.Option(
            help="What the run predicted (default: predictions.npy beside that folder).", rich_help_panel=CHECKING
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of words.")] = False,
) -> None:
    """Predict the structures of INPUT with BUNDLE.

    Each compound has, for each task, a probability with a label set or a value with an interval, and
    whether the model may be trusted there. What cannot be read keeps its row, with the reason, and
    is listed in OUT's .rejects.csv. Nothing leaves this machine.
    """
    _refuse_unused_options(context)
    with train_extra():
        from pharmonia.run.cache import structures_file  # noqa: PLC0415
        from pharmonia.run.predict import Predictor  # noqa: PLC0415
        from pharmonia.run.predict_check import check_folder  # noqa: PLC0415
        from pharmonia.run.predict_files import PredictPlan, checks_only, predict_file  # noqa: PLC0415
        from pharmonia.run.prepare import available_cpus  # noqa: PLC0415
        from pharmonia.run.prepare_key import read_preparation_key  # noqa: PLC0415
    if check is None:
        if source is None or out is None:
            raise OptionError("name INPUT and --out to predict, or --check to compare with a run")
        plan = PredictPlan(
            source=source,
            smiles_column=smiles_column,
            id_column=id_column,
            out=out,
            layout=_layout(layout),
            tasks=tuple(task or ()),
            error_rate=error_rate,
        )
    structures = cache or structures_file()
    n_workers = workers if workers is not None else available_cpus()
    with (
        steps_bar() as report,
        Predictor.open(
            bundle, read_preparation_key(key), cache=structures, n_workers=n_workers, progress=checks_only(report)
        ) as predictor,
    ):
        if check is None:
            summary = predict_file(predictor, plan, report)
        else:
            compared = check_folder(predictor, check, platform or check.parent / PREDICTIONS)
    if check is None:
        _print_summary(summary, plan.out, plan.rejects, as_json=as_json)
    else:
        _print_check(compared, as_json=as_json)
        compared.require()


def _refuse_unused_options(context: typer.Context) -> None:
    """Refuse what predicting takes in a check, and the other way round.

    Raises:
        OptionError: One was given; names it.
    """
    is_check = context.params["check"] is not None
    unused = OF_PREDICTING if is_check else ("platform",)
    given = [name for name in unused if _is_given(context, name)]
    if given:
        name = "INPUT" if given[0] == "source" else f"--{given[0].replace('_', '-')}"
        why = "--check writes no predictions" if is_check else "only --check compares with what a run predicted"
        raise OptionError(f"{why}: leave {name} away")


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _layout(name: str) -> "TableLayout":
    from pharmonia.data.catalogue import unknown_name  # noqa: PLC0415
    from pharmonia.run.predict_output import TableLayout  # noqa: PLC0415

    if name not in set(TableLayout):
        raise unknown_name("layout", name, TableLayout)
    return TableLayout(name)


def _print_summary(summary: "PredictSummary", out: Path, rejects: Path, *, as_json: bool) -> None:
    if as_json:
        document = {
            "compounds": summary.n_records,
            "in_domain": summary.n_in_domain,
            "domain": summary.domain.value,
            "without_id_field": summary.n_without_field,
            "rejected": dict(summary.rejected),
            "predictions": str(out),
            "rejects": str(rejects),
        }
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    from pharmonia.run.predict_domain import DOMAIN_TEXTS, DomainState  # noqa: PLC0415

    n_rejected = sum(summary.rejected.values())
    typer.echo(f"compounds       {summary.n_records:,}")
    if summary.n_without_field:
        typer.echo(f"  without the field of --id-column; the title, or the row, stands in  {summary.n_without_field:,}")
    if summary.domain is DomainState.JUDGED:
        typer.echo(f"  like those that calibrate the model  {summary.n_in_domain:,}")
    else:
        typer.echo(f"  domain {summary.domain}: {DOMAIN_TEXTS[summary.domain]}")
    typer.echo(f"  turned away   {n_rejected:,}")
    for reason, count in summary.rejected.items():
        typer.echo(f"    {reason}  {count:,}")
    typer.echo(f"predictions: {out}")
    typer.echo(f"turned away: {rejects}")


def _print_check(compared: "PredictionCheck", *, as_json: bool) -> None:
    if as_json:
        document = {
            "labels": compared.n_labels,
            "largest_difference": compared.largest,
            "task": compared.task_id,
            "row": compared.compound,
            "forms": compared.n_forms,
        }
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    typer.echo(f"columns compared    {compared.n_forms:,} compounds")
    typer.echo(f"labels compared     {compared.n_labels:,}")
    typer.echo(f"largest difference  {compared.largest:.3g}, of {compared.task_id} at row {compared.compound}")
