"""Plans, policies and checkpoints as files that people change: read, checked, signed and written whole."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from pharmonia.base.errors import AgreementError, InputError, LedgerError, TermsError
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.checkpoint import SignedCheckpoint
from pharmonia.governance.checkpoint_views import cosign
from pharmonia.governance.documents import whole_second
from pharmonia.governance.identity import PrivateKey, PublicKey
from pharmonia.governance.merkle import frontier_of
from pharmonia.governance.plan import RunPlan, SignedPlan, approve, merge_approvals
from pharmonia.governance.policy import Grant, LocalPolicy, open_policy, sign_policy, with_grants
from pharmonia.governance.terms import Role
from pharmonia.run.documents import changing, read_plan, read_policy, write_plan, write_policy
from pharmonia.run.files import write_whole
from pharmonia.run.ledgerfile import CHECKPOINTS, StoredHashes, open_ledger, read_checkpoints


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


def collect_approvals(path: Path, copies: Sequence[Path]) -> SignedPlan:
    """The plan in a file with the approvals on copies of it, written back.

    Raises:
        InputError: A file cannot be read or written.
        DocumentError: A copy is of another plan.
    """
    with changing(path):
        signed = merge_approvals([read_plan(path), *map(read_plan, copies)])
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


def cosign_copy(folder: Path, ledger: str, agreement: Agreement, key: PrivateKey) -> SignedCheckpoint:
    """The last checkpoint of our copy of a ledger with our signature, written back; the copy is hashed anew first.

    Raises:
        LedgerError: The copy is damaged, has no checkpoint, or is not what the checkpoint says.
        ProofError: No coordinator signed the checkpoint.
        AgreementError: The key is no partner's.
    """
    agreement.key(key.public.key_id)
    with open_ledger(folder, ledger):
        last = _last_checkpoint(folder)
        tree = frontier_of(last.checkpoint.size, StoredHashes(folder))
        signed = cosign(last, tree, ledger, _coordinator(last, agreement), key)
        _replace_last(folder, signed)
    return signed


def collect_signatures(folder: Path, ledger: str, agreement: Agreement, copies: Sequence[Path]) -> SignedCheckpoint:
    """The last checkpoint of a ledger with the signatures that copies of it bear, written back.

    Raises:
        LedgerError: A copy's last checkpoint is another one: another history, or one that is behind.
        AgreementError: A signature is not by an active key, or not by the key that it names.
    """
    with open_ledger(folder, ledger):
        signed = _last_checkpoint(folder).merged(map(_last_checkpoint, copies))
        keys = {one.key: agreement.key(one.key).public for one in signed.signatures}
        false = signed.false_signatures(keys)
        if false:
            raise AgreementError(f"signatures of {', '.join(false)} are not over this checkpoint; ask for a new copy")
        _replace_last(folder, signed)
    return signed


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
