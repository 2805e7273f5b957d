"""`pharmonia consortium`: found, join, sign and amend a consortium by exchanging files."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pharmonia.base.errors import InputError
from pharmonia.cli.keys import open_key

if TYPE_CHECKING:
    from pharmonia.governance.agreement_history import AgreementHistory
    from pharmonia.governance.terms import Partner

app = typer.Typer(help="Found, join and amend a consortium by exchanging files.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="The consortium's folder.")]
Place = Annotated[Path, typer.Argument(help="The consortium's folder, or an agreement.json.")]
KeyOption = Annotated[Path, typer.Option("--key", help="Your key file.")]
Name = Annotated[str, typer.Option(help="The partner's name as people write it.")]
Roles = Annotated[
    list[str],
    typer.Option("--role", help="data-owner, coordinator, model-developer, auditor or observer; may be repeated."),
]


@app.command("init")
def init(
    folder: Folder,
    consortium: Annotated[str, typer.Option(help="Its identifier: a-z, 0-9 and hyphens; never changes.")],
    title: Annotated[str, typer.Option(help="Its name as people write it.")],
    partner: Annotated[str, typer.Option(help="Your own identifier.")],
    name: Name,
    role: Roles,
    key: KeyOption,
) -> None:
    """Write a draft of terms to edit, your key card, and papers for your lawyers into FOLDER."""
    from pharmonia.run.consortium import found  # noqa: PLC0415

    found(folder, consortium, title, _partner(partner, name, role), open_key(key), datetime.now(UTC))
    typer.echo(f"Draft: {folder / 'terms.toml'}\nPapers for lawyers: {folder / 'templates'}")
    typer.echo("Next: edit the draft, then invite partners with `pharmonia consortium invite`.")


@app.command("invite")
def invite(
    folder: Folder,
    partner: Annotated[str, typer.Argument(help="The identifier that the invited will have.")],
    name: Name,
    role: Roles,
    key: KeyOption,
    by: Annotated[str, typer.Option(help="Your own identifier.")],
) -> None:
    """Add a partner to the draft and write an invitation to send to it."""
    from pharmonia.run.consortium import invite_partner  # noqa: PLC0415

    signed = invite_partner(folder, _partner(partner, name, role), by, open_key(key), datetime.now(UTC))
    typer.echo(f"Send {folder / f'invitation-{partner}.json'} to {name}, and read this to them over the telephone:")
    typer.echo(signed.invitation.key.fingerprint)


@app.command("join")
def join(
    invitation: Annotated[Path, typer.Argument(help="The invitation that you were sent.")],
    key: KeyOption,
    card: Annotated[Path, typer.Option(help="The key card to write and send back.")],
) -> None:
    """Answer an invitation with a key card, to be put into the consortium's cards/."""
    from pharmonia.governance.agreement_cards import decode_invitation, first_card  # noqa: PLC0415
    from pharmonia.run.documents import read_document, write_card  # noqa: PLC0415

    one, now = decode_invitation(read_document(invitation), str(invitation)).invitation, datetime.now(UTC)
    one.require_open(now)
    signer = open_key(key)
    write_card(card, first_card(signer, one.consortium, one.partner.id, now))
    typer.echo(f"{one.partner.name} ({one.partner.id}) in {one.title}, as {', '.join(one.partner.roles)}")
    typer.echo(f"purpose: {one.purpose}")
    typer.echo(f"invited by {one.invited_by}, whose fingerprint must be  {one.key.fingerprint}")
    typer.echo(f"Send {card} back, and read them yours:                 {signer.public.fingerprint}")


@app.command("amend")
def amend(folder: Folder) -> None:
    """Propose the first or the next version of the agreement from terms.toml and cards/."""
    from pharmonia.run.consortium import amend as propose_next  # noqa: PLC0415

    history = propose_next(folder)
    _print_changes(history)
    _print_state(history)
    _print_warnings(history)
    typer.echo(f"Next: every partner signs {folder / 'agreement.json'} with `pharmonia consortium sign`.")


@app.command("sign")
def sign(
    place: Place,
    key: Annotated[Path | None, typer.Option("--key", help="Your key file, to sign with.")] = None,
    copy: Annotated[
        list[Path] | None,
        typer.Option("--from", help="A copy that another partner signed, to add its signature; may be repeated."),
    ] = None,
) -> None:
    """Sign the proposed version, or collect the signatures on copies of it."""
    from pharmonia.run import consortium  # noqa: PLC0415
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415

    if not key and not copy:
        raise InputError("nothing to do: give --key to sign, or --from to collect signatures")
    if copy:
        history = consortium.collect(place, copy)
    if key:
        _print_changes(read_agreement(place))
        history = consortium.sign(place, open_key(key), datetime.now(UTC))
    _print_state(history)


@app.command("show")
def show(
    place: Place,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say what the last version of an agreement holds, and who has signed it; every signature is checked."""
    from pharmonia.governance.agreement import agreement_json  # noqa: PLC0415
    from pharmonia.governance.agreement_text import agreement_text, warnings  # noqa: PLC0415
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415

    history = read_agreement(place)
    if not as_json:
        typer.echo(agreement_text(history))
        _print_warnings(history)
        return
    last = history.versions[-1].agreement
    document = {
        "digest": last.digest,
        "n_accepted": history.n_accepted,
        "lacking": list(history.lacking),
        "warnings": list(warnings(history, datetime.now(UTC))),
        "agreement": agreement_json(last),
    }
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


@app.command("diff")
def diff(
    place: Place,
    other: Annotated[
        Path | None, typer.Argument(help="Another copy; without it, the last two versions are compared.")
    ] = None,
) -> None:
    """Say what changes from the version before to the last one, or from one copy to another."""
    from pharmonia.governance.agreement_text import differences  # noqa: PLC0415
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415

    history = read_agreement(place)
    if other is None:
        _print_changes(history)
        return
    ours, theirs = history.versions[-1].agreement, read_agreement(other).versions[-1].agreement
    lines = differences(ours, theirs)
    typer.echo(f"version {ours.version} in {place}, version {theirs.version} in {other}")
    typer.echo("\n".join(lines) or "no difference in terms or keys")


def _partner(partner_id: str, name: str, roles: list[str]) -> "Partner":
    from pharmonia.governance.terms import Partner, Role  # noqa: PLC0415

    strange = set(roles) - set(Role)
    if strange:
        raise InputError(f"a role is one of {', '.join(Role)}; got {', '.join(sorted(strange))}")
    return Partner(id=partner_id, name=name, roles=tuple(role for role in Role if role in roles), may_export=())


def _print_changes(history: "AgreementHistory") -> None:
    from pharmonia.governance.agreement_text import differences  # noqa: PLC0415

    *before, last = (signed.agreement for signed in history.versions)
    if before:
        typer.echo(f"from version {before[-1].version} to version {last.version}:")
        typer.echo("\n".join(differences(before[-1], last)))
    else:
        typer.echo(f"version {last.version} is the first; read it with `pharmonia consortium show`")


def _print_state(history: "AgreementHistory") -> None:
    last = history.versions[-1].agreement
    typer.echo(f"{last.name}, version {last.version}, digest {last.digest}")
    for lack in history.lacking:
        typer.echo(f"  lacks {lack}")
    if not history.lacking:
        typer.echo("  has all its signatures")


def _print_warnings(history: "AgreementHistory") -> None:
    from pharmonia.governance.agreement_text import warnings  # noqa: PLC0415

    for warning in warnings(history, datetime.now(UTC)):
        typer.echo(f"warning: {warning}")
