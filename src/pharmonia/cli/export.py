"""`pharmonia export`: a partner's model to take home."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pharmonia.base.errors import InputError
from pharmonia.cli.progress import steps_bar, train_extra

if TYPE_CHECKING:
    from pharmonia.run.bundle_environments import StructureReader
    from pharmonia.run.fetch import Progress


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
    key: Annotated[
        Path | None,
        typer.Option(help="The consortium's preparation key, for the domain (default: simulation.key of RUN)."),
    ] = None,
    licence: Annotated[str, typer.Option(help="Terms of the partner's data, for the card.")] = "not stated",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of words.")] = False,
) -> None:
    """Make a bundle of what RUN left at a partner, or a run between organisations at your site.

    It holds the shared trunk, the partner's own heads, the recipe, the calibration and a model card;
    no structure and no key. `pharmonia predict` uses it; every file is checked against its digest.
    Which compounds are in its domain is only known where the key is given, and the prepared data
    have their standard forms.
    """
    with train_extra():
        from pharmonia.run.bundle import write_bundle  # noqa: PLC0415
        from pharmonia.run.bundle_export import export_bundle  # noqa: PLC0415
        from pharmonia.run.bundle_runs import KEY_FILE, find_run, read_partner  # noqa: PLC0415
        from pharmonia.run.bundle_site import read_site_run  # noqa: PLC0415
    now = datetime.now(UTC)
    if key is None and run is not None and (run / KEY_FILE).is_file():
        key = run / KEY_FILE
    with steps_bar() as report:
        structures = None if key is None else _structures(key, report)
        if site is not None and run is None and partner is None:
            trained, note, notes = read_site_run(site, structures)
        elif site is None and run is not None and partner is not None:
            trained, note, notes = read_partner(find_run(run, seed), partner, structures)
        else:
            raise InputError("give RUN with --partner, or --site alone")
    contents = export_bundle(trained, note, notes, licence, now)
    digest = write_bundle(out, contents)
    if as_json:
        n_environments = contents.card.n_environments
        document = {"bundle": str(out), "digest": digest, "tasks": len(contents.tasks), "environments": n_environments}
        typer.echo(json.dumps(document, indent=2))
        return
    typer.echo(f"tasks   {len(contents.tasks):,}")
    typer.echo(f"domain  {_domain(contents.card.n_environments, key)}")
    typer.echo(f"digest  {digest}")
    typer.echo(f"bundle: {out}")


def _structures(key: Path, report: "Progress") -> "StructureReader":
    from pharmonia.run.bundle_environments import StructureReader  # noqa: PLC0415
    from pharmonia.run.cache import structures_file  # noqa: PLC0415
    from pharmonia.run.prepare import available_cpus  # noqa: PLC0415
    from pharmonia.run.prepare_key import read_preparation_key  # noqa: PLC0415

    return StructureReader(
        key=read_preparation_key(key),
        cache=structures_file(),
        n_workers=available_cpus(),
        progress=report,
    )


def _domain(n_environments: int | None, key: Path | None) -> str:
    if n_environments is not None:
        return f"{n_environments:,} environments trained on"
    lacking = "name --key" if key is None else "the prepared data have no standard forms (compounds.csv)"
    return f"not known, so no prediction will be marked in domain: {lacking}"
