"""What `party check` and `coordinator preflight` look at and print: one table, and the first error's exit code."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

from pharmonia.cli.serving import require_extra

if TYPE_CHECKING:
    from pharmonia.run.preflight import Preflight
    from pharmonia.run.site_config import CoordinatorConfig, SiteConfig


def check_party(folder: Path, kit: Path) -> "Preflight":
    """What can be known of a partner's folder, kit and connection, without its data.

    Raises:
        PharmoniaError: There is no such folder or kit at all.
    """
    require_extra()
    import psutil  # noqa: PLC0415

    from pharmonia.deploy.folder import read_manifest  # noqa: PLC0415
    from pharmonia.run.preflight import Preflight, look  # noqa: PLC0415
    from pharmonia.run.preflight_connection import Credentials, require_connection  # noqa: PLC0415
    from pharmonia.run.preflight_site import site_preflight  # noqa: PLC0415
    from pharmonia.run.site_config import read_site  # noqa: PLC0415

    config, server = read_site(folder), read_manifest(kit).server
    startup = kit / "site" / "startup"
    own = Credentials(authority=startup / "rootCA.pem", certificate=startup / "client.crt", key=startup / "client.key")
    connected = look(
        config.partner, f"the server at {server}", lambda: require_connection(server.host, server.port, own)
    )
    found = site_preflight(folder, psutil.virtual_memory().available, datetime.now(UTC))
    return found.plus(_kit(kit, config)).plus(Preflight((connected,)))


def check_coordinator(folder: Path, kit: Path) -> "Preflight":
    """What can be known of the coordinator's folder and kit, and what its last run found at each site.

    Raises:
        PharmoniaError: There is no such folder or kit at all.
    """
    require_extra()
    import psutil  # noqa: PLC0415

    from pharmonia.run.preflight import FILE, Preflight, read_preflight  # noqa: PLC0415
    from pharmonia.run.preflight_seat import seat_preflight  # noqa: PLC0415
    from pharmonia.run.site_config import read_coordinator  # noqa: PLC0415

    config = read_coordinator(folder)
    found = seat_preflight(folder, psutil.virtual_memory().available, datetime.now(UTC)).plus(_kit(kit, config))
    if not (folder / FILE).exists():
        return found
    before = read_preflight(folder / FILE)
    return found.plus(Preflight(tuple(one for one in before.checks if one.where != config.partner)))


def _kit(kit: Path, config: "SiteConfig | CoordinatorConfig") -> "Preflight":
    from pharmonia.cli.deploy import engine_settings  # noqa: PLC0415
    from pharmonia.deploy.check import check_kit  # noqa: PLC0415
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415
    from pharmonia.run.preflight import Check, Preflight  # noqa: PLC0415

    found = check_kit(kit, read_agreement(config.agreement), engine_settings(), datetime.now(UTC))
    return Preflight(
        tuple(Check(where=config.partner, what=f"kit: {one.what}", error=one.error) for one in found.findings)
    )


def show(found: "Preflight", *, as_json: bool) -> None:
    """Print the table; then raise the first error in it.

    Raises:
        PharmoniaError: Of the kind that will not do.
    """
    if as_json:
        rows = [
            {"where": one.where, "what": one.what, "ok": one.error is None, "reason": str(one.error or "")}
            for one in found.checks
        ]
        typer.echo(json.dumps(rows, indent=2))
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        for one in found.checks:
            table.add_row("ok" if one.error is None else "NO", one.where, one.what, str(one.error or ""))
        Console(highlight=False, markup=False, soft_wrap=True).print(table)
    found.require()
