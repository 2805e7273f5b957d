"""`pharmonia up`, `status`, `logs`, `down`: a federation of real processes on this machine, with mutual TLS."""

import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pharmonia.base.canonical import Json
from pharmonia.base.errors import (
    EngineError,
    InputError,
    InterruptedRunError,
    RefusedError,
    UnknownNameError,
    UnreachableError,
)
from pharmonia.cli.operations import (
    TRIAL_FILE,
    Trial,
    end_all,
    launch,
    make_trial,
    read_trial,
    require_port,
    require_same_options,
    standing,
)
from pharmonia.cli.plan_parts import LostPartner, tier_named
from pharmonia.cli.serving import require_extra
from pharmonia.cli.training import (
    MEASURED,
    BatchSize,
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

if TYPE_CHECKING:
    from pharmonia.bench.settings import ComparisonSettings
    from pharmonia.engines.nvflare.service_status import MemberStatus, RunProgress

TrialFolder = Annotated[Path, typer.Argument(help="The trial's folder.")]
_POLL_S = 0.5
_BEGIN_S = 180.0


def up(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The trial's folder; a new one is made, an old one goes on.")],
    dataset: Annotated[
        str, typer.Option(help="A data set's name; `pharmonia data list` shows them.", rich_help_panel=MEASURED)
    ] = "kiba-sample",
    partners: Annotated[int, typer.Option(help="Number of partners, at least 2.", rich_help_panel=MEASURED)] = 4,
    partition: Partition = "target",
    split: Split = "random",
    model: ModelName = "gin",
    norm: NormName = "batch",
    optimiser: OptimiserName = "adam",
    learning_rate: LearningRate = 5e-4,
    batch_size: BatchSize = 128,
    local_epochs: LocalEpochs = 1,
    method: MethodName = "fedavg",
    lost_partner: LostPartner = "wait",
    rounds: Rounds = 5,
    patience: Patience = 60,
    wait: Annotated[bool, typer.Option("--wait", help="Come back when the run is finished, not when it runs.")] = False,
) -> None:
    """Start a server and a process for each partner, with mutual TLS, and run a plan that all of them signed.

    Each partner has its own keys, papers, ledger and share of the data in a folder of its own. Run it
    again to go on after `down`, a crash or a restart of the machine: the result is the same to the bit.
    """
    require_extra()
    options: dict[str, Json] = {
        "dataset": dataset,
        "partners": partners,
        "partition": partition,
        "split": split,
        "model": model,
        "norm": norm,
        "optimiser": optimiser,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "local_epochs": local_epochs,
        "method": method,
        "lost_partner": lost_partner,
        "rounds": rounds,
        "patience": patience,
    }
    given = {
        name: value
        for name, value in options.items()
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"  # Typer has an enum of its own
    }
    try:
        if (folder / TRIAL_FILE).exists():
            trial = read_trial(folder)
            require_same_options(trial, given)
        else:
            trial = make_trial(folder, _settings(options), tier_named(lost_partner), options, datetime.now(UTC))
        _start(trial, wait=wait)
    except KeyboardInterrupt as error:
        raise InterruptedRunError(f"interrupted, and every process ended; `pharmonia up {folder}` goes on") from error


def _settings(options: Mapping[str, Any]) -> "ComparisonSettings":
    local = ("model", "norm", "optimiser", "learning_rate", "batch_size", "local_epochs")
    return settings_of(
        options["dataset"],
        n_partners=options["partners"],
        partition=options["partition"],
        split=options["split"],
        n_seeds=1,
        local={name: options[name] for name in local},
        method=options["method"],
        aggregation="secure",
        schedule={"rounds": options["rounds"], "patience": options["patience"]},
    )


def _start(trial: Trial, *, wait: bool) -> None:
    from pharmonia.engines.nvflare.federation_state import serving  # noqa: PLC0415

    console = Console(stderr=True)
    with serving(trial.folder):
        try:
            _await(trial, _launch_missing(trial), console, wait=wait)
        except (KeyboardInterrupt, EngineError):  # nothing half started is left
            end_all(trial)
            raise
    typer.echo(f"server and {len(trial.partners)} partners, each in its folder under {trial.folder}")
    typer.echo(f"how it stands: pharmonia status {trial.folder}")
    typer.echo(f"what they say: pharmonia logs {trial.folder} {trial.partners[0]} --follow")
    typer.echo(f"end all of it: pharmonia down {trial.folder}")


def _launch_missing(trial: Trial) -> "dict[str, subprocess.Popen[bytes]]":
    """The services that did not live, started."""
    alive = {one.partner for one in standing(trial) if one.pid}
    if not alive:
        end_all(trial)  # what a killed service left
        require_port(trial, datetime.now(UTC))
    return {member: launch(trial, member) for member in trial.members if member not in alive}


def _require_alive(trial: Trial, launched: "dict[str, subprocess.Popen[bytes]]") -> None:
    for member, service in launched.items():
        if service.poll() is not None:
            last = _lines_from(trial.place(member) / "service.err", 0)[-1:]
            said = b"".join(last).decode(errors="replace").strip() or "it said nothing"
            raise EngineError(f"the service of {member} ended with exit code {service.returncode}: {said}")


def _await(trial: Trial, launched: "dict[str, subprocess.Popen[bytes]]", console: Console, *, wait: bool) -> None:
    """Until the run has begun, or ended.

    Raises:
        UnreachableError: The run has not begun in time.
        RefusedError: It was refused.
        EngineError: It failed too often, or a service ended.
    """
    from pharmonia.engines.nvflare.federation_state import Phase, read_state  # noqa: PLC0415

    place, told = trial.place(trial.coordinator), -1
    until = time.monotonic() + _BEGIN_S
    while True:
        time.sleep(_POLL_S)
        _require_alive(trial, launched)
        state = read_state(place)
        is_alive = state is not None and state.process() is not None
        phase = state.phase if state is not None and (is_alive or time.monotonic() > until) else Phase.STARTING
        match phase:
            case Phase.FINISHED:
                _tell(trial, console, told)
                return
            case Phase.REFUSED:
                raise RefusedError(f"the run was refused: {_reason(place)}")
            case Phase.GIVEN_UP | Phase.STOPPED:
                raise EngineError(f"the coordinator's service ended; see {place}/service.log and {place}/service.err")
            case Phase.RUNNING:
                told = _tell(trial, console, told)
                if not wait:
                    return
            case _ if time.monotonic() > until and told < 0:
                raise UnreachableError(f"the run has not begun within {_BEGIN_S:g} s; look at the logs in {place}")
            case _:
                continue


def _tell(trial: Trial, console: Console, told: int) -> int:
    """Number of rounds that were told, after telling the new ones."""
    from pharmonia.engines.nvflare.service_status import run_progress  # noqa: PLC0415

    progress = run_progress(trial.place(trial.coordinator))
    if progress.n_rounds > max(told, 0) and progress.valid_error is not None:
        of = f"round {progress.n_rounds} of at most {progress.n_planned}"
        console.print(f"{of}: validation error {progress.valid_error:.4f}", highlight=False)
    return progress.n_rounds


def _reason(place: Path) -> str:
    try:
        return (place / "failed.txt").read_text(encoding="utf-8").strip()
    except OSError:
        return f"see the ledger in {place}"


def status(
    folder: TrialFolder,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say how every process, the run and each copy of the ledger stand."""
    require_extra()
    from pharmonia.engines.nvflare.service_status import run_progress  # noqa: PLC0415

    trial = read_trial(folder)
    members, progress = standing(trial), run_progress(trial.place(trial.coordinator))
    if as_json:
        typer.echo(json.dumps({"run": asdict(progress), "members": [asdict(one) for one in members]}, indent=2))
    else:
        _print_status(members, progress)


def _print_status(members: "tuple[MemberStatus, ...]", progress: "RunProgress") -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "service", "pid", "processes", "MB", "restarts", "ledger", "last event", "root"):
        table.add_column(
            heading, justify="right" if heading in {"pid", "processes", "MB", "restarts", "ledger"} else "left"
        )
    for one in members:
        phase = f"{one.phase} ({one.error})" if one.error else str(one.phase)
        ledger = one.ledger
        table.add_row(
            one.partner,
            phase,
            str(one.pid or "-"),
            str(one.n_processes),
            f"{one.memory_bytes / 1e6:.0f}",
            str(one.n_restarts),
            str(ledger.n_entries),
            ledger.last_event,
            ledger.root[:16],
        )
    Console(highlight=False, width=120).print(table)
    error = "" if progress.valid_error is None else f", validation error {progress.valid_error:.4f}"
    state = "finished" if progress.is_finished else "not finished"
    typer.echo(f"plan {progress.plan[:16]}: {state}, {progress.n_rounds} of at most {progress.n_planned} rounds{error}")
    typer.echo(f"{progress.sent_bytes:,} bytes to partners, {progress.received_bytes:,} from them")


def logs(
    folder: TrialFolder,
    partner: Annotated[str | None, typer.Argument(help="Whose; everybody's unless given.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on as lines are added, until Ctrl-C.")] = False,
) -> None:
    """Print what the services said, in the order of time."""
    from pharmonia.run.servicelog import plain_text  # noqa: PLC0415

    trial = read_trial(folder)
    if partner is not None and partner not in trial.members:
        raise UnknownNameError(f"{folder} has {', '.join(trial.members)}; got {partner!r}")
    read = {trial.place(one) / "service.log": 0 for one in trial.members if partner in (None, one)}
    while True:
        lines: list[bytes] = []
        for path, start in read.items():
            added = _lines_from(path, start)
            read[path] = start + sum(map(len, added))
            lines += added
        for text in sorted(plain_text(line) for line in lines):
            typer.echo(text)
        if not follow:
            return
        try:
            time.sleep(_POLL_S)
        except KeyboardInterrupt:
            return


def _lines_from(path: Path, start: int) -> list[bytes]:
    """Whole lines of a file from a byte on; none of a file that is not there yet."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            return [line for line in file if line.endswith(b"\n")]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def down(folder: TrialFolder) -> None:
    """End every process of the trial; what is finished and what is half done stays, and `up` goes on with it."""
    require_extra()
    n_ended = end_all(read_trial(folder))
    typer.echo(f"{n_ended} processes ended" if n_ended else "nothing was running")
