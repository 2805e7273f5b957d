"""`pharmonia plan new-tasks`: the plan of a run on many tasks between organisations."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pharmonia.base.errors import OptionError
from pharmonia.cli.plan_parts import CommitmentOption, LostPartner, named_commitments, plan_head
from pharmonia.cli.policy import AgreementOption
from pharmonia.cli.training import TRAINING, BatchSize, LearningRate, LocalEpochs, OptimiserName, Patience, Rounds

if TYPE_CHECKING:
    from pharmonia.learn.settings import Optimiser

NETWORK = "Network"
_NONE = "none"


def new_tasks(
    file: Annotated[Path, typer.Argument(help="The plan's file, to be made.")],
    agreement: AgreementOption,
    coordinator: Annotated[str, typer.Option(help="The partner that runs the server.")],
    recipe: Annotated[str, typer.Option(help="Of all partners' prepared tasks, as `plan commitment` printed it.")],
    name: Annotated[str, typer.Option(help="The plan's identifier: a-z, 0-9 and hyphens.")],
    commitment: CommitmentOption = None,
    version: Annotated[int, typer.Option(help="Of the plan; every change needs another.")] = 1,
    days: Annotated[int, typer.Option(help="No round begins after so many days.")] = 90,
    seed: Annotated[int, typer.Option(help="Of initialisation, shuffling and dropout.")] = 0,
    bits: Annotated[int, typer.Option(help="Columns of the recipe's fingerprints.", rich_help_panel=NETWORK)] = 32_000,
    trunk: Annotated[str, typer.Option(help="Widths of the shared layers.", rich_help_panel=NETWORK)] = "400-200",
    head: Annotated[str, typer.Option(help="Widths of a partner's own, or none.", rich_help_panel=NETWORK)] = _NONE,
    dropout: Annotated[float, typer.Option(help="Share dropped by a layer.", rich_help_panel=NETWORK)] = 0.4,
    regression_weight: Annotated[
        float, typer.Option(help="Of regression against classification.", rich_help_panel=NETWORK)
    ] = 0.5,
    shared_classification: Annotated[
        list[str] | None, typer.Option(help="A task of the catalogue; may be repeated.", rich_help_panel=NETWORK)
    ] = None,
    shared_regression: Annotated[
        list[str] | None, typer.Option(help="A task of the catalogue; may be repeated.", rich_help_panel=NETWORK)
    ] = None,
    optimiser: OptimiserName = "adam",
    learning_rate: LearningRate = 2e-3,
    drop_round: Annotated[
        int | None,
        typer.Option(help="From here on 0.3 of the step size; half-way unless given.", rich_help_panel=TRAINING),
    ] = None,
    batch_size: BatchSize = 64,
    local_epochs: LocalEpochs = 1,
    method: Annotated[
        str, typer.Option(help="As of `compare`, without private parts.", rich_help_panel=TRAINING)
    ] = "fedsgd",
    lost_partner: LostPartner = "wait",
    rounds: Rounds = 24,
    patience: Patience = 5,
) -> None:
    """Write the plan of a run on many tasks, on prepared tasks that each partner committed to at home.

    It names the code that is installed here; its sums are secure. Heads stay at their partners.
    """
    from pharmonia.bench.planned_tasks import draft_tasks_plan  # noqa: PLC0415
    from pharmonia.learn.algorithms import Schedule  # noqa: PLC0415
    from pharmonia.learn.multitask_settings import MultitaskSettings  # noqa: PLC0415
    from pharmonia.learn.settings import Method  # noqa: PLC0415
    from pharmonia.run.codedigest import installed_code  # noqa: PLC0415
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415
    from pharmonia.run.papertext import plan_text  # noqa: PLC0415
    from pharmonia.run.paperwork import write_new_plan  # noqa: PLC0415
    from pharmonia.run.records import TrainingPlan  # noqa: PLC0415

    now = datetime.now(UTC)
    current = read_agreement(agreement).current(now)
    local = MultitaskSettings(
        n_bits=bits,
        trunk=_widths("trunk", trunk),
        head=() if head == _NONE else _widths("head", head),
        dropout=dropout,
        regression_weight=regression_weight,
        catalogue_classification=tuple(sorted(shared_classification or ())),
        catalogue_regression=tuple(sorted(shared_regression or ())),
        optimiser=_optimiser(optimiser),
        learning_rate=learning_rate,
        drop_round=max(1, rounds // 2) if drop_round is None else drop_round,
        batch_size=batch_size,
        local_epochs=local_epochs,
    )
    schedule = Schedule(rounds=rounds, patience=patience)
    training = TrainingPlan(local=local, method=Method.parse(method), schedule=schedule, seed=seed)
    about = plan_head(
        current, name=name, version=version, coordinator=coordinator, days=days, lost_partner=lost_partner, now=now
    )
    named = named_commitments(commitment or (), current)
    plan = draft_tasks_plan(training, recipe, current, about, named, installed_code())
    typer.echo(plan_text(write_new_plan(file, plan)))


def _widths(option: str, text: str) -> tuple[int, ...]:
    parts = text.split("-")
    if not all(part.isdecimal() and part.isascii() and len(part) <= 9 for part in parts):
        raise OptionError(f"--{option} takes widths such as 256 or 400-200, got {text[:100]!r}")
    return tuple(int(part) for part in parts)


def _optimiser(text: str) -> "Optimiser":
    from pharmonia.learn.settings import Optimiser  # noqa: PLC0415

    if text not in set(Optimiser):
        raise OptionError(f"--optimiser must be one of {', '.join(Optimiser)}; got {text[:100]!r}")
    return Optimiser(text)
