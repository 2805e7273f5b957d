"""A party that missed rounds or steps: with what state it comes back, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import MessageError, StoreError
from pharmonia.learn.contributions import Contribution
from pharmonia.learn.learner import State, Tensors
from pharmonia.learn.messages import Broadcast, StatisticsRequest, decode, encode
from pharmonia.run.party import Party
from pharmonia.run.protection import InTheClear


class Counting:
    """A learner whose private state is how many rounds it has trained."""

    def __init__(self) -> None:
        self.n_trained = 0
        self.best = -1

    @property
    def sum_tensors(self) -> Tensors:
        return ("w",), (1,)

    @property
    def statistics_tensors(self) -> Tensors:
        return ("mean",), (1,)

    def statistics(self) -> Contribution:
        return Contribution(weight=1, values=np.zeros(1, dtype=np.float32))

    def contribute(self, broadcast: Broadcast) -> Contribution:
        self.n_trained += 1
        return Contribution(weight=1, values=np.array([self.n_trained], dtype=np.float32))

    def note_best(self, best_round: int) -> None:
        self.best = best_round

    @property
    def best_private_part(self) -> Vector:
        return np.empty(0)

    def private_state(self) -> tuple[State, int]:
        return {"n": np.array([self.n_trained], dtype=np.float32)}, self.n_trained

    def restore(self, state: State, candidate_round: int) -> None:
        self.n_trained = int(state["n"][0])


def opened(folder: Path, *, may_miss_rounds: bool) -> Party:
    """The party as a new process makes it over what its folder holds."""
    return Party(Counting(), InTheClear(), folder, may_miss_rounds=may_miss_rounds)


def answer(party: Party, round_index: int, step: int = 0, n_steps: int = 1) -> int:
    """How many rounds, with this one, the party's state knows of."""
    message = Broadcast(
        sum_index=0, magnitudes=False, round_index=round_index, step=step, n_steps=n_steps, train=True, save=True,
        best_round=-1, parameters=np.zeros(1),
    )  # fmt: skip
    contribution = decode(party.handle(encode(message)))
    assert isinstance(contribution, Contribution)
    return int(contribution.values[0])


def test_a_party_comes_back_to_a_later_round_with_the_newest_state_it_kept(tmp_path: Path) -> None:
    party = opened(tmp_path, may_miss_rounds=True)
    assert [answer(party, index) for index in range(3)] == [1, 2, 3]
    assert answer(opened(tmp_path, may_miss_rounds=True), 7) == 4
    assert answer(opened(tmp_path, may_miss_rounds=True), 8) == 5
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["before-round-000008.safetensors", "before-round-000009.safetensors"]
    assert answer(opened(tmp_path, may_miss_rounds=True), 8) == 5  # never with one that is newer than the round


def test_a_party_that_was_away_and_not_killed_goes_on_with_what_it_has(tmp_path: Path) -> None:
    party = opened(tmp_path, may_miss_rounds=True)
    assert [answer(party, index) for index in (0, 3, 9)] == [1, 2, 3]
    assert answer(party, 9) == 3  # made again: from the state before it


def test_a_party_that_was_away_since_the_beginning_begins_where_the_others_are(tmp_path: Path) -> None:
    party = opened(tmp_path, may_miss_rounds=True)
    assert answer(party, 5) == 1
    assert answer(party, 6) == 2


def test_a_party_that_missed_steps_of_a_round_goes_on_within_it(tmp_path: Path) -> None:
    party = opened(tmp_path, may_miss_rounds=True)
    assert [answer(party, 0, step, 4) for step in (0, 2, 3)] == [1, 2, 3]
    assert [answer(party, 1, step, 4) for step in (1, 3)] == [4, 5]
    assert answer(opened(tmp_path, may_miss_rounds=True), 2, 3, 4) == 6  # killed, and back at the last step


def test_a_run_that_begins_anew_forgets_what_was_kept_of_another_attempt(tmp_path: Path) -> None:
    party = opened(tmp_path, may_miss_rounds=True)
    assert [answer(party, index) for index in range(3)] == [1, 2, 3]
    again = opened(tmp_path, may_miss_rounds=True)
    again.handle(encode(StatisticsRequest(sum_index=0, magnitudes=False)))
    assert answer(again, 4) == 1


@pytest.mark.parametrize(("round_index", "step"), [(4, 0), (5, 0), (0, 1), (3, 2)])
def test_without_that_leave_a_round_or_a_step_that_does_not_follow_is_refused(
    tmp_path: Path, round_index: int, step: int
) -> None:
    party = opened(tmp_path, may_miss_rounds=False)
    assert [answer(party, index) for index in range(3)] == [1, 2, 3]
    for one in (party, opened(tmp_path, may_miss_rounds=False)):
        with pytest.raises(StoreError, match=f"asked for step {step} of round {round_index}, .* kept no state"):
            answer(one, round_index, step, 4)


def test_a_round_for_which_only_newer_states_are_kept_is_refused(tmp_path: Path) -> None:
    party = opened(tmp_path, may_miss_rounds=True)
    for index in range(5):
        answer(party, index)
    with pytest.raises(StoreError, match="kept no state"):
        answer(party, 1)


def asked(party: Party, round_index: int, *, train: bool, n_steps: int = 1) -> None:
    message = Broadcast(
        sum_index=0, magnitudes=False, round_index=round_index, step=0, n_steps=n_steps, train=train, save=False,
        best_round=-1, parameters=np.zeros(1),
    )  # fmt: skip
    party.handle(encode(message))


def test_a_party_trains_no_more_rounds_than_the_plan_has_and_validates_the_last_model(tmp_path: Path) -> None:
    learner = Counting()
    party = Party(learner, InTheClear(), tmp_path, n_rounds=3, n_steps=1)
    for round_index in range(3):
        asked(party, round_index, train=True)
    for n_more in range(3):
        with pytest.raises(MessageError, match=f"asked to train round {3 + n_more}, but the plan has 3 rounds"):
            asked(party, 3 + n_more, train=True)
    asked(party, 3, train=False)
    with pytest.raises(MessageError, match="asked to validate before round 4, but the plan has 3 rounds"):
        asked(party, 4, train=False)
    assert learner.n_trained == 4  # the fourth is the validation


def test_a_round_in_more_steps_than_the_plan_gives_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MessageError, match="asked for 40 steps in round 0, but a round of the plan has 1"):
        asked(Party(Counting(), InTheClear(), tmp_path, n_rounds=3, n_steps=1), 0, train=True, n_steps=40)
    asked(Party(Counting(), InTheClear(), tmp_path, n_rounds=3), 0, train=True, n_steps=40)  # of FedSGD
