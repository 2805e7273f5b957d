"""One history for all: what a partner checks before it cross-signs, and how two histories are told apart."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import pairwise

from pharmonia.base.errors import ProofError
from pharmonia.governance.checkpoint import Checkpoint, SignedCheckpoint
from pharmonia.governance.identity import PrivateKey, PublicKey
from pharmonia.governance.merkle import Frontier
from pharmonia.governance.proofs import ConsistencyProof


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitView:
    """Two checkpoints that no single ledger has; both signed, they are evidence against their signer."""

    first: Checkpoint
    second: Checkpoint
    reason: str


def cosign(
    offered: SignedCheckpoint, own: Frontier, ledger: str, coordinator: PublicKey, key: PrivateKey
) -> SignedCheckpoint:
    """The offered checkpoint with our signature, if it is the state of our own copy.

    Args:
        offered: Signed by the coordinator.
        own: The tree of our copy, as large as the checkpoint says.
        ledger: The id of our consortium's ledger.
        coordinator: Who must have signed.
        key: Ours.

    Raises:
        ProofError: Another ledger, size or root than our copy has, or not signed by the coordinator; keep both.
    """
    checkpoint = offered.checkpoint
    stated, ours = (checkpoint.ledger, checkpoint.size, checkpoint.root), (ledger, own.size, own.root.hex())
    if stated != ours:
        raise ProofError(f"a checkpoint states {stated}, our copy has {ours}: keep both and ask the other partners")
    names = [one.key for one in offered.signatures]
    if coordinator.key_id not in names or coordinator.key_id in offered.false_signatures(
        {coordinator.key_id: coordinator}
    ):
        raise ProofError(f"a checkpoint of size {checkpoint.size} is not signed by the coordinator's key")
    return offered.signed_also_by(key)


def find_split_view(checkpoints: Iterable[Checkpoint], proofs: Collection[ConsistencyProof]) -> tuple[SplitView, ...]:
    """Every pair of neighbouring sizes that is not shown to be of one history; empty if all are.

    Checkpoints of all partners, sorted by size: equal sizes must have equal roots, and each larger tree must be shown
    to begin with the one before it, which makes all of them one history.

    Args:
        checkpoints: Of one ledger, from as many partners as can be had; signatures are the caller's to check.
        proofs: Of consistency, between neighbouring sizes.
    """
    ordered = sorted(set(checkpoints), key=lambda one: (one.size, one.root, one.at))
    found = []
    for first, second in pairwise(ordered):
        reason = _difference(first, second, proofs)
        if reason:
            found.append(SplitView(first=first, second=second, reason=reason))
    return tuple(found)


def _difference(first: Checkpoint, second: Checkpoint, proofs: Collection[ConsistencyProof]) -> str:
    if first.ledger != second.ledger:
        return "they are of two ledgers"
    if first.size == second.size:
        return "" if first.root == second.root else f"two roots for the same {first.size} entries"
    fitting = [proof for proof in proofs if (proof.old, proof.new) == (first.size, second.size)]
    if not fitting:
        return f"no proof shows that {second.size} entries begin with the {first.size}"
    if not any(proof.shows(first, second) for proof in fitting):
        return f"the proof from {first.size} to {second.size} entries does not hold"
    return ""
