"""The plan of a run on many tasks between organisations, each with prepared tasks at home."""

from collections.abc import Mapping

from pharmonia.base.errors import OptionError
from pharmonia.bench.planned import PlanHead, agreed_deliveries, secure_terms
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.plan import PlanDataset, RunPlan
from pharmonia.governance.terms import CodeIdentity
from pharmonia.learn.multitask_settings import MultitaskSettings, check_method
from pharmonia.run.plan_settings import listed
from pharmonia.run.planned import training_plan_of
from pharmonia.run.planned_tasks import MULTITASK, multitask_method_settings, multitask_model_settings
from pharmonia.run.records import TrainingPlan


def draft_tasks_plan(
    training: TrainingPlan,
    recipe: str,
    agreement: Agreement,
    head: PlanHead,
    commitments: Mapping[str, str],
    code: CodeIdentity,
) -> RunPlan:
    """The plan of a training on many tasks, not approved by anybody yet; its sums are secure.

    Args:
        training: Network, method, schedule and seed.
        recipe: Digest of the recipe that all partners prepared their data under.
        agreement: In force.
        head: Name, end and coordinator.
        commitments: By partner, to its prepared tasks and their folds, as made at home.
        code: That runs.

    Raises:
        OptionError: Settings that are not of many tasks, or a method that means nothing for them.
        TermsError: A plan that nobody could run.
    """
    if not isinstance(training.local, MultitaskSettings):
        raise OptionError("a plan on many tasks needs settings of their network")
    check_method(training.method)
    plan = RunPlan(
        consortium=agreement.terms.consortium,
        agreement_version=agreement.version,
        agreement=agreement.digest,
        name=head.name,
        version=head.version,
        valid_until=head.valid_until,
        coordinator=head.coordinator,
        datasets=tuple(PlanDataset(partner=name, commitment=commitments[name]) for name in sorted(commitments)),
        recipe=recipe,
        reference_set=None,
        model=MULTITASK,
        model_settings=listed(multitask_model_settings(training.local)),
        method=str(training.method),
        method_settings=listed(multitask_method_settings(training.local, training.schedule.patience)),
        n_rounds=training.schedule.rounds,
        seed=training.seed,
        aggregation=secure_terms(
            len(commitments),
            required=True,
            tier=head.tier,
            n_colluders_asked=agreement.terms.plan_rules.n_colluders,
        ),
        privacy_budget=None,
        code=code,
        metrics=agreement.terms.metrics,
        deliveries=agreed_deliveries(agreement),
    )
    if training_plan_of(plan) != training:
        raise OptionError(f"{plan.label} does not say all of the training; a setting has no place in it")
    return plan
