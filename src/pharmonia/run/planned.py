"""What to train, read off a signed plan: the same at the coordinator and at every partner, with nothing left to choose.

`bench.planned` and `run.planned_tasks` write the settings of a plan; this reads them. A setting that is not known here
is refused by name, as one that is not understood may change the result.
"""

from pharmonia.base.errors import OptionError, RefusedError
from pharmonia.governance.plan import MAX_WEIGHT_BITS, RunPlan
from pharmonia.learn.algorithms import Schedule
from pharmonia.learn.multitask_settings import MultitaskSettings, check_method
from pharmonia.learn.settings import LocalSettings, Method, Optimiser, check_passes, check_private
from pharmonia.nn.choices import Model, Norm
from pharmonia.run.plan_settings import PlanSettings, named
from pharmonia.run.planned_tasks import MULTITASK, multitask_settings_of
from pharmonia.run.records import TrainingPlan
from pharmonia.secagg.header import Tier

_ABOUT_DATA = frozenset({"dataset", "partition", "split"})  # how data were shared out; each partner has its share


def training_plan_of(plan: RunPlan) -> TrainingPlan:
    """What the plan's model and method settings say.

    Raises:
        OptionError: A setting that is not known, missing, or of another type or range, or a privacy budget or kind of
            secure sums that is not to be had; names plan and setting. A method that the other settings do not go with.
        UnknownNameError: A model, norm, optimiser or method that does not exist.
        RefusedError: Updates would be seen by the server; between organisations only secure sums run.
    """
    _require_feasible(plan)
    model = PlanSettings(plan.label, plan.model_settings)
    steps = PlanSettings(plan.label, plan.method_settings)
    method = Method.parse(plan.method)
    local: LocalSettings | MultitaskSettings
    if plan.model == MULTITASK:
        local = multitask_settings_of(plan, model, steps)
        check_method(method)
    else:
        local = _local_settings(plan, model, steps)
        check_private(method, local.model)
    check_passes(method, local.local_epochs)
    schedule = Schedule(rounds=plan.n_rounds, patience=steps.integer("patience"))
    model.done(frozenset())
    steps.done(_ABOUT_DATA)
    return TrainingPlan(local=local, method=method, schedule=schedule, seed=plan.seed)


def tier_of(plan: RunPlan) -> Tier:
    """What a lost partner costs the plan's secure sums."""
    return Tier[plan.aggregation.tier.name]


def _local_settings(plan: RunPlan, model: PlanSettings, steps: PlanSettings) -> LocalSettings:
    return LocalSettings(
        model=named(plan, "model", plan.model, Model),
        norm=named(plan, "norm", model.text("norm"), Norm),
        optimiser=named(plan, "optimiser", steps.text("optimiser"), Optimiser),
        learning_rate=steps.number("learning-rate"),
        batch_size=steps.integer("batch-size"),
        local_epochs=steps.integer("local-epochs"),
    )


def _require_feasible(plan: RunPlan) -> None:
    """Refuses what this version cannot do, rather than do it in another way."""
    terms = plan.aggregation
    if not plan.requires_secure_sums:
        raise RefusedError(f"{plan.label} does not ask for secure sums; between organisations nothing else is run")
    if terms.weight_bits != MAX_WEIGHT_BITS:
        raise OptionError(
            f"{plan.label}: secure sums are run with {MAX_WEIGHT_BITS} weight bits, not with {terms.weight_bits}"
        )
    if plan.privacy_budget is not None:
        raise OptionError(f"{plan.label} has a privacy budget, which this version of Pharmonia cannot keep to")
