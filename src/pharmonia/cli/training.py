"""The options that change a comparison's result, shared by the commands that take them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from pharmonia.base.errors import UnknownNameError

if TYPE_CHECKING:
    from pharmonia.bench.settings import ComparisonSettings

ChoiceT = TypeVar("ChoiceT", bound=StrEnum)
MEASURED = "Data and partners"
TRAINING = "Training"

Dataset = Annotated[str, typer.Argument(help="A data set's name; `pharmonia data list` shows them.")]
Partition = Annotated[
    str,
    typer.Option(
        help="Between partners: iid, target, compound, scaffold, family, diffused-target:VARIANCE, "
        "diffused-compound:VARIANCE, size-skew:RATIO, dirichlet:ALPHA or weak:SHARE.",
        rich_help_panel=MEASURED,
    ),
]
Split = Annotated[
    str,
    typer.Option(
        help="What is tested on: random, published, cold-target, cold-compound, cold-scaffold or cold-both.",
        rich_help_panel=MEASURED,
    ),
]
ModelName = Annotated[
    str,
    typer.Option(help="gin, gcn, gat, gat-gcn, deepdta, ligand-only or target-only.", rich_help_panel=TRAINING),
]
NormName = Annotated[str, typer.Option(help="In the network: batch or layer.", rich_help_panel=TRAINING)]
OptimiserName = Annotated[str, typer.Option(help="adam or sgd.", rich_help_panel=TRAINING)]
LearningRate = Annotated[float, typer.Option(help="Step size.", rich_help_panel=TRAINING)]
BatchSize = Annotated[int, typer.Option(help="Rows per step.", rich_help_panel=TRAINING)]
LocalEpochs = Annotated[int, typer.Option(help="Passes per round; 1 with fedsgd.", rich_help_panel=TRAINING)]
MethodName = Annotated[
    str,
    typer.Option(
        help="fedavg, fedsgd, fedprox[:mu], fedadam[:rate], fedyogi[:rate], fedadagrad[:rate] or scaffold; "
        "then +private-norms, +private-head, +equal or +validation.",
        rich_help_panel=TRAINING,
    ),
]
AggregationName = Annotated[
    str,
    typer.Option(help="secure: only sums leave a partner. plain: for research, updates do.", rich_help_panel=TRAINING),
]
Rounds = Annotated[int, typer.Option(help="Rounds at most.", rich_help_panel=TRAINING)]
Patience = Annotated[
    int, typer.Option(help="Stop after so many rounds without a better validation error.", rich_help_panel=TRAINING)
]


def settings_of(
    dataset: str,
    *,
    n_partners: int,
    partition: str,
    split: str,
    n_seeds: int,
    local: Mapping[str, Any],
    method: str,
    aggregation: str,
    schedule: Mapping[str, int],
) -> "ComparisonSettings":
    """The comparison that the options ask for.

    Raises:
        UnknownNameError: A choice that is none.
        OptionError: A number out of its range.
    """
    from pharmonia.bench.scenario import Scenario  # noqa: PLC0415
    from pharmonia.bench.settings import ComparisonSettings  # noqa: PLC0415
    from pharmonia.data.splits import SplitKind  # noqa: PLC0415
    from pharmonia.learn.algorithms import Schedule  # noqa: PLC0415
    from pharmonia.learn.settings import Aggregation, LocalSettings, Method, Optimiser  # noqa: PLC0415
    from pharmonia.nn.choices import Model, Norm  # noqa: PLC0415

    chosen = {
        "model": _choice(Model, "model", local["model"]),
        "norm": _choice(Norm, "norm", local["norm"]),
        "optimiser": _choice(Optimiser, "optimiser", local["optimiser"]),
    }
    return ComparisonSettings(
        dataset=dataset,
        n_partners=n_partners,
        scenario=Scenario.parse(partition),
        split=_choice(SplitKind, "split", split),
        seeds=tuple(range(n_seeds)),
        local=LocalSettings(**{**local, **chosen}),
        method=Method.parse(method),
        aggregation=_choice(Aggregation, "aggregation", aggregation),
        schedule=Schedule(**schedule),
    )


def _choice(kind: type[ChoiceT], option: str, given: str) -> ChoiceT:
    try:
        return kind(given)
    except ValueError as error:
        raise UnknownNameError(f"--{option} must be one of {', '.join(kind)}; got {given!r}") from error
