"""`pharmonia plan`: write, read, approve and check the plan of a run, by exchanging files."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pharmonia.base.errors import InputError
from pharmonia.cli.commitment import commitment as print_commitment
from pharmonia.cli.keys import open_key
from pharmonia.cli.plan_parts import CommitmentOption, LostPartner, named_commitments, plan_head
from pharmonia.cli.plan_tasks import new_tasks
from pharmonia.cli.policy import AgreementOption
from pharmonia.cli.training import (
    AggregationName,
    BatchSize,
    Dataset,
    LearningRate,
    LocalEpochs,
    MethodName,
    ModelName,
    NormName,
    OptimiserName,
    Partition,
    Patience,
    Rounds,
    Split,
    settings_of,
)

app = typer.Typer(help="Write, read, approve and check the plan of a run.", no_args_is_help=True)
app.command("commitment")(print_commitment)
app.command("new-tasks")(new_tasks)

PlanFile = Annotated[Path, typer.Argument(help="The plan's file.")]


@app.command("new")
def new(
    file: Annotated[Path, typer.Argument(help="The plan's file, to be made.")],
    dataset: Dataset,
    agreement: AgreementOption,
    coordinator: Annotated[str, typer.Option(help="The partner that runs the server.")],
    name: Annotated[str, typer.Option(help="The plan's identifier: a-z, 0-9 and hyphens.")],
    keys: Annotated[
        Path | None,
        typer.Option(help="Directory with PARTNER/PARTNER.key.commitment of each data owner, as for `compare`."),
    ] = None,
    commitment: CommitmentOption = None,
    version: Annotated[int, typer.Option(help="Of the plan; every change needs another.")] = 1,
    days: Annotated[int, typer.Option(help="No round begins after so many days.")] = 90,
    partition: Partition = "target",
    split: Split = "random",
    model: ModelName = "gin",
    norm: NormName = "batch",
    optimiser: OptimiserName = "adam",
    learning_rate: LearningRate = 5e-4,
    batch_size: BatchSize = 128,
    local_epochs: LocalEpochs = 1,
    method: MethodName = "fedavg",
    aggregation: AggregationName = "secure",
    lost_partner: LostPartner = "wait",
    rounds: Rounds = 60,
    patience: Patience = 60,
) -> None:
    """Write the plan of `pharmonia compare` on DATASET, shared out between all data owners of the agreement.

    It names the code that is installed here, and each share of the data by its owner's commitment: made here with
    everybody's --keys, for a simulation, or by each owner at home, given as --commitment.
    """
    from pharmonia.bench.arms import share_out  # noqa: PLC0415
    from pharmonia.bench.charter import commitments  # noqa: PLC0415
    from pharmonia.bench.planned import draft_plan  # noqa: PLC0415
    from pharmonia.run.codedigest import installed_code  # noqa: PLC0415
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415
    from pharmonia.run.papertext import plan_text  # noqa: PLC0415
    from pharmonia.run.paperwork import write_new_plan  # noqa: PLC0415

    now = datetime.now(UTC)
    current = read_agreement(agreement).current(now)
    if (keys is None) == (not commitment):
        raise InputError("give --keys, to commit to each share here, or --commitment of each owner, made at home")
    at_home = named_commitments(commitment, current) if commitment else {}
    about = plan_head(
        current, name=name, version=version, coordinator=coordinator, days=days, lost_partner=lost_partner, now=now
    )
    settings = settings_of(
        dataset,
        n_partners=len(at_home) or len(current.terms.data_owners),
        partition=partition,
        split=split,
        n_seeds=1,
        local={
            "model": model,
            "norm": norm,
            "optimiser": optimiser,
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "local_epochs": local_epochs,
        },
        method=method,
        aggregation=aggregation,
        schedule={"rounds": rounds, "patience": patience},
    )
    named = at_home if keys is None else commitments(keys, current, share_out(settings, 0))
    plan = draft_plan(settings, current, about, named, installed_code())
    typer.echo(plan_text(write_new_plan(file, plan)))


@app.command("approve")
def approve(
    file: PlanFile,
    agreement: AgreementOption,
    key: Annotated[Path | None, typer.Option("--key", help="Your key file, to approve with.")] = None,
    copy: Annotated[
        list[Path] | None,
        typer.Option("--from", help="A copy that another partner approved, to add its approval; may be repeated."),
    ] = None,
) -> None:
    """Approve a plan, byte for byte, or collect the approvals on copies of it."""
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415
    from pharmonia.run.papertext import plan_text  # noqa: PLC0415
    from pharmonia.run.paperwork import approve_plan, collect_approvals  # noqa: PLC0415

    if not key and not copy:
        raise InputError("nothing to do: give --key to approve, or --from to collect approvals")
    now = datetime.now(UTC)
    current = read_agreement(agreement).current(now)
    if copy:
        signed = collect_approvals(file, copy, current, now)
    if key:
        signed = approve_plan(file, current, open_key(key), now)
    typer.echo(plan_text(signed))
    approved = signed.approved_by(current, now)
    typer.echo(f"{len(approved)} data owners have approved it; it takes {current.terms.thresholds.plan}")


@app.command("show")
def show(
    file: PlanFile, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False
) -> None:
    """Say what a plan holds, and whose keys have approved it; `check` says whether it may run."""
    from pharmonia.governance.plan import plan_json  # noqa: PLC0415
    from pharmonia.run.documents import read_plan  # noqa: PLC0415
    from pharmonia.run.papertext import plan_text  # noqa: PLC0415

    signed = read_plan(file)
    if not as_json:
        typer.echo(plan_text(signed))
        return
    approvals = [signature.key_id for signature in signed.signatures]
    document = {"digest": signed.plan.digest, "approvals": approvals, "plan": plan_json(signed.plan)}
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


@app.command("check")
def check(
    file: PlanFile,
    agreement: AgreementOption,
    policy: Annotated[Path, typer.Option(help="Your policy; says who you are.")],
) -> None:
    """Say whether your party would take part in a plan now, with the code that is installed here."""
    from pharmonia.governance.plan_check import check_plan  # noqa: PLC0415
    from pharmonia.run.codedigest import installed_code  # noqa: PLC0415
    from pharmonia.run.documents import read_agreement, read_plan, read_policy  # noqa: PLC0415

    now = datetime.now(UTC)
    current = read_agreement(agreement).current(now)
    own = read_policy(policy).verified(current, now)
    signed = read_plan(file)
    check_plan(signed, current, own, installed_code(), now).require()
    typer.echo(f"{own.partner} may take part in {signed.plan.label}, version {signed.plan.version}, now")
