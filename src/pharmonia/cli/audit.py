"""`pharmonia audit`: attack what the server saw of a run."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from pharmonia.base.canonical import Json, canonical_json
from pharmonia.base.errors import EvidenceError

if TYPE_CHECKING:
    from pharmonia.audit.transcript import Findings


def audit(
    transcript: Annotated[
        Path,
        typer.Argument(help="Directory that `pharmonia compare --transcript` wrote, or its seed-N for one seed."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Try to read single partners' updates out of TRANSCRIPT, as a curious server would.

    Fails if any can be read, or if the attack cannot even read the sum over all partners.
    """
    from pharmonia.audit.transcript import NOISE, attack  # noqa: PLC0415
    from pharmonia.run.transcript import ABOUT_FILE, read_transcripts  # noqa: PLC0415

    found = {name: attack(one) for name, one in read_transcripts(transcript).items()}
    if as_json:
        reports: dict[str, Json] = {name: _report(findings) for name, findings in found.items()}
        is_single = (transcript / ABOUT_FILE).exists()
        typer.echo(canonical_json(next(iter(reports.values())) if is_single else reports).decode())
    else:
        for name, findings in found.items():
            _print(name, findings)
        typer.echo(f"Readable: high bytes of the words differ from uniform noise, chi-square p below {NOISE:g}.")
    for name, findings in found.items():
        try:
            findings.require()
        except EvidenceError as error:
            raise EvidenceError(f"{name}: {error}") from error
    if not as_json:
        typer.echo("No single update can be read; the sum over all partners can.")


def _report(findings: "Findings") -> dict[str, Json]:
    from pharmonia.audit.transcript import Technique  # noqa: PLC0415

    tried, read = _counts(findings)
    techniques: dict[str, Json] = {name.value: {"tried": tried[name], "readable": read[name]} for name in Technique}
    return {
        "sums": findings.n_sums,
        "sums_too_short": findings.n_short,
        "sums_clipped": list(findings.clipped),
        "techniques": techniques,
    }


def _print(name: str, findings: "Findings") -> None:
    from pharmonia.audit.transcript import Technique  # noqa: PLC0415

    tried, read = _counts(findings)
    table = Table(title=f"{name}: guesses at updates, sums: {findings.n_sums}", title_justify="left")
    for column in ("technique", "tried", "readable"):
        table.add_column(column, justify="left" if column == "technique" else "right")
    for technique in Technique:
        table.add_row(technique.value, str(tried[technique]), str(read[technique]))
    Console().print(table)
    if findings.clipped:
        exchanges = ", ".join(map(str, findings.clipped))
        typer.echo(f"Clipped, so noise by intention, and made again: the sums of exchanges {exchanges}.")


def _counts(findings: "Findings") -> tuple[Counter[str], Counter[str]]:
    """How many guesses of each technique were made, and how many of them can be read."""
    tried = Counter[str](guess.technique for guess in findings.guesses)
    return tried, Counter[str](guess.technique for guess in findings.guesses if guess.is_readable)
