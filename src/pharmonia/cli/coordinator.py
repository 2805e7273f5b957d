"""`pharmonia coordinator`: the consortium's server, and the runs of its plans."""

from pathlib import Path
from typing import Annotated

import typer

from pharmonia.cli.operations import KIT
from pharmonia.cli.operations_check import check_coordinator, show
from pharmonia.cli.serving import FAULTS, FaultsOption, HealthOption, run_coordinator

app = typer.Typer(help="The consortium's server, and the run of the plan in its folder.", no_args_is_help=True)

CoordinatorFolder = Annotated[Path, typer.Argument(help="The folder with `coordinator.toml`.")]
KitOption = Annotated[
    Path | None, typer.Option("--kit", help=f"The start-up kit of the server; {KIT} in the folder unless given.")
]


@app.command("start")
def start(
    folder: CoordinatorFolder, kit: KitOption = None, health: HealthOption = None, faults: FaultsOption = FAULTS
) -> None:
    """Serve in the foreground until SIGTERM or Ctrl-C, and run the plan; logs are JSON lines on stdout.

    A run that fails is submitted again and goes on from its last round; one that is refused is not.
    """
    run_coordinator(folder, kit or folder / KIT, health, faults)


@app.command("preflight")
def preflight(
    folder: CoordinatorFolder,
    kit: KitOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Look at papers, key, kit, store and machine, and show what the last run found at each site."""
    show(check_coordinator(folder, kit or folder / KIT), as_json=as_json)
