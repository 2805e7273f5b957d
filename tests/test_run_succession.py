"""Keys that change under a ledger: whose entries count, what a partner may state, and who may sign its checkpoints."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from governance_cases import END, NOW, OWNERS, first_version, founded, key_of, plan_under, sign_all, sorted_keys
from pharmonia.governance.agreement import Agreement, KeyState, PartnerKey
from pharmonia.governance.agreement_history import AgreementHistory, propose
from pharmonia.governance.events import AgreementAdopted, Event
from pharmonia.governance.ledger import Entry, decode_entry
from pharmonia.governance.terms import Partner, Role
from pharmonia.governance.verify import Delivered
from pharmonia.governance.verify_result import VerificationResult
from pharmonia.run.chronicle import Chronicle
from pharmonia.run.ledgerfile import ENTRIES, read_lines, verify_folder
from pharmonia.run.witness import Witness, open_witness

Stating = Callable[[Mapping[str, Witness], datetime], Entry | None]


def rotated(history: AgreementHistory, partner: str, generation: int) -> AgreementHistory:
    """The next version, in which the partner signs with another key and the one before is retired."""
    last = history.versions[-1].agreement
    old = key_of(partner, generation - 1).public.key_id
    keys = [replace(one, state=KeyState.RETIRED) if one.public.key_id == old else one for one in last.keys]
    new = PartnerKey(partner=partner, public=key_of(partner, generation).public, state=KeyState.ACTIVE, valid_until=END)
    return signed(history, replace(last, keys=sorted_keys([*keys, new])))


def signed(history: AgreementHistory, changed: Agreement) -> AgreementHistory:
    """A next version with what changed, signed by all owners and whoever is new."""
    last = history.versions[-1].agreement
    version = replace(changed, version=last.version + 1, previous=last.digest)
    active = {one.public.key_id for one in (*last.keys, *version.keys) if one.state is KeyState.ACTIVE}
    proposed = propose(history, version)
    for key in [key_of(name, generation) for name in version.terms.ids for generation in (2, 1, 0)]:
        if key.public.key_id in active and proposed.proposed:
            proposed = sign_all(proposed, [key])
    return proposed


@dataclass
class Ledgers:
    """Everybody's copies in one folder, the keys with which they are opened, and a clock."""

    folder: Path
    history: AgreementHistory
    generations: dict[str, int] = field(default_factory=dict)
    coordinator: str = "dynamo"
    at: datetime = NOW

    def now(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at

    @contextmanager
    def open(self) -> Iterator[dict[str, Witness]]:
        with ExitStack() as stack:
            yield {
                name: stack.enter_context(
                    open_witness(name, key_of(name, self.generations.get(name, 0)), self.history, self.folder / name)
                )
                for name in (*OWNERS, self.coordinator)
            }

    def begin(self, stating: Mapping[str, Stating] | None = None) -> None:
        """What a run writes before its first round, with what these partners state."""
        plan = replace(plan_under(self.history.accepted()[-1]), coordinator=self.coordinator)
        with self.open() as witnesses:
            own, others = witnesses[self.coordinator], [witnesses[name] for name in OWNERS]
            chronicle = Chronicle(plan, self.history.accepted(), own, others, self.now)
            chronicle.begin([lambda one=one: one(witnesses, self.now()) for one in (stating or {}).values()])

    def events(self) -> list[tuple[Event, ...]]:
        lines = read_lines(self.folder / self.coordinator / ENTRIES)
        return [decode_entry(line[:-1]).events for line in lines]

    def verify(self) -> VerificationResult:
        return verify_folder(self.folder / self.coordinator, self.history, Delivered(), self.at)


# Versions of the agreement


def test_the_first_run_after_a_coordinator_rotated_its_key_verifies(tmp_path: Path) -> None:
    twice = rotated(rotated(founded(), "dynamo", 1), "dynamo", 2)
    place = Ledgers(tmp_path, twice, {"dynamo": 2})
    place.begin()
    assert place.events()[0] == tuple(
        AgreementAdopted(version=one.version, agreement=one.digest) for one in twice.accepted()
    )
    assert place.verify().findings == ()


def test_a_ledger_follows_a_jump_of_two_versions_of_which_the_last_has_a_new_coordinator(tmp_path: Path) -> None:
    Ledgers(tmp_path, founded()).begin()
    second = rotated(founded(), "borealis", 1)
    last = second.versions[-1].agreement
    grebe = Partner(id="grebe", name="Grebe Hosting", roles=(Role.COORDINATOR,), may_export=())
    key = PartnerKey(partner="grebe", public=key_of("grebe").public, state=KeyState.ACTIVE, valid_until=END)
    terms = replace(last.terms, partners=(*last.terms.partners, grebe))
    third = signed(second, replace(last, terms=terms, keys=sorted_keys([*last.keys, key])))
    place = Ledgers(tmp_path, third, {"borealis": 1}, coordinator="grebe")
    (tmp_path / "grebe").mkdir()
    for path in (tmp_path / "dynamo").iterdir():  # who takes over has a copy
        (tmp_path / "grebe" / path.name).write_bytes(path.read_bytes())
    place.begin()
    assert [len(events) for events in place.events()] == [1, 1, 2, 1]
    assert place.verify().findings == ()
