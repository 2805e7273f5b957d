"""`pharmonia audit`: attack what the server saw of a run."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pharmonia.base.canonical import Json, canonical_json


def audit(
    transcript: Annotated[Path, typer.Argument(help="Directory that `pharmonia compare --transcript` wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Try to read single partners' updates out of TRANSCRIPT, as a curious server would.

    Fails if any can be read, or if the attack cannot even read the sum over all partners.
    """
    from pharmonia.audit.transcript import NOISE, Technique, attack  # noqa: PLC0415
    from pharmonia.run.transcript import read_transcript  # noqa: PLC0415

    findings = attack(read_transcript(transcript))
    tried = Counter(guess.technique for guess in findings.guesses)
    read = Counter(guess.technique for guess in findings.guesses if guess.is_readable)
    if as_json:
        techniques: dict[str, Json] = {name.value: {"tried": tried[name], "readable": read[name]} for name in Technique}
        report: dict[str, Json] = {
            "sums": findings.n_sums,
            "sums_too_short": findings.n_short,
            "techniques": techniques,
        }
        typer.echo(canonical_json(report).decode())
    else:
        table = Table(title=f"Guesses at updates in {findings.n_sums} sums", title_justify="left")
        for column in ("technique", "tried", "readable"):
            table.add_column(column, justify="left" if column == "technique" else "right")
        for name in Technique:
            table.add_row(name.value, str(tried[name]), str(read[name]))
        Console().print(table)
        typer.echo(f"Readable: high bytes of the words differ from uniform noise, chi-square p below {NOISE:g}.")
    findings.require()
    if not as_json:
        typer.echo("No single update can be read; the sum over all partners can.")
