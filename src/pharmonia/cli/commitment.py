"""`pharmonia plan commitment`: what a partner says of its data to whoever writes the plan."""

import json
from pathlib import Path
from typing import Annotated

import typer


def commitment(
    site: Annotated[Path, typer.Argument(help="Your site's folder, with `site.toml`.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Print your commitment to the data of SITE, and their recipe, for whoever writes the plan.

    The commitment says nothing of the data to anybody without your secret, and no data are opened.
    """
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415
    from pharmonia.run.site_config import read_site  # noqa: PLC0415
    from pharmonia.run.site_data import describe_data, site_commitment  # noqa: PLC0415

    config = read_site(site)
    consortium = read_agreement(config.agreement).versions[0].agreement.terms.consortium
    made, recipe = site_commitment(config, consortium), describe_data(config.data).recipe
    if as_json:
        document = {"partner": config.partner, "consortium": consortium, "commitment": made, "recipe": recipe}
        typer.echo(json.dumps(document, indent=2))
        return
    typer.echo(f"--commitment {config.partner}={made}")
    typer.echo(f"recipe: {recipe}")
