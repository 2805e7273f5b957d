"""A network of many tasks as the settings of a plan, written and read in one place."""

from pharmonia.base.errors import OptionError
from pharmonia.governance.plan import RunPlan, Scalar
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.learn.settings import Optimiser
from pharmonia.nn.heads_names import TaskKind
from pharmonia.run.plan_settings import PlanSettings, named

MULTITASK = "multitask"  # a plan's model
_NONE = "none"


def multitask_model_settings(settings: MultitaskSettings) -> dict[str, Scalar]:
    """What a plan's model settings say of a network of many tasks, by name; the catalogue one task a setting."""
    values: dict[str, Scalar] = {
        "n-bits": settings.n_bits,
        "trunk": _written(settings.trunk),
        "head": _written(settings.head),
        "dropout": settings.dropout,
        "regression-weight": settings.regression_weight,
    }
    for kind in TaskKind:
        values |= {_place(kind, index): name for index, name in enumerate(settings.catalogue(kind))}
    return values


def multitask_method_settings(settings: MultitaskSettings, patience: int) -> dict[str, Scalar]:
    """What a plan's method settings say of how a network of many tasks is trained, by name."""
    return {
        "batch-size": settings.batch_size,
        "drop-round": settings.drop_round,
        "learning-rate": settings.learning_rate,
        "local-epochs": settings.local_epochs,
        "optimiser": settings.optimiser.value,
        "patience": patience,
    }


def multitask_settings_of(plan: RunPlan, model: PlanSettings, steps: PlanSettings) -> MultitaskSettings:
    """The reverse of `multitask_model_settings` and `multitask_method_settings`.

    Raises:
        OptionError: A setting is missing, or of another type or range; names plan and setting.
        UnknownNameError: An optimiser that does not exist.
    """
    return MultitaskSettings(
        n_bits=model.integer("n-bits"),
        trunk=_widths(plan, "trunk", model.text("trunk")),
        head=_widths(plan, "head", model.text("head")),
        dropout=model.number("dropout"),
        regression_weight=model.number("regression-weight"),
        catalogue_classification=_catalogue(model, TaskKind.CLASSIFICATION),
        catalogue_regression=_catalogue(model, TaskKind.REGRESSION),
        optimiser=named(plan, "optimiser", steps.text("optimiser"), Optimiser),
        learning_rate=steps.number("learning-rate"),
        drop_round=steps.integer("drop-round"),
        batch_size=steps.integer("batch-size"),
        local_epochs=steps.integer("local-epochs"),
    )


def _place(kind: TaskKind, index: int) -> str:
    return f"catalogue-{kind.value}-{index:03d}"


def _catalogue(model: PlanSettings, kind: TaskKind) -> tuple[str, ...]:
    names: list[str] = []
    while model.has(_place(kind, len(names))):
        names.append(model.text(_place(kind, len(names))))
    return tuple(names)


def _written(widths: tuple[int, ...]) -> str:
    return ",".join(str(width) for width in widths) or _NONE


def _widths(plan: RunPlan, name: str, text: str) -> tuple[int, ...]:
    parts = [] if text == _NONE else text.split(",")
    if not all(part.isdecimal() and part.isascii() and len(part) <= 9 for part in parts):
        raise OptionError(f"{plan.label}: the setting {name} must be widths such as 400,200, or none, got {text!r}")
    return tuple(int(part) for part in parts)
