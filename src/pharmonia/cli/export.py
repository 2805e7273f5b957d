"""`pharmonia export`: a partner's model to take home."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pharmonia.base.errors import InputError
from pharmonia.cli.progress import train_extra


def export(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="What `pharmonia compare` wrote for many tasks.")
    ] = None,
    *,
    site: Annotated[
        Path | None, typer.Option(help="Instead of RUN: your site's folder, after a run between organisations.")
    ] = None,
    partner: Annotated[str | None, typer.Option(help="Whose heads; a site is its own partner's.")] = None,
    out: Annotated[Path, typer.Option(help="New folder; or, ending in .zip, new file.")],
    seed: Annotated[int, typer.Option(help="Which repetition of RUN.")] = 0,
    licence: Annotated[str, typer.Option(help="Terms of the partner's data, for the card.")] = "not stated",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of words.")] = False,
) -> None:
    """Make a bundle of what RUN left at a partner, or a run between organisations at your site.

    It holds the shared trunk, the partner's own heads, the recipe, the calibration and a model card;
    no structure and no key. `pharmonia predict` uses it; every file is checked against its digest.
    """
    with train_extra():
        from pharmonia.run.bundle import write_bundle  # noqa: PLC0415
        from pharmonia.run.bundle_export import export_bundle  # noqa: PLC0415
        from pharmonia.run.bundle_runs import find_run, read_partner  # noqa: PLC0415
        from pharmonia.run.bundle_site import read_site_run  # noqa: PLC0415
    now = datetime.now(UTC)
    if site is not None and run is None and partner is None:
        trained, note, notes = read_site_run(site)
    elif site is None and run is not None and partner is not None:
        trained, note, notes = read_partner(find_run(run, seed), partner)
    else:
        raise InputError("give RUN with --partner, or --site alone")
    contents = export_bundle(trained, note, notes, licence, now)
    digest = write_bundle(out, contents)
    if as_json:
        typer.echo(json.dumps({"bundle": str(out), "digest": digest, "tasks": len(contents.tasks)}, indent=2))
        return
    typer.echo(f"tasks   {len(contents.tasks):,}")
    typer.echo(f"digest  {digest}")
    typer.echo(f"bundle: {out}")
