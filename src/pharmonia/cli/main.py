"""The `pharmonia` command: mounts the commands, and turns errors into exit codes."""

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pharmonia import __version__
from pharmonia.base.errors import MissingExtraError, PharmoniaError
from pharmonia.cli import (
    audit,
    bench,
    compare,
    consortium,
    coordinator,
    data,
    deploy,
    export,
    keys,
    ledger,
    party,
    plan,
    policy,
    predict,
    prepare,
    up,
    verify,
)

_TRAIN_PACKAGES = ("torch", "rdkit", "pyarrow", "safetensors", "sqlalchemy", "plotly")
_EXTRA_OF = dict.fromkeys(_TRAIN_PACKAGES, "train") | {"ray": "ray"}

app = typer.Typer(
    name="pharmonia",
    help="Federated learning for drug discovery: one model across partners that cannot share what they measured.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data")
app.add_typer(bench.app, name="bench")
app.add_typer(prepare.app, name="prepare")
app.add_typer(keys.app, name="keys")
app.add_typer(consortium.app, name="consortium")
app.add_typer(policy.app, name="policy")
app.add_typer(plan.app, name="plan")
app.add_typer(ledger.app, name="ledger")
app.add_typer(deploy.app, name="deploy")
app.add_typer(party.app, name="party")
app.add_typer(coordinator.app, name="coordinator")
app.command("compare")(compare.compare)
app.command("export")(export.export)
app.command("predict")(predict.predict)
app.command("audit")(audit.audit)
app.command("up")(up.up)
app.command("status")(up.status)
app.command("logs")(up.logs)
app.command("down")(up.down)
app.command("verify")(verify.verify)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Options of the command itself."""


def main() -> None:
    """Run the command; the only place where an error becomes an exit code."""
    console = Console(stderr=True)
    try:
        app()
    except PharmoniaError as error:
        _fail(console, error)
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF.get(error.name or "")
        if extra is None:
            raise
        remedy = f"pip install '.[{extra}]' in Pharmonia's checkout"
        _fail(console, MissingExtraError(f"this needs the package {error.name}: {remedy}"))


def _fail(console: Console, error: PharmoniaError) -> None:
    console.print(Text.assemble(("Error: ", "bold red"), str(error)), soft_wrap=True)
    sys.exit(error.exit_code)
