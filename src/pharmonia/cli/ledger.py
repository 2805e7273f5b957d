"""`pharmonia ledger`: read a copy of the ledger, sign what it says, and prove what stands in it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pharmonia.base.errors import InputError
from pharmonia.cli.keys import open_key
from pharmonia.cli.policy import AgreementOption

app = typer.Typer(help="Read, cosign and prove from a copy of the ledger.", no_args_is_help=True)

Copy = Annotated[Path, typer.Argument(help="The folder of a copy of the ledger.")]


@app.command("show")
def show(
    ledger: Copy,
    agreement: Annotated[Path | None, typer.Option(help="The agreement, to name partners by their keys.")] = None,
) -> None:
    """Print a line for each event; `pharmonia verify` says whether to believe it."""
    from pharmonia.governance.ledger import decode_entry  # noqa: PLC0415
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415
    from pharmonia.run.ledgerfile import ENTRIES, read_lines  # noqa: PLC0415
    from pharmonia.run.papertext import entry_text, owners_of  # noqa: PLC0415

    owners = {} if agreement is None else owners_of(read_agreement(agreement).versions[-1].agreement)
    for place, line in enumerate(read_lines(ledger / ENTRIES)):
        typer.echo(entry_text(place, decode_entry(line.removesuffix(b"\n")), owners))


@app.command("cosign")
def cosign(
    ledger: Copy,
    agreement: AgreementOption,
    key: Annotated[Path | None, typer.Option("--key", help="Your key file, to sign with.")] = None,
    copy: Annotated[
        list[Path] | None,
        typer.Option("--from", help="Another copy, to add the signatures that it bears; may be repeated."),
    ] = None,
) -> None:
    """Sign the last checkpoint of your copy, or collect the signatures that other copies bear.

    Your copy is hashed anew first; what it does not hash to is not signed.
    """
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415
    from pharmonia.run.papertext import owners_of  # noqa: PLC0415
    from pharmonia.run.paperwork import cosign_copy  # noqa: PLC0415

    if not key and not copy:
        raise InputError("nothing to do: give --key to sign, or --from to collect signatures")
    history, now = read_agreement(agreement), datetime.now(UTC)
    history.current(now)
    signed = cosign_copy(ledger, history, now, key=open_key(key) if key else None, copies=copy or ())
    owners = owners_of(history.versions[-1].agreement)
    state = signed.checkpoint
    typer.echo(f"checkpoint of {state.size} entries, root {state.root}")
    for one in signed.signatures:
        typer.echo(f"  signed by {one.key} of {owners[one.key]}")


@app.command("prove")
def prove(
    ledger: Copy,
    agreement: AgreementOption,
    entry: Annotated[int | None, typer.Option(help="Place of an entry, from 0: prove that it stands there.")] = None,
    since: Annotated[
        int | None, typer.Option(help="An earlier size: prove that the ledger begins with what it was then.")
    ] = None,
) -> None:
    """Print a proof, to be held against the last checkpoint, as one line of JSON."""
    from pharmonia.governance.proofs import prove_consistency, prove_inclusion  # noqa: PLC0415
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415
    from pharmonia.run.ledgerfile import CHECKPOINTS, StoredHashes, read_checkpoints  # noqa: PLC0415

    name = read_agreement(agreement).versions[0].agreement.digest
    checkpoints = read_checkpoints(ledger / CHECKPOINTS)
    if not checkpoints or (entry is None) == (since is None):
        raise InputError("a proof takes a ledger with a checkpoint, and either --entry or --since")
    size, nodes = checkpoints[-1].checkpoint.size, StoredHashes(ledger)
    if entry is not None:
        typer.echo(prove_inclusion(name, entry, size, nodes).to_bytes().decode())
    if since is not None:
        typer.echo(prove_consistency(name, since, size, nodes).to_bytes().decode())
