"""What follows on a run under a plan: its figures go on the ledger, and its results to whom the plan names."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pharmonia.base.errors import InputError
from pharmonia.bench.arms import ArmJob, run_id_of, share_out
from pharmonia.bench.charter import charter_of, clock
from pharmonia.bench.settings import ComparisonSettings
from pharmonia.bench.workplace import Workplace
from pharmonia.evaluate.outcome import Arm
from pharmonia.governance.terms import ResourceKind
from pharmonia.governance.verify_report import figures_of
from pharmonia.run.files import write_whole
from pharmonia.run.mandate import Mandate
from pharmonia.run.records import Training

MODEL_FILE = "model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Warrant:
    """Under what a run was made.

    Args:
        agreement: Digest of the version in force.
        plan: Digest.
        ledger: Root after the plan's last round.
    """

    agreement: str
    plan: str
    ledger: str


def federated_job(settings: ComparisonSettings) -> ArmJob:
    """The run that a plan is about."""
    return ArmJob(settings=settings, seed=settings.seeds[0], arm=Arm.FEDERATED, partner=None)


def warrant_of(mandate: Mandate, settings: ComparisonSettings, training: Training) -> Warrant:
    """What the report names, once every round of the training is found on the ledger.

    Raises:
        StoreError: A round was run without the plan.
        PharmoniaError: As `charter_of`.
    """
    shared = share_out(settings, settings.seeds[0])
    with charter_of(mandate, settings, shared, clock) as charter:
        charter.chronicle.require_recorded([record.aggregate_digest for record in training.rounds])
        ledger = charter.chronicle.root_after_training()
        return Warrant(agreement=charter.agreement.digest, plan=charter.plan.digest, ledger=ledger)


def hand_over(mandate: Mandate, settings: ComparisonSettings, workplace: Workplace, results: Path, out: Path) -> Path:
    """Where the delivered model lies, once figures and handing over are on the ledger.

    Args:
        mandate: Of the run.
        settings: Of the comparison.
        workplace: Whose store has the model.
        results: The file of results.
        out: Where the delivered model goes.

    Raises:
        RefusedError: A data owner has taken its leave back, or the agreement does not let somebody have what the plan
            gives it; nothing is handed over.
        InputError: A file cannot be read or written.
    """
    job = federated_job(settings)
    try:
        content = results.read_bytes()
        kept = (workplace.place.open().folder(run_id_of(job)) / MODEL_FILE).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {error.filename}: {error.strerror}") from error
    digests = {
        ResourceKind.SHARED_TRUNK: hashlib.sha256(kept).hexdigest(),
        ResourceKind.REPORT: hashlib.sha256(content).hexdigest(),
    }
    with charter_of(mandate, settings, share_out(settings, job.seed), clock) as charter:
        chronicle, plan = charter.chronicle, charter.plan
        charter.require_leave()
        model, report = digests[ResourceKind.SHARED_TRUNK], digests[ResourceKind.REPORT]
        chronicle.evaluated(model, report, figures_of(content))
        for delivery in plan.deliveries:
            for partner in delivery.partners:
                chronicle.handed_over(delivery.what, digests[delivery.what], partner, charter.agreement)
        chronicle.checkpoint()
    delivered = out / MODEL_FILE
    write_whole(delivered, kept)  # last: what is handed over is on the ledger
    return delivered
