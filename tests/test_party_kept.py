"""What a party keeps on its disk: the state that a run goes on from, in whatever order rounds fail and are resumed."""

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pharmonia.base.arrays import Vector
from pharmonia.learn.contributions import Contribution
from pharmonia.learn.learner import State, Tensors
from pharmonia.learn.messages import Broadcast, StatisticsRequest, decode, encode
from pharmonia.run.party import Party
from pharmonia.run.protection import InTheClear

N_PARTIES = 2


class Remembering:
    """A learner whose private state is of which attempt each round was that it has trained."""

    def __init__(self) -> None:
        self.trained: list[float] = []

    @property
    def sum_tensors(self) -> Tensors:
        return ("w",), (1,)

    @property
    def statistics_tensors(self) -> Tensors:
        return ("mean",), (1,)

    def statistics(self) -> Contribution:
        return Contribution(weight=1, values=np.zeros(1, dtype=np.float32))

    def contribute(self, broadcast: Broadcast) -> Contribution:
        before = [-1.0, *self.trained]
        self.trained.append(float(broadcast.parameters[0]))
        return Contribution(weight=1, values=np.array(before, dtype=np.float32))

    def note_best(self, best_round: int) -> None:
        pass

    @property
    def best_private_part(self) -> Vector:
        return np.empty(0)

    def private_state(self) -> tuple[State, int]:
        return {"trained": np.array(self.trained, dtype=np.float32)}, -1

    def restore(self, state: State, candidate_round: int) -> None:
        self.trained = [float(attempt) for attempt in state["trained"]]


def parties(folder: Path, *, may_miss_rounds: bool) -> list[Party]:
    """The parties as new processes make them over what their folders hold."""
    return [
        Party(Remembering(), InTheClear(), folder / str(index), may_miss_rounds=may_miss_rounds)
        for index in range(N_PARTIES)
    ]


def answer(party: Party, attempt: int, round_index: int, *, save: bool) -> list[int]:
    """Of which attempts the rounds were that the party's state knew of before it trained this one."""
    message = Broadcast(
        sum_index=0, magnitudes=False, round_index=round_index, step=0, n_steps=1, train=True, save=save,
        best_round=-1, parameters=np.array([float(attempt)]),
    )  # fmt: skip
    contribution = decode(party.handle(encode(message)))
    assert isinstance(contribution, Contribution)
    return [int(one) for one in contribution.values[1:]]


def begin(asked: list[Party]) -> None:
    for party in asked:
        party.handle(encode(StatisticsRequest(sum_index=0, magnitudes=False)))


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt at a run under a plan that waits.

    Args:
        saved: Of each round that is finished, whether it is saved.
        fault: Whether a last one would have been, and how many parties answer it before a fault ends it.
    """

    saved: list[bool]
    fault: tuple[bool, int]


attempts = st.builds(
    Attempt,
    saved=st.lists(st.booleans(), max_size=2),
    fault=st.tuples(st.booleans(), st.sampled_from([N_PARTIES, N_PARTIES, 1, 0])),
)


def made(folder: Path, number: int, attempt: Attempt, kept: list[int] | None) -> list[int] | None:
    """The coordinator's checkpoint after an attempt, which begins from the one before: of which attempt each round is.

    Kept: the checkpoint before; None if the run begins.
    """
    asked, line = parties(folder, may_miss_rounds=False), list(kept or [])
    if kept is None:
        begin(asked)
    for save in attempt.saved:
        for party in asked:
            assert answer(party, number, len(line), save=save) == line
        line.append(number)
        kept = list(line) if save else kept
    save, n_answer = attempt.fault
    for party in asked[:n_answer]:
        assert answer(party, number, len(line), save=save) == line
    return kept


@given(run=st.lists(attempts, min_size=4, max_size=6))
@settings(max_examples=50)
def test_a_party_of_a_plan_that_waits_has_the_state_of_the_coordinator_s_checkpoint_and_none_of_an_abandoned_attempt(
    run: list[Attempt],
) -> None:
    with TemporaryDirectory() as place:
        kept: list[int] | None = None
        for number, attempt in enumerate(run):
            kept = made(Path(place), number, attempt, kept)


def test_two_faults_after_each_of_which_the_next_round_is_not_saved_do_not_end_a_run(tmp_path: Path) -> None:
    """Rounds are longer than the seconds between checkpoints, so that the first after a resume is not saved."""
    failed = (True, N_PARTIES)
    kept: list[int] | None = None
    for number, saved in enumerate([[True], [False], [False], [True]]):
        kept = made(tmp_path, number, Attempt(saved=saved, fault=failed), kept)
    assert kept == [0, 3]


@dataclass
class Unpruned:
    """What a party would have that kept every state, but none of an attempt that it has left for an earlier round."""

    states: dict[int, list[int]] = field(default_factory=dict)
    trained: list[int] = field(default_factory=list)

    def back_at(self, round_index: int) -> None:
        self.states = {place: state for place, state in self.states.items() if place <= round_index}
        self.trained = list(self.states[max(self.states)]) if self.states else []

    def train(self, attempt: int, round_index: int) -> None:
        self.trained.append(attempt)
        self.states[round_index + 1] = list(self.trained)


# A round of a plan that goes on: who contributes, whether the coordinator is killed before it keeps anything of it
survivors = st.tuples(st.sets(st.integers(0, N_PARTIES - 1), min_size=1), st.sampled_from([False, False, True]))


@given(run=st.lists(st.lists(survivors, min_size=1, max_size=3), min_size=1, max_size=5))
@settings(max_examples=50)
def test_a_party_that_may_miss_rounds_has_the_newest_state_that_it_kept_and_none_of_an_attempt_that_it_left(
    run: list[list[tuple[set[int], bool]]],
) -> None:
    models, checkpoint = [Unpruned() for _ in range(N_PARTIES)], 0
    with TemporaryDirectory() as place:
        for attempt, planned in enumerate(run):
            asked = parties(Path(place), may_miss_rounds=True)
            if not checkpoint:
                begin(asked)
                models = [Unpruned() for _ in range(N_PARTIES)]
            there, back = set(range(N_PARTIES)), set(range(N_PARTIES))
            for round_index, (who, is_killed) in enumerate(planned, start=checkpoint):
                there = (there & who) or there  # who is lost stays away until the next attempt
                for index in sorted(there):
                    if index in back:
                        models[index].back_at(round_index)
                        back.remove(index)
                    assert answer(asked[index], attempt, round_index, save=True) == models[index].trained
                    models[index].train(attempt, round_index)
                if is_killed:
                    break
                checkpoint = round_index + 1
