"""A site holds the ledger to what it was asked and what it confirmed: who is in a round, and who in its sum."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from governance_cases import NOW, OWNERS, key_of
from pharmonia.base.errors import HeaderError, LedgerError, StoreError
from pharmonia.governance.events import Failed, FailureCode, RoundAggregated, RoundOpened
from pharmonia.governance.ledger import Entry, sign_entry
from pharmonia.run.chronicle import Chronicle
from pharmonia.run.confirmed import CONFIRMED_FILE, ConfirmedRounds
from pharmonia.run.tensors import VALIDATION
from pharmonia.secagg.header import RoundHeader, Tier
from pharmonia.secagg.messages import SurvivorSet
from site_cases import Consortium, fixed_code, history, settings

Opened = tuple[str, int, str, tuple[str, ...]]
ID_OF = {name: key_of(name).public.key_id for name in OWNERS}


@pytest.fixture(scope="module", autouse=True)
def _code() -> Iterator[None]:
    with fixed_code():
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    place = Consortium(folder=tmp_path_factory.mktemp("aurora"), settings=settings(rounds=1), history=history())
    return place.found()


@pytest.fixture
def aurora(original: Consortium, tmp_path: Path) -> Consortium:
    return original.copied(tmp_path / "aurora")


# Between sites, by a coordinator that writes other things than it sends


@pytest.mark.parametrize(
    "lie",
    [
        lambda session, index, header, among: ("ff" * 32, index, header, among),
        lambda session, index, header, among: (session, index + 1, header, among),
        lambda session, index, header, among: (session, index, header, among[:2]),
    ],
)
def test_a_header_is_what_the_ledger_says(
    aurora: Consortium, monkeypatch: pytest.MonkeyPatch, lie: Callable[[str, int, str, tuple[str, ...]], Opened]
) -> None:
    honest = Chronicle.opened

    def opened(self: Chronicle, session: str, round_index: int, header: str, contributors: tuple[str, ...]) -> None:
        honest(self, *lie(session, round_index, header, contributors))

    monkeypatch.setattr(Chronicle, "opened", opened)
    with pytest.raises(HeaderError, match=r"the header is of round 0 of session .*; our copy of the ledger has round"):
        aurora.run()
    assert aurora.events()[-1] == Failed(plan=aurora.signed.plan.digest, code=FailureCode.HEADER_REFUSED)


def test_a_sum_is_of_those_whom_we_confirmed(aurora: Consortium, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Chronicle.aggregated

    def aggregated(self: Chronicle, digest: str) -> None:
        self.stayed(OWNERS[:2])
        honest(self, digest)

    with monkeypatch.context() as lying:
        lying.setattr(Chronicle, "aggregated", aggregated)
        with pytest.raises(LedgerError, match="an aggregate of acme, borealis, but we confirmed round"):
            aurora.run()
    with pytest.raises(LedgerError, match="we confirmed"):
        aurora.run()  # the sites' processes are others, and the entry is still the coordinator's next
    for name in OWNERS:
        assert not any(isinstance(event, RoundAggregated) for event in aurora.events(name))


# One site's memory


HEADER = RoundHeader(
    session=bytes(32), round_index=7, tier=Tier.COMMIT_THEN_MASK, word_bytes=4, length=VALIDATION.length, degree=2,
    layout_digest=VALIDATION.digest, model_digest=bytes(32), exponents=(8,) * len(VALIDATION.names), weight_bits=12,
    contributors=OWNERS,
)  # fmt: skip
TIER_B = replace(HEADER, tier=Tier.DROPOUT_TOLERANT)


def memory(folder: Path) -> ConfirmedRounds:
    """As a new process has it."""
    owners = {key_id: name for name, key_id in ID_OF.items()}
    return ConfirmedRounds("acme", owners, folder / CONFIRMED_FILE)


def keys(*partners: str) -> tuple[str, ...]:
    return tuple(sorted(ID_OF[partner] for partner in partners))


def aggregate_of(*partners: str, round_index: int = 7, session: bytes = bytes(32)) -> Entry:
    event = RoundAggregated(
        session=session.hex(), round_index=round_index, aggregate="ab" * 32, contributors=keys(*partners)
    )
    return sign_entry(ledger="cd" * 32, number=0, at=NOW, events=(event,), key=key_of("dynamo"))


def test_the_survivors_that_we_signed_are_the_sum_s_and_nobody_else(tmp_path: Path) -> None:
    rounds = memory(tmp_path)
    rounds.note(TIER_B)
    rounds.note(SurvivorSet(round_digest=TIER_B.digest, survivors=("acme", "cygnus")))
    for one in (rounds, memory(tmp_path)):
        one.require_taken(aggregate_of("acme", "cygnus"))
        for others in (OWNERS, ("acme", "borealis"), ("acme",)):
            with pytest.raises(LedgerError, match=r"we confirmed round 7 of session 0000.* among acme, cygnus"):
                one.require_taken(aggregate_of(*others))


def test_of_rounds_that_we_did_not_confirm_we_know_nothing(tmp_path: Path) -> None:
    """A partner that was lost before it was told who survived may be in the sum or not."""
    rounds = memory(tmp_path)
    rounds.note(TIER_B)
    rounds.require_taken(aggregate_of(*OWNERS))
    rounds.require_taken(aggregate_of("borealis", "cygnus"))
    rounds.note(HEADER)
    rounds.require_taken(aggregate_of("borealis", round_index=8))
    rounds.require_taken(aggregate_of("borealis", session=bytes([1]) * 32))


def test_a_header_s_partners_are_those_whose_keys_the_entry_names(tmp_path: Path) -> None:
    opened = RoundOpened(
        plan="ab" * 32, session=bytes(32).hex(), round_index=7, header=HEADER.digest.hex(), contributors=keys(*OWNERS)
    )
    memory(tmp_path).require_opened(HEADER, opened)
    stranger = replace(opened, contributors=tuple(sorted([*keys("acme", "borealis"), key_of("eagle").public.key_id])))
    with pytest.raises(HeaderError, match="among acme, borealis, pk-"):
        memory(tmp_path).require_opened(HEADER, stranger)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"partners":1,"round_index":1,"session":"x"}'])
def test_a_damaged_memory_is_named_and_takes_no_aggregate(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CONFIRMED_FILE).write_bytes(content)
    with pytest.raises(StoreError, match="put it back, or delete it"):
        memory(tmp_path).require_taken(aggregate_of(*OWNERS))
