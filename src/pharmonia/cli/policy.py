"""`pharmonia policy`: what one data owner allows, within the agreement, and takes back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from pharmonia.base.errors import InputError
from pharmonia.cli.keys import open_key

if TYPE_CHECKING:
    from pharmonia.governance.policy import LocalPolicy
    from pharmonia.governance.terms import Action, ResourceKind

WordT = TypeVar("WordT", "Action", "ResourceKind")
app = typer.Typer(help="What your organisation allows, within the agreement, and takes back.", no_args_is_help=True)

PolicyFile = Annotated[Path, typer.Argument(help="Your policy's file; it stays with you.")]
AgreementOption = Annotated[Path, typer.Option("--agreement", help="The agreement, or its consortium's folder.")]
KeyOption = Annotated[Path, typer.Option("--key", help="Your key file.")]


@app.command("open")
def open_(
    file: PolicyFile,
    agreement: AgreementOption,
    key: KeyOption,
    min_cohort: Annotated[
        int, typer.Option(help="Fewest data owners that a plan may train with, if the agreement asks for fewer.")
    ] = 2,
) -> None:
    """Write a first policy, which grants all that the agreement allows."""
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415
    from pharmonia.run.paperwork import write_new_policy  # noqa: PLC0415

    now = datetime.now(UTC)
    _print(write_new_policy(file, read_agreement(agreement).current(now), open_key(key), min_cohort, now))


@app.command("grant")
def grant(
    file: PolicyFile,
    agreement: AgreementOption,
    key: KeyOption,
    action: Annotated[
        list[str],
        typer.Option(help="process, train-on, evaluate-on, download, export, publish or audit; may be repeated."),
    ],
    resource: Annotated[
        list[str],
        typer.Option(help="dataset, private-head, shared-trunk, predictions, report or ledger; may be repeated."),
    ],
    partner: Annotated[
        list[str] | None,
        typer.Option(help="To whom; may be repeated; everybody whom the agreement allows if left out."),
    ] = None,
    dataset: Annotated[
        list[str] | None, typer.Option(help="Commitment to a data set of yours; may be repeated; all if left out.")
    ] = None,
    days: Annotated[int | None, typer.Option(help="For so many days; as long as the policy if left out.")] = None,
) -> None:
    """Add a grant to your policy; it counts from the next round on."""
    from pharmonia.governance.documents import whole_second  # noqa: PLC0415
    from pharmonia.governance.policy import Grant  # noqa: PLC0415
    from pharmonia.governance.terms import Action, ResourceKind  # noqa: PLC0415
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415
    from pharmonia.run.paperwork import add_grant  # noqa: PLC0415

    now = datetime.now(UTC)
    current = read_agreement(agreement).current(now)
    if days is not None and not 1 <= days <= 36_500:
        raise InputError(f"--days is 1 to 36500, got {days}")
    until = current.terms.valid_until if days is None else whole_second(now) + timedelta(days=days)
    added = Grant(
        partners=tuple(sorted(set(partner or ()))),
        actions=_words(Action, "action", action),
        resources=_words(ResourceKind, "resource", resource),
        datasets=tuple(sorted(set(dataset or ()))),
        until=min(until, current.terms.valid_until),
        revoked_at=None,
    )
    _print(add_grant(file, current, open_key(key), added, now))


@app.command("revoke")
def revoke(
    file: PolicyFile,
    agreement: AgreementOption,
    key: KeyOption,
    number: Annotated[
        int | None, typer.Option("--grant", help="Its number in `policy show`; all of them if left out.")
    ] = None,
) -> None:
    """Take a grant back, or all of them; it counts before the next round."""
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415
    from pharmonia.run.paperwork import revoke_grants  # noqa: PLC0415

    now = datetime.now(UTC)
    _print(revoke_grants(file, read_agreement(agreement).current(now), open_key(key), number, now))


@app.command("sign")
def sign(file: PolicyFile, agreement: AgreementOption, key: KeyOption) -> None:
    """Sign the same policy anew, with the next serial number: after your key was rotated."""
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415
    from pharmonia.run.paperwork import sign_policy_anew  # noqa: PLC0415

    now = datetime.now(UTC)
    _print(sign_policy_anew(file, read_agreement(agreement).current(now), open_key(key), now))


@app.command("show")
def show(
    file: PolicyFile,
    agreement: Annotated[
        Path | None, typer.Option(help="The agreement, to check the signature and that the policy fits it.")
    ] = None,
) -> None:
    """Say what a policy grants."""
    from pharmonia.run.documents import read_agreement, read_policy  # noqa: PLC0415

    signed, now = read_policy(file), datetime.now(UTC)
    if agreement is not None:
        signed.verified(read_agreement(agreement).current(now), now)
    _print(signed.policy)


def _print(policy: "LocalPolicy") -> None:
    from pharmonia.run.papertext import policy_text  # noqa: PLC0415

    typer.echo(policy_text(policy))


def _words(kind: type[WordT], what: str, given: list[str]) -> tuple[WordT, ...]:
    strange = sorted(set(given) - set(kind))
    if strange:
        raise InputError(f"--{what} is one of {', '.join(kind)}; got {', '.join(strange)}")
    return tuple(sorted(kind(word) for word in set(given)))
