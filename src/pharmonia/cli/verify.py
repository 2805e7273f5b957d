"""`pharmonia verify`: check a ledger, offline, from the small install."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pharmonia.base.canonical import digest_file
from pharmonia.base.errors import InputError

if TYPE_CHECKING:
    from pharmonia.governance.checkpoint import SignedCheckpoint


def verify(
    ledger: Annotated[Path, typer.Argument(help="A ledger's folder.")],
    agreement: Annotated[Path, typer.Option(help="The signed agreement, with all its versions.")],
    model: Annotated[Path | None, typer.Option(help="A delivered model; was it handed over?")] = None,
    report: Annotated[Path | None, typer.Option(help="A results.json; was it recorded, with these figures?")] = None,
    plan: Annotated[list[Path] | None, typer.Option(help="A plan; once for each whose rounds to hold to it.")] = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoints.jsonl that a partner kept; give it once for each partner."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check every entry of LEDGER against the signed agreement.

    Prints a numbered list of what was checked, findings and verdict.
    The exit code is 0, or that of the first family of checks that failed:
    41 form, 42 signatures, 43 order, 44 tree, 45 thresholds, 46 approvals,
    47 permissions, 48 model, 49 report.
    """
    from pharmonia.governance.agreement_history import decode_history  # noqa: PLC0415
    from pharmonia.governance.plan_codec import decode_plan  # noqa: PLC0415
    from pharmonia.governance.verify import Delivered  # noqa: PLC0415
    from pharmonia.governance.verify_plans import require_signed  # noqa: PLC0415
    from pharmonia.run.ledgerfile import verify_folder  # noqa: PLC0415

    history = decode_history(_content(agreement), agreement.name)
    now = datetime.now(UTC)
    kept = [signed for path in checkpoint or [] for signed in _kept(path)]
    plans = [decode_plan(_content(path), path.name) for path in plan or []]
    for signed in plans:
        require_signed(signed, history, now)
    try:
        model_digest = None if model is None else digest_file(model)
    except OSError as error:
        raise InputError(f"cannot read {model}: {error.strerror}") from error
    delivered = Delivered(
        model_digest=model_digest,
        report=None if report is None else _content(report),
        checkpoints=tuple(kept),
        plans=tuple(signed.plan for signed in plans),
    )
    result = verify_folder(ledger, history, delivered, now)
    typer.echo(json.dumps(result.as_json(), indent=1) if as_json else result.summary())
    result.require()


def _kept(path: Path) -> "list[SignedCheckpoint]":
    from pharmonia.run.ledgerfile import read_checkpoints  # noqa: PLC0415

    found = read_checkpoints(path)
    if not found:
        raise InputError(f"{path} holds no checkpoint, so nothing could be held against it; ask its owner for one")
    return found


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
