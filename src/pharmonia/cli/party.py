"""`pharmonia party`: a partner's own service, for its IT department."""

from pathlib import Path
from typing import Annotated

import typer

from pharmonia.cli.operations import KIT
from pharmonia.cli.operations_check import check_party, show
from pharmonia.cli.serving import FAULTS, FaultsOption, HealthOption, run_party

app = typer.Typer(help="A partner's own service: its data and its keys stay on this machine.", no_args_is_help=True)

SiteFolder = Annotated[Path, typer.Argument(help="The folder with `site.toml`.")]
KitOption = Annotated[
    Path | None, typer.Option("--kit", help=f"The start-up kit of the site; {KIT} in the folder unless given.")
]


@app.command("start")
def start(
    folder: SiteFolder, kit: KitOption = None, health: HealthOption = None, faults: FaultsOption = FAULTS
) -> None:
    """Serve in the foreground until SIGTERM or Ctrl-C, for systemd or a container; logs are JSON lines on stdout."""
    run_party(folder, kit or folder / KIT, health, faults)


@app.command("check")
def check(
    folder: SiteFolder,
    kit: KitOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Look at papers, keys, data's card, kit, machine and the connection to the server, without opening data."""
    show(check_party(folder, kit or folder / KIT), as_json=as_json)
