"""The coordinator's whole run between organisations, from its own folder: papers, ledger and store.

The other side is `run.site`; the two never import each other.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pharmonia.base.canonical import canonical_json
from pharmonia.base.errors import AgreementError, DataFileError, EngineError, RefusedError
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.identity import PrivateKey
from pharmonia.governance.plan import RunPlan
from pharmonia.governance.terms import ResourceKind
from pharmonia.run.chronicle import Chronicle
from pharmonia.run.chronicled import Chronicled
from pharmonia.run.codedigest import installed_code
from pharmonia.run.coordinator import BeforeRound, Coordinator, OnRound, checkpoint_file
from pharmonia.run.delivery import (
    Delivery,
    away_in,
    delivered_model,
    deliveries_json,
    recipients_of,
    require_delivered,
)
from pharmonia.run.documents import read_agreement, read_plan
from pharmonia.run.engine import Engine
from pharmonia.run.files import write_whole
from pharmonia.run.keyfiles import read_service_key
from pharmonia.run.planned import training_plan_of
from pharmonia.run.planned_sums import secure_sums
from pharmonia.run.records import Performance, TrainedModel
from pharmonia.run.remote_ledger import PartnerLink, RemoteWitness
from pharmonia.run.site_config import CoordinatorConfig
from pharmonia.run.store import RunStatus, RunStore
from pharmonia.run.sums import SecureSums
from pharmonia.run.witness import Witness, open_witness
from pharmonia.secagg.roster import Member, fewest_contributors

RUN_ID_DIGITS = 16  # of the plan's digest
DELIVERIES_FILE = "deliveries.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Papers:
    """What the coordinator runs under.

    Args:
        history: The agreement, all its versions.
        agreement: The version in force.
        plan: The plan; whether it is approved each party judges for itself.
        key: The coordinator's.
    """

    history: AgreementHistory
    agreement: Agreement
    plan: RunPlan
    key: PrivateKey


def coordinate(
    config: CoordinatorConfig,
    engine: Engine,
    link: PartnerLink,
    now: Callable[[], datetime],
    on_round: OnRound,
    before_round: BeforeRound | None = None,
) -> TrainedModel:
    """The model of the coordinator's plan, trained across the sites that an engine reaches; resumed where it stood.

    What ends it, whatever that is, is on the ledger under a checkpoint before the error goes on. Then each site that
    the plan gives the shared trunk and that has not got it gets it; `deliveries.json` in the run's folder of the store
    says what became of each.

    Args:
        config: Of the coordinator's folder.
        engine: Carries each frame to all sites of the plan.
        link: Carries a frame to one of them; the same engine.
        now: The clock.
        on_round: Told each finished round.
        before_round: Asked before each round; what it raises ends the run, which goes on from there when resumed.

    Raises:
        RefusedError: A party refuses, or the plan is not for this coordinator or its code; with reasons.
        AgreementError: No version is in force, or the plan is under another one.
        UnreachableError, MessageError: As `require_delivered`.
        EngineError: Sites are missing or fail.
        PharmoniaError: Files cannot be read; the ledger, the store or a message is damaged.
    """
    papers = _read_papers(config, now())
    plan, agreement = papers.plan, papers.agreement
    if sorted(engine.partners) != list(plan.partners):
        raise EngineError(f"{plan.label} is of {', '.join(plan.partners)}; connected: {', '.join(engine.partners)}")
    training = training_plan_of(plan)
    members = [Member(id=name, identity=agreement.active_keys(name)[0].public.raw) for name in plan.partners]
    others = [RemoteWitness(name, agreement.active_keys(name)[0].public, link) for name in plan.partners]
    store, run_id = RunStore(config.store_url, config.store_folder), plan.digest[:RUN_ID_DIGITS]
    with open_witness(config.partner, papers.key, papers.history, config.ledger) as own:
        chronicle = Chronicle(plan, papers.history.accepted(), own, others, now)
        status = store.open_run(run_id, {"plan": plan.digest}, now())
        chronicle.require_recorded([record.aggregate_digest for record in store.rounds(run_id)])
        if status is RunStatus.FINISHED:
            model = store.model(run_id)
        else:
            chronicle.begin({other.partner: other.opening for other in others})
            with chronicle.recording():
                chronicled = Chronicled(engine, chronicle, plan.partners, masked=True)
                folder, least = store.folder(run_id) / "coordinator", agreement.terms.min_cohort
                sums = secure_sums(plan, chronicled, members, folder, least)
                _require_approvals(plan, own, others, sums)
                # where the run goes on without a partner, it may come back after any round, to which all must hold
                every_s = 0.0 if plan.goes_on else config.checkpoint_every_s
                performance = Performance(checkpoint_every_s=every_s)
                model = Coordinator(
                    training, sums, store, run_id, performance, None, chronicle.aggregated, before_round
                ).train(on_round)
        recipients = recipients_of(plan, others)
        delivered = delivered_model(plan, model)
        handed = () if delivered is None else Delivery(chronicle, agreement, link, delivered).to_each(recipients)
        write_whole(store.folder(run_id) / DELIVERIES_FILE, canonical_json(deliveries_json(handed)) + b"\n")
        require_delivered(plan, handed)
        return model


def fewest_partners(config: CoordinatorConfig, plan: RunPlan) -> int:
    """Partners without whom no round of the plan is made: all, unless it goes on without a lost one.

    Raises:
        PharmoniaError: The agreement cannot be read.
    """
    n = len(plan.partners)
    if not plan.goes_on:
        return n
    versions = [signed.agreement for signed in read_agreement(config.agreement).versions]
    least = max((one.terms.min_cohort for one in versions if one.digest == plan.agreement), default=n)
    return max(least, fewest_contributors(n, plan.aggregation.n_colluders))


def needed_partners(config: CoordinatorConfig, plan: RunPlan) -> int:
    """How many partners a run needs to go on where it stands: all until it is first saved, one at its end.

    Raises:
        PharmoniaError: The store or the agreement cannot be read.
    """
    store, run = RunStore(config.store_url, config.store_folder), plan.digest[:RUN_ID_DIGITS]
    if run in store.finished():
        return 1  # who is there gets its model
    return fewest_partners(config, plan) if checkpoint_file(store, run).exists() else len(plan.partners)


def undelivered(store: RunStore, plan: RunPlan) -> tuple[str, ...]:
    """Partners that a finished run owes its model, because they were away or the coordinator was killed.

    Raises:
        DataFileError: The record of deliveries is damaged; without it, everybody is offered the model again.
    """
    path = store.folder(plan.digest[:RUN_ID_DIGITS]) / DELIVERIES_FILE
    if not path.exists():
        named = plan.recipients(ResourceKind.SHARED_TRUNK)
        return tuple(partner for partner in plan.partners if partner in named)
    try:
        return away_in(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataFileError(f"{path} is damaged ({error}); delete it, and the model is offered again") from error


def _require_approvals(plan: RunPlan, own: Witness, others: Sequence[RemoteWitness], sums: SecureSums) -> None:
    lacking = [one.partner for one in others if (one.public.key_id, plan.digest) not in own.standing.approvals]
    if lacking:
        sums.start()  # who refuses says why
        raise RefusedError(f"{', '.join(lacking)}: no approval of {plan.label} on the ledger; look at their plans")


def _read_papers(config: CoordinatorConfig, now: datetime) -> _Papers:
    history, plan = read_agreement(config.agreement), read_plan(config.plan).plan
    agreement = history.current(now)
    if plan.agreement != agreement.digest:
        raise AgreementError(
            f"{plan.label} is under version {plan.agreement_version} of another agreement than {agreement.name}, "
            f"version {agreement.version}; have it written and approved for the version in force"
        )
    if plan.coordinator != config.partner:
        raise RefusedError(f"{plan.label} is coordinated by {plan.coordinator}, not by {config.partner}")
    if plan.code is not None and plan.code != installed_code():
        raise RefusedError(f"{plan.label} names other code than is installed here; install the code that was approved")
    key = read_service_key(config.key, config.passphrase)
    owner = agreement.key(key.public.key_id).partner
    if owner != config.partner:
        raise AgreementError(f"{config.key} is a key of {owner}; put a key of {config.partner} there")
    return _Papers(history=history, agreement=agreement, plan=plan, key=key)
