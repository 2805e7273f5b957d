"""`pharmonia deploy`: start-up kits for every organisation's machines; each makes its own keys."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pharmonia.base.errors import InputError
from pharmonia.cli.keys import open_key

if TYPE_CHECKING:
    from pharmonia.deploy.check import Expiry
    from pharmonia.deploy.workspace import EngineSettings
    from pharmonia.governance.terms import Role

app = typer.Typer(
    help="Start-up kits that connect every organisation's machines; each makes its own keys.", no_args_is_help=True
)

AgreementOption = Annotated[Path, typer.Option("--agreement", help="The consortium's folder or its agreement.json.")]
KeyOption = Annotated[Path, typer.Option("--key", help="Your key file, the one that the agreement knows.")]
KitFolder = Annotated[Path, typer.Argument(help="The folder of the kit.")]


@app.command("authority")
def authority(
    folder: Annotated[Path, typer.Argument(help="A new folder, for you alone.")],
    agreement: AgreementOption,
    key: KeyOption,
) -> None:
    """Make the authority that signs the consortium's certificates; for a coordinator, once."""
    from pharmonia.deploy.authority import create_authority  # noqa: PLC0415
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415

    made = create_authority(folder, read_agreement(agreement), open_key(key), datetime.now(UTC))
    typer.echo(f"authority of {made.subject.name}, fingerprint {made.fingerprint}, until {made.ends:%Y-%m-%d}")
    typer.echo(f"Keep {folder} where only you can read it, with a backup; whoever has it can connect to the server.")


@app.command("request")
def request(
    folder: Annotated[Path, typer.Argument(help="A new folder: the kit's, on the machine that will use it.")],
    agreement: AgreementOption,
    partner: Annotated[str, typer.Option(help="Your own identifier.")],
    role: Annotated[str, typer.Option(help="data-owner for a site, coordinator for the server.")],
    key: KeyOption,
    host: Annotated[
        list[str] | None,
        typer.Option(help="A coordinator's: name or IPv4 address at which its server is reached; may be repeated."),
    ] = None,
) -> None:
    """Make the kit's private keys, which stay in FOLDER, and a signed request for their certificates."""
    from pharmonia.deploy.folder import request_kit  # noqa: PLC0415
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415

    history, hosts = read_agreement(agreement), tuple(host or ())
    signed = request_kit(folder, history, partner, _role(role), hosts, open_key(key), datetime.now(UTC))
    typer.echo(f"Send {folder / 'request.json'} to the coordinator; nothing else leaves {folder}.")
    typer.echo(f"request {signed.request.digest}")


@app.command("approve")
def approve(
    request: Annotated[Path, typer.Argument(help="The request that a partner sent.")],
    authority: Annotated[Path, typer.Option(help="The folder of the authority.")],
    agreement: AgreementOption,
    key: KeyOption,
    out: Annotated[Path, typer.Option(help="The approval to write and send back.")],
) -> None:
    """Sign the certificates that a partner asked for, if the agreement gives it that role."""
    from pharmonia.deploy.approvals import encode_approval  # noqa: PLC0415
    from pharmonia.deploy.authority import approve as sign  # noqa: PLC0415
    from pharmonia.deploy.folder import read_request  # noqa: PLC0415
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415
    from pharmonia.run.files import write_whole  # noqa: PLC0415

    history, asked = read_agreement(agreement), read_request(request)
    signed = sign(authority, asked, history, open_key(key), datetime.now(UTC))
    write_whole(out, encode_approval(signed))
    one = signed.approval
    typer.echo(f"{one.partner} as {one.role}, until {one.ends():%Y-%m-%d}, request {one.request}")
    for certificate in one.certificates:
        typer.echo(f"  {certificate.subject}: {', '.join(certificate.hosts)}")
    typer.echo(f"Send {out} to {one.partner}.")


@app.command("kit")
def kit(
    folder: KitFolder,
    agreement: AgreementOption,
    approval: Annotated[
        Path | None, typer.Option(help="The answer to your request; without it, the one in the kit.")
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(help="Where the server listens, as HOST:PORT; without it, as the kit says."),
    ] = None,
) -> None:
    """Make the kit in the folder of its request, or make it anew; say which files changed."""
    from pharmonia.deploy.folder import make_kit  # noqa: PLC0415
    from pharmonia.deploy.posts import Address  # noqa: PLC0415
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415

    address = Address.parse(server) if server is not None else None
    changed = make_kit(folder, read_agreement(agreement), approval, address, engine_settings(), datetime.now(UTC))
    for path in changed:
        typer.echo(f"wrote {folder / path}")
    typer.echo(f"files changed: {len(changed) or 'none'}")


@app.command("check")
def check(folder: KitFolder, agreement: AgreementOption) -> None:
    """Look at everything in a kit that can be known before it is started."""
    from pharmonia.deploy.check import check_kit  # noqa: PLC0415
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415

    found = check_kit(folder, read_agreement(agreement), engine_settings(), datetime.now(UTC))
    for finding in found.findings:
        typer.echo(f"{'ok' if finding.error is None else 'NO'}  {finding.what}")
    found.require()


@app.command("status")
def status(
    folders: Annotated[list[Path], typer.Argument(help="Kits, and the authority's folder if you have it.")],
    agreement: Annotated[
        Path | None,
        typer.Option(
            "--agreement",
            help="The consortium's folder or its agreement.json: the authority's certificates of partners that have "
            "left are not told of then.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say when every certificate ends; an error if one does within thirty days."""
    from pharmonia.deploy.check import expiries, require_lasting  # noqa: PLC0415
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415

    accepted = () if agreement is None else read_agreement(agreement).accepted()
    found, now = expiries(tuple(folders), accepted[-1] if accepted else None), datetime.now(UTC)
    if as_json:
        typer.echo(json.dumps([_expiry_json(one, now) for one in found], indent=2))
    else:
        for one in found:
            mark = "DUE" if one.is_due(now) else "ok "
            typer.echo(f"{mark} {one.ends:%Y-%m-%d} {one.days_left(now):>6} days  {one.name}  ({one.place})")
    require_lasting(found, now)


def _expiry_json(one: "Expiry", now: datetime) -> dict[str, str | int | bool]:
    return {
        "folder": str(one.place),
        "name": one.name,
        "ends": one.ends.isoformat(),
        "days_left": one.days_left(now),
        "due": one.is_due(now),
    }


def engine_settings() -> "EngineSettings":
    """What the engine reads in each workspace, besides certificates."""
    from pharmonia.deploy.workspace import EngineSettings  # noqa: PLC0415
    from pharmonia.engines.nvflare.kits import server_files, site_files  # noqa: PLC0415

    return EngineSettings(site=site_files(), server=server_files())


def _role(text: str) -> "Role":
    from pharmonia.governance.terms import Role  # noqa: PLC0415

    if text not in set(Role):
        raise InputError(f"a kit is for a data-owner or a coordinator, got {text[:40]!a}")
    return Role(text)
