"""`pharmonia keys`: create, show and rotate signing keys."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pharmonia.governance.identity import PrivateKey, PublicKey

app = typer.Typer(help="Create, show and rotate the keys that you sign with.", no_args_is_help=True)

KeyFile = Annotated[Path, typer.Argument(help="Your key file; keep it, and back it up, where only you can read it.")]
Encrypt = Annotated[bool, typer.Option("--passphrase", help="Ask for a passphrase and encrypt the file under it.")]


@app.command("create")
def create(file: KeyFile, passphrase: Encrypt = False) -> None:
    """Create a signing key in a new file that only you can read.

    Beside it, FILE.commitment holds the secret under which your data sets
    are named in plans.
    """
    from pharmonia.run.keyfiles import create_commitment_key, create_key  # noqa: PLC0415

    key = create_key(file, _new_passphrase(passphrase))
    create_commitment_key(file.with_name(f"{file.name}.commitment"))
    _print(key.public)


@app.command("show")
def show(file: Annotated[Path, typer.Argument(help="A key file or a key card.")]) -> None:
    """Print the id of a key and its fingerprint, to be read to a partner over the telephone."""
    from pharmonia.governance.agreement_cards import decode_card  # noqa: PLC0415
    from pharmonia.run.documents import read_document  # noqa: PLC0415

    content = read_document(file)
    if content.startswith(b"{"):
        card = decode_card(content, str(file)).card
        typer.echo(f"{card.partner} in {card.consortium}")
        _print(card.public)
    else:
        _print(open_key(file).public)


@app.command("rotate")
def rotate(
    old: Annotated[Path, typer.Argument(help="The key file to be replaced.")],
    new: Annotated[Path, typer.Argument(help="The key file to create.")],
    consortium: Annotated[Path, typer.Option(help="The consortium's folder or its agreement.json.")],
    card: Annotated[Path, typer.Option(help="The key card to write; it goes into the folder's cards/.")],
    passphrase: Encrypt = False,
) -> None:
    """Create a key that is to replace another, and the key card that asks for it.

    The old key retires when a version of the agreement with the new one is
    signed: put the card into cards/, run `consortium amend`, and sign with both.
    """
    from pharmonia.governance.agreement_cards import rotation_card  # noqa: PLC0415
    from pharmonia.run.documents import read_agreement, require_new, write_card  # noqa: PLC0415
    from pharmonia.run.keyfiles import create_key  # noqa: PLC0415

    now = datetime.now(UTC)
    agreement = read_agreement(consortium).current(now)
    replaced = open_key(old).public
    agreement.key(replaced.key_id)  # before a file is made
    require_new(card)
    key = create_key(new, _new_passphrase(passphrase))
    write_card(card, rotation_card(key, replaced, agreement, now))
    _print(key.public)
    typer.echo(f"replaces {replaced.key_id} once signed; key card: {card}")


def open_key(file: Path) -> "PrivateKey":
    """The key in a file; asks for its passphrase if it has one."""
    from pharmonia.run.keyfiles import needs_passphrase, read_key  # noqa: PLC0415

    asked: str | None = None
    if needs_passphrase(file):
        asked = typer.prompt(f"Passphrase of {file}", hide_input=True, err=True)
    return read_key(file, asked.encode() if asked is not None else None)


def _new_passphrase(wanted: bool) -> bytes | None:
    if not wanted:
        return None
    asked: str = typer.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True)
    return asked.encode()


def _print(public: "PublicKey") -> None:
    typer.echo(f"key id       {public.key_id}\nfingerprint  {public.fingerprint}")
