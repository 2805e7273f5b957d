"""What a coordinator can know of its own folder before a run: papers, key, store, ledger and machine."""

from datetime import datetime
from pathlib import Path

from pharmonia.base.errors import AgreementError, PharmoniaError, RefusedError
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.plan import RunPlan, SignedPlan
from pharmonia.run.codedigest import installed_code
from pharmonia.run.documents import read_agreement, read_plan
from pharmonia.run.ownkey import own_key
from pharmonia.run.planned import training_plan_of
from pharmonia.run.preflight import Check, Preflight, look, machine_checks, require_code
from pharmonia.run.site_config import COORDINATOR_FILE, CoordinatorConfig, read_coordinator
from pharmonia.run.store import RunStore


def seat_preflight(folder: Path, free_memory_bytes: int, now: datetime) -> Preflight:
    """Everything about a coordinator's folder that can be known without its partners.

    Args:
        folder: With `coordinator.toml`.
        free_memory_bytes: That processes can have.
        now: The time.
    """
    where = folder.name
    try:
        config = read_coordinator(folder)
        signed, history = read_plan(config.plan), read_agreement(config.agreement)
        agreement = history.current(now)
    except PharmoniaError as error:
        return Preflight((Check(where=where, what=f"{COORDINATOR_FILE}, plan and agreement in force", error=error),))
    where, plan = config.partner, signed.plan
    return Preflight(
        (
            Check(where=where, what=f"{COORDINATOR_FILE}, plan and agreement in force", error=None),
            look(where, "its own key", lambda: _own_key(config, history, now)),
            look(where, "the plan is for it", lambda: _for_us(config, plan, agreement)),
            look(where, "the plan's code", lambda: require_code(plan, installed_code())),
            look(where, "the plan can be trained", lambda: _trainable(plan)),
            look(where, "enough data owners approved the plan", lambda: _approved(signed, agreement, now)),
            look(where, "the store opens", lambda: _store(config)),
            *machine_checks(where, folder, free_memory_bytes),
        )
    )


def _own_key(config: CoordinatorConfig, history: AgreementHistory, now: datetime) -> None:
    own_key(config, history, now)


def _for_us(config: CoordinatorConfig, plan: RunPlan, agreement: Agreement) -> None:
    if plan.coordinator != config.partner:
        raise RefusedError(f"{plan.label} is coordinated by {plan.coordinator}, not by {config.partner}")
    if plan.agreement != agreement.digest:
        raise AgreementError(
            f"{plan.label} is under version {plan.agreement_version} of the agreement, version {agreement.version} is "
            f"in force; have it approved for that one"
        )


def _trainable(plan: RunPlan) -> None:
    training_plan_of(plan)


def _approved(signed: SignedPlan, agreement: Agreement, now: datetime) -> None:
    n_approved, needed = len(signed.approved_by(agreement, now)), agreement.terms.thresholds.plan
    if n_approved < needed:
        raise RefusedError(
            f"{signed.plan.label} has {n_approved} approvals of {needed}; ask the data owners for theirs"
        )


def _store(config: CoordinatorConfig) -> None:
    RunStore(config.store_url, config.store_folder)
