"""10,000 mutations of ledgers, checkpoints and proofs: each is detected, none crashes; and a second opinion agrees."""

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import independent_verifier
from governance_cases import amended, founded, plan_under, terms
from ledger_cases import LATER, MODEL, OTHER_PLAN, PLAN, SESSION, Book, a_round, approved_book, ids_of, whole_book
from pharmonia.base.errors import PharmoniaError
from pharmonia.governance import verify as verification
from pharmonia.governance.agreement_history import encode_history
from pharmonia.governance.checkpoint import SignedCheckpoint
from pharmonia.governance.events import (
    AgreementAdopted,
    Evaluated,
    Event,
    Exporting,
    Failed,
    FailureCode,
    PlanApproved,
    PlanFiled,
    PlanRefused,
    PolicyChanged,
    Revocable,
    Revoked,
    RoundAggregated,
    RoundOpened,
)
from pharmonia.governance.identity import PublicKey
from pharmonia.governance.ledger import decode_entry
from pharmonia.governance.proofs import decode_consistency, decode_inclusion, prove_consistency, prove_inclusion
from pharmonia.governance.terms import RefusalCode, ResourceKind
from pharmonia.governance.verify import Delivered, verify_ledger
from pharmonia.governance.verify_result import Check, VerificationResult

N_LEDGERS, N_CHECKPOINTS, N_PROOFS = 5_000, 2_500, 2_500
OF = "checkpoint of "


@dataclass(frozen=True)
class Copy:
    """A ledger as two files."""

    lines: list[bytes]
    checkpoint_lines: list[bytes]


@pytest.fixture(autouse=True)
def remember(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most lines of a mutated ledger are those of the one before: pure functions of them are computed once."""
    monkeypatch.setattr(PublicKey, "verify", lru_cache(maxsize=None)(PublicKey.verify))
    monkeypatch.setattr(verification, "decode_entry", lru_cache(maxsize=10_000)(decode_entry))


def second_book() -> Book:
    """Another history of the same consortium: what a coordinator with two faces would show."""
    book = approved_book()
    book.say("borealis", PlanFiled(plan=OTHER_PLAN), PlanApproved(plan=OTHER_PLAN))
    for index in range(4):
        book.say("dynamo", *a_round(index, "acme", "cygnus"))
        book.check()
    return book


def foreign_book() -> Book:
    """A ledger of another consortium with the same keys, which would verify there."""
    book = Book(ledger="ab" * 32)
    book.say("dynamo", AgreementAdopted(version=1, agreement="ab" * 32))
    book.say("acme", PlanFiled(plan=PLAN), PlanApproved(plan=PLAN))
    for index in range(4):
        book.say("dynamo", *a_round(index))
        book.check()
    return book


def flip(lines: list[bytes], rng: random.Random, _: list[bytes]) -> list[bytes]:
    content = bytearray(b"".join(lines))
    for _flip in range(rng.choice((1, 1, 1, 2, 9))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(content).splitlines(keepends=True)


def swap(lines: list[bytes], rng: random.Random, _: list[bytes]) -> list[bytes]:
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]
    return lines


def reorder(lines: list[bytes], rng: random.Random, _: list[bytes]) -> list[bytes]:
    rng.shuffle(lines)
    return lines


def replay(lines: list[bytes], rng: random.Random, _: list[bytes]) -> list[bytes]:
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    return lines


def cut_lines(lines: list[bytes], rng: random.Random, _: list[bytes]) -> list[bytes]:
    start = rng.randrange(len(lines))
    del lines[start : start + rng.randint(1, len(lines))]
    return lines


def cut_bytes(lines: list[bytes], rng: random.Random, _: list[bytes]) -> list[bytes]:
    content = b"".join(lines)
    return content[: rng.randrange(len(content))].splitlines(keepends=True)


def splice(lines: list[bytes], rng: random.Random, foreign: list[bytes]) -> list[bytes]:
    place = rng.randrange(len(lines))
    if rng.random() < 0.5:
        lines[place] = rng.choice(foreign)
        return lines
    return lines[:place] + foreign[rng.randrange(len(foreign)) :]


def join(lines: list[bytes], rng: random.Random, _: list[bytes]) -> list[bytes]:
    place = rng.randrange(len(lines))
    at = rng.randrange(len(lines[place]))
    junk = rng.choice([b" ", b"\n", b"\x00", b"{}", b"[" * 3000, b"\xff\xfe", b'"note":"CCO",', b"9" * 5000])
    lines[place] = lines[place][:at] + junk + lines[place][at:]
    return b"".join(lines).splitlines(keepends=True)


Mutation = Callable[[list[bytes], random.Random, list[bytes]], list[bytes]]
MUTATIONS: tuple[Mutation, ...] = (flip, flip, swap, reorder, replay, cut_lines, cut_bytes, splice, splice, join)


def mutants(lines: list[bytes], foreign: list[bytes], n: int, seed: int) -> Iterator[list[bytes]]:
    """So many copies, each changed in one way."""
    rng = random.Random(seed)  # noqa: S311
    n_left = n
    while n_left:
        mutant = rng.choice(MUTATIONS)(list(lines), rng, foreign)
        if b"".join(mutant) != b"".join(lines):
            n_left -= 1
            yield mutant


def opinion(copy: Copy, held: SignedCheckpoint) -> VerificationResult:
    delivered = Delivered(checkpoints=(held,))
    return verify_ledger(copy.lines, copy.checkpoint_lines, founded().accepted(), delivered, LATER)


def places(result: VerificationResult, kind: str, *checks: Check) -> set[int]:
    found = {finding.where for finding in result.findings if finding.check in checks}
    return {int(where.removeprefix(kind)) for where in found if where.removeprefix(kind).isdigit()}


def require_agreement(copy: Copy, result: VerificationResult) -> None:
    """The independent implementation finds the same root, and the same entries and states to be false."""
    agreement = json.loads(encode_history(founded()))
    root, entries, checkpoints = independent_verifier.verify(copy.lines, copy.checkpoint_lines, agreement)
    assert root == result.root
    assert set(entries) == places(result, "entry ", Check.LINES, Check.SIGNED)
    about = (Check.LINES, Check.ROOTS, Check.CROSS_SIGNED, Check.COVERED)
    found = {finding.where for finding in result.findings if finding.check in about}
    ours = {where for where in found if where.endswith(" of the checkpoints") or where.removeprefix(OF).isdigit()}
    assert bool(checkpoints) == bool(ours)


def test_every_mutation_of_a_ledger_is_detected_and_a_second_opinion_agrees() -> None:
    book = whole_book()
    whole = Copy(book.lines(), book.checkpoint_lines())
    assert opinion(whole, book.checkpoints[-1]).failed == ()
    foreign = second_book().lines() + foreign_book().lines()
    for n, lines in enumerate(mutants(whole.lines, foreign, N_LEDGERS, seed=1)):
        copy = Copy(lines, whole.checkpoint_lines)
        result = opinion(copy, book.checkpoints[-1])
        assert result.failed, lines
        if n % 10 == 0:
            require_agreement(copy, result)


def test_every_mutation_of_the_checkpoints_is_detected_and_a_second_opinion_agrees() -> None:
    book = whole_book()
    whole = Copy(book.lines(), book.checkpoint_lines())
    foreign = second_book().checkpoint_lines() + foreign_book().checkpoint_lines()
    for n, lines in enumerate(mutants(whole.checkpoint_lines, foreign, N_CHECKPOINTS, seed=2)):
        copy = Copy(whole.lines, lines)
        result = opinion(copy, book.checkpoints[-1])
        assert result.failed, lines
        if n % 10 == 0:
            require_agreement(copy, result)


def test_every_mutation_of_a_proof_is_detected() -> None:
    book, foreign = whole_book(), second_book()
    _, nodes = book.grown()
    _, other_nodes = foreign.grown()
    ledger, size = book.ledger, len(book.entries)
    old, new = (signed.checkpoint for signed in book.checkpoints)
    included = prove_inclusion(ledger, 6, size, nodes)
    consistent = prove_consistency(ledger, old.size, new.size, nodes)
    assert included.shows(book.entries[6].to_line(), new)
    assert consistent.shows(old, new)
    n_other = len(foreign.entries)
    others = [
        *[prove_inclusion(ledger, i, n_other, other_nodes).to_bytes() for i in range(n_other)],
        *[prove_inclusion(ledger, i, size, nodes).to_bytes() for i in range(size) if i != 6],
        *[prove_consistency(ledger, i, size, nodes).to_bytes() for i in range(1, size + 1) if i != old.size],
    ]
    rng = random.Random(3)  # noqa: S311
    for proof in (included, consistent):
        content, n_left = proof.to_bytes(), N_PROOFS // 2
        while n_left:
            mutant = mutated_proof(content, others, rng)
            if mutant != content:
                n_left -= 1
                assert not shows(mutant, book), mutant


def mutated_proof(content: bytes, others: list[bytes], rng: random.Random) -> bytes:
    match rng.randrange(4):
        case 0:
            return rng.choice(others)
        case 1:
            pieces = content.split(b'"')
            i, j = rng.sample(range(len(pieces)), 2)
            pieces[i], pieces[j] = pieces[j], pieces[i]
            return b'"'.join(pieces)
        case 2:
            return b"".join(cut_bytes([content], rng, []))
        case _:
            return b"".join(flip([content], rng, []))


def shows(mutant: bytes, book: Book) -> bool:
    """Whether a proof, of whichever kind, still shows what the honest one did."""
    old, new = (signed.checkpoint for signed in book.checkpoints)
    try:
        if decode_inclusion(mutant).shows(book.entries[6].to_line(), new):
            return True
    except PharmoniaError:
        pass
    try:
        return decode_consistency(mutant).shows(old, new)
    except PharmoniaError:
        return False


def test_the_second_implementation_knows_nothing_of_ours_and_agrees_on_honest_ledgers(tmp_path: Path) -> None:
    source = Path(independent_verifier.__file__).read_text(encoding="utf-8")
    assert "import pharmonia" not in source
    assert "from pharmonia" not in source
    assert len(source.splitlines()) < 160
    book = whole_book()
    book.say("dynamo", AgreementAdopted(version=2, agreement=amended().accepted()[1].digest))
    book.say("borealis", PlanFiled(plan=OTHER_PLAN), generation=1)
    book.check()
    assert book.verify(versions=amended().accepted()).failed == ()
    (tmp_path / "entries.jsonl").write_bytes(b"".join(book.lines()))
    (tmp_path / "checkpoints.jsonl").write_bytes(b"".join(book.checkpoint_lines()))
    (tmp_path / "agreement.json").write_bytes(encode_history(amended()))
    command = [sys.executable, "-I", independent_verifier.__file__, str(tmp_path), str(tmp_path / "agreement.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    root, _ = book.grown()
    assert done.stdout == f"root {root.root.hex()}; bad entries []; bad checkpoints []\n"


DIGESTS = st.sampled_from([PLAN, OTHER_PLAN, SESSION, MODEL])
KEYS = st.sets(st.sampled_from([*ids_of(*terms().ids), "pk-0000000000000000"]), min_size=1).map(
    lambda k: tuple(sorted(k))
)
INDICES = st.integers(0, 2**31 - 1) | st.integers(0, 3)
EVENTS = st.one_of(
    st.builds(AgreementAdopted, version=st.integers(1, 3), agreement=st.just(founded().versions[0].agreement.digest)),
    st.builds(PlanFiled, plan=DIGESTS),
    st.builds(PlanApproved, plan=DIGESTS),
    st.builds(PlanRefused, plan=DIGESTS, code=st.sampled_from(RefusalCode)),
    st.builds(RoundOpened, plan=DIGESTS, session=DIGESTS, round_index=INDICES, header=DIGESTS, contributors=KEYS),
    st.builds(RoundAggregated, session=DIGESTS, round_index=INDICES, aggregate=DIGESTS, contributors=KEYS),
    st.builds(Evaluated, plan=DIGESTS, model=DIGESTS, results=DIGESTS, figures=st.just(())),
    st.builds(
        Exporting,
        what=st.sampled_from(ResourceKind),
        content=DIGESTS,
        recipient=st.sampled_from([*ids_of("acme", "eagle", "zeppelin"), "outside", "public"]),
    ),
    st.builds(PolicyChanged, policy=DIGESTS),
    st.builds(Revoked, what=st.sampled_from(Revocable), subject=DIGESTS),
    st.builds(Failed, plan=DIGESTS, code=st.sampled_from(FailureCode)),
)
SAID = st.tuples(
    st.sampled_from([*terms().ids, "zeppelin"]), st.lists(EVENTS, min_size=1, max_size=4), st.integers(-(9**8), 9**8)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.lists(SAID, max_size=12))
def test_whatever_partners_sign_verification_ends_with_a_verdict(said: list[tuple[str, list[Event], int]]) -> None:
    book = Book()
    for partner, events, after_s in said:
        book.say(partner, *events, after=timedelta(seconds=after_s))
    if not said:
        return
    result = book.verify(Delivered(model_digest=MODEL, plans=(plan_under(founded().versions[0].agreement),)))
    assert Check.MODEL.family in result.failed or any(isinstance(e, Exporting) for _, events, _ in said for e in events)
    assert result.summary().endswith(f"NOT VERIFIED: {', '.join(result.failed)}")
    assert sum(tally.n_failed for tally in result.tallies) == result.n_findings >= len(result.findings)
