"""What a partner can know of its own site before a run: papers, key, policy, data's card, ledger and machine."""

from datetime import datetime
from pathlib import Path

from pharmonia.base.errors import DataFileError, PharmoniaError, RefusedError
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.documents import whole_second
from pharmonia.governance.plan import SignedPlan
from pharmonia.governance.plan_check import check_plan
from pharmonia.run.codedigest import installed_code
from pharmonia.run.documents import read_agreement, read_plan, read_policy
from pharmonia.run.files import require_closed
from pharmonia.run.ledgerfile import CHECKPOINTS, ENTRIES, read_checkpoints
from pharmonia.run.ownkey import own_key
from pharmonia.run.planned import training_plan_of
from pharmonia.run.preflight import Check, Preflight, look, machine_checks, require_code
from pharmonia.run.site_config import SITE_FILE, SiteConfig, read_site
from pharmonia.run.site_data import describe_data, site_commitment


def site_preflight(folder: Path, free_memory_bytes: int, now: datetime) -> Preflight:
    """Everything about a partner's folder that can be known without the coordinator and without opening its data.

    Args:
        folder: With `site.toml`.
        free_memory_bytes: That processes can have.
        now: The time.
    """
    where = folder.name
    try:
        config = read_site(folder)
        signed, history = read_plan(config.plan), read_agreement(config.agreement)
        agreement = history.current(now)
    except PharmoniaError as error:
        return Preflight((Check(where=where, what=f"{SITE_FILE}, plan and agreement in force", error=error),))
    where = config.partner
    return Preflight(
        (
            Check(where=where, what=f"{SITE_FILE}, plan and agreement in force", error=None),
            look(where, "its own key", lambda: _own_key(config, history, now)),
            look(where, "the plan's code", lambda: require_code(signed.plan, installed_code())),
            look(where, "the plan can be trained", lambda: _trainable(signed)),
            look(where, "plan, agreement and policy allow it", lambda: _allowed(config, signed, agreement, now)),
            look(where, "the plan's data and recipe", lambda: _data(config, signed)),
            look(where, "nobody else can read its data and its state", lambda: _closed(config)),
            look(where, "its copy of the ledger", lambda: _ledger(config)),
            *machine_checks(where, folder, free_memory_bytes),
        )
    )


def _own_key(config: SiteConfig, history: AgreementHistory, now: datetime) -> None:
    own_key(config, history, now)


def _trainable(signed: SignedPlan) -> None:
    training_plan_of(signed.plan)


def _allowed(config: SiteConfig, signed: SignedPlan, agreement: Agreement, now: datetime) -> None:
    policy = read_policy(config.policy).verified(agreement, now)
    check_plan(signed, agreement, policy, installed_code(), whole_second(now)).require()


def _data(config: SiteConfig, signed: SignedPlan) -> None:
    plan, card = signed.plan, describe_data(config.data)
    if card.recipe != plan.recipe:
        raise RefusedError(
            f"the data were prepared under the recipe {card.recipe[:16]}, {plan.label} names {plan.recipe[:16]}; "
            f"prepare them again under the plan's"
        )
    commitment = site_commitment(config, plan.consortium)
    if (config.partner, commitment) not in {(one.partner, one.commitment) for one in plan.datasets}:
        raise DataFileError(
            f"{plan.label} names other data of {config.partner} than lie in {config.data.folder}; put back the data "
            f"that were approved, or have a plan for these approved"
        )


def _closed(config: SiteConfig) -> None:
    for folder in (config.data.folder, config.state):
        if folder.exists():
            require_closed(folder)


def _ledger(config: SiteConfig) -> None:
    if (config.ledger / ENTRIES).exists() and (config.ledger / CHECKPOINTS).exists():
        read_checkpoints(config.ledger / CHECKPOINTS)
