"""Entries, checkpoints and proofs: what is signed is what is read, and two histories are told apart."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pharmonia.base.errors import EventError, LedgerError, ProofError
from pharmonia.governance.checkpoint import Checkpoint, SignedCheckpoint, decode_checkpoint, sign_checkpoint
from pharmonia.governance.checkpoint_views import cosign, find_split_view
from pharmonia.governance.events import Event, PlanApproved, PlanFiled
from pharmonia.governance.identity import PrivateKey
from pharmonia.governance.ledger import MAX_EVENTS, Entry, Head, decode_entry, sign_entry
from pharmonia.governance.merkle import Frontier, Nodes, leaf_hash, stored_index
from pharmonia.governance.proofs import decode_consistency, decode_inclusion, prove_consistency, prove_inclusion

LEDGER, OTHER = "aa" * 32, "bb" * 32
PLAN = "0123456789abcdef" * 4
AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
ALPHA, BETA = (PrivateKey(Ed25519PrivateKey.from_private_bytes(bytes([i]) * 32)) for i in (1, 2))
GOLDEN_ENTRY = (
    '{"at":"2026-11-21T09:30:00Z","events":[{"kind":"plan","plan":"%s"}],"key":"%s","ledger":"%s","number":0,'
    '"signature":"%s"}'
)


def entry(number: int, *events: Event, key: PrivateKey = ALPHA, ledger: str = LEDGER) -> Entry:
    return sign_entry(ledger=ledger, number=number, at=AT, events=events or (PlanFiled(plan=PLAN),), key=key)


def grown(entries: list[Entry]) -> tuple[Head, Nodes]:
    head, stored = Head(ledger=LEDGER), list[bytes]()
    for one in entries:
        head, completed = head.append(one)
        stored.extend(completed)
    return head, lambda level, index: stored[stored_index(level, index)]


def checkpoint_of(tree: Frontier, *, ledger: str = LEDGER, at: datetime = AT) -> Checkpoint:
    return Checkpoint(ledger=ledger, size=tree.size, root=tree.root.hex(), at=at, previous=None)


def test_an_entry_has_its_golden_bytes_and_comes_back() -> None:
    one = entry(0)
    signature = ALPHA.sign("ledger-entry", one.content).hex()
    assert one.to_line().decode() == GOLDEN_ENTRY % (PLAN, ALPHA.public.key_id, LEDGER, signature)
    assert decode_entry(one.to_line()) == one
    assert json.loads(one.content) == {k: v for k, v in json.loads(one.to_line()).items() if k != "signature"}
    assert one.is_signed_by(ALPHA.public)
    assert not one.is_signed_by(BETA.public)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"number":0', b'"number": 0'),
        (b'"number":0', b'"number":0.0'),
        (b'"number":0', b'"number":true'),
        (b'"number":0', b'"number":0,"note":"CCO"'),
        (b'"number":0', b'"number":-1'),
        (b'"number":0', b'"number":0,"number":0'),
        (b"2026-11-21", b"2026-02-31"),
        (b"2026-11-21", b"0001-01-01"),
        (b"2026-11-21", b"9999-12-31"),
        (b"09:30:00Z", b"09:30:00+00:00"),
        (b'"kind":"plan"', b'"kind":"note"'),
        (b'{"kind"', b'[{"kind"'),
        (b'[{"kind"', b'[null,{"kind"'),
        (b"\xff", b""),
    ],
)
def test_a_line_that_is_not_exactly_an_entry_is_refused(old: bytes, new: bytes) -> None:
    line = entry(0).to_line()
    damaged = line.replace(old, new, 1) if old in line else line + old
    with pytest.raises(LedgerError):
        decode_entry(damaged)


@pytest.mark.parametrize("line", [b"", b"null", b"[]", b"7", b"[" * 100_000, b"9" * 5_000, b'{"a":NaN}', b"{" * 2**21])
def test_lines_that_are_no_objects_are_refused(line: bytes) -> None:
    with pytest.raises(LedgerError):
        decode_entry(line)
    with pytest.raises(LedgerError):
        decode_checkpoint(line)
    with pytest.raises(ProofError):
        decode_inclusion(line)
    with pytest.raises(ProofError):
        decode_consistency(line)


def test_an_entry_of_another_ledger_is_refused() -> None:
    with pytest.raises(LedgerError, match="of the ledger bbbb"):
        Head(ledger=LEDGER).append(entry(0, ledger=OTHER))


def test_an_author_s_entries_cannot_be_repeated_left_out_or_reordered() -> None:
    first, second = entry(0), entry(1)
    head, _ = Head(ledger=LEDGER).append(first)
    with pytest.raises(LedgerError, match="repeated"):
        head.append(first)
    with pytest.raises(LedgerError, match="missing"):
        Head(ledger=LEDGER).append(second)
    head, _ = head.append(entry(0, key=BETA))
    head, _ = head.append(second)
    assert dict(head.n_by_key) == {ALPHA.public.key_id: 2, BETA.public.key_id: 1}
    assert head.tree.size == 3


def test_an_entry_holds_1_to_64_events_at_a_whole_second_of_utc() -> None:
    with pytest.raises(EventError, match="1 to 64"):
        entry(0, *[PlanApproved(plan=PLAN)] * (MAX_EVENTS + 1))
    for wrong in (AT.replace(microsecond=1), AT.replace(tzinfo=None)):
        with pytest.raises(EventError, match="UTC"):
            sign_entry(ledger=LEDGER, number=0, at=wrong, events=(PlanFiled(plan=PLAN),), key=ALPHA)


def test_a_checkpoint_is_signed_cross_signed_and_comes_back() -> None:
    tree = grown([entry(i) for i in range(5)])[0].tree
    signed = sign_checkpoint(checkpoint_of(tree), ALPHA)
    both = cosign(signed, tree, LEDGER, ALPHA.public, BETA)
    keys = {key.public.key_id: key.public for key in (ALPHA, BETA)}
    assert decode_checkpoint(both.to_line()) == both
    assert both.false_signatures(keys) == ()
    assert both.false_signatures({ALPHA.public.key_id: ALPHA.public}) == (BETA.public.key_id,)
    assert signed.merged([both]) == both
    with pytest.raises(LedgerError, match="two different checkpoints"):
        both.merged([sign_checkpoint(checkpoint_of(tree, at=AT + timedelta(seconds=1)), ALPHA)])
    with pytest.raises(EventError, match="sorted by key"):
        SignedCheckpoint(checkpoint=both.checkpoint, signatures=both.signatures[::-1])


def test_a_signature_of_an_entry_is_none_of_a_checkpoint() -> None:
    tree = grown([entry(0)])[0].tree
    checkpoint = checkpoint_of(tree)
    forged = sign_checkpoint(checkpoint, ALPHA).signatures[0]
    signed = SignedCheckpoint(
        checkpoint=checkpoint,
        signatures=(type(forged)(key=forged.key, signature=ALPHA.sign("ledger-entry", checkpoint.to_bytes())),),
    )
    assert signed.false_signatures({forged.key: ALPHA.public}) == (forged.key,)


def test_nobody_cross_signs_what_its_own_copy_does_not_hold() -> None:
    tree = grown([entry(i) for i in range(3)])[0].tree
    other = grown([entry(0), entry(1), entry(2, PlanApproved(plan=PLAN))])[0].tree
    with pytest.raises(ProofError, match="keep both"):
        cosign(sign_checkpoint(checkpoint_of(other), ALPHA), tree, LEDGER, ALPHA.public, BETA)
    with pytest.raises(ProofError, match="keep both"):
        cosign(sign_checkpoint(checkpoint_of(tree, ledger=OTHER), ALPHA), tree, LEDGER, ALPHA.public, BETA)
    with pytest.raises(ProofError, match="coordinator"):
        cosign(sign_checkpoint(checkpoint_of(tree), BETA), tree, LEDGER, ALPHA.public, BETA)


def test_proofs_travel_as_bytes() -> None:
    entries = [entry(i) for i in range(7)]
    head, nodes = grown(entries)
    new = checkpoint_of(head.tree)
    old = checkpoint_of(grown(entries[:4])[0].tree)
    included = decode_inclusion(prove_inclusion(LEDGER, 5, 7, nodes).to_bytes())
    consistent = decode_consistency(prove_consistency(LEDGER, 4, 7, nodes).to_bytes())
    assert included.shows(entries[5].to_line(), new)
    assert not included.shows(entries[4].to_line(), new)
    assert not included.shows(entries[5].to_line(), old)
    assert consistent.shows(old, new)
    assert not consistent.shows(new, old)
    with pytest.raises(ProofError, match="canonical"):
        decode_inclusion(included.to_bytes() + b" ")
    with pytest.raises(ProofError, match="canonical"):
        decode_consistency(consistent.to_bytes().replace(b'{"ledger"', b'{"a":1,"ledger"'))


def test_a_coordinator_that_shows_two_histories_is_found_out() -> None:
    honest = [entry(i) for i in range(8)]
    hidden = [*honest[:3], entry(3, PlanApproved(plan=PLAN)), *honest[4:]]
    sizes = (2, 5, 8)
    honest_nodes, hidden_nodes = grown(honest)[1], grown(hidden)[1]
    shown_to_alpha = [checkpoint_of(grown(honest[:n])[0].tree) for n in sizes]
    shown_to_beta = [checkpoint_of(grown(hidden[:n])[0].tree) for n in sizes]
    proofs = [prove_consistency(LEDGER, a, b, honest_nodes) for a, b in ((2, 5), (5, 8), (2, 8))]
    assert find_split_view(shown_to_alpha, proofs) == ()
    [same_size, *_] = find_split_view([shown_to_alpha[1], shown_to_beta[1]], proofs)
    assert same_size.reason == "two roots for the same 5 entries"
    [later] = find_split_view([shown_to_alpha[1], shown_to_beta[2]], proofs)
    assert "does not hold" in later.reason
    [later] = find_split_view([shown_to_alpha[1], shown_to_beta[2]], [prove_consistency(LEDGER, 5, 8, hidden_nodes)])
    assert "does not hold" in later.reason
    [unproved] = find_split_view([shown_to_alpha[0], shown_to_alpha[2]], proofs[:2])
    assert "no proof shows" in unproved.reason
    assert find_split_view([shown_to_alpha[0], shown_to_beta[0]], []) == ()  # the same until they part


def test_the_leaf_is_the_line_without_its_end() -> None:
    one = entry(0)
    assert Head(ledger=LEDGER).append(one)[0].tree.root == leaf_hash(one.to_line())
