"""`pharmonia prepare`: assay tables to the matrices that partners train on, and the check before."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from pharmonia.base.errors import OptionError
from pharmonia.cli.progress import steps_bar, train_extra

if TYPE_CHECKING:
    from pharmonia.data.assays_tables import PlainLayout
    from pharmonia.data.contract_report import PrepareReport
    from pharmonia.data.recipe import Recipe
    from pharmonia.data.recipe_profile import PrepareProfile


class _TablesFirst(TyperGroup):
    """A group whose first word, if it is no command of it, is a table to prepare."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # base is private
        """Put the word `tables` before arguments that name no command."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["tables", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_TablesFirst,
    no_args_is_help=True,
    help="Prepare assay tables for training: `pharmonia prepare TABLE... --key FILE --out DIR`.",
)

KeyFile = Annotated[Path, typer.Option("--key", help="The consortium's preparation key.")]
RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="The consortium's recipe: its settings, and what is checked.")
]
ProfileFile = Annotated[
    Path | None, typer.Option("--profile", help="Settings that differ from the default, in TOML or JSON.")
]
Workers = Annotated[int | None, typer.Option(help="Processes for structures (default: all processors).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]


@app.command("tables")
def tables(
    table: Annotated[list[Path], typer.Argument(help="Tables T0, T1, T2, T_cat, or plain ones: .csv[.gz], .parquet.")],
    *,
    key: KeyFile,
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    recipe: RecipeFile = None,
    profile: ProfileFile = None,
    smiles_column: Annotated[str | None, typer.Option(help="Plain table: column of SMILES.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Plain table: column of your identifiers.")] = None,
    endpoint: Annotated[list[str] | None, typer.Option(help="Wide table: a column of results; repeat it.")] = None,
    assay_column: Annotated[str | None, typer.Option(help="Long table: column of assays.")] = None,
    value_column: Annotated[str | None, typer.Option(help="Long table: column of results.")] = None,
    qualifier_column: Annotated[str | None, typer.Option(help="Long table: column of <, =, >.")] = None,
    unit_column: Annotated[str | None, typer.Option(help="Long table: column of units.")] = None,
    to: Annotated[
        str | None, typer.Option(help="Long table: what concentrations become: pKd, pKi, pIC50 or pEC50.")
    ] = None,
    assay_type: Annotated[
        str | None, typer.Option(help="Plain table: type of assays that no table T0 describes (default: OTHER).")
    ] = None,
    direction: Annotated[
        str | None,
        typer.Option(help="Plain table: which values are active: high, low, either (default: high)."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="File of structures met before (default: structures.sqlite in the cache).")
    ] = None,
    workers: Workers = None,
    again: Annotated[bool, typer.Option("--again", help="Replace prepared tasks in that folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Prepare TABLEs: what `pharmonia prepare TABLE...` runs.

    Every row is used, merged, or listed in rejects.csv with its reason. The
    folder stays with you: only its recipe's digest enters a plan. Ends with 2
    where no result is usable.
    """
    with train_extra():
        from pharmonia.run.cache import structures_file  # noqa: PLC0415
        from pharmonia.run.prepare import PreparePlan, available_cpus, prepare  # noqa: PLC0415
        from pharmonia.run.prepare_key import read_preparation_key  # noqa: PLC0415
    wanted, settings = _settings(recipe, profile)
    columns = (id_column, assay_column, value_column, qualifier_column, unit_column, to)
    plan = PreparePlan(
        tables=tuple(table),
        layout=_layout(smiles_column, columns, tuple(endpoint or ()), assay_type, direction),
        key=read_preparation_key(key),
        profile=settings,
        wanted=wanted,
        out=out,
        cache=cache or structures_file(),
        n_workers=workers if workers is not None else available_cpus(),
        again=again,
    )
    with steps_bar() as report:
        done = prepare(plan, report)
    if as_json:
        typer.echo(json.dumps(done.as_json(), indent=2, ensure_ascii=False))
    else:
        _print_report(done)
    done.require_results()
    if not as_json:
        typer.echo(f"prepared tasks: {out}")


@app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(help="What `pharmonia prepare` wrote.")],
    recipe: RecipeFile = None,
    expectations: Annotated[
        Path | None, typer.Option(help="What the consortium expects of assays, in TOML or JSON.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check prepared tasks before any training.

    Every file against its digest, the recipe against the consortium's, and
    each assay's units, values, repeats and class balance against what the
    consortium expects. Ends with 3 where they depart.
    """
    with train_extra():
        from pharmonia.run.prepare_check import check_prepared, read_expectations, read_recipe  # noqa: PLC0415
    wanted = read_recipe(recipe) if recipe else None
    result = check_prepared(folder, wanted, read_expectations(expectations) if expectations else ())
    if as_json:
        typer.echo(json.dumps(result.as_json(), indent=2, ensure_ascii=False))
    else:
        _print_report(result.report)
        for one in result.drifts:
            typer.echo(f"drift: {one.sentence()}")
        typer.echo(f"every file is whole; the recipe is {'the agreed one' if wanted else result.report.recipe_digest}")
    result.require()


@app.command("key")
def key(file: Annotated[Path, typer.Argument(help="Where to put the consortium's new preparation key.")]) -> None:
    """Create the key that all partners prepare with; hand it to partners only, never to who runs the sums."""
    with train_extra():
        from pharmonia.run.prepare_key import create_preparation_key  # noqa: PLC0415
    typer.echo(f"key commitment  {create_preparation_key(file).commitment()}")


@app.command("recipe")
def recipe(
    out: Annotated[Path, typer.Argument(help="File to write.")],
    *,
    key: KeyFile,
    profile: ProfileFile = None,
    workers: Workers = None,
) -> None:
    """Write the recipe that this installation, key and profile make, for partners to agree on."""
    with train_extra():
        from pharmonia.run.cache import structures_file  # noqa: PLC0415
        from pharmonia.run.files import write_whole  # noqa: PLC0415
        from pharmonia.run.prepare import available_cpus, make_recipe  # noqa: PLC0415
        from pharmonia.run.prepare_key import read_preparation_key  # noqa: PLC0415
    _, settings = _settings(None, profile)
    n_workers = workers if workers is not None else available_cpus()
    with steps_bar() as report:
        made = make_recipe(settings, read_preparation_key(key), structures_file(), n_workers, report)
    write_whole(out, made.encode())
    typer.echo(f"recipe digest  {made.digest}")


def _settings(recipe: Path | None, profile: Path | None) -> tuple["Recipe | None", "PrepareProfile"]:
    from pharmonia.data.recipe_profile import PrepareProfile  # noqa: PLC0415
    from pharmonia.run.prepare_check import read_profile, read_recipe  # noqa: PLC0415

    if recipe and profile:
        raise OptionError("a recipe holds its settings: name --recipe or --profile, not both")
    if recipe:
        wanted = read_recipe(recipe)
        return wanted, wanted.profile
    return None, read_profile(profile) if profile else PrepareProfile()


def _layout(
    smiles: str | None,
    columns: tuple[str | None, str | None, str | None, str | None, str | None, str | None],
    endpoints: tuple[str, ...],
    assay_type: str | None,
    direction: str | None,
) -> "PlainLayout | None":
    from pharmonia.data.assays import AssayType, Direction  # noqa: PLC0415
    from pharmonia.data.assays_tables import PlainLayout  # noqa: PLC0415
    from pharmonia.data.catalogue import unknown_name  # noqa: PLC0415

    compound_id, assay, value, qualifier, unit, to = columns
    if smiles is None:
        if endpoints or any(column is not None for column in columns):
            raise OptionError("a plain table needs --smiles-column")
        if assay_type is not None or direction is not None:
            raise OptionError("--assay-type and --direction are of plain tables; here T0 states each assay's own")
        return None
    assay_type = AssayType.OTHER.value if assay_type is None else assay_type
    direction = Direction.HIGH.value if direction is None else direction
    for what, name, known in (("type of assay", assay_type, AssayType), ("direction", direction, Direction)):
        if name not in [one.value for one in known]:
            raise unknown_name(what, name, [one.value for one in known])
    return PlainLayout(
        smiles=smiles,
        compound_id=compound_id,
        assay=assay,
        value=value,
        qualifier=qualifier,
        unit=unit,
        endpoints=endpoints,
        assay_type=AssayType(assay_type),
        direction=Direction(direction),
        to=to,
    )


def _print_report(report: "PrepareReport") -> None:
    counts = report.counts
    facts = (
        ("compounds listed", counts.compounds_listed),
        ("distinct structures listed", counts.structures_listed),
        ("distinct standard forms", counts.forms),
        ("rows of features", counts.rows),
        ("usable results", counts.results_listed),
        ("  merged as repeats", counts.results_merged),
        ("  left after joining", counts.results),
        ("assays", counts.assays),
        ("  without a task", len(report.refused_assays)),
        ("classification tasks", counts.classification),
        ("regression tasks", counts.regression),
        ("tasks not trained", len(report.refused_tasks)),
        ("labels", counts.labels),
        ("rows turned away", report.n_rejected),
        *((f"  {name}", count) for name, count in report.rejected.items()),
    )
    table = Table("Preparation", box=None, padding=(0, 2, 0, 0))
    table.add_column("", justify="right")
    for what, count in facts:
        table.add_row(Text(what), f"{count:,}")
    Console().print(table)
    typer.echo(f"rows per fold: {', '.join(f'{count:,}' for count in report.fold_rows)}")
    typer.echo(f"labels per fold: {', '.join(f'{count:,}' for count in report.fold_labels)}")
    for line in report.warnings():
        typer.echo(f"warning: {line}")
