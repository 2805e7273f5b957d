"""What a run between organisations left in a partner's own folder, read for export."""

from pathlib import Path

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.base.canonical import digest_file
from pharmonia.base.errors import AgreementError, InputError, OptionError, StoreError
from pharmonia.governance.plan import SignedPlan
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.run.arrayfile import read_arrays
from pharmonia.run.bundle_environments import StructureReader
from pharmonia.run.bundle_export import Folds, RunNote, TaskNote, TrainedPartner
from pharmonia.run.bundle_runs import task_notes
from pharmonia.run.delivered import MODEL_FILE, DeliveredModel, content_digest, read_delivered
from pharmonia.run.documents import read_agreement, read_plan
from pharmonia.run.keyfiles import read_service_key
from pharmonia.run.planned import training_plan_of
from pharmonia.run.prepare_files import MANIFEST, read_prepared_manifest
from pharmonia.run.recipient import PRIVATE_FILE
from pharmonia.run.site_config import DataKind, SiteConfig, read_site
from pharmonia.run.site_data import describe_data, read_tasks, site_commitment
from pharmonia.run.standing import read_standing


def read_site_run(
    folder: Path, structures: StructureReader | None
) -> tuple[TrainedPartner, RunNote, dict[str, TaskNote]]:
    """What the run of a site's plan left there, as `export_bundle` takes it.

    Folds that were neither learnt from nor chosen by are the test's. Nothing but the partner's own folder is read, and
    no model is taken that its own ledger does not show handed to it under its plan.

    Args:
        folder: With `site.toml`.
        structures: Reads its compounds once more, for the domain; None to leave that unknown.

    Raises:
        InputError: A file cannot be read, or no model was delivered yet.
        OptionError: The data are interactions, or all folds are learnt from and chosen by.
        StoreError: Model and private part are damaged, or not those that the ledger speaks of.
        AgreementError: The plan is under no version of the agreement that was accepted.
        CacheError: The data are damaged, or not those that the plan names.
        RecipeError: They cannot be read once more: another key, or an installation that makes other columns.
    """
    config = read_site(folder)
    if config.data.kind is not DataKind.TASKS:
        raise OptionError(f"{folder} holds {config.data.kind}; bundles are of data of many tasks")
    signed, card = read_plan(config.plan), describe_data(config.data)
    plan, settings = signed.plan, training_plan_of(signed.plan).local
    commitments = {one.commitment for one in plan.datasets if one.partner == config.partner}
    if site_commitment(config, plan.consortium) not in commitments or not isinstance(settings, MultitaskSettings):
        raise StoreError(f"{plan.label} was trained on other data than lie in {config.data.folder}; put those back")
    accepted = {version.digest for version in read_agreement(config.agreement).accepted()}
    if plan.agreement not in accepted:
        raise AgreementError(f"{plan.label} is under no accepted version of {config.agreement}; put your copy back")
    state = config.state_of(plan.digest)
    model = _model(config, signed, state / MODEL_FILE)
    prepared = read_tasks(config.data, card)
    recipe = read_prepared_manifest(config.data.folder).recipe
    trained = TrainedPartner(
        name=config.partner,
        settings=settings,
        shared=model.parameters,
        private=_private(state / PRIVATE_FILE, model.best_round),
        prepared=prepared,
        recipe=recipe,
        folds=_folds(config, prepared.n_folds),
        alone=None,
        environments=structures.environments(config.data.folder, prepared, recipe) if structures else None,
    )
    note = RunNote(
        run_id=state.name,
        method=plan.method,
        data_digest=digest_file(config.data.folder / MANIFEST),
        plan_digest=plan.digest,
        agreement_digest=plan.agreement,
    )
    return trained, note, task_notes(config.data.folder)


def _model(config: SiteConfig, signed: SignedPlan, path: Path) -> DeliveredModel:
    """The delivered model, if our ledger shows that this file of this plan was handed to our key."""
    if not path.is_file():
        raise InputError(f"no model of {signed.plan.label} was delivered to {config.partner}: there is no {path}")
    model, standing = read_delivered(path), read_standing(config.ledger)
    key = read_service_key(config.key, config.passphrase).public.key_id
    is_ours = (content_digest(path.read_bytes()), key) in standing.handed_over
    if not is_ours or model.aggregate not in standing.aggregates.get(signed.plan.digest, set()):
        raise StoreError(f"{path} is not the model of {signed.plan.label} that our ledger shows handed over to us")
    return model


def _private(path: Path, best_round: int) -> Vector:
    if not path.is_file():
        raise InputError(f"there is no {path}: the run did not end here")
    arrays, meta = read_arrays(path)
    if meta.get("best_round") != best_round or "private" not in arrays:
        raise StoreError(f"{path} is not of round {best_round}, as the model beside it is")
    private: Vector = arrays["private"].astype(np.float64)
    return private


def _folds(config: SiteConfig, n_folds: int) -> Folds:
    train, valid = config.data.train_folds, config.data.valid_folds
    test = tuple(fold for fold in range(n_folds) if fold not in {*train, *valid})
    if not test:
        raise OptionError(
            f"all {n_folds} folds are learnt from and chosen by; a bundle's card needs one that was not looked at"
        )
    return Folds(train=train, valid=valid, test=test)
