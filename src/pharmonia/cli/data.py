"""`pharmonia data`: list, describe, fetch and import data sets."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pharmonia.cli.progress import steps_bar, train_extra

if TYPE_CHECKING:
    from pharmonia.data.manifest import Manifest
    from pharmonia.run.cache import Summary
    from pharmonia.run.importing import ImportReport

app = typer.Typer(help="List, describe, fetch and import data sets.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Again = Annotated[bool, typer.Option("--again", help="Replace the data set if it is here already.")]
Mirror = Annotated[
    Path | None,
    typer.Option(help="Directory with the raw files, instead of the internet (else PHARMONIA_MIRROR)."),
]


@app.command("list")
def list_data(as_json: AsJson = False) -> None:
    """List the data sets: those of the catalogue, then your own."""
    from pharmonia.run.cache import available  # noqa: PLC0415

    summaries = available()
    if as_json:
        typer.echo(_json([asdict(summary) for summary in summaries]))
        return
    table = Table(box=None, padding=(0, 1, 0, 0))
    for heading in ("Name", "What", "State"):
        table.add_column(heading, no_wrap=True)
    for heading in ("Rows", "Compounds", "Targets"):
        table.add_column(heading, justify="right")
    table.add_column("Measure", overflow="fold")
    for one in summaries:
        counts = (f"{one.n_rows:,}", f"{one.n_compounds:,}", f"{one.n_targets:,}" if one.n_targets else "-")
        table.add_row(one.name, one.kind, one.state, *counts, Text(one.measure))
    Console().print(table)


@app.command("info")
def info(name: Annotated[str, typer.Argument(help="A data set's name.")], as_json: AsJson = False) -> None:
    """Tell all about one data set: terms, citation, sources with digests, counts."""
    from pharmonia.run.cache import describe  # noqa: PLC0415

    known = describe(name)
    if as_json:
        typer.echo(_json({**asdict(known), "folder": str(known.folder)}))
        return
    summary = known.summary
    facts = {
        "Title": summary.title,
        "State": f"{summary.state}, in {known.folder}" if known.files else summary.state,
        "Holds": f"{summary.kind}; values are {summary.measure}",
        "Size": _size(summary),
        "Licence": summary.licence,
        "Cite": known.citation or "-",
        "Homepage": known.homepage or "-",
        "Notes": "\n".join(known.notes) or "-",
        "Sources": "\n".join(f"{file.name}\n{file.sha256}" for file in known.sources) or "-",
    }
    table = Table(title=summary.name, show_header=False, box=None, padding=(0, 2, 0, 0), title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for fact, text in facts.items():
        table.add_row(fact, Text(text))  # not markup: a source may hold brackets
    Console().print(table)


@app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(help="A data set of the catalogue.")],
    mirror: Mirror = None,
    again: Again = False,
) -> None:
    """Download a data set of the catalogue, check it and prepare it."""
    with train_extra():
        from pharmonia.run import datasets  # noqa: PLC0415
    with steps_bar() as report:
        manifest = datasets.fetch(name, mirror=mirror, again=again, progress=report)
    typer.echo(f"{manifest.name} is ready: {_size(manifest)}")


@app.command("import")
def import_data(
    file: Annotated[Path, typer.Argument(help="A table: .csv, .csv.gz or .parquet.")],
    *,
    smiles_column: Annotated[str, typer.Option(help="Column of the compounds' SMILES.")],
    sequence_column: Annotated[str, typer.Option(help="Column of the targets' sequences.")],
    value_column: Annotated[str, typer.Option(help="Column of the measured values.")],
    compound_id_column: Annotated[str | None, typer.Option(help="Column of your compound identifiers.")] = None,
    target_id_column: Annotated[str | None, typer.Option(help="Column of your target identifiers.")] = None,
    unit: Annotated[
        str | None, typer.Option(help="Unit of the values: M, mM, uM, nM, pM, pKd, pKi, pIC50 or pEC50.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="Make concentrations negative logarithms: pKd, pKi, pIC50 or pEC50.")
    ] = None,
    measure: Annotated[str | None, typer.Option(help="What the values are (default: the unit).")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set (default: the file's).")] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(help="How far repeated measurements that agree may differ (default: 1 log unit, else 0)."),
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option(help="File for rejected rows (default: NAME.rejects.csv beside FILE).")
    ] = None,
    again: Again = False,
    as_json: AsJson = False,
) -> None:
    """Import your own measurements from FILE; every row is kept, merged or rejected with its reason."""
    with train_extra():
        from pharmonia.data.importing import Columns  # noqa: PLC0415
        from pharmonia.data.units import conversion  # noqa: PLC0415
        from pharmonia.run.importing import ImportPlan, import_file  # noqa: PLC0415
    converted = conversion(unit, to)
    plan = ImportPlan(
        path=file,
        columns=Columns(
            smiles=smiles_column,
            sequence=sequence_column,
            value=value_column,
            compound_id=compound_id_column,
            target_id=target_id_column,
        ),
        conversion=converted,
        name=name,
        measure=measure,
        tolerance=converted.default_tolerance if tolerance is None else tolerance,
        rejects=rejects,
        again=again,
    )
    with steps_bar() as report:
        done = import_file(plan, report)
    for line in done.warnings:
        typer.echo(f"warning: {line}", err=True)
    if as_json:
        typer.echo(_json(done.as_json()))
    else:
        _print_import(done)


def _print_import(done: "ImportReport") -> None:
    tally, manifest = done.tally, done.manifest
    table = Table("Rows of the file", title=f"{manifest.name}: {manifest.measure}", box=None, title_justify="left")
    table.add_column("", justify="right")
    table.add_row("read", f"{tally.n_read:,}")
    table.add_row("kept", f"{tally.n_kept:,}")
    table.add_row("merged, as repeated measurements that agree", f"{tally.n_merged:,}")
    table.add_row("rejected", f"{tally.n_rejected:,}")
    for reason, count in tally.rejected.items():
        table.add_row(f"  {reason.value}", f"{count:,}")
    Console().print(table)
    typer.echo(f"kept + merged + rejected = read; the data set holds {_size(manifest)}")
    typer.echo(f"rejected rows: {done.rejects}")


def _size(known: "Summary | Manifest") -> str:
    counts = ((known.n_rows, "row"), (known.n_compounds, "compound"), (known.n_targets, "target"))
    there = [(n, thing) for n, thing in counts if n or thing != "target"]
    return ", ".join(f"{n:,} {thing if n == 1 else f'{thing}s'}" for n, thing in there)


def _json(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)
