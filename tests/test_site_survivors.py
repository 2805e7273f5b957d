"""Runs between four sites of which one is lost: they end with a model, and go on with it when it is back."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from governance_cases import OWNERS
from multitask_cases import PLAIN, partners
from pharmonia.base.errors import LedgerError, RegroupError, RoundLostError, UnreachableError
from pharmonia.data.recipe import Recipe
from pharmonia.data.recipe_profile import PrepareProfile
from pharmonia.engines.inprocess import InProcessEngine
from pharmonia.governance.events import Failed, FailureCode, RoundAggregated, RoundOpened
from pharmonia.governance.plan import Tier
from pharmonia.learn.messages import Broadcast, decode, is_learning_frame
from pharmonia.learn.messages import Message as LearnMessage
from pharmonia.run import party as party_module
from pharmonia.run.arrayfile import Arrays, read_arrays
from pharmonia.run.chronicle import Chronicle
from pharmonia.run.delivered import MODEL_FILE
from pharmonia.run.delivery_frames import is_delivery_frame
from pharmonia.run.engine import FrameHandler
from pharmonia.run.ledger_frames import Message as LedgerMessage
from pharmonia.run.ledger_frames import Take, is_ledger_frame
from pharmonia.run.ledger_frames import decode as decode_ledger
from pharmonia.run.plan_settings import listed
from pharmonia.run.planned_tasks import MULTITASK, multitask_method_settings, multitask_model_settings
from pharmonia.run.prepare_files import write_prepared
from pharmonia.run.records import TrainedModel
from pharmonia.secagg.header import RoundHeader
from pharmonia.secagg.messages import Message as SecureMessage
from pharmonia.secagg.messages import decode as decode_secure
from run_cases import essence
from site_cases import COORDINATOR, Consortium, fixed_code, history, settings

FOUR = (*OWNERS, "eagle")
LOST, OTHERS = "borealis", ("acme", "cygnus", "eagle")
EVERYBODY = (*FOUR, COORDINATOR)
ROUNDS, BATCH = 3, 21


@pytest.fixture(scope="module", autouse=True)
def _code() -> Iterator[None]:
    with fixed_code():
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    """Four owners of tasks, one of whom may collude, under a plan that goes on without a lost partner."""
    place = Consortium(
        folder=tmp_path_factory.mktemp("aurora"),
        settings=settings(rounds=ROUNDS, n_partners=len(FOUR)),
        history=history(owners=FOUR),
        owners=FOUR,
    ).found()
    recipe = Recipe(profile=PrepareProfile(), rdkit="2026.09.1", key_commitment="ab" * 32, reference="cd" * 32)
    for owner, part in zip(FOUR, partners(4), strict=True):
        home = place.folder / owner
        write_prepared(home / "prepared", part, recipe, {})
        text, _, _ = (home / "site.toml").read_text().partition("[data]")
        data = '[data]\nkind = "tasks"\nfolder = "prepared"\ntrain_folds = [0]\nvalid_folds = [1]\n'
        (home / "site.toml").write_text(text + data)
    plan = replace(
        place.drafted(),
        recipe=recipe.digest,
        model=MULTITASK,
        model_settings=listed(multitask_model_settings(PLAIN)),
        method_settings=listed(multitask_method_settings(PLAIN, patience=50)),
    )
    place.file(replace(plan, aggregation=replace(plan.aggregation, tier=Tier.DROPOUT_TOLERANT)))
    return place


@pytest.fixture
def aurora(original: Consortium, tmp_path: Path) -> Consortium:
    return original.copied(tmp_path / "aurora")


@pytest.fixture(scope="module")
def whole(original: Consortium, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    """What the run gives when nobody is ever lost."""
    return run(original.copied(tmp_path_factory.mktemp("whole") / "aurora"))


class Cables(InProcessEngine):
    """An engine whose lines are cut and mended while it stands; who is lost stays so until it is mended."""

    def __init__(self, sites: dict[str, FrameHandler]) -> None:
        super().__init__(sites)
        self.out: set[str] = set()
        self.before: Callable[[str, bytes], None] = lambda partner, frame: None

    def ask(self, partner: str, frame: bytes) -> bytes:
        self.before(partner, frame)
        if partner in self.out:
            raise UnreachableError(f"{partner} is away")
        return super().ask(partner, frame)


class KilledError(Exception):
    """Stands for a kill: nothing that the run does can catch it."""


def run(
    place: Consortium,
    *,
    out: tuple[str, ...] = (),
    before: Callable[[Cables, str, bytes], None] = lambda cables, partner, frame: None,
    before_round: Callable[[], None] | None = None,
) -> TrainedModel:
    """The coordinator's run over freshly opened sites."""
    with place.sites() as sites:
        cables = Cables({**sites})
        cables.out |= set(out)
        cables.before = lambda partner, frame: before(cables, partner, frame)
        return place.coordinate(cables, before_round=before_round)


def message_in(frame: bytes) -> LedgerMessage | LearnMessage | SecureMessage:
    if is_ledger_frame(frame):
        return decode_ledger(frame)
    return decode(frame) if is_learning_frame(frame) else decode_secure(frame)


def lost_in(round_index: int, step: int, *who: str) -> Callable[[Cables, str, bytes], None]:
    """They are lost when the first header of that step comes, which they do not see."""
    is_now = False

    def lose(cables: Cables, partner: str, frame: bytes) -> None:
        nonlocal is_now
        if is_delivery_frame(frame):
            return
        match message_in(frame):
            case Broadcast() as broadcast:
                is_now = (broadcast.round_index, broadcast.step) == (round_index, step)
            case RoundHeader() if is_now:
                cables.out |= set(who)

    return lose


def killed_at(round_index: int, step: int) -> Callable[[Cables, str, bytes], None]:
    """The coordinator is killed when it would begin that step."""

    def kill(cables: Cables, partner: str, frame: bytes) -> None:
        message = None if is_delivery_frame(frame) else message_in(frame)
        if isinstance(message, Broadcast) and (message.round_index, message.step) == (round_index, step):
            raise KilledError

    return kill


def killed_after_the_sum_of(round_index: int) -> Callable[[Cables, str, bytes], None]:
    """The coordinator is killed when it tells the first site what the round's sum gave, and has kept nothing of it."""
    summed: set[bytes] = set()

    def kill(cables: Cables, partner: str, frame: bytes) -> None:
        message = message_in(frame) if is_ledger_frame(frame) else None
        entries = message.entries if isinstance(message, Take) else ()
        if any(isinstance(event, RoundAggregated) for entry in entries for event in entry.events):
            summed.add(frame)
            if len(summed) > round_index:
                raise KilledError

    return kill


def both(*hooks: Callable[[Cables, str, bytes], None]) -> Callable[[Cables, str, bytes], None]:
    def every(cables: Cables, partner: str, frame: bytes) -> None:
        for hook in hooks:
            hook(cables, partner, frame)

    return every


def stop_before(n_rounds: int) -> Callable[[], None]:
    """Ends a run where as many rounds were begun."""
    begun = iter(range(n_rounds))

    def ask() -> None:
        if next(begun, None) is None:
            raise RegroupError("borealis is back")

    return ask


def in_sums(place: Consortium) -> list[set[str]]:
    """Of whom each round's model is, round by round."""
    agreement = place.history.accepted()[-1]
    summed = [event.contributors for event in place.events() if isinstance(event, RoundAggregated)]
    return [{agreement.key(key).partner for key in keys} for keys in summed]


def assert_ledgers_hold(place: Consortium, *away: str) -> None:
    names = [name for name in EVERYBODY if name not in away]
    for file in ("entries.jsonl", "checkpoints.jsonl"):
        assert len({(place.ledger(name) / file).read_bytes() for name in names}) == 1
    for name in names:
        assert place.verify(name).failed == ()


def has_model(place: Consortium, name: str) -> bool:
    return bool(list((place.folder / name / "state").rglob(MODEL_FILE)))


# Between sites


def test_a_run_ends_with_a_model_without_a_site_that_was_lost_and_the_site_gets_it_when_it_is_back(
    aurora: Consortium,
) -> None:
    with pytest.raises(UnreachableError, match=r"is trained and its model kept, but .* borealis"):
        run(aurora, before=lost_in(1, 0, LOST))  # all the same, somebody has to bring it the model
    assert not any(isinstance(event, Failed) for event in aurora.events())
    assert in_sums(aurora) == [set(FOUR), set(OTHERS), set(OTHERS)]
    assert_ledgers_hold(aurora, LOST)
    assert [has_model(aurora, name) for name in FOUR] == [name != LOST for name in FOUR]
    n_rounds = sum(isinstance(event, RoundOpened) for event in aurora.events())
    assert len(run(aurora).rounds) == ROUNDS  # it is back, and nothing is trained again
    assert sum(isinstance(event, RoundOpened) for event in aurora.events()) == n_rounds
    assert has_model(aurora, LOST)
    assert_ledgers_hold(aurora)


def test_no_site_takes_an_entry_that_says_a_lost_one_were_in_the_sum(
    aurora: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Chronicle.aggregated

    def aggregated(self: Chronicle, digest: str) -> None:
        self.stayed(FOUR)
        honest(self, digest)

    monkeypatch.setattr(Chronicle, "aggregated", aggregated)
    with pytest.raises(LedgerError, match=r"of acme, borealis, .*, but we confirmed .* among acme, cygnus, eagle"):
        run(aurora, before=lost_in(1, 0, LOST))
    for name in OTHERS:
        assert sum(isinstance(event, RoundAggregated) for event in aurora.events(name)) == 1  # of the round before


def test_a_site_that_is_back_in_a_resumed_run_takes_part_with_its_copy_and_its_private_state(
    aurora: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RegroupError):
        run(aurora, before=lost_in(1, 0, LOST), before_round=stop_before(2))
    assert aurora.events()[-1] == Failed(plan=aurora.signed.plan.digest, code=FailureCode.PARTNER_BACK)
    assert_ledgers_hold(aurora, LOST)
    assert len(aurora.events(LOST)) < len(aurora.events())
    taken_up: dict[str, str] = {}

    def noted(path: Path) -> tuple[Arrays, dict[str, object]]:
        taken_up[path.relative_to(aurora.folder).parts[0]] = path.name
        return read_arrays(path)

    monkeypatch.setattr(party_module, "read_arrays", noted)
    model = run(aurora)
    ours, its = "before-round-000002.safetensors", "before-round-000001.safetensors"
    assert taken_up == {**dict.fromkeys(OTHERS, ours), LOST: its}
    assert [record.round_index for record in model.rounds] == list(range(ROUNDS))
    assert in_sums(aurora) == [set(FOUR), set(OTHERS), set(FOUR)]
    assert_ledgers_hold(aurora)
    assert all(has_model(aurora, name) for name in FOUR)


def test_a_resumed_run_in_which_nobody_was_lost_is_bit_for_bit_an_uninterrupted_one(
    aurora: Consortium, whole: TrainedModel
) -> None:
    with pytest.raises(RegroupError):
        run(aurora, before_round=stop_before(2))
    model = run(aurora)
    assert essence(model) == essence(whole)
    np.testing.assert_array_equal(model.parameters, whole.parameters)
    assert_ledgers_hold(aurora)


def test_two_lost_at_once_end_the_run_which_goes_on_bit_for_bit_when_they_are_back(
    aurora: Consortium, whole: TrainedModel
) -> None:
    with pytest.raises(RoundLostError):
        run(aurora, before=lost_in(2, 0, LOST, "eagle"))
    assert aurora.events()[-1] == Failed(plan=aurora.signed.plan.digest, code=FailureCode.ROUND_LOST)
    assert_ledgers_hold(aurora, LOST, "eagle")
    model = run(aurora)
    assert essence(model) == essence(whole)
    assert in_sums(aurora) == [set(FOUR)] * ROUNDS
    assert_ledgers_hold(aurora)


def test_a_round_that_was_summed_without_a_site_is_made_without_it_again_and_the_next_with_it(
    aurora: Consortium,
) -> None:
    with pytest.raises(KilledError):
        run(aurora, before=both(killed_after_the_sum_of(1), lost_in(1, 0, LOST)))
    before = in_sums(aurora)
    assert before == [set(FOUR), set(OTHERS)]
    model = run(aurora)
    assert len(model.rounds) == ROUNDS
    assert in_sums(aurora) == [*before, set(OTHERS), set(FOUR)]
    aggregates = [event.aggregate for event in aurora.events() if isinstance(event, RoundAggregated)]
    assert aggregates[1] == aggregates[2]  # the same contributions, and no other sum of them
    assert_ledgers_hold(aurora)


def test_a_round_that_was_summed_with_a_site_waits_for_it(aurora: Consortium, whole: TrainedModel) -> None:
    with pytest.raises(KilledError):
        run(aurora, before=killed_after_the_sum_of(1))
    n_summed = len(in_sums(aurora))
    with pytest.raises(RoundLostError, match="bring back borealis"):
        run(aurora, out=(LOST,))
    assert len(in_sums(aurora)) == n_summed
    assert essence(run(aurora)) == essence(whole)
    assert_ledgers_hold(aurora)


def test_a_site_that_missed_some_steps_of_a_round_takes_part_in_those_that_follow(aurora: Consortium) -> None:
    """With FedSGD: lost at the second of four steps, back in a resumed run that makes the first three as they were."""
    steps = listed(multitask_method_settings(replace(PLAIN, batch_size=BATCH, local_epochs=1), patience=50))
    aurora.file(replace(aurora.signed.plan, method="fedsgd", method_settings=steps, n_rounds=1))
    with pytest.raises(KilledError):
        run(aurora, before=both(killed_at(0, 3), lost_in(0, 1, LOST)))
    n_before = sum(isinstance(event, RoundOpened) for event in aurora.events())
    run(aurora)
    opened = [len(event.contributors) for event in aurora.events() if isinstance(event, RoundOpened)][n_before:]
    assert [n for n, _ in groupby(opened)] == [4, 3, 4]
    assert in_sums(aurora)[-1] == set(FOUR)
    assert_ledgers_hold(aurora)
