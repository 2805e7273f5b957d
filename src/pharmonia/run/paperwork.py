"""Plans, policies and checkpoints as files that people change: read, checked, signed and written whole."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from pharmonia.base.errors import AgreementError, DocumentError, InputError, LedgerError, TermsError
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.checkpoint import Checkpoint, SignedCheckpoint
from pharmonia.governance.checkpoint_views import cosign
from pharmonia.governance.documents import time_text, whole_second
from pharmonia.governance.identity import PrivateKey, PublicKey
from pharmonia.governance.merkle import frontier_of
from pharmonia.governance.plan import RunPlan, SignedPlan, approve, merge_approvals
from pharmonia.governance.policy import Grant, LocalPolicy, open_policy, sign_anew, sign_policy, with_grants
from pharmonia.governance.terms import Role
from pharmonia.governance.verify_rules import Version
from pharmonia.governance.verify_versions import Versions
from pharmonia.run.documents import changing, read_plan, read_policy, write_plan, write_policy
from pharmonia.run.files import write_whole
from pharmonia.run.ledgerfile import CHECKPOINTS, StoredHashes, open_ledger, read_checkpoints
from pharmonia.run.standing import read_standing


def write_new_plan(path: Path, plan: RunPlan) -> SignedPlan:
    """The plan, in a new file, approved by nobody yet.

    Raises:
        InputError: The file exists, or cannot be written.
    """
    with changing(path):
        _require_new(path)
        signed = SignedPlan(plan=plan, signatures=())
        write_plan(path, signed)
    return signed


def approve_plan(path: Path, agreement: Agreement, key: PrivateKey, now: datetime) -> SignedPlan:
    """The plan in a file with the key's approval, written back.

    Raises:
        InputError: The file cannot be read or written.
        DocumentError, TermsError: It is not a plan as it was written.
        AgreementError: It is of another version of the agreement, or the key may not sign.
    """
    with changing(path):
        signed = approve(read_plan(path), agreement, key, now)
        signed.approved_by(agreement, now)
        write_plan(path, signed)
    return signed


def collect_approvals(path: Path, copies: Sequence[Path], agreement: Agreement, now: datetime) -> SignedPlan:
    """The plan in a file with the approvals on copies of it, every one checked, written back.

    Raises:
        InputError: A file cannot be read or written.
        DocumentError: A copy is of another plan, or an approval is not over it; nothing is written.
        AgreementError: An approval by a key that may not sign, or from the future; nothing is written.
    """
    with changing(path):
        own, others = read_plan(path), {copy: read_plan(copy) for copy in copies}
        for copy, other in others.items():
            try:
                other.approved_by(agreement, now)
            except (DocumentError, AgreementError) as error:
                raise type(error)(f"{copy}: {error}") from error
        signed = merge_approvals([own, *others.values()])
        signed.approved_by(agreement, now)
        write_plan(path, signed)
    return signed


def write_new_policy(path: Path, agreement: Agreement, key: PrivateKey, min_cohort: int, now: datetime) -> LocalPolicy:
    """The policy that grants all that the agreement allows, in a new file.

    Args:
        path: The file.
        agreement: In force.
        key: Of the data owner whose policy it is.
        min_cohort: Fewest data owners that a plan may train with; the agreement's where that asks for more.
        now: The time.

    Raises:
        InputError: The file exists, or cannot be written.
        AgreementError: The key may not sign.
        TermsError: Its owner has no data.
    """
    partner = agreement.key(key.public.key_id).partner
    policy = open_policy(agreement, partner, now)
    policy = replace(policy, min_cohort=max(min_cohort, policy.min_cohort))
    with changing(path):
        _require_new(path)
        write_policy(path, sign_policy(policy, agreement, key, now))
    return policy


def sign_policy_anew(path: Path, agreement: Agreement, key: PrivateKey, now: datetime) -> LocalPolicy:
    """The next policy in a file, which says the same, signed with a key that is active now.

    Raises:
        InputError: The file cannot be read or written.
        AgreementError, DocumentError, TermsError: As `sign_anew`.
    """
    with changing(path):
        signed = sign_anew(read_policy(path), agreement, key, now)
        write_policy(path, signed)
    return signed.policy


def add_grant(path: Path, agreement: Agreement, key: PrivateKey, grant: Grant, now: datetime) -> LocalPolicy:
    """The next policy in a file, with one more grant.

    Raises:
        InputError: The file cannot be read or written.
        DocumentError: It is not a policy of the key's owner.
        AgreementError, TermsError: As `sign_policy`.
    """
    with changing(path):
        policy = read_policy(path).verified(agreement, now)
        changed = with_grants(policy, (*policy.grants, grant), now)
        write_policy(path, sign_policy(changed, agreement, key, now))
    return changed


def revoke_grants(path: Path, agreement: Agreement, key: PrivateKey, number: int | None, now: datetime) -> LocalPolicy:
    """The next policy in a file, with one grant or all of them revoked from now on.

    Args:
        path: The file.
        agreement: In force.
        key: Of the policy's owner.
        number: Of the grant, counted from 1; None for all.
        now: The time.

    Raises:
        InputError: The file cannot be read or written.
        TermsError: There is no such grant, or it is revoked already.
        DocumentError, AgreementError: As `sign_policy`.
    """
    with changing(path):
        policy = read_policy(path).verified(agreement, now)
        chosen = set(range(1, len(policy.grants) + 1)) if number is None else {number}
        standing = {at for at, grant in enumerate(policy.grants, 1) if grant.revoked_at is None}
        if not chosen & standing:
            named = "no grant" if number is None else f"no grant {number}"
            raise TermsError(f"{policy.name}, serial {policy.serial} has {named} that stands; look with `policy show`")
        at = whole_second(now)
        grants = [
            replace(grant, revoked_at=at) if place in chosen & standing else grant
            for place, grant in enumerate(policy.grants, 1)
        ]
        changed = with_grants(policy, grants, now)
        write_policy(path, sign_policy(changed, agreement, key, now))
    return changed


def cosign_copy(
    folder: Path, history: AgreementHistory, now: datetime, *, key: PrivateKey | None, copies: Sequence[Path]
) -> SignedCheckpoint:
    """The last checkpoint of our copy of a ledger with our signature, those that other copies of it bear, or both.

    All are judged as verification does, by the version of the agreement in force at the checkpoint; then it is written
    back. The copy is hashed anew first.

    Args:
        folder: Of our copy.
        history: The agreement, all its versions.
        now: The time.
        key: Ours, if it is to sign.
        copies: Folders of other copies, whose signatures are added.

    Raises:
        LedgerError: A copy is damaged, has no checkpoint, or is not what the checkpoint says; or another copy's last
            checkpoint is another one: another history, or one that is behind.
        ProofError: No coordinator signed the checkpoint.
        AgreementError: A signature, or our key, is not of a key that was active there, or the agreement is too old.
    """
    versions = Versions(history.accepted())
    ledger = versions.all[0].agreement.digest
    with open_ledger(folder, ledger):
        last = _last_checkpoint(folder)
        version = _in_force(folder, versions, last.checkpoint.size)
        signed = last.merged(map(_last_checkpoint, copies))
        false = signed.false_signatures(version.keys)
        if false:
            raise AgreementError(
                f"signatures of {', '.join(false)} are not over this checkpoint by keys that were active then, under "
                f"version {version.agreement.version} of the agreement; ask for a new copy"
            )
        if key is not None:
            _require_signer(key, version, last.checkpoint, now)
            tree = frontier_of(last.checkpoint.size, StoredHashes(folder))
            signed = cosign(signed, tree, ledger, _coordinator(signed, version.agreement), key)
        _replace_last(folder, signed)
    return signed


def _in_force(folder: Path, versions: Versions, size: int) -> Version:
    n_adopted = read_standing(folder).n_adopted_at(size)
    if n_adopted > len(versions.all):
        raise AgreementError(
            f"the checkpoint of {size} entries is under version {n_adopted} of the agreement, but the file holds "
            f"{len(versions.all)} accepted versions; ask a partner for the newest"
        )
    return versions.in_force(n_adopted)


def _require_signer(key: PrivateKey, version: Version, checkpoint: Checkpoint, now: datetime) -> None:
    key_id = key.public.key_id
    under = f"the last checkpoint, of {checkpoint.size} entries, is under version {version.agreement.version}"
    try:
        version.agreement.key(key_id)
    except AgreementError as error:
        remedy = "sign it with the key that was active then, or sign the first one under a version that names yours"
        raise AgreementError(f"{under}: {error}; {remedy}") from error
    if version.ends[key_id] < max(checkpoint.at, now):
        ended = f"the key {key_id} of {version.owners[key_id]} ended {time_text(version.ends[key_id])}"
        raise AgreementError(f"{ended} and signs nothing after that; rotate it with `pharmonia keys rotate`")


def _require_new(path: Path) -> None:
    if path.exists():
        raise InputError(f"{path} exists; choose another name")


def _last_checkpoint(folder: Path) -> SignedCheckpoint:
    path = folder / CHECKPOINTS
    checkpoints = read_checkpoints(path)
    if not checkpoints:
        raise LedgerError(f"{path} holds no checkpoint; ask the coordinator for one")
    return checkpoints[-1]


def _replace_last(folder: Path, signed: SignedCheckpoint) -> None:
    path = folder / CHECKPOINTS
    kept = read_checkpoints(path)[:-1]
    write_whole(path, b"".join(one.to_line() + b"\n" for one in (*kept, signed)))


def _coordinator(signed: SignedCheckpoint, agreement: Agreement) -> PublicKey:
    """The coordinator's key that a checkpoint names; where it names none, any coordinator's, which did not sign it."""
    keys = [
        key.public
        for partner in agreement.terms.partners
        if Role.COORDINATOR in partner.roles
        for key in agreement.active_keys(partner.id)
    ]
    named = {one.key for one in signed.signatures}
    return next((key for key in keys if key.key_id in named), keys[0])
